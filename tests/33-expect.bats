#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-pub --expect and --expect-key: who was slower is told so, and stores nothing.

load helpers

# conflict WORDS CMD...: the answer is no, in one line with these words.
conflict() {
	refuses 2 "$@" || return 1
	[[ $(wc -l <"$err") == 1 ]] || { show "one line"; return 1; }
}

# ---- offsets --------------------------------------------------------------------------------------

@test "--expect=N publishes if the first message gets offset N" {
	must mq-make --stream orders
	prints orders:0 mq-pub --expect=0 --print-position orders a
	prints $'orders:1\norders:2' mq-pub --expect=1 --print-position orders b c
	prints orders:3 mq-pub --expect=3 --print-position orders <<<d
	prints $'a\nb\nc\nd' mq-replay orders
}

@test "--expect: when somebody was faster the answer is 2, one line tells both offsets, nothing is stored" {
	must mq-make --stream orders
	seq 7 | must mq-pub orders
	conflict 'orders: expected offset 5, the next one is 7' mq-pub --expect=5 orders a
	[[ $(<"$err") == 'mq-pub: orders: expected offset 5, the next one is 7' ]]
	conflict 'orders: expected offset 8, the next one is 7' mq-pub --expect=8 orders a b c
	seq 100 | conflict 'expected offset 0' mq-pub --expect=0 orders
	same 'mq-replay orders' 'seq 7'
	must mq-pub --expect=7 orders 8
}

@test "--expect: all of the input is one transaction" {
	must mq-make --stream orders
	printf '%s\n' '{"body":"a"}' '{"body":1}' >input
	must_fail 65 mq-pub --expect=0 -j orders <input
	[[ $(stored orders) == 0 ]]
	seq 200000 | sed 's/$/ is too much for one transaction/' >large
	refuses 65 transaction mq-pub --expect=0 orders <large
	[[ $(stored orders) == 0 ]]
	head -c 300000 /dev/urandom >body
	must mq-pub --expect=0 --file=body --file=body orders
	conflict 'the next one is 2' mq-pub --expect=0 --file=body orders
	[[ $(stored orders) == 2 ]]
}

@test "--expect: no input is no message and no error" {
	must mq-make --stream orders
	must mq-pub --expect=5 orders </dev/null
	[[ ! -s $err ]]
}

@test "--expect counts on when messages were trimmed away" {
	must mq-make --stream orders
	seq 7 | must mq-pub orders
	must mq-trim -q -y -a orders
	conflict 'the next one is 7' mq-pub --expect=0 orders a
	must mq-pub --expect=7 orders a
}

@test "--expect works on topics" {
	must mq-pub -q --expect=0 news a
	conflict 'news: expected offset 0, the next one is 1' mq-pub --expect=0 news b
	prints a mq-sub --from=first -e news
}

@test "--expect is about the partition that the first message goes to" {
	must mq-make --stream orders partitions=4
	must mq-pub --partition=2 --expect=0 orders a b
	must mq-pub --partition=1 --expect=0 orders c
	conflict 'orders/2: expected offset 0, the next one is 2' mq-pub --partition=2 --expect=0 orders d
	must mq-pub --partition=2 --expect=2 orders d
	prints orders/1:1 mq-pub -k eu.c42 --expect=1 --print-position orders e
	conflict 'orders/1: expected offset 1' mq-pub -k eu.c42 --expect=1 orders f
	refuses 64 partition mq-pub --expect=0 orders g
	[[ $(stored orders) == 5 ]]
}

# ---- keys -----------------------------------------------------------------------------------------

@test "--expect-key=none publishes the first message of a key, once" {
	must mq-make --stream users
	must mq-pub -k u1 --expect-key=none users a
	conflict "'u1'" mq-pub -k u1 --expect-key=none users b
	grep -q 'offset 0' "$err"
	must mq-pub -k u2 --expect-key=none users c
	prints $'a\nc' mq-replay users
}

@test "--expect-key=N follows offset N among the messages of the key; others do not matter" {
	must mq-make --stream users
	must mq-pub -k u1 users a
	must mq-pub -k u2 users b
	must mq-pub users c
	must mq-pub -k u1 --expect-key=0 users d
	conflict 'offset 0, it is at 3' mq-pub -k u1 --expect-key=0 users e
	conflict 'offset 2' mq-pub -k u1 --expect-key=2 users e
	conflict 'there is none' mq-pub -k u3 --expect-key=2 users e
	must mq-pub -k u2 --expect-key=1 users f g
	conflict 'it is at 5' mq-pub -k u2 --expect-key=4 users h
	prints $'a\nb\nc\nd\nf\ng' mq-replay users
}

