#!/usr/bin/env bats
# shellcheck disable=SC2154 # out, err, started come from helpers
# SPDX-License-Identifier: ISC
#
# Routes: what is published reaches every channel that it should, once, in one transaction.

load helpers

# bodies QUEUE: what is in the queue, in one line.
bodies() {
	mq-recv -q -e "$1" 2>/dev/null | paste -s -d ' ' || true
}

# holds QUEUE TEXT: these bodies are in the queue, which is empty then.
holds() {
	local got
	got=$(bodies "$1")
	[[ $got == "$2" ]] || { echo "$1 holds '$got', not '$2'" >&2; return 1; }
}

# ---- where messages go --------------------------------------------------------------------------------

@test "an orders topic feeds inventory, billing and notification at once" {
	must mq-make --topic orders
	for dept in inventory billing notification; do
		must mq-route -q orders "$dept"
	done
	seq 1000 | mq-pub -q orders
	for dept in inventory billing notification; do
		same "mq-recv -e $dept" 'seq 1000'
	done
	[[ $(stored orders) == 1000 ]]
}

@test "by the key: direct and topic exchange" {
	must mq-route -q -k red colours reds
	must mq-route -q -k 'red.#' colours all-reds
	must mq-route -q -k '+.dark' colours darks
	printf '%s\n' '{"key":"red","body":"1"}' '{"key":"red.dark","body":"2"}' '{"key":"blue.dark","body":"3"}' \
		'{"body":"4"}' | mq-pub -q -j colours
	holds reds 1
	holds all-reds '1 2'
	holds darks '2 3'
}

@test "by headers: all of them, or with --any one" {
	must mq-route -q -m 'a=1' -m 'b=x*' things both
	must mq-route -q --any -m 'a=1' -m 'b=x*' things either
	must mq-route -q -m 'b=?' -k 'k.+' things keyed
	must mq-pub -q -H a=1 -H b=xy things 1
	must mq-pub -q -H a=1 things 2
	must mq-pub -q -H b=x -k k.l things 3
	must mq-pub -q -k k.l things 4
	must mq-pub -q things 5
	holds both 1
	holds either '1 2 3'
	holds keyed 3
}

@test "by the name of the source, also of one that is created later" {
	must mq-route -q 'eu.+.orders' eu
	must mq-route -q '#' everything
	must mq-pub -q eu.fr.orders 1
	must mq-pub -q eu.orders 2
	must mq-make --stream eu.de.orders
	must mq-pub -q eu.de.orders 3
	holds eu '1 3'
	holds everything '1 2 3'
}

@test "destinations are queues, topics and streams, and lead on; who is reached twice gets one copy" {
	must mq-make --topic a
	must mq-make --topic b
	must mq-make --stream log
	must mq-route a b
	must mq-route a log
	must mq-route -q b q
	must mq-route -q a q
	must mq-route -q log q
	must mq-route b log
	seq 3 | mq-pub -q a
	must mq-pub -q b 4
	same 'mq-replay log' 'seq 4'
	holds q '1 2 3 4'
	must mq-route --test=a
	[[ $(paste -s -d ' ' "$out") == 'b log q' ]]
	[[ $(stored a) == 3 && $(stored b) == 4 ]]
}

@test "a copy has all that the sender gave to the message, and a large body too" {
	head -c 300000 /dev/urandom >large
	must mq-route -q news left
	must mq-route -q -k 'k' news right
	must mq-pub -q -k k -H h=v -p 7 --type=a/b --id=i --reply-to=r --correlation=c news hello
	must mq-pub -q -k k --file=large news
	for queue in left right; do
		must mq-recv -j "$queue"
		[[ $(jq -c '[.key,.headers.h,.priority,.type,.id,.reply_to,.correlation,.body]' "$out") == \
			'["k","v",7,"a/b","i","r","c","hello"]' ]]
		same "mq-recv -r $queue" 'cat large'
	done
}

@test "many partitions on either side" {
	must mq-make --stream from partitions=4
	must mq-make --stream to partitions=3
	must mq-route from to
	must mq-route -q from q
	for i in $(seq 200); do
		echo "{\"key\":\"$((i % 11))\",\"body\":\"$i\"}"
	done | mq-pub -q -j from
	same 'mq-replay to | sort -n' 'seq 200'
	same 'mq-recv -e q' 'seq 200'
}

