#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031,SC2016
#
# mq-check --backup, --compact and --readers: a copy of a store in use, a smaller file, and who keeps it large.

load helpers

# filled: a store of some size, much of whose file is free.
filled() {
	seq 30000 | mq-send -q jobs
	mq-make --stream log >/dev/null
	seq 1000 | mq-pub log
	head -c 300000 /dev/zero | mq-pub --file=- log
	mq-recv -q -n 29000 jobs >/dev/null
}

# holds STORE: the same messages as the store of the test, of the same times: ages differ from one look to the next.
holds() {
	same 'mq-peek jobs' "mq-peek -s $1 jobs" && same 'mq-replay -j log' "mq-replay -s $1 -j log" &&
		same 'mq-ls -v -o json' "mq-ls -v -o json -s $1"
}

# held QUEUE: a process has the store open and waits; its number is in $started.
held() {
	mq-send -q "$1" first
	start holder mq-recv -f "$1"
	until_true 10 blocked "$started"
	until_true 10 grep -q first holder.out
}

size() {
	stat -c %s "${1:-$MQ_STORE}/data.mdb"
}

# ---- backups --------------------------------------------------------------------------------------------

@test "a backup is a store with the same messages, and says nothing" {
	filled
	must mq-check --backup=copy
	[[ ! -s $out && ! -s $err ]]
	holds ./copy
	must mq-check -s ./copy
	[[ $(size ./copy) == "$(size)" && $(stat -c %a copy copy/data.mdb) == $'700\n600' ]]
	cmp copy/mq-store "$MQ_STORE/mq-store"
}

@test "a backup is a store of its own: what is done there is not done here" {
	filled
	must mq-check --backup=copy
	must mq-recv -e -s ./copy jobs
	must mq-send -s ./copy jobs there
	[[ $(stored jobs) == 1000 ]]
	must mq-send jobs here
	prints there mq-recv -s ./copy jobs
}

@test "with --compact it is smaller, and holds the same" {
	filled
	must mq-check --backup=copy --compact
	holds ./copy
	must mq-check -s ./copy
	(($(size ./copy) * 10 < $(size) * 9))
}

@test "an empty directory may be there; anything else is left alone" {
	filled
	mkdir empty
	must mq-check --backup=empty
	holds ./empty
	cp empty/data.mdb before
	refuses 73 'not empty' mq-check --backup=empty
	cmp before empty/data.mdb
	mkdir other && echo text >other/file
	refuses 73 'not empty' mq-check --backup=other
	[[ $(ls other) == file ]]
	echo text >file
	refuses 73 'not a directory' mq-check --backup=file
	refuses 73 'No such file' mq-check --backup=missing/copy
	refuses 73 'not empty' mq-check --backup="$MQ_STORE"
	refuses 66 . mq-check -s ./nowhere --backup=new
	[[ ! -e new && ! -e .new.new ]]
}

@test "a backup of a store in use: nobody waits for it" {
	filled
	held jobs2
	must mq-check --backup=copy
	must mq-send jobs2 second
	until_true 10 grep -q second holder.out
	kill -TERM "$started"
	ended "$started" 143
}

@test "a backup of a store that may only be read" {
	filled
	need_root
	mkdir view
	mount --bind "$MQ_STORE" view && mounts+=("$PWD/view")
	mount -o remount,bind,ro view 2>/dev/null || skip "nothing can be mounted here"
	must mq-check -s ./view --backup=copy
	holds ./copy
}

@test "a store that may only be read here, and is written elsewhere: a backup is one state, or there is none" {
	filled
	need_root
	mkdir view
	mount --bind "$MQ_STORE" view && mounts+=("$PWD/view")
	mount -o remount,bind,ro view 2>/dev/null || skip "nothing can be mounted here"
	cat >writer <<-'END'
		for i in 1 2 3 4 5 6; do
			seq 5000 | mq-send -q jobs
			mq-recv -q -n 5000 jobs >/dev/null
		done
	END
	# Others write between two steps of it.
	cat >slow.c <<-'END'
		#include <libmq.h>
		#include <stdio.h>
		#include <stdlib.h>
		static bool step(const struct lmq_copy *sofar, void *context)
		{
			static int steps;
			(void)sofar;
			return steps++ > 0 || system(context) == 0;
		}
		int main(int argc, char **argv)
		{
			const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
			char writer[] = "sh ./writer";
			lmq_store *s;
			int rc = lmq_store_open("./view", &options, &s);
			if (rc == 0)
				rc = lmq_store_backup(s, argv[1], argc > 2 ? LMQ_COPY_COMPACT : 0, step, writer);
			if (rc != 0)
				puts(lmq_error(s));
			lmq_store_close(s);
			return rc != 0;
		}
	END
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$ROOT/libmq" -o slow slow.c "$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	must ./slow ./copy
	must mq-check -s ./copy
	holds ./copy
	must ./slow ./compact compact
	must mq-check -s ./compact
	holds ./compact
}

