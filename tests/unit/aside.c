/* SPDX-License-Identifier: ISC */
/* What may not be delivered, or not yet: expiry, crashes, and times that lie beyond all clocks. */
#include "single.h"

static struct group_record position(const char *group)
{
	struct group_record g = { 0 };
	struct txn t;
	good(txn_begin(store, &t));
	good(get_group(store, t.mdb, channel->id, 0, group, &g));
	txn_abort(&t);
	return g;
}

static void send_with(void (*change)(struct lmq_message *m), unsigned count)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.body = (struct lmq_bytes){ "some text", 9 };
	change(&m);
	while (count-- > 0)
		good(lmq_writer_add(writer, channel, &m));
	good(lmq_writer_commit(writer));
}

/* ---- expiry --------------------------------------------------------------------------------- */

static void expired(struct lmq_message *m)
{
	m->ttl = 1;
}

TEST(expired_queue, "what expires in a queue with dead=none is gone, and counted")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("dead=none"));
	r = receiver_of(channel, NULL);
	send_with(expired, 5000);
	CHECK(send_sized(1, 10) == 0);
	CHECK_EQUAL(claim(r, 5001), 5000);
	CHECK_EQUAL(position("").counter[COUNT_EXPIRED], 5000);
	CHECK_EQUAL(stored("it"), 1);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(expired_letters, "else it is a dead letter, in as many transactions as that takes")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	r = receiver_of(channel, NULL);
	send_with(expired, 4000);
	send_with(expired, 3000);
	CHECK_EQUAL(claim(r, 10), -1);
	CHECK_EQUAL(position("").counter[COUNT_EXPIRED], 7000);
	CHECK_EQUAL(stored("it.dead"), 7000);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(expired_group, "for a group it is settled; who reads the topic does not see it either")
{
	struct lmq_message m;
	lmq_receiver *r;
	lmq_reader *reader;
	single_begin(LMQ_TOPIC, NULL);
	r = receiver_of(channel, "g");
	send_with(expired, 3);
	CHECK(send_sized(1, 10) == 0);
	CHECK_EQUAL(claim(r, 10), 3);
	CHECK_EQUAL(position("g").counter[COUNT_EXPIRED], 3);
	CHECK(lmq_reader_open(channel, &reader) == 0);
	CHECK(lmq_reader_next(reader, &m) == 0);
	CHECK_EQUAL(m.offset, 3);
	CHECK_EQUAL(stored("it"), 4);
	lmq_reader_close(reader);
	sound();
	lmq_receiver_close(r);
	single_end();
}

static uint64_t commits(void)
{
	MDB_envinfo info;
	mdb_env_info(store->env, &info);
	return info.me_last_txnid;
}

enum { EXPIRED = 5000, KEPT = EXPIRED / 2 };

/* Of three messages two expire, and of those in a queue one in four is urgent; or all of them. All have one key. */
static void send_expired(bool scattered)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	for (int i = 0; i < EXPIRED + (scattered ? KEPT : 0); i++) {
		m.key = (struct lmq_bytes){ "key", 3 };
		m.ttl = scattered && i % 3 == 2 ? 0 : 1;
		m.priority = scattered && channel->kind == LMQ_QUEUE && i % 6 == 1 ? 9 : LMQ_PRIORITY_DEFAULT;
		good(lmq_writer_add(writer, channel, &m));
	}
	good(lmq_writer_commit(writer));
}

