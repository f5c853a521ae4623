#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154
#
# Processes that are stopped, system calls and allocations that fail, and disks that are full: that the programs which
# try all of these find a fault that is there. Their samples and their full runs are rows of tests/torture.

load helpers

setup_file() {
	FAST=$(mktemp -d /dev/shm/mq-faults.XXXXXX 2>/dev/null) || FAST=$(mktemp -d "$BATS_FILE_TMPDIR/fast.XXXXXX")
	export FAST
}

teardown_file() {
	rm -rf "$FAST"
}

# crash PROGRAM [WORD]...: in an empty directory of its own.
crash() {
	local program=$1 place options=()
	shift
	while [[ ${1-} == -* ]]; do
		options+=("$1" "$2")
		shift 2
	done
	place=$(mktemp -d "$FAST/XXXXXX")
	env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" timeout 60 "$BUILD/tests/crash/$program" "${options[@]}" \
		"$place" "$@"
}

# finds WORDS PROGRAM [WORD]...: the mistake that it makes itself, and says how to see it again.
finds() {
	local words=$1
	shift
	must_fail 1 crash "$@" || return 1
	grep -q -- "$words.*; again: .*/$1 -r 1" "$err" || { show "does not say '$words': $*"; return 1; }
}

# where_it_runs PROGRAM [WORD]...: skips where the program has to.
where_it_runs() {
	must crash "$@" || return 1
	if grep -q '^skipped: ' "$out"; then
		skip "$(sed 's/^skipped: //' "$out")"
	fi
}

# ---- stopped processes ----------------------------------------------------------------------------------

@test "without gate and check of the transaction number an opener that is stopped and killed costs messages" {
	finds 'damaged\|lost\|mq-check' stalling no-gate no-number open/send
}

@test "without a writer lock of our own somebody is held up who should have been told to wait" {
	finds 'held up by a process that holds neither gate nor writer lock' stalling no-lock send/send
}

@test "a message that is acknowledged before its commit is missed when the sender is killed" {
	finds 'the acknowledged message 400 is lost' stalling early send/list
}

@test "who meets a stopped sender, receiver or opener waits where he must, and nothing is lost" {
	must crash stalling send/receive
	must crash stalling receive/send
	must crash stalling open/list
}

@test "a receiver that is not told of the death of another one is found" {
	must_fail 1 crash handing late
	grep -q 'is killed at call .* while another one waits: .*; again: .*/handing -r 1 -x' "$err"
}

# ---- failing system calls -------------------------------------------------------------------------------

@test "a failed commit that is acknowledged all the same is found" {
	where_it_runs failing doubt
	finds 'the acknowledged message 400 is lost' failing anyway send
}

@test "a failed transaction that keeps the writer lock is found" {
	where_it_runs failing doubt
	finds 'another process cannot send' failing no-abort large
}

@test "a descriptor that is forgotten after a failure is found" {
	where_it_runs failing doubt
	finds '1 descriptors are left open' failing leak receive
}

@test "a process that cannot find out whether the store is in use takes it for used" {
	must crash failing doubt
}

# ---- failing allocations ---------------------------------------------------------------------------------

@test "what is wrong after an allocation failed is found" {
	where_it_runs starving rename
	finds 'the acknowledged message 400 is lost' starving anyway send
	finds 'another process cannot send' starving no-abort send
	finds 'allocations are forgotten' starving leak send
	finds 'has to be closed by every process' starving no-reserve send
}

# ---- full disks -----------------------------------------------------------------------------------------

@test "without a ballast a full disk cannot be drained; a message acknowledged too early is missed" {
	where_it_runs filling -n 1
	finds 'messages are acknowledged, then' filling no-ballast
	finds 'were acknowledged, ' filling early
}
