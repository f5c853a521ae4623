/* SPDX-License-Identifier: ISC */
/*
 * Groups: members that join, leave and die while they share the partitions of a stream; keys in order; leases; what was
 * missed.
 */
#include "place.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PARTITIONS = 8, EACH = 400, CLAIM = 7, CREW = 12, LARGE = 100000 };

static lmq_store *store;
static lmq_channel *channel;
static lmq_writer *writer;

static void begin(const char *name, enum lmq_kind kind, const char *property)
{
	bool created;
	place_make();
	store = place_open();
	if (lmq_channel_make(store, name, kind, &property, property != NULL, &created, NULL, NULL) != 0 ||
			lmq_channel_open(store, name, kind, 0, &channel) != 0 ||
			lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer) != 0) {
		fprintf(stderr, "%s\n", lmq_error(store));
		abort();
	}
}

static void end(void)
{
	lmq_writer_close(writer);
	lmq_channel_close(channel);
	lmq_store_close(store);
	place_remove();
}

static void publish(const char *key, const char *body)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.body = (struct lmq_bytes){ body, strlen(body) };
	if (key)
		m.key = (struct lmq_bytes){ key, strlen(key) };
	CHECK(lmq_writer_add(writer, channel, &m) == 0);
}

static lmq_receiver *receive(lmq_channel *c, int64_t partition)
{
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE, .group = "g", .partition = partition,
		.start = LMQ_SEEK_FIRST };
	lmq_receiver *r = NULL;
	if (lmq_receiver_open(c, &o, &r) != 0) {
		fprintf(stderr, "%s\n", lmq_error(store));
		abort();
	}
	return r;
}

static void settle_all(lmq_receiver *r, size_t count)
{
	if (lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED) != 0) {
		fprintf(stderr, "settle: %s\n", lmq_error(store));
		abort();
	}
}

/* ---- members that are processes ------------------------------------------------------------- */

static struct shared {
	_Atomic uint32_t clock;			/* of deliveries */
	_Atomic uint32_t first[PARTITIONS][EACH];	/* when each message was delivered first; 0: never */
	_Atomic uint32_t settled[PARTITIONS][EACH];
	_Atomic uint32_t delivered, again, pace;
} *shared;

static volatile sig_atomic_t leaving;
static lmq_watch *child_watch;

static void leave(int signal)
{
	(void)signal;
	leaving = 1;
	lmq_watch_interrupt(child_watch);
}

static void deliver(lmq_receiver *r, size_t count)
{
	struct lmq_message m;
	size_t done = 0;
	while (lmq_receiver_next(r, &m) == 0) {
		uint32_t none = 0, now = atomic_fetch_add(&shared->clock, 1) + 1;
		if (m.partition >= PARTITIONS || m.offset >= EACH)
			abort();
		atomic_fetch_add(&shared->delivered, 1);
		if (!atomic_compare_exchange_strong(&shared->first[m.partition][m.offset], &none, now))
			atomic_fetch_add(&shared->again, 1);
		done++;
	}
	lmq_receiver_pause(r);
	if (done > count || lmq_receiver_settle(r, done, LMQ_SYNC_RELAXED) != 0)
		abort();
}

static void member(void)
{
	lmq_channel *c;
	lmq_receiver *r;
	size_t count;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	store = place_open();
	if (lmq_channel_open(store, "s", LMQ_STREAM, 0, &c) != 0 || lmq_watch_open(store, &child_watch) != 0)
		abort();
	signal(SIGTERM, leave);
	r = receive(c, 0);
	lmq_watch_receiver(child_watch, r);
	while (!leaving) {
		int rc;
		lmq_watch_arm(child_watch);
		rc = lmq_receiver_claim(r, CLAIM, 1 << 20, &count);
		if (rc == LMQ_END)
			rc = lmq_watch_wait(child_watch, LMQ_FOREVER);
		else if (rc == 0)
			deliver(r, count);
		if (rc != 0 && rc != LMQ_EINTR) {
			fprintf(stderr, "%s\n", lmq_error(store));
			abort();
		}
		while (!leaving && shared->pace != 0 && shared->delivered >= shared->pace)
			sched_yield();
	}
	lmq_watch_close(child_watch);
	lmq_receiver_close(r);
	lmq_channel_close(c);
	lmq_store_close(store);
	_exit(0);
}