@test "on a full disk, or with a limit on files, there is no backup, and nothing is left of it" {
	filled
	small_disk 400k
	for more in '' --compact; do
		refuses 74 'full' mq-check --backup=disk/copy ${more:+"$more"}
		[[ -z $(ls -A disk) ]]
		(ulimit -f 200 && refuses 74 'limit on the size of a file' mq-check --backup=copy ${more:+"$more"})
		[[ ! -e copy && ! -e .copy.new ]]
	done
	must mq-check
}

@test "a directory that cannot be replaced is refused before anything is copied" {
	filled
	mkdir here
	refuses 73 'in the place' mq-check --backup=here/.
	refuses 73 'in the place' mq-check --backup=here/..
	need_root
	mount -t tmpfs -o size=1m,mode=700 none here 2>/dev/null || skip "nothing can be mounted here"
	mounts+=("$PWD/here")
	refuses 73 'in the place' mq-check --backup=here
	must mq-check --backup=here/copy --compact
	[[ ! -e .here.new ]]
}

@test "a compact backup tells that it goes on, and can be ended, also while it looks at the pages" {
	head -c 20000000 /dev/zero | mq-send -q --file=- jobs
	cat >steps.c <<-'END'
		#include <libmq.h>
		#include <stdio.h>
		static bool step(const struct lmq_copy *sofar, void *context)
		{
			int *steps = context;
			if (sofar->done == 0)
				++*steps;
			return *steps < 2;
		}
		int main(int argc, char **argv)
		{
			const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
			int steps = 0;
			lmq_store *s;
			int rc = lmq_store_open(argv[1], &options, &s);
			if (rc == 0 && argc > 1)
				rc = lmq_store_backup(s, "./copy", LMQ_COPY_COMPACT, step, &steps);
			printf("%d %s\n", rc == LMQ_EINTR, lmq_error(s));
			lmq_store_close(s);
			return 0;
		}
	END
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$ROOT/libmq" -o steps steps.c "$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	prints "1 $MQ_STORE: the copy was ended" ./steps "$MQ_STORE"
	[[ ! -e copy && ! -e .copy.new ]]
}

