/* SPDX-License-Identifier: ISC */
/* Watches: what ends a wait, and what does not; on words alone, with descriptors, with holders to outlive. */
#include "watching.h"

#include "wait/relay.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { ROUNDS = 300 };

/* Bumps the channel's word each time it is told to. */
static void committer(int from, int to)
{
	lmq_store *s = place_open();
	tell(to);
	while (told(from))
		notify_wake(notify_channel(s, 1));
	lmq_store_close(s);
}

/* The same, each time its parent is asleep. */
static void late_committer(int from, int to)
{
	lmq_store *s = place_open();
	tell(to);
	while (told(from)) {
		asleep(getppid());
		notify_wake(notify_channel(s, 1));
	}
	lmq_store_close(s);
}

/* The committers have to bump the word that stands for all. */
static void any_committer(int from, int to)
{
	lmq_store *s = place_open();
	tell(to);
	while (told(from)) {
		asleep(getppid());
		notify_wake(notify_channel(s, 1));
		notify_wake(&s->control->any);
	}
	lmq_store_close(s);
}

/* So many commits, each of which ends one wait. Not one second passes, as it would if one were missed. */
static void commits_of(const struct other *o, unsigned rounds, struct pollfd *fds, size_t count)
{
	int64_t slowest = 0;
	for (unsigned i = 0; i < rounds; i++) {
		uint32_t before = notify_channel(store, 1)->sequence;
		int64_t began = clock_monotonic(), took;
		lmq_watch_arm(watch);
		tell(o->to);
		while (notify_channel(store, 1)->sequence == before) {
			CHECK(lmq_watch_poll(watch, fds, count, LMQ_FOREVER) == 0);
			lmq_watch_arm(watch);
		}
		took = clock_monotonic() - began;
		slowest = took > slowest ? took : slowest;
	}
	CHECK(slowest < 700 * (int64_t)MS);
}

static void commits(void (*run)(int from, int to), struct pollfd *fds, size_t count)
{
	struct other o = start(run);
	told(o.from);
	commits_of(&o, ROUNDS, fds, count);
	finish(&o);
}

TEST(words, "a commit ends a wait, at any moment")
{
	unsigned descriptors = descriptors_now();
	place_make();
	begin(false);
	commits(committer, NULL, 0);
	commits(late_committer, NULL, 0);
	end(descriptors);
	place_remove();
}

TEST(words_and_descriptors, "a commit ends a wait for descriptors as well")
{
	unsigned descriptors = descriptors_now();
	int quiet[2];
	struct pollfd fds[2];
	place_make();
	begin(false);
	if (pipe(quiet) != 0)
		abort();
	fds[0] = (struct pollfd){ quiet[0], POLLIN, 0 };
	fds[1] = (struct pollfd){ -1, POLLIN, 0 };
	commits(committer, fds, 2);
	commits(late_committer, fds, 2);
	/* And then on words alone again. */
	commits(late_committer, NULL, 0);
	close(quiet[0]);
	close(quiet[1]);
	end(descriptors);
	place_remove();
}

TEST(words_and_holders, "a commit ends a wait during which the death of a holder is waited for")
{
	unsigned descriptors = descriptors_now();
	struct other o;
	place_make();
	begin(true);
	o = start(holder);
	told(o.from);
	commits(committer, NULL, 0);
	commits(late_committer, NULL, 0);
	kill(o.pid, SIGKILL);
	finish(&o);
	end(descriptors);
	place_remove();
}

