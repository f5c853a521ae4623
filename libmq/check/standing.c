/* SPDX-License-Identifier: ISC */
/*
 * Checking the store: positions of readers, their runs, and what groups of topics still need.
 *
 * Below next, what is in no run is settled: so the number of settled messages and that of those in runs make up next.
 * Runs of a topic or stream may lie below its first message, until somebody finds out that they are gone.
 */
#include "accounts.h"

#include <string.h>

struct standing {
	struct account *a;
	const struct owner *o;
	uint16_t lane;
	const char *group;	/* "": the queue's own */
	char object[OBJECT_MAX];
	struct group_record g;
	/* of the runs */
	bool damaged;
	uint64_t state[RUN_STATES];
	uint64_t lowest, end;	/* where the first begins, and the last ends */
	struct ranks sum;
};

/* ---- runs ----------------------------------------------------------------------------------- */

static const char *run_fault(const struct standing *p, const struct run_record *r)
{
	if (r->first < p->end)
		return "goes over another one";
	if (r->end > p->g.next)
		return "goes beyond where all is plain";
	if (r->key_hash && r->end - r->first != 1)
		return "has a key, and more than one message";
	return r->state == RUN_BLOCKED && !r->key_hash ? "waits for others of its key, and has none" : NULL;
}

static void take_run(struct standing *p, const struct run_record *r)
{
	const char *what = run_fault(p, r);
	if (what)
		account_fault(p->a, p->object, "the run of messages from %llu to %llu %s", (unsigned long long)r->first,
			(unsigned long long)r->end - 1, what);
	if (r->first < p->lowest)
		p->lowest = r->first;
	if (r->end > p->end)
		p->end = r->end;
	p->state[r->state] += r->end - r->first;
	ranks_add(p->a, p->g.space, r, &p->sum);
}

