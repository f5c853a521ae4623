/* SPDX-License-Identifier: ISC */
/*
 * Messages enter a channel: whoever appends, a sender, a burial, a move, a route, does it through here.
 *
 * In a stream with partitions a batch is taken apart: each message goes to the lane that its key says, so that
 * messages of one key stay in order; those without a key go together to the lane that was written to least
 * recently, which spreads batches evenly over the lanes whoever sends them.
 *
 * A plain batch is appended to the log and that is all. In a queue, messages of another priority than the default,
 * messages that are to wait, and messages whose key is ordered get runs of their own too (enter.c).
 */
#include "enter.h"

#include <stdio.h>
#include <string.h>

static int append_queue(struct txn *t, uint32_t id, struct batch *b, const struct intake *in, uint64_t *first)
{
	struct queue q;
	bool ordered;
	int rc = queue_load(t, id, 0, "", &q);
	if (rc != 0)
		return rc;
	*first = q.head.end;
	ordered = limit_of(&q.record, LIMIT_ORDER_KEY) == 1;
	rc = log_append(t, id, 0, b, &q.head);
	if (b->has_ttl)
		q.position.flags |= GROUP_TTL;
	if (rc == 0 && (b->special || ordered))
		rc = enter_batch(&q, b, *first, ordered);
	if (rc == 0 && !in->unlimited)
		rc = limit_push_out(&q);
	if (rc == 0)
		rc = put_head(t, id, 0, &q.head);
	return rc == 0 ? put_group(t, id, 0, "", &q.position) : rc;
}

/* The hot path: nothing of the channel but one log is touched. */
static int append_plain(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct batch *b,
	uint64_t *first)
{
	struct head_record head;
	int rc = get_head(t->store, t->mdb, id, lane, &head);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(t->store, "a channel without its log") : rc;
	*first = head.end;
	rc = log_append(t, id, lane, b, &head);
	if (rc == 0 && r->kind != LMQ_QUEUE)
		rc = retain_apply(t, id, lane, r, &head);
	return rc == 0 ? put_head(t, id, lane, &head) : rc;
}

static bool is_plain(const struct channel_record *r, const struct batch *b)
{
	enum full_policy full = (enum full_policy)limit_of(r, LIMIT_FULL);
	return r->kind != LMQ_QUEUE || (!b->special && !b->has_ttl && limit_of(r, LIMIT_ORDER_KEY) != 1 &&
		full != FULL_DROP_OLD && full != FULL_DEAD);
}

static int append_lane(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct batch *b,
	const struct intake *in, uint64_t *first)
{
	return is_plain(r, b) ? append_plain(t, id, lane, r, b, first) : append_queue(t, id, b, in, first);
}

/* ---- lanes ---------------------------------------------------------------------------------- */

uint16_t lane_of_key(struct lmq_bytes key, uint16_t lanes)
{
	static const uint8_t fixed[16];
	return (uint16_t)(hash64(fixed, key.data, key.size) % lanes);
}

uint16_t intake_lane(const struct intake *in, uint16_t lanes, struct lmq_bytes key)
{
	if (in->lane >= 0)
		return (uint16_t)in->lane;
	return key.data && lanes > 1 ? lane_of_key(key, lanes) : in->keyless;
}

/* The lane that was written to least recently. */
static int choose_keyless(struct txn *t, uint32_t id, uint16_t lanes, struct intake *in)
{
	int64_t oldest = INT64_MAX;
	struct head_record head;
	int rc = 0;
	in->keyless = 0;
	for (uint16_t lane = 0; rc == 0 && lanes > 1 && lane < lanes; lane++) {
		rc = get_head(t->store, t->mdb, id, lane, &head);
		if (rc == 0 && head.last_time < oldest) {
			oldest = head.last_time;
			in->keyless = lane;
		}
	}
	return rc == LMQ_END ? fail_damaged(t->store, "a channel without its log") : rc;
}

static int no_memory(struct txn *t, const struct channel_record *r)
{
	return fail(t->store, LMQ_ENOMEM, "%s: out of memory", r->name);
}

/* The lane of each record; *one: all go to the first one's. */
static int assign(struct txn *t, const struct channel_record *r, const struct batch *b, const struct intake *in,
	struct place *places, bool *one)
{
	const uint8_t *record, *start, *end;
	uint16_t lanes = lanes_of(r);
	struct lmq_bytes key;
	bool tombstone;
	size_t at = 0;
	*one = true;
	for (size_t i = 0; i < b->count && batch_next(b, &at, &record, &start, &end); i++) {
		if (!message_key(start, end, &key, &tombstone))
			return fail(t->store, LMQ_EBUG, "%s: a message cannot be read back", r->name);
		places[i].lane = intake_lane(in, lanes, key);
		*one = *one && places[i].lane == places[0].lane;
	}
	return 0;
}

