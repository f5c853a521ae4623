#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-move: messages go from one queue to another, dead letters back; nothing is lost and nothing doubled.

load helpers

fields='{body, body_base64, key, headers, type, priority, id, reply_to, correlation}'

# dead N [OPTION]...: the numbers 1 to N are dead letters of jobs, and of nothing else.
dead() {
	local n=$1
	shift
	must mq-make --queue jobs max-attempts=1
	seq "$n" | must mq-send "$@" jobs
	mq-recv -e -l 600 -F '%l\n' jobs | xargs -n 5000 mq-ack --retry
	[[ $(stored jobs) == 0 && $(stored jobs.dead) == "$n" ]]
}

# ---- from queue to queue ------------------------------------------------------------------------------------------

@test "mq-move moves all that is ready, in order" {
	seq 1000 | must mq-send -q from
	must mq-send to before
	must mq-move -q from to
	[[ ! -s $out && ! -s $err && $(stored from) == 0 ]]
	same 'mq-recv -e to' 'echo before; seq 1000'
}

@test "a missing destination is created; --no-create refuses it" {
	must mq-send -q from a
	refuses 66 to mq-move --no-create from to
	must mq-move from to
	prints a mq-recv to
}

@test "mq-move keeps body, key, headers, type, priority and id" {
	must mq-send -q -k a.b -H trace=x -p 7 --type=text/plain --id=o-1 --reply-to=r --correlation=c from body
	printf 'a\nb\0\377' | must mq-send -r from
	must mq-send from ''
	mq-peek -j from | jq -c "$fields" >before
	must mq-move from to
	mq-peek -j to | jq -c "$fields" | diff before -
}

@test "what has failed before begins anew where it is moved to" {
	must mq-make --queue from backoff=1ms..1ms
	must mq-send from a
	must_fail 2 mq-exec -n 2 -w 20 from false
	until_true 20 mq-move from to
	prints 'a 1' mq-recv -F '%b %a\n' to
}

@test "-n N, offsets, -k, -m: only these are moved" {
	for i in 0 1 2 3 4 5 6 7 8 9; do
		must mq-send -q -k "k.$((i % 2))" -H "n=$i" from "$i"
	done
	must mq-move -n 2 from first
	prints $'0\n1' mq-recv -e first
	must mq-move from second 3 5-6
	prints $'3\n5\n6' mq-recv -e second
	must mq-move -k k.0 from third
	prints $'2\n4\n8' mq-recv -e third
	must mq-move -m 'n=[79]' -n 1 from fourth
	prints 7 mq-recv -e fourth
	prints 9 mq-recv -e from
}

@test "--older=D moves what was stored longer ago" {
	must mq-send -q from a
	later 5
	must_fail 1 mq-move --older=1h from to
	must mq-move --older=1ms from to
	prints a mq-recv -e to
}

@test "what is leased, delayed or waits for its retry stays" {
	must mq-make --queue from backoff=1h..1h
	must mq-send from leased retry ready
	must mq-send -D 1h from delayed
	lease from
	must_fail 2 mq-exec -n 1 from false
	must mq-move from to
	prints ready mq-recv -e to
	prints $'leased\nretry\ndelayed' mq-peek from
	must mq-ack from:0:1
}

@test "--copy leaves the messages where they are, as they are" {
	seq 100 | must mq-send -q from
	must mq-move --copy from to
	same 'mq-recv -e to' 'seq 100'
	same 'mq-recv -e -F "%b %a %o\n" from' 'seq 100 | awk "{ print \$1, 1, NR - 1 }"'
}

@test "large bodies are moved and copied without damage" {
	head -c 200000 /dev/urandom >one
	head -c 5000000 /dev/urandom >two
	must mq-send -q --file=one --file=two from small
	must mq-move --copy from copied
	must mq-move from moved
	must mq-rm from
	must mq-trim -y --keep=1 copied
	seq 100000 | must mq-send -q other
	{ cat one two; echo -n small; } >wanted
	same 'mq-recv -e -r moved' 'cat wanted'
	prints small mq-recv -e copied
}

