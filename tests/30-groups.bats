#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# Groups of topics and streams: every group gets every message, within a group each goes to one member, and nothing
# is lost whoever dies.

load helpers

# exactly_once N FILE...: all the files together hold the numbers 1 to N, each once.
exactly_once() {
	local n=$1
	shift
	sort -n -- "$@" | cmp - <(seq "$n")
}

# a_log N: the stream log with the messages 1 to N.
a_log() {
	must mq-make --stream log
	(($1 == 0)) || seq "$1" | must mq-pub log
}

# stuck NAME ARG...: a member of group team that has messages of 100 KB in its hands, blocked on stdout. Its process
# id is in $member; what it writes can be had from descriptor $pipe.
stuck() {
	local name=$1
	shift
	mkfifo "$name"
	exec {pipe}<>"$name"
	start "$name" bash -c 'exec mq-sub -g team "$@" >"$0"' "$name" "$@"
	member=$started
	head -c 100000 /dev/zero | tr '\0' x >big
	for i in 1 2 3 4 5 6; do
		must mq-pub --file=big log
	done
	until_true 20 blocked "$member"
	until_true 20 in_write "$member"
}

# in_write PID: it waits for somebody to read what it writes.
in_write() {
	grep -q pipe_write "/proc/$1/wchan" || [[ $(<"/proc/$1/syscall") == 1\ * ]]
}

# ---- who gets what ------------------------------------------------------------------------------------------

@test "a group goes on where it stopped" {
	a_log 3
	prints $'1\n2\n3' mq-sub -e -g team log
	nothing mq-sub -e -g team log
	must mq-pub log 4 5
	prints $'4\n5' mq-sub -e -g team log
	same 'mq-replay log' 'seq 5'
}

@test "every group gets every message, and so does who has none" {
	a_log 100
	for group in a b c; do
		same "mq-sub -e -g $group log" 'seq 100'
	done
	same 'mq-sub -e --from=first log' 'seq 100'
	nothing mq-sub -e -g a log
}

@test "within a group each message goes to one member, in order" {
	a_log 50000
	for i in 1 2 3 4; do
		start "sub$i" mq-sub -e -g team log
		pids[i]=$started
	done
	for i in 1 2 3 4; do
		until_true 20 gone "${pids[i]}"
		wait "${pids[i]}" || [[ $? == 1 && ! -s sub$i.out ]]
		[[ ! -s sub$i.err ]]
		sort -n -c sub$i.out
	done
	exactly_once 50000 sub[1-4].out
	nothing mq-sub -e -g team log
}

@test "a group of a topic shares what is published while its members wait" {
	must mq-make --topic news
	for i in 1 2 3; do
		start "sub$i" mq-sub -g team news
		pids[i]=$started
	done
	for i in 1 2 3; do
		until_true 20 blocked "${pids[i]}"
	done
	seq 500 | must mq-pub news
	seq 501 1000 | must mq-pub news
	until_true 20 has_lines 1000 sub1.out sub2.out sub3.out
	exactly_once 1000 sub[123].out
}

@test "many groups at once, while it is published" {
	must mq-make --stream log
	for i in $(seq 20); do
		start "sub$i" mq-sub -n 2000 -g "g$i" log
		pids[i]=$started
	done
	for i in $(seq 20); do
		seq $((i * 100 - 99)) $((i * 100)) | must mq-pub log
	done
	for i in $(seq 20); do
		ended "${pids[i]}" 0
		seq 2000 | cmp - "sub$i.out"
	done
}

@test "members of mq-sub and mq-exec share a group" {
	a_log 10
	same 'mq-sub -n 4 -g team log' 'seq 4'
	same 'mq-exec -e -n 3 -g team log sh -c "cat; echo"' 'seq 5 7'
	same 'mq-sub -e -g team log' 'seq 8 10'
}

@test "-g with a pattern: each channel has a group of its own" {
	must mq-make --stream orders.eu
	must mq-make --stream orders.us
	must mq-pub orders.eu 1 2
	must mq-pub orders.us 3
	mq-sub -e -g team 'orders.#' >got
	exactly got 'seq 3'
	must mq-pub orders.us 4
	prints orders.us:4 mq-sub -e -g team -F '%c:%b\n' 'orders.#'
	nothing mq-sub -e -g team orders.eu
}

@test "-g may be started before its channel exists, and gets all of it" {
	must mq-make --queue other
	start sub mq-sub -n 3 -g team news 'more.#'
	until_true 20 blocked "$started"
	must mq-pub -q news 1
	must mq-pub -q more.news 2 3
	ended "$started" 0
	exactly sub.out 'seq 3'
}

