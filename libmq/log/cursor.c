/* SPDX-License-Identifier: ISC */
/*
 * Reading a log: seek by offset and by time, step.
 *
 * A cursor walks blocks with LMDB's cursor of its snapshot, which it may share with others: before a step
 * it looks whether that one still stands where it left it. A record that straddles blocks is put together
 * in scratch memory; all others are handed out where they lie in the map. A cursor is void when its
 * snapshot was renewed (serial), and then finds its place again by offset, so a stale place is never
 * read. Times need no index: blocks carry theirs, and blocks are found by offset, so a time is found by
 * bisection.
 *
 * Where compaction has been, holes are stepped over, and so are missing blocks: what is not there between
 * two blocks were holes. In any other lane a missing block is damage.
 */
#include "cursor.h"

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
	free(c->starts);
	c->scratch = NULL;
	c->scratch_size = 0;
	c->starts = NULL;
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
		c->placed = c->reversed = false;
	}
	return rc;
}

void log_seek(struct log_cursor *c, uint64_t offset)
{
	c->offset = offset;
	c->placed = c->reversed = false;
}

bool log_has_gaps(const struct log_cursor *c)
{
	return c->head.flags & HEAD_GAPS;
}

int log_hole(struct log_cursor *c)
{
	return fail_damaged(c->snapshot->store, "a block of messages is missing");
}

int log_bad_record(struct log_cursor *c)
{
	return fail_damaged(c->snapshot->store, "a message's length");
}

/* ---- blocks --------------------------------------------------------------------------------- */

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

int block_step(struct log_cursor *c, MDB_cursor_op op)
{
	lmq_store *s = c->snapshot->store;
	MDB_val key, value;
	int rc = mdb_cursor_get(c->snapshot->cursor, &key, &value, op);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	if (rc != 0)
		return fail_lmdb(s, s->path, rc);
	return block_load(s, c->id, c->lane, &key, &value, &c->block, &c->base, &c->part);
}

static bool same_key(const MDB_val *key, const struct key *k)
{
	return key->mv_size == k->size && memcmp(key->mv_data, k->bytes, k->size) == 0;
}

/* LMDB's cursor to the key, or what follows where it is not there. */
static int key_seek(struct log_cursor *c, const struct key *k, bool *exact)
{
	lmq_store *s = c->snapshot->store;
	MDB_val key = { k->size, (void *)k->bytes }, value;
	int rc = mdb_cursor_get(c->snapshot->cursor, &key, &value, MDB_SET_RANGE);
	*exact = rc == 0 && same_key(&key, k);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : fail_lmdb(s, s->path, rc);
}

int block_seek(struct log_cursor *c, uint64_t offset, bool *exact)
{
	struct key k = key_block(c->id, c->lane, offset, 0);
	return key_seek(c, &k, exact);
}

/* The first block in which a record from offset on begins. */
static int block_behind(struct log_cursor *c, uint64_t offset)
{
	bool exact;
	int rc = block_seek(c, offset, &exact);
	if (rc == 0)
		rc = block_step(c, MDB_GET_CURRENT);
	while (rc == 0 && c->part != 0)
		rc = block_step(c, MDB_NEXT);
	return rc;
}

/*
 * The block in which the record begins: the last one whose key is not behind (offset, 0). Where that one
 * is missing as it may be, the next: LMQ_END if there is none.
 */
static int block_find(struct log_cursor *c, uint64_t offset)
{
	bool exact;
	int rc = block_seek(c, offset, &exact);
	if (rc == 0)
		rc = block_step(c, exact ? MDB_GET_CURRENT : MDB_PREV);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	if (rc == 0 && c->part == 0 && c->base <= offset && offset - c->base < c->block.count)
		return 0;
	return log_has_gaps(c) ? block_behind(c, offset) : log_hole(c);
}

/* The block behind the present one. */
static int next_block(struct log_cursor *c)
{
	struct key k = key_block(c->id, c->lane, c->base, c->part);
	MDB_val key, value;
	bool exact = true;
	int rc = mdb_cursor_get(c->snapshot->cursor, &key, &value, MDB_GET_CURRENT);
	if (rc != 0 || !same_key(&key, &k)) {
		rc = key_seek(c, &k, &exact);
		if (rc != 0)
			return rc;
	}
	return block_step(c, exact ? MDB_NEXT : MDB_GET_CURRENT);
}

/* ---- records -------------------------------------------------------------------------------- */

static void block_enter(struct log_cursor *c)
{
	c->at = c->block.skip;
	c->left = c->block.count;
	c->time = c->block.base_time;
}

static bool scratch_grow(struct log_cursor *c, size_t size)
{
	uint8_t *more;
	if (size <= c->scratch_size)
		return true;
	size = size < RECORD_MAX / 2 ? 2 * size : RECORD_MAX;
	more = realloc(c->scratch, size);
	if (!more)
		return false;
	c->scratch = more;
	c->scratch_size = size;
	return true;
}

