/* SPDX-License-Identifier: ISC */
/*
 * Groups of topics and streams, as a whole: made with properties, listed, removed. A group has a position in each
 * lane (group.c), and one set of properties.
 */
#include "receiver.h"

#include <stdio.h>
#include <string.h>

int groups_check(lmq_channel *c, const char *group)
{
	if (c->kind == LMQ_QUEUE)
		return fail(c->store, LMQ_EKIND, "%s: a queue has no groups", c->name);
	if (group && !lmq_name_valid(group))
		return fail(c->store, LMQ_EINVAL, "%.*s: not a valid name for a group", LMQ_NAME_MAX, group);
	return 0;
}

int groups_missing(lmq_channel *c, const char *group)
{
	return fail(c->store, LMQ_ENOENT, "%s: no group '%s'", c->name, group);
}

/* ---- making ------------------------------------------------------------------------------- */

/* In flight a message does not know of a new order. */
static int check_idle(struct txn *t, lmq_channel *c, const char *group)
{
	struct group_record g;
	int rc = 0;
	for (uint16_t lane = 0; rc == 0 && lane < c->lanes; lane++) {
		rc = get_group(c->store, t->mdb, c->id, lane, group, &g);
		for (int i = 0; rc == 0 && i < RUN_STATES; i++)
			if (g.state[i] > 0) {
				fail(c->store, LMQ_EBUSY, "%s: order can be changed only while no message of the group '%s' is in flight",
					c->name, group);
				fail_hint(c->store, "let its members settle what they have, or make another group");
				return LMQ_EBUSY;
			}
	}
	return rc == LMQ_END ? 0 : rc;
}

static int set_properties(struct txn *t, lmq_channel *c, const char *group, const char *const properties[],
	size_t count, struct lmq_property *changed, size_t *changed_count)
{
	struct channel_record channel, r;
	char object[2 * LMQ_NAME_MAX + 10];
	int rc = channel_record(c, t->mdb, &channel);
	*changed_count = 0;
	if (rc == 0)
		rc = get_settings(c->store, t->mdb, c->id, &channel, group, &r);
	snprintf(object, sizeof object, "%s: group %s", c->name, group);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct lmq_property one = { .set = false };
		bool differs;
		rc = property_set(c->store, object, &r, properties[i], &one, &differs);
		if (rc == 0 && differs && strcmp(one.name, "order") == 0)
			rc = check_idle(t, c, group);
		if (rc == 0 && differs && changed)
			changed[*changed_count] = one;
		*changed_count += rc == 0 && differs;
	}
	return rc == 0 && *changed_count > 0 ? put_settings(t, c->id, group, &r) : rc;
}

/* The group and its properties are one change: neither is there without the other. */
int lmq_group_make(lmq_channel *c, const char *group, enum lmq_seek start, int64_t value,
	const char *const properties[], size_t count, bool *created, struct lmq_property *changed, size_t *changed_count)
{
	struct lmq_receiver_options o = { .size = sizeof o, .group = group, .start = start, .start_value = value };
	uint64_t offsets[LMQ_PARTITIONS_MAX];
	size_t n = 0;
	struct txn t;
	bool made = false;
	int rc = groups_check(c, group);
	*created = false;
	if (changed_count)
		*changed_count = 0;
	if (rc == 0)
		rc = group_places(c, &o, offsets);
	if (rc == 0)
		rc = txn_begin(c->store, &t);
	if (rc != 0)
		return rc;
	rc = group_enrol(&t, c, group, offsets, &made);
	if (rc == 0)
		rc = set_properties(&t, c, group, properties, count, changed, &n);
	if (rc == 0 && (made || n > 0))
		rc = txn_commit(&t, LMQ_SYNC_FULL);
	else
		txn_abort(&t);
	*created = rc == 0 && made;
	if (changed_count && rc == 0)
		*changed_count = n;
	return rc;
}