static pid_t hire(void)
{
	pid_t pid;
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		member();
	return pid;
}

static void dismiss(pid_t pid, int signal)
{
	int status;
	kill(pid, signal);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(signal == SIGKILL ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Whether every partition has an owner, and nobody has two more than another one of so many. */
static bool even(unsigned members)
{
	struct lmq_group_info *list;
	size_t count;
	unsigned owners = 0;
	bool good;
	if (lmq_group_list(channel, "g", &list, &count) != 0)
		return false;
	good = count == PARTITIONS;
	for (size_t i = 0; good && i < count; i++) {
		unsigned same = 0, before = 0;
		good = list[i].members == members && list[i].owner[0];
		for (size_t k = 0; k < count; k++)
			same += strcmp(list[k].owner, list[i].owner) == 0;
		for (size_t k = 0; k < i; k++)
			before += strcmp(list[k].owner, list[i].owner) == 0;
		owners += before == 0;
		good = good && same >= PARTITIONS / members && same <= (PARTITIONS + members - 1) / members;
	}
	free(list);
	return good && owners == members;
}

static bool soon_even(unsigned members)
{
	int64_t deadline = lmq_deadline(10000000000);
	while (!even(members) && lmq_deadline(0) < deadline)
		sched_yield();
	return even(members);
}

static bool lag_gone(void)
{
	int64_t deadline = lmq_deadline(20000000000);
	uint64_t lag = 1;
	while (lag > 0 && lmq_deadline(0) < deadline) {
		struct lmq_group_info *list;
		size_t count;
		if (lmq_group_list(channel, "g", &list, &count) != 0)
			return false;
		lag = 0;
		for (size_t i = 0; i < count; i++)
			lag += list[i].lag;
		free(list);
		sched_yield();
	}
	return lag == 0;
}

static void publish_round(unsigned from, unsigned count)
{
	for (int64_t p = 0; p < PARTITIONS; p++) {
		lmq_writer_partition(writer, p);
		for (unsigned i = from; i < from + count; i++)
			publish(NULL, "x");
	}
	CHECK(lmq_writer_commit(writer) == 0);
}

static void share(void)
{
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		abort();
}

/* Each message was delivered, and for the first time behind the one before it in its partition. */
static void check_order(void)
{
	for (unsigned p = 0; p < PARTITIONS; p++)
		for (unsigned i = 0; i < EACH; i++) {
			CHECK(shared->first[p][i] > 0);
			CHECK(i == 0 || shared->first[p][i] > shared->first[p][i - 1]);
		}
}

TEST(shares, "members that join and leave share the partitions evenly, and nothing is delivered twice")
{
	pid_t crew[CREW];
	share();
	begin("s", LMQ_STREAM, "partitions=8");
	lmq_receiver_close(receive(channel, 0));
	for (unsigned n = 0; n < 5; n++) {
		crew[n] = hire();
		publish_round(n * 40, 40);
		CHECK(soon_even(n + 1));
	}
	for (unsigned n = 5; n-- > 1;) {
		dismiss(crew[n], SIGTERM);
		publish_round(200 + (4 - n) * 50, 50);
		CHECK(soon_even(n));
	}
	CHECK(lag_gone());
	dismiss(crew[0], SIGTERM);
	check_order();
	CHECK_EQUAL(shared->again, 0);
	CHECK_EQUAL(shared->delivered, PARTITIONS * EACH);
	end();
	munmap(shared, sizeof *shared);
}

TEST(deaths, "members that are killed lose no message and no order, and what they had is free at once")
{
	pid_t crew[CREW];
	unsigned kills = 0;
	share();
	begin("s", LMQ_STREAM, "partitions=8");
	lmq_receiver_close(receive(channel, 0));
	publish_round(0, EACH);
	shared->pace = 1;
	for (unsigned n = 0; n < 3; n++)
		crew[n] = hire();
	for (unsigned n = 3; n < CREW; n++) {
		atomic_fetch_add(&shared->pace, 150);
		crew[n] = hire();
		while (shared->delivered < shared->pace && shared->delivered < PARTITIONS * EACH)
			sched_yield();
		dismiss(crew[n - 3], SIGKILL);
		kills++;
	}
	shared->pace = 0;
	CHECK(lag_gone());
	CHECK(soon_even(3));
	for (unsigned n = CREW - 3; n < CREW; n++)
		dismiss(crew[n], SIGTERM);
	check_order();
	CHECK(shared->again <= kills * CLAIM);
	end();
	munmap(shared, sizeof *shared);
}

/* ---- receivers of one process --------------------------------------------------------------- */

static size_t drain(lmq_receiver *r)
{
	size_t count, sum = 0;
	while (lmq_receiver_claim(r, 100, 1 << 20, &count) == 0) {
		settle_all(r, count);
		sum += count;
	}
	return sum;
}

TEST(handing_over, "who joins gets his share when it is in nobody's hands, and nobody gets the others' meanwhile")
{
	lmq_receiver *a, *b;
	struct lmq_message m;
	size_t count, in_hand = 0;
	unsigned of_a = 0, of_b = 0;
	begin("s", LMQ_STREAM, "partitions=8");
	a = receive(channel, 0);
	publish_round(0, 3);
	while (lmq_receiver_claim(a, 100, 1 << 20, &count) == 0)
		in_hand += count;
	CHECK_EQUAL(in_hand, 24);
	b = receive(channel, 0);
	CHECK(lmq_receiver_claim(b, 100, 1 << 20, &count) == LMQ_END);
	publish_round(3, 1);
	while (lmq_receiver_claim(a, 100, 1 << 20, &count) == 0)
		for (in_hand += count; lmq_receiver_next(a, &m) == 0; of_a++)
			CHECK(m.offset == 3);
	CHECK_EQUAL(of_a, 4);
	CHECK(lmq_receiver_claim(b, 100, 1 << 20, &count) == LMQ_END);
	settle_all(a, in_hand);
	while (lmq_receiver_claim(b, 100, 1 << 20, &count) == 0)
		for (; lmq_receiver_next(b, &m) == 0; of_b++)
			CHECK(m.offset == 3);
	CHECK_EQUAL(of_b, 4);
	lmq_receiver_close(b);
	CHECK_EQUAL(drain(a), 4);
	lmq_receiver_close(a);
	end();
}

TEST(just_one, "a receiver of just one partition gets it from those who share all, and they get it back")
{
	lmq_receiver *a, *b;
	struct lmq_message m;
	size_t count;
	begin("s", LMQ_STREAM, "partitions=8");
	a = receive(channel, 0);
	CHECK_EQUAL(drain(a), 0);
	b = receive(channel, 1 + 5);
	CHECK(lmq_receiver_claim(b, 100, 1 << 20, &count) == LMQ_END);
	publish_round(0, 2);
	CHECK_EQUAL(drain(a), 14);
	REQUIRE(lmq_receiver_claim(b, 100, 1 << 20, &count) == 0 && count == 2);
	CHECK(lmq_receiver_next(b, &m) == 0 && m.partition == 5 && m.offset == 0);
	CHECK(lmq_receiver_claim(a, 100, 1 << 20, &count) == LMQ_END);
	lmq_receiver_close(b);
	REQUIRE(lmq_receiver_claim(a, 100, 1 << 20, &count) == 0 && count == 2);
	CHECK(lmq_receiver_next(a, &m) == 0 && m.partition == 5 && m.offset == 0 && m.attempt == 1);
	lmq_receiver_close(a);
	end();
}

TEST(retry_holds_up, "in a partition nothing is delivered behind a message that waits for its retry")
{
	struct lmq_verdict v = { .offset = 1, .count = 1, .outcome = LMQ_RETRY, .exit_status = -1 };
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	begin("s", LMQ_STREAM, "partitions=2");
	r = receive(channel, 0);
	for (int64_t p = 0; p < 2; p++) {
		lmq_writer_partition(writer, p);
		for (int i = 0; i < 4; i++)
			publish(NULL, "x");
	}
	CHECK(lmq_writer_commit(writer) == 0);
	do
		REQUIRE(lmq_receiver_claim(r, 2, 1 << 20, &count) == 0 && lmq_receiver_next(r, &m) == 0);
	while (m.partition != 1);
	v.partition = 1;
	v.delay = 60000000000;
	REQUIRE(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_release(r);
	CHECK_EQUAL(drain(r), 4 + 1);
	lmq_receiver_close(r);
	end();
}

TEST(across, "messages of several partitions are settled together, in the order in which they were claimed")
{
	struct lmq_verdict v[3];
	lmq_receiver *r;
	size_t count, sum = 0;
	struct lmq_group_info *list;
	begin("s", LMQ_STREAM, "partitions=8");
	r = receive(channel, 0);
	publish_round(0, 3);
	while (lmq_receiver_claim(r, 2, 1 << 20, &count) == 0)
		sum += count;
	CHECK_EQUAL(sum, 24);
	/* The first claims were of two messages of each partition. */
	settle_all(r, 5);
	REQUIRE(lmq_group_list(channel, "g", &list, &count) == 0 && count == 8);
	sum = 0;
	for (size_t i = 0; i < count; i++) {
		CHECK(list[i].lag >= 1 && list[i].lag <= 3);
		sum += list[i].lag;
	}
	free(list);
	CHECK_EQUAL(sum, 19);
	for (uint32_t i = 0; i < 3; i++)
		v[i] = (struct lmq_verdict){ .partition = 7 - i, .offset = 2, .count = 1, .exit_status = -1 };
	CHECK(lmq_receiver_conclude(r, v, 3, NULL, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_receiver_conclude(r, v, 3, NULL, LMQ_SYNC_RELAXED) == LMQ_EINVAL);
	lmq_receiver_return(r, 8, 0, 1);
	settle_all(r, 16);
	CHECK(lag_gone());
	lmq_receiver_close(r);
	end();
}

/* ---- topics, keys, leases ------------------------------------------------------------------- */

TEST(keys, "with order=key one message of a key is out at a time, in order, and others pass")
{
	static const char *const properties[] = { "order=key" };
	lmq_receiver *a, *b;
	struct lmq_message m;
	bool created;
	size_t count;
	unsigned seen = 0;
	begin("t", LMQ_TOPIC, NULL);
	REQUIRE(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, properties, 1, &created, NULL, NULL) == 0);
	for (int i = 0; i < 3000; i++) {
		char key[8], body[8];
		snprintf(key, sizeof key, "k%d", i % 20);
		snprintf(body, sizeof body, "%d", i / 20);
		publish(i % 7 ? key : NULL, body);
		if (i % 1000 == 999)
			CHECK(lmq_writer_commit(writer) == 0);
	}
	a = receive(channel, 0);
	b = receive(channel, 0);
	for (int turn = 0, idle = 0; idle < 2; turn++) {
		lmq_receiver *r = turn % 2 ? a : b;
		char out[20] = { 0 };
		if (lmq_receiver_claim(r, 50, 1 << 20, &count) != 0) {
			idle++;
			continue;
		}
		idle = 0;
		while (lmq_receiver_next(r, &m) == 0) {
			int key = m.key.data ? m.key.data[1] - '0' : -1;
			if (m.key.size == 3)
				key = 10 * key + m.key.data[2] - '0';
			seen++;
			CHECK(key < 0 || !out[key]);
			if (key >= 0)
				out[key] = 1;
		}
		settle_all(r, count);
	}
	CHECK_EQUAL(seen, 3000);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	end();
}

TEST(stuck_key, "a key that is stuck does not hold up others, and not all of its messages are entered")
{
	static const char *const properties[] = { "order=key" };
	lmq_receiver *a, *b;
	struct lmq_message m;
	struct lmq_group_info *list;
	bool created;
	size_t count;
	begin("t", LMQ_TOPIC, NULL);
	REQUIRE(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, properties, 1, &created, NULL, NULL) == 0);
	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < 10000; i++)
			publish("stuck", "x");
		CHECK(lmq_writer_commit(writer) == 0);
		if (round == 0)
			publish("free", "y");
	}
	CHECK(lmq_writer_commit(writer) == 0);
	a = receive(channel, 0);
	b = receive(channel, 0);
	REQUIRE(lmq_receiver_claim(a, 100, 1 << 20, &count) == 0 && count == 1);
	REQUIRE(lmq_receiver_claim(b, 100, 1 << 20, &count) == 0 && count == 1);
	CHECK(lmq_receiver_next(b, &m) == 0 && m.offset == 10000);
	settle_all(b, 1);
	CHECK(lmq_receiver_claim(b, 100, 1 << 20, &count) == LMQ_END);
	REQUIRE(lmq_group_list(channel, "g", &list, &count) == 0 && count == 1);
	CHECK(list[0].blocked >= 100000 && list[0].blocked < 102000 && list[0].members == 2);
	free(list);
	settle_all(a, 1);
	REQUIRE(lmq_receiver_claim(b, 100, 1 << 20, &count) == 0 && count == 1);
	CHECK(lmq_receiver_next(b, &m) == 0 && m.offset == 1);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	end();
}

