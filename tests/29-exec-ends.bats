#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-exec: ends of all kinds. Time-outs, signals, kills, commands that cannot be started; and what --to promises
# throughout: the command's output is there exactly when its message is acknowledged.

load helpers

# hanging [COMMANDS]: an executable ./hang that writes its process id to the file pid and its attempt to attempts,
# and then waits for a line in the fifo gate. It reports to the file ends how it went on.
hanging() {
	mkfifo gate
	program hang <<-END
		echo \$\$ >pid.new
		mv pid.new pid
		echo \$MQ_ATTEMPT >>attempts
		$*
		read -r line <>gate
		echo went on >>ends
	END
}

# A worker whose command hangs; its process id is in $worker, that of the command in $command.
working() {
	rm -f pid
	start "$1" mq-exec jobs ./hang
	worker=$started
	until_true 20 test -s pid
	command=$(<pid)
}

# ---- the command cannot be started --------------------------------------------------------------------------

@test "a command that is not found: 127, and the message is back, uncounted" {
	must mq-send -q jobs a b
	for options in -e '-n 1' '-P 4 -w forever' '-b 2'; do
		# shellcheck disable=SC2086 # options are words
		refuses 127 ./missing timeout 20 mq-exec $options jobs ./missing
		refuses 127 no-such-command timeout 20 mq-exec jobs no-such-command
	done
	prints $'a 1\nb 1' mq-recv -e -F '%b %a\n' jobs
}

@test "a command that cannot be run: 126, and the message is back, uncounted" {
	must mq-send -q jobs a b
	echo text >text
	mkdir directory
	refuses 126 ./text mq-exec -e jobs ./text
	refuses 126 ./directory mq-exec jobs ./directory
	prints $'a 1\nb 1' mq-recv -e -F '%b %a\n' jobs
}

@test "a command that exits with 126 or 127 itself is one that failed" {
	must mq-make --queue jobs backoff=1h..1h
	must mq-send jobs a b c
	must_fail 2 mq-exec -e jobs sh -c 'exit $((125 + $(cat | tr abc 012)))'
	[[ $(stored jobs) == 3 ]]
}

# ---- time-outs ------------------------------------------------------------------------------------------------

@test "-t D ends a command that takes longer, with all it has started, and that failed" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a b
	mkfifo gate
	program work <<-'END'
		[ "$(cat)" = a ] || exit 0
		cat gate &
		echo $! >child
		echo $$ >parent
		wait
		cat gate
	END
	must_fail 2 timeout 20 mq-exec -e -t 300ms jobs ./work
	until_true 20 gone "$(<parent)"
	until_true 20 gone "$(<child)"
	prints 'a timeout jobs:0' mq-recv -e -F '%b %r %O\n' jobs.dead
}

@test "-t: who does not listen to TERM is killed after the grace" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	hanging 'trap "" TERM; sh -c "echo \$\$ >child; read -r line <>gate" &'
	must_fail 2 timeout 20 mq-exec -e -t 300ms --grace=100ms jobs ./hang
	until_true 20 gone "$(<pid)"
	until_true 20 gone "$(<child)"
	[[ ! -e ends ]]
	prints timeout mq-recv -F '%r\n' jobs.dead
}

@test "-t: a command may still use its grace to end well; the time-out counts" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	hanging 'trap "echo tidied >ends; exit 0" TERM'
	must_fail 2 timeout 20 mq-exec -e -t 300ms --grace=10 jobs ./hang
	[[ $(<ends) == tidied ]]
	prints timeout mq-recv -F '%r\n' jobs.dead
}

@test "-t does not concern who is in time" {
	seq 20 | must mq-send -q jobs
	same 'mq-exec -e -t 20 jobs sh -c "cat; echo"' 'seq 20'
}

# ---- signals ----------------------------------------------------------------------------------------------------

@test "a signal: the running command finishes and is acknowledged, no other is started" {
	for signal in TERM:143 INT:130 HUP:129; do
		rm -rf "$MQ_STORE" ends gate attempts
		hanging
		must mq-send -q jobs a b
		rm -f pid
		start exec env --default-signal=INT mq-exec jobs ./hang
		until_true 20 test -s pid
		tell "$started" "${signal%:*}"
		until_true 20 asleep "$started"
		ours "$started"
		echo >gate
		ended "$started" "${signal#*:}"
		[[ $(<ends) == 'went on' && $(wc -l <attempts) == 1 ]]
		prints 'b 1' mq-recv -e -F '%b %a\n' jobs
	done
}

