/* SPDX-License-Identifier: ISC */
/*
 * Receivers: hold what was claimed (claim.c, hand.c), and hand it out.
 *
 * A receiver takes from the lanes of its channel: queues and topics have one, streams one for each partition. They
 * share a snapshot and its cursor, which is in one lane at a time; what was claimed is one list for all.
 */
#include "receiver.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int receiver_no_memory(lmq_receiver *r)
{
	return fail(r->queue->store, LMQ_ENOMEM, "%s: out of memory", r->queue->name);
}

static int check_options(lmq_channel *c, const struct lmq_receiver_options *o)
{
	if (c->store->read_only)
		return fail(c->store, LMQ_EACCES, "%s: the store is open for reading only", c->name);
	if (c->kind == LMQ_QUEUE && o->group)
		return fail(c->store, LMQ_EKIND, "%s: a queue has no groups", c->name);
	if (c->kind != LMQ_QUEUE && !o->group)
		return fail(c->store, LMQ_EKIND, "%s: a %s, not a queue", c->name, lmq_kind_name(c->kind));
	if (o->group && !lmq_name_valid(o->group))
		return fail(c->store, LMQ_EINVAL, "%.*s: not a valid name for a group", LMQ_NAME_MAX, o->group);
	return c->kind != LMQ_QUEUE ? group_open(c, o) : 0;
}

static int lanes_open(lmq_receiver *r, int64_t partition)
{
	r->lane_count = r->queue->lanes;
	if (partition < 0 || partition > r->lane_count)
		return fail(r->queue->store, LMQ_EINVAL, "%s: there is no partition %lld", r->queue->name,
			(long long)partition - 1);
	r->only = r->lane_count > 1 ? partition - 1 : -1;
	r->lanes = calloc(r->lane_count, sizeof *r->lanes);
	if (!r->lanes)
		return receiver_no_memory(r);
	r->lane = r->lanes;
	for (uint16_t i = 0; i < r->lane_count; i++) {
		log_cursor_init(&r->lanes[i].cursor, &r->snapshot, r->queue->id, i);
		r->lanes[i].due = INT64_MAX;
		r->lanes[i].owned = r->lane_count == 1;
	}
	return 0;
}

static void set_consumer(lmq_receiver *r, const char *consumer)
{
	if (consumer)
		snprintf(r->consumer, sizeof r->consumer, "%s", consumer);
	else
		snprintf(r->consumer, sizeof r->consumer, "pid %ld", (long)getpid());
}

int lmq_receiver_open(lmq_channel *c, const struct lmq_receiver_options *options, lmq_receiver **receiver)
{
	static const struct lmq_receiver_options none = { .size = sizeof none };
	const struct lmq_receiver_options *o = options ? options : &none;
	lmq_receiver *r;
	int rc;
	*receiver = NULL;
	rc = check_options(c, o);
	if (rc != 0)
		return rc;
	r = calloc(1, sizeof *r);
	if (!r)
		return fail(c->store, LMQ_ENOMEM, "%s: out of memory", c->name);
	r->queue = c;
	r->filter = o->filter;
	r->explicit_begin = o->flags & LMQ_EXPLICIT_BEGIN;
	r->fd = r->slot = r->told.slot = -1;
	snprintf(r->group_name, sizeof r->group_name, "%s", o->group ? o->group : "");
	set_consumer(r, o->consumer);
	snapshot_init(c->store, &r->snapshot);
	rc = lanes_open(r, o->size > offsetof(struct lmq_receiver_options, partition) ? o->partition : 0);
	if (rc == 0)
		rc = lease_open(c->store, &r->fd);
	if (rc == 0)
		*receiver = r;
	else
		lmq_receiver_close(r);
	return rc;
}

void lmq_receiver_close(lmq_receiver *r)
{
	if (!r)
		return;
	if (r->fd >= 0 && r->queue->store->pid == getpid()) {
		lmq_receiver_release(r);
		member_leave(r);
	}
	snapshot_close(&r->snapshot);
	for (uint16_t i = 0; r->lanes && i < r->lane_count; i++)
		log_cursor_close(&r->lanes[i].cursor);
	if (r->fd >= 0)
		close(r->fd);
	free(r->lanes);
	free(r->works);
	free(r->runs);
	free(r);
}

lmq_channel *receiver_channel(lmq_receiver *r)
{
	return r->queue;
}

uint32_t receiver_space(lmq_receiver *r)
{
	return r->lanes[0].group.space ? r->lanes[0].group.space : r->queue->id;
}

int64_t receiver_due(lmq_receiver *r)
{
	int64_t due = INT64_MAX;
	for (uint16_t i = 0; i < r->lane_count; i++)
		if (r->lanes[i].owned && r->lanes[i].due < due)
			due = r->lanes[i].due;
	return due;
}

void receiver_stir(lmq_receiver *r)
{
	member_balance(r, false);
}

uint64_t lmq_receiver_missed(const lmq_receiver *r)
{
	return r->missed;
}

uint16_t lane_number(const lmq_receiver *r, const struct lane *l)
{
	return (uint16_t)(l - r->lanes);
}

void receiver_turn(lmq_receiver *r, struct lane *l)
{
	r->lane = l;
	l->cursor.placed = false;
}

