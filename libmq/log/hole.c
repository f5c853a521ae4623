/* SPDX-License-Identifier: ISC */
/*
 * Holes: what compaction leaves of a message, so that offsets stay dense and times can be followed.
 *
 * A message's record is replaced by one that has nothing but its time delta. If the message went on in the next blocks,
 * its bytes are cut from these: a block that held nothing else is deleted, the next one begins with a record of its
 * own then (skip 0). A block of nothing but holes is deleted too (HEAD_GAPS) unless a message that stays goes on in
 * it. Never the tail block: the newest message of a lane is the newest of its key, and stays. All of it is one
 * transaction; each block is written once however many of its messages go.
 */
#include "log.h"

#include <string.h>

struct surgery {
	struct txn *t;
	uint32_t id;
	uint16_t lane;
	struct head_record *head;
	const uint64_t *next, *end;	/* what is still to become holes */
	struct snapshot view;
	struct log_cursor cursor;	/* for messages that go on in other blocks */
	size_t carry;			/* bytes of the last hole's message that the next block begins with */
	/* the present block: its key, and its old bytes, as what is written may move them in the map */
	struct key key;
	uint64_t base;
	uint32_t part;
	struct block block;
	uint8_t old[BLOCK_LONGEST];
	/* the new one */
	uint8_t new[BLOCK_LONGEST + 2 * VARINT_MAX];
	size_t size;
	size_t live;			/* messages that begin in it and are no holes */
	bool continues;			/* one that stays goes on in it */
	uint8_t flags;
};

static int damaged(struct surgery *o)
{
	return fail_damaged(o->t->store, "a block of messages");
}

/* ---- the block ---------------------------------------------------------------------------- */