# waits PID: for the lock of the directory beside.
waits() {
	asleep "$1" && readlink "/proc/$1"/fd/* | grep -q '\.copy\.new'
}

@test "who waited for another that then gave up goes on, also where an empty directory was" {
	mq-send -q jobs a
	mkdir copy .copy.new
	exec 9<.copy.new
	flock 9
	start backup mq-check --backup=copy 9<&-
	until_true 10 waits "$started"
	rmdir .copy.new
	exec 9<&-
	ended "$started" 0
	must mq-check -s ./copy
}

@test "a limit on the size of files, below that of a lock file, does not kill the caller of the library" {
	mq-send -q jobs a
	cat >limited.c <<-'END'
		#include <libmq.h>
		#include <stdio.h>
		int main(int argc, char **argv)
		{
			const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
			lmq_store *s;
			int rc = lmq_store_open(argv[1], &options, &s);
			if (rc == 0 && argc > 1)
				rc = lmq_store_backup(s, "./copy", 0, NULL, NULL);
			lmq_store_close(s);
			return rc == LMQ_ENOSPC ? 0 : 1;
		}
	END
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$ROOT/libmq" -o limited limited.c "$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	must bash -c 'ulimit -f 40; exec ./limited "$MQ_STORE"'
	[[ ! -e copy && ! -e .copy.new ]]
}

@test "a backup takes little address space" {
	[[ ${TEST_CFLAGS-} != *sanitize* ]] || skip "a sanitizer needs address space"
	filled
	must bash -c 'ulimit -v 2000000; exec mq-check --backup=copy'
	holds ./copy
	must bash -c 'ulimit -v 2000000; exec mq-check --backup=compact --compact'
	holds ./compact
}

@test "a damaged message is in a backup as it is, and not in a compact one" {
	seq 30000 | mq-send -q jobs
	printf '\377' | dd of="$MQ_STORE/data.mdb" bs=1 seek=$((40 * 4096 + 1000)) conv=notrunc status=none
	must_fail 2 mq-check
	must mq-check --backup=copy
	must_fail 2 mq-check -s ./copy
	refuses 70 'damaged' mq-check --backup=other --compact
	refuses 70 'damaged' mq-check --compact
	[[ ! -e other && ! -e .other.new && ! -e $MQ_STORE/data.mdb.new ]]
	must mq-peek -n 1 jobs
}

@test "a store of an older format stays one, in a backup and when it is compacted" {
	for format in 2 3; do
		rm -rf s copy compact
		tar -xzf "$ROOT/tests/data/store-format-$format.tgz"
		must mq-check -s ./s --backup=copy
		must mq-check -s ./s --backup=compact --compact
		must mq-check -s ./s --compact
		for store in s copy compact; do
			grep -q "^mq store $format" $store/mq-store
			same 'mq-ls -s ./copy' "mq-ls -s ./$store"
		done
		must mq-send -s ./copy jobs more
		grep -q '^mq store 4' copy/mq-store
		must mq-check -s ./copy
	done
}

# ---- compaction ----------------------------------------------------------------------------------------

@test "--compact makes the file smaller and keeps all else, mode and group too" {
	filled
	must mq-check --backup=copy
	must mq-send -s ./copy jobs more
	chmod 640 copy/data.mdb
	before=$(stat -c '%a %u %g' copy/data.mdb)
	must mq-check --compact -s ./copy
	[[ ! -s $out && ! -s $err ]]
	(($(size ./copy) * 10 < $(size) * 9))
	[[ $(stat -c '%a %u %g' copy/data.mdb) == "$before" ]]
	[[ $(echo copy/*) == 'copy/control copy/data.mdb copy/lock.mdb copy/mq-store' ]]
	must mq-check -s ./copy
	must mq-send jobs more
	same 'mq-peek jobs' 'mq-peek -s ./copy jobs'
	must mq-send -s ./copy jobs again
	must mq-recv -e -s ./copy jobs
}

@test "a store in use is not compacted; the hint names who uses it" {
	filled
	held jobs2
	cp "$MQ_STORE/data.mdb" before
	refuses 75 'in use' mq-check --compact
	grep -qx "mq-check: hint: end mq-recv $started" "$err"
	cmp before "$MQ_STORE/data.mdb"
	must mq-send jobs2 second
	until_true 10 grep -q second holder.out
	kill -TERM "$started"
	ended "$started" 143
	must mq-check --compact
}

@test "what a killed compaction left is removed by whoever opens the store to write, and never mistaken" {
	seq 100 | mq-send -q jobs
	echo rubbish >"$MQ_STORE/data.mdb.new"
	must mq-peek jobs
	must mq-send jobs 101
	[[ ! -e $MQ_STORE/data.mdb.new ]]
	echo rubbish >"$MQ_STORE/data.mdb.new"
	must mq-check --compact
	[[ ! -e $MQ_STORE/data.mdb.new ]]
	same 'mq-recv -e jobs' 'seq 101'
}

@test "killed at any time, a sync that fails, others that write: a backup is one state, a compaction the old or the new" {
	place=$(mktemp -d /dev/shm/mq-saving.XXXXXX 2>/dev/null) || place=$(mktemp -d ./saving.XXXXXX)
	saving() {
		rm -rf "$place" && mkdir "$place" &&
			env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" timeout 60 \
				"$BUILD/tests/crash/saving" "$place" "$@"
	}
	must saving
	sed 's/^/# /' "$out"
	for fault in in-place unsynced no-snapshot unasked; do
		must_fail 1 saving "$fault"
	done
	rm -rf "$place"
}

@test "nobody gets in while a store is compacted, whatever the control file says meanwhile" {
	seq 1000 | mq-send -q jobs
	cat >compact.c <<-'END'
		#include "channel/channel.h"
		#include <stdio.h>
		int __real_mdb_txn_commit(MDB_txn *t);
		int __wrap_mdb_txn_commit(MDB_txn *t);
		int __real_renameat(int from, const char *name, int to, const char *new_name);
		int __wrap_renameat(int from, const char *name, int to, const char *new_name);
		static lmq_store *s;
		/* As one does who has just closed the store, because its lock region cannot be recovered. */
		int __wrap_mdb_txn_commit(MDB_txn *t)
		{
			atomic_fetch_add(&s->control->generation, 1);
			return __real_mdb_txn_commit(t);
		}
		int __wrap_renameat(int from, const char *name, int to, const char *new_name)
		{
			if (system("timeout 1 mq-send jobs early") == 0)
				puts("somebody got in");
			return __real_renameat(from, name, to, new_name);
		}
		int main(int argc, char **argv)
		{
			uint64_t before, after;
			int rc = argc > 1 ? lmq_store_compact(argv[1], NULL, &s, &before, &after) : 1;
			if (rc != 0)
				puts(lmq_error(s));
			lmq_store_close(s);
			return 0;
		}
	END
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$ROOT/libmq" -Wl,--wrap=mdb_txn_commit,--wrap=renameat \
		-o compact compact.c "$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	must ./compact "$MQ_STORE"
	[[ ! -s $out ]] || { show "compact"; return 1; }
	must mq-send jobs late
	must mq-check
	[[ $(stored jobs) == 1001 ]]
}

