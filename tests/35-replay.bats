#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031,SC2016
# mq-replay: several channels by time, partitions, the last of each key, backward, again and again, and what it must not
# do to the store while it waits.

load helpers

# A stream "log" with the messages 0 to N-1, so that each body is its offset.
numbered() {
	mq-make -q --stream log
	seq 0 $(($1 - 1)) | mq-pub log
}

# Streams a, b and a topic c with N messages each, in turn.
three() {
	local i name
	must mq-make --stream a
	must mq-make --stream b
	must mq-make --topic c
	for ((i = 0; i < $1; i++)); do
		for name in a b c; do
			must mq-pub "$name" "$name$i"
		done
	done
}

# ---- several ----------------------------------------------------------------------------------------

@test "several streams and topics are merged by time" {
	three 4
	prints $'a0\nb0\nc0\na1\nb1\nc1\na2\nb2\nc2\na3\nb3\nc3' mq-replay a b c
	same 'mq-replay c b a' 'mq-replay a b c'
	same "mq-replay -F '%T\n' a b c" "mq-replay -F '%T\n' a b c | sort"
}

@test "operands may be patterns; a channel that is named twice is read once, queues are left alone" {
	must mq-make --stream logs.eu
	must mq-make --stream logs.us
	must mq-send logs.jobs no
	must mq-pub logs.eu 1
	must mq-pub logs.us 2
	prints $'1\n2' mq-replay 'logs.#'
	prints $'1\n2' mq-replay logs.us 'logs.+' logs.eu
	nothing mq-replay 'nobody.#'
	refuses 66 logs.de mq-replay logs.eu logs.de
	refuses 64 logs.jobs mq-replay logs.eu logs.jobs
	refuses 64 'a..b' mq-replay a..b
}

@test "each message of several comes with the name of its channel" {
	three 1
	prints $'a:0\nb:0\nc:0' mq-replay -F '%c:%o\n' a b c
	same 'mq-replay -j a b c | jq -r .channel' 'printf "%s\n" a b c'
}

@test "a range holds for several: by time, by offset, and --last for all of them together" {
	three 4
	time=$(mq-replay --from=2 -n 1 -F %T b)
	prints $'b2\nc2\na3\nb3\nc3' mq-replay --since="$time" a b c
	prints $'a0\nb0\nc0\na1\nb1\nc1\na2' mq-replay --until="$time" a b c
	prints $'a1\nb1\nc1' mq-replay --from=1 --to=2 a b c
	for n in 1 2 3 4 5 7 11 12 13; do
		same "mq-replay --last=$n a b c" "mq-replay a b c | tail -n $n"
		same "mq-replay --reverse --last=$n a b c" "mq-replay a b c | tail -n $n | tac"
	done
	nothing mq-replay --last=0 a b c
	nothing mq-replay --last=0 --reverse a b c
}

@test "-f follows several" {
	three 1
	start replay mq-replay -f a b c
	until_true 20 has_lines 3 replay.out
	must mq-pub c late
	until_true 20 has_lines 4 replay.out
	must mq-pub a later
	until_true 20 has_lines 5 replay.out
	kill -TERM "$started"
	ended "$started" 143
	printf '%s\n' a0 b0 c0 late later | cmp - replay.out
}

@test "large messages and a slow pace do not mix up several streams" {
	must mq-make --stream a
	must mq-make --stream b
	for i in 1 2 3; do
		head -c $((i * 100000)) /dev/urandom >a.$i
		head -c $((i * 30000)) /dev/urandom >b.$i
		must mq-pub --file=a.$i a
		must mq-pub --file=b.$i b
	done
	same 'mq-replay -r a b' 'cat a.1 b.1 a.2 b.2 a.3 b.3'
	same 'mq-replay -r --rate=100/s a b' 'cat a.1 b.1 a.2 b.2 a.3 b.3'
	same 'mq-replay -r --reverse a b' 'cat b.3 a.3 b.2 a.2 b.1 a.1'
}

# ---- partitions -------------------------------------------------------------------------------------

@test "the partitions of a stream are merged by time, each in its own order" {
	must mq-make --stream log partitions=4
	for i in {0..19}; do
		must mq-pub -k "k$((i % 7))" log "$i"
	done
	same 'mq-replay log' 'seq 0 19'
	same 'mq-replay --reverse log' 'seq 19 -1 0'
	same 'mq-replay --last=5 log' 'seq 15 19'
	same 'mq-replay --last=5 --reverse log' 'seq 19 -1 15'
	(($(mq-replay -F '%P\n' log | sort -u | wc -l) > 1))
}

