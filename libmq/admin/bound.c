/* SPDX-License-Identifier: ISC */
/* Up to where a channel is to be trimmed, where that is said by what is to be kept. */
#include "trim.h"

/* Of what is to be kept in all partitions, what one of them keeps. */
static uint64_t share(const struct trim *m, uint64_t n)
{
	uint64_t lanes = m->channel->lanes;
	return n == UINT64_MAX ? n : n / lanes + (n % lanes != 0);
}

/* Steps through the messages that can be dropped at all. */
struct walk {
	struct trim *m;
	struct snapshot view;
	struct log_cursor cursor;
	uint64_t end;		/* of the run */
};

static int walk_begin(struct walk *w, struct trim *m)
{
	w->m = m;
	w->end = 0;
	return log_cursor_within(m->t, m->q.id, m->lane, &m->q.head, &w->view, &w->cursor);
}

static int walk_next(struct walk *w, struct record *r)
{
	struct log_cursor *c = &w->cursor;
	struct run_record run;
	int rc;
	if (trim_is_queue(w->m) && c->offset >= w->end) {
		rc = group_first(w->m->t, &w->m->q.position, c->head.end, c->offset, &run);
		if (rc != 0)
			return rc;
		w->end = run.end;
		log_seek(c, run.first);
	}
	return log_next(c, r);
}

static int size_of(struct walk *w, uint64_t *size)
{
	struct record r;
	struct blob blob;
	uint64_t delta, n;
	int rc = walk_next(w, &r);
	if (rc != 0)
		return rc;
	if (!message_skim(r.data, r.end, &delta, &blob))
		return fail_damaged(w->m->channel->store, "a message");
	n = (uint64_t)(r.end - r.data);
	*size = n + varint_size(n) + blob.size;
	return 0;
}

/* A queue's blocks hold settled messages too: what is left in them has to be added up. */
static int total_bytes(struct trim *m, uint64_t *total)
{
	struct walk w;
	uint64_t size;
	int rc;
	*total = m->q.head.bytes;
	if (!trim_is_queue(m))
		return 0;
	*total = 0;
	rc = walk_begin(&w, m);
	while (rc == 0 && (rc = size_of(&w, &size)) == 0)
		*total += size;
	log_cursor_leave(&w.cursor);
	return rc == LMQ_END ? 0 : rc;
}

static int bound_bytes(struct trim *m, uint64_t *to)
{
	struct walk w;
	uint64_t left, size, keep = share(m, m->what.keep_bytes);
	int rc = total_bytes(m, &left);
	*to = 0;
	if (rc != 0 || left <= keep)
		return rc;
	rc = walk_begin(&w, m);
	while (rc == 0 && (rc = size_of(&w, &size)) == 0) {
		if (left < size || left - size < keep)
			break;
		left -= size;
		*to = w.cursor.offset;
	}
	log_cursor_leave(&w.cursor);
	return rc == LMQ_END ? 0 : rc;
}

/* Behind the first unsettled messages of a queue, that many of them. */
static int behind(struct trim *m, uint64_t count, uint64_t *to)
{
	struct run_record r;
	int rc = 0;
	while (count > 0 && (rc = group_first(m->t, &m->q.position, m->q.head.end, *to, &r)) == 0) {
		uint64_t n = r.end - r.first < count ? r.end - r.first : count;
		*to = r.first + n;
		count -= n;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int bound_count(struct trim *m, uint64_t *to)
{
	const struct head_record *h = &m->q.head;
	uint64_t count = h->end - (trim_is_queue(m) ? m->q.position.settled : h->first), keep = share(m, m->what.keep);
	*to = 0;
	if (count <= keep)
		return 0;
	if (trim_is_queue(m))
		return behind(m, count - keep, to);
	*to = h->end - keep;
	return 0;
}

int trim_bound(struct trim *m)
{
	struct lmq_trim *w = &m->what;
	uint64_t to;
	int rc = 0;
	if (w->all)
		trim_at_least(&w->to, m->q.head.end);
	if (w->keep != UINT64_MAX && (rc = bound_count(m, &to)) == 0)
		trim_at_least(&w->to, to);
	if (rc == 0 && w->keep_bytes != UINT64_MAX && (rc = bound_bytes(m, &to)) == 0)
		trim_at_least(&w->to, to);
	w->all = false;
	w->keep = w->keep_bytes = UINT64_MAX;
	return rc;
}

int lmq_channel_trim_bound(lmq_channel *c, struct lmq_trim *what)
{
	struct look l;
	struct trim m;
	int rc = trim_look(&l, c->store);
	/* Offsets of several partitions are not one: time has to do, and numbers hold at each step. */
	if (rc == 0 && c->lanes > 1) {
		if (what->all)
			what->before = lmq_now();
		what->all = false;
		snapshot_close(&l.snapshot);
		return 0;
	}
	if (rc == 0)
		rc = trim_load(&m, c, 0, &l.t, what);
	if (rc == 0)
		rc = trim_bound(&m);
	if (rc == 0)
		*what = m.what;
	snapshot_close(&l.snapshot);
	return rc;
}
