/* SPDX-License-Identifier: ISC */
/*
 * Claiming messages.
 *
 * A claim looks for ready messages in a snapshot, locks them (lease.c), and looks again in a fresh one: whoever
 * had them before may have settled them between the first look and the lock. From then on they are ours
 * until they are settled or given back, since nobody settles without the lock. So two receivers never hand out
 * the same message, and a receiver that dies has changed nothing.
 *
 * Between the second look and the hand-out stand two questions: did somebody die over one of them (the roster says
 * so: an attempt to be counted), and has one expired? If so they are moved aside (aside.c), and what is left is
 * looked at once more.
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
		rc = get_group(s, r->snapshot.mdb, r->queue->id, 0, r->group_name, &r->group);
	if (rc == 0)
		r->ttl = limit_of(&record, LIMIT_TTL);
	r->checked = 0;
	return rc == LMQ_END ? channel_gone(r->queue) : rc;
}

static int runs_add(lmq_receiver *r, const struct claimed *c)
{
	struct claimed *last = r->run_count > r->fresh ? &r->runs[r->run_count - 1] : NULL;
	if (last && last->end == c->first && last->attempts == c->attempts && last->returned == c->returned) {
		last->end = c->end;
		return 0;
	}
	if (r->run_count == r->run_room) {
		size_t room = r->run_room ? 2 * r->run_room : 4;
		struct claimed *more = realloc(r->runs, room * sizeof *more);
		if (!more)
			return receiver_no_memory(r);
		r->runs = more;
		r->run_room = room;
	}
	r->runs[r->run_count++] = *c;
	return 0;
}

/* ---- taking ------------------------------------------------------------------------------- */

static bool full(const lmq_receiver *r)
{
	return r->run_count - r->fresh >= RUNS_MAX;
}

/* Our own locks do not stop us: leaves out what is ours already. False: nothing is left. */
static bool skip_ours(const lmq_receiver *r, uint64_t *from, uint64_t *end)
{
	for (bool moved = true; moved && *from < *end;) {
		moved = false;
		for (size_t i = 0; i < r->fresh; i++) {
			const struct claimed *c = &r->runs[i];
			if (c->first <= *from && *from < c->end) {
				*from = c->end;
				moved = true;
			} else if (*from < c->first && c->first < *end) {
				*end = c->first;
			}
		}
	}
	return *from < *end;
}

