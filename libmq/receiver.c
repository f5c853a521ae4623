/* SPDX-License-Identifier: ISC */
/*
 * Receivers: deliver what was claimed (claim.c) and settle it.
 *
 * Settling is one transaction: it moves the queue's position and drops the blocks that lie below it. The
 * locks are given back after the commit; a kill in between leaves settled messages that nobody looks at again.
 * A step of sweeping, if one is due, follows in a transaction of its own.
 */
#include "receiver.h"

#include <string.h>
#include <unistd.h>

enum { DROP_BLOCKS = 4096 };

int lmq_receiver_open(lmq_channel *queue, const lmq_filter *filter, lmq_receiver **receiver)
{
	lmq_receiver *r;
	int rc;
	*receiver = NULL;
	if (queue->kind != LMQ_QUEUE)
		return fail(queue->store, LMQ_EKIND, "%s: a %s, not a queue", queue->name, lmq_kind_name(queue->kind));
	if (queue->store->read_only)
		return fail(queue->store, LMQ_EACCES, "%s: the store is open for reading only", queue->name);
	r = calloc(1, sizeof *r);
	if (!r)
		return fail(queue->store, LMQ_ENOMEM, "%s: out of memory", queue->name);
	rc = lease_open(queue->store, &r->fd);
	if (rc != 0) {
		free(r);
		return rc;
	}
	r->queue = queue;
	r->filter = filter;
	snapshot_init(queue->store, &r->snapshot);
	log_cursor_init(&r->cursor, &r->snapshot, queue->id, 0);
	*receiver = r;
	return 0;
}

void lmq_receiver_close(lmq_receiver *r)
{
	if (!r)
		return;
	if (r->queue->store->pid == getpid())
		lmq_receiver_release(r);
	snapshot_close(&r->snapshot);
	log_cursor_close(&r->cursor);
	close(r->fd);
	free(r->runs);
	free(r);
}

/* ---- delivering --------------------------------------------------------------------------- */

/* The first claimed offset that is not below at; false behind the last. */
static bool claimed_from(const lmq_receiver *r, uint64_t *at)
{
	for (size_t i = 0; i < r->run_count; i++)
		if (*at < r->runs[i].end) {
			if (*at < r->runs[i].first)
				*at = r->runs[i].first;
			return true;
		}
	return false;
}

/*
 * Claimed messages that turn out to be settled and dropped leave the claim: their last receiver was killed in the
 * instant in which its settling became true, and the claim was made before anybody could see that (claim.c).
 */
static void forget_below(lmq_receiver *r, uint64_t first)
{
	while (r->run_count > 0 && r->runs[0].first < first) {
		uint64_t end = r->runs[0].end < first ? r->runs[0].end : first;
		receiver_give(r, r->runs[0].first, end);
		r->runs[0].first = end;
		if (end == r->runs[0].end)
			memmove(r->runs, r->runs + 1, --r->run_count * sizeof *r->runs);
	}
}

int lmq_receiver_next(lmq_receiver *r, struct lmq_message *m)
{
	struct record record;
	int rc;
	if (!claimed_from(r, &r->next))
		return LMQ_END;
	rc = log_refresh(&r->cursor);
	if (rc == LMQ_END)
		return channel_gone(r->queue);
	if (rc != 0)
		return rc;
	forget_below(r, r->cursor.head.first);
	if (!claimed_from(r, &r->next))
		return LMQ_END;
	if (r->cursor.offset != r->next)
		log_seek(&r->cursor, r->next);
	rc = log_next(&r->cursor, &record);
	if (rc == 0 && record.offset != r->next)
		rc = LMQ_END;
	if (rc == LMQ_END)
		return fail_damaged(r->queue->store, "a claimed message is missing");
	if (rc == 0)
		rc = log_message(&r->cursor, &record, m, r->headers, &r->blob);
	if (rc != 0)
		return rc;
	m->attempt = 1;
	r->body = m->body;
	r->next++;
	return 0;
}

int lmq_receiver_body(lmq_receiver *r, uint64_t at, struct lmq_bytes *piece)
{
	struct channel_record record;
	if (r->blob.size > 0) {
		int rc = blob_piece(r->queue->store, &r->snapshot, &r->blob, at, piece);
		/* Nobody settles what we claimed: the body can only be missing with its queue. */
		if (rc == LMQ_EGONE && channel_record(r->queue, r->snapshot.mdb, &record) == 0)
			return fail_damaged(r->queue->store, "a large message has lost a part");
		return rc;
	}
	if (!r->snapshot.active)
		return fail(r->queue->store, LMQ_EINVAL, "%s: the message is no longer at hand", r->queue->name);
	if (at > r->body.size)
		at = r->body.size;
	*piece = (struct lmq_bytes){ r->body.data + at, r->body.size - (size_t)at };
	return 0;
}

