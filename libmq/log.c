/* SPDX-License-Identifier: ISC */
/*
 * The log: append. It knows nothing of kinds of channels.
 *
 * A lane's records form one byte stream, cut into blocks (format.h). Appending fills the tail block to the last
 * byte, then cuts the rest of the batch into new ones, copying each byte once from the batch into LMDB's page;
 * the CRC is computed on the way. Times are a chain of deltas through the whole lane; a block's base time lets
 * a reader enter the chain.
 */
#include "internal.h"

#include <string.h>

/* ---- append --------------------------------------------------------------------------------- */

struct cut {			/* state while a batch is cut into blocks */
	const uint8_t *p, *end;		/* what is left of the batch */
	const uint8_t *record;		/* the next record's begin; p lags behind it inside a straddling one */
	uint64_t offset;		/* of that record */
	int64_t time;			/* of the record before it */
	uint64_t large, large_bytes;	/* large bodies met so far */
};

/* Counts the records that begin in the next room bytes and follows their times; the room that they use. */
static size_t cut_measure(struct cut *c, size_t room, size_t at, struct block *b)
{
	const uint8_t *limit = (size_t)(c->end - c->p) < room ? c->end : c->p + room;
	while (c->record < limit) {
		uint64_t size, delta = 0;
		const uint8_t *start;
		if (BLOCK_ROOM - at - (size_t)(c->record - c->p) < RECORD_ROOM)
			return (size_t)(c->record - c->p);
		start = get_varint(c->record, c->end, &size);
		get_varint(start + 1, c->end, &delta);
		if (*start & RECORD_BLOB) {
			b->flags |= BLOCK_HAS_BLOB;
			c->large++;
			c->large_bytes += get64(start + size - 8);
		}
		c->time += (int64_t)delta;
		c->record = start + size;
		c->offset++;
		b->count++;
	}
	return (size_t)(limit - c->p);
}

static int load_tail(struct txn *t, const struct key *k, struct block *b)
{
	MDB_val v;
	int rc = get_value(t->store, t->mdb, k, &v);
	if (rc == LMQ_END || (rc == 0 && !block_get(b, k->bytes, k->size, v.mv_data, v.mv_size)))
		return fail_damaged(t->store, "the last block of a log");
	return rc;
}

/* Fills the tail block. Its old bytes are in the map and stay valid until the commit. */
static int fill_tail(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct cut *c)
{
	struct key k = key_block(id, lane, head->tail_offset, head->tail_part);
	struct block b;
	uint8_t old[BLOCK_ROOM], *room;
	uint16_t old_count;
	size_t n, size;
	int rc;
	if (head->tail_used == 0 || BLOCK_MAX - head->tail_used < RECORD_ROOM)
		return 0;
	rc = load_tail(t, &k, &b);
	if (rc != 0)
		return rc;
	size = b.size;
	memcpy(old, b.payload, size);
	old_count = b.count;
	n = cut_measure(c, BLOCK_ROOM - size, size, &b);
	if (n == 0)
		return 0;
	/* A tail that only continued a record had that record's offset in its key; now one begins in it. */
	if (old_count == 0) {
		rc = delete_key(t, &k);
		if (rc != 0)
			return rc == LMQ_END ? fail_damaged(t->store, "the last block of a log") : rc;
		head->tail_offset = head->end;
		head->tail_part = 0;
		k = key_block(id, lane, head->tail_offset, 0);
	}
	rc = put_reserve(t, &k, BLOCK_HEADER + size + n, &room);
	if (rc != 0)
		return rc;
	memcpy(room + BLOCK_HEADER, old, size);
	memcpy(room + BLOCK_HEADER + size, c->p, n);
	c->p += n;
	b.size = size + n;
	b.last_time = c->time;
	block_seal(room, &b, &k);
	head->tail_used = (uint16_t)(BLOCK_HEADER + b.size);
	return 0;
}

/* Writes one new block. part counts the blocks since one in which a record began. */
static int cut_block(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct cut *c)
{
	struct block b = { .base_time = c->time };
	size_t skip = (size_t)(c->record - c->p), n;
	uint64_t offset = c->offset;
	uint32_t part = 0;
	struct key k;
	uint8_t *room;
	int rc;
	b.skip = (uint16_t)(skip < BLOCK_ROOM ? skip : BLOCK_ROOM);
	n = skip < BLOCK_ROOM ? cut_measure(c, BLOCK_ROOM, 0, &b) : BLOCK_ROOM;
	if (b.count == 0) {
		offset--;
		part = head->tail_offset == offset && head->tail_used ? head->tail_part + 1 : 1;
	}
	k = key_block(id, lane, offset, part);
	rc = put_reserve(t, &k, BLOCK_HEADER + n, &room);
	if (rc != 0)
		return rc;
	memcpy(room + BLOCK_HEADER, c->p, n);
	c->p += n;
	b.size = n;
	b.last_time = c->time;
	block_seal(room, &b, &k);
	head->tail_offset = offset;
	head->tail_part = part;
	head->tail_used = (uint16_t)(BLOCK_HEADER + n);
	return 0;
}

int log_append(struct txn *t, uint32_t id, uint16_t lane, struct batch *b, struct head_record *head)
{
	uint64_t delta = b->time > head->last_time ? (uint64_t)(b->time - head->last_time) : 0;
	uint8_t saved[3 * VARINT_MAX], *begin = b->records - VARINT_MAX;
	struct cut c = { .large = 0 };
	size_t size;
	int rc;
	/* The first record's delta depends on the one before it: set for this attempt, and put back. */
	memcpy(saved, begin, sizeof saved);
	c.p = c.record = message_shift(b->records, delta);
	c.end = b->records + b->size;
	c.offset = head->end;
	c.time = head->last_time;
	size = (size_t)(c.end - c.p);
	rc = fill_tail(t, id, lane, head, &c);
	while (rc == 0 && c.p < c.end)
		rc = cut_block(t, id, lane, head, &c);
	memcpy(begin, saved, sizeof saved);
	if (rc != 0)
		return rc;
	head->end = c.offset;
	head->last_time = c.time;
	head->bytes += size + c.large_bytes;
	head->sent_bytes += size + c.large_bytes;
	head->large += c.large;
	return 0;
}
