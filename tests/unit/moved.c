/* SPDX-License-Identifier: ISC */
/*
 * Groups that change under their members: removed and made again, moved with messages in hand, with a seek or a member
 * that is killed at a bad moment.
 */
#include "place.h"

#include <signal.h>
#include <sys/wait.h>

enum { MANY = 20000 };

static lmq_store *store;
static lmq_channel *channel;
static lmq_writer *writer;

static void reach(void)
{
	if (lmq_channel_open(store, "s", LMQ_STREAM, 0, &channel) != 0 ||
			lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer) != 0)
		abort();
}

static void begin(const char *property, const char *rule)
{
	bool created;
	place_make();
	store = place_open();
	if (lmq_channel_make(store, "s", LMQ_STREAM, &property, property != NULL, &created, NULL, NULL) != 0)
		abort();
	reach();
	if (lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, &rule, 1, &created, NULL, NULL) != 0)
		abort();
}

static void leave(void)
{
	lmq_writer_close(writer);
	lmq_channel_close(channel);
	lmq_store_close(store);
}

static void end(void)
{
	leave();
	place_remove();
}

static void publish(size_t count, const char *key)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.body = (struct lmq_bytes){ "x", 1 };
	m.key = (struct lmq_bytes){ key, strlen(key) };
	for (int rc; count > 0; count -= rc == 0) {
		rc = lmq_writer_add(writer, channel, &m);
		if (rc == LMQ_ELIMIT ? lmq_writer_commit(writer) != 0 : rc != 0)
			abort();
	}
	CHECK(lmq_writer_commit(writer) == 0);
}

static lmq_receiver *receive(unsigned flags)
{
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE | flags, .group = "g" };
	lmq_receiver *r = NULL;
	if (lmq_receiver_open(channel, &o, &r) != 0)
		abort();
	return r;
}

/* How many messages there are to be claimed at once; the first has that offset. */
static size_t claim(lmq_receiver *r, size_t most, uint64_t first)
{
	struct lmq_message m;
	size_t count = 0;
	if (lmq_receiver_claim(r, most, 1 << 20, &count) != 0)
		return 0;
	CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == first);
	return count;
}

static void seek(int64_t to)
{
	struct lmq_group_move move;
	size_t count;
	CHECK(lmq_group_seek(channel, "g", -1, LMQ_SEEK_OFFSET, to, 0, &move, &count) == 0);
}

TEST(remade, "what was claimed for a group that was removed is never settled in a new one of its name")
{
	struct lmq_message m;
	lmq_receiver *a, *b;
	size_t count;
	begin(NULL, "order=none");
	publish(10, "k");
	for (int again = 0; again < 2; again++) {
		a = receive(0);
		CHECK_EQUAL(claim(a, 5, 0), 5);
		lmq_receiver_pause(a);
		CHECK(lmq_group_remove(channel, "g") == 0);
		b = receive(0);
		CHECK_EQUAL(claim(b, 3, 0), 3);
		if (again)
			CHECK(lmq_receiver_next(a, &m) == LMQ_EGONE);
		for (int i = 0; i < 2; i++)
			CHECK(lmq_receiver_claim(a, 5, 1 << 20, &count) == LMQ_EGONE);
		CHECK(lmq_receiver_settle(a, 5, LMQ_SYNC_RELAXED) == LMQ_EGONE);
		lmq_receiver_release(b);
		CHECK_EQUAL(claim(b, 100, 0), 10);
		lmq_receiver_close(a);
		lmq_receiver_close(b);
	}
	end();
}

