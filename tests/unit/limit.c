/* SPDX-License-Identifier: ISC */
/* What a queue or topic does when it is full: who is refused, what is pushed out, and what never is. */
#include "locks.h"
#include "single.h"

TEST(held, "of a run whose first message is in somebody's hands the next ones are pushed out")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=10", "full=drop-old"));
	r = receiver_of(channel, NULL);
	CHECK(send_sized(10, 10) == 0);
	CHECK_EQUAL(claim(r, 1), 0);
	for (int i = 0; i < 5; i++) {
		CHECK(send_sized(1, 10) == 0);
		CHECK_EQUAL(stored("it"), 10);
	}
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claim(r, 1), 6);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(held_bytes, "the same where bytes are limited: the queue does not grow")
{
	struct lmq_channel_info info;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("max-bytes=64K", "full=drop-old"));
	r = receiver_of(channel, NULL);
	for (int i = 0; i < 200; i++) {
		CHECK(send_sized(1, 1000) == 0);
		if (i == 0)
			CHECK_EQUAL(claim(r, 1), 0);
		CHECK(lmq_channel_info(channel, &info) == 0 && info.bytes <= 65536);
	}
	CHECK(info.messages > 55 && info.messages < 66);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claim(r, 1), (int64_t)(200 - info.messages + 1));
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(all_held, "where all is in somebody's hands it is kept, and what comes finds no room")
{
	const char *lower = "max-messages=1";
	bool made;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=3", "full=dead"));
	r = receiver_of(channel, NULL);
	CHECK(send_sized(3, 10) == 0);
	CHECK_EQUAL(claim(r, 3), 0);
	CHECK(send_sized(2, 10) == 0);
	CHECK_EQUAL(stored("it"), 3);
	CHECK_EQUAL(stored("it.dead"), 2);
	good(lmq_channel_make(store, "it", LMQ_QUEUE, &lower, 1, &made, NULL, NULL));
	CHECK(send_sized(1, 10) == 0);
	CHECK_EQUAL(stored("it"), 3);
	CHECK_EQUAL(stored("it.dead"), 3);
	CHECK(lmq_receiver_settle(r, 3, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(stored("it"), 0);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(returned, "messages that were pushed out of a queue in steps between held ones leave the others in order")
{
	lmq_receiver *r[3];
	struct lmq_message m;
	size_t count;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=20", "full=drop-old"));
	CHECK(send_sized(20, 10) == 0);
	for (int i = 0; i < 3; i++) {
		r[i] = receiver_of(channel, NULL);
		CHECK_EQUAL(claim(r[i], 4), 4 * i);
	}
	lmq_receiver_release(r[1]);
	CHECK(send_sized(5, 10) == 0);
	CHECK_EQUAL(stored("it"), 20);
	/* 4 to 7 went, and 12. */
	CHECK_EQUAL(claim(r[1], 100), 13);
	for (uint64_t n = 14; n < 25; n++)
		CHECK(lmq_receiver_next(r[1], &m) == 0 && m.offset == n);
	CHECK(lmq_receiver_claim(r[1], 1, 1000, &count) == LMQ_END);
	sound();
	for (int i = 0; i < 3; i++)
		lmq_receiver_close(r[i]);
	single_end();
}

TEST(too_large, "an empty queue takes one message that is larger than its limit, and then no more")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("max-bytes=4K"));
	r = receiver_of(channel, NULL);
	for (int i = 0; i < 3; i++) {
		size_t size = i == 1 ? 100000 : 20000;
		CHECK(send_sized(2, size) == LMQ_EFULL);
		lmq_writer_discard(writer);
		CHECK(send_sized(1, size) == 0);
		CHECK(send_sized(1, 1) == LMQ_EFULL);
		CHECK_TEXT(lmq_error(store), "it: queue is full (max-bytes=4K)");
		lmq_writer_discard(writer);
		CHECK_EQUAL(claim(r, 5), i);
		CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	}
	lmq_receiver_close(r);
	single_end();
}

static lmq_receiver *group_at_end(const char *name)
{
	bool created;
	good(lmq_group_make(channel, name, LMQ_SEEK_END, 0, NULL, 0, &created, NULL, NULL));
	return receiver_of(channel, name);
}

TEST(topic, "a topic is full of what its slowest group needs, and says which one that is")
{
	lmq_receiver *fast, *slow;
	single_begin(LMQ_TOPIC, PROPERTIES("max-messages=5", "full=error"));
	CHECK(send_sized(50, 10) == 0);
	fast = group_at_end("fast");
	slow = group_at_end("slow");
	CHECK(send_sized(5, 10) == 0);
	CHECK_EQUAL(claim(fast, 5), 50);
	CHECK(lmq_receiver_settle(fast, 5, LMQ_SYNC_RELAXED) == 0);
	CHECK(send_sized(1, 10) == LMQ_EFULL);
	CHECK_TEXT(lmq_error(store), "it: topic is full (max-messages=5): the group 'slow' still needs its messages");
	CHECK_TEXT(lmq_hint(store), "wait for room with -w, or mq-make it full=drop-old");
	CHECK_EQUAL(claim(slow, 2), 50);
	CHECK(lmq_receiver_settle(slow, 2, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK(send_sized(2, 10) == LMQ_EFULL);
	lmq_writer_discard(writer);
	CHECK(send_sized(1, 10) == 0);
	sound();
	lmq_receiver_close(fast);
	lmq_receiver_close(slow);
	single_end();
}

TEST(topic_bytes, "an idle topic takes one message that is larger than its limit, until its group has settled it")
{
	lmq_receiver *r;
	single_begin(LMQ_TOPIC, PROPERTIES("max-bytes=4K", "full=error"));
	r = group_at_end("g");
	for (int i = 0; i < 3; i++) {
		CHECK(send_sized(1, i == 1 ? 100000 : 20000) == 0);
		CHECK(send_sized(1, 1) == LMQ_EFULL);
		CHECK_TEXT(lmq_error(store), "it: topic is full (max-bytes=4K): the group 'g' still needs its messages");
		lmq_writer_discard(writer);
		CHECK_EQUAL(claim(r, 5), i);
		CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	}
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(partial, "a partial writer says how many found room, keeps the others, and is empty when all have")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=3"));
	r = receiver_of(channel, NULL);
	lmq_writer_partial(writer, true);
	CHECK(send_sized(5, 10) == LMQ_EFULL);
	CHECK_EQUAL(lmq_writer_committed(writer), 3);
	CHECK_EQUAL(lmq_writer_count(writer), 2);
	CHECK(lmq_writer_commit(writer) == LMQ_EFULL);
	CHECK_EQUAL(lmq_writer_committed(writer), 0);
	CHECK_EQUAL(claim(r, 3), 0);
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK_EQUAL(lmq_writer_committed(writer), 2);
	CHECK_EQUAL(lmq_writer_count(writer), 0);
	CHECK_EQUAL(stored("it"), 3);
	lmq_receiver_close(r);
	single_end();
}

TEST(lowered, "a limit that is lowered far is reached in bounded steps, each as somebody sends")
{
	static const char *const full[] = { "full=drop-old", "full=dead" };
	for (int i = 0; i < 2; i++) {
		const char *lower = "max-messages=10";
		uint64_t left = 300000, now;
		bool created;
		single_begin(LMQ_QUEUE, PROPERTIES(full[i]));
		for (int n = 0; n < 3; n++)
			CHECK(send_sized(100000, 0) == 0);
		good(lmq_channel_make(store, "it", LMQ_QUEUE, &lower, 1, &created, NULL, NULL));
		for (; left > 10; left = now) {
			CHECK(send_sized(1, 0) == 0);
			now = stored("it");
			REQUIRE(now < left);
			CHECK(left + 1 - now <= 131072 + 64);
		}
		CHECK_EQUAL(i ? stored("it.dead") : 0, i ? 300003 - 10 : 0);
		/* And kept, by the largest transaction that there is. */
		CHECK(send_sized(100000, 0) == 0);
		CHECK_EQUAL(stored("it"), 10);
		sound();
		single_end();
	}
}

/* ---- many ---------------------------------------------------------------------------------- */

enum { MANY = 1000, LEASED = 20000 };
#define HOUR INT64_C(3600000000000)

static void send_keyed(unsigned count)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	char key[20];
	while (count-- > 0) {
		m.key = (struct lmq_bytes){ key, (size_t)snprintf(key, sizeof key, "%u", count) };
		good(lmq_writer_add(writer, channel, &m));
	}
	good(lmq_writer_commit(writer));
}

TEST(locks, "however many messages are pushed out, there are few calls for locks")
{
	static const struct { const char *limit, *full, *order; size_t size; unsigned most; } list[] = {
		{ "max-messages=1000", "full=drop-old", "order=none", 10, 20 },
		{ "max-messages=1000", "full=drop-old", "order=key", 10, 20 },
		{ "max-messages=1000", "full=dead", "order=none", 10, 50 },
		{ "max-messages=1000", "full=dead", "order=key", 10, 50 },
		{ "max-bytes=16K", "full=drop-old", "order=none", 10, 20 },
		{ "max-bytes=16K", "full=drop-old", "order=key", 10, 20 },
		{ "max-bytes=1M", "full=drop-old", "order=none", 1000, MANY },
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		single_begin(LMQ_QUEUE, PROPERTIES(list[i].limit, list[i].full, list[i].order));
		for (int n = 0; n < 3; n++) {
			calls = 0;
			if (strcmp(list[i].order, "order=key") == 0)
				send_keyed(MANY);
			else
				CHECK(send_sized(MANY, list[i].size) == 0);
		}
		CHECK(stored("it") < 2 * MANY);
		CHECK_ROW(calls <= list[i].most, list[i].limit);
		sound();
		single_end();
	}
}

/* The first messages are leased, each to another time. */
static void lease_each(unsigned count)
{
	struct lmq_lease *l = calloc(count, sizeof *l);
	lmq_receiver *r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, count), 0);
	good(lmq_receiver_lease(r, HOUR, LMQ_SYNC_RELAXED));
	lmq_receiver_close(r);
	for (unsigned i = 0; i < count; i++)
		l[i] = (struct lmq_lease){ .channel = "it", .offset = i, .attempt = 1, .outcome = LMQ_EXTEND, .delay = HOUR + i };
	good(lmq_store_settle(store, l, count, LMQ_SYNC_RELAXED));
	free(l);
}

