#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# Which message is next: priorities, times before which and after which there is no delivery, order within a key.

load helpers

# at MS: the time so many milliseconds from now, as --at takes it.
at() {
	local time=$((${EPOCHREALTIME/./} + $1 * 1000))
	printf '%(%Y-%m-%dT%H:%M:%S)T.%06dZ' $((time / 1000000)) $((time % 1000000))
}

# ---- priorities -----------------------------------------------------------------------------------------------

@test "higher priorities come first, strictly; 4 is what a message has that says nothing" {
	for p in 3 0 9 5 1 8 2 7 6 4; do
		must mq-send -q -p $p jobs "$p"
	done
	must mq-send jobs default
	prints $'9\n8\n7\n6\n5\n4\ndefault\n3\n2\n1\n0' mq-recv -e jobs
}

@test "within a priority first in is first out" {
	for i in 1 2 3 4 5 6; do
		must mq-send -q --priority=$((i % 2 * 9)) jobs "$i"
	done
	prints $'1\n3\n5\n2\n4\n6' mq-recv -e jobs
}

@test "one that comes later overtakes those that wait, not those that were taken" {
	must mq-send -q jobs a b c
	prints a mq-recv -l 600 jobs
	must mq-send -p 5 jobs urgent
	prints urgent mq-recv jobs
	prints $'b\nc' mq-recv -e jobs
}

@test "thousands of priorities at random: as a stable sort would have it" {
	awk 'BEGIN { srand(); for (i = 1; i <= 5000; i++) printf "{\"body\":\"%d\",\"priority\":%d}\n", i, rand() * 10 }' >sent
	must mq-send -q -j jobs <sent
	sort -s -t : -k 3,3r sent | jq -r .body >wanted
	mq-recv -n 2000 jobs >got
	mq-recv -e jobs >>got
	cmp wanted got
}

@test "priorities hold among those that are sent in between" {
	for i in $(seq 10); do
		must mq-send -q -p 3 jobs "low $i"
		must mq-send -q -p 6 jobs "high $i"
		prints "high $i" mq-recv jobs
	done
	same 'mq-recv -e jobs' 'seq -f "low %.0f" 10'
}

@test "a priority that is none is refused" {
	for bad in 10 -1 high ''; do
		refuses 64 priority mq-send "--priority=$bad" jobs body
	done
	[[ ! -e $MQ_STORE ]]
}

@test "mq-exec takes higher priorities first" {
	seq 5 | must mq-send -q -p 2 jobs
	seq 6 10 | must mq-send -p 8 jobs
	same 'mq-exec -e jobs sh -c "cat; echo"' 'seq 6 10; seq 5'
}

@test "delay and time are for queues: mq-pub refuses them" {
	must_fail 64 mq-pub -D 1 log body
	must_fail 64 mq-pub --at=+1m log body
	[[ ! -e $MQ_STORE ]]
}

# ---- not before -----------------------------------------------------------------------------------------------

@test "--delay: the message is not delivered before, and holds up no other" {
	begin=$(clock)
	must mq-send -q -D 300ms jobs later
	must mq-send jobs now
	prints now mq-recv -e jobs
	nothing mq-recv -e jobs
	prints later mq-recv -w 20 jobs
	(($(clock) - begin >= 300000))
	must mq-send --delay=1h jobs much-later
	nothing mq-recv -w 50ms jobs
}

@test "--at: the message is not delivered before; a time that is over is no delay" {
	begin=$(clock)
	must mq-send -q --at="$(at 300)" jobs later
	must mq-send --at=-1h jobs past
	prints past mq-recv -e jobs
	prints later mq-recv -w 20 jobs
	(($(clock) - begin >= 300000))
}

@test "not_before of an envelope is such a time" {
	begin=$(clock)
	echo "{\"body\":\"later\",\"not_before\":\"$(at 300)\"}" | must mq-send -q -j jobs
	nothing mq-recv -e jobs
	prints later mq-recv -w 20 jobs
	(($(clock) - begin >= 300000))
}

@test "--delay with --at, and what is no duration or time, are refused" {
	must_fail 64 mq-send -D 1s --at=now jobs body
	refuses 64 soon mq-send -D soon jobs body
	refuses 64 soon mq-send --at=soon jobs body
	[[ ! -e $MQ_STORE ]]
}

