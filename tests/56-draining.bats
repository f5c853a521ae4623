#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154
#
# A full disk can be drained, whatever others do meanwhile: the program that tries that finds the faults that are there.

load helpers

# draining [WORD]...: in an empty directory of its own.
draining() {
	env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" timeout 60 "$BUILD/tests/crash/draining" \
		"$(mktemp -d "$BATS_TEST_TMPDIR/XXXXXX")" "$@"
}

@test "a full disk can be drained while others add" {
	must draining
	grep -q '^skipped: ' "$out" && skip "$(sed 's/^skipped: //' "$out")"
	grep -q ', 0 bad$' "$out"
}

@test "a body that is stored without looking for the ballast is found" {
	must draining plain
	grep -q '^skipped: ' "$out" && skip "$(sed 's/^skipped: //' "$out")"
	must_fail 1 draining large unguarded
	grep -q 'are acknowledged, then .*; again: .*/draining -r 1' "$err"
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
