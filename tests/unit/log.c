/* SPDX-License-Identifier: ISC */
/* The log against a model: what was sent comes out again, whatever the sizes, the batches and the order. */
#include "place.h"

#include "base/format.h"

static lmq_store *store;
static lmq_channel *channel;

static void begin(enum lmq_kind kind)
{
	place_make();
	store = place_open();
	if (lmq_channel_open(store, "log", kind, LMQ_CREATE, &channel) != 0)
		abort();
}

static void end(void)
{
	lmq_channel_close(channel);
	lmq_store_close(store);
	place_remove();
}

/* The body of message n: its length and bytes follow from n. */
static size_t body_of(uint64_t n, char *body)
{
	static const size_t edges[] = { 0, 1, 100, 126, 127, 128, 1024, 3072, 4030, 4040, 4046, 4047, 4048, 4052,
		4053, 8100, 8104, 12000, 16384, 65535, 65536 };
	uint64_t x = (n + 1) * 0x9e3779b97f4a7c15;
	size_t size = n % 3 == 0 ? edges[(x >> 40) % (sizeof edges / sizeof *edges)] : (x >> 40) % 300;
	for (size_t i = 0; i < size; i++)
		body[i] = (char)(x >> (i % 57) ^ i);
	return size;
}

static int priority_of(uint64_t n)
{
	return n % 7 == 0 ? (int)(n % 10) : LMQ_PRIORITY_DEFAULT;
}

static int add(lmq_writer *w, uint64_t n)
{
	static char body[65536];
	char key[32];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_header h = { { "n", 1 }, { key, 0 } };
	m.body = (struct lmq_bytes){ body, body_of(n, body) };
	h.value.size = (size_t)snprintf(key, sizeof key, "%llu", (unsigned long long)n);
	if (n % 5 == 0)
		m.key = (struct lmq_bytes){ key, h.value.size };
	if (n % 7 == 0) {
		m.headers = &h;
		m.header_count = 1;
	}
	m.priority = priority_of(n);
	return lmq_writer_add(w, channel, &m);
}

static bool same(const struct lmq_message *m, uint64_t n)
{
	static char body[65536];
	char key[32];
	size_t size = body_of(n, body), key_size = (size_t)snprintf(key, sizeof key, "%llu", (unsigned long long)n);
	return m->offset == n && m->body.size == size && memcmp(m->body.data, body, size) == 0 &&
		(m->key.data != NULL) == (n % 5 == 0) &&
		(!m->key.data || (m->key.size == key_size && memcmp(m->key.data, key, key_size) == 0)) &&
		m->header_count == (n % 7 == 0) && m->priority == priority_of(n);
}

static void send_many(uint64_t count)
{
	lmq_writer *w;
	uint64_t n = 0;
	if (lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) != 0)
		abort();
	while (n < count) {
		uint64_t batch = unit_random() % 3 == 0 ? unit_random() % 200 + 1 : 1;
		for (; batch > 0 && n < count; batch--)
			CHECK(add(w, n++) == 0);
		CHECK(lmq_writer_commit(w) == 0);
	}
	lmq_writer_close(w);
}

/* The order in which a queue delivers the first count messages. */
static void delivery_order(uint64_t *order, uint64_t count)
{
	for (int priority = LMQ_PRIORITY_MAX; priority >= 0; priority--)
		for (uint64_t n = 0; n < count; n++)
			if (priority_of(n) == priority)
				*order++ = n;
}

TEST(round_trip, "messages of all sizes, sent in batches of all sizes, are read back in order")
{
	lmq_reader *r;
	struct lmq_message m;
	int64_t last = 0;
	begin(LMQ_STREAM);
	send_many(3000);
	REQUIRE(lmq_reader_open(channel, &r) == 0);
	for (uint64_t n = 0; n < 3000; n++) {
		int rc = lmq_reader_next(r, &m);
		if (rc != 0)
			fprintf(stderr, "# %llu: %d %s\n", (unsigned long long)n, rc, lmq_error(store));
		REQUIRE(rc == 0);
		CHECK(same(&m, n));
		CHECK(m.time >= last);
		last = m.time;
	}
	CHECK(lmq_reader_next(r, &m) == LMQ_END);
	lmq_reader_close(r);
	end();
}

