/* SPDX-License-Identifier: ISC */
/*
 * Compaction: a stream with max-per-key=N keeps the newest N messages of each key.
 *
 * Whoever appends only leaves a note for the sweeper (table X), which then indexes the new messages in bounded
 * transactions of its own, right behind the append; what that supersedes becomes holes in the same transaction
 * (latest.c, hole.c). So nothing is lost by a kill at any point: the note stays until everything below the end is
 * indexed, and a message goes only when a newer one of its key has been stored for good.
 */
#include "channel.h"

int compact_later(struct txn *t, uint32_t id)
{
	struct key k = key_sweep('k', id);
	uint8_t value[SWEEP_RECORD];
	return put_value(t, &k, value, number_put(0, 0, &k, value));
}

/* LMQ_END: nothing is left to do in the lane. */
static int compact_lane(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r)
{
	struct head_record head;
	int rc = get_head(t->store, t->mdb, id, lane, &head);
	if (rc == 0)
		rc = latest_step(t, id, lane, r, &head);
	return rc == 0 ? put_head(t, id, lane, &head) : rc;
}

int compact_step(struct txn *t, uint32_t id)
{
	struct channel_record r;
	int rc = get_channel_record(t->store, t->mdb, id, &r);
	if (rc != 0 || r.kind != LMQ_STREAM || limit_of(&r, LIMIT_MAX_PER_KEY) == UINT64_MAX)
		return rc == 0 ? LMQ_END : rc;
	rc = LMQ_END;
	for (uint16_t lane = 0; rc == LMQ_END && lane < lanes_of(&r); lane++)
		rc = compact_lane(t, id, lane, &r);
	return rc;
}
