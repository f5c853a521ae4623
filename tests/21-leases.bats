#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-recv -l and mq-ack: a message stays in somebody's hands until he says what became of it, or time is over.

load helpers

# said WORDS N: the words stand in N lines of stderr.
said() {
	[[ $(grep -c -- "$1" "$err") == "$2" ]] || { show "must say '$1' $2 times"; return 1; }
}

# ---- taking under a lease ---------------------------------------------------------------------------------

@test "-l D prints the message and keeps it: nobody else gets it" {
	must mq-send -q jobs a b
	prints a mq-recv -l 600 jobs
	prints b mq-recv -e jobs
	nothing mq-recv -e jobs
	[[ $(stored jobs) == 1 ]]
}

@test "the lease is %l, and lease in the envelope: position and attempt" {
	must mq-send -q jobs a b
	prints jobs:0:1 mq-recv -l 600 -F '%l\n' jobs
	prints 'jobs:1:1 1' bash -c 'mq-recv --lease=10m -j jobs | jq -r "[.lease, .attempt] | join(\" \")"'
}

@test "-l takes one message by default, N with -n, all that are ready with -e" {
	seq 10 | must mq-send -q jobs
	prints 1 mq-recv -l 600 jobs
	prints $'2\n3' mq-recv -l 600 -n 2 jobs
	same 'mq-recv -l 600 -e jobs' 'seq 4 10'
	nothing mq-recv -l 600 -e jobs
	[[ $(stored jobs) == 10 ]]
}

@test "-l takes only what matches" {
	must mq-send -q -k a jobs 1
	must mq-send -k b jobs 2
	prints 2 mq-recv -e -l 600 -k b jobs
	prints 1 mq-recv -e jobs
}

@test "-l with -w waits for a message" {
	must mq-make --queue jobs
	start recv mq-recv -w forever -l 600 -F '%l %b\n' jobs
	until_true 20 blocked "$started"
	must mq-send jobs hello
	ended "$started" 0
	[[ $(cat recv.out) == 'jobs:0:1 hello' ]]
	nothing mq-recv -e jobs
}

@test "a message under a lease that could not be written goes back, and the attempt is not counted" {
	must mq-send -q jobs a
	status=0
	mq-recv -l 600 jobs >/dev/full 2>"$err" 3>&- || status=$?
	((status == 74))
	prints 'a 1' mq-recv -e -F '%b %a\n' jobs
}

@test "a lease of a large message: the body comes whole, twice if it must" {
	head -c 5000000 /dev/urandom >input
	must mq-send -q -r jobs <input
	same 'mq-recv -r -l 600 jobs' 'cat input'
	must mq-ack --retry --uncounted jobs:0:1
	same 'mq-recv -r jobs' 'cat input'
}

@test "-l with something that is no duration is refused, and nothing is taken" {
	must mq-send -q jobs a
	refuses 64 soon mq-recv -l soon jobs
	prints a mq-recv jobs
}

# ---- acknowledging ----------------------------------------------------------------------------------------

@test "mq-ack acknowledges: the message is gone, and nothing is said" {
	must mq-send -q jobs a b
	lease jobs
	must mq-ack jobs:0:1
	[[ ! -s $out && ! -s $err ]]
	[[ $(stored jobs) == 1 ]]
	prints b mq-recv -e jobs
}

@test "leases may be operands, of several queues at once" {
	must mq-send -q one a b
	must mq-send -q two c
	must mq-recv -e -l 600 one
	lease two
	must mq-ack one:1:1 two:0:1 one:0:1
	[[ $(stored one) == 0 && $(stored two) == 0 ]]
}

@test "leases may be lines on stdin" {
	seq 5 | must mq-send -q jobs
	mq-recv -l 600 -n 3 -F '%l\n' jobs | must mq-ack
	[[ $(stored jobs) == 2 ]]
	printf 'jobs:3:1\njobs:4:1' >leases
	must mq-recv -e -l 600 jobs
	must mq-ack <leases
	[[ $(stored jobs) == 0 ]]
}

