/* SPDX-License-Identifier: ISC */
/*
 * A repair: the blocks of a lane, gone through in order, as a reader would. A message of which not every byte is there, or
 * not all of its large body, is lost; so are those that no block has, unless they may lack (libmq/check/sound.c says
 * where). What there is is counted.
 */
#include "lane.h"

#include <string.h>

/* ---- what there is --------------------------------------------------------------------------- */

static int lose(struct lane *l, uint64_t first, uint64_t end)
{
	struct run *more;
	if (first >= end)
		return 0;
	if (l->lost_count > 0 && l->lost[l->lost_count - 1].end == first) {
		l->lost[l->lost_count - 1].end = end;
		return 0;
	}
	more = rescue_room(l->lost, l->lost_count, &l->lost_room, sizeof *more);
	if (!more)
		return rescue_no_memory(l->r);
	l->lost = more;
	l->lost[l->lost_count++] = (struct run){ first, end };
	return 0;
}

bool lane_is_lost(const struct lane *l, uint64_t offset)
{
	for (size_t low = 0, high = l->lost_count; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (offset >= l->lost[middle].end)
			low = middle + 1;
		else if (offset < l->lost[middle].first)
			high = middle;
		else
			return true;
	}
	return false;
}

/* Whether it has to be there: in a queue, whether it is not settled. */
static int is_wanted(struct lane *l, uint64_t offset, bool *wanted)
{
	MDB_cursor *cursor;
	int rc = 0;
	*wanted = offset >= l->head.first && offset < l->head.end;
	if (l->channel->kind != LMQ_QUEUE || offset >= l->head.end)
		return 0;
	if (offset >= l->run.end || offset < l->asked) {
		rc = mdb_cursor_open(l->r->t.mdb, l->r->to->table, &cursor);
		if (rc != 0)
			return fail_lmdb(l->r->to, l->r->to->path, rc);
		rc = group_run(l->r->to, cursor, &l->position, l->head.end, offset, &l->run);
		mdb_cursor_close(cursor);
		if (rc == LMQ_END)
			l->run.first = l->run.end = UINT64_MAX;
		l->asked = offset;
	}
	*wanted = offset >= l->run.first && offset < l->run.end;
	return rc == LMQ_END ? 0 : rc;
}

static bool body_there(struct lane *l, const struct blob *blob)
{
	MDB_val v;
	for (uint64_t at = 0; at < blob->size; at += CHUNK_ROOM) {
		struct key k = key_chunk(blob->number, (uint32_t)(at / CHUNK_ROOM));
		uint64_t size = blob->size - at < CHUNK_ROOM ? blob->size - at : CHUNK_ROOM;
		if (rescue_get(l->r, &k, &v) != 0 || v.mv_size != CHUNK_HEADER + size)
			return false;
	}
	return true;
}

static int keep_body(struct lane *l, uint64_t number)
{
	struct rescue *r = l->r;
	uint64_t *more = rescue_room(r->bodies, r->body_count, &r->body_room, sizeof *more);
	if (!more)
		return rescue_no_memory(r);
	r->bodies = more;
	r->bodies[r->body_count++] = number;
	return 0;
}

/* Of [first, end) what has to be there. */
static int lose_wanted(struct lane *l, uint64_t first, uint64_t end)
{
	bool wanted = true;
	int rc = 0;
	if (first < l->begin)
		first = l->begin;
	if (end > l->head.end)
		end = l->head.end;
	if (l->channel->kind != LMQ_QUEUE)
		return lose(l, first, end);
	while (rc == 0 && first < end) {
		uint64_t next;
		rc = is_wanted(l, first, &wanted);
		next = wanted ? l->run.end : l->run.first > first ? l->run.first : first + 1;
		if (next > end)
			next = end;
		if (rc == 0 && wanted)
			rc = lose(l, first, next);
		first = next;
	}
	return rc;
}

/* No block has [first, end). */
static int missing(struct lane *l, uint64_t first, uint64_t end)
{
	struct key from = key_block(l->id, l->lane, first > 0 ? first - 1 : 0, first > 0), to = key_block(l->id, l->lane, end, 0);
	bool torn = wreck_lacks(l->r, &from, &to);
	bool dropped = l->channel->kind != LMQ_QUEUE && l->gaps && (!torn || l->relogged);
	return dropped ? 0 : lose_wanted(l, first, end);
}

/* A whole record, behind its length. */
static int on_message(struct lane *l, const uint8_t *start, const uint8_t *end, uint64_t offset)
{
	struct lmq_message m;
	struct blob blob = { .size = 0 };
	bool wanted, sound = message_decode(start, end, &m, &l->decoded, &blob);
	int rc = is_wanted(l, offset, &wanted);
	if (rc != 0 || !wanted || (sound && *start & RECORD_HOLE))
		return rc;
	if (!sound || (blob.size > 0 && !body_there(l, &blob)))
		return lose(l, offset, offset + 1);
	l->live++;
	l->live_bytes += (uint64_t)(end - start) + blob.size;
	if (blob.size == 0)
		return 0;
	l->large++;
	l->bytes += blob.size;
	return keep_body(l, blob.number);
}

