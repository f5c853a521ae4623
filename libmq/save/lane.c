/* SPDX-License-Identifier: ISC */
/*
 * A repair: the log of a lane.
 *
 * What its blocks lack (blocks.c) is lost. Of a queue lost messages are settled, and its blocks stay as they are, for
 * nobody reads what is settled. Of a topic or stream they become holes: what is left of them is cut out of the blocks
 * (relog.c), and the head says that blocks may be missing. What the head counts is counted anew.
 */
#include "lane.h"

#include <stdio.h>
#include <string.h>

void lane_name(const struct channel_record *c, uint16_t lane, char text[LMQ_NAME_MAX + 16])
{
	if (lanes_of(c) > 1)
		snprintf(text, LMQ_NAME_MAX + 16, "%s/%u", c->name, lane);
	else
		snprintf(text, LMQ_NAME_MAX + 16, "%s", c->name);
}

/* ---- the head -------------------------------------------------------------------------------- */

/* Nothing is appended to a block that cannot be gone on with, but where its hash is needed. */
static void set_head(struct lane *l, struct head_record *h)
{
	h->bytes = l->bytes;
	h->large = l->large;
	h->holes = l->channel->kind == LMQ_QUEUE ? h->holes : h->end - h->first - l->live;
	h->tail_offset = l->tail_used ? l->tail_offset : 0;
	h->tail_part = l->tail_used ? l->tail_part : 0;
	h->tail_used = l->whole_end ? l->tail_used : 0;
	if (l->time > h->last_time)
		h->last_time = l->time;
}

/* A queue's log begins with what is not settled. */
static int begin_queue(struct lane *l, struct head_record *h)
{
	uint64_t floor;
	int rc = l->channel->kind == LMQ_QUEUE ? group_floor(&l->r->t, &l->position, &floor) : LMQ_END;
	if (rc == 0)
		h->first = floor < h->end ? floor : h->end;
	return rc == LMQ_END ? 0 : rc;
}

static int mend_head(struct lane *l)
{
	struct head_record h = l->head;
	uint8_t a[HEAD_RECORD], b[HEAD_RECORD];
	struct key k = key_head(l->id, l->lane);
	int rc = begin_queue(l, &h);
	if (rc != 0)
		return rc;
	set_head(l, &h);
	/* Where the last block is one that goes no more, its place says nothing. */
	if (h.tail_used == 0 && l->head.tail_used == 0) {
		h.tail_offset = l->head.tail_offset;
		h.tail_part = l->head.tail_part;
	}
	head_record_put(&l->head, &k, a);
	head_record_put(&h, &k, b);
	if (memcmp(a, b, sizeof a) == 0)
		return 0;
	l->head = h;
	l->r->result->mended++;
	return rescue_put_head(l->r, l->id, l->lane, &l->head);
}

/* ---- mending ------------------------------------------------------------------------------- */

/* The keys are not trusted any more: whoever needs them indexes the lane anew. */
static int forget_keys(struct lane *l)
{
	struct key k = key_latest(l->id, l->lane, (const uint8_t[16]){ 0 }, 0);
	bool first = true;
	int rc;
	k.size = BLOCK_PREFIX;
	while ((rc = rescue_next(l->r, &k, BLOCK_PREFIX, first, NULL)) == 0) {
		first = false;
		l->r->result->mended++;
		rc = rescue_delete(l->r, &k);
		if (rc != 0)
			return rc;
	}
	l->head.indexed = 0;
	return rc == LMQ_END ? rescue_put_head(l->r, l->id, l->lane, &l->head) : rc;
}

/* Compaction has something to do. */
static int note_keys(struct lane *l)
{
	struct key sweep = key_sweep('k', l->id);
	uint8_t value[SWEEP_RECORD];
	uint64_t per_key = limit_of(l->channel, LIMIT_MAX_PER_KEY);
	MDB_val v;
	if (l->channel->kind != LMQ_STREAM || per_key == 0 || per_key == UINT64_MAX || l->head.indexed >= l->head.end ||
			l->head.first >= l->head.end || rescue_get(l->r, &sweep, &v) == 0)
		return 0;
	return rescue_put(l->r, &sweep, value, number_put(0, 0, &sweep, value));
}

static int mend_lost(struct lane *l)
{
	struct run *lost = l->lost;
	int rc = say_lost(l);
	if (rc == 0)
		rc = l->channel->kind == LMQ_QUEUE ? settle_lost(l) : relog(l);
	l->lost = NULL;
	l->lost_count = l->lost_room = 0;
	free(lost);
	if (rc == 0)
		rc = lane_scan(l);
	return rc == 0 && l->lost_count > 0 ? fail_damaged(l->r->to, "a log that could not be mended") : rc;
}

static int mend_lane(struct lane *l)
{
	struct key k = key_group(l->id, l->lane, "");
	MDB_val v;
	int rc = lane_head(l->r, l->id, l->lane, &l->head);
	if (rc == 0 && l->channel->kind == LMQ_QUEUE && (rescue_get(l->r, &k, &v) != 0 ||
			!group_record_get(&l->position, &k, v.mv_data, v.mv_size)))
		return fail_damaged(l->r->to, "the position of a queue");
	l->gaps = l->head.flags & HEAD_GAPS;
	l->bodies = l->r->body_count;
	if (rc == 0)
		rc = lane_scan(l);
	/* Whatever is lost: of a value with a wrong checksum it may be the key that is wrong, and so not be one of these. */
	if (rc == 0 && (l->lost_count > 0 || !l->r->uuid_known || l->r->gap_count > 0) && l->channel->kind != LMQ_QUEUE)
		rc = forget_keys(l);
	if (rc == 0 && l->lost_count > 0)
		rc = mend_lost(l);
	if (rc == 0)
		rc = mend_head(l);
	if (rc == 0)
		rc = note_keys(l);
	l->r->result->messages += l->live;
	l->r->result->bytes += l->live_bytes;
	return rc;
}

static int for_lanes(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t from, uint16_t end,
	int (*do_it)(struct lane *l))
{
	struct lane *l = malloc(sizeof *l);
	int rc = l ? 0 : rescue_no_memory(r);
	for (uint16_t lane = from; rc == 0 && lane < end; lane++) {
		memset(l, 0, offsetof(struct lane, gathered));
		l->r = r;
		l->id = id;
		l->lane = lane;
		l->channel = c;
		rc = rescue_step(r);
		if (rc == 0)
			rc = do_it(l);
		free(l->lost);
	}
	free(l);
	return rc;
}

int mend_lanes(struct rescue *r, uint32_t id, const struct channel_record *c)
{
	int rc = for_lanes(r, id, c, 0, lanes_of(c), mend_lane);
	return rc == 0 ? forget_ids(r, id) : rc;
}

static int note_bodies(struct lane *l)
{
	struct key h = key_head(l->id, l->lane), g = key_group(l->id, l->lane, "");
	MDB_val v;
	if (rescue_get(l->r, &h, &v) != 0 || !head_record_get(&l->head, &h, v.mv_data, v.mv_size))
		return 0;
	if (l->channel->kind == LMQ_QUEUE && (rescue_get(l->r, &g, &v) != 0 ||
			!group_record_get(&l->position, &g, v.mv_data, v.mv_size)))
		return 0;
	l->bodies = l->r->body_count;
	return l->head.large > 0 ? lane_scan(l) : 0;
}

int lane_bodies(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane)
{
	return for_lanes(r, id, c, lane, (uint16_t)(lane + 1), note_bodies);
}
