#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# Many at once, and ends at any moment: nothing is lost, nothing comes twice without a cause.

load helpers

# exactly_once N FILE...: all the files together hold the numbers 1 to N, each once.
exactly_once() {
	local n=$1
	shift
	sort -n -- "$@" | cmp - <(seq "$n")
}

# each_number N FILE...: the same, some perhaps twice.
each_number() {
	local n=$1
	shift
	sort -n -u -- "$@" | cmp - <(seq "$n")
}

# ---- many receivers, many senders -----------------------------------------------------------------------

@test "competing receivers: the union is what was sent, without doubles" {
	seq 50000 | must mq-send -q jobs
	for i in 1 2 3 4; do
		start "recv$i" mq-recv -e jobs
		pids[i]=$started
	done
	for i in 1 2 3 4; do
		until_true 20 gone "${pids[i]}"
		wait "${pids[i]}" || [[ $? == 1 && ! -s recv$i.out ]]
		[[ ! -s recv$i.err ]]
	done
	exactly_once 50000 recv[1-4].out
	nothing mq-recv -e jobs
}

@test "competing receivers of one message each" {
	seq 60 | must mq-send -q jobs
	take() {
		for _ in $(seq 20); do
			mq-recv jobs
		done
	}
	for i in 1 2 3; do
		start "recv$i" take
		pids[i]=$started
	done
	for i in 1 2 3; do
		ended "${pids[i]}" 0
	done
	exactly_once 60 recv[1-3].out
}

@test "each receiver gets its messages in the order they were sent" {
	seq 20000 | must mq-send -q jobs
	for i in 1 2 3; do
		start "recv$i" mq-recv -e jobs
		pids[i]=$started
	done
	for i in 1 2 3; do
		until_true 20 gone "${pids[i]}"
		sort -n -c "recv$i.out"
	done
	exactly_once 20000 recv[1-3].out
}

@test "waiting receivers share what several senders send" {
	must mq-make --queue jobs
	for i in 1 2 3; do
		start "recv$i" mq-recv -f jobs
		pids[i]=$started
	done
	for i in 0 1 2; do
		start "send$i" bash -c "seq $((i * 2000 + 1)) $((i * 2000 + 2000)) | mq-send jobs"
		senders[i]=$started
	done
	for i in 0 1 2; do
		ended "${senders[i]}" 0
	done
	until_true 20 has_lines 6000 recv1.out recv2.out recv3.out
	kill -TERM "${pids[@]}"
	for i in 1 2 3; do
		ended "${pids[i]}" 143
	done
	exactly_once 6000 recv[1-3].out
}

@test "many senders at once: every message is there, each sender's in order" {
	for i in $(seq 20); do
		start "send$i" bash -c "seq -f '$i %.0f' 100 | mq-send -q jobs"
		pids[i]=$started
	done
	for i in $(seq 20); do
		ended "${pids[i]}" 0
		[[ ! -s send$i.err ]]
	done
	mq-recv -e jobs >got
	[[ $(wc -l <got) == 2000 ]]
	for i in $(seq 20); do
		grep "^$i " got | cut -d ' ' -f 2 | cmp - <(seq 100)
	done
}

@test "many make the store at once: one does, all succeed" {
	for i in $(seq 16); do
		start "send$i" mq-send -q jobs "$i"
		pids[i]=$started
	done
	for i in $(seq 16); do
		ended "${pids[i]}" 0
		[[ ! -s send$i.err ]]
	done
	mq-recv -e jobs >got
	exactly_once 16 got
	[[ $(find . -mindepth 1 -maxdepth 1 -type d) == ./store ]]
}

@test "a batch given --atomic is never seen in part" {
	must mq-make --stream log
	start pub bash -c 'for i in $(seq 20); do seq 5000 | mq-pub --atomic log; done'
	while ours "$started"; do
		mq-replay log >got || [[ $? == 1 ]]
		(($(wc -l <got) % 5000 == 0))
	done
	ended "$started" 0
	[[ $(stored log) == 100000 ]]
}

