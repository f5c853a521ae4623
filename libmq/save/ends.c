/* SPDX-License-Identifier: ISC */
/*
 * A repair: where a lane begins and ends. Its head says it; where that is lost, its blocks, positions, runs and ids do,
 * and if there may have been more of these than are left, the end is put far behind all of them, so that no offset is
 * used a second time. Of a queue whose position is lost too nothing tells what was settled last and dropped.
 */
#include "rescue.h"

#include <string.h>

enum { LOG_FAR_BEHIND = 32 };	/* nobody sends more after what is known, and no number gets too long */

struct id_ends {		/* how far the ids of a channel go */
	bool known;
	uint64_t end[LMQ_PARTITIONS_MAX];
};

static void reach(uint64_t *end, uint64_t to)
{
	if (to > *end && to < INT64_MAX)
		*end = to;
}

/* The ends of the runs of a position, and its own. */
static int reach_position(struct rescue *r, const struct group_record *g, uint64_t *end)
{
	struct key k = key_run(g->space, 0);
	struct run_record run;
	MDB_val v;
	int rc;
	reach(end, g->next);
	for (bool first = true; (rc = rescue_next(r, &k, RUN_PREFIX, first, &v)) == 0; first = false)
		if (run_record_get(&run, &k, v.mv_data, v.mv_size))
			reach(end, run.end);
	return rc == LMQ_END ? 0 : rc;
}

static int reach_positions(struct rescue *r, uint32_t id, uint16_t lane, uint64_t *end)
{
	struct key k = key_group(id, lane, "");
	struct group_record g;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, BLOCK_PREFIX, first, &v)) == 0; first = false)
		if (group_record_get(&g, &k, v.mv_data, v.mv_size) && (rc = reach_position(r, &g, end)) != 0)
			return rc;
	return rc == LMQ_END ? 0 : rc;
}

/* They do not lie by lanes: looked through once, for the first lane that has lost its head. */
static int reach_ids(struct rescue *r, uint32_t id, struct id_ends *ids)
{
	struct key k = key_id(id, (const uint8_t[16]){ 0 });
	struct id_record i;
	MDB_val v;
	int rc = ids->known ? LMQ_END : 0;
	for (bool first = true; rc == 0 && (rc = rescue_next(r, &k, RUN_PREFIX, first, &v)) == 0; first = false)
		if (id_record_get(&i, &k, v.mv_data, v.mv_size) && i.lane < LMQ_PARTITIONS_MAX)
			reach(&ids->end[i.lane], i.offset + 1);
	ids->known = true;
	return rc == LMQ_END ? 0 : rc;
}

