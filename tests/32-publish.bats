#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-pub: which partition a message goes to, tombstones, publishing only where somebody keeps it, waiting for
# room; and what envelopes, templates and positions say of all that.

load helpers

# partition KEY N: which of N partitions a message with that key goes to.
partition() {
	local position
	mq-make -q --stream "hash.$2" "partitions=$2" >"$out"
	position=$(mq-pub --print-position -k "$1" "hash.$2" x)
	position=${position%:*}
	echo "${position##*/}"
}

# ---- partitions -----------------------------------------------------------------------------------

@test "--partition=N publishes to that partition, and positions tell it" {
	must mq-make --stream log partitions=3
	prints $'log/2:0\nlog/2:1' mq-pub --print-position --partition=2 log a b
	prints log/0:0 mq-pub --print-position --partition=0 log c
	prints log/2:2 mq-pub --print-position --partition=2 -k any log d
	same "mq-replay -F '%P:%o %b\n' log" "printf '2:0 a\n2:1 b\n0:0 c\n2:2 d\n'"
}

@test "where there is one partition, positions do not tell it" {
	must mq-make --stream log
	prints log:0 mq-pub --print-position --partition=0 log a
	prints news:0 mq-pub -q --print-position --partition=0 news a
}

@test "--partition: a number that the stream does not have is refused, and nothing is stored" {
	must mq-make --stream log partitions=3
	refuses 64 ': log: there is no partition 3; it has 0 to 2' mq-pub --partition=3 log a
	refuses 64 'no partition 3' mq-pub --partition=3 log </dev/null
	refuses 64 --partition mq-pub --partition=128 log a
	refuses 64 --partition mq-pub --partition=-1 log a
	refuses 64 --partition mq-pub --partition=one log a
	[[ $(stored log) == 0 ]]
	must mq-pub -q news a
	refuses 64 ': news: there is no partition 1; it has 0 only' mq-pub --partition=1 news b
	[[ $(stored news) == 1 ]]
}

@test "--partition: a topic is not created for one that it cannot have" {
	must mq-make --stream log
	refuses 64 --partition mq-pub --partition=1 news a
	prints log mq-ls --names
}

@test "a key's partition is its SipHash-2-4, with 16 zero bytes as key, modulo the number of partitions" {
	local key rest n
	local -A hash=(
		[a]=96c20860cd93a249 [eu.c42]=4c9532070e490e15 [order-17]=06cc363a00e49b1d
		[12345678]=5de7ecc4ba81e998 ["the quick brown fox"]=55015cece5c9c67e [käse]=708edf5c8d516f5e
	)
	for key in "${!hash[@]}"; do
		for n in 3 4 7 128; do
			# 64 bits without a sign are more than the shell has: modulo by halves
			rest=$(((0x${hash[$key]:0:8} % n * (4294967296 % n) + 0x${hash[$key]:8} % n) % n))
			[[ $(partition "$key" "$n") == "$rest" ]] || { echo "$key of $n"; false; }
		done
	done
	[[ $(partition "" 128) == 87 ]]
}

@test "the hash is that of another program" {
	need openssl
	local key hash
	for key in x orders.eu "0 1 2"; do
		printf %s "$key" >key
		hash=$(openssl mac -macopt hexkey:00000000000000000000000000000000 -macopt size:8 -in key SIPHASH) ||
			skip "openssl has no SipHash"
		# its bytes are printed least significant first
		[[ $(partition "$key" 128) == $((0x${hash:0:2} % 128)) ]]
	done
}

@test "all messages of a key are in one partition, in the order in which they were published" {
	local i
	must mq-make --stream log partitions=5
	for i in 1 2 3; do
		seq 1 300 | awk -v run="$i" '{ printf "{\"key\":\"k%d\",\"body\":\"%d.%03d\"}\n", $1 % 20, run, $1 }' |
			must mq-pub -j log
	done
	mq-replay -F '%k %P\n' log | sort -u >where
	[[ $(wc -l <where) == 20 ]]
	[[ $(cut -d ' ' -f 2 where | sort -u | wc -l) == 5 ]]
	for i in 0 7 19; do
		mq-replay -k "k$i" log >got
		sort got | cmp - got
		[[ $(wc -l <got) == 45 ]]
	done
}

