/* SPDX-License-Identifier: ISC */
/*
 * A repair: the positions of a channel's readers, and the states of what they have not settled.
 *
 * Runs are what counts; Q, D and K follow from them, and so do a position's counts. Where runs are lost, Q says which
 * messages were ready, and D which waited and until when; if then still less is unsettled than the position had counted,
 * everything else that the lost runs can have been about is to be delivered again: what was settled long ago is not
 * stored any more. A position that is lost begins behind its last run.
 */
#include "rescue.h"

#include <stdio.h>
#include <string.h>

struct reader {
	struct rescue *r;
	uint32_t id;
	uint16_t lane;
	const struct channel_record *channel;
	char group[LMQ_NAME_MAX + 1];
	char name[2 * LMQ_NAME_MAX + 16];	/* for people */
	struct head_record head;
	struct group_record g;
	uint64_t counted;	/* unsettled messages below next, as g said */
	bool doubt;		/* runs may be lost, */
	bool guessed;		/* and what indexes say of them was taken */
};

static bool waits(unsigned state)
{
	return state == RUN_LEASED || state == RUN_DELAYED || state == RUN_RETRYING;
}

/* A copy, as a commit moves what LMDB showed. */
static bool run_here(struct reader *p, uint64_t first, struct run_record *run)
{
	struct key k = key_run(p->g.space, first);
	MDB_val v;
	return rescue_get(p->r, &k, &v) == 0 && run_record_get(run, &k, v.mv_data, v.mv_size);
}

static int put_run(struct reader *p, const struct run_record *run)
{
	int rc = run->first < run->end ? run_put(&p->r->t, &p->g, run) : 0;
	return rc == 0 ? rescue_tick(p->r, RUN_RECORD_MAX) : rc;
}

static struct run_record plain(uint64_t first, uint64_t end)
{
	return (struct run_record){ .first = first, .end = end, .priority = LMQ_PRIORITY_DEFAULT, .history.exit_status = -1 };
}

/* ---- runs ----------------------------------------------------------------------------------- */

static bool index_there(struct reader *p, const struct run_record *run)
{
	struct key k;
	uint64_t end;
	MDB_val v;
	if (run->state == RUN_READY) {
		k = key_ready(p->g.space, (uint8_t)(LMQ_PRIORITY_MAX - run->priority), run->first);
		if (rescue_get(p->r, &k, &v) != 0 || !number_get(&end, 8, &k, v.mv_data, v.mv_size) || end != run->end)
			return false;
	} else if (waits(run->state)) {
		k = key_due(p->g.space, run->due, run->first);
		if (rescue_get(p->r, &k, &v) != 0)
			return false;
	}
	k = key_chain(p->g.space, run->key_hash, run->first);
	return !run->key_hash || rescue_get(p->r, &k, &v) == 0;
}

/* One stored run, after those up to *end; it is counted, and its indexes are there then. */
static int mend_run(struct reader *p, struct run_record *run, uint64_t *end)
{
	bool sound = true;
	uint64_t first = run->first;
	int rc = 0;
	if (run->end > p->head.end)
		run->end = p->head.end;
	if (run->first < *end)
		run->first = *end;
	if (run->key_hash && run->end > run->first + 1)
		run->key_hash = 0;
	if (run->first >= run->end || run->first != first) {
		struct key k = key_run(p->g.space, first);
		sound = false;
		rc = rescue_delete(p->r, &k);
		if (rc != 0 || run->first >= run->end)
			return rc;
	}
	*end = run->end;
	if (p->g.next < run->first) {
		struct run_record jumped = plain(p->g.next, run->first);
		rc = put_run(p, &jumped);
	}
	if (p->g.next < run->end)
		p->g.next = run->end;
	if (rc == 0 && sound && index_there(p, run)) {
		p->g.state[run->state] += run->end - run->first;
		return 0;
	}
	p->r->result->mended++;
	if (rc == 0)
		rc = put_run(p, run);
	return rc == 0 && run->key_hash ? chain_put(&p->r->t, p->g.space, run->key_hash, run->first) : rc;
}

