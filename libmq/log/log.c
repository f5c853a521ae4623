/* SPDX-License-Identifier: ISC */
/*
 * The log: append. It knows nothing of kinds of channels.
 *
 * A lane's records form one byte stream, cut into blocks (format.h). Appending fills the tail block to the last
 * byte, then cuts the rest of the batch into new ones, copying each byte once from the batch into LMDB's page;
 * the CRC is computed on the way. Times are a chain of deltas through the whole lane; a block's base time lets
 * a reader enter the chain. In an audited lane a block's link stands before its records (audit.c). Compaction may
 * have made the tail block shorter, never empty: the newest message of a lane is the newest of its key.
 */
#include "log.h"

#include <string.h>

/* ---- append --------------------------------------------------------------------------------- */

struct cut {			/* state while a batch is cut into blocks */
	const uint8_t *p, *end;		/* what is left of the batch */
	const uint8_t *record;		/* the next record's begin; p lags behind it inside a straddling one */
	uint64_t offset;		/* of that record */
	int64_t time;			/* of the record before it */
	uint64_t large, large_bytes;	/* large bodies met so far */
	bool linked;
};

/* Counts the records that begin in the next room bytes and follows their times; the room that they use. */
static size_t cut_measure(struct cut *c, size_t room, struct block *b)
{
	const uint8_t *limit = (size_t)(c->end - c->p) < room ? c->end : c->p + room;
	while (c->record < limit) {
		uint64_t size, delta = 0;
		const uint8_t *start;
		if (room - (size_t)(c->record - c->p) < RECORD_ROOM)
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

/* The tail block with its bytes in memory of our own: writing it anew may be writing over them. */
struct tail {
	struct block b;
	uint8_t link[LINK_SIZE], payload[BLOCK_MAX];
};

static int load_tail(struct txn *t, const struct key *k, const struct head_record *head, struct tail *tail)
{
	struct block *b = &tail->b;
	MDB_val v;
	int rc = get_value(t->store, t->mdb, k, &v);
	if (rc == LMQ_END || (rc == 0 && (v.mv_size != head->tail_used ||
			!block_get(b, k->bytes, k->size, v.mv_data, v.mv_size))))
		return fail_damaged(t->store, "the last block of a log");
	if (rc != 0)
		return rc;
	memcpy(tail->payload, b->payload, b->size);
	if (b->link) {
		memcpy(tail->link, b->link, LINK_SIZE);
		b->link = tail->link;
	}
	return 0;
}

/* A tail that only continued a record had that record's offset in its key; now one begins in it. */
static int rename_tail(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct key *k)
{
	int rc = delete_key(t, k);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(t->store, "the last block of a log") : rc;
	head->tail_offset = head->end;
	head->tail_part = 0;
	*k = key_block(id, lane, head->tail_offset, 0);
	return 0;
}

static int fill_tail(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct cut *c)
{
	struct key k = key_block(id, lane, head->tail_offset, head->tail_part);
	struct tail tail;
	struct block *b = &tail.b;
	uint8_t *room;
	uint16_t old_count;
	size_t n;
	int rc;
	if (head->tail_used == 0 || BLOCK_MAX - head->tail_used < RECORD_ROOM)
		return 0;
	rc = load_tail(t, &k, head, &tail);
	if (rc != 0)
		return rc;
	old_count = b->count;
	n = cut_measure(c, BLOCK_MAX - (size_t)head->tail_used, b);
	if (n > 0 && old_count == 0)
		rc = rename_tail(t, id, lane, head, &k);
	if (n == 0 || rc != 0)
		return rc;
	rc = put_reserve(t, &k, head->tail_used + n, &room);
	if (rc != 0)
		return rc;
	memcpy(room + head->tail_used - b->size, tail.payload, b->size);
	memcpy(room + head->tail_used, c->p, n);
	c->p += n;
	b->size += n;
	b->last_time = c->time;
	block_seal(room, b, &k);
	head->tail_used = (uint16_t)(head->tail_used + n);
	return 0;
}

/* What the next block's link is; zeros where it is the first one. */
static int tail_link(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head, uint8_t link[LINK_SIZE])
{
	struct key k = key_block(id, lane, head->tail_offset, head->tail_part);
	MDB_val v;
	int rc;
	memset(link, 0, LINK_SIZE);
	if (head->tail_used == 0)
		return 0;
	rc = get_value(t->store, t->mdb, &k, &v);
	if (rc == LMQ_END)
		return fail_damaged(t->store, "the last block of a log");
	if (rc == 0)
		audit_link(k.bytes, k.size, v.mv_data, v.mv_size, link);
	return rc;
}

/* The next block's bytes, as many as fit; part counts the blocks since one in which a record began. */
static size_t cut_next(struct cut *c, const struct head_record *head, struct block *b, uint64_t *offset, uint32_t *part)
{
	size_t room = c->linked ? BLOCK_ROOM - LINK_SIZE : BLOCK_ROOM, skip = (size_t)(c->record - c->p), n = room;
	*offset = c->offset;
	*part = 0;
	b->skip = (uint16_t)(skip < room ? skip : room);
	if (skip < room)
		n = cut_measure(c, room, b);
	if (b->count == 0) {
		--*offset;
		*part = head->tail_offset == *offset && head->tail_used ? head->tail_part + 1 : 1;
	}
	return n;
}

static int cut_block(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct cut *c)
{
	struct block b = { .base_time = c->time };
	uint8_t link[LINK_SIZE], *room;
	size_t n, begin = BLOCK_HEADER;
	uint64_t offset;
	uint32_t part;
	struct key k;
	int rc = 0;
	if (c->linked) {
		rc = tail_link(t, id, lane, head, link);
		b.link = link;
		begin += LINK_SIZE;
	}
	n = cut_next(c, head, &b, &offset, &part);
	k = key_block(id, lane, offset, part);
	if (rc == 0)
		rc = put_reserve(t, &k, begin + n, &room);
	if (rc != 0)
		return rc;
	memcpy(room + begin, c->p, n);
	c->p += n;
	b.size = n;
	b.last_time = c->time;
	block_seal(room, &b, &k);
	head->tail_offset = offset;
	head->tail_part = part;
	head->tail_used = (uint16_t)(begin + n);
	return 0;
}

int log_append(struct txn *t, uint32_t id, uint16_t lane, struct batch *b, struct head_record *head)
{
	uint64_t delta = b->time > head->last_time ? (uint64_t)(b->time - head->last_time) : 0;
	uint8_t saved[3 * VARINT_MAX], *begin = b->records - VARINT_MAX;
	struct cut c = { .linked = b->linked };
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