@test "killed when the compact file has its name, which is not on the disk yet: who sends next sees to that" {
	seq 1000 | mq-send -q jobs
	cat >cut.c <<-'END'
		#include "channel/channel.h"
		#include <signal.h>
		#include <stdio.h>
		#include <sys/stat.h>
		#include <unistd.h>
		int __real_fsync(int fd);
		int __wrap_fsync(int fd);
		int __real_mdb_txn_commit(MDB_txn *t);
		int __wrap_mdb_txn_commit(MDB_txn *t);
		static bool sends;
		static int directories;
		int __wrap_fsync(int fd)
		{
			struct stat st;
			if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && ++directories && !sends)
				kill(getpid(), SIGKILL);
			return __real_fsync(fd);
		}
		int __wrap_mdb_txn_commit(MDB_txn *t)
		{
			if (sends)
				printf("%d\n", directories);
			return __real_mdb_txn_commit(t);
		}
		int main(int argc, char **argv)
		{
			struct lmq_message m = LMQ_MESSAGE_INIT;
			uint64_t before, after;
			lmq_store *s;
			lmq_channel *c;
			lmq_writer *w;
			int failed;
			sends = argc > 2;
			if (!sends)
				return lmq_store_compact(argv[1], NULL, &s, &before, &after) != 0;
			failed = lmq_store_open(argv[1], NULL, &s) || lmq_channel_open(s, "jobs", LMQ_QUEUE, 0, &c) ||
				lmq_writer_open(s, LMQ_SYNC_FULL, &w) || lmq_writer_add(w, c, &m) || lmq_writer_commit(w);
			lmq_writer_close(w);
			lmq_channel_close(c);
			lmq_store_close(s);
			return failed;
		}
	END
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$ROOT/libmq" -Wl,--wrap=mdb_txn_commit,--wrap=fsync \
		-o cut cut.c "$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	must_fail 137 ./cut "$MQ_STORE"
	prints 1 ./cut "$MQ_STORE" send
	prints 0 ./cut "$MQ_STORE" send
	must mq-check
	must mq-check --compact
	prints 0 ./cut "$MQ_STORE" send
}

# ---- readers ----------------------------------------------------------------------------------------

@test "--readers: nobody" {
	mq-send -q jobs a
	nothing mq-check --readers
}

@test "--readers lists who has the store open" {
	held jobs
	must mq-check --readers
	[[ $(sed -n '1s/^ *//p' "$out" | tr -s ' ') == 'pid command state behind held' ]]
	must mq-check --readers -o plain
	printf '%s\tmq-recv\topen\t-\t-\n' "$started" | cmp - "$out"
	must mq-check --readers -o json
	[[ $(jq -r '"\(.pid) \(.command) \(.state) \(.behind)"' "$out") == "$started mq-recv open null" ]]
}

@test "--readers tells who holds old pages, how many commits behind and how much that is" {
	seq 1000 | mq-send -q jobs
	# A reader that has a message in hand and stands still.
	cat >reader.c <<-'END'
		#include <libmq.h>
		#include <stdio.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			struct lmq_message m;
			lmq_store *s;
			lmq_channel *c;
			lmq_reader *r;
			(void)argc;
			if (lmq_store_open(argv[1], NULL, &s) || lmq_channel_open(s, "jobs", LMQ_ANY, 0, &c) ||
					lmq_reader_open(c, &r) || lmq_reader_next(r, &m))
				return 1;
			puts("reading");
			fflush(stdout);
			pause();
			return 0;
		}
	END
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$ROOT/libmq" -o reader reader.c "$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	start standing ./reader "$MQ_STORE"
	until_true 10 grep -q reading standing.out
	for i in 1 2 3 4 5; do
		mq-send jobs "$i"
	done
	must mq-check --readers -o json
	[[ $(jq -r '"\(.pid) \(.command) \(.state) \(.behind)"' "$out") == "$started reader reading 5" ]]
	(($(jq .held "$out") >= 4096))
	kill -KILL "$started"
	until_true 10 gone "$started"
	nothing mq-check --readers
}

# ---- options ---------------------------------------------------------------------------------------

@test "what does not go together is refused" {
	mq-send -q jobs a
	refuses 64 'at a time' mq-check --backup=copy --readers
	refuses 64 'compact' mq-check --readers --compact
	refuses 64 'channel' mq-check --backup=copy -C jobs
	refuses 64 'channel' mq-check --compact -C jobs
	refuses 64 'output' mq-check --compact -o json
	[[ ! -e copy ]]
}