@test "copies of a large body outlive each other" {
	head -c 300000 /dev/urandom >large
	must mq-send -q --file=large from
	must mq-move --copy from one
	must mq-move --copy from two
	must mq-recv -r from
	must mq-rm one
	head -c 300000 /dev/zero | must mq-send -q -r other
	same 'mq-recv -r two' 'cat large'
}

@test "messages may be moved to a stream" {
	must mq-make --stream log
	seq 5 | must mq-send from
	must mq-move from log
	same 'mq-replay log' 'seq 5'
	[[ $(stored from) == 0 ]]
}

@test "--dry-run tells how many, and moves none" {
	seq 7 | must mq-send -q from
	must mq-move --dry-run from to
	grep -q '\b7\b' "$out"
	must mq-move --dry-run -n 3 from to
	grep -q '\b3\b' "$out"
	[[ $(stored from) == 7 ]]
	prints from mq-ls --names
}

@test "--rate=N/s moves no more than N a second" {
	seq 6 | must mq-send -q from
	begin=$(clock)
	must mq-move --rate=20/s from to
	(($(clock) - begin >= 240000))
	same 'mq-recv -e to' 'seq 6'
}

@test "nothing to move is exit 1" {
	must mq-make --queue from
	nothing mq-move from to
	prints from mq-ls --names
}

@test "a full destination: 75, and each message is in one of the two" {
	seq 10 | must mq-send -q from
	must mq-make --queue to max-messages=4
	must_fail 75 mq-move from to
	grep -q 'to: queue is full' "$err"
	[[ $(stored to) -le 4 ]]
	{ mq-recv -e to; mq-recv -e from; } >all
	seq 10 | cmp - all
}

@test "--copy to a full destination: 75, and only what was stored there counts as copied" {
	seq 10 | must mq-send -q from
	must mq-make --queue to max-messages=4
	must_fail 75 mq-move --copy from to
	grep -q 'to: queue is full' "$err"
	[[ $(<"$err") != *copied* ]]
	[[ $(stored to) == 0 ]]
	same 'mq-recv -e from' 'seq 10'
}

@test "a message larger than the destination takes stays where it is" {
	head -c 200000 /dev/zero >large
	must mq-send -q --file=large from
	must mq-make --queue to max-message=100K
	must_fail 65 mq-move from to
	same 'mq-recv -r from' 'cat large'
}

@test "the same queue twice, one that is missing and one that is no queue are refused" {
	must mq-send -q from a
	must mq-make --stream log
	refuses 64 from mq-move from from
	refuses 64 '' mq-move from
	refuses 64 log mq-move log to
	refuses 66 form mq-move form to
	refuses 64 '' mq-move --redrive --copy from
	prints a mq-recv from
}

@test "what is sent meanwhile is not moved for ever: two mq-move in a circle end" {
	seq 2000 | must mq-send -q a
	must mq-make --queue b
	start there mq-move a b
	there=$started
	start back mq-move b a
	for pid in "$there" "$started"; do
		until_true 20 gone "$pid"
		wait "$pid" || [[ $? == 1 ]]
	done
	{ mq-recv -e a || true; mq-recv -e b || true; } >all
	exactly all 'seq 2000'
}

@test "killed at random nothing is lost and nothing is doubled" {
	export MQ_SYNC=relaxed
	seq 1000000 1150000 | must mq-send -q from
	killed_at_random 60000 mq-move -q from to
	[[ $(stored from) == 0 ]]
	mq-recv -e to | cmp - <(seq 1000000 1150000)
}

@test "killed at random large bodies are moved without damage" {
	export MQ_SYNC=relaxed
	for i in $(seq 20); do
		head -c $((70000 * i)) /dev/urandom >"body.$i"
		must mq-send -q "--file=body.$i" from
	done
	killed_at_random 30000 mq-move -q from to
	for i in $(seq 20); do
		mq-recv -r to | cmp - "body.$i"
	done
}

