/* SPDX-License-Identifier: ISC */
/*
 * The commit of a writer: its batches enter their channels in one transaction, all or, for a partial writer with one
 * channel, the first messages that there is room for. Where they lie is kept for lmq_writer_position().
 */
#include "writer.h"

void writer_forget_positions(lmq_writer *w)
{
	for (size_t i = 0; i < w->lot_count; i++) {
		free(w->lots[i].places);
		w->lots[i].places = NULL;
		w->lots[i].taken = 0;
	}
	free(w->kept);
	w->kept = NULL;
	w->committed = 0;
}

static bool resumes(const lmq_writer *w, const struct lot *l)
{
	return w->resume.set && w->resume.id == l->channel->id;
}

/* The lot with the message that was added first. */
static struct lot *first_lot(const lmq_writer *w)
{
	return &w->lots[w->order ? w->order[0] : 0];
}

static int lot_append(lmq_writer *w, struct txn *t, struct lot *l)
{
	struct intake in = { .lane = l->partition, .sent = true, .partial = w->may_cut, .most = w->most, .mandatory = w->mandatory,
		.expectation = w->expects && l == first_lot(w) ? &w->expectation : NULL };
	uint64_t before = w->resume.stored + w->resume.taken;
	struct channel_record r;
	int rc = channel_record(l->channel, t->mdb, &r);
	if (rc == 0)
		rc = intake(t, l->channel->id, &r, &l->batch, &in);
	l->first = in.first;
	l->taken = in.taken;
	l->places = in.places;
	if (rc == 0 && resumes(w, l)) {
		rc = resume_put(t, l->channel->id, w->resume.name, before, before + in.taken);
		w->resume.taken += in.taken;
	}
	w->cut = rc == 0 && in.taken < l->batch.count;
	w->fault = in.fault ? in.fault : LMQ_EFULL;
	if (w->cut && w->fault == LMQ_EFULL && w->most == 0)
		limit_full(t, l->channel->id, &r);
	return rc;
}

int writer_append(lmq_writer *w, struct txn *t)
{
	size_t blobs;
	int rc = 0;
	writer_forget_positions(w);
	w->cut = false;
	w->resume.taken = 0;
	if (w->open || w->store != t->store)
		return fail(t->store, LMQ_EINVAL, "%s: %s", t->store->path,
			w->open ? "a message is still being written" : "a writer of another store");
	if (w->count > 0)
		rc = txn_room(t, w->bytes + w->bytes / 16 + 4096);
	for (size_t i = 0; rc == 0 && i < w->lot_count; i++)
		if (w->lots[i].batch.count > 0)
			rc = lot_append(w, t, &w->lots[i]);
	blobs = w->cut ? writer_bodies(w, w->lots[0].taken) : w->blob_count;
	for (size_t i = 0; rc == 0 && i < blobs; i++)
		rc = blob_commit(t, w->blobs[i]);
	return rc;
}

void writer_empty(lmq_writer *w)
{
	writer_bodies_release(w, w->blob_count);
	for (size_t i = 0; i < w->lot_count; i++)
		batch_empty(&w->lots[i].batch);
	w->count = w->bytes = 0;
}

/* The first messages are stored, the others stay. */
static void drop_taken(lmq_writer *w)
{
	struct batch *b = &w->lots[0].batch;
	writer_bodies_release(w, writer_bodies(w, w->lots[0].taken));
	batch_shift(b, w->lots[0].taken);
	w->count = b->count;
	w->bytes = b->size;
}

void writer_done(lmq_writer *w, int rc)
{
	w->committed = 0;
	for (size_t i = 0; rc == 0 && i < w->lot_count; i++) {
		struct lot *l = &w->lots[i];
		w->committed += l->taken;
		if (resumes(w, l))
			w->resume.stored += l->taken;
	}
	if (rc == 0 && w->cut)
		drop_taken(w);
	else if (rc == 0 || rc == LMQ_EUNKNOWN)
		writer_empty(w);
	w->may_cut = w->cut = false;
	/* What failed may be tried again, and what was expected then still is: by who waits for room, or by the caller. */
	if (rc == 0 || rc == LMQ_EUNKNOWN || rc == LMQ_ECONFLICT)
		w->expects = false;
}