@test "a signal with -P: all running commands finish" {
	must mq-send -q jobs a b c
	mkfifo gate.a gate.b
	start exec mq-exec -P 2 jobs sh -c 'read -r n || :; echo "$n" >>started; read -r _ <"gate.$n"; echo "$n" >>ends'
	until_true 20 has_lines 2 started
	tell "$started" TERM
	echo >gate.b
	until_true 20 has_lines 1 ends
	echo >gate.a
	ended "$started" 143
	[[ $(<ends) == $'b\na' ]]
	prints 'c 1' mq-recv -e -F '%b %a\n' jobs
}

@test "a second signal ends the command and gives its message back, uncounted" {
	must mq-send -q jobs a
	hanging
	working exec
	tell "$worker" TERM
	kill -TERM "$worker"
	ended "$worker" 143
	gone "$command"
	[[ ! -e ends ]]
	prints 'a 1' mq-recv -e -F '%b %a\n' jobs
}

@test "a second signal: a command that does not listen is killed" {
	must mq-send -q jobs a
	hanging 'trap "" TERM INT HUP'
	start exec mq-exec --grace=100ms jobs ./hang
	until_true 20 test -s attempts
	tell "$started" TERM
	kill -TERM "$started"
	ended "$started" 143
	gone "$(<pid)"
	prints 'a 1' mq-recv -e -F '%b %a\n' jobs
}

@test "a signal while it waits for a message ends it at once" {
	must mq-make --queue jobs
	start exec mq-exec jobs true
	until_true 20 blocked "$started"
	kill -TERM "$started"
	ended "$started" 143
	[[ ! -s exec.out && ! -s exec.err ]]
}

# ---- kills --------------------------------------------------------------------------------------------------------

@test "kill -9 of mq-exec kills its command" {
	must mq-send -q jobs a
	hanging
	working exec
	kill -KILL "$worker"
	until_true 20 gone "$command"
	[[ ! -e ends ]]
}

@test "kill -9 of a worker: another that waits has its message, as the second attempt" {
	must mq-send -q jobs a
	hanging '[ $MQ_ATTEMPT = 1 ] || exit 0'
	working first
	start second mq-exec -n 1 jobs ./hang
	until_true 20 blocked "$started"
	kill -KILL "$worker"
	ended "$started" 0
	[[ $(<attempts) == $'1\n2' ]]
	[[ $(stored jobs) == 0 ]]
}

@test "the message of a killed worker is with another one within 50 ms" {
	must mq-make --queue jobs max-attempts=none
	must mq-send jobs a
	hanging
	best=999999999
	working first
	for i in 1 2 3 4 5; do
		before=$worker
		rm -f pid
		start "next$i" mq-exec jobs ./hang
		worker=$started
		until_true 20 blocked "$worker"
		begin=$(clock)
		kill -KILL "$before"
		until [[ -s pid ]] || (($(clock) > begin + 5000000)); do :; done
		took=$(($(clock) - begin))
		((took >= best)) || best=$took
	done
	echo "# best of 5: $best us"
	((best < 50000))
}

@test "kill -9 of one of two workers leaves the work of the other alone" {
	must mq-send -q jobs a b
	mkfifo gate.a gate.b
	program work <<-'END'
		read -r n || true
		echo "$n $MQ_ATTEMPT" >>started
		read -r _ <"gate.$n"
		echo "$n" >>ends
	END
	start one mq-exec -n 1 jobs ./work
	one=$started
	until_true 20 has_lines 1 started
	start two mq-exec -n 1 jobs ./work
	until_true 20 has_lines 2 started
	kill -KILL "$one"
	until_true 20 gone "$one"
	echo >gate.b
	ended "$started" 0
	[[ $(<ends) == b ]]
	prints 'a 2' mq-recv -e -F '%b %a\n' jobs
}

# ---- --to -----------------------------------------------------------------------------------------------------------

@test "--to: the lines that the command writes are messages there, and nothing is on stdout" {
	must mq-send -q jobs a b
	must mq-exec -q -e --to results jobs sh -c 'read -r n || :; echo "$n 1"; printf "$n 2"'
	[[ ! -s $out && ! -s $err ]]
	prints $'a 1\na 2\nb 1\nb 2' mq-recv -e results
	[[ $(stored jobs) == 0 ]]
}

@test "--to: a command that writes nothing makes no message" {
	must mq-send -q jobs a
	must mq-exec -q -e --to results jobs true
	[[ $(stored jobs) == 0 && $(stored results) != [1-9]* ]]
}