@test "--expect-key finds keys of any age, also those published before anybody expected any" {
	must mq-make --stream users
	seq 0 9999 | awk '{ printf "{\"key\":\"u%d\",\"body\":\"%d\"}\n", $1 % 1000, $1 }' | must mq-pub -j users
	must mq-pub -k u17 --expect-key=9017 users a
	conflict 'it is at 9018' mq-pub -k u18 --expect-key=18 users a
	must mq-pub -k u1000 --expect-key=none users a
}

@test "--expect-key: a key may be anything, and a prefix of another one" {
	local key
	must mq-make --stream users
	for key in a aa aaa "" 'a b' $'a\tb' ä "$(printf 'x%.0s' {1..1024})"; do
		must mq-pub -k "$key" --expect-key=none users x
		must_fail 2 mq-pub -k "$key" --expect-key=none users x
	done
	[[ $(stored users) == 8 ]]
}

@test "--expect-key in partitions: the offset is that in the key's partition" {
	must mq-make --stream users partitions=4
	must mq-pub --partition=1 users x y z
	must mq-pub -k eu.c42 --expect-key=none users a
	conflict 'users/1: ' mq-pub -k eu.c42 --expect-key=none users b
	prints users/1:4 mq-pub -k eu.c42 --expect-key=3 --print-position users b
}

@test "--expect-key with -j is about the key of the first message" {
	must mq-make --stream users
	printf '%s\n' '{"key":"u1","body":"a"}' '{"key":"u2","body":"b"}' >input
	must mq-pub -j --expect-key=none users <input
	conflict "'u1'" mq-pub -j --expect-key=none users <input
	printf '%s\n' '' '{"key":"u3","body":"a"}' '{"body":"b"}' | must mq-pub -j --expect-key=none users
	printf '%s\n' '{"body":"b"}' '{"key":"u4","body":"a"}' | refuses 65 'line 1: no key' \
		mq-pub -j --expect-key=none users
	[[ $(stored users) == 4 ]]
	printf '%s\n' '{"body":"c"}' | must mq-pub -j -k u1 --expect-key=0 users
}

@test "--expect-key: a tombstone is a message of its key as any other" {
	must mq-make --stream users max-per-key=1
	must mq-pub -k u1 --expect-key=none users a
	must mq-pub -k u1 --expect-key=0 --tombstone users
	conflict 'it is at 1' mq-pub -k u1 --expect-key=0 users b
	must mq-pub -k u1 --expect-key=1 users b
}

# ---- channels that are not there --------------------------------------------------------------------

@test "a missing channel is not created where what is expected cannot hold" {
	conflict 'orders: expected offset 5, there is no such channel' mq-pub --expect=5 orders x
	conflict 'offset 0, there is no such channel' mq-pub -k a --expect-key=0 orders x
	conflict 'offset 3, there is no such channel' mq-pub -j --expect-key=3 orders <<<'{"key":"a","body":"x"}'
	conflict 'expected offset 1' mq-pub --mandatory --expect=1 orders x
	[[ ! -e $MQ_STORE ]]
	must mq-send -q jobs x
	conflict 'expected offset 5' mq-pub --expect=5 orders x
	conflict 'offset 0' mq-pub -k a --expect-key=0 orders x
	conflict 'expected offset 1' mq-pub --mandatory --expect=1 orders x
	refuses 66 orders mq-pub --no-create --expect=5 orders x
	refuses 66 orders mq-pub --no-create --expect=0 orders x
	prints jobs mq-ls --names
}

@test "a missing channel is created as a stream where what is expected holds" {
	must mq-pub --expect=0 orders a
	[[ $(<"$err") == *"created stream 'orders'"* ]]
	must mq-pub -q -k u1 --expect-key=none users a
	must mq-pub -q --mandatory --expect=0 stock a
	must mq-pub -q news a
	prints $'orders\nstock\nusers' mq-ls --names --kind=stream
	prints news mq-ls --names --kind=topic
	must mq-pub --expect=1 orders b
	conflict 'the next one is 2' mq-pub --expect=0 orders c
	conflict 'there is one at offset 0' mq-pub -k u1 --expect-key=none users c
	prints $'a\nb' mq-replay orders
}

