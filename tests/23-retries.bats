#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# A message that failed comes again, later, as it was; after max-attempts it is a dead letter, which says why.

load helpers

# arrivals N: receives N messages of jobs under leases; the file leases gets the leases, the file arrivals
# the microseconds since $begin at which each came.
arrivals() {
	mkfifo -m 600 "arriving.$begin"
	start "recv$begin" bash -c "exec mq-recv -w 20 -n $1 -l 600 -F '%l\n' jobs >arriving.$begin"
	: >leases
	: >arrivals
	while read -r line; do
		echo $((${EPOCHREALTIME/./} - begin)) >>arrivals
		echo "$line" >>leases
	done <"arriving.$begin"
	ended "$started" 0
	[[ $(wc -l <leases) == "$1" ]]
}

# letter FILTER: what jq finds in the only dead letter of jobs.
letter() {
	mq-peek -j "${2-jobs.dead}" | jq -r "$1"
}

# crash COMMAND...: a worker on jobs is killed while it runs the command, which says so in the file running.
crash() {
	rm -f running
	start crash mq-exec jobs "$@"
	until_true 20 test -e running
	kill -KILL "$started"
	ended "$started" 137
}

# ---- back-off -----------------------------------------------------------------------------------------------

@test "back-off: at most the first delay after the first failure, at most twice that after the second, spread" {
	must mq-make --queue jobs backoff=400ms..1h
	seq 64 | must mq-send jobs
	must mq-recv -e -l 600 -F '%l\n' jobs
	cp "$out" leases
	for bound in 400000 800000; do
		begin=$(clock)
		must mq-ack --retry <leases
		acknowledged=$(($(clock) - begin))
		arrivals 64
		first=$(head -n 1 arrivals) last=$(tail -n 1 arrivals)
		echo "# bound $bound: $first to $last us"
		((first < bound && last > bound * 2 / 3 && last < bound + acknowledged + 300000))
	done
}

@test "back-off: never longer than the longest" {
	must mq-make --queue jobs backoff=20ms..30ms max-attempts=none
	must mq-send jobs a
	begin=$(clock)
	must_fail 2 mq-exec -n 12 -w 20 jobs false
	(($(clock) - begin < 2000000))
}

@test "a retry without delay is said to come at once" {
	must mq-make --queue jobs backoff=0..0 max-attempts=2
	must mq-send jobs a
	must_fail 2 mq-exec -e jobs false
	[[ $(head -n 1 "$err") == 'mq-exec: jobs:0: exit status 1, attempt 1 of 2, again at once' ]]
}

@test "a message that waits for its retry is not ready before" {
	must mq-make --queue jobs backoff=1h..1h
	seq 10 | must mq-send jobs
	must_fail 2 mq-exec -e jobs false
	nothing mq-recv -e jobs
	nothing mq-recv -w 50ms jobs
	[[ $(stored jobs) == 10 ]]
}

@test "a retry does not block those behind" {
	must mq-make --queue jobs backoff=1h..1h
	seq 20 | must mq-send jobs
	must_fail 2 mq-exec -e jobs sh -c 'read -r n || :; [ "$n" != 1 ] && echo "$n"'
	seq 2 20 | cmp - "$out"
	[[ $(stored jobs) == 1 ]]
}

@test "many that wait for their retry do not hide the next ready one" {
	must mq-make --queue jobs backoff=1h..1h
	seq 20000 | must mq-send jobs
	mq-recv -e -l 600 -F '%l\n' jobs | must mq-ack --retry -D 1h
	must mq-send jobs next
	prints next mq-recv jobs
	nothing mq-recv -e jobs
}

@test "a retry keeps body, key, headers, priority, type, id and offset" {
	must mq-make --queue jobs backoff=1ms..1ms
	must mq-send -k a.b -H trace=x -p 7 --type=text/plain --id=o-1 --reply-to=r --correlation=c jobs body
	must mq-peek -j jobs
	jq 'del(.state, .history)' "$out" >before
	must_fail 2 mq-exec -n 1 jobs false
	must mq-recv -w 20 -j jobs
	jq -e '.attempt == 2' "$out"
	jq 'del(.attempt, .lease)' "$out" | diff before -
}

@test "a retry comes before what was sent behind it, and behind what has a higher priority" {
	must mq-make --queue jobs
	must mq-send jobs a b
	lease jobs
	must mq-ack --retry -D 1ms jobs:0:1
	later 5
	must mq-send -p 9 jobs urgent
	prints $'urgent\na\nb' mq-recv -e jobs
}