TEST(leased, "however many leases are in front, they stay, the oldest behind them goes, and the limit holds")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_receiver *r;
	/* With one message that is no plain one, which is behind more of them than one looks at, or is found. */
	for (unsigned count = 10; count <= LEASED; count *= LEASED / 10)
		for (int urgent = 0; urgent < 2; urgent++) {
			single_begin(LMQ_QUEUE, PROPERTIES("max-messages=20010", "full=drop-old"));
			CHECK(send_sized(count, 0) == 0);
			lease_each(count);
			m.priority = urgent ? 9 : LMQ_PRIORITY_DEFAULT;
			good(lmq_writer_add(writer, channel, &m));
			CHECK(send_sized(20010 - count - 1, 0) == 0);
			for (int i = 1; i < 4; i++) {
				CHECK(send_sized(1, 0) == 0);
				CHECK_EQUAL(stored("it"), 20010);
			}
			r = receiver_of(channel, NULL);
			CHECK_EQUAL(claim(r, 1), urgent && count == LEASED ? count : count + 3);
			lmq_receiver_close(r);
			sound();
			single_end();
		}
}

/* ---- at random ------------------------------------------------------------------------------ */

enum { RECEIVERS = 3, MOST = 20, OFFSETS = 20000 };

static lmq_receiver *receivers[RECEIVERS];
static uint8_t holder[OFFSETS];	/* of a message: 1 + who has it; SETTLED */
enum { SETTLED = 99 };

