# shellcheck shell=bash
# SPDX-License-Identifier: ISC
#
# What the tests share. `load helpers` gives every test an empty directory, a store in it that does not
# exist yet, the built tools first in PATH, and a teardown that ends what the test has started.
#
# Nothing here sleeps to synchronise: until_true waits for a state that can be observed.

bats_require_minimum_version 1.5.0

setup() {
	ROOT=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	BUILD=$(cd "${BUILD:-$ROOT/build}" && pwd)
	[[ -x $BUILD/mq-send ]] || { echo "no tools in $BUILD: run make" >&2; return 1; }
	command -v jq >/dev/null || { echo "the tests need jq" >&2; return 1; }
	export PATH=$BUILD:$PATH LC_ALL=C.UTF-8 TZ=UTC
	export LD_LIBRARY_PATH=$BUILD${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	export MQ_STORE=$BATS_TEST_TMPDIR/store
	unset MQ_SYNC
	umask 022
	cd "$BATS_TEST_TMPDIR" || return 1
	out=$BATS_TEST_TMPDIR/stdout
	err=$BATS_TEST_TMPDIR/stderr
	status=0
	children=()
	mounts=()
	exec </dev/null
}

teardown() {
	local child mount
	for child in "${children[@]}"; do
		if ours "$child"; then
			kill -KILL "$child" 2>/dev/null || true
		fi
		wait "$child" 2>/dev/null || true
	done
	cd /
	for mount in "${mounts[@]}"; do
		umount -l "$mount" || true
	done
}

# ---- running a command --------------------------------------------------------------------------

# capture CMD...: stdout in the file $out, stderr in the file $err, the exit status in $status.
capture() {
	status=0
	"$@" >"$out" 2>"$err" 3>&- || status=$?
}

show() {
	printf '%s\n' "$*"
	printf -- '-- status %s, stdout:\n' "$status"
	head -c 2000 "$out"
	printf -- '-- stderr:\n'
	head -c 2000 "$err"
} >&2

# must CMD...: ends with 0.
must() {
	capture "$@"
	((status == 0)) || { show "must succeed: $*"; return 1; }
}

# must_fail CODE CMD...: ends with exactly that status, or one of them as in '66|73'; a death by a signal
# is never what was meant, unless CODE says so.
must_fail() {
	local code
	local -a codes
	IFS='|' read -ra codes <<<"$1"
	shift
	capture "$@"
	for code in "${codes[@]}"; do
		((status == code)) && return 0
	done
	show "must end with ${codes[*]}: $*"
	return 1
}

# refuses CODE WORDS CMD...: must_fail, and as an error is to be: nothing on stdout, one line
# "TOOL: ..." on stderr that contains WORDS and ends in no full stop, then at most one hint.
refuses() {
	local code=$1 words=$2
	local -a line
	shift 2
	must_fail "$code" "$@" || return 1
	[[ ! -s $out ]] || { show "stdout must be empty: $*"; return 1; }
	mapfile -t line <"$err"
	if ((${#line[@]} < 1 || ${#line[@]} > 2)); then
		show "one line and at most one hint: $*"
		return 1
	fi
	if [[ ! ${line[0]} =~ ^mq-[a-z]+:\ [^\ ] || ${line[0]} == *. || ${line[0]} == *': hint: '* ]]; then
		show "not of the form 'TOOL: OBJECT: what is wrong': $*"
		return 1
	fi
	if [[ ${line[0]} != *"$words"* ]]; then
		show "does not name '$words': $*"
		return 1
	fi
	if ((${#line[@]} == 2)) && [[ ! ${line[1]} =~ ^mq-[a-z]+:\ hint:\ [^\ ] ]]; then
		show "the second line is no hint: $*"
		return 1
	fi
}

# nothing CMD...: ends with 1 and says nothing at all.
nothing() {
	must_fail 1 "$@" || return 1
	[[ ! -s $out && ! -s $err ]] || { show "must be silent: $*"; return 1; }
}

# prints TEXT CMD...: ends with 0, stdout is TEXT and a newline, stderr is empty.
prints() {
	local text=$1
	shift
	must "$@" || return 1
	if ! printf '%s\n' "$text" | cmp -s - "$out"; then
		show "must print '$text': $*"
		return 1
	fi
	[[ ! -s $err ]] || { show "stderr must be empty: $*"; return 1; }
}

# same 'PIPELINE A' 'PIPELINE B': both succeed in all their parts and print the same bytes.
same() {
	local left=$BATS_TEST_TMPDIR/same.left right=$BATS_TEST_TMPDIR/same.right
	bash -e -o pipefail -c "$1" >"$left" 3>&- || { echo "failed: $1" >&2; return 1; }
	bash -e -o pipefail -c "$2" >"$right" 3>&- || { echo "failed: $2" >&2; return 1; }
	cmp "$left" "$right" && return 0
	printf 'differ: %s\n   and: %s\n' "$1" "$2" >&2
	diff -a "$left" "$right" | head -n 10 | cut -c 1-200 >&2
	return 1
}

# ---- waiting ------------------------------------------------------------------------------------

# Gives the others 10 ms: a read from a fifo into which nobody writes.
pause() {
	if [[ -z ${pause_fd-} ]]; then
		mkfifo "$BATS_TEST_TMPDIR/pause"
		exec {pause_fd}<>"$BATS_TEST_TMPDIR/pause"
	fi
	read -r -t 0.01 -u "$pause_fd" || true
}

# until_true SECONDS CMD...: tries until the command succeeds; fails after that many seconds.
until_true() {
	local limit=$1 deadline
	shift
	deadline=$((SECONDS + limit + 1))
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS >= deadline)); then
			echo "not true within $limit s: $*" >&2
			return 1
		fi
		pause
	done
}

# asleep PID: waits for something.
asleep() {
	[[ $(<"/proc/$1/stat") == *') S '* ]]
}

# blocked PID: asleep with the store open.
blocked() {
	asleep "$1" && grep -q /control "/proc/$1/maps"
}

# ours PID: a child of this shell, not a later process that got its number.
ours() {
	grep -qsx "PPid:[[:blank:]]*$BASHPID" "/proc/$1/status"
}

gone() {
	local line
	# bash 5.2 may leave a killed child as a zombie until it is waited for.
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
	[[ $line == *') Z '* ]]
}

# has_lines N FILE...: at least N lines in all of them together.
has_lines() {
	local n=$1
	shift
	(($(cat -- "$@" | wc -l) >= n))
}

# ---- processes in the background ------------------------------------------------------------------

# start NAME CMD...: runs it in the background, stdin as it is here, stdout in NAME.out, stderr in
# NAME.err; its process id is in $started.
start() {
	local name=$1
	shift
	"$@" <&0 >"$name.out" 2>"$name.err" 3>&- &
	started=$!
	children+=("$started")
}

# ended PID CODE: it ends within 20 s, with that status (128+N: by signal N).
ended() {
	local result=0
	until_true 20 gone "$1" || return 1
	wait "$1" || result=$?
	((result == $2)) || { echo "process $1 ended with $result, not $2" >&2; return 1; }
}

# follows TOPIC FILE: the reader that writes FILE sees what is published now. It does so by publishing
# "ready" until that arrives; seen FILE prints the rest.
follows() {
	until_true 20 ready_seen "$1" "$2"
}

ready_seen() {
	mq-pub -q "$1" ready
	grep -q ready "$2"
}

seen() {
	grep -v ready "$1"
}

# ---- deliveries -----------------------------------------------------------------------------------

# clock: microseconds since 1970.
clock() {
	echo "${EPOCHREALTIME/./}"
}

# later MS: returns when so much time has passed; only where time itself is what a test is about.
later() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000))
	while ((${EPOCHREALTIME/./} < end)); do
		pause
	done
}

# program NAME <<END: an executable shell script in the present directory.
program() {
	{ echo '#!/bin/sh'; cat; } >"$1"
	chmod +x "$1"
}

# lease QUEUE [DURATION]: takes a message under a lease, of ten minutes if not said, and prints the lease.
lease() {
	mq-recv -l "${2:-600}" -F '%l\n' "$1"
}

# tell PID SIGNAL: sends it, and returns when the process has taken it.
tell() {
	kill "-$2" "$1"
	until_true 20 grep -q '^ShdPnd:[[:blank:]]*0*$' "/proc/$1/status"
}

# spin N: burns a random little time, at most about N microseconds.
spin() {
	local end=$((${EPOCHREALTIME/./} + (RANDOM * 32768 + RANDOM) % $1))
	while ((${EPOCHREALTIME/./} < end)); do :; done
}

# killed_at_random MICROSECONDS CMD...: kills the command after at most so much time, again and again, until it
# ends by itself; it must then have ended with 0 or 1. Its stdout goes to the end of the file $out. After 5 s
# nobody is killed any more.
killed_at_random() {
	local limit=$1 pid result end=$((SECONDS + 5))
	shift
	: >"$out"
	while :; do
		"$@" <&0 >>"$out" 2>"$err" 3>&- &
		pid=$!
		if ((SECONDS < end)); then
			spin "$limit"
			kill -KILL "$pid" 2>/dev/null || true
		fi
		result=0
		wait "$pid" 2>/dev/null || result=$?
		((result == 0 || result == 1)) && return 0
		((result == 137)) || { status=$result; show "killed at random: $*"; return 1; }
	done
}

# drained QUEUE CMD...: runs the command, which may end with 0, 1 or 2, until the queue is empty.
drained() {
	local queue=$1 end=$((SECONDS + 20))
	shift
	until [[ $(stored "$queue") == 0 ]]; do
		capture "$@"
		if ((status > 2 || SECONDS > end)); then
			show "must empty '$queue': $*"
			return 1
		fi
		pause
	done
}

# exactly FILE 'COMMANDS': the file, sorted, is what the commands print, sorted.
exactly() {
	bash -e -o pipefail -c "$2" | sort | cmp - <(sort "$1")
}

# ---- what a test may need -------------------------------------------------------------------------

need() {
	command -v "$1" >/dev/null || skip "$1 is not installed"
}

need_root() {
	((EUID == 0)) || skip "only root can prepare this"
}

# small_disk SIZE: a tmpfs of that size in the directory disk.
small_disk() {
	need_root
	mkdir "$BATS_TEST_TMPDIR/disk"
	mount -t tmpfs -o "size=$1,mode=0700" none "$BATS_TEST_TMPDIR/disk" 2>/dev/null ||
		skip "no file system can be mounted here"
	mounts+=("$BATS_TEST_TMPDIR/disk")
}

# stored NAME: how many messages the channel holds.
stored() {
	mq-ls -o json "$1" | sed -n 's/.*"messages": *\([0-9]*\).*/\1/p'
}

# test_c [ARG]... <<END: compiles the C program on stdin against the built library and runs it.
test_c() {
	local program
	program=$(mktemp "$BATS_TEST_TMPDIR/c.XXXXXX")
	# shellcheck disable=SC2086 # flags are words
	${CC:-cc} -std=gnu11 -Wall -Wextra -g ${TEST_CFLAGS-} -I "$ROOT/libmq" -o "$program" -x c - -x none \
		"$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	"$program" "$@" 3>&-
}

# build_damage: tests/damage.c, which changes a store behind the library's back, as $DAMAGE; for setup_file.
build_damage() {
	local root build
	root=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	build=$(cd "${BUILD:-$root/build}" && pwd)
	export DAMAGE=$BATS_FILE_TMPDIR/damage
	# shellcheck disable=SC2086 # flags are words
	${CC:-cc} -std=gnu11 -Wall -Wextra -O1 -g -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$root/libmq" -o "$DAMAGE" \
		"$root/tests/damage.c" "$build/libmq.a" -llmdb ${TEST_LDFLAGS-}
}
