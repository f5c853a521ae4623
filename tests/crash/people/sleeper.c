/* SPDX-License-Identifier: ISC */
/* A process that waits for a message as the tools do: looks, sleeps, and looks again. */
#include "sleeper.h"

#include "crash.h"

static const int64_t LONGEST = INT64_C(2000) * MS;

struct bed {
	const char *path, *queue;
};

static int wait_there(void *argument)
{
	struct bed *bed = argument;
	struct desk mine;
	lmq_channel *c;
	lmq_receiver *r;
	lmq_watch *w;
	size_t count;
	int rc = desk_open(&mine, bed->path, 0, 0);
	if (rc == 0)
		rc = lmq_channel_open(mine.store, bed->queue, LMQ_QUEUE, 0, &c);
	if (rc == 0)
		rc = lmq_receiver_open(c, NULL, &r);
	if (rc == 0)
		rc = lmq_watch_open(mine.store, &w);
	if (rc == 0)
		rc = lmq_watch_receiver(w, r);
	while (rc == 0) {
		lmq_watch_arm(w);
		rc = lmq_receiver_claim(r, 1, 1 << 20, &count);
		if (rc != LMQ_END)
			break;
		rc = lmq_watch_wait(w, LMQ_FOREVER);
	}
	return rc;
}

pid_t sleeper_begin(const char *path, const char *queue)
{
	struct bed bed = { path, queue };
	pid_t pid = child(wait_there, &bed);
	settled(pid);
	return pid;
}

bool sleeper_wakes(pid_t pid)
{
	int64_t began = clock_monotonic();
	while (!has_ended(pid) && clock_monotonic() < began + LONGEST)
		nap();
	return has_ended(pid) && end_of(pid) == 0;
}
