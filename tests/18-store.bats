#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# The store directory: how it is made, what is refused, what a full or damaged one does.

load helpers

nobody=65534

# A store with a queue and a stream of 2000 messages each.
filled() {
	seq 2000 | mq-send -q jobs
	mq-make -q --stream log
	seq 2000 | mq-pub log
}

# Every tool that opens the store is refused it.
all_refuse() {
	local code=$1
	refuses "$code" '' mq-ls
	refuses "$code" '' mq-recv jobs
	refuses "$code" '' mq-recv -w 1 jobs
	refuses "$code" '' mq-replay log
	refuses "$code" '' mq-sub -e log
	refuses "$code" '' mq-send jobs body
	refuses "$code" '' mq-pub log body
	refuses "$code" '' mq-make --queue other
	refuses "$code" '' mq-rm jobs
}

# printed_are_stored FILE: the queue jobs holds what its sender printed the positions of, and goes on
# from there with nothing but what was sent (the last commit may have been cut off before its positions).
printed_are_stored() {
	local printed
	printed=$(wc -l <"$1")
	mq-recv -e jobs >received
	(($(wc -l <received) >= printed))
	head -n "$(wc -l <received)" sent | cmp - received
}

# ---- making one -------------------------------------------------------------------------------------

@test "the first writer makes the store, for its owner only" {
	must mq-send -q jobs body
	[[ $(stat -c %a "$MQ_STORE") == 700 ]]
	[[ $(cd "$MQ_STORE" && ls) == $'control\ndata.mdb\nlock.mdb\nmq-store' ]]
	[[ -z $(find "$MQ_STORE" -type f -perm /077) ]]
	[[ -z $(find . -mindepth 1 ! -path './store*' ! -name stdout ! -name stderr) ]]
}

@test "whatever the umask, the store is its owner's and nobody else's" {
	for mask in 000 022 077; do
		(umask $mask && mq-send -q -s "./mask$mask" jobs body)
		prints body mq-recv -s "./mask$mask" jobs
		[[ $(stat -c %a "mask$mask") == 700 ]]
		[[ -z $(find "mask$mask" -type f -perm /077) ]]
	done
}

@test "the marker file names the format" {
	must mq-send -q jobs body
	[[ $(head -n 1 "$MQ_STORE/mq-store") == 'mq store 4' ]]
}

@test "creating the store is noticed, once" {
	must mq-send jobs body
	grep -q "$MQ_STORE" "$err"
	must mq-send other body
	if grep -q "$MQ_STORE" "$err"; then false; fi
}

@test "a store in a directory that does not exist cannot be made" {
	refuses '66|73' no mq-send -s ./no/such/store jobs body
	[[ ! -e no ]]
}

@test "a path with blanks, quotes and bytes beyond ASCII is good" {
	export MQ_STORE="$BATS_TEST_TMPDIR/a \"b' ä \$HOME"
	must mq-send -q jobs body
	prints body mq-recv jobs
}

@test "a relative path and a path with a slash behind are good" {
	must mq-send -q -s ./store/ jobs body
	prints body mq-recv -s "$BATS_TEST_TMPDIR//store" jobs
}

@test "a store may be moved and copied when nobody uses it" {
	must mq-send -q jobs body
	cp -a "$MQ_STORE" copy
	mv "$MQ_STORE" moved
	prints body mq-recv -s ./copy jobs
	prints body mq-recv -s ./moved jobs
}

@test "a name without a slash is a store beside the default one" {
	if ((EUID == 0)); then
		beside=/var/lib/mq
	else
		export XDG_DATA_HOME=$BATS_TEST_TMPDIR/data
		beside=$XDG_DATA_HOME/mq
	fi
	refuses 66 "$beside/no-such-store" mq-ls -s no-such-store
	MQ_STORE=no-such-store refuses 66 "$beside/no-such-store" mq-ls
}

@test "without -s and MQ_STORE a user's store lies under XDG_DATA_HOME" {
	((EUID == 0)) && skip "root's default store is not for tests"
	unset MQ_STORE
	export XDG_DATA_HOME=$BATS_TEST_TMPDIR/data
	must mq-send -q jobs body
	[[ -d data/mq/default ]]
	prints body mq-recv jobs
}

@test "--no-create makes no store" {
	refuses 66 "$MQ_STORE" mq-send --no-create jobs body
	[[ ! -e $MQ_STORE ]]
}

# ---- what is no store -------------------------------------------------------------------------------

