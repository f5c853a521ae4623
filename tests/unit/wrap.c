/* SPDX-License-Identifier: ISC */
/*
 * Offsets around 2^32, where the bytes that stand for messages begin again: nothing of it is seen from outside. Logs are
 * put there that have not been sent that much.
 */
#include "single.h"

#include <fcntl.h>
#include <unistd.h>

#define WRAP (INT64_C(1) << 32)

/* The empty channel goes on there. */
static void put_at(int64_t offset)
{
	struct head_record head;
	struct group_record g;
	struct txn t;
	good(txn_begin(store, &t));
	good(get_head(store, t.mdb, channel->id, 0, &head));
	head.first = head.end = (uint64_t)offset;
	good(put_head(&t, channel->id, 0, &head));
	if (channel->kind == LMQ_QUEUE) {
		good(get_group(store, t.mdb, channel->id, 0, "", &g));
		g.next = g.settled = (uint64_t)offset;
		good(put_group(&t, channel->id, 0, "", &g));
	}
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
}

TEST(locks, "what is taken ends where the bytes begin again, and so does what is free")
{
	struct run run;
	int fd, other;
	place_make();
	store = place_open();
	good(lease_open(store, &fd));
	good(lease_open(store, &other));
	CHECK(lease_free(store, 7, WRAP - 5, WRAP + 5, &run) == 0);
	CHECK_EQUAL(run.first, WRAP - 5);
	CHECK_EQUAL(run.end, WRAP);
	CHECK(lease_take(store, fd, 7, WRAP - 5, WRAP + 5, UINT64_MAX, &run) == 0);
	CHECK_EQUAL(run.first, WRAP - 5);
	CHECK_EQUAL(run.end, WRAP);
	CHECK(lease_take(store, other, 7, WRAP - 8, WRAP + 5, UINT64_MAX, &run) == 0);
	CHECK_EQUAL(run.end, WRAP - 5);
	CHECK(lease_take(store, other, 7, WRAP - 5, WRAP + 5, UINT64_MAX, &run) == LMQ_END);
	CHECK(lease_take(store, other, 7, WRAP, WRAP + 5, UINT64_MAX, &run) == 0);
	CHECK_EQUAL(run.end, WRAP + 5);
	/* One that lies 2^32 behind another seems taken until that is settled. */
	CHECK(lease_taken(store, 7, 4));
	CHECK(!lease_taken(store, 7, 5));
	CHECK(!lease_taken(store, 8, 4));
	close(fd);
	close(other);
	lmq_store_close(store);
	place_remove();
}

TEST(endless, "a lock without an end, which no process of ours takes, makes all behind it seem taken")
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)8 << 32 | 100 };
	struct run run;
	int fd, alien;
	place_make();
	store = place_open();
	good(lease_open(store, &fd));
	good(lease_open(store, &alien));
	REQUIRE(fcntl(alien, F_OFD_SETLK, &lock) == 0);
	CHECK(lease_take(store, fd, 8, 50, 1000, UINT64_MAX, &run) == 0);
	CHECK(run.first == 50 && run.end == 100);
	CHECK(lease_take(store, fd, 8, 100, 1000, UINT64_MAX, &run) == LMQ_END);
	CHECK(lease_take(store, fd, 8, 200, 300, UINT64_MAX, &run) == LMQ_END);
	CHECK(lease_take(store, fd, 9, 0, 300, UINT64_MAX, &run) == LMQ_END);
	CHECK(lease_free(store, 9, 0, 300, &run) == LMQ_END);
	close(alien);
	CHECK(lease_take(store, fd, 9, 0, 300, UINT64_MAX, &run) == 0);
	CHECK(run.first == 0 && run.end == 300);
	close(fd);
	lmq_store_close(store);
	place_remove();
}

/* Claims all there is and settles it; they come in order. */
static void drain(lmq_receiver *r, int64_t from, int64_t end)
{
	struct lmq_message m;
	size_t count;
	int rc;
	while ((rc = lmq_receiver_claim(r, 100, SIZE_MAX / 2, &count)) == 0) {
		for (size_t i = 0; i < count; i++)
			CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == (uint64_t)from++);
		CHECK(lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED) == 0);
	}
	CHECK(rc == LMQ_END);
	CHECK_EQUAL(from, end);
}

TEST(queue, "messages of a queue are delivered across it in order, held, given back, and retried")
{
	struct lmq_verdict v = { .offset = (uint64_t)WRAP - 1, .count = 2, .outcome = LMQ_RETRY, .exit_status = -1 };
	struct lmq_message m;
	lmq_receiver *r, *other;
	size_t count;
	single_begin(LMQ_QUEUE, NULL);
	put_at(WRAP - 5);
	r = receiver_of(channel, NULL);
	other = receiver_of(channel, NULL);
	CHECK(send_sized(10, 1000) == 0);
	CHECK_EQUAL(claim(r, 2), WRAP - 5);
	CHECK_EQUAL(claim(other, 100), WRAP - 3);
	lmq_receiver_release(other);
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_release(r);
	CHECK_EQUAL(claim(r, 2), WRAP - 3);
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	for (uint64_t n = 0; n < 2; n += count) {
		CHECK(lmq_receiver_claim(r, 2 - n, SIZE_MAX / 2, &count) == 0);
		CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == (uint64_t)WRAP - 1 + n);
	}
	CHECK(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
	drain(r, WRAP - 1, WRAP + 5);
	CHECK_EQUAL(stored("it"), 0);
	sound();
	lmq_receiver_close(r);
	lmq_receiver_close(other);
	single_end();
}

TEST(full, "a full queue pushes out what nobody has, on both sides of it")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=10", "full=drop-old"));
	put_at(WRAP - 3);
	r = receiver_of(channel, NULL);
	CHECK(send_sized(10, 10) == 0);
	CHECK_EQUAL(claim(r, 2), WRAP - 3);
	for (int i = 0; i < 5; i++) {
		CHECK(send_sized(1, 10) == 0);
		CHECK_EQUAL(stored("it"), 10);
	}
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	/* The one before it and four behind it went. */
	drain(r, WRAP + 4, WRAP + 12);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(group, "a group of a stream finds out what it missed on both sides of it")
{
	lmq_receiver *r;
	single_begin(LMQ_STREAM, PROPERTIES("max-messages=5"));
	put_at(WRAP - 4);
	r = receiver_of(channel, "g");
	CHECK(send_sized(4, 10) == 0);
	CHECK_EQUAL(claim(r, 1), WRAP - 4);
	CHECK(send_sized(10, 10) == 0);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	drain(r, WRAP + 5, WRAP + 10);
	CHECK_EQUAL(lmq_receiver_missed(r), 8);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(read, "a reader goes across it forwards and backwards")
{
	struct lmq_message m;
	lmq_reader *reader;
	single_begin(LMQ_STREAM, NULL);
	put_at(WRAP - 50);
	CHECK(send_sized(100, 500) == 0);
	CHECK(lmq_reader_open(channel, &reader) == 0);
	for (int64_t n = WRAP - 50; n < WRAP + 50; n++)
		CHECK(lmq_reader_next(reader, &m) == 0 && m.offset == (uint64_t)n);
	CHECK(lmq_reader_next(reader, &m) == LMQ_END);
	for (int64_t n = WRAP + 49; n >= WRAP - 50; n--)
		CHECK(lmq_reader_previous(reader, &m) == 0 && m.offset == (uint64_t)n);
	CHECK(lmq_reader_previous(reader, &m) == LMQ_END);
	sound();
	lmq_reader_close(reader);
	single_end();
}

UNIT_MAIN