@test "large bodies come whole" {
	head -c 3000000 /dev/urandom >input
	must mq-make --stream log
	must mq-pub -r log <input
	same 'mq-sub -r -n 1 -g team log' 'cat input'
	same 'mq-sub -r -e -g other log' 'cat input'
}

# ---- where a new group starts ---------------------------------------------------------------------------------

@test "a new group of a stream starts at the first message, of a topic now" {
	a_log 3
	must mq-make --topic news
	must mq-pub news old
	same 'mq-sub -e -g team log' 'seq 3'
	nothing mq-sub -e -g team news
	must mq-pub news new
	prints new mq-sub -e -g team news
}

@test "--from, --last and --since choose where a new group starts" {
	a_log 9
	same 'mq-sub -e -g a --from=6 log' 'seq 7 9'
	same 'mq-sub -e -g b --from=first log' 'seq 9'
	nothing mq-sub -e -g c --from=end log
	same 'mq-sub -e -g d --last=2 log' 'seq 8 9'
	same 'mq-sub -e -g e --since=-1h log' 'seq 9'
	nothing mq-sub -e -g f --since=+1h log
	must mq-make --topic news
	must mq-pub news 1 2
	prints $'1\n2' mq-sub -e -g a --from=first news
	prints $'1\n2' mq-sub -e -g b --since=-1h news
	same 'mq-exec -e -g x --from=7 log sh -c "cat; echo"' 'seq 8 9'
	same 'mq-exec -e -g y --last=3 log sh -c "cat; echo"' 'seq 7 9'
	refuses 64 --group mq-exec -e --last=3 log true
}

@test "an old group stays where it is, whatever --from, --last and --since say" {
	a_log 5
	same 'mq-sub -n 2 -g team log' 'seq 2'
	prints 3 mq-sub -n 1 -g team --from=first log
	prints 4 mq-sub -n 1 -g team --last=1 log
	prints 5 mq-sub -e -g team --since=+1h log
}

@test "--create-only makes the group and reads nothing" {
	must mq-make --topic news
	prints '' bash -c 'mq-sub -g team --create-only news && echo'
	must mq-pub news 1 2
	must mq-sub -g team --create-only news
	prints $'1\n2' mq-sub -e -g team news
	must mq-sub -g late --create-only news
	nothing mq-sub -e -g late news
	must mq-sub -g first --create-only --from=first news
	prints $'1\n2' mq-sub -e -g first news
}

@test "--create-only with a pattern makes the groups of all that match" {
	must mq-make --topic a.x
	must mq-make --topic a.y
	must mq-make --queue a.q
	must mq-sub -g team --create-only 'a.#'
	must mq-pub a.x 1
	must mq-pub a.y 2
	mq-sub -e -g team 'a.#' >got
	exactly got 'seq 2'
	nothing mq-sub -g team --create-only 'b.#'
}

@test "--create-only: a channel that is named must be there" {
	must mq-make --topic news
	refuses 66 newz mq-sub -g team --create-only newz
	must_fail 66 mq-sub -s ./none -g team --create-only news
	[[ ! -e none ]]
}

@test "--no-create: a missing group or channel is an error" {
	a_log 1
	refuses 66 team mq-sub -e --no-create -g team log
	refuses 66 team mq-sub --no-create -g team log
	refuses 66 team mq-exec -e --no-create -g team log true
	refuses 66 lag mq-sub --no-create -g team lag
	refuses 66 lag mq-sub --no-create lag
	must mq-sub -g team --create-only log
	prints 1 mq-sub -e --no-create -g team log
}

@test "usage: what needs -g, what -g cannot have" {
	must mq-make --queue jobs
	a_log 1
	refuses 64 group mq-sub -l 60 log
	refuses 64 group mq-sub --create-only log
	refuses 64 create mq-sub -g team --create-only --no-create log
	refuses 64 'a b' mq-sub -g 'a b' log
	refuses 64 '' mq-sub -g '' log
	refuses 64 jobs mq-sub -e -g team jobs
	refuses 64 jobs mq-exec -e -g team jobs true
	refuses 64 soon mq-sub -g team -l soon log
	prints 1 mq-sub -e -g team log
}

# ---- how long ---------------------------------------------------------------------------------------------------

@test "-n stops after N messages, and settles no other" {
	a_log 2000
	same 'mq-sub -n 7 -g team log' 'seq 7'
	same 'mq-sub -n 1000 -g team log' 'seq 8 1007'
	same 'mq-sub -e -g team log' 'seq 1008 2000'
}

