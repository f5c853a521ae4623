/* SPDX-License-Identifier: ISC */
/*
 * A repair: what belongs to something else. Entries of table F are made anew from the positions, J from the ids, V from
 * the messages that have a large body; a body that no message has any more goes to the sweeper, as one that was being
 * written does; routes to channels that are lost go, and so does the state of anything that there is not.
 */
#include "rescue.h"

#include <stdio.h>
#include <string.h>

/* ---- table F -------------------------------------------------------------------------------- */

static int put_floor(struct rescue *r, uint32_t id, const struct key *k, struct group_record *g)
{
	char group[LMQ_NAME_MAX + 1] = "";
	uint16_t lane = get16(k->bytes + RUN_PREFIX);
	struct key there = key_floor(id, lane, g->floor, g->space);
	uint64_t was = g->floor;
	MDB_val v;
	int rc;
	memcpy(group, k->bytes + BLOCK_PREFIX, k->size - BLOCK_PREFIX);
	if (was != UINT64_MAX && rescue_get(r, &there, &v) != 0)
		g->floor = UINT64_MAX;
	rc = retain_floor(&r->t, id, lane, group, g);
	if (rc != 0 || g->floor == was)
		return rc;
	r->result->mended++;
	return rescue_put_group(r, id, lane, group, g);
}

static int floor_fits(struct rescue *r, uint32_t id, const struct channel_record *c, const struct key *k, const MDB_val *v)
{
	char group[LMQ_NAME_MAX + 1];
	struct group_record g;
	struct key mine;
	MDB_val position;
	if (c->kind != LMQ_TOPIC || k->size != FLOOR_KEY || !name_get(group, k, v->mv_data, v->mv_size))
		return false;
	mine = key_group(id, get16(k->bytes + RUN_PREFIX), group);
	return rescue_get(r, &mine, &position) == 0 && group_record_get(&g, &mine, position.mv_data, position.mv_size) &&
		g.floor == get64(k->bytes + BLOCK_PREFIX) && g.space == get32(k->bytes + BLOCK_PREFIX + 8);
}

int mend_floors(struct rescue *r, uint32_t id, const struct channel_record *c)
{
	struct key k = key_group(id, 0, "");
	struct group_record g;
	MDB_val v;
	int rc = 0;
	k.size = RUN_PREFIX;
	for (bool first = true; c->kind == LMQ_TOPIC && (rc = rescue_next(r, &k, RUN_PREFIX, first, &v)) == 0; first = false) {
		if (k.size <= BLOCK_PREFIX || k.size - BLOCK_PREFIX > LMQ_NAME_MAX ||
				!group_record_get(&g, &k, v.mv_data, v.mv_size))
			continue;
		rc = put_floor(r, id, &k, &g);
		if (rc != 0)
			return rc;
	}
	k = key_floor(id, 0, 0, 0);
	for (bool first = true; (rc == 0 || rc == LMQ_END) && (rc = rescue_next(r, &k, RUN_PREFIX, first, &v)) == 0; first = false)
		if (!floor_fits(r, id, c, &k, &v)) {
			r->result->mended++;
			rc = rescue_delete(r, &k);
		}
	return rc == LMQ_END ? 0 : rc;
}

/* ---- what is there --------------------------------------------------------------------------- */

static bool channel_there(struct rescue *r, uint32_t id)
{
	return rescue_has(r, key_channel(id)) || rescue_has(r, key_sweep('c', id));
}

