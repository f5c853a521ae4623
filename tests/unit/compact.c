/* SPDX-License-Identifier: ISC */
/* Compaction against a model: what a stream with max-per-key keeps, whatever the keys, the sizes and the order. */
#include "place.h"

#include "base/format.h"

enum { MESSAGES = 6000, KEYS = 40, LARGE = 70000 };

static struct {
	int key;		/* -1: none */
	bool tombstone;
	bool alive;
	size_t size;
} model[MESSAGES];
static uint64_t count, first;	/* messages sent; those below first were dropped */
static unsigned keep;

static lmq_store *store;
static lmq_channel *channel;

static void make(const char *partitions, unsigned per_key)
{
	char limit[40];
	const char *properties[] = { limit, partitions };
	bool made;
	lmq_channel *c;
	snprintf(limit, sizeof limit, "max-per-key=%u", per_key);
	keep = per_key;
	if (lmq_channel_make(store, "log", LMQ_STREAM, properties, partitions ? 2 : 1, &made, NULL, NULL) != 0 ||
			lmq_channel_open(store, "log", LMQ_STREAM, 0, &c) != 0) {
		fprintf(stderr, "%s\n", lmq_error(store));
		abort();
	}
	lmq_channel_close(channel);
	channel = c;
}

static void begin(const char *partitions, unsigned per_key)
{
	place_make();
	store = place_open();
	channel = NULL;
	count = first = 0;
	make(partitions, per_key);
}

static void end(void)
{
	lmq_channel_close(channel);
	lmq_store_close(store);
	place_remove();
}

/* ---- the model ------------------------------------------------------------------------------ */

/* Of a key only the newest ones are kept. */
static void keep_newest(int key)
{
	unsigned newer = 0;
	for (uint64_t n = count; n-- > 0;)
		if (model[n].alive && model[n].key == key && newer++ >= keep)
			model[n].alive = false;
}

static void enter(void)
{
	int key = model[count].key;
	model[count].alive = true;
	for (uint64_t n = 0; model[count].tombstone && n < count; n++)
		if (model[n].key == key)
			model[n].alive = false;
	count++;
	if (key >= 0)
		keep_newest(key);
}

static uint64_t alive(void)
{
	uint64_t sum = 0;
	for (uint64_t n = 0; n < count; n++)
		sum += model[n].alive;
	return sum;
}

/* ---- the stream ----------------------------------------------------------------------------- */

/* A body begins with the number of its message; the other bytes follow from it. */
static void fill(char *body, uint64_t n, size_t size)
{
	for (size_t i = 0; i < size; i++)
		body[i] = (char)(i < 8 ? n >> 8 * i : n + i);
}

static size_t some_size(void)
{
	static const size_t edges[] = { 8, 100, 1000, 3900, 4030, 4040, 4046, 4052, 8100, 8104, 12000, 30000, 65536 };
	uint64_t x = unit_random() % 100;
	return x == 0 ? LARGE + unit_random() % 9000 : x < 12 ? edges[unit_random() % (sizeof edges / sizeof *edges)] :
		8 + unit_random() % 200;
}

static void add(lmq_writer *w)
{
	static char body[LARGE + 9000];
	char key[16];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int k = unit_random() % 8 == 0 ? -1 : (int)(unit_random() % (unit_random() % 2 ? KEYS : 3));
	m.headers = &(struct lmq_header){ { "n", 1 }, { "x", 1 } };
	m.header_count = unit_random() % 3 == 0;
	m.tombstone = k >= 0 && unit_random() % 20 == 0;
	model[count].key = k;
	model[count].tombstone = m.tombstone;
	model[count].size = m.tombstone ? 0 : some_size();
	m.body = (struct lmq_bytes){ body, model[count].size };
	fill(body, count, m.body.size);
	if (k >= 0)
		m.key = (struct lmq_bytes){ key, (size_t)snprintf(key, sizeof key, "key %d", k) };
	CHECK(lmq_writer_add(w, channel, &m) == 0);
	enter();
}

static void send(lmq_writer *w, uint64_t most)
{
	for (; most > 0 && count < MESSAGES; most--)
		add(w);
	CHECK(lmq_writer_commit(w) == 0);
}

static void sweep(void)
{
	bool more = true;
	for (int i = 0; more && i < 1000; i++)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	CHECK(!more);
}

static bool same_body(lmq_reader *r, const struct lmq_message *m, uint64_t n)
{
	static char want[LARGE + 9000];
	struct lmq_bytes piece;
	fill(want, n, m->body.size);
	for (uint64_t at = 0; at < m->body.size; at += piece.size)
		if (lmq_reader_body(r, at, &piece) != 0 || piece.size == 0 || memcmp(piece.data, want + at, piece.size) != 0)
			return false;
	return true;
}