@test "batches without key go round the partitions, each as a whole" {
	local i
	must mq-make --stream log partitions=3
	for i in 1 2 3 4 5 6; do
		must mq-pub --print-position log "$i" "$i" "$i"
		[[ $(cut -d : -f 1 "$out" | sort -u | wc -l) == 1 ]]
	done
	same "mq-replay -F '%P\n' log | sort | uniq -c | awk '{ print \$1, \$2 }'" "printf '6 0\n6 1\n6 2\n'"
}

@test "--print-position is in the order of the input, whatever the partitions" {
	must mq-make --stream log partitions=4
	seq 200 | awk '{ printf "{\"key\":\"k%d\",\"body\":\"%d\"}\n", $1 % 13, $1 }' >input
	mq-pub -j --print-position log <input >positions
	mq-replay -F '%c/%P:%o %b\n' log | sort -n -k 2 >stored
	paste -d ' ' positions <(seq 200) | cmp - stored
}

@test "--atomic and --resume hold over all partitions" {
	must mq-make --stream log partitions=4
	seq 500 | awk '{ printf "{\"key\":\"k%d\",\"body\":\"%d\"}\n", $1 % 13, $1 }' >input
	{ cat input; echo '{"key":1}'; } >bad
	must_fail 65 mq-pub --atomic -j log <bad
	[[ $(stored log) == 0 ]]
	head -n 321 input | must mq-pub --resume=load -j log
	must mq-pub -q --resume=load -j log <input
	same 'mq-replay log | sort -n' 'seq 500'
}

@test "the envelope tells the partition behind the offset, where there are several" {
	must mq-make --stream log partitions=3
	must mq-make --stream single
	must mq-pub --partition=1 log a
	must mq-pub single a
	same "mq-replay -j log | jq -c 'del(.time)'" \
		'echo "{\"channel\":\"log\",\"offset\":0,\"partition\":1,\"priority\":4,\"body\":\"a\"}"'
	same "mq-replay -j log | jq -c 'keys_unsorted[:3]'" 'echo "[\"channel\",\"offset\",\"partition\"]"'
	same "mq-replay -j single | jq -c 'has(\"partition\")'" 'echo false'
}

@test "the partition of an envelope is ignored on input" {
	must mq-make --stream log partitions=3
	printf '%s\n' '{"key":"eu.c42","partition":0,"body":"a"}' | must mq-pub -j log
	prints 2 mq-replay -F '%P\n' log
}

@test "a stream's copy by mq-replay -j | mq-pub -j is equal to it, partitions too where there are as many" {
	must mq-make --stream A partitions=4
	must mq-make --stream B partitions=4
	seq 400 | awk '{ printf "{\"key\":\"k%d\",\"headers\":{\"n\":\"%d\"},\"priority\":%d,%s}\n", $1 % 29, $1, $1 % 10,
		$1 % 7 ? "\"body\":\"" $1 "\"" : "\"tombstone\":true" }' | must mq-pub -j A
	mq-replay -j A | must mq-pub -j B
	same "mq-replay -j A | jq -c 'del(.channel, .time)' | sort" \
		"mq-replay -j B | jq -c 'del(.channel, .time)' | sort"
	[[ $(mq-replay -j B | jq -c 'select(.tombstone)' | wc -l) == 57 ]]
}

# ---- deliveries to groups -------------------------------------------------------------------------

@test "the lease of a group's delivery names channel and group" {
	must mq-make --stream log
	must mq-pub log a
	same "mq-sub -g mailer -e -j log | jq -c '[.attempt, .lease]'" 'echo "[1,\"log@mailer:0:1\"]"'
}

@test "with several partitions it names the partition too" {
	must mq-make --stream log partitions=3
	must mq-pub --partition=0 log a
	must mq-pub --partition=2 log b
	mq-sub -g mailer -e -F '%l %b\n' log | sort >got
	printf '%s\n' 'log/0@mailer:0:1 a' 'log/2@mailer:0:1 b' | cmp - got
}

@test "the origin of a group's dead letter is its position" {
	must mq-make --stream log partitions=3
	must mq-make --stream single
	must mq-make -g mailer log max-attempts=1
	must mq-make -g mailer single max-attempts=1
	must mq-pub --partition=0 log a
	must mq-pub --partition=2 log b
	must mq-pub single c
	must_fail '0|2' mq-exec -q -e -g mailer log false
	must_fail '0|2' mq-exec -q -e -g mailer single false
	same "mq-peek -F '%O %b\n' log.dead | sort" "printf '%s\n' 'log/0:0 a' 'log/2:0 b'"
	same "mq-peek -j single.dead | jq -r .origin" 'echo single:0'
}

