/* SPDX-License-Identifier: ISC */
/*
 * Checking a channel: every block of its lanes is read in order, with all that it says.
 *
 *	block	its CRC; records of known form, as many as it says; it goes on where the one before ended
 *	offset	none is missing, but where compaction has been, or all is settled
 *	time	never decreases
 *	body	each chunk of a large one: there, of the right size, its CRC
 *	link	of an audited stream: the SHA-256 of the block before
 *
 * Others work on the channel meanwhile. A snapshot lasts a fifth of a second; the block is copied, and the place is
 * kept as a key. After a renewal the last message may have gone, with the blocks in which it goes on; where compaction
 * is at work it is not known then how it goes on.
 * What is appended after the start is not looked at: so the digest, which is that of the newest block as it was then,
 * is right, and the check ends.
 */
#include "check.h"

#include "base/sha256.h"

#include <stdio.h>
#include <string.h>

#define SNAPSHOT_TIME INT64_C(200000000)

enum { CLOCK_EVERY = 64 };	/* blocks or chunks between two looks at the clock */

/* Counts a fault, and where the first one is. */
static void check_note(struct check *c, uint64_t *count)
{
	if (c->found->damaged + c->found->broken == 0) {
		c->found->wrong_partition = c->lane;
		c->found->wrong_offset = c->expected;
	}
	++*count;
}