static int take_runs(struct standing *p)
{
	struct key prefix = key_run(p->g.space, 0);
	struct run_record r;
	struct entries e;
	int rc = entries_open(p->a, &e, &prefix, RUN_PREFIX);
	p->lowest = p->g.next;
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		if (run_record_get(&r, &e.key, e.value.mv_data, e.value.mv_size)) {
			take_run(p, &r);
			continue;
		}
		account_fault(p->a, p->object, "the run of messages from %llu on is damaged",
			(unsigned long long)get64(e.key.bytes + RUN_PREFIX));
		p->damaged = true;
		p->a->bodies.uncertain |= p->o->record.kind == LMQ_QUEUE;
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

static void compare_counts(struct standing *p)
{
	static const char *const names[] = { "ready", "leased", "delayed", "retrying", "blocked" };
	uint64_t all = 0;
	for (int i = 0; i < RUN_STATES; i++) {
		all += p->state[i];
		if (p->state[i] != p->g.state[i])
			account_fault(p->a, p->object, "has %llu messages in runs that are %s, and counts %llu",
				(unsigned long long)p->state[i], names[i], (unsigned long long)p->g.state[i]);
	}
	if (all <= p->g.next && p->g.settled != p->g.next - all)
		account_fault(p->a, p->object, "has %llu settled messages, and counts %llu",
			(unsigned long long)(p->g.next - all), (unsigned long long)p->g.settled);
}

/* ---- floors --------------------------------------------------------------------------------- */

/* Of a topic's group: what it needs begins at its lowest unsettled message, and table F says so. */
static int check_floor(struct standing *p)
{
	struct key k = key_floor(p->o->id, p->lane, p->g.floor, p->g.space);
	bool topic = p->o->record.kind == LMQ_TOPIC, made = p->a->store.version >= FORMAT_FLOORS;
	MDB_val v;
	int rc;
	/* A store of an older format has no floors until its first writer makes them. Of a queue it says nothing. */
	if (p->o->record.kind == LMQ_QUEUE || (p->g.floor == UINT64_MAX && (!topic || !made)))
		return 0;
	if (!topic) {
		account_fault(p->a, p->object, "says what it needs from retention, which asks only groups of topics");
		return 0;
	}
	if (!p->damaged && p->g.floor != p->lowest) {
		account_fault(p->a, p->object, "needs messages from %llu on, and says %llu", (unsigned long long)p->lowest,
			(unsigned long long)p->g.floor);
		if (p->g.floor == UINT64_MAX)
			return 0;
	}
	rc = account_get(p->a, &k, &v);
	if (rc == LMQ_END)
		account_fault(p->a, p->object, "retention does not know what it needs");
	return rc == LMQ_END ? 0 : rc;
}

/* The other way round. */
static int check_floors(struct account *a, const struct owner *o, uint16_t lane)
{
	struct key prefix = key_floor(o->id, lane, 0, 0), k;
	char group[LMQ_NAME_MAX + 1], object[OBJECT_MAX];
	struct group_record g;
	struct entries e;
	MDB_val v;
	int rc = entries_open(a, &e, &prefix, BLOCK_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		uint64_t floor = get64(e.key.bytes + BLOCK_PREFIX);
		owner_object(o, lane, NULL, object);
		if (!name_get(group, &e.key, e.value.mv_data, e.value.mv_size)) {
			account_fault(a, object, "what a group needs from %llu on is damaged", (unsigned long long)floor);
			continue;
		}
		k = key_group(o->id, lane, group);
		rc = account_get(a, &k, &v);
		if (rc == 0 && !group_record_get(&g, &k, v.mv_data, v.mv_size))
			continue;
		if (rc == LMQ_END || (rc == 0 && (g.floor != floor ||
				g.space != get32(e.key.bytes + BLOCK_PREFIX + 8)))) {
			account_fault(a, owner_object(o, lane, group, object),
				"retention keeps messages from %llu on for it, for nothing", (unsigned long long)floor);
			rc = 0;
		}
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- positions ------------------------------------------------------------------------------- */

/* A group has a position in every lane, or in none. */
static int check_lanes(struct standing *p)
{
	uint16_t first = p->lane == 0 ? 1 : 0, end = p->lane == 0 ? p->o->lanes : 1;
	MDB_val v;
	int rc = 0;
	for (uint16_t lane = first; rc == 0 && lane < end; lane++) {
		struct key k = key_group(p->o->id, lane, p->group);
		rc = account_get(p->a, &k, &v);
		if (rc == LMQ_END) {
			account_fault(p->a, p->object, "the group has no position in partition %u", lane);
			rc = 0;
		}
	}
	return rc;
}

static void check_place(struct standing *p)
{
	const struct head_record *h = &p->o->head;
	bool queue = p->o->record.kind == LMQ_QUEUE;
	if (!queue)
		account_number(p->a, p->object, p->g.space);
	if (p->g.flags & ~GROUP_TTL)
		account_fault(p->a, p->object, "its position has unknown flags");
	if (!p->o->headed)
		return;
	if (p->g.next > h->end)
		account_fault(p->a, p->object, "is at %llu, and the next message is to be %llu",
			(unsigned long long)p->g.next, (unsigned long long)h->end);
	if (queue && !p->damaged && p->lowest <= h->end && p->lowest != h->first)
		account_fault(p->a, p->object, "the first unsettled message is %llu, and the first one of the log is %llu",
			(unsigned long long)p->lowest, (unsigned long long)h->first);
}

static int check_position(struct standing *p)
{
	int rc;
	if (p->o->record.kind == LMQ_QUEUE && p->g.space != p->o->id) {
		account_fault(p->a, p->object, "keeps its runs under number %u, and is number %u", p->g.space, p->o->id);
		p->a->unplaced = true;
		return 0;
	}
	rc = account_space(p->a, p->g.space);
	if (rc == 0)
		rc = take_runs(p);
	if (rc != 0)
		return rc;
	check_place(p);
	if (!p->damaged)
		compare_counts(p);
	rc = ranks_check(p->a, p->object, p->g.space, &p->sum, !p->damaged);
	if (rc == 0 && p->o->record.kind != LMQ_QUEUE)
		rc = check_lanes(p);
	return rc == 0 ? check_floor(p) : rc;
}

static int position_of(struct account *a, const struct owner *o, uint16_t lane, const struct entries *e)
{
	struct standing p = { .a = a, .o = o, .lane = lane };
	char group[LMQ_NAME_MAX + 1];
	bool named = account_name(&e->key, BLOCK_PREFIX, group), queue = o->record.kind == LMQ_QUEUE;
	p.group = group;
	owner_object(o, lane, group, p.object);
	if (named == queue || (queue && e->key.size > BLOCK_PREFIX)) {
		account_fault(a, p.object, queue ? "a queue has a group" : "the name of a group is none");
		a->unplaced = true;
		return 0;
	}
	if (!group_record_get(&p.g, &e->key, e->value.mv_data, e->value.mv_size)) {
		account_fault(a, p.object, "its position is damaged");
		a->unplaced = true;
		return 0;
	}
	return check_position(&p);
}

int standing_lane(struct account *a, const struct owner *o, uint16_t lane)
{
	struct key prefix = key_group(o->id, lane, "");
	bool any = false;
	struct entries e;
	int rc = entries_open(a, &e, &prefix, BLOCK_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		any = any || e.key.size == BLOCK_PREFIX;
		rc = position_of(a, o, lane, &e);
	}
	entries_close(&e);
	if (rc == LMQ_END && o->record.kind == LMQ_QUEUE && !any)
		account_fault(a, o->name, "it has no position");
	return rc == LMQ_END ? check_floors(a, o, lane) : rc;
}

int standing_removed(struct account *a, const struct owner *o)
{
	struct key prefix = key_group(o->id, 0, "");
	struct group_record g;
	struct entries e;
	int rc = entries_open(a, &e, &prefix, RUN_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		if (group_record_get(&g, &e.key, e.value.mv_data, e.value.mv_size))
			rc = account_space(a, g.space);
		else
			a->unplaced = true;
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}
