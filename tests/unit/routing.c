/* SPDX-License-Identifier: ISC */
/*
 * Random routes and messages against a model: which routes can be added, what lmq_route_test() says, and what
 * every channel holds in the end.
 */
#include "routed.h"

enum { ROUTES_MAX = 24, MESSAGES = 120, BATCH_MAX = 70 };

static const char *const sources[] = { "a.one", "a.two", "b.one", "c", "a.+", "b.*", "#", "+.one", "+.t*" };
static const char *const keys[] = { NULL, NULL, "k1", "k?", "+", "#" };
static const char *const conditions[] = { "h=1", "h=*", "g=x", "g=[xy]" };

static struct lmq_route routes[ROUTES_MAX];	/* those that were added */
static const char *route_headers[ROUTES_MAX][2];
static size_t route_count;
static char expected[CHANNELS][MESSAGES][8];
static size_t expected_count[CHANNELS];

static int index_of(const char *name)
{
	int i = 0;
	while (strcmp(names[i], name) != 0)
		i++;
	return i;
}

static bool matches_source(const struct lmq_route *r, int i)
{
	return lmq_pattern_match(r->source, names[i], strlen(names[i]));
}

static bool matches(const struct lmq_route *r, const struct lmq_message *m)
{
	lmq_filter *f;
	const char *reason;
	size_t n = 0;
	bool key;
	CHECK(lmq_filter_open(&f) == 0 && (!r->key || lmq_filter_key(f, r->key, &reason) == 0));
	key = lmq_filter_match(f, m);
	lmq_filter_close(f);
	for (size_t i = 0; i < r->header_count; i++) {
		CHECK(lmq_filter_open(&f) == 0 && lmq_filter_header(f, r->headers[i], &reason) == 0);
		n += lmq_filter_match(f, m);
		lmq_filter_close(f);
	}
	return key && (r->header_count == 0 || (r->any ? n > 0 : n == r->header_count));
}

/* Which channels a message gets to; NULL: whatever the conditions say. */
static void spread_to(int from, const struct lmq_message *m, const struct lmq_route *more, bool reached[CHANNELS])
{
	memset(reached, 0, CHANNELS * sizeof *reached);
	reached[from] = true;
	for (int round = 0; round < CHANNELS; round++)
		for (size_t i = 0; i < route_count + (more != NULL); i++) {
			const struct lmq_route *r = i < route_count ? &routes[i] : more;
			for (int c = 0; c < CHANNELS; c++)
				if (reached[c] && kind_of(c) != LMQ_QUEUE && matches_source(r, c) && (!m || matches(r, m)))
					reached[index_of(r->destination)] = true;
		}
}

/* Whether the destination of the route would lead back to it. */
static bool closes_circle(const struct lmq_route *r)
{
	int to = index_of(r->destination);
	bool reached[CHANNELS];
	if (strcmp(r->source, r->destination) == 0)
		return true;
	spread_to(to, NULL, NULL, reached);
	for (int c = 0; c < CHANNELS; c++)
		if (c != to && reached[c] && kind_of(c) != LMQ_QUEUE && matches_source(r, c) && kind_of(to) != LMQ_QUEUE)
			return true;
	return false;
}

static void add_random(void)
{
	struct lmq_route r = { .source = sources[unit_random_below(sizeof sources / sizeof *sources)],
		.destination = names[unit_random_below(CHANNELS)],
		.key = keys[unit_random_below(sizeof keys / sizeof *keys)],
		.header_count = unit_random_below(3), .any = unit_random() % 2 };
	bool added, circle = closes_circle(&r);
	int rc;
	for (size_t i = 0; i < r.header_count; i++)
		route_headers[route_count][i] = conditions[unit_random_below(4)];
	r.headers = route_headers[route_count];
	rc = lmq_route_add(store, &r, &added);
	CHECK(rc == LMQ_EINVAL || rc == 0);
	if (rc == 0 && added) {
		CHECK(!circle);
		routes[route_count++] = r;
	} else if (rc == LMQ_EINVAL) {
		CHECK(circle);
	}
}