@test "--partition=N reads that one only" {
	must mq-make --stream log partitions=4
	for i in {0..19}; do
		must mq-pub -k "k$((i % 7))" log "$i"
	done
	for p in 0 1 2 3; do
		mq-replay --partition=$p -F '%P %b\n' log >>all || true
		mq-replay -F '%P %b\n' log | grep "^$p " >>expected || true
	done
	cmp expected all
	refuses 64 ': log: there is no partition 4; it has 0 to 3' mq-replay --partition=4 log
	must mq-pub -q news a
	refuses 64 ': news: there is no partition 1; it has 0 only' mq-replay --partition=1 news
	same 'mq-replay --partition=1 "#"' 'mq-replay --partition=1 log'
	refuses 64 partition mq-replay --partition=128 log
}

@test "--to of a stream with partitions holds for each of them" {
	must mq-make --stream log partitions=2
	for i in {0..9}; do
		must mq-pub --partition=$((i % 2)) log "$i"
	done
	same 'mq-replay --from=1 --to=3 log' 'seq 2 5'
	same 'mq-replay --from=1 --to=3 --reverse log' 'seq 5 -1 2'
}

# ---- backward ---------------------------------------------------------------------------------------

@test "--reverse: the newest first" {
	numbered 1000
	same 'mq-replay --reverse log' 'seq 999 -1 0'
	same 'mq-replay --reverse -n 3 log' 'printf "%s\n" 999 998 997'
}

@test "--reverse of a range gives the same messages, the other way round" {
	numbered 20
	time=$(mq-replay --from=1 -n 1 -F %T log)
	for range in --from=5 --to=5 '--from=5 --to=9' --last=4 --from=first --to=end "--since=$time" "--until=$time" \
		'--last=6 --to=17' '--from=30'; do
		read -ra range <<<"$range"
		mq-replay "${range[@]}" log | tac >forward || true
		mq-replay --reverse "${range[@]}" log >backward || true
		cmp forward backward
	done
}

@test "--reverse gives back large messages and those that lie across blocks" {
	must mq-make --stream log
	for size in 10 5000 4000 70000 1 300000 20; do
		head -c $size /dev/urandom >body.$size
		must mq-pub --file=body.$size log
	done
	same 'mq-replay -r --reverse log' 'cat body.20 body.300000 body.1 body.70000 body.4000 body.5000 body.10'
}

@test "--reverse with a filter, and at a pace" {
	must mq-make --stream log
	for i in {0..9}; do
		must mq-pub -k "k$((i % 2))" log "$i"
	done
	prints $'9\n7\n5\n3\n1' mq-replay --reverse -k k1 log
	prints $'9\n8\n7' mq-replay --reverse --speed=1000 -n 3 log
}

# ---- the last of each key ----------------------------------------------------------------------------

@test "--last-per-key: the last message of each key, in order" {
	must mq-make --stream log
	must mq-pub -k a log a1
	must mq-pub -k b log b1
	must mq-pub log none
	must mq-pub -k a log a2
	must mq-pub -k c log c1
	prints $'b1\na2\nc1' mq-replay --last-per-key log
	prints $'c1\na2\nb1' mq-replay --last-per-key --reverse log
	prints $'a1\nb1' mq-replay --last-per-key --to=2 log
	prints a2 mq-replay --last-per-key -k a log
	prints b1 mq-replay --last-per-key -n 1 log
}

@test "--last-per-key leaves out keys whose last message is a tombstone" {
	must mq-make --stream log
	must mq-pub -k a log a1
	must mq-pub -k b log b1
	must mq-pub -k a --tombstone log
	prints b1 mq-replay --last-per-key log
	must mq-pub -k a log a2
	prints $'b1\na2' mq-replay --last-per-key log
}

@test "--last-per-key finds the last of each key before it looks at headers" {
	must mq-make --stream log
	must mq-pub -k a -H s=open log a-open
	must mq-pub -k b -H s=open log b-open
	must mq-pub -k a -H s=done log a-done
	prints b-open mq-replay --last-per-key -m s=open log
}