TEST(leases, "leases of groups are settled by name")
{
	struct lmq_lease l[3] = { { .channel = "s", .group = "g", .attempt = 1 }, { .channel = "s", .group = "g",
		.attempt = 1, .offset = 1 }, { .channel = "s", .group = "h", .attempt = 1 } };
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	begin("s", LMQ_STREAM, "partitions=8");
	r = receive(channel, 0);
	publish_round(0, 2);
	REQUIRE(lmq_receiver_claim(r, 2, 1 << 20, &count) == 0 && count == 2);
	REQUIRE(lmq_receiver_lease(r, 60000000000, LMQ_SYNC_RELAXED) == 0);
	REQUIRE(lmq_receiver_next(r, &m) == 0 && m.delivery == 1);
	for (int i = 0; i < 3; i++)
		l[i].partition = m.partition;
	CHECK(lmq_store_settle(store, l, 3, LMQ_SYNC_RELAXED) == 0);
	CHECK(l[0].status == 0 && l[1].status == 0 && l[2].status == LMQ_ENOENT);
	CHECK(lmq_store_settle(store, l, 1, LMQ_SYNC_RELAXED) == 0 && l[0].status == LMQ_ELOST);
	l[0].group = NULL;
	CHECK(lmq_store_settle(store, l, 1, LMQ_SYNC_RELAXED) == 0 && l[0].status == LMQ_EKIND);
	l[1].partition = 8;
	CHECK(lmq_store_settle(store, l + 1, 1, LMQ_SYNC_RELAXED) == 0 && l[1].status == LMQ_ELOST);
	CHECK_EQUAL(drain(r), 14);
	CHECK(lag_gone());
	lmq_receiver_close(r);
	end();
}

