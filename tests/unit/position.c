/* SPDX-License-Identifier: ISC */
/* Where a reader is, and what it can say of the message that it gave last. */
#include "single.h"

enum { SENT = 20, LARGE = 200000 };

static lmq_reader *reader;

static void begin(enum lmq_kind kind, const char *const *properties)
{
	single_begin(kind, properties);
	good(lmq_reader_open(channel, &reader));
}

static void end(void)
{
	lmq_reader_close(reader);
	single_end();
}

/* The offset of the next message; -1: there is none. */
static int64_t next(void)
{
	struct lmq_message m;
	int rc = lmq_reader_next(reader, &m);
	if (rc == LMQ_END)
		return -1;
	good(rc);
	return (int64_t)m.offset;
}

static int64_t previous(void)
{
	struct lmq_message m;
	int rc = lmq_reader_previous(reader, &m);
	if (rc == LMQ_END)
		return -1;
	good(rc);
	return (int64_t)m.offset;
}

static void shift(int64_t by, int64_t there)
{
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, by) == 0);
	CHECK_EQUAL(lmq_reader_tell(reader), there < 0 ? SENT : there);
	CHECK_EQUAL(next(), there);
}

TEST(shifts, "a reader is moved by a number of messages, as far as there are any")
{
	static const enum lmq_kind kinds[] = { LMQ_QUEUE, LMQ_TOPIC, LMQ_STREAM };
	for (int i = 0; i < 3; i++) {
		begin(kinds[i], NULL);
		good(send_sized(SENT, 10));
		shift(5, 5);
		shift(-3, 3);
		shift(0, 4);
		shift(INT64_MAX, -1);
		shift(1, -1);
		shift(-2, SENT - 2);
		shift(INT64_MIN, 0);
		end();
	}
}

TEST(settled, "an offset before all that is left of a queue stands for the first of that")
{
	lmq_receiver *r;
	begin(LMQ_QUEUE, NULL);
	good(send_sized(SENT, 10));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 5), 0);
	CHECK(lmq_receiver_settle(r, 5, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, 2) == 0);
	CHECK_EQUAL(next(), 5);
	lmq_receiver_close(r);
	end();
}

TEST(times_to_live, "a reader passes over what has lived longer than its channel says, and over nothing else")
{
	static const struct { const char *ttl; int64_t first; } rows[] = { { "ttl=1h", 0 }, { "ttl=1ms", -1 } };
	for (int i = 0; i < 2; i++) {
		struct lmq_message m = LMQ_MESSAGE_INIT;
		begin(LMQ_STREAM, PROPERTIES(rows[i].ttl));
		m.ttl = rows[i].first < 0 ? 1 : 0;
		good(lmq_writer_add(writer, channel, &m));
		good(lmq_writer_commit(writer));
		CHECK_EQUAL(next(), rows[i].first);
		end();
	}
}

TEST(back_and_forth, "a move back counts from where reading backward came to")
{
	begin(LMQ_STREAM, NULL);
	good(send_sized(SENT, 10));
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_END, 0) == 0);
	CHECK_EQUAL(previous(), SENT - 1);
	CHECK_EQUAL(previous(), SENT - 2);
	shift(-4, SENT - 6);
	CHECK_EQUAL(previous(), SENT - 6);
	shift(3, SENT - 3);
	end();
}

TEST(trimmed, "what was dropped is neither moved back to nor counted on the way")
{
	begin(LMQ_STREAM, NULL);
	good(send_sized(SENT, 10));
	CHECK_EQUAL(next(), 0);
	shift(9, 10);
	trim_to(7);
	shift(-2, 9);
	shift(-5, 7);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, 2) == 0);
	CHECK_EQUAL(next(), 7);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_LAST, SENT) == 0);
	CHECK_EQUAL(next(), 7);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_LAST, SENT - 8) == 0);
	CHECK_EQUAL(next(), 8);
	CHECK_EQUAL(lmq_reader_missed(reader), 0);
	CHECK(lmq_reader_seek(reader, (enum lmq_seek)99, 0) == LMQ_EINVAL);
	end();
}