/* Locks what is free in [run->first, run->end), at most max messages; *taken is how many. */
static int take_run(lmq_receiver *r, const struct run *run, size_t max, size_t *taken)
{
	uint64_t from = run->first;
	struct run got;
	int rc = 0;
	*taken = 0;
	while (rc == 0 && *taken < max && !full(r) && from < run->end) {
		uint64_t end = run->end - from > max - *taken ? from + (max - *taken) : run->end;
		if (!skip_ours(r, &from, &end))
			continue;
		rc = lease_take(r->queue->store, r->fd, r->group.space, from, end, &got);
		if (rc == LMQ_END) {
			rc = 0;
			from = end;
			continue;
		}
		if (rc != 0)
			break;
		rc = runs_add(r, &(struct claimed){ .first = got.first, .end = got.end });
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
	uint64_t first;
	int rc = 0;
	*taken = 0;
	log_seek(&r->cursor, run->first);
	while (rc == 0 && *taken < max && !full(r) && filter_range(r->filter, r->cursor.offset, &first) &&
			first < run->end) {
		size_t one = 0;
		if (first > r->cursor.offset)
			log_seek(&r->cursor, first);
		rc = log_next(&r->cursor, &record);
		if (rc == 0)
			rc = log_message(&r->cursor, &record, &m, &r->decoded, &blob);
		if (rc == 0 && lmq_filter_match(r->filter, &m))
			rc = take_run(r, &(struct run){ record.offset, record.offset + 1 }, 1, &one);
		*taken += one;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int take(lmq_receiver *r, size_t max, size_t *taken)
{
	struct ready place = { .class = 0 };
	struct run run;
	int rc = 0;
	*taken = 0;
	while (*taken < max && !full(r)) {
		size_t n;
		r->cursor.placed = false;	/* the runs are found with the same cursor */
		rc = group_ready(r->queue->store, r->snapshot.cursor, &r->group, r->cursor.head.end, &place, &run);
		if (rc != 0)
			break;
		if (run.first < r->cursor.head.first)
			run.first = r->cursor.head.first;
		rc = r->filter ? take_matching(r, &run, max - *taken, &n) : take_run(r, &run, max - *taken, &n);
		if (rc != 0)
			break;
		*taken += n;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* ---- looking again ------------------------------------------------------------------------ */

/* Keeps the first ready messages of [*at, end), gives back what lies before them, and moves *at behind. */
static int verify_next(lmq_receiver *r, uint64_t *at, uint64_t end, size_t *kept)
{
	struct run_record run;
	struct claimed c = { .first = end, .end = end };
	int rc;
	r->cursor.placed = false;
	rc = group_run(r->queue->store, r->snapshot.cursor, &r->group, r->cursor.head.end, *at, &run);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	if (rc == 0 && run.first < end) {
		c.end = run.end < end ? run.end : end;
		c.first = run.state == RUN_READY ? run.first : c.end;
		if (c.first < r->cursor.head.first)	/* retention was faster */
			c.first = r->cursor.head.first < c.end ? r->cursor.head.first : c.end;
		c.attempts = run.history.attempts;
		c.returned = run.history.returned;
	}
	receiver_give(r, *at, c.first);
	*at = c.first;
	rc = c.first < c.end ? runs_add(r, &c) : 0;
	if (rc == 0) {
		*kept += (size_t)(c.end - c.first);
		*at = c.end;
	}
	return rc;
}

/* Keeps of the messages locked last those that are ready in the present snapshot. */
static int verify(lmq_receiver *r, size_t *kept)
{
	size_t count = r->run_count - r->fresh;
	struct claimed *locked = malloc((count + 1) * sizeof *locked);
	int rc = 0;
	*kept = 0;
	if (!locked)
		return receiver_no_memory(r);
	memcpy(locked, r->runs + r->fresh, count * sizeof *locked);
	r->run_count = r->fresh;
	for (size_t i = 0; i < count; i++) {
		uint64_t at = locked[i].first;
		while (rc == 0 && at < locked[i].end)
			rc = verify_next(r, &at, locked[i].end, kept);
		receiver_give(r, at, locked[i].end);
	}
	free(locked);
	return rc;
}

static int look_again(lmq_receiver *r, size_t *kept)
{
	int rc = view(r);
	return rc == 0 ? verify(r, kept) : rc;
}

/* ---- what may not be handed out ------------------------------------------------------------ */

/* The trace of a dead delivery has been counted for part of it. */
static void trace_shorten(lmq_store *s, const struct roster_trace *t, const struct run *part)
{
	struct roster_slot *slot = &s->control->roster[t->slot];
	if (part->first <= t->first && part->end >= t->end)
		roster_clear(s, t->slot);
	else if (part->first <= t->first)
		atomic_store(&slot->first, part->end);
	else if (part->end >= t->end)
		atomic_store(&slot->end, part->first);
}

static int count_crashes(lmq_receiver *r, const struct claimed *c, bool *changed)
{
	lmq_store *s = r->queue->store;
	struct roster_trace t;
	int from = 0, rc = 0;
	while (rc == 0 && roster_dead(s, r->group.space, c->first, c->end, &from, &t)) {
		struct run part = { t.first > c->first ? t.first : c->first, t.end < c->end ? t.end : c->end };
		struct run left = part;
		snapshot_pause(&r->snapshot);
		while (rc == 0 && c->attempts < t.attempt && left.first < left.end) {
			rc = aside_crashed(s, r->queue->id, r->group_name, &left, t.attempt);
			*changed = true;
		}
		if (rc == 0)
			trace_shorten(s, &t, &part);
	}
	/* Where it cannot be counted, on a full disk, the message can still be had: its trace stays. */
	*changed |= rc != 0;
	return rc == LMQ_EGONE ? rc : 0;
}

static int set_crashed_aside(lmq_receiver *r, size_t *count)
{
	bool changed = false;
	int rc = 0;
	for (size_t i = r->fresh; rc == 0 && i < r->run_count; i++)
		rc = count_crashes(r, &r->runs[i], &changed);
	return rc == 0 && changed ? look_again(r, count) : rc;
}

enum { EXPIRED_MAX = 256 };

/* The first expired messages of a run, as parts. */
static int find_expired(lmq_receiver *r, const struct claimed *c, struct run *parts, size_t *count)
{
	int64_t now = lmq_now();
	struct record record;
	struct lmq_message m;
	struct blob blob;
	int rc = 0;
	log_seek(&r->cursor, c->first);
	while (rc == 0 && *count < EXPIRED_MAX && r->cursor.offset < c->end) {
		rc = log_next(&r->cursor, &record);
		if (rc == 0)
			rc = log_message(&r->cursor, &record, &m, &r->decoded, &blob);
		if (rc != 0 || !message_expired(&m, r->ttl, now))
			continue;
		if (*count > 0 && parts[*count - 1].end == record.offset)
			parts[*count - 1].end++;
		else
			parts[(*count)++] = (struct run){ record.offset, record.offset + 1 };
	}
	return rc == LMQ_END ? fail_damaged(r->queue->store, "a claimed message is missing") : rc;
}

/* What expired and cannot be moved away, on a full disk, must not keep the others from being had. */
static int leave_out(lmq_receiver *r, const struct run *parts, size_t n, size_t *count, int rc)
{
	for (size_t i = 0; i < n; i++)
		receiver_forget(r, parts[i].first, parts[i].end);
	receiver_tidy(r);
	*count = 0;
	for (size_t i = r->fresh; i < r->run_count; i++)
		*count += (size_t)(r->runs[i].end - r->runs[i].first);
	return *count > 0 ? 0 : rc;
}

static int set_expired_aside(lmq_receiver *r, size_t *count)
{
	struct run parts[EXPIRED_MAX];
	size_t n;
	int rc = 0;
	if (r->ttl == UINT64_MAX && !(r->group.flags & GROUP_TTL) && r->queue->kind == LMQ_QUEUE)
		return 0;
	do {
		n = 0;
		for (size_t i = r->fresh; rc == 0 && i < r->run_count && n < EXPIRED_MAX; i++)
			rc = find_expired(r, &r->runs[i], parts, &n);
		if (rc == 0 && n > 0) {
			snapshot_pause(&r->snapshot);
			rc = aside_expired(r->queue->store, r->queue->id, r->group_name, parts, n);
			if (rc != 0)
				return leave_out(r, parts, n, count, rc);
			rc = look_again(r, count);
		}
	} while (rc == 0 && n > 0 && *count > 0);
	return rc;
}

/* When the next message becomes due; what is due already is made ready. */
static int set_due_aside(lmq_receiver *r)
{
	const uint64_t *state = r->group.state;
	uint64_t first;
	int rc;
	r->due = INT64_MAX;
	if (state[RUN_LEASED] + state[RUN_DELAYED] + state[RUN_RETRYING] == 0)
		return 0;
	do {
		r->cursor.placed = false;
		rc = run_first_due(r->queue->store, r->snapshot.cursor, r->group.space, 0, &r->due, &first);
		if (rc != 0) {
			r->due = INT64_MAX;
			return rc == LMQ_END ? 0 : rc;
		}
		if (r->due > lmq_now())
			return 0;
		snapshot_pause(&r->snapshot);
		rc = aside_due(r->queue->store, r->queue->id, r->group_name);
		if (rc == 0)
			rc = view(r);
	} while (rc == 0);
	return rc;
}

/* ---- the claim ---------------------------------------------------------------------------- */

/* About how many messages make up that many bytes. */
static size_t limit_bytes(const lmq_receiver *r, size_t max_messages, size_t max_bytes)
{
	const struct head_record *h = &r->cursor.head;
	uint64_t stored = h->end - h->first, size = stored ? h->bytes / stored + 1 : 1;
	uint64_t limit = max_bytes / size + 1;
	return limit < max_messages ? (size_t)limit : max_messages;
}

/* Gives back what the present claim has taken. */
static void give_up(lmq_receiver *r)
{
	bool any = r->run_count > r->fresh;
	for (size_t i = r->fresh; i < r->run_count; i++)
		receiver_give(r, r->runs[i].first, r->runs[i].end);
	r->run_count = r->fresh;
	receiver_tidy(r);
	if (any)
		receiver_wake(r);
}

static int claim(lmq_receiver *r, size_t max_messages, size_t max_bytes, size_t *count)
{
	int late = 0, rc = view(r);
	size_t taken = 0;
	*count = 0;
	if (rc != 0)
		return rc;
	/* On a full disk nothing can be set aside, but what is ready can still be had. */
	late = set_due_aside(r);
	rc = late == 0 || r->snapshot.active ? 0 : view(r);
	if (rc == 0)
		rc = take(r, limit_bytes(r, max_messages, max_bytes), &taken);
	if (rc == 0 && taken == 0)
		return late ? late : LMQ_END;
	if (rc == 0)
		rc = look_again(r, count);
	if (rc == 0 && *count > 0)
		rc = set_crashed_aside(r, count);
	if (rc == 0 && *count > 0)
		rc = set_expired_aside(r, count);
	return rc;
}

int lmq_receiver_claim(lmq_receiver *r, size_t max_messages, size_t max_bytes, size_t *count)
{
	int rc;
	receiver_forget_leased(r);
	if (r->slot < 0 && r->group.space == 0) {
		rc = view(r);
		if (rc != 0)
			return rc;
		r->slot = roster_join(r->queue->store, r->fd, ROSTER_RECEIVER, r->group.space, r->consumer);
	}
	r->fresh = r->run_count;
	roster_holding(r->queue->store, r->slot, true);
	do
		rc = claim(r, max_messages, max_bytes, count);
	while (rc == 0 && *count == 0);
	r->at = r->fresh;
	r->next = 0;
	if (rc != 0)
		give_up(r);
	if (rc == LMQ_END)
		snapshot_drop(&r->snapshot);
	return rc;
}
