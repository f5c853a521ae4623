#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# Members of a group of a stream with several partitions own whole partitions, and share them anew when one joins or
# dies: nothing is lost, and the order within a partition, and so within a key, holds through all of it.

load helpers

# a_log N: the stream log with N partitions.
a_log() {
	must mq-make --stream log "partitions=$1"
}

# member NAME ARG...: a member of group team that prints partition and body; its process id is in $started.
member() {
	local name=$1
	shift
	start "$name" mq-sub -f -g team -c "$name" -F '%P %b\n' "$@" log
}

# publish N TEXT: one message to each of the N partitions.
publish() {
	local p
	for ((p = 0; p < $1; p++)); do
		must mq-pub --partition=$p log "$2"
	done
}

# own N FILE: the distinct partitions of the messages in the file are N; ownership is as the last message tells.
own() {
	[[ $(cut -d ' ' -f 1 "$2" | sort -u | wc -l) == "$1" ]]
}

# shared N MEMBER:COUNT...: what is published now to the N partitions goes to each member as said, each partition to
# one of them.
shared() {
	local n=$1 m
	shift
	round=$((${round:-0} + 1))
	publish "$n" "round-$round"
	until_true 20 round_there "$n" || return 1
	for m; do
		(($(grep -c "round-$round\$" "${m%:*}.out") == ${m#*:})) || return 1
	done
}

round_there() {
	(($(cat ./*.out | grep -c "round-$round\$") == $1))
}

# in_order FILE: the first delivery of each message of a partition comes in order. Lines "PARTITION OFFSET KEY NUMBER ."
# among fragments of those that were killed while they wrote; a key's numbers grow too.
in_order() {
	grep -E '^[0-9]+ [0-9]+ [^ ]+ [0-9]+ \.$' "$1" | awk '
		seen[$1, $2]++ { next }
		$2 != next_offset[$1] + 0 { print "partition " $1 ": " $2 " before " next_offset[$1] + 0; bad = 1; exit 1 }
		{ next_offset[$1]++ }
		$4 != last[$3] + 1 { print "key " $3 ": " $4 " after " last[$3] + 0; bad = 1; exit 1 }
		{ last[$3] = $4 }
		END { exit bad }'
}

# deliveries FILE: how many messages were delivered, at least once.
deliveries() {
	grep -E '^[0-9]+ [0-9]+ [^ ]+ [0-9]+ \.$' "$1" | cut -d ' ' -f 1,2 | sort -u | wc -l
}

# keyed FROM TO: messages with those numbers for each of 20 keys, as envelopes.
keyed() {
	local i k
	for ((i = $1; i <= $2; i++)); do
		for ((k = 0; k < 20; k++)); do
			echo "{\"key\":\"k$k\",\"body\":\"$i\"}"
		done
	done
}

# ---- positions ------------------------------------------------------------------------------------------------

@test "a reader without a group reads all partitions, and says in which a message lies" {
	a_log 3
	publish 3 a
	publish 3 b
	mq-sub -e --from=first -F '%P:%o %b\n' log | sort >got
	printf '%s\n' '0:0 a' '0:1 b' '1:0 a' '1:1 b' '2:0 a' '2:1 b' | cmp - got
	mq-sub -e --from=first -j log | jq -r '"\(.partition):\(.offset) \(.body)"' | sort | cmp - got
	mq-sub -e --last=2 -F '%P:%o %b\n' log >got
	printf '%s\n' '1:1 b' '2:1 b' | cmp - got
	mq-sub -e -g team --last=1 -F '%P:%o %b\n' log | sort >got
	printf '%s\n' '0:1 b' '1:1 b' '2:1 b' | cmp - got
}

@test "--partition=N reads only that one, with and without a group" {
	a_log 3
	publish 3 a
	publish 3 b
	prints $'1 a\n1 b' mq-sub -e --from=first --partition=1 -F '%P %b\n' log
	prints $'2 a\n2 b' mq-sub -e -g team --partition=2 -F '%P %b\n' log
	nothing mq-sub -e -g team --partition=2 log
	mq-sub -e -g team -F '%P %b\n' log | sort >got
	printf '%s\n' '0 a' '0 b' '1 a' '1 b' | cmp - got
}

@test "a partition that is not there is refused; channels that match a pattern and have it not are passed over" {
	a_log 3
	must mq-make --stream other
	publish 3 a
	must mq-pub other b
	refuses 64 ': log: there is no partition 3; it has 0 to 2' mq-sub -e --from=first --partition=3 log
	refuses 64 ': log: there is no partition 3; it has 0 to 2' mq-sub -e -g team --partition=3 log
	refuses 64 ': other: there is no partition 1; it has 0 only' mq-sub -e --partition=1 other
	refuses 64 partition mq-sub -e --partition=-1 log
	prints a mq-sub -e --from=first --partition=2 '+'
	prints a mq-sub -e -g team --partition=2 '+'
}

@test "leases of a group name the partition" {
	a_log 3
	publish 3 a
	prints log/2@team:0:1 mq-sub -e -g team --partition=2 -l 600 -F '%l\n' log
	must mq-ack log/2@team:0:1
	refuses 2 'log/2@team:0:1: lease was lost' mq-ack log/2@team:0:1
	mq-sub -e -g team -l 600 -j log | tee leases | jq -r .lease | sort >got
	printf '%s\n' log/0@team:0:1 log/1@team:0:1 | cmp - got
	must mq-ack <leases
	nothing mq-sub -e -g team log
}

@test "mq-exec: MQ_PARTITION and the lease tell the partition" {
	a_log 3
	publish 3 a
	mq-exec -e -g team log sh -c 'echo "$MQ_PARTITION $MQ_OFFSET $MQ_GROUP $MQ_LEASE"' | sort >got
	printf '%s\n' '0 0 team log/0@team:0:1' '1 0 team log/1@team:0:1' '2 0 team log/2@team:0:1' | cmp - got
}

@test "mq-exec: a failure names the partition, and so does its dead letter" {
	a_log 3
	must mq-pub --partition=2 log bad
	must_fail 2 mq-exec -e -g team log sh -c 'exit 65'
	grep -q '^mq-exec: log/2:0: exit status 65' "$err"
	prints 'bad log/2:0' mq-recv -F '%b %O\n' log.dead
}

@test "a group goes on in each partition where it stopped" {
	a_log 4
	seq 100 | must mq-pub log
	keyed 1 5 | must mq-pub -j log
	mq-sub -n 70 -g team log >got
	mq-sub -n 70 -g team log >>got
	mq-sub -e -g team log >>got
	{ seq 100; keyed 1 5 | jq -r .body; } | sort | cmp - <(sort got)
	nothing mq-sub -e -g team log
}

# ---- shares ---------------------------------------------------------------------------------------------------------

@test "one member has all partitions; each that joins gets its share at once, and whole ones" {
	a_log 4
	member a
	until_true 20 shared 4 a:4
	member b
	until_true 20 shared 4 a:2 b:2
	shared 4 a:2 b:2
	member c
	until_true 20 shared 4 a:2 b:1 c:1
	shared 4 a:2 b:1 c:1
	cat ./*.out | awk '{ n[$0]++ } END { for (line in n) if (n[line] > 1) exit 1 }'
}

@test "the partitions of a member that is killed are free at once" {
	a_log 4
	member a
	until_true 20 shared 4 a:4
	member b
	second=$started
	until_true 20 shared 4 a:2 b:2
	kill -KILL "$second"
	begin=$(clock)
	round=killed
	publish 4 round-killed
	until_true 20 own_round 4 a.out
	(($(clock) - begin < 1500000))
}

own_round() {
	(($(grep -c "round-$round\$" "$2") == $1))
}

@test "the partitions of a member that ends go to the others" {
	a_log 4
	member a
	until_true 20 shared 4 a:4
	member b
	second=$started
	until_true 20 shared 4 a:2 b:2
	kill -TERM "$second"
	ended "$second" 143
	shared 4 a:4
}

# joined N: so many members.
joined() {
	[[ $(mq-ls --groups -o json log | jq -s '.[0].members') == "$1" ]]
}

@test "more members than partitions: some wait, and one of these takes over" {
	a_log 2
	# Who joins last waits: one after the other.
	for m in a b c; do
		member $m
		pids[${#pids[@]}]=$started
		until_true 20 joined "${#pids[@]}"
	done
	until_true 20 shared 2 a:1 b:1 c:0
	kill -KILL "${pids[0]}"
	until_true 20 shared 2 b:1 c:1
}

# slow_work: the command ./work FILE, which notes partitions and messages, and a message in partition 0 with which it is
# busy from when the file "started" is there until somebody opens the gate.
slow_work() {
	mkfifo gate
	program work <<-'END'
		read -r n || true
		if [ "$n" = slow ]; then echo >"started"; cat gate; fi
		echo "$MQ_PARTITION $n" >>"$1"
	END
	must mq-pub --partition=0 log slow
}

@test "a newcomer does not stop the others, and they do not wait for each other" {
	a_log 2
	slow_work
	start one mq-exec -g team -P 2 log ./work one
	until_true 20 test -e started
	must mq-pub --partition=1 log 1
	until_true 20 grep -q '1 1' one
	start two mq-exec -g team log ./work two
	until_true 20 moved
	exec {gate}>gate
	exec {gate}>&-
	until_true 20 grep -q '0 slow' one
	must mq-pub --partition=0 log after
	until_true 20 grep -q '0 after' one
	[[ $(grep -c '^0' two) == 0 ]]
}

# Partition 1 is the newcomer's, though a message of partition 0 is still worked on.
moved() {
	must mq-pub --partition=1 log next
	[[ -e two ]]
}

@test "a worker whose commands all run gives partitions up too" {
	a_log 2
	slow_work
	start one mq-exec -g team log ./work one
	until_true 20 test -e started
	must mq-pub --partition=1 log other
	start two mq-exec -g team log ./work two
	until_true 20 grep -q '1 other' two
	exec {gate}>gate
	exec {gate}>&-
	until_true 20 grep -q '0 slow' one
}

@test "in a partition nothing is delivered behind a message that waits for its retry" {
	a_log 2
	must mq-make -g team log backoff=1h..1h
	must mq-pub --partition=0 log bad good
	must mq-pub --partition=1 log fine
	must_fail 2 mq-exec -e -g team log sh -c 'read -r n || :; [ "$n" != bad ] && echo "$n"'
	[[ $(<"$out") == fine ]]
	must mq-pub --partition=1 log finer
	prints finer mq-sub -e -g team log
	same 'mq-sub -e -g other log | sort' 'printf "%s\n" bad good fine finer | sort'
}

@test "several at once: each message once" {
	a_log 8
	keyed 1 200 | must mq-pub -j log
	for i in 1 2 3; do
		start "sub$i" mq-sub -w 1 -g team -F '%P %o %k %b .\n' log
		pids[i]=$started
	done
	for i in 1 2 3; do
		until_true 20 gone "${pids[i]}"
		wait "${pids[i]}" || [[ $? == 1 && ! -s sub$i.out ]]
		in_each_order sub$i.out
	done
	[[ $(cat sub[123].out | wc -l) == 4000 && $(sort -u sub[123].out | wc -l) == 4000 ]]
}

# in_each_order FILE: offsets only grow within a partition.
in_each_order() {
	awk '$2 + 1 <= last[$1] { exit 1 } { last[$1] = $2 + 1 }' "$1"
}

@test "order=key goes with partitions: one message of a key at a time" {
	a_log 3
	must mq-make -g team log order=key
	program work <<-'END'
		mkdir "busy.$MQ_KEY" || exit 65
		read -r n || true
		echo "$n" >>"log.$MQ_KEY"
		rmdir "busy.$MQ_KEY"
	END
	keyed 1 8 | must mq-pub -j log
	start one mq-exec -w 300ms -P 4 -g team log ./work
	one=$started
	start two mq-exec -w 300ms -P 4 -g team log ./work
	for pid in "$one" "$started"; do
		until_true 20 gone "$pid"
		wait "$pid" || (($? == 1))
	done
	for k in $(seq 0 19); do
		seq 8 | cmp - "log.k$k"
	done
}

# ---- members that come and go -----------------------------------------------------------------------------------------

# come_and_go CMD...: for a few seconds members that run CMD come, and are killed, at random, up to four at a time,
# while it is published; then they are all gone.
come_and_go() {
	local end=$((SECONDS + 4)) members=() i n=0
	while ((SECONDS < end)); do
		spin 60000
		if ((${#members[@]} < 1 || (${#members[@]} < 4 && RANDOM % 2))); then
			"$@" >>all 2>/dev/null 3>&- &
			members+=("$!")
			children+=("$!")
		else
			i=$((RANDOM % ${#members[@]}))
			kill "-$((RANDOM % 4 ? 9 : 15))" "${members[i]}"
			wait "${members[i]}" 2>/dev/null || true
			unset "members[i]"
			members=("${members[@]}")
		fi
		keyed $((n * 5 + 1)) $((n * 5 + 5)) | must mq-pub -j log
		n=$((n + 1))
	done
	for i in "${members[@]}"; do
		kill -KILL "$i" 2>/dev/null || true
		wait "$i" 2>/dev/null || true
	done
	published=$((n * 100))
}

@test "members are added and killed at random while it is published: order holds and nothing is lost" {
	export MQ_SYNC=relaxed
	a_log 6
	must mq-make -g team log max-attempts=none
	come_and_go mq-sub -q -f -g team -F '\n%P %o %k %b .\n' log
	mq-sub -e -g team -F '\n%P %o %k %b .\n' log >>all || (($? == 1))
	in_order all
	[[ $(deliveries all) == "$published" ]]
	nothing mq-sub -e -g team log
}

@test "workers are added and killed at random while it is published: order holds and nothing is lost" {
	export MQ_SYNC=relaxed
	a_log 6
	must mq-make -g team log max-attempts=none
	program work <<-'END'
		read -r n || true
		printf '\n%s %s %s %s .\n' "$MQ_PARTITION" "$MQ_OFFSET" "$MQ_KEY" "$n"
	END
	keyed() {
		local k
		for ((k = 0; k < 5; k++)); do
			echo "{\"key\":\"k$k\",\"body\":\"$((($1 + 4) / 5))\"}"
		done
	}
	come_and_go mq-exec -q -g team log ./work
	until_true 20 worked_off
	in_order all
	[[ $(deliveries all) == $((published / 20)) ]]
}

# Nothing is left; what commands that live on for a moment hold comes back.
worked_off() {
	mq-exec -q -e -g team log ./work >>all 2>/dev/null || true
	[[ $(deliveries all) == $((published / 20)) ]]
}
