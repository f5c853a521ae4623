#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# The guarantee: `mq-recv -j -e A | mq-send -j B` makes B's messages equal to A's in body, key, headers,
# type, priority and id, also with jq in between.

load helpers

# random_messages SEED N: that many envelopes. Bodies are random bytes (as random base64), random text
# of one to four bytes a character, or empty; each field is there or not.
random_messages() {
	awk -v seed="$1" -v n="$2" '
	function pick(k) { return int(rand() * k) }
	function bytes(k, s) {
		for (s = ""; k > 0; k--)
			s = s substr(B64, pick(64) + 1, 1) substr(B64, pick(64) + 1, 1) \
				substr(B64, pick(64) + 1, 1) substr(B64, pick(64) + 1, 1)
		return s
	}
	function text(k, s) {
		for (s = ""; k > 0; k--)
			s = s unit[pick(units) + 1]
		return s
	}
	function message(s, i, h) {
		s = "{"
		if (pick(2)) s = s "\"id\":\"" text(1 + pick(20)) "\","
		if (pick(2)) s = s "\"key\":\"" text(1 + pick(40)) "\","
		h = pick(4)
		if (h) {
			s = s "\"headers\":{"
			for (i = 1; i <= h; i++)
				s = s (i > 1 ? "," : "") "\"h" i "-" text(pick(4)) "\":\"" text(pick(30)) "\""
			s = s "},"
		}
		if (pick(2)) s = s "\"type\":\"application/x-" pick(1000) "\","
		if (pick(2)) s = s "\"priority\":" pick(10) ","
		i = pick(3)
		if (i == 0) return s "\"body_base64\":\"" bytes(pick(200)) "\"}"
		return s "\"body\":\"" text(i == 1 ? pick(10) : pick(400)) "\"}"
	}
	BEGIN {
		srand(seed)
		B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		units = split("a b Z 0 . - _ { } : , [ ] % $ \\\" \\\\ \\/ \\n \\t \\r \\b \\f \\u0001 \\u001f " \
			"\\u007f \\u00e4 \\u20ac \\ud83d\\ude00 \\u2028 \\ufffd \\uffff ä € 😀 ~", unit, " ")
		unit[++units] = " "
		for (i = 0; i < n; i++)
			print message()
	}'
}

