#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031
# Output: the envelope, templates, delimiters, and what a terminal gets. mq-formats(5).

load helpers

# One message with every field, in the stream log.
full_message() {
	mq-make -q --stream log
	mq-pub -k eu.c42 -H trace=ab -H n=1 --type=text/plain log 'hello, world'
}

# format TEMPLATE: how the first message of log looks with it.
format() {
	mq-replay -n 1 -F "$1" log
}

@test "the envelope has its keys in the order of the contract" {
	printf '%s\n' '{"body":"b","priority":7,"type":"t","headers":{"h":"v"},"key":"k","id":"i"}' |
		must mq-send -q -j jobs
	same "mq-recv -j jobs | jq -c 'del(.lease) | keys_unsorted'" \
		"echo '[\"channel\",\"offset\",\"time\",\"id\",\"key\",\"headers\",\"type\",\"priority\",\"attempt\",\"body\"]'"
}

@test "the envelope of a queue's message, literally" {
	printf '%s\n' '{"body":"b","priority":7,"type":"t","headers":{"h":"v"},"key":"k","id":"i"}' |
		must mq-send -q -j jobs
	same "mq-recv -j jobs | jq -c 'del(.lease, .time)'" 'cat <<END
{"channel":"jobs","offset":0,"id":"i","key":"k","headers":{"h":"v"},"type":"t","priority":7,"attempt":1,"body":"b"}
END'
}

@test "the envelope leaves out what the message does not have" {
	must mq-send -q jobs b
	same "mq-recv -j jobs | jq -c 'del(.lease, .time)'" 'cat <<END
{"channel":"jobs","offset":0,"priority":4,"attempt":1,"body":"b"}
END'
}

@test "nothing is delivered in a stream: its envelope has no attempt and no lease" {
	full_message
	same "mq-replay -j log | jq -c '[has(\"attempt\"), has(\"lease\")]'" 'echo "[false,false]"'
}

@test "the envelope is compact and one line each" {
	must mq-send -q jobs a b
	mq-recv -j -e jobs >got
	[[ $(wc -l <got) == 2 ]]
	if grep -q ': \|, ' got; then false; fi
}

@test "the envelope's time is RFC 3339 in UTC with nanoseconds" {
	export TZ=Asia/Kathmandu
	full_message
	same "mq-replay -j log | jq -r .time | grep -Ec '^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{9}Z$'" \
		'echo 1'
}

@test "a body that is UTF-8 without NUL is a JSON string" {
	printf 'q"b\\s/\x01\x1f\x7f\t\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80' >input
	must mq-send -q -r jobs <input
	mq-recv -j jobs >got
	same 'jq -j .body got' 'cat input'
	same "jq -c 'has(\"body_base64\")' got" 'echo false'
}

@test "a body that is not UTF-8 or has a NUL is body_base64" {
	for bytes in '\xff' 'a\0b' '\xc3' '\xc0\xaf' '\xed\xa0\x80' '\xf4\x90\x80\x80' '\xe2\x82'; do
		# shellcheck disable=SC2059
		printf "$bytes" >input
		must mq-send -q -r jobs <input
		mq-recv -j jobs >got
		same 'jq -r .body_base64 got | base64 -d' 'cat input'
		same "jq -c 'has(\"body\")' got" 'echo false'
	done
}

@test "-o json-data puts a body that is valid JSON under data" {
	must mq-send -q jobs '{"a":[1,2.50,null]}' '17' '"text"' 'no json' '{"a":' '{} {}'
	same "mq-recv -e -o json-data jobs | jq -c '[.data, .body]'" 'cat <<END
[{"a":[1,2.5,null]},null]
[17,null]
["text",null]
[null,"no json"]
[null,"{\"a\":"]
[null,"{} {}"]
END'
}

@test "-o json-data passes the numbers of the body digit for digit" {
	must mq-send -q jobs '{"n":12345678901234567890.10}'
	mq-recv -o json-data jobs | grep -F '"data":{"n":12345678901234567890.10}'
}

@test "-o body and -o json are the plain forms" {
	full_message
	same 'mq-replay -o body log' 'mq-replay log'
	same 'mq-replay -o json log' 'mq-replay -j log'
}

@test "data on input loses its blanks, not those in strings" {
	printf '%s\n' '{"data": {"a" : [1, 2, "x y"] , "b": null} }' | must mq-send -q -j jobs
	prints '{"a":[1,2,"x y"],"b":null}' mq-recv jobs
}

@test "what the store assigns is ignored on input, and so are unknown keys" {
	printf '%s\n' '{"channel":"x","offset":99,"partition":3,"time":"never","attempt":5,"lease":"l",
		"reason":"r","origin":{},"colour":["red"],"body":"b"}' | tr -d '\n' | must mq-send -q -j jobs
	prints 'jobs 0 1 b' mq-recv -F '%c %o %a %b\n' jobs
}

@test "reply_to and correlation pass through the envelope" {
	printf '%s\n' '{"reply_to":"answers","correlation":"c-1","body":"b"}' | must mq-send -q -j jobs
	same "mq-recv -j jobs | jq -r '.reply_to, .correlation'" 'printf "answers\nc-1\n"'
}

@test "JSON escapes on input are decoded" {
	printf '%s\n' '{"body":"\u0041\u00e4\ud83d\ude00\"\\\/\b\f\n\r\t\u0000"}' | must mq-send -q -j jobs
	same 'mq-recv -r jobs' "printf 'A\xc3\xa4\xf0\x9f\x98\x80\"\\\\/\b\f\n\r\t\0'"
}

