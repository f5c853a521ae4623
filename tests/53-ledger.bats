#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154
#
# The ledger and the programs that are held against it: that they find a fault that is there. Their samples and their
# full runs are rows of tests/torture. And what they have found, each by itself.

load helpers

setup_file() {
	FAST=$(mktemp -d /dev/shm/mq-ledger.XXXXXX 2>/dev/null) || FAST=$(mktemp -d "$BATS_FILE_TMPDIR/fast.XXXXXX")
	export FAST
}

teardown_file() {
	rm -rf "$FAST"
}

# finds WORDS PROGRAM [-n COUNT] [WORD]...: the mistake that it makes itself, and says how to see it again.
finds() {
	local words=$1 program=$2 place
	local -a count=()
	shift 2
	if [[ $1 == -n ]]; then
		count=(-n "$2")
		shift 2
	fi
	place=$(mktemp -d "$FAST/XXXXXX")
	must_fail 1 env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" timeout 60 \
		"$BUILD/tests/crash/$program" "${count[@]}" "$place" "$@" || return 1
	tail -n 1 "$err" | grep -q -- "$words.*; again: .*/$program -r 1" ||
		{ show "does not say '$words': $program $*"; return 1; }
}

# ---- what each program must find ------------------------------------------------------------------

@test "a checker that accepts everything is found" {
	finds 'a faulty ledger is accepted' ledgers blind
}

@test "in a crowd: a sender that believes too early, and a batch in two parts" {
	finds 'lost\|in part\|no longer there\|is not there' crowding -n 300 early
	finds 'in part' crowding -n 300 torn
}

@test "in a crowd: a consumer that acknowledges nothing, claims without locks, leaves no trace of a delivery" {
	finds 'after it was acknowledged\|another message\|is lost' crowding -n 300 lazy
	finds 'delivered again\|acknowledged\|lost before its end\|an attempt was not counted' crowding -n 300 unlocked
	finds 'an attempt was not counted' crowding -n 600 uncounted
}

@test "a death that nobody notices, and one that is not counted" {
	finds 'one had to wait' inheriting -n 50 deaf
	finds 'attempt 1, not 2' inheriting -n 50 uncounted
}

@test "under a scribbler: a sleep without an end, and claims without locks" {
	finds 'after it was sent\|hangs' scribbling -n 800 endless
	finds 'delivered again\|acknowledged' scribbling -n 800 unlocked
}

@test "a reader that keeps its snapshot while it rests" {
	finds 'are stored, and the file has' growing inside
}

@test "delays that end too early, and leases that a step of the clock ends" {
	finds 'before its time' stepping hasty
	finds 'before its time' stepping alone
}

# ---- what they have found -------------------------------------------------------------------------

# deliver C: a program whose child runs the statements with s, c, r, m and count, and is killed; it then prints the attempt
# and number of each message that comes next.
deliver() {
	test_c "$MQ_STORE" <<-END
		#include <libmq.h>
		#include <signal.h>
		#include <stdio.h>
		#include <string.h>
		#include <sys/wait.h>
		#include <unistd.h>

		static lmq_store *s;
		static lmq_channel *c;
		static lmq_receiver *r;
		static struct lmq_message m;
		static size_t count;

		static int take(const char *path)
		{
			int rc = lmq_store_open(path, NULL, &s);
			if (rc == 0)
				rc = lmq_channel_open(s, "jobs", LMQ_QUEUE, 0, &c);
			if (rc == 0)
				rc = lmq_receiver_open(c, NULL, &r);
			return rc == 0 ? lmq_receiver_claim(r, 3, 1 << 20, &count) : rc;
		}

		static void deliver(void)
		{
			$1
		}

		int main(int argc, char **argv)
		{
			int status, rc;
			pid_t pid = fork();
			(void)argc;
			if (pid == 0) {
				if (take(argv[1]) != 0)
					return 1;
				deliver();
				kill(getpid(), SIGKILL);
			}
			if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || take(argv[1]) != 0)
				return 1;
			while ((rc = lmq_receiver_next(r, &m)) == 0)
				printf("%.*s %u\n", (int)m.body.size, m.body.data, m.attempt);
			return rc != LMQ_END;
		}
	END
}

@test "a crash counts for each message that was handed out, not only for the last ones" {
	for priority in 5 6 7; do
		mq-send --priority=$priority jobs $priority
	done
	deliver 'while (lmq_receiver_next(r, &m) == 0) continue;' >got
	printf '%s\n' '7 2' '6 2' '5 2' | diff - got
}

@test "a crash counts for what was handed out and is not settled, when others of the same claim are" {
	for i in 1 2 3; do
		mq-send jobs $i
	done
	deliver 'while (lmq_receiver_next(r, &m) == 0) continue; lmq_receiver_settle(r, 1, LMQ_SYNC_FULL);' >got
	printf '%s\n' '2 2' '3 2' | diff - got
}

@test "a lease that was given back does not count because its taker has died since" {
	mq-send jobs 1
	deliver 'struct lmq_lease l = { .channel = "jobs", .attempt = 1, .outcome = LMQ_RETURN };
		lmq_receiver_next(r, &m); lmq_receiver_lease(r, 0, LMQ_SYNC_FULL);
		lmq_store_settle(s, &l, 1, LMQ_SYNC_FULL);' >got
	echo '1 1' | diff - got
}

# scribble OFFSET: four random bytes into the control file.
scribble() {
	printf '\xde\xad\xbe\xef' | dd of="$MQ_STORE/control" bs=1 seek="$1" conv=notrunc status=none
}

@test "nonsense in the control file keeps nobody out of a store that is in use" {
	mq-make --queue jobs >made
	start waiter mq-recv -w 60s jobs
	until_true 20 blocked "$started"
	scribble 0	# the PID namespace
	scribble 16	# the environment that was set up anew
	timeout 10 mq-send jobs hello
	ended "$started" 0
	echo hello | diff - waiter.out
}
