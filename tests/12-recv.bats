#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-recv: which messages it takes, how long it waits, and what it leaves.

load helpers

@test "mq-recv takes one message by default" {
	must mq-send -q jobs a b
	prints a mq-recv jobs
	prints b mq-recv jobs
	nothing mq-recv jobs
}

@test "-n N takes at most N messages" {
	must mq-send -q jobs a b c
	prints $'a\nb' mq-recv -n 2 jobs
	prints c mq-recv --count=5 jobs
}

@test "-e takes everything and stops" {
	seq 1000 | must mq-send -q jobs
	same 'mq-recv -e jobs' 'seq 1000'
	nothing mq-recv -e jobs
}

@test "-e with -n stops at whichever comes first" {
	must mq-send -q jobs a b c
	prints $'a\nb' mq-recv -e -n 2 jobs
	prints c mq-recv -e -n 2 jobs
}

@test "an empty queue: exit 1 and nothing on stderr" {
	must mq-make --queue jobs
	nothing mq-recv jobs
	nothing mq-recv -e jobs
	nothing mq-recv -n 3 jobs
}

@test "a queue that is missing is an error with a hint at a similar name" {
	must mq-send -q orders a
	refuses 66 ordres mq-recv ordres
	grep -q "hint: .*orders" "$err"
}

@test "a queue that is like no other gets no such hint" {
	must mq-send -q orders a
	refuses 66 zzzzzzzzzzzz mq-recv zzzzzzzzzzzz
	if grep -q "did you mean" "$err"; then false; fi
}

@test "a store that is missing is an error and is not created" {
	refuses 66 "$MQ_STORE" mq-recv jobs
	[[ ! -e $MQ_STORE ]]
}

@test "a reader that does not wait creates no channel" {
	must mq-send -q jobs a
	must_fail 66 mq-recv other
	prints jobs mq-ls --names
}

@test "receiving from a topic or stream is refused" {
	must mq-make --stream log
	must mq-make --topic news
	refuses 64 log mq-recv log
	refuses 64 news mq-recv -w 1 news
}

@test "-w: a message that is there comes at once" {
	must mq-send -q jobs a
	prints a mq-recv -w forever jobs
}

@test "-w ends with 1 when no message came in time" {
	must mq-make --queue jobs
	nothing mq-recv -w 50ms jobs
	nothing mq-recv --wait=0 jobs
}

@test "-w wakes when a message comes" {
	must mq-make --queue jobs
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	must mq-send jobs hello
	ended "$started" 0
	[[ $(cat recv.out) == hello && ! -s recv.err ]]
}

@test "-w may start before its queue exists" {
	must mq-send -q other a
	start recv mq-recv -q -w forever jobs
	until_true 20 blocked "$started"
	must mq-send -q jobs hello
	ended "$started" 0
	[[ $(cat recv.out) == hello ]]
}

@test "-w may start before its store exists" {
	start recv mq-recv -q -w forever jobs
	until_true 20 asleep "$started"
	must mq-send -q jobs hello
	ended "$started" 0
	[[ $(cat recv.out) == hello ]]
}

@test "-w with -n waits for each of them" {
	must mq-send -q jobs a
	start recv mq-recv -w forever -n 3 jobs
	until_true 20 has_lines 1 recv.out
	must mq-send jobs b
	until_true 20 has_lines 2 recv.out
	must mq-send jobs c d
	ended "$started" 0
	[[ $(cat recv.out) == $'a\nb\nc' ]]
	prints d mq-recv jobs
}

@test "-w with -e prints what is there and ends" {
	must mq-send -q jobs a
	prints a mq-recv -e -w 50ms jobs
}

@test "-f goes on until it is told to stop" {
	must mq-send -q jobs a
	start recv mq-recv -f jobs
	until_true 20 has_lines 1 recv.out
	must mq-send jobs b c
	until_true 20 has_lines 3 recv.out
	kill -TERM "$started"
	ended "$started" 143
	[[ $(cat recv.out) == $'a\nb\nc' && ! -s recv.err ]]
	nothing mq-recv -e jobs
}

