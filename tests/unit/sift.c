/* SPDX-License-Identifier: ISC */
/* What a claim leaves out: what expired, what compaction took, and what became somebody else's while it was made. */
#include "locks.h"
#include "single.h"

#include "receive/receiver.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

enum { MANY = 700, ROW = 10000, RUNS_MOST = 4096 };
#define HOUR INT64_C(3600000000000)

/* ---- a full disk -------------------------------------------------------------------------------- */

static void disk_full(bool full)
{
	static struct rlimit before;
	struct rlimit none;
	signal(SIGXFSZ, full ? SIG_IGN : SIG_DFL);
	if (full)
		getrlimit(RLIMIT_FSIZE, &before);
	none = before;
	none.rlim_cur = 2 * 4096;	/* the meta pages can still be written, and no other */
	fflush(stdout);
	setrlimit(RLIMIT_FSIZE, full ? &none : &before);
}

static size_t claimed(lmq_receiver *r, size_t most)
{
	size_t count = 0;
	int rc = lmq_receiver_claim(r, most, SIZE_MAX / 2, &count);
	CHECK(rc == 0 || rc == LMQ_END);
	return count;
}

static void send(size_t count, int64_t ttl, const char *key)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.ttl = ttl;
	m.key = (struct lmq_bytes){ key, key ? strlen(key) : 0 };
	while (count-- > 0)
		good(lmq_writer_add(writer, channel, &m));
}

