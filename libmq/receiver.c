/* SPDX-License-Identifier: ISC */
/*
 * Receivers: hold what was claimed (claim.c), hand it out, give it back.
 *
 * The locks on messages tell other processes that they are taken; the roster tells them by whom, and which of them
 * are being delivered. When this process dies the kernel gives the locks back, and whoever takes one of these
 * messages next finds the trace in the roster and counts the attempt. So a trace is laid before a message is
 * handed out, and taken away before its lock is given back.
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
	rc = lease_open(c->store, &r->fd);
	if (rc != 0) {
		free(r);
		return rc;
	}
	r->queue = c;
	r->filter = o->filter;
	r->explicit_begin = o->flags & LMQ_EXPLICIT_BEGIN;
	r->slot = -1;
	r->due = INT64_MAX;
	snprintf(r->group_name, sizeof r->group_name, "%s", o->group ? o->group : "");
	if (o->consumer)
		snprintf(r->consumer, sizeof r->consumer, "%s", o->consumer);
	else
		snprintf(r->consumer, sizeof r->consumer, "pid %ld", (long)getpid());
	snapshot_init(c->store, &r->snapshot);
	log_cursor_init(&r->cursor, &r->snapshot, c->id, 0);
	*receiver = r;
	return 0;
}

void lmq_receiver_close(lmq_receiver *r)
{
	if (!r)
		return;
	if (r->queue->store->pid == getpid()) {
		lmq_receiver_release(r);
		roster_leave(r->queue->store, r->fd, r->slot);
		for (size_t i = 0; i < r->work_count; i++)
			roster_leave(r->queue->store, r->fd, r->works[i].slot);
	}
	snapshot_close(&r->snapshot);
	log_cursor_close(&r->cursor);
	close(r->fd);
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
	return r->group.space ? r->group.space : r->queue->id;
}

int64_t receiver_due(lmq_receiver *r)
{
	return r->due;
}

/* ---- the roster --------------------------------------------------------------------------- */

static void trace_clear(lmq_receiver *r, int slot)
{
	roster_begin(r->queue->store, slot, 0, 0, 0);
}

/* Before the message is handed out. Consecutive ones of a run are one trace. */
static void trace(lmq_receiver *r, uint64_t offset, uint32_t attempt)
{
	lmq_store *s = r->queue->store;
	if (r->told.end == offset && r->told.first < r->told.end && r->runs[r->at].first < offset)
		roster_extend(s, r->slot, offset + 1);
	else
		roster_begin(s, r->slot, r->told.first = offset, offset + 1, attempt);
	r->told.end = offset + 1;
}

/* An idle slot among those taken for begun work, or a new one; NULL: no memory. */
static struct work *work_idle(lmq_receiver *r)
{
	for (size_t i = 0; i < r->work_count; i++)
		if (r->works[i].first == r->works[i].end)
			return &r->works[i];
	if (r->work_count == r->work_room) {
		size_t room = r->work_room ? 2 * r->work_room : 4;
		struct work *more = realloc(r->works, room * sizeof *more);
		if (!more)
			return NULL;
		r->works = more;
		r->work_room = room;
	}
	r->works[r->work_count] = (struct work){ 0, 0, roster_join(r->queue->store, r->fd, ROSTER_RECEIVER,
		receiver_space(r), r->consumer) };
	return &r->works[r->work_count++];
}

void lmq_receiver_begin(lmq_receiver *r, uint64_t offset, uint64_t count, uint32_t attempt)
{
	struct work *w = work_idle(r);
	if (!w)
		return;	/* a crash would not be counted */
	w->first = offset;
	w->end = offset + count;
	roster_begin(r->queue->store, w->slot, w->first, w->end, attempt);
}

/* Takes the traces of [first, end) away. A work is settled or returned as a whole, or its rest is not traced. */
static void untrace(lmq_receiver *r, uint64_t first, uint64_t end)
{
	for (size_t i = 0; i < r->work_count; i++) {
		struct work *w = &r->works[i];
		if (w->first < end && first < w->end) {
			trace_clear(r, w->slot);
			w->first = w->end = 0;
		}
	}
	if (r->told.first < end && first < r->told.end) {
		trace_clear(r, r->slot);
		r->told = (struct run){ 0, 0 };
	}
}

/* ---- what is held -------------------------------------------------------------------------- */

void receiver_give(lmq_receiver *r, uint64_t first, uint64_t end)
{
	lease_give(r->fd, r->group.space, &(struct run){ first, end });
}

bool receiver_has(const lmq_receiver *r, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint64_t before = first;
		for (size_t i = 0; i < r->run_count; i++)
			if (r->runs[i].first <= first && first < r->runs[i].end && !r->runs[i].leased)
				first = r->runs[i].end;
		if (first == before)
			return false;
	}
	return true;
}

/* Makes room for a run behind the i-th. */
static bool insert_behind(lmq_receiver *r, size_t i, const struct claimed *c)
{
	if (r->run_count == r->run_room) {
		size_t room = r->run_room ? 2 * r->run_room : 4;
		struct claimed *more = realloc(r->runs, room * sizeof *more);
		if (!more)
			return false;
		r->runs = more;
		r->run_room = room;
	}
	memmove(r->runs + i + 2, r->runs + i + 1, (r->run_count - i - 1) * sizeof *r->runs);
	r->runs[i + 1] = *c;
	r->run_count++;
	r->fresh += r->fresh > i;
	/* What was to be handed out next may lie in the second half. */
	r->at += r->at > i || (r->at == i && r->next >= c->first);
	return true;
}

