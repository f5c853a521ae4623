#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-peek looks at a queue and changes nothing; mq-trim drops what is old, or all.

load helpers

# One message of each state: 0 leased by alice, 1 waiting for its retry, 2 ready, 3 delayed.
states() {
	must mq-make --queue jobs backoff=1h..1h
	must mq-send jobs a b c
	must mq-send -D 1h jobs d
	prints a mq-recv -l 600 -c alice jobs
	must_fail 2 mq-exec -n 1 jobs sh -c 'echo no use >&2; exit 3'
}

# peek FILTER: what jq makes of the envelopes of jobs, joined by blanks.
peek() {
	mq-peek -j jobs | jq -rn "[inputs | $1] | map(tostring) | join(\" \")"
}

# ---- mq-peek ----------------------------------------------------------------------------------------------------

@test "mq-peek prints the messages, oldest first, and takes none" {
	seq 5 | must mq-send -q jobs
	same 'mq-peek jobs' 'seq 5'
	same 'mq-peek jobs' 'seq 5'
	same 'mq-recv -e -F "%b %a\n" jobs' 'seq -f "%.0f 1" 5'
	nothing mq-peek jobs
}

@test "mq-peek goes by offset, whatever the priorities" {
	must mq-send -q -p 1 jobs a
	must mq-send -p 9 jobs b
	prints $'a\nb' mq-peek jobs
}

@test "mq-peek OFFSET: only these, also as ranges" {
	seq 0 9 | must mq-send -q jobs
	prints 3 mq-peek jobs 3
	prints $'7\n2\n4\n5\n6' mq-peek jobs 7 2 4-6
	nothing mq-peek jobs 17
	prints 9 mq-peek jobs 17 9
	refuses 64 x1 mq-peek jobs x1
}

@test "mq-peek -n, --from, --to, --last: a part of them" {
	seq 0 9 | must mq-send -q jobs
	prints $'0\n1' mq-peek -n 2 jobs
	prints $'3\n4' mq-peek --from=3 --to=5 jobs
	prints $'8\n9' mq-peek --last=2 jobs
	nothing mq-peek --from=end jobs
}

@test "mq-peek -k and -m: only what matches" {
	must mq-send -q -k a.b -H n=1 jobs x
	must mq-send -k a.c jobs y
	prints x mq-peek -k a.b jobs
	prints x mq-peek -m n=1 jobs
	nothing mq-peek -k z jobs
}

@test "mq-peek --state: ready, leased, delayed, retry" {
	states
	prints $'a\nb\nc\nd' mq-peek jobs
	prints a mq-peek --state=leased jobs
	prints b mq-peek --state=retry jobs
	prints c mq-peek --state=ready jobs
	prints d mq-peek --state=delayed jobs
	prints $'a\nd' mq-peek --state=delayed,leased jobs
	must mq-recv -e jobs
	nothing mq-peek --state=ready jobs
	refuses 64 sleepy mq-peek --state=sleepy jobs
}

@test "mq-peek: in a queue with order=key those behind another one are blocked" {
	must mq-make --queue jobs order=key
	must mq-send -k k jobs 1 2
	lease jobs
	prints 2 mq-peek --state=blocked jobs
	prints 1 mq-peek --state=leased jobs
}

@test "mq-peek: what has expired is shown as such until somebody receives" {
	must mq-send -q -T 1ms jobs old
	later 5
	prints old mq-peek --state=expired jobs
}

@test "mq-peek -j tells who holds what since when, and until when" {
	begin=$(date +%s)
	states
	[[ $(peek 'select(.offset == 0) | .state, .holder, .lease') == 'leased alice jobs:0:1' ]]
	since=$(date -d "$(peek 'select(.offset == 0) | .since')" +%s)
	due=$(date -d "$(peek 'select(.offset == 0) | .due')" +%s)
	((begin <= since && since <= begin + 20 && due >= begin + 600 && due <= begin + 620))
	due=$(date -d "$(peek 'select(.offset == 3) | .due')" +%s)
	((due >= begin + 3600 && due <= begin + 3620))
}