int lmq_group_properties(lmq_channel *c, const char *group, struct lmq_property list[LMQ_PROPERTY_MAX], size_t *count)
{
	struct channel_record channel, r;
	struct group_record g;
	struct snapshot p;
	int rc = groups_check(c, group);
	if (rc != 0)
		return rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = channel_record(c, p.mdb, &channel);
	if (rc == 0 && (rc = get_group(c->store, p.mdb, c->id, 0, group, &g)) == LMQ_END)
		rc = groups_missing(c, group);
	if (rc == 0)
		rc = get_settings(c->store, p.mdb, c->id, &channel, group, &r);
	snapshot_close(&p);
	if (rc == 0)
		property_list(&r, list, count);
	return rc;
}

/* ---- listing ------------------------------------------------------------------------------ */

struct group_names {
	char (*names)[LMQ_NAME_MAX + 1];
	size_t count, room;
};

/* The names of the groups of lane 0, in order; every group has a position there. */
static int gather(lmq_channel *c, struct snapshot *p, struct group_names *n)
{
	struct key k = key_group(c->id, 0, "");
	MDB_val key = { k.size, k.bytes }, value;
	int rc = mdb_cursor_get(p->cursor, &key, &value, MDB_SET_RANGE);
	for (; rc == 0; rc = mdb_cursor_get(p->cursor, &key, &value, MDB_NEXT)) {
		size_t size = key.mv_size - k.size;
		if (key.mv_size <= k.size || memcmp(key.mv_data, k.bytes, k.size) != 0)
			return 0;
		if (size > LMQ_NAME_MAX)
			return fail_damaged(c->store, "the position of a group");
		if (n->count == n->room) {
			void *more = realloc(n->names, (n->room = 2 * n->room + 16) * sizeof *n->names);
			if (!more)
				return fail(c->store, LMQ_ENOMEM, "%s: out of memory", c->name);
			n->names = more;
		}
		memcpy(n->names[n->count], (const char *)key.mv_data + k.size, size);
		n->names[n->count++][size] = '\0';
	}
	return rc == MDB_NOTFOUND ? 0 : fail_lmdb(c->store, c->store->path, rc);
}

/* The oldest unsettled message: its offset and time; and how many there are. */
static int fill_position(lmq_channel *c, struct snapshot *p, const struct head_record *head,
	const struct group_record *g, struct lmq_group_info *i)
{
	struct run_record run;
	struct log_cursor cursor;
	struct record r;
	uint64_t waiting = 0;
	int rc = group_run(c->store, p->cursor, g, head->end, head->first, &run);
	i->position = i->end = head->end;
	if (rc == LMQ_END)
		return 0;
	if (rc != 0)
		return rc;
	i->position = run.first;
	for (int state = 0; state < RUN_STATES; state++)
		waiting += g->state[state];
	i->lag = waiting + (head->end > g->next ? head->end - g->next : 0);
	if (g->next < head->first)
		i->lag = head->end - head->first;
	else if (i->lag > head->end - i->position)
		i->lag = head->end - i->position;
	log_cursor_init(&cursor, p, c->id, (uint16_t)i->partition);
	cursor.head = *head;
	log_seek(&cursor, i->position);
	rc = log_next(&cursor, &r);
	if (rc == 0)
		i->oldest_time = r.time;
	log_cursor_close(&cursor);
	return rc == LMQ_END || rc == LMQ_EDAMAGED ? 0 : rc;
}

int groups_listed(lmq_channel *c, struct snapshot *p, const char *group, bool *there)
{
	struct group_names n = { .names = NULL };
	int rc = gather(c, p, &n);
	*there = false;
	for (size_t i = 0; rc == 0 && i < n.count; i++)
		*there |= strcmp(group, n.names[i]) == 0;
	free(n.names);
	return rc;
}

