#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-exec: what the command gets, how many run at once, and what its end means. How it all ends when signals
# and kills come is in 29-exec-ends.bats.

load helpers

# failed_with RUNS CMD...: ends with 2, and told of so many failures, each in a line.
failed_with() {
	local runs=$1
	shift
	must_fail 2 "$@" || return 1
	[[ $(grep -c '^mq-exec: jobs:[0-9]' "$err") == "$runs" ]] ||
		{ show "must tell of $runs failures: $*"; return 1; }
}

# A queue whose messages are delivered again at once, never given up.
patient() {
	must mq-make --queue jobs backoff=1ms..1ms max-attempts=none
}

# ---- the command and what it gets ---------------------------------------------------------------------------

@test "the command runs once for each message, in order, with the body on stdin" {
	seq 20 | must mq-send -q jobs
	same 'mq-exec -e jobs sh -c "cat; echo"' 'seq 20'
	[[ $(stored jobs) == 0 ]]
}

@test "the command's arguments are passed as they are" {
	must mq-send -q jobs a
	prints $'-n\n-e\n$x *\n--\n' mq-exec -e jobs printf '%s\n' -n -e '$x *' -- ''
}

@test "options may stand before and behind the queue; the command's own are left to it" {
	must mq-send -q jobs a b c
	same 'mq-exec jobs -n 1 cat -u' 'printf a'
	same 'mq-exec -n 1 jobs -- cat -u' 'printf b'
	same 'mq-exec -n 1 -- jobs cat -u' 'printf c'
}

@test "a body of no bytes, of every byte, of 300 KB and of 5 MB comes whole" {
	: >body.0
	perl -e 'print pack("C*", 0 .. 255)' >body.1
	head -c 300000 /dev/urandom >body.2
	head -c 5000000 /dev/urandom >body.3
	must mq-send -q --file=body.0 --file=body.1 --file=body.2 --file=body.3 jobs
	must mq-exec -e jobs sh -c 'cat >got.$MQ_OFFSET'
	for i in 0 1 2 3; do
		cmp body.$i got.$i
	done
}

@test "a command that does not read its stdin, or not all of it, is no failure" {
	head -c 5000000 /dev/zero >large
	must mq-send -q --file=large --file=large --file=large jobs
	must mq-exec -n 1 jobs true
	must mq-exec -n 1 jobs head -c 10
	must mq-exec -n 1 jobs sh -c 'exec <&-'
	[[ $(stored jobs) == 0 && ! -s $err ]]
}

@test "mq-exec never reads its own stdin" {
	must mq-send -q jobs a
	echo input >input
	{ mq-exec -e jobs cat >/dev/null; cat >rest; } <input
	cmp input rest
}

@test "the message is described in the environment" {
	must mq-make --queue jobs max-attempts=7
	must mq-send -k eu.c42 --type=text/plain --id=o-17 --reply-to=answers --correlation=q9 jobs body
	mq-exec -e jobs sh -c 'env | grep ^MQ_ | grep -v ^MQ_TIME' | sort >got
	sort >wanted <<-END
		MQ_STORE=$MQ_STORE
		MQ_CHANNEL=jobs
		MQ_OFFSET=0
		MQ_KEY=eu.c42
		MQ_ATTEMPT=1
		MQ_MAX_ATTEMPTS=7
		MQ_LEASE=jobs:0:1
		MQ_TYPE=text/plain
		MQ_ID=o-17
		MQ_REPLY_TO=answers
		MQ_CORRELATION=q9
	END
	diff wanted got
	must mq-send jobs body
	mq-peek -F %T jobs >wanted
	mq-exec -e jobs sh -c 'printf %s "$MQ_TIME"' | cmp wanted -
}

@test "what a message does not have is empty in the environment, whatever it was outside" {
	must mq-send -q -H here=1 jobs body
	prints 1:::: env MQ_KEY=old MQ_ID=old MQ_TYPE=old MQ_HEADER_OTHER=old \
		mq-exec -e jobs sh -c 'echo "$MQ_HEADER_HERE:$MQ_KEY:$MQ_ID:$MQ_TYPE:$MQ_HEADER_OTHER"'
}