@test "mq-peek -j tells attempts, reason, exit status and error of what failed" {
	states
	[[ $(peek 'select(.offset == 1) | .state, (.history | .attempts, .failures, .reason, .exit)') == 'retry 1 1 failed 3' ]]
	[[ $(peek 'select(.offset == 1) | .history.error') == *'no use'* ]]
	[[ $(peek 'select(.offset == 2) | .state, .history') == 'ready null' ]]
}

@test "mq-peek shows what a process has in its hands, and whose" {
	must mq-send -q jobs a b
	mkfifo gate
	start exec mq-exec -c bob jobs sh -c 'read -r line <gate'
	until_true 20 eval '[[ $(mq-peek --state=leased jobs | head -n 1) == a ]]'
	[[ $(peek 'select(.offset == 0) | .holder') == bob ]]
	kill -KILL "$started"
	until_true 20 gone "$started"
	nothing mq-peek --state=leased jobs
}

@test "mq-peek -v is a table for people, -o plain one for programs" {
	states
	must mq-peek -v jobs
	[[ $(wc -l <"$out") == 5 ]]
	grep -q '^ *0 .*leased.*alice' "$out"
	must mq-peek -o plain jobs
	[[ $(cut -f 1,2 "$out") == $'0\tleased\n1\tretry\n2\tready\n3\tdelayed' ]]
}

@test "mq-peek in every form, with large bodies" {
	head -c 5000000 /dev/urandom >large
	must mq-send -q --file=large jobs
	must mq-send jobs small
	same 'mq-peek -n 1 -r jobs' 'cat large'
	prints $'0 5000000\n1 5' mq-peek -F '%o %s\n' jobs
	[[ $(mq-peek -j jobs 1 | jq -r .body) == small ]]
	same 'mq-peek -0 jobs 1' "printf 'small\0'"
}

@test "mq-peek shows why a dead letter is dead" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	must_fail 2 mq-exec -e jobs false
	prints 'a failed jobs:0' mq-peek -F '%b %r %O\n' jobs.dead
}

@test "mq-peek changes nothing in the store" {
	states
	cp "$MQ_STORE/data.mdb" before
	must mq-peek jobs
	must mq-peek -v jobs
	must mq-peek -j jobs 0 1
	cmp before "$MQ_STORE/data.mdb"
}

@test "mq-peek and mq-move --dry-run work on a store that cannot be written" {
	small_disk 16m
	export MQ_STORE=$BATS_TEST_TMPDIR/disk/store
	states
	mount -o remount,ro disk
	prints $'a\nb\nc\nd' mq-peek jobs
	must mq-peek -v jobs
	must mq-move --dry-run jobs other
	mount -o remount,rw disk
}

@test "mq-peek of what is not there, or no queue, is refused, and creates nothing" {
	refuses 66 '' mq-peek jobs
	[[ ! -e $MQ_STORE ]]
	must mq-make --stream log
	refuses 66 jobs mq-peek jobs
	refuses 64 log mq-peek log
	refuses 64 '' mq-peek
}

# ---- mq-trim ----------------------------------------------------------------------------------------------------

# ten KIND: a channel of that kind and name with the messages 0 to 9.
ten() {
	must mq-make "--$1" "$1"
	if [[ $1 == queue ]]; then seq 0 9 | must mq-send "$1"; else seq 0 9 | must mq-pub "$1"; fi
}

# left NAME: what is left in it.
left() {
	if [[ $1 == queue ]]; then mq-peek "$1"; else mq-sub -e --from=first "$1"; fi || [[ $? == 1 ]]
}

@test "mq-trim --keep=N drops all but the newest N" {
	for kind in queue topic stream; do
		ten $kind
		must mq-trim -y --keep=3 $kind
		[[ $(left $kind) == $'7\n8\n9' && $(stored $kind) == 3 ]]
		must_fail 1 mq-trim -y --keep=3 $kind
		must mq-trim -y --keep=0 $kind
		[[ $(stored $kind) == 0 ]]
	done
}

@test "mq-trim --to=N drops what lies before the offset N" {
	for kind in queue topic stream; do
		ten $kind
		must mq-trim -y --to=6 $kind
		[[ $(left $kind) == $'6\n7\n8\n9' ]]
		must_fail 1 mq-trim -y --to=6 $kind
	done
}