@test "-w ends when no message comes in time; with what came before, with 0" {
	a_log 2
	prints $'1\n2' mq-sub -w 50ms -g team log
	nothing mq-sub -w 50ms -g team log
}

@test "a member that waits gets what is published" {
	a_log 0
	start sub mq-sub -f -g team log
	until_true 20 blocked "$started"
	for i in 1 2 3; do
		must mq-pub log "$i"
		until_true 20 has_lines "$i" sub.out
	done
	kill -TERM "$started"
	ended "$started" 143
	seq 3 | cmp - sub.out
	must mq-pub log 4
	prints 4 mq-sub -e -g team log
}

@test "-k and -m: what does not match is not for this member, and stays" {
	must mq-make --stream log
	must mq-pub -k a log 1
	must mq-pub -k b log 2
	must mq-pub -k a -H lang=fr log 3
	prints $'1\n3' mq-sub -e -g team -k a log
	nothing mq-sub -e -g team -k a log
	prints 2 mq-sub -e -g team log
	prints 3 mq-sub -e -g other -m 'lang=f*' log
	prints $'1\n2' mq-sub -e -g other log
}

# ---- ends ---------------------------------------------------------------------------------------------------------

@test "a member that is killed: who waits has its messages at once, and the attempt counts" {
	a_log 0
	stuck one log
	start two mq-sub -g team -F '%o %a\n' log
	until_true 20 blocked "$started"
	begin=$(clock)
	kill -KILL "$member"
	until_true 20 has_lines 6 two.out
	(($(clock) - begin < 1000000))
	grep -qx '0 2' two.out
	[[ $(cut -d ' ' -f 1 two.out | sort) == "$(seq 0 5)" ]]
	nothing mq-sub -e -g team log
}

@test "a worker that is killed: who waits has its message at once, and the attempt counts" {
	a_log 1
	mkfifo gate
	program hang <<-'END'
		echo $$ >pid.new
		mv pid.new pid
		read -r line <>gate
	END
	start one mq-exec -g team log ./hang
	one=$started
	until_true 20 test -s pid
	start two mq-sub -g team -F '%o %a\n' log
	until_true 20 blocked "$started"
	begin=$(clock)
	kill -KILL "$one"
	until_true 20 has_lines 1 two.out
	(($(clock) - begin < 1000000))
	[[ $(<two.out) == '0 2' ]]
	until_true 20 gone "$(<pid)"
}

@test "a message that kills its workers becomes a dead letter of the channel; the group goes on" {
	a_log 3
	for _ in 1 2 3 4 5; do
		must_fail 137 mq-exec -e -g team log sh -c 'read -r n || :; [ "$n" != 1 ] || kill -KILL $PPID; echo "$n"'
	done
	must mq-exec -e -g team log sh -c 'cat; echo'
	[[ $(grep -c . "$out") -le 2 ]]
	prints '1 crashed log:0' mq-recv -e -F '%b %r %O\n' log.dead
	same 'mq-sub -e -g other log' 'seq 3'
}

@test "a group has its own max-attempts and backoff" {
	a_log 2
	must mq-make -g team log max-attempts=2 backoff=1ms..1ms
	must_fail 2 mq-exec -q -w 200ms -g team log sh -c 'read -r n || :; [ "$n" = 2 ] && echo 2'
	[[ $(<"$out") == 2 ]]
	prints '1 failed log:0' mq-recv -e -F '%b %r %O\n' log.dead
	must_fail 2 mq-exec -e -g other log sh -c 'exit 65'
	grep -q 'attempt 1 of 5, moved to log.dead' "$err"
	[[ $(stored log.dead) == 2 ]]
}

@test "dead letters of a group lie with their origin, and go to the queue that dead= names" {
	a_log 1
	must mq-make --queue letters
	must mq-make -g team log dead=letters
	must_fail 2 mq-exec -e -g team log sh -c 'exit 65'
	grep -q 'moved to letters' "$err"
	prints '1 rejected log:0' mq-recv -e -F '%b %r %O\n' letters
}

@test "stdout that takes nothing: all goes back, uncounted" {
	a_log 1000
	status=0
	mq-sub -e -g team log >/dev/full 2>"$err" 3>&- || status=$?
	((status == 74))
	same "mq-sub -e -g team -F '%b %a\n' log" 'seq 1000 | sed "s/$/ 1/"'
}