static uint64_t held(int i)
{
	uint64_t n = 0;
	for (int k = 0; k < OFFSETS; k++)
		n += i < 0 ? holder[k] > 0 && holder[k] != SETTLED : holder[k] == i + 1;
	return n;
}

static void claim_some(int i)
{
	struct lmq_message m;
	size_t count;
	if (lmq_receiver_claim(receivers[i], 1 + unit_random() % 6, SIZE_MAX / 2, &count) != 0)
		return;
	while (lmq_receiver_next(receivers[i], &m) == 0) {
		CHECK_EQUAL(holder[m.offset], 0);
		holder[m.offset] = (uint8_t)(i + 1);
	}
}

/* Each in its way; what is settled or given back is no longer ours. */
static void conclude_some(int i)
{
	for (uint64_t k = 0; k < OFFSETS; k++) {
		struct lmq_verdict v = { .offset = k, .count = 1, .exit_status = -1,
			.outcome = unit_random() % 2 ? LMQ_ACKNOWLEDGE : LMQ_RETRY };
		if (holder[k] != i + 1 || unit_random() % 3 == 0)
			continue;
		CHECK(lmq_receiver_conclude(receivers[i], &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
		CHECK(v.outcome == LMQ_ACKNOWLEDGE || v.result == LMQ_RETRY);
		holder[k] = v.outcome == LMQ_ACKNOWLEDGE ? SETTLED : 0;
	}
}

static void release(int i)
{
	lmq_receiver_release(receivers[i]);
	for (int k = 0; k < OFFSETS; k++)
		if (holder[k] == i + 1)
			holder[k] = 0;
}

static void send_some(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	static const char *const keys[] = { "a", "b", "c" };
	m.body = (struct lmq_bytes){ "some text", 9 };
	for (uint64_t n = 1 + unit_random() % 30; n > 0; n--) {
		const char *key = keys[unit_random() % 3];
		m.priority = unit_random() % 4 ? LMQ_PRIORITY_DEFAULT : (int)(unit_random() % 10);
		m.key = unit_random() % 2 ? (struct lmq_bytes){ key, 1 } : (struct lmq_bytes){ NULL, 0 };
		CHECK(lmq_writer_add(writer, channel, &m) == 0);
	}
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK(stored("it") <= MOST || stored("it") == held(-1));
}

TEST(model, "however many have messages of a full queue, and whatever they do: it is as full as it may be")
{
	static const char *const order[] = { "order=none", "order=key" };
	for (int round = 0; round < 4; round++) {
		single_begin(LMQ_QUEUE, PROPERTIES("max-messages=20", round / 2 ? "full=dead" : "full=drop-old", order[round % 2],
			"backoff=0", "max-attempts=none"));
		memset(holder, 0, sizeof holder);
		for (int i = 0; i < RECEIVERS; i++)
			receivers[i] = receiver_of(channel, NULL);
		for (int step = 0; step < 500; step++) {
			int i = (int)(unit_random() % RECEIVERS);
			uint64_t what = unit_random() % 10;
			if (what < 3)
				send_some();
			else if (what < 7)
				claim_some(i);
			else if (what < 9)
				conclude_some(i);
			else
				release(i);
			if (step % 100 == 99)
				sound();
		}
		for (int i = 0; i < RECEIVERS; i++)
			lmq_receiver_close(receivers[i]);
		single_end();
	}
}

UNIT_MAIN