@test "several blocked subscribers are all woken" {
	must mq-make --stream log
	for i in $(seq 12); do
		start "sub$i" mq-sub --from=first -n 2 log
		pids[i]=$started
	done
	for i in $(seq 12); do
		until_true 20 blocked "${pids[i]}"
	done
	must mq-pub log one
	for i in $(seq 12); do
		until_true 20 has_lines 1 "sub$i.out"
	done
	must mq-pub log two
	for i in $(seq 12); do
		ended "${pids[i]}" 0
		[[ $(cat "sub$i.out") == $'one\ntwo' ]]
	done
}

@test "one message wakes one of several blocked receivers" {
	must mq-make --queue jobs
	for i in 1 2 3 4; do
		start "recv$i" mq-recv -w forever jobs
		pids[i]=$started
	done
	for i in 1 2 3 4; do
		until_true 20 blocked "${pids[i]}"
	done
	for n in 1 2 3 4; do
		must mq-send jobs "$n"
		until_true 20 has_lines "$n" recv1.out recv2.out recv3.out recv4.out
	done
	for i in 1 2 3 4; do
		ended "${pids[i]}" 0
	done
	exactly_once 4 recv[1-4].out
}

@test "a chain of queues passes everything on" {
	must mq-make --queue a
	must mq-make --queue b
	must mq-make --queue c
	start first bash -c 'mq-recv -f -n 3000 a | mq-send b'
	start second bash -c 'mq-recv -f -n 3000 b | mq-send c'
	start third mq-recv -f -n 3000 c
	seq 3000 | must mq-send a
	ended "$started" 0
	seq 3000 | cmp - third.out
}

@test "a blocked reader uses no processor time" {
	must mq-make --queue jobs
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	ticks() {
		local -a field
		read -ra field <"/proc/$started/stat"
		echo $((field[13] + field[14]))
	}
	before=$(ticks)
	for i in $(seq 20); do
		must mq-send -q other "$i"
	done
	(($(ticks) - before <= 5))
}

@test "a stopped receiver holds up nobody" {
	must mq-make --queue jobs
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	kill -STOP "$started"
	must timeout 20 mq-send jobs a
	must timeout 20 mq-make --stream log
	must timeout 20 mq-pub log a
	prints a timeout 20 mq-recv -e jobs
}

# ---- ends ---------------------------------------------------------------------------------------------------

@test "kill -9 of a receiver gives its messages to another" {
	seq 200000 | must mq-send -q jobs
	mkfifo pipe
	start dead bash -c 'exec mq-recv -e jobs >pipe'
	dead=$started
	exec 7<pipe
	read -r first <&7
	until_true 20 blocked "$dead"
	start other mq-recv -f jobs
	kill -KILL "$dead"
	{ echo "$first"; cat <&7; } >dead.out
	until_true 30 each_number_of 200000 dead.out other.out
	kill -TERM "$started"
	ended "$started" 143
	nothing mq-recv -e jobs
}

# The last line of the killed one may be cut off: it counts only when it is whole.
each_number_of() {
	local n=$1
	shift
	sed -n "\$q; p" "$1" >whole.out
	each_number "$n" whole.out "$2"
}

@test "kill -9 of a receiver that waits loses nothing" {
	must mq-make --queue jobs
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	kill -KILL "$started"
	ended "$started" 137
	must mq-send jobs a
	prints a mq-recv jobs
}

@test "kill -9 of a sender: what it has reported is there, and nothing but a beginning" {
	seq 300000 >sent
	mkfifo pipe
	exec 7<>pipe
	start send mq-send -q --print-position jobs <pipe
	cat sent >pipe 3>&- &
	children+=($!)
	until_true 20 has_lines 1 send.out
	kill -KILL "$started"
	ended "$started" 137
	mq-recv -e jobs >got
	n=$(wc -l <got)
	((n >= $(wc -l <send.out) - 1 && n >= 1))
	head -n "$n" sent | cmp - got
	must mq-send jobs after
	prints after mq-recv jobs
}

