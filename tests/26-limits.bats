#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# A queue that has a limit: what a sender meets there, and how it waits.

load helpers

# A queue of jobs with room for N, and further properties.
room() {
	local n=$1
	shift
	must mq-make --queue jobs max-messages="$n" "$@"
}

# ---- full=error -------------------------------------------------------------------------------------------------

@test "max-messages: so many fit, exactly; then the queue is full" {
	room 3
	must mq-send jobs 1 2 3
	refuses 75 'jobs: queue is full (max-messages=3)' mq-send jobs 4
	[[ $(stored jobs) == 3 ]]
	prints 1 mq-recv jobs
	must mq-send jobs 4
	refuses 75 full mq-send jobs 5
	prints $'2\n3\n4' mq-recv -e jobs
}

@test "of an input that does not fit its first messages are stored, and counted" {
	room 5
	must mq-send jobs before
	seq 10 >input
	refuses 75 'full' mq-send jobs <input
	grep -q '4 messages were sent' "$err"
	prints $'before\n1\n2\n3\n4' mq-recv -e jobs
	refuses 75 '5 messages were sent' mq-send jobs a b c d e f
}

@test "the positions of those that fit are printed" {
	room 2
	seq 5 >input
	must_fail 75 mq-send --print-position jobs <input
	[[ $(<"$out") == $'jobs:0\njobs:1' ]]
}

@test "--atomic: all or nothing" {
	room 5
	must mq-send --atomic jobs 1 2 3
	refuses 75 'full' mq-send --atomic jobs 4 5 6
	[[ $(stored jobs) == 3 ]]
	must mq-send --atomic jobs 4 5
	prints $'1\n2\n3\n4\n5' mq-recv -e jobs
}

@test "max-bytes: as many as fit, and not more" {
	must mq-make --queue jobs max-bytes=10K
	head -c 1000 /dev/zero | tr '\0' x >body
	must_fail 75 bash -c 'for i in $(seq 20); do cat body; echo; done | mq-send jobs'
	grep -q 'jobs: queue is full (max-bytes=10K)' "$err"
	n=$(stored jobs)
	((n >= 8 && n <= 10))
	# A block counts as long as one of its messages is there: four of these may share one.
	must mq-recv -n 5 jobs
	must mq-send --file=body jobs
	seq 100 | sed 's/.*/cat body/' | bash | must_fail 75 mq-send -d x jobs
}

@test "max-bytes counts large bodies" {
	must mq-make --queue jobs max-bytes=1M
	head -c 400000 /dev/zero >large
	must mq-send --file=large --file=large jobs
	refuses 75 full mq-send --file=large jobs
	must mq-recv -r jobs
	must mq-send --file=large jobs
}

@test "messages in flight, delayed and waiting for their retry count" {
	room 3 backoff=1h..1h
	must mq-send jobs 1 2
	must mq-send -D 1h jobs 3
	lease jobs
	refuses 75 full mq-send jobs 4
	must_fail 2 mq-exec -e jobs false
	refuses 75 full mq-send jobs 4
	must mq-ack jobs:0:1
	must mq-send jobs 4
}

@test "what fails comes back into a full queue" {
	room 2 backoff=1ms..1ms
	must mq-send jobs 1 2
	lease jobs
	must mq-ack --retry jobs:0:1
	must_fail 2 mq-exec -n 1 jobs false
	[[ $(stored jobs) == 2 ]]
	refuses 75 full mq-send jobs 3
}

@test "a repeat of a known id needs no room" {
	room 1 dedup=1h
	must mq-send --id=o-1 jobs 1
	must mq-send --id=o-1 jobs 1
	refuses 75 full mq-send --id=o-2 jobs 2
}

@test "senders at once never exceed the limit, and fill it" {
	room 50
	for i in 1 2 3 4; do
		start "send$i" bash -c "for n in \$(seq 25); do mq-send jobs $i.\$n 2>/dev/null || [[ \$? == 75 ]] || exit; done"
		pids[i]=$started
	done
	for i in 1 2 3 4; do
		ended "${pids[i]}" 0
	done
	[[ $(stored jobs) == 50 ]]
}

@test "the limit may be raised, and lifted" {
	room 1
	must mq-send jobs 1
	must mq-make jobs max-messages=2
	must mq-send jobs 2
	refuses 75 full mq-send jobs 3
	must mq-make jobs max-messages=none
	must mq-send jobs 3
}

# ---- full=drop-old, full=dead -----------------------------------------------------------------------------------

@test "full=drop-old: the oldest make room" {
	room 3 full=drop-old
	seq 10 | must mq-send jobs
	[[ $(stored jobs) == 3 ]]
	must mq-send jobs 11
	prints $'9\n10\n11' mq-recv -e jobs
	prints jobs mq-ls --names
}

@test "full=drop-old drops nothing that is in flight" {
	room 3 full=drop-old
	must mq-send jobs 1 2 3
	lease jobs
	must mq-send jobs 4 5
	must mq-ack jobs:0:1
	prints $'4\n5' mq-recv -e jobs
}

@test "full=dead: what finds no room is a dead letter, and nothing is lost" {
	room 3 full=dead
	seq 10 | must mq-send jobs
	[[ $(stored jobs) == 3 && $(stored jobs.dead) == 7 ]]
	mq-recv -e -F '%r\n' -l 600 jobs.dead | uniq | cmp - <(echo overflow)
	mq-recv -e jobs >all
	mq-peek jobs.dead >>all
	exactly all 'seq 10'
}

@test "full=dead with dead=none: the oldest make room as with drop-old" {
	room 2 full=dead dead=none
	must mq-send jobs 1 2 3
	prints $'2\n3' mq-recv -e jobs
	prints jobs mq-ls --names
}

