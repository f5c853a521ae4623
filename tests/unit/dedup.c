/* SPDX-License-Identifier: ISC */
/* Ids that are known, and a queue that is full: what was stored before needs no room. */
#include "single.h"

static int add(const char *id, size_t size)
{
	static char body[100000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.body = (struct lmq_bytes){ body, size };
	m.id = (struct lmq_bytes){ id, id ? strlen(id) : 0 };
	return lmq_writer_add(writer, channel, &m);
}

static int send_ids(const char *const *ids)
{
	for (; *ids; ids++)
		good(add(**ids ? *ids : NULL, 10));
	return lmq_writer_commit(writer);
}
#define IDS(...) (const char *const[]){ __VA_ARGS__, NULL }

TEST(full, "in a full queue repeats are accepted, and only what is new is refused")
{
	uint32_t partition;
	uint64_t offset;
	single_begin(LMQ_QUEUE, PROPERTIES("dedup=1h", "max-messages=3"));
	CHECK(send_ids(IDS("a", "b")) == 0);
	CHECK(send_ids(IDS("a", "c", "b")) == 0);
	CHECK_EQUAL(stored("it"), 3);
	CHECK(lmq_writer_position(writer, 1, &partition, &offset) && offset == 2);
	CHECK(lmq_writer_position(writer, 2, &partition, &offset) && offset == 1);
	CHECK(send_ids(IDS("c", "a", "b")) == 0);
	CHECK(send_ids(IDS("a", "d")) == LMQ_EFULL);
	CHECK_TEXT(lmq_error(store), "it: queue is full (max-messages=3)");
	lmq_writer_discard(writer);
	CHECK(send_ids(IDS("a", "")) == LMQ_EFULL);
	lmq_writer_discard(writer);
	CHECK_EQUAL(stored("it"), 3);
	sound();
	single_end();
}

TEST(partial, "a partial writer counts repeats among those that it stored, up to the first that finds no room")
{
	single_begin(LMQ_QUEUE, PROPERTIES("dedup=1h", "max-messages=3"));
	lmq_writer_partial(writer, true);
	CHECK(send_ids(IDS("a", "b", "a", "", "b", "c", "a")) == LMQ_EFULL);
	CHECK_EQUAL(lmq_writer_committed(writer), 5);
	CHECK_EQUAL(lmq_writer_count(writer), 2);
	CHECK_EQUAL(stored("it"), 3);
	lmq_writer_discard(writer);
	CHECK(send_ids(IDS("b", "a")) == 0);
	CHECK_EQUAL(lmq_writer_committed(writer), 2);
	sound();
	single_end();
}

TEST(large, "a large body that was sent before leaves nothing behind, in a queue that is full of bytes")
{
	bool more = true;
	single_begin(LMQ_QUEUE, PROPERTIES("dedup=1h", "max-bytes=64K"));
	CHECK(add("a", 100000) == 0 && lmq_writer_commit(writer) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(add("a", 100000) == 0 && lmq_writer_commit(writer) == 0);
	CHECK(add("b", 100000) == 0 && lmq_writer_commit(writer) == LMQ_EFULL);
	lmq_writer_discard(writer);
	CHECK(add("a", 99999) == 0 && lmq_writer_commit(writer) == LMQ_EDATA);
	CHECK_TEXT(lmq_error(store), "it: the id 'a' was sent before with another body");
	lmq_writer_discard(writer);
	CHECK_EQUAL(stored("it"), 1);
	while (more)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	sound();
	single_end();
}

TEST(bytes, "an empty queue takes a repeat and one message that is larger than its limit")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("dedup=1h", "max-bytes=4K"));
	r = receiver_of(channel, NULL);
	CHECK(send_ids(IDS("a")) == 0);
	CHECK_EQUAL(claim(r, 1), 0);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	lmq_writer_partial(writer, true);
	CHECK(add("a", 10) == 0 && add("b", 20000) == 0);
	for (int i = 0; lmq_writer_count(writer) > 0 && i < 5; i++)
		(void)!lmq_writer_commit(writer);
	CHECK_EQUAL(lmq_writer_count(writer), 0);
	CHECK_EQUAL(stored("it"), 1);
	sound();
	lmq_receiver_close(r);
	single_end();
}

UNIT_MAIN