static void remove_random(void)
{
	size_t i = unit_random_below(route_count);
	CHECK(lmq_route_remove(store, routes[i].number) == 0);
	route_count--;
	for (; i < route_count; i++) {
		routes[i] = routes[i + 1];
		memcpy(route_headers[i], route_headers[i + 1], sizeof *route_headers);
		routes[i].headers = route_headers[i];
	}
}

static void check_test(int to, const struct lmq_message *m, const bool reached[CHANNELS])
{
	char (*got)[LMQ_NAME_MAX + 1];
	size_t n, expect = 0;
	REQUIRE(lmq_route_test(store, names[to], m, &got, &n) == 0);
	for (int c = 0; c < CHANNELS; c++)
		expect += reached[c] && c != to;
	CHECK_EQUAL(n, expect);
	for (size_t i = 0; i < n; i++)
		CHECK(reached[index_of(got[i])] && (i == 0 || strcmp(got[i - 1], got[i]) < 0));
	free(got);
}

static void publish_random(uint64_t number)
{
	static const char *const values[] = { "1", "2", "x", "y" };
	struct lmq_header headers[2] = { { .name = { "h", 1 } }, { .name = { "g", 1 } } };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int to = (int)unit_random_below(6);
	bool reached[CHANNELS];
	char body[8];
	snprintf(body, sizeof body, "%" PRIu64, number);
	m.body = (struct lmq_bytes){ body, strlen(body) };
	if (unit_random() % 2)
		m.key = (struct lmq_bytes){ unit_random() % 2 ? "k1" : "k2", 2 };
	m.header_count = unit_random_below(3);
	m.headers = headers;
	for (int i = 0; i < 2; i++)
		headers[i].value = (struct lmq_bytes){ values[unit_random_below(4)], 1 };
	CHECK(lmq_writer_add(writer, channel[to], &m) == 0);
	spread_to(to, &m, NULL, reached);
	check_test(to, &m, reached);
	for (int c = 0; c < CHANNELS; c++)
		if (reached[c])
			strcpy(expected[c][expected_count[c]++], body);
}

static int by_text(const void *a, const void *b)
{
	return atoi(a) - atoi(b);
}

/* Copies lie in the order in which their transaction took its channels: only within one source are they in order. */
static void check_contents(void)
{
	for (int c = 0; c < CHANNELS; c++) {
		static char got[MESSAGES][8];
		struct lmq_message m;
		lmq_reader *r;
		size_t n = 0;
		REQUIRE(lmq_reader_open(channel[c], &r) == 0);
		for (; n < MESSAGES && lmq_reader_next(r, &m) == 0; n++)
			snprintf(got[n], sizeof *got, "%.*s", (int)m.body.size, m.body.data);
		lmq_reader_close(r);
		qsort(got, n, sizeof *got, by_text);
		REQUIRE(n == expected_count[c]);
		for (size_t i = 0; i < n; i++)
			CHECK_TEXT(got[i], expected[c][i]);
	}
}

TEST(model, "every channel gets each message that leads there once, whatever routes and conditions there are")
{
	for (int round = 0; round < 12; round++) {
		begin();
		route_count = 0;
		memset(expected_count, 0, sizeof expected_count);
		for (uint64_t n = 0; n < MESSAGES;) {
			for (uint64_t i = unit_random_below(6); i-- > 0 && route_count < ROUTES_MAX;)
				add_random();
			if (route_count > 0 && unit_random() % 4 == 0)
				remove_random();
			for (uint64_t i = unit_random_below(BATCH_MAX); i-- > 0 && n < MESSAGES;)
				publish_random(n++);
			CHECK(lmq_writer_commit(writer) == 0);
		}
		check_contents();
		end();
	}
}

UNIT_MAIN