/* The first block says where the lane begins; all of them how far it goes. */
static int reach_blocks(struct rescue *r, uint32_t id, uint16_t lane, uint64_t *begin, struct head_record *h)
{
	struct key k = key_block(id, lane, 0, 0);
	struct block b;
	MDB_val v;
	int rc;
	*begin = UINT64_MAX;
	for (bool first = true; (rc = rescue_next(r, &k, BLOCK_PREFIX, first, &v)) == 0; first = false) {
		uint64_t base = get64(k.bytes + BLOCK_PREFIX);
		if (!block_get(&b, k.bytes, k.size, v.mv_data, v.mv_size))
			continue;
		if (*begin == UINT64_MAX)
			*begin = base + (b.count == 0);
		reach(&h->end, b.count ? base + b.count : base + 1);
		h->bytes += b.size;
		if (b.last_time > h->last_time)
			h->last_time = b.last_time;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* How far the last block goes; 0: there is none. */
static int last_block(struct rescue *r, uint32_t id, uint16_t lane, uint64_t *end)
{
	struct key k = key_block(id, lane, UINT64_MAX, UINT32_MAX);
	MDB_val key = { k.size, k.bytes }, v;
	MDB_cursor *cursor;
	struct block b;
	int rc = mdb_cursor_open(r->t.mdb, r->to->table, &cursor);
	if (rc != 0)
		return fail_lmdb(r->to, r->to->path, rc);
	rc = mdb_cursor_get(cursor, &key, &v, MDB_SET_RANGE);
	rc = mdb_cursor_get(cursor, &key, &v, rc == 0 ? MDB_PREV : MDB_LAST);
	*end = 0;
	if (rc == 0 && key.mv_size == k.size && memcmp(key.mv_data, k.bytes, BLOCK_PREFIX) == 0 &&
			block_get(&b, key.mv_data, key.mv_size, v.mv_data, v.mv_size))
		*end = get64((const uint8_t *)key.mv_data + BLOCK_PREFIX) + (b.count ? b.count : 1);
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : fail_lmdb(r->to, r->to->path, rc);
}

/* ---- ends that are lost ----------------------------------------------------------------------- */

static int note_beyond(struct rescue *r, uint32_t id, uint16_t lane, uint64_t from)
{
	struct beyond *more = rescue_room(r->beyond, r->beyond_count, &r->beyond_room, sizeof *more);
	if (!more)
		return rescue_no_memory(r);
	r->beyond = more;
	r->beyond[r->beyond_count++] = (struct beyond){ id, lane, from };
	return 0;
}

/* Where it ended is lost: everything from its end on never was, as far as is known. */
static int put_far(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, struct head_record *h)
{
	char name[LMQ_NAME_MAX + 16];
	int rc = note_beyond(r, id, lane, h->end);
	h->end += UINT64_C(1) << LOG_FAR_BEHIND;
	lane_name(c, lane, name);
	rescue_say(r, name, "where it ended is lost: the next message gets offset %llu", (unsigned long long)h->end);
	return rc;
}

static bool blocks_lack(const struct rescue *r, uint32_t id, uint16_t lane, uint64_t end)
{
	const struct key from = key_block(id, lane, end > 0 ? end - 1 : 0, 0), to = key_block(id, lane, UINT64_MAX, UINT32_MAX);
	return wreck_lacks(r, &from, &to);
}

static bool blocks_lack_before(const struct rescue *r, uint32_t id, uint16_t lane, uint64_t first)
{
	const struct key from = key_block(id, lane, 0, 0), to = key_block(id, lane, first, 0);
	return wreck_lacks(r, &from, &to);
}

/* Whether more may have been stored than is known. A topic or stream keeps its newest block, if not all were dropped. */
static bool end_lost(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, bool blocks, uint64_t end)
{
	struct key k = key_group(id, lane, "");
	struct group_record g;
	MDB_val v;
	bool known = blocks;
	if (c->kind == LMQ_QUEUE)
		known = rescue_get(r, &k, &v) == 0 && group_record_get(&g, &k, v.mv_data, v.mv_size);
	return !known || blocks_lack(r, id, lane, end);
}

/* Of messages before it may be lost what nothing tells of: whoever sends one of these again is not told that it is there. */
static int doubt_begin(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, uint64_t first)
{
	char name[LMQ_NAME_MAX + 16];
	if (!blocks_lack_before(r, id, lane, first))
		return 0;
	lane_name(c, lane, name);
	rescue_say(r, name, "where it began is lost: messages before %llu may be, too", (unsigned long long)first);
	/* A queue's position knows which of them were settled. */
	return c->kind == LMQ_QUEUE && rescue_has(r, key_group(id, lane, "")) ? 0 : note_lost(r, lane, 0, first);
}

static int make_head(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, struct id_ends *ids)
{
	struct head_record h = { .first = 0 };
	char name[LMQ_NAME_MAX + 16];
	uint64_t begin;
	int rc;
	rc = reach_blocks(r, id, lane, &begin, &h);
	if (rc == 0)
		rc = reach_positions(r, id, lane, &h.end);
	if (rc == 0)
		rc = reach_ids(r, id, ids);
	reach(&h.end, ids->end[lane]);
	lane_name(c, lane, name);
	if (rc == 0 && end_lost(r, id, c, lane, begin != UINT64_MAX, h.end))
		rc = put_far(r, id, c, lane, &h);
	else
		rescue_say(r, name, "its head is lost, and was made anew");
	h.first = begin < h.end ? begin : h.end;
	if (rc == 0)
		rc = doubt_begin(r, id, c, lane, h.first);
	h.sent_bytes = h.bytes;
	if (c->kind == LMQ_STREAM && c->given & 1u << LIMIT_MAX_PER_KEY)
		h.flags = HEAD_GAPS;
	r->result->mended++;
	return rc == 0 ? rescue_put_head(r, id, lane, &h) : rc;
}

/* A head that was found outside of the tree may be older than what else was found, or was there; and so may it be the
 * other way round, where commits were undone. */
static int extend_head(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, struct head_record *h)
{
	struct key k = key_head(id, lane);
	struct head_record seen = { .end = 0 };
	uint64_t begin, end = h->end, last;
	int rc = last_block(r, id, lane, &last);
	if (rc != 0 || (last <= end && !wreck_lacks_key(r, &k)))
		return rc;
	rc = reach_blocks(r, id, lane, &begin, &seen);
	if (rc == 0)
		rc = reach_positions(r, id, lane, &seen.end);
	reach(&h->end, seen.end);
	if (rc == 0 && wreck_lacks_key(r, &k) && blocks_lack(r, id, lane, h->end))
		rc = put_far(r, id, c, lane, h);
	if (rc != 0 || h->end == end)
		return rc;
	r->result->mended++;
	return rescue_put_head(r, id, lane, h);
}

static int mend_end(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, struct id_ends *ids)
{
	struct key k = key_head(id, lane);
	struct head_record h;
	MDB_val v;
	if (rescue_get(r, &k, &v) != 0 || !head_record_get(&h, &k, v.mv_data, v.mv_size))
		return make_head(r, id, c, lane, ids);
	return extend_head(r, id, c, lane, &h);
}

/* What is far behind counts as messages: the next publish would drop all that was saved. */
static int lift_limit(struct rescue *r, uint32_t id, struct channel_record *c)
{
	struct key k = key_channel(id);
	uint8_t value[CHANNEL_RECORD_MAX];
	if (c->kind == LMQ_QUEUE || limit_of(c, LIMIT_MAX_MESSAGES) == UINT64_MAX)
		return 0;
	rescue_say(r, c->name, "its max-messages was taken away: by that all that was saved would be dropped");
	c->given |= 1u << LIMIT_MAX_MESSAGES;
	c->limit[LIMIT_MAX_MESSAGES] = UINT64_MAX;
	return rescue_put(r, &k, value, channel_record_put(c, &k, value));
}

int mend_ends(struct rescue *r, uint32_t id, struct channel_record *c)
{
	struct id_ends ids = { .known = false };
	size_t before = r->beyond_count;
	int rc = 0;
	for (uint16_t lane = 0; rc == 0 && lane < lanes_of(c); lane++)
		rc = mend_end(r, id, c, lane, &ids);
	return rc == 0 && r->beyond_count > before ? lift_limit(r, id, c) : rc;
}

int lane_head(struct rescue *r, uint32_t id, uint16_t lane, struct head_record *h)
{
	struct key k = key_head(id, lane);
	MDB_val v;
	int rc = rescue_get(r, &k, &v);
	if (rc == 0 && !head_record_get(h, &k, v.mv_data, v.mv_size))
		rc = LMQ_END;
	return rc == LMQ_END ? fail_damaged(r->to, "the head of a log") : rc;
}