/* Goes through a table; fits says whether an entry may stay. */
static int weed(struct rescue *r, char table, int (*fits)(struct rescue *r, const struct key *k, const MDB_val *v))
{
	struct key k = { { (uint8_t)table }, 1 };
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, 1, first, &v)) == 0; first = false) {
		rc = rescue_step(r);
		if (rc == 0 && (rc = fits(r, &k, &v)) == 0) {
			r->result->mended++;
			rc = rescue_delete(r, &k);
		}
		if (rc < 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int of_channel(struct rescue *r, const struct key *k, const MDB_val *v)
{
	(void)v;
	return k->size >= RUN_PREFIX && channel_there(r, get32(k->bytes + 1));
}

static int settings_fit(struct rescue *r, const struct key *k, const MDB_val *v)
{
	struct channel_record c;
	return of_channel(r, k, v) && channel_record_get(&c, k, v->mv_data, v->mv_size);
}

/* ---- spaces --------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static int gather_spaces(struct rescue *r, uint64_t **list, size_t *count)
{
	struct key k = { { 'G' }, 1 };
	struct group_record g;
	uint64_t *more;
	size_t room = 0;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, 1, first, &v)) == 0; first = false) {
		if (!group_record_get(&g, &k, v.mv_data, v.mv_size))
			continue;
		more = rescue_room(*list, *count, &room, sizeof *more);
		if (!more)
			return rescue_no_memory(r);
		*list = more;
		(*list)[(*count)++] = g.space;
	}
	if (*count > 0)
		qsort(*list, *count, sizeof **list, by_number);
	return rc == LMQ_END ? 0 : rc;
}

/* Runs and their indexes, of which no position is left: the sweeper has them. */
static int mend_spaces(struct rescue *r)
{
	uint64_t *spaces = NULL, last = UINT64_MAX;
	uint8_t value[SWEEP_RECORD];
	size_t count = 0;
	int rc = gather_spaces(r, &spaces, &count);
	for (const char *table = "RQDK"; rc == 0 && *table; table++) {
		struct key k = { { (uint8_t)*table }, 1 };
		for (bool first = true; rc == 0 && (rc = rescue_next(r, &k, 1, first, NULL)) == 0; first = false) {
			uint64_t space = k.size >= RUN_PREFIX ? get32(k.bytes + 1) : 0;
			struct key sweep = key_sweep('g', space);
			rc = rescue_step(r);
			if (rc == 0 && space != last && !bsearch(&space, spaces ? spaces : &space, spaces ? count : 0,
					sizeof space, by_number) && !rescue_has(r, sweep)) {
				r->result->mended++;
				rc = rescue_put(r, &sweep, value, number_put(0, 0, &sweep, value));
			}
			last = space;
		}
		rc = rc == LMQ_END ? 0 : rc;
	}
	free(spaces);
	return rc;
}

/* ---- large bodies --------------------------------------------------------------------------- */

static size_t holders(const struct rescue *r, uint64_t blob)
{
	size_t low = 0, high = r->body_count, n = 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (r->bodies[middle] < blob)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + n < r->body_count && r->bodies[low + n] == blob)
		n++;
	return n;
}

/* The logs of channels that are being swept have messages with large bodies too. */
static int removed_bodies(struct rescue *r)
{
	struct key k = { { 'X', 'c' }, 2 }, head;
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, 2, first, NULL)) == 0; first = false) {
		uint32_t id = k.size == SWEEP_KEY ? (uint32_t)get64(k.bytes + 2) : 0;
		struct channel_record c = { .kind = rescue_has(r, key_group(id, 0, "")) ? LMQ_QUEUE : LMQ_STREAM };
		head = key_head(id, 0);
		for (bool again = true; (rc = rescue_next(r, &head, RUN_PREFIX, again, NULL)) == 0; again = false)
			if ((rc = lane_bodies(r, id, &c, get16(head.bytes + RUN_PREFIX))) != 0)
				return rc;
		if (rc != LMQ_END)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int mend_shared(struct rescue *r)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < r->body_count;) {
		size_t n = holders(r, r->bodies[i]);
		struct key k = key_shared(r->bodies[i]), sweep = key_sweep('b', r->bodies[i]);
		uint8_t value[NUMBER_RECORD];
		uint64_t says = 0;
		MDB_val v;
		if (rescue_get(r, &k, &v) == 0 && !number_get(&says, 8, &k, v.mv_data, v.mv_size))
			says = UINT64_MAX;
		if (says != n - 1) {
			r->result->mended++;
			rc = n == 1 ? rescue_delete(r, &k) : rescue_put(r, &k, value, number_put(n - 1, 8, &k, value));
		}
		if (rc == 0 && rescue_has(r, sweep))
			rc = rescue_delete(r, &sweep);
		i += n;
	}
	return rc;
}

static int share_fits(struct rescue *r, const struct key *k, const MDB_val *v)
{
	(void)v;
	return k->size == CHUNK_PREFIX && holders(r, get64(k->bytes + 1)) > 1;
}

/* Nobody writes it in the new store: if a message had it, its record would be gone. */
static int staging_fits(struct rescue *r, const struct key *k, const MDB_val *v)
{
	(void)r, (void)k, (void)v;
	return false;
}

