#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031
# mq-replay: the history of a stream by offset, by time, by number, at a pace.

load helpers

# A stream "log" with the messages 0 to N-1, so that each body is its offset.
numbered() {
	mq-make -q --stream log
	seq 0 $(($1 - 1)) | mq-pub log
}

# Nanoseconds of a message's time, from the form RFC 3339.
nanoseconds() {
	date -u -d "$1" +%s%N
}

@test "the whole stream, first to end, by default" {
	numbered 1000
	same 'mq-replay log' 'seq 0 999'
}

@test "replaying changes nothing" {
	numbered 10
	same 'mq-replay log' 'mq-replay log'
	[[ $(stored log) == 10 ]]
}

@test "--from and --to: --to is not included" {
	numbered 10
	prints $'3\n4\n5' mq-replay --from=3 --to=6 log
	prints $'8\n9' mq-replay --from=8 log
	prints $'0\n1' mq-replay --to=2 log
	nothing mq-replay --from=3 --to=3 log
}

@test "--from and --to know the words first and end" {
	numbered 5
	same 'mq-replay --from=first --to=end log' 'seq 0 4'
	nothing mq-replay --from=end log
	nothing mq-replay --to=first log
}

@test "--from beyond the end is nothing" {
	numbered 5
	nothing mq-replay --from=5 log
	nothing mq-replay --from=18446744073709551 log
}

@test "--last=N: the last N messages" {
	numbered 10
	prints $'8\n9' mq-replay --last=2 log
	same 'mq-replay --last=100 log' 'seq 0 9'
	nothing mq-replay --last=0 log
}

@test "--since and --until: up to, not including, this time" {
	must mq-make --stream log
	must mq-pub log a
	must mq-pub log b
	must mq-pub log c
	b=$(mq-replay --from=1 -n 1 -F %T log)
	prints $'b\nc' mq-replay --since="$b" log
	prints a mq-replay --until="$b" log
	prints a mq-replay -S -1h -U "$b" log
	nothing mq-replay --since="$b" --until="$b" log
}

@test "--since knows every spelling of a time" {
	must mq-make --stream log
	must mq-pub log a
	for time in yesterday 2000-01-01 2000-01-01T00:00:00Z 2000-01-01T00:00:00 @0 -2h '2h ago' \
		2000-01-01T00:00:00+02:00; do
		prints a mq-replay --since="$time" log
	done
	for time in tomorrow 2200-01-01 @7000000000 +30m 'in 30m'; do
		nothing mq-replay --since="$time" log
	done
}

@test "--since=now and --until=now split history at the present" {
	numbered 3
	nothing mq-replay --since=now log
	same 'mq-replay --until=now log' 'seq 0 2'
}

@test "-n stops after N messages" {
	numbered 10
	prints $'4\n5' mq-replay --from=4 -n 2 log
}

@test "-k and -m filter" {
	must mq-make --stream log
	must mq-pub -k a.1 -H n=1 log x
	must mq-pub -k a.2 -H n=2 log y
	must mq-pub -k b.1 -H n=1 log z
	prints $'x\ny' mq-replay -k 'a.*' log
	prints $'x\nz' mq-replay -m n=1 log
	prints x mq-replay -k 'a.+' -m n=1 log
	nothing mq-replay -k c log
}

@test "an empty stream: exit 1 and silent" {
	must mq-make --stream log
	nothing mq-replay log
}

@test "a missing stream is an error with a hint" {
	must mq-make --stream orders
	refuses 66 ordres mq-replay ordres
	grep -q "hint: .*orders" "$err"
}

@test "a queue has no history" {
	must mq-send -q jobs a
	refuses 64 jobs mq-replay jobs
	prints a mq-recv jobs
}

@test "offsets are dense and times never go backwards" {
	must mq-make --stream log
	for _ in 1 2 3 4 5; do
		seq 100 | mq-pub log
	done
	same "mq-replay -F '%o\n' log" 'seq 0 499'
	same "mq-replay -F '%T\n' log" "mq-replay -F '%T\n' log | sort"
}

@test "the end is that of the start: a stream that grows is left in time" {
	numbered 200000
	mkfifo pipe
	start replay bash -c 'exec mq-replay log >pipe'
	exec 7<pipe
	read -r first <&7
	must mq-pub log late
	{ echo "$first"; cat <&7; } >got
	seq 0 199999 | cmp - got
}

@test "-f goes on with what is published later" {
	numbered 2
	start replay mq-replay -f log
	until_true 20 has_lines 2 replay.out
	must mq-pub log 2
	until_true 20 has_lines 3 replay.out
	kill -TERM "$started"
	ended "$started" 143
	seq 0 2 | cmp - replay.out
}

@test "-f -n stops at the N-th, wherever it comes from" {
	numbered 2
	start replay mq-replay -f -n 3 log
	until_true 20 has_lines 2 replay.out
	must mq-pub log 2 3
	ended "$started" 0
	seq 0 2 | cmp - replay.out
}

@test "--speed leaves messages and order as they are" {
	numbered 100
	same 'mq-replay --speed=1000 log' 'seq 0 99'
}

@test "--speed=X plays with the original timing, X times as fast" {
	must mq-make --stream log
	must mq-pub log a
	must mq-pub log b
	gap=$(($(nanoseconds "$(mq-replay --last=1 -F %T log)") -
		$(nanoseconds "$(mq-replay -n 1 -F %T log)")))
	begin=$(date +%s%N)
	prints $'a\nb' mq-replay --speed=0.2 log
	(($(date +%s%N) - begin >= gap * 5))
}

@test "--rate=N/s is not exceeded" {
	numbered 6
	begin=$(date +%s%N)
	same 'mq-replay --rate=50/s log' 'seq 0 5'
	(($(date +%s%N) - begin >= 80000000))
}

@test "a large stream is replayed as it was published" {
	must mq-make --stream log
	seq 200000 | must mq-pub log
	same 'mq-replay log' 'seq 200000'
	same 'mq-replay --from=123456 --to=123459 log' 'seq 123457 123459'
}

@test "large messages are replayed whole" {
	must mq-make --stream log
	head -c 3000000 /dev/urandom >input
	must mq-pub --file=input log
	must mq-pub log small
	same 'mq-replay -n 1 -r log' 'cat input'
	prints small mq-replay --last=1 log
}

@test "after retention the stream begins at its oldest offset" {
	must mq-make --stream log max-messages=100
	seq 0 19999 | must mq-pub log
	must mq-pub log 20000
	first=$(mq-replay -n 1 log)
	((first > 0))
	same 'mq-replay --from=0 -n 1 log' "echo $first"
	same 'mq-replay --from=first -n 1 log' "echo $first"
}