TEST(missed, "what retention drops is reported by one member, unless it is in somebody's hands")
{
	struct lmq_trim all = LMQ_TRIM_INIT;
	lmq_receiver *a, *b;
	uint64_t at = 0, dropped;
	size_t count;
	bool more;
	begin("s", LMQ_STREAM, NULL);
	a = receive(channel, 0);
	b = receive(channel, 0);
	for (int i = 0; i < 100; i++)
		publish(NULL, "x");
	CHECK(lmq_writer_commit(writer) == 0);
	REQUIRE(lmq_receiver_claim(a, 10, 1 << 20, &count) == 0 && count == 10);
	all.to = 60;
	CHECK(lmq_channel_trim(channel, &all, &at, &dropped, &more) == 0 && dropped == 60);
	REQUIRE(lmq_receiver_claim(b, 100, 1 << 20, &count) == 0 && count == 40);
	CHECK_EQUAL(lmq_receiver_missed(b), 50);
	CHECK_EQUAL(lmq_receiver_missed(a), 0);
	settle_all(a, 10);
	settle_all(b, 40);
	CHECK(lmq_receiver_claim(a, 10, 1 << 20, &count) == LMQ_END);
	CHECK_EQUAL(lmq_receiver_missed(a), 0);
	CHECK_EQUAL(lmq_receiver_missed(b), 50);
	CHECK(lag_gone());
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	end();
}

