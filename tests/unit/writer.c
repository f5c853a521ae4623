/* SPDX-License-Identifier: ISC */
/* Writers: what they take, and where it was stored. */
#include "sending.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>

static unsigned failed_commits;

int mdb_txn_commit(MDB_txn *txn)
{
	int (*real)(MDB_txn *) = (int (*)(MDB_txn *))dlsym(RTLD_NEXT, "mdb_txn_commit");
	int rc = real(txn);
	failed_commits += rc != 0;
	return rc;
}

enum { LARGE = 200000, MANY = 40 };
#define HOUR INT64_C(3600000000000)

/* ---- taking ---------------------------------------------------------------------------------- */

TEST(refused, "what a channel cannot take is refused with a sentence, and the rest is sent")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *q;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=4"));
	q = single_make("q", LMQ_QUEUE, PROPERTIES("max-message=300000"));
	lmq_writer_partition(writer, 4);
	CHECK(add(channel) == LMQ_EINVAL && says("it: there is no partition 4, the stream has 4"));
	lmq_writer_partition(writer, -1);
	m.delay = 1;
	CHECK(lmq_writer_add(writer, channel, &m) == LMQ_EDATA && says("it: a stream cannot hold messages back"));
	m.delay = 0;
	m.not_before = lmq_now() + HOUR;
	CHECK(lmq_writer_add(writer, channel, &m) == LMQ_EDATA && says("it: a stream cannot hold messages back"));
	m.not_before = 1;
	CHECK(lmq_writer_add(writer, channel, &m) == 0);
	CHECK(lmq_writer_begin(writer, q, &(struct lmq_message)LMQ_MESSAGE_INIT) == 0);
	CHECK(add(channel) == LMQ_EINVAL && lmq_writer_commit(writer) == LMQ_EINVAL);
	for (int i = 0; i < 2; i++)
		CHECK(lmq_writer_write(writer, place, i == 0 ? 1 : 300000) == (i == 0 ? 0 : LMQ_EDATA));
	lmq_writer_abandon(writer);
	CHECK_EQUAL(lmq_writer_count(writer), 1);
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK(stored("it") == 1 && stored("q") == 0);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(no_letter, "only the library makes dead letters: one that is sent on is none")
{
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_BURY, .exit_status = -1 };
	struct lmq_message m;
	lmq_channel *grave, *q;
	lmq_receiver *r;
	size_t count;
	single_begin(LMQ_QUEUE, NULL);
	q = single_make("q", LMQ_QUEUE, NULL);
	good(send_sized(1, 1));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 1), 0);
	good(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED));
	lmq_receiver_close(r);
	good(lmq_channel_open(store, "it.dead", LMQ_QUEUE, 0, &grave));
	r = receiver_of(grave, NULL);
	REQUIRE(lmq_receiver_claim(r, 1, 1, &count) == 0 && lmq_receiver_next(r, &m) == 0 && m.death);
	CHECK(lmq_writer_add(writer, q, &m) == 0 && m.death && lmq_writer_commit(writer) == 0);
	lmq_receiver_close(r);
	r = receiver_of(q, NULL);
	REQUIRE(lmq_receiver_claim(r, 1, 1, &count) == 0 && lmq_receiver_next(r, &m) == 0);
	CHECK(!m.death && m.body.size == 1);
	lmq_receiver_close(r);
	lmq_channel_close(grave);
	lmq_channel_close(q);
	single_end();
}

/* Too large for what is left of the store. */
TEST(no_room, "a large message that the store has no room for is refused, those before it are not lost")
{
	static char body[4 << 20];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_property changed[LMQ_PROPERTY_MAX];
	const char *limit = "max-bytes=4M";
	size_t count;
	single_begin(LMQ_QUEUE, NULL);
	good(lmq_store_make(store, &limit, 1, changed, &count));
	CHECK(add(channel) == 0);
	m.body = (struct lmq_bytes){ body, sizeof body };
	CHECK(lmq_writer_add(writer, channel, &m) == LMQ_EFULL);
	CHECK_EQUAL(lmq_writer_count(writer), 1);
	CHECK(add(channel) == 0);
	CHECK(lmq_writer_commit(writer) == 0);
	positions(2, 0);
	CHECK_EQUAL(stored("it"), 2);
	sound();
	single_end();
}

static int write_large(lmq_channel *c, size_t size)
{
	static const char piece[1 << 20];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int rc = lmq_writer_begin(writer, c, &m);
	for (size_t at = 0; rc == 0 && at < size; at += sizeof piece)
		rc = lmq_writer_write(writer, piece, sizeof piece);
	if (rc == 0)
		rc = lmq_writer_end(writer);
	return rc == 0 ? lmq_writer_commit(writer) : rc;
}

