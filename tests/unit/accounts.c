/* SPDX-License-Identifier: ISC */
/* The check of the whole store: each record, counter and index that is wrong is named, and nothing else. */
#include "booked.h"

static const uint8_t zero[16];

/* ---- the store, names, strays --------------------------------------------------------------------- */

static struct store_record store_get(void)
{
	struct key k = key_store();
	struct store_record r;
	MDB_val v = raw_get(&k);
	if (!store_record_get(&r, &k, v.mv_data, v.mv_size))
		abort();
	return r;
}

static void store_put(const struct store_record *r)
{
	struct key k = key_store();
	uint8_t value[STORE_RECORD];
	raw_put(&k, value, store_record_put(r, &k, value));
}

static void no_store(void) { raw_delete(key_store()); }
static void bad_store(void) { raw_damage(key_store()); }
static void low_id(void) { struct store_record r = store_get(); r.next_id--; store_put(&r); }
static void low_body(void) { struct store_record r = store_get(); r.next_blob--; store_put(&r); }
static void low_route(void) { struct store_record r = store_get(); r.next_route = 1; store_put(&r); }
static void no_route(void) { struct store_record r = store_get(); r.routes = 0; store_put(&r); }
static void strange_table(void) { raw_put(&(struct key){ "Zz", 2 }, "abcd", 4); }
static void strange_byte(void) { raw_put(&(struct key){ { 0xff, 0xff }, 2 }, "abcd", 4); }
static void short_key(void) { raw_put(&(struct key){ "Lxx", 3 }, "abcd", 4); }
static void long_key(void) { struct key k = key_run(books.jobs, 0); k.size++; raw_put(&k, "abcd", 4); }
static void huge_key(void)
{
	struct key k = key_head(books.jobs, 0);
	char bytes[300] = { 0 };
	MDB_val v = { sizeof bytes, bytes };
	memcpy(bytes, k.bytes, k.size);
	if (mdb_put(books.txn, books.table, &v, &v, 0) != 0)
		abort();
}
static void store_key(void) { raw_put(&(struct key){ "Sx", 2 }, "abcd", 4); }
static void bad_name(void) { raw_damage(key_name("jobs")); }
static void other_name(void) { raw_number(key_name("jobs"), books.news, 4); }
static void no_name(void) { raw_delete(key_name("jobs")); }
static void name_of_none(void) { raw_number(key_name("more"), 77, 4); }
static void no_valid_name(void) { raw_number((struct key){ "C..", 3 }, books.jobs, 4); }
static void stray(struct key k) { raw_number(k, 0, 0); }
static void stray_head(void) { stray(key_head(99, 0)); }
static void stray_lane(void) { stray(key_head(books.events, 2)); }
static void stray_block(void) { stray(key_block(books.jobs, 1, 0, 0)); }
static void stray_position(void) { stray(key_group(99, 0, "x")); }
static void stray_floor(void) { stray(key_floor(99, 0, 1, 1)); }
static void stray_latest(void) { stray(key_latest(99, 0, zero, 1)); }
static void stray_id(void) { stray(key_id(99, zero)); }
static void stray_age(void) { stray(key_id_age(99, 0, zero)); }
static void stray_load(void) { stray(key_resume(99, "x")); }
static void stray_settings(void) { stray(key_settings(99, "x")); }
static void stray_run(void) { stray(key_run(88, 0)); }
static void stray_ready(void) { stray(key_ready(88, 0, 0)); }
static void stray_due(void) { stray(key_due(88, 0, 0)); }
static void stray_chain(void) { stray(key_chain(88, 0, 0)); }

TEST(census, "names, numbers and entries of nobody")
{
	static const struct wrong list[] = {
		{ no_store, "store", "its record is missing or damaged" },
		{ bad_store, "store", "its record is missing or damaged" },
		{ low_id, "news@readers", "and the store says that" },
		{ low_body, "body 5", "is the next" },
		{ low_route, "route 1", "does not know of it" }, { no_route, "route 1", "does not know of it" },
		{ strange_table, "store", "in a table 0x5a" }, { strange_byte, "store", "in a table 0xff" },
		{ short_key, "store", "a key of 3 bytes in table L" }, { long_key, "store", "a key of 14 bytes in table R" },
		{ huge_key, "store", "a key of 300 bytes in table H" },
		{ store_key, "store", "a key of 2 bytes in table S" },
		{ bad_name, "jobs", "the entry of its name is damaged" }, { no_name, "jobs", "does not lead to it" },
		{ other_name, "jobs", "lead" }, { name_of_none, "more", "channel 77, which has it not" },
		{ no_valid_name, "store", "whose name is none" },
		{ stray_head, "store", "table H has entries of channel 99" },
		{ stray_lane, "store", "partition 2 of channel" }, { stray_block, "store", "partition 1 of channel" },
		{ stray_position, "store", "table G has entries of channel 99" },
		{ stray_floor, "store", "table F has entries of channel 99" },
		{ stray_latest, "store", "table M has entries of channel 99" },
		{ stray_id, "store", "table I has entries of channel 99" },
		{ stray_age, "store", "table J has entries of channel 99" },
		{ stray_load, "store", "table N has entries of channel 99" },
		{ stray_settings, "store", "table E has entries of channel 99" },
		{ stray_run, "store", "table R has entries of reader 88" },
		{ stray_ready, "store", "table Q has entries of reader 88" },
		{ stray_due, "store", "table D has entries of reader 88" },
		{ stray_chain, "store", "table K has entries of reader 88" },
	};
	EACH(list);
}

