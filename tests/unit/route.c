/* SPDX-License-Identifier: ISC */
/* Routes: their bytes, which ones there can be, and what happens to their copies. */
#include "routed.h"

static struct lmq_route plain_route(const char *source, const char *destination)
{
	return (struct lmq_route){ .source = source, .destination = destination };
}

static int add(const char *source, const char *destination)
{
	struct lmq_route r = plain_route(source, destination);
	bool added;
	return lmq_route_add(store, &r, &added);
}

static struct lmq_message text(const char *body)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.body = (struct lmq_bytes){ body, strlen(body) };
	return m;
}

static int publish(int to, const char *body)
{
	struct lmq_message m = text(body);
	int rc = lmq_writer_add(writer, channel[to], &m);
	return rc == 0 ? lmq_writer_commit(writer) : rc;
}

static uint64_t count(int i)
{
	struct lmq_channel_info info;
	CHECK(lmq_channel_info(channel[i], &info) == 0);
	return info.messages;
}

/* ---- bytes -------------------------------------------------------------------------------- */

static bool parse(const struct key *k, const uint8_t *value, size_t size, struct binding *b)
{
	MDB_val key = { k->size, (void *)k->bytes }, v = { size, (void *)value };
	return binding_get(store, &key, &v, b) == 0;
}

TEST(bytes, "a route is read back as it was written, and what is no route is refused")
{
	const char *headers[] = { "region=eu*", "n=" };
	struct lmq_route r = { .source = "a.+.#", .key = "k.*", .headers = headers, .header_count = 2, .any = true };
	struct key k = key_route(7);
	uint8_t value[BINDING_MAX], broken[BINDING_MAX];
	size_t size = binding_put(&r, 42, &k, value);
	struct binding b;
	begin();
	REQUIRE(size > 0 && parse(&k, value, size, &b));
	CHECK(b.destination == 42 && b.route.number == 7 && b.route.any && b.route.header_count == 2);
	CHECK_TEXT(b.route.source, "a.+.#");
	CHECK_TEXT(b.route.key, "k.*");
	CHECK_TEXT(b.route.headers[1], "n=");
	binding_free(&b);
	for (int i = 0; i < 20000; i++) {
		size_t n = 9 + unit_random_below(size - 8);
		memcpy(broken, value, n);
		for (uint64_t flips = unit_random_below(4); flips-- > 0;)
			broken[unit_random_below(n)] = (uint8_t)(unit_random() % 3 ? unit_random() % 4 : unit_random());
		if (parse(&k, broken, record_seal(&k, broken, broken + n - 4), &b)) {
			CHECK(strlen(b.route.source) > 0);
			binding_free(&b);
		}
	}
	end();
}

TEST(long_ones, "a route that is too large for its place is refused")
{
	static char header[LMQ_FIELD_MAX + 3900];
	const char *headers[] = { header, "y=1" };
	struct lmq_route r = { .source = "a.one", .destination = "q.one", .headers = headers };
	bool added;
	begin();
	memset(header, 'x', sizeof header - 1);
	header[1] = '=';
	for (r.header_count = 2; r.header_count > 0; r.header_count--)
		CHECK(lmq_route_add(store, &r, &added) == LMQ_EINVAL);
	r.header_count = 1;
	header[3900] = '\0';
	CHECK(lmq_route_add(store, &r, &added) == 0 && added && r.number == 1);
	end();
}

TEST(literal, "a source that is no pattern has to be a name that a channel can have")
{
	static char longest[LMQ_NAME_MAX + 1], longer[LMQ_NAME_MAX + 2], far[300];
	begin();
	memset(longest, 'x', sizeof longest - 1);
	memset(longer, 'x', sizeof longer - 1);
	memset(far, 'x', sizeof far - 1);
	CHECK(add(longer, "q.one") == LMQ_EINVAL && add(far, "q.one") == LMQ_EINVAL);
	CHECK(add("a/b", "q.one") == LMQ_EINVAL);
	CHECK_TEXT(lmq_error(store), "a/b: not a valid name");
	CHECK(add("-", "q.one") == LMQ_EINVAL && add("\xff", "q.one") == LMQ_EINVAL);
	CHECK(add(longest, "q.one") == 0 && add("a*", "q.one") == 0 && add("a/?", "q.one") == 0);
	end();
}