@test "headers are in the environment: upper case, other bytes are _" {
	must mq-send -q -H trace=ab -H 'X-Request-Id=1=2' -H 'größe=5' jobs body
	prints $'ab\n1=2\n5' mq-exec -e jobs \
		sh -c 'echo "$MQ_HEADER_TRACE"; echo "$MQ_HEADER_X_REQUEST_ID"; env | sed -n "s/^MQ_HEADER_GR_*E=//p"'
}

@test "no header name, however hostile, sets another variable" {
	must mq-send -q jobs first
	must mq-send -H PATH=/evil -H LD_PRELOAD=evil.so -H $'a\nHOME=/evil' -H 'MQ_STORE=/evil' -H ' =1' -H 'A.B=1' \
		-H 'a-b=2' -H 'BASH_FUNC_ls%%=() { evil; }' -H $'x=one\nPATH=/evil' jobs second
	mq-exec -e jobs sh -c 'env -0 >env.$MQ_OFFSET'
	grep -zv '^MQ_HEADER_' env.1 | sed -z 's/^MQ_\(OFFSET\|TIME\|LEASE\)=.*//' | sort -z >second
	sed -z 's/^MQ_\(OFFSET\|TIME\|LEASE\)=.*//' env.0 | sort -z >first
	cmp first second
	grep -z '^MQ_HEADER_' env.1 | tr '\n' ' ' | tr '\0' '\n' >headers
	[[ $(wc -l <headers) -ge 8 ]]
	run ! grep -v '^MQ_HEADER_[A-Z0-9_]*=' headers
}

@test "tools that the command runs work in the same store" {
	must mq-send -q jobs a
	mkdir elsewhere
	env -u MQ_STORE mq-exec -s ./store -e jobs sh -c 'cd elsewhere && mq-send -q results "$(cat)"'
	prints a mq-recv results
}

@test "the command has stdin, stdout and stderr open, and nothing else" {
	must mq-send -q jobs a
	prints '' mq-exec -e jobs sh -c 'for i in $(seq 3 99); do [ ! -e /proc/$$/fd/$i ] || echo $i; done; echo' \
		7</dev/null 42>other
}

@test "signals are as usual in the command, none blocked and none ignored" {
	must mq-send -q jobs a
	grep '^Sig\(Blk\|Ign\|Cgt\)' /proc/self/status >wanted
	mq-exec -e jobs grep '^Sig\(Blk\|Ign\|Cgt\)' /proc/self/status | cmp - wanted
}

# ---- which messages, how many, how long --------------------------------------------------------------------

@test "-e ends when nothing is ready; nothing at all is exit 1" {
	must mq-make --queue jobs
	nothing mq-exec -e jobs true
	must mq-send -D 1h jobs later
	nothing mq-exec -e jobs true
}

@test "-n N stops after N messages" {
	seq 5 | must mq-send -q jobs
	same 'mq-exec -n 3 jobs sh -c "cat; echo"' 'seq 3'
	same 'mq-exec -e -n 9 jobs sh -c "cat; echo"' 'seq 4 5'
}

@test "-k and -m: only messages that match are taken" {
	must mq-send -q -k a.b jobs 1
	must mq-send -H n=x jobs 2
	must mq-send jobs 3
	same 'mq-exec -e -k a.+ jobs cat' 'printf 1'
	same 'mq-exec -e -m n=x jobs cat' 'printf 2'
	prints 3 mq-recv -e jobs
}

@test "-w D waits so long for a message and no longer" {
	must mq-make --queue jobs
	nothing mq-exec -w 50ms jobs true
	start exec mq-exec -w 20 -n 1 jobs cat
	until_true 20 blocked "$started"
	must mq-send jobs hello
	ended "$started" 0
	[[ $(cat exec.out) == hello ]]
}

@test "without -e it goes on, and may be started before its queue exists" {
	start exec mq-exec -q jobs sh -c 'cat; echo'
	until_true 20 asleep "$started"
	must mq-send -q jobs a b
	until_true 20 has_lines 2 exec.out
	must mq-send jobs c
	until_true 20 has_lines 3 exec.out
	kill -TERM "$started"
	ended "$started" 143
	[[ $(cat exec.out) == $'a\nb\nc' && ! -s exec.err ]]
}

