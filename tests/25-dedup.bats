#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# Sending twice and storing once: --id within the window of dedup=, and --resume.

load helpers

# A queue that knows ids for an hour.
careful() {
	must mq-make --queue jobs dedup=1h
}

# kill_and_resume MICROSECONDS 'COMMAND': runs the sender of queue jobs again and again, killing it with -9 after at
# most so much time, until it ends by itself with 0. Its input comes slowly, so that it commits often.
kill_and_resume() {
	local result kills=0 end=$((SECONDS + 5))
	while :; do
		start send bash -c "$2"
		if ((SECONDS < end)); then
			spin "$1"
			kill -KILL "$started" 2>/dev/null || true
		fi
		until_true 20 gone "$started"
		result=0
		wait "$started" || result=$?
		((result != 0)) || break
		((result == 137)) || { cat send.err >&2; return 1; }
		kills=$((kills + 1))
	done
	echo "# $kills kills"
}

# slowly N: the numbers 1 to N, each in a write of its own.
slowly() {
	for ((i = 1; i <= $1; i++)); do
		echo "$i"
	done
}

# ---- ids ------------------------------------------------------------------------------------------------------

@test "the same id within the window is accepted and not stored again" {
	careful
	for _ in 1 2 3; do
		must mq-send --id=o-1 jobs body
		[[ ! -s $out && ! -s $err ]]
	done
	must mq-send --id=o-2 jobs body
	prints $'o-1 body\no-2 body' mq-recv -e -F '%i %b\n' jobs
}

@test "an id is remembered also after its message was received" {
	careful
	must mq-send --id=o-1 jobs body
	prints body mq-recv jobs
	must mq-send --id=o-1 jobs body
	nothing mq-recv -e jobs
}

@test "without dedup= an id is only carried" {
	must mq-send -q --id=o-1 jobs body
	must mq-send --id=o-1 jobs body
	must mq-send --id=o-1 jobs other
	[[ $(stored jobs) == 3 ]]
}

@test "messages without an id are never taken for each other" {
	careful
	must mq-send jobs body body
	must mq-send jobs body
	[[ $(stored jobs) == 3 ]]
}

@test "the same id with another body is an error, and nothing is stored" {
	careful
	must mq-send --id=o-1 jobs body
	refuses 65 o-1 mq-send --id=o-1 jobs other
	refuses 65 o-1 mq-send --id=o-1 jobs ''
	head -c 300000 /dev/zero >large
	refuses 65 o-1 mq-send --id=o-1 --file=large jobs
	prints body mq-recv -e jobs
}

@test "large bodies: the same one is accepted, another of the same size is not" {
	careful
	head -c 300000 /dev/urandom >one
	head -c 300000 /dev/urandom >two
	must mq-send --id=o-1 --file=one jobs
	must mq-send --id=o-1 --file=one jobs
	refuses 65 o-1 mq-send --id=o-1 --file=two jobs
	same 'mq-recv -e -r jobs' 'cat one'
}

@test "when the window has passed the id is free" {
	must mq-make --queue jobs dedup=50ms
	must mq-send --id=o-1 jobs body
	later 60
	must mq-send --id=o-1 jobs other
	prints $'body\nother' mq-recv -e jobs
}

@test "a repeat does not make the window longer" {
	must mq-make --queue jobs dedup=400ms
	must mq-send --id=o-1 jobs body
	later 250
	must mq-send --id=o-1 jobs body
	later 250
	must mq-send --id=o-1 jobs body
	[[ $(stored jobs) == 2 ]]
}

@test "--print-position: a repeat has the position of the first" {
	careful
	must mq-send jobs before
	prints jobs:1 mq-send --print-position --id=o-1 jobs body
	must mq-send jobs between
	prints jobs:1 mq-send --print-position --id=o-1 jobs body
	must mq-recv -e jobs
	prints jobs:1 mq-send --print-position --id=o-1 jobs body
	prints jobs:3 mq-send --print-position --id=o-2 jobs body
}

@test "repeats within one input are stored once" {
	careful
	jq -cn '("a", "b", "a", "c", "b", "a") | { id: ., body: ("body " + .) }' >input
	prints $'jobs:0\njobs:1\njobs:0\njobs:2\njobs:1\njobs:0' mq-send --print-position -j jobs <input
	must mq-send -j jobs <input
	prints $'body a\nbody b\nbody c' mq-recv -e jobs
}

@test "another body under an id of the same input: the line is named, those before it are stored" {
	careful
	jq -cn '("a", "b", "a", "c") | { id: ., body: . }' | sed '3s/"body":"a"/"body":"x"/' >input
	refuses 65 'line 3' mq-send -j jobs <input
	prints $'a\nb' mq-recv -e jobs
}

@test "--atomic: another body under a known id, and nothing of the input is stored" {
	careful
	must mq-send --id=b jobs b
	jq -cn '("a", "b") | { id: ., body: "new" }' >input
	must_fail 65 mq-send --atomic -j jobs <input
	prints b mq-recv -e jobs
}

@test "ids of different channels have nothing to do with each other" {
	careful
	must mq-make --queue other dedup=1h
	must mq-send --id=o-1 jobs body
	must mq-send --id=o-1 other other
	prints other mq-recv other
}