TEST(swept, "a large message has the room of a removed channel that is still being swept")
{
	const char *limit = "max-bytes=40M", *most = "max-message=100M";
	struct lmq_property changed[LMQ_PROPERTY_MAX];
	lmq_channel *old;
	size_t count;
	single_begin(LMQ_QUEUE, PROPERTIES(most));
	good(lmq_store_make(store, &limit, 1, changed, &count));
	old = single_make("old", LMQ_QUEUE, PROPERTIES(most));
	CHECK(write_large(old, 30 << 20) == 0);
	lmq_channel_close(old);
	CHECK(lmq_channel_remove(store, "old") == 0);
	CHECK(write_large(channel, 30 << 20) == 0);
	CHECK_EQUAL(stored("it"), 1);
	CHECK(write_large(channel, 30 << 20) == LMQ_EFULL);
	sound();
	single_end();
}

/* No page can be written but the meta pages; the status of a commit then. */
static int commit_full(void)
{
	struct rlimit before, none;
	int rc;
	getrlimit(RLIMIT_FSIZE, &before);
	none = before;
	none.rlim_cur = 2 * 4096;
	fflush(stdout);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &none);
	rc = lmq_writer_commit(writer);
	setrlimit(RLIMIT_FSIZE, &before);
	return rc;
}

TEST(refused_once, "a batch for which nothing could be given back on a full disk is not written a second time")
{
	static const enum lmq_kind kinds[] = { LMQ_QUEUE, LMQ_TOPIC, LMQ_STREAM };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		single_begin(kinds[i], kinds[i] == LMQ_STREAM ? PROPERTIES("partitions=3") : NULL);
		CHECK(add(channel) == 0 && add(channel) == 0);
		failed_commits = 0;
		CHECK_EQUAL(commit_full(), LMQ_ENOSPC);
		CHECK(says("the limit on the size of a file is reached"));
		CHECK_EQUAL(failed_commits, 1);
		CHECK(lmq_writer_commit(writer) == 0);
		CHECK_EQUAL(stored("it"), 2);
		sound();
		single_end();
	}
}

TEST(readers, "where LMDB's table of readers is full, a full disk is called that, and the outcome is known")
{
	enum { MOST = 2000 };
	static struct snapshot list[MOST];
	int count = 0;
	single_begin(LMQ_QUEUE, NULL);
	CHECK(add(channel) == 0);
	do
		snapshot_init(store, &list[count]);
	while (snapshot_begin(&list[count]) == 0 && ++count < MOST);
	REQUIRE(count < MOST);
	CHECK_EQUAL(commit_full(), LMQ_ENOSPC);
	CHECK(says("the limit on the size of a file is reached"));
	while (count >= 0)
		snapshot_close(&list[count--]);
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK_EQUAL(stored("it"), 1);
	sound();
	single_end();
}

/* ---- positions --------------------------------------------------------------------------------- */

TEST(several, "of messages that went to several channels and partitions each has its own position")
{
	lmq_channel *q;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=2"));
	q = single_make("q", LMQ_QUEUE, NULL);
	CHECK_EQUAL(position(0), -1);
	for (int i = 0; i < MANY; i++) {
		lmq_writer_partition(writer, i % 3 == 2 ? -1 : i % 3);
		CHECK(add(i % 3 == 2 ? q : channel) == 0);
	}
	CHECK(lmq_writer_commit(writer) == 0);
	for (int i = 0; i < MANY; i++)
		CHECK_EQUAL(position((size_t)i), i % 3 == 1 ? 1000 + i / 3 : i / 3);
	CHECK_EQUAL(position(MANY), -1);
	CHECK(lmq_writer_commit(writer) == 0);
	lmq_channel_close(q);
	single_end();
}

TEST(too_many, "a writer takes messages for so many channels, refuses one for another, and stores those that it has")
{
	enum { MOST = 32768 };
	lmq_channel **list = calloc(MOST + 1, sizeof *list);
	single_begin(LMQ_QUEUE, NULL);
	for (int i = 0; i <= MOST; i++) {
		good(lmq_channel_open(store, "it", LMQ_QUEUE, 0, &list[i]));
		CHECK(add(list[i]) == (i < MOST ? 0 : LMQ_ENOMEM));
	}
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK_EQUAL(stored("it"), MOST);
	for (int i = 0; i <= MOST; i++)
		lmq_channel_close(list[i]);
	free(list);
	single_end();
}

TEST(many_large, "a writer takes so many large messages for one commit, and more after it")
{
	enum { MOST = 1024, SIZE = 70000 };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.body = (struct lmq_bytes){ calloc(1, SIZE), SIZE };
	single_begin(LMQ_QUEUE, NULL);
	for (int i = 0; i < MOST; i++)
		good(lmq_writer_add(writer, channel, &m));
	CHECK_EQUAL(lmq_writer_add(writer, channel, &m), LMQ_ELIMIT);
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK(lmq_writer_add(writer, channel, &m) == 0 && lmq_writer_commit(writer) == 0);
	CHECK_EQUAL(stored("it"), MOST + 1);
	free((void *)m.body.data);
	single_end();
}