@test "-e on a queue that is not there is an error with a hint" {
	must mq-send -q orders a
	refuses 66 ordres mq-exec -e ordres true
	grep -q 'hint: .*orders' "$err"
}

@test "--rate=N/s starts no more than N a second" {
	seq 6 | must mq-send -q jobs
	begin=$(clock)
	must mq-exec -e --rate=20/s jobs true
	(($(clock) - begin >= 240000))
}

@test "-g G works for a group of a stream: each message once, those of later after those of before" {
	must mq-make --stream log
	must mq-pub log 1 2 3
	prints $'1\n2\n3' mq-exec -g workers -e log sh -c 'cat; echo'
	nothing mq-exec -g workers -e log true
	must mq-pub log 4
	prints 4 mq-exec -g workers -e log sh -c 'cat; echo'
	prints $'1\n2\n3\n4' mq-replay log
}

@test "a topic or stream without -g is refused, and so are a missing queue or command" {
	must mq-make --stream log
	must mq-make --queue jobs
	refuses 64 log mq-exec -e log true
	refuses 64 '' mq-exec
	refuses 64 '' mq-exec -e jobs
	for option in '-P 0' '-b 0' '-t soon' '--rate=fast' '--ack-on=999' '-n x'; do
		# shellcheck disable=SC2086 # options are words
		must_fail 64 mq-exec $option -e jobs true
	done
}

# ---- several at once ----------------------------------------------------------------------------------------

@test "-P N runs N commands at the same time" {
	seq 4 | must mq-send -q jobs
	mkfifo 1 2 3
	program meet <<-'END'
		read -r n || true
		if [ "$n" = 4 ]; then cat 1 2 3; else echo "$n" >"$n"; fi
	END
	must timeout 20 mq-exec -e -P 4 jobs ./meet
	[[ $(sort "$out") == $'1\n2\n3' ]]
}

@test "-P N never runs more than N" {
	seq 30 | must mq-send -q jobs
	must mq-exec -e -P 3 jobs sh -c 'echo 1 >>log; cat >/dev/null; echo -1 >>log'
	awk '{ n += $1; if (n > most) most = n } END { exit !(NR == 60 && n == 0 && most <= 3) }' log
}

@test "-P: a command that takes long holds up no other" {
	{ echo slow; seq 20; echo release; } | must mq-send -q jobs
	mkfifo gate
	program work <<-'END'
		read -r n || true
		case $n in
		slow) read -r _ <gate ;;
		release) echo >gate ;;
		esac
		echo "$n"
	END
	must timeout 20 mq-exec -e -P 2 jobs ./work
	[[ $(tail -n 2 "$out" | sort) == $'release\nslow' ]]
	exactly "$out" 'echo slow; seq 20; echo release'
}

@test "several mq-exec share the work: each message is run once" {
	seq 300 | must mq-send -q jobs
	for i in 1 2 3; do
		start "exec$i" mq-exec -e -P 2 jobs sh -c 'echo "$(cat)"'
		pids[i]=$started
	done
	for i in 1 2 3; do
		until_true 20 gone "${pids[i]}"
		wait "${pids[i]}" || [[ $? == 1 && ! -s exec$i.out ]]
	done
	cat exec[123].out >all
	exactly all 'seq 300'
}

@test "-b N gives N messages to one run, as lines; the last run gets what is left" {
	seq 10 | must mq-send -q jobs
	prints $'1 2 3 4\n5 6 7 8\n9 10' mq-exec -e -b 4 jobs sh -c 'paste -s -d " "'
	[[ $(stored jobs) == 0 ]]
}

@test "-b: when a run fails all of its messages are delivered again, those of others are not" {
	must mq-make --queue jobs backoff=1h..1h
	seq 10 | must mq-send jobs
	must_fail 2 mq-exec -e -b 5 jobs sh -c '! grep -x 3'
	[[ $(stored jobs) == 5 ]]
	prints $'1\n2\n3\n4\n5' mq-peek --state=retry jobs
}

