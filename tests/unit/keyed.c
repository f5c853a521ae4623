/* SPDX-License-Identifier: ISC */
/* A group with order=key whose position is moved while messages are in somebody's hands. */
#include "single.h"

static void send_key(const char *key, unsigned count)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.key = (struct lmq_bytes){ key, strlen(key) };
	m.body = (struct lmq_bytes){ "x", 1 };
	while (count-- > 0)
		good(lmq_writer_add(writer, channel, &m));
	good(lmq_writer_commit(writer));
}

static uint64_t lag(void)
{
	struct lmq_group_info *list;
	uint64_t n;
	size_t count;
	good(lmq_group_list(channel, "g", &list, &count));
	n = list[0].lag;
	free(list);
	return n;
}

static void seek(enum lmq_seek how, int64_t value)
{
	struct lmq_group_move moves[LMQ_PARTITIONS_MAX];
	size_t count;
	good(lmq_group_seek(channel, "g", -1, how, value, 0, moves, &count));
}

static void begin(void)
{
	const char *order = "order=key";
	bool created;
	single_begin(LMQ_TOPIC, NULL);
	good(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, &order, 1, &created, NULL, NULL));
	send_key("a", 2);
	send_key("b", 2);
	send_key("c", 1);
}

/* Messages claimed one by one, settled or not, in that order. */
static void comes(lmq_receiver *r, const int *offsets, size_t count, bool settle)
{
	for (size_t i = 0; i < count; i++) {
		CHECK_EQUAL(claim(r, 1), offsets[i]);
		if (settle)
			CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	}
}

TEST(back, "after a seek back what is settled late comes again nonetheless, each key in its order")
{
	lmq_receiver *r, *other;
	begin();
	r = receiver_of(channel, "g");
	other = receiver_of(channel, "g");
	comes(r, (const int[]){ 0, 2 }, 2, false);
	CHECK_EQUAL(claim(other, 5), 4);
	CHECK(lmq_receiver_settle(other, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(lag(), 4);
	seek(LMQ_SEEK_FIRST, 0);
	CHECK_EQUAL(lag(), 5);
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(lag(), 5);
	comes(other, (const int[]){ 0, 1, 2, 3, 4 }, 5, true);
	CHECK_EQUAL(lag(), 0);
	sound();
	lmq_receiver_close(r);
	lmq_receiver_close(other);
	single_end();
}

TEST(on, "after a seek on what is settled late is settled, and what lies behind comes in its order")
{
	lmq_receiver *r, *other;
	begin();
	r = receiver_of(channel, "g");
	other = receiver_of(channel, "g");
	comes(r, (const int[]){ 0, 2 }, 2, false);
	seek(LMQ_SEEK_OFFSET, 3);
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	comes(other, (const int[]){ 3, 4 }, 2, true);
	CHECK_EQUAL(claim(other, 1), -1);
	CHECK_EQUAL(lag(), 0);
	sound();
	lmq_receiver_close(r);
	lmq_receiver_close(other);
	single_end();
}

UNIT_MAIN
