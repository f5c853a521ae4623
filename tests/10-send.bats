#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-send: how input becomes messages, and what is stored with them.

load helpers

@test "a BODY operand is one message" {
	must mq-send -q jobs hello
	prints hello mq-recv jobs
}

@test "each BODY operand is one message, in order" {
	must mq-send -q jobs one two three
	prints $'one\ntwo\nthree' mq-recv -e jobs
}

@test "a body is never interpreted" {
	body='%b\n%{json}b @/etc/passwd http://localhost/ $HOME \x41 *'
	must mq-send -q jobs "$body"
	prints "$body" mq-recv jobs
}

@test "an empty BODY operand is an empty message" {
	must mq-send -q jobs ''
	prints 0 mq-recv -F '%s\n' jobs
}

@test "with a BODY operand stdin is never read" {
	printf 'left\nalone\n' >input
	{ must mq-send -q jobs body; cat >rest; } <input
	cmp input rest
	prints body mq-recv -e jobs
}

@test "with --file stdin is never read" {
	printf 'left\nalone\n' >input
	printf 'whole\nfile' >file
	{ must mq-send -q --file=file jobs; cat >rest; } <input
	cmp input rest
	prints $'whole\nfile' mq-recv -e jobs
}

@test "--file may be repeated: each file is one message" {
	printf 'a\nb\n' >first
	: >second
	must mq-send -q --file=first --file second jobs
	prints $'4\n0' mq-recv -e -F '%s\n' jobs
}

@test "--file=- is the whole of stdin as one message" {
	printf 'a\nb\n' | must mq-send -q --file=- jobs
	prints $'a\nb\n' mq-recv -e jobs
}

@test "every line of stdin is one message" {
	printf 'one\ntwo\nthree\n' | must mq-send -q jobs
	prints $'0 one\n1 two\n2 three' mq-recv -e -F '%o %b\n' jobs
}

@test "an unterminated last line is a message" {
	printf 'one\ntwo' | must mq-send -q jobs
	prints $'one\ntwo' mq-recv -e jobs
}

@test "an empty line is an empty message" {
	printf '\na\n\n' | must mq-send -q jobs
	prints $'0\n1\n0' mq-recv -e -F '%s\n' jobs
}

@test "no input is zero messages and exit 0" {
	must mq-send -q jobs before
	must mq-send --print-position jobs
	[[ ! -s $out && ! -s $err ]]
	prints before mq-recv -e jobs
}

@test "CR is kept" {
	printf 'dos\r\n' | must mq-send -q jobs
	same 'mq-recv jobs' "printf 'dos\r\n'"
}

@test "-0: messages end in NUL, newlines belong to them" {
	printf 'a\nb\0\0c' | must mq-send -q -0 jobs
	same 'mq-recv -e -0 jobs' "printf 'a\nb\0\0c\0'"
}

@test "-d: messages end in a string of several bytes" {
	printf 'a;b;;c\n;;;;d' | must mq-send -q -d ';;' jobs
	same 'mq-recv -e -0 jobs' "printf 'a;b\0c\n\0\0d\0'"
}

@test "-d understands escapes" {
	printf 'a\tb\001c' | must mq-send -q -d '\t' jobs
	printf 'a\tb\001c' | must mq-send -q -d '\x01' jobs
	printf 'x\0y' | must mq-send -q --delimiter='\0' jobs
	same 'mq-recv -e -d "|" jobs' "printf 'a|b\001c|a\tb|c|x|y|'"
}

@test "-d: a delimiter that begins twice is found where it is whole" {
	printf 'aab--aaab-aab' | must mq-send -q -d aab jobs
	same 'mq-recv -e -0 jobs' "printf '\0--a\0-\0'"
}

@test "-r: the whole of stdin is one message" {
	printf 'a\nb\0c\n' | must mq-send -q -r jobs
	same 'mq-recv -r jobs' "printf 'a\nb\0c\n'"
}

@test "-r with empty stdin is one empty message" {
	must mq-send -q -r jobs
	prints 0 mq-recv -e -F '%s\n' jobs
}

@test "key, headers and type go with every message" {
	printf 'a\nb\n' | must mq-send -q -k eu.c42 -H trace=ab --header=n=1=2 --type=text/plain jobs
	prints $'eu.c42 ab 1=2 text/plain a\neu.c42 ab 1=2 text/plain b' \
		bash -c 'mq-recv -e -j jobs |
			jq -r "[.key, .headers.trace, .headers.n, .type, .body] | join(\" \")"'
}

@test "the same header twice is refused" {
	refuses 64 trace mq-send -H trace=a -H trace=b jobs body
	[[ ! -e $MQ_STORE ]]
}

@test "options may follow operands, and -- ends them" {
	must mq-send jobs -q -k key body -- -k --no-such
	prints $'key body\nkey -k\nkey --no-such' mq-recv jobs -F '%k %b\n' -e
}

@test "--sync=full and --sync=relaxed both store the message" {
	must mq-send -q --sync=full jobs full
	must mq-send -q --sync=relaxed jobs relaxed
	prints $'full\nrelaxed' mq-recv -e jobs
}

