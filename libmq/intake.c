/* SPDX-License-Identifier: ISC */
/*
 * Messages enter a channel: whoever appends, a sender, a burial, a move, does it through here.
 *
 * A plain batch is appended to the log and that is all. In a queue, messages of another priority than the default,
 * messages that are to wait, and messages whose key is ordered get runs of their own (group.c), and the position
 * moves to the end of the log, so that what lies behind it is plain. Equal neighbours share a run.
 */
#include "internal.h"

#include <string.h>

struct entry {			/* how one message enters */
	uint8_t priority;
	int64_t due;		/* 0: at once */
	uint64_t hash;		/* of the ordered key; 0: none */
};

/* The number under which messages of a key are ordered; never 0. Equal for equal keys. */
static uint64_t order_hash(const uint8_t uuid[16], struct lmq_bytes key)
{
	uint64_t hash = hash64(uuid, key.data, key.size);
	return hash ? hash : 1;
}

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
		e.hash = order_hash(uuid, m->key);
	return e;
}

static bool plain(const struct entry *e)
{
	return e->priority == LMQ_PRIORITY_DEFAULT && e->due == 0 && e->hash == 0;
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

static int enter_run(struct queue *q, const struct entry *e, uint64_t first, uint64_t end)
{
	struct run_record r = { .first = first, .end = end, .state = e->due ? RUN_DELAYED : RUN_READY,
		.priority = e->priority, .due = e->due, .key_hash = e->hash, .history.exit_status = -1 };
	int rc = 0;
	if (plain(e) || first == end)
		return 0;
	rc = group_advance(q->t, &q->position, first);
	q->position.next = end;
	if (rc == 0 && e->hash)
		rc = enter_chain(q, &r);
	return rc == 0 ? queue_put(q, &r) : rc;
}

/* Enters the first count records of the batch, which lie in the log from first on. */
static int enter(struct queue *q, const struct batch *b, size_t count, uint64_t first, bool ordered)
{
	const uint8_t *record, *start, *end;
	struct entry last = { .priority = LMQ_PRIORITY_DEFAULT };
	uint64_t run = first, offset = first;
	struct store_record store;
	size_t at = 0;
	int rc = get_store_record(q->t->store, q->t->mdb, &store);
	for (; rc == 0 && count > 0 && batch_next(b, &at, &record, &start, &end); count--, offset++) {
		struct decoded parts;
		struct lmq_message m;
		struct blob blob;
		struct entry e;
		if (!message_decode(start, end, &m, &parts, &blob))
			return fail(q->t->store, LMQ_EBUG, "%s: a message cannot be read back", q->record.name);
		e = entry_of(&m, q->head.last_time, ordered, store.uuid);
		if (e.hash || e.hash != last.hash || e.priority != last.priority || e.due != last.due) {
			rc = enter_run(q, &last, run, offset);
			run = offset;
			last = e;
		}
	}
	return rc == 0 ? enter_run(q, &last, run, offset) : rc;
}

static int append_queue(struct txn *t, uint32_t id, struct batch *b, size_t count, bool unlimited)
{
	struct queue q;
	uint64_t first;
	bool ordered;
	int rc = queue_load(t, id, "", &q);
	if (rc != 0)
		return rc;
	first = q.head.end;
	ordered = limit_of(&q.record, LIMIT_ORDER_KEY) == 1;
	rc = log_append(t, id, 0, b, &q.head);
	if (b->has_ttl)
		q.position.flags |= GROUP_TTL;
	if (rc == 0 && (b->special || ordered))
		rc = enter(&q, b, count, first, ordered);
	if (rc == 0 && !unlimited)
		rc = limit_push_out(&q);
	if (rc == 0)
		rc = put_head(t, id, 0, &q.head);
	return rc == 0 ? put_group(t, id, 0, "", &q.position) : rc;
}

/* The hot path: nothing of the queue but its log is touched. */
static int append_plain(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b,
	struct head_record *head)
{
	int rc = log_append(t, id, 0, b, head);
	if (rc == 0 && r->kind != LMQ_QUEUE)
		rc = retain_apply(t, id, 0, r, head);
	return rc == 0 ? put_head(t, id, 0, head) : rc;
}

static bool is_plain(const struct channel_record *r, const struct batch *b)
{
	enum full_policy full = (enum full_policy)limit_of(r, LIMIT_FULL);
	return r->kind != LMQ_QUEUE || (!b->special && !b->has_ttl && limit_of(r, LIMIT_ORDER_KEY) != 1 &&
		full != FULL_DROP_OLD && full != FULL_DEAD);
}

/* Appends the first records of the batch, size bytes and count of them. */
static int append(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, size_t count,
	size_t size, struct intake *in)
{
	struct batch part = *b;
	struct head_record head;
	int rc = get_head(t->store, t->mdb, id, 0, &head);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(t->store, "a channel without its log") : rc;
	in->first = head.end;
	part.count = count;
	part.size = size;
	part.time = lmq_now();
	return is_plain(r, b) ? append_plain(t, id, r, &part, &head) : append_queue(t, id, &part, count,
		in->unlimited);
}

static uint64_t first_bytes(const struct batch *b)
{
	const uint8_t *record, *start, *end;
	size_t at = 0;
	return batch_next(b, &at, &record, &start, &end) ? record_bytes(record, start, end) : 0;
}

int intake(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in)
{
	uint64_t count = UINT64_MAX, bytes = UINT64_MAX;
	size_t size;
	int rc = 0;
	if (limit_of(r, LIMIT_SEALED) == 1)
		return fail(t->store, LMQ_EACCES, "%s: the stream is sealed", r->name);
	if (r->kind == LMQ_QUEUE && !in->unlimited)
		rc = limit_room(t, id, r, in->ticket, first_bytes(b), &count, &bytes);
	if (rc != 0)
		return rc;
	txn_wake(t, id);
	if (in->sent && b->has_id && limit_of(r, LIMIT_DEDUP) != UINT64_MAX)
		return dedup_intake(t, id, r, b, count, bytes, in);
	in->taken = batch_prefix(b, count, bytes, &size);
	if (in->taken < b->count && (in->taken == 0 || !in->partial)) {
		in->taken = 0;
		return limit_full(t, r);
	}
	return append(t, id, r, b, in->taken, size, in);
}

int intake_append(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in)
{
	return append(t, id, r, b, b->count, b->size, in);
}
