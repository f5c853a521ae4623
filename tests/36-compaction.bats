#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# max-per-key: a stream that keeps the newest messages of each key.

load helpers

# state [N]: a stream that keeps so many.
state() {
	must mq-make --stream state max-per-key="${1:-1}"
}

# kept: all of it, "KEY BODY".
kept() {
	mq-replay -e -F '%k %b\n' "$@" state
}

# updates COUNT KEYS: JSON envelopes, the body of each is its number.
updates() {
	awk -v n="$1" -v keys="$2" 'BEGIN {
		srand(1)
		for (i = 0; i < n; i++)
			printf "{\"key\":\"k%d\",\"body\":\"%d\"}\n", int(rand() * keys), i
	}'
}

# newest N <UPDATES: what is to be left of them.
newest() {
	tac | jq -r '.key + " " + .body' | awk -v n="$1" 'seen[$1]++ < n' | tac
}

@test "of each key the newest message is left, and every message without a key" {
	state
	for i in 1 2 3; do
		must mq-pub -k a state "a$i"
		must mq-pub -k b state "b$i"
		must mq-pub state "n$i"
	done
	must mq-pub -k a state last
	[[ $(kept) == $' n1\n n2\nb b3\n n3\na last' ]]
	# Offsets are as they were.
	[[ $(mq-replay -e -F '%o ' state) == '2 5 7 8 9 ' ]]
	must mq-check
}

@test "max-per-key=N: the newest N" {
	state 3
	updates 5000 20 >input
	must mq-pub -q -j state <input
	newest 3 <input >want
	kept | cmp - want
	must mq-check
}

@test "as soon as mq-pub has ended nothing older is replayed, whatever the size of its transactions" {
	state
	updates 300000 1000 >input
	must mq-pub -q -j state <input
	newest 1 <input >want
	kept | cmp - want
}

@test "a tombstone takes what was there of its key, and stays until something newer comes" {
	state 2
	must mq-pub -k a state 1 2
	must mq-pub -k b state 3
	must mq-pub -k a --tombstone state
	[[ $(kept) == $'b 3\na ' ]]
	[[ $(mq-replay -e -j state | jq -r 'select(.tombstone).key') == a ]]
	must mq-pub -k a state 4
	[[ $(kept) == $'b 3\na \na 4' ]]
	must mq-pub -k a state 5
	[[ $(kept) == $'b 3\na 4\na 5' ]]
	refuses 65 'tombstone' mq-pub -j state <<<'{"key":"a","tombstone":true,"body":"x"}'
	refuses 65 'tombstone' mq-pub -j state <<<'{"tombstone":true}'
}

@test "a limit that comes later, or is lowered, holds for what is there" {
	must mq-make --stream state
	updates 20000 50 >input
	must mq-pub -q -j state <input
	[[ $(kept | wc -l) == 20000 ]]
	for n in 5 1; do
		must mq-make state max-per-key=$n
		must mq-pub -k z state z
		newest $n <input >want
		kept -k 'k*' | cmp - want
	done
	must mq-check
}

@test "a million updates of a thousand keys leave a small store" {
	state
	updates 1000000 1000 | mq-pub -q -j state
	[[ $(kept | wc -l) == 1000 ]]
	(($(stat -c %s "$MQ_STORE/data.mdb") < 16 << 20))
	must mq-check
}

@test "messages of any size go, with their large bodies" {
	state
	for size in 10 3000 4000 4053 9000 60000 70000 500000; do
		for key in a b; do
			head -c $size /dev/zero | tr '\0' "$key" | mq-pub -q -k $key --file=- state
		done
	done
	[[ $(mq-replay -e -F '%k\n' state) == $'a\nb' ]]
	mq-replay -e -k a -r state | head -c 500000 | tr -d a | cmp - /dev/null
	must mq-check
	for i in {1..40}; do
		must mq-pub -k a state "$i"
		must mq-pub -k b state "$i"
	done
	(($(mq-ls -o json | jq .bytes) < 1000))
	must mq-check
}

@test "partitions are compacted, each for itself" {
	must mq-make --stream state max-per-key=1 partitions=4
	updates 20000 100 >input
	must mq-pub -q -j state <input
	newest 1 <input | sort >want
	kept | sort | cmp - want
	must mq-check
}

@test "retention takes the prefix of a compacted stream, by numbers that are right" {
	must mq-make --stream state max-per-key=1 max-messages=50
	updates 20000 100 >input
	for i in {1..20}; do
		must mq-pub -q -j state < <(sed -n "$((i * 1000 - 999)),$((i * 1000))p" input)
	done
	n=$(kept | wc -l)
	((n > 0 && n <= 100))
	[[ $(stored state) == "$n" ]]
	must mq-check
	must mq-trim -q --all -y state
	[[ $(stored state) == 0 ]]
	must mq-pub -k k1 state again
	[[ $(kept) == 'k1 again' ]]
	[[ $(stored state) == 1 ]]
}

# newer_is_there: of what was published the newest message of each key is stored, and no message is damaged.
newer_is_there() {
	mq-replay -e -F '%o %k\n' state >live || true
	[[ -s live ]] || return 0
	awk 'NR == FNR { stored[$1] = 1; last = $1; next }
		FNR - 1 <= last { newest[$1] = FNR - 1 }
		END { for (k in newest) if (!(newest[k] in stored)) { print k, newest[k]; exit 1 } }' live keys || return 1
	mq-check
}

@test "a writer that is killed at random loses no message that is the newest of its key" {
	state
	awk 'BEGIN { srand(2); for (i = 0; i < 40000; i++) { k = int(rand() * 200)
		printf "{\"key\":\"k%d\",\"body\":\"%0*d\"}\n", k, i % 50 ? 20 : 9000, i } }' >input
	jq -r .key input >keys
	for _ in {1..30}; do
		mq-pub -q -j --resume=load state <input &
		pid=$!
		spin 40000
		kill -KILL $pid 2>/dev/null || true
		wait $pid || true
		newer_is_there
	done
	must mq-pub -q -j --resume=load state <input
	# What a killed one left to do is done by the next one that writes.
	must mq-pub -k z state z
	newest 1 <input >want
	kept -k 'k*' | cmp - want
	must mq-check
}

# keeps NAME N: so many messages are stored.
keeps() {
	[[ $(mq-ls -o json "$1" | jq .messages) == "$2" ]]
}

@test "many messages of a key may be kept: compaction keeps up with publishing" {
	must mq-make -q --stream x max-per-key=10000
	yes '{"key":"k","body":"x"}' | head -n 50000 | timeout 20 mq-pub -q -j x
	must mq-pub -q -k k x last
	until_true 20 keeps x 10000
	[[ $(mq-replay --last=1 x) == last ]]
}

@test "a filtered group does not take for its own what lies behind a message that compaction took" {
	local lease
	must mq-make -q --stream state max-per-key=1
	must mq-make -q -g g state
	must mq-pub -k b state one
	must mq-pub -k a state two
	lease=$(mq-sub -g g -n 1 -l 1m -F '%l\n' state)
	must mq-ack --retry --uncounted "$lease"
	[[ $(mq-sub -g g -n 1 -k a state) == two ]]
	must mq-pub -k b state three
	must_fail 1 mq-sub -g g -e -k a state
	[[ $(mq-sub -g g -e state) == three ]]
}