@test "a file is no store" {
	echo text >"$MQ_STORE"
	refuses '66|73|78' "$MQ_STORE" mq-ls
	refuses '66|73|78' "$MQ_STORE" mq-recv jobs
	refuses '66|73|78' "$MQ_STORE" mq-send jobs body
	[[ $(cat "$MQ_STORE") == text ]]
}

@test "a fifo is no store, and nobody waits for it" {
	mkfifo -m 600 "$MQ_STORE"
	refuses '66|73|78' "$MQ_STORE" timeout 10 mq-ls
	refuses '66|73|78' "$MQ_STORE" timeout 10 mq-send jobs body
}

@test "a directory with other files is no store and stays as it is" {
	mkdir -m 700 "$MQ_STORE"
	echo text >"$MQ_STORE/file"
	refuses '66|70|73|78' "$MQ_STORE" mq-ls
	refuses '66|70|73|78' "$MQ_STORE" mq-send jobs body
	[[ $(ls -A "$MQ_STORE") == file ]]
}

@test "a store of a newer format is refused" {
	filled
	{ echo 'mq store 5'; tail -n +2 "$MQ_STORE/mq-store"; } >marker
	cat marker >"$MQ_STORE/mq-store"
	all_refuse 78
	{ echo 'mq store 4'; tail -n +2 marker; } >"$MQ_STORE/mq-store"
	same 'mq-recv -e jobs' 'seq 2000'
}

@test "a marker that is none is refused" {
	filled
	for text in '' 'x' 'mq store' 'mq store x' 'mq store 99999999999999999999'; do
		printf '%s' "$text" >"$MQ_STORE/mq-store"
		refuses '66|70|78' '' mq-ls
		refuses '66|70|73|78' '' mq-send jobs body
	done
	head -c 100000 /dev/urandom >"$MQ_STORE/mq-store"
	refuses '66|70|78' '' mq-ls
}

@test "a store whose data file is gone is damaged, not new" {
	filled
	rm "$MQ_STORE/data.mdb"
	all_refuse 70
}

# ---- what others could tamper with ------------------------------------------------------------------

@test "a symbolic link to a store is refused" {
	filled
	mv "$MQ_STORE" real
	ln -s real "$MQ_STORE"
	all_refuse '77|78'
	same 'mq-recv -e -s ./real jobs' 'seq 2000'
}

@test "a symbolic link that leads nowhere is refused and not followed" {
	ln -s real "$MQ_STORE"
	must_fail '66|73|77|78' mq-ls
	must_fail '66|73|77|78' mq-send -q jobs body
	[[ ! -e real ]]
}

@test "a data file that is a symbolic link is refused" {
	filled
	mv "$MQ_STORE/data.mdb" real
	ln -s ../real "$MQ_STORE/data.mdb"
	all_refuse '70|77|78'
}

@test "a store that everybody can write is refused" {
	filled
	chmod 777 "$MQ_STORE"
	all_refuse 77
	chmod 700 "$MQ_STORE"
	same 'mq-recv -e jobs' 'seq 2000'
}

@test "a store that belongs to somebody else is refused" {
	need_root
	filled
	chown -R $nobody "$MQ_STORE"
	all_refuse 77
}

@test "a data file that belongs to somebody else is refused" {
	need_root
	filled
	chown $nobody "$MQ_STORE/data.mdb"
	all_refuse 77
}

# ---- damage -------------------------------------------------------------------------------------------

@test "an empty data file is damage" {
	filled
	: >"$MQ_STORE/data.mdb"
	all_refuse 70
}

@test "a truncated data file is damage, at any length" {
	filled
	size=$(stat -c %s "$MQ_STORE/data.mdb")
	cp "$MQ_STORE/data.mdb" whole
	for length in 1 100 4096 8191 8192 12288 $((size / 2)); do
		head -c "$length" whole >"$MQ_STORE/data.mdb"
		refuses 70 '' mq-ls
		refuses 70 '' mq-recv -e jobs
		refuses 70 '' mq-send jobs body
	done
	cat whole >"$MQ_STORE/data.mdb"
	same 'mq-recv -e jobs' 'seq 2000'
}

@test "random bytes as data file are damage" {
	filled
	head -c 65536 /dev/urandom >"$MQ_STORE/data.mdb"
	all_refuse 70
}

@test "zeroed first pages are damage" {
	filled
	dd if=/dev/zero of="$MQ_STORE/data.mdb" bs=4096 count=2 conv=notrunc status=none
	all_refuse 70
}

