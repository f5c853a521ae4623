/* SPDX-License-Identifier: ISC */
/* Trimming: up to where, in several partitions, around what is leased, and what a dry run says of it. */
#include "single.h"

enum { SENT = 40, SIZE = 1000 };
#define HOUR INT64_C(3600000000000)

/* How many are dropped, in as many steps as that takes. */
static uint64_t trim(const struct lmq_trim *what, bool dry)
{
	struct lmq_trim w = *what;
	uint64_t at = 0, dropped, sum = 0;
	bool more = true;
	w.dry_run = dry;
	for (; more; sum += dropped)
		good(lmq_channel_trim(channel, &w, &at, &dropped, &more));
	return sum;
}

/* So many are dropped; a dry run says so before, and changes nothing. */
static void drops(const struct lmq_trim *what, uint64_t count)
{
	uint64_t before = stored("it");
	CHECK_EQUAL(trim(what, true), count);
	CHECK_EQUAL(stored("it"), before);
	CHECK_EQUAL(trim(what, false), count);
	CHECK_EQUAL(stored("it"), before - count);
	CHECK_EQUAL(trim(what, false), 0);
	sound();
}

TEST(beyond, "an offset behind the end stands for the end, and what comes later is not trimmed with it")
{
	static const enum lmq_kind kinds[] = { LMQ_QUEUE, LMQ_TOPIC, LMQ_STREAM };
	struct lmq_trim what = LMQ_TRIM_INIT;
	what.to = UINT64_MAX;
	for (int i = 0; i < 3; i++) {
		single_begin(kinds[i], NULL);
		good(send_sized(SENT, SIZE));
		drops(&what, SENT);
		good(send_sized(2, SIZE));
		CHECK_EQUAL(stored("it"), 2);
		single_end();
	}
}

TEST(bodies, "the space of large messages that were trimmed is given back in few steps")
{
	enum { BODIES = 200 };
	struct lmq_trim what = LMQ_TRIM_INIT;
	bool more = true;
	int steps = 0;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(BODIES, 70000));
	what.all = true;
	drops(&what, BODIES);
	for (; more; steps++)
		good(lmq_store_sweep(store, &more));
	CHECK(steps < 10);
	sound();
	single_end();
}

TEST(numbers, "a number of messages or bytes to be kept is shared out to the partitions, and rounded up")
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=4"));
	for (int64_t lane = 0; lane < 4; lane++) {
		lmq_writer_partition(writer, lane);
		good(send_sized(SENT, SIZE));
	}
	what.keep = 4 * SENT;
	drops(&what, 0);
	what.keep = 4 * SENT - 2;
	drops(&what, 0);
	what.keep = 21;
	drops(&what, 4 * SENT - 4 * 6);
	what.keep = UINT64_MAX;
	what.keep_bytes = 1;
	for (int64_t lane = 0; lane < 4; lane++) {
		lmq_writer_partition(writer, lane);
		good(send_sized(SENT, SIZE));
	}
	what.keep_bytes = 4 * 10 * SIZE;
	CHECK(trim(&what, false) > 0);
	/* To a block, of which one holds four. */
	CHECK(stored("it") >= 4 * (10 - 4) && stored("it") <= 4 * (10 + 4));
	what.all = true;
	good(lmq_channel_trim_bound(channel, &what));
	CHECK(!what.all && what.before > 0);
	single_end();
}

TEST(around, "of a queue what is leased or in hand stays, and does not keep the rest from being dropped")
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	lmq_receiver *a, *b;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(SENT, SIZE));
	a = receiver_of(channel, NULL);
	b = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(a, 5), 0);
	good(lmq_receiver_lease(a, HOUR, LMQ_SYNC_RELAXED));
	CHECK_EQUAL(claim(b, 5), 5);
	lmq_receiver_return(b, 0, 5, 2);
	what.keep = 10;
	drops(&what, SENT - 10 - 8);
	what.keep = UINT64_MAX;
	what.keep_bytes = 5 * SIZE;
	drops(&what, 5);
	what.keep_bytes = UINT64_MAX;
	what.before = lmq_now() + 1;
	drops(&what, 5);
	CHECK(lmq_receiver_settle(b, 3, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	CHECK_EQUAL(stored("it"), 5);
	single_end();
}

UNIT_MAIN
