/* SPDX-License-Identifier: ISC */
/*
 * inheriting [-n KILLS] [-r SEED] DIRECTORY [deaf|uncounted]
 *
 * Somebody has messages in his hands, another one waits for them; the first is killed, stopped or not, and the second
 * must soon have them, all with one attempt more; it is the next to be killed. From a queue, one message or several;
 * for a group of a topic; for a group whose members own partitions. The time from the kill to the delivery is taken.
 *
 * Mistakes that must be found: to be deaf to deaths; to lay no trace of what is being delivered.
 */
#include "crash.h"
#include "wait/vigil.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUND = 250, MOST = 3, SOON = 50 * MS, LONGEST = 900 * MS, PATIENCE = 20 };
enum state { STARTS, WAITS, HOLDS };

static const struct scene {
	const char *what;
	enum lmq_kind kind;
	const char *group;
	unsigned messages;
	const char *property;
} scenes[] = {
	{ "one message of a queue", LMQ_QUEUE, NULL, 1, "max-attempts=none" },
	{ "three messages of a queue", LMQ_QUEUE, NULL, 3, "max-attempts=none" },
	{ "a message of a group", LMQ_TOPIC, "workers", 1, NULL },
	{ "three partitions", LMQ_STREAM, "members", 3, "partitions=3" },
	{ "keys in order", LMQ_QUEUE, NULL, 3, "order=key" },
};
enum { SCENES = sizeof scenes / sizeof *scenes };

struct heir {
	_Atomic int state;
	_Atomic int64_t got;
	unsigned attempt;	/* that its messages must have */
};

static bool deaf, uncounted;
static char path[4200];
static const struct scene *scene;
static struct heir *heirs;	/* two, in turn */
static int64_t *times;
static uint64_t kills;

bool __real_vigil_look(struct vigil *v, lmq_store *s, uint32_t space);
bool __wrap_vigil_look(struct vigil *v, lmq_store *s, uint32_t space);
bool __wrap_vigil_look(struct vigil *v, lmq_store *s, uint32_t space)
{
	return !deaf && __real_vigil_look(v, s, space);
}

void __real_roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt);
void __wrap_roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt);
void __wrap_roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt)
{
	__real_roster_begin(s, slot, first, uncounted ? first : end, attempt);
}

static void poll_briefly(void)
{
	struct timespec t = { .tv_nsec = 50000 };
	nanosleep(&t, NULL);
}

static int fill(void *unused)
{
	static const char *const attempts[] = { "max-attempts=none", "backoff=1ms..1ms" };
	const char *properties[] = { scene->property, "max-attempts=none", "backoff=1ms..1ms" };
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_CREATE };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_store *s;
	lmq_channel *c;
	lmq_writer *w;
	bool created;
	int rc = lmq_store_open(path, &options, &s);
	(void)unused;
	if (rc == 0)
		rc = lmq_channel_make(s, "work", scene->kind, properties + !scene->property,
			scene->kind == LMQ_QUEUE ? 3 : scene->property != NULL, &created, NULL, NULL);
	if (rc == 0)
		rc = lmq_channel_open(s, "work", scene->kind, 0, &c);
	if (rc == 0 && scene->group)
		rc = lmq_group_make(c, scene->group, LMQ_SEEK_FIRST, 0, attempts, 2, &created, NULL, NULL);
	if (rc == 0)
		rc = lmq_writer_open(s, LMQ_SYNC_FULL, &w);
	for (unsigned i = 0; rc == 0 && i < scene->messages; i++) {
		char key[2] = { (char)('a' + i), 0 };
		m.body = m.key = (struct lmq_bytes){ key, 1 };
		lmq_writer_partition(w, scene->kind == LMQ_STREAM ? (int64_t)i : -1);
		rc = lmq_writer_add(w, c, &m);
		if (rc == 0)
			rc = lmq_writer_commit(w);
	}
	if (rc != 0)
		fprintf(stderr, "%s\n", lmq_error(s));
	lmq_store_close(s);
	return rc;
}

/* Takes what is there, and looks at its attempts. LMQ_END: nothing. */
static int take(lmq_receiver *r, const struct heir *h, unsigned *have)
{
	struct lmq_message m;
	size_t count;
	int rc = lmq_receiver_claim(r, MOST, 1 << 20, &count);
	while (rc == 0 && (rc = lmq_receiver_next(r, &m)) == 0) {
		need(m.attempt == h->attempt, "%s: after %llu kills in this store attempt %u, not %u", scene->what,
			(unsigned long long)h->attempt - 1, m.attempt, h->attempt);
		++*have;
	}
	return rc;
}

