#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154
#
# What a crash leaves. tests/crash/states records small pieces of work and tries every disk that a crash may leave of
# them; tests/crash/cutting cuts the power of a real ext4. Each is also made to make the mistakes that it looks for.

load helpers

setup_file() {
	BUILD=${BUILD:-$BATS_TEST_DIRNAME/../build}
	export CRASH=$BUILD/tests/crash FAST
	FAST=$(mktemp -d /dev/shm/mq-states.XXXXXX 2>/dev/null) || FAST=$(mktemp -d "$BATS_FILE_TMPDIR/fast.XXXXXX")
}

teardown_file() {
	rm -rf "$FAST"
}

# crash PROGRAM OPTIONS [WORD]...: in a directory of its own; OPTIONS are words before it.
crash() {
	local program=$1 options=$2 place
	shift 2
	place=$(mktemp -d "$FAST/XXXXXX")
	# shellcheck disable=SC2086 # words
	env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" \
		timeout 60 "$CRASH/$program" $options "$place" "$@" 3>&-
}

# finds WORDS PROGRAM OPTIONS [WORD]...: it finds the mistake that it makes itself, in one line.
finds() {
	local words=$1
	shift
	must_fail 1 crash "$@" || return 1
	if [[ $(wc -l <"$err") != 1 ]] || ! grep -q -- "$words" "$err"; then
		show "does not say '$words': $*"
		return 1
	fi
}

old() {
	echo "old=$ROOT/tests/data/store-format-2.tgz"
}

# cuts [WORD]...: a second of power cuts.
cuts() {
	crash cutting "-r $((RANDOM + 1))" 1 "$@"
}

cutting_works() {
	must crash cutting '-n 1'
	if grep -q '^skipped: ' "$out"; then skip "$(sed 's/^skipped: //' "$out")"; fi
}

# ---- what a crash may leave ------------------------------------------------------------------------

@test "every disk that a crash may leave: nothing acknowledged is lost, nothing is there in part" {
	must crash states "-n 3000 -r $((RANDOM + 1))" "$(old)"
	grep -q ' distinct crash states of .* 0 bad$' "$out"
	sed 's/^/# /' "$out"
}

@test "with sync=relaxed a crash undoes at most the last commit, and damages nothing" {
	must crash states "-n 3000 -r $((RANDOM + 1))" relaxed
	sed 's/^/# /' "$out"
}

@test "commits that are not synced are found" {
	finds 'acknowledged commits are lost' states '-n 1000' sending nosync
	finds 'no state that anybody committed' states '-n 1000' sending relaxed nosync
}

@test "an acknowledgement before the commit is found" {
	finds 'acknowledged commits are lost' states '-n 1000' sending early
}

@test "a store that is made without a sync of its directory is found missing or partial" {
	finds 'the store is gone\|the directory is not empty\|opening: ' states '-n 1000' creating no-directory-sync
}

@test "a writer that does not sync first after a commit that failed is found" {
	finds 'no state that anybody committed\|damaged' states '-n 3000' sending no-poison
}

@test "a state that is bad can be looked at again by its number" {
	local again
	finds 'again: .* -x ' states '-n 1000' sending nosync
	again=$(sed -n 's/.* -x \([0-9]*\).*/\1/p' "$err")
	finds 'acknowledged commits are lost' states "-x $again" sending nosync
}

# ---- the power of a disk ---------------------------------------------------------------------------

@test "after a power cut of a real ext4 everything acknowledged is there, and nothing comes back" {
	cutting_works
	must cuts
	sed 's/^/# /' "$out"
}

@test "with sync=relaxed a power cut undoes at most the last commit" {
	cutting_works
	must cuts relaxed
	sed 's/^/# /' "$out"
}

@test "a sender that acknowledges without a sync is found by a power cut" {
	cutting_works
	finds 'lost\|damaged\|no such queue\|in part\|opening' cutting '-r 1 -n 200' nosync
}
