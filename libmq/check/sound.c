/* SPDX-License-Identifier: ISC */
/* Whether a block is sound: its place, its records, the large bodies of these. */
#include "check.h"

#include <string.h>

/* ---- large bodies --------------------------------------------------------------------------- */

/* Whether the message is still there, in a snapshot that was renewed since it was read. */
static int remains(struct check *c, uint64_t offset, const struct blob *blob, bool *there)
{
	struct log_cursor cursor;
	struct record r = { .offset = 0 };
	struct blob now;
	uint64_t delta;
	int rc = check_stored(c, offset, there);
	if (rc != 0 || !*there)
		return rc;
	log_cursor_init(&cursor, &c->view, c->channel->id, c->lane);
	rc = log_refresh(&cursor);
	log_seek(&cursor, offset);
	if (rc == 0)
		rc = log_next(&cursor, &r);
	*there = rc == 0 && r.offset == offset && message_skim(r.data, r.end, &delta, &now) && now.number == blob->number;
	log_cursor_close(&cursor);
	return rc == LMQ_END || rc == LMQ_EDAMAGED ? 0 : rc;
}

/* LMQ_END: it is not there, or damaged. */
static int check_chunk(struct check *c, const struct blob *blob, uint64_t at)
{
	struct key k = key_chunk(blob->number, (uint32_t)(at / CHUNK_ROOM));
	uint64_t size = blob->size - at < CHUNK_ROOM ? blob->size - at : CHUNK_ROOM;
	MDB_val v;
	int rc = get_value(c->store, c->view.mdb, &k, &v);
	if (rc != 0)
		return rc;
	c->found->bytes += v.mv_size;
	return v.mv_size == CHUNK_HEADER + size && chunk_check(v.mv_data, v.mv_size, &k) ? 0 : LMQ_END;
}

static int check_body(struct check *c, uint64_t offset, const struct blob *blob)
{
	bool there;
	int rc = check_stored(c, offset, &there);
	for (uint64_t at = 0; rc == 0 && there && at < blob->size; at += CHUNK_ROOM) {
		rc = check_tick(c);
		if (rc == 0)
			rc = check_chunk(c, blob, at);
	}
	if (rc != LMQ_END)
		return rc;
	rc = remains(c, offset, blob, &there);
	if (rc == 0 && there)
		check_damage(c);
	return rc;
}

/* ---- records -------------------------------------------------------------------------------- */

/* One whole record, behind its length. */
static int check_record(struct check *c, const uint8_t *start, const uint8_t *end, uint64_t offset)
{
	struct lmq_message m;
	struct blob blob;
	bool stored;
	int rc;
	if (!message_decode(start, end, &m, &c->decoded, &blob)) {
		check_damage(c);
		return 0;
	}
	if (*start & RECORD_HOLE)
		return 0;
	rc = check_stored(c, offset, &stored);
	c->found->messages += rc == 0 && stored;
	return rc == 0 && blob.size > 0 ? check_body(c, offset, &blob) : rc;
}

/* Whether the last message is one of a queue that is settled: the blocks in which it goes on may have gone. */
static bool settled_before(struct check *c, int *rc)
{
	bool stored = true;
	if (check_is_queue(c))
		*rc = check_stored(c, c->expected - 1, &stored);
	c->known = stored;
	return *rc == 0 && !stored;
}

/* The bytes at the block's begin go on with the last message. False: they do not fit to it. */
static bool check_begin(struct check *c, int *rc)
{
	size_t skip = c->block.skip;
	bool fits = skip <= c->carry && (c->block.count == 0 || skip == c->carry) && (c->block.count > 0 || skip > 0);
	*rc = 0;
	if (c->known && !fits)
		return settled_before(c, rc);
	if (!c->known)
		return true;
	memcpy(c->gathered + c->have, c->bytes, skip);
	c->have += skip;
	c->carry -= skip;
	if (skip > 0 && c->carry == 0)
		*rc = check_record(c, c->gathered, c->gathered + c->have, c->expected - 1);
	return true;
}

/* The time of a record, of which at least the begin is there. A time that goes on in the next block is not followed. */
static bool check_time(struct check *c, const uint8_t *start, const uint8_t *end, bool whole)
{
	uint64_t delta;
	if (!get_varint(start + 1, end, &delta)) {
		c->time = c->block.last_time;
		return !whole;
	}
	if (delta > (uint64_t)(INT64_MAX - c->time))
		return false;
	c->time += (int64_t)delta;
	return true;
}

/* The records that begin in the block. LMQ_END: they are damaged. */
static int check_records(struct check *c)
{
	const uint8_t *p = c->bytes + c->block.skip, *end = c->bytes + c->block.size;
	int rc = 0;
	c->time = c->block.base_time;
	for (unsigned i = 0; rc == 0 && i < c->block.count; i++) {
		uint64_t size, have;
		const uint8_t *start = get_varint(p, end, &size);
		if (!start || start == end || size < 2 || size > RECORD_MAX)
			return LMQ_END;
		have = (uint64_t)(end - start);
		if ((size > have && i + 1u < c->block.count) || !check_time(c, start, end, size <= have))
			return LMQ_END;
		c->known = true;
		c->have = c->carry = 0;
		if (size <= have) {
			rc = check_record(c, start, start + size, c->base + i);
			p = start + size;
		} else {
			memcpy(c->gathered, start, have);
			c->have = have;
			c->carry = size - have;
			p = end;
		}
	}
	return rc == 0 && (p != end || c->time != c->block.last_time) ? LMQ_END : rc;
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* Whether the block is the one that has to come. */
static int check_place(struct check *c, bool *right)
{
	uint64_t from = c->part ? c->base + 1 : c->base;
	int rc = 0;
	*right = from == c->expected;
	if (c->lost) {
		*right = from >= c->expected;
		c->known = c->lost = false;
		c->expected = from;
	} else if (from > c->expected) {
		rc = check_may_lack(c, c->expected, from, right);
		/* In a queue what is settled may go without the blocks where it began. */
		*right = *right && (check_is_queue(c) || !c->known || c->carry == 0);
		c->known = false;
		c->expected = from;
	} else if (from < c->expected) {
		/* The first block has messages that were dropped. */
		*right = c->part == 0 && c->base + c->block.count > c->expected && c->expected == c->head.first;
		c->known = false;
	}
	return rc;
}

int check_block(struct check *c)
{
	bool right;
	int rc = check_place(c, &right), more = 0;
	if (rc != 0)
		return rc;
	if (!right || c->block.base_time < c->time || !check_begin(c, &rc)) {
		check_damage(c);
		c->known = false;
	}
	if (rc == 0 && c->block.count > 0)
		more = check_records(c);
	if (more == LMQ_END) {
		check_damage(c);
		c->known = false;
	}
	c->time = c->block.last_time;
	if (c->block.count > 0)
		c->expected = c->base + c->block.count;
	if (c->expected < c->head.first)
		c->expected = c->head.first;
	return rc != 0 ? rc : more == LMQ_END ? 0 : more;
}