TEST(holes, "what compaction took is neither delivered nor missed, before a claim or behind it")
{
	lmq_receiver *a, *b;
	struct lmq_message m;
	size_t count;
	unsigned seen = 0;
	begin("s", LMQ_STREAM, "max-per-key=1");
	a = receive(channel, 0);
	b = receive(channel, 0);
	for (int i = 0; i < 2000; i++) {
		char key[8];
		snprintf(key, sizeof key, "k%d", i % 100);
		publish(key, "x");
		if (i % 100 == 99)
			CHECK(lmq_writer_commit(writer) == 0);
		if (i == 99)
			REQUIRE(lmq_receiver_claim(a, 50, 1 << 20, &count) == 0 && count == 50);
	}
	for (bool more = true; more;)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	lmq_receiver_pause(a);
	CHECK(lmq_receiver_next(a, &m) == LMQ_END);
	while (lmq_receiver_claim(b, 30, 1 << 20, &count) == 0) {
		for (; lmq_receiver_next(b, &m) == 0; seen++)
			CHECK(m.offset == 1900 + seen);
		settle_all(b, count);
	}
	CHECK_EQUAL(seen, 100);
	lmq_receiver_release(a);
	CHECK_EQUAL(drain(a), 0);
	CHECK_EQUAL(lmq_receiver_missed(a) + lmq_receiver_missed(b), 0);
	CHECK(lag_gone());
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	end();
}