@test "an unknown policy is refused and the valid ones are named" {
	must mq-make --queue jobs
	refuses 64 full mq-make jobs full=maybe
	grep -q 'drop-old' "$err"
}

# ---- waiting for room -------------------------------------------------------------------------------------------

@test "-w: a sender waits for room and goes on at once" {
	room 1
	must mq-send jobs 1
	start send mq-send -w forever jobs 2
	until_true 20 blocked "$started"
	ours "$started"
	prints 1 mq-recv jobs
	ended "$started" 0
	prints 2 mq-recv jobs
	[[ ! -s send.out && ! -s send.err ]]
}

@test "-w D: when there is no room in time: 75, and what fitted is stored" {
	room 2
	begin=$(clock)
	refuses 75 'full' mq-send -w 100ms jobs 1 2 3
	(($(clock) - begin >= 100000))
	grep -q '2 messages were sent' "$err"
	prints $'1\n2' mq-recv -e jobs
	must mq-send -w 0 jobs 3
}

@test "full=block: a sender waits also without -w" {
	room 1 full=block
	must mq-send jobs 1
	start send mq-send jobs 2
	until_true 20 blocked "$started"
	prints 1 mq-recv jobs
	ended "$started" 0
	refuses 75 full mq-send -w 50ms jobs 3
}

@test "a long input passes a queue that is short" {
	room 10
	start send bash -c 'seq 2000 | mq-send -w forever jobs'
	sender=$started
	same 'mq-recv -w 20 -n 2000 jobs' 'seq 2000'
	ended "$sender" 0
}

@test "room also comes from acknowledging, from dead letters, from mq-trim and from a higher limit" {
	room 1 max-attempts=1
	must mq-send jobs 0
	for n in 1 2 3 4; do
		start send mq-send -w forever jobs "$n"
		until_true 20 blocked "$started"
		case $n in
		1) must mq-ack "$(lease jobs)" ;;
		2) must_fail 2 mq-exec -n 1 jobs false ;;
		3) must mq-trim -y --all jobs ;;
		4) must mq-make jobs max-messages=2 ;;
		esac
		ended "$started" 0
	done
	prints $'3\n4' mq-recv -e jobs
}

@test "waiting senders get room in the order in which they came" {
	room 1
	must mq-send jobs 0
	for i in 1 2 3 4 5; do
		start "send$i" mq-send -w forever jobs "$i"
		until_true 20 blocked "$started"
	done
	for i in 0 1 2 3 4 5; do
		prints "$i" mq-recv -w 20 jobs
	done
}

@test "--atomic -w waits until there is room for all" {
	room 3
	must mq-send jobs 1 2 3
	start send mq-send --atomic -w forever jobs a b c
	until_true 20 blocked "$started"
	prints $'1\n2' mq-recv -n 2 jobs
	until_true 20 blocked "$started"
	[[ $(stored jobs) == 1 ]]
	prints 3 mq-recv jobs
	ended "$started" 0
	prints $'a\nb\nc' mq-recv -e jobs
}

@test "kill -9 of a sender that waits holds up nobody behind it" {
	room 1
	must mq-send jobs 1
	start first mq-send -w forever jobs 2
	first=$started
	until_true 20 blocked "$first"
	start second mq-send -w forever jobs 3
	until_true 20 blocked "$started"
	kill -KILL "$first"
	ended "$first" 137
	prints 1 mq-recv jobs
	ended "$started" 0
	prints 3 mq-recv -e jobs
}

@test "SIGTERM ends a sender that waits; what it did not send is not there" {
	room 1
	must mq-send jobs 1
	start send mq-send -w forever jobs 2
	until_true 20 blocked "$started"
	kill -TERM "$started"
	ended "$started" 143
	prints 1 mq-recv -e jobs
	nothing mq-recv -w 20ms jobs
}

@test "many senders and receivers through a short queue: all arrive once, the limit holds" {
	export MQ_SYNC=relaxed
	room 5
	for i in 1 2 3 4; do
		start "send$i" bash -c "seq $((i * 100 + 1)) $((i * 100 + 100)) | mq-send -w forever jobs"
		senders[i]=$started
	done
	start recv1 mq-recv -f jobs
	one=$started
	start recv2 mq-recv -f jobs
	two=$started
	until ! ours "${senders[1]}"; do
		(($(stored jobs) <= 5))
	done
	for i in 1 2 3 4; do
		ended "${senders[i]}" 0
	done
	until_true 20 has_lines 400 recv1.out recv2.out
	kill -TERM "$one" "$two"
	cat recv1.out recv2.out >all
	exactly all 'seq 101 500'
}

@test "mq-exec --to a full queue: the result waits, or the message stays; nothing is lost" {
	room 10
	must mq-make --queue results max-messages=1
	must mq-send jobs a b
	start exec mq-exec --to results jobs cat
	until_true 20 eval '[[ $(stored results) == 1 ]]'
	prints a mq-recv -w 20 results
	if ! ours "$started"; then
		start exec mq-exec --to results jobs cat
	fi
	prints b mq-recv -w 20 results
	[[ $(stored jobs) == 0 ]]
}

@test "drop-old with max-bytes drops only as much as is too much" {
	must mq-make --queue jobs max-bytes=64K full=drop-old
	for _ in $(seq 200); do head -c 999 /dev/zero | tr '\0' x; echo; done | must mq-send jobs
	n=$(stored jobs)
	((n >= 50 && n <= 66))
}

@test "two full queues that are each other's place for dead letters end" {
	must mq-make --queue one max-messages=2 full=dead dead=two
	must mq-make --queue two max-messages=2 full=dead dead=one
	for i in $(seq 20); do must mq-send one "$i"; done
	mq-recv -e one >all
	mq-recv -e two >>all
	exactly all 'seq 20'
}