@test "-I R puts the body into the arguments, as it is" {
	must mq-send -q jobs 'a b' '$(touch evil) * "'
	prints $'<a b> a b\n<$(touch evil) * "> $(touch evil) * "' mq-exec -e -I {} jobs printf '%s\n' '<{}> {}'
	must mq-send jobs -- -n
	prints 'x-n' mq-exec -e --replace=% jobs echo x%
	[[ ! -e evil ]]
}

# ---- what the exit status means -------------------------------------------------------------------------------

@test "0 acknowledges; all acknowledged is exit 0, some not is exit 2" {
	patient
	must mq-send jobs a b c
	must mq-exec -n 1 jobs true
	[[ $(stored jobs) == 2 ]]
	failed_with 1 mq-exec -n 2 jobs sh -c '[ "$(cat)" = b ]'
	prints 'c 2' mq-recv -w 20 -F '%b %a\n' jobs
}

@test "any status but 0, 65 and 99 retries: the message stays, the attempt is counted" {
	patient
	must mq-send jobs a
	for i in 1 2 64 75 100 255; do
		failed_with 1 mq-exec -w 20 -n 1 jobs sh -c "exit $i"
	done
	prints 'a 7' mq-recv -w 20 -F '%b %a\n' jobs
}

@test "a command that dies by a signal failed" {
	patient
	must mq-send jobs a
	failed_with 1 mq-exec -n 1 jobs sh -c 'kill -KILL $$'
	failed_with 1 mq-exec -w 20 -n 1 jobs sh -c 'kill -TERM $$'
	prints 'a 3' mq-recv -w 20 -F '%b %a\n' jobs
}

@test "65 moves the message to the dead letters at once" {
	patient
	must mq-send jobs a b
	failed_with 1 mq-exec -e jobs sh -c '[ "$(cat)" = b ] || exit 65'
	[[ $(stored jobs) == 0 ]]
	prints 'a rejected jobs:0' mq-recv -e -F '%b %r %O\n' jobs.dead
}

@test "99 acknowledges and stops this worker" {
	must mq-send -q jobs a b c
	must mq-exec jobs sh -c '[ "$(cat)" = a ] || exit 99'
	[[ ! -s $err ]]
	prints c mq-recv -e jobs
}

@test "--ack-on, --dead-on and --retry-on say otherwise" {
	patient
	must mq-send jobs 3 4 0 65
	must_fail 2 mq-exec -n 4 --ack-on=3 --dead-on=4 --retry-on=65 jobs sh -c 'exit $(cat)'
	prints 4 mq-recv -e jobs.dead
	prints '65 2' mq-recv -w 20 -F '%b %a\n' jobs
	[[ $(stored jobs) == 0 ]]
}

@test "a failure is a line on stderr: which message, and what happened" {
	patient
	must mq-send jobs a
	failed_with 1 mq-exec -n 1 jobs sh -c 'exit 3'
	grep -q '^mq-exec: jobs:0.*\b3\b' "$err"
	failed_with 1 mq-exec -w 20 -n 1 jobs sh -c 'kill -SEGV $$'
	grep -qi '^mq-exec: jobs:0.*\(SEGV\|signal 11\|segmentation\)' "$err"
}

@test "the command's stderr is passed on, and its end is kept with a dead letter" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	failed_with 1 mq-exec -e jobs sh -c 'echo first words >&2; seq 20000 >&2; echo last words >&2; exit 1'
	grep -q '^first words' "$err"
	grep -q '^last words' "$err"
	must mq-recv -j jobs.dead
	grep -q 'last words' "$out"
	if grep -q 'first words' "$out"; then false; fi
	(($(wc -c <"$out") < 6000))
}

@test "whatever the command writes to stderr, the dead letter is valid JSON" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	must_fail 2 mq-exec -e jobs sh -c 'head -c 3000 /dev/urandom >&2; printf "\000\377\n\"\\" >&2; exit 1'
	must mq-recv -j jobs.dead
	jq -e '.body == "a" and .reason == "failed"' "$out"
}