static int fill(lmq_channel *c, struct snapshot *p, const char *name, uint16_t lane, struct lmq_group_info *i)
{
	struct head_record head;
	struct group_record g;
	int rc = get_head(c->store, p->mdb, c->id, lane, &head);
	if (rc == 0)
		rc = get_group(c->store, p->mdb, c->id, lane, name, &g);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(c->store, "a group without a position") : rc;
	*i = (struct lmq_group_info){ .partition = lane, .leased = g.state[RUN_LEASED], .delayed = g.state[RUN_DELAYED],
		.retrying = g.state[RUN_RETRYING], .blocked = g.state[RUN_BLOCKED],
		.acknowledged = g.counter[COUNT_ACKNOWLEDGED], .dead = g.counter[COUNT_DEAD],
		.missed = g.counter[COUNT_DROPPED] };
	strcpy(i->name, name);
	return fill_position(c, p, &head, &g, i);
}

static int list_all(lmq_channel *c, struct snapshot *p, const char *group, struct lmq_group_info **list,
	size_t *count)
{
	struct group_names n = { .names = NULL };
	struct channel_record record;
	int rc = channel_record(c, p->mdb, &record);
	if (rc == 0)
		rc = gather(c, p, &n);
	*list = rc == 0 ? malloc((n.count * c->lanes + 1) * sizeof **list) : NULL;
	if (rc == 0 && !*list)
		rc = fail(c->store, LMQ_ENOMEM, "%s: out of memory", c->name);
	for (size_t i = 0; rc == 0 && i < n.count; i++)
		for (uint16_t lane = 0; rc == 0 && lane < c->lanes; lane++)
			if (!group || strcmp(group, n.names[i]) == 0)
				rc = fill(c, p, n.names[i], lane, &(*list)[(*count)++]);
	free(n.names);
	if (rc == 0 && group && *count == 0)
		rc = groups_missing(c, group);
	return rc;
}

int lmq_group_list(lmq_channel *c, const char *group, struct lmq_group_info **list, size_t *count)
{
	struct snapshot p;
	int rc = groups_check(c, group);
	*list = NULL;
	*count = 0;
	if (rc != 0)
		return rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = list_all(c, &p, group, list, count);
	snapshot_close(&p);
	if (rc == 0) {
		member_list(c, *list, *count);
	} else {
		free(*list);
		*list = NULL;
		*count = 0;
	}
	return rc;
}

/* ---- removing ----------------------------------------------------------------------------- */

static int remove_lane(struct txn *t, lmq_channel *c, const char *group, uint16_t lane)
{
	struct key k = key_group(c->id, lane, group), sweep;
	uint8_t value[SWEEP_RECORD];
	struct group_record g;
	int rc = get_group(c->store, t->mdb, c->id, lane, group, &g);
	if (rc == LMQ_END)
		return lane == 0 ? groups_missing(c, group) : 0;
	if (rc == 0)
		rc = retain_floor_forget(t, c->id, lane, &g);
	if (rc == 0)
		rc = delete_key(t, &k);
	sweep = key_sweep('g', g.space);
	return rc == 0 ? put_value(t, &sweep, value, number_put(0, 0, &sweep, value)) : rc;
}

static int remove_once(lmq_channel *c, const char *group)
{
	struct key settings = key_settings(c->id, group);
	struct channel_record r;
	struct txn t;
	int rc = groups_check(c, group);
	if (rc == 0)
		rc = txn_begin(c->store, &t);
	if (rc != 0)
		return rc;
	rc = channel_record(c, t.mdb, &r);
	for (uint16_t lane = 0; rc == 0 && lane < c->lanes; lane++)
		rc = remove_lane(&t, c, group, lane);
	if (rc == 0 && (rc = delete_key(&t, &settings)) == LMQ_END)
		rc = 0;
	txn_wake(&t, c->id);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

int lmq_group_remove(lmq_channel *c, const char *group)
{
	int rc = remove_once(c, group);
	return rc == LMQ_ENOSPC && ballast_drop(c->store) ? remove_once(c, group) : rc;
}