TEST(killed_seek, "a seek that was killed on the way leaves no key stuck")
{
	struct lmq_group_info *info;
	lmq_receiver *a, *b;
	size_t count, left;
	pid_t pid;
	begin(NULL, "order=key");
	publish(MANY, "k");
	publish(1, "z");
	a = receive(0);
	b = receive(0);
	CHECK_EQUAL(claim(a, 1, 0), 1);
	CHECK_EQUAL(claim(b, 1, MANY), 1);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	leave();
	pid = fork();
	if (pid == 0) {
		store = place_open();
		reach();
		seek(MANY + 1);
		_exit(0);
	}
	store = place_open();
	reach();
	do {
		REQUIRE(lmq_group_list(channel, "g", &info, &count) == 0);
		left = info->lag;
		free(info);
	} while (left > MANY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	REQUIRE(lmq_group_list(channel, "g", &info, &count) == 0);
	a = receive(0);
	if (info->lag > 0)
		CHECK_EQUAL(claim(a, 1, info->position), 1);
	free(info);
	lmq_receiver_close(a);
	end();
}

TEST(below, "a message in hand that retention dropped after a seek does not keep the next from being had")
{
	struct lmq_trim trim = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	lmq_receiver *a, *b;
	bool more;
	begin(NULL, "order=key");
	publish(5, "k");
	a = receive(0);
	b = receive(0);
	CHECK_EQUAL(claim(a, 1, 0), 1);
	seek(0);
	trim.to = 1;
	REQUIRE(lmq_channel_trim(channel, &trim, &at, &dropped, &more) == 0);
	alarm(20);
	CHECK_EQUAL(claim(b, 1, 1), 1);
	alarm(0);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	end();
}

TEST(blocked, "a message in hand that a seek put behind others of its key stays behind them")
{
	struct lmq_verdict v = { .offset = 1, .count = 1, .outcome = LMQ_RETRY, .exit_status = -1 };
	lmq_receiver *a, *b, *c;
	size_t count;
	for (int lease = 0; lease < 2; lease++) {
		begin(NULL, "order=key");
		publish(5, "k");
		a = receive(0);
		b = receive(0);
		c = receive(0);
		CHECK_EQUAL(claim(a, 1, 0), 1);
		CHECK(lmq_receiver_settle(a, 1, LMQ_SYNC_RELAXED) == 0);
		CHECK_EQUAL(claim(a, 1, 1), 1);
		seek(0);
		CHECK_EQUAL(claim(b, 1, 0), 1);
		if (lease)
			CHECK(lmq_receiver_lease(a, 1, LMQ_SYNC_RELAXED) == 0);
		else
			CHECK(lmq_receiver_conclude(a, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
		CHECK(lmq_receiver_claim(c, 9, 1 << 20, &count) == LMQ_END);
		CHECK(lmq_receiver_settle(b, 1, LMQ_SYNC_RELAXED) == 0);
		CHECK_EQUAL(claim(c, 9, 1), 1);
		lmq_receiver_close(a);
		lmq_receiver_close(b);
		lmq_receiver_close(c);
		end();
	}
}

TEST(behind, "in a partition what was claimed along with a message that is retried waits for it too")
{
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_RETRY, .delay = 3600000000000, .exit_status = -1 };
	struct lmq_message m;
	lmq_receiver *a;
	size_t count;
	begin("partitions=2", "order=none");
	publish(5, "k");
	a = receive(0);
	REQUIRE(lmq_receiver_claim(a, 5, 1 << 20, &count) == 0 && count == 5);
	REQUIRE(lmq_receiver_next(a, &m) == 0);
	REQUIRE(lmq_receiver_next(a, &m) == 0);
	v.partition = m.partition;
	REQUIRE(lmq_receiver_conclude(a, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_receiver_next(a, &m) == LMQ_END);
	CHECK(lmq_receiver_settle(a, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_receiver_claim(a, 5, 1 << 20, &count) == LMQ_END);
	lmq_receiver_close(a);
	end();
}

TEST(counted, "the trace of a death that was counted already does not stop who comes next")
{
	lmq_receiver *a;
	pid_t pid;
	begin(NULL, "order=none");
	publish(2, "k");
	leave();
	pid = fork();
	if (pid == 0) {
		store = place_open();
		reach();
		a = receive(LMQ_EXPLICIT_BEGIN);
		claim(a, 1, 0);
		lmq_receiver_begin(a, 0, 0, 1, 0);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	store = place_open();
	reach();
	a = receive(0);
	CHECK_EQUAL(claim(a, 5, 0), 2);
	lmq_receiver_close(a);
	end();
}

UNIT_MAIN
