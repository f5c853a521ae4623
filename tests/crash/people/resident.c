/* SPDX-License-Identifier: ISC */
#include "resident.h"

#include <stdio.h>

enum { BATCH = 16, DEPTH = 1000, AHEAD = 200 };		/* messages */

struct residents *residents;
static char path[4200];
static bool inside;

void residents_begin(const char *store, bool stay_inside)
{
	snprintf(path, sizeof path, "%s", store);
	inside = stay_inside;
	residents = shared_memory(sizeof *residents);
}

void resident_at(enum role role, enum where where)
{
	atomic_fetch_add(&residents->person[role].lap, 1);
	atomic_store(&residents->person[role].since, atomic_load(&residents->sent));
	atomic_store(&residents->person[role].where, where);
}

static int enter(struct desk *d, const char *name, enum lmq_kind kind, const char *property)
{
	bool created;
	int rc;
	*d = (struct desk){ .store = NULL };
	rc = lmq_store_open(path, &(struct lmq_store_options){ .size = sizeof(struct lmq_store_options), .flags = LMQ_CREATE },
		&d->store);
	if (rc == 0)
		rc = lmq_channel_make(d->store, name, kind, &property, property != NULL, &created, NULL, NULL);
	if (rc == 0)
		rc = lmq_channel_open(d->store, name, kind, 0, &d->queue);
	return rc == 0 ? lmq_writer_open(d->store, LMQ_SYNC_RELAXED, &d->writer) : rc;
}

static int send_batch(struct desk *d, lmq_channel *stream)
{
	static char body[BODY];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int rc = 0;
	m.body = (struct lmq_bytes){ body, BODY };
	for (unsigned i = 0; rc == 0 && i < 2 * BATCH; i++)
		rc = lmq_writer_add(d->writer, i % 2 ? stream : d->queue, &m);
	return rc == 0 ? lmq_writer_commit(d->writer) : rc;
}

/* Whether somebody is in the middle of reading while all this was sent, as on a busy machine: he may. */
static bool outrun(void)
{
	uint64_t sent = atomic_load(&residents->sent);
	for (int i = 1; i < PEOPLE; i++)
		if (atomic_load(&residents->person[i].where) == READING && sent > atomic_load(&residents->person[i].since) + AHEAD)
			return true;
	return false;
}

static int produce(void)
{
	struct desk d;
	lmq_channel *stream;
	int rc = enter(&d, "log", LMQ_STREAM, "max-messages=250");
	stream = d.queue;
	if (rc == 0)
		rc = lmq_channel_open(d.store, "jobs", LMQ_QUEUE, LMQ_CREATE, &d.queue);
	while (rc == 0) {
		rc = send_batch(&d, stream);
		atomic_fetch_add(&residents->sent, BATCH);
		do
			nap();
		while (atomic_load(&residents->sent) > atomic_load(&residents->settled) + DEPTH || outrun());
	}
	return rc;
}

static int receive(lmq_receiver *r, size_t max, bool settle)
{
	struct lmq_message m;
	size_t count;
	int rc = lmq_receiver_claim(r, max, MIB, &count);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = lmq_receiver_next(r, &m);
	if (rc == 0 && settle)
		rc = lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED);
	if (rc == 0 && settle)
		atomic_fetch_add(&residents->settled, count);
	return rc;
}

static int wait_for(lmq_watch *w, enum role role)
{
	int rc;
	resident_at(role, OUTSIDE);
	rc = lmq_watch_wait(w, role == WAITER ? lmq_deadline((20 + draw(100)) * (int64_t)MS) : LMQ_FOREVER);
	resident_at(role, READING);
	return rc == LMQ_EINTR || rc == LMQ_ETIME ? 0 : rc;
}

/* Nothing is left: so all is settled, also what nobody counted who was killed in between. */
static void catch_up(uint64_t sent)
{
	uint64_t settled = atomic_load(&residents->settled);
	while (settled < sent && !atomic_compare_exchange_weak(&residents->settled, &settled, sent))
		;
}

