/* SPDX-License-Identifier: ISC */
/*
 * A queue against a model: several receivers claim, settle with holes, give back and retry in any order, while
 * messages of all priorities and sizes come in. At every claim the model says which messages it must be.
 */
#include "place.h"

enum { MESSAGES = 1500, RECEIVERS = 3, CLAIM_MAX = 40, LARGE = 65537, LARGEST = 200000 };

enum place { UNSENT, READY, SETTLED, HELD };	/* HELD + i: by receiver i */

static struct one {
	int priority;
	int where;
	uint32_t attempts;
} model[MESSAGES];

static uint64_t sent, left;	/* left: sent and not settled */
static lmq_store *store;
static lmq_channel *channel;
static lmq_writer *writer;
static lmq_receiver *receiver[RECEIVERS];

static void begin(void)
{
	static const char *const properties[] = { "max-attempts=none" };
	bool created;
	place_make();
	store = place_open();
	if (lmq_channel_make(store, "log", LMQ_QUEUE, properties, 1, &created, NULL, NULL) != 0 ||
			lmq_channel_open(store, "log", LMQ_QUEUE, 0, &channel) != 0 ||
			lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer) != 0)
		abort();
	for (int i = 0; i < RECEIVERS; i++)
		if (lmq_receiver_open(channel, NULL, &receiver[i]) != 0)
			abort();
	memset(model, 0, sizeof model);
	sent = left = 0;
}

static void end(void)
{
	for (int i = 0; i < RECEIVERS; i++)
		lmq_receiver_close(receiver[i]);
	lmq_writer_close(writer);
	lmq_channel_close(channel);
	lmq_store_close(store);
	place_remove();
}

/* ---- messages ----------------------------------------------------------------------------- */

/* Few are large; the bytes follow from n. */
static size_t size_of(uint64_t n)
{
	uint64_t x = (n + 1) * 0x9e3779b97f4a7c15 >> 40;
	return n % 41 == 0 ? LARGE + x % (LARGEST - LARGE) : x % 200;
}

static const char *bytes_of(uint64_t n)
{
	static char bytes[LARGEST + 251];
	if (!bytes[1])
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (char)(i % 251);
	return bytes + n % 251;
}

static bool same_body(lmq_receiver *r, const struct lmq_message *m)
{
	struct lmq_bytes piece = { NULL, 0 };
	const char *bytes = bytes_of(m->offset);
	if (m->body.size != size_of(m->offset))
		return false;
	for (size_t at = 0; at < m->body.size; at += piece.size)
		if (lmq_receiver_body(r, at, &piece) != 0 || piece.size == 0 ||
				memcmp(piece.data, bytes + at, piece.size) != 0)
			return false;
	return true;
}

static void send_some(uint64_t count)
{
	for (; count > 0 && sent < MESSAGES; count--, sent++, left++) {
		struct lmq_message m = LMQ_MESSAGE_INIT;
		if (unit_random() % 2)
			m.priority = (int)(unit_random() % (LMQ_PRIORITY_MAX + 1));
		m.body = (struct lmq_bytes){ bytes_of(sent), size_of(sent) };
		model[sent] = (struct one){ m.priority, READY, 0 };
		CHECK(lmq_writer_add(writer, channel, &m) == 0);
	}
	CHECK(lmq_writer_commit(writer) == 0);
}

/* ---- the model ---------------------------------------------------------------------------- */

/* What the model delivers next: of the highest priority the lowest offset; MESSAGES: none. */
static uint64_t expected(void)
{
	uint64_t best = MESSAGES;
	for (uint64_t n = 0; n < sent; n++)
		if (model[n].where == READY && (best == MESSAGES || model[n].priority > model[best].priority))
			best = n;
	return best;
}

static bool claim_some(int i)
{
	size_t max = unit_random() % CLAIM_MAX + 1, count;
	struct lmq_message m;
	int rc = lmq_receiver_claim(receiver[i], max, 1 << 30, &count);
	if (expected() == MESSAGES)
		return unit_check(rc == LMQ_END, __FILE__, __LINE__, "there is none");
	if (!unit_check(rc == 0 && count > 0 && count <= max, __FILE__, __LINE__, "there is one"))
		return false;
	for (size_t k = 0; k < count; k++) {
		uint64_t n = expected();
		rc = lmq_receiver_next(receiver[i], &m);
		if (!unit_check(n < MESSAGES && rc == 0 && m.offset == n, __FILE__, __LINE__,
				"the next by priority and offset"))
			return false;
		CHECK(m.priority == model[n].priority && m.attempt == model[n].attempts + 1);
		CHECK(same_body(receiver[i], &m));
		model[n].where = HELD + i;
	}
	CHECK(lmq_receiver_next(receiver[i], &m) == LMQ_END);
	return unit_check(count == max || expected() == MESSAGES, __FILE__, __LINE__, "as many as there are");
}