static int mend_runs(struct reader *p)
{
	struct key k = key_run(p->g.space, 0);
	struct run_record run;
	uint64_t end = 0;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(p->r, &k, RUN_PREFIX, first, &v)) == 0; first = false) {
		rc = run_record_get(&run, &k, v.mv_data, v.mv_size) ? mend_run(p, &run, &end) : rescue_delete(p->r, &k);
		if (rc != 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* The stored run that contains offset, or the next one. */
static int run_from(struct reader *p, uint64_t offset, struct run_record *run)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(p->r->t.mdb, p->r->to->table, &cursor);
	if (rc != 0)
		return fail_lmdb(p->r->to, p->r->to->path, rc);
	rc = run_at(p->r->to, cursor, p->g.space, offset, run);
	mdb_cursor_close(cursor);
	return rc;
}

/* Puts the part of a run that is not in another one. */
static int put_where_none(struct reader *p, struct run_record run)
{
	struct run_record there;
	uint64_t end = run.end;
	int rc = 0;
	while (rc == 0 && run.first < end) {
		rc = run_from(p, run.first, &there);
		if (rc != 0 && rc != LMQ_END)
			return rc;
		run.end = rc == 0 && there.first < end ? there.first : end;
		rc = run.first < run.end ? put_run(p, &run) : 0;
		run.first = run.end < end && there.end > run.end ? there.end : end;
	}
	return rc;
}

/* ---- indexes -------------------------------------------------------------------------------- */

enum { OTHER, GOOD, LOST };

/* What an entry of Q, D or K says of a run; LOST: it is of one that is not there. */
static int judge(struct reader *p, const struct key *k, const MDB_val *v, struct run_record *says)
{
	struct run_record run;
	uint64_t end = 0;
	const uint8_t *q = k->bytes + RUN_PREFIX;
	bool there;
	if (k->bytes[0] == 'Q') {
		if (k->size != READY_KEY || !number_get(&end, 8, k, v->mv_data, v->mv_size) || *q > LMQ_PRIORITY_MAX)
			return OTHER;
		*says = plain(get64(q + 1), end);
		says->priority = (uint8_t)(LMQ_PRIORITY_MAX - *q);
		there = run_here(p, says->first, &run);
		if (there)
			return run.state == RUN_READY && run.priority == says->priority && run.end == end ? GOOD : OTHER;
	} else if (k->bytes[0] == 'D') {
		if (k->size != DUE_KEY || (int64_t)get64(q) < 0)
			return OTHER;
		*says = plain(get64(q + 8), get64(q + 8) + 1);
		says->due = (int64_t)get64(q);
		says->state = RUN_RETRYING;
		there = run_here(p, says->first, &run);
		if (there)
			return waits(run.state) && run.due == says->due ? GOOD : OTHER;
	} else {
		if (k->size != CHAIN_KEY)
			return OTHER;
		*says = plain(get64(q + 8), get64(q + 8) + 1);
		says->key_hash = get64(q);
		says->state = RUN_BLOCKED;
		there = run_here(p, says->first, &run);
		if (there)
			return run.key_hash == says->key_hash ? GOOD : OTHER;
	}
	return p->doubt && says->first < p->g.next && says->first < says->end ? LOST : OTHER;
}

/* A chain entry gives a run that was made of another index its key. */
static int give_key(struct reader *p, const struct key *k)
{
	struct run_record run;
	int rc;
	if (!p->doubt || k->bytes[0] != 'K' || k->size != CHAIN_KEY || !run_here(p, get64(k->bytes + CHAIN_PREFIX), &run) ||
			run.key_hash || run.end != run.first + 1)
		return 0;
	rc = run_delete(&p->r->t, &p->g, &run);
	run.key_hash = get64(k->bytes + RUN_PREFIX);
	return rc == 0 ? put_run(p, &run) : rc;
}

static int mend_index(struct reader *p, char table)
{
	struct key k = { { (uint8_t)table }, RUN_PREFIX };
	struct run_record says;
	MDB_val v;
	int rc;
	put32(k.bytes + 1, p->g.space);
	for (bool first = true; (rc = rescue_next(p->r, &k, RUN_PREFIX, first, &v)) == 0; first = false) {
		int what;
		rc = give_key(p, &k);
		if (rc == 0)
			rc = rescue_get(p->r, &k, &v);
		if (rc != 0)
			return rc;
		what = judge(p, &k, &v, &says);
		if (what == LOST) {
			p->guessed = true;
			rc = put_where_none(p, says);
		}
		/* The run may be another one now, and has an entry of its own. */
		if (rc == 0 && what != GOOD && (what == OTHER || table != 'K')) {
			p->r->result->mended++;
			what = rescue_get(p->r, &k, &v) == 0 ? judge(p, &k, &v, &says) : GOOD;
			rc = what == GOOD ? 0 : rescue_delete(p->r, &k);
		}
		if (rc != 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* Of a run in a chain: another one of its key goes first, or none does. */
static int set_blocked(struct reader *p, struct run_record *run, bool blocked)
{
	int rc = run_delete(&p->r->t, &p->g, run);
	p->r->result->mended++;
	if (run->state == RUN_LEASED) {
		memset(run->owner, 0, sizeof run->owner);
		run->due = 0;
	}
	run->state = blocked ? RUN_BLOCKED : run->due > lmq_now() ? RUN_DELAYED : RUN_READY;
	return rc == 0 ? put_run(p, run) : rc;
}

static int free_first(struct reader *p, uint64_t first)
{
	struct run_record run;
	return run_here(p, first, &run) ? set_blocked(p, &run, false) : 0;
}

/* Of each chain one message is not blocked: the first that was not, or else the first. */
static int mend_chains(struct reader *p)
{
	struct key k = key_chain(p->g.space, 0, 0);
	uint64_t last = 0, first = 0;
	bool one = true;	/* of the chain is not blocked */
	struct run_record run;
	int rc = 0;
	for (bool begin = true; rc == 0 && (rc = rescue_next(p->r, &k, RUN_PREFIX, begin, NULL)) == 0; begin = false) {
		uint64_t hash = get64(k.bytes + RUN_PREFIX);
		if (k.size != CHAIN_KEY || !run_here(p, get64(k.bytes + CHAIN_PREFIX), &run))
			continue;
		if (hash != last) {
			rc = one ? 0 : free_first(p, first);
			last = hash;
			first = run.first;
			one = false;
		}
		if (rc == 0 && one && run.state != RUN_BLOCKED)
			rc = set_blocked(p, &run, true);
		one |= run.state != RUN_BLOCKED;
	}
	if (rc == LMQ_END)
		rc = one ? 0 : free_first(p, first);
	return rc;
}

/* ---- what is lost --------------------------------------------------------------------------- */

static uint64_t unsettled(const struct group_record *g)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < RUN_STATES; i++)
		n += g->state[i];
	return n;
}

/* The offsets of runs that may lie in a gap. */
static bool gap_offsets(const struct reader *p, const struct gap *gap, uint64_t *first, uint64_t *end)
{
	struct key low = key_run(p->g.space, 0), high = key_run(p->g.space, p->g.next);
	uint8_t bytes[KEY_MAX] = { 0 };
	if (gap->filled || (gap->to.size > 0 && bound_compare(gap->to.bytes, gap->to.size, low.bytes, RUN_PREFIX) <= 0) ||
			bound_compare(gap->from.bytes, gap->from.size, high.bytes, high.size) >= 0)
		return false;
	*first = 0;
	*end = p->g.next;
	if (gap->from.size >= RUN_PREFIX && memcmp(gap->from.bytes, low.bytes, RUN_PREFIX) == 0) {
		memcpy(bytes, gap->from.bytes, gap->from.size);
		*first = get64(bytes + RUN_PREFIX);
	}
	memset(bytes, 0, sizeof bytes);
	if (gap->page && gap->to.size >= RUN_PREFIX && memcmp(gap->to.bytes, low.bytes, RUN_PREFIX) == 0) {
		memcpy(bytes, gap->to.bytes, gap->to.size);
		*end = get64(bytes + RUN_PREFIX);
	}
	if (*first < p->head.first)
		*first = p->head.first;
	return *first < *end;
}

/* One run, of which only the begin is known, ends at the next one at the latest. */
static int deliver_again(struct reader *p)
{
	uint64_t first, end;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < p->r->gap_count && unsettled(&p->g) < p->counted; i++) {
		struct run_record there;
		if (!gap_offsets(p, &p->r->gaps[i], &first, &end))
			continue;
		if (!p->r->gaps[i].page) {
			rc = run_from(p, first, &there);
			end = rc == 0 && there.first > first ? there.first : rc == 0 ? there.end : p->g.next;
		}
		if (end > first + (p->counted - unsettled(&p->g)) && !p->r->gaps[i].page)
			end = first + (p->counted - unsettled(&p->g));
		rc = rc == 0 || rc == LMQ_END ? put_where_none(p, plain(first, end)) : rc;
		rescue_say(p->r, p->name, "what had become of messages %llu to %llu is lost: they are delivered again",
			(unsigned long long)first, (unsigned long long)end - 1);
	}
	return rc;
}

/* ---- positions ------------------------------------------------------------------------------ */

static int put_position(struct reader *p)
{
	struct key k = key_group(p->id, p->lane, p->group);
	uint8_t value[GROUP_RECORD];
	return rescue_put(p->r, &k, value, group_record_put(&p->g, &k, value));
}

static int mend_reader(struct reader *p)
{
	struct group_record before = p->g;
	struct key runs = key_run(p->g.space, 0);
	int rc;
	p->counted = unsettled(&p->g);
	p->doubt = wreck_lacks_any(p->r, &runs, RUN_PREFIX);
	memset(p->g.state, 0, sizeof p->g.state);
	if (p->g.next > p->head.end)
		p->g.next = p->head.end;
	rc = mend_runs(p);
	for (const char *table = "QDK"; rc == 0 && *table; table++)
		rc = mend_index(p, *table);
	if (rc == 0 && p->doubt && unsettled(&p->g) < p->counted)
		rc = deliver_again(p);
	if (p->guessed)
		rescue_say(p->r, p->name, "what had become of some messages is known in part only");
	if (rc == 0)
		rc = mend_chains(p);
	/* All below next is settled or in a run. */
	p->g.settled = p->g.next - unsettled(&p->g);
	if (rc != 0 || memcmp(&before, &p->g, sizeof before) == 0)
		return rc;
	p->r->result->mended++;
	return put_position(p);
}

/* The end of the last run of the space. */
static uint64_t last_end(struct reader *p)
{
	struct run_record run;
	uint64_t end = 0, at = 0;
	while (run_from(p, at, &run) == 0 && run.end > end)
		end = at = run.end;
	return end;
}

static int draw_space(struct rescue *r, uint32_t *space)
{
	struct store_record store;
	int rc = get_store_record(r->to, r->t.mdb, &store);
	if (rc != 0)
		return rc;
	*space = store.next_id++;
	return put_store_record(&r->t, &store);
}

/* Table F has the space and the lowest unsettled message of a topic's group. */
static bool floor_of(struct reader *p, uint64_t *floor)
{
	struct key k = key_floor(p->id, p->lane, 0, 0);
	char name[LMQ_NAME_MAX + 1];
	MDB_val v;
	for (bool first = true; rescue_next(p->r, &k, BLOCK_PREFIX, first, &v) == 0; first = false)
		if (k.size == FLOOR_KEY && name_get(name, &k, v.mv_data, v.mv_size) && strcmp(name, p->group) == 0) {
			*floor = get64(k.bytes + BLOCK_PREFIX);
			p->g.space = get32(k.bytes + BLOCK_PREFIX + 8);
			return true;
		}
	return false;
}

static int make_position(struct reader *p)
{
	uint64_t floor = p->head.first, end;
	int rc = 0;
	p->g = (struct group_record){ .space = p->id, .floor = UINT64_MAX };
	if (p->channel->kind != LMQ_QUEUE && !floor_of(p, &floor))
		rc = draw_space(p->r, &p->g.space);
	if (rc != 0)
		return rc;
	end = last_end(p);
	p->g.next = end > floor ? end : floor;
	p->g.settled = p->g.next;
	if (p->g.next > p->head.end)
		p->g.next = p->head.end;
	rescue_say(p->r, p->name, "how far it was is lost: it goes on at message %llu", (unsigned long long)p->g.next);
	p->r->result->mended++;
	return put_position(p);
}

static int mend_one(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, const char *group)
{
	struct reader p = { .r = r, .id = id, .lane = lane, .channel = c };
	struct key k = key_group(id, lane, group);
	MDB_val v;
	int rc;
	strcpy(p.group, group);
	lane_name(c, lane, p.name);
	if (*group)
		snprintf(p.name + strlen(p.name), LMQ_NAME_MAX + 2, "@%s", group);
	rc = lane_head(r, id, c, lane, &p.head);
	if (rc == 0 && (rescue_get(r, &k, &v) != 0 || !group_record_get(&p.g, &k, v.mv_data, v.mv_size)))
		rc = make_position(&p);
	return rc == 0 ? mend_reader(&p) : rc;
}

/* The next name behind *group of a group of the channel in a table whose keys begin with size bytes of it; in F it is the value. */
static bool next_group(struct rescue *r, struct key *k, size_t prefix, size_t size, bool first, char group[LMQ_NAME_MAX + 1])
{
	MDB_val v;
	while (rescue_next(r, k, prefix, first, &v) == 0) {
		first = false;
		memset(group, 0, LMQ_NAME_MAX + 1);
		if (k->bytes[0] == 'F' && k->size == FLOOR_KEY && name_get(group, k, v.mv_data, v.mv_size))
			return true;
		if (k->bytes[0] == 'F' || k->size <= size || k->size - size > LMQ_NAME_MAX)
			continue;
		memcpy(group, k->bytes + size, k->size - size);
		if (lmq_name_valid(group))
			return true;
	}
	return false;
}

static int mend_group(struct rescue *r, uint32_t id, const struct channel_record *c, const char *group)
{
	int rc = 0;
	for (uint16_t lane = 0; rc == 0 && lane < lanes_of(c); lane++)
		rc = mend_one(r, id, c, lane, group);
	return rc;
}

int mend_groups(struct rescue *r, uint32_t id, const struct channel_record *c)
{
	const struct {
		struct key from;
		size_t name;
	} tables[] = { { key_group(id, 0, ""), BLOCK_PREFIX }, { key_settings(id, ""), RUN_PREFIX },
		{ key_floor(id, 0, 0, 0), 0 } };
	char group[LMQ_NAME_MAX + 1];
	int rc = 0;
	if (c->kind == LMQ_QUEUE)
		return mend_one(r, id, c, 0, "");
	for (size_t i = 0; rc == 0 && i < 3; i++) {
		struct key k = tables[i].from;
		k.size = RUN_PREFIX;
		for (bool first = true; rc == 0 && next_group(r, &k, RUN_PREFIX, tables[i].name, first, group); first = false) {
			struct key mine = key_group(id, 0, group);
			MDB_val v;
			/* Those of the first table are mended by their first lane. */
			if (i == 0 ? get16(k.bytes + RUN_PREFIX) == 0 || rescue_get(r, &mine, &v) != 0 :
					rescue_get(r, &mine, &v) != 0)
				rc = mend_group(r, id, c, group);
		}
	}
	return rc;
}
