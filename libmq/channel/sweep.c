/* SPDX-License-Identifier: ISC */
/*
 * The sweeper: gives back the space of removed channels and dropped bodies, a bounded number of pages a step.
 * What is to be swept stands in table X until nothing of it is left, so a kill between two steps loses nothing.
 */
#include "channel.h"

#include <string.h>

enum {
	STEP_KEYS = 2048,
	STEP_BLOCKS = 1024,
	STEP_LARGE = 2048,
	PART_MESSAGES = 512,	/* of a run at a time */
	STEP_PARTS = 128,	/* 64 Ki messages */
};

static int first_key(struct txn *t, const struct key *prefix, size_t size, struct key *found)
{
	struct key from = *prefix;
	from.size = size;
	return find_key(t, &from, size, found, NULL);
}

/* A key that was just found, and is not there, would be found for ever: it lies in a page that is out of order. */
static int delete_found(struct txn *t, const struct key *k)
{
	int rc = delete_key(t, k);
	return rc == LMQ_END ? fail_damaged(t->store, "the order of keys") : rc;
}

/* Deletes keys with the prefix. LMQ_END when none is left. */
static int delete_prefix(struct txn *t, const struct key *prefix, size_t size, unsigned *budget)
{
	struct key found;
	int rc = 0;
	for (; rc == 0 && *budget > 0; --*budget) {
		rc = first_key(t, prefix, size, &found);
		if (rc == 0)
			rc = delete_found(t, &found);
	}
	return rc;
}

static int sweep_blob(struct txn *t, uint64_t number, unsigned *budget)
{
	struct key prefix = key_chunk(number, 0);
	return delete_prefix(t, &prefix, CHUNK_PREFIX, budget);
}

/* ---- channels ----------------------------------------------------------------------------- */

/* A part of a queue's first unsettled run leaves. LMQ_END. */
static int leave_part(struct txn *t, uint32_t id, struct head_record *head, struct group_record *g)
{
	struct run_record r;
	struct run part;
	int rc = group_first(t, g, head->end, 0, &r);
	if (rc == 0)
		rc = group_carve(t, g, r.first, r.end - r.first > PART_MESSAGES ? r.first + PART_MESSAGES : r.end, &r);
	if (rc != 0)
		return rc;
	part = (struct run){ r.first, r.end };
	return log_leave(t, id, 0, head, &part, false);
}

/*
 * The large bodies of a queue. Those of settled messages may be somebody else's by now, and their blocks may
 * be gone: only what is unsettled is walked.
 */
static int leave_bodies(struct txn *t, uint32_t id, struct head_record *head, struct group_record *g)
{
	uint64_t before = head->large;
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < STEP_PARTS && head->large > 0 && before - head->large < STEP_LARGE; i++)
		rc = leave_part(t, id, head, g);
	/* A damaged block cannot name its large bodies: they are lost space, the rest must still go. */
	if (rc == LMQ_END || rc == LMQ_EDAMAGED)
		head->large = 0;
	else if (rc != 0)
		return rc;
	return put_group(t, id, 0, "", g);
}

static int sweep_queue_log(struct txn *t, uint32_t id, struct head_record *head, struct group_record *g,
	unsigned *budget)
{
	struct key blocks = key_block(id, 0, 0, 0);
	int rc;
	if (head->large == 0)
		return delete_prefix(t, &blocks, BLOCK_PREFIX, budget);
	rc = leave_bodies(t, id, head, g);
	return rc == 0 ? put_head(t, id, 0, head) : rc;
}

/* By the log's own drop, which hands large bodies over. A block that it does not drop is none of its own. */
static int sweep_log(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, unsigned *budget)
{
	struct key blocks = key_block(id, lane, 0, 0), before, found;
	uint64_t large = head->large;
	int rc = first_key(t, &blocks, BLOCK_PREFIX, &before);
	if (rc != 0)
		return rc;
	head->indexed = head->holes = 0;
	rc = log_drop(t, id, lane, head, head->end, STEP_BLOCKS);
	if (rc == 0)
		rc = put_head(t, id, lane, head);
	if (rc == 0)
		rc = first_key(t, &blocks, BLOCK_PREFIX, &found);
	if (rc == 0 && head->large == large && found.size == before.size && memcmp(found.bytes, before.bytes, found.size) == 0)
		rc = LMQ_EDAMAGED;
	return rc == LMQ_EDAMAGED ? delete_prefix(t, &blocks, BLOCK_PREFIX, budget) : rc;
}

/* The first lane that is left: its blocks, then its head. LMQ_END when there is none. */
static int sweep_head(struct txn *t, uint32_t id, unsigned *budget)
{
	struct key heads = key_head(id, 0), head_key;
	struct head_record head;
	struct group_record g;
	uint16_t lane;
	int rc = first_key(t, &heads, RUN_PREFIX, &head_key);
	if (rc != 0)
		return rc;
	lane = get16(head_key.bytes + RUN_PREFIX);
	rc = get_head(t->store, t->mdb, id, lane, &head);
	if (rc != 0)
		return rc;
	/* Only a queue has a reader without a name. */
	rc = get_group(t->store, t->mdb, id, 0, "", &g);
	if (rc == LMQ_EDAMAGED)
		head.large = 0;
	if (rc == 0 || rc == LMQ_EDAMAGED)
		rc = sweep_queue_log(t, id, &head, &g, budget);
	else if (rc == LMQ_END)
		rc = sweep_log(t, id, lane, &head, budget);
	return rc == LMQ_END ? delete_found(t, &head_key) : rc;
}