@test "delayed messages come when each is due, whatever the order of sending" {
	must mq-send -q -D 400ms jobs d
	must mq-send -D 100ms jobs a
	must mq-send -D 300ms jobs c
	must mq-send -D 200ms jobs b
	prints $'a\nb\nc\nd' mq-recv -w 20 -n 4 jobs
}

@test "what is due comes by priority and offset again" {
	must mq-send -q -D 1ms jobs b
	must mq-send -D 1ms -p 9 jobs a
	must mq-send jobs c
	later 5
	prints $'a\nb\nc' mq-recv -e jobs
}

@test "a waiting receiver gets a delayed message when it is due: never early, at best within milliseconds" {
	must mq-make --queue jobs
	mkfifo pipe
	start recv bash -c 'exec mq-recv -f jobs >pipe'
	exec 7<pipe
	best=999999999
	for i in $(seq 6); do
		begin=$(clock)
		must mq-send -D 60ms jobs "$i"
		sent=$(clock)
		read -r line <&7
		came=$(clock)
		[[ $line == "$i" ]]
		((came - begin >= 60000))
		late=$((came - sent - 60000))
		((late >= best)) || best=$late
	done
	echo "# best of 6: $best us late"
	((best < 10000))
}

@test "a receiver that waits for a delayed message gets one that is sent meanwhile at once" {
	must mq-send -q -D 1h jobs later
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	must mq-send jobs now
	ended "$started" 0
	[[ $(<recv.out) == now ]]
}

@test "one that waits for a later message is woken for an earlier one" {
	must mq-send -q -D 1h jobs later
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	must mq-send -D 100ms jobs sooner
	ended "$started" 0
	[[ $(<recv.out) == sooner ]]
}

@test "a queue with many delayed messages hands out the next ready one" {
	export MQ_SYNC=relaxed
	seq 100000 | must mq-send -q -D 1h jobs
	must mq-send jobs now
	prints now mq-recv -e jobs
	[[ $(stored jobs) == 100000 ]]
}

# ---- not after ------------------------------------------------------------------------------------------------

@test "--ttl: what has expired is not delivered, and is a dead letter" {
	must mq-send -q -T 1ms -k a.b jobs old
	must mq-send --ttl=1h jobs new
	later 5
	prints new mq-recv -e jobs
	prints 'old a.b expired jobs:0' mq-recv -e -F '%b %k %r %O\n' jobs.dead
	[[ $(stored jobs) == 0 ]]
}

@test "ttl= of the queue is for messages that have none of their own" {
	must mq-make --queue jobs ttl=1ms
	must mq-send jobs old
	must mq-send -T 1h jobs new
	later 5
	prints new mq-recv -e jobs
	prints 'old expired' mq-recv -e -F '%b %r\n' jobs.dead
}

@test "ttl of an envelope is such a time" {
	echo '{"body":"old","ttl":"1ms"}' | must mq-send -q -j jobs
	later 5
	nothing mq-recv -e jobs
	prints 'old expired' mq-recv -e -F '%b %r\n' jobs.dead
}

@test "what expires while it waits for its retry, or its time, is a dead letter too" {
	must mq-make --queue jobs backoff=1ms..1ms
	must mq-send -T 200ms jobs retried
	must mq-send -T 1ms -D 1h jobs delayed
	must_fail 2 mq-exec -n 1 jobs false
	later 250
	nothing mq-recv -e jobs
	[[ $(mq-recv -e -F '%b %r\n' jobs.dead) == *'retried expired'* ]]
}

@test "thousands that expired do not hide the one that did not" {
	seq 20000 | must mq-send -q -T 1ms jobs
	must mq-send jobs alive
	later 5
	prints alive mq-recv -w 20 jobs
	until_true 20 eval 'mq-recv -e jobs; [[ $(stored jobs.dead) == 20000 ]]'
	[[ $(stored jobs) == 0 ]]
	mq-recv -e jobs.dead | cmp - <(seq 20000)
}

@test "expired messages vanish from topics and streams" {
	must mq-make --stream log
	must mq-pub -T 1ms log old
	must mq-pub log new
	later 5
	prints new mq-replay log
	prints new mq-sub -e --from=first log
}

@test "a ttl that is none is refused" {
	refuses 64 soon mq-send -T soon jobs body
	[[ ! -e $MQ_STORE ]]
}

# ---- order within a key ---------------------------------------------------------------------------------------