@test "a body that was changed in the file is never delivered" {
	must mq-make --stream log
	must mq-pub log before needle-in-the-data after
	LC_ALL=C grep -obUaF needle-in-the-data "$MQ_STORE/data.mdb" | cut -d : -f 1 >places
	[[ -s places ]]
	while read -r place; do
		printf N | dd of="$MQ_STORE/data.mdb" bs=1 seek="$place" conv=notrunc status=none
	done <places
	must_fail 70 mq-replay log
	if grep -qi needle "$out"; then false; fi
	[[ -s $err ]]
}

@test "the control file is worthless: scribbled over or removed, nothing is lost" {
	filled
	size=$(stat -c %s "$MQ_STORE/control")
	head -c "$size" /dev/urandom | dd of="$MQ_STORE/control" conv=notrunc status=none
	prints 1 timeout 30 mq-recv jobs
	rm "$MQ_STORE/control"
	prints 2 timeout 30 mq-recv jobs
	: >"$MQ_STORE/control"
	prints 3 timeout 30 mq-recv jobs
	same 'mq-replay log' 'seq 2000'
}

# ---- a full one ---------------------------------------------------------------------------------------

@test "max-bytes: a full store refuses with 75, loses nothing, and can be drained" {
	must mq-make --store "$MQ_STORE" max-bytes=2M
	must mq-make --queue jobs
	seq -f '%.0f a message that fills the store up to its limit' 200000 >sent
	must_fail 75 mq-send --print-position jobs <sent
	cp "$out" positions
	(($(wc -l <"$err") <= 2))
	grep -q '^mq-send: ' "$err"
	[[ -s positions ]]
	refuses 75 '' mq-send --file=sent jobs
	prints "$(head -n 1 sent)" mq-recv jobs
	sed -i 1d sent
	sed -i 1d positions
	printed_are_stored positions
	nothing mq-recv -e jobs
	must mq-send jobs again
	prints again mq-recv jobs
}

@test "max-bytes of the store: mq-rm gives room again" {
	must mq-make --store "$MQ_STORE" max-bytes=2M
	must mq-make --stream log
	must_fail 75 bash -c 'seq 10000000 | mq-pub log'
	must mq-rm log
	until_true 20 mq-send -q jobs body
	prints body mq-recv jobs
}

@test "max-bytes below what is stored refuses until there is room" {
	seq 100000 | must mq-send -q jobs
	must_fail '0|64' mq-make --store "$MQ_STORE" max-bytes=1K
	same 'mq-recv -e jobs' 'seq 100000'
}

@test "a full disk: 74, nothing lost, the queue can be drained, then used again" {
	small_disk 8m
	export MQ_STORE=$BATS_TEST_TMPDIR/disk/store
	must mq-send -q jobs first
	prints first mq-recv jobs
	seq -f '%.0f a message that fills the disk up to its end' 400000 >sent
	must_fail 74 mq-send --print-position jobs <sent
	cp "$out" positions
	grep -q '^mq-send: ' "$err"
	[[ -s positions ]]
	must_fail 74 mq-send --file=sent jobs
	printed_are_stored positions
	nothing mq-recv -e jobs
	must mq-send jobs again
	prints again mq-recv jobs
}

@test "a disk that somebody else filled: a clear status, and usable when there is room" {
	small_disk 8m
	export MQ_STORE=$BATS_TEST_TMPDIR/disk/store
	seq 1000 | must mq-send -q jobs
	mq-make -q --stream log
	seq 1000 | must mq-pub log
	dd if=/dev/zero of=disk/filler bs=64k status=none 2>/dev/null || true
	seq 1000000 >sent
	must_fail 74 mq-send jobs <sent
	same 'mq-replay log' 'seq 1000'
	rm disk/filler
	must mq-pub log after
	prints after mq-replay --last=1 log
	same 'mq-recv -n 1000 jobs' 'seq 1000'
}

@test "on a full disk what is free in the data file does as well as room on the disk" {
	small_disk 16m
	export MQ_STORE=$BATS_TEST_TMPDIR/disk/store
	seq 200000 | must mq-send -q jobs
	must mq-recv -e jobs
	# Without what the control file kept for such a day, and with room for hardly more than a new one.
	rm "$MQ_STORE/control"
	dd if=/dev/zero of=disk/filler bs=64k status=none 2>/dev/null || true
	truncate -s -256K disk/filler
	seq 1000 | must mq-send jobs
	(($(stat -f -c %a disk) * $(stat -f -c %S disk) < 128 * 1024))
	same 'mq-recv -e jobs' 'seq 1000'
}

