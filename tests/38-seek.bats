#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-seek shows where groups are, and moves them; it works while their members do.

load helpers

# ten: a stream log with the messages 0 to 9 and the group g, which has read 0 to 3.
ten() {
	must mq-make -q --stream log
	seq 0 9 | must mq-pub log
	must mq-sub -q -g g -n 4 log
}

# position GROUP [PARTITION]: its position in log, as mq-seek shows it.
position() {
	mq-seek -o json log "$1" | jq "select(.partition == ${2-0}) | .position"
}

at() {
	[[ $(position g) == "$1" ]]
}

# read_by GROUP: what the group reads from now on, in one line.
read_by() {
	mq-sub -q -e -g "$1" log | paste -s -d ' '
}

# ---- showing ----------------------------------------------------------------------------------------------------

@test "mq-seek shows position, end and lag of every group" {
	ten
	must mq-make -g other log
	must mq-seek -o plain log
	[[ $(cut -f 1-5 "$out") == $'g\t0\t4\t10\t6\nother\t0\t0\t10\t10' ]]
}

@test "mq-seek NAME GROUP shows that group alone" {
	ten
	must mq-make -g other log
	must mq-seek -o plain log other
	[[ $(cut -f 1 "$out") == other ]]
}

@test "mq-seek has a heading for people, and one object a line for programs" {
	ten
	must mq-seek log
	[[ $(wc -l <"$out") == 2 ]]
	grep -q '^group .*position .*lag' "$out"
	same "mq-seek -o json log | jq -c '[.group, .partition, .position, .end, .lag]'" 'echo "[\"g\",0,4,10,6]"'
	same "mq-seek -o json log | jq -c '[.leased, .retrying, .members, .owner]'" 'echo "[0,0,0,null]"'
}

@test "mq-seek tells when the oldest message that a group has not settled was stored" {
	ten
	[[ $(mq-seek -o json log | jq -r .oldest) == "$(mq-replay -j --from=4 -n 1 log | jq -r .time)" ]]
	must mq-seek --from=end log g
	[[ $(mq-seek -o json log | jq -r .oldest) == null ]]
}

@test "mq-seek counts what is leased and what waits for a retry" {
	ten
	must mq-make -g g log backoff=1h..1h
	must mq-sub -g g -l 600 -n 2 log
	must_fail 2 mq-exec -g g -n 1 log false
	same "mq-seek -o json log | jq -c '[.position, .lag, .leased, .retrying]'" 'echo "[4,6,2,1]"'
}

@test "mq-seek counts living members" {
	ten
	start sub mq-sub -g g -f log
	until_true 20 blocked "$started"
	[[ $(mq-seek -o json log | jq .members) == 1 ]]
	kill -KILL "$started"
	until_true 20 gone "$started"
	[[ $(mq-seek -o json log | jq .members) == 0 ]]
}

@test "mq-seek shows each partition, and who has it" {
	must mq-make -q --stream log partitions=3
	for p in 0 1 2; do
		seq 0 "$p" | must mq-pub --partition=$p log
	done
	start sub mq-sub -g g -c alice -f log
	until_true 20 has_lines 6 sub.out
	until_true 20 eval '[[ $(mq-seek -o json log | jq .lag | paste -s -d " ") == "0 0 0" ]]'
	same "mq-seek -o json log | jq -c '[.partition, .end, .owner]'" \
		"printf '%s\n' '[0,1,\"alice\"]' '[1,2,\"alice\"]' '[2,3,\"alice\"]'"
	must mq-seek -o plain --partition=1 log g
	[[ $(cut -f 1-4 "$out") == $'g\t1\t2\t2' ]]
}

@test "mq-seek of a channel without groups is exit 1 and silent" {
	must mq-make -q --stream log
	nothing mq-seek log
}

@test "mq-seek of a channel or group that is not there, or of a queue, is refused" {
	refuses 66 '' mq-seek log
	[[ ! -e $MQ_STORE ]]
	ten
	refuses 66 lag mq-seek lag
	refuses 66 nobody mq-seek log nobody
	refuses 66 nobody mq-seek --from=first log nobody
	must mq-send -q jobs a
	refuses 64 jobs mq-seek jobs
	refuses 64 jobs mq-seek --from=first jobs g
}

