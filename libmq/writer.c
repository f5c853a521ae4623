/* SPDX-License-Identifier: ISC */
/*
 * Writers: messages are encoded into memory as they come, one batch a channel, without any lock; a commit
 * opens one transaction, appends the batches and is done. So a slow producer holds nobody up, and the time
 * under the writer lock is that of copying the batch. The batches stay until the commit succeeded.
 */
#include "writer.h"

#include <string.h>
#include <unistd.h>

enum {
	BATCH_FIRST = 4 << 10,		/* first size of a batch's memory */
	SLACK = 3 * VARINT_MAX,		/* log_append reads a little beyond a short first record */
};

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

static bool lot_reserve(struct lot *l, size_t need)
{
	size_t room = l->room ? l->room : BATCH_FIRST;
	uint8_t *more;
	need += VARINT_MAX + l->batch.size + SLACK;
	if (need <= l->room)
		return true;
	while (room < need)
		room *= 2;
	more = realloc(l->memory, room);
	if (!more)
		return false;
	if (!l->memory)
		memset(more, 0, VARINT_MAX);
	l->memory = more;
	l->batch.records = more + VARINT_MAX;
	l->room = room;
	return true;
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
	uint8_t *p, *end;
	if (!lot_reserve(l, message_room(m)) || !order_add(w, l))
		return writer_no_memory(w);
	p = l->batch.records + l->batch.size;
	end = message_encode(p, m, 0, blob);
	l->batch.size += (size_t)(end - p);
	l->batch.count++;
	w->count++;
	w->bytes += (size_t)(end - p);
	return 0;
}

/* ---- adding ------------------------------------------------------------------------------- */

static int too_large(lmq_writer *w, const lmq_channel *c)
{
	char limit[LMQ_VALUE_MAX];
	fail(w->store, LMQ_EDATA, "%s: the message is larger than the %s takes (max-message=%s)", c->name,
		lmq_kind_name(c->kind), lmq_size_format(c->max_message, limit));
	fail_hint(w->store, "mq-make %s max-message=SIZE, at most 1G", c->name);
	return LMQ_EDATA;
}

int writer_check_size(lmq_writer *w, lmq_channel *c, uint64_t size)
{
	struct channel_record r;
	struct snapshot p;
	int rc;
	if (size <= c->max_message)
		return 0;
	snapshot_init(w->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = channel_record(c, p.mdb, &r);
	snapshot_close(&p);
	return rc == 0 && size > c->max_message ? too_large(w, c) : rc;
}

int writer_check(lmq_writer *w, lmq_channel *c, const struct lmq_message *m)
{
	const char *what;
	if (w->open)
		return fail(w->store, LMQ_EINVAL, "%s: a message is still being written", c->name);
	if (c->store != w->store)
		return fail(w->store, LMQ_EINVAL, "%s: a channel of another store", c->name);
	if (w->committed > 0 && w->count == 0)
		w->committed = 0;
	if (message_check(m, &what) != 0)
		return fail(w->store, LMQ_EDATA, "%s: %s", c->name, what);
	if (w->count > 0 && (w->bytes + message_room(m) > w->batch_bytes || w->blob_count >= BLOBS_MAX))
		return fail(w->store, LMQ_ELIMIT, "%s: more than one transaction takes", c->name);
	return 0;
}

int lmq_writer_add(lmq_writer *w, lmq_channel *c, const struct lmq_message *m)
{
	struct lot *l;
	int rc = writer_check(w, c, m);
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

static int lot_append(lmq_writer *w, struct txn *t, struct lot *l)
{
	struct channel_record r;
	struct head_record head;
	lmq_channel *c = l->channel;
	int rc = channel_record(c, t->mdb, &r);
	if (rc == 0)
		rc = get_head(w->store, t->mdb, c->id, 0, &head);
	if (rc == LMQ_END)
		rc = fail_damaged(w->store, "a channel without its log");
	if (rc == 0 && limit_of(&r, LIMIT_SEALED) == 1)
		rc = fail(w->store, LMQ_EACCES, "%s: the stream is sealed", c->name);
	if (rc != 0)
		return rc;
	l->first = head.end;
	l->batch.time = lmq_now();
	rc = log_append(t, c->id, 0, &l->batch, &head);
	if (rc == 0 && r.kind != LMQ_QUEUE)
		rc = retain_apply(t, c->id, 0, &r, &head);
	if (rc == 0)
		rc = put_head(t, c->id, 0, &head);
	txn_wake(t, c->id);
	return rc;
}

static int commit_all(lmq_writer *w, struct txn *t)
{
	int rc = txn_room(t, w->bytes + w->bytes / 16 + 4096);
	for (size_t i = 0; rc == 0 && i < w->blob_count; i++)
		rc = blob_commit(t, w->blobs[i]);
	for (size_t i = 0; rc == 0 && i < w->lot_count; i++)
		if (w->lots[i].batch.count > 0)
			rc = lot_append(w, t, &w->lots[i]);
	return rc;
}

static void empty(lmq_writer *w)
{
	for (size_t i = 0; i < w->blob_count; i++)
		blob_release(w->owner, w->blobs[i]);
	for (size_t i = 0; i < w->lot_count; i++)
		w->lots[i].batch.count = w->lots[i].batch.size = 0;
	w->blob_count = 0;
	w->count = w->bytes = 0;
}

/* One attempt. due: what was dropped waits for the sweeper. */
static int commit_once(lmq_writer *w, bool *due)
{
	struct txn t;
	int rc = txn_begin(w->store, &t);
	if (rc != 0)
		return rc;
	rc = commit_all(w, &t);
	*due = rc == 0 && sweep_due(&t);
	if (rc == 0)
		return txn_commit(&t, w->sync);
	txn_abort(&t);
	return rc;
}

int lmq_writer_commit(lmq_writer *w)
{
	bool due = false;
	int rc;
	if (w->open)
		return fail(w->store, LMQ_EINVAL, "%s: a message is still being written", w->store->path);
	if (w->count == 0)
		return 0;
	rc = commit_once(w, &due);
	/* A full store may be full of what was removed already. */
	if (rc == LMQ_EFULL && sweep_all(w->store) == 0)
		rc = commit_once(w, &due);
	if (rc == 0)
		w->committed = w->count;
	if (rc == 0 || rc == LMQ_EUNKNOWN)
		empty(w);
	if (rc == 0 && due)
		sweep_aside(w->store);
	return rc;
}

bool lmq_writer_position(const lmq_writer *w, size_t index, uint32_t *partition, uint64_t *offset)
{
	const struct lot *l;
	uint64_t before = index;
	if (index >= w->committed || w->count > 0)
		return false;
	l = &w->lots[w->order ? w->order[index] : 0];
	if (w->order) {
		before = 0;
		for (size_t i = 0; i < index; i++)
			before += w->order[i] == w->order[index];
	}
	*partition = 0;
	*offset = l->first + before;
	return true;
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
	for (size_t i = 0; i < w->lot_count; i++)
		free(w->lots[i].memory);
	if (w->owner >= 0)
		close(w->owner);
	free(w->lots);
	free(w->order);
	free(w->blobs);
	free(w->stage);
	free(w);
}