@test "a retry of a large message: its body comes whole" {
	must mq-make --queue jobs backoff=1s..1s
	head -c 3000000 /dev/urandom >input
	must mq-send -r jobs <input
	must_fail 2 mq-exec -e jobs false
	same 'mq-recv -w 20 -r jobs' 'cat input'
}

# ---- attempts -----------------------------------------------------------------------------------------------

@test "max-attempts: so many runs, then it is a dead letter" {
	must mq-make --queue jobs max-attempts=3 backoff=1ms..1ms
	must mq-send jobs a
	must_fail 2 mq-exec -n 3 -w 20 jobs sh -c 'echo $MQ_ATTEMPT of $MQ_MAX_ATTEMPTS; exit 1'
	[[ $(<"$out") == $'1 of 3\n2 of 3\n3 of 3' ]]
	nothing mq-recv -w 50ms jobs
	prints 'a failed jobs:0' mq-recv -e -F '%b %r %O\n' jobs.dead
}

@test "five attempts are the default" {
	must mq-make --queue jobs backoff=1ms..1ms
	must mq-send jobs a
	must_fail 2 mq-exec -n 5 -w 20 jobs false
	[[ $(stored jobs) == 0 && $(stored jobs.dead) == 1 ]]
}

@test "max-attempts=none: it is tried for ever" {
	must mq-make --queue jobs max-attempts=none backoff=1ms..2ms
	must mq-send jobs a
	must_fail 2 mq-exec -n 40 -w 20 jobs false
	prints 'a 41' mq-recv -w 20 -F '%b %a\n' jobs
}

@test "a run that cannot be started, and a message given back, are no attempts" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	for _ in 1 2 3; do
		must_fail 127 mq-exec -e jobs ./missing
		receipt=$(lease jobs)
		must mq-ack --retry --uncounted "$receipt"
	done
	prints 'a 1' mq-recv -F '%b %a\n' jobs
}

# ---- crashes ------------------------------------------------------------------------------------------------

@test "a message whose workers die again and again is a dead letter in the end: crashed" {
	must mq-make --queue jobs max-attempts=3
	must mq-send jobs poison good
	mkfifo gate
	for _ in 1 2 3; do
		crash sh -c ': >running; read -r line <gate'
	done
	prints good mq-exec -e jobs sh -c 'cat; echo'
	[[ $(stored jobs) == 0 && $(letter .body) == poison ]]
	[[ $(letter '[.reason, .origin, .attempts, .crashes, .failures] | join(" ")') == 'crashed jobs:0 3 3 0' ]]
}

@test "kill -9 of mq-recv while it writes counts as an attempt" {
	must mq-make --queue jobs
	head -c 3000000 /dev/zero | tr '\0' x | must mq-send -r jobs
	mkfifo pipe
	start recv bash -c 'exec mq-recv -r jobs >pipe'
	exec 7<pipe
	read -r -N 10 _ <&7 || true
	until_true 20 blocked "$started"
	kill -KILL "$started"
	ended "$started" 137
	prints '3000000 2' mq-recv -e -F '%s %a\n' jobs
}

@test "what a killed worker had claimed and not begun is not counted" {
	must mq-make --queue jobs max-attempts=1
	seq 50 | must mq-send jobs
	mkfifo gate
	crash sh -c ': >running; read -r line <gate'
	mq-recv -e -F '%b %a\n' jobs | cmp - <(seq -f '%.0f 1' 2 50)
	[[ $(letter '[.body, .reason] | join(" ")') == '1 crashed' ]]
}

# ---- dead letters -------------------------------------------------------------------------------------------

@test "a dead letter keeps body, key, headers, priority, type and id" {
	must mq-make --queue jobs max-attempts=1
	must mq-send -k a.b -H trace=x -p 7 --type=text/plain --id=o-1 --reply-to=r --correlation=c jobs body
	kept='{body, key, headers, priority, type, id, reply_to, correlation}'
	must mq-peek -j jobs
	jq "$kept" "$out" >before
	must_fail 2 mq-exec -e jobs false
	letter "$kept" | diff before -
}

@test "a dead letter tells reason, origin, counts, times, exit status and the end of stderr" {
	must mq-make --queue jobs max-attempts=2 backoff=1ms..1ms
	must mq-send jobs before a
	must mq-recv jobs
	begin=$(clock)
	must_fail 2 mq-exec -n 2 -w 20 jobs sh -c 'echo "attempt $MQ_ATTEMPT" >&2; exit 17'
	end=$(clock)
	[[ $(letter '[.reason, .origin, .exit, .signal] | map(tostring) | join(" ")') == 'failed jobs:1 17 null' ]]
	[[ $(letter '[.attempts, .failures, .crashes, .timeouts] | join(" ")') == '2 2 0 0' ]]
	[[ $(letter .error) == *'attempt 2'* ]]
	first=$(($(date -d "$(letter .first_time)" +%s%N) / 1000))
	last=$(($(date -d "$(letter .last_time)" +%s%N) / 1000))
	((begin <= first && first <= last && last <= end))
}