/* From the queue with the work, or from one to which nothing comes. */
static int consume(const char *name, enum role role)
{
	struct desk d;
	lmq_receiver *r = NULL;
	lmq_watch *w = NULL;
	int rc = enter(&d, name, LMQ_QUEUE, NULL);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	if (rc == 0)
		rc = lmq_watch_open(d.store, &w);
	if (rc == 0)
		rc = lmq_watch_receiver(w, r);
	while (rc == 0) {
		uint64_t sent = atomic_load(&residents->sent);
		resident_at(role, READING);
		lmq_watch_arm(w);
		rc = receive(r, 2 * BATCH, true);
		if (rc == LMQ_END && role == CONSUMER)
			catch_up(sent);
		if (rc == LMQ_END)
			rc = wait_for(w, role);
	}
	return rc;
}

/* Looks at some messages, and waits for something else; that alone must end its snapshot. */
static int look_and_wait(struct desk *d, lmq_watch *w)
{
	struct lmq_message m;
	lmq_reader *r;
	int rc = lmq_reader_open(d->queue, &r);
	while (rc == 0 && (rc = lmq_reader_next(r, &m)) == 0) {
		if (draw(50) > 0)
			continue;
		lmq_watch_arm(w);
		rc = wait_for(w, WAITER);
	}
	lmq_reader_close(r);
	resident_at(WAITER, READING);
	nap();
	return rc == LMQ_END || rc == LMQ_EGONE ? 0 : rc;
}

static int follow(void)
{
	lmq_channel *quiet;
	lmq_watch *w = NULL;
	struct desk d;
	int rc = enter(&d, "log", LMQ_STREAM, "max-messages=250");
	if (rc == 0)
		rc = lmq_channel_open(d.store, "quiet", LMQ_QUEUE, LMQ_CREATE, &quiet);
	if (rc == 0)
		rc = lmq_watch_open(d.store, &w);
	if (rc == 0)
		rc = lmq_watch_channel(w, quiet);
	resident_at(WAITER, READING);
	while (rc == 0)
		rc = look_and_wait(&d, w);
	return rc;
}

static void rest(enum role role)
{
	resident_at(role, OUTSIDE);
	for (unsigned i = 20 + draw(100); i > 0; i--)
		nap();
	resident_at(role, READING);
}

static int read_and_pause(void)
{
	struct lmq_message m;
	struct desk d;
	lmq_reader *r = NULL;
	int rc = enter(&d, "log", LMQ_STREAM, "max-messages=250");
	while (rc == 0) {
		rc = lmq_reader_open(d.queue, &r);
		resident_at(PAUSER, READING);
		while (rc == 0 && (rc = lmq_reader_next(r, &m)) == 0) {
			if (draw(50) > 0)
				continue;
			for (unsigned i = draw(20); i > 0; i--)
				nap();
			if (!inside)
				lmq_reader_pause(r);
			rest(PAUSER);
		}
		lmq_reader_close(r);
		rc = rc == LMQ_END || rc == LMQ_EGONE ? 0 : rc;
		nap();
	}
	return rc;
}

static int hold(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct desk d;
	lmq_receiver *r = NULL;
	int rc = enter(&d, "held", LMQ_QUEUE, "max-attempts=none");
	m.body = (struct lmq_bytes){ "held", 4 };
	if (rc == 0)
		rc = lmq_writer_add(d.writer, d.queue, &m);
	if (rc == 0)
		rc = lmq_writer_commit(d.writer);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	while (rc == 0) {
		resident_at(HOLDER, READING);
		rc = receive(r, 1 + draw(3), false);
		lmq_receiver_pause(r);
		rest(HOLDER);
		if (rc == 0)
			rc = lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED);
		if (rc == 0)
			lmq_receiver_release(r);
		if (rc == LMQ_END)
			return 0;
	}
	return rc;
}

int resident_work(void *role)
{
	switch (*(enum role *)role) {
	case PRODUCER:
		return produce();
	case CONSUMER:
		return consume("jobs", CONSUMER);
	case WAITER:
		return follow();
	case RECEIVER:
		return consume("silent", RECEIVER);
	case PAUSER:
		return read_and_pause();
	default:
		return hold();
	}
}