TEST(descriptors, "a descriptor that is ready ends a wait, and is named")
{
	unsigned descriptors = descriptors_now();
	int a[2], b[2];
	struct pollfd fds[2];
	place_make();
	begin(false);
	if (pipe(a) != 0 || pipe(b) != 0)
		abort();
	fds[0] = (struct pollfd){ a[0], POLLIN, POLLIN };
	fds[1] = (struct pollfd){ b[0], POLLIN, POLLIN };
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_poll(watch, fds, 2, lmq_deadline(5 * MS)), LMQ_ETIME);
	CHECK(fds[0].revents == 0 && fds[1].revents == 0);
	tell(b[1]);
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_poll(watch, fds, 2, LMQ_FOREVER), 0);
	CHECK(fds[0].revents == 0 && fds[1].revents == POLLIN);
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_poll(watch, fds, 2, 0), 0);
	CHECK(fds[1].revents == POLLIN);
	close(a[1]);
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_poll(watch, fds, 1, LMQ_FOREVER), 0);
	CHECK(fds[0].revents & POLLHUP);
	close(a[0]);
	close(b[0]);
	close(b[1]);
	end(descriptors);
	place_remove();
}

TEST(due_time, "a wait ends when a message becomes due, and not before")
{
	unsigned descriptors = descriptors_now();
	struct other o = { 0 };
	place_make();
	begin(true);
	for (int i = 0; i < 20; i++) {
		if (i == 10) {
			o = start(holder);
			told(o.from);
		}
		due = lmq_now() + (3 * MS) + (int64_t)unit_random_below(MS);
		do
			lmq_watch_arm(watch);
		while (lmq_watch_wait(watch, lmq_deadline(2000 * (int64_t)MS)) == 0 && lmq_now() < due);
		CHECK(lmq_now() >= due && lmq_now() < due + 500 * (int64_t)MS);
	}
	kill(o.pid, SIGKILL);
	finish(&o);
	end(descriptors);
	place_remove();
}

TEST(overdue, "a due time that is past ends one wait, not every one")
{
	unsigned descriptors = descriptors_now();
	unsigned waits = 0;
	int64_t deadline;
	place_make();
	begin(true);
	due = lmq_now() - MS;
	deadline = lmq_deadline(20 * MS);
	do {
		waits++;
		lmq_watch_arm(watch);
	} while (lmq_watch_wait(watch, deadline) == 0);
	CHECK(waits <= 3);
	end(descriptors);
	place_remove();
}

static void on_alarm(int number)
{
	(void)number;
	lmq_watch_interrupt(watch);
}

/* Signals at short intervals; each wait is ended by one, wherever it falls. */
static void interruptions(struct pollfd *fds, size_t count)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };
	int64_t began = clock_monotonic();
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		int rc;
		do {
			lmq_watch_arm(watch);
			rc = lmq_watch_poll(watch, fds, count, LMQ_FOREVER);
		} while (rc == 0);
		CHECK_EQUAL(rc, LMQ_EINTR);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	CHECK(clock_monotonic() - began < 3000 * (int64_t)MS);
}

TEST(interrupt, "an interrupt ends the present wait, or the next one")
{
	unsigned descriptors = descriptors_now();
	int quiet[2];
	struct pollfd fds;
	place_make();
	begin(false);
	if (pipe(quiet) != 0)
		abort();
	fds = (struct pollfd){ quiet[0], POLLIN, 0 };
	for (int i = 0; i < 4; i++) {
		lmq_watch_interrupt(watch);
		lmq_watch_arm(watch);
		CHECK_EQUAL(lmq_watch_poll(watch, &fds, (size_t)i % 2, LMQ_FOREVER), LMQ_EINTR);
		lmq_watch_arm(watch);
		lmq_watch_interrupt(watch);
		CHECK_EQUAL(lmq_watch_poll(watch, &fds, (size_t)i % 2, LMQ_FOREVER), LMQ_EINTR);
		lmq_watch_arm(watch);
		CHECK_EQUAL(lmq_watch_poll(watch, &fds, (size_t)i % 2, lmq_deadline(2 * MS)), LMQ_ETIME);
	}
	interruptions(NULL, 0);
	interruptions(&fds, 1);
	close(quiet[0]);
	close(quiet[1]);
	end(descriptors);
	place_remove();
}