void lmq_receiver_pause(lmq_receiver *r)
{
	snapshot_pause(&r->snapshot);
}

/* ---- settling ----------------------------------------------------------------------------- */

/* The part of the i-th run that the first count messages of the claim reach into. */
static struct run settled_part(const lmq_receiver *r, size_t i, size_t *count)
{
	struct run part = r->runs[i];
	if (part.end - part.first > *count)
		part.end = part.first + *count;
	*count -= (size_t)(part.end - part.first);
	return part;
}

/*
 * Settles what is not settled of a part. All of it is, unless its last receiver was killed in the instant in which
 * its own settling became true.
 */
static int settle_part(lmq_store *s, struct txn *t, struct group_record *g, const struct run *part)
{
	uint64_t at = part->first;
	struct run run;
	int rc = 0;
	while (rc == 0 && at < part->end) {
		rc = group_first(t, g, part->end, at, &run);
		if (rc == LMQ_END || (rc == 0 && run.first >= part->end))
			return 0;
		if (rc != 0)
			return rc;
		if (run.end > part->end)
			run.end = part->end;
		rc = group_settle(t, g, &run);
		at = run.end;
	}
	return rc == LMQ_END ? fail_damaged(s, "a run of messages") : rc;
}

static int settle_runs(lmq_receiver *r, struct txn *t, size_t count, struct group_record *g)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < r->run_count && count > 0; i++) {
		struct run part = settled_part(r, i, &count);
		rc = settle_part(r->queue->store, t, g, &part);
	}
	return rc;
}

static int settle(lmq_receiver *r, struct txn *t, size_t count)
{
	lmq_store *s = r->queue->store;
	uint32_t id = r->queue->id;
	struct channel_record record;
	struct group_record g;
	struct head_record head;
	uint64_t floor;
	int rc = channel_record(r->queue, t->mdb, &record);
	if (rc == 0)
		rc = get_group(s, t->mdb, id, 0, "", &g);
	if (rc == 0)
		rc = get_head(s, t->mdb, id, 0, &head);
	if (rc == LMQ_END)
		return fail_damaged(s, "a queue without its log");
	if (rc == 0)
		rc = settle_runs(r, t, count, &g);
	if (rc == 0)
		rc = group_floor(t, &g, &floor);
	if (rc == 0)
		rc = log_drop(t, id, 0, &head, floor, DROP_BLOCKS);
	if (rc == 0)
		rc = put_group(t, id, 0, "", &g);
	if (rc == 0)
		rc = put_head(t, id, 0, &head);
	return rc;
}

/* Takes the first count messages out of the claim and gives their locks back. */
static void forget(lmq_receiver *r, size_t count)
{
	size_t done = 0;
	for (size_t i = 0; i < r->run_count && count > 0; i++) {
		struct run part = settled_part(r, i, &count);
		receiver_give(r, part.first, part.end);
		r->runs[i].first = part.end;
		done += r->runs[i].first == r->runs[i].end;
	}
	memmove(r->runs, r->runs + done, (r->run_count - done) * sizeof *r->runs);
	r->run_count -= done;
}

int lmq_receiver_settle(lmq_receiver *r, size_t count, enum lmq_sync sync)
{
	struct txn t;
	bool due;
	int rc;
	if (count == 0)
		return 0;
	snapshot_pause(&r->snapshot);
	rc = txn_begin(r->queue->store, &t);
	if (rc != 0)
		return rc;
	rc = settle(r, &t, count);
	due = rc == 0 && sweep_due(&t);
	if (rc == 0)
		rc = txn_commit(&t, sync);
	else
		txn_abort(&t);
	if (rc == 0)
		forget(r, count);
	if (rc == 0 && due)
		sweep_aside(r->queue->store);
	return rc;
}

void lmq_receiver_release(lmq_receiver *r)
{
	bool any = r->run_count > 0;
	for (size_t i = 0; i < r->run_count; i++)
		receiver_give(r, r->runs[i].first, r->runs[i].end);
	r->run_count = 0;
	/* Somebody who found everything taken may be asleep. */
	if (!any)
		return;
	notify_wake(notify_channel(r->queue->store, r->queue->id));
	notify_wake(&r->queue->store->control->any);
}
