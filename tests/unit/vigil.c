/* SPDX-License-Identifier: ISC */
/* Vigils: whoever waits for a message learns of its holder's death. */
#include "watching.h"

/* Its child has its open files, and lives on until the pipe is closed. */
static void fertile_holder(int from, int to)
{
	lmq_store *s = place_open();
	struct run got;
	int fd, slot, ready[2];
	if (lease_open(s, &fd) != 0 || pipe(ready) != 0)
		abort();
	slot = roster_join(s, fd, ROSTER_RECEIVER, SPACE, "holder");
	roster_holding(s, slot, true);
	if (lease_take(s, fd, SPACE, 5, 6, UINT64_MAX, &got) != 0)
		abort();
	if (fork() == 0) {
		tell(ready[1]);
		while (told(from))
			continue;
		_exit(0);
	}
	told(ready[0]);
	tell(to);
	for (;;)
		pause();
}

static pid_t victim;	/* of the killer */
static int last_words;	/* told after the killing; -1 */

static void killer(int from, int to)
{
	(void)from;
	tell(to);
	asleep(getppid());
	kill(victim, SIGKILL);
	if (last_words < 0)
		return;
	/* The watch has had the time to find out that nothing is free yet. */
	for (int i = 0; i < 20; i++)
		asleep(getppid());
	close(last_words);
}

static bool is_free(uint64_t offset)
{
	struct run got;
	int fd, rc;
	if (lease_open(store, &fd) != 0)
		abort();
	rc = lease_take(store, fd, SPACE, offset, offset + 1, UINT64_MAX, &got);
	close(fd);
	return rc == 0;
}

TEST(death, "the death of a holder ends a wait at once, whenever it comes")
{
	unsigned descriptors = descriptors_now();
	place_make();
	begin(true);
	for (int i = 0; i < 200; i++) {
		struct other o = start(holder), k = { 0 };
		int64_t began;
		bool late = i % 2 == 0;
		told(o.from);
		lmq_watch_arm(watch);
		CHECK(!is_free(5));
		victim = o.pid;
		last_words = -1;
		if (late) {
			k = start(killer);
			told(k.from);
		} else {
			kill(o.pid, SIGKILL);
		}
		began = clock_monotonic();
		while (!is_free(5) && clock_monotonic() - began < 3000 * (int64_t)MS) {
			CHECK_EQUAL(lmq_watch_wait(watch, LMQ_FOREVER), 0);
			lmq_watch_arm(watch);
		}
		CHECK(clock_monotonic() - began < 700 * (int64_t)MS);
		if (late)
			finish(&k);
		finish(&o);
	}
	end(descriptors);
	place_remove();
}

TEST(quiet, "the dead end one wait, not every one")
{
	unsigned descriptors = descriptors_now();
	struct other o;
	unsigned waits = 0;
	int64_t deadline;
	place_make();
	begin(true);
	o = start(holder);
	told(o.from);
	kill(o.pid, SIGKILL);
	finish(&o);
	deadline = lmq_deadline(30 * (int64_t)MS);
	do {
		waits++;
		lmq_watch_arm(watch);
	} while (lmq_watch_wait(watch, deadline) == 0);
	CHECK(waits <= 3);
	end(descriptors);
	place_remove();
}

TEST(heirs, "where a child of the dead still has its files, the wait ends soon after they are closed")
{
	unsigned descriptors = descriptors_now();
	struct other o, k;
	int64_t began;
	unsigned waits = 0;
	place_make();
	begin(true);
	o = start(fertile_holder);
	told(o.from);
	lmq_watch_arm(watch);
	CHECK(!is_free(5));
	victim = o.pid;
	last_words = o.to;
	k = start(killer);
	close(o.to);
	told(k.from);
	began = clock_monotonic();
	while (!is_free(5) && clock_monotonic() - began < 3000 * (int64_t)MS) {
		CHECK_EQUAL(lmq_watch_wait(watch, LMQ_FOREVER), 0);
		lmq_watch_arm(watch);
		waits++;
	}
	CHECK(clock_monotonic() - began < 700 * (int64_t)MS);
	CHECK(waits <= 2);
	finish(&k);
	close(o.from);
	waitpid(o.pid, NULL, 0);
	end(descriptors);
	place_remove();
}

UNIT_MAIN