static struct key first_id(void) { return raw_find(key_id(books.once, zero)); }
static struct key first_age(void) { return raw_find(key_id_age(books.once, 0, zero)); }
static void bad_id(void) { raw_damage(first_id()); }
static void bad_age(void) { raw_damage(first_age()); }
static void no_id(void) { raw_delete(first_id()); }
static void no_age(void) { raw_delete(first_age()); }
static void id_of_none(void)
{
	struct key k = first_id();
	struct id_record r;
	uint8_t value[ID_RECORD];
	MDB_val v = raw_get(&k);
	if (!id_record_get(&r, &k, v.mv_data, v.mv_size))
		abort();
	r.offset = 1;
	raw_put(&k, value, id_record_put(&r, &k, value));
}
static void bad_load(void) { raw_number(key_resume(books.jobs, "load"), 5, 4); }
static void bad_settings(void) { raw_damage(key_settings(books.events, "workers")); }
static void settings_of_none(void)
{
	struct key k = key_settings(books.events, "others");
	struct channel_record r = { .kind = LMQ_GROUP, .name = "events" };
	uint8_t value[CHANNEL_RECORD_MAX];
	raw_put(&k, value, channel_record_put(&r, &k, value));
}
static void bad_channel(void) { raw_damage(key_channel(books.jobs)); }
static void bad_route(void) { raw_damage(key_route(1)); }
static void route_to_none(void)
{
	struct key k = key_route(1);
	struct lmq_route r = { .source = "news", .number = 1 };
	uint8_t value[BINDING_MAX];
	raw_put(&k, value, binding_put(&r, 99, &k, value));
}
static void bad_sweep(void) { raw_damage(key_sweep('c', books.removed)); }
static void strange_sweep(void) { stray(key_sweep('z', 1)); }
static void sweep_channel(void) { stray(key_sweep('c', books.once)); }
static void sweep_reader(void) { stray(key_sweep('g', books.ordered)); }

TEST(more, "ids, bulk loads, properties of groups, routes, the sweeper")
{
	static const struct wrong list[] = {
		{ bad_id, "once", "of an id is damaged" }, { bad_age, "once", "the age of an id is damaged" },
		{ no_id, "once", "an age is that of no id" }, { no_age, "once", "an id has no age" },
		{ id_of_none, "once", "message 0:1, which there never was" },
		{ bad_load, "jobs", "bulk load is damaged" },
		{ bad_settings, "events/0@workers", "its properties are damaged" },
		{ settings_of_none, "events/0@others", "and no position" },
		{ bad_channel, "channel 1", "its record is damaged" },
		{ bad_route, "route 1", "is damaged" }, { route_to_none, "route 1", "leads to channel 99" },
		{ bad_sweep, "store", "an entry of the sweeper is damaged" },
		{ strange_sweep, "store", "of an unknown kind" },
		{ sweep_channel, "store", "there all the same" }, { sweep_reader, "store", "it is there all the same" },
	};
	EACH(list);
}

/* ---- heads and blocks ------------------------------------------------------------------------- */

static struct head_record head_get(uint32_t id, uint16_t lane)
{
	struct key k = key_head(id, lane);
	struct head_record r;
	MDB_val v = raw_get(&k);
	if (!head_record_get(&r, &k, v.mv_data, v.mv_size))
		abort();
	return r;
}

static void head_put(uint32_t id, uint16_t lane, const struct head_record *r)
{
	struct key k = key_head(id, lane);
	uint8_t value[HEAD_RECORD];
	raw_put(&k, value, head_record_put(r, &k, value));
}

#define HEAD(name, channel, lane, change) \
	static void name(void) \
	{ \
		struct head_record h = head_get(books.channel, lane); \
		change; \
		head_put(books.channel, lane, &h); \
	}