@test "a reader of its output that goes away: the rest goes back" {
	a_log 100000
	mq-sub -g team log | head -n 1000 >first
	seq 1000 | cmp - first
	mq-sub -e -g team log >rest
	[[ $(tail -n 1 rest) == 100000 ]]
	# What was in the pipe when its reader went away is gone with it.
	head -n 1 rest | awk '{ exit !($1 > 1000 && $1 < 70000) }'
	seq "$(head -n 1 rest)" 100000 | cmp - rest
}

@test "a signal while stdout is full: what was taken is settled, the rest goes back, and nothing comes twice" {
	a_log 0
	stuck one -F '%b\n' log
	cat <&"$pipe" >got &
	reader=$!
	kill -TERM "$member"
	ended "$member" 143
	mq-sub -w 100ms -g team log >rest || (($? == 1))
	until_true 20 drained_pipe
	kill "$reader"
	wait "$reader" || true
	cat got rest | awk 'length($0) == 100000' | has_lines 6 -
	[[ $(cat got rest | wc -l) == 6 ]]
}

# The reader has emptied the pipe.
drained_pipe() {
	asleep "$reader" && ! read -r -t 0 -u "$pipe"
}

@test "killed at random: nothing is lost, and what was settled does not come again" {
	export MQ_SYNC=relaxed
	a_log 0
	must mq-make -g team log max-attempts=none
	seq 3000 | must mq-pub log
	killed_at_random 30000 mq-sub -e -n 100 -g team log
	mq-sub -e -g team log >>"$out" || (($? == 1))
	grep -x '[0-9]*' "$out" | sort -n -u | awk '$1 >= 1 && $1 <= 3000' | cmp - <(seq 3000)
	nothing mq-sub -e -g team log
}

@test "--to: exactly once for each group, though workers are killed at random" {
	export MQ_SYNC=relaxed
	a_log 60
	must mq-make -g team log max-attempts=none backoff=1ms..1ms
	must mq-make --queue results
	killed_at_random 40000 mq-exec -e -P 3 -g team --to results log cat
	# A worker killed while it starts a command holds its messages until that command is killed too.
	until_true 20 all_there
	mq-recv -e results >got
	exactly got 'seq 60'
}

all_there() {
	mq-exec -e -P 3 -g team --to results log cat || true
	[[ $(stored results) == 60 ]]
}

# ---- leases -------------------------------------------------------------------------------------------------------

@test "-l: the lease names channel, group, offset and attempt" {
	a_log 3
	prints log@team:0:1 mq-sub -n 1 -g team -l 600 -F '%l\n' log
	prints 'log@team:1:1 1' bash -c 'mq-sub -n 1 -g team -l 10m -j log | jq -r "[.lease, .attempt] | join(\" \")"'
	prints 3 mq-sub -e -g team log
	nothing mq-sub -e -g team log
	same 'mq-sub -e -g other log' 'seq 3'
	must mq-ack log@team:0:1 log@team:1:1
	refuses 2 'log@team:0:1: lease was lost' mq-ack log@team:0:1
}

@test "-j of a member shows the lease of its delivery; mq-ack settles what is read from stdin" {
	a_log 5
	mq-sub -e -g team -l 600 -j log >leases
	[[ $(jq -r .lease leases) == "$(seq -f 'log@team:%.0f:1' 0 4)" ]]
	must mq-ack <leases
	refuses 2 'log@team:0:1' mq-ack log@team:0:1
	nothing mq-sub -e -g team log
}

@test "a lease that runs out: the message is delivered again, to this group only" {
	a_log 1
	prints log@team:0:1 mq-sub -n 1 -g team -l 50ms -F '%l\n' log
	same 'mq-sub -e -g other log' 'seq 1'
	prints log@team:0:2 mq-sub -w 20 -n 1 -g team -l 600 -F '%l\n' log
	refuses 2 'delivered again' mq-ack log@team:0:1
	must mq-ack log@team:0:2
	nothing mq-sub -e -g team log
}

@test "mq-ack --retry, --dead and --extend settle leases of a group" {
	a_log 3
	mq-sub -e -g team -l 600 log >"$out"
	must mq-ack --retry --delay=0 log@team:0:1
	prints '1 2' mq-sub -e -g team -F '%b %a\n' log
	must mq-ack --extend=1ms log@team:1:1
	prints '2 2' mq-sub -w 20 -n 1 -g team -F '%b %a\n' log
	must mq-ack --dead --reason='no use' log@team:2:1
	prints 'no use' bash -c 'mq-recv -j log.dead | jq -r .error'
	nothing mq-sub -e -g team log
}

