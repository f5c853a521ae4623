#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031
#
# What is promised when processes die, stop, run out of memory or disk, or find a damaged file. The work is done
# by the programs of tests/crash, each of which can also make the mistake that it looks for: then it must end
# with 1.

load helpers

setup_file() {
	BUILD=${BUILD:-$BATS_TEST_DIRNAME/../build}
	export CRASH=$BUILD/tests/crash FAST
	# Where nothing is about the disk, none is waited for.
	FAST=$(mktemp -d /dev/shm/mq-crash.XXXXXX 2>/dev/null) || FAST=$(mktemp -d "$BATS_FILE_TMPDIR/fast.XXXXXX")
}

teardown_file() {
	rm -rf "$FAST"
}

# crash PROGRAM [WORD]...: runs it on a store of its own. A tracer and a leak checker exclude each other, and
# a damaged file may ask for any amount of memory.
crash() {
	local program=$1 place
	shift
	place=$(mktemp -d "$FAST/XXXXXX")
	[[ $program == creating ]] || place+=/store
	env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0:max_allocation_size_mb=64:allocator_may_return_null=1" \
		timeout 40 "$CRASH/$program" "$place" "$@"
}

# passes PROGRAM [WORD]...
passes() {
	must crash "$@" || return 1
	sed 's/^/# /' "$out"
}

# finds WORDS PROGRAM [WORD]...: it finds the mistake that it makes itself.
finds() {
	local words=$1
	shift
	must_fail 1 crash "$@" || return 1
	grep -q -- "$words" "$err" || { show "does not say '$words': $*"; return 1; }
}

# ---- a process killed while it opens the store -------------------------------------------------------

@test "an opener killed at any system call takes nothing from others; a wrong transaction number is found" {
	passes opening
}

@test "without the gate the check of the transaction number saves the messages" {
	passes opening no-gate
}

@test "without both the store is damaged, or acknowledged messages are lost, and the test sees it" {
	finds 'meta pages of data.mdb do not belong together' opening no-gate no-number
	finds 'after an opener was killed: .* acknowledged' opening no-gate no-number no-metas
	finds . opening no-number
}

# ---- a process killed while it creates the store -------------------------------------------------------

@test "a creator killed at any system call leaves nothing in the way; creators may race" {
	passes creating
}

@test "mq-send killed at any system call while it creates the store leaves nothing in the way" {
	passes creating mq-send -q jobs killed
}

@test "a store that is built in its place is found partial" {
	finds 'partial store' creating in-place
}

@test "a store that lost its data file is damaged, and never made anew" {
	must mq-send -q jobs body
	cp -a "$MQ_STORE" sound
	for damage in 'rm data.mdb' 'truncate -s 0 data.mdb' 'rm data.mdb lock.mdb control'; do
		(cd "$MQ_STORE" && bash -c "$damage")
		refuses 70 "$MQ_STORE" mq-send jobs other
		refuses 70 "$MQ_STORE" mq-recv jobs
		[[ ! -s $MQ_STORE/data.mdb ]]
		rm -r "$MQ_STORE"
		cp -a sound "$MQ_STORE"
	done
	prints body mq-recv jobs
}

# ---- a disk that fails while a commit is written -------------------------------------------------------

# faulty FAULTS CMD...: with a disk that fails once in each of these ways; its calls go to the file calls.
faulty() {
	local faults=$1 preload=$CRASH/disk.so
	shift
	rm -f calls
	[[ ${TEST_CFLAGS-} != *address* ]] || preload="$(${CC:-cc} -print-file-name=libasan.so):$preload"
	env FAULT="$faults" FAULT_LOG="$PWD/calls" LD_PRELOAD="$preload" "$@"
}

# The next writer wrote both meta pages again and synced before anything else.
synced_first() {
	[[ $(paste -s -d ' ' calls) == 'again again sync '* ]]
}

failed_meta() {
	seq 100 | mq-send -q jobs
	refuses 74 'outcome unknown' faulty meta mq-send jobs unknown
	grep -q meta calls
}