static int heir(void *argument)
{
	struct heir *h = argument;
	struct lmq_receiver_options o = { .size = sizeof o, .group = scene->group };
	lmq_store *s;
	lmq_channel *c;
	lmq_receiver *r;
	lmq_watch *w;
	unsigned have = 0;
	int rc = lmq_store_open(path, NULL, &s);
	if (rc == 0)
		rc = lmq_channel_open(s, "work", LMQ_ANY, 0, &c);
	if (rc == 0)
		rc = lmq_receiver_open(c, &o, &r);
	if (rc == 0)
		rc = lmq_watch_open(s, &w);
	if (rc == 0)
		rc = lmq_watch_receiver(w, r);
	while (rc == 0 && have < scene->messages) {
		lmq_watch_arm(w);
		rc = take(r, h, &have);
		if (rc == LMQ_END && have < scene->messages) {
			atomic_store(&h->state, WAITS);
			rc = lmq_watch_wait(w, LMQ_FOREVER);
		}
	}
	atomic_store(&h->got, clock_monotonic());
	atomic_store(&h->state, HOLDS);
	while (rc == 0 || rc == LMQ_END)
		pause();
	fprintf(stderr, "%s: %s\n", scene->what, lmq_error(s));
	return rc;
}

static void until(struct heir *h, pid_t pid, int state)
{
	int64_t deadline = lmq_deadline(PATIENCE * INT64_C(1000000000));
	while (atomic_load(&h->state) < state) {
		if (has_ended(pid)) {
			int status = end_of(pid);
			if (status == 1)
				exit(1);	/* it has said itself what is wrong */
			broken("%s: one who waits ended with %d", scene->what, status);
		}
		need(clock_monotonic() < deadline, "%s: nobody has got what a dead one had, for %d s", scene->what, PATIENCE);
		poll_briefly();
	}
}

static pid_t begin(struct heir *h, unsigned attempt)
{
	atomic_store(&h->state, STARTS);
	h->attempt = attempt;
	return child(heir, h);
}

static void play(uint64_t count)
{
	pid_t pid, next;
	remove_tree(path);
	need(in_child(fill, NULL) == 0, "the messages");
	pid = begin(&heirs[0], 1);
	until(&heirs[0], pid, HOLDS);
	for (unsigned i = 0; i < count; i++) {
		struct heir *h = &heirs[(i + 1) % 2];
		int64_t now;
		next = begin(h, i + 2);
		until(h, next, draw(8) ? WAITS : STARTS);
		if (draw(4) == 0)
			kill(pid, SIGSTOP);
		if (draw(2))
			poll_briefly();
		now = clock_monotonic();
		kill(pid, SIGKILL);
		until(h, next, HOLDS);
		times[kills] = atomic_load(&h->got) - now;
		need(times[kills] < LONGEST, "%s: one had to wait for %.0f ms", scene->what, (double)times[kills] / MS);
		kills++;
		end_of(pid);
		pid = next;
	}
	kill(pid, SIGKILL);
	end_of(pid);
}

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	uint64_t most = t.count ? t.count : 1000, late = 0;
	snprintf(path, sizeof path, "%s/store", t.place);
	deaf = trial_word(&t, "deaf");
	uncounted = trial_word(&t, "uncounted");
	heirs = shared_memory(2 * sizeof *heirs);
	times = calloc(most, sizeof *times);
	need(times, "out of memory");
	for (unsigned i = 0; kills < most; i++) {
		uint64_t each = most / SCENES + 1 < ROUND ? most / SCENES + 1 : ROUND;
		scene = &scenes[i % SCENES];
		play(most - kills < each ? most - kills : each);
	}
	remove_tree(path);
	qsort(times, most, sizeof *times, by_time);
	while (late < most && times[most - 1 - late] > SOON)
		late++;
	/* On a busy machine a few may come late by its fault; but not by as much as a missed death costs. */
	need(late <= 2 + most / 100, "%llu of %llu had to wait for more than 50 ms", (unsigned long long)late,
		(unsigned long long)most);
	printf("%llu consumers killed, 0 attempts not counted; others had their messages after %.2f ms (median), %.2f ms (99 of "
		"100), %.2f ms (longest); %llu later than 50 ms\n", (unsigned long long)most, (double)times[most / 2] / MS,
		(double)times[most * 99 / 100] / MS, (double)times[most - 1] / MS, (unsigned long long)late);
	return 0;
}