struct share {			/* what of a batch goes to one lane */
	struct batch batch;
	uint64_t first;		/* where that begins */
};

/* Each record goes to the batch of its lane; the offset in its place counts from the first of that. */
static int deal_out(struct txn *t, const struct channel_record *r, const struct batch *b, struct share *shares,
	struct place *places)
{
	const uint8_t *record, *start, *end;
	size_t at = 0;
	for (size_t i = 0; i < b->count && batch_next(b, &at, &record, &start, &end); i++) {
		struct batch *part = &shares[places[i].lane].batch;
		places[i].offset = part->count;
		if (!batch_add_record(part, record, end))
			return no_memory(t, r);
	}
	return 0;
}

static int append_shares(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b,
	const struct intake *in, struct place *places)
{
	uint16_t lanes = lanes_of(r);
	struct share *shares = calloc(lanes, sizeof *shares);
	int rc = shares ? deal_out(t, r, b, shares, places) : no_memory(t, r);
	for (uint16_t lane = 0; shares && lane < lanes; lane++) {
		struct batch *part = &shares[lane].batch;
		part->time = b->time;
		part->has_ttl = b->has_ttl;
		part->linked = b->linked;
		if (rc == 0 && part->count > 0)
			rc = append_lane(t, id, lane, r, part, in, &shares[lane].first);
		batch_free(part);
	}
	for (size_t i = 0; rc == 0 && i < b->count; i++)
		places[i].offset += shares[places[i].lane].first;
	free(shares);
	return rc;
}

/* Leaves places in *told, where it is not NULL. */
static int append_apart(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b,
	struct intake *in, struct place **told)
{
	struct place *places = malloc((b->count + 1) * sizeof *places);
	bool one = false;
	int rc = places ? assign(t, r, b, in, places, &one) : no_memory(t, r);
	if (rc == 0 && one) {
		in->first.lane = places[0].lane;
		rc = append_lane(t, id, in->first.lane, r, b, in, &in->first.offset);
	} else if (rc == 0) {
		rc = append_shares(t, id, r, b, in, places);
	}
	if (rc == 0 && !one && told)
		*told = places;
	else
		free(places);
	return rc;
}

/* ---- appending ------------------------------------------------------------------------------ */

/* Appends the first records of the batch, size bytes and count of them. */
static int append(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, size_t count,
	size_t size, struct intake *in, struct place **told)
{
	struct batch part = *b;
	int rc;
	part.count = count;
	part.size = size;
	part.time = lmq_now();
	part.linked = r->kind == LMQ_STREAM && limit_of(r, LIMIT_AUDIT) == 1;
	in->first.lane = in->lane >= 0 ? (uint16_t)in->lane : 0;
	if (lanes_of(r) > 1 && in->lane < 0)
		rc = append_apart(t, id, r, &part, in, told);
	else
		rc = append_lane(t, id, in->first.lane, r, &part, in, &in->first.offset);
	if (rc == 0 && r->kind == LMQ_STREAM && limit_of(r, LIMIT_MAX_PER_KEY) != UINT64_MAX)
		rc = compact_later(t, id);
	if (rc == 0 && r->kind != LMQ_QUEUE && !in->routed)
		rc = route_out(t, id, r, &part);
	return rc;
}

static uint64_t first_bytes(const struct batch *b)
{
	const uint8_t *record, *start, *end;
	size_t at = 0;
	return batch_next(b, &at, &record, &start, &end) ? record_bytes(record, start, end) : 0;
}

/* ---- conditions ----------------------------------------------------------------------------- */

/* Where it would be, as people write it. */
static void put_place(char text[LMQ_NAME_MAX + 16], const struct channel_record *r, uint16_t lane)
{
	if (lanes_of(r) > 1)
		snprintf(text, LMQ_NAME_MAX + 16, "%s/%u", r->name, lane);
	else
		snprintf(text, LMQ_NAME_MAX + 16, "%s", r->name);
}

static int conflict_by_key(struct txn *t, const char *place, struct lmq_bytes key, uint64_t wanted, uint64_t newest)
{
	int n = (int)(key.size < 64 ? key.size : 64);
	if (newest == LMQ_NONE)
		return fail(t->store, LMQ_ECONFLICT, "%s: expected the newest message with key '%.*s' at offset %llu, there is none",
			place, n, key.data, (unsigned long long)wanted);
	if (wanted == LMQ_NONE)
		return fail(t->store, LMQ_ECONFLICT, "%s: expected no message with key '%.*s', there is one at offset %llu",
			place, n, key.data, (unsigned long long)newest);
	return fail(t->store, LMQ_ECONFLICT, "%s: expected the newest message with key '%.*s' at offset %llu, it is at %llu",
		place, n, key.data, (unsigned long long)wanted, (unsigned long long)newest);
}

