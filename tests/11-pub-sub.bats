#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031
# mq-pub and mq-sub: many read what one publishes, and nobody takes anything.

load helpers

@test "mq-pub creates a topic" {
	must mq-pub news hello
	[[ ! -s $out ]]
	grep -q news "$err"
	prints news mq-ls --names --kind=topic
}

@test "mq-pub publishes to a stream that is there" {
	must mq-make --stream log
	prints $'log:0\nlog:1' mq-pub --print-position log a b
	prints $'a\nb' mq-replay log
}

@test "mq-pub to a queue is refused" {
	must mq-send -q jobs a
	refuses 64 jobs mq-pub jobs b
	prints a mq-recv -e jobs
}

@test "mq-pub frames its input as mq-send does" {
	must mq-make --stream log
	printf 'a\nb\0c\0' | must mq-pub -0 log
	printf 'whole\nfile' >file
	must mq-pub --file=file log
	printf 'x;y' | must mq-pub -d ';' log
	printf '{"body":"j","key":"k"}\n' | must mq-pub -j log
	same 'mq-replay -0 log' "printf 'a\nb\0c\0whole\nfile\0x\0y\0j\0'"
}

@test "mq-pub --no-create: a missing topic is an error" {
	refuses 66 '' mq-pub --no-create news hello
	[[ ! -e $MQ_STORE ]]
}

@test "mq-sub starts now: it does not see what was published before" {
	must mq-pub -q news old
	start sub mq-sub -q news
	follows news sub.out
	must mq-pub news new
	until_true 20 grep -q new sub.out
	[[ $(seen sub.out) == new ]]
}

@test "mq-sub --from=first -e prints what is there and stops" {
	must mq-make --stream log
	seq 100 | must mq-pub log
	same 'mq-sub --from=first -e log' 'seq 100'
}

@test "mq-sub -e with nothing new ends with 1 and is silent" {
	must mq-make --stream log
	must mq-pub log old
	nothing mq-sub -e log
}

@test "mq-sub --last=N starts N messages before the end" {
	must mq-make --stream log
	seq 10 | must mq-pub log
	prints $'9\n10' mq-sub --last=2 -e log
	same 'mq-sub --last=99 -e log' 'seq 10'
}

@test "mq-sub --from=OFFSET starts there" {
	must mq-make --stream log
	seq 0 9 | must mq-pub log
	prints $'7\n8\n9' mq-sub --from=7 -e log
}

@test "mq-sub --since starts at a time" {
	must mq-make --stream log
	must mq-pub log a
	prints a mq-sub -e --since=-1h log
	nothing mq-sub -e --since='in 1h' log
}

@test "mq-sub goes on with new messages after the old ones" {
	must mq-make --stream log
	must mq-pub log a b
	start sub mq-sub -n 3 --last=1 log
	until_true 20 has_lines 1 sub.out
	must mq-pub log c d e
	ended "$started" 0
	[[ $(cat sub.out) == $'b\nc\nd' ]]
	[[ ! -s sub.err ]]
}

@test "mq-sub -n stops after N messages" {
	must mq-make --stream log
	seq 10 | must mq-pub log
	prints $'1\n2\n3' mq-sub --from=first -n 3 log
}

@test "mq-sub -w ends with 1 when no message comes in time" {
	must mq-make --stream log
	must mq-pub log old
	nothing mq-sub -w 50ms log
}

@test "mq-sub -w ends with 0 when messages came and then no more" {
	must mq-make --stream log
	must mq-pub log a b
	prints $'a\nb' mq-sub --from=first -w 50ms log
}

@test "every subscriber gets every message, in order" {
	must mq-make --topic news
	for i in 1 2 3; do
		start "sub$i" mq-sub -n 500 --from=first news
		pids[i]=$started
	done
	seq 250 | must mq-pub news
	seq 251 500 | must mq-pub news
	for i in 1 2 3; do
		ended "${pids[i]}" 0
		seq 500 | cmp - "sub$i.out"
	done
}

@test "subscribing takes nothing" {
	must mq-make --stream log
	must mq-pub log a b
	prints $'a\nb' mq-sub --from=first -e log
	prints $'a\nb' mq-sub --from=first -e log
}

@test "a pattern follows all channels whose names match" {
	for name in orders.eu.created orders.us.created orders.eu.paid; do
		must mq-make --stream "$name"
		must mq-pub "$name" "$name"
	done
	same 'mq-sub --from=first -e "orders.+.created" | sort' \
		'printf "orders.eu.created\norders.us.created\n"'
	same 'mq-sub --from=first -e "orders.#" | sort' \
		'printf "orders.eu.created\norders.eu.paid\norders.us.created\n"'
}

@test "a channel that two patterns match is followed once" {
	must mq-make --stream a.b
	must mq-pub a.b once
	prints once mq-sub --from=first -e 'a.+' 'a.#' a.b
}

@test "several names are followed at once" {
	must mq-make --stream one
	must mq-make --stream two
	must mq-pub one 1
	must mq-pub two 2
	same 'mq-sub --from=first -e one two | sort' 'printf "1\n2\n"'
}

