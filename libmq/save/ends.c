/* SPDX-License-Identifier: ISC */
/*
 * A repair: where a lane begins and ends. Its head says it; where that is lost, its blocks, positions, runs and ids do,
 * and if there may have been more of these than are left, the end is put far behind all of them, so that no offset is
 * used a second time.
 */
#include "rescue.h"

#include <string.h>

enum { FAR_BEHIND = 1 << 20 };

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

static int reach_ids(struct rescue *r, uint32_t id, uint16_t lane, uint64_t *end)
{
	struct key k = key_id(id, (const uint8_t[16]){ 0 });
	struct id_record i;
	MDB_val v;
	int rc;
	k.size = RUN_PREFIX;
	for (bool first = true; (rc = rescue_next(r, &k, RUN_PREFIX, first, &v)) == 0; first = false)
		if (id_record_get(&i, &k, v.mv_data, v.mv_size) && i.lane == lane)
			reach(end, i.offset + 1);
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

static int put_head_of(struct rescue *r, uint32_t id, uint16_t lane, const struct head_record *h)
{
	struct key k = key_head(id, lane);
	uint8_t value[HEAD_RECORD];
	return rescue_put(r, &k, value, head_record_put(h, &k, value));
}

static int note_beyond(struct rescue *r, uint32_t id, uint16_t lane, uint64_t from)
{
	struct beyond *more = reallocarray(r->beyond, r->beyond_count + 1, sizeof *more);
	if (!more)
		return rescue_no_memory(r);
	r->beyond = more;
	r->beyond[r->beyond_count++] = (struct beyond){ id, lane, from };
	return 0;
}

static int make_head(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, struct head_record *h)
{
	struct key from, to = key_block(id, lane, UINT64_MAX, UINT32_MAX);
	char name[LMQ_NAME_MAX + 16];
	uint64_t begin;
	int rc;
	*h = (struct head_record){ .first = 0 };
	rc = reach_blocks(r, id, lane, &begin, h);
	if (rc == 0)
		rc = reach_positions(r, id, lane, &h->end);
	if (rc == 0)
		rc = reach_ids(r, id, lane, &h->end);
	lane_name(c, lane, name);
	from = key_block(id, lane, h->end > 0 ? h->end - 1 : 0, 0);
	if (rc == 0 && wreck_lacks(r, &from, &to)) {
		rc = note_beyond(r, id, lane, h->end);
		h->end += FAR_BEHIND;
		rescue_say(r, name, "where it ended is lost: the next message gets offset %llu", (unsigned long long)h->end);
		if (begin == UINT64_MAX)
			begin = h->end;
	} else {
		rescue_say(r, name, "its head is lost, and was made anew");
	}
	h->first = begin < h->end ? begin : h->end;
	h->sent_bytes = h->bytes;
	if (c->kind == LMQ_STREAM && c->given & 1u << LIMIT_MAX_PER_KEY)
		h->flags = HEAD_GAPS;
	r->result->mended++;
	return rc == 0 ? put_head_of(r, id, lane, h) : rc;
}

/* A head that was found outside of the tree may be older than what else was found. */
static int extend_head(struct rescue *r, uint32_t id, uint16_t lane, struct head_record *h)
{
	struct key k = key_head(id, lane);
	struct head_record seen = { .end = 0 };
	uint64_t begin;
	int rc;
	if (!wreck_lacks_any(r, &k, k.size))
		return 0;
	rc = reach_blocks(r, id, lane, &begin, &seen);
	if (rc == 0)
		rc = reach_positions(r, id, lane, &seen.end);
	if (rc != 0 || seen.end <= h->end)
		return rc;
	h->end = seen.end;
	r->result->mended++;
	return put_head_of(r, id, lane, h);
}

int lane_head(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, struct head_record *h)
{
	struct key k = key_head(id, lane);
	MDB_val v;
	if (rescue_get(r, &k, &v) != 0 || !head_record_get(h, &k, v.mv_data, v.mv_size))
		return make_head(r, id, c, lane, h);
	return extend_head(r, id, lane, h);
}