@test "leases of a group or channel that is not there, and what is no lease" {
	a_log 1
	must mq-make --queue jobs
	refuses 66 team mq-ack log@team:0:1
	refuses 66 lag mq-ack lag@team:0:1
	must_fail 64 mq-ack jobs@team:0:1
	must_fail 64 mq-ack log:0:1
	for bad in log@:0:1 log@a@b:0:1 log@team:0 log@team/1:0:1 log/@team:0:1 log/x@team:0:1; do
		refuses 64 lease mq-ack "$bad"
	done
}

@test "leases that were not written go back, uncounted" {
	a_log 100
	status=0
	mq-sub -e -g team -l 600 log >/dev/full 2>"$err" 3>&- || status=$?
	((status == 74))
	same "mq-sub -e -g team -F '%b %a\n' log" 'seq 100 | sed "s/$/ 1/"'
}

# ---- what a command is told -----------------------------------------------------------------------------------------

@test "mq-exec -g: MQ_GROUP, MQ_LEASE and no MQ_PARTITION" {
	a_log 1
	prints 'team log@team:0:1 none 5' env MQ_PARTITION=7 mq-exec -e -g team log \
		sh -c 'echo "$MQ_GROUP $MQ_LEASE ${MQ_PARTITION-none} $MQ_MAX_ATTEMPTS"'
}

# ---- order=key ------------------------------------------------------------------------------------------------------

@test "order=key: one message of a key in flight at a time, other keys go on" {
	must mq-make --stream log
	must mq-make -g team log order=key
	must mq-pub -k k log 1 2
	must mq-pub -k other log 3
	must mq-pub log 4
	prints $'1\n3\n4' mq-sub -e -g team -l 600 log
	nothing mq-sub -e -g team log
	must mq-ack log@team:0:1
	prints 2 mq-sub -e -g team log
	same 'mq-sub -e -g other log' 'seq 4'
}

@test "order=key: with many members each key's messages are worked on in order, one by one" {
	must mq-make --stream log
	must mq-make -g team log order=key
	program work <<-'END'
		mkdir "busy.$MQ_KEY" || exit 65
		read -r n || true
		echo "$n" >>"log.$MQ_KEY"
		rmdir "busy.$MQ_KEY"
	END
	for i in $(seq 25); do
		for k in a b c d e f; do
			echo "{\"key\":\"$k\",\"body\":\"$i\"}"
		done
	done | must mq-pub -j log
	for i in 1 2 3; do
		start "exec$i" mq-exec -w 300ms -P 3 -g team log ./work
		pids[i]=$started
	done
	for i in 1 2 3; do
		until_true 20 gone "${pids[i]}"
		wait "${pids[i]}" || (($? == 1))
		[[ ! -s exec$i.err ]]
	done
	for k in a b c d e f; do
		seq 25 | cmp - log.$k
	done
}

@test "order=key: in order and exactly once, though workers are killed at random" {
	export MQ_SYNC=relaxed
	must mq-make --stream log
	must mq-make -g team log order=key max-attempts=none backoff=1ms..1ms
	must mq-make --queue results
	for i in $(seq 15); do
		for k in a b c d; do
			echo "{\"key\":\"$k\",\"body\":\"$k $i\"}"
		done
	done | must mq-pub -j log
	killed_at_random 40000 mq-exec -e -P 4 -g team --to results log cat
	until_true 20 all_there
	mq-recv -e results >got
	[[ $(wc -l <got) == 60 ]]
	for k in a b c d; do
		grep "^$k" got | cmp - <(seq -f "$k %.0f" 15)
	done
}

@test "order=key: a failed message blocks its key, and only that" {
	must mq-make --stream log
	must mq-make -g team log order=key backoff=1h..1h
	must mq-pub -k bad log 1 2 3
	must mq-pub -k good log 4 5
	must_fail 2 mq-exec -e -g team log sh -c 'read -r n || :; [ "$n" != 1 ] && echo "$n"'
	[[ $(<"$out") == $'4\n5' ]]
	nothing mq-sub -e -g team log
}

# ---- what was missed --------------------------------------------------------------------------------------------------

