/* SPDX-License-Identifier: ISC */
/*
 * Claiming messages of a queue.
 *
 * A claim looks for unsettled messages in a snapshot, locks them (lease.c), and looks again in a fresh one:
 * whoever had them before may have settled them between the first look and the lock. From then on they are ours
 * until they are settled or given back, since nobody settles without the lock. So two receivers never hand out
 * the same message, and a receiver that dies has changed nothing.
 */
#include "receiver.h"

#include <string.h>

enum { RUNS_MAX = 4096 };

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

static int fresh(lmq_receiver *r)
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

static int view(lmq_receiver *r)
{
	struct channel_record record;
	lmq_store *s = r->queue->store;
	int rc = fresh(r);
	if (rc == 0)
		rc = log_refresh(&r->cursor);
	if (rc == 0)
		rc = channel_record(r->queue, r->snapshot.mdb, &record);
	if (rc == 0)
		rc = get_group(s, r->snapshot.mdb, r->queue->id, 0, "", &r->group);
	return rc == LMQ_END ? channel_gone(r->queue) : rc;
}

static int unsettled(lmq_receiver *r, uint64_t from, struct run *run)
{
	r->cursor.placed = false;	/* the runs are found with the same cursor */
	return group_unsettled(r->queue->store, r->snapshot.cursor, &r->group, r->cursor.head.end,
		from, run);
}

static int runs_add(lmq_receiver *r, const struct run *run)
{
	if (r->run_count > 0 && r->runs[r->run_count - 1].end == run->first) {
		r->runs[r->run_count - 1].end = run->end;
		return 0;
	}
	if (r->run_count == r->run_room) {
		size_t room = r->run_room ? 2 * r->run_room : 4;
		struct run *more = realloc(r->runs, room * sizeof *more);
		if (!more)
			return fail(r->queue->store, LMQ_ENOMEM, "%s: out of memory", r->queue->name);
		r->runs = more;
		r->run_room = room;
	}
	r->runs[r->run_count++] = *run;
	return 0;
}

void receiver_give(lmq_receiver *r, uint64_t first, uint64_t end)
{
	lease_give(r->fd, r->group.space, &(struct run){ first, end });
}

/* Locks what is free in [run->first, run->end), at most max messages; *taken is how many. */
static int take_run(lmq_receiver *r, const struct run *run, size_t max, size_t *taken)
{
	uint64_t from = run->first;
	struct run got;
	int rc = 0;
	*taken = 0;
	while (rc == 0 && *taken < max && r->run_count < RUNS_MAX && from < run->end) {
		uint64_t end = run->end - from > max - *taken ? from + (max - *taken) : run->end;
		rc = lease_take(r->queue->store, r->fd, r->group.space, from, end, &got);
		if (rc == LMQ_END) {
			rc = 0;
			from = end;
			continue;
		}
		if (rc != 0)
			break;
		rc = runs_add(r, &got);
		if (rc != 0)
			receiver_give(r, got.first, got.end);
		*taken += (size_t)(got.end - got.first);
		from = got.end;
	}
	return rc;
}

/* As take_run, but only messages that the filter lets through. */
static int take_matching(lmq_receiver *r, const struct run *run, size_t max, size_t *taken)
{
	struct record record;
	struct lmq_message m;
	struct blob blob;
	int rc = 0;
	*taken = 0;
	log_seek(&r->cursor, run->first);
	while (rc == 0 && *taken < max && r->run_count < RUNS_MAX && r->cursor.offset < run->end) {
		size_t one = 0;
		rc = log_next(&r->cursor, &record);
		if (rc == 0)
			rc = log_message(&r->cursor, &record, &m, r->headers, &blob);
		if (rc == 0 && lmq_filter_match(r->filter, &m))
			rc = take_run(r, &(struct run){ record.offset, record.offset + 1 }, 1, &one);
		*taken += one;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int take(lmq_receiver *r, size_t max, size_t *taken)
{
	uint64_t from = r->cursor.head.first;
	struct run run;
	int rc = 0;
	*taken = 0;
	while (*taken < max && r->run_count < RUNS_MAX && (rc = unsettled(r, from, &run)) == 0) {
		size_t n;
		rc = r->filter ? take_matching(r, &run, max - *taken, &n) : take_run(r, &run, max - *taken, &n);
		if (rc != 0)
			return rc;
		*taken += n;
		from = run.end;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* Keeps the first unsettled messages of [*at, end), gives back what lies before them, and moves *at behind. */
static int verify_next(lmq_receiver *r, uint64_t *at, uint64_t end, size_t *kept)
{
	struct run run;
	int rc = unsettled(r, *at, &run);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	if (rc == LMQ_END || run.first > end)
		run.first = end;
	if (rc == LMQ_END || run.end > end)
		run.end = end;
	receiver_give(r, *at, run.first);
	*at = run.first;
	rc = run.first < run.end ? runs_add(r, &run) : 0;
	if (rc == 0) {
		*kept += (size_t)(run.end - run.first);
		*at = run.end;
	}
	return rc;
}

/* Keeps of the locked messages those that are unsettled in the present snapshot. */
static int verify(lmq_receiver *r, size_t *kept)
{
	struct run *locked = r->runs;
	size_t count = r->run_count;
	int rc = 0;
	*kept = 0;
	r->runs = NULL;
	r->run_count = r->run_room = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t at = locked[i].first;
		while (rc == 0 && at < locked[i].end)
			rc = verify_next(r, &at, locked[i].end, kept);
		receiver_give(r, at, locked[i].end);
	}
	free(locked);
	return rc;
}

/* About how many messages make up that many bytes. */
static size_t limit_bytes(const lmq_receiver *r, size_t max_messages, size_t max_bytes)
{
	const struct head_record *h = &r->cursor.head;
	uint64_t stored = h->end - h->first, size = stored ? h->bytes / stored + 1 : 1;
	uint64_t limit = max_bytes / size + 1;
	return limit < max_messages ? (size_t)limit : max_messages;
}

int lmq_receiver_claim(lmq_receiver *r, size_t max_messages, size_t max_bytes, size_t *count)
{
	size_t taken;
	int rc;
	*count = 0;
	if (r->run_count > 0)
		return fail(r->queue->store, LMQ_EINVAL, "%s: the last claim is not settled", r->queue->name);
	do {
		rc = view(r);
		if (rc == 0)
			rc = take(r, limit_bytes(r, max_messages, max_bytes), &taken);
		if (rc == 0 && taken == 0)
			rc = LMQ_END;
		if (rc == 0)
			rc = view(r);
		if (rc == 0)
			rc = verify(r, count);
	} while (rc == 0 && *count == 0);
	if (rc != 0)
		lmq_receiver_release(r);
	if (rc == LMQ_END)
		snapshot_drop(&r->snapshot);
	if (rc == 0) {
		r->next = r->runs[0].first;
		log_seek(&r->cursor, r->next);
	}
	return rc;
}
