/* SPDX-License-Identifier: ISC */
/*
 * Trimming: dropping the oldest messages on request, in bounded steps.
 *
 * Offsets grow with time, so every condition names a prefix, and any of them is enough. Of a topic or stream that
 * prefix goes at once, its blocks in the same and later steps. Of a queue only what nobody has in his hands goes:
 * leases are left alone, and so is what another process has locked. A dry run takes the same way through a
 * snapshot.
 */
#include "trim.h"

enum {
	STEP_MESSAGES = 20000,
	STEP_LARGE = 2048,	/* messages, where there are large bodies */
	STEP_BLOCKS = 1280,
};

/* Where to go on: lane and offset in one number. */
enum { LANE_SHIFT = 48 };

int trim_look(struct look *l, lmq_store *s)
{
	int rc;
	snapshot_init(s, &l->snapshot);
	rc = snapshot_begin(&l->snapshot);
	l->t = (struct txn){ .store = s, .mdb = l->snapshot.mdb };
	return rc;
}

int trim_load(struct trim *m, lmq_channel *c, uint16_t lane, struct txn *t, const struct lmq_trim *what)
{
	int rc;
	*m = (struct trim){ .channel = c, .lane = lane, .t = t, .what = *what, .q.t = t, .q.id = c->id };
	rc = channel_record(c, t->mdb, &m->q.record);
	if (rc != 0)
		return rc;
	if (trim_is_queue(m))
		rc = queue_load(t, c->id, 0, "", &m->q);
	else
		rc = get_head(c->store, t->mdb, c->id, lane, &m->q.head);
	return rc == LMQ_END ? channel_gone(c) : rc;
}

/* ---- queues ------------------------------------------------------------------------------- */

/* Up to where the messages of [first, end) are old enough. */
static int old_enough(struct trim *m, uint64_t first, uint64_t *end)
{
	struct snapshot view;
	struct log_cursor c;
	struct record r;
	int rc;
	if (first < m->what.to) {
		*end = *end < m->what.to ? *end : m->what.to;
		return 0;
	}
	if (m->what.before <= 0) {
		*end = first;
		return 0;
	}
	rc = log_cursor_within(m->t, m->q.id, m->lane, &m->q.head, &view, &c);
	log_seek(&c, first);
	while (rc == 0 && c.offset < *end && (rc = log_next(&c, &r)) == 0)
		if (r.time >= m->what.before)
			*end = r.offset;
	log_cursor_leave(&c);
	return rc;
}

static int drop_part(struct trim *m, const struct run *part)
{
	struct run_record r;
	int rc;
	m->dropped += part->end - part->first;
	m->changed = true;
	if (m->what.dry_run)
		return 0;
	rc = group_carve(m->t, &m->q.position, part->first, part->end, &r);
	return rc == 0 ? queue_leave(&m->q, &r, COUNT_DROPPED, false) : rc;
}

/* What is old and free of the first unsettled run from *at on goes. LMQ_END: nothing is old any more. */
static int trim_run(struct trim *m, uint64_t *at)
{
	uint32_t space = m->q.position.space;
	struct run_record r;
	struct run part;
	uint64_t wrap;
	int rc = group_first(m->t, &m->q.position, m->q.head.end, *at, &r);
	if (rc != 0)
		return rc;
	wrap = (r.first | UINT32_MAX) + 1;	/* locks are taken up to there */
	if (r.end > wrap)
		r.end = wrap;
	if (r.state != RUN_LEASED && r.end - r.first > m->budget)
		r.end = r.first + m->budget;
	rc = old_enough(m, r.first, &r.end);
	if (rc != 0 || r.end <= r.first)
		return rc != 0 ? rc : LMQ_END;
	*at = r.end = lease_reach(r.first, r.end);
	m->budget--;
	if (r.state == RUN_LEASED)
		return 0;
	rc = m->what.dry_run ? lease_free(m->t->store, space, r.first, r.end, &part) :
		txn_hold(m->t, space, r.first, r.end, UINT64_MAX, &part);
	if (rc != 0)
		return rc == LMQ_END ? 0 : rc;
	*at = part.end;
	m->budget -= part.end - part.first - 1;
	return drop_part(m, &part);
}

static int trim_queue(struct trim *m, uint64_t *at, bool *more)
{
	int rc = 0;
	m->budget = m->q.head.large > 0 ? STEP_LARGE : STEP_MESSAGES;
	while (rc == 0 && m->budget > 0)
		rc = trim_run(m, at);
	*more = rc == 0;
	return rc == LMQ_END ? 0 : rc;
}

/* ---- topics and streams ------------------------------------------------------------------- */

