/* SPDX-License-Identifier: ISC */
/*
 * Messages enter a position: those that are to be delivered in another order than they lie in the log get runs.
 *
 * Into a queue they enter as they are sent. What is published to a topic or stream must not cost more for each group
 * that reads it: so to a group with order=key they enter later, by whoever receives and finds nothing free, the next
 * thousand at a time. Such a group never hands out anything but what has entered. Messages of a key form a chain
 * (run.c): the first is ready, the others are blocked until it is settled. Not more than BLOCKED_MAX are at once: one
 * key with a stuck message holds up the others when so many of its own lie behind it, and no more is stored for it.
 */
#include "enter.h"

enum { STEP_MESSAGES = 1000, STEP_BYTES = 4 << 20 };
enum { NEED_MESSAGES = 8 };	/* on a full disk */

struct entry {			/* how one message enters */
	uint8_t priority;
	int64_t due;		/* 0: at once */
	uint64_t hash;		/* of the ordered key; 0: none */
};

/* The number under which messages of a key are ordered; never 0. Equal for equal keys. */
static uint64_t entry_hash(const uint8_t uuid[16], struct lmq_bytes key)
{
	uint64_t hash = hash64(uuid, key.data, key.size);
	return hash ? hash : 1;
}

/* A message of an ordered key waits behind the ones before it. */
static int enter_chain(struct queue *q, struct run_record *r)
{
	uint64_t before;
	int rc = chain_first(q->t, q->position.space, r->key_hash, &before);
	if (rc == 0)
		r->state = RUN_BLOCKED;
	else if (rc != LMQ_END)
		return rc;
	return chain_put(q->t, q->position.space, r->key_hash, r->first);
}

/* Makes a run of [first, end), which lies behind all others; with a hash it is one message. next moves to its end. */
static int entry_put(struct queue *q, const struct entry *e, uint64_t first, uint64_t end)
{
	struct run_record r = { .first = first, .end = end, .state = e->due ? RUN_DELAYED : RUN_READY,
		.priority = e->priority, .due = e->due, .key_hash = e->hash, .history.exit_status = -1 };
	int rc = group_advance(q->t, &q->position, first);
	q->position.next = end;
	if (rc == 0 && e->hash)
		rc = enter_chain(q, &r);
	return rc == 0 ? queue_put(q, &r) : rc;
}

/* ---- queues -------------------------------------------------------------------------------- */

static struct entry entry_of(const struct lmq_message *m, int64_t time, bool ordered, const uint8_t uuid[16])
{
	struct entry e = { .priority = (uint8_t)m->priority };
	int64_t due = m->not_before;
	if (m->delay > 0 && m->delay > INT64_MAX - time)
		due = INT64_MAX;
	else if (m->delay > 0 && time + m->delay > due)
		due = time + m->delay;
	e.due = due > time ? due : 0;
	if (ordered && m->key.data)
		e.hash = entry_hash(uuid, m->key);
	return e;
}

/* What is not plain. Equal neighbours share a run. */
static int put_special(struct queue *q, const struct entry *e, uint64_t first, uint64_t end)
{
	bool plain = e->priority == LMQ_PRIORITY_DEFAULT && e->due == 0 && e->hash == 0;
	return plain ? 0 : entry_put(q, e, first, end);
}

int enter_batch(struct queue *q, const struct batch *b, uint64_t first, bool ordered)
{
	const uint8_t *record, *start, *end;
	struct entry last = { .priority = LMQ_PRIORITY_DEFAULT };
	uint64_t run = first, offset = first;
	struct store_record store;
	size_t at = 0;
	int rc = get_store_record(q->t->store, q->t->mdb, &store);
	for (; rc == 0 && offset - first < b->count && batch_next(b, &at, &record, &start, &end); offset++) {
		struct decoded parts;
		struct lmq_message m;
		struct blob blob;
		struct entry e;
		if (!message_decode(start, end, &m, &parts, &blob))
			return fail(q->t->store, LMQ_EBUG, "%s: a message cannot be read back", q->record.name);
		/* By the clock: the log's own time may be ahead of it, since that never goes back. */
		e = entry_of(&m, b->time, ordered, store.uuid);
		if (e.hash || e.hash != last.hash || e.priority != last.priority || e.due != last.due) {
			rc = put_special(q, &last, run, offset);
			run = offset;
			last = e;
		}
	}
	return rc == 0 ? put_special(q, &last, run, offset) : rc;
}

