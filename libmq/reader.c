/* SPDX-License-Identifier: ISC */
/*
 * Readers: a place in a channel's log, for looking without taking.
 *
 * Of a queue a reader sees the runs that are not settled. Between them the log may have holes, so it never
 * steps from one run into what lies behind: it seeks the next run. A run is void once the snapshot was renewed.
 */
#include "internal.h"

#include <string.h>

struct lmq_reader {
	lmq_channel *channel;
	struct snapshot snapshot;
	struct log_cursor cursor;
	struct group_record group;	/* of a queue: its own, and */
	struct run_record run;	/* the run in which the cursor is, */
	uint64_t serial;	/* valid if the snapshot has this one */
	uint64_t ttl;		/* of the channel */
	struct decoded decoded;
	struct lmq_message last;	/* what _next gave; */
	bool at_hand;		/* its bytes are valid */
	struct lmq_bytes body;	/* of the last message, if it lies in one piece */
	struct blob blob;	/* or size > 0 */
	uint64_t missed;
	bool moved;		/* no message was read since the last seek: nothing is missed */
};

int lmq_reader_open(lmq_channel *c, lmq_reader **reader)
{
	lmq_reader *r = calloc(1, sizeof *r);
	*reader = r;
	if (!r)
		return fail(c->store, LMQ_ENOMEM, "%s: out of memory", c->name);
	r->channel = c;
	r->moved = true;
	snapshot_init(c->store, &r->snapshot);
	log_cursor_init(&r->cursor, &r->snapshot, c->id, 0);
	return 0;
}

void lmq_reader_close(lmq_reader *r)
{
	if (!r)
		return;
	snapshot_close(&r->snapshot);
	log_cursor_close(&r->cursor);
	free(r);
}

static bool is_queue(const lmq_reader *r)
{
	return r->channel->kind == LMQ_QUEUE;
}

/* A fresh view, if the last one was given back; notices a removed channel. */
static int reader_refresh(lmq_reader *r)
{
	struct channel_record record;
	bool renewed = !r->snapshot.active || r->cursor.serial != r->snapshot.serial;
	lmq_store *s = r->channel->store;
	int rc = log_refresh(&r->cursor);
	if (rc == LMQ_END)
		return channel_gone(r->channel);
	if (rc != 0 || !renewed)
		return rc;
	rc = channel_record(r->channel, r->snapshot.mdb, &record);
	if (rc != 0)
		return rc;
	r->ttl = limit_of(&record, LIMIT_TTL);
	if (is_queue(r))
		rc = get_group(s, r->snapshot.mdb, r->channel->id, 0, "", &r->group);
	return rc == LMQ_END ? fail_damaged(s, "a queue without its reader") : rc;
}

/* The next unsettled message of a queue. */
static int next_unsettled(lmq_reader *r, struct record *record)
{
	struct log_cursor *c = &r->cursor;
	int rc;
	if (r->serial != r->snapshot.serial || c->offset < r->run.first || c->offset >= r->run.end) {
		r->serial = 0;
		rc = group_run(r->channel->store, r->snapshot.cursor, &r->group, c->head.end, c->offset, &r->run);
		c->placed = false;	/* runs are found with the same cursor */
		if (rc != 0)
			return rc;
		r->serial = r->snapshot.serial;
		log_seek(c, r->run.first);
	}
	return log_next(c, record);
}

static int queue_seek_time(lmq_reader *r, int64_t time)
{
	struct record record;
	int rc;
	log_seek(&r->cursor, 0);
	while ((rc = next_unsettled(r, &record)) == 0)
		if (record.time >= time) {
			log_seek(&r->cursor, record.offset);
			return 0;
		}
	if (rc == LMQ_END)
		log_seek(&r->cursor, r->cursor.head.end);
	return rc == LMQ_END ? 0 : rc;
}

static bool expired(const lmq_reader *r, const struct lmq_message *m)
{
	return (m->ttl > 0 || r->ttl != UINT64_MAX) && message_expired(m, r->ttl, lmq_now());
}

static int not_at_hand(lmq_reader *r)
{
	return fail(r->channel->store, LMQ_EINVAL, "%s: the message is no longer at hand", r->channel->name);
}