# ---- dead letters go back -----------------------------------------------------------------------------------------

@test "--redrive QUEUE puts its dead letters back, in order, counters reset" {
	dead 100
	must mq-move --redrive jobs
	[[ $(stored jobs.dead) == 0 ]]
	mq-recv -e -F '%b %a\n' jobs | cmp - <(seq -f '%.0f 1' 100)
}

@test "--redrive keeps body, key, headers, type, priority and id; it is no dead letter any more" {
	must mq-make --queue jobs max-attempts=1
	must mq-send -k a.b -H trace=x -p 7 --type=text/plain --id=o-1 --reply-to=r --correlation=c jobs body
	mq-peek -j jobs | jq -c "$fields" >before
	must_fail 2 mq-exec -e jobs false
	must mq-move --redrive jobs
	mq-peek -j jobs | jq -c "$fields" | diff before -
	[[ $(mq-peek -j jobs | jq -c '[.reason, .origin, .history]') == '[null,null,null]' ]]
}

@test "--redrive: a message may die again, as often as it was given attempts" {
	must mq-make --queue jobs max-attempts=2 backoff=1ms..1ms
	must mq-send jobs a
	for _ in 1 2; do
		must_fail 2 mq-exec -n 2 -w 20 jobs false
		[[ $(mq-peek -j jobs.dead | jq -r '[.body, .attempts] | map(tostring) | join(" ")') == 'a 2' ]]
		must mq-move --redrive jobs
	done
	prints 'a 1' mq-recv -F '%b %a\n' jobs
}

@test "--redrive with -n, offsets, -k, -m, --reason, --older takes only these" {
	must mq-make --queue jobs max-attempts=1
	must mq-send -k x jobs failed
	must_fail 2 mq-exec -e jobs false
	must mq-send -H n=1 jobs rejected
	must_fail 2 mq-exec -e jobs sh -c 'exit 65'
	must mq-send -T 1ms jobs expired
	must mq-send jobs more
	later 5
	must_fail 2 mq-exec -e jobs false
	[[ $(stored jobs.dead) == 4 ]]
	must_fail 1 mq-move --redrive --older=1h jobs
	must_fail 1 mq-move --redrive --reason=crashed jobs
	must mq-move --redrive --reason=rejected jobs
	prints rejected mq-recv -e jobs
	must mq-move --redrive -k x jobs
	prints failed mq-recv -e jobs
	must mq-move --redrive --dry-run --reason=expired jobs
	grep -q '\b1\b' "$out"
	must mq-move --redrive jobs "$(mq-peek -F '%o %b\n' jobs.dead | sed -n 's/ more$//p')"
	prints more mq-recv -e jobs
	must mq-send -H n=2 jobs again
	must_fail 2 mq-exec -e jobs false
	[[ $(stored jobs.dead) == 2 ]]
	must_fail 1 mq-move --redrive -m n=1 jobs
	must mq-move --redrive -n 1 jobs
	[[ $(stored jobs.dead) == 1 ]]
}

@test "--redrive: dead=OTHER, and only what came from that queue" {
	for queue in one two; do
		must mq-make --queue $queue dead=graveyard max-attempts=1
		must mq-send $queue "$queue"
		must_fail 2 mq-exec -e $queue false
	done
	must mq-move --redrive one
	prints one mq-recv -e one
	prints two mq-peek graveyard
}

@test "--redrive of a queue of dead letters: each goes back to the queue it came from" {
	dead 3
	must mq-move --redrive jobs.dead
	prints $'1\n2\n3' mq-recv -e jobs
	[[ $(stored jobs.dead) == 0 ]]
}

@test "--redrive --dry-run tells how many, and moves none" {
	dead 7
	must mq-move --redrive --dry-run jobs
	grep -q '\b7\b' "$out"
	[[ $(stored jobs.dead) == 7 && $(stored jobs) == 0 ]]
}

