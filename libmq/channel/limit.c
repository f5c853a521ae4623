/* SPDX-License-Identifier: ISC */
/*
 * What a queue holds at most, and what happens then: its senders are refused or wait (full=error, block), or the
 * oldest messages make room, dropped (drop-old) or as dead letters (dead). Counted in the transaction that adds,
 * so it is exact: messages are those not settled, whatever their state; bytes are those of the blocks and large
 * bodies that hold them. What is in somebody's hands is never pushed out.
 *
 * Of a topic the same counts for what its slowest group still needs: nobody is refused because of messages that only
 * the window keeps. There bytes are estimated, by the group's share of the messages. Who makes room by dropping is
 * retention (retain.c).
 *
 * Senders that wait take a number (roster.c). Only the first of those alive finds room, so none is passed over.
 */
#include "channel.h"

#include <stdio.h>

enum {
	STEP_MESSAGES = 1 << 17,	/* pushed out in one transaction: more than one adds, less than a lowered limit may ask */
	STEP_BYTES = 16 << 20,	/* the same of dead letters, */
	LETTERS_AT_ONCE = 64,	/* so many between two looks at how large they are */
	LEASES = 16384,		/* runs of leased messages that are passed */
};

static bool pushes_out(const struct channel_record *r)
{
	enum full_policy full = (enum full_policy)limit_of(r, LIMIT_FULL);
	return full == FULL_DROP_OLD || full == FULL_DEAD;
}

static uint64_t rest(uint64_t limit, uint64_t used)
{
	if (limit == UINT64_MAX)
		return limit;
	return limit > used ? limit - used : 0;
}

struct need {			/* what is in the channel and still needed */
	uint64_t messages, bytes;
};

/* LMQ_END: nobody needs anything, of a topic without groups. */
static int needed(struct txn *t, uint32_t id, const struct channel_record *r, struct need *n)
{
	struct head_record head;
	struct group_record g;
	uint64_t stored, floor;
	int rc = get_head(t->store, t->mdb, id, 0, &head);
	if (rc == LMQ_END)
		return fail_damaged(t->store, "a channel without its log");
	if (rc == 0 && r->kind == LMQ_QUEUE) {
		rc = get_group(t->store, t->mdb, id, 0, "", &g);
		if (rc == LMQ_END)
			return fail_damaged(t->store, "a queue without its reader");
		*n = (struct need){ head.end - g.settled, head.bytes };
		return rc;
	}
	if (rc == 0)
		rc = upgrade_floors(t);
	if (rc == 0)
		rc = retain_lowest(t, id, 0, &floor, NULL);
	if (rc != 0)
		return rc;
	if (floor > head.end)
		floor = head.end;
	if (floor < head.first)
		floor = head.first;
	stored = head.end - head.first;
	n->messages = head.end - floor;
	n->bytes = stored ? (uint64_t)((double)head.bytes * (double)n->messages / (double)stored) : 0;
	return 0;
}

/* A topic that is full may hold what is too old to be kept: nobody else would let it go while senders are refused. */
static int needed_now(struct txn *t, uint32_t id, const struct channel_record *r, struct need *n)
{
	struct head_record head;
	int rc = get_head(t->store, t->mdb, id, 0, &head);
	if (rc == 0)
		rc = retain_apply(t, id, 0, r, &head);
	if (rc == 0)
		rc = put_head(t, id, 0, &head);
	return rc == 0 ? needed(t, id, r, n) : rc;
}

int limit_room(struct txn *t, uint32_t id, const struct channel_record *r, uint64_t first, uint64_t *count,
	uint64_t *bytes)
{
	uint64_t messages = limit_of(r, LIMIT_MAX_MESSAGES), most = limit_of(r, LIMIT_MAX_BYTES);
	struct need n = { 0, 0 };
	int rc;
	if (r->kind == LMQ_STREAM || (messages == UINT64_MAX && most == UINT64_MAX) || pushes_out(r))
		return 0;
	if (roster_before(t->store, id, t->ticket_id == id ? t->ticket : 0)) {
		*count = *bytes = 0;
		return 0;
	}
	rc = needed(t, id, r, &n);
	if (rc == 0 && r->kind == LMQ_TOPIC && (n.messages >= messages || rest(most, n.bytes) < first))
		rc = needed_now(t, id, r, &n);
	if (rc != 0)
		return rc == LMQ_END ? 0 : rc;
	*count = rest(messages, n.messages);
	*bytes = rest(most, n.bytes);
	/* An empty queue takes one message whatever its size: else it could never be sent. */
	if (n.messages == 0 && most != UINT64_MAX && *bytes < first)
		*bytes = first;
	return 0;
}