/* The last message does not go on: it is lost if it is wanted. */
static int cut_off(struct lane *l)
{
	bool wanted = false;
	int rc = l->carry > 0 ? is_wanted(l, l->expected - 1, &wanted) : 0;
	l->carry = 0;
	return rc == 0 && wanted ? lose(l, l->expected - 1, l->expected) : rc;
}

/* The bytes that a block begins with. */
static int on_skip(struct lane *l, uint64_t from)
{
	size_t skip = l->block.skip;
	bool fits = from == l->expected && skip <= l->carry && skip > 0 && (l->block.count == 0 || skip == l->carry);
	if (!fits)
		return cut_off(l);
	memcpy(l->gathered + l->have, l->bytes_of, skip);
	l->have += skip;
	l->carry -= skip;
	return l->carry == 0 ? on_message(l, l->gathered, l->gathered + l->have, l->expected - 1) : 0;
}

static int on_records(struct lane *l)
{
	const uint8_t *p = l->bytes_of + l->block.skip, *end = l->bytes_of + l->block.size;
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < l->block.count; i++) {
		uint64_t size, have;
		const uint8_t *start = get_varint(p, end, &size);
		/* No version of ours has written that, whatever its checksum says. */
		if (!start || start == end || size < 2 || size > RECORD_MAX)
			return lose_wanted(l, l->base + i, l->base + l->block.count);
		have = (uint64_t)(end - start);
		if (size <= have) {
			rc = on_message(l, start, start + size, l->base + i);
			p = start + size;
		} else if (i + 1u < l->block.count) {
			return lose_wanted(l, l->base + i, l->base + l->block.count);
		} else {
			memcpy(l->gathered, start, have);
			l->have = have;
			l->carry = size - have;
		}
	}
	return rc;
}

static int on_block(struct lane *l)
{
	uint64_t from = l->part ? l->base + 1 : l->base;
	int rc = 0;
	l->bytes += l->block.size;
	l->tail_offset = l->base;
	l->tail_part = l->part;
	if (l->block.last_time > l->time)
		l->time = l->block.last_time;
	if (from > l->expected) {
		rc = cut_off(l);
		if (rc == 0)
			rc = missing(l, l->expected, from);
		l->expected = from;
	}
	if (rc == 0 && from >= l->expected)
		rc = on_skip(l, from);
	if (rc == 0 && l->block.count > 0)
		rc = on_records(l);
	if (l->block.count > 0 && l->base + l->block.count > l->expected)
		l->expected = l->base + l->block.count;
	return rc;
}

/* It has messages that blocks before it have: no sound log has two of them. */
static bool overlaps(const struct lane *l)
{
	return l->base + (l->part > 0) < l->covered;
}

static int drop_block(struct lane *l)
{
	l->r->result->mended++;
	return rescue_delete(l->r, &l->key);
}

int lane_next(struct lane *l, bool first)
{
	MDB_val v;
	int rc;
	if (first)
		l->key = key_block(l->id, l->lane, 0, 0);
	rc = rescue_next(l->r, &l->key, BLOCK_PREFIX, first, &v);
	if (rc != 0)
		return rc;
	if (!block_get(&l->block, l->key.bytes, l->key.size, v.mv_data, v.mv_size))
		return fail_damaged(l->r->to, "a block of messages");
	l->size = v.mv_size;
	memcpy(l->bytes_of, l->block.payload, l->block.size);
	l->base = get64(l->key.bytes + BLOCK_PREFIX);
	l->part = get32(l->key.bytes + BLOCK_PREFIX + 8);
	return 0;
}

int lane_scan(struct lane *l)
{
	size_t bodies = l->bodies;
	uint64_t floor = UINT64_MAX;
	int rc;
	l->r->body_count = bodies;
	l->bytes = l->large = l->live = l->live_bytes = l->carry = l->have = 0;
	l->run.first = l->run.end = l->asked = 0;
	l->tail_used = 0;
	l->covered = 0;
	l->time = 0;
	l->begin = l->head.first;
	rc = l->channel->kind == LMQ_QUEUE ? group_floor(&l->r->t, &l->position, &floor) : 0;
	if (rc == 0 && floor < l->begin)
		l->begin = floor;
	l->expected = l->begin;
	for (bool first = true; rc == 0 && (rc = lane_next(l, first)) == 0; first = false) {
		size_t size = l->size;
		bool dropped = overlaps(l);
		rc = rescue_step(l->r);
		if (rc == 0)
			rc = dropped ? drop_block(l) : on_block(l);
		if (rc != 0)
			return rc;
		if (dropped)
			continue;
		l->covered = l->base + (l->block.count ? l->block.count : 1);
		l->tail_used = (uint16_t)size;
	}
	if (rc == LMQ_END)
		rc = 0;
	l->whole_end = l->carry == 0 && l->expected == l->head.end;
	if (rc == 0)
		rc = cut_off(l);
	return rc == 0 ? missing(l, l->expected, l->head.end) : rc;
}
