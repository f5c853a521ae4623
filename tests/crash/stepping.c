/* SPDX-License-Identifier: ISC */
/*
 * stepping [-n EVENTS] [-r SEED] DIRECTORY [hasty] [alone]
 *
 * The clocks are ours: time stands still and passes, and the wall clock is set back and forth, by milliseconds
 * and by months. Messages are sent, delayed, leased, given back, acknowledged, the machine is started again,
 * and after each event a model of the queue (time/foretold.c) knows what the next claim must give: delays and
 * retries end when the clock shows the time that was told, and not before; leases not before that time has
 * passed either, while the machine runs; the first in order of those that are ready comes next, whatever the
 * clocks did; each end is counted as an attempt. The times in a stream never go backwards. Then, one by one:
 * limits of age, windows of ids, and whether someone who waits for a time, or for the end of a lease, wakes
 * when it has come and not before.
 *
 * What must be found: hasty, the index of due times is read as if all were due an hour earlier, while there are no
 * leases; alone, nobody knows which start of the machine it is, so leases end by the wall clock alone.
 */
#include "crash.h"
#include "people/sleeper.h"
#include "time/clocks.h"
#include "time/foretold.h"

#include <stdio.h>
#include <string.h>

static const int64_t HOUR = 3600 * INT64_C(1000) * MS;

static char path[4200];
static bool hasty, alone;
static struct desk d;
static lmq_receiver *receiver;
static lmq_channel *stream;
static int64_t last_time;	/* in the stream */
static uint64_t in_stream, claims;

/* ---- the clocks --------------------------------------------------------------------------- */

int clock_gettime(clockid_t id, struct timespec *t)
{
	return clocks_read(id, t);
}

uint32_t __wrap_boot_number(void);
uint32_t __wrap_boot_number(void)
{
	return alone ? 0 : machine_start();
}

int __real_run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first);
int __wrap_run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first);
int __wrap_run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first)
{
	int rc = __real_run_first_due(s, cursor, space, from, due, first);
	if (rc == 0 && hasty && !foretold_leases())
		*due -= HOUR;
	return rc;
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
	static uint64_t next;
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int64_t span = some_span();
	uint32_t how = draw(4);
	struct foretold *n = foretold_send(how < 2 ? wall_time() + span : 0);
	if (!n)
		return;
	if (how == 0)
		m.delay = span;
	else if (how == 1)
		m.not_before = n->due;
	n->offset = put(d.queue, m);
	need(n->offset == next, "the offset %llu came where %llu was to come", (unsigned long long)n->offset,
		(unsigned long long)next);
	next++;
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
	last_time = wall_time() > last_time ? wall_time() : last_time;
	need(m.time == last_time, "the time of message %llu is %lld ms off", (unsigned long long)offset,
		(long long)((m.time - last_time) / MS));
	lmq_reader_close(r);
	in_stream++;
}

static void finish_one(struct foretold *n, enum lmq_outcome outcome)
{
	struct lmq_verdict v = { .offset = n->offset, .count = 1, .outcome = outcome, .delay = some_span(),
		.exit_status = -1 };
	must(lmq_receiver_conclude(receiver, &v, 1, NULL, LMQ_SYNC_RELAXED), "settling");
	if (v.outcome == LMQ_ACKNOWLEDGE)
		foretold_acknowledge(n);
	else
		foretold_retry(n, v.delay);
}

static void lease_one(struct foretold *n)
{
	int64_t span = some_span();
	must(lmq_receiver_lease(receiver, span, LMQ_SYNC_RELAXED), "leasing");
	foretold_lease(n, span);
	n->attempts++;
}

static struct foretold *take_one(void)
{
	struct foretold *n = foretold_claim();
	struct lmq_message m;
	size_t count;
	int rc = lmq_receiver_claim(receiver, 1, 1 << 20, &count);
	claims++;
	if (!n) {
		if (rc == 0)
			must(lmq_receiver_next(receiver, &m), "receiving");
		need(rc == LMQ_END, "message %llu came before its time", (unsigned long long)m.offset);
		return NULL;
	}
	need(rc != LMQ_END, "message %llu is ready and does not come", (unsigned long long)n->offset);
	must(rc, "claiming");
	must(lmq_receiver_next(receiver, &m), "receiving");
	need(!foretold_waits(m.offset), "message %llu came before its time", (unsigned long long)m.offset);
	need(m.offset == n->offset, "message %llu came where %llu was to come", (unsigned long long)m.offset,
		(unsigned long long)n->offset);
	need(m.attempt == n->attempts + 1, "message %llu came for attempt %u, not %u", (unsigned long long)m.offset, m.attempt,
		n->attempts + 1);
	return n;
}

static void work_one(void)
{
	struct foretold *n = take_one();
	if (n && draw(3))
		finish_one(n, draw(2) ? LMQ_ACKNOWLEDGE : LMQ_RETRY);
	else if (n)
		lease_one(n);
}

/* Of so many steps some end where the clock seldom comes to, and in the end all messages wait for that. */
static void finish_all(void)
{
	struct foretold *n;
	machine_runs(31 * 24 * HOUR);
	wall_step(400 * 24 * HOUR);
	while ((n = take_one()))
		finish_one(n, LMQ_ACKNOWLEDGE);
	wall_step(-431 * 24 * HOUR);
}

