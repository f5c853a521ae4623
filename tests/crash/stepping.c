/* SPDX-License-Identifier: ISC */
/*
 * stepping [-n EVENTS] [-r SEED] DIRECTORY [hasty]
 *
 * The wall clock is ours: it stands still, and steps back and forth, by milliseconds and by months. Messages are sent,
 * delayed, leased, given back, acknowledged, the machine is started again, and after each event a model of the queue
 * knows what the next claim must give: leases, delays and retries end when the clock shows the time that was told, and
 * not before; the first in order of those that are ready comes next, whatever the clock did; each end is counted as an
 * attempt. The times in a stream never go backwards. Then, one by one: limits of age, windows of ids, and whether
 * someone who waits for a time wakes when the clock is set to it.
 *
 * hasty: the index of due times is read as if all were due an hour earlier, which must be found.
 */
#include "crash.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64 };		/* messages in the queue */
static const int64_t SECOND = INT64_C(1000) * MS, HOUR = 3600 * INT64_C(1000) * MS;
static const int64_t LONGEST = INT64_C(2000) * MS;

static struct clocks {
	_Atomic int64_t wall;	/* what CLOCK_REALTIME says */
	_Atomic int64_t since;	/* taken from the others: when the machine was started */
} *clocks;

struct model {			/* of a message in the queue */
	uint64_t offset;
	bool leased;
	int64_t due;		/* 0: ready */
	uint32_t attempts;
};

static char path[4200];
static bool hasty;
static struct desk d;
static lmq_receiver *receiver;
static lmq_channel *stream;
static struct model queue[MOST];
static unsigned queued;
static int64_t last_time;	/* in the stream */
static uint64_t in_stream, steps, claims, boots, ended;

/* ---- the clocks --------------------------------------------------------------------------- */

int clock_gettime(clockid_t id, struct timespec *t)
{
	int64_t now = 0;
	if (!clocks || id != CLOCK_REALTIME) {
		int rc = (int)syscall(SYS_clock_gettime, id, t);
		if (!clocks || rc != 0)
			return rc;
		now = (int64_t)t->tv_sec * SECOND + t->tv_nsec - atomic_load(&clocks->since);
	} else {
		now = atomic_load(&clocks->wall);
	}
	*t = (struct timespec){ now / SECOND, now % SECOND };
	return 0;
}

int __real_run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first);
int __wrap_run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first);
int __wrap_run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first)
{
	int rc = __real_run_first_due(s, cursor, space, from, due, first);
	if (rc == 0 && hasty)
		*due -= HOUR;
	return rc;
}

static int64_t wall(void)
{
	return atomic_load(&clocks->wall);
}

static void step_by(int64_t ns)
{
	atomic_fetch_add(&clocks->wall, ns);
	steps++;
}

/* A millisecond to a month. */
static int64_t some_span(void)
{
	static const int64_t units[] = { MS, 1000 * (int64_t)MS, 60000 * (int64_t)MS, 3600000 * (int64_t)MS,
		24 * 3600000 * (int64_t)MS };
	return units[draw(5)] * (1 + draw(30));
}

/* ---- the store ---------------------------------------------------------------------------- */

static void must(int rc, const char *what)
{
	need(rc == 0, "%s: %d: %s", what, rc, d.store ? lmq_error(d.store) : "out of memory");
}

static lmq_channel *make(const char *name, enum lmq_kind kind, const char *property)
{
	lmq_channel *c;
	bool created;
	must(lmq_channel_make(d.store, name, kind, &property, property != NULL, &created, NULL, NULL), name);
	must(lmq_channel_open(d.store, name, kind, 0, &c), name);
	return c;
}

static void enter(void)
{
	must(desk_open(&d, path, LMQ_CREATE, 0), "opening");
	lmq_channel_close(d.queue);
	d.queue = make("jobs", LMQ_QUEUE, "max-attempts=none");
	stream = make("log", LMQ_STREAM, NULL);
	must(lmq_receiver_open(d.queue, NULL, &receiver), "a receiver");
}

static void leave(void)
{
	lmq_receiver_close(receiver);
	lmq_channel_close(stream);
	desk_close(&d);
}

/* Commits the message; its offset. */
static uint64_t put(lmq_channel *c, struct lmq_message m)
{
	uint32_t partition;
	uint64_t offset = UINT64_MAX;
	m.body = (struct lmq_bytes){ "work", 4 };
	must(lmq_writer_add(d.writer, c, &m), "adding");
	must(lmq_writer_commit(d.writer), "sending");
	lmq_writer_position(d.writer, 0, &partition, &offset);
	return offset;
}

