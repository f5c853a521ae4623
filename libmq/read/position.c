/* SPDX-License-Identifier: ISC */
/*
 * Where a reader is: its view on the channel, and moving it.
 *
 * A snapshot pins the space of all that is dropped while it lasts. A reader that never pauses therefore
 * renews its own when it has become old, between two messages.
 */
#include "reader.h"

#include <string.h>

enum { VIEW_STEPS = 1024 };	/* between two looks at the clock */
#define VIEW_AGE INT64_C(200000000)	/* ns */

/* ---- the view ------------------------------------------------------------------------------- */

static int lanes_open(lmq_reader *r, unsigned count)
{
	r->lanes = calloc(count, sizeof *r->lanes);
	r->heap = calloc(count, sizeof *r->heap);
	if (!r->lanes || !r->heap) {
		free(r->lanes);
		free(r->heap);
		r->lanes = NULL;
		r->heap = NULL;
		return fail(r->channel->store, LMQ_ENOMEM, "%s: out of memory", r->channel->name);
	}
	r->lane_count = r->partitions = count;
	for (unsigned i = 0; i < count; i++) {
		log_cursor_init(&r->lanes[i].cursor, &r->snapshot, r->channel->id, (uint16_t)i);
		r->lanes[i].bound = UINT64_MAX;
	}
	return 0;
}

/* What was dropped before it was read; backward, of what the reader would have come to. */
static void lane_overtaken(lmq_reader *r, struct lane *lane)
{
	struct log_cursor *c = &lane->cursor;
	uint64_t first = c->head.first;
	uint64_t from = r->backward ? lane->low : c->offset;
	uint64_t to = r->backward && c->offset < first ? c->offset : first;
	if (r->viewed && from < to)
		r->missed += to - from;
	lane->low = first;
	if (c->offset < first)
		log_seek(c, first);
}

static int lane_renew(lmq_reader *r, struct lane *lane)
{
	struct log_cursor *c = &lane->cursor;
	int rc = log_refresh(c);
	if (rc != 0)
		return rc == LMQ_END ? channel_gone(r->channel) : rc;
	lane->end = c->head.end;
	if (c->head.end > lane->bound)
		c->head.end = lane->bound;
	if (!reader_of_queue(r))
		lane_overtaken(r, lane);
	return 0;
}

static int lanes_renew(lmq_reader *r)
{
	struct channel_record record;
	lmq_store *s = r->channel->store;
	int rc = channel_record(r->channel, r->snapshot.mdb, &record);
	if (rc == 0 && !r->lanes)
		rc = lanes_open(r, lanes_of(&record));
	for (unsigned i = 0; rc == 0 && i < r->lane_count; i++)
		rc = lane_renew(r, &r->lanes[i]);
	if (rc != 0)
		return rc;
	r->ttl = limit_of(&record, LIMIT_TTL);
	merge_renewed(r);
	if (reader_of_queue(r))
		rc = get_group(s, r->snapshot.mdb, r->channel->id, 0, "", &r->group);
	return rc == LMQ_END ? fail_damaged(s, "a queue without its reader") : rc;
}

int reader_view_anew(lmq_reader *r)
{
	int rc;
	if (r->snapshot.active && r->serial == r->snapshot.serial) {
		r->steps = VIEW_STEPS;
		if (clock_monotonic() - r->begun < VIEW_AGE)
			return 0;
		snapshot_pause(&r->snapshot);
	}
	rc = snapshot_begin(&r->snapshot);
	if (rc != 0)
		return rc;
	rc = lanes_renew(r);
	if (rc != 0) {
		snapshot_pause(&r->snapshot);
		return rc;
	}
	r->serial = r->snapshot.serial;
	r->begun = clock_monotonic();
	r->steps = VIEW_STEPS;
	r->viewed = true;
	return 0;
}

/* A fresh one. */
static int view_anew(lmq_reader *r)
{
	r->at_hand = false;
	snapshot_pause(&r->snapshot);
	return reader_view(r);
}

/* ---- moving --------------------------------------------------------------------------------- */

static int queue_seek_time(lmq_reader *r, int64_t time)
{
	struct log_cursor *c = &r->lanes->cursor;
	struct record record;
	int rc;
	log_seek(c, 0);
	while ((rc = reader_unsettled(r, &record)) == 0)
		if (record.time >= time) {
			log_seek(c, record.offset);
			return 0;
		}
	if (rc == LMQ_END)
		log_seek(c, c->head.end);
	return rc == LMQ_END ? 0 : rc;
}

static void lane_seek(lmq_reader *r, struct lane *lane, uint64_t offset)
{
	struct log_cursor *c = &lane->cursor;
	log_seek(c, offset < c->head.first && !reader_of_queue(r) ? c->head.first : offset);
}

static void seek_offset(lmq_reader *r, uint64_t offset)
{
	for (unsigned i = 0; i < r->lane_count; i++)
		lane_seek(r, &r->lanes[i], offset);
}

static void seek_end(lmq_reader *r)
{
	for (unsigned i = 0; i < r->lane_count; i++)
		lane_seek(r, &r->lanes[i], r->lanes[i].cursor.head.end);
}