static int mend_chunks(struct rescue *r)
{
	struct key k = { { 'B' }, 1 };
	uint8_t value[SWEEP_RECORD];
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, 1, first, NULL)) == 0; first = false) {
		uint64_t blob = k.size >= CHUNK_PREFIX ? get64(k.bytes + 1) : 0;
		struct key sweep = key_sweep('b', blob);
		if (holders(r, blob) == 0 && !rescue_has(r, sweep)) {
			r->result->mended++;
			rc = rescue_put(r, &sweep, value, number_put(0, 0, &sweep, value));
			if (rc != 0)
				return rc;
		}
		memset(k.bytes + CHUNK_PREFIX, 0xff, KEY_MAX - 1 - CHUNK_PREFIX);
		k.size = KEY_MAX - 1;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int mend_bodies(struct rescue *r)
{
	int rc = removed_bodies(r);
	if (r->body_count > 0)
		qsort(r->bodies, r->body_count, sizeof *r->bodies, by_number);
	if (rc == 0)
		rc = mend_shared(r);
	if (rc == 0)
		rc = weed(r, 'V', share_fits);
	if (rc == 0)
		rc = weed(r, 'T', staging_fits);
	return rc == 0 ? mend_chunks(r) : rc;
}

/* ---- the rest ------------------------------------------------------------------------------- */

static int id_fits(struct rescue *r, const struct key *k, const MDB_val *v)
{
	struct id_record i;
	uint8_t value[SWEEP_RECORD];
	struct key age;
	if (k->size != ID_KEY || !id_record_get(&i, k, v->mv_data, v->mv_size) || !channel_there(r, get32(k->bytes + 1)))
		return false;
	age = key_id_age(get32(k->bytes + 1), i.time, k->bytes + RUN_PREFIX);
	if (!rescue_has(r, age)) {
		int rc = rescue_put(r, &age, value, number_put(0, 0, &age, value));
		r->result->mended++;
		if (rc != 0)
			return rc;
	}
	return true;
}

static int age_fits(struct rescue *r, const struct key *k, const MDB_val *v)
{
	struct id_record i;
	struct key id;
	MDB_val found;
	(void)v;
	if (k->size != ID_AGE_KEY)
		return false;
	id = key_id(get32(k->bytes + 1), k->bytes + RUN_PREFIX + 8);
	return rescue_get(r, &id, &found) == 0 && id_record_get(&i, &id, found.mv_data, found.mv_size) &&
		i.time == (int64_t)get64(k->bytes + RUN_PREFIX);
}

static int route_fits(struct rescue *r, const struct key *k, const MDB_val *v)
{
	MDB_val key = { k->size, (void *)k->bytes };
	char name[32];
	struct binding b;
	bool fits;
	int rc = binding_get(r->to, &key, v, &b);
	if (rc == LMQ_ENOMEM)
		return rc;
	fits = rc == 0 && rescue_has(r, key_channel(b.destination));
	if (rc == 0)
		binding_free(&b);
	if (!fits) {
		snprintf(name, sizeof name, "route %u", k->size == ROUTE_KEY ? get32(k->bytes + 1) : 0);
		rescue_say(r, name, "led to a channel that is lost");
	}
	return fits;
}

static int sweep_fits(struct rescue *r, const struct key *k, const MDB_val *v)
{
	uint64_t number = k->size == SWEEP_KEY ? get64(k->bytes + 2) : 0;
	(void)v;
	if (k->size != SWEEP_KEY || !memchr("bcgk", k->bytes[1], 4))
		return false;
	if (k->bytes[1] == 'c')
		return !rescue_has(r, key_channel((uint32_t)number));
	return k->bytes[1] != 'k' || rescue_has(r, key_channel((uint32_t)number));
}

/* What of these tables is lost nothing else tells. */
static void say_strays(struct rescue *r)
{
	static const struct {
		struct key key;
		const char *what;
	} tables[] = {
		{ { "E", 1 }, "settings of groups may be lost: they have the channel's then" },
		{ { "I", 1 }, "ids may be lost: who sends one of these again is not told that it is there" },
		{ { "N", 1 }, "how far loads with a name (--resume) were may be lost: these begin anew" },
		{ { "U", 1 }, "routes may be lost" },
	};
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		if (wreck_lacks_any(r, &tables[i].key, tables[i].key.size))
			rescue_say(r, "store", "%s", tables[i].what);
}

int mend_strays(struct rescue *r)
{
	int rc = mend_spaces(r);
	say_strays(r);
	for (const char *table = "FMN"; rc == 0 && *table; table++)
		rc = weed(r, *table, of_channel);
	if (rc == 0)
		rc = weed(r, 'E', settings_fit);
	if (rc == 0)
		rc = weed(r, 'I', id_fits);
	if (rc == 0)
		rc = weed(r, 'J', age_fits);
	if (rc == 0)
		rc = weed(r, 'U', route_fits);
	if (rc == 0)
		rc = weed(r, 'X', sweep_fits);
	return rc == 0 ? mend_bodies(r) : rc;
}