@test "--print-position prints each message's position, one a line" {
	must mq-send -q jobs before
	prints $'jobs:1\njobs:2' mq-send --print-position jobs a b
	printf 'c\nd\n' | prints $'jobs:3\njobs:4' mq-send --print-position jobs
}

@test "offsets are never reused, not even after the queue was emptied" {
	must mq-send -q jobs a b c
	must mq-recv -e jobs
	prints jobs:3 mq-send --print-position jobs d
	prints $'3\td' mq-recv -F '%o\t%b\n' jobs
}

@test "without --atomic what was committed before a bad line stays and is counted" {
	printf '{"body":"a"}\n{"body":"b"}\nbad\n{"body":"d"}\n' >input
	refuses 65 'line 3' mq-send -q -j jobs <input
	grep -q '2 messages were sent' "$err"
	prints $'a\nb' mq-recv -e jobs
}

@test "--atomic: all of the input or none" {
	must mq-send -q jobs before
	printf '{"body":"a"}\n{"body":"b"}\nbad\n' >input
	refuses 65 'line 3' mq-send --atomic -j jobs <input
	prints before mq-recv -e jobs
	seq 5000 >input
	must mq-send --atomic jobs <input
	same 'mq-recv -e jobs' 'seq 5000'
}

@test "--no-create: a missing store is an error and is not created" {
	refuses 66 '' mq-send --no-create jobs body
	[[ ! -e $MQ_STORE ]]
}

@test "--no-create: a missing queue is an error and is not created" {
	must mq-send -q jobs body
	refuses 66 other mq-send --no-create other body
	prints jobs mq-ls --names
	must mq-send --no-create jobs body
}

@test "creating a queue is noticed on stderr, once" {
	must mq-send jobs body
	[[ ! -s $out ]]
	grep -q "^mq-send: .*jobs" "$err"
	must mq-send jobs body
	[[ ! -s $out && ! -s $err ]]
}

@test "with -q creating store and queue is silent" {
	must mq-send -q jobs body
	[[ ! -s $out && ! -s $err ]]
	must mq-send --quiet other body
	[[ ! -s $out && ! -s $err ]]
}

@test "sending to a topic or stream is refused" {
	must mq-make --stream log
	must mq-make --topic news
	refuses 64 log mq-send log body
	refuses 64 news mq-send news body
}

@test "a line is committed while stdin stays open" {
	mkfifo pipe
	exec 7<>pipe
	start send mq-send -q jobs <pipe
	printf 'first\n' >&7
	start recv mq-recv -w 20 jobs
	ended "$started" 0
	[[ $(cat recv.out) == first ]]
	printf 'second\n' >&7
	prints second mq-recv -w 20 jobs
}

@test "100,000 lines come out as they went in" {
	seq 100000 | must mq-send -q jobs
	same 'mq-recv -e jobs' 'seq 100000'
}

@test "lines of every length around block and chunk sizes come out as they went in" {
	for n in 0 1 127 128 3999 4000 4095 4096 4097 16383 16384 65535 65536 65537 262144 1048577; do
		head -c "$n" /dev/zero | tr '\0' "x"
		echo
	done >input
	must mq-send -q jobs <input
	same 'mq-recv -e jobs' 'cat input'
}

@test "a message of the default limit, 64 MiB, goes through" {
	head -c 67108864 /dev/zero | tr '\0' m | must mq-send -q -r jobs
	same 'mq-recv -r jobs | cksum' "head -c 67108864 /dev/zero | tr '\0' m | cksum"
}

@test "a message beyond the default limit is refused and leaves nothing" {
	must mq-send -q jobs before
	head -c 67108865 /dev/zero >input
	refuses 65 '' mq-send -r jobs <input
	prints before mq-recv -e jobs
}

@test "max-message is the largest body; a line beyond it is named" {
	must mq-make --queue jobs max-message=1K
	{ echo a; head -c 1024 /dev/zero | tr '\0' x; echo; head -c 1025 /dev/zero | tr '\0' y; echo; } >input
	refuses 65 'line 3' mq-send jobs <input
	grep -q '2 messages were sent' "$err"
	prints $'1\n1024' mq-recv -e -F '%s\n' jobs
}

@test "max-message holds for operands and files too" {
	must mq-make --queue jobs max-message=4
	printf 12345 >file
	refuses 65 '' mq-send jobs 12345
	refuses 65 '' mq-send --file=file jobs
	must mq-send jobs 1234
	prints 1234 mq-recv -e jobs
}

@test "a file that is not there is named" {
	refuses '66|74' nowhere mq-send --file=nowhere jobs
}

@test "a directory is no message" {
	mkdir folder
	refuses '65|66|74' folder mq-send --file=folder jobs
}

@test "--progress reports on stderr" {
	seq 1000 | must mq-send -q --progress jobs
	[[ ! -s $out && -s $err ]]
	same 'mq-recv -e jobs' 'seq 1000'
}

@test "-s names the store, also in place of MQ_STORE" {
	must mq-send -q -s ./other jobs there
	[[ -d other && ! -e $MQ_STORE ]]
	prints there mq-recv --store=./other jobs
}