/* ---- events ------------------------------------------------------------------------------- */

static void send_one(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct model *n = &queue[queued];
	int64_t span = some_span();
	uint32_t how = draw(4);
	if (queued == MOST)
		return;
	*n = (struct model){ .offset = 0 };
	if (how == 0)
		n->due = wall() + (m.delay = span);
	else if (how == 1)
		n->due = m.not_before = wall() + span;
	n->offset = put(d.queue, m);
	need(queued == 0 || n->offset > queue[queued - 1].offset, "the offset %llu came again", (unsigned long long)n->offset);
	queued++;
}

static void log_one(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_reader *r;
	uint64_t offset = put(stream, m);
	need(offset == in_stream, "the stream's offset %llu is not %llu", (unsigned long long)offset,
		(unsigned long long)in_stream);
	must(lmq_reader_open(stream, &r), "a reader");
	must(lmq_reader_seek(r, LMQ_SEEK_OFFSET, (int64_t)offset), "seeking");
	must(lmq_reader_next(r, &m), "reading");
	last_time = wall() > last_time ? wall() : last_time;
	need(m.time == last_time, "the time of message %llu is %lld ms off", (unsigned long long)offset,
		(long long)((m.time - last_time) / MS));
	lmq_reader_close(r);
	in_stream++;
}

/* What the next claim makes ready, and which it must then give; NULL: none. */
static struct model *expected(void)
{
	struct model *first = NULL;
	for (struct model *m = queue; m < queue + queued; m++) {
		if (m->due <= wall()) {
			ended += m->due != 0;
			m->due = 0;
			m->leased = false;
		}
		if (m->due == 0 && !first)
			first = m;
	}
	return first;
}

static void forget(struct model *m)
{
	memmove(m, m + 1, (size_t)(queue + queued - m - 1) * sizeof *m);
	queued--;
}

static void finish_one(struct model *n)
{
	struct lmq_verdict v = { .offset = n->offset, .count = 1, .outcome = draw(2) ? LMQ_ACKNOWLEDGE : LMQ_RETRY,
		.delay = some_span(), .exit_status = -1 };
	must(lmq_receiver_conclude(receiver, &v, 1, NULL, LMQ_SYNC_RELAXED), "settling");
	if (v.outcome == LMQ_ACKNOWLEDGE) {
		forget(n);
	} else {
		n->due = wall() + v.delay;
		n->attempts++;
	}
}

static void lease_one(struct model *n)
{
	int64_t span = some_span();
	must(lmq_receiver_lease(receiver, span, LMQ_SYNC_RELAXED), "leasing");
	n->due = wall() + span;
	n->leased = true;
	n->attempts++;
}

static void take_one(void)
{
	struct model *n = expected();
	struct lmq_message m;
	size_t count;
	int rc = lmq_receiver_claim(receiver, 1, 1 << 20, &count);
	claims++;
	if (!n) {
		if (rc == 0)
			must(lmq_receiver_next(receiver, &m), "receiving");
		need(rc == LMQ_END, "message %llu came before its time", (unsigned long long)m.offset);
		return;
	}
	need(rc != LMQ_END, "message %llu is ready and does not come", (unsigned long long)n->offset);
	must(rc, "claiming");
	must(lmq_receiver_next(receiver, &m), "receiving");
	need(m.offset == n->offset, "message %llu came where %llu was to come", (unsigned long long)m.offset,
		(unsigned long long)n->offset);
	need(m.attempt == n->attempts + 1, "message %llu came for attempt %u, not %u", (unsigned long long)m.offset, m.attempt,
		n->attempts + 1);
	if (draw(3))
		finish_one(n);
	else
		lease_one(n);
}

/* Whoever has a lease may acknowledge as long as nobody has got the message after its end. */
static void settle_one(void)
{
	struct lmq_lease l = { .channel = "jobs", .outcome = draw(2) ? LMQ_ACKNOWLEDGE : LMQ_EXTEND, .delay = some_span() };
	struct model *n = queued ? &queue[draw(queued)] : NULL;
	if (!n || !n->leased)
		return;
	l.offset = n->offset;
	l.attempt = n->attempts;
	must(lmq_store_settle(d.store, &l, 1, LMQ_SYNC_RELAXED), "settling a lease");
	need(l.status == 0, "the lease of message %llu was lost: %s", (unsigned long long)n->offset, l.why ? l.why : "?");
	if (l.outcome == LMQ_ACKNOWLEDGE)
		forget(n);
	else
		n->due = wall() + l.delay;
}