@test "no store can be made on a full disk, and nothing is left there" {
	small_disk 64k
	export MQ_STORE=$BATS_TEST_TMPDIR/disk/store
	dd if=/dev/zero of=disk/filler bs=4k status=none 2>/dev/null || true
	must_fail '73|74' mq-send -q jobs body
	[[ ! -s $out && -s $err ]]
	[[ ! -e $MQ_STORE ]]
	[[ $(ls -A disk) == filler ]]
}

@test "the file-size limit: 74 and not a signal, nothing lost" {
	must mq-send -q jobs first
	prints first mq-recv jobs
	size=$(stat -c %s "$MQ_STORE/data.mdb")
	seq -f '%.0f a message that fills the file up to its limit' 400000 >sent
	limited() {
		(
			ulimit -S -f $((size / 1024 + 8192))
			exec mq-send --print-position jobs
		)
	}
	mkfifo pipe
	cat pipe >positions 3>&- &
	children+=($!)
	status=0
	limited <sent 2>"$err" >pipe 3>&- || status=$?
	((status == 74)) || { show limit; false; }
	wait "${children[-1]}"
	[[ -s positions ]]
	printed_are_stored positions
	must mq-send jobs again
	prints again mq-recv jobs
}

@test "under the smallest file-size limit no store is made and nobody crashes" {
	must_fail '73|74' bash -c 'ulimit -f 1; exec mq-send -q jobs body'
	must mq-send -q jobs body
	prints body mq-recv jobs
}

# ---- one that cannot be written -------------------------------------------------------------------------

@test "a store on a read-only file system can be read and not written" {
	small_disk 16m
	export MQ_STORE=$BATS_TEST_TMPDIR/disk/store
	filled
	mount -o remount,ro disk
	same 'mq-replay log' 'seq 2000'
	must mq-ls --names
	refuses '73|74|77' '' mq-pub log body
	refuses '73|74|77' '' mq-send jobs body
	refuses '73|74|77' '' mq-recv jobs
	refuses '73|74|77' '' mq-send -s ./disk/new jobs body
	mount -o remount,rw disk
	same 'mq-recv -e jobs' 'seq 2000'
}