/* ---- groups -------------------------------------------------------------------------------- */

struct found {			/* a message to be entered */
	uint64_t offset, hash;
};

/* The next messages; *end is behind the last, or behind what compaction left of them. */
static int find_next(struct queue *q, struct found *list, size_t *count, uint64_t *end)
{
	struct store_record store;
	struct decoded parts;
	struct snapshot view;
	struct log_cursor c;
	size_t bytes = 0, most = q->t->in_need ? NEED_MESSAGES : STEP_MESSAGES;
	int rc = log_cursor_within(q->t, q->id, q->lane, &q->head, &view, &c);
	*count = 0;
	*end = q->position.next;
	if (rc == 0)
		rc = get_store_record(q->t->store, q->t->mdb, &store);
	log_seek(&c, q->position.next);
	while (rc == 0 && *count < most && bytes < STEP_BYTES) {
		struct record record;
		struct lmq_message m;
		struct blob blob;
		rc = log_next(&c, &record);
		if (rc == 0)
			rc = log_message(&c, &record, &m, &parts, &blob);
		if (rc != 0)
			break;
		list[(*count)++] = (struct found){ record.offset, m.key.data ? entry_hash(store.uuid, m.key) : 0 };
		bytes += (size_t)(record.end - record.data);
		*end = record.offset + 1;
	}
	log_cursor_leave(&c);
	if (rc == LMQ_END)
		*end = q->head.end;
	return rc == LMQ_END ? 0 : rc;
}

/* What lies between is not there any more, and so is settled. Neighbours without a key are one run. */
static int enter_found(struct queue *q, const struct found *list, size_t count, uint64_t end)
{
	uint64_t next = q->position.next;
	int rc = 0;
	for (size_t i = 0, n; rc == 0 && i < count; i += n) {
		struct entry e = { .priority = LMQ_PRIORITY_DEFAULT, .hash = list[i].hash };
		for (n = 1; !e.hash && i + n < count && !list[i + n].hash &&
				list[i + n].offset == list[i].offset + n; n++)
			;
		q->position.settled += list[i].offset - next;
		q->position.next = list[i].offset;
		next = list[i].offset + n;
		rc = entry_put(q, &e, list[i].offset, next);
	}
	q->position.settled += end - next;
	q->position.next = end;
	return rc;
}

int enter_again(struct queue *q, uint64_t offset, struct lmq_bytes key)
{
	struct run_record r = { .first = offset, .end = offset + 1, .priority = LMQ_PRIORITY_DEFAULT,
		.history.exit_status = -1 };
	struct store_record store;
	int rc = 0;
	if (key.data && limit_of(&q->rules, LIMIT_ORDER_KEY) == 1) {
		rc = get_store_record(q->t->store, q->t->mdb, &store);
		r.key_hash = entry_hash(store.uuid, key);
	}
	if (rc == 0 && r.key_hash)
		rc = enter_chain(q, &r);
	q->position.settled -= q->position.settled > 0;
	return rc == 0 ? queue_put(q, &r) : rc;
}

static int enter_some(struct queue *q, struct burial *b, void *what)
{
	struct found list[STEP_MESSAGES];
	uint64_t end;
	size_t count;
	int rc;
	(void)b, (void)what;
	if (limit_of(&q->rules, LIMIT_ORDER_KEY) != 1 || q->position.state[RUN_BLOCKED] >= BLOCKED_MAX)
		return 0;
	/* What could not be clipped, as somebody has it or it was too much, is left behind as a run for later. */
	rc = group_advance(q->t, &q->position, q->head.first);
	if (rc == 0)
		rc = find_next(q, list, &count, &end);
	return rc == 0 ? enter_found(q, list, count, end) : rc;
}

int enter_more(lmq_store *s, uint32_t id, uint16_t lane, const char *group, uint64_t *missed)
{
	int rc = aside(&(struct aside){ s, id, lane, group, enter_some, NULL }, missed);
	return rc == LMQ_END ? 0 : rc;
}