@test "-k takes only messages whose key matches; the others stay in order" {
	must mq-send -q -k eu.paid jobs a
	must mq-send -k us.paid jobs b
	must mq-send -k eu.sent jobs c
	must mq-send jobs d
	prints $'a\nc' mq-recv -e -k 'eu.+' jobs
	nothing mq-recv -e -k 'eu.+' jobs
	prints $'b\nd' mq-recv -e jobs
}

@test "-k '#' takes messages with and without key" {
	must mq-send -q -k a.b jobs a
	must mq-send jobs b
	prints $'a\nb' mq-recv -e -k '#' jobs
}

@test "-m takes only messages whose headers match" {
	must mq-send -q -H level=error -H host=web1 jobs a
	must mq-send -H level=info -H host=web1 jobs b
	must mq-send -H level=error -H host=db1 jobs c
	must mq-send jobs d
	prints a mq-recv -e -m level=error -m 'host=web?' jobs
	prints c mq-recv -e --match='level=err*' jobs
	prints $'b\nd' mq-recv -e jobs
}

@test "-m: a glob matches across dots and slashes" {
	must mq-send -q -H 'path=/srv/a.b/c' jobs a
	prints a mq-recv -m 'path=/srv/*' jobs
}

@test "a filtered receiver wakes for its message only" {
	must mq-make --queue jobs
	start recv mq-recv -w forever -k mine jobs
	until_true 20 blocked "$started"
	must mq-send -k other jobs a
	must mq-send -k mine jobs b
	ended "$started" 0
	[[ $(cat recv.out) == b ]]
	prints a mq-recv -e jobs
}

@test "messages come first in, first out" {
	for i in 1 2 3 4 5; do
		must mq-send -q jobs "$i"
	done
	seq 6 10 | must mq-send jobs
	same 'mq-recv -e jobs' 'seq 10'
}

@test "what was received is gone for everybody" {
	must mq-send -q jobs a b
	must mq-recv jobs
	prints b mq-recv -e jobs
	[[ $(stored jobs) == 0 ]]
}

@test "mq-recv never reads stdin" {
	must mq-send -q jobs a
	echo input >input
	{ mq-recv jobs >/dev/null; cat >rest; } <input
	cmp input rest
}

@test "mq-recv moves a queue into another" {
	seq 5000 | must mq-send -q from
	mq-recv -e from | must mq-send -q to
	same 'mq-recv -e to' 'seq 5000'
	nothing mq-recv -e from
}

@test "-r prints bodies and nothing else" {
	must mq-send -q jobs a b ''
	same 'mq-recv -e -r jobs' 'printf ab'
}

@test "-0 and -d end each body" {
	must mq-send -q jobs a b
	must mq-send other -q c d
	same 'mq-recv -e -0 jobs' "printf 'a\0b\0'"
	same "mq-recv -e -d '--\n' other" "printf 'c--\nd--\n'"
}

@test "every byte value passes" {
	for i in $(seq 0 255); do
		# shellcheck disable=SC2059
		printf "\\x$(printf %x "$i")"
	done >input
	must mq-send -q -r jobs <input
	same 'mq-recv -r jobs' 'cat input'
}

@test "a large message comes in pieces and whole" {
	head -c 5000000 /dev/urandom >input
	must mq-send -q -r jobs <input
	same 'mq-recv -r jobs' 'cat input'
}

@test "a large message in a queue of small ones keeps its place" {
	must mq-send -q jobs before
	head -c 300000 /dev/zero | tr '\0' L | must mq-send -r jobs
	must mq-send jobs after
	prints $'6\n300000\n5' mq-recv -e -F '%s\n' jobs
}

@test "two queues do not mix" {
	must mq-send -q one 1
	must mq-send -q two 2
	prints 2 mq-recv -e two
	prints 1 mq-recv -e one
}

@test "MQ_SYNC that is neither full nor relaxed is refused" {
	must mq-send jobs a
	MQ_SYNC=often must_fail 64 mq-recv jobs
	grep -q "MQ_SYNC: 'often' is neither full nor relaxed" "$err"
	MQ_SYNC=often must_fail 64 mq-send jobs b
	MQ_SYNC=relaxed prints a mq-recv jobs
}