static int log_floor(struct trim *m, uint64_t *floor)
{
	struct snapshot view;
	struct log_cursor c;
	int rc;
	*floor = m->what.to;
	if (m->what.before > 0) {
		rc = log_cursor_within(m->t, m->q.id, m->lane, &m->q.head, &view, &c);
		if (rc == 0)
			rc = log_seek_time(&c, m->what.before);
		trim_at_least(floor, c.offset);
		log_cursor_leave(&c);
		if (rc != 0)
			return rc;
	}
	if (*floor > m->q.head.end)
		*floor = m->q.head.end;
	return 0;
}

/* Whether a block lies wholly below the oldest message. */
static int blocks_left(struct trim *m, bool *left)
{
	MDB_cursor *cursor;
	struct block b;
	uint64_t offset;
	int rc = mdb_cursor_open(m->t->mdb, m->t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(m->t->store, m->t->store->path, rc);
	rc = log_first_block(m->t->store, cursor, m->q.id, m->lane, &b, &offset);
	*left = rc == 0 && offset + (b.count ? b.count : 1) <= m->q.head.first;
	mdb_cursor_close(cursor);
	return rc == LMQ_END ? 0 : rc;
}

static int trim_log(struct trim *m, uint64_t *at, bool *more)
{
	struct head_record *h = &m->q.head;
	uint64_t first = h->first, bytes = h->bytes, floor;
	int rc;
	if (limit_of(&m->q.record, LIMIT_SEALED) == 1)
		return fail(m->channel->store, LMQ_EACCES, "%s: the stream is sealed", m->q.record.name);
	if (limit_of(&m->q.record, LIMIT_AUDIT) == 1)
		return fail(m->channel->store, LMQ_EACCES, "%s: the stream has audit=yes, nothing of it can be removed",
			m->q.record.name);
	rc = log_floor(m, &floor);
	if (rc != 0)
		return rc;
	if (m->what.dry_run) {
		trim_at_least(&first, *at);
		m->dropped = floor > first ? floor - first : 0;
		trim_at_least(at, floor);
		return 0;
	}
	rc = retain_drop(m->t, m->q.id, m->lane, h, floor, STEP_BLOCKS);
	m->dropped = h->first - first;
	*at = h->first;
	if (rc == 0)
		rc = blocks_left(m, more);
	*more = *more || h->first < floor;
	m->changed = h->first != first || h->bytes != bytes;
	return rc == 0 ? put_head(m->t, m->q.id, m->lane, h) : rc;
}

/* ---- a step ------------------------------------------------------------------------------- */

static int trim_within(struct trim *m, lmq_channel *c, struct txn *t, const struct lmq_trim *what, uint64_t *at,
	bool *more)
{
	uint16_t lane = (uint16_t)(*at >> LANE_SHIFT);
	uint64_t from = *at - ((uint64_t)lane << LANE_SHIFT);
	int rc = trim_load(m, c, lane, t, what);
	if (rc == 0)
		rc = trim_bound(m);
	if (rc == 0)
		rc = trim_is_queue(m) ? trim_queue(m, &from, more) : trim_log(m, &from, more);
	if (rc == 0 && !*more && lane + 1 < c->lanes) {
		*more = true;
		from = 0;
		lane++;
	}
	*at = from + ((uint64_t)lane << LANE_SHIFT);
	return rc;
}

static int trim_dry(struct trim *m, lmq_channel *c, const struct lmq_trim *what, uint64_t *at, bool *more)
{
	struct look l;
	int rc = trim_look(&l, c->store);
	if (rc == 0)
		rc = trim_within(m, c, &l.t, what, at, more);
	snapshot_close(&l.snapshot);
	return rc;
}

static int trim_wet(struct trim *m, lmq_channel *c, const struct lmq_trim *what, uint64_t *at, bool *more)
{
	struct txn t;
	int rc = txn_begin(c->store, &t);
	if (rc != 0)
		return rc;
	rc = trim_within(m, c, &t, what, at, more);
	if (rc == 0 && trim_is_queue(m) && m->changed)
		rc = queue_store(&m->q);
	/* Publishers may wait for the room; members for what stood behind a message that is gone. */
	if (m->changed && c->kind != LMQ_QUEUE)
		txn_wake(&t, c->id);
	if (rc == 0 && m->changed)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

static int trim_step(lmq_channel *c, const struct lmq_trim *what, uint64_t *at, uint64_t *dropped, bool *more)
{
	struct trim m = { .dropped = 0 };
	uint64_t from = *at;
	bool again = false;
	int rc = what->dry_run ? trim_dry(&m, c, what, &from, &again) : trim_wet(&m, c, what, &from, &again);
	*dropped = rc == 0 ? m.dropped : 0;
	*more = rc == 0 && again;
	if (rc == 0)
		*at = from;
	return rc;
}

int lmq_channel_trim(lmq_channel *c, const struct lmq_trim *what, uint64_t *at, uint64_t *dropped, bool *more)
{
	int rc = trim_step(c, what, at, dropped, more);
	return rc == LMQ_ENOSPC && ballast_drop(c->store) ? trim_step(c, what, at, dropped, more) : rc;
}