static int expect_key(struct txn *t, uint32_t id, uint16_t lane, const char *place, struct head_record *head,
	const struct expectation *e, struct lmq_bytes key)
{
	uint64_t newest = LMQ_NONE;
	int rc;
	if (!key.data)
		return fail(t->store, LMQ_EINVAL, "%s: the first message has no key to expect something of", place);
	rc = latest_find(t, id, lane, head, key, &newest);
	if (rc == LMQ_END) {
		newest = LMQ_NONE;
		rc = 0;
	}
	if (rc == 0)
		rc = put_head(t, id, lane, head);
	return rc == 0 && newest != e->offset ? conflict_by_key(t, place, key, e->offset, newest) : rc;
}

static int expect(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b,
	const struct intake *in)
{
	const struct expectation *e = in->expectation;
	const uint8_t *record, *start, *end;
	uint16_t lanes = lanes_of(r), lane;
	char place[LMQ_NAME_MAX + 16];
	struct head_record head;
	struct decoded parts;
	struct lmq_message m;
	struct blob blob;
	size_t at = 0;
	int rc;
	if (!batch_next(b, &at, &record, &start, &end) || !message_decode(start, end, &m, &parts, &blob))
		return fail(t->store, LMQ_EBUG, "%s: a message cannot be read back", r->name);
	if (lanes > 1 && in->lane < 0 && !m.key.data)
		return fail(t->store, LMQ_EINVAL, "%s: which partition an offset is expected of needs a key, or to be said",
			r->name);
	/* Sent a second time, since its sender did not learn of the first: what was expected then has come true. */
	rc = in->sent ? dedup_known(t, id, r, &m, &blob) : LMQ_END;
	if (rc != LMQ_END)
		return rc;
	lane = intake_lane(in, lanes, m.key);
	put_place(place, r, lane);
	rc = get_head(t->store, t->mdb, id, lane, &head);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(t->store, "a channel without its log") : rc;
	if (e->by_key)
		return expect_key(t, id, lane, place, &head, e, m.key);
	if (head.end != e->offset)
		return fail(t->store, LMQ_ECONFLICT, "%s: expected offset %llu, the next one is %llu", place,
			(unsigned long long)e->offset, (unsigned long long)head.end);
	return 0;
}

/* Whether somebody keeps every message. LMQ_END. */
static int keepers(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b)
{
	int rc;
	if (r->kind != LMQ_TOPIC)
		return 0;
	rc = group_any(t, id);
	return rc == LMQ_END ? route_reaches(t, id, r, b) : rc;
}

static int check(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b, struct intake *in)
{
	uint16_t lanes = lanes_of(r);
	int rc = 0;
	if (limit_of(r, LIMIT_SEALED) == 1)
		return fail(t->store, LMQ_EACCES, "%s: the stream is sealed", r->name);
	if (in->lane >= lanes)
		return fail(t->store, LMQ_EINVAL, "%s: there is no partition %lld", r->name, (long long)in->lane);
	if (in->mandatory)
		rc = keepers(t, id, r, b);
	if (rc == 0 && in->expectation)
		rc = expect(t, id, r, b, in);
	return rc == 0 && in->lane < 0 ? choose_keyless(t, id, lanes, in) : rc;
}

int intake(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in)
{
	uint64_t count = UINT64_MAX, bytes = UINT64_MAX;
	size_t size;
	int rc = check(t, id, r, b, in);
	if (rc == 0 && !in->unlimited)
		rc = limit_room(t, id, r, first_bytes(b), &count, &bytes);
	if (rc != 0)
		return rc;
	if (in->most > 0 && in->most < count)
		count = in->most;
	txn_wake(t, id);
	if (in->sent && b->has_id && limit_of(r, LIMIT_DEDUP) != UINT64_MAX)
		return dedup_intake(t, id, r, b, count, bytes, in);
	in->taken = batch_prefix(b, count, bytes, &size);
	if (in->taken < b->count && (in->taken == 0 || !in->partial)) {
		in->taken = 0;
		return limit_full(t, id, r);
	}
	return append(t, id, r, b, in->taken, size, in, &in->places);
}

int intake_append(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in)
{
	return append(t, id, r, b, b->count, b->size, in, NULL);
}
