/* SPDX-License-Identifier: ISC */
/* Moving: to where, how much at once, and back to groups and queues that have changed meanwhile. */
#include "single.h"

enum { LARGE = 200000, ORIGINS = 70 };

static size_t moved;

static int move(lmq_receiver *r, size_t count, lmq_channel *to, unsigned flags)
{
	return lmq_receiver_move(r, count, to, flags, LMQ_SYNC_RELAXED, &moved);
}

static int move_back(lmq_receiver *r, size_t count)
{
	return move(r, count, NULL, LMQ_MOVE_BACK);
}

static bool says(const char *words)
{
	const char *error = lmq_error(store);
	if (strstr(error, words))
		return true;
	printf("# says: %s\n", error);
	return false;
}

/* The next message to be claimed becomes a dead letter. */
static void bury(lmq_channel *c, const char *group, uint32_t lane)
{
	struct lmq_verdict v = { .partition = lane, .count = 1, .outcome = LMQ_BURY, .exit_status = -1 };
	lmq_receiver *r = receiver_of(c, group);
	v.offset = (uint64_t)claim(r, 1);
	CHECK(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0 && v.result == LMQ_BURY);
	lmq_receiver_close(r);
}

static lmq_channel *reach(const char *name)
{
	lmq_channel *c;
	good(lmq_channel_open(store, name, LMQ_ANY, 0, &c));
	return c;
}

TEST(removed, "what is moved out of a group or channel that is gone stays, and the sentence says which of them it was")
{
	lmq_channel *q;
	lmq_receiver *r;
	single_begin(LMQ_STREAM, NULL);
	q = single_make("q", LMQ_QUEUE, NULL);
	r = receiver_of(channel, "g");
	moved = 9;
	CHECK(move(r, 3, q, 0) == 0 && moved == 0);
	good(send_sized(3, 1));
	for (int anew = 0; anew < 2; anew++) {
		CHECK_EQUAL(claim(r, 3), 0);
		good(lmq_group_remove(channel, "g"));
		if (anew)
			lmq_receiver_close(receiver_of(channel, "g"));
		CHECK(move(r, 3, q, 0) == LMQ_EGONE && moved == 0 && says("it: the group 'g' was removed"));
		lmq_receiver_close(r);
		r = receiver_of(channel, "g");
	}
	CHECK_EQUAL(claim(r, 3), 0);
	good(lmq_channel_remove(store, "it"));
	CHECK(move(r, 3, q, 0) == LMQ_EGONE && moved == 0 && says("it: the stream was removed"));
	CHECK_EQUAL(stored("q"), 0);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	single_end();
}