@test "--redrive where there is no dead letter is exit 1" {
	must mq-make --queue jobs
	nothing mq-move --redrive jobs
	refuses 66 nobody mq-move --redrive nobody
}

@test "--redrive of a queue that is gone: the dead letters stay" {
	dead 3
	must mq-rm jobs
	must_fail 66 mq-move --redrive jobs
	must_fail 66 mq-move --redrive jobs.dead
	[[ $(stored jobs.dead) == 3 ]]
}

@test "--redrive into a full queue: 75, and each message is in one of the two" {
	dead 10
	must mq-make jobs max-messages=4
	must_fail 75 mq-move --redrive jobs
	{ mq-recv -e jobs; mq-recv -e jobs.dead; } >all
	exactly all 'seq 10'
}

@test "--redrive killed at random: nothing is lost and nothing is doubled" {
	export MQ_SYNC=relaxed
	dead 30000
	killed_at_random 20000 mq-move -q --redrive jobs
	[[ $(stored jobs.dead) == 0 ]]
	mq-recv -e jobs >got
	exactly got 'seq 30000'
}

@test "large bodies survive death and redriving, again and again" {
	must mq-make --queue jobs max-attempts=1
	head -c 200000 /dev/urandom >one
	head -c 5000000 /dev/urandom >two
	must mq-send --file=one --file=two jobs small
	for _ in 1 2 3; do
		must_fail 2 mq-exec -e jobs false
		[[ $(stored jobs) == 0 && $(stored jobs.dead) == 3 ]]
		must mq-move --redrive jobs
	done
	{ cat one two; echo -n small; } >wanted
	same 'mq-recv -e -r jobs' 'cat wanted'
}

@test "--redrive brings a message back though its id is known" {
	must mq-make --queue jobs dedup=1h max-attempts=1
	must mq-send --id=o-1 jobs body
	must_fail 2 mq-exec -e jobs false
	must mq-move --redrive jobs
	prints body mq-recv jobs
}

@test "the dead letters of a group are put back to that group, from where they still lie" {
	must mq-make -q --stream log
	must mq-pub -q -k a log 1 2
	must mq-pub -q -k b log 3
	must mq-make -q -g one log
	must mq-make -q -g two log order=key
	must_fail 2 mq-exec -q -g one -e log sh -c 'exit 65'
	must_fail 2 mq-exec -q -g two -e log sh -c 'exit 65'
	[[ $(mq-peek -j log.dead | jq -r .group | sort | uniq -c | xargs) == '3 one 3 two' ]]
	must mq-move -q --redrive log
	[[ $(stored log.dead) == 0 && $(stored log) == 3 ]]
	prints $'1\n2\n3' mq-sub -g one -e log
	[[ $(mq-sub -g two -e log | sort | xargs) == '1 2 3' ]]
	nothing mq-sub -g one -e log
}

@test "a dead letter whose message was trimmed stays, and goes elsewhere" {
	must mq-make -q --stream log
	must mq-pub -q log 1
	must_fail 2 mq-exec -q -g one -e log sh -c 'exit 65'
	must mq-trim -q -y --all log
	refuses 66 'log:0: is no longer there' mq-move --redrive log
	[[ $(stored log.dead) == 1 ]]
	must mq-move -q log.dead jobs
	prints 1 mq-recv jobs
}

@test "letters that cannot go back to their group do not keep the others from it" {
	must mq-make -q --stream log
	seq 300 | must mq-pub -q log
	must_fail 2 mq-exec -q -P 4 -g one -e log sh -c 'exit 65'
	must mq-trim -q -y --to=100 log
	refuses 66 'log:' mq-move -q --redrive log
	[[ $(stored log.dead) == 100 ]]
	mq-sub -g one -e log | sort -n >got
	seq 101 300 | cmp - got
}