static enum lmq_outcome some_outcome(void)
{
	static const enum lmq_outcome outcomes[] = { LMQ_RETRY, LMQ_RETURN, LMQ_ACKNOWLEDGE };
	uint64_t n = unit_random() % 8;
	return outcomes[n < 2 ? n : 2];
}

static void shuffle(struct lmq_verdict *v, size_t count)
{
	for (; count > 1; count--) {
		size_t other = unit_random() % count;
		struct lmq_verdict last = v[count - 1];
		v[count - 1] = v[other];
		v[other] = last;
	}
}

/* A part of what the receiver holds: each message in its way, in no order, with holes between them. */
static bool conclude_some(int i)
{
	struct lmq_verdict v[MESSAGES];
	size_t count = 0;
	int rc;
	for (uint64_t n = 0; n < sent; n++) {
		if (model[n].where != HELD + i || unit_random() % 3 == 0)
			continue;
		v[count++] = (struct lmq_verdict){ .offset = n, .count = 1, .exit_status = -1,
			.outcome = some_outcome() };
	}
	shuffle(v, count);
	for (size_t k = 0; k < count; k++) {
		struct one *o = &model[v[k].offset];
		o->where = v[k].outcome == LMQ_ACKNOWLEDGE ? SETTLED : READY;
		o->attempts += v[k].outcome == LMQ_RETRY;
		left -= o->where == SETTLED;
	}
	rc = lmq_receiver_conclude(receiver[i], v, count, NULL, LMQ_SYNC_RELAXED);
	return unit_check(rc == 0, __FILE__, __LINE__, "concluded");
}

static void release(int i)
{
	lmq_receiver_release(receiver[i]);
	for (uint64_t n = 0; n < sent; n++)
		if (model[n].where == HELD + i)
			model[n].where = READY;
}

static bool act(int i)
{
	switch (unit_random() % 8) {
	case 0:
		release(i);
		return true;
	case 1:
		send_some(unit_random() % 60);
		return true;
	case 2: case 3: case 4:
		return claim_some(i);
	default:
		return conclude_some(i);
	}
}

static void check_counts(void)
{
	struct lmq_channel_info info;
	CHECK(lmq_channel_info(channel, &info) == 0);
	CHECK(info.messages == left && info.end == sent && info.acknowledged == sent - left);
}

/* What the queue says of the messages that it still has, in the order of offsets. */
static void check_rest(void)
{
	lmq_reader *r;
	struct lmq_message m;
	REQUIRE(lmq_reader_open(channel, &r) == 0);
	for (uint64_t n = 0; n < sent; n++)
		if (model[n].where != SETTLED)
			CHECK(lmq_reader_next(r, &m) == 0 && m.offset == n && m.priority == model[n].priority);
	CHECK(lmq_reader_next(r, &m) == LMQ_END);
	lmq_reader_close(r);
}

/* ---- tests -------------------------------------------------------------------------------- */

TEST(model, "a claim gets the highest priorities, of each the oldest, whatever was settled around them")
{
	struct lmq_channel_info info;
	bool more = true;
	begin();
	send_some(100);
	for (unsigned step = 0; sent < MESSAGES || left > 0; step++) {
		REQUIRE(step < 20000 && act((int)(unit_random() % RECEIVERS)));
		check_counts();
		if (step % 32 == 0)
			check_rest();
	}
	CHECK(lmq_channel_info(channel, &info) == 0 && info.bytes == 0 && info.messages == 0);
	while (more)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	end();
}

