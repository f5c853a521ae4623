/* SPDX-License-Identifier: ISC */
/*
 * For tests of watches: a watch on a channel, and processes that do something while it waits.
 *
 * The receiver is a stand-in: a channel, a number, a due time are all that a watch wants of one.
 */
#ifndef WATCHING_H
#define WATCHING_H

#include "place.h"

#include "receive/receiver.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { SPACE = 7, MS = 1000000 };

static lmq_store *store;
static lmq_watch *watch;
static struct lmq_channel channel;
static int64_t due;
static char stand_in;

lmq_channel *receiver_channel(lmq_receiver *r)
{
	(void)r;
	return &channel;
}

uint32_t receiver_space(lmq_receiver *r)
{
	(void)r;
	return SPACE;
}

int64_t receiver_due(lmq_receiver *r)
{
	(void)r;
	return due;
}

void receiver_stir(lmq_receiver *r)
{
	(void)r;
}

static inline void begin(bool receiver)
{
	store = place_open();
	channel = (struct lmq_channel){ .store = store, .id = 1, .kind = LMQ_QUEUE };
	due = INT64_MAX;
	if (lmq_watch_open(store, &watch) != 0)
		abort();
	if (receiver)
		lmq_watch_receiver(watch, (lmq_receiver *)&stand_in);
	else
		lmq_watch_channel(watch, &channel);
}

static inline unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned count = 0;
	while (readdir(d))
		count++;
	closedir(d);
	return count;
}

/* A thread that was joined is still listed for a moment. */
static inline bool alone(void)
{
	int64_t deadline = lmq_deadline(2000 * (int64_t)MS);
	while (entries("/proc/self/task") != 2 + 1 && clock_monotonic() < deadline)
		sched_yield();
	return entries("/proc/self/task") == 2 + 1;
}

/* Nobody is left among the waiters, no thread and no descriptor is left over. */
static inline void end(unsigned descriptors)
{
	lmq_watch_close(watch);
	CHECK_EQUAL(notify_channel(store, 1)->waiters, 0);
	CHECK_EQUAL(store->control->any.waiters, 0);
	lmq_store_close(store);
	CHECK_EQUAL(entries("/proc/self/fd"), descriptors);
	CHECK(alone());
}

static inline unsigned descriptors_now(void)
{
	return entries("/proc/self/fd");
}

/* ---- other processes --------------------------------------------------------------------------- */

static inline void tell(int fd)
{
	if (write(fd, "", 1) != 1)
		abort();
}

static inline bool told(int fd)
{
	char byte;
	return read(fd, &byte, 1) == 1;
}

/* A process at the other end of two pipes. */
struct other {
	pid_t pid;
	int to, from;
};

static inline struct other start(void (*run)(int from, int to))
{
	struct other o;
	int there[2], back[2];
	fflush(stdout);
	if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0 || (o.pid = fork()) < 0)
		abort();
	if (o.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(there[1]);
		close(back[0]);
		run(there[0], back[1]);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	o.to = there[1];
	o.from = back[0];
	return o;
}

static inline void finish(struct other *o)
{
	close(o->to);
	close(o->from);
	if (waitpid(o->pid, NULL, 0) != o->pid)
		abort();
}

/* Until the main thread of the process sleeps. */
static inline void asleep(pid_t pid)
{
	char path[64], text[512], *state;
	ssize_t n;
	int fd;
	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, pid);
	do {
		sched_yield();
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
		if (n < 0)
			abort();
		close(fd);
		text[n] = '\0';
		state = strrchr(text, ')');
	} while (!state || state[2] != 'S');
}

/* Holds message 5 until it is killed. */
static inline void holder(int from, int to)
{
	lmq_store *s = place_open();
	struct run got;
	int fd, slot;
	if (lease_open(s, &fd) != 0)
		abort();
	slot = roster_join(s, fd, ROSTER_RECEIVER, SPACE, "holder");
	roster_holding(s, slot, true);
	if (lease_take(s, fd, SPACE, 5, 6, UINT64_MAX, &got) != 0)
		abort();
	tell(to);
	while (told(from))
		continue;
	for (;;)
		pause();
}

#endif