@test "a route takes effect and loses it while a publisher runs" {
	mkfifo lines
	exec {lines}<>lines
	must mq-make --topic t
	must mq-make --queue q
	start pub mq-pub -q --print-position t <lines
	echo 1 >&"$lines"
	until_true 10 has_lines 1 pub.out
	must mq-route t q
	echo 2 >&"$lines"
	until_true 10 has_lines 2 pub.out
	must mq-make --rename=r q
	echo 3 >&"$lines"
	until_true 10 has_lines 3 pub.out
	must mq-route --remove t r
	echo 4 >&"$lines"
	until_true 10 has_lines 4 pub.out
	holds r '2 3'
	kill "$started"
}

@test "a receiver that sleeps is woken by what a route brings" {
	must mq-route -q t q
	start recv mq-recv -w 20 q
	until_true 10 blocked "$started"
	must mq-pub -q t hello
	ended "$started" 0
	[[ $(<recv.out) == hello ]]
}

# ---- all or nothing -------------------------------------------------------------------------------------

@test "a destination that is full, sealed or takes no such size fails the publish, and is named" {
	must mq-make --queue small max-messages=2
	must mq-make --queue tiny max-message=3
	must mq-make --stream closed
	must mq-make --topic t
	must mq-route t small
	must mq-route -q -k k t other
	seq 2 | mq-pub -q -k k t
	refuses 75 'small: queue is full' mq-pub -k k t 3
	[[ $(stored t) == 2 && $(stored other) == 2 ]]
	must mq-recv small
	must mq-pub -k k t 3
	must mq-recv -e small
	must mq-route t tiny
	refuses 65 'tiny: ' mq-pub t abcd
	must mq-pub t abc
	must mq-route t closed
	must mq-make closed sealed=yes
	refuses 77 'closed: ' mq-pub t 4
	[[ $(stored t) == 4 && $(stored small) == 1 ]]
}

@test "full=drop-old makes room instead" {
	must mq-make --queue last max-messages=2 full=drop-old
	must mq-route t last
	seq 9 | mq-pub -q t
	holds last '8 9'
}

@test "publishers that are killed leave no message without its copies" {
	must mq-make --stream s
	must mq-route -q s q
	must mq-route -q -k 'k' s p
	seq 20000 >input
	for _ in $(seq 12); do
		mq-pub -q -k k s <input 3>&- &
		spin 20000
		kill -KILL $! 2>/dev/null || true
		wait $! 2>/dev/null || true
	done
	[[ $(stored s) == "$(stored q)" && $(stored s) == "$(stored p)" ]]
	same 'mq-replay s' 'mq-recv -e q' || [[ $(stored s) == 0 ]]
}

@test "--mandatory fails where nobody would receive, and stores nothing" {
	mq-pub --help | grep -q -e --mandatory || skip "not there"
	must mq-make --topic t
	nothing mq-pub --mandatory t x
	[[ $(stored t) == 0 ]]
	must mq-route -q -k 'a.#' t q
	nothing mq-pub --mandatory -k b t x
	must mq-pub --mandatory -k a.b t x
	[[ $(stored t) == 1 && $(stored q) == 1 ]]
}

# ---- circles --------------------------------------------------------------------------------------------

@test "a route that would close a circle is refused, and the error names it" {
	for name in a b c; do
		must mq-make --topic $name
	done
	must mq-route a b
	must mq-route b c
	refuses 64 'a -> b -> c -> a' mq-route c a
	refuses 64 'a -> a' mq-route a a
	refuses 64 'a -> b -> a' mq-route 'b*' a
	must mq-route '#' c
	[[ $(mq-route -o plain | wc -l) == 3 ]]
	must mq-pub a 1
	must mq-pub c 2
	[[ $(stored c) == 2 ]]
}

@test "dead letters in a topic go on by routes; where these lead back to them the sender is told" {
	must mq-make --topic graves
	must mq-make --queue short max-messages=2 full=dead dead=graves
	must mq-route -q graves kept
	seq 5 | mq-send short
	holds short '4 5'
	holds kept '1 2 3'
	must mq-route graves short
	seq 5 >input
	refuses 65 'circle' mq-send --atomic --file=input short 2 3
	holds short ''
}

# ---- the tool -------------------------------------------------------------------------------------------