static int seek_time(lmq_reader *r, int64_t time)
{
	int rc = 0;
	if (reader_of_queue(r))
		return queue_seek_time(r, time);
	for (unsigned i = 0; rc == 0 && i < r->lane_count; i++) {
		lane_lend(r, &r->lanes[i]);
		rc = log_seek_time(&r->lanes[i].cursor, time);
		lane_take_back(r, &r->lanes[i]);
	}
	return rc;
}

/* Over so many messages, or as many as there are. */
static int walk(lmq_reader *r, uint64_t count, enum direction d)
{
	struct record record;
	struct lane *lane;
	int rc = 0;
	while (rc == 0 && count-- > 0) {
		rc = reader_view(r);
		if (rc == 0)
			rc = reader_step(r, d, &record, &lane);
	}
	return rc == LMQ_END ? 0 : rc;
}

/* Whether the distance of two offsets is the number of messages between them: one lane, no holes. */
static bool is_dense(const lmq_reader *r)
{
	return reader_of_queue(r) || (r->lane_count == 1 && r->lanes->cursor.head.holes == 0);
}

static int seek_last(lmq_reader *r, uint64_t count)
{
	const struct head_record *head = &r->lanes->cursor.head;
	uint64_t stored = 0;
	for (unsigned i = 0; i < r->lane_count; i++) {
		const struct head_record *h = &r->lanes[i].cursor.head;
		stored += h->end > h->first ? h->end - h->first : 0;
	}
	if (count >= stored) {
		seek_offset(r, reader_of_queue(r) ? head->first : 0);
		return 0;
	}
	if (is_dense(r)) {
		log_seek(&r->lanes->cursor, head->end - count);
		return 0;
	}
	seek_end(r);
	return walk(r, count, BACKWARD);
}

static int seek_shift(lmq_reader *r, int64_t by)
{
	struct log_cursor *c = &r->lanes->cursor;
	uint64_t back = by < 0 ? -(uint64_t)by : 0, most;
	if (!is_dense(r))
		return walk(r, by < 0 ? back : (uint64_t)by, by < 0 ? BACKWARD : FORWARD);
	if (by < 0) {
		lane_seek(r, r->lanes, c->offset > back ? c->offset - back : 0);
		return 0;
	}
	most = c->head.end > c->offset ? c->head.end - c->offset : 0;
	log_seek(c, c->offset + ((uint64_t)by < most ? (uint64_t)by : most));
	return 0;
}

int lmq_reader_seek(lmq_reader *r, enum lmq_seek how, int64_t value)
{
	uint64_t number = value < 0 ? 0 : (uint64_t)value;
	int rc = view_anew(r);
	if (rc != 0)
		return rc;
	r->backward = false;
	merge_moved(r);
	switch (how) {
	case LMQ_SEEK_OFFSET:
		seek_offset(r, number);
		return 0;
	case LMQ_SEEK_TIME:
		return seek_time(r, value);
	case LMQ_SEEK_FIRST:
		seek_offset(r, reader_of_queue(r) ? r->lanes->cursor.head.first : 0);
		return 0;
	case LMQ_SEEK_END:
		seek_end(r);
		return 0;
	case LMQ_SEEK_LAST:
		return seek_last(r, number);
	case LMQ_SEEK_SHIFT:
		return seek_shift(r, value);
	}
	return fail(r->channel->store, LMQ_EINVAL, "%s: no such way to seek", r->channel->name);
}

int lmq_reader_partition(lmq_reader *r, uint32_t partition)
{
	int rc = r->lanes ? 0 : view_anew(r);
	if (rc != 0)
		return rc;
	if (r->lane_count == 1 && r->lanes->cursor.lane == partition)
		return 0;
	if (partition >= r->partitions || r->lane_count < r->partitions)
		return fail(r->channel->store, LMQ_EINVAL, "%s: there is no partition %u", r->channel->name, partition);
	for (unsigned i = 0; i < r->lane_count; i++)
		if (i != partition)
			log_cursor_close(&r->lanes[i].cursor);
	r->lanes[0] = r->lanes[partition];
	r->lane_count = 1;
	merge_moved(r);
	return 0;
}

int lmq_reader_bound(lmq_reader *r, uint64_t end)
{
	int rc = view_anew(r);
	for (unsigned i = 0; rc == 0 && i < r->lane_count; i++) {
		struct lane *lane = &r->lanes[i];
		lane->bound = end < lane->end ? end : lane->end;
		lane->cursor.head.end = lane->bound;
	}
	merge_renewed(r);
	return rc;
}

/* ---- telling -------------------------------------------------------------------------------- */

uint64_t lmq_reader_tell(const lmq_reader *r)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < r->lane_count; i++)
		sum += r->lanes[i].cursor.offset;
	return sum;
}

int lmq_reader_end(lmq_reader *r, uint64_t *offset)
{
	int rc = view_anew(r);
	*offset = 0;
	for (unsigned i = 0; rc == 0 && i < r->lane_count; i++)
		*offset += r->lanes[i].end;
	return rc;
}