@test "a template: body, key, channel, offset, size, priority, partition" {
	full_message
	[[ $(format '%b') == 'hello, world' ]]
	[[ $(format '%k') == eu.c42 ]]
	[[ $(format '%c') == log ]]
	[[ $(format '%o') == 0 ]]
	[[ $(format '%s') == 12 ]]
	[[ $(format '%p') == 4 ]]
	[[ $(format '%P') == 0 ]]
}

@test "a template: %a counts deliveries, %i is the sender's id" {
	printf '{"id":"o-17","body":"b"}\n' | must mq-send -q -j jobs
	prints '1 o-17' mq-recv -F '%a %i\n' jobs
}

@test "a template adds nothing" {
	must mq-send -q jobs a b
	same "mq-recv -e -F '%b' jobs" 'printf ab'
}

@test "a template: text, %% and escapes" {
	full_message
	same "mq-replay -F '100%%\t[%k]\n\0\\\\\x41\xff' log" \
		"printf '100%%\t[eu.c42]\n\0\\\\A\377'"
}

@test "a template: %{NAME}h is one header, %h all of them as JSON" {
	full_message
	[[ $(format '%{trace}h/%{n}h/%{none}h/') == ab/1// ]]
	[[ $(format '%h') == '{"trace":"ab","n":"1"}' ]]
}

@test "a template: what the message does not have is empty" {
	must mq-make --stream log
	must mq-pub log b
	[[ $(format '<%k|%i|%{x}h>') == '<||>' ]]
}

@test "a template: %T is RFC 3339 UTC, %u epoch seconds" {
	full_message
	[[ $(format '%T') =~ ^20[0-9-]{8}T[0-9:]{8}\.[0-9]{9}Z$ ]]
	now=$(date +%s)
	u=$(format '%u')
	((${u%%.*} <= now && ${u%%.*} > now - 600))
	[[ $(date -u -d "$(format '%T')" +%s) == "${u%%.*}" ]]
}

@test "a template: %{FMT}T is strftime in local time" {
	full_message
	t=$(format '%T')
	export TZ=Asia/Kathmandu
	[[ $(format '%{%Y-%m-%d %H:%M:%S %z}T') == "$(date -d "$t" '+%Y-%m-%d %H:%M:%S %z')" ]]
}

@test "a template: %j is the envelope" {
	full_message
	same "mq-replay -F '%j\n' log" 'mq-replay -j log'
}

@test "a template: bodies as JSON, hex and base64" {
	must mq-make --stream log
	printf 'a"\xff\n' | must mq-pub -r log
	[[ $(format '%{hex}b') == 6122ff0a ]]
	[[ $(format '%{base64}b') == YSL/Cg== ]]
	printf 'a"\n' | must mq-pub -r log
	[[ $(mq-replay --last=1 -F '%{json}b' log) == '"a\"\n"' ]]
}

@test "a template: base64 of every length" {
	for body in '' a ab abc abcd; do
		must mq-send -q jobs "$body"
		prints "$(printf %s "$body" | base64)" mq-recv -F '%{base64}b\n' jobs
	done
}

@test "a template: large bodies in hex and base64" {
	head -c 300001 /dev/urandom >input
	must mq-make --stream log
	must mq-pub --file=input log
	same "mq-replay -F '%{base64}b' log | base64 -d" 'cat input'
	same "mq-replay -F '%{hex}b' log" "od -An -v -tx1 input | tr -d ' \n'"
	same 'mq-replay -j log | jq -r .body_base64 | base64 -d' 'cat input'
}

@test "a template: widths pad, precisions cut" {
	full_message
	[[ $(format '[%-10k]') == '[eu.c42    ]' ]]
	[[ $(format '[%10k]') == '[    eu.c42]' ]]
	[[ $(format '[%3o]') == '[  0]' ]]
	[[ $(format '[%.5b]') == '[hello]' ]]
	[[ $(format '[%-8.5b]') == '[hello   ]' ]]
	[[ $(format '[%2k]') == '[eu.c42]' ]]
}

@test "a template does not interpret what the message holds" {
	must mq-make --stream log
	must mq-pub -k '%b.\n' log '%k\t%%'
	[[ $(format '%k %b') == '%b.\n %k\t%%' ]]
}

@test "-d on output: any string, with escapes" {
	must mq-send -q jobs a b
	same "mq-recv -e -d '\x00\t;' jobs" "printf 'a\0\t;b\0\t;'"
}

@test "-0 in and -0 out are inverse, for any bodies without NUL" {
	head -c 100000 /dev/urandom | tr '\377' '\0' >input
	printf 'end\0' >>input
	must mq-send -q -0 jobs <input
	same 'mq-recv -e -0 jobs' 'cat input'
}

@test "on a terminal control bytes are shown escaped" {
	need script
	must mq-send -q jobs $'\e]0;title\a text'
	script -qec 'mq-recv jobs' /dev/null >got </dev/null
	grep -q text got
	if grep -q $'\e\|\a' got; then false; fi
}

@test "on a terminal -r passes control bytes" {
	need script
	must mq-send -q jobs $'\e]0;title\a text'
	script -qec 'mq-recv -r jobs' /dev/null >got </dev/null
	grep -q $'\e' got
}

@test "into a pipe control bytes pass as they are" {
	must mq-send -q jobs $'\e]0;title\a text'
	prints $'\e]0;title\a text' mq-recv jobs
}