@test "mq-seek works on a topic" {
	must mq-make -q --topic news
	must mq-make -g g news
	must mq-pub news a b c
	same 'mq-seek -o plain news | cut -f 1-5' "printf 'g\t0\t0\t3\t3\n'"
	must mq-seek --from=2 news g
	prints c mq-sub -g g -e news
}

# ---- moving -----------------------------------------------------------------------------------------------------

@test "mq-seek --from=N, first and end" {
	ten
	must mq-seek --from=7 log g
	[[ ! -s $out && ! -s $err ]]
	[[ $(read_by g) == '7 8 9' ]]
	must mq-seek --from=first log g
	[[ $(read_by g) == '0 1 2 3 4 5 6 7 8 9' ]]
	must mq-seek --from=2 log g
	must mq-seek --from=end log g
	nothing mq-sub -g g -e log
}

@test "mq-seek --last=N: N messages before the end" {
	ten
	must mq-seek --last=3 log g
	[[ $(read_by g) == '7 8 9' ]]
	must mq-seek --last=0 log g
	nothing mq-sub -g g -e log
}

@test "mq-seek --shift=N: on, or back" {
	ten
	must mq-seek --shift=2 log g
	at 6
	must mq-seek --shift=-4 log g
	at 2
	must mq-seek --shift=+1 log g
	at 3
	must mq-seek --shift -1 log g
	[[ $(read_by g) == '2 3 4 5 6 7 8 9' ]]
}

@test "mq-seek --since=T: the first message from that time on" {
	ten
	later 5
	since=@$(date +%s.%N)
	later 5
	must mq-pub log new
	must mq-seek -S "$since" log g
	[[ $(read_by g) == new ]]
	must mq-seek --since=-1h log g
	at 0
	must mq-seek --since=+1h log g
	at 11
}

@test "mq-seek: what lies outside of what is stored becomes the nearest inside" {
	ten
	must mq-seek --from=1000 log g
	at 10
	must mq-seek --shift=-1000 log g
	at 0
	must mq-trim -y --to=5 log
	must mq-seek --from=0 log g
	at 5
	must mq-seek --last=1000 log g
	at 5
	[[ $(read_by g) == '5 6 7 8 9' ]]
}

@test "mq-seek moves one group, and no other" {
	ten
	must mq-make -g other log
	must mq-seek --from=end log g
	[[ $(position other) == 0 ]]
	[[ $(read_by other) == '0 1 2 3 4 5 6 7 8 9' ]]
}

@test "mq-seek --dry-run prints what would be, and changes nothing" {
	ten
	prints $'log\tg\t0\t4\t7\t3\t0' mq-seek --dry-run --from=7 -o plain log g
	prints $'log\tg\t0\t4\t1\t0\t3' mq-seek --dry-run --shift=-3 -o plain log g
	prints $'log\tg\t0\t4\t4\t0\t0' mq-seek --dry-run --from=4 -o plain log g
	at 4
	must mq-seek --dry-run --from=7 log g
	grep -q '^channel .*from .*to .*skipped .*repeated' "$out"
	[[ $(read_by g) == '4 5 6 7 8 9' ]]
}

@test "mq-seek -v prints the same when it moves" {
	ten
	prints $'log\tg\t0\t4\t7\t3\t0' mq-seek -v --from=7 -o plain log g
	at 7
	must mq-seek -v --from=7 log g
	[[ $(wc -l <"$out") == 2 ]]
}

@test "mq-seek --dry-run works on a store that cannot be written" {
	small_disk 16m
	export MQ_STORE=$BATS_TEST_TMPDIR/disk/store
	ten
	mount -o remount,ro disk
	must mq-seek log
	prints $'log\tg\t0\t4\t0\t0\t4' mq-seek --dry-run --from=first -o plain log g
	mount -o remount,rw disk
}