TEST(expired_at_once, "however few are wanted, what expired goes in few transactions")
{
	static const struct { enum lmq_kind kind; const char *property, *group, *order; bool scattered; } list[] = {
		{ LMQ_QUEUE, "dead=none", NULL, NULL, false }, { LMQ_QUEUE, "dead=grave", NULL, NULL, false },
		{ LMQ_QUEUE, "order=key", NULL, NULL, false }, { LMQ_QUEUE, "dead=none", NULL, NULL, true }, { LMQ_QUEUE, "dead=grave", NULL, NULL, true },
		{ LMQ_TOPIC, "max-age=1h", "g", "order=none", false }, { LMQ_TOPIC, "max-age=1h", "g", "order=none", true },
		{ LMQ_TOPIC, "max-age=1h", "g", "order=key", false },
	};
	bool made;
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		uint64_t before;
		lmq_receiver *r;
		single_begin(list[i].kind, PROPERTIES(list[i].property));
		if (list[i].group)
			good(lmq_group_make(channel, "g", LMQ_SEEK_END, 0, &list[i].order, 1, &made, NULL, NULL));
		r = receiver_of(channel, list[i].group);
		send_expired(list[i].scattered);
		before = commits();
		CHECK_EQUAL(claim(r, 1), list[i].scattered ? 2 : -1);
		while (claim(r, 500) >= 0)
			continue;
		CHECK(lmq_receiver_settle(r, SIZE_MAX, LMQ_SYNC_RELAXED) == 0);
		CHECK(commits() - before < 20);
		CHECK_EQUAL(position(list[i].group ? list[i].group : "").counter[COUNT_EXPIRED], EXPIRED);
		CHECK_EQUAL(position(list[i].group ? list[i].group : "").counter[COUNT_ACKNOWLEDGED],
			list[i].scattered ? KEPT : 0);
		sound();
		lmq_receiver_close(r);
		single_end();
	}
}

