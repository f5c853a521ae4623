/* SPDX-License-Identifier: ISC */
/* Writers that wait for room: what they store in which round, in which line they stand, and what ends their wait. */
#include "sending.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Takes messages one by one, until there were so many. */
static void take(const char *name, size_t left)
{
	lmq_watch *watch;
	lmq_channel *c;
	lmq_receiver *r;
	size_t count;
	good(lmq_channel_open(store, name, LMQ_QUEUE, 0, &c));
	r = receiver_of(c, NULL);
	good(lmq_watch_open(store, &watch));
	good(lmq_watch_receiver(watch, r));
	while (left > 0) {
		int rc;
		lmq_watch_arm(watch);
		rc = lmq_receiver_claim(r, 1, 1, &count);
		if (rc == LMQ_END) {
			good(lmq_watch_wait(watch, LMQ_FOREVER));
			continue;
		}
		good(rc);
		good(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED));
		left--;
	}
	lmq_watch_close(watch);
	lmq_receiver_close(r);
	lmq_channel_close(c);
}

/* Another process, which takes so many of the first channel, and of the second (0: none) when somebody waits there. */
static pid_t drain(size_t left, uint32_t second)
{
	pid_t pid;
	fflush(stdout);
	pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	store = place_open();
	take("it", left);
	while (second && notify_channel(store, second)->waiters == 0)
		sched_yield();
	if (second)
		take("other", left);
	_exit(0);
}

static void await(pid_t pid)
{
	int status;
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(rounds, "a commit that took several rounds knows of each message where it went")
{
	lmq_watch *watch;
	pid_t pid;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=3"));
	good(lmq_watch_open(store, &watch));
	lmq_writer_partial(writer, true);
	for (int i = 0; i < 8; i++)
		CHECK(add(channel) == 0);
	CHECK(lmq_writer_commit_wait(writer, watch, lmq_deadline(0)) == LMQ_EFULL);
	CHECK(says("it: queue is full (max-messages=3)"));
	positions(3, 0);
	CHECK_EQUAL(lmq_writer_count(writer), 5);
	pid = drain(8, 0);
	CHECK(lmq_writer_commit_wait(writer, watch, LMQ_FOREVER) == 0);
	positions(5, 3);
	await(pid);
	CHECK(add(channel) == 0 && lmq_writer_position(writer, 0, NULL, NULL) == false);
	CHECK(lmq_writer_commit(writer) == 0);
	positions(1, 8);
	lmq_watch_close(watch);
	sound();
	single_end();
}

TEST(two_lines, "a writer that is let into one queue and finds the next one full waits there, and stores all or nothing")
{
	struct lmq_channel_info info;
	lmq_channel *other;
	lmq_watch *watch;
	pid_t pid;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=2"));
	other = single_make("other", LMQ_QUEUE, PROPERTIES("max-messages=2"));
	good(lmq_channel_info(other, &info));
	good(lmq_watch_open(store, &watch));
	for (int i = 0; i < 4; i++) {
		CHECK(add(channel) == 0 && add(other) == 0);
		if (i == 1)
			CHECK(lmq_writer_commit(writer) == 0);
	}
	CHECK(lmq_writer_commit_wait(writer, watch, lmq_deadline(0)) == LMQ_EFULL && says("it: queue is full"));
	CHECK_EQUAL(position(0), -1);
	pid = drain(2, info.id);
	CHECK(lmq_writer_commit_wait(writer, watch, LMQ_FOREVER) == 0);
	await(pid);
	CHECK(stored("it") == 2 && stored("other") == 2);
	for (size_t i = 0; i < 4; i++)
		CHECK_EQUAL(position(i), 2 + (int64_t)i / 2);
	lmq_watch_close(watch);
	lmq_channel_close(other);
	sound();
	single_end();
}

/* Whether the process sleeps. */
static bool asleep(pid_t pid)
{
	char path[40], text[512] = "", *state;
	FILE *f;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f || !fgets(text, sizeof text, f))
		abort();
	fclose(f);
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

static void remove_it(void)
{
	good(lmq_channel_remove(store, "it"));
}

static void widen_it(void)
{
	const char *wider = "max-messages=4";
	struct lmq_property changed[LMQ_PROPERTY_MAX];
	size_t count;
	bool created;
	good(lmq_channel_make(store, "it", LMQ_QUEUE, &wider, 1, &created, changed, &count));
}

static void trim_it(void)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more;
	what.all = true;
	good(lmq_channel_open(store, "it", LMQ_QUEUE, 0, &channel));
	good(lmq_channel_trim(channel, &what, &at, &dropped, &more));
}

static void interrupt_it(void)
{
	kill(getppid(), SIGUSR1);
}

static void on_signal(int signal)
{
	(void)signal;
}

/* What another process does while the sender waits, and how that ends. */
TEST(ends, "a sender that waits for room learns at once of a removal, a new limit, a trim and a signal")
{
	static const struct { void (*change)(void); int status; } ends[] = {
		{ remove_it, LMQ_EGONE }, { widen_it, 0 }, { trim_it, 0 }, { interrupt_it, LMQ_EINTR },
	};
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		struct lmq_channel_info info;
		lmq_watch *watch;
		int64_t began;
		pid_t pid;
		single_begin(LMQ_QUEUE, PROPERTIES("max-messages=2"));
		good(lmq_channel_info(channel, &info));
		good(lmq_watch_open(store, &watch));
		good(send_sized(2, 1));
		CHECK(add(channel) == 0 && add(channel) == 0);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			store = place_open();
			while (notify_channel(store, info.id)->waiters == 0 || !asleep(getppid()))
				sched_yield();
			ends[i].change();
			_exit(0);
		}
		began = clock_monotonic();
		CHECK_EQUAL(lmq_writer_commit_wait(writer, watch, lmq_deadline(20 * INT64_C(1000000000))), ends[i].status);
		/* Who misses a wake-up looks again after a second. */
		CHECK(clock_monotonic() - began < 700000000);
		await(pid);
		CHECK_EQUAL(lmq_writer_count(writer), ends[i].status == 0 ? 0 : 2);
		CHECK_EQUAL(position(0), ends[i].status == 0 ? 2 : -1);
		lmq_watch_close(watch);
		CHECK_EQUAL(notify_channel(store, info.id)->waiters, 0);
		single_end();
	}
	signal(SIGUSR1, SIG_DFL);
}

TEST(no_place, "who cannot get into the line for want of a descriptor is told, and has lost nothing")
{
	struct rlimit before, few;
	lmq_watch *watch;
	lmq_receiver *r;
	int fd, rc;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=1"));
	good(lmq_watch_open(store, &watch));
	good(send_sized(1, 1));
	CHECK(add(channel) == 0);
	r = receiver_of(channel, NULL);
	if (getrlimit(RLIMIT_NOFILE, &before) != 0 || (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		abort();
	close(fd);
	few = before;
	few.rlim_cur = (rlim_t)fd;
	setrlimit(RLIMIT_NOFILE, &few);
	rc = lmq_writer_commit_wait(writer, watch, LMQ_FOREVER);
	setrlimit(RLIMIT_NOFILE, &before);
	CHECK_EQUAL(rc, LMQ_ESYSTEM);
	CHECK(says("open files"));
	CHECK_EQUAL(lmq_writer_count(writer), 1);
	CHECK_EQUAL(claim(r, 1), 0);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_writer_commit_wait(writer, watch, LMQ_FOREVER) == 0);
	positions(1, 1);
	lmq_receiver_close(r);
	lmq_watch_close(watch);
	single_end();
}

UNIT_MAIN
