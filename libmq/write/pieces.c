/* SPDX-License-Identifier: ISC */
/*
 * Messages whose body comes in pieces. Up to 1 MiB of it is gathered in memory, then stored as chunks that nobody
 * sees (blob.c), so a body of any size needs that much memory and transactions of that size. A short one ends up
 * in its record like any other. A writer that dies in between, or gives up, leaves an orphan for the sweeper.
 */
#include "writer.h"

#include <string.h>

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

/* The fields of m, encoded as a message without body, so that the caller may forget them. */
static int keep_fields(lmq_writer *w, const struct lmq_message *m)
{
	struct lmq_message bare = *m;
	struct blob none;
	struct decoded *room;
	uint64_t size;
	const uint8_t *start;
	uint8_t *end;
	bare.body = (struct lmq_bytes){ "", 0 };
	w->fields = malloc(sizeof *room + message_room(&bare));
	if (!w->fields)
		return writer_no_memory(w);
	room = (struct decoded *)w->fields;
	end = message_encode(w->fields + sizeof *room, &bare, 0, NULL);
	start = get_varint(w->fields + sizeof *room, end, &size);
	if (!message_decode(start, end, &w->message, room, &none))
		return fail(w->store, LMQ_EBUG, "%s: a message cannot be read back", w->store->path);
	return 0;
}

int lmq_writer_begin(lmq_writer *w, lmq_channel *c, const struct lmq_message *m)
{
	struct lmq_message room;
	int rc;
	m = writer_message(c, m, &room);
	rc = writer_check(w, c, m);
	if (rc != 0)
		return rc;
	if (!w->stage)
		w->stage = malloc(STAGE_BYTES);
	if (!w->blobs)
		w->blobs = malloc(BLOBS_MAX * sizeof *w->blobs);
	w->target = writer_lot(w, c);
	if (!w->stage || !w->blobs || !w->target)
		return writer_no_memory(w);
	rc = keep_fields(w, m);
	w->open = true;
	w->staged = 0;
	w->parts = 0;
	w->body = (struct blob){ 0 };
	if (rc != 0)
		lmq_writer_abandon(w);
	return rc;
}

static int stage_store(lmq_writer *w)
{
	int rc = w->owner < 0 ? lease_open(w->store, &w->owner) : 0;
	if (rc != 0)
		return rc;
	if (w->body.number == 0)
		sweep_aside(w->store);	/* what killed writers of large bodies left */
	rc = blob_append(w->store, w->owner, &w->body.number, &w->parts, w->stage, w->staged);
	if ((rc == LMQ_EFULL || rc == LMQ_ENOSPC) && writer_clear(w))
		rc = blob_append(w->store, w->owner, &w->body.number, &w->parts, w->stage, w->staged);
	if (rc == 0)
		w->staged = 0;
	return rc;
}

int lmq_writer_write(lmq_writer *w, const void *data, size_t size)
{
	const uint8_t *p = data;
	int rc = w->open ? writer_check_size(w, w->target->channel, w->body.size + size) :
		fail(w->store, LMQ_EINVAL, "%s: no message is being written", w->store->path);
	while (rc == 0 && size > 0) {
		size_t n = STAGE_BYTES - w->staged;
		if (n == 0) {
			rc = stage_store(w);
			continue;
		}
		n = n < size ? n : size;
		memcpy(w->stage + w->staged, p, n);
		w->staged += n;
		w->body.size += n;
		p += n;
		size -= n;
	}
	return rc;
}

static void close_message(lmq_writer *w)
{
	free(w->fields);
	w->fields = NULL;
	w->open = false;
}

int lmq_writer_end(lmq_writer *w)
{
	const struct blob *blob = NULL;
	int rc = w->open ? 0 : fail(w->store, LMQ_EINVAL, "%s: no message is being written", w->store->path);
	if (rc != 0)
		return rc;
	if (w->body.size <= BODY_INLINE_MAX) {
		w->message.body = (struct lmq_bytes){ (char *)w->stage, w->staged };
	} else {
		rc = w->staged ? stage_store(w) : 0;
		w->message.body = (struct lmq_bytes){ NULL, w->body.size };
		blob = &w->body;
	}
	if (rc == 0)
		rc = writer_lot_add(w, w->target, &w->message, blob);
	if (rc != 0) {
		lmq_writer_abandon(w);
		return rc;
	}
	if (blob)
		w->blobs[w->blob_count++] = blob->number;
	close_message(w);
	return 0;
}

void lmq_writer_abandon(lmq_writer *w)
{
	if (!w->open)
		return;
	if (w->body.number)
		blob_release(w->owner, w->body.number);	/* an orphan from now on */
	close_message(w);
}

/* ---- the bodies staged so far ------------------------------------------------------------------ */

size_t writer_bodies(const lmq_writer *w, size_t count)
{
	const uint8_t *record, *start, *end;
	size_t at = 0, bodies = 0;
	if (w->blob_count == 0)
		return 0;
	for (; count > 0 && batch_next(&w->lots[0].batch, &at, &record, &start, &end); count--)
		bodies += (*start & RECORD_BLOB) != 0;
	return bodies;
}

void writer_bodies_release(lmq_writer *w, size_t count)
{
	for (size_t i = 0; i < count; i++)
		blob_release(w->owner, w->blobs[i]);
	w->blob_count -= count;
	if (count > 0 && w->blob_count > 0)
		memmove(w->blobs, w->blobs + count, w->blob_count * sizeof *w->blobs);
}
