#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC1003,SC2016,SC2030,SC2031
# Every parser answers what is not valid with one line that names it, at most one hint, and the status of
# the contract; nothing on stdout, nothing stored.

load helpers

tools='mq-send mq-recv mq-pub mq-sub mq-replay mq-ls mq-make mq-rm'

# A store with one channel of each kind and one message in each.
ready() {
	mq-send -q jobs kept
	mq-make -q --stream log
	mq-pub log kept
	mq-pub -q news kept
}

# unchanged: that store is as it was.
unchanged() {
	prints $'jobs\nlog\nnews' mq-ls --names
	prints kept mq-replay log
	prints kept mq-recv -e jobs
}

# bad_line JSON [WORDS]: this line, the third, is refused by its number.
bad_line() {
	printf '%s\n' '{"body":"1"}' '{"body":"2"}' "$1" '{"body":"4"}' >input
	refuses 65 'line 3' mq-send -q -j jobs <input
	grep -q '2 messages were sent' "$err"
	prints $'1\n2' mq-recv -e jobs
}

# ---- options and operands -------------------------------------------------------------------------

@test "an unknown option is named, with one hint and not the whole help" {
	for tool in $tools; do
		refuses 64 no-such "$tool" --no-such name
		refuses 64 Z "$tool" -Z name
	done
	[[ ! -e $MQ_STORE ]]
}

@test "an option without its argument is named" {
	refuses 64 k mq-send jobs -k
	refuses 64 key mq-send jobs --key
	refuses 64 n mq-recv jobs -n
	refuses 64 since mq-replay log --since
	refuses 64 store mq-ls --store
}

@test "an option that takes no argument refuses one" {
	refuses 64 json mq-recv --json=yes jobs
	refuses 64 atomic mq-send --atomic=1 jobs body
}

@test "a missing operand is an error" {
	for tool in mq-send mq-recv mq-pub mq-sub mq-replay mq-make mq-rm; do
		refuses 64 '' "$tool"
	done
}

@test "an operand too many is named" {
	ready
	refuses 64 more mq-recv jobs more
	refuses 64 more mq-check store more
	unchanged
}

@test "options of other tools and of later releases are unknown" {
	ready
	for option in -l1s -gname -P2 --lease=1 --expect=1 --mandatory; do
		must_fail 64 mq-send "$option" jobs body
		[[ ! -s $out ]]
	done
	refuses 64 '' mq-send -n 1 jobs body
	refuses 64 '' mq-recv --atomic jobs
	refuses 64 '' mq-replay --print-position log
	unchanged
}

@test "numbers" {
	ready
	for n in '' x 1x -1 1.5 0x10 ' 1' 99999999999999999999999 18446744073709551616; do
		refuses 64 "$n" mq-recv --count="$n" jobs
		refuses 64 last mq-replay --last="$n" log
	done
	unchanged
}

@test "durations" {
	ready
	for d in '' x 1x 1.5.2h -1 h '1 h' 10000000000d 1e5 never 2h-30m; do
		refuses 64 "$d" mq-recv --wait="$d" jobs
		refuses 64 max-age mq-make log max-age="$d"
	done
	unchanged
}

@test "sizes" {
	ready
	for s in '' x 1x -1 1.5.2K K '1 K' 1KK 99999999999G 1e5 0x10; do
		refuses 64 max-bytes mq-make log max-bytes="$s"
		refuses 64 max-message mq-make jobs max-message="$s"
	done
	unchanged
}

@test "times" {
	ready
	for t in '' x 25:00 12:60 2024-13-01 2024-02-30 2023-02-29 2024-1-1 2024-01-01T25:00:00Z \
		2024-01-01T00:00:00+25:00 @ @x '2 h ago x' 'in' 'ago' '+' 99999999999-01-01 \
		@99999999999999999999 noon; do
		refuses 64 "$t" mq-replay --since="$t" log
		refuses 64 "$t" mq-replay --until="$t" log
	done
	unchanged
}

@test "offsets" {
	ready
	for n in '' x -1 1.5 last 99999999999999999999999; do
		refuses 64 from mq-replay --from="$n" log
		refuses 64 to mq-replay --to="$n" log
	done
	unchanged
}

@test "speeds and rates" {
	ready
	for n in '' x 0 -1 nan inf; do
		refuses 64 speed mq-replay --speed="$n" log
	done
	for n in '' x 0 -1 1/ 1/y /s nan; do
		refuses 64 rate mq-replay --rate="$n" log
	done
	unchanged
}

@test "--sync, --output and --kind name the words they know" {
	ready
	refuses 64 maybe mq-send --sync=maybe jobs body
	refuses 64 tree mq-recv --output=tree jobs
	refuses 64 tree mq-ls --output=tree
	refuses 64 tree mq-ls --kind=tree
	unchanged
}

# ---- names and patterns ---------------------------------------------------------------------------