TEST(gone, "a receiver of a group that was removed says so")
{
	lmq_receiver *a;
	struct lmq_receiver_options o = { .size = sizeof o, .group = "g" };
	size_t count;
	begin("s", LMQ_STREAM, "partitions=2");
	CHECK(lmq_receiver_open(channel, &o, &a) == LMQ_ENOENT);
	o.flags = LMQ_CREATE;
	o.partition = 3;
	CHECK(lmq_receiver_open(channel, &o, &a) == LMQ_EINVAL);
	a = receive(channel, 0);
	publish(NULL, "x");
	CHECK(lmq_writer_commit(writer) == 0);
	REQUIRE(lmq_receiver_claim(a, 10, 1 << 20, &count) == 0);
	CHECK(lmq_group_remove(channel, "g") == 0);
	CHECK(lmq_receiver_settle(a, 1, LMQ_SYNC_RELAXED) == LMQ_EGONE);
	CHECK(lmq_receiver_claim(a, 10, 1 << 20, &count) == LMQ_EGONE);
	lmq_receiver_close(receive(channel, 0));
	CHECK(lmq_receiver_settle(a, 1, LMQ_SYNC_RELAXED) == LMQ_EGONE);
	CHECK(lmq_receiver_claim(a, 10, 1 << 20, &count) == LMQ_EGONE);
	CHECK_TEXT(lmq_error(store), "s: the group 'g' was removed");
	lmq_receiver_close(a);
	end();
}

TEST(letters, "a large message that a group gives up stays in its stream, and its dead letter says where")
{
	static char body[LARGE];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_BURY, .exit_status = -1 };
	struct lmq_bytes piece;
	lmq_channel *dead;
	lmq_receiver *r;
	size_t count;
	begin("s", LMQ_STREAM, "partitions=8");
	r = receive(channel, 0);
	m.body = (struct lmq_bytes){ body, sizeof body };
	lmq_writer_partition(writer, 6);
	CHECK(lmq_writer_add(writer, channel, &m) == 0 && lmq_writer_commit(writer) == 0);
	REQUIRE(lmq_receiver_claim(r, 10, 1 << 20, &count) == 0 && lmq_receiver_next(r, &m) == 0);
	v.partition = m.partition;
	REQUIRE(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED) == 0 && v.result == LMQ_BURY);
	lmq_receiver_close(r);
	REQUIRE(lmq_channel_remove(store, "s") == 0);
	for (bool more = true; more;)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	REQUIRE(lmq_channel_open(store, "s.dead", LMQ_QUEUE, 0, &dead) == 0);
	REQUIRE(lmq_receiver_open(dead, NULL, &r) == 0);
	REQUIRE(lmq_receiver_claim(r, 10, 1 << 20, &count) == 0 && lmq_receiver_next(r, &m) == 0);
	CHECK(m.body.size == LARGE && m.death && m.death->partition == 6 && m.death->offset == 0);
	for (size_t at = 0; at < LARGE; at += piece.size)
		REQUIRE(lmq_receiver_body(r, at, &piece) == 0 && piece.size > 0);
	lmq_receiver_close(r);
	lmq_channel_close(dead);
	end();
}

UNIT_MAIN