int receiver_gone(lmq_receiver *r)
{
	struct channel_record record;
	int rc = channel_record(r->queue, r->snapshot.mdb, &record);
	if (rc == 0 && r->group_name[0])
		return fail(r->queue->store, LMQ_EGONE, "%s: the group '%s' was removed", r->queue->name,
			r->group_name);
	return rc == 0 ? channel_gone(r->queue) : rc;
}

/* A queue has a position as long as it is there, and a group one in each lane. */
int receiver_lost(lmq_receiver *r)
{
	struct channel_record record;
	bool there = true;
	int rc = channel_record(r->queue, r->snapshot.mdb, &record);
	if (rc == 0 && r->group_name[0])
		rc = groups_listed(r->queue, &r->snapshot, r->group_name, &there);
	if (rc != 0)
		return rc;
	return there ? fail_damaged(r->queue->store, r->group_name[0] ? "a group without a position" :
		"a queue without a position") : receiver_gone(r);
}

/* ---- handing out --------------------------------------------------------------------------- */

/* The run with the next message, and that message's place in it; false behind the last. */
static bool place(lmq_receiver *r)
{
	for (; r->at < r->run_count; r->at++, r->next = r->checked = 0) {
		if (r->next < r->runs[r->at].first)
			r->next = r->runs[r->at].first;
		if (r->next < r->runs[r->at].end)
			return true;
	}
	return false;
}

/* The messages up to there are not to be had any more. */
static int skip(lmq_receiver *r, uint64_t until)
{
	if (!receiver_forget(r, r->runs[r->at].lane, r->next, until))
		return receiver_no_memory(r);
	receiver_tidy(r);
	return 0;
}

/*
 * Claimed messages that turn out to be settled leave the claim: their last receiver was killed in the instant in
 * which its settling became true, and the claim was made before anybody could see that (claim.c). Looked at
 * whenever the snapshot is a new one. In a topic or stream they may also have been dropped meanwhile.
 */
static int skip_settled(lmq_receiver *r)
{
	struct claimed *c = &r->runs[r->at];
	struct lane *l = r->lane;
	struct group_record group;
	struct run_record found;
	uint64_t until;
	int rc;
	l->cursor.placed = false;
	rc = get_group(r->queue->store, r->snapshot.mdb, r->queue->id, c->lane, r->group_name, &group);
	if (rc == LMQ_END)
		return receiver_lost(r);
	if (rc == 0 && group.space != l->group.space)
		return receiver_gone(r);
	if (rc == 0)
		l->group = group;
	if (rc == 0)
		rc = group_run(r->queue->store, r->snapshot.cursor, &l->group, l->cursor.head.end, r->next, &found);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	until = rc == LMQ_END || found.first > c->end ? c->end : found.first;
	if (r->group_name[0] && until < l->cursor.head.first)
		until = l->cursor.head.first < c->end ? l->cursor.head.first : c->end;
	if (until > r->next)
		return skip(r, until);
	r->checked = r->snapshot.serial;
	return 0;
}

/* Brings the cursor before the next message. LMQ_END behind the last. */
static int advance(lmq_receiver *r)
{
	int rc = 0;
	while (rc == 0) {
		if (!place(r))
			return LMQ_END;
		if (r->lane != &r->lanes[r->runs[r->at].lane])
			receiver_turn(r, &r->lanes[r->runs[r->at].lane]);
		rc = log_refresh(&r->lane->cursor);
		if (rc == LMQ_END)
			return channel_gone(r->queue);
		if (rc == 0 && r->checked == r->snapshot.serial)
			return 0;
		if (rc == 0)
			rc = skip_settled(r);
	}
	return rc;
}

/* The record of the next message. Compaction may have taken it since it was claimed. */
static int next_record(lmq_receiver *r, struct record *record)
{
	for (;;) {
		struct log_cursor *c;
		int rc = advance(r);
		if (rc != 0)
			return rc;
		c = &r->lane->cursor;
		if (c->offset != r->next || !c->placed)
			log_seek(c, r->next);
		rc = log_next(c, record);
		if (rc == 0 && record->offset == r->next)
			return 0;
		if (rc != 0 && rc != LMQ_END)
			return rc;
		if (r->queue->kind == LMQ_QUEUE)
			return fail_damaged(r->queue->store, "a claimed message is missing");
		rc = skip(r, rc == 0 && record->offset < r->runs[r->at].end ? record->offset : r->runs[r->at].end);
		if (rc != 0)
			return rc;
	}
}

int lmq_receiver_next(lmq_receiver *r, struct lmq_message *m)
{
	struct record record;
	const struct claimed *c;
	int rc = next_record(r, &record);
	if (rc == 0)
		rc = log_message(&r->lane->cursor, &record, m, &r->decoded, &r->blob);
	if (rc != 0)
		return rc;
	c = &r->runs[r->at];
	m->partition = c->lane;
	m->attempt = c->leased ? c->attempts : c->attempts + 1;
	m->delivery = m->attempt + c->returned;
	if (!r->explicit_begin && !c->leased)
		receiver_trace(r, r->next, m->attempt);
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
		if (rc == LMQ_EGONE && r->queue->kind == LMQ_QUEUE &&
				channel_record(r->queue, r->snapshot.mdb, &record) == 0)
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