@test "mq-seek of several partitions: all of them, or one" {
	must mq-make -q --stream log partitions=2
	seq 0 9 | must mq-pub --partition=0 log
	seq 10 15 | must mq-pub --partition=1 log
	must mq-make -g g log
	must mq-seek --from=4 log g
	[[ $(position g 0) == 4 && $(position g 1) == 4 ]]
	must mq-seek --last=1 --partition=1 log g
	[[ $(position g 0) == 4 && $(position g 1) == 5 ]]
	prints $'log\tg\t0\t4\t6\t2\t0\nlog\tg\t1\t5\t6\t1\t0' mq-seek --dry-run --shift=2 -o plain log g
	refuses 64 ': log: there is no partition 2; it has 0 to 1' mq-seek --from=first --partition=2 log g
	refuses 64 ': log: there is no partition 2; it has 0 to 1' mq-seek --partition=2 log
}

@test "mq-seek forgets leases and retries of what it moves over, and counts attempts anew" {
	ten
	must mq-make -g g log backoff=1h..1h
	lease=$(mq-sub -g g -l 600 -n 1 -F '%l\n' log)
	must_fail 2 mq-exec -g g -n 1 log false
	must mq-seek --from=end log g
	same "mq-seek -o json log | jq -c '[.lag, .leased, .retrying]'" 'echo "[0,0,0]"'
	must_fail 2 mq-ack "$lease"
	must mq-seek --from=4 log g
	prints $'4 1\n5 1' mq-sub -g g -n 2 -F '%b %a\n' log
}

@test "mq-seek: targets exclude each other, and a group must be named" {
	ten
	refuses 64 shift mq-seek --from=1 --shift=1 log g
	refuses 64 since mq-seek --from=1 --since=now log g
	refuses 64 last mq-seek --since=now --last=1 log g
	refuses 64 GROUP mq-seek --from=first log
	refuses 64 NAME mq-seek
	refuses 64 dry-run mq-seek --dry-run log g
	refuses 64 shift mq-seek --shift=much log g
	refuses 64 'a b' mq-seek --from=first log 'a b'
	at 4
}

# ---- export and import ------------------------------------------------------------------------------------------

@test "mq-seek --export prints CHANNEL/PARTITION GROUP OFFSET" {
	ten
	must mq-make -g other log
	must mq-make -q --topic news
	must mq-make -g mail news
	prints $'log/0 g 4\nlog/0 other 0' mq-seek --export log
	prints 'log/0 g 4' mq-seek --export log g
	prints $'log/0 g 4\nlog/0 other 0\nnews/0 mail 0' mq-seek --export
}

@test "mq-seek --import moves the groups back to where they were" {
	must mq-make -q --stream log partitions=2
	seq 0 9 | must mq-pub --partition=0 log
	seq 10 19 | must mq-pub --partition=1 log
	must mq-sub -q -g g -n 7 log
	must mq-make -g other --from=end log
	must mq-seek --export log
	cp "$out" positions
	must mq-sub -q -g g -e log
	must mq-seek --from=first log other
	must mq-seek --import <positions
	[[ ! -s $out && ! -s $err ]]
	same 'mq-seek --export log' 'cat positions'
}

@test "mq-seek --import --dry-run prints and moves nothing; -v prints and moves" {
	ten
	prints $'log\tg\t0\t4\t6\t2\t0' mq-seek --import --dry-run -o plain <<<'log/0 g 6'
	at 4
	prints $'log\tg\t0\t4\t6\t2\t0' mq-seek --import -v -o plain <<<'log/0 g 6'
	at 6
}

@test "mq-seek --import takes comments, empty lines and blanks" {
	ten
	printf '# kept on Monday\n\n  log/0\tg   8  # here\r\n' | must mq-seek --import
	at 8
	must mq-seek --import </dev/null
	printf 'log/0 g 2' | must mq-seek --import
	at 2
}

@test "mq-seek --import: one line that is not valid, and nothing is moved" {
	ten
	for bad in 'log g 1' 'log/0 g' 'log/0 g x' 'log/0 g -1' 'log/0 g 1 2' 'log/x g 1' 'log/ g 1' '/0 g 1' \
		'log/128 g 1' 'log/0 g! 1' 'log/0 g 99999999999999999999' "log/0 g 1$(printf '%2000s' x)"; do
		printf 'log/0 g 9\n%s\n' "$bad" >positions
		refuses 65 'line 2' mq-seek --import <positions
	done
	printf 'log/0 g 9\nlog/0 g\0 8\n' >positions
	refuses 65 'line 2' mq-seek --import <positions
	printf 'log/0 g 9\n\nlog/0 g 8\n' >positions
	refuses 65 'line 3' mq-seek --import <positions
	at 4
}

