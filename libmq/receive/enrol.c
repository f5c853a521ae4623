/* SPDX-License-Identifier: ISC */
/*
 * A group of a topic or stream comes into being: a position in each lane, with a space of its own for what is in
 * flight there. All of them in one transaction.
 */
#include "receiver.h"

/* Where a new group starts in a lane. */
static int start(lmq_channel *c, struct snapshot *p, uint16_t lane, const struct lmq_receiver_options *o,
	uint64_t *offset)
{
	struct log_cursor cursor;
	int rc;
	log_cursor_init(&cursor, p, c->id, lane);
	rc = log_refresh(&cursor);
	if (rc == 0)
		rc = group_place(&cursor, o->start, o->start_value, cursor.head.first, offset);
	log_cursor_close(&cursor);
	return rc == LMQ_END ? channel_gone(c) : rc;
}

int group_places(lmq_channel *c, const struct lmq_receiver_options *o, uint64_t offsets[LMQ_PARTITIONS_MAX])
{
	struct snapshot p;
	int rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	for (uint16_t lane = 0; rc == 0 && lane < c->lanes; lane++)
		rc = start(c, &p, lane, o, &offsets[lane]);
	snapshot_close(&p);
	return rc;
}

/* What was dropped before the group was there it did not miss. */
static int make_lane(struct txn *t, lmq_channel *c, uint16_t lane, const char *group, uint64_t offset, uint32_t space)
{
	struct group_record g = { .space = space, .floor = UINT64_MAX };
	struct head_record head;
	int rc = get_head(t->store, t->mdb, c->id, lane, &head);
	if (rc == LMQ_END)
		return channel_gone(c);
	g.next = offset < head.first ? head.first : offset > head.end ? head.end : offset;
	g.settled = g.next;
	if (rc == 0 && c->kind == LMQ_TOPIC)
		rc = retain_floor(t, c->id, lane, group, &g);
	return rc == 0 ? put_group(t, c->id, lane, group, &g) : rc;
}

static int make_all(struct txn *t, lmq_channel *c, const char *group, const uint64_t *offsets)
{
	struct store_record store;
	int rc = get_store_record(c->store, t->mdb, &store);
	if (rc == 0 && store.next_id > (uint32_t)SPACE_MAX - c->lanes)
		rc = fail(c->store, LMQ_EFULL, "%s: the store has used up its channel numbers", c->store->path);
	if (rc == 0)
		rc = txn_room(t, (size_t)4096 * c->lanes);
	if (rc == 0)
		rc = ballast_take(t, (size_t)4096 * c->lanes);
	for (uint16_t lane = 0; rc == 0 && lane < c->lanes; lane++)
		rc = make_lane(t, c, lane, group, offsets[lane], store.next_id++);
	return rc == 0 ? put_store_record(t, &store) : rc;
}

int group_enrol(struct txn *t, lmq_channel *c, const char *group, const uint64_t *offsets, bool *made)
{
	struct group_record there;
	int rc = get_group(c->store, t->mdb, c->id, 0, group, &there);
	*made = rc == LMQ_END;
	return rc == LMQ_END ? make_all(t, c, group, offsets) : rc;
}

static int make(lmq_channel *c, const char *group, const uint64_t *offsets)
{
	struct txn t;
	bool made;
	int rc = txn_begin(c->store, &t);
	if (rc != 0)
		return rc;
	rc = group_enrol(&t, c, group, offsets, &made);
	if (rc == 0 && made)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);	/* rc is 0 where somebody was faster */
	return rc;
}

int group_open(lmq_channel *c, const struct lmq_receiver_options *o)
{
	uint64_t offsets[LMQ_PARTITIONS_MAX];
	struct group_record g;
	struct snapshot p;
	int rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = get_group(c->store, p.mdb, c->id, 0, o->group, &g);
	snapshot_close(&p);
	if (rc != LMQ_END)
		return rc;
	if (!(o->flags & LMQ_CREATE))
		return groups_missing(c, o->group);
	rc = group_places(c, o, offsets);
	return rc == 0 ? make(c, o->group, offsets) : rc;
}