@test "an existing topic stays one, whatever is expected of it" {
	must mq-pub -q news a
	must mq-pub --expect=1 news b
	prints news mq-ls --names --kind=topic
}

# ---- usage ----------------------------------------------------------------------------------------

@test "what does not go together with --expect is refused before anything is created" {
	refuses 64 --expect mq-pub --expect=0 --expect-key=none -k a orders x
	refuses 64 --resume mq-pub --expect=0 --resume=load orders x
	refuses 64 --resume mq-pub --expect-key=none -k a --resume=load orders x
	refuses 64 --expect-key mq-pub --expect-key=none orders x
	refuses 64 --expect mq-pub --expect=none orders x
	refuses 64 --expect mq-pub --expect=-1 orders x
	refuses 64 --expect-key mq-pub --expect-key=x -k a orders x
	refuses 64 --expect-key mq-pub --expect-key= -k a orders x
	refuses 64 --expect mq-send --expect=0 jobs x
	[[ ! -e $MQ_STORE ]]
}

@test "--expect and --mandatory: nothing is stored unless both hold" {
	must mq-pub -q news a
	nothing mq-pub --mandatory --expect=1 news b
	must mq-make -g mailer news
	conflict 'the next one is 1' mq-pub --mandatory --expect=0 news b
	must mq-pub --mandatory --expect=1 news b
	prints $'a\nb' mq-sub --from=first -e news
}

@test "what is expected holds after a wait too" {
	must mq-make --queue jobs max-messages=1
	must mq-make --stream orders
	must mq-route -q -k 'eu.#' orders jobs
	must mq-pub -k eu.a orders a
	start pub mq-pub -w 60 --expect=1 -k eu.b orders b
	until_true 20 blocked "$started"
	must mq-pub -k us.c orders c
	prints a mq-recv jobs
	ended "$started" 2
	[[ $(<pub.err) == 'mq-pub: orders: expected offset 1, the next one is 2' ]]
	nothing mq-recv -e jobs
	prints $'a\nc' mq-replay orders
}

# ---- event sourcing -------------------------------------------------------------------------------

@test "ten writers who add to a number and try again on 2 lose no update" {
	local i
	must mq-make --stream counter
	must mq-pub counter 0
	program add <<-'END'
		for i in 1 2 3 4 5 6 7 8; do
			while :; do
				set -- $(mq-replay --last=1 -F '%o %b' counter)
				mq-pub -q --sync=relaxed --expect=$(($1 + 1)) counter $(($2 + 1)) 2>>conflicts && break
				[ $? = 2 ] || exit 1
			done
		done
	END
	for i in 1 2 3 4 5 6 7 8 9 10; do
		start "add$i" ./add
	done
	for i in "${children[@]}"; do
		ended "$i" 0
	done
	same 'mq-replay counter' 'seq 0 80'
	if grep -v 'counter: expected offset' conflicts; then false; fi
}

@test "ten writers over a few accounts: each key's history is without gap, whatever the others do" {
	local i
	must mq-make --stream accounts partitions=3
	program deposit <<-'END'
		for i in 1 2 3 4 5 6; do
			key=account.$((($1 + i) % 4))
			while :; do
				set -- "$1" $(mq-replay --key="$key" -F '%o %b\n' accounts | tail -n 1)
				mq-pub -q --sync=relaxed -k "$key" --expect-key="${2:-none}" accounts \
					$((${3:-0} + 1)) 2>>conflicts && break
				[ $? = 2 ] || exit 1
			done
		done
	END
	for i in 1 2 3 4 5 6 7 8 9 10; do
		start "deposit$i" ./deposit "$i"
	done
	for i in "${children[@]}"; do
		ended "$i" 0
	done
	[[ $(stored accounts) == 60 ]]
	for i in 0 1 2 3; do
		mq-replay -k "account.$i" accounts >history
		seq "$(wc -l <history)" | cmp - history
	done
}

@test "an --id where nobody looks for repeats changes nothing about what is expected" {
	must mq-make -q --stream s
	must mq-pub -q --id=a --expect=0 s one
	conflict 's: expected offset 0, the next one is 1' mq-pub --id=a --expect=0 s one
	prints one mq-replay s
}

@test "a repeat with the same --id is no conflict: what was expected has come true" {
	must mq-make -q --stream s dedup=1h
	must mq-pub -q --id=a --expect=0 s one
	must mq-pub -q --id=a --expect=0 s one
	must_fail 2 mq-pub -q --id=b --expect=0 s two
	prints one mq-replay s
}