/* One attempt. due: what was dropped waits for the sweeper. */
static int commit_once(lmq_writer *w, bool *due)
{
	struct txn t;
	int rc;
	w->store->queue_full = false;
	w->may_cut = w->partial && w->lot_count == 1;
	rc = txn_begin(w->store, &t);
	if (rc != 0)
		return rc;
	t.ticket = w->ticket;
	t.ticket_id = w->ticket_id;
	rc = ballast_take(&t, w->bytes + w->bytes / 16);
	if (rc == 0)
		rc = writer_append(w, &t);
	*due = rc == 0 && sweep_due(&t);
	if (rc == 0)
		return txn_commit(&t, w->sync);
	txn_abort(&t);
	return rc;
}

/* A lot that is empty may be of a channel that was closed. */
static bool is_used(const lmq_writer *w, const struct lot *l)
{
	return l->batch.count > 0 || (w->open && l == w->target);
}

/* Whether retention gave anything back: where a step changed a lane there is another one. */
static int retain_all(lmq_channel *c, bool *any)
{
	uint64_t at = 0, before, dropped;
	bool more = true;
	int rc = 0;
	while (rc == 0 && more) {
		before = at;
		rc = lmq_channel_retain(c, &at, &dropped, &more);
		*any |= rc == 0 && more && at == before;
	}
	return rc;
}

bool writer_clear(lmq_writer *w)
{
	struct error full = w->store->error;
	bool any = false;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < w->lot_count; i++)
		if (is_used(w, &w->lots[i]))
			rc = retain_all(w->lots[i].channel, &any);
	if (rc == 0)
		rc = sweep_all(w->store, &any);
	w->store->error = full;
	return rc == 0 && any;
}

/* Whether a channel that a route leads to is full, which takes all of a batch or nothing, but may take less. */
static bool routed_full(const lmq_writer *w, int rc)
{
	return rc == LMQ_EFULL && w->store->queue_full && w->partial && w->lot_count == 1 && w->count > 1 &&
		w->store->full_id != w->lots->channel->id;
}

/* As many of the first messages as there is room for, by halves. The sentence of the full channel stands. */
static int commit_fewer(lmq_writer *w, bool *due)
{
	struct error full = w->store->error;
	uint32_t id = w->store->full_id;
	int rc = LMQ_EFULL;
	for (w->most = w->count / 2; w->most > 0 && rc == LMQ_EFULL; w->most /= 2)
		rc = commit_once(w, due);
	w->most = 0;
	w->store->error = full;
	w->store->full_id = id;
	w->store->queue_full = true;
	return rc;
}

/* What is left over is swept; the sentence that says why not all was stored stands. */
static int commit_rest(lmq_writer *w, bool cut, bool due)
{
	struct error full;
	if (!cut) {
		if (due)
			sweep_aside(w->store);
		return 0;
	}
	full = w->store->error;
	if (due)
		sweep_aside(w->store);
	w->store->error = full;
	w->store->queue_full = w->fault == LMQ_EFULL;
	return w->fault;
}

/* An expectation of a key needs the index of keys, which may be far behind: in steps of its own, not in our commit. */
static int index_keys(lmq_writer *w)
{
	const struct lot *l = first_lot(w);
	int rc = 0;
	for (uint16_t lane = 0; rc == 0 && lane < l->channel->lanes; lane++)
		rc = latest_catch_up(w->store, l->channel->id, lane);
	return rc;
}

int lmq_writer_commit(lmq_writer *w)
{
	bool due = false, cut;
	int rc;
	if (w->count == 0 && !w->open)
		return 0;
	if (w->expects && w->expectation.by_key && (rc = index_keys(w)) != 0)
		return rc;
	rc = commit_once(w, &due);
	/* A full store or disk may be full of what nobody keeps; a full queue is not. */
	if ((rc == LMQ_ENOSPC || (rc == LMQ_EFULL && !w->store->queue_full)) && writer_clear(w))
		rc = commit_once(w, &due);
	if (routed_full(w, rc))
		rc = commit_fewer(w, &due);
	cut = rc == 0 && w->cut;
	writer_done(w, rc);
	return rc == 0 ? commit_rest(w, cut, due) : rc;
}

bool lmq_writer_position(const lmq_writer *w, size_t index, uint32_t *partition, uint64_t *offset)
{
	const struct lot *l;
	uint64_t before = index;
	if (index >= w->committed)
		return false;
	if (w->kept) {
		*partition = w->kept[index].lane;
		*offset = w->kept[index].offset;
		return true;
	}
	l = &w->lots[w->order ? w->order[index] : 0];
	if (w->order) {
		before = 0;
		for (size_t i = 0; i < index; i++)
			before += w->order[i] == w->order[index];
	}
	*partition = l->places ? l->places[before].lane : l->first.lane;
	*offset = l->places ? l->places[before].offset : l->first.offset + before;
	return true;
}