int limit_full(struct txn *t, uint32_t id, const struct channel_record *r)
{
	uint64_t messages = limit_of(r, LIMIT_MAX_MESSAGES), most = limit_of(r, LIMIT_MAX_BYTES);
	char limit[LMQ_VALUE_MAX + 16], size[LMQ_VALUE_MAX], group[LMQ_NAME_MAX + 1];
	uint64_t floor;
	if (messages != UINT64_MAX)
		snprintf(limit, sizeof limit, "max-messages=%llu", (unsigned long long)messages);
	else
		snprintf(limit, sizeof limit, "max-bytes=%s", lmq_size_format(most, size));
	if (r->kind == LMQ_TOPIC && retain_lowest(t, id, 0, &floor, group) == 0)
		fail(t->store, LMQ_EFULL, "%s: topic is full (%s): the group '%s' still needs its messages", r->name, limit,
			group);
	else
		fail(t->store, LMQ_EFULL, "%s: %s is full (%s)", r->name, lmq_kind_name((enum lmq_kind)r->kind), limit);
	fail_hint(t->store, "wait for room with -w, or mq-make %s full=drop-old", r->name);
	t->store->queue_full = true;
	t->store->full_id = id;
	return LMQ_EFULL;
}

static bool over(const struct queue *q)
{
	return q->head.end - q->position.settled > limit_of(&q->record, LIMIT_MAX_MESSAGES) ||
		q->head.bytes > limit_of(&q->record, LIMIT_MAX_BYTES);
}

struct way {			/* along the oldest messages */
	uint64_t from;		/* where to go on */
	struct run held;	/* nobody else can take these now */
	unsigned leased;	/* runs that were passed */
};

/* How many messages go at once: all that are too many, or, for bytes, those of a block: fewer make no room. */
static int excess(struct queue *q, uint64_t first, uint64_t *n)
{
	uint64_t messages = q->head.end - q->position.settled, most = limit_of(&q->record, LIMIT_MAX_MESSAGES), end;
	uint64_t step = limit_of(&q->record, LIMIT_FULL) == FULL_DEAD ? LETTERS_AT_ONCE : STEP_MESSAGES;
	int rc = 0;
	*n = messages - most;
	if (messages <= most) {
		rc = log_block_end(q->t, q->id, q->lane, first, &end);
		*n = end - first;
	}
	if (*n > step)
		*n = step;
	return rc;
}

/* Whether there are runs of leased messages, and no others. */
static bool all_leased(const struct group_record *g)
{
	return g->state[RUN_READY] + g->state[RUN_DELAYED] + g->state[RUN_RETRYING] + g->state[RUN_BLOCKED] == 0;
}

/* Passes leases. Behind very many the next that is looked at is the first that is plain. */
static int pass_leases(struct queue *q, struct way *w, struct run_record *r)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(q->t->mdb, q->t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(q->t->store, q->t->store->path, rc);
	while ((rc = group_run(q->t->store, cursor, &q->position, q->head.end, w->from, r)) == 0 && r->state == RUN_LEASED) {
		w->from = r->end;
		if (++w->leased > LEASES)
			w->from = q->position.next;
	}
	mdb_cursor_close(cursor);
	return rc;
}

/* Of the messages from first on those that nobody has, no more than go at once. Somebody may be faster. */
static int hold_excess(struct queue *q, struct way *w, uint64_t first)
{
	uint64_t most, end = lease_reach(first, q->head.end);
	int rc = excess(q, first, &most);
	if (rc == 0)
		rc = txn_hold(q->t, q->position.space, first, end, most, &w->held);
	if (rc == LMQ_END)
		w->held.first = w->held.end = end;
	w->from = w->held.first;
	return rc == LMQ_END ? 0 : rc;
}

/* The oldest messages that go, of one run. LMQ_END. */
static int next_part(struct queue *q, struct way *w, struct run *part)
{
	struct run_record r;
	uint64_t most;
	int rc;
	while ((rc = pass_leases(q, w, &r)) == 0 && r.first >= w->held.end) {
		rc = hold_excess(q, w, r.first);
		if (rc != 0)
			break;
	}
	if (rc == 0)
		rc = excess(q, r.first, &most);
	if (rc != 0)
		return rc;
	*part = (struct run){ r.first, r.end < w->held.end ? r.end : w->held.end };
	if (part->end - part->first > most)
		part->end = part->first + most;
	w->from = part->end;
	return 0;
}

static int push_out(struct queue *q, struct burial *b, struct run_record *r)
{
	struct lmq_verdict v = { .outcome = LMQ_BURY, .reason = LMQ_OVERFLOW, .exit_status = -1 };
	if (limit_of(&q->record, LIMIT_FULL) == FULL_DEAD && can_bury(q))
		return queue_failed(q, b, r, &v);
	return queue_leave(q, r, COUNT_DROPPED, false);
}

int limit_push_out(struct queue *q)
{
	struct burial b = { .batch.count = 0 };
	struct way w = { .from = all_leased(&q->position) ? q->position.next : 0 };
	struct run_record r;
	struct run part;
	uint64_t count = 0;
	int rc = 0;
	if (!pushes_out(&q->record))
		return 0;
	while (rc == 0 && over(q) && count < STEP_MESSAGES && b.batch.size < STEP_BYTES && (rc = next_part(q, &w, &part)) == 0) {
		count += part.end - part.first;
		rc = group_carve(q->t, &q->position, part.first, part.end, &r);
		if (rc == 0)
			rc = push_out(q, &b, &r);
		if (rc == 0)
			rc = queue_shed(q);
	}
	if (rc == LMQ_END)	/* no more runs */
		rc = 0;
	if (rc == 0)
		rc = queue_store(q);
	if (rc == 0)
		rc = burial_commit(&b, q);
	burial_free(&b);
	return rc;
}
