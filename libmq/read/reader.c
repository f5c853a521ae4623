/* SPDX-License-Identifier: ISC */
/*
 * Readers: a place in a channel's log, for looking without taking.
 *
 * Of a queue a reader sees the runs that are not settled. Between them the log may have holes, so it
 * never steps from one run into what lies behind: it seeks the next run. A run is void once the snapshot
 * was renewed.
 */
#include "reader.h"

#include <string.h>

int lmq_reader_open(lmq_channel *c, lmq_reader **reader)
{
	lmq_reader *r = calloc(1, sizeof *r);
	*reader = r;
	if (!r)
		return fail(c->store, LMQ_ENOMEM, "%s: out of memory", c->name);
	r->channel = c;
	snapshot_init(c->store, &r->snapshot);
	return 0;
}

void lmq_reader_close(lmq_reader *r)
{
	if (!r)
		return;
	snapshot_close(&r->snapshot);
	for (unsigned i = 0; i < r->lane_count; i++)
		log_cursor_close(&r->lanes[i].cursor);
	free(r->lanes);
	free(r->heap);
	free(r->scratch);
	free(r);
}

/* The next unsettled message of a queue. */
int reader_unsettled(lmq_reader *r, struct record *record)
{
	struct log_cursor *c = &r->lanes->cursor;
	int rc;
	if (r->run_serial != r->snapshot.serial || c->offset < r->run.first || c->offset >= r->run.end) {
		r->run_serial = 0;
		rc = group_run(r->channel->store, r->snapshot.cursor, &r->group, c->head.end, c->offset, &r->run);
		c->placed = false;	/* runs are found with the same cursor */
		if (rc != 0)
			return rc;
		r->run_serial = r->snapshot.serial;
		log_seek(c, r->run.first);
	}
	return log_next(c, record);
}

int reader_step(lmq_reader *r, enum direction d, struct record *record, struct lane **lane)
{
	if (r->lane_count > 1)
		return merge_step(r, d, record, lane);
	*lane = r->lanes;
	if (reader_of_queue(r))
		return reader_unsettled(r, record);
	return d == FORWARD ? log_next(&r->lanes->cursor, record) : log_previous(&r->lanes->cursor, record);
}

static bool expired(const lmq_reader *r, const struct lmq_message *m)
{
	return (m->ttl > 0 || r->ttl != UINT64_MAX) && message_expired(m, r->ttl, lmq_now());
}

static int not_at_hand(lmq_reader *r)
{
	return fail(r->channel->store, LMQ_EINVAL, "%s: the message is no longer at hand", r->channel->name);
}

/* The next message in that direction, expired or not. */
static inline int reader_take(lmq_reader *r, enum direction d, struct lmq_message *m)
{
	struct record record;
	struct lane *lane;
	int rc = reader_view(r);
	if (rc == 0)
		rc = reader_step(r, d, &record, &lane);
	if (rc == LMQ_END)
		snapshot_drop(&r->snapshot);
	if (rc != 0)
		return rc;
	r->backward = d == BACKWARD;
	return log_message(&lane->cursor, &record, m, &r->decoded, &r->blob);
}

static int reader_give(lmq_reader *r, enum direction d, struct lmq_message *m)
{
	bool queue = reader_of_queue(r);
	int rc;
	r->at_hand = false;
	do {
		rc = reader_take(r, d, m);
	} while (rc == 0 && !queue && expired(r, m));
	if (rc != 0)
		return rc;
	r->body = m->body;
	if (!queue)
		return 0;
	m->attempt = r->run.state == RUN_LEASED ? r->run.history.attempts : 0;
	r->last = *m;
	r->at_hand = true;
	return 0;
}

int lmq_reader_next(lmq_reader *r, struct lmq_message *m)
{
	return reader_give(r, FORWARD, m);
}

int lmq_reader_previous(lmq_reader *r, struct lmq_message *m)
{
	if (reader_of_queue(r))
		return fail(r->channel->store, LMQ_EKIND, "%s: a queue cannot be read backward", r->channel->name);
	return reader_give(r, BACKWARD, m);
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
	if (!reader_of_queue(r))
		return fail(s, LMQ_EKIND, "%s: a %s, not a queue", r->channel->name, lmq_kind_name(r->channel->kind));
	if (!r->at_hand || !r->snapshot.active || r->run_serial != r->snapshot.serial)
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

uint64_t lmq_reader_missed(const lmq_reader *r)
{
	return r->missed;
}
