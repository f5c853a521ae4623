/* SPDX-License-Identifier: ISC */
/* Leases: how long they last, who may still settle them, and what is said of those that are lost. */
#include "place.h"

enum { SENT = 10 };
#define HOUR INT64_C(3600000000000)

static lmq_store *store;
static lmq_channel *channel;
static lmq_receiver *receiver;

static lmq_receiver *receive(void)
{
	lmq_receiver *r;
	if (lmq_receiver_open(channel, NULL, &r) != 0)
		abort();
	return r;
}

static void begin(const char *property)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_writer *w;
	bool created;
	place_make();
	store = place_open();
	if (lmq_channel_make(store, "q", LMQ_QUEUE, &property, property != NULL, &created, NULL, NULL) != 0 ||
			lmq_channel_open(store, "q", LMQ_QUEUE, 0, &channel) != 0 ||
			lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) != 0)
		abort();
	m.body = (struct lmq_bytes){ "x", 1 };
	for (int i = 0; i < SENT; i++)
		CHECK(lmq_writer_add(w, channel, &m) == 0);
	CHECK(lmq_writer_commit(w) == 0);
	lmq_writer_close(w);
	receiver = receive();
}

static void end(void)
{
	lmq_receiver_close(receiver);
	lmq_channel_close(channel);
	lmq_store_close(store);
	place_remove();
}

static size_t claim(lmq_receiver *r, size_t most)
{
	size_t count = 0;
	int rc = lmq_receiver_claim(r, most, 1 << 20, &count);
	CHECK(rc == 0 || rc == LMQ_END);
	return count;
}

static void lease(int64_t duration)
{
	CHECK_EQUAL(claim(receiver, SENT), SENT);
	CHECK(lmq_receiver_lease(receiver, duration, LMQ_SYNC_RELAXED) == 0);
}

static struct lmq_lease slip(uint64_t offset, uint32_t attempt, enum lmq_outcome outcome)
{
	return (struct lmq_lease){ .channel = "q", .offset = offset, .attempt = attempt, .outcome = outcome, .delay = -1 };
}