@test "mq-seek --import: a channel, partition or group that is missing, and nothing is moved" {
	ten
	printf '%s\n' 'log/0 g 9' 'other/0 g 1' >positions
	refuses 66 other mq-seek --import <positions
	printf '%s\n' 'log/0 g 9' 'log/0 nobody 1' >positions
	refuses 66 nobody mq-seek --import <positions
	printf '%s\n' 'log/0 g 9' 'log/1 g 1' >positions
	refuses 65 'line 2: log: there is no partition 1; it has 0 only' mq-seek --import <positions
	at 4
}

@test "mq-seek: --export and --import go without what would contradict them" {
	ten
	refuses 64 import mq-seek --export --import
	refuses 64 export mq-seek --export --from=first log g
	refuses 64 import mq-seek --import --shift=1
	refuses 64 log mq-seek --import log
	refuses 64 output mq-seek --export -o json log
	nothing mq-seek --export --partition=5
}

# ---- members at work --------------------------------------------------------------------------------------------

# follower: mq-sub -g g in the background, which has read everything and waits.
follower() {
	start sub mq-sub -g g -f log
	until_true 20 has_lines "$1" sub.out
	until_true 20 blocked "$started"
}

@test "back, while a member waits: the messages come again" {
	ten
	follower 6
	must mq-seek --from=7 log g
	until_true 20 has_lines 9 sub.out
	must mq-pub log 10
	until_true 20 has_lines 10 sub.out
	[[ $(paste -s -d ' ' sub.out) == '4 5 6 7 8 9 7 8 9 10' ]]
}

@test "to the end, while a member is stopped: what lay between does not come" {
	ten
	follower 6
	kill -STOP "$started"
	seq 10 19 | must mq-pub log
	must mq-seek --from=end log g
	must mq-pub log 20
	kill -CONT "$started"
	until_true 20 grep -qx 20 sub.out
	[[ $(paste -s -d ' ' sub.out) == '4 5 6 7 8 9 20' ]]
}

@test "what a worker has in its hands it may finish; then it works from the new position" {
	ten
	mkfifo gate
	program work <<-'END'
		{ cat; echo; } >>bodies
		[ -e free ] || read -r line <gate
	END
	start exec mq-exec -g g -f log ./work
	until_true 20 grep -qx 4 bodies
	must mq-seek --from=8 log g
	: >free
	echo >gate
	until_true 20 grep -qx 9 bodies
	until_true 20 blocked "$started"
	[[ $(paste -s -d ' ' bodies) == '4 8 9' && ! -s exec.err ]]
	until_true 20 at 10
}

@test "back and forth, while members with partitions work: none of what lies behind the last move is lost" {
	must mq-make -q --stream log partitions=4
	for p in 0 1 2 3; do
		seq -f "$p:%.0f" 0 999 | must mq-pub --partition=$p log
	done
	must mq-make -g g log
	for i in 1 2 3; do
		start "sub$i" mq-sub -g g -f log
	done
	for to in 500 first 100 end 900 first; do
		must mq-seek --from=$to log g
	done
	until_true 20 eval '[[ $(mq-seek -o json log | jq .lag | sort -u) == 0 ]]'
	sort -u sub?.out | cmp - <(for p in 0 1 2 3; do seq -f "$p:%.0f" 0 999; done | sort)
}

@test "mq-seek killed at any moment, and run again, moves the group" {
	must mq-make -q --stream log partitions=8
	for p in 0 1 2 3 4 5 6 7; do
		seq 100 | must mq-pub --partition=$p log
	done
	must mq-make -g g log
	killed_at_random 3000 mq-seek --from=50 log g
	[[ $(mq-seek -o json log g | jq .position | sort -u) == 50 ]]
	[[ $(mq-sub -q -e -g g log | wc -l) == 400 ]]
}
