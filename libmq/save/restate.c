/* SPDX-License-Identifier: ISC */
/*
 * A repair: the positions of a channel's readers, and the states of what they have not settled.
 *
 * Runs are what counts (runs.c); Q, D and K follow from them, and so do a position's counts. Where runs are lost, Q says
 * which messages were ready, and D which waited and until when (indexes.c); if then still less is unsettled than the
 * position had counted, everything else that the lost runs can have been about is to be delivered again (again.c). A
 * position that is lost begins behind its last run.
 */
#include "states.h"

#include <stdio.h>
#include <string.h>

/* ---- positions ------------------------------------------------------------------------------ */

static bool same_position(const struct group_record *a, const struct group_record *b)
{
	return a->next == b->next && a->settled == b->settled && a->space == b->space && a->flags == b->flags &&
		a->floor == b->floor && memcmp(a->state, b->state, sizeof a->state) == 0 &&
		memcmp(a->counter, b->counter, sizeof a->counter) == 0;
}

static int mend_reader(struct reader *p)
{
	struct group_record before = p->g;
	struct key runs = key_run(p->g.space, 0);
	int rc;
	p->counted = p->counted == UINT64_MAX ? UINT64_MAX : unsettled(&p->g);
	p->doubt = wreck_lacks_any(p->r, &runs, RUN_PREFIX);
	memset(p->g.state, 0, sizeof p->g.state);
	if (p->g.next > p->head.end)
		p->g.next = p->head.end;
	rc = mend_runs(p);
	if (rc == 0)
		rc = mend_indexes(p);
	if (rc == 0 && p->doubt && unsettled(&p->g) < p->counted)
		rc = deliver_again(p);
	if (p->guessed)
		rescue_say(p->r, p->name, "what had become of some messages is known in part only");
	if (rc == 0)
		rc = mend_chains(p);
	/* All below next is settled or in a run. */
	p->g.settled = p->g.next - unsettled(&p->g);
	if (rc != 0 || same_position(&before, &p->g))
		return rc;
	p->r->result->mended++;
	return rescue_put_group(p->r, p->id, p->lane, p->group, &p->g);
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
	if (store.next_id >= SPACE_MAX)
		return fail_damaged(r->to, "numbers of channels");
	*space = store.next_id++;
	return put_store_record(&r->t, &store);
}

/* needs: its entry of table F, which has the space and the lowest unsettled message of a topic's group; NULL: none is there. */
static int make_position(struct reader *p, const struct key *needs)
{
	uint64_t floor = needs ? get64(needs->bytes + BLOCK_PREFIX) : p->head.first, end;
	int rc = 0;
	p->g = (struct group_record){ .space = p->id, .floor = UINT64_MAX };
	if (needs)
		p->g.space = get32(needs->bytes + BLOCK_PREFIX + 8);
	else if (p->channel->kind != LMQ_QUEUE)
		rc = draw_space(p->r, &p->g.space);
	if (rc != 0)
		return rc;
	end = last_end(p);
	p->g.next = end > floor ? end : floor;
	p->g.settled = p->g.next;
	if (p->g.next > p->head.end)
		p->g.next = p->head.end;
	p->counted = UINT64_MAX;
	rescue_say(p->r, p->name, "how far it was is lost: it goes on at message %llu%s", (unsigned long long)p->g.next,
		p->ordered && p->channel->kind == LMQ_QUEUE ? ", not in the order of their keys" : "");
	p->r->result->mended++;
	return rescue_put_group(p->r, p->id, p->lane, p->group, &p->g);
}

/* A group's own rules stand in table E; a queue's in its channel's record. */
static bool is_ordered(struct rescue *r, uint32_t id, const struct channel_record *c, const char *group)
{
	struct key k = key_settings(id, group);
	struct channel_record own;
	MDB_val v;
	if (c->kind == LMQ_QUEUE)
		return limit_of(c, LIMIT_ORDER_KEY) == 1;
	return rescue_get(r, &k, &v) == 0 && channel_record_get(&own, &k, v.mv_data, v.mv_size) &&
		limit_of(&own, LIMIT_ORDER_KEY) == 1;
}

static int mend_one(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane, const char *group,
	const struct key *needs)
{
	struct reader p = { .r = r, .id = id, .lane = lane, .channel = c, .ordered = is_ordered(r, id, c, group) };
	struct key k = key_group(id, lane, group);
	MDB_val v;
	int rc;
	strcpy(p.group, group);
	lane_name(c, lane, p.name);
	if (*group)
		snprintf(p.name + strlen(p.name), LMQ_NAME_MAX + 2, "@%s", group);
	rc = lane_head(r, id, lane, &p.head);
	if (rc == 0 && (rescue_get(r, &k, &v) != 0 || !group_record_get(&p.g, &k, v.mv_data, v.mv_size)))
		rc = make_position(&p, needs);
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

/* k: that tells of the group. */
static int mend_group(struct rescue *r, uint32_t id, const struct channel_record *c, const char *group, const struct key *k)
{
	int rc = 0;
	for (uint16_t lane = 0; rc == 0 && lane < lanes_of(c); lane++) {
		bool needs = k->bytes[0] == 'F' && get16(k->bytes + RUN_PREFIX) == lane;
		rc = mend_one(r, id, c, lane, group, needs ? k : NULL);
	}
	return rc;
}

int mend_groups(struct rescue *r, uint32_t id, const struct channel_record *c)
{
	/* F before E: that knows how far the groups were. */
	const struct {
		struct key from;
		size_t name;
	} tables[] = { { key_group(id, 0, ""), BLOCK_PREFIX }, { key_floor(id, 0, 0, 0), 0 },
		{ key_settings(id, ""), RUN_PREFIX } };
	char group[LMQ_NAME_MAX + 1];
	int rc = 0;
	if (c->kind == LMQ_QUEUE)
		return mend_one(r, id, c, 0, "", NULL);
	if (wreck_lacks_any(r, &tables[0].from, RUN_PREFIX))
		rescue_say(r, c->name, "positions of groups may be lost: there may have been more of them");
	for (size_t i = 0; rc == 0 && i < 3; i++) {
		struct key k = tables[i].from;
		k.size = RUN_PREFIX;
		for (bool first = true; rc == 0 && next_group(r, &k, RUN_PREFIX, tables[i].name, first, group); first = false) {
			bool there = rescue_has(r, key_group(id, 0, group));
			/* Those of the first table are mended by their first lane. */
			if (!there || (i == 0 && get16(k.bytes + RUN_PREFIX) == 0))
				rc = mend_group(r, id, c, group, &k);
		}
	}
	return rc;
}