TEST(holes, "every other message is settled, from either end, and the others are delivered in order")
{
	struct lmq_verdict v[CLAIM_MAX];
	struct lmq_message m;
	size_t count;
	for (int down = 0; down < 2; down++) {
		begin();
		send_some(CLAIM_MAX);
		REQUIRE(lmq_receiver_claim(receiver[0], CLAIM_MAX, 1 << 30, &count) == 0 && count == CLAIM_MAX);
		for (uint64_t i = 0; i < CLAIM_MAX; i += 2) {
			uint64_t n = down ? CLAIM_MAX - 1 - i : i;
			v[0] = (struct lmq_verdict){ .offset = n, .count = 1, .outcome = LMQ_ACKNOWLEDGE };
			CHECK(lmq_receiver_conclude(receiver[0], v, 1, NULL, LMQ_SYNC_RELAXED) == 0);
			CHECK(lmq_receiver_conclude(receiver[0], v, 1, NULL, LMQ_SYNC_RELAXED) == LMQ_EINVAL);
			model[n].where = SETTLED;
			left--;
			check_counts();
		}
		check_rest();
		lmq_receiver_close(receiver[0]);
		REQUIRE(lmq_receiver_open(channel, NULL, &receiver[0]) == 0);
		REQUIRE(lmq_receiver_claim(receiver[1], MESSAGES, 1 << 30, &count) == 0 && count == CLAIM_MAX / 2);
		for (size_t i = 0; i < count; i++) {
			uint64_t n = expected();
			CHECK(lmq_receiver_next(receiver[1], &m) == 0 && m.offset == n && same_body(receiver[1], &m));
			model[n].where = SETTLED;
		}
		CHECK(lmq_receiver_settle(receiver[1], count, LMQ_SYNC_RELAXED) == 0);
		left = 0;
		check_counts();
		end();
	}
}

TEST(one_by_one, "settling each message as it comes does not skip those that lie before it")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	size_t count, n = 0;
	begin();
	for (m.body = (struct lmq_bytes){ "x", 1 }; n < 6; n++) {
		m.priority = n == 5 ? 9 : LMQ_PRIORITY_DEFAULT;
		REQUIRE(lmq_writer_add(writer, channel, &m) == 0);
	}
	REQUIRE(lmq_writer_commit(writer) == 0);
	REQUIRE(lmq_receiver_claim(receiver[0], 10, 1 << 20, &count) == 0 && count == 6);
	for (n = 0; lmq_receiver_next(receiver[0], &m) == 0; n++) {
		CHECK(m.offset == (n == 0 ? 5 : n - 1));
		REQUIRE(lmq_receiver_settle(receiver[0], 1, LMQ_SYNC_RELAXED) == 0);
	}
	CHECK(n == 6);
	end();
}

TEST(lease_not_owned, "what a receiver leased it no longer settles; a lease given back is void, also if one before it ran out")
{
	struct lmq_lease lease = { .channel = "log", .attempt = 1, .outcome = LMQ_RETURN };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_channel_info info;
	size_t count;
	begin();
	m.body = (struct lmq_bytes){ "x", 1 };
	REQUIRE(lmq_writer_add(writer, channel, &m) == 0 && lmq_writer_commit(writer) == 0);
	REQUIRE(lmq_receiver_claim(receiver[0], 1, 1, &count) == 0);
	REQUIRE(lmq_receiver_lease(receiver[0], 1, LMQ_SYNC_RELAXED) == 0);
	while (lmq_receiver_claim(receiver[1], 1, 1, &count) == LMQ_END)
		;
	CHECK(lmq_receiver_settle(receiver[0], 1, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_channel_info(channel, &info) == 0 && info.messages == 1);
	REQUIRE(lmq_receiver_lease(receiver[1], 1000000000000, LMQ_SYNC_RELAXED) == 0);
	CHECK(lmq_store_settle(store, &lease, 1, LMQ_SYNC_RELAXED) == 0 && lease.status == LMQ_ELOST);
	lease.attempt = 2;
	CHECK(lmq_store_settle(store, &lease, 1, LMQ_SYNC_RELAXED) == 0 && lease.status == 0);
	lease.outcome = LMQ_ACKNOWLEDGE;
	CHECK(lmq_store_settle(store, &lease, 1, LMQ_SYNC_RELAXED) == 0 && lease.status == LMQ_ELOST);
	REQUIRE(lmq_receiver_claim(receiver[2], 1, 1, &count) == 0 && lmq_receiver_next(receiver[2], &m) == 0);
	CHECK(m.attempt == 2 && m.delivery == 3);
	lmq_receiver_release(receiver[2]);
	end();
}

UNIT_MAIN
