/* SPDX-License-Identifier: ISC */
/* Checking the store: who there is, and that nothing belongs to nobody. */
#include "accounts.h"

#include <stdio.h>
#include <string.h>

/* ---- the store and its names ---------------------------------------------------------------- */

/* Tables that there are not. */
static int strange_tables(struct account *a)
{
	struct key all = { .size = 0 };
	struct entries e;
	int rc = entries_open(a, &e, &all, 0);
	e.any_size = true;
	e.from = (struct key){ { 0 }, 1 };
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		if (!entries_table(e.key.bytes[0]))
			account_fault(a, "store", "has entries in a table 0x%02x, which there is not", e.key.bytes[0]);
		entries_skip(&e, 1);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

int census_store(struct account *a)
{
	struct key table = { { 'S' }, 1 };
	struct entries e;
	int rc = entries_open(a, &e, &table, 1);
	while (rc == 0 && (rc = entries_next(&e)) == 0)
		a->numbered = store_record_get(&a->store, &e.key, e.value.mv_data, e.value.mv_size);
	entries_close(&e);
	if (rc == LMQ_END && !a->numbered) {
		account_fault(a, "store", "its record is missing or damaged");
		memset(&a->store, 0, sizeof a->store);
	}
	if (rc == LMQ_END && a->numbered && (a->store.version < FORMAT_OLDEST || a->store.version > FORMAT_VERSION ||
			a->store.features != 0))
		return fail(a->s, LMQ_EFORMAT, "%s: a store of a newer format", a->s->path);
	return rc == LMQ_END ? strange_tables(a) : rc;
}

/* Whether the channel has that name. A record that cannot be read is told of elsewhere. */
static int named(struct account *a, uint32_t id, const char *name, bool *same)
{
	struct channel_record r;
	struct key k = key_channel(id);
	MDB_val v;
	int rc = account_get(a, &k, &v);
	*same = rc == 0 && (!channel_record_get(&r, &k, v.mv_data, v.mv_size) || strcmp(r.name, name) == 0);
	return rc == LMQ_END ? 0 : rc;
}

int census_names(struct account *a)
{
	struct key table = { { 'C' }, 1 };
	char name[LMQ_NAME_MAX + 1];
	struct entries e;
	int rc = entries_open(a, &e, &table, 1);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		uint64_t id;
		bool same;
		if (!account_name(&e.key, 1, name)) {
			account_fault(a, "store", "has a channel whose name is none");
			continue;
		}
		if (!number_get(&id, 4, &e.key, e.value.mv_data, e.value.mv_size)) {
			account_fault(a, name, "the entry of its name is damaged");
			continue;
		}
		rc = named(a, (uint32_t)id, name, &same);
		if (rc == 0 && !same)
			account_fault(a, name, "the name leads to channel %u, which has it not", (uint32_t)id);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* The other way round. */
static int check_name(struct account *a, const struct owner *o)
{
	struct key k = key_name(o->name);
	uint64_t id;
	MDB_val v;
	int rc = account_get(a, &k, &v);
	if (rc == LMQ_END || (rc == 0 && number_get(&id, 4, &k, v.mv_data, v.mv_size) && id != o->id))
		account_fault(a, o->name, "its name does not lead to it");
	return rc == LMQ_END ? 0 : rc;
}

/* ---- ids ------------------------------------------------------------------------------------ */

struct sum {			/* over the hashes of keys of J */
	uint64_t of_ids, of_ages;
	bool damaged;
};

static void add_id(struct account *a, const struct owner *o, const struct entries *e, struct sum *sum)
{
	struct id_record r;
	struct key age;
	if (!id_record_get(&r, &e->key, e->value.mv_data, e->value.mv_size)) {
		account_fault(a, o->name, "what it knows of an id is damaged");
		sum->damaged = true;
		return;
	}
	if (r.lane >= o->lanes || r.offset >= o->ends[r.lane])
		account_fault(a, o->name, "an id is of message %u:%llu, which there never was", r.lane,
			(unsigned long long)r.offset);
	age = key_id_age(o->id, r.time, e->key.bytes + RUN_PREFIX);
	sum->of_ids += hash64(a->store.uuid, age.bytes, age.size);
}

static void add_age(struct account *a, const struct owner *o, const struct entries *e, struct sum *sum)
{
	uint64_t nothing;
	if (!number_get(&nothing, 0, &e->key, e->value.mv_data, e->value.mv_size)) {
		account_fault(a, o->name, "the age of an id is damaged");
		sum->damaged = true;
	}
	sum->of_ages += hash64(a->store.uuid, e->key.bytes, e->key.size);
}

/* Whether the entry has the one in the other table that belongs to it. */
static int has_counterpart(struct account *a, const struct entries *e, bool *has)
{
	uint32_t id = get32(e->key.bytes + 1);
	bool is_id = e->key.bytes[0] == 'I';
	const uint8_t *hash = e->key.bytes + (is_id ? RUN_PREFIX : RUN_PREFIX + 8);
	struct key i = key_id(id, hash), age;
	struct id_record r = { .time = 0 };
	MDB_val v;
	int rc = account_get(a, &i, &v);
	*has = rc == 0 && id_record_get(&r, &i, v.mv_data, v.mv_size);
	if (!*has)
		return rc == LMQ_END ? 0 : rc;
	age = key_id_age(id, r.time, hash);
	if (!is_id) {
		*has = memcmp(age.bytes, e->key.bytes, age.size) == 0;
		return 0;
	}
	rc = account_get(a, &age, &v);
	*has = rc == 0;
	return rc == LMQ_END ? 0 : rc;
}

/* Those without the other. */
static int name_lonely(struct account *a, const struct owner *o, const struct key *prefix, const char *what)
{
	struct entries e;
	bool has;
	int rc = entries_open(a, &e, prefix, RUN_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		rc = has_counterpart(a, &e, &has);
		if (rc == 0 && !has)
			account_fault(a, o->name, "%s", what);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

static int check_ids(struct account *a, const struct owner *o)
{
	static const uint8_t zero[16];
	struct key prefix[] = { key_id(o->id, zero), key_id_age(o->id, 0, zero) };
	void (*const add[])(struct account *a, const struct owner *o, const struct entries *e, struct sum *sum) = {
		add_id, add_age };
	struct sum sum = { 0, 0, false };
	int rc = 0;
	for (int i = 0; rc == 0 && i < 2; i++) {
		struct entries e;
		rc = entries_open(a, &e, &prefix[i], RUN_PREFIX);
		while (rc == 0 && (rc = entries_next(&e)) == 0)
			add[i](a, o, &e, &sum);
		entries_close(&e);
		rc = rc == LMQ_END ? 0 : rc;
	}
	if (rc != 0 || sum.damaged || sum.of_ids == sum.of_ages)
		return rc;
	rc = name_lonely(a, o, &prefix[0], "an id has no age, so it will never be forgotten");
	return rc == 0 ? name_lonely(a, o, &prefix[1], "an age is that of no id") : rc;
}

/* ---- what else belongs to a channel -------------------------------------------------------------- */

static int check_loads(struct account *a, const struct owner *o)
{
	struct key prefix = key_resume(o->id, "");
	char name[LMQ_NAME_MAX + 1];
	struct entries e;
	uint64_t stored;
	int rc = entries_open(a, &e, &prefix, prefix.size);
	while (rc == 0 && (rc = entries_next(&e)) == 0)
		if (!account_name(&e.key, RUN_PREFIX, name) ||
				!number_get(&stored, 8, &e.key, e.value.mv_data, e.value.mv_size))
			account_fault(a, o->name, "the state of a bulk load is damaged");
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

static int check_settings(struct account *a, const struct owner *o)
{
	struct key prefix = key_settings(o->id, ""), position;
	char group[LMQ_NAME_MAX + 1], object[OBJECT_MAX];
	struct channel_record r;
	struct entries e;
	MDB_val v;
	int rc = entries_open(a, &e, &prefix, prefix.size);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		bool valid = account_name(&e.key, RUN_PREFIX, group);
		owner_object(o, 0, group, object);
		if (!valid || !channel_record_get(&r, &e.key, e.value.mv_data, e.value.mv_size) || r.kind != LMQ_GROUP) {
			account_fault(a, object, "its properties are damaged");
			continue;
		}
		position = key_group(o->id, 0, group);
		rc = account_get(a, &position, &v);
		if (rc == LMQ_END) {
			account_fault(a, object, "there are properties of the group, and no position");
			rc = 0;
		}
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

int census_channel(struct account *a, const struct owner *o)
{
	int rc = check_name(a, o);
	if (rc == 0)
		rc = check_ids(a, o);
	if (rc == 0)
		rc = check_loads(a, o);
	return rc == 0 ? check_settings(a, o) : rc;
}

/* ---- what belongs to nobody ------------------------------------------------------------------------ */

/* Lanes of the channel; 0: there is none of that number. One whose record is damaged, or that is removed, has all. */
static int lanes_there(struct account *a, uint32_t id, unsigned *lanes)
{
	struct key k = key_channel(id), removed = key_sweep('c', id);
	struct channel_record r;
	MDB_val v;
	int rc = account_get(a, &k, &v);
	*lanes = rc == 0 ? UINT16_MAX + 1u : 0;
	if (rc == 0 && channel_record_get(&r, &k, v.mv_data, v.mv_size))
		*lanes = lanes_of(&r);
	if (rc == LMQ_END && (rc = account_get(a, &removed, &v)) == 0)
		*lanes = UINT16_MAX + 1u;
	return rc == LMQ_END ? 0 : rc;
}

static int stray_of_channel(struct account *a, const struct key *k, bool of_lane)
{
	uint32_t id = get32(k->bytes + 1);
	unsigned lanes, lane = of_lane ? get16(k->bytes + RUN_PREFIX) : 0;
	int rc = lanes_there(a, id, &lanes);
	if (rc == 0 && lanes == 0)
		account_fault(a, "store", "table %c has entries of channel %u, which there is not", k->bytes[0], id);
	else if (rc == 0 && lane >= lanes)
		account_fault(a, "store", "table %c has entries of partition %u of channel %u, which has only %u",
			k->bytes[0], lane, id, lanes);
	return rc;
}

static int stray_of_reader(struct account *a, const struct key *k)
{
	uint32_t space = get32(k->bytes + 1);
	struct key swept = key_sweep('g', space);
	MDB_val v;
	int rc = account_has_space(a, space) ? 0 : account_get(a, &swept, &v);
	if (rc == LMQ_END)
		account_fault(a, "store", "table %c has entries of reader %u, which there is not", k->bytes[0], space);
	return rc == LMQ_END ? 0 : rc;
}

/* Each beginning of keys that is met, once; heads have nothing behind it, and are met nowhere else. */
static int strays_of(struct account *a, char table, size_t prefix, bool of_reader)
{
	struct key k = { { (uint8_t)table }, 1 };
	struct entries e;
	int rc = entries_open(a, &e, &k, 1);
	e.any_size = table != 'H';
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		if (e.key.size < prefix) {
			account_fault(a, "store", "has a key of %zu bytes in table %c", e.key.size, table);
			continue;
		}
		rc = of_reader ? stray_of_reader(a, &e.key) : stray_of_channel(a, &e.key, prefix > RUN_PREFIX);
		if (table != 'H')
			entries_skip(&e, prefix);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

int census_strays(struct account *a)
{
	int rc = 0;
	for (const char *table = "EIJN"; rc == 0 && *table; table++)
		rc = strays_of(a, *table, RUN_PREFIX, false);
	for (const char *table = "FGHLM"; rc == 0 && *table; table++)
		rc = strays_of(a, *table, BLOCK_PREFIX, false);
	/* Which readers there are is not known where a position is damaged. */
	for (const char *table = "RQDK"; rc == 0 && !a->unplaced && *table; table++)
		rc = strays_of(a, *table, RUN_PREFIX, true);
	return rc;
}

/* ---- the sweeper ----------------------------------------------------------------------------- */

static int check_sweep(struct account *a, char kind, uint64_t number)
{
	struct key channel = key_channel((uint32_t)number);
	MDB_val v;
	int rc = LMQ_END;
	if (!memchr("bcgk", kind, 4)) {
		account_fault(a, "store", "an entry of the sweeper is of an unknown kind");
		return 0;
	}
	if (kind == 'b' && a->numbered && number >= a->store.next_blob) {
		account_fault(a, "store", "body %llu is to be swept, and there was none of that number",
			(unsigned long long)number);
	} else if (kind != 'b') {
		account_number(a, "an entry of the sweeper", number > UINT32_MAX ? UINT32_MAX : (uint32_t)number);
		rc = kind == 'c' ? account_get(a, &channel, &v) : LMQ_END;
	}
	if (rc == 0)
		account_fault(a, "store", "channel %u is to be swept, and there all the same", (uint32_t)number);
	if (kind == 'g' && account_has_space(a, (uint32_t)number))
		account_fault(a, "store", "the runs of reader %u are to be swept, and it is there all the same",
			(uint32_t)number);
	return rc == LMQ_END ? 0 : rc;
}

int census_sweeps(struct account *a)
{
	struct key table = { { 'X' }, 1 };
	struct entries e;
	uint64_t nothing;
	int rc = entries_open(a, &e, &table, 1);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		if (!number_get(&nothing, 0, &e.key, e.value.mv_data, e.value.mv_size))
			account_fault(a, "store", "an entry of the sweeper is damaged");
		else
			rc = check_sweep(a, (char)e.key.bytes[1], get64(e.key.bytes + 2));
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- routes ---------------------------------------------------------------------------------- */

static int check_route(struct account *a, const char *object, const struct binding *b)
{
	struct key k = key_channel(b->destination);
	MDB_val v;
	int rc = account_get(a, &k, &v);
	if (rc == LMQ_END)
		account_fault(a, object, "leads to channel %u, which there is not", b->destination);
	if (a->numbered && (a->store.routes == 0 || b->route.number >= a->store.next_route))
		account_fault(a, object, "the store does not know of it");
	return rc == LMQ_END ? 0 : rc;
}

int census_routes(struct account *a)
{
	struct key table = { { 'U' }, 1 };
	struct entries e;
	int rc = entries_open(a, &e, &table, 1);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		MDB_val key = { e.key.size, e.key.bytes };
		char object[32];
		struct binding b;
		snprintf(object, sizeof object, "route %u", get32(e.key.bytes + 1));
		rc = binding_get(a->s, &key, &e.value, &b);
		if (rc == 0)
			rc = check_route(a, object, &b);
		else if (rc == LMQ_EDAMAGED) {
			account_fault(a, object, "is damaged");
			rc = 0;
		}
		binding_free(&b);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}