TEST(seek, "every offset and every time is found")
{
	lmq_reader *r;
	struct lmq_message m;
	static int64_t times[600];
	begin(LMQ_STREAM);
	send_many(600);
	REQUIRE(lmq_reader_open(channel, &r) == 0);
	for (uint64_t n = 0; n < 600; n++) {
		REQUIRE(lmq_reader_next(r, &m) == 0);
		times[n] = m.time;
	}
	for (int64_t n = 599; n >= 0; n--) {
		uint64_t first = (uint64_t)n;
		CHECK(lmq_reader_seek(r, LMQ_SEEK_OFFSET, n) == 0);
		CHECK(lmq_reader_next(r, &m) == 0 && same(&m, (uint64_t)n));
		while (first > 0 && times[first - 1] == times[n])
			first--;
		CHECK(lmq_reader_seek(r, LMQ_SEEK_TIME, times[n]) == 0);
		CHECK(lmq_reader_next(r, &m) == 0 && m.offset == first);
	}
	CHECK(lmq_reader_seek(r, LMQ_SEEK_TIME, times[599] + 1) == 0);
	CHECK(lmq_reader_next(r, &m) == LMQ_END);
	CHECK(lmq_reader_seek(r, LMQ_SEEK_LAST, 3) == 0);
	CHECK(lmq_reader_next(r, &m) == 0 && m.offset == 597);
	lmq_reader_close(r);
	end();
}

TEST(drain, "a queue settled in steps of all sizes hands out each message once, by priority, and ends empty")
{
	static uint64_t order[2000];
	lmq_receiver *r;
	struct lmq_message m;
	struct lmq_channel_info info;
	uint64_t n = 0;
	begin(LMQ_QUEUE);
	send_many(2000);
	delivery_order(order, 2000);
	REQUIRE(lmq_receiver_open(channel, NULL, &r) == 0);
	while (n < 2000) {
		size_t count, take = unit_random() % 100 + 1;
		REQUIRE(lmq_receiver_claim(r, take, 1 << 30, &count) == 0);
		REQUIRE(count == (take < 2000 - n ? take : 2000 - n));
		for (size_t i = 0; i < count; i++)
			CHECK(lmq_receiver_next(r, &m) == 0 && same(&m, order[n + i]) && m.attempt == 1);
		CHECK(lmq_receiver_next(r, &m) == LMQ_END);
		count = unit_random() % (count + 1);
		CHECK(lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED) == 0);
		lmq_receiver_release(r);
		n += count;
	}
	CHECK(lmq_channel_info(channel, &info) == 0);
	CHECK(info.messages == 0 && info.bytes == 0 && info.acknowledged == 2000 && info.end == 2000);
	lmq_receiver_close(r);
	end();
}

TEST(disorder, "two receivers that settle out of order share a queue without loss or double")
{
	lmq_receiver *r[2];
	struct lmq_message m;
	static unsigned char seen[1000];
	size_t left = 1000;
	struct lmq_channel_info info;
	begin(LMQ_QUEUE);
	memset(seen, 0, sizeof seen);
	send_many(1000);
	for (int i = 0; i < 2; i++)
		REQUIRE(lmq_receiver_open(channel, NULL, &r[i]) == 0);
	while (left > 0) {
		lmq_receiver *one = r[unit_random() % 2];
		size_t count, done;
		lmq_receiver_release(one);
		if (lmq_receiver_claim(one, unit_random() % 20 + 1, 1 << 30, &count) != 0)
			continue;
		done = unit_random() % (count + 1);
		for (size_t i = 0; i < done; i++) {
			REQUIRE(lmq_receiver_next(one, &m) == 0);
			CHECK(same(&m, m.offset));
			CHECK(seen[m.offset]++ == 0);
		}
		CHECK(lmq_receiver_settle(one, done, LMQ_SYNC_RELAXED) == 0);
		left -= done;
	}
	CHECK(lmq_channel_info(channel, &info) == 0);
	CHECK(info.messages == 0 && info.bytes == 0);
	for (int i = 0; i < 2; i++)
		lmq_receiver_close(r[i]);
	end();
}