TEST(unarmed, "a wait without arming is refused")
{
	unsigned descriptors = descriptors_now();
	place_make();
	begin(false);
	CHECK_EQUAL(lmq_watch_wait(watch, 0), LMQ_EINVAL);
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_wait(watch, 0), LMQ_ETIME);
	CHECK_EQUAL(lmq_watch_wait(watch, 0), LMQ_EINVAL);
	end(descriptors);
	place_remove();
}

TEST(many_channels, "who watches more channels than the kernel waits for is woken by what happens anywhere")
{
	unsigned descriptors = descriptors_now();
	struct other o;
	place_make();
	begin(false);
	for (int i = 0; i < WORDS_MAX; i++)
		CHECK(lmq_watch_channel(watch, &channel) == 0);
	o = start(any_committer);
	told(o.from);
	commits_of(&o, 20, NULL, 0);
	finish(&o);
	for (int i = 0; i < WORDS_MAX; i++)
		lmq_watch_forget(watch, &channel);
	commits(late_committer, NULL, 0);
	end(descriptors);
	place_remove();
}

/* From now on the kernel does not know these calls. */
static bool forget_calls(uint32_t a, uint32_t b)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, a, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, b, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void old_kernel(int from, int to)
{
	struct other o;
	struct pollfd fds = { from, POLLIN, 0 };
	unit_failures = 0;
	if (!forget_calls(449, 434))
		_exit(77);
	begin(true);
	o = start(holder);
	told(o.from);
	commits(any_committer, NULL, 0);
	commits(any_committer, &fds, 1);
	lmq_watch_arm(watch);
	tell(to);
	while (fds.revents == 0) {
		CHECK_EQUAL(lmq_watch_poll(watch, &fds, 1, LMQ_FOREVER), 0);
		lmq_watch_arm(watch);
	}
	interruptions(&fds, 0);
	lmq_watch_close(watch);
	CHECK_EQUAL(store->control->any.waiters, 0);
	kill(o.pid, SIGKILL);
	finish(&o);
	lmq_store_close(store);
	fflush(stdout);
	_exit(unit_failures != 0);
}

/* In a process of its own, which does without some calls of the kernel. */
static void elsewhere(void (*run)(int from, int to))
{
	struct other o;
	int status;
	place_make();
	o = start(run);
	if (told(o.from))
		tell(o.to);
	CHECK(waitpid(o.pid, &status, 0) == o.pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 77)
		CHECK_EQUAL(status, 0);
	close(o.to);
	close(o.from);
	place_remove();
}

TEST(old_kernel, "without futex_waitv and pidfd_open a commit ends a wait all the same")
{
	elsewhere(old_kernel);
}

static void no_thread(int from, int to)
{
	struct other o, c;
	struct pollfd fds = { from, POLLIN, 0 };
	int64_t began;
	unit_failures = 0;
	begin(true);
	o = start(holder);
	told(o.from);
	c = start(late_committer);
	told(c.from);
	if (!forget_calls(SYS_clone, SYS_clone3))
		_exit(77);
	commits_of(&c, 20, NULL, 0);
	commits_of(&c, 20, &fds, 1);
	tell(to);
	while (fds.revents == 0) {
		lmq_watch_arm(watch);
		CHECK_EQUAL(lmq_watch_poll(watch, &fds, 1, LMQ_FOREVER), 0);
	}
	CHECK(told(from));
	kill(o.pid, SIGKILL);
	finish(&o);
	began = clock_monotonic();
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_wait(watch, began + 20000 * (int64_t)MS), 0);
	CHECK(clock_monotonic() - began < 5000 * (int64_t)MS);
	finish(&c);
	lmq_watch_close(watch);
	lmq_store_close(store);
	fflush(stdout);
	_exit(unit_failures != 0);
}

TEST(no_thread, "where no thread can be had commits, descriptors and deaths end a wait all the same")
{
	elsewhere(no_thread);
}

UNIT_MAIN