static bool is_sound(void)
{
	struct lmq_check found;
	struct lmq_channel_info info;
	int rc = lmq_channel_check(channel, &found, NULL, NULL);
	if (rc != 0 || found.damaged + found.broken > 0)
		printf("# check: %d %s, %d damaged near %d\n", rc, lmq_error(store), (int)found.damaged,
			(int)found.wrong_offset);
	CHECK(lmq_channel_info(channel, &info) == 0);
	CHECK_EQUAL(info.messages, alive());
	CHECK_EQUAL(found.messages, alive());
	return rc == 0 && found.damaged + found.broken == 0;
}

/* One partition: offsets are the numbers of the messages. */
static void compare(void)
{
	lmq_reader *r;
	struct lmq_message m;
	uint64_t n = 0;
	int rc = lmq_reader_open(channel, &r);
	REQUIRE(rc == 0);
	while ((rc = lmq_reader_next(r, &m)) == 0) {
		while (n < count && !model[n].alive)
			n++;
		if (n != m.offset || model[n].size != m.body.size || model[n].tombstone != m.tombstone ||
				(model[n].key >= 0) != (m.key.data != NULL))
			printf("# offset %d, expected %d\n", (int)m.offset, (int)n);
		REQUIRE(n == m.offset && model[n].size == m.body.size && model[n].tombstone == m.tombstone);
		CHECK(same_body(r, &m, n));
		n++;
	}
	CHECK_EQUAL(rc, LMQ_END);
	while (n < count && !model[n].alive)
		n++;
	CHECK_EQUAL(n, count);
	lmq_reader_close(r);
	CHECK(is_sound());
}

static void drop(uint64_t to)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more = true;
	what.to = to;
	if (to == 0)
		return;
	while (more)
		REQUIRE(lmq_channel_trim(channel, &what, &at, &dropped, &more) == 0);
	for (; first < to; first++)
		model[first].alive = false;
}

static void run(unsigned per_key, uint64_t messages)
{
	lmq_writer *w;
	begin(NULL, per_key);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	while (count < messages) {
		send(w, 1 + unit_random() % (unit_random() % 4 ? 20 : 300));
		sweep();
		if (unit_random() % 6 == 0)
			drop(first + unit_random() % (count - first + 1) / 4);
		if (unit_random() % 4 == 0)
			compare();
	}
	sweep();
	compare();
	drop(count);
	CHECK(is_sound());
	send(w, 10);
	sweep();
	compare();
	lmq_writer_close(w);
	end();
}

TEST(one, "of each key the newest message stays, and all without a key")
{
	run(1, 2500);
}

TEST(three, "of each key the newest three stay")
{
	run(3, 2500);
}

TEST(bulk, "many messages between two sweeps")
{
	lmq_writer *w;
	begin(NULL, 2);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	for (int i = 0; i < 4; i++) {
		send(w, 1400);
		sweep();
		compare();
	}
	lmq_writer_close(w);
	end();
}

TEST(changed, "a limit that is set later, lowered and raised holds for what is there and what comes")
{
	static const unsigned limits[] = { 20, 5, 1, 4, 2 };
	lmq_writer *w;
	begin(NULL, 1000);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	send(w, 700);
	sweep();
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		make(NULL, limits[i]);
		for (int key = 0; key < KEYS; key++)
			keep_newest(key);
		if (i % 2)
			drop(first + (count - first) / 4);
		sweep();
		compare();
		send(w, 300);
		sweep();
		compare();
	}
	lmq_writer_close(w);
	end();
}

TEST(partitions, "each partition is compacted")
{
	lmq_writer *w;
	lmq_reader *r;
	struct lmq_message m;
	uint64_t seen = 0;
	begin("partitions=5", 2);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	while (count < 1500) {
		send(w, 100);
		sweep();
	}
	CHECK(is_sound());
	REQUIRE(lmq_reader_open(channel, &r) == 0);
	while (lmq_reader_next(r, &m) == 0)
		seen++;
	CHECK_EQUAL(seen, alive());
	lmq_reader_close(r);
	lmq_writer_close(w);
	end();
}

TEST(large, "the space of large bodies comes back")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_channel_info info;
	static char body[3000000];
	lmq_writer *w;
	begin(NULL, 1);
	REQUIRE(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w) == 0);
	m.key = (struct lmq_bytes){ "k", 1 };
	m.body = (struct lmq_bytes){ body, sizeof body };
	for (int i = 0; i < 20; i++) {
		CHECK(lmq_writer_add(w, channel, &m) == 0);
		CHECK(lmq_writer_commit(w) == 0);
		sweep();
	}
	CHECK(lmq_channel_info(channel, &info) == 0);
	CHECK_EQUAL(info.messages, 1);
	CHECK(info.bytes < sizeof body + 1000);
	lmq_writer_close(w);
	end();
}

UNIT_MAIN