/* What is said of the one lease; NULL: it was settled. */
static const char *said(uint64_t offset, uint32_t attempt, enum lmq_outcome outcome)
{
	struct lmq_lease l = slip(offset, attempt, outcome);
	CHECK(lmq_store_settle(store, &l, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK((l.status == 0) == (l.why == NULL) && (l.status == 0 || l.status == LMQ_ELOST));
	return l.why;
}

static void counts(uint64_t messages, uint64_t leased, uint64_t acknowledged)
{
	struct lmq_channel_info info;
	REQUIRE(lmq_channel_info(channel, &info) == 0);
	CHECK_EQUAL(info.messages, messages);
	CHECK_EQUAL(info.leased, leased);
	CHECK_EQUAL(info.acknowledged, acknowledged);
}

TEST(partly, "of a batch whose lease ran out only what was delivered again is lost")
{
	struct lmq_lease list[SENT];
	lmq_receiver *other;
	begin(NULL);
	lease(1);
	other = receive();
	CHECK_EQUAL(claim(other, SENT), SENT);
	lmq_receiver_return(other, 0, 0, 3);
	lmq_receiver_return(other, 0, 4, 4);
	for (uint64_t i = 0; i < SENT; i++)
		list[i] = slip(i, 1, LMQ_ACKNOWLEDGE);
	REQUIRE(lmq_store_settle(store, list, SENT, LMQ_SYNC_RELAXED) == 0);
	for (uint64_t i = 0; i < SENT; i++) {
		bool again = i == 3 || i >= 8;
		CHECK_EQUAL(list[i].status, again ? LMQ_ELOST : 0);
		CHECK_TEXT(list[i].why, again ? "the message was delivered again" : NULL);
	}
	counts(3, 0, SENT - 3);
	CHECK(lmq_receiver_settle(other, 3, LMQ_SYNC_RELAXED) == 0);
	counts(0, 0, SENT);
	lmq_receiver_close(other);
	end();
}

TEST(sentences, "why a lease is lost is said of each")
{
	struct lmq_lease twice[2];
	begin("backoff=1h");
	CHECK_TEXT(said(0, 1, LMQ_ACKNOWLEDGE), "there was no such delivery, or a process holds it");
	lease(HOUR);
	CHECK_TEXT(said(0, 2, LMQ_ACKNOWLEDGE), "there was no such delivery");
	CHECK_TEXT(said(0, 1, LMQ_ACKNOWLEDGE), NULL);
	CHECK_TEXT(said(0, 1, LMQ_ACKNOWLEDGE), "the message was settled");
	CHECK_TEXT(said(1, 1, LMQ_RETURN), NULL);
	CHECK_TEXT(said(1, 1, LMQ_ACKNOWLEDGE), "the message was given back");
	CHECK_TEXT(said(2, 1, LMQ_RETRY), NULL);
	CHECK_TEXT(said(2, 1, LMQ_EXTEND), "the message was given back");
	CHECK_TEXT(said(SENT, 1, LMQ_ACKNOWLEDGE), "the message was settled");
	twice[0] = slip(3, 1, (enum lmq_outcome)99);
	CHECK(lmq_store_settle(store, twice, 1, LMQ_SYNC_RELAXED) == LMQ_EINVAL);
	CHECK_TEXT(lmq_error(store), "q:3: no such outcome");
	CHECK_TEXT(said(3, 1, LMQ_RETRY), NULL);
	twice[0] = slip(4, 1, LMQ_RETRY);
	twice[1] = slip(4, 1, LMQ_ACKNOWLEDGE);
	CHECK(lmq_store_settle(store, twice, 2, LMQ_SYNC_RELAXED) == 0);
	CHECK(twice[0].status == 0 && twice[0].result == LMQ_RETRY);
	CHECK_TEXT(twice[1].why, "the message was given back");
	counts(SENT - 1, SENT - 5, 1);
	end();
}

TEST(again, "a lease is lost to the next one, while that lasts and when it has run out too")
{
	begin(NULL);
	lease(1);
	lease(HOUR);
	CHECK_TEXT(said(0, 1, LMQ_ACKNOWLEDGE), "the message was delivered again");
	CHECK_TEXT(said(0, 2, LMQ_ACKNOWLEDGE), NULL);
	for (uint64_t i = 1; i < SENT; i++) {
		struct lmq_lease l = slip(i, 2, LMQ_EXTEND);
		l.delay = 0;
		CHECK(lmq_store_settle(store, &l, 1, LMQ_SYNC_RELAXED) == 0 && l.status == 0);
	}
	CHECK_EQUAL(claim(receiver, SENT), SENT - 1);
	lmq_receiver_release(receiver);
	counts(SENT - 1, 0, 1);
	CHECK_TEXT(said(1, 1, LMQ_ACKNOWLEDGE), "the message was delivered again");
	CHECK_TEXT(said(1, 2, LMQ_ACKNOWLEDGE), NULL);
	end();
}

/* When the lease of the first message ends. */
static int64_t ends(void)
{
	struct lmq_delivery d = { .due = 0 };
	struct lmq_message m;
	lmq_reader *r;
	CHECK(lmq_reader_open(channel, &r) == 0 && lmq_reader_next(r, &m) == 0 && lmq_reader_delivery(r, &d) == 0);
	CHECK(d.state == LMQ_LEASED && d.history.attempts == 1);
	lmq_reader_close(r);
	return d.due;
}

TEST(durations, "a lease lasts as long as the queue says where nothing else is said, and never longer than time")
{
	int64_t before, after;
	begin("lease=90m");
	before = lmq_now();
	lease(0);
	after = lmq_now();
	CHECK(ends() >= before + HOUR * 3 / 2 && ends() <= after + HOUR * 3 / 2);
	end();
	begin(NULL);
	lease(INT64_MAX);
	CHECK_EQUAL(ends(), INT64_MAX);
	CHECK_EQUAL(claim(receiver, SENT), 0);
	CHECK(lmq_receiver_lease(receiver, 0, LMQ_SYNC_RELAXED) == 0);
	CHECK_TEXT(said(0, 1, LMQ_ACKNOWLEDGE), NULL);
	end();
}

TEST(mixed, "leases of several channels and groups are settled in one call, in whatever order they come")
{
	static const char *const groups[] = { "b", "a" };
	struct lmq_lease list[5], turned[5];
	lmq_channel *topic;
	lmq_receiver *r;
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_writer *w;
	size_t count;
	begin(NULL);
	lease(HOUR);
	REQUIRE(lmq_channel_open(store, "t", LMQ_TOPIC, LMQ_CREATE, &topic) == 0);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	for (int i = 0; i < 2; i++) {
		struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE, .group = groups[i] };
		REQUIRE(lmq_receiver_open(topic, &o, &r) == 0);
		lmq_receiver_close(r);
	}
	CHECK(lmq_writer_add(w, topic, &m) == 0 && lmq_writer_commit(w) == 0);
	for (int i = 0; i < 2; i++) {
		struct lmq_receiver_options o = { .size = sizeof o, .group = groups[i] };
		REQUIRE(lmq_receiver_open(topic, &o, &r) == 0);
		REQUIRE(lmq_receiver_claim(r, 1, 1, &count) == 0 && count == 1);
		CHECK(lmq_receiver_lease(r, HOUR, LMQ_SYNC_RELAXED) == 0);
		list[i] = slip(0, 1, LMQ_ACKNOWLEDGE);
		list[i].channel = "t";
		list[i].group = groups[i];
		lmq_receiver_close(r);
	}
	list[2] = slip(7, 1, LMQ_BURY);
	list[3] = list[0];
	list[3].group = NULL;
	list[4] = slip(3, 1, LMQ_ACKNOWLEDGE);
	CHECK(lmq_store_settle(store, list, 5, LMQ_SYNC_RELAXED) == 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQUAL(list[i].status, i == 3 ? LMQ_EKIND : 0);
	for (int i = 0; i < 5; i++)
		turned[i] = list[4 - i];
	CHECK(lmq_store_settle(store, turned, 5, LMQ_SYNC_RELAXED) == 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQUAL(turned[i].status, i == 1 ? LMQ_EKIND : LMQ_ELOST);
	counts(SENT - 2, SENT - 2, 1);
	lmq_writer_close(w);
	lmq_channel_close(topic);
	end();
}

TEST(partitions, "so are those of several partitions")
{
	const char *two = "partitions=2";
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE, .group = "g" };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_lease list[4];
	lmq_channel *stream;
	lmq_receiver *r;
	lmq_writer *w;
	size_t count;
	bool created;
	begin(NULL);
	REQUIRE(lmq_channel_make(store, "s", LMQ_STREAM, &two, 1, &created, NULL, NULL) == 0);
	REQUIRE(lmq_channel_open(store, "s", LMQ_STREAM, 0, &stream) == 0 && lmq_receiver_open(stream, &o, &r) == 0);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	for (uint32_t i = 0; i < 4; i++) {
		lmq_writer_partition(w, i % 2);
		CHECK(lmq_writer_add(w, stream, &m) == 0);
		list[i] = slip(i / 2, 1, LMQ_ACKNOWLEDGE);
		list[i].channel = "s";
		list[i].group = "g";
		list[i].partition = i % 2;
	}
	CHECK(lmq_writer_commit(w) == 0);
	while (lmq_receiver_claim(r, SENT, 1 << 20, &count) == 0)
		CHECK(lmq_receiver_lease(r, HOUR, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_store_settle(store, list, 4, LMQ_SYNC_RELAXED) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(list[i].status == 0 && list[i].result == LMQ_ACKNOWLEDGE);
	lmq_receiver_close(r);
	lmq_writer_close(w);
	lmq_channel_close(stream);
	end();
}

/* When the message comes again; 0: now. */
static int64_t due_of(uint64_t offset)
{
	struct lmq_delivery d = { .due = 0 };
	struct lmq_message m;
	lmq_reader *r;
	CHECK(lmq_reader_open(channel, &r) == 0 && lmq_reader_seek(r, LMQ_SEEK_OFFSET, (int64_t)offset) == 0);
	CHECK(lmq_reader_next(r, &m) == 0 && m.offset == offset && lmq_reader_delivery(r, &d) == 0);
	lmq_reader_close(r);
	return d.due;
}

TEST(neighbours, "neighbours whose leases differ in one thing alone each get what their own says")
{
	struct lmq_lease list[4];
	begin(NULL);
	lease(HOUR);
	for (uint64_t i = 0; i < 4; i++)
		list[i] = slip(i, i == 1 ? 2 : 1, LMQ_RETRY);
	list[0].delay = list[1].delay = list[2].delay = HOUR;
	list[3].delay = 2 * HOUR;
	CHECK(lmq_store_settle(store, list, 4, LMQ_SYNC_RELAXED) == 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQUAL(list[i].status, i == 1 ? LMQ_ELOST : 0);
	CHECK(due_of(3) - due_of(0) >= HOUR && due_of(3) - due_of(2) >= HOUR / 2);
	end();
}

/* A lease that is buried, with what its consumer said. */
static struct lmq_lease buried(uint64_t offset, const char *error)
{
	struct lmq_lease l = slip(offset, 1, LMQ_BURY);
	l.error = (struct lmq_bytes){ error, strlen(error) };
	return l;
}

TEST(nowhere, "a lease of an offset that no message can have is lost, and so is one of what was not delivered yet")
{
	const uint64_t offsets[] = { UINT64_MAX, (uint64_t)INT64_MAX + 1, INT64_MAX, SENT + 100 };
	struct lmq_message later = LMQ_MESSAGE_INIT;
	struct lmq_lease l;
	lmq_writer *w;
	begin(NULL);
	later.delay = HOUR;
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	CHECK(lmq_writer_add(w, channel, &later) == 0 && lmq_writer_commit(w) == 0);
	lmq_writer_close(w);
	CHECK(said(SENT, 0, LMQ_ACKNOWLEDGE) != NULL && said(SENT, 1, LMQ_ACKNOWLEDGE) != NULL);
	for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		l = slip(offsets[i], 1, LMQ_ACKNOWLEDGE);
		CHECK(lmq_store_settle(store, &l, 1, LMQ_SYNC_RELAXED) == 0 && l.status == LMQ_ELOST && l.why);
	}
	end();
}

TEST(errors, "of leases that are buried in one call each keeps what was said of it")
{
	static const char same[] = "same", shorter[] = "sam", none[] = "";
	static const char *const texts[] = { same, same, shorter, none, same };
	struct lmq_lease list[6];
	struct lmq_message m;
	lmq_channel *grave;
	lmq_reader *r;
	begin(NULL);
	lease(HOUR);
	for (uint64_t i = 0; i < 5; i++)
		list[i] = buried(i, texts[i]);
	list[5] = buried(5, same);
	list[5].error.size--;
	REQUIRE(lmq_store_settle(store, list, 6, LMQ_SYNC_RELAXED) == 0);
	REQUIRE(lmq_channel_open(store, "q.dead", LMQ_QUEUE, 0, &grave) == 0 && lmq_reader_open(grave, &r) == 0);
	for (uint64_t i = 0; i < 5; i++) {
		CHECK(list[i].status == 0 && list[i].result == LMQ_BURY);
		REQUIRE(lmq_reader_next(r, &m) == 0 && m.death && m.death->offset == i);
		CHECK_EQUAL(m.death->history.error.size, strlen(texts[i]));
		CHECK(!*texts[i] || strncmp(m.death->history.error.data, texts[i], m.death->history.error.size) == 0);
	}
	REQUIRE(lmq_reader_next(r, &m) == 0 && m.death && m.death->offset == 5);
	CHECK_EQUAL(m.death->history.error.size, strlen(same) - 1);
	CHECK(lmq_reader_next(r, &m) == LMQ_END);
	lmq_reader_close(r);
	lmq_channel_close(grave);
	end();
}

UNIT_MAIN
