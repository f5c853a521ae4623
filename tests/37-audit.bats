#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-check: what is damaged is found; and of a stream with audit=yes also what was changed with care.

load helpers

setup_file() {
	build_damage
}

# An audited stream, the first channel of the store, of many blocks.
audited() {
	must mq-make --stream trail audit=yes
	seq 20000 | mq-pub -q trail
}

# digest NAME
digest() {
	mq-check -o json -C "$1" | jq -r .digest
}

# found STATE: mq-check ends with 2, and that is what it says of the only channel that is not well.
found() {
	must_fail 2 mq-check -o json
	[[ $(jq -r 'select(.state != "ok").state' "$out") == "$1" ]] || { show "the state must be '$1'"; return 1; }
}

# ---- what is well -------------------------------------------------------------------------------------------

@test "what is well needs no words, with -v a line for each channel" {
	must mq-send jobs a b c
	seq 1000 | mq-pub -q news
	must mq-check
	[[ ! -s $out && ! -s $err ]]
	must mq-check -v
	[[ $(awk 'NR > 1 { print $1, $2, $4 }' "$out") == $'jobs 3 ok\nnews 1000 ok' ]]
	must mq-check -o plain -C 'jo*'
	[[ $(cut -f 1,2,4 "$out") == $'jobs\t3\tok' ]]
	must mq-check --store="$MQ_STORE"
	must mq-check "$MQ_STORE"
}

@test "a store or a channel that is not there: 66; a wrong command line: 64" {
	must_fail 66 mq-check ./nowhere
	must mq-send jobs a
	refuses 66 'nobody' mq-check -C nobody
	refuses 66 'nobody' mq-check -C nobody -C jobs
	refuses 64 'operand' mq-check ./a ./b
	refuses 64 'twice' mq-check -s ./a ./b
	refuses 64 'pattern' mq-check -C 'a..b'
	refuses 64 'xml' mq-check -o xml
}

@test "a queue of which the middle is settled is well" {
	seq 5000 | mq-send -q jobs
	mq-recv -n 1 -l 10m jobs >held
	mq-recv -n 3000 jobs >taken
	head -c 200000 /dev/zero | mq-send -q --file=- jobs
	mq-recv -n 1000 jobs >taken
	must mq-check
	must mq-check -o json
	[[ $(jq .messages "$out") == 1001 ]]
}

@test "mq-check and writers do not disturb each other" {
	mq-make -q --stream trail audit=yes
	mq-make -q --stream state max-per-key=1
	mq-make -q --stream short max-messages=100
	for name in trail state short; do
		start "$name" bash -c 'seq 300000 | jq -c "{key: (. % 1000 | tostring), body: tostring}" |
			mq-pub -q -j '"$name"
	done
	pids=("${children[@]}")
	until_true 20 mq-replay -n 1 trail
	for _ in {1..10}; do
		must mq-check
	done
	for pid in "${pids[@]}"; do
		ended "$pid" 0
	done
	must mq-check
}

# ---- what is damaged ------------------------------------------------------------------------------------------

@test "a changed byte, in any kind of channel" {
	seq 20000 | mq-send -q jobs
	must mq-check
	"$DAMAGE" "$MQ_STORE" 1 flip 5
	found '1 damaged'
	[[ $(jq -r .near "$out") == jobs:* ]]
	must_fail 2 mq-check
	grep -q '1 damaged' "$out"
}

@test "a missing block" {
	seq 20000 | mq-pub -q news
	"$DAMAGE" "$MQ_STORE" 1 remove 3
	found '1 damaged'
	"$DAMAGE" "$MQ_STORE" 1 remove -1
	must_fail 2 mq-check
}

@test "a large body of which a byte, or a piece, is not as it was" {
	head -c 300000 /dev/urandom | mq-send -q --file=- jobs
	must mq-check
	"$DAMAGE" "$MQ_STORE" 1 chunk
	found '1 damaged'
	"$DAMAGE" "$MQ_STORE" 1 lose
	found '1 damaged'
	must mq-trim -q --all -y jobs
	must mq-check
}

@test "a compacted stream: a block that is missing there is no damage, a changed one is" {
	must mq-make --stream state max-per-key=1
	for i in {1..20}; do
		seq 100 | sed 's/.*/{"key":"&","body":"value & '"$i"'"}/'
	done | mq-pub -q -j state
	seq 100 | mq-pub -q state
	must mq-check -o json
	[[ $(jq .messages "$out") == 200 ]]
	"$DAMAGE" "$MQ_STORE" 1 flip
	found '1 damaged'
}

# ---- what was changed with care ----------------------------------------------------------------------------------

@test "audit=yes: a block that was changed and given the right checksum does not fit the next one" {
	audited
	must mq-check
	"$DAMAGE" "$MQ_STORE" 1 forge 7
	found '1 broken'
}

@test "audit=yes: a changed byte is damage, and breaks the chain" {
	audited
	"$DAMAGE" "$MQ_STORE" 1 flip 7
	found '1 damaged, 1 broken'
}

@test "audit=yes: a removed block, be it the first, the last or another one" {
	audited
	cp -r "$MQ_STORE" kept
	for block in 0 9 -2 -1; do
		rm -rf "$MQ_STORE"
		cp -r kept "$MQ_STORE"
		"$DAMAGE" "$MQ_STORE" 1 remove "$block"
		must_fail 2 mq-check
	done
}

@test "audit=yes: the digest changes with every message, and with every change of the last block" {
	audited
	first=$(digest trail)
	[[ $first =~ ^[0-9a-f]{64}$ ]]
	[[ $(digest trail) == "$first" ]]
	must mq-pub trail more
	second=$(digest trail)
	[[ $second != "$first" ]]
	"$DAMAGE" "$MQ_STORE" 1 forge -1
	must mq-check
	[[ $(digest trail) != "$second" ]]
}

@test "audit=yes: single messages, large ones and several partitions" {
	must mq-make --stream trail audit=yes partitions=3
	for i in {1..50}; do
		must mq-pub -k "key $i" trail "message $i"
	done
	head -c 300000 /dev/zero | mq-pub -q --file=- trail
	head -c 60000 /dev/zero | mq-pub -q --file=- trail
	must mq-check
	[[ $(digest trail) =~ ^[0-9a-f]{64}$ ]]
	seq 20000 | sed 's/.*/{"key":"&","body":"&"}/' | mq-pub -q -j trail
	must mq-check
	"$DAMAGE" "$MQ_STORE" 1 forge 1
	found '1 broken'
	[[ $(jq -r .near "$out") == trail/0:* ]]
}

@test "what is settled of a queue may have lost the blocks in which it goes on" {
	seq -f %050.0f 79 | must mq-send jobs
	must mq-recv -n 2 -l 1h jobs
	must mq-recv -e jobs
	must mq-check
	# The same in the middle: of a message over three blocks the first and the last are needed by others.
	must mq-send big first
	head -c 9000 /dev/zero | mq-send -q --file=- big
	must mq-send big last
	must mq-recv -n 1 -l 1h big
	must mq-recv -n 1 big
	must mq-check
}
