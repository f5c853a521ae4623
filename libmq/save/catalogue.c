/* SPDX-License-Identifier: ISC */
/*
 * A repair: the store's record, names and channels. Each channel gets its name, record or both back, from the other or
 * from what it has: a log, a position, ids. What is left of a channel that was removed the sweeper has an entry for.
 */
#include "rescue.h"

#include <stdio.h>
#include <string.h>

/* ---- table S -------------------------------------------------------------------------------- */

/* A number that something in the table uses is below next. */
static void reserve(uint32_t *next, uint64_t used)
{
	if (used >= *next && used < SPACE_MAX)
		*next = (uint32_t)used + 1;
}

/* Spaces of positions, numbers of bodies and routes. */
static int raise_all(struct rescue *r, struct store_record *store)
{
	static const char tables[] = "CPHLEGIJNRQDKUBVT";
	struct group_record g;
	uint64_t id;
	MDB_val v;
	int rc = 0;
	for (const char *table = tables; rc == 0 && *table; table++) {
		struct key k = { { (uint8_t)*table }, 1 };
		for (bool first = true; (rc = rescue_next(r, &k, 1, first, &v)) == 0; first = false) {
			bool wide = *table == 'B' || *table == 'V' || *table == 'T';
			size_t width = wide ? CHUNK_PREFIX : RUN_PREFIX;
			rc = rescue_step(r);
			if (rc != 0)
				return rc;
			if (*table == 'C' && number_get(&id, 4, &k, v.mv_data, v.mv_size))
				reserve(&store->next_id, id);
			if (*table == 'C' || k.size < width)
				continue;
			if (*table == 'U')
				store->next_route = get32(k.bytes + 1) >= store->next_route ? get32(k.bytes + 1) + 1 : store->next_route;
			else if (!wide)
				reserve(&store->next_id, get32(k.bytes + 1));
			else if (get64(k.bytes + 1) >= store->next_blob && get64(k.bytes + 1) < INT64_MAX)
				store->next_blob = get64(k.bytes + 1) + 1;
			if (*table == 'G' && group_record_get(&g, &k, v.mv_data, v.mv_size))
				reserve(&store->next_id, g.space);
			/* Only the number counts: the rest with the same one is jumped over. */
			if (*table != 'G' && *table != 'U') {
				memset(k.bytes + width, 0xff, KEY_MAX - 1 - width);
				k.size = KEY_MAX - 1;
			}
		}
		rc = rc == LMQ_END ? 0 : rc;
	}
	store->routes += store->next_route > 0 && store->routes == 0;
	return rc;
}

int mend_store(struct rescue *r)
{
	struct key k = key_store();
	struct store_record store = { .version = FORMAT_VERSION, .next_id = 1, .next_blob = 1, .create = 1,
		.sync = LMQ_SYNC_FULL, .created = lmq_now() }, before;
	uint8_t value[STORE_RECORD];
	MDB_val v;
	bool there = rescue_get(r, &k, &v) == 0 && store_record_get(&store, &k, v.mv_data, v.mv_size);
	int rc;
	if (there && (store.version > FORMAT_VERSION || store.features != 0))
		return fail(r->s, LMQ_EFORMAT, "%s: a store of a newer format", r->s->path);
	/* The new store begins with one of its own. */
	if (wreck_lacks_key(r, &k)) {
		rescue_say(r, "store", r->record_taken ? "its record may be an older one, and so the store's properties" :
			"its record is lost, and with it the store's properties");
		r->result->mended++;
		/* Channels and bodies that are gone had numbers too. */
		store.next_id = there && store.next_id > (1 << 20) ? store.next_id : 1 << 20;
		store.next_blob += 1 << 20;
	}
	if (!r->uuid_known) {
		rescue_say(r, "store", "what hashes of ids and keys begin with is lost: ids sent before are not known again");
		r->result->mended++;
	}
	before = store;
	rc = raise_all(r, &store);
	store.version = FORMAT_VERSION;
	r->result->mended += before.next_id != store.next_id || before.next_blob != store.next_blob;
	return rc == 0 ? rescue_put(r, &k, value, store_record_put(&store, &k, value)) : rc;
}

