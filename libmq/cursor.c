/* SPDX-License-Identifier: ISC */
/*
 * Reading a log: seek by offset and by time, step.
 *
 * A cursor walks blocks with one of LMDB's. A record that straddles blocks is put together in scratch memory; all
 * others are handed out where they lie in the map. A cursor is void when its snapshot was renewed (serial), and
 * then finds its place again by offset, so a stale place is never read. Times need no index: blocks carry theirs,
 * and blocks are found by offset, so a time is found by bisection.
 */
#include "internal.h"

#include <string.h>

void log_cursor_init(struct log_cursor *c, struct snapshot *p, uint32_t id, uint16_t lane)
{
	memset(c, 0, sizeof *c);
	c->snapshot = p;
	c->id = id;
	c->lane = lane;
}

void log_cursor_close(struct log_cursor *c)
{
	free(c->scratch);
	c->scratch = NULL;
}

int log_cursor_within(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head,
	struct snapshot *view, struct log_cursor *c)
{
	int rc;
	*view = (struct snapshot){ .store = t->store, .mdb = t->mdb, .active = true, .serial = 1 };
	log_cursor_init(c, view, id, lane);
	c->head = *head;
	log_seek(c, head->first);
	rc = mdb_cursor_open(t->mdb, t->store->table, &view->cursor);
	return rc == 0 ? 0 : fail_lmdb(t->store, t->store->path, rc);
}

void log_cursor_leave(struct log_cursor *c)
{
	if (c->snapshot->cursor)
		mdb_cursor_close(c->snapshot->cursor);
	log_cursor_close(c);
}

int log_refresh(struct log_cursor *c)
{
	struct snapshot *p = c->snapshot;
	int rc = snapshot_begin(p);
	if (rc == 0 && c->serial != p->serial) {
		rc = get_head(p->store, p->mdb, c->id, c->lane, &c->head);
		c->serial = p->serial;
		c->placed = false;
	}
	return rc;
}

void log_seek(struct log_cursor *c, uint64_t offset)
{
	c->offset = offset;
	c->placed = false;
}

int block_load(lmq_store *s, uint32_t id, uint16_t lane, const MDB_val *key, const MDB_val *value,
	struct block *b, uint64_t *offset, uint32_t *part)
{
	struct key prefix = key_block(id, lane, 0, 0);
	if (key->mv_size != BLOCK_KEY || memcmp(key->mv_data, prefix.bytes, BLOCK_PREFIX) != 0)
		return LMQ_END;
	if (!block_get(b, key->mv_data, key->mv_size, value->mv_data, value->mv_size))
		return fail_damaged(s, "a block of messages");
	*offset = get64((const uint8_t *)key->mv_data + BLOCK_PREFIX);
	*part = get32((const uint8_t *)key->mv_data + BLOCK_PREFIX + 8);
	if ((b->count == 0) != (*part != 0) || (*part != 0 && b->skip != b->size))
		return fail_damaged(s, "a block of messages");
	return 0;
}

/* Moves the cursor. LMQ_END where there is no such block of the lane. */
static int block_step(struct log_cursor *c, MDB_cursor_op op, uint64_t *offset, uint32_t *part)
{
	lmq_store *s = c->snapshot->store;
	struct key k = key_block(c->id, c->lane, *offset, *part);
	MDB_val key = { k.size, k.bytes }, value;
	int rc = mdb_cursor_get(c->snapshot->cursor, &key, &value, op);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	if (rc != 0)
		return fail_lmdb(s, s->path, rc);
	return block_load(s, c->id, c->lane, &key, &value, &c->block, offset, part);
}

static int log_hole(struct log_cursor *c)
{
	return fail_damaged(c->snapshot->store, "a block of messages is missing");
}

static void block_enter(struct log_cursor *c)
{
	c->at = c->block.skip;
	c->left = c->block.count;
	c->time = c->block.base_time;
}

/* The block in which the record begins: the last one whose key is not behind (offset, 0). */
static int block_find(struct log_cursor *c, uint64_t offset, uint64_t *base)
{
	struct key k = key_block(c->id, c->lane, offset, 0);
	MDB_val key = { k.size, k.bytes }, value;
	uint32_t part = 0;
	int rc = mdb_cursor_get(c->snapshot->cursor, &key, &value, MDB_SET_RANGE);
	MDB_cursor_op op = MDB_PREV;
	if (rc != 0 && rc != MDB_NOTFOUND)
		return fail_lmdb(c->snapshot->store, c->snapshot->store->path, rc);
	if (rc == 0 && key.mv_size == k.size && memcmp(key.mv_data, k.bytes, k.size) == 0)
		op = MDB_GET_CURRENT;
	*base = offset;
	rc = block_step(c, op, base, &part);
	if (rc == LMQ_END || (rc == 0 && (part != 0 || *base > offset || offset - *base >= c->block.count)))
		return log_hole(c);
	return rc;
}