TEST(deduplicated, "a message that was stored before has the position that it got then")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	single_begin(LMQ_QUEUE, PROPERTIES("dedup=1h"));
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++) {
			m.id = (struct lmq_bytes){ &"abcd"[round ? 3 - i : i], 1 };
			CHECK(lmq_writer_add(writer, channel, &m) == 0);
		}
		CHECK(lmq_writer_commit(writer) == 0);
		for (int i = 0; i < 4; i++)
			CHECK_EQUAL(position((size_t)i), round ? 3 - i : i);
	}
	CHECK_EQUAL(stored("it"), 4);
	single_end();
}

TEST(partial_large, "of large messages for which there is little room the first are stored, the others are kept whole")
{
	struct lmq_bytes piece;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, PROPERTIES("max-messages=3"));
	lmq_writer_partial(writer, true);
	good(send_sized(1, 1));
	CHECK(send_sized(4, LARGE) == LMQ_EFULL);
	positions(2, 1);
	CHECK_EQUAL(lmq_writer_count(writer), 2);
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 3), 0);
	CHECK(lmq_receiver_settle(r, 3, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_writer_commit(writer) == 0);
	positions(2, 3);
	for (int i = 3; i < 5; i++) {
		uint64_t at = 0;
		CHECK_EQUAL(claim(r, 1), i);
		do {
			REQUIRE(lmq_receiver_body(r, at, &piece) == 0);
			at += piece.size;
		} while (piece.size > 0);
		CHECK_EQUAL(at, LARGE);
	}
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(both_short, "of messages for which a topic and a queue behind it have little room as many are stored as both take")
{
	struct lmq_route route = { .source = "it", .destination = "q" };
	lmq_channel *q;
	bool added;
	single_begin(LMQ_TOPIC, PROPERTIES("max-messages=3", "full=error"));
	good(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, NULL, 0, &added, NULL, NULL));
	q = single_make("q", LMQ_QUEUE, PROPERTIES("max-messages=2"));
	good(lmq_route_add(store, &route, &added));
	lmq_writer_partial(writer, true);
	CHECK(send_sized(8, 1) == LMQ_EFULL && says("q: queue is full (max-messages=2)"));
	positions(2, 0);
	CHECK(stored("it") == 2 && stored("q") == 2);
	CHECK_EQUAL(lmq_writer_count(writer), 6);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(expected, "what is expected is expected of the channel of the first message, whatever else is sent")
{
	lmq_channel *q;
	single_begin(LMQ_STREAM, NULL);
	q = single_make("q", LMQ_QUEUE, NULL);
	good(send_sized(3, 1));
	for (int wrong = 0; wrong < 2; wrong++) {
		CHECK(add(channel) == 0 && add(q) == 0 && add(channel) == 0);
		lmq_writer_expect(writer, 3);
		CHECK(lmq_writer_commit(writer) == (wrong ? LMQ_ECONFLICT : 0));
		CHECK(stored("it") == 5 && stored("q") == 1);
	}
	lmq_writer_discard(writer);
	CHECK(add(q) == 0 && add(channel) == 0);
	lmq_writer_expect(writer, 5);
	CHECK_EQUAL(lmq_writer_commit(writer), LMQ_ECONFLICT);
	CHECK(says("q: expected offset 5, the next one is 1"));
	lmq_writer_discard(writer);
	CHECK(add(channel) == 0);
	lmq_writer_expect_key(writer, LMQ_NONE);
	CHECK(lmq_writer_commit(writer) == LMQ_EINVAL && says("it: the first message has no key to expect something of"));
	CHECK(stored("it") == 5 && stored("q") == 1);
	lmq_channel_close(q);
	sound();
	single_end();
}

TEST(fan, "the more channels get copies of it the smaller is what one transaction takes, never less than a message")
{
	enum { FAN = 520, BODY = 60000 };
	static char body[BODY];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_route route = { .source = "it" };
	size_t most[2];
	bool added;
	single_begin(LMQ_TOPIC, NULL);
	m.body = (struct lmq_bytes){ body, BODY };
	for (int i = 0; i < FAN; i++) {
		char name[20];
		lmq_channel *q;
		snprintf(name, sizeof name, "q%d", i);
		good(lmq_channel_open(store, name, LMQ_QUEUE, LMQ_CREATE, &q));
		lmq_channel_close(q);
		route.destination = name;
		good(lmq_route_add(store, &route, &added));
		if (i != 9 && i != FAN - 1)
			continue;
		lmq_writer_close(writer);
		good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
		while (lmq_writer_add(writer, channel, &m) == 0)
			continue;
		most[i > 9] = lmq_writer_count(writer);
		CHECK(lmq_writer_commit(writer) == 0);
	}
	CHECK(most[0] > 40 && most[0] * BODY * 11 <= 32 << 20);
	CHECK_EQUAL(most[1], 1);
	CHECK_EQUAL(stored("q0"), most[0] + 1);
	CHECK_EQUAL(stored("q519"), 1);
	single_end();
}

UNIT_MAIN