/* ---- names ---------------------------------------------------------------------------------- */

static int put_name(struct rescue *r, const char *name, uint32_t id)
{
	struct key k = key_name(name);
	uint8_t value[NAME_RECORD];
	return rescue_put(r, &k, value, number_put(id, 4, &k, value));
}

static int put_channel(struct rescue *r, uint32_t id, const struct channel_record *c)
{
	struct key k = key_channel(id);
	uint8_t value[CHANNEL_RECORD_MAX];
	return rescue_put(r, &k, value, channel_record_put(c, &k, value));
}

/* A record of the channel; false: there is none. */
static bool get_channel(struct rescue *r, uint32_t id, struct channel_record *c)
{
	struct key k = key_channel(id);
	MDB_val v;
	return rescue_get(r, &k, &v) == 0 && channel_record_get(c, &k, v.mv_data, v.mv_size) && c->kind <= LMQ_STREAM;
}

static bool any(struct rescue *r, const struct key *prefix, size_t size, struct key *found)
{
	*found = *prefix;
	found->size = size;
	return rescue_next(r, found, size, true, NULL) == 0;
}

static bool has_links(struct rescue *r, uint32_t id)
{
	struct key k = key_block(id, 0, 0, 0);
	struct block b;
	MDB_val v;
	return rescue_next(r, &k, RUN_PREFIX, true, &v) == 0 && block_get(&b, k.bytes, k.size, v.mv_data, v.mv_size) && b.link;
}

/* How many partitions the keys of a table tell of. */
static uint16_t lanes_seen(struct rescue *r, uint32_t id, char table)
{
	struct key k = key_head(id, 0);
	uint16_t lanes = 1;
	k.bytes[0] = (uint8_t)table;
	while (rescue_next(r, &k, RUN_PREFIX, true, NULL) == 0 && k.size >= BLOCK_PREFIX) {
		uint16_t lane = get16(k.bytes + RUN_PREFIX);
		if (lane >= LMQ_PARTITIONS_MAX)
			break;
		lanes = (uint16_t)(lane + 1);
		k = key_head(id, lanes);
		k.bytes[0] = (uint8_t)table;
	}
	return lanes;
}

/* What kind it was its tables tell; in doubt a stream, which keeps everything. */
static int make_channel(struct rescue *r, uint32_t id, const char *name)
{
	struct channel_record c = { .kind = LMQ_STREAM, .created = lmq_now() };
	struct key found, k = key_floor(id, 0, 0, 0);
	uint16_t lanes = 1;
	snprintf(c.name, sizeof c.name, "%s", name);
	if (rescue_has(r, key_group(id, 0, "")))
		c.kind = LMQ_QUEUE;
	if (c.kind == LMQ_STREAM && any(r, &k, RUN_PREFIX, &found))
		c.kind = LMQ_TOPIC;
	for (const char *table = "HL"; c.kind == LMQ_STREAM && *table; table++) {
		uint16_t seen = lanes_seen(r, id, *table);
		lanes = seen > lanes ? seen : lanes;
	}
	if (lanes > 1) {
		c.given |= 1u << LIMIT_PARTITIONS;
		c.limit[LIMIT_PARTITIONS] = lanes;
	}
	if (c.kind == LMQ_STREAM && has_links(r, id)) {
		c.given |= 1u << LIMIT_AUDIT;
		c.limit[LIMIT_AUDIT] = 1;
	}
	rescue_say(r, name, "its properties are lost: it is a %s with the default ones now", lmq_kind_name((enum lmq_kind)c.kind));
	r->result->mended++;
	return put_channel(r, id, &c);
}

static bool leads_to(struct rescue *r, const char *name, uint32_t id)
{
	struct key k = key_name(name);
	uint64_t number;
	MDB_val v;
	return rescue_get(r, &k, &v) == 0 && number_get(&number, 4, &k, v.mv_data, v.mv_size) && number == id;
}