static int record_read(struct log_cursor *c, struct record *r);

/* Puts the cursor before the record with c->offset, which exists. */
static int log_place(struct log_cursor *c)
{
	uint64_t base, wanted = c->offset;
	struct record skipped;
	int rc = block_find(c, wanted, &base);
	if (rc != 0)
		return rc;
	block_enter(c);
	c->placed = true;
	c->offset = base;
	while (rc == 0 && c->offset < wanted)
		rc = record_read(c, &skipped);
	return rc;
}

static int next_block(struct log_cursor *c)
{
	uint64_t offset = 0;
	uint32_t part = 0;
	int rc = block_step(c, MDB_NEXT, &offset, &part);
	if (rc == LMQ_END || (rc == 0 && part == 0 && offset != c->offset))
		return log_hole(c);
	return rc;
}

/* A record whose last bytes lie in the next block or blocks. */
static int record_gather(struct log_cursor *c, size_t size, struct record *r)
{
	size_t have = c->block.size - c->at;
	int rc;
	if (!c->scratch && !(c->scratch = malloc(RECORD_MAX)))
		return fail(c->snapshot->store, LMQ_ENOMEM, "%s: out of memory", c->snapshot->store->path);
	memcpy(c->scratch, c->block.payload + c->at, have);
	while (have < size) {
		rc = next_block(c);
		if (rc != 0)
			return rc;
		if (c->block.skip == 0 || c->block.skip > size - have ||
				(c->block.count && c->block.skip != size - have))
			return log_hole(c);
		memcpy(c->scratch + have, c->block.payload, c->block.skip);
		have += c->block.skip;
	}
	c->at = c->block.skip;
	c->left = c->block.count;
	r->data = c->scratch;
	r->end = c->scratch + size;
	return 0;
}

/* The record at the cursor, which steps behind it. */
static int record_read(struct log_cursor *c, struct record *r)
{
	const uint8_t *end, *p;
	uint64_t size, delta = 0;
	int rc = 0;
	if (c->left == 0) {
		rc = next_block(c);
		if (rc != 0)
			return rc;
		if (c->block.count == 0 || c->block.skip != 0)
			return log_hole(c);
		c->at = 0;
		c->left = c->block.count;
	}
	end = c->block.payload + c->block.size;
	p = get_varint(c->block.payload + c->at, end, &size);
	if (!p || size < 2 || size > RECORD_MAX)
		return fail_damaged(c->snapshot->store, "a message's length");
	c->at = (size_t)(p - c->block.payload);
	c->left--;
	c->offset++;
	if (size <= (size_t)(end - p)) {
		r->data = p;
		r->end = p + size;
		c->at += size;
	} else {
		rc = c->left ? log_hole(c) : record_gather(c, size, r);
		if (rc != 0)
			return rc;
	}
	if (!get_varint(r->data + 1, r->end, &delta) || delta > (uint64_t)(INT64_MAX - c->time))
		return fail_damaged(c->snapshot->store, "a message's time");
	c->time += (int64_t)delta;
	r->offset = c->offset - 1;
	r->time = c->time;
	return 0;
}

int log_next(struct log_cursor *c, struct record *r)
{
	int rc;
	if (c->offset < c->head.first) {
		c->offset = c->head.first;
		c->placed = false;
	}
	if (c->offset >= c->head.end)
		return LMQ_END;
	if (!c->placed && (rc = log_place(c)) != 0)
		return rc;
	return record_read(c, r);
}

int log_message(struct log_cursor *c, const struct record *r, struct lmq_message *m, struct decoded *room,
	struct blob *blob)
{
	if (!message_decode(r->data, r->end, m, room, blob))
		return fail_damaged(c->snapshot->store, "a message");
	m->offset = r->offset;
	m->time = r->time;
	return 0;
}

/* ---- by time -------------------------------------------------------------------------------- */

/* Binary search over offsets for the last block that begins before time; then steps by records. */
int log_seek_time(struct log_cursor *c, int64_t time)
{
	uint64_t low = c->head.first, high = c->head.end, base;
	struct record r;
	int rc;
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		rc = block_find(c, middle, &base);
		if (rc != 0)
			return rc;
		if (c->block.last_time < time)
			low = base + c->block.count < high ? base + c->block.count : high;
		else if (base <= low)
			break;
		else
			high = base + 1 < middle ? base + 1 : middle;
	}
	log_seek(c, low);
	while ((rc = log_next(c, &r)) == 0)
		if (r.time >= time) {
			log_seek(c, r.offset);
			return 0;
		}
	if (rc == LMQ_END)
		log_seek(c, c->head.end);
	return rc == LMQ_END ? 0 : rc;
}
