/* SPDX-License-Identifier: ISC */
/*
 * Retention: which prefix of a log its channel's limits no longer keep. Whoever writes does a bounded step, so
 * no message is kept for long and no writer pays for much. By number it is exact, by bytes and age exact to a
 * block: a block goes when what is left without it still reaches the limit, or when its last message is too old.
 */
#include "internal.h"

enum {
	STEP_BLOCKS = 2048,	/* twice what the largest transaction appends */
	STEP_RECORDS = 65536,
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The offset behind the lowest block if the limits let it go; else 0. */
static int block_expired(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head, uint64_t bytes,
	int64_t oldest, uint64_t *floor)
{
	MDB_cursor *cursor;
	struct block b;
	uint64_t offset;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	*floor = 0;
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = log_first_block(t->store, cursor, id, lane, &b, &offset);
	if (rc == 0 && (b.last_time < oldest ||
			(head->large == 0 && head->bytes - least(b.size, head->bytes) >= bytes)))
		*floor = b.count ? offset + b.count : offset + 1;
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

int retain_apply(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head)
{
	uint64_t messages = limit_of(r, LIMIT_MAX_MESSAGES), bytes = limit_of(r, LIMIT_MAX_BYTES);
	uint64_t age = limit_of(r, LIMIT_MAX_AGE), floor = head->first;
	int64_t oldest;
	int rc = 0;
	if (r->kind == LMQ_TOPIC) {
		bytes = least(bytes, limit_of(r, LIMIT_WINDOW));
		age = least(age, limit_of(r, LIMIT_WINDOW_AGE));
	}
	if (messages == UINT64_MAX && bytes == UINT64_MAX && age == UINT64_MAX)
		return 0;
	if (head->large > 0 && head->bytes > bytes && (rc = large_floor(t, id, lane, head, bytes, &floor)) != 0)
		return rc;
	if (head->end - head->first > messages && head->end - messages > floor)
		floor = head->end - messages;
	rc = log_drop(t, id, lane, head, floor, STEP_BLOCKS);
	oldest = age < INT64_MAX ? lmq_now() - (int64_t)age : INT64_MIN;
	for (unsigned i = 0; rc == 0 && i < STEP_BLOCKS; i++) {
		rc = block_expired(t, id, lane, head, bytes, oldest, &floor);
		if (rc != 0 || floor == 0)
			break;
		rc = log_drop(t, id, lane, head, floor, 1);
	}
	return rc;
}