@test "streams and topics know ids too" {
	must mq-make --stream log dedup=1h
	must mq-make --topic news dedup=1h
	for name in log news; do
		prints $name:0 mq-pub --print-position --id=o-1 $name body
		prints $name:0 mq-pub --print-position --id=o-1 $name body
		refuses 65 o-1 mq-pub --id=o-1 $name other
		[[ $(stored $name) == 1 ]]
	done
}

@test "many send the same ids at once: each is stored once" {
	careful
	jq -cn 'range(500) | { id: "id \(.)", body: "body \(.)" }' >input
	for i in 1 2 3 4; do
		start "send$i" mq-send -j jobs <input
		pids[i]=$started
	done
	for i in 1 2 3 4; do
		ended "${pids[i]}" 0
	done
	mq-recv -e jobs >got
	exactly got 'seq -f "body %.0f" 0 499'
}

@test "a sender killed at random and run again with the same ids stores each message once" {
	export MQ_SYNC=relaxed
	careful
	jq -cn 'range(20000) | { id: "\(.)", body: "body \(.)" }' >input
	for _ in $(seq 15); do
		start send mq-send -j jobs <input
		spin 60000
		kill -KILL "$started" 2>/dev/null || true
		until_true 20 gone "$started"
	done
	must mq-send -j jobs <input
	mq-recv -e jobs | cmp - <(seq -f 'body %.0f' 0 19999)
}

# ---- resuming -------------------------------------------------------------------------------------------------

@test "--resume: an input that was stored is not stored again, what follows it is" {
	seq 10 >input
	must mq-send -q --resume=load jobs <input
	must mq-send --resume=load jobs <input
	[[ $(stored jobs) == 10 ]]
	seq 11 15 >>input
	must mq-send --resume=load jobs <input
	same 'mq-recv -e jobs' 'seq 15'
	must mq-send --resume=load jobs <input
	nothing mq-recv -e jobs
}

@test "--resume: other names and other channels begin at the first message" {
	seq 5 >input
	must mq-send -q --resume=monday jobs <input
	must mq-send --resume=tuesday jobs <input
	must mq-send -q --resume=monday other <input
	[[ $(stored jobs) == 10 && $(stored other) == 5 ]]
}

@test "--resume: after an input that is not valid it goes on behind what was stored" {
	seq 5 | sed 's/.*/{"data":&}/' >input
	sed '4s/.*/oops/' input >broken
	refuses 65 'line 4' mq-send -q -j --resume=load jobs <broken
	[[ $(stored jobs) == 3 ]]
	must mq-send -j --resume=load jobs <input
	same 'mq-recv -e jobs' 'seq 5'
}

@test "--resume: operands, files, delimiters and a large body are counted too" {
	must mq-send -q --resume=operands jobs a b
	must mq-send --resume=operands jobs a b c
	prints $'a\nb\nc' mq-recv -e jobs
	head -c 300000 /dev/urandom >one
	head -c 3000000 /dev/urandom >two
	must mq-send --resume=files --file=one jobs
	must mq-send --resume=files --file=one --file=two jobs
	same 'mq-recv -e -r jobs' 'cat one two'
	printf 'a;b;' | must mq-send -d ';' --resume=parts jobs
	printf 'a;b;c' | must mq-send -d ';' --resume=parts jobs
	prints $'a\nb\nc' mq-recv -e jobs
}

@test "--resume works for mq-pub" {
	seq 5 >input
	must mq-make --stream log
	must mq-pub --resume=load log <input
	seq 6 10 >>input
	must mq-pub --resume=load log <input
	same 'mq-replay log' 'seq 10'
}

@test "--resume: lines, interrupted at random: each is stored once, in order" {
	export MQ_SYNC=relaxed
	seq 300 >wanted
	kill_and_resume 40000 "exec mq-send -q --resume=load jobs < <($(declare -f slowly); slowly 300)"
	mq-recv -e jobs | cmp wanted -
}

@test "--resume: a large input in large batches, interrupted at random: each is stored once, in order" {
	export MQ_SYNC=relaxed
	seq 1000000 1600000 >wanted
	kill_and_resume 150000 'exec mq-send -q --resume=load jobs <wanted'
	mq-recv -e jobs | cmp wanted -
}

@test "--resume: envelopes, interrupted at random: each is stored once, in order" {
	export MQ_SYNC=relaxed
	seq 300 >wanted
	kill_and_resume 40000 "exec mq-send -q -j --resume=load jobs \
		< <($(declare -f slowly); slowly 300 | sed -u 's/.*/{\"body\":\"&\",\"key\":\"k\"}/')"
	mq-recv -e jobs | cmp wanted -
}

@test "--resume: operands, interrupted at random: each is stored once, in order" {
	export MQ_SYNC=relaxed
	seq 2000 >wanted
	kill_and_resume 12000 'exec mq-send -q --resume=load jobs $(seq 2000)'
	mq-recv -e jobs | cmp wanted -
}

@test "--resume: a name that is none is refused" {
	for bad in '' 'a b' '../x'; do
		must_fail 64 mq-send "--resume=$bad" jobs body
	done
	[[ ! -e $MQ_STORE ]]
}