@test "--last-per-key of many keys, over partitions and several streams" {
	must mq-make --stream one partitions=4
	must mq-make --stream two
	seq 30000 | jq -c '{key: "k\(. % 10007)", body: "\(.)"}' >input
	must mq-pub -j one <input
	must mq-pub -j two <input
	same 'mq-replay --last-per-key one | sort -n' 'seq 19994 30000'
	same 'mq-replay --last-per-key one two | sort -n' '{ seq 19994 30000; seq 19994 30000; } | sort -n'
}

# ---- again, at a pace ---------------------------------------------------------------------------------

@test "--loop begins again, for ever" {
	numbered 3
	same 'mq-replay --loop -n 8 log' 'printf "%s\n" 0 1 2 0 1 2 0 1'
	same 'mq-replay --loop --last=2 -n 5 log' 'printf "%s\n" 1 2 1 2 1'
	same 'mq-replay --loop --reverse -n 5 log' 'printf "%s\n" 2 1 0 2 1'
	start replay mq-replay --loop log
	until_true 20 has_lines 100 replay.out
	kill -TERM "$started"
	ended "$started" 143
}

@test "--loop over nothing ends" {
	must mq-make --stream log
	nothing mq-replay --loop log
	must mq-pub -k a log 1
	nothing mq-replay --loop -k b log
}

@test "--rate holds over the rounds of --loop" {
	numbered 3
	begin=$(date +%s%N)
	same 'mq-replay --loop -n 6 --rate=50/s log' 'printf "%s\n" 0 1 2 0 1 2'
	(($(date +%s%N) - begin >= 80000000))
}

# ---- what was missed ------------------------------------------------------------------------------------

# stopped PID: by a signal.
stopped() {
	[[ $(<"/proc/$1/stat") == *') T '* ]]
}

# holding CMD...: runs it with stdout into a pipe whose reader is stopped; once continued, that copies it to consumer.out.
holding() {
	rm -f pipe
	mkfifo pipe
	start consumer bash -c 'exec 8<pipe && kill -STOP $$ && exec cat <&8'
	consumer=$started
	start replay bash -c 'exec "$@" >pipe' replay "$@"
	replay=$started
	until_true 20 stopped "$consumer"
	until_true 20 blocked "$replay"
}

@test "--strict ends with 2 where messages were missed, without it that is a notice" {
	must mq-make --stream log max-messages=100000
	seq 0 99999 | must mq-pub log
	must mq-replay --strict -n 5 log
	for strict in '' --strict; do
		holding mq-replay ${strict:+"$strict"} log
		seq 100000 | must mq-pub log
		seq 100000 | must mq-pub log
		kill -CONT "$consumer"
		ended "$replay" "$([[ -z $strict ]] && echo 0 || echo 2)"
		[[ $(grep -c 'were\? missed' replay.err) == 1 ]]
		ended "$consumer" 0
	done
}

@test "a stopped consumer behind it does not make the store grow beyond the retention" {
	must mq-make --stream log max-bytes=2M
	must mq-make --stream other max-bytes=2M
	for i in {1..8}; do
		seq 100000 | must mq-pub log
		seq 100000 | must mq-pub other
	done
	holding mq-replay log other
	size=$(stat -c %s "$MQ_STORE/data.mdb")
	for i in {1..20}; do
		seq 100000 | must mq-pub log
	done
	(($(stat -c %s "$MQ_STORE/data.mdb") <= size + (4 << 20)))
	kill -KILL "$consumer"
	until_true 20 gone "$replay"
}

@test "nor does one that waits between two messages" {
	must mq-make --stream log max-bytes=2M
	seq 200000 | must mq-pub log
	start replay mq-replay --rate=1/h log
	until_true 20 test -s replay.out
	until_true 20 blocked "$started"
	size=$(stat -c %s "$MQ_STORE/data.mdb")
	for i in {1..20}; do
		seq 100000 | must mq-pub log
	done
	(($(stat -c %s "$MQ_STORE/data.mdb") <= size + (4 << 20)))
	kill -TERM "$started"
	ended "$started" 143
}

# ---- what makes no sense ----------------------------------------------------------------------------------

@test "what does not make sense together is refused" {
	numbered 1
	refuses 64 --reverse mq-replay --reverse -f log
	refuses 64 --reverse mq-replay --reverse -w 1 log
	refuses 64 --loop mq-replay --loop -f log
	refuses 64 --last-per-key mq-replay --last-per-key -w 1 log
	refuses 64 --follow mq-replay -e -f log
	refuses 64 stream mq-replay
}
