/* SPDX-License-Identifier: ISC */
/* One damaged block must not take the rest of the store with it. */
#include "place.h"

#include "channel/channel.h"

#include <lmdb.h>

static void send(lmq_store *s, const char *queue, unsigned count)
{
	lmq_channel *c;
	lmq_writer *w;
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.body = (struct lmq_bytes){ "some text", 9 };
	if (lmq_channel_open(s, queue, LMQ_QUEUE, LMQ_CREATE, &c) != 0 || lmq_writer_open(s, LMQ_SYNC_RELAXED, &w) != 0)
		abort();
	while (count-- > 0)
		CHECK(lmq_writer_add(w, c, &m) == 0);
	CHECK(lmq_writer_commit(w) == 0);
	lmq_writer_close(w);
	lmq_channel_close(c);
}

/* Takes one message; the status of doing so. */
static int receive(lmq_store *s, const char *queue)
{
	lmq_channel *c;
	lmq_receiver *r;
	struct lmq_message m;
	size_t count;
	int rc = lmq_channel_open(s, queue, LMQ_QUEUE, 0, &c);
	if (rc != 0)
		return rc;
	if (lmq_receiver_open(c, NULL, &r) != 0)
		abort();
	rc = lmq_receiver_claim(r, 1, 1000, &count);
	if (rc == 0)
		rc = lmq_receiver_next(r, &m);
	if (rc == 0)
		rc = lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED);
	lmq_receiver_close(r);
	lmq_channel_close(c);
	return rc;
}

/* Changes a byte of the first block of the channel, behind the library's back. */
static void damage(uint32_t id)
{
	struct key k = key_block(id, 0, 0, 0);
	MDB_val key = { k.size, k.bytes }, value;
	uint8_t bytes[BLOCK_MAX];
	MDB_env *env;
	MDB_txn *t;
	MDB_dbi table;
	if (mdb_env_create(&env) != 0 || mdb_env_set_mapsize(env, 1 << 30) != 0 || mdb_env_open(env, place, 0, 0600) != 0 ||
			mdb_txn_begin(env, NULL, 0, &t) != 0 || mdb_dbi_open(t, NULL, 0, &table) != 0 ||
			mdb_get(t, table, &key, &value) != 0)
		abort();
	memcpy(bytes, value.mv_data, value.mv_size);
	bytes[value.mv_size / 2] ^= 1;
	value.mv_data = bytes;
	if (mdb_put(t, table, &key, &value, 0) != 0 || mdb_txn_commit(t) != 0)
		abort();
	mdb_env_close(env);
}

/* A store with a bad queue, whose first block is damaged, and a good one. */
static lmq_store *damaged_store(void)
{
	lmq_store *s;
	place_make();
	s = place_open();
	send(s, "bad", 2000);
	send(s, "good", 10);
	lmq_store_close(s);
	damage(1);
	return place_open();
}

TEST(reported, "a damaged block is reported to its reader and to nobody else")
{
	lmq_store *s = damaged_store();
	struct lmq_channel_info *list;
	size_t count;
	CHECK(receive(s, "bad") == LMQ_EDAMAGED);
	CHECK(receive(s, "good") == 0);
	CHECK(lmq_channel_list(s, NULL, LMQ_ANY, &list, &count) == 0 && count == 2);
	free(list);
	lmq_store_close(s);
	place_remove();
}

TEST(removed, "a removed channel with a damaged block is swept and stops nobody")
{
	lmq_store *s = damaged_store();
	bool more = true;
	CHECK(lmq_channel_remove(s, "bad") == 0);
	for (int i = 0; i < 10; i++)
		CHECK(receive(s, "good") == 0);
	CHECK(receive(s, "good") == LMQ_END);
	for (int i = 0; more && i < 100; i++)
		REQUIRE(lmq_store_sweep(s, &more) == 0);
	CHECK(!more);
	lmq_store_close(s);
	place_remove();
}

static void forget_position(lmq_store *s, uint32_t id, uint16_t lane, const char *group)
{
	struct key k = key_group(id, lane, group);
	struct txn t;
	CHECK(txn_begin(s, &t) == 0 && delete_key(&t, &k) == 0 && txn_commit(&t, LMQ_SYNC_RELAXED) == 0);
}

static int claim_from(lmq_receiver *r)
{
	size_t count;
	return lmq_receiver_claim(r, 1, 1000, &count);
}

TEST(positions, "a queue without a position, or a group that lacks one of its, is damaged, not removed")
{
	const char *four = "partitions=4";
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE, .group = "g" };
	lmq_store *s;
	lmq_channel *c;
	lmq_receiver *r;
	bool created;
	place_make();
	s = place_open();
	send(s, "q", 1);
	CHECK(lmq_channel_open(s, "q", LMQ_QUEUE, 0, &c) == 0 && lmq_receiver_open(c, NULL, &r) == 0);
	forget_position(s, c->id, 0, "");
	CHECK(claim_from(r) == LMQ_EDAMAGED);
	CHECK_TEXT(strrchr(lmq_error(s), ':'), ": a queue without a position");
	lmq_receiver_close(r);
	lmq_channel_close(c);
	CHECK(lmq_channel_make(s, "s", LMQ_STREAM, &four, 1, &created, NULL, NULL) == 0);
	CHECK(lmq_channel_open(s, "s", LMQ_STREAM, 0, &c) == 0 && lmq_receiver_open(c, &o, &r) == 0);
	forget_position(s, c->id, 2, "g");
	CHECK(claim_from(r) == LMQ_EDAMAGED);
	CHECK_TEXT(strrchr(lmq_error(s), ':'), ": a group without a position");
	CHECK(lmq_group_remove(c, "g") == 0);
	CHECK(claim_from(r) == LMQ_EGONE);
	lmq_receiver_close(r);
	lmq_channel_close(c);
	lmq_store_close(s);
	place_remove();
}

UNIT_MAIN