/* Whoever has a lease may acknowledge as long as nobody has got the message after its end. */
static void settle_one(void)
{
	struct lmq_lease l = { .channel = "jobs", .outcome = draw(2) ? LMQ_ACKNOWLEDGE : LMQ_EXTEND, .delay = some_span() };
	struct foretold *n = foretold_any();
	if (!n || !n->leased)
		return;
	l.offset = n->offset;
	l.attempt = n->attempts;
	must(lmq_store_settle(d.store, &l, 1, LMQ_SYNC_RELAXED), "settling a lease");
	need(l.status == 0, "the lease of message %llu was lost: %s", (unsigned long long)n->offset, l.why ? l.why : "?");
	if (l.outcome == LMQ_ACKNOWLEDGE)
		foretold_acknowledge(n);
	else
		foretold_lease(n, l.delay);
}

/* The other clocks begin again; the wall clock is what it is, or wrong. */
static void boot(void)
{
	leave();
	if (draw(2))
		wall_wander();
	machine_restart();
	enter();
}

static void event(void)
{
	uint32_t what = draw(1000);
	if (what < 4)
		boot();
	else if (what < 200)
		wall_wander();
	else if (what < 300)
		machine_runs(some_span());
	else if (what < 500)
		send_one();
	else if (what < 599)
		log_one();
	else if (what < 600)
		finish_all();
	else if (what < 700)
		settle_one();
	else
		work_one();
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
	wall_step(-30 * 24 * HOUR);
	put(c, m);
	need(count_in(c) == 2, "a message was dropped because the clock was set back");
	wall_step(30 * 24 * HOUR + HOUR / 2);
	put(c, m);
	need(count_in(c) == 3, "a message was dropped before it was an hour old");
	wall_step(HOUR);
	for (int i = 0; i < 1100; i++)	/* blocks are dropped as a whole */
		put(c, m);
	wall_step(2 * HOUR);
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
	wall_step(-24 * HOUR);
	put(c, m);
	need(count_in(c) == 1, "an id was forgotten because the clock was set back");
	wall_step(24 * HOUR + HOUR / 2);
	put(c, m);
	need(count_in(c) == 1, "an id was forgotten within its window");
	wall_step(HOUR);
	put(c, m);
	need(count_in(c) == 2, "an id was remembered beyond its window");
	lmq_channel_close(c);
}

static void waiting(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = make("later", LMQ_QUEUE, NULL);
	pid_t pid;
	m.delay = HOUR;
	put(c, m);
	lmq_channel_close(c);
	leave();
	pid = sleeper_begin(path, "later");
	need(!has_ended(pid), "a message came before its time, to one who waits");
	wall_step(-HOUR);
	wall_step(3 * HOUR);
	need(sleeper_wakes(pid), "the clock was set, and one who waits for a time sleeps on");
	enter();
}

/* When the lease of the one message ends, by the wall clock. */
static int64_t lease_end(void)
{
	struct lmq_delivery delivery;
	struct lmq_message m;
	lmq_channel *c;
	lmq_reader *r;
	enter();
	must(lmq_channel_open(d.store, "later", LMQ_QUEUE, 0, &c), "later");
	must(lmq_reader_open(c, &r), "a reader");
	must(lmq_reader_next(r, &m), "reading");
	must(lmq_reader_delivery(r, &delivery), "a delivery");
	lmq_reader_close(r);
	lmq_channel_close(c);
	leave();
	return delivery.due;
}

/* The clock is set forward: who waits looks, finds that the lease goes on, and waits on. */
static void leases(void)
{
	lmq_channel *c = make("later", LMQ_QUEUE, NULL);
	int64_t began = clock_monotonic();
	lmq_receiver *r;
	size_t count;
	pid_t pid;
	must(lmq_receiver_open(c, NULL, &r), "a receiver");
	must(lmq_receiver_claim(r, 1, 1 << 20, &count), "claiming");
	must(lmq_receiver_lease(r, HOUR, LMQ_SYNC_RELAXED), "leasing");
	lmq_receiver_close(r);
	lmq_channel_close(c);
	leave();
	pid = sleeper_begin(path, "later");
	need(!has_ended(pid), "a lease ended before its time, for one who waits");
	wall_step(3 * HOUR);
	while (lease_end() != wall_time() + HOUR && clock_monotonic() < began + 4000 * (int64_t)MS)
		nap();
	need(!has_ended(pid), "the clock was set, and a lease ended before its time");
	need(lease_end() == wall_time() + HOUR, "the clock was set, and nobody has moved the end of a lease");
	machine_runs(HOUR);
	need(sleeper_wakes(pid), "a lease has ended, and one who waits for that sleeps on");
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
	alone = trial_word(&t, "alone");
	clocks_take();
	enter();
	for (uint64_t i = 0; i < events; i++)
		event();
	clocks_wait();
	ages();
	windows();
	waiting();
	leases();
	must(lmq_store_check(d.store, &accounts, say_fault, NULL, NULL), "checking");
	leave();
	remove_tree(path);
	printf("%llu steps of the clock and %u starts of the machine, %llu claims as foretold, %llu leases, delays and "
		"retries ended in time, %llu leases not ended by a step, %llu times in order\n", (unsigned long long)wall_steps(),
		machine_start(), (unsigned long long)claims, (unsigned long long)foretold_ended,
		(unsigned long long)foretold_kept, (unsigned long long)in_stream);
	return 0;
}