/* Each name leads to a channel that has it. One from before it was renamed may have been found, too. */
static int mend_names(struct rescue *r)
{
	struct key k = { { 'C' }, 1 };
	struct channel_record c;
	uint64_t id;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, 1, first, &v)) == 0; first = false) {
		char name[LMQ_NAME_MAX + 1] = "";
		if (k.size - 1 <= LMQ_NAME_MAX)
			memcpy(name, k.bytes + 1, k.size - 1);
		if (!lmq_name_valid(name) || !number_get(&id, 4, &k, v.mv_data, v.mv_size) || id >= SPACE_MAX)
			rc = rescue_delete(r, &k);
		else if (!get_channel(r, (uint32_t)id, &c))
			rc = make_channel(r, (uint32_t)id, name);
		else if (strcmp(c.name, name) != 0 && leads_to(r, c.name, (uint32_t)id))
			rc = rescue_delete(r, &k);
		else if (strcmp(c.name, name) != 0) {
			strcpy(c.name, name);
			rc = put_channel(r, (uint32_t)id, &c);
		}
		if (rc != 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* Whether the name leads there, or nowhere. */
static bool name_free(struct rescue *r, const char *name, uint32_t id, bool *there)
{
	struct key k = key_name(name);
	uint64_t number = 0;
	MDB_val v;
	*there = rescue_get(r, &k, &v) == 0 && number_get(&number, 4, &k, v.mv_data, v.mv_size);
	return !*there || number == id;
}

static void invent_name(struct rescue *r, uint32_t id, char name[LMQ_NAME_MAX + 1])
{
	bool there;
	snprintf(name, LMQ_NAME_MAX + 1, "lost-%u", id);
	for (unsigned i = 2; !name_free(r, name, id, &there) && i != 0; i++)
		snprintf(name, LMQ_NAME_MAX + 1, "lost-%u-%u", id, i);
}

/* Each channel has a name that leads to it. */
static int mend_records(struct rescue *r)
{
	struct key k = key_channel(0);
	struct channel_record c;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(r, &k, 1, first, &v)) == 0; first = false) {
		uint32_t id = k.size == RUN_PREFIX ? get32(k.bytes + 1) : 0;
		bool there, mine;
		if (k.size != RUN_PREFIX || !channel_record_get(&c, &k, v.mv_data, v.mv_size) || c.kind > LMQ_STREAM) {
			if ((rc = rescue_delete(r, &k)) != 0)
				return rc;
			continue;
		}
		mine = name_free(r, c.name, id, &there);
		if (mine && there)
			continue;
		if (!mine) {
			invent_name(r, id, c.name);
			rescue_say(r, c.name, "its name is lost");
		}
		r->result->mended++;
		rc = put_name(r, c.name, id);
		if (rc == 0)
			rc = put_channel(r, id, &c);
		if (rc != 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* Logs and positions of channels of which there is neither name nor record. */
static int mend_nameless(struct rescue *r)
{
	int rc = 0;
	for (const char *table = "HLG"; rc == 0 && *table; table++) {
		struct key k = { { (uint8_t)*table }, 1 };
		for (bool first = true; (rc = rescue_next(r, &k, 1, first, NULL)) == 0; first = false) {
			char name[LMQ_NAME_MAX + 1];
			struct channel_record c;
			uint32_t id;
			if (k.size < BLOCK_PREFIX)
				continue;
			id = get32(k.bytes + 1);
			if (id < SPACE_MAX && !get_channel(r, id, &c) && !rescue_has(r, key_sweep('c', id))) {
				invent_name(r, id, name);
				rescue_say(r, name, "its name is lost");
				rc = put_name(r, name, id);
				if (rc == 0)
					rc = make_channel(r, id, name);
				if (rc != 0)
					return rc;
			}
			memset(k.bytes + RUN_PREFIX, 0xff, KEY_MAX - 1 - RUN_PREFIX);
			k.size = KEY_MAX - 1;
		}
		rc = rc == LMQ_END ? 0 : rc;
	}
	return rc;
}

int mend_catalogue(struct rescue *r)
{
	const struct key names = { { 'C' }, 1 }, records = { { 'P' }, 1 };
	int rc = mend_names(r);
	if (wreck_lacks_any(r, &names, 1) && wreck_lacks_any(r, &records, 1))
		rescue_say(r, "store", "names of channels are lost: there may have been more of them");
	if (rc == 0)
		rc = mend_records(r);
	return rc == 0 ? mend_nameless(r) : rc;
}