TEST(vanished, "a channel that vanishes while messages are on their way to it leaves them where they were")
{
	lmq_channel *q;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	q = single_make("q", LMQ_QUEUE, PROPERTIES("max-message=10"));
	good(send_sized(2, 1));
	good(send_sized(1, 11));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 9), 0);
	CHECK(move(r, 3, q, 0) == LMQ_EDATA && moved == 0 && says("it:2: larger than 'q' takes"));
	CHECK(move(r, 3, channel, 0) == LMQ_EINVAL && says("it: the messages are there already"));
	CHECK(move(r, 2, q, LMQ_MOVE_BACK) == LMQ_EINVAL && move(r, 2, NULL, 0) == LMQ_EINVAL);
	CHECK(move_back(r, 2) == LMQ_EINVAL && says("it:0: not a dead letter"));
	good(lmq_channel_remove(store, "q"));
	CHECK(move(r, 2, q, 0) == LMQ_EGONE && moved == 0 && says("q: the queue was removed"));
	CHECK(move(r, 2, q, LMQ_MOVE_COPY) == LMQ_EGONE && moved == 0);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(stored("it"), 2);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(settled, "what a seek has settled under its holder is not moved, the others are")
{
	struct lmq_group_move way;
	lmq_channel *q;
	lmq_receiver *r;
	size_t count;
	single_begin(LMQ_STREAM, NULL);
	q = single_make("q", LMQ_QUEUE, NULL);
	good(send_sized(5, 1));
	r = receiver_of(channel, "g");
	CHECK_EQUAL(claim(r, 5), 0);
	good(lmq_group_seek(channel, "g", -1, LMQ_SEEK_OFFSET, 2, 0, &way, &count));
	CHECK(move(r, 5, q, 0) == 0);
	CHECK_EQUAL(stored("q"), 3);
	CHECK_EQUAL(claim(r, 5), -1);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(large, "a large message that is moved out of a stream is in both, until the last of them goes")
{
	struct lmq_bytes piece = { "", 1 };
	lmq_channel *q;
	lmq_receiver *r;
	uint64_t at = 0;
	single_begin(LMQ_STREAM, NULL);
	q = single_make("q", LMQ_QUEUE, NULL);
	good(send_sized(2, LARGE));
	r = receiver_of(channel, "g");
	CHECK_EQUAL(claim(r, 2), 0);
	CHECK(move(r, 2, q, 0) == 0 && moved == 2);
	sound();
	lmq_receiver_close(r);
	good(lmq_channel_remove(store, "it"));
	sound();
	r = receiver_of(q, NULL);
	CHECK_EQUAL(claim(r, 1), 0);
	for (; piece.size > 0; at += piece.size)
		good(lmq_receiver_body(r, at, &piece));
	CHECK_EQUAL(at, LARGE);
	CHECK(lmq_receiver_body(r, LARGE + 1, &piece) == 0 && piece.size == 0);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(origins, "dead letters of more queues than one transaction takes go back in several")
{
	static const char *const one[] = { "dead=grave", NULL };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *origin[ORIGINS], *grave;
	lmq_receiver *r;
	size_t sum = 0, count;
	single_begin(LMQ_QUEUE, NULL);
	for (int i = 0; i < ORIGINS; i++) {
		char name[20];
		snprintf(name, sizeof name, "q%d", i);
		origin[i] = single_make(name, LMQ_QUEUE, one);
		CHECK(lmq_writer_add(writer, origin[i], &m) == 0 && lmq_writer_commit(writer) == 0);
		bury(origin[i], NULL, 0);
	}
	CHECK_EQUAL(stored("grave"), ORIGINS);
	grave = reach("grave");
	r = receiver_of(grave, NULL);
	REQUIRE(lmq_receiver_claim(r, ORIGINS, 1 << 20, &count) == 0 && count == ORIGINS);
	for (int rounds = 0; sum < ORIGINS && rounds < 2; rounds++) {
		CHECK(move_back(r, ORIGINS - sum) == 0 && moved > 0);
		sum += moved;
	}
	CHECK_EQUAL(sum, ORIGINS);
	CHECK_EQUAL(stored("grave"), 0);
	for (int i = 0; i < ORIGINS; i++) {
		lmq_receiver *back = receiver_of(origin[i], NULL);
		CHECK_EQUAL(claim(back, 1), 1);
		lmq_receiver_close(back);
		lmq_channel_close(origin[i]);
	}
	lmq_receiver_close(r);
	lmq_channel_close(grave);
	sound();
	single_end();
}

TEST(no_origin, "a letter whose channel or group is gone, or of another kind, stays a letter, and the sentence says why")
{
	lmq_channel *grave, *anew;
	lmq_receiver *r;
	single_begin(LMQ_STREAM, NULL);
	lmq_receiver_close(receiver_of(channel, "g"));
	good(send_sized(2, 1));
	bury(channel, "g", 0);
	grave = reach("it.dead");
	r = receiver_of(grave, NULL);
	CHECK_EQUAL(claim(r, 1), 0);
	good(lmq_group_remove(channel, "g"));
	CHECK(move_back(r, 1) == LMQ_ENOENT && moved == 0 && says("it: no group 'g' any more"));
	good(lmq_channel_remove(store, "it"));
	CHECK(move_back(r, 1) == LMQ_ENOENT && moved == 0 && says("it: no such channel any more"));
	anew = single_make("it", LMQ_QUEUE, NULL);
	CHECK(move_back(r, 1) == LMQ_EKIND && moved == 0 && says("it: a queue now, and has no groups"));
	CHECK_EQUAL(stored("it.dead"), 1);
	lmq_receiver_close(r);
	lmq_channel_close(anew);
	lmq_channel_close(grave);
	sound();
	single_end();
}

TEST(no_lane, "a letter of a partition that its stream no longer has stays a letter")
{
	lmq_channel *grave, *anew;
	lmq_receiver *r;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=4"));
	lmq_receiver_close(receiver_of(channel, "g"));
	lmq_writer_partition(writer, 3);
	good(send_sized(1, 1));
	bury(channel, "g", 3);
	good(lmq_channel_remove(store, "it"));
	anew = single_make("it", LMQ_STREAM, PROPERTIES("partitions=2"));
	lmq_receiver_close(receiver_of(anew, "g"));
	grave = reach("it.dead");
	r = receiver_of(grave, NULL);
	CHECK_EQUAL(claim(r, 1), 0);
	CHECK(move_back(r, 1) == LMQ_ENOENT && moved == 0 && says("it: no group 'g' any more"));
	CHECK_EQUAL(stored("it.dead"), 1);
	lmq_receiver_close(r);
	lmq_channel_close(grave);
	lmq_channel_close(anew);
	sound();
	single_end();
}

TEST(dropped, "a letter whose message is gone from its stream stays; those before it go back")
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, gone;
	lmq_channel *grave;
	lmq_receiver *r;
	bool more;
	single_begin(LMQ_STREAM, NULL);
	lmq_receiver_close(receiver_of(channel, "g"));
	good(send_sized(3, 1));
	bury(channel, "g", 0);
	bury(channel, "g", 0);
	grave = reach("it.dead");
	r = receiver_of(grave, NULL);
	CHECK_EQUAL(claim(r, 1), 0);
	CHECK(move(r, 1, grave, 0) == LMQ_EINVAL);
	what.to = 1;
	good(lmq_channel_trim(channel, &what, &at, &gone, &more));
	CHECK(move_back(r, 1) == LMQ_EGONE && moved == 0 && says("it:0: is no longer there to be delivered again"));
	CHECK_TEXT(lmq_hint(store), "mq-move takes dead letters to any other queue");
	CHECK_EQUAL(claim(r, 1), 1);
	lmq_receiver_release(r);
	/* The second first. */
	CHECK_EQUAL(claim(r, 2), 0);
	lmq_receiver_return(r, 0, 0, 1);
	CHECK(move_back(r, 1) == 0 && moved == 1);
	CHECK_EQUAL(stored("it.dead"), 1);
	lmq_receiver_close(r);
	r = receiver_of(channel, "g");
	CHECK_EQUAL(claim(r, 1), 1);
	lmq_receiver_close(r);
	lmq_channel_close(grave);
	sound();
	single_end();
}

TEST(home, "a letter that was moved into the very stream it came from goes back to its group from there")
{
	lmq_channel *grave;
	lmq_receiver *r, *g;
	single_begin(LMQ_STREAM, NULL);
	lmq_receiver_close(receiver_of(channel, "g"));
	good(send_sized(2, 1));
	bury(channel, "g", 0);
	grave = reach("it.dead");
	r = receiver_of(grave, NULL);
	CHECK_EQUAL(claim(r, 1), 0);
	CHECK(move(r, 1, channel, 0) == 0 && moved == 1);
	CHECK_EQUAL(stored("it"), 3);
	g = receiver_of(channel, "g");
	CHECK_EQUAL(claim(g, 1), 1);
	CHECK(lmq_receiver_settle(g, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claim(g, 1), 2);
	CHECK(move_back(g, 1) == 0 && moved == 1);
	CHECK_EQUAL(claim(g, 1), 0);
	CHECK(lmq_receiver_settle(g, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claim(g, 1), -1);
	lmq_receiver_close(r);
	lmq_receiver_close(g);
	lmq_channel_close(grave);
	sound();
	single_end();
}

TEST(room, "where the other queue has little room so many are moved, and none where it has none")
{
	lmq_channel *q;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	q = single_make("q", LMQ_QUEUE, PROPERTIES("max-messages=5"));
	good(send_sized(20, 1));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 20), 0);
	for (size_t left = 5; left > 0; left -= moved)
		REQUIRE(move(r, 20, q, 0) == 0 && moved > 0 && moved <= left);
	CHECK(move(r, 15, q, 0) == LMQ_EFULL && moved == 0);
	CHECK(stored("q") == 5 && stored("it") == 15);
	CHECK(lmq_receiver_settle(r, 15, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	sound();
	single_end();
}

static void narrow(struct store_record *r) { r->max_bytes = 1 << 20; }
static void wide(struct store_record *r) { r->max_bytes = 0; }

TEST(store_full, "where it is the store that has no room nothing is moved, and the sentence says so")
{
	lmq_channel *q;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	q = single_make("q", LMQ_QUEUE, NULL);
	good(send_sized(20, 1));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 20), 0);
	store_change(narrow);
	CHECK(move(r, 20, q, 0) == LMQ_EFULL && moved == 0 && says("the store is full (max-bytes=1M)"));
	CHECK(stored("q") == 0 && stored("it") == 20);
	store_change(wide);
	CHECK(move(r, 20, q, 0) == 0 && moved == 20);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(lanes, "what was claimed of several partitions is moved out of one after the other")
{
	lmq_channel *q;
	lmq_receiver *r;
	size_t count, left = 0;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=2"));
	q = single_make("q", LMQ_QUEUE, NULL);
	for (int64_t lane = 0; lane < 2; lane++) {
		lmq_writer_partition(writer, lane);
		good(send_sized(3, 1));
	}
	r = receiver_of(channel, "g");
	while (lmq_receiver_claim(r, 6, SIZE_MAX / 2, &count) == 0)
		left += count;
	CHECK_EQUAL(left, 6);
	CHECK(move(r, 6, q, 0) == 0 && moved == 3);
	CHECK(move(r, 6, q, 0) == 0 && moved == 3);
	CHECK(move(r, 6, q, 0) == 0 && moved == 0);
	CHECK_EQUAL(stored("q"), 6);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(copies, "what is more than one transaction takes is copied in several, from all partitions")
{
	struct lmq_group_info *list;
	lmq_channel *q;
	lmq_receiver *r;
	size_t count, sum = 0, left;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=2"));
	q = single_make("q", LMQ_QUEUE, NULL);
	for (int64_t lane = 0; lane < 2; lane++) {
		lmq_writer_partition(writer, lane);
		good(send_sized(50, 60000));
	}
	good(send_sized(1, LARGE));
	r = receiver_of(channel, "g");
	for (left = 0; lmq_receiver_claim(r, 100, SIZE_MAX / 2, &count) == 0; left += count)
		continue;
	CHECK_EQUAL(left, 101);
	for (; left > 0; left -= moved) {
		REQUIRE(move(r, left, q, LMQ_MOVE_COPY) == 0 && moved > 0);
		CHECK(sum > 0 || moved < left);
		sum += moved;
	}
	CHECK_EQUAL(sum, 101);
	CHECK_EQUAL(stored("q"), 101);
	good(lmq_group_list(channel, "g", &list, &count));
	CHECK(count == 2 && list[0].lag + list[1].lag == 101);
	free(list);
	lmq_receiver_close(r);
	lmq_channel_close(q);
	sound();
	single_end();
}

UNIT_MAIN