@test "mq-trim --older=D drops what was stored longer ago" {
	for kind in queue topic stream; do
		ten $kind
		later 5
		must_fail 1 mq-trim -y --older=1h $kind
		[[ $(stored $kind) == 10 ]]
		must mq-trim -y --older=1ms $kind
		[[ $(stored $kind) == 0 ]]
	done
}

@test "mq-trim --keep-bytes=S keeps the newest that take about so much" {
	for kind in queue topic stream; do
		must mq-make --$kind $kind
		if [[ $kind == queue ]]; then tool=mq-send; else tool=mq-pub; fi
		seq -f '%0100.0f' 1000 | must $tool $kind
		must mq-trim -y --keep-bytes=20K $kind
		n=$(stored $kind)
		((n >= 150 && n <= 260))
		left $kind | cmp - <(seq -f '%0100.0f' $((1001 - n)) 1000)
	done
}

@test "mq-trim --all drops everything; the channel stays and its offsets go on" {
	for kind in queue topic stream; do
		ten $kind
		must mq-trim -y --all $kind
		[[ -z $(left $kind) ]]
	done
	prints queue:10 mq-send --print-position queue next
	prints stream:10 mq-pub --print-position stream next
	prints next mq-recv -e queue
	prints next mq-replay stream
}

@test "mq-trim: several conditions, several channels" {
	ten queue
	ten stream
	must mq-trim -y --keep=8 --to=4 queue stream
	[[ $(left queue) == $'4\n5\n6\n7\n8\n9' && $(left stream) == $'4\n5\n6\n7\n8\n9' ]]
	must mq-trim -y --keep=3 --to=1 queue
	[[ $(left queue) == $'7\n8\n9' ]]
}

@test "mq-trim --dry-run tells how many, and drops none" {
	for kind in queue topic stream; do
		ten $kind
		must mq-trim --dry-run --keep=3 $kind
		grep -q "$kind.*\b7\b" "$out"
		[[ $(stored $kind) == 10 ]]
	done
}

@test "mq-trim drops nothing that is in flight, and drops what waits" {
	states
	must mq-send jobs e
	must mq-trim -y --all jobs
	[[ $(peek .body) == a ]]
	must mq-ack jobs:0:1
	[[ $(stored jobs) == 0 ]]
}

@test "mq-trim drops what a worker has not begun, never what it works on" {
	seq 5 | must mq-send -q jobs
	mkfifo gate
	start exec mq-exec -n 1 jobs sh -c 'cat >body; read -r line <gate'
	until_true 20 test -s body
	must mq-trim -y --all jobs
	echo >gate
	ended "$started" 0
	[[ $(stored jobs) == 0 && ! -s exec.err ]]
	must mq-send jobs next
	prints next mq-recv -e jobs
}

@test "mq-trim of many messages and of large ones leaves the others as they are" {
	export MQ_SYNC=relaxed
	seq 300000 | must mq-send -q jobs
	head -c 3000000 /dev/urandom >large
	must mq-send --file=large --file=large jobs
	must mq-send other 1 2
	must mq-trim -y --keep=1 jobs
	same 'mq-recv -e -r jobs' 'cat large'
	prints $'1\n2' mq-recv -e other
}

@test "mq-trim --all in a script needs -y; without a condition, or a channel, it is refused" {
	ten queue
	must_fail 64 mq-trim --all queue
	must_fail 64 mq-trim -y queue
	must_fail 64 mq-trim -y --all
	must_fail 64 mq-trim -y --keep=-1 queue
	[[ $(stored queue) == 10 ]]
	refuses 66 nobody mq-trim -y --all nobody
	must_fail 66 mq-trim -y --all nobody queue
	[[ $(stored queue) == 0 ]]
}

@test "mq-trim on a terminal asks: only yes drops" {
	need script
	ten queue
	ask() { script -qec "$1" /dev/null; }
	must_fail 2 ask 'mq-trim --keep=3 queue' <<<n
	[[ $(stored queue) == 10 ]]
	must ask 'mq-trim --keep=3 queue' <<<y
	[[ $(stored queue) == 3 ]]
	must ask 'mq-trim -y --all queue'
	[[ $(stored queue) == 0 ]]
}