@test "a missing destination becomes a queue, with a notice; --no-create makes it an error" {
	must mq-make --topic t
	refuses 66 'q: no such' mq-route --no-create t q
	must mq-route t q
	[[ $(<"$err") == "mq-route: created queue 'q'" && ! -s $out ]]
	must mq-route t q
	[[ ! -s $err && ! -s $out ]]
	prints 1 mq-route -v t q
	prints 2 mq-route -v -k a t q
	refuses 66 'x: no such' mq-route t x --no-create
}

@test "routes are listed" {
	must mq-make --topic t
	nothing mq-route
	must mq-route -q -k 'k.#' -m 'a=[xy]' -m b= --any 't.+' q
	must mq-route -q t q
	prints $'1\tt.+\tq\t-k k.# -m a=[xy] -m b= --any\n2\tt\tq\t-' mq-route -o plain
	must mq-route -o json
	[[ $(jq -c '[.number,.source,.destination]' "$out" | paste -s) == $'[1,"t.+","q"]\t[2,"t","q"]' ]]
	must mq-route
	grep -q 'number  source  destination  conditions' "$out"
}

@test "routes are removed by number, by their ends, and by their conditions; and with the destination" {
	must mq-make --topic t
	must mq-route -q t a
	must mq-route -q -k x t a
	must mq-route -q -k y t a
	must mq-route -q t b
	must mq-route --remove -k x t a
	[[ $(mq-route -o plain | cut -f 1 | paste -s -d ' ') == '1 3 4' ]]
	must mq-route --remove t a
	[[ $(mq-route -o plain | cut -f 1) == 4 ]]
	refuses 66 'no such route' mq-route --remove t a
	refuses 66 '1: no such route' mq-route --remove 1
	prints 5 mq-route -v 't.#' b
	must mq-route --remove 4
	must mq-rm b
	nothing mq-route
}

@test "--test says where a message would go" {
	must mq-make --topic t
	must mq-make --topic u
	must mq-route -q -k 'a.+' t q
	must mq-route t u
	must mq-route -q -m h=1 u deep
	prints u mq-route --test t
	prints $'q\nu' mq-route --test t -k a.b
	prints $'deep\nu' mq-route --test=t -H h=1
	nothing mq-route --test=nothing.like.it
	refuses 64 'a queue' mq-route --test q
	[[ $(stored t) == 0 ]]
}

@test "a copy keeps its large body where the source drops the message at once" {
	must mq-make -q --stream last max-messages=1
	must mq-route -q last all
	must mq-route -q last again
	for i in 1 2 3; do
		head -c 150000 /dev/urandom | base64 -w 0
		echo
	done >large
	must mq-pub -q --atomic last <large
	for i in 1 2 3 4; do
		must mq-pub -q last x
	done
	must mq-check
	same 'mq-recv -n 3 -e all' 'cat large'
	must mq-check
	same 'mq-recv -n 3 -e again' 'cat large'
}

@test "what is wrong on the command line creates nothing" {
	refuses 64 'not a pattern' mq-route 'a..b' q
	refuses 64 'q/x: not the name of a channel' mq-route a 'q/x'
	refuses 64 'a/x: not the name of a channel' mq-route 'a/x' q
	for length in 129 256 300; do
		long=$(printf "%${length}s" '' | tr ' ' x)
		refuses 64 'xxx: not the name of a channel' mq-route "$long" q
	done
	refuses 64 '--key' mq-route -k 'a#' a q
	refuses 64 '--match' mq-route -m nothing a q
	refuses 64 'DEST' mq-route a
	refuses 64 '--any' mq-route --any a q
	refuses 64 '--header' mq-route -H a=b a q
	refuses 64 '--remove' mq-route --remove
	refuses 64 '--test' mq-route --test=a b c
	refuses 64 '--output' mq-route -o csv
	[[ ! -e $MQ_STORE ]]
	refuses 66 'no such store' mq-route
	must mq-send -q jobs x
	must mq-make --queue q
	refuses 64 'jobs: a queue' mq-route jobs q
}

@test "a publisher waits for a routed queue, and goes on with as many messages as it takes" {
	must mq-make -q --queue jobs max-messages=10
	must mq-route -q news jobs
	seq 100 >input
	start publisher bash -c 'exec mq-pub -q -w 20 news <input'
	local publisher=$started
	start receiver mq-recv -n 100 -w 20 jobs
	ended "$started" 0
	ended "$publisher" 0
	seq 100 | cmp - receiver.out
}
