/* SPDX-License-Identifier: ISC */
/*
 * Messages whose body comes in pieces. Up to 1 MiB of it is gathered in memory, then stored as chunks that nobody
 * sees (blob.c), so a body of any size needs that much memory and transactions of that size. A short one ends up
 * in its record like any other. A writer that dies in between, or gives up, leaves an orphan for the sweeper.
 */
#include "writer.h"

#include <string.h>

/* The fields of m, encoded as a message without body, so that the caller may forget them. */
static int keep_fields(lmq_writer *w, const struct lmq_message *m)
{
	struct lmq_message bare = *m;
	struct blob none;
	struct lmq_header *headers;
	uint64_t size;
	const uint8_t *start;
	uint8_t *end;
	bare.body = (struct lmq_bytes){ "", 0 };
	w->fields = malloc(LMQ_HEADERS_MAX * sizeof *headers + message_room(&bare));
	if (!w->fields)
		return writer_no_memory(w);
	headers = (struct lmq_header *)w->fields;
	end = message_encode(w->fields + LMQ_HEADERS_MAX * sizeof *headers, &bare, 0, NULL);
	start = get_varint(w->fields + LMQ_HEADERS_MAX * sizeof *headers, end, &size);
	if (!message_decode(start, end, &w->message, headers, &none))
		return fail(w->store, LMQ_EBUG, "%s: a message cannot be read back", w->store->path);
	return 0;
}

int lmq_writer_begin(lmq_writer *w, lmq_channel *c, const struct lmq_message *m)
{
	int rc = writer_check(w, c, m);
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
	int rc = 0;
	if (w->owner < 0)
		rc = lease_open(w->store, &w->owner);
	if (rc == 0 && w->body.number == 0)
		sweep_aside(w->store);	/* what killed writers of large bodies left */
	if (rc == 0)
		rc = blob_append(w->store, w->owner, &w->body.number, &w->parts, w->stage, w->staged);
	if (rc == LMQ_EFULL && sweep_all(w->store) == 0)
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
