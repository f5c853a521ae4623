/* SPDX-License-Identifier: ISC */
/*
 * Reading a log backward.
 *
 * Records can be stepped over in one direction only. So a block is walked through once, which finds where
 * each of its records begins, and then they are handed out from its end; their times follow from the last
 * one's, less its delta, and so on.
 */
#include "cursor.h"

#include <string.h>

enum { STARTS_MAX = BLOCK_LONGEST / RECORD_LEAST + 1 };

static int bad_time(struct log_cursor *c)
{
	return fail_damaged(c->snapshot->store, "a message's time");
}

/*
 * Finds the begins of the records of the block, and the time of the last one that is left. The delta of
 * the block's last record may lie in the next block, but its time stands in the header.
 */
static int block_index(struct log_cursor *c)
{
	const uint8_t *end = c->block.payload + c->block.size;
	size_t at = c->block.skip;
	uint64_t time = (uint64_t)c->block.base_time, size, delta;
	if (!c->starts && !(c->starts = malloc(STARTS_MAX * sizeof *c->starts)))
		return fail(c->snapshot->store, LMQ_ENOMEM, "%s: out of memory", c->snapshot->store->path);
	for (size_t i = 0; i < c->block.count; i++) {
		const uint8_t *p = at < c->block.size ? get_varint(c->block.payload + at, end, &size) : NULL;
		if (!p || p == end || size < 2 || size > RECORD_MAX)
			return log_bad_record(c);
		c->starts[i] = (uint16_t)at;
		at = (size_t)(p - c->block.payload) + size;
		if (i >= c->left || i + 1 == c->block.count)
			continue;
		if (!get_varint(p + 1, end, &delta))
			return bad_time(c);
		time += delta;
	}
	c->time = c->left == c->block.count ? c->block.last_time : (int64_t)time;
	return 0;
}

/* Puts the cursor behind the last record before c->offset, not the first of all. LMQ_END: all are missing. */
static int back_place(struct log_cursor *c)
{
	bool exact;
	int rc = block_seek(c, c->offset, &exact);
	c->placed = c->reversed = false;
	do {
		if (rc == 0)
			rc = block_step(c, MDB_PREV);
	} while (rc == 0 && c->part != 0);
	if (rc != 0)
		return rc == LMQ_END && !log_has_gaps(c) ? log_hole(c) : rc;
	if (c->base >= c->offset || (c->offset - c->base > c->block.count && !log_has_gaps(c)))
		return log_hole(c);
	c->left = c->offset - c->base < c->block.count ? (uint16_t)(c->offset - c->base) : c->block.count;
	c->offset = c->base + c->left;
	rc = block_index(c);
	c->reversed = rc == 0;
	return rc;
}

/* The last record that is left in the block becomes the next one. */
static int back_step(struct log_cursor *c, const uint8_t *data, const uint8_t *end)
{
	uint64_t delta;
	if (!get_varint(data + 1, end, &delta) || delta > (uint64_t)c->time)
		return bad_time(c);
	c->time -= (int64_t)delta;
	c->left--;
	c->offset--;
	return 0;
}

/* Where the length of that record is read, what stands behind it. */
static const uint8_t *back_data(const struct log_cursor *c, uint64_t *size)
{
	return get_varint(c->block.payload + c->starts[c->left - 1], c->block.payload + c->block.size, size);
}

/* Puts the cursor behind a message. LMQ_END. */
static int back_stand(struct log_cursor *c)
{
	int rc = 0;
	if (c->offset > c->head.end)
		log_seek(c, c->head.end);
	while (c->offset > c->head.first) {
		uint64_t size;
		const uint8_t *data;
		if (!c->reversed || c->left == 0) {
			rc = back_place(c);
			if (rc == LMQ_END)
				log_seek(c, c->head.first);
			if (rc != 0)
				return rc;
			continue;
		}
		data = back_data(c, &size);
		if (!(*data & RECORD_HOLE))
			return 0;
		rc = back_step(c, data, c->block.payload + c->block.size);
		if (rc != 0)
			return rc;
	}
	return LMQ_END;
}

/* The record straddles: its end lies in blocks from which the cursor comes back. */
static int back_gather(struct log_cursor *c, const uint8_t *data, size_t size, struct record *r)
{
	struct block block = c->block;
	uint64_t base = c->base;
	uint16_t left = c->left;
	int rc = left == block.count ? 0 : log_hole(c);
	c->at = (size_t)(data - block.payload);
	if (rc == 0)
		rc = record_gather(c, size, r);
	c->block = block;
	c->base = base;
	c->part = 0;
	c->left = left;
	return rc;
}

int log_previous(struct log_cursor *c, struct record *r)
{
	uint64_t size;
	const uint8_t *data;
	int rc = back_stand(c);
	if (rc != 0)
		return rc;
	data = back_data(c, &size);
	r->data = data;
	r->end = data + size;
	if (size > (size_t)(c->block.payload + c->block.size - data))
		rc = back_gather(c, data, size, r);
	r->offset = c->offset - 1;
	r->time = c->time;
	return rc == 0 ? back_step(c, r->data, r->end) : rc;
}

int log_peek_previous(struct log_cursor *c, int64_t *time)
{
	int rc = back_stand(c);
	if (rc == 0)
		*time = c->time;
	return rc;
}