# ---- tombstones -----------------------------------------------------------------------------------

@test "--tombstone stores an empty message that says so" {
	must mq-make --stream users
	must mq-pub -k u1 users name
	must mq-pub --tombstone -k u1 -H by=admin users
	[[ ! -s $out && ! -s $err ]]
	same "mq-replay -j users | jq -c 'del(.channel, .time)'" 'cat <<END
{"offset":0,"key":"u1","priority":4,"body":"name"}
{"offset":1,"key":"u1","headers":{"by":"admin"},"priority":4,"tombstone":true,"body":""}
END'
}

@test "--tombstone never reads stdin" {
	must mq-make --stream users
	mkfifo never
	exec {fd}<>never
	must timeout 20 mq-pub --tombstone -k u1 users <&"$fd"
	exec {fd}<&-
	[[ $(stored users) == 1 ]]
}

@test "--tombstone needs a key and takes no body" {
	must mq-make --stream users
	echo a >file
	refuses 64 --tombstone mq-pub --tombstone users
	refuses 64 --tombstone mq-pub --tombstone -k u1 users a
	refuses 64 --tombstone mq-pub --tombstone -k u1 --file=file users
	refuses 64 --tombstone mq-pub --tombstone -k u1 -j users
	refuses 64 --tombstone mq-send --tombstone -k u1 jobs
	[[ $(stored users) == 0 ]]
}

@test "an envelope may be a tombstone, and needs no body then" {
	must mq-make --stream users
	printf '%s\n' '{"key":"a","tombstone":true}' '{"key":"b","tombstone":true,"body":""}' \
		'{"key":"c","tombstone":false,"body":"x"}' '{"key":"d","tombstone":null,"body":"y"}' |
		must mq-pub -j users
	same "mq-replay -j users | jq -c '[.key, .tombstone, .body]'" 'cat <<END
["a",true,""]
["b",true,""]
["c",null,"x"]
["d",null,"y"]
END'
}

@test "a tombstone in an envelope is true or false" {
	must mq-make --stream users
	refuses 65 'line 1: tombstone' mq-pub -j users <<<'{"key":"a","tombstone":1}'
	refuses 65 'line 1: tombstone' mq-pub -j users <<<'{"key":"a","tombstone":"true","body":"x"}'
	refuses 65 'line 1: tombstone' mq-pub -j users <<<'{"key":"a","tombstone":true,"tombstone":true}'
	refuses 65 'line 1: no body' mq-pub -j users <<<'{"key":"a","tombstone":false}'
	[[ $(stored users) == 0 ]]
}

@test "tombstones pass through a queue and a pipe of envelopes" {
	must mq-make --stream A
	must mq-make --stream B
	must mq-pub --tombstone -k u1 A
	mq-replay -j A | must mq-send -q -j jobs
	mq-recv -j jobs | jq -c . | must mq-pub -j B
	same "mq-replay -j B | jq -c '[.key, .tombstone, .body]'" 'echo "[\"u1\",true,\"\"]"'
}

# ---- only where somebody keeps it -----------------------------------------------------------------

@test "--mandatory: a topic without groups and routes keeps nothing: 1, silent, nothing stored" {
	must mq-pub -q news old
	nothing mq-pub --mandatory news new
	nothing mq-pub --mandatory news <<<line
	prints old mq-sub --from=first -e news
}

@test "--mandatory: a topic that is not there is not created" {
	nothing mq-pub --mandatory news new
	[[ ! -e $MQ_STORE ]]
	must mq-make --stream log
	nothing mq-pub --mandatory news new
	prints log mq-ls --names
	refuses 66 news mq-pub --mandatory --no-create news new
}

@test "--mandatory: with -v one line tells why" {
	must mq-pub -q news old
	refuses 1 news mq-pub -v --mandatory news new
	refuses 1 other mq-pub -v --mandatory other new
}

@test "--mandatory: a group keeps it" {
	must mq-pub -q news old
	must mq-make -g mailer news
	prints news:1 mq-pub --mandatory --print-position news new
	must mq-rm -y -g mailer news
	nothing mq-pub --mandatory news newer
}