@test "kill -9 of an --atomic sender: all or none" {
	must mq-make --queue jobs
	mkfifo pipe
	exec 7<>pipe
	start send mq-send --atomic jobs <pipe
	seq 20000 >&7
	until_true 20 asleep "$started"
	kill -KILL "$started"
	ended "$started" 137
	exec 7>&-
	nothing mq-recv -e jobs
}

@test "kill -9 of the sender of a large message leaves nothing of it" {
	must mq-make --queue jobs
	mkfifo pipe
	exec 7<>pipe
	start send mq-send -r jobs <pipe
	head -c 5000000 /dev/zero >&7
	until_true 20 asleep "$started"
	kill -KILL "$started"
	ended "$started" 137
	exec 7>&-
	nothing mq-recv -e jobs
	must mq-send jobs after
	prints after mq-recv -e jobs
}

@test "a store lives through many kills at any moment" {
	must mq-make --queue jobs
	for i in $(seq 30); do
		start send bash -c "exec mq-send jobs <<<$i"
		sender=$started
		start recv mq-recv -w forever jobs
		receiver=$started
		for _ in $(seq $((RANDOM % 400))); do :; done
		kill -KILL "$sender" "$receiver" 2>/dev/null || true
		until_true 60 gone "$sender"
		until_true 60 gone "$receiver"
	done
	must mq-send jobs alive
	must timeout 20 mq-recv -e jobs
	[[ $(tail -n 1 "$out") == alive ]]
	head -n -1 "$out" | sort -n -c -u
}

@test "EPIPE: what was not written goes back; nothing is lost beyond the pipe" {
	seq 300000 | must mq-send -q jobs
	status=0
	env --default-signal=PIPE bash -c 'mq-recv -e jobs | head -n 3 >head.out; exit ${PIPESTATUS[0]}' \
		2>"$err" 3>&- || status=$?
	((status == 141))
	[[ $(cat head.out) == $'1\n2\n3' && ! -s $err ]]
	mq-recv -e jobs >rest
	first=$(head -n 1 rest)
	# What is gone went into the pipe (64 KiB) or into head's buffer, and the rest follows without a gap.
	((first > 3))
	cmp rest <(seq "$first" 300000)
	(($(seq $((first - 1)) | wc -c) <= 262144))
}

@test "EPIPE with one large message: it goes back whole" {
	head -c 3000000 /dev/urandom >input
	must mq-send -q -r jobs <input
	status=0
	env --default-signal=PIPE bash -c 'mq-recv -r jobs | head -c 10 >head.out; exit ${PIPESTATUS[0]}' \
		2>"$err" 3>&- || status=$?
	((status == 141))
	same 'mq-recv -r jobs' 'cat input'
}

@test "EPIPE before anything was written loses nothing" {
	must mq-send -q jobs a b
	mkfifo pipe
	start recv env --default-signal=PIPE bash -c 'exec mq-recv -w forever -n 3 jobs >pipe'
	exec 7<pipe
	read -r first <&7
	read -r second <&7
	[[ $first$second == ab ]]
	exec 7<&-
	must mq-send jobs c
	ended "$started" 141
	prints c mq-recv -e jobs
}

@test "EPIPE ends mq-sub and mq-replay by SIGPIPE" {
	must mq-make --stream log
	seq 300000 | must mq-pub log
	for reader in 'mq-replay log' 'mq-sub --from=first log'; do
		status=0
		env --default-signal=PIPE bash -c "$reader | head -n 1 >head.out; exit \${PIPESTATUS[0]}" \
			2>"$err" 3>&- || status=$?
		((status == 141))
		[[ $(cat head.out) == 1 && ! -s $err ]]
	done
}