TEST(large, "a large body goes in and out in pieces, and its space comes back")
{
	enum { SIZE = 3000001 };
	char *body = malloc(SIZE), piece[70000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_bytes got;
	struct lmq_property changed[1];
	size_t count, n;
	bool more = true, created;
	const char *small = "max-message=2M";
	lmq_writer *w;
	lmq_receiver *r;
	begin(LMQ_QUEUE);
	for (size_t i = 0; i < SIZE; i++)
		body[i] = (char)(i * 2654435761u >> 13);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	CHECK(lmq_writer_begin(w, channel, &m) == 0);
	for (size_t at = 0; at < SIZE; at += n) {
		n = sizeof piece < SIZE - at ? sizeof piece : SIZE - at;
		memcpy(piece, body + at, n);
		CHECK(lmq_writer_write(w, piece, n) == 0);
	}
	CHECK(lmq_writer_end(w) == 0);
	m.body = (struct lmq_bytes){ body, 100000 };
	CHECK(lmq_writer_add(w, channel, &m) == 0);
	CHECK(lmq_writer_commit(w) == 0);
	REQUIRE(lmq_receiver_open(channel, NULL, &r) == 0);
	REQUIRE(lmq_receiver_claim(r, 2, 1 << 30, &count) == 0 && count == 2);
	CHECK(lmq_receiver_next(r, &m) == 0 && m.body.data == NULL && m.body.size == SIZE);
	for (size_t at = 0; at < SIZE; at += got.size) {
		REQUIRE(lmq_receiver_body(r, at, &got) == 0 && got.size > 0);
		CHECK(memcmp(got.data, body + at, got.size) == 0);
		lmq_receiver_pause(r);
	}
	CHECK(lmq_receiver_next(r, &m) == 0 && m.body.size == 100000);
	CHECK(lmq_receiver_settle(r, 2, LMQ_SYNC_RELAXED) == 0);
	while (more)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	CHECK(lmq_channel_make(store, "log", LMQ_ANY, &small, 1, &created, changed, &n) == 0 && n == 1);
	CHECK(lmq_writer_begin(w, channel, &(struct lmq_message)LMQ_MESSAGE_INIT) == 0);
	lmq_writer_abandon(w);
	lmq_writer_close(w);
	lmq_receiver_close(r);
	free(body);
	end();
}

static void make_stream(const char *property)
{
	bool created;
	struct lmq_property changed[1];
	size_t n;
	place_make();
	store = place_open();
	if (lmq_channel_make(store, "log", LMQ_STREAM, &property, 1, &created, changed, &n) != 0 ||
			lmq_channel_open(store, "log", LMQ_STREAM, 0, &channel) != 0)
		abort();
}

static void send_body(lmq_writer *w, size_t size)
{
	static char body[300000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	memset(body, (int)(size % 251), sizeof body);
	m.body = (struct lmq_bytes){ body, size };
	CHECK(lmq_writer_add(w, channel, &m) == 0);
	CHECK(lmq_writer_commit(w) == 0);
}

TEST(pauses, "a reader that pauses inside a large body goes on behind it")
{
	static const size_t sizes[] = { 300000, 60000, 10, 70000, 4052, 1 };
	enum { COUNT = sizeof sizes / sizeof *sizes };
	lmq_writer *w;
	lmq_reader *r;
	struct lmq_message m;
	struct lmq_bytes piece;
	begin(LMQ_STREAM);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	REQUIRE(lmq_reader_open(channel, &r) == 0);
	for (size_t i = 0; i < COUNT; i++)
		send_body(w, sizes[i]);
	for (size_t i = 0; i < COUNT; i++) {
		REQUIRE(lmq_reader_next(r, &m) == 0 && m.body.size == sizes[i]);
		for (uint64_t at = 0; at < m.body.size; at += piece.size) {
			REQUIRE(lmq_reader_body(r, at, &piece) == 0 && piece.size > 0);
			if (!m.body.data)
				lmq_reader_pause(r);
		}
	}
	CHECK(lmq_reader_next(r, &m) == LMQ_END);
	lmq_reader_close(r);
	lmq_writer_close(w);
	end();
}

TEST(retention, "a stream that is written in bulk stays within its max-bytes")
{
	lmq_writer *w;
	struct lmq_channel_info info;
	static char body[1000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	make_stream("max-bytes=1M");
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	m.body = (struct lmq_bytes){ body, sizeof body };
	for (int commit = 0; commit < 5; commit++) {
		int rc;
		while ((rc = lmq_writer_add(w, channel, &m)) == 0)
			;
		CHECK(rc == LMQ_ELIMIT);
		CHECK(lmq_writer_commit(w) == 0);
		CHECK(lmq_channel_info(channel, &info) == 0);
		CHECK(info.bytes <= (1 << 20) + BLOCK_MAX && info.messages > 900);
	}
	lmq_writer_close(w);
	end();
}

TEST(missed, "a reader that retention overtook goes on and counts what it missed")
{
	lmq_writer *w;
	lmq_reader *r;
	struct lmq_message m;
	make_stream("max-messages=10");
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	REQUIRE(lmq_reader_open(channel, &r) == 0);
	send_body(w, 1);
	CHECK(lmq_reader_next(r, &m) == 0 && lmq_reader_next(r, &m) == LMQ_END);
	for (int i = 0; i < 30; i++)
		send_body(w, 1);
	CHECK(lmq_reader_next(r, &m) == 0 && m.offset == 21);
	CHECK(lmq_reader_missed(r) == 20);
	lmq_reader_close(r);
	lmq_writer_close(w);
	end();
}

TEST(dropped_bodies, "large bodies that retention dropped are swept by whoever writes next")
{
	lmq_writer *w;
	bool more;
	make_stream("max-messages=1");
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	for (int i = 0; i < 20; i++)
		send_body(w, 300000);
	for (int i = 0; i < 20; i++)
		send_body(w, 4000);
	/* At most what the last commit dropped is left. */
	CHECK(lmq_store_sweep(store, &more) == 0);
	CHECK(lmq_store_sweep(store, &more) == 0 && !more);
	lmq_writer_close(w);
	end();
}

TEST(small_store, "a store with max-bytes is filled almost to it before a sender is refused, and can be drained")
{
	static const char *const limit[] = { "max-bytes=2M" };
	lmq_writer *w;
	lmq_receiver *r;
	struct lmq_channel_info info;
	static char body[1000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	size_t n, count;
	int rc = 0;
	begin(LMQ_QUEUE);
	CHECK(lmq_store_make(store, limit, 1, NULL, &n) == 0);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	m.body = (struct lmq_bytes){ body, sizeof body };
	while (rc == 0)
		if ((rc = lmq_writer_add(w, channel, &m)) == LMQ_ELIMIT)
			rc = lmq_writer_commit(w);
	CHECK(rc == LMQ_EFULL);
	CHECK(lmq_channel_info(channel, &info) == 0 && info.bytes > 1 << 20 && info.bytes < 2 << 20);
	CHECK(lmq_writer_commit(w) == LMQ_EFULL && lmq_writer_count(w) > 0);
	REQUIRE(lmq_receiver_open(channel, NULL, &r) == 0);
	while ((rc = lmq_receiver_claim(r, 100, 1 << 30, &count)) == 0)
		CHECK(lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED) == 0);
	CHECK(rc == LMQ_END);
	CHECK(lmq_writer_commit(w) == 0);
	lmq_receiver_close(r);
	lmq_writer_close(w);
	end();
}

TEST(holders, "a receiver finds what is free between the claims of others, whatever order they came in")
{
	static const size_t wanted[] = { 64, 64, 64, 256 };
	static const size_t first[] = { 0, 64, 0, 128 };
	static uint64_t order[500];
	lmq_receiver *r[4];
	struct lmq_message m;
	size_t count;
	begin(LMQ_QUEUE);
	send_many(500);
	delivery_order(order, 500);
	for (int i = 0; i < 4; i++) {
		REQUIRE(lmq_receiver_open(channel, NULL, &r[i]) == 0);
		if (i == 2)
			lmq_receiver_release(r[0]);
		REQUIRE(lmq_receiver_claim(r[i], wanted[i], 1 << 30, &count) == 0);
		CHECK_EQUAL(count, wanted[i]);
		for (size_t k = 0; k < count; k++)
			CHECK(lmq_receiver_next(r[i], &m) == 0 && same(&m, order[first[i] + k]));
	}
	for (int i = 0; i < 4; i++)
		lmq_receiver_close(r[i]);
	end();
}

TEST(large_bytes, "large bodies count in a stream's bytes, and retention is exact to one of them")
{
	lmq_writer *w;
	struct lmq_channel_info info;
	make_stream("max-bytes=1M");
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	for (int i = 0; i < 40; i++) {
		send_body(w, 200000);
		CHECK(lmq_channel_info(channel, &info) == 0);
		CHECK(info.bytes < (1 << 20) + 210000 && (i < 6 || info.messages == 6));
	}
	lmq_writer_close(w);
	end();
}

TEST(garbage, "a store that is full of removed bodies is swept before a sender is refused")
{
	static const char *const limit[] = { "max-bytes=24M" };
	static char body[12000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_writer *w;
	lmq_receiver *r;
	size_t n, count;
	begin(LMQ_QUEUE);
	CHECK(lmq_store_make(store, limit, 1, NULL, &n) == 0);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	REQUIRE(lmq_receiver_open(channel, NULL, &r) == 0);
	CHECK(lmq_writer_begin(w, channel, &m) == 0);
	for (int i = 0; i < 1500; i++)
		CHECK(lmq_writer_write(w, body, sizeof body) == 0);
	CHECK(lmq_writer_end(w) == 0 && lmq_writer_commit(w) == 0);
	REQUIRE(lmq_receiver_claim(r, 1, 1 << 30, &count) == 0);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	m.body = (struct lmq_bytes){ body, sizeof body };
	for (int i = 0; i < 1500; i++) {
		REQUIRE(lmq_writer_add(w, channel, &m) == 0);
		REQUIRE(lmq_writer_commit(w) == 0);
	}
	lmq_receiver_close(r);
	lmq_writer_close(w);
	end();
}

UNIT_MAIN