int lmq_reader_seek(lmq_reader *r, enum lmq_seek how, int64_t value)
{
	struct log_cursor *c = &r->cursor;
	uint64_t number = value < 0 ? 0 : (uint64_t)value;
	int rc;
	r->at_hand = false;
	snapshot_pause(&r->snapshot);
	rc = reader_refresh(r);
	if (rc != 0)
		return rc;
	r->moved = true;
	switch (how) {
	case LMQ_SEEK_OFFSET:
		log_seek(c, number);
		return 0;
	case LMQ_SEEK_TIME:
		return is_queue(r) ? queue_seek_time(r, value) : log_seek_time(c, value);
	case LMQ_SEEK_FIRST:
		log_seek(c, c->head.first);
		return 0;
	case LMQ_SEEK_END:
		log_seek(c, c->head.end);
		return 0;
	case LMQ_SEEK_LAST:
		log_seek(c, c->head.end - c->head.first > number ? c->head.end - number : c->head.first);
		return 0;
	}
	return fail(r->channel->store, LMQ_EINVAL, "%s: no such way to seek", r->channel->name);
}

static int read_next(lmq_reader *r, struct lmq_message *m)
{
	struct record record;
	int rc = is_queue(r) ? next_unsettled(r, &record) : log_next(&r->cursor, &record);
	if (rc == LMQ_END)
		snapshot_drop(&r->snapshot);
	if (rc != 0)
		return rc;
	r->moved = false;
	rc = log_message(&r->cursor, &record, m, &r->decoded, &r->blob);
	m->attempt = is_queue(r) && r->run.state == RUN_LEASED ? r->run.history.attempts : 0;
	r->body = m->body;
	return rc;
}

int lmq_reader_next(lmq_reader *r, struct lmq_message *m)
{
	struct log_cursor *c = &r->cursor;
	int rc = r->snapshot.active && c->serial == r->snapshot.serial ? 0 : reader_refresh(r);
	r->at_hand = false;
	if (rc != 0)
		return rc;
	if (c->offset < c->head.first && !r->moved && !is_queue(r))
		r->missed += c->head.first - c->offset;
	do {
		rc = read_next(r, m);
	} while (rc == 0 && !is_queue(r) && expired(r, m));
	if (rc == 0) {
		r->last = *m;
		r->at_hand = true;
	}
	return rc;
}

/* What is ready may be in somebody's hands, of which the disk knows nothing. */
static void find_holder(lmq_reader *r, struct lmq_delivery *d)
{
	lmq_store *s = r->channel->store;
	uint64_t offset = r->last.offset;
	uint32_t attempt;
	if (s->control_fd >= 0 && roster_holder(s, r->group.space, offset, d->holder, &d->since, &attempt)) {
		d->state = LMQ_LEASED;
		d->history.attempts = attempt;
	} else if (lease_taken(s, r->group.space, offset)) {
		d->holder[0] = '\0';
		d->since = 0;
		d->state = LMQ_LEASED;
	} else if (expired(r, &r->last)) {
		d->state = LMQ_DEAD_ON_SIGHT;
	}
}

int lmq_reader_delivery(lmq_reader *r, struct lmq_delivery *d)
{
	static const enum lmq_state states[RUN_STATES] = { LMQ_READY, LMQ_LEASED, LMQ_DELAYED, LMQ_RETRYING,
		LMQ_BLOCKED };
	lmq_store *s = r->channel->store;
	if (!is_queue(r))
		return fail(s, LMQ_EKIND, "%s: a %s, not a queue", r->channel->name, lmq_kind_name(r->channel->kind));
	if (!r->at_hand || !r->snapshot.active || r->serial != r->snapshot.serial)
		return not_at_hand(r);
	*d = (struct lmq_delivery){ .state = states[r->run.state], .due = r->run.due };
	run_history(&r->run, &d->history);
	if (r->run.state == RUN_LEASED) {
		memcpy(d->holder, r->run.owner, sizeof r->run.owner);
		d->since = r->run.history.last_time;
	}
	if (r->run.state == RUN_READY)
		find_holder(r, d);
	return 0;
}

int lmq_reader_body(lmq_reader *r, uint64_t at, struct lmq_bytes *piece)
{
	if (r->blob.size > 0)
		return blob_piece(r->channel->store, &r->snapshot, &r->blob, at, piece);
	if (!r->snapshot.active)
		return not_at_hand(r);
	if (at > r->body.size)
		at = r->body.size;
	*piece = (struct lmq_bytes){ r->body.data + at, r->body.size - (size_t)at };
	return 0;
}

void lmq_reader_pause(lmq_reader *r)
{
	r->at_hand = false;
	snapshot_pause(&r->snapshot);
}

uint64_t lmq_reader_tell(const lmq_reader *r)
{
	return r->cursor.offset;
}

int lmq_reader_end(lmq_reader *r, uint64_t *offset)
{
	int rc;
	r->at_hand = false;
	snapshot_pause(&r->snapshot);
	rc = reader_refresh(r);
	if (rc == 0)
		*offset = r->cursor.head.end;
	return rc;
}

uint64_t lmq_reader_missed(const lmq_reader *r)
{
	return r->missed;
}