/* ---- circles ------------------------------------------------------------------------------ */

TEST(circles, "a route that would close a circle is refused, and the sentence names it")
{
	begin();
	CHECK(add("c", "c") == LMQ_EINVAL);
	CHECK_TEXT(lmq_error(store), "c: the route would close a circle: c -> c");
	CHECK(add("a.one", "b.one") == 0 && add("b.+", "c") == 0);
	CHECK(add("c", "a.one") == LMQ_EINVAL);
	CHECK_TEXT(lmq_error(store), "a.one: the route would close a circle: a.one -> b.one -> c -> a.one");
	CHECK(add("#", "a.one") == LMQ_EINVAL);
	CHECK(add("c", "q.one") == 0);
	CHECK(add("a.#", "a.two") == 0);
	CHECK(add("#", "q.two") == 0);
	end();
}

TEST(long_circle, "of a circle that is too long for a sentence the last part is named, and that there is more")
{
	enum { STEPS = 6, LENGTH = 100 };
	char name[STEPS][LENGTH + 1], *cut, *last;
	lmq_channel *c;
	begin();
	for (int i = 0; i < STEPS; i++) {
		memset(name[i], 'a' + i, LENGTH);
		name[i][LENGTH] = '\0';
		CHECK(lmq_channel_open(store, name[i], LMQ_TOPIC, LMQ_CREATE, &c) == 0);
		lmq_channel_close(c);
		CHECK(i == 0 || add(name[i - 1], name[i]) == 0);
	}
	CHECK(add(name[STEPS - 1], name[0]) == LMQ_EINVAL);
	cut = strstr(lmq_error(store), "circle: ... -> ");
	last = strstr(lmq_error(store), name[STEPS - 1]);
	CHECK(cut && last && strncmp(last + LENGTH, " -> ", 4) == 0 && strcmp(last + LENGTH + 4, name[0]) == 0);
	end();
}

TEST(itself, "a pattern that matches its own destination does not copy to it, and a queue leads nowhere")
{
	begin();
	CHECK(add("#", "a.one") == 0 && add("a.+", "a.q") == 0 && add("a.q", "c") == LMQ_EKIND);
	CHECK(publish(0, "x") == 0 && publish(1, "y") == 0 && publish(5, "z") == 0);
	CHECK_EQUAL(count(0), 3);
	CHECK_EQUAL(count(1), 1);
	CHECK_EQUAL(count(5), 1);
	CHECK_EQUAL(count(8), 3);
	end();
}

/* ---- adding and removing ------------------------------------------------------------------ */

TEST(again, "the same route is there once, whatever the order of its conditions")
{
	const char *two[] = { "a=1", "b=2" }, *other[] = { "b=2", "a=1" }, *third[] = { "a=1", "c=2" };
	struct lmq_route r = { .source = "a.#", .destination = "q.one", .headers = two, .header_count = 2 };
	struct lmq_route *list;
	size_t n;
	bool added;
	begin();
	CHECK(lmq_route_add(store, &r, &added) == 0 && added && r.number == 1);
	r.headers = other;
	r.key = "#";
	CHECK(lmq_route_add(store, &r, &added) == 0 && !added && r.number == 1);
	r.any = true;
	CHECK(lmq_route_add(store, &r, &added) == 0 && added && r.number == 2);
	REQUIRE(lmq_route_list(store, &list, &n) == 0 && n == 2);
	CHECK(list[0].number == 1 && list[1].number == 2 && list[1].any && !list[0].key);
	CHECK_TEXT(list[0].destination, "q.one");
	CHECK_TEXT(list[1].headers[1], "a=1");
	lmq_route_free(list);
	CHECK(lmq_route_remove(store, 1) == 0 && lmq_route_remove(store, 1) == LMQ_ENOENT);
	r.any = false;
	CHECK(lmq_route_add(store, &r, &added) == 0 && added && r.number == 3);
	r.headers = third;
	CHECK(lmq_route_add(store, &r, &added) == 0 && added && r.number == 4);
	CHECK(add("a.one", "nowhere") == LMQ_ENOENT && add("a..", "c") == LMQ_EINVAL);
	end();
}