TEST(overtaken, "of what is dropped under a reader it has missed what it would have come to, in its direction")
{
	static const struct { uint64_t trimmed, missed; int64_t next; } backward[] = { { 4, 4, 9 }, { 15, 10, -1 } };
	for (int i = 0; i < 2; i++) {
		begin(LMQ_STREAM, NULL);
		good(send_sized(SENT, 10));
		CHECK(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, 11) == 0);
		CHECK_EQUAL(previous(), 10);
		lmq_reader_pause(reader);
		trim_to(backward[i].trimmed);
		CHECK_EQUAL(previous(), backward[i].next);
		CHECK_EQUAL(lmq_reader_missed(reader), backward[i].missed);
		end();
	}
	begin(LMQ_STREAM, NULL);
	good(send_sized(SENT, 10));
	CHECK_EQUAL(next(), 0);
	lmq_reader_pause(reader);
	trim_to(8);
	CHECK_EQUAL(next(), 8);
	CHECK_EQUAL(lmq_reader_missed(reader), 7);
	end();
}

TEST(partitions, "by partitions a move counts the messages of all of them, or of the one that is read")
{
	uint64_t sum = 0;
	begin(LMQ_STREAM, PROPERTIES("partitions=4"));
	for (int64_t i = 0; i < SENT; i++) {
		lmq_writer_partition(writer, i % 4);
		good(send_sized(1, 10));
	}
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_END, 0) == 0);
	CHECK_EQUAL(lmq_reader_tell(reader), SENT);
	CHECK(lmq_reader_end(reader, &sum) == 0 && sum == SENT);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, -6) == 0);
	CHECK_EQUAL(lmq_reader_tell(reader), SENT - 6);
	for (int i = 0; i < 6; i++)
		CHECK(next() >= 3);
	CHECK_EQUAL(next(), -1);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, -SENT - 1) == 0);
	CHECK_EQUAL(lmq_reader_tell(reader), 0);
	CHECK(lmq_reader_partition(reader, 4) == LMQ_EINVAL);
	CHECK(lmq_reader_partition(reader, 2) == 0 && lmq_reader_partition(reader, 2) == 0);
	CHECK(lmq_reader_partition(reader, 1) == LMQ_EINVAL);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_END, 0) == 0);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, -2) == 0);
	CHECK_EQUAL(next(), 3);
	CHECK(lmq_reader_end(reader, &sum) == 0 && sum == SENT / 4);
	end();
}

static struct lmq_delivery delivery(void)
{
	struct lmq_delivery d = { .since = -1 };
	CHECK(lmq_reader_delivery(reader, &d) == 0);
	return d;
}

TEST(in_hand, "of a message in somebody's hands it is said so, by whom once it was handed out")
{
	struct lmq_delivery d;
	struct lmq_receiver_options o = { .size = sizeof o, .consumer = "me" };
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	begin(LMQ_QUEUE, NULL);
	good(send_sized(3, 10));
	good(lmq_receiver_open(channel, &o, &r));
	CHECK(lmq_reader_delivery(reader, &d) == LMQ_EINVAL);
	CHECK_EQUAL(next(), 0);
	CHECK(delivery().state == LMQ_READY);
	CHECK(lmq_receiver_claim(r, 2, 1 << 20, &count) == 0 && count == 2);
	REQUIRE(lmq_receiver_next(r, &m) == 0);
	d = delivery();
	CHECK(d.state == LMQ_LEASED && d.since > 0 && d.history.attempts == 1);
	CHECK_TEXT(d.holder, "me");
	CHECK_EQUAL(next(), 1);
	d = delivery();
	CHECK(d.state == LMQ_LEASED && d.since == 0 && d.history.attempts == 0);
	CHECK_TEXT(d.holder, "");
	lmq_reader_pause(reader);
	CHECK(lmq_reader_delivery(reader, &d) == LMQ_EINVAL);
	lmq_receiver_close(r);
	end();
}

TEST(body, "the body of the last message can be had in pieces until the reader pauses")
{
	struct lmq_bytes piece = { NULL, 0 };
	uint64_t at = 0;
	begin(LMQ_QUEUE, NULL);
	CHECK(lmq_reader_body(reader, 0, &piece) == LMQ_EINVAL);
	good(send_sized(1, 10));
	good(send_sized(1, LARGE));
	CHECK_EQUAL(next(), 0);
	CHECK(lmq_reader_body(reader, 4, &piece) == 0 && piece.size == 6);
	CHECK(lmq_reader_body(reader, 11, &piece) == 0 && piece.size == 0);
	lmq_reader_pause(reader);
	CHECK(lmq_reader_body(reader, 0, &piece) == LMQ_EINVAL);
	CHECK_EQUAL(next(), 1);
	do {
		REQUIRE(lmq_reader_body(reader, at, &piece) == 0);
		at += piece.size;
	} while (piece.size > 0);
	CHECK_EQUAL(at, LARGE);
	end();
}

UNIT_MAIN