int record_gather(struct log_cursor *c, size_t size, struct record *r)
{
	size_t have = c->block.size - c->at;
	if (!scratch_grow(c, size))
		return fail(c->snapshot->store, LMQ_ENOMEM, "%s: out of memory", c->snapshot->store->path);
	memcpy(c->scratch, c->block.payload + c->at, have);
	while (have < size) {
		int rc = next_block(c);
		if (rc != 0)
			return rc == LMQ_END ? log_hole(c) : rc;
		if (c->base != c->offset - (c->part != 0) || c->block.skip == 0 || c->block.skip > size - have ||
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

/* The record at the cursor, of which c->left tells that it begins in this block; steps behind it. */
static int record_read(struct log_cursor *c, struct record *r)
{
	const uint8_t *end = c->block.payload + c->block.size, *p;
	uint64_t size, delta = 0;
	p = get_varint(c->block.payload + c->at, end, &size);
	if (!p || size < 2 || size > RECORD_MAX)
		return log_bad_record(c);
	c->at = (size_t)(p - c->block.payload);
	c->left--;
	c->offset++;
	if (size <= (size_t)(end - p)) {
		r->data = p;
		r->end = p + size;
		c->at += size;
	} else {
		int rc = c->left ? log_hole(c) : record_gather(c, size, r);
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

/* Puts the cursor before the record with c->offset, or, where that is missing, the next one. */
static int log_place(struct log_cursor *c)
{
	uint64_t wanted = c->offset;
	struct record skipped;
	int rc = block_find(c, wanted);
	if (rc != 0)
		return rc;
	block_enter(c);
	c->placed = true;
	c->reversed = false;
	c->offset = c->base;
	while (rc == 0 && c->offset < wanted)
		rc = record_read(c, &skipped);
	return rc;
}

/* Goes on to the next block, at its begin, since no record is left in this one. */
static int log_advance(struct log_cursor *c)
{
	bool gaps = log_has_gaps(c);
	int rc;
	do {
		rc = next_block(c);
	} while (rc == 0 && gaps && c->block.count == 0);
	if (rc == LMQ_END && !gaps)
		return log_hole(c);
	if (rc != 0)
		return rc;
	if (gaps ? c->base < c->offset : c->base != c->offset || c->block.count == 0 || c->block.skip != 0)
		return log_hole(c);
	block_enter(c);
	c->offset = c->base;
	return 0;
}

/* As log_stand(), where that takes more than a look. */
static __attribute__((noinline)) int log_go(struct log_cursor *c)
{
	int rc = 0;
	if (c->offset < c->head.first)
		log_seek(c, c->head.first);
	if (c->offset >= c->head.end)
		return LMQ_END;
	if (!c->placed)
		rc = log_place(c);
	else if (c->left == 0)
		rc = log_advance(c);
	if (rc == LMQ_END)
		log_seek(c, c->head.end);
	return rc == 0 && c->offset >= c->head.end ? LMQ_END : rc;
}

/* Puts the cursor before a record, which may be a hole. LMQ_END. */
static inline int log_stand(struct log_cursor *c)
{
	bool stands = c->placed && c->left > 0 && c->offset >= c->head.first && c->offset < c->head.end;
	return stands ? 0 : log_go(c);
}

int log_next(struct log_cursor *c, struct record *r)
{
	int rc;
	do {
		rc = log_stand(c);
		if (rc == 0)
			rc = record_read(c, r);
	} while (rc == 0 && *r->data & RECORD_HOLE);
	return rc;
}

/* The time of the last record of a block stands in its header: its delta may lie in the next one. */
int log_peek(struct log_cursor *c, int64_t *time)
{
	uint64_t size, delta;
	struct record hole;
	int rc;
	while ((rc = log_stand(c)) == 0) {
		const uint8_t *end = c->block.payload + c->block.size;
		const uint8_t *p = get_varint(c->block.payload + c->at, end, &size);
		if (!p || p == end)
			return log_bad_record(c);
		if (!(*p & RECORD_HOLE)) {
			bool here = c->left > 1 && get_varint(p + 1, end, &delta);
			*time = here ? (int64_t)((uint64_t)c->time + delta) : c->block.last_time;
			return 0;
		}
		rc = record_read(c, &hole);
		if (rc != 0)
			return rc;
	}
	return rc;
}

int log_message(struct log_cursor *c, const struct record *r, struct lmq_message *m, struct decoded *room,
	struct blob *blob)
{
	if (!message_decode(r->data, r->end, m, room, blob))
		return fail_damaged(c->snapshot->store, "a message");
	m->partition = c->lane;
	m->offset = r->offset;
	m->time = r->time;
	return 0;
}

/* ---- by time -------------------------------------------------------------------------------- */

/* Binary search over offsets for the last block that begins before time; then steps by records. */
int log_seek_time(struct log_cursor *c, int64_t time)
{
	uint64_t low = c->head.first, high = c->head.end;
	struct record r;
	int rc;
	while (high > low && high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		rc = block_find(c, middle);
		if (rc != 0 && rc != LMQ_END)
			return rc;
		if (rc == LMQ_END || c->base >= high)
			high = middle;	/* nothing is left between middle and high */
		else if (c->block.last_time < time)
			low = c->base + c->block.count < high ? c->base + c->block.count : high;
		else if (c->base <= low)
			break;
		else
			high = c->base + 1 < middle ? c->base + 1 : middle;
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