@test "order=key: one message of a key in flight at a time" {
	must mq-make --queue jobs order=key
	must mq-send -k k jobs 1 2
	must mq-send -k other jobs 3
	must mq-send jobs 4 5
	prints $'1\n3\n4\n5' mq-recv -e -l 600 jobs
	nothing mq-recv -e jobs
	must mq-ack jobs:0:1
	prints 2 mq-recv -e jobs
}

@test "order=key: a waiting receiver gets the next of a key as soon as the one before is settled" {
	must mq-make --queue jobs order=key
	must mq-send -k k jobs 1 2
	lease jobs
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	must mq-ack jobs:0:1
	ended "$started" 0
	[[ $(<recv.out) == 2 ]]
}

@test "order=key: the next of a key waits for its own time, too" {
	must mq-make --queue jobs order=key
	must mq-send -k k jobs 1
	must mq-send -k k --delay=1h jobs 2
	prints 1 mq-recv -e jobs
	nothing mq-recv -e jobs
	[[ $(mq-peek -j jobs | jq -r .state) == delayed ]]
}

@test "order=key: other keys go on, at the same time" {
	must mq-make --queue jobs order=key
	for k in a b c; do
		must mq-send -k $k jobs "$k"
	done
	mkfifo a b
	must timeout 20 mq-exec -e -P 3 jobs sh -c 'case $MQ_KEY in (c) cat a b ;; (*) echo $MQ_KEY >$MQ_KEY; esac'
	[[ $(<"$out") == $'a\nb' ]]
}

@test "order=key: with many workers each key's messages are worked on in order, one by one" {
	must mq-make --queue jobs order=key
	for i in $(seq 25); do
		for k in a b c d e f; do
			echo "{\"key\":\"$k\",\"body\":\"$i\"}"
		done
	done | must mq-send -j jobs
	program work <<-'END'
		mkdir "busy.$MQ_KEY" || exit 65
		read -r n || true
		echo "$n" >>"log.$MQ_KEY"
		rmdir "busy.$MQ_KEY"
	END
	start one mq-exec -w 200ms -P 3 jobs ./work
	one=$started
	start two mq-exec -w 200ms -P 3 jobs ./work
	ended "$one" 0
	ended "$started" 0
	for k in a b c d e f; do
		seq 25 | cmp - log.$k
	done
}

@test "order=key: a failed message blocks its key, and only that, until it is settled" {
	must mq-make --queue jobs order=key backoff=1h..1h
	must mq-send -k bad jobs 1 2 3
	must mq-send -k good jobs 4 5
	must mq-send jobs 6
	must_fail 2 mq-exec -e jobs sh -c 'read -r n || :; [ "$n" != 1 ] && echo "$n"'
	# What has another key, or none, may overtake 5, which waits for the end of 4.
	[[ $(grep -v 6 "$out") == $'4\n5' && $(sort "$out") == $'4\n5\n6' ]]
	nothing mq-recv -e jobs
	[[ $(stored jobs) == 3 ]]
}

@test "order=key: a dead letter frees its key" {
	must mq-make --queue jobs order=key
	must mq-send -k k jobs 1 2 3
	must_fail 2 mq-exec -e jobs sh -c 'read -r n || :; [ "$n" != 1 ] || exit 65; echo "$n"'
	[[ $(<"$out") == $'2\n3' ]]
	prints 1 mq-recv -e jobs.dead
}

@test "order=key: in order and exactly once, though workers are killed at random" {
	export MQ_SYNC=relaxed
	must mq-make --queue jobs order=key max-attempts=none backoff=1ms..1ms
	must mq-make --queue results
	for i in $(seq 30); do
		for k in a b c d; do
			echo "{\"key\":\"$k\",\"body\":\"$k $i\"}"
		done
	done | must mq-send -j jobs
	killed_at_random 40000 mq-exec -e -P 4 --to results jobs cat
	# A worker killed while it starts a command holds its messages until that command is killed too.
	drained jobs mq-exec -e -P 4 --to results jobs cat
	mq-recv -e results >got
	[[ $(wc -l <got) == 120 ]]
	for k in a b c d; do
		grep "^$k" got | cmp - <(seq -f "$k %.0f" 30)
	done
}

@test "order= cannot be changed while messages are in the queue" {
	must mq-send -q jobs a
	refuses '2|64|75' order mq-make jobs order=key
	prints a mq-recv jobs
	must mq-make jobs order=key
	must mq-send -k k jobs a b
	lease jobs
	refuses '2|64|75' order mq-make jobs order=off
	nothing mq-recv -e jobs
}