@test "--to frames the output as mq-send does its input: -0, -d, -r, -j" {
	seq 4 | must mq-send -q jobs
	must mq-exec -q -n 1 -0 --to results jobs printf 'a\nb\0c'
	must mq-exec -n 1 -d ';;' --to results jobs printf 'a;b;;c'
	must mq-exec -n 1 -r --to results jobs printf 'a\nb\n'
	must mq-exec -n 1 -j --to results jobs printf '{"body":"x","key":"k","priority":9}'
	same 'mq-recv -e -F "%k%b|" results' 'printf "kx|a\nb|c|a;b|c|a\nb\n|"'
}

@test "--to: output that is no envelope is a failure, and stores nothing" {
	must mq-make --queue jobs max-attempts=1
	must mq-send jobs a
	must_fail 2 mq-exec -q -e -j --to results jobs printf '{"body":"x"}\nnonsense\n'
	[[ $(stored results) != [1-9]* ]]
	prints a mq-recv jobs.dead
}

@test "--to: a large output is one message with -r, and many with lines" {
	head -c 5000000 /dev/urandom >large
	must mq-send -q jobs a b
	must mq-exec -q -n 1 -r --to results jobs cat large
	same 'mq-recv -r results' 'cat large'
	must mq-exec -n 1 --to results jobs seq 50000
	same 'mq-recv -e results' 'seq 50000'
}

@test "--to: nothing is stored of a command that failed, was killed or took too long" {
	must mq-make --queue jobs max-attempts=none backoff=1ms..1ms
	must mq-send jobs a
	must mq-make --queue results
	mkfifo gate
	must_fail 2 mq-exec -n 1 --to results jobs sh -c 'echo out; exit 1'
	must_fail 2 mq-exec -w 20 -n 1 --to results jobs sh -c 'seq 100000; exit 75'
	must_fail 2 mq-exec -w 20 -n 1 --to results jobs sh -c 'echo out; kill -KILL $$'
	must_fail 2 mq-exec -w 20 -n 1 -t 50ms --to results jobs sh -c 'echo out; read -r line <gate'
	nothing mq-recv -e results
	must mq-exec -w 20 -n 1 --to results jobs sh -c 'echo out; exit 99'
	prints out mq-recv -e results
}

@test "--to a stream, and to the queue itself" {
	must mq-make --stream log
	must mq-send -q jobs a
	must mq-exec -n 1 --to log jobs sh -c 'cat; echo 1'
	prints a1 mq-replay log
	must mq-send jobs 0
	must mq-exec -n 5 --to jobs jobs sh -c 'echo $(($(cat) + 1))'
	prints 5 mq-recv -e jobs
}

@test "--to: the output of each message stays together, whatever runs beside it" {
	seq 40 | must mq-send -q jobs
	must mq-exec -q -e -P 4 --to results jobs sh -c 'read -r n || :; echo "$n a"; echo "$n b"; echo "$n c"'
	mq-recv -e results >got
	awk '{ if (NR % 3 == 1) n = $1; if ($1 != n || $2 != substr("abc", (NR - 1) % 3 + 1, 1)) exit 1 }' got
	[[ $(wc -l <got) == 120 ]]
}

@test "--to: exactly once, though mq-exec is killed at random" {
	export MQ_SYNC=relaxed
	must mq-make --queue jobs max-attempts=none backoff=1ms..1ms
	must mq-make --queue results
	seq 200 | must mq-send jobs
	killed_at_random 40000 mq-exec -e -P 2 --to results jobs cat
	[[ $(stored jobs) == 0 ]]
	mq-recv -e results >got
	exactly got 'seq 200'
}

@test "--to: exactly once, though commands fail and are killed at random" {
	export MQ_SYNC=relaxed
	must mq-make --queue jobs max-attempts=none backoff=1ms..1ms
	seq 100 | must mq-send jobs
	program work <<-'END'
		read -r n || true
		echo "$n"
		case $(od -An -N1 -tu1 /dev/urandom) in
		*[12]) kill -KILL $$ ;;
		*[34]) exit 1 ;;
		esac
	END
	drained jobs mq-exec -q -e -P 2 --to results jobs ./work
	mq-recv -e results >got
	exactly got 'seq 100'
}

@test "-g: workers that make a group at the same time share it" {
	must mq-make --stream log
	seq 40 | must mq-pub log
	for i in 1 2 3 4 5 6; do
		start "member$i" mq-exec -e -g team log sh -c 'echo "$(cat)"'
		pids[i]=$started
	done
	for i in 1 2 3 4 5 6; do
		until_true 20 gone "${pids[i]}"
		wait "${pids[i]}" || [[ $? == 1 && ! -s member$i.out ]]
	done
	cat member[1-6].out >all
	exactly all 'seq 40'
}
