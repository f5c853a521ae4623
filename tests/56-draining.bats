#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154
#
# A full disk can be drained, whatever others do meanwhile: the program that tries that finds the faults that are there.

load helpers

setup_file() {
	FAST=$(mktemp -d /dev/shm/mq-draining.XXXXXX 2>/dev/null) || FAST=$(mktemp -d "$BATS_FILE_TMPDIR/fast.XXXXXX")
	export FAST
}

teardown_file() {
	rm -rf "$FAST"
}

# crash PROGRAM [-n COUNT] [WORD]...: in an empty directory of its own.
crash() {
	local program=$1 options=()
	shift
	if [[ ${1-} == -n ]]; then
		options=(-n "$2")
		shift 2
	fi
	env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" timeout 60 "$BUILD/tests/crash/$program" \
		"${options[@]}" "$(mktemp -d "$FAST/XXXXXX")" "$@"
}

@test "a full disk can be drained while others add" {
	must crash draining
	grep -q '^skipped: ' "$out" && skip "$(sed 's/^skipped: //' "$out")"
	grep -q ', 0 bad$' "$out"
}

@test "a body that is stored without looking for the ballast is found" {
	must crash draining plain
	grep -q '^skipped: ' "$out" && skip "$(sed 's/^skipped: //' "$out")"
	must_fail 1 crash draining large unguarded
	grep -q 'are acknowledged, then .*; again: .*/draining -r 1' "$err"
}

@test "on a full disk everything works that does not add, and a sender finds what nobody keeps" {
	must crash squeezing
	grep -q '^skipped: ' "$out" && skip "$(sed 's/^skipped: //' "$out")"
	grep -q ', 0 bad$' "$out"
}

@test "a claim that is not tried again on a full disk, and who adds without a look at what is kept, are found" {
	must crash squeezing crashed
	grep -q '^skipped: ' "$out" && skip "$(sed 's/^skipped: //' "$out")"
	must_fail 1 crash squeezing crashed unaided
	grep -q 'it is attempt 1 and not 2; again: .*/squeezing -r 1' "$err"
	must_fail 1 crash squeezing moved unasked
	grep -q 'are acknowledged, then .*; again: .*/squeezing -r 1' "$err"
}

@test "a quota that is used up is called that, and messages can be acknowledged; a disk that fails is not called full" {
	must crash rationing -n 16
	grep -q ', 0 bad$' "$out"
}

@test "a short write that is taken for an error of the disk is found" {
	must_fail 1 crash rationing unasked
	grep -q 'sending ends with .*input/output error; again: .*/rationing -r 1' "$err"
}

# compacting STATUS: a program compacts the store, which must end with that status of the library. The C on stdin comes
# first; it has prepare(), which is called before.
compacting() {
	test_c "$MQ_STORE" < <(
		echo '#define _GNU_SOURCE'
		cat
		cat <<-END
			#include <libmq.h>
			#include <stdio.h>
			int main(int argc, char **argv)
			{
				uint64_t before, after;
				lmq_store *s;
				int rc;
				prepare();
				rc = lmq_store_compact(argv[argc - 1], NULL, &s, &before, &after);
				if (rc != $1)
					printf("%d: %s\\n", rc, lmq_error(s));
				lmq_store_close(s);
				return rc != $1;
			}
		END
	)
}

@test "a program that compacts a store under a limit on the size of files is told, and not killed" {
	must mq-send -q q a
	must rm "$MQ_STORE/control"
	compacting LMQ_ENOSPC <<-'END'
		#include <sys/resource.h>
		static void prepare(void)
		{
			struct rlimit limit = { 16 << 10, RLIM_INFINITY };
			setrlimit(RLIMIT_FSIZE, &limit);
		}
	END
	must mq-recv -q q
}

@test "what LMDB cannot store in a copy is told as a status of the library" {
	must mq-send -q q a
	compacting LMQ_ELIMIT <<-'END'
		#include <dlfcn.h>
		#include <lmdb.h>
		static int fails;
		int mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value, unsigned flags)
		{
			int (*real)(MDB_cursor *, MDB_val *, MDB_val *, unsigned) = dlsym(RTLD_NEXT, "mdb_cursor_put");
			return fails ? MDB_TXN_FULL : real(cursor, key, value, flags);
		}
		static void prepare(void)
		{
			fails = 1;
		}
	END
	must mq-recv -q q
}

@test "on a full disk a queue can be removed, and its space is swept" {
	need_root
	local disk=$BATS_TEST_TMPDIR/small
	must mkdir "$disk"
	unshare -m true 2>/dev/null || skip 'no filesystem can be mounted here'
	# shellcheck disable=SC2016
	must unshare -m sh -c '
		mount -t tmpfs -o size=4m none "$1" && export MQ_STORE=$1/store || exit
		mq-make -q --queue q && mq-make -q --queue r || exit
		body=$(head -c 3000 /dev/zero | tr "\0" x)
		while mq-send -q q "$body" 2>/dev/null; do :; done
		mq-rm -q q && mq-send r hello' sh "$disk"
}

@test "the copy of a store without what is behind its control page gets that once" {
	must mq-send -q q a
	must cp -a --sparse=always "$MQ_STORE" "$MQ_STORE.copy"
	must mq-send -q --store "$MQ_STORE.copy" q b
	(( $(stat -c "%b * %B >= %s" "$MQ_STORE.copy/control") ))
}

@test "a lease that ran out is not called lost where that cannot be found out" {
	must mq-send -q q one
	must mq-recv -q -l 1ms q
	must mq-send -q -p 9 q urgent
	must mq-recv -q q
	[[ $(<"$out") == urgent ]]
	for files in {5..20}; do
		(ulimit -n "$files" && mq-ack q:0:1) 2>"$BATS_TEST_TMPDIR/said" && return
		must_fail 1 grep lost "$BATS_TEST_TMPDIR/said"
	done
	false
}