HEAD(head_bytes, jobs, 0, h.bytes++)
HEAD(head_large, jobs, 0, h.large = 0)
HEAD(head_holes, state, 0, h.holes--)
HEAD(head_time, jobs, 0, h.last_time++)
HEAD(head_tail, jobs, 0, h.tail_offset--)
HEAD(head_part, jobs, 0, h.tail_part++)
HEAD(head_used, events, 1, h.tail_used--)
HEAD(head_no_tail, once, 0, h.tail_used = 0)
HEAD(head_flags, jobs, 0, h.flags |= 4)
HEAD(head_end, trail, 0, h.end++)
HEAD(head_low_end, once, 0, h.end = h.tail_offset = 0; h.tail_used = 0)
HEAD(head_first, jobs, 0, h.first++)
HEAD(head_indexed, state, 0, h.indexed--)
static void no_head(void) { raw_delete(key_head(books.events, 1)); }
static void bad_head(void) { raw_damage(key_head(books.events, 1)); }

static struct block block_copy(struct key k, uint8_t value[BLOCK_LONGEST], size_t *size)
{
	struct block b;
	MDB_val v = raw_get(&k);
	*size = v.mv_size;
	memcpy(value, v.mv_data, v.mv_size);
	if (!block_get(&b, k.bytes, k.size, value, *size))
		abort();
	return b;
}

static void no_block(void) { raw_delete(key_block(books.trail, 0, 0, 0)); }
static void bad_block(void) { raw_damage(key_block(books.once, 0, 0, 0)); }
static void bad_records(void)
{
	struct key k = key_block(books.once, 0, 0, 0);
	uint8_t value[BLOCK_LONGEST];
	size_t size = 0;
	struct block b = block_copy(k, value, &size);
	value[size - b.size] = 0;
	block_seal(value, &b, &k);
	raw_put(&k, value, size);
}
static void no_link(void)
{
	struct key k = key_block(books.trail, 0, 0, 0);
	uint8_t value[BLOCK_LONGEST];
	size_t size = 0;
	struct block b = block_copy(k, value, &size);
	memmove(value + BLOCK_HEADER, b.payload, b.size);
	b.link = NULL;
	b.flags = 0;
	block_seal(value, &b, &k);
	raw_put(&k, value, size - LINK_SIZE);
}

TEST(heads, "what heads count, and where they say that blocks are")
{
	static const struct wrong list[] = {
		{ no_head, "events/1", "it has no head" }, { bad_head, "events/1", "its head is damaged" },
		{ head_bytes, "jobs", "bytes, and counts" }, { head_large, "jobs", "has 1 large bodies, and counts 0" },
		{ head_holes, "state", "holes, and counts" }, { head_time, "jobs", "not stored when the head says" },
		{ head_tail, "jobs", "the newest block is to be" }, { head_part, "jobs", "the newest block is to be" },
		{ head_used, "events/1", "the newest block is to be" }, { head_no_tail, "once", "no" },
		{ head_flags, "jobs", "unknown flags" }, { head_end, "trail", "" }, { head_low_end, "once", "" },
		{ head_first, "jobs", "the first unsettled message is 0, and the first one of the log is 1" },
		{ head_indexed, "state", "to be indexed by their keys, and that is not noted" },
		{ no_block, "trail", "" }, { bad_block, "once", "the block at 0 is damaged" },
		{ bad_records, "once", "the block at 0 cannot be read" },
		{ no_link, "trail", "is not part of the chain" },
	};
	EACH(list);
}

/* ---- table M ---------------------------------------------------------------------------------- */

static struct key first_latest(void) { return raw_find(key_latest(books.state, 0, zero, 0)); }
static struct key latest_at(uint64_t offset)
{
	struct key k = first_latest();
	put64(k.bytes + LATEST_PREFIX, offset);
	return k;
}
static void bad_latest(void) { raw_damage(first_latest()); }
static void no_latest(void) { raw_delete(first_latest()); }
static void latest_of_hole(void) { stray(latest_at(1)); }
static void latest_beyond(void) { stray(latest_at(600)); }
static void latest_of_other(void)
{
	struct key k = first_latest();
	memset(k.bytes + BLOCK_PREFIX, 7, 16);
	stray(k);
}

TEST(latest, "the index of keys")
{
	static const struct wrong list[] = {
		{ bad_latest, "state", "has a damaged entry in the index of keys" },
		{ no_latest, "state", "is not in the index of keys, and there all the same" },
		{ latest_beyond, "state", "there never was one of that number" },
		{ latest_of_other, "state", "in the index of keys under another key" },
	};
	EACH(list);
	/* Two at once: more than are kept, and one that is not there. */
	books_open();
	raw_begin();
	latest_of_hole();
	raw_end();
	CHECK(books_check(1000) == 0 && books.found.faults == 2);
	books_close();
}

UNIT_MAIN
