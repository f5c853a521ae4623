/* SPDX-License-Identifier: ISC */
/*
 * Writers: messages are encoded into memory as they come, one batch a channel, without any lock; a commit
 * (commit.c) opens one transaction, appends the batches and is done. So a slow producer holds nobody up, and the
 * time under the writer lock is that of copying the batch. The batches stay until the commit succeeded.
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
	w->partition = -1;
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

/* What routes copy is in the same transaction: the more copies, the smaller the batch. What fails here fails again in
 * the commit, and is told there. */
static void narrow_batch(lmq_writer *w, lmq_channel *c)
{
	struct channel_record r;
	struct snapshot p;
	size_t copies = 0, most;
	int rc;
	if (c->kind == LMQ_QUEUE)
		return;
	snapshot_init(w->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = channel_record(c, p.mdb, &r);
	if (rc == 0)
		rc = route_fan(w->store, p.mdb, c->id, &r, &copies);
	snapshot_close(&p);
	most = ROUTED_BYTES / (copies + 1);
	if (most < BATCH_LEAST)
		most = BATCH_LEAST;
	if (rc == 0 && most < w->batch_bytes)
		w->batch_bytes = most;
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
	narrow_batch(w, c);
	w->lots[w->lot_count] = (struct lot){ .channel = c, .partition = w->partition };
	return &w->lots[w->lot_count++];
}

struct lot *writer_lot(lmq_writer *w, lmq_channel *c)
{
	for (size_t i = w->lot_count; i-- > 0;)
		if (w->lots[i].channel == c && w->lots[i].partition == w->partition)
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
	if (w->partition >= c->lanes)
		return fail(w->store, LMQ_EINVAL, "%s: there is no partition %lld, the %s has %u", c->name,
			(long long)w->partition, lmq_kind_name(c->kind), c->lanes);
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

/* ---- settings and numbers -------------------------------------------------------------------- */

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

void lmq_writer_partition(lmq_writer *w, int64_t partition)
{
	w->partition = partition < 0 ? -1 : partition;
}

void lmq_writer_mandatory(lmq_writer *w, bool mandatory)
{
	w->mandatory = mandatory;
}

void lmq_writer_expect(lmq_writer *w, uint64_t offset)
{
	w->expects = true;
	w->expectation = (struct expectation){ .offset = offset };
}

void lmq_writer_expect_key(lmq_writer *w, uint64_t offset)
{
	w->expects = true;
	w->expectation = (struct expectation){ .by_key = true, .offset = offset };
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
	writer_empty(w);
	w->committed = 0;
	w->expects = false;
}

void lmq_writer_close(lmq_writer *w)
{
	if (!w)
		return;
	lmq_writer_discard(w);
	writer_forget_positions(w);
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