@test "a failed write of the meta page: outcome unknown, and the next writer syncs first" {
	failed_meta
	must faulty '' mq-send jobs after
	synced_first
	must faulty '' mq-send jobs later
	if synced_first; then false; fi
	mq-recv -e jobs | grep -vx unknown >received
	{ seq 100; echo after; echo later; } | cmp - received
}

@test "that sync is due to the mark in the control file" {
	failed_meta
	dd if=/dev/zero of="$MQ_STORE/control" bs=4 seek=2 count=1 conv=notrunc status=none
	must faulty '' mq-send jobs after
	if synced_first; then false; fi
}

@test "as long as that sync fails every writer is refused and nothing is changed; then all goes on" {
	failed_meta
	for _ in 1 2 3; do
		cp "$MQ_STORE/data.mdb" before
		refuses 74 'refuses to sync' faulty sync mq-send jobs refused
		cmp before "$MQ_STORE/data.mdb"
	done
	must faulty '' mq-send jobs after
	synced_first
	mq-recv -e jobs | grep -vx unknown >received
	{ seq 100; echo after; } | cmp - received
}

@test "a failure before the meta page is written is no unknown outcome" {
	seq 100 | mq-send -q jobs
	for fault in pages sync; do
		refuses 74 'nothing was sent' faulty $fault mq-send jobs refused
		must mq-send jobs after
	done
	same 'mq-recv -e jobs' 'seq 100; echo after; echo after'
}

# ---- a process that dies with LMDB's mutex --------------------------------------------------------------

@test "a dead writer's mutex is recovered without memory; an unusable one makes everybody open again" {
	passes recovering
}

@test "without the reserve the mutex is lost, without the sign nobody opens again" {
	[[ ${TEST_CFLAGS-} != *address* ]] || skip "the sanitizer has malloc"
	finds 'not recovered without memory' recovering no-reserve
	finds . recovering no-sign
}

@test "a blocked mq-recv -f goes on after LMDB's mutexes became unusable" {
	mq-send -q jobs first
	start reader mq-recv -f jobs
	until_true 10 grep -qx first reader.out
	for mutex in writers readers; do
		until_true 10 blocked "$started"
		must "$CRASH/recovering" "$MQ_STORE" wreck $mutex
		must mq-send jobs "after $mutex"
		until_true 10 grep -qx "after $mutex" reader.out
	done
	kill -TERM "$started"
	ended "$started" 143
	[[ ! -s reader.err ]]
	printf '%s\n' first 'after writers' 'after readers' | cmp - reader.out
}

# ---- stopped and killed at any time -----------------------------------------------------------------------

@test "who holds a lock and is stopped makes others give up in time; when it is killed they go on at once" {
	passes holding
}

@test "without a writer lock of its own a process would wait for ever" {
	finds 'not with LMQ_EBUSY' holding no-lock
}

@test "senders killed at random: each acknowledged message is there once, in order, no batch in part" {
	passes killing senders $((RANDOM + 1))
}

@test "a sender that believes too early is found out" {
	finds 'acknowledged batch is lost' killing senders early
}

@test "receivers killed at random lose nothing and get nothing again that was settled" {
	passes killing receivers $((RANDOM + 1))
}

@test "a receiver killed at the very end of its commit: the next one goes on, whoever comes in between" {
	passes dying
}

@test "a receiver that settles before it delivers is found out" {
	finds 'never delivered' killing receivers early
}

@test "what a writer staged of a large body before it was killed is swept, and only that" {
	passes staging
	finds 'of a dead writer are left' staging never
	finds 'of a living writer was swept' staging always
}

# ---- a full disk ----------------------------------------------------------------------------------------

@test "on a full disk a store is made or not, and messages are stored or not, at every number of free pages" {
	small_disk 3m
	must "$CRASH/filling" -n 60 "$BATS_TEST_TMPDIR/disk"
	sed 's/^/# /' "$out"
}