static int sweep_space(struct txn *t, uint32_t space, unsigned *budget)
{
	struct key prefix[] = { key_run(space, 0), key_ready(space, 0, 0), key_due(space, 0, 0),
		key_chain(space, 0, 0) };
	int rc = LMQ_END;
	for (size_t i = 0; rc == LMQ_END && i < sizeof prefix / sizeof *prefix; i++)
		rc = delete_prefix(t, &prefix[i], RUN_PREFIX, budget);
	return rc;
}

/* The readers, each behind its runs. LMQ_END when none is left. */
static int sweep_groups(struct txn *t, uint32_t id, unsigned *budget)
{
	struct key prefix = key_group(id, 0, ""), found;
	struct group_record g;
	MDB_val value;
	int rc = 0;
	while (*budget > 0 && (rc = first_key(t, &prefix, RUN_PREFIX, &found)) == 0) {
		rc = get_value(t->store, t->mdb, &found, &value);
		if (rc == 0 && group_record_get(&g, &found, value.mv_data, value.mv_size))
			rc = sweep_space(t, g.space, budget);
		else if (rc == 0)
			rc = LMQ_END;	/* which runs were its cannot be known */
		if (rc != LMQ_END)
			return rc;
		rc = delete_found(t, &found);
		if (rc != 0)
			return rc;
	}
	return *budget > 0 ? rc : 0;
}

static int sweep_channel(struct txn *t, uint32_t id, unsigned *budget)
{
	const uint8_t hash[16] = { 0 };
	struct key prefix[] = { key_id(id, hash), key_id_age(id, 0, hash), key_resume(id, ""), key_settings(id, ""),
		key_floor(id, 0, 0, 0), key_latest(id, 0, hash, 0) };
	int rc = sweep_head(t, id, budget);
	if (rc == LMQ_END)
		rc = sweep_groups(t, id, budget);
	for (size_t i = 0; rc == LMQ_END && i < sizeof prefix / sizeof *prefix; i++)
		rc = delete_prefix(t, &prefix[i], RUN_PREFIX, budget);
	return rc;
}

static int sweep_entry(struct txn *t, const struct key *k, unsigned *budget)
{
	uint64_t number;
	int rc;
	if (k->size != SWEEP_KEY)
		return fail_damaged(t->store, "an entry of the sweeper");
	number = get64(k->bytes + 2);
	switch (k->bytes[1]) {
	case 'b':
		rc = sweep_blob(t, number, budget);
		break;
	case 'g':
		rc = sweep_space(t, (uint32_t)number, budget);
		break;
	case 'k':
		rc = compact_step(t, (uint32_t)number);
		if (rc == LMQ_END)
			rc = retain_rest(t, (uint32_t)number);
		break;
	default:
		rc = sweep_channel(t, (uint32_t)number, budget);
	}
	if (rc == LMQ_END)
		rc = delete_found(t, k);
	return rc;
}

bool sweep_due(struct txn *t)
{
	struct key table = { { 'X' }, 1 }, found;
	return first_key(t, &table, 1, &found) == 0;
}

/* Of the entries that begin with the first size bytes of table: one, or as many bodies as a step has keys. */
static int sweep_step(struct txn *t, const struct key *table, size_t size, bool *more)
{
	struct key found;
	unsigned budget = STEP_KEYS;
	int rc;
	*more = false;
	do {
		rc = first_key(t, table, size, &found);
		*more |= rc == 0;
		if (rc == 0)
			rc = sweep_entry(t, &found, &budget);
	} while (rc == 0 && budget > 0 && found.bytes[1] == 'b' && !t->in_need);
	return rc == LMQ_END ? 0 : rc;
}

/* Bodies whose writers are gone become entries. */
static int sweep_orphans(struct txn *t)
{
	struct key table = { { 'T' }, 1 }, from = table, found;
	int rc;
	while ((rc = find_key(t, &from, 1, &found, NULL)) == 0 && found.size == STAGING_KEY) {
		uint64_t number = get64(found.bytes + 1);
		if (blob_orphan(t->store, number)) {
			rc = delete_found(t, &found);
			if (rc == 0)
				rc = blob_drop(t, number);
			if (rc != 0)
				return rc;
		}
		from = key_staging(number + 1);
	}
	return rc == LMQ_END ? 0 : rc;
}

static int sweep_once(lmq_store *s, const struct key *table, size_t size, bool *more)
{
	struct txn t;
	int rc = txn_begin(s, &t);
	*more = false;
	if (rc != 0)
		return rc;
	if (size == 1)
		rc = sweep_orphans(&t);
	if (rc == 0)
		rc = sweep_step(&t, table, size, more);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_RELAXED);
	txn_abort(&t);
	return rc;
}

static int sweep(lmq_store *s, const struct key *table, size_t size, bool *more)
{
	int rc = sweep_once(s, table, size, more);
	return rc == LMQ_ENOSPC && ballast_drop(s) ? sweep_once(s, table, size, more) : rc;
}

int lmq_store_sweep(lmq_store *s, bool *more)
{
	return sweep(s, &(struct key){ { 'X' }, 1 }, 1, more);
}

/* Compaction keeps pace with who writes: otherwise a fast one would leave all of it to others. */
void sweep_aside(lmq_store *s)
{
	const struct key compaction = { { 'X', 'k' }, 2 };
	struct error kept = s->error;
	bool more = true;
	while (more)
		if (sweep(s, &compaction, compaction.size, &more) != 0)
			break;
	lmq_store_sweep(s, &more);
	s->error = kept;
}

int sweep_all(lmq_store *s, bool *any)
{
	bool more = true;
	int rc = 0;
	while (rc == 0 && more) {
		rc = lmq_store_sweep(s, &more);
		*any |= rc == 0 && more;
	}
	return rc;
}