@test "a store without the right to write can be read and not written" {
	((EUID != 0)) || skip "root may write everywhere"
	filled
	chmod 400 "$MQ_STORE"/*
	chmod 500 "$MQ_STORE"
	same 'mq-replay log' 'seq 2000'
	refuses '74|77' '' mq-pub log body
	refuses '74|77' '' mq-recv jobs
	chmod 700 "$MQ_STORE"
	chmod 600 "$MQ_STORE"/*
	same 'mq-recv -e jobs' 'seq 2000'
}

@test "a directory without the right to write cannot take a store" {
	((EUID != 0)) || skip "root may write everywhere"
	mkdir -m 500 locked
	refuses '73|77' '' mq-send -s ./locked/store jobs body
}

@test "few descriptors and little address space: a clear status, no crash" {
	filled
	must_fail '0|71|74' bash -c 'ulimit -n 4; exec mq-recv jobs'
	[[ ${TEST_CFLAGS-} != *sanitize* ]] || skip "a sanitizer needs address space"
	capture bash -c 'ulimit -v 60000; exec mq-replay log'
	((status == 0 || status == 71)) || { show memory; false; }
	same 'mq-replay log' 'seq 2000'
}

@test "a limit on address space that is no hindrance changes nothing" {
	[[ ${TEST_CFLAGS-} != *sanitize* ]] || skip "a sanitizer needs address space"
	must mq-send -q jobs a
	for kilobytes in 4194304 8589934592; do
		prints jobs bash -c "ulimit -v $kilobytes; exec mq-ls --names"
	done
}

@test "a store that has grown to half of the address space is full, and can be drained" {
	[[ ${TEST_CFLAGS-} != *sanitize* ]] || skip "a sanitizer needs address space"
	export MQ_SYNC=relaxed
	head -c 10000000 /dev/zero >large
	must_fail 75 bash -c 'ulimit -v 100000; for _ in 1 2 3 4 5 6; do mq-send -q --file=large jobs || exit; done'
	grep -q 'the store is full: no address space is left' "$err"
	grep -q 'hint: receive or trim messages, or raise the limit of address space' "$err"
	n=$(stored jobs)
	((n >= 2 && n <= 5))
	must bash -c 'ulimit -v 100000; mq-recv -n 2 -r jobs | cmp - <(cat large large)'
	must bash -c 'ulimit -v 100000; mq-send -q --file=large jobs'
}

# ---- the library itself ---------------------------------------------------------------------------------

@test "a C program sends and a tool receives" {
	test_c "$MQ_STORE" <<'END'
#include <libmq.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_CREATE };
	struct lmq_message message = LMQ_MESSAGE_INIT;
	lmq_store *store = NULL;
	lmq_channel *queue = NULL;
	lmq_writer *writer = NULL;

	message.body = (struct lmq_bytes) { "from C", 6 };
	if (argc < 2 || lmq_store_open(argv[1], &options, &store) ||
	    lmq_channel_open(store, "jobs", LMQ_QUEUE, LMQ_CREATE, &queue) ||
	    lmq_writer_open(store, LMQ_SYNC_FULL, &writer) ||
	    lmq_writer_add(writer, queue, &message) || lmq_writer_commit(writer)) {
		fprintf(stderr, "%s\n", store ? lmq_error(store) : "no memory");
		return 1;
	}
	lmq_writer_close(writer);
	lmq_channel_close(queue);
	lmq_store_close(store);
	return 0;
}
END
	prints 'from C' mq-recv jobs
}

@test "one process opens a store once; a forked child may not touch it" {
	test_c "$MQ_STORE" <<'END'
#include <libmq.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_CREATE };
	lmq_store *store = NULL, *second = NULL;
	lmq_channel *queue = NULL;
	int result;

	if (argc < 2 || lmq_store_open(argv[1], &options, &store))
		return 1;
	if (lmq_store_open(argv[1], &options, &second) != LMQ_EINVAL)
		return 2;
	lmq_store_close(second);
	if (fork() == 0)
		_exit(lmq_channel_open(store, "jobs", LMQ_QUEUE, LMQ_CREATE, &queue) == LMQ_EFORK ? 0 : 1);
	wait(&result);
	if (result != 0)
		return 3;
	if (lmq_channel_open(store, "jobs", LMQ_QUEUE, LMQ_CREATE, &queue))
		return 4;
	lmq_channel_close(queue);
	lmq_store_close(store);
	return 0;
}
END
}

# A library that answers fstatfs with the type of filesystem in $FS_TYPE, as a mount of one would.
another_filesystem() {
	[[ ${TEST_CFLAGS-} != *sanitize* ]] || skip "a sanitizer wants to be the first library loaded"
	"${CC:-cc}" -shared -fPIC -o filesystem.so -x c - <<-'C'
		#define _GNU_SOURCE
		#include <dlfcn.h>
		#include <stdlib.h>
		#include <sys/vfs.h>
		int fstatfs(int fd, struct statfs *fs)
		{
			int (*real)(int, struct statfs *) = (int (*)(int, struct statfs *))dlsym(RTLD_NEXT, "fstatfs");
			int rc = real(fd, fs);
			fs->f_type = strtol(getenv("FS_TYPE"), NULL, 16);
			return rc;
		}
	C
}

@test "a store on a network filesystem is refused, and none is made there" {
	another_filesystem
	FS_TYPE=6969 must_fail 78 env LD_PRELOAD="$PWD/filesystem.so" mq-send jobs a
	grep -q '^mq-send: .*: a store cannot lie on NFS' "$err"
	[[ ! -e $MQ_STORE ]]
	must mq-send -q jobs a
	FS_TYPE=fe534d42 must_fail 78 env LD_PRELOAD="$PWD/filesystem.so" mq-recv jobs
	grep -q 'a store cannot lie on SMB' "$err"
	prints a mq-recv jobs
}

@test "a large body whose number is still locked by one that failed gets another" {
	must mq-send jobs a
	test_c <<-'END'
		#define _GNU_SOURCE
		#include <fcntl.h>
		#include <stdlib.h>
		int main(void)
		{
			struct flock l = { .l_type = F_WRLCK, .l_start = ((off_t)1 << 30) + 1, .l_len = 1 };
			int fd = open("store/control", O_RDWR);
			if (fd < 0 || fcntl(fd, F_OFD_SETLK, &l) != 0)
				return 1;
			return system("head -c 100000 /dev/zero | mq-send -q --file=- jobs") ? 2 : 0;
		}
	END
	[[ $(mq-recv -n 2 -r jobs | wc -c) == 100001 ]]
}
