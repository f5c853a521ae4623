/* SPDX-License-Identifier: ISC */
/*
 * What a receiver sees: a snapshot, and in it the rules of its channel or group and the state of a lane. What it reads
 * there may be out of date as soon as it is read; only what it has locked stays as it saw it (claim.c).
 */
#include "receiver.h"

/*
 * Whether the newest commit is not in the snapshot although nobody is committing: its writer was killed after the
 * meta page and before it told LMDB's lock region. The next writer's recovery makes it seen.
 */
static bool behind(const lmq_receiver *r)
{
	lmq_store *s = r->queue->store;
	MDB_envinfo info;
	off_t start, end;
	return mdb_env_info(s->env, &info) == 0 && info.me_last_txnid > mdb_txn_id(r->snapshot.mdb) &&
		!range_taken(s->control_fd, WRITER_LOCK, 1, &start, &end);
}

int view_fresh(lmq_receiver *r)
{
	struct txn t;
	int rc;
	snapshot_pause(&r->snapshot);
	rc = snapshot_begin(&r->snapshot);
	if (rc != 0 || !behind(r))
		return rc;
	snapshot_drop(&r->snapshot);
	rc = txn_begin(r->queue->store, &t);
	if (rc == 0)
		txn_abort(&t);
	return rc == 0 ? snapshot_begin(&r->snapshot) : rc;
}

/* What holds for the whole channel, or group. */
static int look_rules(lmq_receiver *r)
{
	struct channel_record record, rules;
	lmq_store *s = r->queue->store;
	int rc;
	if (r->ruled == r->snapshot.serial)
		return 0;
	rc = channel_record(r->queue, r->snapshot.mdb, &record);
	if (rc != 0)
		return rc;
	r->ttl = limit_of(&record, LIMIT_TTL);
	if (r->group_name[0]) {
		rc = get_settings(s, r->snapshot.mdb, r->queue->id, &record, r->group_name, &rules);
		r->ordered = rc == 0 && limit_of(&rules, LIMIT_ORDER_KEY) == 1;
	}
	if (rc == 0)
		r->ruled = r->snapshot.serial;
	return rc;
}

int view_lane(lmq_receiver *r, struct lane *l)
{
	uint32_t space = l->group.space;
	uint64_t barrier = UINT64_MAX;
	struct group_record found;
	int rc = log_refresh(&l->cursor);
	receiver_turn(r, l);
	if (rc == 0)
		rc = look_rules(r);
	if (rc == 0)
		rc = get_group(r->queue->store, r->snapshot.mdb, r->queue->id, lane_number(r, l), r->group_name,
			&found);
	if (rc == LMQ_END)
		return receiver_lost(r);
	/* Removed and made anew it is another group, whose locks are others: it never becomes ours. */
	if (rc == 0 && space != 0 && space != found.space)
		return receiver_gone(r);
	if (rc == 0)
		l->group = found;
	if (rc == 0 && r->lane_count > 1)
		rc = sift_barrier(r, l, &barrier);
	l->end = r->ordered ? l->group.next : l->cursor.head.end;
	if (l->end > barrier)
		l->end = barrier;
	r->checked = 0;
	return rc;
}