@test "--mandatory: who only follows keeps nothing" {
	start sub mq-sub -q news
	follows news sub.out
	nothing mq-pub --mandatory news new
}

@test "--mandatory: a stream keeps everything" {
	must mq-make --stream log
	must mq-pub --mandatory log a
	prints a mq-replay log
}

@test "--mandatory: a route that takes the message is enough, one that does not is none" {
	must mq-send -q jobs first
	must mq-pub -q news old
	must mq-route -q -k 'eu.#' news jobs
	must mq-pub --mandatory -k eu.paris news a
	nothing mq-pub --mandatory -k us.boston news b
	nothing mq-pub --mandatory news c
	prints $'first\na' mq-recv -e jobs
	prints $'old\na' mq-sub --from=first -e news
}

@test "--mandatory: a route from a pattern creates the topic that it matches" {
	must mq-send -q jobs first
	must mq-route -q 'orders.#' jobs
	must mq-pub -q --mandatory orders.eu a
	nothing mq-pub --mandatory invoices.eu b
	prints orders.eu mq-ls --names --kind=topic
	prints $'first\na' mq-recv -e jobs
}

@test "--mandatory: of a transaction with one message for nobody nothing is stored, nor copied" {
	must mq-send -q jobs first
	must mq-pub -q news old
	must mq-route -q -k 'eu.#' news jobs
	printf '%s\n' '{"key":"eu.a","body":"1"}' '{"key":"us.a","body":"2"}' >input
	nothing mq-pub --mandatory --atomic -j news <input
	prints first mq-recv -e jobs
	prints old mq-sub --from=first -e news
}

@test "--mandatory: what was published before is counted on stderr" {
	must mq-send -q jobs first
	must mq-pub -q news old
	must mq-route -q -k 'eu.#' news jobs
	mkfifo feed
	exec {fd}<>feed
	start pub mq-pub --mandatory -j news <feed
	printf '%s\n' '{"key":"eu.a","body":"1"}' >&"$fd"
	until_true 20 eval '[[ $(stored jobs) == 2 ]]'
	printf '%s\n' '{"key":"us.a","body":"2"}' >&"$fd"
	ended "$started" 1
	grep -q '^mq-pub: news: .*; 1 message was sent$' pub.err
}

# ---- waiting for room -----------------------------------------------------------------------------

@test "-w waits for room in a topic that a group holds back" {
	must mq-make --topic news max-messages=2 full=error
	must mq-make -g slow news
	must mq-pub news a b
	refuses 75 news mq-pub news c
	refuses 75 news mq-pub -w 10ms news c
	start pub mq-pub -w 60 news c
	until_true 20 blocked "$started"
	prints a mq-sub -g slow -n 1 news
	ended "$started" 0
	prints $'b\nc' mq-sub -g slow -e news
}

@test "full=block: a publisher waits without -w, and -w 0 does not" {
	must mq-make --topic news max-messages=2 full=block
	must mq-make -g slow news
	must mq-pub news a b
	refuses 75 news mq-pub -w 0 news c
	start pub mq-pub news c
	until_true 20 blocked "$started"
	prints a mq-sub -g slow -n 1 news
	ended "$started" 0
	prints $'b\nc' mq-sub -g slow -e news
}

@test "-w waits for room in a queue that a route leads to; without it nothing is stored anywhere" {
	must mq-make --queue jobs max-messages=1
	must mq-make --stream log
	must mq-route -q log jobs
	must mq-pub log a
	refuses 75 jobs mq-pub log b
	prints a mq-replay log
	start pub mq-pub -w 60 log b
	until_true 20 blocked "$started"
	prints a mq-recv jobs
	ended "$started" 0
	prints b mq-recv jobs
	prints $'a\nb' mq-replay log
}

@test "a full topic lets go of what is too old before it refuses" {
	must mq-make -q --topic t full=error max-messages=3 max-age=100ms
	must mq-sub -q -g g --create-only t
	seq 3 | must mq-pub -q t
	until_true 10 mq-pub -q t x
	[[ $(mq-sub -q -g g -e t 2>/dev/null) == x ]]
}

@test "limits that are set later give all the space back, in steps" {
	must mq-make -q --stream s
	seq -f '%0500.0f' 60000 | must mq-pub -q s
	must mq-make -q s max-messages=1
	must mq-trim --retain s
	(( $(mq-ls -o json s | jq .bytes) < 10000 ))
}