@test "a pattern does not follow queues" {
	must mq-send -q x.queue taken
	must mq-make --stream x.stream
	must mq-pub x.stream seen
	prints seen mq-sub --from=first -e 'x.#'
	prints taken mq-recv -e x.queue
}

@test "mq-sub of a queue by its name is refused" {
	must mq-send -q jobs a
	refuses 64 jobs mq-sub -e jobs
}

@test "a name that appears later is followed from its first message" {
	must mq-make --stream late.first
	start sub mq-sub -q -n 3 --from=first 'late.#'
	must mq-pub late.first a
	until_true 20 has_lines 1 sub.out
	must mq-make --stream late.second
	must mq-pub late.second b
	until_true 20 has_lines 2 sub.out
	must mq-pub -q late.third c
	ended "$started" 0
	[[ $(cat sub.out) == $'a\nb\nc' ]]
}

@test "mq-sub may start before the channel and the store exist" {
	start sub mq-sub -q -n 1 --from=first news
	until_true 20 asleep "$started"
	must mq-pub -q news hello
	ended "$started" 0
	[[ $(cat sub.out) == hello ]]
}

@test "%c tells the channel of each message" {
	must mq-make --stream one
	must mq-make --stream two
	must mq-pub one a
	must mq-pub two b
	same "mq-sub --from=first -e -F '%c:%o %b\n' '#' | sort" 'printf "one:0 a\ntwo:0 b\n"'
}

@test "-k lets only keys pass that match the pattern" {
	must mq-make --stream log
	must mq-pub -k eu.paid log a
	must mq-pub -k us.paid log b
	must mq-pub -k eu.sent log c
	must mq-pub log d
	prints $'a\nc' mq-sub --from=first -e -k 'eu.+' log
	prints $'a\nb' mq-sub --from=first -e --key='#.paid' log
	nothing mq-sub --from=first -e -k nobody log
}

@test "-m lets only headers pass that match; all conditions must hold" {
	must mq-make --stream log
	must mq-pub -H level=error -H host=web1 log a
	must mq-pub -H level=error -H host=db1 log b
	must mq-pub -H level=info -H host=web1 log c
	must mq-pub log d
	prints $'a\nb' mq-sub --from=first -e -m level=error log
	prints a mq-sub --from=first -e -m level=error --match='host=web*' log
}

@test "mq-sub flushes whenever it would wait" {
	must mq-make --stream log
	start sub mq-sub --from=first log
	for i in 1 2 3; do
		must mq-pub log "$i"
		until_true 20 has_lines "$i" sub.out
	done
}

@test "mq-sub follows through a pipe" {
	must mq-make --stream log
	start sub bash -c 'mq-sub --from=first -n 2 log | sed -u s/^/got:/'
	must mq-pub log a
	until_true 20 has_lines 1 sub.out
	must mq-pub log b
	ended "$started" 0
	[[ $(cat sub.out) == $'got:a\ngot:b' ]]
}

@test "SIGTERM ends mq-sub by that signal" {
	must mq-make --stream log
	must mq-pub log a
	start sub mq-sub --from=first log
	until_true 20 has_lines 1 sub.out
	kill -TERM "$started"
	ended "$started" 143
	[[ $(cat sub.out) == a && ! -s sub.err ]]
}

@test "a removed topic that comes again is followed again" {
	must mq-pub -q news old
	start sub mq-sub -q 'news.#'
	follows news sub.out
	must mq-rm news
	must mq-pub -q news again
	until_true 20 grep -q again sub.out
}

@test "100 topics are followed at once" {
	for i in $(seq 100); do
		mq-make -q --stream "many.$i"
	done
	start sub mq-sub -n 100 --from=first 'many.+'
	for i in $(seq 100); do
		mq-pub "many.$i" "$i"
	done
	ended "$started" 0
	sort -n sub.out | cmp - <(seq 100)
}

@test "max-messages: a stream keeps the newest" {
	must mq-make --stream log max-messages=10
	seq 10000 | must mq-pub log
	must mq-pub log last
	mq-replay log >kept
	[[ $(tail -n 1 kept) == last ]]
	n=$(wc -l <kept)
	((n >= 10 && n < 5000))
	tail -n 11 kept | head -n 10 | cmp - <(seq 9991 10000) || ((n == 10))
}

@test "max-bytes: a stream keeps the newest" {
	must mq-make --stream log max-bytes=64K
	seq 100000 | must mq-pub log
	must mq-pub log last
	mq-replay log >kept
	[[ $(tail -n 1 kept) == last ]]
	n=$(wc -c <kept)
	((n > 4096 && n < 400000))
}

@test "offsets go on after retention" {
	must mq-make --stream log max-messages=5
	seq 0 4999 | must mq-pub log
	prints log:5000 mq-pub --print-position log 5000
	same "mq-replay -F '%o\n' log" 'mq-replay log'
}

@test "a sealed stream takes no more, and is read as before" {
	must mq-make --stream log
	must mq-pub log a
	must mq-make log sealed=yes
	refuses '2|64|65|73|75|77' log mq-pub log b
	prints a mq-replay log
}