TEST(names_change, "a route follows its destination when that is renamed, applies by name, and goes with it")
{
	struct lmq_route *list;
	size_t n;
	begin();
	CHECK(add("b.one", "q.one") == 0 && add("new", "q.two") == 0 && publish(2, "x") == 0);
	CHECK(lmq_channel_rename(store, "q.one", "elsewhere") == 0 && publish(2, "x") == 0);
	CHECK_EQUAL(count(6), 2);
	CHECK(lmq_channel_rename(store, "b.one", "new") == 0 && publish(2, "x") == 0);
	CHECK(count(6) == 2 && count(7) == 1);
	CHECK(lmq_channel_remove(store, "q.two") == 0 && publish(2, "x") == 0);
	REQUIRE(lmq_route_list(store, &list, &n) == 0 && n == 1);
	CHECK_TEXT(list[0].destination, "elsewhere");
	lmq_route_free(list);
	end();
}

TEST(renamed_circle, "a circle that came about by renaming is gone round once")
{
	begin();
	CHECK(add("a.one", "b.one") == 0 && add("b.one", "c") == 0 && add("x", "a.one") == 0);
	CHECK(lmq_channel_rename(store, "c", "x") == 0);
	CHECK(publish(0, "1") == 0 && publish(2, "2") == 0 && publish(5, "3") == 0);
	CHECK(count(0) == 3 && count(2) == 3 && count(5) == 3);
	end();
}

/* ---- copies ------------------------------------------------------------------------------- */

TEST(refused, "what one destination refuses is published nowhere")
{
	const char *one = "max-messages=2", *small = "max-message=2";
	bool created;
	begin();
	CHECK(add("a.one", "b.one") == 0 && add("b.one", "q.one") == 0 && add("a.one", "q.two") == 0);
	CHECK(lmq_channel_make(store, "q.one", LMQ_ANY, &one, 1, &created, NULL, NULL) == 0);
	CHECK(publish(0, "x") == 0 && publish(0, "x") == 0 && publish(0, "x") == LMQ_EFULL);
	CHECK(strncmp(lmq_error(store), "q.one: ", 7) == 0);
	lmq_writer_discard(writer);
	CHECK(count(0) == 2 && count(2) == 2 && count(6) == 2 && count(7) == 2);
	CHECK(lmq_channel_make(store, "q.two", LMQ_ANY, &small, 1, &created, NULL, NULL) == 0);
	CHECK(lmq_channel_make(store, "q.one", LMQ_ANY, (const char *[]){ "max-messages=none" }, 1, &created, NULL,
		NULL) == 0);
	CHECK(publish(0, "abc") == LMQ_EDATA && strncmp(lmq_error(store), "q.two: ", 7) == 0);
	lmq_writer_discard(writer);
	CHECK(publish(0, "ab") == 0 && count(7) == 3 && count(2) == 3);
	end();
}

/* How many records the table has. */
static size_t table_count(char table)
{
	struct snapshot p;
	MDB_val key = { 1, &table }, value;
	size_t n = 0;
	snapshot_init(store, &p);
	CHECK(snapshot_begin(&p) == 0);
	for (MDB_cursor_op op = MDB_SET_RANGE; mdb_cursor_get(p.cursor, &key, &value, op) == 0; op = MDB_NEXT, n++)
		if (*(const char *)key.mv_data != table)
			break;
	snapshot_close(&p);
	return n;
}