/* The other clocks begin again; the wall clock is what it is, or wrong. */
static void boot(void)
{
	leave();
	if (draw(2))
		step_by(draw(2) ? some_span() : -some_span());
	atomic_store(&clocks->since, 0);
	atomic_store(&clocks->since, clock_monotonic() - 5 * SECOND);
	enter();
	boots++;
}

static void event(void)
{
	uint32_t what = draw(1000);
	if (what < 4)
		boot();
	else if (what < 300)
		step_by(draw(2) ? some_span() : -some_span());
	else if (what < 500)
		send_one();
	else if (what < 600)
		log_one();
	else if (what < 700)
		settle_one();
	else
		take_one();
}

/* ---- one by one --------------------------------------------------------------------------- */

static uint64_t count_in(lmq_channel *c)
{
	struct lmq_channel_info info;
	must(lmq_channel_info(c, &info), "counting");
	return info.messages;
}

/* Nothing young is dropped when the clock is set back, nothing old stays when it has gone on. */
static void ages(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = make("hours", LMQ_STREAM, "max-age=1h");
	put(c, m);
	step_by(-30 * 24 * HOUR);
	put(c, m);
	need(count_in(c) == 2, "a message was dropped because the clock was set back");
	step_by(30 * 24 * HOUR + HOUR / 2);
	put(c, m);
	need(count_in(c) == 3, "a message was dropped before it was an hour old");
	step_by(HOUR);
	for (int i = 0; i < 1100; i++)	/* blocks are dropped as a whole */
		put(c, m);
	step_by(2 * HOUR);
	put(c, m);
	need(count_in(c) < 1000, "%llu messages are left long after their age", (unsigned long long)count_in(c));
	lmq_channel_close(c);
}

static void windows(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = make("once", LMQ_QUEUE, "dedup=1h");
	m.id = (struct lmq_bytes){ "seven", 5 };
	put(c, m);
	put(c, m);
	step_by(-24 * HOUR);
	put(c, m);
	need(count_in(c) == 1, "an id was forgotten because the clock was set back");
	step_by(24 * HOUR + HOUR / 2);
	put(c, m);
	need(count_in(c) == 1, "an id was forgotten within its window");
	step_by(HOUR);
	put(c, m);
	need(count_in(c) == 2, "an id was remembered beyond its window");
	lmq_channel_close(c);
}

static int wait_for_time(void *unused)
{
	struct desk mine;
	lmq_receiver *r;
	lmq_watch *w;
	size_t count;
	int rc = desk_open(&mine, path, 0, 0);
	(void)unused;
	lmq_channel_close(mine.queue);
	if (rc == 0)
		rc = lmq_channel_open(mine.store, "later", LMQ_QUEUE, 0, &mine.queue);
	if (rc == 0)
		rc = lmq_receiver_open(mine.queue, NULL, &r);
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

static void waiting(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = make("later", LMQ_QUEUE, NULL);
	int64_t began;
	pid_t pid;
	m.delay = HOUR;
	put(c, m);
	lmq_channel_close(c);
	leave();
	pid = child(wait_for_time, NULL);
	need(!settled(pid), "a message came before its time, to one who waits");
	step_by(-HOUR);
	step_by(3 * HOUR);
	began = clock_monotonic();
	while (!has_ended(pid) && clock_monotonic() < began + LONGEST)
		nap();
	need(has_ended(pid) && end_of(pid) == 0, "the clock was set, and one who waits for a time sleeps on");
	enter();
}

static void say_fault(const struct lmq_fault *fault, void *context)
{
	(void)context;
	broken("the store's accounts: %s: %s", fault->object, fault->what);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	struct lmq_accounts accounts;
	uint64_t events = t.count ? t.count : 20000;
	snprintf(path, sizeof path, "%s/store", t.place);
	hasty = trial_word(&t, "hasty");
	clocks = shared_memory(sizeof *clocks);
	atomic_store(&clocks->wall, 1800000000 * SECOND);
	enter();
	for (uint64_t i = 0; i < events; i++)
		event();
	atomic_store(&clocks->since, 0);	/* from here on we also wait, by the kernel's clocks */
	ages();
	windows();
	waiting();
	must(lmq_store_check(d.store, &accounts, say_fault, NULL, NULL), "checking");
	leave();
	remove_tree(path);
	printf("%llu steps of the clock and %llu starts of the machine, %llu claims as foretold, %llu leases, delays and "
		"retries ended in time, %llu times in order\n", (unsigned long long)steps, (unsigned long long)boots,
		(unsigned long long)claims, (unsigned long long)ended, (unsigned long long)in_stream);
	return 0;
}