TEST(expired, "what expired is left out, wherever it lies and however much it is")
{
	struct lmq_message m;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	for (int i = 0; i < MANY; i++) {
		send(1 + (size_t)(i % 3), 1, NULL);
		send(1, 0, NULL);
	}
	good(lmq_writer_commit(writer));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(r, ROW), MANY);
	for (int i = 0; i < MANY; i++)
		CHECK(lmq_receiver_next(r, &m) == 0 && m.ttl == 0);
	CHECK(lmq_receiver_settle(r, MANY, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(stored("it"), 0);
	CHECK_EQUAL(stored("it.dead"), MANY * 2 - 1);
	lmq_receiver_close(r);
	sound();
	single_end();
}

/* As a claim on a full disk answers. */
static int claim_full(lmq_receiver *r, size_t *count)
{
	int rc;
	disk_full(true);
	rc = lmq_receiver_claim(r, 99, 1 << 20, count);
	disk_full(false);
	return rc;
}

TEST(full_disk, "on a full disk what is not expired can still be had")
{
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	single_begin(LMQ_QUEUE, NULL);
	send(3, 1, NULL);
	send(1, 0, NULL);
	send(1, 1, NULL);
	send(2, 0, NULL);
	good(lmq_writer_commit(writer));
	r = receiver_of(channel, NULL);
	CHECK(claim_full(r, &count) == 0 && count == 3);
	for (uint64_t i = 3; i < 7; i += i == 3 ? 2 : 1)
		CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == i);
	CHECK(lmq_receiver_settle(r, 3, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claimed(r, 99), 0);
	CHECK(stored("it") == 0 && stored("it.dead") == 4);
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(all_expired, "where all is expired a claim on a full disk says that the disk is full, not that there is nothing")
{
	lmq_receiver *r;
	size_t count;
	single_begin(LMQ_QUEUE, NULL);
	send(3, 1, NULL);
	good(lmq_writer_commit(writer));
	r = receiver_of(channel, NULL);
	CHECK(claim_full(r, &count) == LMQ_ENOSPC && count == 0);
	CHECK_EQUAL(claimed(r, 99), 0);
	CHECK(stored("it") == 0 && stored("it.dead") == 3);
	lmq_receiver_close(r);
	single_end();
}

TEST(full_disk_holes, "on a full disk what compaction has left can still be had too")
{
	static const uint64_t left[] = { 2, 5, 6 };
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	single_begin(LMQ_STREAM, PROPERTIES("max-per-key=1"));
	r = receiver_of(channel, "g");
	send(3, 0, "a");
	send(1, 0, "b");
	send(2, 0, "b");
	send(1, 0, "c");
	good(lmq_writer_commit(writer));
	CHECK(claim_full(r, &count) == 0 && count == 3);
	for (int i = 0; i < 3; i++)
		CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == left[i]);
	CHECK(lmq_receiver_next(r, &m) == LMQ_END);
	CHECK(lmq_receiver_settle(r, 3, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claimed(r, 99), 0);
	CHECK_EQUAL(lmq_receiver_missed(r), 0);
	lmq_receiver_close(r);
	sound();
	single_end();
}

/* ---- others, meanwhile -------------------------------------------------------------------------- */

static lmq_receiver *other;

static void retry_first(void)
{
	struct lmq_lease l = { .channel = "it", .group = "g", .attempt = 1, .outcome = LMQ_RETRY, .delay = HOUR };
	CHECK(lmq_store_settle(store, &l, 1, LMQ_SYNC_RELAXED) == 0 && l.status == 0);
}

/* A receiver of the group g, and five messages in the first of two partitions. */
static lmq_receiver *begin_partitioned(void)
{
	lmq_receiver *r;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=2"));
	r = receiver_of(channel, "g");
	lmq_writer_partition(writer, 0);
	send(5, 0, NULL);
	good(lmq_writer_commit(writer));
	return r;
}

TEST(barrier, "in a partition what is to be retried while a claim is made holds up what that would have got")
{
	struct lmq_lease l = { .channel = "it", .group = "g", .attempt = 1, .outcome = LMQ_RETRY };
	lmq_receiver *r = begin_partitioned();
	CHECK_EQUAL(claimed(r, 1), 1);
	CHECK(lmq_receiver_lease(r, HOUR, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claimed(r, 1), 1);
	meanwhile = retry_first;
	CHECK_EQUAL(claimed(r, 2), 0);
	CHECK(!meanwhile);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claimed(r, 9), 0);
	l.outcome = LMQ_ACKNOWLEDGE;
	CHECK(lmq_store_settle(store, &l, 1, LMQ_SYNC_RELAXED) == 0 && l.status == LMQ_ELOST);
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(miscounted, "a count of messages to be retried of which there are none holds nobody up")
{
	struct group_record g;
	struct txn t;
	lmq_receiver *r = begin_partitioned();
	good(txn_begin(store, &t));
	good(get_group(store, t.mdb, channel->id, 0, "g", &g));
	g.state[RUN_RETRYING]++;
	good(put_group(&t, channel->id, 0, "g", &g));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
	CHECK_EQUAL(claimed(r, 9), 5);
	CHECK(lmq_receiver_settle(r, 5, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(r);
	single_end();
}

static void others_settle(void)
{
	struct lmq_message m;
	size_t count;
	good(lmq_receiver_claim(other, 3, 1 << 20, &count));
	CHECK(count == 3 && lmq_receiver_next(other, &m) == 0 && m.offset == 0);
	CHECK(lmq_receiver_settle(other, 2, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_release(other);
}

TEST(faster, "what somebody else settled between a claim's look and its lock is not handed out again")
{
	struct lmq_message m;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	send(5, 0, NULL);
	good(lmq_writer_commit(writer));
	r = receiver_of(channel, NULL);
	other = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(r, 1), 1);
	lmq_receiver_release(r);
	meanwhile = others_settle;
	CHECK_EQUAL(claimed(r, 4), 2);
	CHECK(!meanwhile);
	CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == 2 && m.attempt == 1);
	CHECK_EQUAL(claimed(other, 9), 1);
	lmq_receiver_close(r);
	lmq_receiver_close(other);
	single_end();
}

static void trim_three(void)
{
	trim_to(3);
}

TEST(dropped, "what is dropped between a claim's look and its lock, or in its hands, is not handed out")
{
	struct lmq_message m;
	lmq_receiver *r;
	for (int late = 0; late < 2; late++) {
		single_begin(LMQ_STREAM, NULL);
		send(5, 0, NULL);
		good(lmq_writer_commit(writer));
		r = receiver_of(channel, "g");
		CHECK_EQUAL(claimed(r, 1), 1);
		lmq_receiver_release(r);
		if (!late)
			meanwhile = trim_three;
		CHECK_EQUAL(claimed(r, 9), late ? 5 : 2);
		if (late) {
			trim_three();
			lmq_receiver_pause(r);
		}
		CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == 3);
		CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == 4);
		CHECK(lmq_receiver_next(r, &m) == LMQ_END);
		CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
		CHECK_EQUAL(claimed(r, 9), 0);
		CHECK_EQUAL(lmq_receiver_missed(r), 3);
		lmq_receiver_close(r);
		sound();
		single_end();
	}
}

/* ---- crashes ------------------------------------------------------------------------------------- */

static uint64_t commits(void)
{
	MDB_envinfo info;
	mdb_env_info(store->env, &info);
	return info.me_last_txnid;
}

static uint64_t crashes(void)
{
	struct group_record g;
	struct txn t;
	good(txn_begin(store, &t));
	good(get_group(store, t.mdb, channel->id, 0, "", &g));
	txn_abort(&t);
	return g.counter[COUNT_CRASHED];
}

/* As a process that had so many messages in hand. */
static void die_over(size_t count)
{
	lmq_receiver *r = receiver_of(channel, NULL);
	struct lmq_message m;
	CHECK_EQUAL(claimed(r, count), count);
	while (count-- > 0)
		CHECK(lmq_receiver_next(r, &m) == 0);
	close(r->fd);
	r->fd = -1;
	lmq_receiver_close(r);
}

TEST(crashed, "what somebody died over is counted in few transactions, however few of it are wanted")
{
	lmq_receiver *r;
	uint64_t before;
	single_begin(LMQ_QUEUE, PROPERTIES("max-attempts=1"));
	send(ROW, 0, NULL);
	good(lmq_writer_commit(writer));
	r = receiver_of(channel, NULL);
	die_over(ROW);
	before = commits();
	CHECK_EQUAL(claimed(r, 1), 0);
	CHECK(commits() - before < 20);
	CHECK_EQUAL(crashes(), ROW);
	CHECK_EQUAL(stored("it.dead"), ROW);
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(crashed_held, "of that what somebody else has in hand is left to him, and nothing is counted twice")
{
	struct lmq_message m;
	lmq_receiver *r;
	struct run got;
	int fd;
	single_begin(LMQ_QUEUE, PROPERTIES("backoff=0", "max-attempts=none"));
	send(10, 0, NULL);
	good(lmq_writer_commit(writer));
	die_over(8);
	good(lease_open(store, &fd));
	good(lease_take(store, fd, channel->id, 1, 2, UINT64_MAX, &got));
	good(lease_take(store, fd, channel->id, 5, 7, UINT64_MAX, &got));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(r, 1), 1);
	CHECK_EQUAL(crashes(), 1);
	CHECK_EQUAL(claimed(r, 1), 1);
	CHECK_EQUAL(crashes(), 4);
	close(fd);
	lmq_receiver_release(r);
	CHECK_EQUAL(claimed(r, 10), 10);
	CHECK_EQUAL(crashes(), 8);
	for (uint32_t i = 0; i < 10; i++)
		CHECK(lmq_receiver_next(r, &m) == 0 && m.offset == i && m.attempt == (i < 8 ? 2 : 1));
	lmq_receiver_close(r);
	sound();
	single_end();
}

/* ---- many ---------------------------------------------------------------------------------------- */

TEST(behind, "however many messages somebody has in hand, who wants the one behind them asks once for all of them")
{
	lmq_receiver *a, *b;
	single_begin(LMQ_QUEUE, NULL);
	send(ROW + 1, 0, NULL);
	good(lmq_writer_commit(writer));
	a = receiver_of(channel, NULL);
	b = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(a, ROW), ROW);
	calls = 0;
	CHECK_EQUAL(claim(b, 1), ROW);
	CHECK(calls < 20);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	single_end();
}

TEST(matching, "of what a filter lets through neighbours are locked at once, and no more than are wanted")
{
	lmq_receiver *a, *b;
	const char *reason;
	lmq_filter *f;
	single_begin(LMQ_QUEUE, NULL);
	for (int i = 0; i < 3; i++) {
		send(i ? MANY : MANY / 2, 0, "a.b");
		send(1, 0, "a.c");
	}
	good(lmq_writer_commit(writer));
	good(lmq_filter_open(&f));
	good(lmq_filter_key(f, "a.b", &reason));
	good(lmq_receiver_open(channel, &(struct lmq_receiver_options){ .size = sizeof(struct lmq_receiver_options),
		.filter = f }, &a));
	b = receiver_of(channel, NULL);
	calls = 0;
	CHECK_EQUAL(claimed(a, MANY), MANY);
	CHECK(calls < 20);
	CHECK_EQUAL(claimed(b, 1), 1);
	CHECK_EQUAL(claimed(a, ROW), MANY * 3 / 2);
	CHECK_EQUAL(claimed(b, ROW), 2);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	lmq_filter_close(f);
	single_end();
}

TEST(missed, "however many states the messages had that retention dropped, it is asked once who has them")
{
	lmq_receiver *r;
	single_begin(LMQ_STREAM, NULL);
	r = receiver_of(channel, "g");
	send(MANY + 3, 0, NULL);
	good(lmq_writer_commit(writer));
	CHECK_EQUAL(claimed(r, MANY), MANY);
	for (uint64_t i = 0; i < MANY; i++) {
		struct lmq_verdict v = { .offset = i, .count = 1, .outcome = LMQ_RETRY, .delay = HOUR + (int64_t)i, .exit_status = -1 };
		good(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED));
	}
	CHECK_EQUAL(claimed(r, 2), 2);
	other = receiver_of(channel, "g");
	trim_to(MANY + 3);
	calls = 0;
	CHECK_EQUAL(claimed(other, 1), 0);
	CHECK(calls < 20);
	CHECK_EQUAL(lmq_receiver_missed(other), MANY + 1);
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(r);
	lmq_receiver_close(other);
	sound();
	single_end();
}

TEST(scattered, "a claim of messages that lie between those of others takes a bounded number of them")
{
	lmq_receiver *a, *b;
	size_t sum = 0, count;
	single_begin(LMQ_QUEUE, NULL);
	send(ROW, 0, NULL);
	good(lmq_writer_commit(writer));
	a = receiver_of(channel, NULL);
	b = receiver_of(channel, NULL);
	while (sum < ROW && (count = claimed(a, ROW - sum)) > 0)
		sum += count;
	CHECK_EQUAL(sum, ROW);
	for (uint64_t i = 0; i < ROW; i += 2)
		lmq_receiver_return(a, 0, i, 1);
	CHECK_EQUAL(claimed(b, ROW), RUNS_MOST);
	CHECK_EQUAL(claimed(b, ROW), ROW / 2 - RUNS_MOST);
	CHECK(lmq_receiver_settle(b, ROW / 2, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(stored("it"), ROW / 2);
	lmq_receiver_close(a);
	CHECK_EQUAL(claim(b, ROW), 1);
	lmq_receiver_close(b);
	sound();
	single_end();
}

UNIT_MAIN