@test "a group says how many messages were trimmed before it got them; --strict ends with 2" {
	a_log 0
	must mq-sub -g team --create-only log
	must mq-sub -g strict --create-only log
	seq 10 | must mq-pub log
	must mq-trim -y --to=5 log
	must mq-sub -e -g team log
	seq 6 10 | cmp - "$out"
	[[ $(<"$err") == 'mq-sub: log: 5 messages were missed' ]]
	must_fail 2 mq-sub -q -e -g strict --strict log
	seq 6 10 | cmp - "$out"
	[[ $(<"$err") == 'mq-sub: 5 messages were missed' ]]
	nothing mq-sub -e -g strict --strict log
}

@test "--strict says a loss once: all of it only where several lines tell of it, or none" {
	local name
	a_log 0
	must mq-make --stream other
	for name in one two three; do
		must mq-sub -g $name --create-only log other
	done
	seq 10 | must mq-pub log
	seq 10 | must mq-pub other
	must mq-trim -y --to=5 log
	must_fail 2 mq-sub -e -g one --strict log
	[[ $(<"$err") == 'mq-sub: log: 5 messages were missed' ]]
	must mq-trim -y --to=3 other
	must_fail 2 mq-sub -e -g two --strict log other
	sort "$err" >got
	printf 'mq-sub: %s\n' '8 messages were missed' 'log: 5 messages were missed' \
		'other: 3 messages were missed' | cmp - got
	[[ $(tail -n 1 "$err") == 'mq-sub: 8 messages were missed' ]]
	must_fail 2 mq-sub -q -e -g three --strict log other
	[[ $(<"$err") == 'mq-sub: 8 messages were missed' ]]
}

@test "a queue has no groups: all tools say so in the same words, with one hint" {
	local command
	must mq-send -q jobs a
	for command in 'mq-sub -e -g team jobs' 'mq-sub -g team jobs' 'mq-sub -g team --create-only jobs' \
		'mq-exec -e -g team jobs true' 'mq-exec -g team jobs true' 'mq-make -g team jobs' 'mq-seek jobs' \
		'mq-seek --from=end jobs team' 'mq-seek --export jobs' 'mq-rm -g team jobs'; do
		# shellcheck disable=SC2086 # words
		refuses 64 ': jobs: a queue has no groups' $command
		[[ $(sed -n '2s/^mq-[a-z]*: //p' "$err") == 'hint: groups belong to topics and streams; '* ]]
	done
	prints a mq-recv jobs
}

@test "a reader that is overtaken by a trim says how many it missed; --strict ends with 2" {
	a_log 0
	head -c 100000 /dev/zero | tr '\0' x >big
	for i in $(seq 30); do
		must mq-pub --file=big log
	done
	mkfifo pipe
	exec {pipe}<>pipe
	start sub bash -c 'exec mq-sub -q -e --strict --from=first log >pipe'
	until_true 20 in_write "$started"
	must mq-trim -y --to=29 log
	cat <&"$pipe" >got &
	children+=("$!")
	ended "$started" 2
	grep -q '^mq-sub: [0-9]* messages were missed$' sub.err
	[[ $(stored log) == 1 ]]
}

@test "--strict with nothing missed ends as without it" {
	a_log 3
	prints $'1\n2\n3' mq-sub -e --strict -g team log
	nothing mq-sub -e --strict -g team log
	prints $'1\n2\n3' mq-sub -e --strict --from=first log
}

# ---- removal --------------------------------------------------------------------------------------------------------

@test "a group that is removed while members wait: they end with 66 and do not make it again" {
	a_log 1
	start sub mq-sub -g team log
	sub=$started
	until_true 20 has_lines 1 sub.out
	start exec mq-exec -g team log true
	until_true 20 blocked "$started"
	must mq-rm -y -g team log
	must mq-pub log 2
	ended "$sub" 66
	ended "$started" 66
	grep -q "group 'team' was removed" sub.err
	grep -q "group 'team' was removed" exec.err
	refuses 66 team mq-sub -e --no-create -g team log
}

@test "a group that is removed and made again while members are away is another one" {
	a_log 1
	start sub mq-sub -f -g team log
	until_true 20 has_lines 1 sub.out
	until_true 20 blocked "$started"
	kill -STOP "$started"
	must mq-rm -y -g team log
	must mq-sub -g team --create-only log
	kill -CONT "$started"
	must mq-pub log 2
	ended "$started" 66
	grep -q "group 'team' was removed" sub.err
}

@test "a channel that is removed while members wait: they go on with the next of that name" {
	a_log 1
	start sub mq-sub -n 2 -g team log
	until_true 20 has_lines 1 sub.out
	must mq-rm -y log
	must mq-make --stream log
	must mq-pub log 2
	ended "$started" 0
	seq 2 | cmp - sub.out
}