void check_damage(struct check *c)
{
	check_note(c, &c->found->damaged);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

bool check_is_queue(const struct check *c)
{
	return c->record.kind == LMQ_QUEUE;
}

/* The lane's head as it is now. */
static int look(struct check *c)
{
	lmq_store *s = c->store;
	int rc = snapshot_begin(&c->view);
	if (rc == 0)
		rc = get_head(s, c->view.mdb, c->channel->id, c->lane, &c->head);
	if (rc == 0 && check_is_queue(c))
		rc = get_group(s, c->view.mdb, c->channel->id, c->lane, "", &c->position);
	if (rc == LMQ_END)
		return channel_gone(c->channel);
	c->run.first = c->run.end = 0;
	c->renew = clock_monotonic() + SNAPSHOT_TIME;
	/* With the message that went on here its blocks may have gone. */
	if (rc == 0 && c->expected <= c->head.first) {
		c->expected = c->head.first;
		c->known = false;
	}
	return rc;
}

int check_tick(struct check *c)
{
	if (c->countdown-- > 0)
		return 0;
	c->countdown = CLOCK_EVERY;
	if (clock_monotonic() < c->renew)
		return 0;
	snapshot_pause(&c->view);
	if (c->step && !c->step(c->found, c->context))
		return fail(c->store, LMQ_EINTR, "%s: the check was ended", c->channel->name);
	/* What is stored stays as it is until it goes; only compaction writes it anew. */
	if (limit_of(&c->record, LIMIT_MAX_PER_KEY) != UINT64_MAX)
		c->known = false;
	return look(c);
}

int check_stored(struct check *c, uint64_t offset, bool *stored)
{
	int rc = 0;
	*stored = offset >= c->head.first && offset < c->end;
	if (!*stored || !check_is_queue(c))
		return 0;
	if (offset >= c->run.end) {
		rc = group_run(c->store, c->view.cursor, &c->position, c->head.end, offset, &c->run);
		if (rc == LMQ_END)
			c->run.first = c->run.end = UINT64_MAX;
	}
	*stored = offset >= c->run.first;
	return rc == LMQ_END ? 0 : rc;
}

int check_may_lack(struct check *c, uint64_t first, uint64_t end, bool *may)
{
	bool stored;
	int rc;
	*may = c->head.flags & HEAD_GAPS && end < c->head.end;
	if (first >= end || *may || !check_is_queue(c)) {
		*may = *may || first >= end;
		return 0;
	}
	rc = check_stored(c, first, &stored);
	*may = rc == 0 && !stored && c->run.first >= end;
	return rc;
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* A block that is damaged does not say its link: the one behind it tells. */
static void check_link(struct check *c, const MDB_val *value, bool readable)
{
	if (!c->found->audited)
		return;
	if (readable && (!c->block.link || memcmp(c->block.link, c->link, LINK_SIZE) != 0))
		check_note(c, &c->found->broken);
	audit_link(c->key.bytes, c->key.size, value->mv_data, value->mv_size, c->link);
}

/* The next block, with its bytes. LMQ_END: none is left below the end. LMQ_EDATA: it is damaged. */
static int next_block(struct check *c)
{
	struct key from = c->key;
	MDB_val key = { from.size, from.bytes }, value;
	int rc = mdb_cursor_get(c->view.cursor, &key, &value, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND || (rc == 0 && (key.mv_size != BLOCK_KEY ||
			memcmp(key.mv_data, from.bytes, BLOCK_PREFIX) != 0)))
		return LMQ_END;
	if (rc != 0)
		return fail_lmdb(c->store, c->store->path, rc);
	memcpy(c->key.bytes, key.mv_data, BLOCK_KEY);
	c->base = get64(c->key.bytes + BLOCK_PREFIX);
	c->part = get32(c->key.bytes + BLOCK_PREFIX + 8);
	/* What the last message goes on with may stand before one that was appended since. */
	if (c->base >= c->end && !(c->known && c->carry > 0 && c->expected == c->end && c->base == c->end))
		return LMQ_END;
	c->found->blocks++;
	c->found->bytes += value.mv_size;
	rc = block_load(c->store, c->channel->id, c->lane, &key, &value, &c->block, &c->base, &c->part);
	if (rc == 0)
		memcpy(c->bytes, c->block.payload, c->block.size);
	check_link(c, &value, rc == 0);
	return rc == LMQ_EDAMAGED ? LMQ_EDATA : rc;
}

/* Blocks of nothing but dropped messages may still be there. */
static bool is_dropped(const struct check *c)
{
	return c->base + (c->part ? 1 : c->block.count) <= c->head.first;
}

static int check_next(struct check *c)
{
	int rc = check_tick(c);
	if (rc == 0)
		rc = next_block(c);
	if (rc == LMQ_EDATA) {
		check_damage(c);
		c->lost = true;
		rc = 0;
	} else if (rc == 0 && !is_dropped(c)) {
		rc = check_block(c);
	}
	c->key = key_block(c->channel->id, c->lane, c->base, c->part + 1);
	return rc;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static int check_end(struct check *c)
{
	bool may = true, stored = true, cut = c->known && c->carry > 0 && c->expected <= c->end;
	int rc = 0;
	/* Of a settled message of a queue the blocks in which it goes on may have gone. */
	if (cut && check_is_queue(c))
		rc = check_stored(c, c->expected - 1, &stored);
	if (rc == 0 && !c->lost)
		rc = check_may_lack(c, c->expected, c->end, &may);
	/* The last block may have grown since the start, by a message that goes on in blocks that are not looked at. */
	if (rc == 0 && (!may || (cut && stored)))
		check_damage(c);
	return rc;
}

static int check_lane(struct check *c, uint16_t lane)
{
	int rc;
	c->lane = lane;
	c->end = c->lanes[lane].end;
	c->key = key_block(c->channel->id, lane, 0, 0);
	c->time = 0;
	c->expected = 0;
	c->lost = c->known = false;
	memset(c->link, 0, sizeof c->link);
	rc = look(c);
	c->expected = c->head.first;
	while (rc == 0)
		rc = check_next(c);
	return rc == LMQ_END ? check_end(c) : rc;
}

/* The end of a lane, and the digest of all before it, in the first snapshot. */
static int start_lane(struct check *c, struct lane_start *start)
{
	struct key k;
	MDB_val v;
	int rc = look(c);
	start->end = c->head.end;
	memset(start->digest, 0, sizeof start->digest);
	if (rc != 0 || c->head.tail_used == 0)
		return rc;
	k = key_block(c->channel->id, c->lane, c->head.tail_offset, c->head.tail_part);
	rc = get_value(c->store, c->view.mdb, &k, &v);
	c->expected = c->head.tail_offset;
	if (rc == LMQ_END || (rc == 0 && v.mv_size != c->head.tail_used))
		check_damage(c);
	if (rc == 0)
		audit_link(k.bytes, k.size, v.mv_data, v.mv_size, start->digest);
	return rc == LMQ_END ? 0 : rc;
}

static int check_lanes(struct check *c)
{
	unsigned lanes;
	int rc = snapshot_begin(&c->view);
	if (rc == 0)
		rc = channel_record(c->channel, c->view.mdb, &c->record);
	if (rc != 0)
		return rc;
	lanes = lanes_of(&c->record);
	c->found->audited = c->record.kind == LMQ_STREAM && limit_of(&c->record, LIMIT_AUDIT) == 1;
	c->lanes = calloc(lanes, sizeof *c->lanes);
	if (!c->lanes)
		return fail(c->store, LMQ_ENOMEM, "%s: out of memory", c->store->path);
	for (unsigned i = 0; rc == 0 && i < lanes; i++) {
		c->lane = (uint16_t)i;
		rc = start_lane(c, &c->lanes[i]);
	}
	for (unsigned i = 0; rc == 0 && i < lanes; i++)
		rc = check_lane(c, (uint16_t)i);
	return rc;
}

/* Of one lane its own, of several that of theirs. */
static void write_digest(struct check *c)
{
	unsigned lanes = lanes_of(&c->record);
	uint8_t digest[SHA256_SIZE];
	struct sha256 h;
	sha256_begin(&h);
	for (unsigned i = 0; i < lanes; i++)
		sha256_add(&h, c->lanes[i].digest, DIGEST_SIZE);
	sha256_end(&h, digest);
	if (lanes == 1)
		memcpy(digest, c->lanes[0].digest, sizeof digest);
	for (size_t i = 0; i < sizeof digest; i++)
		sprintf(c->found->digest + 2 * i, "%02x", digest[i]);
}

int lmq_channel_check(lmq_channel *channel, struct lmq_check *check,
	bool (*step)(const struct lmq_check *sofar, void *context), void *context)
{
	lmq_store *s = channel->store;
	struct check *c = calloc(1, sizeof *c);
	int rc;
	memset(check, 0, sizeof *check);
	if (!c)
		return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	c->channel = channel;
	c->store = s;
	c->found = check;
	c->step = step;
	c->context = context;
	snapshot_init(s, &c->view);
	rc = check_lanes(c);
	if (rc == 0 && check->audited)
		write_digest(c);
	snapshot_close(&c->view);
	free(c->lanes);
	free(c);
	return rc;
}
