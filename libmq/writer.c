/* SPDX-License-Identifier: ISC */
/*
 * Writers: messages are encoded into memory as they come, one batch a channel, without any lock; a commit
 * opens one transaction, appends the batches and is done. So a slow producer holds nobody up, and the time
 * under the writer lock is that of copying the batch. The batches stay until the commit succeeded.
 */
#include "writer.h"

#include <string.h>
#include <unistd.h>

/* A small store is filled in small steps, so that it gets full before a sender is refused. */
static int choose_batch(lmq_writer *w)
{
	struct snapshot p;
	struct store_record r;
	int rc;
	snapshot_init(w->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = get_store_record(w->store, p.mdb, &r);
	snapshot_close(&p);
	w->batch_bytes = BATCH_BYTES;
	if (rc == 0 && r.max_bytes > 0 && r.max_bytes / 8 < BATCH_BYTES)
		w->batch_bytes = (size_t)(r.max_bytes / 8);
	return rc;
}

int lmq_writer_open(lmq_store *s, enum lmq_sync sync, lmq_writer **writer)
{
	lmq_writer *w = calloc(1, sizeof *w);
	int rc;
	*writer = NULL;
	if (!w)
		return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	w->store = s;
	w->sync = sync;
	w->owner = -1;
	rc = choose_batch(w);
	if (rc != 0)
		free(w);
	else
		*writer = w;
	return rc;
}

int writer_no_memory(lmq_writer *w)
{
	return fail(w->store, LMQ_ENOMEM, "%s: out of memory", w->store->path);
}

/* ---- lots --------------------------------------------------------------------------------- */

static struct lot *lot_new(lmq_writer *w, lmq_channel *c)
{
	if (w->lot_count == w->lot_room) {
		size_t room = w->lot_room ? 2 * w->lot_room : 1;
		struct lot *more = room <= UINT16_MAX ? realloc(w->lots, room * sizeof *more) : NULL;
		if (!more)
			return NULL;
		w->lots = more;
		w->lot_room = room;
	}
	w->lots[w->lot_count] = (struct lot){ .channel = c };
	return &w->lots[w->lot_count++];
}

struct lot *writer_lot(lmq_writer *w, lmq_channel *c)
{
	for (size_t i = w->lot_count; i-- > 0;)
		if (w->lots[i].channel == c)
			return &w->lots[i];
	return lot_new(w, c);
}

/* Remembers which lot the next message goes to, once there are several. */
static bool order_add(lmq_writer *w, const struct lot *l)
{
	if (!w->order && w->lot_count == 1)
		return true;
	if (!w->order || w->count >= w->order_room) {
		size_t room = w->count < 512 ? 1024 : 2 * w->count;
		uint16_t *more = realloc(w->order, room * sizeof *more);
		if (!more)
			return false;
		if (!w->order)
			memset(more, 0, w->count * sizeof *more);
		w->order = more;
		w->order_room = room;
	}
	w->order[w->count] = (uint16_t)(l - w->lots);
	return true;
}

int writer_lot_add(lmq_writer *w, struct lot *l, const struct lmq_message *m, const struct blob *blob)
{
	size_t before = l->batch.size;
	if (!order_add(w, l) || !batch_add(&l->batch, m, blob))
		return writer_no_memory(w);
	w->count++;
	w->bytes += l->batch.size - before;
	return 0;
}

/* ---- adding ------------------------------------------------------------------------------- */

/* Only the library says what is a dead letter. And a time that is past holds nothing back, in no kind of channel. */
const struct lmq_message *writer_message(const lmq_channel *c, const struct lmq_message *m,
	struct lmq_message *room)
{
	bool past = c->kind != LMQ_QUEUE && m->not_before > 0 && m->not_before <= lmq_now();
	if (!m->death && !past)
		return m;
	*room = *m;
	room->death = NULL;
	if (past)
		room->not_before = 0;
	return room;
}

int writer_check(lmq_writer *w, lmq_channel *c, const struct lmq_message *m)
{
	const char *what;
	if (w->open)
		return fail(w->store, LMQ_EINVAL, "%s: a message is still being written", c->name);
	if (c->store != w->store)
		return fail(w->store, LMQ_EINVAL, "%s: a channel of another store", c->name);
	w->committed = 0;
	if (message_check(m, &what) != 0)
		return fail(w->store, LMQ_EDATA, "%s: %s", c->name, what);
	if (c->kind != LMQ_QUEUE && (m->delay | m->not_before) != 0)
		return fail(w->store, LMQ_EDATA, "%s: a %s cannot hold messages back", c->name, lmq_kind_name(c->kind));
	if (w->count > 0 && (w->bytes + message_room(m) > w->batch_bytes || w->blob_count >= BLOBS_MAX))
		return fail(w->store, LMQ_ELIMIT, "%s: more than one transaction takes", c->name);
	return 0;
}

int lmq_writer_add(lmq_writer *w, lmq_channel *c, const struct lmq_message *m)
{
	struct lmq_message room;
	struct lot *l;
	int rc;
	m = writer_message(c, m, &room);
	rc = writer_check(w, c, m);
	if (rc == 0)
		rc = writer_check_size(w, c, m->body.size);
	if (rc != 0)
		return rc;
	if (m->body.size > BODY_INLINE_MAX) {
		rc = lmq_writer_begin(w, c, m);
		if (rc == 0)
			rc = lmq_writer_write(w, m->body.data, m->body.size);
		if (rc == 0)
			return lmq_writer_end(w);
		lmq_writer_abandon(w);
		return rc;
	}
	l = writer_lot(w, c);
	return l ? writer_lot_add(w, l, m, NULL) : writer_no_memory(w);
}

/* ---- commit ------------------------------------------------------------------------------- */

size_t lmq_writer_count(const lmq_writer *w)
{
	return w->count;
}

size_t lmq_writer_bytes(const lmq_writer *w)
{
	return w->bytes;
}

size_t lmq_writer_committed(const lmq_writer *w)
{
	return w->committed;
}

void lmq_writer_partial(lmq_writer *w, bool partial)
{
	w->partial = partial;
}

static void forget_positions(lmq_writer *w)
{
	for (size_t i = 0; i < w->lot_count; i++) {
		free(w->lots[i].positions);
		w->lots[i].positions = NULL;
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

static int lot_append(lmq_writer *w, struct txn *t, struct lot *l)
{
	struct intake in = { .sent = true, .partial = w->may_cut, .ticket = w->ticket };
	uint64_t before = w->resume.stored;
	struct channel_record r;
	int rc = channel_record(l->channel, t->mdb, &r);
	if (rc == 0)
		rc = intake(t, l->channel->id, &r, &l->batch, &in);
	l->first = in.first;
	l->taken = in.taken;
	l->positions = in.positions;
	if (rc == 0 && resumes(w, l))
		rc = resume_put(t, l->channel->id, w->resume.name, before, before + in.taken);
	w->cut = rc == 0 && in.taken < l->batch.count;
	w->fault = in.fault ? in.fault : LMQ_EFULL;
	if (w->cut && w->fault == LMQ_EFULL)
		limit_full(t, &r);
	if ((w->cut && w->fault == LMQ_EFULL) || rc == LMQ_EFULL)
		w->full = l->channel;
	return rc;
}

int writer_append(lmq_writer *w, struct txn *t)
{
	size_t blobs;
	int rc = 0;
	forget_positions(w);
	w->cut = false;
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

static void empty(lmq_writer *w)
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
		empty(w);
	w->may_cut = w->cut = false;
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
	rc = writer_append(w, &t);
	*due = rc == 0 && sweep_due(&t);
	if (rc == 0)
		return txn_commit(&t, w->sync);
	txn_abort(&t);
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

int lmq_writer_commit(lmq_writer *w)
{
	bool due = false, cut;
	int rc;
	if (w->count == 0 && !w->open)
		return 0;
	rc = commit_once(w, &due);
	/* A full store may be full of what was removed already; a full queue is not. */
	if (rc == LMQ_EFULL && !w->store->queue_full && sweep_all(w->store) == 0)
		rc = commit_once(w, &due);
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
	*partition = 0;
	if (w->kept) {
		*offset = w->kept[index];
		return true;
	}
	l = &w->lots[w->order ? w->order[index] : 0];
	if (w->order) {
		before = 0;
		for (size_t i = 0; i < index; i++)
			before += w->order[i] == w->order[index];
	}
	*offset = l->positions ? l->positions[before] : l->first + before;
	return true;
}

int lmq_writer_resume(lmq_writer *w, lmq_channel *c, const char *name, uint64_t *stored)
{
	struct channel_record r;
	struct snapshot p;
	int rc;
	*stored = 0;
	if (!lmq_name_valid(name))
		return fail(w->store, LMQ_EINVAL, "%.*s: not a valid name to resume under", LMQ_NAME_MAX, name);
	if (c->store != w->store)
		return fail(w->store, LMQ_EINVAL, "%s: a channel of another store", c->name);
	snapshot_init(w->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = channel_record(c, p.mdb, &r);
	if (rc == 0)
		rc = resume_get(w->store, p.mdb, c->id, name, stored);
	snapshot_close(&p);
	if (rc != 0)
		return rc;
	w->resume = (struct resume){ .set = true, .id = c->id, .stored = *stored };
	memcpy(w->resume.name, name, strlen(name) + 1);
	return 0;
}

void lmq_writer_discard(lmq_writer *w)
{
	lmq_writer_abandon(w);
	empty(w);
	w->committed = 0;
}

void lmq_writer_close(lmq_writer *w)
{
	if (!w)
		return;
	lmq_writer_discard(w);
	forget_positions(w);
	for (size_t i = 0; i < w->lot_count; i++)
		batch_free(&w->lots[i].batch);
	if (w->owner >= 0)
		close(w->owner);
	free(w->lots);
	free(w->order);
	free(w->blobs);
	free(w->stage);
	free(w);
}
