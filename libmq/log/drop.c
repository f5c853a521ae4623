/* SPDX-License-Identifier: ISC */
/*
 * The log: drop.
 *
 * Dropping a prefix raises head.first at once and deletes whole blocks that lie below it, in bounded steps: what a
 * crash or a step limit leaves below first is found by the next drop, because it starts at the lane's lowest key.
 * In a queue blocks go in the middle too, once every message in them is settled: so one message that waits for
 * days holds one block, not all that was sent since. Nobody reads in such a gap, since nothing in it is unsettled.
 * Large bodies are handed to the sweeper as their messages go.
 */
#include "log.h"

#include <string.h>

enum { STEP_LARGE = 4096 };	/* large bodies that one drop hands over */

int log_first_block(lmq_store *s, MDB_cursor *cursor, uint32_t id, uint16_t lane, struct block *b,
	uint64_t *offset)
{
	struct key k = key_block(id, lane, 0, 0);
	MDB_val key = { k.size, k.bytes }, value;
	uint32_t part;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	return rc == 0 ? block_load(s, id, lane, &key, &value, b, offset, &part) : fail_lmdb(s, s->path, rc);
}

/* ---- large bodies --------------------------------------------------------------------------- */

static int leave_body(struct txn *t, struct head_record *head, const struct blob *blob, bool keep)
{
	head->bytes -= blob->size < head->bytes ? blob->size : head->bytes;
	head->large--;
	return keep ? 0 : blob_drop(t, blob->number);
}

/* The next record's large body, or size 0. LMQ_END: it is no record below end, as holes lie before it. */
static int next_body(struct log_cursor *c, uint64_t end, struct blob *blob)
{
	struct record r;
	uint64_t delta;
	int rc = log_next(c, &r);
	if (rc == 0 && r.offset >= end)
		return LMQ_END;
	if (rc == 0 && !message_skim(r.data, r.end, &delta, blob))
		rc = fail_damaged(c->snapshot->store, "a message");
	return rc;
}

/* Behind a message that has none: the rest of a block without any is jumped over. */
static void jump(struct log_cursor *c)
{
	if (!(c->block.flags & BLOCK_HAS_BLOB))
		log_seek(c, c->offset + c->left);
}

int log_leave(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const struct run *part, bool keep)
{
	struct snapshot view;
	struct log_cursor c;
	struct blob blob;
	int rc;
	if (head->large == 0)
		return 0;
	rc = log_cursor_within(t, id, lane, head, &view, &c);
	log_seek(&c, part->first);
	while (rc == 0 && head->large > 0 && c.offset < part->end) {
		rc = next_body(&c, part->end, &blob);
		if (rc == 0 && blob.size > 0) {
			rc = leave_body(t, head, &blob, keep);
			c.placed = false;	/* a write may move what the cursor looked at */
		} else if (rc == 0) {
			jump(&c);
		}
	}
	log_cursor_leave(&c);
	return rc == LMQ_END ? 0 : rc;
}

/*
 * Hands the large bodies of the messages below floor over to the sweeper and raises head->first behind them, at
 * most STEP_LARGE of them. Blocks without any are jumped over.
 */
static int drop_large(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t floor)
{
	struct snapshot view;
	struct log_cursor c;
	struct blob blob;
	unsigned budget = STEP_LARGE;
	int rc = log_cursor_within(t, id, lane, head, &view, &c);
	while (rc == 0 && head->large > 0 && budget > 0 && c.offset < floor) {
		rc = next_body(&c, floor, &blob);
		if (rc == 0 && blob.size > 0) {
			rc = leave_body(t, head, &blob, false);
			budget--;
			c.placed = false;
		} else if (rc == 0) {
			jump(&c);
		}
		if (rc == 0)
			head->first = c.offset < floor ? c.offset : floor;
	}
	if (rc == LMQ_END || (rc == 0 && head->large == 0))
		head->first = floor;
	log_cursor_leave(&c);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- blocks ------------------------------------------------------------------------------- */

static int delete_block(struct txn *t, struct head_record *head, const struct key *k, const struct block *b)
{
	head->bytes -= b->size < head->bytes ? b->size : head->bytes;
	if (get64(k->bytes + BLOCK_PREFIX) == head->tail_offset && get32(k->bytes + BLOCK_PREFIX + 8) == head->tail_part)
		head->tail_used = 0;
	return delete_key(t, k);
}

/* The first block at or behind the key from; k gets its key. LMQ_END. */
static int find_block(struct txn *t, uint32_t id, uint16_t lane, const struct key *from, struct key *k, struct block *b,
	uint64_t *offset)
{
	MDB_val key = { from->size, (void *)from->bytes }, value;
	MDB_cursor *cursor;
	uint32_t part;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc == 0)
		rc = block_load(t->store, id, lane, &key, &value, b, offset, &part);
	else
		rc = rc == MDB_NOTFOUND ? LMQ_END : fail_lmdb(t->store, t->store->path, rc);
	if (rc == 0) {
		memcpy(k->bytes, key.mv_data, BLOCK_KEY);
		k->size = BLOCK_KEY;
	}
	mdb_cursor_close(cursor);
	return rc;
}