TEST(expired_large, "of long messages that expired as many go at once as a transaction has bytes for")
{
	static char body[60000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_receiver *r;
	uint64_t before;
	single_begin(LMQ_QUEUE, NULL);
	m.ttl = 1;
	m.body = (struct lmq_bytes){ body, sizeof body };
	for (int i = 0; i < 150; i++) {
		good(lmq_writer_add(writer, channel, &m));
		if (i % 50 == 49)
			good(lmq_writer_commit(writer));
	}
	r = receiver_of(channel, NULL);
	before = commits();
	CHECK_EQUAL(claim(r, 1), -1);
	CHECK(commits() - before >= 150 * sizeof body / (4 << 20) && commits() - before < 10);
	CHECK_EQUAL(stored("it.dead"), 150);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(expired_far, "nobody looks far for what expired behind many messages that have not")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	r = receiver_of(channel, NULL);
	send_with(expired, 2);
	CHECK(send_sized(300, 10) == 0);
	send_with(expired, 1);
	CHECK_EQUAL(claim(r, 1), 2);
	CHECK_EQUAL(position("").counter[COUNT_EXPIRED], 2);
	CHECK_EQUAL(claim(r, 300), 3);
	CHECK_EQUAL(position("").counter[COUNT_EXPIRED], 3);
	lmq_receiver_close(r);
	sound();
	single_end();
}

static void lasting(struct lmq_message *m)
{
	m->ttl = INT64_C(3600000000000);
}

TEST(expired_held, "of what expired that stays which somebody has in hand")
{
	const char *ttl = "ttl=1ms";
	lmq_receiver *r, *other;
	int64_t sent;
	bool made;
	single_begin(LMQ_QUEUE, NULL);
	r = receiver_of(channel, NULL);
	other = receiver_of(channel, NULL);
	send_with(lasting, 1);
	CHECK(send_sized(10, 10) == 0);
	send_with(lasting, 1);
	CHECK_EQUAL(claim(r, 3), 0);
	CHECK_EQUAL(claim(other, 2), 3);
	lmq_receiver_release(r);
	good(lmq_channel_make(store, "it", LMQ_QUEUE, &ttl, 1, &made, NULL, NULL));
	for (sent = lmq_now(); lmq_now() < sent + 2000000;)
		continue;
	CHECK_EQUAL(claim(r, 2), 0);
	CHECK_EQUAL(stored("it.dead"), 8);
	CHECK_EQUAL(claim(r, 1), 11);
	CHECK(lmq_receiver_settle(other, 2, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(position("").counter[COUNT_EXPIRED], 8);
	CHECK_EQUAL(position("").counter[COUNT_ACKNOWLEDGED], 2);
	lmq_receiver_close(r);
	lmq_receiver_close(other);
	sound();
	single_end();
}

static void forever(struct lmq_message *m)
{
	m->ttl = INT64_MAX;
}

TEST(forever, "a time to live that ends behind all times never does")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("ttl=1ms"));
	r = receiver_of(channel, NULL);
	send_with(forever, 1);
	CHECK_EQUAL(claim(r, 1), 0);
	lmq_receiver_close(r);
	single_end();
}

/* ---- times ---------------------------------------------------------------------------------- */

static void delayed(struct lmq_message *m)
{
	m->delay = INT64_MAX;
}

static void both(struct lmq_message *m)
{
	m->delay = INT64_C(3600000000000);
	m->not_before = INT64_MAX - 1;
}

TEST(delays, "a delay beyond all times holds a message back for good; of two the later one counts")
{
	struct lmq_channel_info info;
	struct lmq_delivery delivery;
	struct lmq_message m;
	lmq_receiver *r;
	lmq_reader *reader;
	single_begin(LMQ_QUEUE, NULL);
	r = receiver_of(channel, NULL);
	send_with(delayed, 1);
	send_with(both, 1);
	CHECK_EQUAL(claim(r, 1), -1);
	CHECK(lmq_channel_info(channel, &info) == 0);
	CHECK_EQUAL(info.delayed, 2);
	CHECK(lmq_reader_open(channel, &reader) == 0);
	CHECK(lmq_reader_next(reader, &m) == 0 && lmq_reader_delivery(reader, &delivery) == 0);
	CHECK_EQUAL(delivery.state, LMQ_DELAYED);
	CHECK_EQUAL(delivery.due, INT64_MAX);
	CHECK(lmq_reader_next(reader, &m) == 0 && lmq_reader_delivery(reader, &delivery) == 0);
	CHECK_EQUAL(delivery.due, INT64_MAX - 1);
	lmq_reader_close(reader);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(retries, "so does the delay of a retry, and a lease that nobody is to wait for")
{
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_RETRY, .delay = INT64_MAX, .exit_status = -1 };
	struct lmq_channel_info info;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	r = receiver_of(channel, NULL);
	CHECK(send_sized(2, 10) == 0);
	CHECK_EQUAL(claim(r, 1), 0);
	CHECK(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(v.result, LMQ_RETRY);
	CHECK_EQUAL(v.due, INT64_MAX);
	CHECK_EQUAL(claim(r, 1), 1);
	CHECK(lmq_receiver_lease(r, INT64_MAX, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claim(r, 1), -1);
	CHECK(lmq_channel_info(channel, &info) == 0);
	CHECK_EQUAL(info.retrying, 1);
	CHECK_EQUAL(info.leased, 1);
	sound();
	lmq_receiver_close(r);
	single_end();
}

TEST(backoff, "delays of retries never exceed the longest one, whatever it is")
{
	static const struct { const char *property; int64_t longest; } list[] = {
		{ "backoff=0", 0 }, { "backoff=1s..3s", INT64_C(3000000000) }, { "backoff=5s", INT64_C(5000000000) },
		{ "backoff=36499d..36500d", INT64_C(36500) * 86400 * 1000000000 },
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		lmq_receiver *r;
		single_begin(LMQ_QUEUE, PROPERTIES(list[i].property, "max-attempts=none"));
		r = receiver_of(channel, NULL);
		for (int n = 0; n < 40; n++) {
			struct lmq_verdict v = { .count = 1, .outcome = LMQ_RETRY, .delay = -1, .exit_status = -1 };
			int64_t now = lmq_now();
			CHECK(send_sized(1, 10) == 0);
			/* Any that is due again, or the new one. */
			v.offset = (uint64_t)claim(r, 1);
			CHECK(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
			CHECK(v.due - lmq_now() <= list[i].longest && (v.due >= now || v.due == 0));
		}
		sound();
		lmq_receiver_close(r);
		single_end();
	}
}

TEST(longest, "a first delay that is longer than the longest, as no property makes it, is no longer than that")
{
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_RETRY, .delay = -1, .exit_status = -1 };
	struct channel_record record;
	lmq_receiver *r;
	struct txn t;
	single_begin(LMQ_QUEUE, PROPERTIES("backoff=1s..2s"));
	good(txn_begin(store, &t));
	good(get_channel_record(store, t.mdb, channel->id, &record));
	record.limit[LIMIT_BACKOFF_LEAST] = UINT64_C(3600000000000);
	good(put_channel_record(&t, channel->id, &record));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
	r = receiver_of(channel, NULL);
	for (int i = 0; i < 20; i++) {
		CHECK(send_sized(1, 10) == 0);
		v.offset = (uint64_t)claim(r, 1);
		CHECK(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
		CHECK(v.due - lmq_now() <= INT64_C(2000000000));
	}
	lmq_receiver_close(r);
	single_end();
}

TEST(endings, "whatever is said of how a delivery ended, the message can be delivered again, and buried")
{
	static const struct { int exit_status, signal; enum lmq_reason reason; } list[] = {
		{ INT32_MAX, 0, LMQ_FAILED }, { INT32_MIN, 0, LMQ_FAILED }, { -1, -9, LMQ_CRASHED },
		{ 0, INT32_MIN, LMQ_CRASHED }, { 0, INT32_MAX, LMQ_TIMEOUT }, { 3, 0, (enum lmq_reason)99 }, { 3, 0, (enum lmq_reason)-1 },
	};
	for (size_t i = 0; i < sizeof list / sizeof *list; i++)
		for (enum lmq_outcome outcome = LMQ_RETRY; outcome <= LMQ_BURY; outcome++) {
			struct lmq_verdict v = { .count = 1, .outcome = outcome, .exit_status = list[i].exit_status,
				.signal = list[i].signal, .reason = list[i].reason };
			lmq_receiver *r;
			single_begin(LMQ_QUEUE, NULL);
			r = receiver_of(channel, NULL);
			CHECK(send_sized(1, 10) == 0);
			CHECK_EQUAL(claim(r, 1), 0);
			CHECK_ROW(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0, lmq_error(store));
			if (outcome == LMQ_BURY) {
				lmq_receiver_close(r);
				lmq_channel_close(channel);
				good(lmq_channel_open(store, "it.dead", LMQ_QUEUE, 0, &channel));
				r = receiver_of(channel, NULL);
			}
			CHECK_EQUAL(claim(r, 1), 0);
			sound();
			lmq_receiver_close(r);
			single_end();
		}
}

/* ---- crashes -------------------------------------------------------------------------------- */

static struct lmq_history history_of(uint64_t offset)
{
	struct lmq_delivery delivery = { .history.attempts = 0 };
	struct lmq_message m;
	lmq_reader *reader;
	good(lmq_reader_open(channel, &reader));
	good(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, (int64_t)offset));
	CHECK(lmq_reader_next(reader, &m) == 0 && m.offset == offset);
	good(lmq_reader_delivery(reader, &delivery));
	lmq_reader_close(reader);
	return delivery.history;
}

static void crash(uint64_t first, uint64_t end, uint32_t attempt)
{
	struct run part = { first, end };
	uint64_t missed = 0;
	while (part.first < part.end)
		REQUIRE(aside_crashed(store, channel->id, 0, "", &part, end, attempt, &missed) == 0);
	CHECK_EQUAL(missed, 0);
}

TEST(crashes, "a crash is counted once for each attempt, however often its note is found")
{
	single_begin(LMQ_QUEUE, PROPERTIES("backoff=0"));
	CHECK(send_sized(5000, 10) == 0);
	for (int i = 0; i < 3; i++)
		crash(0, 4500, 1);
	CHECK_EQUAL(history_of(0).crashes, 1);
	CHECK_EQUAL(history_of(4499).crashes, 1);
	CHECK_EQUAL(history_of(4500).crashes, 0);
	crash(10, 20, 2);
	crash(5, 25, 1);
	CHECK_EQUAL(history_of(9).attempts, 1);
	CHECK_EQUAL(history_of(10).attempts, 2);
	CHECK_EQUAL(history_of(19).crashes, 2);
	CHECK_EQUAL(history_of(20).crashes, 1);
	CHECK_EQUAL(position("").counter[COUNT_CRASHED], 4510);
	sound();
	single_end();
}

TEST(settled, "a crash over messages that were settled meanwhile counts for those that were not")
{
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("backoff=0"));
	r = receiver_of(channel, NULL);
	CHECK(send_sized(10, 10) == 0);
	CHECK_EQUAL(claim(r, 6), 0);
	CHECK(lmq_receiver_settle(r, 6, LMQ_SYNC_RELAXED) == 0);
	crash(0, 5, 1);
	crash(0, 8, 1);
	CHECK_EQUAL(position("").counter[COUNT_CRASHED], 2);
	CHECK_EQUAL(history_of(7).crashes, 1);
	CHECK_EQUAL(history_of(8).crashes, 0);
	lmq_receiver_close(r);
	CHECK(lmq_channel_remove(store, "it") == 0);
	crash(8, 10, 1);
	sound();
	single_end();
}

UNIT_MAIN