/* The block that goes on with the last hole's message, or else the one in which the next message begins. */
static int find_block(struct surgery *o, MDB_val *key, MDB_val *value)
{
	struct key k = o->carry ? key_block(o->id, o->lane, o->base, o->part + 1) : key_block(o->id, o->lane, *o->next, 0);
	MDB_cursor *cursor = o->view.cursor;
	int rc;
	*key = (MDB_val){ k.size, k.bytes };
	rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	if (!o->carry && (rc != 0 || key->mv_size != k.size || memcmp(key->mv_data, k.bytes, k.size) != 0))
		rc = mdb_cursor_get(cursor, key, value, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	return rc == 0 ? 0 : rc == MDB_NOTFOUND ? damaged(o) : fail_lmdb(o->t->store, o->t->store->path, rc);
}

static int load_block(struct surgery *o)
{
	bool carries = o->carry > 0;
	MDB_val key, value;
	int rc = find_block(o, &key, &value);
	if (rc == 0)
		rc = block_load(o->t->store, o->id, o->lane, &key, &value, &o->block, &o->base, &o->part);
	if (rc != 0)
		return rc == LMQ_END ? damaged(o) : rc;
	/* An audited stream is not compacted. */
	if (o->block.link || (!carries && (o->part != 0 || *o->next < o->base || *o->next - o->base >= o->block.count)))
		return damaged(o);
	memcpy(o->key.bytes, key.mv_data, BLOCK_KEY);
	o->key.size = BLOCK_KEY;
	memcpy(o->old, o->block.payload, o->block.size);
	o->size = o->live = 0;
	o->continues = false;
	o->flags = 0;
	return 0;
}

static bool is_tail(const struct surgery *o)
{
	return o->head->tail_used && o->base == o->head->tail_offset && o->part == o->head->tail_part;
}

static void count_bytes(struct surgery *o, uint64_t less, uint64_t more)
{
	o->head->bytes += more;
	o->head->bytes -= less < o->head->bytes ? less : o->head->bytes;
}

static int delete_block(struct surgery *o)
{
	count_bytes(o, o->block.size, 0);
	if (o->block.count > 0)
		o->head->flags |= HEAD_GAPS;
	return is_tail(o) ? damaged(o) : delete_key(o->t, &o->key);
}

static int store_block(struct surgery *o)
{
	struct block b = o->block;
	uint8_t *room;
	MDB_val old;
	int rc;
	if (o->live == 0 && !o->continues)
		return delete_block(o);
	if (o->size > BLOCK_LONGEST - BLOCK_HEADER)
		return damaged(o);
	/* It was read with a cursor, which does not look at the pages that now are given back. */
	rc = get_value(o->t->store, o->t->mdb, &o->key, &old);
	if (rc != 0)
		return rc == LMQ_END ? damaged(o) : rc;
	rc = put_reserve(o->t, &o->key, BLOCK_HEADER + o->size, &room);
	if (rc != 0)
		return rc;
	memcpy(room + BLOCK_HEADER, o->new, o->size);
	b.size = o->size;
	b.flags = o->flags;
	if (!o->continues)
		b.skip = 0;
	block_seal(room, &b, &o->key);
	count_bytes(o, o->block.size, o->size);
	if (is_tail(o))
		o->head->tail_used = (uint16_t)(BLOCK_HEADER + o->size);
	return 0;
}

/* ---- its records ---------------------------------------------------------------------------- */

static void keep_bytes(struct surgery *o, const uint8_t *p, size_t size)
{
	memcpy(o->new + o->size, p, size);
	o->size += size;
}

/* A record of which not all lies in the block. */
static int gather(struct surgery *o, struct record *r)
{
	int rc;
	log_seek(&o->cursor, *o->next);
	rc = log_next(&o->cursor, r);
	if (rc == LMQ_END || (rc == 0 && r->offset != *o->next))
		return damaged(o);
	return rc;
}

/* The next message goes: of its record, which lies in the block up to end or goes on elsewhere, only its time stays. */
static int make_hole(struct surgery *o, const uint8_t *start, const uint8_t *end, bool whole)
{
	struct record r = { .data = start, .end = end };
	struct blob blob;
	uint64_t delta;
	uint8_t *p;
	int rc = whole ? 0 : gather(o, &r);
	if (rc == 0 && !message_skim(r.data, r.end, &delta, &blob))
		rc = damaged(o);
	if (rc != 0)
		return rc;
	p = put_varint(o->new + o->size, 1 + varint_size(delta));
	*p++ = RECORD_HOLE;
	o->size = (size_t)(put_varint(p, delta) - o->new);
	o->head->holes++;
	if (blob.size == 0)
		return 0;
	count_bytes(o, blob.size, 0);
	if (o->head->large > 0)
		o->head->large--;
	return blob_drop(o->t, blob.number);
}

/* One record of the block, *p. */
static int copy_record(struct surgery *o, const uint8_t **p, uint64_t offset, bool last)
{
	const uint8_t *end = o->old + o->block.size, *stop;
	uint64_t size;
	const uint8_t *start = get_varint(*p, end, &size);
	bool whole, goes = o->next < o->end && *o->next == offset;
	int rc = 0;
	if (!start || start == end || size < 2 || size > RECORD_MAX)
		return damaged(o);
	whole = size <= (size_t)(end - start);
	if (!whole && !last)
		return damaged(o);
	stop = whole ? start + size : end;
	if (goes && !(*start & RECORD_HOLE)) {
		rc = make_hole(o, start, stop, whole);
		o->carry = whole ? 0 : size - (size_t)(end - start);
	} else {
		keep_bytes(o, *p, (size_t)(stop - *p));
		o->live += !(*start & RECORD_HOLE);
		o->flags |= *start & RECORD_BLOB ? BLOCK_HAS_BLOB : 0;
	}
	o->next += goes;
	*p = stop;
	return rc;
}

/* What the block begins with belongs to a message that begins before it. */
static int copy_begin(struct surgery *o, const uint8_t **p)
{
	const struct block *b = &o->block;
	if (o->carry == 0) {
		o->continues = b->skip > 0;
		keep_bytes(o, o->old, b->skip);
	} else if (b->skip == 0 || b->skip > o->carry || (b->count > 0 && b->skip != o->carry)) {
		return damaged(o);
	} else {
		o->carry -= b->skip;
	}
	*p = o->old + b->skip;
	return 0;
}

static int rewrite(struct surgery *o)
{
	const uint8_t *p = NULL;
	int rc = load_block(o);
	if (rc == 0)
		rc = copy_begin(o, &p);
	for (unsigned i = 0; rc == 0 && i < o->block.count; i++)
		rc = copy_record(o, &p, o->base + i, i + 1u == o->block.count);
	if (rc == 0 && p != o->old + o->block.size)
		rc = damaged(o);
	return rc == 0 ? store_block(o) : rc;
}

int hole_make(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const uint64_t *offsets,
	size_t count)
{
	struct surgery o = { .t = t, .id = id, .lane = lane, .head = head, .next = offsets, .end = offsets + count };
	int rc = log_cursor_within(t, id, lane, head, &o.view, &o.cursor);
	while (rc == 0 && (o.carry > 0 || o.next < o.end))
		rc = rewrite(&o);
	log_cursor_leave(&o.cursor);
	return rc;
}