static void take_large(int from, const char *body, size_t size)
{
	lmq_receiver *r;
	struct lmq_message m;
	struct lmq_bytes piece;
	size_t n, at = 0;
	REQUIRE(lmq_receiver_open(channel[from], NULL, &r) == 0);
	CHECK(lmq_receiver_claim(r, 1, 1, &n) == 0 && lmq_receiver_next(r, &m) == 0 && m.body.size == size);
	while (lmq_receiver_body(r, at, &piece) == 0 && piece.size > 0) {
		CHECK(memcmp(piece.data, body + at, piece.size) == 0);
		at += piece.size;
	}
	CHECK(at == size && lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(r);
}

TEST(large, "a large body is stored once for all copies, and stays until the last one is gone")
{
	enum { SIZE = 300000 };
	static char body[SIZE];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_trim all = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more = true;
	begin();
	for (size_t i = 0; i < SIZE; i++)
		body[i] = (char)unit_random();
	CHECK(add("b.two", "q.one") == 0 && add("b.two", "q.two") == 0 && add("b.two", "c") == 0);
	m.body = (struct lmq_bytes){ body, SIZE };
	REQUIRE(lmq_writer_add(writer, channel[3], &m) == 0 && lmq_writer_commit(writer) == 0);
	CHECK_EQUAL(table_count('B'), (SIZE + CHUNK_ROOM - 1) / CHUNK_ROOM);
	take_large(6, body, SIZE);
	all.all = true;
	CHECK(lmq_channel_trim(channel[3], &all, &at, &dropped, &more) == 0 && dropped == 1);
	CHECK(lmq_channel_remove(store, "c") == 0);
	for (more = true; more;)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	take_large(7, body, SIZE);
	for (more = true; more;)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	CHECK(table_count('B') == 0 && table_count('V') == 0);
	end();
}

TEST(some, "of a batch with large bodies a channel gets those that its routes choose, and refuses only those")
{
	static char body[100000];
	const char *limit = "max-message=64K";
	struct lmq_route choosy = plain_route("a.two", "q.one"), other = plain_route("a.two", "q.two");
	struct lmq_message m = LMQ_MESSAGE_INIT;
	bool added, made;
	begin();
	choosy.key = "small";
	other.key = "large";
	CHECK(lmq_route_add(store, &choosy, &added) == 0 && lmq_route_add(store, &other, &added) == 0);
	CHECK(lmq_channel_make(store, "q.one", LMQ_QUEUE, &limit, 1, &made, NULL, NULL) == 0);
	for (int i = 0; i < 4; i++) {
		m.key = i % 2 ? (struct lmq_bytes){ "small", 5 } : (struct lmq_bytes){ "large", 5 };
		m.body = (struct lmq_bytes){ body, i % 2 ? 100 : sizeof body };
		CHECK(lmq_writer_add(writer, channel[1], &m) == 0);
	}
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK(count(1) == 4 && count(6) == 2 && count(7) == 2);
	m.body.size = sizeof body;
	CHECK(lmq_writer_add(writer, channel[1], &m) == 0 && lmq_writer_commit(writer) == LMQ_EDATA);
	CHECK_TEXT(lmq_error(store),
		"q.one: a message that a route leads there is larger than the queue takes (max-message=64K)");
	CHECK(count(1) == 4 && count(6) == 2);
	end();
}

TEST(tried, "what cannot be sent cannot be tried either, and what can may be of any size")
{
	static char body[1000000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	char (*reached)[LMQ_NAME_MAX + 1];
	size_t n;
	begin();
	CHECK(add("a.two", "q.one") == 0);
	m.priority = 11;
	CHECK(lmq_route_test(store, "a.two", &m, &reached, &n) == LMQ_EDATA);
	CHECK_TEXT(lmq_error(store), "a.two: the priority is not 0 to 9");
	m.priority = 1;
	m.body = (struct lmq_bytes){ body, sizeof body };
	CHECK(lmq_route_test(store, "a..two", &m, &reached, &n) == LMQ_EINVAL);
	CHECK(lmq_route_test(store, "q.one", &m, &reached, &n) == LMQ_EKIND);
	CHECK(lmq_route_test(store, "b.nobody", &m, &reached, &n) == 0 && n == 0);
	free(reached);
	REQUIRE(lmq_route_test(store, "a.two", &m, &reached, &n) == 0 && n == 1);
	CHECK_TEXT(reached[0], "q.one");
	free(reached);
	end();
}

UNIT_MAIN