# What must be equal, in a form that does not depend on how it was written.
canonical='{id, key, headers: (.headers // {}), type, priority: (.priority // 4),
	body: (.body_base64 // (.body | @base64))}'

# by_priority FILE: its envelopes in the order in which a queue delivers them: higher priorities first, within
# a priority as they were sent.
by_priority() {
	jq -cs 'sort_by(-(.priority // 4))[]' "$1"
}

# equal FILE FILE: two files of envelopes hold the same messages, in the same order.
equal() {
	jq -cS "$canonical" "$1" >"$1.canonical"
	jq -cS "$canonical" "$2" >"$2.canonical"
	cmp "$1.canonical" "$2.canonical"
}

@test "random messages come out equal to what went in" {
	seed=$RANDOM
	echo "seed $seed"
	random_messages $seed 2000 >input
	must mq-send -q -j A <input
	mq-recv -j -e A >got
	[[ $(wc -l <got) == 2000 ]]
	by_priority input >wanted
	equal wanted got
}

@test "mq-recv -j -e A | mq-send -j B makes B equal to A" {
	seed=$RANDOM
	echo "seed $seed"
	random_messages $seed 2000 >input
	must mq-send -q -j A <input
	mq-recv -j -e A | must mq-send -q -j B
	nothing mq-recv -e A
	mq-recv -j -e B >got
	[[ $(wc -l <got) == 2000 ]]
	by_priority input >wanted
	equal wanted got
}

@test "with jq -c . in between B is equal to A" {
	seed=$RANDOM
	echo "seed $seed"
	random_messages $seed 2000 >input
	must mq-send -q -j A <input
	mq-recv -j -e A | jq -c . | must mq-send -q -j B
	mq-recv -j -e B >got
	by_priority input >wanted
	equal wanted got
}

@test "jq -c 'select(...)' in between lets only those pass, unchanged" {
	seed=$RANDOM
	echo "seed $seed"
	random_messages $seed 1000 >input
	by_priority input | jq -c 'select(.key and (.priority // 4) > 3)' >wanted
	must mq-send -q -j A <input
	mq-recv -j -e A | jq -c 'select(.key and .priority > 3)' | must mq-send -q -j B
	mq-recv -j -e B >got
	equal wanted got
}

@test "random bytes of every size around the chunk boundaries stay identical" {
	for n in 0 1 2 3 255 256 3999 4000 4080 4096 65535 65536 65537 131072 1000003; do
		head -c "$n" /dev/urandom >"body.$n"
		must mq-send -q -k "$n" --file="body.$n" A
	done
	mq-recv -j -e A | must mq-send -q -j B
	mq-recv -j -e B | jq -c . | must mq-send -q -j C
	for n in 0 1 2 3 255 256 3999 4000 4080 4096 65535 65536 65537 131072 1000003; do
		same "mq-recv -r -k $n C" "cat body.$n"
	done
	nothing mq-recv -e C
}

@test "large text that needs escapes stays identical" {
	head -c 200000 /dev/urandom | base64 -w 61 | sed 's/A/"/g; s/B/\\/g; s/C/ä/g; s/D/\t/g' >input
	must mq-send -q --file=input A
	mq-recv -j -e A | must mq-send -q -j B
	same 'mq-recv -r B' 'cat input'
}

@test "every single byte and every pair with a high byte stays identical" {
	need perl
	perl -e 'print map { chr($_), "\n" } grep { $_ != 10 } 0..255;
		print map { my $h = $_; map { chr($h), chr($_), "\n" } (0, 34, 92, 127, 128, 159, 160, 191, 192, 255) }
			128..255' >input
	must mq-send -q A <input
	mq-recv -j -e A | must mq-send -q -j B
	same 'mq-recv -e B' 'cat input'
}

@test "an empty key and no key stay different" {
	printf '%s\n' '{"key":"","body":"a"}' '{"body":"b"}' | must mq-send -q -j A
	mq-recv -j -e A | must mq-send -q -j B
	same "mq-recv -j -e B | jq -c .key" 'printf "\"\"\nnull\n"'
}

@test "headers keep their order" {
	printf '%s\n' '{"headers":{"z":"1","a":"2","m":"3"},"body":"x"}' | must mq-send -q -j A
	mq-recv -j -e A | must mq-send -q -j B
	same "mq-recv -j B | jq -c .headers" "echo '{\"z\":\"1\",\"a\":\"2\",\"m\":\"3\"}'"
}

@test "a stream is copied with mq-replay -j | mq-pub -j" {
	seed=$RANDOM
	echo "seed $seed"
	random_messages $seed 500 >input
	must mq-make -q --stream A
	must mq-make -q --stream B
	must mq-pub -j A <input
	mq-replay -j A | must mq-pub -j B
	mq-replay -j B >got
	equal input got
}

@test "-o json-data, too, loses nothing" {
	printf '%s\n' '{"a": [1.0, 1e5, 12345678901234567890]}' ' 17 ' 'text' '"s"' 'tru' |
		must mq-send -q A
	mq-recv -e -o json-data A | must mq-send -q -j B
	same "mq-recv -e B | sed 's/ //g'" \
		"printf '%s\n' '{\"a\":[1.0,1e5,12345678901234567890]}' 17 text '\"s\"' tru"
}

@test "bodies that only -r can carry: moved one by one" {
	head -c 100000 /dev/urandom >input
	must mq-send -q -r A <input
	mq-recv -r A | must mq-send -q -r B
	same 'mq-recv -r B' 'cat input'
}