@test "leases may be envelopes on stdin" {
	seq 5 | must mq-send -q jobs
	mq-recv -l 600 -n 4 -j jobs | must mq-ack
	[[ $(stored jobs) == 1 ]]
	prints 5 mq-recv -e jobs
}

@test "an envelope with a large body is a lease too" {
	head -c 300000 /dev/urandom | must mq-send -q -r jobs
	mq-recv -l 600 -j jobs | must mq-ack
	[[ $(stored jobs) == 0 ]]
}

@test "with a lease as operand stdin is never read" {
	must mq-send -q jobs a
	lease jobs
	echo input >input
	{ must mq-ack jobs:0:1; cat >rest; } <input
	cmp input rest
}

@test "a hundred thousand leases are settled in one call, all at once" {
	export MQ_SYNC=relaxed
	seq 100000 | must mq-send -q jobs
	mq-recv -e -l 600 -F '%l\n' jobs >leases
	[[ $(wc -l <leases) == 100000 ]]
	start ack mq-ack <leases
	while ours "$started"; do
		left=$(stored jobs)
		((left == 100000 || left == 0))
	done
	ended "$started" 0
	[[ $(stored jobs) == 0 && ! -s ack.err ]]
}

@test "a lease holds beyond the process that took it, and any other may settle it" {
	must mq-send -q jobs a
	taken=$(bash -c 'exec mq-recv -l 600 -F %l jobs')
	nothing mq-recv -e jobs
	must bash -c "exec mq-ack $taken"
	[[ $(stored jobs) == 0 ]]
}

# ---- lost leases ------------------------------------------------------------------------------------------

@test "a message that was acknowledged cannot be acknowledged again" {
	must mq-send -q jobs a
	lease jobs
	must mq-ack jobs:0:1
	refuses 2 'jobs:0:1: lease was lost' mq-ack jobs:0:1
}

@test "a lost lease: each is named, the others are settled, exit 2" {
	seq 6 | must mq-send -q jobs
	must mq-recv -e -l 600 jobs
	must mq-ack jobs:1:1 jobs:4:1
	must_fail 2 mq-ack jobs:0:1 jobs:1:1 jobs:2:1 jobs:4:1 jobs:5:1
	said '^mq-ack: jobs:[14]:1: lease was lost' 2
	[[ $(wc -l <"$err") == 2 && $(stored jobs) == 1 ]]
	must mq-ack jobs:3:1
}

@test "a lease that names another attempt is refused, and the message stays with who has it" {
	must mq-send -q jobs a
	lease jobs
	must_fail 2 mq-ack jobs:0:2
	must_fail 2 mq-ack --dead jobs:0:2
	must_fail 2 mq-ack --retry jobs:0:7
	nothing mq-recv -e jobs
	must mq-ack jobs:0:1
}

@test "a message that nobody has, or that never was, cannot be settled" {
	must mq-send -q jobs a
	must_fail 2 mq-ack jobs:0:1
	must_fail 2 mq-ack jobs:17:1
	prints 'a 1' mq-recv -F '%b %a\n' jobs
}

@test "when its time is over the message is delivered again, and the attempt was counted" {
	must mq-send -q jobs a
	lease jobs 1ms
	prints 'a 2' mq-recv -w 20 -F '%b %a\n' jobs
}

@test "a lease that ran out and was delivered again is lost" {
	must mq-send -q jobs a
	lease jobs 1ms
	prints jobs:0:2 mq-recv -w 20 -l 600 -F '%l\n' jobs
	refuses 2 'jobs:0:1: lease was lost; the message was delivered again' mq-ack jobs:0:1
	must mq-ack jobs:0:2
	[[ $(stored jobs) == 0 ]]
}

@test "a lease that ran out may be acknowledged until the message is delivered again" {
	must mq-send -q jobs a
	lease jobs 1ms
	later 5
	must mq-ack jobs:0:1
	[[ $(stored jobs) == 0 ]]
	nothing mq-recv -e jobs
}