static bool forget_part(lmq_receiver *r, size_t i, uint64_t first, uint64_t end)
{
	struct claimed *c = &r->runs[i], rest = *c;
	bool leased = c->leased;
	if (first < c->first)
		first = c->first;
	if (end > c->end)
		end = c->end;
	rest.first = end;
	if (first > c->first && end < c->end && !insert_behind(r, i, &rest))
		return false;
	c = &r->runs[i];
	if (first > c->first)
		c->end = first;
	else
		c->first = end;
	if (!leased)
		receiver_give(r, first, end);
	return true;
}

bool receiver_forget(lmq_receiver *r, uint64_t first, uint64_t end)
{
	bool good = true;
	untrace(r, first, end);
	for (size_t i = 0; i < r->run_count; i++)
		if (r->runs[i].first < end && first < r->runs[i].end)
			good = forget_part(r, i, first, end) && good;
	return good;
}

void receiver_tidy(lmq_receiver *r)
{
	size_t kept = 0, fresh = r->fresh, at = r->at;
	for (size_t i = 0; i < r->run_count; i++) {
		bool empty = r->runs[i].first >= r->runs[i].end;
		if (empty && i == r->at)
			r->next = r->checked = 0;	/* the next run may lie anywhere */
		fresh -= empty && i < r->fresh;
		at -= empty && i < r->at;
		if (!empty)
			r->runs[kept++] = r->runs[i];
	}
	r->run_count = kept;
	r->fresh = fresh;
	r->at = at;
	roster_holding(r->queue->store, r->slot, kept > 0);
}

void receiver_forget_leased(lmq_receiver *r)
{
	for (size_t i = 0; i < r->run_count; i++)
		if (r->runs[i].leased)
			r->runs[i].first = r->runs[i].end;
	receiver_tidy(r);
}

bool receiver_part(const lmq_receiver *r, size_t *i, size_t *count, struct run *part)
{
	const struct claimed *c;
	while (*i < r->run_count && r->runs[*i].leased)
		++*i;
	if (*i >= r->run_count || *count == 0)
		return false;
	c = &r->runs[(*i)++];
	*part = (struct run){ c->first, c->end - c->first > *count ? c->first + *count : c->end };
	*count -= (size_t)(part->end - part->first);
	return true;
}

void receiver_wake(lmq_receiver *r)
{
	notify_wake(notify_channel(r->queue->store, r->queue->id));
	notify_wake(&r->queue->store->control->any);
}

void lmq_receiver_release(lmq_receiver *r)
{
	bool any = r->run_count > 0;
	for (size_t i = 0; i < r->run_count; i++) {
		untrace(r, r->runs[i].first, r->runs[i].end);
		if (!r->runs[i].leased)
			receiver_give(r, r->runs[i].first, r->runs[i].end);
	}
	r->run_count = r->fresh = r->at = 0;
	roster_holding(r->queue->store, r->slot, false);
	if (any)
		receiver_wake(r);
}

void lmq_receiver_return(lmq_receiver *r, uint64_t offset, uint64_t count)
{
	receiver_forget(r, offset, offset + count);
	receiver_tidy(r);
	receiver_wake(r);
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

/*
 * Claimed messages that turn out to be settled leave the claim: their last receiver was killed in the instant in
 * which its settling became true, and the claim was made before anybody could see that (claim.c). Looked at
 * whenever the snapshot is a new one.
 */
static int skip_settled(lmq_receiver *r)
{
	struct claimed *c = &r->runs[r->at];
	struct run_record found;
	uint64_t until;
	int rc;
	if (r->checked == r->snapshot.serial)
		return 0;
	r->cursor.placed = false;
	rc = get_group(r->queue->store, r->snapshot.mdb, r->queue->id, 0, r->group_name, &r->group);
	if (rc == LMQ_END)
		return channel_gone(r->queue);
	if (rc == 0)
		rc = group_run(r->queue->store, r->snapshot.cursor, &r->group, r->cursor.head.end, r->next, &found);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	until = rc == LMQ_END || found.first > c->end ? c->end : found.first;
	if (r->group_name[0] && until < r->cursor.head.first)
		until = r->cursor.head.first < c->end ? r->cursor.head.first : c->end;
	if (until > r->next) {
		if (!receiver_forget(r, r->next, until))
			return receiver_no_memory(r);
		receiver_tidy(r);
	} else {
		r->checked = r->snapshot.serial;
	}
	return 0;
}

/* Brings the cursor before the next message. LMQ_END behind the last. */
static int advance(lmq_receiver *r)
{
	int rc = 0;
	while (rc == 0) {
		if (!place(r))
			return LMQ_END;
		rc = log_refresh(&r->cursor);
		if (rc == LMQ_END)
			return channel_gone(r->queue);
		if (rc == 0 && r->checked == r->snapshot.serial)
			return 0;
		if (rc == 0)
			rc = skip_settled(r);
	}
	return rc;
}

int lmq_receiver_next(lmq_receiver *r, struct lmq_message *m)
{
	struct record record;
	const struct claimed *c;
	int rc = advance(r);
	if (rc != 0)
		return rc;
	c = &r->runs[r->at];
	if (r->cursor.offset != r->next || !r->cursor.placed)
		log_seek(&r->cursor, r->next);
	rc = log_next(&r->cursor, &record);
	if (rc == LMQ_END || (rc == 0 && record.offset != r->next))
		return fail_damaged(r->queue->store, "a claimed message is missing");
	if (rc == 0)
		rc = log_message(&r->cursor, &record, m, &r->decoded, &r->blob);
	if (rc != 0)
		return rc;
	m->attempt = c->leased ? c->attempts : c->attempts + 1;
	m->delivery = m->attempt + c->returned;
	if (!r->explicit_begin && !c->leased)
		trace(r, r->next, m->attempt);
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
