/* SPDX-License-Identifier: ISC */
/* Claims and leases that lie across 2^32, where the addresses of locks begin again: their two parts go the same way. */
#include "single.h"

enum { BEFORE = 3, SENT = 6 };
#define HOUR INT64_C(3600000000000)
#define WRAP (UINT64_C(1) << 32)

/* A queue to which so many messages were sent before that the next ones lie across. */
static void begin(void)
{
	struct head_record head;
	struct group_record g;
	struct txn t;
	single_begin(LMQ_QUEUE, NULL);
	good(txn_begin(store, &t));
	good(get_head(store, t.mdb, channel->id, 0, &head));
	good(get_group(store, t.mdb, channel->id, 0, "", &g));
	head.first = head.end = g.next = g.settled = WRAP - BEFORE;
	good(put_head(&t, channel->id, 0, &head));
	good(put_group(&t, channel->id, 0, "", &g));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
	good(send_sized(SENT, 1));
}

static size_t claimed(lmq_receiver *r)
{
	size_t count = 0;
	int rc = lmq_receiver_claim(r, 100, 1 << 20, &count);
	CHECK(rc == 0 || rc == LMQ_END);
	return count;
}

TEST(given_back, "what was claimed across 2^32 and given back is there for others, all of it")
{
	lmq_receiver *a, *b;
	begin();
	a = receiver_of(channel, NULL);
	b = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(a), SENT);
	CHECK_EQUAL(claimed(b), 0);
	lmq_receiver_release(a);
	CHECK_EQUAL(claimed(b), SENT);
	lmq_receiver_return(b, 0, WRAP - 1, 2);
	CHECK_EQUAL(claimed(a), 2);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	single_end();
}

/* Settles all of them by name; how many could be. */
static int settle(void)
{
	struct lmq_lease list[SENT];
	int good_ones = 0;
	for (int i = 0; i < SENT; i++)
		list[i] = (struct lmq_lease){ .channel = "it", .offset = WRAP - BEFORE + (uint64_t)i, .attempt = 1 };
	CHECK(lmq_store_settle(store, list, SENT, LMQ_SYNC_RELAXED) == 0);
	for (int i = 0; i < SENT; i++)
		good_ones += list[i].status == 0;
	return good_ones;
}

TEST(leases, "leases across 2^32 are settled by name, those too that ran out")
{
	struct lmq_channel_info info;
	lmq_receiver *a, *b;
	for (int late = 0; late < 2; late++) {
		begin();
		a = receiver_of(channel, NULL);
		b = receiver_of(channel, NULL);
		CHECK_EQUAL(claimed(a), SENT);
		good(lmq_receiver_lease(a, late ? 1 : HOUR, LMQ_SYNC_RELAXED));
		CHECK_EQUAL(claimed(b), late ? SENT : 0);
		lmq_receiver_release(b);
		CHECK_EQUAL(settle(), SENT);
		CHECK(lmq_channel_info(channel, &info) == 0 && info.acknowledged == SENT);
		lmq_receiver_close(a);
		lmq_receiver_close(b);
		sound();
		single_end();
	}
}

/* How many a trim of everything dropped. */
static uint64_t trim(bool dry)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped, sum = 0;
	bool more = true;
	what.all = true;
	for (what.dry_run = dry; more; sum += dropped)
		good(lmq_channel_trim(channel, &what, &at, &dropped, &more));
	return sum;
}

TEST(trimmed, "a trim takes what is free on both sides of 2^32, and leaves what is in somebody's hands")
{
	lmq_receiver *a, *b;
	begin();
	a = receiver_of(channel, NULL);
	b = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(a, 1), WRAP - BEFORE);
	CHECK_EQUAL(trim(true), SENT - 1);
	CHECK_EQUAL(trim(false), SENT - 1);
	CHECK_EQUAL(claimed(b), 0);
	lmq_receiver_close(a);
	CHECK_EQUAL(claim(b, 9), WRAP - BEFORE);
	lmq_receiver_close(b);
	sound();
	single_end();
}

TEST(pushed_out, "what is in somebody's hands before 2^32 stays in a full queue, and what lies behind makes room")
{
	const char *const limit[] = { "max-messages=6", "full=drop-old" };
	struct lmq_message m;
	lmq_receiver *a, *b;
	bool made;
	begin();
	good(lmq_channel_make(store, "it", LMQ_QUEUE, limit, 2, &made, NULL, NULL));
	a = receiver_of(channel, NULL);
	b = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(a, BEFORE), WRAP - BEFORE);
	good(send_sized(2, 1));
	CHECK_EQUAL(stored("it"), SENT);
	CHECK_EQUAL(claimed(b), SENT - BEFORE);
	CHECK(lmq_receiver_next(b, &m) == 0 && m.offset == WRAP + 2);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	sound();
	single_end();
}

UNIT_MAIN