@test "a waiting receiver gets a message when its lease runs out, not before" {
	must mq-send -q jobs a
	begin=$(clock)
	lease jobs 300ms
	prints a mq-recv -w 20 jobs
	(($(clock) - begin >= 300000))
}

# ---- clocks that are set ---------------------------------------------------------------------------------------

# A library under which the wall clock is $WALL seconds ahead, and the time since the machine was started is $UP seconds
# more; with $ANOTHER it runs in another time namespace, as a container may, and with $BLIND, a number of an error, nobody
# can say in which. The file $ASKED gets a line each time somebody wants to know that.
other_clocks() {
	[[ ${TEST_CFLAGS-} != *sanitize* ]] || skip "a sanitizer wants to be the first library loaded"
	"${CC:-cc}" -shared -fPIC -o clocks.so -x c - <<-'C'
		#define _GNU_SOURCE
		#include <dlfcn.h>
		#include <errno.h>
		#include <fcntl.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <string.h>
		#include <sys/stat.h>
		#include <time.h>
		static void note(const char *path)
		{
			FILE *f = path ? fopen(path, "a") : NULL;
			if (!f)
				return;
			fputs("asked\n", f);
			fclose(f);
		}
		int clock_gettime(clockid_t id, struct timespec *t)
		{
			int (*real)(clockid_t, struct timespec *) =
				(int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
			const char *ahead = getenv(id == CLOCK_REALTIME ? "WALL" : "UP");
			int rc = real(id, t);
			t->tv_sec += ahead ? atol(ahead) : 0;
			return rc;
		}
		int stat(const char *path, struct stat *st)
		{
			int rc = fstatat(AT_FDCWD, path, st, 0);
			if (strcmp(path, "/proc/self/ns/time") != 0)
				return rc;
			note(getenv("ASKED"));
			st->st_ino += getenv("ANOTHER") != NULL;
			errno = getenv("BLIND") ? atoi(getenv("BLIND")) : errno;
			return getenv("BLIND") ? -1 : rc;
		}
	C
}

# at WALL UP CMD...: so many seconds ahead.
at() {
	local wall=$1 up=$2
	shift 2
	env LD_PRELOAD="$PWD/clocks.so" WALL="$wall" UP="$up" "$@"
}

@test "a lease ends when its time has passed, not when the clock is set forward" {
	other_clocks
	must mq-send -q jobs a
	lease jobs 1h
	nothing at 86400 0 mq-recv -e jobs
	must mq-check
	nothing at 89400 3000 mq-recv -e jobs
	[[ $(at 89400 3000 mq-peek -v jobs | awk 'NR == 2 { print $4 }') == 9m ]]
	prints 'a 2' at 90001 3601 mq-recv -e -F '%b %a\n' jobs
	must mq-check
}

@test "after a step of the clock a lease can be settled, extended, given back, and ends by the new time" {
	other_clocks
	seq 4 | must mq-send -q jobs
	for _ in {1..4}; do lease jobs 1h; done
	nothing at 86400 1000 mq-recv -e jobs
	must at 86400 1000 mq-ack jobs:0:1
	must at 86400 1000 mq-ack --extend=2h jobs:1:1
	must at 86400 1000 mq-ack --retry --uncounted jobs:2:1
	prints 3 at 86400 1000 mq-recv -e jobs
	prints 4 at 89100 3700 mq-recv -e jobs
	nothing at 999000 8000 mq-recv -e jobs
	prints 2 at 999300 8300 mq-recv -e jobs
	must mq-check
}

@test "a lease that is extended after a step of the clock lasts from then on" {
	other_clocks
	must mq-send -q jobs a
	lease jobs 1h
	must at 86400 10 mq-ack --extend=10s jobs:0:1
	nothing at 86405 15 mq-recv -e jobs
	nothing at 86425 15 mq-recv -e jobs
	prints a at 86440 30 mq-recv -e jobs
}

@test "the lease of a group too outlasts a step of the clock, however many messages it is of" {
	other_clocks
	must mq-make -q --topic news
	must mq-sub -q -g g --create-only news
	seq 20000 | must mq-pub -q news
	must mq-sub -q -g g -l 1h -n 15000 news
	[[ $(at 86400 0 mq-sub -g g -e news | wc -l) == 5000 ]]
	[[ $(at 90400 4000 mq-sub -g g -e news | wc -l) == 15000 ]]
	must mq-check
}

@test "a clock that is set back makes a lease longer, never shorter" {
	other_clocks
	must mq-send -q jobs a
	lease jobs 1h
	nothing at -86400 3601 mq-recv -e jobs
	prints a at 3601 3601 mq-recv -e jobs
}

@test "in another time namespace, as after a restart, only the wall clock counts" {
	other_clocks
	must mq-send -q jobs a b
	lease jobs 1h
	lease jobs 1h
	nothing env ANOTHER=1 LD_PRELOAD="$PWD/clocks.so" UP=86400 mq-recv -e jobs
	prints a env ANOTHER=1 LD_PRELOAD="$PWD/clocks.so" WALL=3601 mq-recv jobs
	prints b env ANOTHER=1 LD_PRELOAD="$PWD/clocks.so" WALL=3601 mq-recv jobs
}

@test "where it cannot be found out which start of the machine it is, the wall clock counts" {
	other_clocks
	must mq-send -q jobs a b
	export BLIND=13
	at 0 0 mq-recv -l 1h jobs
	prints a at 3601 0 mq-recv jobs
	# A kernel without time namespaces.
	export BLIND=2
	at 0 0 mq-recv -l 1h jobs
	nothing at 3601 0 mq-recv jobs
	prints b at 7300 3601 mq-recv jobs
}

@test "which start of the machine it is a process asks once, also where it cannot be found out" {
	other_clocks
	seq 6 | must mq-send -q jobs
	for _ in {1..6}; do lease jobs 1h; done
	export ASKED=$PWD/asked
	nothing at 3601 0 mq-recv -e jobs
	[[ $(wc -l <asked) == 1 ]]
	BLIND=13 must at 7300 0 mq-recv -n 6 -l 1h jobs
	[[ $(wc -l <asked) == 2 ]]
	diff <(seq 6) "$out"
}

@test "delays and retries count by the clock as it is" {
	other_clocks
	must mq-send -q -D 1h jobs a
	must mq-send -q jobs b
	lease jobs
	must mq-ack --retry -D 1h jobs:1:1
	nothing at 0 3601 mq-recv -e jobs
	prints $'a\nb' at 3601 0 mq-recv -e jobs
}

# ---- keeping, giving back, burying --------------------------------------------------------------------------

@test "--extend=D keeps the message for D from now" {
	must mq-send -q jobs a
	lease jobs 200ms
	must mq-ack --extend=10m jobs:0:1
	later 250
	nothing mq-recv -e jobs
	must mq-ack jobs:0:1
}

@test "--extend=D may also shorten a lease" {
	must mq-send -q jobs a
	lease jobs
	must mq-ack --extend=1ms jobs:0:1
	prints 'a 2' mq-recv -w 20 -F '%b %a\n' jobs
}

@test "--extend of a lost lease is refused" {
	must mq-send -q jobs a
	lease jobs 1ms
	must mq-recv -w 20 jobs
	refuses 2 'lease was lost' mq-ack --extend=1m jobs:0:1
}

@test "--retry gives the message back after the queue's back-off; the attempt is counted" {
	must mq-make --queue jobs backoff=1ms..1ms
	must mq-send jobs a
	lease jobs
	must mq-ack --retry jobs:0:1
	prints 'a 2' mq-recv -w 20 -F '%b %a\n' jobs
}

@test "--retry -D D gives the message back after D, not before" {
	must mq-send -q jobs a b
	must mq-recv -e -l 600 jobs
	must mq-ack --retry -D 1h jobs:0:1
	begin=$(clock)
	must mq-ack --retry --delay=200ms jobs:1:1
	prints 'b 2' mq-recv -w 20 -F '%b %a\n' jobs
	(($(clock) - begin >= 200000))
	nothing mq-recv -e jobs
	[[ $(stored jobs) == 1 ]]
}

@test "--retry --uncounted gives the message back at once, as if it had not been delivered" {
	must mq-make --queue jobs backoff=1h..1h max-attempts=1
	must mq-send jobs a b
	for _ in 1 2 3; do
		receipt=$(lease jobs)
		must mq-ack --retry --uncounted "$receipt"
	done
	prints $'a 1\nb 1' mq-recv -e -F '%b %a\n' jobs
}

@test "--retry after the last attempt moves the message to the dead letters" {
	must mq-make --queue jobs max-attempts=2 backoff=1ms..1ms
	must mq-send jobs a
	lease jobs
	must mq-ack --retry jobs:0:1
	must mq-recv -w 20 -l 600 jobs
	must mq-ack --retry jobs:0:2
	[[ $(stored jobs) == 0 ]]
	prints 'a failed jobs:0' mq-recv -F '%b %r %O\n' jobs.dead
}

@test "--dead moves the message to the dead letters at once, with the reason given" {
	must mq-send -q jobs a b
	must mq-recv -e -l 600 jobs
	must mq-ack --dead jobs:0:1
	must mq-ack --dead --reason='no such customer' jobs:1:1
	[[ $(stored jobs) == 0 ]]
	prints 'a rejected jobs:0' mq-recv -F '%b %r %O\n' jobs.dead
	must mq-recv -j jobs.dead
	[[ $(jq -r .reason "$out") == rejected ]]
	grep -q 'no such customer' "$out"
}

@test "what is lost among leases to retry or to bury is named, the others are settled" {
	must mq-make --queue jobs backoff=1ms..1ms
	must mq-send jobs a b c
	must mq-recv -e -l 600 jobs
	must mq-ack jobs:1:1
	must_fail 2 mq-ack --dead jobs:0:1 jobs:1:1
	said jobs:1:1 1
	must_fail 2 mq-ack --retry jobs:1:1 jobs:2:1
	said jobs:1:1 1
	prints a mq-recv -e jobs.dead
	prints c mq-recv -w 20 jobs
}

# ---- what is refused ----------------------------------------------------------------------------------------

@test "an operand that is no lease is refused, and nothing is settled" {
	must mq-send -q jobs a
	lease jobs
	for bad in jobs jobs:0 jobs:x:1 :0:1 jobs:0:1:1 'jobs:0:-1' jobs:0:99999999999999999999 ''; do
		must_fail 64 mq-ack jobs:0:1 "$bad"
	done
	must mq-ack jobs:0:1
}

@test "a line that is no lease is an error that names the line" {
	must mq-send -q jobs a
	lease jobs
	printf 'jobs:0:1\nnonsense\n' >leases
	refuses 65 'line 2' mq-ack <leases
	printf '{"lease":"jobs"}\n' >leases
	refuses 65 'line 1' mq-ack <leases
	printf '{"body":"x"}\n' >leases
	refuses 65 'line 1' mq-ack <leases
	printf '{"lease":\n' >leases
	refuses 65 'line 1' mq-ack <leases
}

@test "a lease of a queue that is not there is refused, the others are settled" {
	must mq-send -q jobs a
	lease jobs
	must_fail '2|66' mq-ack ordres:0:1 jobs:0:1
	said ordres 1
	[[ $(stored jobs) == 0 ]]
}

@test "a store that is missing is an error and is not created" {
	must_fail 66 mq-ack jobs:0:1
	[[ ! -e $MQ_STORE ]]
}

@test "options that contradict each other are refused" {
	must mq-send -q jobs a
	lease jobs
	must_fail 64 mq-ack --retry --dead jobs:0:1
	must_fail 64 mq-ack --dead --extend=1m jobs:0:1
	must_fail 64 mq-ack --uncounted jobs:0:1
	must_fail 64 mq-ack -D 1m jobs:0:1
	must_fail 64 mq-ack --reason=x jobs:0:1
	must_fail 64 mq-ack --extend=soon jobs:0:1
	must mq-ack jobs:0:1
}
