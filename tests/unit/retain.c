/* SPDX-License-Identifier: ISC */
/* What the limits of topics and streams keep, and what becomes of what they do not. */
#include "single.h"

/* How many the group still has to get, how many of it are dead letters, and how many it missed. */
static void group_counts(uint64_t *lag, uint64_t *dead, uint64_t *missed)
{
	struct lmq_group_info *list;
	size_t count;
	*lag = *dead = *missed = 0;
	good(lmq_group_list(channel, "g", &list, &count));
	for (size_t i = 0; i < count; i++) {
		*lag += list[i].lag;
		*dead += list[i].dead;
		*missed += list[i].missed;
	}
	free(list);
}

static void group_begin(const char *const *topic, const char *const *group, size_t count)
{
	bool created;
	single_begin(LMQ_TOPIC, topic);
	good(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, group, count, &created, NULL, NULL));
}

TEST(window, "of large bodies a topic keeps what its window says, exact to a message")
{
	single_begin(LMQ_TOPIC, PROPERTIES("window=256K"));
	for (int i = 0; i < 10; i++)
		CHECK(send_sized(1, 100000) == 0);
	CHECK_EQUAL(stored("it"), 3);
	sound();
	single_end();
}

TEST(narrower, "of two limits that are both passed the narrower one holds")
{
	static const char *const few[] = { "max-messages=2", "max-messages=5" };
	for (int i = 0; i < 2; i++) {
		single_begin(LMQ_STREAM, PROPERTIES(few[i], "max-bytes=256K"));
		CHECK(send_sized(10, 100000) == 0);
		CHECK_EQUAL(stored("it"), i == 0 ? 2 : 3);
		sound();
		single_end();
	}
}

/* Each message some time after the one before. */
static void send_slowly(unsigned count, size_t size)
{
	while (count-- > 0) {
		int64_t past = lmq_now() + 2000000;
		CHECK(send_sized(1, size) == 0);
		while (lmq_now() < past)
			continue;
	}
}

TEST(only_one, "a topic without any other limit keeps what its window says, by bytes or by age")
{
	static const struct { const char *bytes, *age; uint64_t least, most; } rows[] = {
		{ "window=8K", "window-age=none", 2, 4 }, { "window=none", "window-age=1ms", 1, 3 },
		{ "window=none", "window-age=none", 10, 10 },
	};
	for (int i = 0; i < 3; i++) {
		single_begin(LMQ_TOPIC, PROPERTIES("max-age=none", rows[i].bytes, rows[i].age));
		send_slowly(10, 3000);
		CHECK_ROW(stored("it") >= rows[i].least && stored("it") <= rows[i].most, rows[i].bytes);
		sound();
		single_end();
	}
}

TEST(nowhere_else, "retention from a partition that there is not begins at the first")
{
	uint64_t at = 99, dropped;
	bool more;
	single_begin(LMQ_STREAM, PROPERTIES("max-messages=4"));
	CHECK(send_sized(4, 10) == 0);
	CHECK(lmq_channel_retain(channel, &at, &dropped, &more) == 0 && dropped == 0 && !more);
	CHECK_EQUAL(stored("it"), 4);
	single_end();
}

TEST(needed, "the window takes nothing that a group still needs, and all of the rest")
{
	lmq_receiver *r;
	group_begin(PROPERTIES("window=256K"), NULL, 0);
	for (int i = 0; i < 10; i++)
		CHECK(send_sized(1, 100000) == 0);
	CHECK_EQUAL(stored("it"), 10);
	r = receiver_of(channel, "g");
	CHECK_EQUAL(claim(r, 6), 0);
	CHECK(lmq_receiver_settle(r, 5, LMQ_SYNC_RELAXED) == 0);
	CHECK(send_sized(1, 100000) == 0);
	CHECK_EQUAL(stored("it"), 6);
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(letters, "full=dead: what a group loses, by number or by bytes, is a dead letter; nothing is missed")
{
	static const char *const limits[] = { "max-messages=7", "max-bytes=64K" };
	static const size_t sizes[] = { 10, 3000, 60000, 100000 };
	for (size_t i = 0; i < 2 * 4; i++) {
		uint64_t lag, dead, missed;
		group_begin(PROPERTIES(limits[i % 2], "full=dead", "window=64K"), NULL, 0);
		for (unsigned n = 1; n <= 40; n++) {
			CHECK(send_sized(1, sizes[i / 2]) == 0);
			group_counts(&lag, &dead, &missed);
			CHECK_EQUAL(missed, 0);
			CHECK_EQUAL(lag + dead, n);
			CHECK(i % 2 || lag <= 7);
		}
		CHECK_EQUAL(dead > 0 ? stored("it.dead") : 0, dead);
		sound();
		single_end();
	}
}

TEST(many, "full=dead: what is more than one transaction takes becomes dead letters in the next ones")
{
	uint64_t lag = 0, dead, missed, sent = 0;
	group_begin(PROPERTIES("max-messages=1", "full=dead"), NULL, 0);
	good(lmq_channel_make(store, "it", LMQ_TOPIC, PROPERTIES("max-messages=none"), 1, &(bool){ 0 }, NULL, NULL));
	for (int i = 0; i < 4; i++, sent += 65)
		CHECK(send_sized(65, 60000) == 0);
	good(lmq_channel_make(store, "it", LMQ_TOPIC, PROPERTIES("max-messages=1"), 1, &(bool){ 0 }, NULL, NULL));
	for (int i = 0; i < 10; i++, sent++) {
		CHECK(send_sized(1, 10) == 0);
		group_counts(&lag, &dead, &missed);
		CHECK_EQUAL(missed, 0);
		CHECK_EQUAL(lag + dead, sent + 1);
	}
	CHECK_EQUAL(lag, 1);
	CHECK_EQUAL(stored("it.dead"), sent - 1);
	sound();
	single_end();
}

TEST(nowhere, "full=dead, and the group has dead=none: what it loses is dropped, and counted as missed")
{
	static const char *const none = "dead=none";
	uint64_t lag, dead, missed;
	group_begin(PROPERTIES("max-messages=5", "full=dead"), &none, 1);
	CHECK(send_sized(20, 10) == 0);
	group_counts(&lag, &dead, &missed);
	CHECK_EQUAL(lag, 5);
	CHECK_EQUAL(dead, 0);
	CHECK_EQUAL(missed, 15);
	CHECK(lmq_channel_remove(store, "it.dead") == LMQ_ENOENT);
	sound();
	single_end();
}

TEST(dropped, "a message that was dropped while somebody had it cannot be buried any more, but it can be settled")
{
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_BURY, .exit_status = -1 };
	uint64_t lag, dead, missed;
	lmq_receiver *r;
	group_begin(PROPERTIES("max-messages=2", "full=drop-old"), NULL, 0);
	r = receiver_of(channel, "g");
	CHECK(send_sized(2, 10) == 0);
	CHECK_EQUAL(claim(r, 1), 0);
	CHECK(send_sized(5, 10) == 0);
	CHECK(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
	group_counts(&lag, &dead, &missed);
	CHECK_EQUAL(lag, 2);
	CHECK_EQUAL(missed, 4);
	CHECK_EQUAL(claim(r, 5), 5);
	sound();
	lmq_receiver_close(r);
	single_end();
}

UNIT_MAIN