@test "a dead letter tells the signal that ended the last run" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	must_fail 2 mq-exec -e jobs sh -c 'kill -KILL $$'
	[[ $(letter '[.reason, .signal, .exit] | map(tostring) | join(" ")') == 'failed 9 null' ]]
}

@test "a lease that ran out is a time-out, and so is a run that took too long" {
	must mq-make --queue jobs max-attempts=2
	must mq-send jobs a
	mkfifo gate
	lease jobs 1ms
	must_fail 2 mq-exec -w 20 -n 1 -t 50ms jobs sh -c 'read -r line <gate'
	[[ $(stored jobs) == 0 ]]
	[[ $(letter '[.reason, .attempts, .timeouts] | map(tostring) | join(" ")') == 'timeout 2 2' ]]
}

@test "leases that run out again and again end in the dead letters" {
	must mq-make --queue jobs max-attempts=3
	must mq-send jobs a
	for _ in 1 2 3; do
		must mq-recv -w 20 -l 1ms jobs
	done
	later 5
	nothing mq-recv -w 50ms jobs
	[[ $(letter '[.reason, .attempts] | map(tostring) | join(" ")') == 'timeout 3' ]]
}

@test "dead=OTHER: dead letters go there, from several queues" {
	must mq-make --queue one dead=graveyard max-attempts=1
	must mq-make --queue two dead=graveyard max-attempts=1
	must mq-send one a
	must mq-send two b
	must_fail 2 mq-exec -e one false
	must_fail 2 mq-exec -e two false
	prints $'a one:0\nb two:0' mq-recv -e -F '%b %O\n' graveyard
	[[ $(mq-ls --names) == $'graveyard\none\ntwo' ]]
}

@test "dead=none: the message stays and is tried for ever" {
	must mq-make --queue jobs dead=none max-attempts=2 backoff=1ms..1ms
	must mq-send jobs a
	must_fail 2 mq-exec -n 10 -w 20 jobs false
	prints 'a 11' mq-recv -w 20 -F '%b %a\n' jobs
	prints jobs mq-ls --names
}

@test "dead letters that fail stay among the dead letters" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	must_fail 2 mq-exec -e jobs false
	for i in 1 2 3 4 5 6 7; do
		prints "jobs.dead:0:$i" mq-recv -w 20 -l 600 -F '%l\n' jobs.dead
		must mq-ack --retry -D 1ms "jobs.dead:0:$i"
	done
	[[ $(stored jobs.dead) == 1 && $(stored jobs) == 0 ]]
	prints jobs$'\n'jobs.dead mq-ls --names
	prints 'a jobs:0' mq-recv -w 20 -F '%b %O\n' jobs.dead
}

@test "poison messages never stop the others" {
	must mq-make --queue jobs max-attempts=3 backoff=1ms..5ms
	{ echo poison; seq 20; echo poison; seq 21 40; } | must mq-send jobs
	start worker mq-exec -P 2 jobs sh -c 'read -r n || :; [ "$n" != poison ] || exit 1; echo "$n"'
	until_true 20 has_lines 40 worker.out
	until_true 20 eval '[[ $(stored jobs.dead) == 2 ]]'
	kill -TERM "$started"
	ended "$started" 143
	exactly worker.out 'seq 40'
	[[ $(stored jobs) == 0 && $(wc -l <worker.err) == 6 ]]
	prints $'poison failed\npoison failed' mq-recv -e -F '%b %r\n' jobs.dead
}

@test "what fails is a dead letter exactly once, though workers are killed at random" {
	export MQ_SYNC=relaxed
	must mq-make --queue jobs max-attempts=2 backoff=1ms..1ms
	seq 100 | must mq-send jobs
	for _ in $(seq 40); do
		start worker mq-exec -e -P 2 jobs sh -c 'exit $(($(cat) % 3))'
		spin 20000
		kill -KILL "$started" 2>/dev/null || true
		until_true 20 gone "$started"
	done
	drained jobs mq-exec -e -w 50ms jobs sh -c 'exit $(($(cat) % 3))'
	mq-recv -e jobs.dead | sort -n >dead
	sort -n -c -u dead
	[[ $(head -n 1 dead) -ge 1 && $(tail -n 1 dead) -le 100 ]]
	[[ $(seq 100 | awk '$1 % 3' | sort | comm -23 - <(sort dead)) == '' ]]
}