@test "names of channels" {
	ready
	long=$(printf 'n%.0s' $(seq 129))
	for name in '' . .. a..b .a -a 'a b' a/b ../a 'a*' 'a#' 'ä' $'a\nb' $'a\x01' a: "$long"; do
		refuses 64 '' mq-send -- "$name" body
		refuses 64 '' mq-recv -- "$name"
		refuses 64 '' mq-pub -- "$name" body
		[[ $name == a[*#] ]] || refuses 64 '' mq-replay -- "$name"
		refuses 64 '' mq-make --queue -- "$name"
		refuses '64|66' '' mq-rm -- "$name"
	done
	unchanged
}

@test "a name of 128 bytes is good" {
	name=$(printf 'n%.0s' $(seq 128))
	must mq-send -q "$name" body
	prints "$name" mq-ls --names
	prints body mq-recv "$name"
}

@test "an error shows no control bytes of what it names" {
	ready
	must_fail 64 mq-recv $'a\e[31m\ab'
	if grep -q $'[\001-\010\013-\037]' "$err"; then false; fi
	must_fail 64 mq-recv --count=$'\e]0;x\a' jobs
	if grep -q $'[\001-\010\013-\037]' "$err"; then false; fi
}

@test "patterns of names and keys" {
	ready
	refuses 64 '' mq-recv -k '' jobs
	refuses 64 '' mq-replay -k '' log
	for pattern in '' a..b .a a.; do
		refuses 64 '' mq-sub -e -- "$pattern"
		refuses 64 '' mq-ls -- "$pattern"
	done
	unchanged
}

@test "a pattern that could take for ever does not" {
	must mq-send -q -k "$(printf 'a.%.0s' $(seq 60))a" jobs kept
	nothing timeout 10 mq-recv -k "$(printf '#.a.%.0s' $(seq 20))b" jobs
	must mq-send -q -H "h=$(printf 'a%.0s' $(seq 200))" jobs more
	nothing timeout 10 mq-recv -m "h=$(printf '*a%.0s' $(seq 50))b" jobs
}

@test "conditions on headers" {
	ready
	for condition in '' =x nothing; do
		refuses 64 "$condition" mq-recv --match="$condition" jobs
	done
	unchanged
}

@test "headers to send" {
	ready
	long=$(printf 'n%.0s' $(seq 256))
	for header in '' =x nothing "$long=x" $'a=\xff'; do
		must_fail '64|65' mq-send --header="$header" jobs body
		[[ ! -s $out && -s $err ]]
	done
	unchanged
}

@test "keys and types to send" {
	ready
	must_fail '64|65' mq-send -k "$(printf 'k%.0s' $(seq 1025))" jobs body
	must_fail '64|65' mq-send -k $'\xff' jobs body
	must_fail '64|65' mq-send --type="$(printf 't%.0s' $(seq 256))" jobs body
	must mq-send -k "$(printf 'k%.0s' $(seq 1024))" jobs good
	prints $'kept\ngood' mq-recv -e jobs
}

# ---- templates and escapes ------------------------------------------------------------------------

@test "templates" {
	ready
	for template in % 'a%' %z %Z '%{' '%{abc' '%{abc}' '%{tree}b' '%{x}k' '%-' %5 '%.' '%99999999999k' \
		'\q' '\x' '\xg1' 'a\'; do
		refuses 64 '' mq-recv -F "$template" jobs
		refuses 64 '' mq-replay -F "$template" log
	done
	unchanged
}

@test "delimiters" {
	ready
	for delimiter in '\q' '\x' '\xg1' 'a\'; do
		refuses 64 '' mq-recv --delimiter="$delimiter" jobs
		refuses 64 '' mq-send --delimiter="$delimiter" jobs
	done
	unchanged
}

# ---- JSON lines -------------------------------------------------------------------------------------

@test "a line that is not a JSON object is named by its number" {
	for line in 'text' '[]' '17' '"text"' 'null' '{' '{"body":"x"' '{"body":"x",}' '{"body":"x"} more' \
		'{"body":"x"}{"body":"y"}' "{'body':'x'}" '{body:"x"}' '{"body" "x"}' '{"body":"x" "key":"y"}'; do
		bad_line "$line"
	done
}

@test "exactly one of body, body_base64 and data" {
	bad_line '{}'
	bad_line '{"key":"k"}'
	bad_line '{"body":"a","body_base64":"YQ=="}'
	bad_line '{"body":"a","data":1}'
	bad_line '{"body_base64":"YQ==","data":1}'
}

@test "fields of the wrong type are refused" {
	for field in '"body":1' '"body":null' '"body":{}' '"body":"b","key":1' '"body":"b","key":[]' \
		'"body":"b","id":{}' '"body":"b","type":true' '"body":"b","headers":[]' \
		'"body":"b","headers":"h"' '"body":"b","headers":{"h":1}' '"body":"b","headers":{"":"v"}' \
		'"body":"b","priority":"4"' '"body":"b","priority":10' '"body":"b","priority":-1' \
		'"body":"b","priority":4.5' '"body":"b","priority":1e99' '"body":"b","reply_to":1' \
		'"body":"b","correlation":1'; do
		bad_line "{$field}"
	done
}

@test "base64 that is not valid is refused" {
	for text in Y YQ YQ= 'YQ==YQ==' 'Y!==' '====' 'YQ= =' 'YWJj*' 1; do
		bad_line "{\"body_base64\":\"$text\"}"
	done
	bad_line '{"body_base64":17}'
}

@test "strings that are not valid are refused" {
	for text in '\q' '\u12' '\u12g4' '\ud800' '\udc00' '\ud800\ud800' $'\x01' $'a\tb' $'\xff' $'\xc0\xaf' \
		$'\xed\xa0\x80' 'open'; do
		if [[ $text == open ]]; then
			bad_line '{"body":"open}'
		else
			bad_line "{\"body\":\"$text\"}"
		fi
	done
}

@test "NUL in a text field is refused" {
	bad_line '{"body":"b","key":"a\u0000b"}'
	bad_line '{"body":"b","id":"a\u0000b"}'
	bad_line '{"body":"b","headers":{"h":"a\u0000b"}}'
}

@test "fields beyond their limits are refused" {
	k=$(printf 'k%.0s' $(seq 1025))
	bad_line "{\"body\":\"b\",\"key\":\"$k\"}"
	bad_line "{\"body\":\"b\",\"id\":\"${k:0:256}\"}"
	bad_line "{\"body\":\"b\",\"type\":\"${k:0:256}\"}"
	bad_line "{\"body\":\"b\",\"headers\":{\"${k:0:256}\":\"v\"}}"
	bad_line "{\"body\":\"b\",\"headers\":{$(seq -s, -f '"h%g":""' 129)}}"
	bad_line "{\"body\":\"b\",\"headers\":{\"h\":\"$(printf "$k%.0s" $(seq 33))\"}}"
}

@test "the same header twice in an envelope is refused" {
	bad_line '{"body":"b","headers":{"h":"1","h":"2"}}'
}

@test "JSON nested 100,000 deep is refused without a crash" {
	{ printf '{"data":'; head -c 100000 /dev/zero | tr '\0' '['; echo; } >input
	refuses 65 'line 1' mq-send -q -j jobs <input
	{ printf '{"colour":'; head -c 100000 /dev/zero | tr '\0' '['; echo; } >input
	refuses 65 'line 1' mq-send -q -j jobs <input
}

@test "random bytes as JSON lines are refused without a crash" {
	for _ in 1 2 3 4 5; do
		{ echo; head -c 20000 /dev/urandom; } >input
		must_fail 65 mq-send -q -j jobs <input
		[[ ! -s $out ]]
		[[ $(wc -l <"$err") -le 2 ]]
	done
}

@test "a damaged envelope never crashes mq-send" {
	line='{"id":"o-17","key":"eu","headers":{"t":"\u00e4"},"priority":4,"body":"h\n\ud83d\ude00"}'
	for ((i = 0; i < ${#line}; i++)); do
		capture mq-send -q -j jobs <<<"${line:0:i}"
		((status == 65 || status == 0)) || { show "$i"; false; }
		capture mq-send -q -j jobs <<<"${line:0:i}\\${line:i+1}"
		((status == 65 || status == 0)) || { show "$i"; false; }
	done
}

@test "a bad last line without newline is named, too" {
	printf '{"body":"1"}\n{"body":' >input
	refuses 65 'line 2' mq-send -q -j jobs <input
	prints 1 mq-recv -e jobs
}

@test "the number of a bad line is right in a large input" {
	{ seq -f '{"body":"%g"}' 70000; echo bad; echo '{"body":"x"}'; } >input
	refuses 65 'line 70001' mq-send -q -j jobs <input
	grep -q '70000 messages were sent' "$err"
	same 'mq-recv -e jobs' 'seq -f %.0f 70000'
}

# ---- properties -------------------------------------------------------------------------------------

@test "properties" {
	ready
	for property in max-messages=x max-messages=-1 max-messages=1.5 max-age=x sealed=maybe sealed= \
		=1 max-messages; do
		refuses 64 '' mq-make log "$property"
	done
	refuses 64 colour mq-make log colour=1
	unchanged
}

@test "properties of the store" {
	ready
	for property in create=maybe sync= max-bytes=x max-bytes=-1; do
		refuses 64 "${property%%=*}" mq-make --store "$MQ_STORE" "$property"
	done
	unchanged
}

# ---- the whole ----------------------------------------------------------------------------------------

@test "every error keeps stdout empty, also with output chosen" {
	ready
	refuses 66 none mq-recv -j none
	refuses 66 none mq-replay -F '%b' none
	refuses 64 jobs mq-replay -o json jobs
	unchanged
}

@test "--help to a full disk is an i/o error" {
	for tool in $tools; do
		status=0
		"$tool" --help >/dev/full 2>"$err" 3>&- || status=$?
		((status == 74)) || { echo "$tool: $status"; false; }
	done
}

@test "a closed stdout is an i/o error and takes nothing" {
	ready
	status=0
	mq-recv jobs >&- 2>"$err" 3>&- || status=$?
	((status == 74))
	unchanged
}