@test "SIGTERM, SIGHUP and SIGINT while blocked end by that signal and lose nothing" {
	must mq-make --queue jobs
	for signal in TERM:143 HUP:129 INT:130; do
		start recv env --default-signal=INT mq-recv -w forever jobs
		until_true 20 blocked "$started"
		kill "-${signal%:*}" "$started"
		ended "$started" "${signal#*:}"
		[[ ! -s recv.out && ! -s recv.err ]]
		must mq-send jobs "$signal"
		prints "$signal" mq-recv -e jobs
	done
}

@test "SIGTERM while it waits for a queue that is not there" {
	must mq-make --queue other
	start recv mq-recv -w forever jobs
	until_true 20 blocked "$started"
	kill -TERM "$started"
	ended "$started" 143
	[[ ! -s recv.out ]]
}

@test "SIGTERM while writing: the message is finished, nothing is lost and nothing comes twice" {
	seq 300000 | must mq-send -q jobs
	mkfifo pipe
	start recv bash -c 'exec mq-recv -e jobs >pipe'
	exec 7<pipe
	read -r first <&7
	until_true 20 blocked "$started"
	kill -TERM "$started"
	{ echo "$first"; cat <&7; } >got
	ended "$started" 143
	mq-recv -e jobs >rest
	cat got rest | cmp - <(seq 300000)
}

@test "SIGTERM ends a sender between messages; what was committed stays" {
	mkfifo pipe
	exec 7<>pipe
	start send mq-send -q jobs <pipe
	echo first >&7
	prints first mq-recv -q -w 20 jobs
	kill -TERM "$started"
	ended "$started" 143
	exec 7>&-
	nothing mq-recv -e jobs
}

@test "a full stdout: 74, and nothing is lost" {
	seq 1000 | must mq-send -q jobs
	for options in -e '-n 5' '-e -j' '-r'; do
		status=0
		# shellcheck disable=SC2086 # options are words
		mq-recv $options jobs >/dev/full 2>"$err" 3>&- || status=$?
		((status == 74))
		[[ $(wc -l <"$err") == 1 ]]
	done
	same 'mq-recv -e jobs' 'seq 1000'
}

@test "a full stdout ends mq-replay, mq-sub and mq-ls with 74" {
	must mq-make --stream log
	must mq-pub log a
	for reader in 'mq-replay log' 'mq-sub --from=first -n 1 log' mq-ls 'mq-replay -j log'; do
		status=0
		$reader >/dev/full 2>"$err" 3>&- || status=$?
		((status == 74))
		[[ $(wc -l <"$err") == 1 ]]
	done
}

@test "a full stdout while positions are printed: 74, the message is stored" {
	status=0
	mq-send -q --print-position jobs body >/dev/full 2>"$err" 3>&- || status=$?
	((status == 74))
	prints body mq-recv -e jobs
}

@test "a receiver that waits notices that its reader is gone" {
	must mq-send jobs one
	mkfifo pipe
	mq-recv -f jobs >pipe 2>/dev/null 3>&- &
	receiver=$!
	read -r line <pipe
	[[ $line == one ]]
	local status=0
	wait "$receiver" || status=$?
	((status == 141))
}

@test "SIGTERM ends a receiver behind a whole message, however slowly its reader reads" {
	seq -f 'a message with the number %.0f' 100000 | mq-send -q jobs
	mkfifo pipe
	mq-recv -e jobs >pipe 2>/dev/null 3>&- &
	receiver=$!
	exec 7<pipe
	read -r -N 5000 begin <&7
	kill -TERM "$receiver"
	{ printf %s "$begin"; cat <&7; } >got
	exec 7<&-
	local status=0
	wait "$receiver" || status=$?
	((status == 143))
	[[ $(tail -c 1 got | od -An -tx1) == ' 0a' ]]
	mq-recv -e jobs >>got
	seq -f 'a message with the number %.0f' 100000 | cmp - got
}
