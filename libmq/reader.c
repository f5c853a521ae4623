/* SPDX-License-Identifier: ISC */
/* Readers: a place in a channel's log, for looking without taking. */
#include "internal.h"

#include <string.h>

struct lmq_reader {
	lmq_channel *channel;
	struct snapshot snapshot;
	struct log_cursor cursor;
	struct lmq_header headers[LMQ_HEADERS_MAX];
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

/* A fresh view, if the last one was given back; notices a removed channel. */
static int reader_refresh(lmq_reader *r)
{
	struct channel_record record;
	bool renewed = !r->snapshot.active || r->cursor.serial != r->snapshot.serial;
	int rc = log_refresh(&r->cursor);
	if (rc == LMQ_END)
		return channel_gone(r->channel);
	return rc == 0 && renewed ? channel_record(r->channel, r->snapshot.mdb, &record) : rc;
}

int lmq_reader_seek(lmq_reader *r, enum lmq_seek how, int64_t value)
{
	struct log_cursor *c = &r->cursor;
	uint64_t number = value < 0 ? 0 : (uint64_t)value;
	int rc;
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
		return log_seek_time(c, value);
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

int lmq_reader_next(lmq_reader *r, struct lmq_message *m)
{
	struct log_cursor *c = &r->cursor;
	struct record record;
	int rc = r->snapshot.active && c->serial == r->snapshot.serial ? 0 : reader_refresh(r);
	if (rc != 0)
		return rc;
	if (c->offset < c->head.first && !r->moved)
		r->missed += c->head.first - c->offset;
	rc = log_next(c, &record);
	if (rc == LMQ_END)
		snapshot_drop(&r->snapshot);
	if (rc != 0)
		return rc;
	r->moved = false;
	rc = log_message(c, &record, m, r->headers, &r->blob);
	r->body = m->body;
	return rc;
}

int lmq_reader_body(lmq_reader *r, uint64_t at, struct lmq_bytes *piece)
{
	if (r->blob.size > 0)
		return blob_piece(r->channel->store, &r->snapshot, &r->blob, at, piece);
	if (!r->snapshot.active)
		return fail(r->channel->store, LMQ_EINVAL, "%s: the message is no longer at hand", r->channel->name);
	if (at > r->body.size)
		at = r->body.size;
	*piece = (struct lmq_bytes){ r->body.data + at, r->body.size - (size_t)at };
	return 0;
}

void lmq_reader_pause(lmq_reader *r)
{
	snapshot_pause(&r->snapshot);
}

uint64_t lmq_reader_tell(const lmq_reader *r)
{
	return r->cursor.offset;
}

int lmq_reader_end(lmq_reader *r, uint64_t *offset)
{
	int rc;
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
