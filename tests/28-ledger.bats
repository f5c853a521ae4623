#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031,SC2317
#
# The ledger: ten senders and ten receivers, all of them short-lived processes, work at once on one queue and are
# killed at random. Everybody notes what he is about to do and what he was told. In the end the notes must agree:
#
#	meant	ids that were to be sent	told	those of which the sender ended with 0
#	got	what a receiver printed that ended with 0, so that it was acknowledged
#	maybe	what one printed that was killed: acknowledged or not, nobody knows
#
# A body is an id, the number of zeros behind it, and these.

load helpers

# closes: the notes in the present directory agree, and the queue is empty.
closes() {
	local fault
	sort -u meant >meant.ids
	for notes in got maybe; do
		# What was cut off when its writer was killed is not a message.
		perl -ne 'print if /\n\z/' "$notes" >"$notes.whole"
		if fault=$(awk 'NF != 3 || length($3) != $2' "$notes.whole" | grep .); then
			echo "a body is damaged: ${fault:0:80}" >&2
			return 1
		fi
		cut -d ' ' -f 1 "$notes.whole" | sort >"$notes.ids"
	done
	if fault=$(sort -u got.ids maybe.ids | comm -23 - meant.ids | grep .); then
		echo "received and never sent: $fault" >&2
		return 1
	fi
	if fault=$(sort -u got.ids maybe.ids | comm -13 - <(sort -u told) | grep .); then
		echo "sent and lost: $fault" >&2
		return 1
	fi
	if fault=$(uniq -d got.ids | grep .); then
		echo "received again after it was acknowledged: $fault" >&2
		return 1
	fi
}

# gather NAME: the notes of all, NAME.*, become one file.
gather() {
	local notes
	for notes; do
		cat "$notes".[0-9]* >"$notes" 2>/dev/null || true
	done
}

# mortal ONE_IN MICROSECONDS CMD...: one run in so many is killed within that time. The status is the command's.
mortal() {
	local one_in=$1 limit=$2
	shift 2
	"$@" &
	if ((RANDOM % one_in == 0)); then
		spin "$limit"
		kill -KILL $! 2>/dev/null
	fi
	wait $!
}

# sender N COUNT
sender() {
	local i size body
	RANDOM=$((seed + $1))
	for ((i = 1; i <= $2; i++)); do
		size=$((i % 8 ? RANDOM % 2000 + 1 : 70000))
		printf -v body '%s %d %0*d' "$1.$i" $size $size 0
		echo "$1.$i" >>"meant.$1"
		! mortal 4 4000 mq-send -q jobs "$body" || echo "$1.$i" >>"told.$1"
	done
}

# receiver N: until there is a file stop.
receiver() {
	local result
	RANDOM=$((seed + $1))
	while [[ ! -e stop ]]; do
		result=0
		mortal 3 6000 mq-recv -q -w 50ms -n $((RANDOM % 5 + 1)) jobs >"now.$1" || result=$?
		case $result in
		0 | 1) cat "now.$1" >>"got.$1" ;;
		137) perl -ne 'print if /\n\z/' "now.$1" >>"maybe.$1" ;;
		*) echo "mq-recv ended with $result" >>bad ;;
		esac
	done
}

# The same with a lease and mq-ack, each of which may be killed.
leaser() {
	local result lease body
	RANDOM=$((seed + $1))
	while [[ ! -e stop ]]; do
		mortal 4 6000 mq-recv -q -w 50ms -l 150ms -F '%l %b\n' jobs >"now.$1" || true
		read -r lease body <"now.$1" || continue
		result=0
		mortal 4 4000 mq-ack "$lease" 2>/dev/null || result=$?
		case $result in
		0) echo "$body" >>"got.$1" ;;
		2) ;; # it ran out
		137) echo "$body" >>"maybe.$1" ;;
		*) echo "mq-ack ended with $result" >>bad ;;
		esac
	done
}

# The same with mq-exec, whose output is there exactly when its message is acknowledged.
worker() {
	local result
	RANDOM=$((seed + $1))
	while [[ ! -e stop ]]; do
		result=0
		mortal 3 12000 mq-exec -q -w 50ms -n $((RANDOM % 5 + 1)) -P 2 --to results jobs cat || result=$?
		[[ $result == [01] || $result == 137 ]] || echo "mq-exec ended with $result" >>bad
	done
}

# play COUNT TAKER...: ten senders of so many messages each against so many takers of these kinds, until nothing
# is left.
play() {
	local count=$1 n taker pid
	local -a senders takers
	shift
	seed=$((RANDOM * 1000))
	echo "# seed $seed"
	must mq-make --queue jobs max-attempts=none backoff=1ms..1ms
	for n in 1 2 3 4 5 6 7 8 9 10; do
		start "sender$n" sender $n "$count"
		senders+=("$started")
	done
	for taker; do
		n=$((n + 1))
		start "taker$n" "$taker" $n
		takers+=("$started")
	done
	for pid in "${senders[@]}"; do
		ended "$pid" 0
	done
	until_true 20 eval '[[ $(stored jobs) == 0 ]]'
	touch stop
	for pid in "${takers[@]}"; do
		ended "$pid" 0
	done
	gather meant told got maybe
	[[ ! -e bad ]] || { cat bad >&2; return 1; }
	echo "# $(wc -l <meant) meant, $(wc -l <told) told, $(wc -l <got) got, $(wc -l <maybe) maybe"
	(($(wc -l <told) > 0 && $(wc -l <got) > 0))
	[[ $(stored jobs) == 0 && $(mq-ls --names) != *dead* ]]
}

# small_ledger: one that is in order.
small_ledger() {
	printf '%s\n' 1.1 1.2 1.3 1.4 >meant
	printf '%s\n' 1.1 1.2 1.3 >told
	printf '%s\n' '1.1 3 000' '1.3 1 0' >got
	printf '%s\n' '1.2 2 00' '1.3 1 0' '1.2 2 00' >maybe
	printf '1.1 3 0' >>maybe
}

@test "the ledger is closed when all is in order" {
	small_ledger
	closes
}

@test "the ledger finds a loss, an invention, a double and damage" {
	for fault in 'echo 1.4 >>told' 'echo "7.7 1 0" >>got' 'echo "1.1 3 000" >>got' 'echo "1.4 5 000" >>got' \
		'echo 1.9 >>meant; echo 1.9 >>told' 'sed -i 1d got'; do
		small_ledger
		eval "$fault"
		run ! closes
	done
}

@test "ten senders and ten receivers, killed at random: nothing lost, nothing invented, nothing again" {
	play 25 receiver receiver receiver receiver receiver receiver receiver receiver receiver receiver
	closes
}

@test "the same with leases that run out, and with workers whose results are stored" {
	play 20 leaser worker leaser worker leaser worker leaser worker leaser worker
	mq-recv -q -e results >>got
	closes
}