/* The messages of which a block holds bytes: those that begin in it, and the one that it continues. */
static struct run block_range(const struct block *b, uint64_t offset)
{
	if (b->count == 0)
		return (struct run){ offset, offset + 1 };
	return (struct run){ offset - (b->skip > 0 && offset > 0), offset + b->count };
}

/* The lowest block, if all that it holds lies below first. */
static int drop_lowest(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head)
{
	struct key from = key_block(id, lane, 0, 0), k;
	struct block b;
	uint64_t offset;
	int rc = find_block(t, id, lane, &from, &k, &b, &offset);
	if (rc == 0 && block_range(&b, offset).end > head->first)
		rc = LMQ_END;
	return rc == 0 ? delete_block(t, head, &k, &b) : rc;
}

int log_drop_blocks(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, unsigned max_blocks)
{
	int rc = 0;
	while (rc == 0 && max_blocks-- > 0)
		rc = drop_lowest(t, id, lane, head);
	return rc == LMQ_END ? 0 : rc;
}

int log_drop(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t floor,
	unsigned max_blocks)
{
	int rc = 0;
	if (floor > head->end)
		floor = head->end;
	if (floor > head->first && head->large > 0)
		rc = drop_large(t, id, lane, head, floor);
	else if (floor > head->first)
		head->first = floor;
	return rc == 0 ? log_drop_blocks(t, id, lane, head, max_blocks) : rc;
}

/* The key of the block in which a message begins, or of one behind it. */
static int block_of(struct txn *t, uint32_t id, uint16_t lane, uint64_t offset, struct key *k)
{
	MDB_val key, value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	*k = key_block(id, lane, offset, 0);
	key = (MDB_val){ k->size, k->bytes };
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc == 0 && key.mv_size == k->size && memcmp(key.mv_data, k->bytes, k->size) == 0)
		goto out;
	rc = mdb_cursor_get(cursor, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
	if (rc == 0 && key.mv_size == BLOCK_KEY && memcmp(key.mv_data, k->bytes, BLOCK_PREFIX) == 0)
		memcpy(k->bytes, key.mv_data, BLOCK_KEY);
out:
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : fail_lmdb(t->store, t->store->path, rc);
}

int log_block_end(struct txn *t, uint32_t id, uint16_t lane, uint64_t offset, uint64_t *end)
{
	struct key from, k;
	struct block b;
	uint64_t first;
	int rc = block_of(t, id, lane, offset, &from);
	if (rc == 0)
		rc = find_block(t, id, lane, &from, &k, &b, &first);
	*end = offset + 1;
	if (rc == 0 && !(b.flags & BLOCK_HAS_BLOB) && first <= offset && offset < first + b.count)
		*end = first + b.count;
	return rc == LMQ_END ? 0 : rc;
}

int log_drop_between(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const struct run *part,
	uint64_t low, uint64_t high)
{
	struct key from, k;
	struct block b;
	uint64_t offset;
	int rc = block_of(t, id, lane, part->first, &from);
	while (rc == 0 && (rc = find_block(t, id, lane, &from, &k, &b, &offset)) == 0) {
		struct run held = block_range(&b, offset);
		if (held.first >= part->end)
			break;
		from = key_block(id, lane, offset, get32(k.bytes + BLOCK_PREFIX + 8) + 1);
		if (held.first >= low && held.end <= high)
			rc = delete_block(t, head, &k, &b);
	}
	return rc == LMQ_END ? 0 : rc;
}
