/* SPDX-License-Identifier: ISC */
/*
 * Retention: which prefix of a log its channel's limits no longer keep. Whoever writes does a bounded step, so
 * no message is kept for long and no writer pays for much. By number it is exact, by bytes and age exact to a
 * block: a block goes when what is left without it still reaches the limit, or when its last message is too old.
 *
 * A topic has two kinds of limits. Its window is for those who read it live: it gives way to what a group still
 * needs. max-messages, max-bytes and max-age are the bound on that: beyond it messages go, needed or not, unless
 * full= says otherwise: then senders are held off (limit.c), or what a group loses becomes dead letters.
 * The limits of a stream are shared out evenly among its partitions.
 *
 * What the groups need begins at the lowest of their floors, which table F has in order, so that finding it costs the
 * same however many groups there are.
 */
#include "channel.h"

#include <string.h>

enum {
	STEP_BLOCKS = 1280,	/* more than the largest transaction appends */
	STEP_RECORDS = 65536,
	STEP_FORGET = 1024,	/* messages whose keys are indexed */
	STEP_LETTERS = 2048,	/* messages that become dead letters, */
	LETTERS_AT_ONCE = 64,	/* so many between two looks at how large they are */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- what groups need ----------------------------------------------------------------------- */

int retain_floor_forget(struct txn *t, uint32_t id, uint16_t lane, const struct group_record *g)
{
	struct key k = key_floor(id, lane, g->floor, g->space);
	int rc = g->floor != UINT64_MAX ? delete_key(t, &k) : 0;
	return rc == LMQ_END ? fail_damaged(t->store, "the floor of a group") : rc;
}

int retain_floor(struct txn *t, uint32_t id, uint16_t lane, const char *group, struct group_record *g)
{
	uint8_t value[FLOOR_RECORD_MAX];
	struct key k;
	uint64_t floor;
	int rc = group_floor(t, g, &floor);
	if (rc != 0 || floor == g->floor)
		return rc;
	rc = retain_floor_forget(t, id, lane, g);
	g->floor = floor;
	k = key_floor(id, lane, floor, g->space);
	return rc == 0 ? put_value(t, &k, value, name_put(group, &k, value)) : rc;
}

int retain_lowest(struct txn *t, uint32_t id, uint16_t lane, uint64_t *floor, char group[LMQ_NAME_MAX + 1])
{
	char name[LMQ_NAME_MAX + 1] = "";
	struct key k = key_floor(id, lane, 0, 0), found;
	MDB_val value;
	int rc = find_key(t, &k, BLOCK_PREFIX, &found, &value);
	if (rc != 0)
		return rc;
	if (found.size != FLOOR_KEY || !name_get(group ? group : name, &found, value.mv_data, value.mv_size))
		return fail_damaged(t->store, "the floor of a group");
	*floor = get64(found.bytes + BLOCK_PREFIX);
	return 0;
}

int group_any(struct txn *t, uint32_t id)
{
	struct key k = key_group(id, 0, ""), found;
	return find_key(t, &k, k.size, &found, NULL);
}

/* ---- limits --------------------------------------------------------------------------------- */

struct keep {			/* what is to be kept */
	uint64_t messages, bytes;
	int64_t oldest;		/* and nothing older */
	uint64_t window;	/* of a topic, for live readers; */
	int64_t window_oldest;
	uint64_t need;		/* a group still needs what lies from here on: the window's limits leave it, */
	bool hold;		/* and so do messages and bytes */
	uint64_t letters;	/* so many messages may still become dead letters in this step */
};

static int64_t before(uint64_t age, int64_t now)
{
	return age < INT64_MAX ? now - (int64_t)age : INT64_MIN;
}

/* Of a limit for all lanes together, what one of them may have. */
static uint64_t share(const struct channel_record *r, enum limit l)
{
	uint64_t limit = limit_of(r, l), lanes = lanes_of(r);
	return limit == UINT64_MAX ? limit : limit / lanes + (limit % lanes != 0);
}

static int keep_of(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct keep *k)
{
	enum full_policy full = (enum full_policy)limit_of(r, LIMIT_FULL);
	int64_t now = lmq_now();
	int rc = 0;
	*k = (struct keep){ .messages = share(r, LIMIT_MAX_MESSAGES), .bytes = share(r, LIMIT_MAX_BYTES),
		.oldest = before(limit_of(r, LIMIT_MAX_AGE), now), .window = UINT64_MAX, .window_oldest = INT64_MIN,
		.need = UINT64_MAX, .letters = STEP_LETTERS };
	if (r->kind != LMQ_TOPIC)
		return 0;
	k->window = limit_of(r, LIMIT_WINDOW);
	k->window_oldest = before(limit_of(r, LIMIT_WINDOW_AGE), now);
	k->hold = full == FULL_ERROR || full == FULL_BLOCK;
	rc = upgrade_floors(t);
	if (rc == 0)
		rc = retain_lowest(t, id, lane, &k->need, NULL);
	return rc == LMQ_END ? 0 : rc;
}

static bool keeps_all(const struct keep *k)
{
	return k->messages == UINT64_MAX && k->bytes == UINT64_MAX && k->oldest == INT64_MIN &&
		k->window == UINT64_MAX && k->window_oldest == INT64_MIN;
}

/* Whether what is left without so many bytes still is as much as is to be kept. */
static bool beyond(const struct head_record *head, uint64_t size, uint64_t bytes)
{
	return head->large == 0 && head->bytes - least(size, head->bytes) >= bytes;
}

/* The offset behind the lowest block if the limits let it go; else 0. */
static int block_expired(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head,
	const struct keep *k, uint64_t *floor)
{
	MDB_cursor *cursor;
	struct block b;
	uint64_t offset, end;
	bool needed;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	*floor = 0;
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = log_first_block(t->store, cursor, id, lane, &b, &offset);
	end = rc == 0 ? offset + (b.count ? b.count : 1) : 0;
	needed = end > k->need;
	if (rc == 0 && (b.last_time < k->oldest || (beyond(head, b.size, k->bytes) && !(needed && k->hold)) ||
			((b.last_time < k->window_oldest || beyond(head, b.size, k->window)) && !needed)))
		*floor = end;
	mdb_cursor_close(cursor);
	return rc == LMQ_END ? 0 : rc;
}

/*
 * Where large bodies are, a block may hold gigabytes: there bytes are exact to a message. The floor that leaves
 * at least bytes, looking at STEP_RECORDS messages at most.
 */
static int large_floor(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head, uint64_t bytes,
	uint64_t *floor)
{
	struct snapshot view;
	struct log_cursor c;
	struct record r;
	struct blob blob;
	uint64_t left = head->bytes, delta;
	int rc = log_cursor_within(t, id, lane, head, &view, &c);
	*floor = head->first;
	for (unsigned i = 0; rc == 0 && i < STEP_RECORDS && left > bytes && (rc = log_next(&c, &r)) == 0; i++) {
		uint64_t size = (uint64_t)(r.end - r.data);
		if (!message_skim(r.data, r.end, &delta, &blob)) {
			rc = fail_damaged(t->store, "a message");
			break;
		}
		size += blob.size;
		if (size > left || left - size < bytes)
			break;
		left -= size;
		*floor = r.offset + 1;
	}
	log_cursor_leave(&c);
	return rc == LMQ_END ? 0 : rc;
}

/* Up to where messages go because there are too many, or too many bytes of large ones. */
static int count_floor(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head,
	const struct keep *k, uint64_t *floor)
{
	uint64_t hard = head->first, soft = head->first;
	int rc = 0;
	if (head->large > 0 && head->bytes > k->bytes)
		rc = large_floor(t, id, lane, head, k->bytes, &hard);
	if (rc == 0 && head->large > 0 && head->bytes > k->window)
		rc = large_floor(t, id, lane, head, k->window, &soft);
	if (head->end - head->first > k->messages && head->end - k->messages > hard)
		hard = head->end - k->messages;
	if (k->hold)
		hard = least(hard, k->need);
	soft = least(soft, k->need);
	*floor = hard > soft ? hard : soft;
	return rc;
}

/* ---- dead letters --------------------------------------------------------------------------- */

/* What the group still needs of [from, floor) becomes dead letters, at most *budget of them. */
static int bury_for(struct txn *t, uint32_t id, const char *group, uint64_t from, uint64_t floor, uint64_t *budget)
{
	struct lmq_verdict v = { .outcome = LMQ_BURY, .reason = LMQ_OVERFLOW, .exit_status = -1 };
	struct burial b = { .batch.count = 0 };
	struct run_record r;
	struct queue q;
	int rc = queue_load(t, id, 0, group, &q);
	while (rc == 0 && *budget > 0 && !burial_full(&b) &&
			(rc = group_first(t, &q.position, q.head.end, from, &r)) == 0 && r.first < floor) {
		from = least(least(r.end, floor), r.first + least(*budget, LETTERS_AT_ONCE));
		*budget -= from - r.first;
		rc = group_carve(t, &q.position, r.first, from, &r);
		if (rc == 0)
			rc = can_bury(&q) ? queue_failed(&q, &b, &r, &v) : queue_leave(&q, &r, COUNT_DROPPED, false);
		if (burial_full(&b))
			*budget = 0;
	}
	if (rc == 0 || rc == LMQ_END)
		rc = queue_store(&q);
	if (rc == 0)
		rc = burial_commit(&b, &q);
	burial_free(&b);
	return rc;
}

/* Before messages below *floor go: those that groups need. Lowers *floor to what was done. */
static int bury_needed(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head, struct keep *k,
	uint64_t *floor)
{
	char group[LMQ_NAME_MAX + 1], last[LMQ_NAME_MAX + 1] = "";
	uint64_t was = 0;
	int rc = put_head(t, id, lane, head);	/* the messages appended just now may be among them */
	while (rc == 0 && k->letters > 0 && (rc = retain_lowest(t, id, lane, &k->need, group)) == 0 && k->need < *floor) {
		if (k->need == was && strcmp(group, last) == 0)
			break;		/* what one transaction takes is full */
		was = k->need;
		strcpy(last, group);
		rc = bury_for(t, id, group, was, *floor, &k->letters);
	}
	if (rc == 0)
		rc = retain_lowest(t, id, lane, &k->need, NULL);
	if (rc == LMQ_END)
		return 0;
	*floor = least(*floor, k->need);
	return rc;
}

/* ---- a step --------------------------------------------------------------------------------- */

int retain_drop(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t floor, unsigned blocks)
{
	int rc = floor > head->first ? latest_forget(t, id, lane, head, &floor) : 0;
	return rc == 0 ? log_drop(t, id, lane, head, floor, blocks) : rc;
}

int retain_apply(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head)
{
	bool letters = r->kind == LMQ_TOPIC && limit_of(r, LIMIT_FULL) == FULL_DEAD;
	struct keep k;
	uint64_t floor, first = head->first;
	int rc = keep_of(t, id, lane, r, &k);
	if (rc != 0 || keeps_all(&k))
		return rc;
	rc = count_floor(t, id, lane, head, &k, &floor);
	if (rc == 0 && letters && floor > k.need)
		rc = bury_needed(t, id, lane, head, &k, &floor);
	if (rc == 0)
		rc = retain_drop(t, id, lane, head, floor, STEP_BLOCKS);
	for (unsigned i = 0; rc == 0 && i < STEP_BLOCKS; i++) {
		rc = block_expired(t, id, lane, head, &k, &floor);
		if (rc == 0 && letters && floor > k.need)
			rc = bury_needed(t, id, lane, head, &k, &floor);
		if (rc != 0 || floor <= head->first)
			break;
		rc = retain_drop(t, id, lane, head, floor, 1);
		/* Each of them costs an entry of table M, far more than its part of a block. */
		if ((head->indexed > 0 || head->holes > 0) && head->first - first >= STEP_FORGET)
			return rc == 0 ? compact_later(t, id) : rc;	/* the rest is for the sweeper */
	}
	return rc;
}

/* ---- for those that nobody writes to -------------------------------------------------------- */

/* A step in a lane. LMQ_END: it has no log. *changed: there may be more to do. */
static int retain_lane(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, uint64_t *dropped,
	bool *changed)
{
	struct head_record head, before;
	int rc = get_head(t->store, t->mdb, id, lane, &head);
	if (rc != 0)
		return rc;
	before = head;
	rc = retain_apply(t, id, lane, r, &head);
	*dropped = head.first - before.first;
	/* Blocks of what was dropped before may be left. */
	*changed = head.first != before.first || head.bytes != before.bytes;
	return rc == 0 && (*changed || head.holes != before.holes) ? put_head(t, id, lane, &head) : rc;
}

int retain_rest(struct txn *t, uint32_t id)
{
	struct channel_record r;
	uint64_t dropped;
	bool changed = false;
	int rc = get_channel_record(t->store, t->mdb, id, &r);
	for (uint16_t lane = 0; rc == 0 && !changed && lane < lanes_of(&r); lane++)
		rc = retain_lane(t, id, lane, &r, &dropped, &changed);
	return rc == 0 && !changed ? LMQ_END : rc;
}

static int retain_once(lmq_channel *c, uint64_t *at, uint64_t *dropped, bool *more)
{
	uint16_t lane = *at < c->lanes ? (uint16_t)*at : 0;
	struct channel_record r;
	bool changed = false;
	struct txn t;
	int rc = c->kind != LMQ_QUEUE ? txn_begin(c->store, &t) : LMQ_END;
	*dropped = 0;
	*more = false;
	if (rc != 0)
		return rc == LMQ_END ? 0 : rc;
	rc = channel_record(c, t.mdb, &r);
	if (rc == 0 && (rc = retain_lane(&t, c->id, lane, &r, dropped, &changed)) == LMQ_END)
		rc = channel_gone(c);
	if (*dropped > 0)
		txn_wake(&t, c->id);	/* publishers may wait for the room */
	if (rc == 0)
		rc = txn_commit(&t, LMQ_SYNC_RELAXED);
	else
		txn_abort(&t);
	if (rc != 0)
		return rc;
	*at = changed ? lane : (uint64_t)lane + 1;
	*more = *at < c->lanes;
	return 0;
}

int lmq_channel_retain(lmq_channel *c, uint64_t *at, uint64_t *dropped, bool *more)
{
	int rc = retain_once(c, at, dropped, more);
	return rc == LMQ_ENOSPC && ballast_drop(c->store) ? retain_once(c, at, dropped, more) : rc;
}
