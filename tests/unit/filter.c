/* SPDX-License-Identifier: ISC */
/* Conditions on messages. */
#include "unit.h"

#include "channel/channel.h"

#define BYTES(text) { text, sizeof(text) - 1 }

static const struct lmq_header headers[] = {
	{ BYTES("trace"), BYTES("ab-17") },
	{ BYTES("empty"), BYTES("") },
	{ BYTES("path"), BYTES("/a/b.c") },
};

static const struct lmq_message keyed = {
	.key = BYTES("eu.c42"), .headers = headers, .header_count = 3,
};
static const struct lmq_message bare = LMQ_MESSAGE_INIT;
static const struct lmq_message empty_key = { .key = BYTES("") };

/*
 * Whether a filter with that key pattern and those header conditions, each NULL for none, takes
 * m.
 */
static bool takes(const char *key, const char *first, const char *more, const struct lmq_message *m)
{
	lmq_filter *filter = NULL;
	const char *reason;
	bool match;

	CHECK(lmq_filter_open(&filter) == 0);
	if (key)
		CHECK(lmq_filter_key(filter, key, &reason) == 0);
	if (first)
		CHECK(lmq_filter_header(filter, first, &reason) == 0);
	if (more)
		CHECK(lmq_filter_header(filter, more, &reason) == 0);
	match = lmq_filter_match(filter, m);
	lmq_filter_close(filter);
	return match;
}

TEST(nothing, "a filter without conditions, and no filter, take every message")
{
	CHECK(takes(NULL, NULL, NULL, &keyed));
	CHECK(takes(NULL, NULL, NULL, &bare));
	CHECK(lmq_filter_match(NULL, &bare));
	lmq_filter_close(NULL);
}

TEST(keys, "the key has to match the pattern")
{
	CHECK(takes("eu.c42", NULL, NULL, &keyed));
	CHECK(takes("eu.*", NULL, NULL, &keyed));
	CHECK(takes("eu.#", NULL, NULL, &keyed));
	CHECK(takes("+.c4?", NULL, NULL, &keyed));
	CHECK(!takes("eu", NULL, NULL, &keyed));
	CHECK(!takes("eu.c421", NULL, NULL, &keyed));
	CHECK(!takes("eu.c4", NULL, NULL, &keyed));
	CHECK(!takes("us.#", NULL, NULL, &keyed));
}

TEST(keyless, "a message without key matches only #, and an empty key is one empty word")
{
	CHECK(takes("#", NULL, NULL, &bare));
	CHECK(!takes("*", NULL, NULL, &bare));
	CHECK(!takes("+", NULL, NULL, &bare));
	CHECK(!takes("a", NULL, NULL, &bare));
	CHECK(!takes("a.#", NULL, NULL, &bare));
	CHECK(takes("#", NULL, NULL, &empty_key));
	CHECK(takes("+", NULL, NULL, &empty_key));
	CHECK(!takes("?", NULL, NULL, &empty_key));
}

TEST(header_conditions, "every header condition has to match")
{
	CHECK(takes(NULL, "trace=ab-17", NULL, &keyed));
	CHECK(takes(NULL, "trace=ab*", NULL, &keyed));
	CHECK(takes(NULL, "trace=*", "path=/a/*", &keyed));
	CHECK(takes("eu.#", "trace=ab-[0-9]7", "empty=", &keyed));
	CHECK(takes(NULL, "path=/*c", NULL, &keyed));
	CHECK(!takes(NULL, "trace=ab", NULL, &keyed));
	CHECK(!takes(NULL, "trace=ab*", "path=/b*", &keyed));
	CHECK(!takes(NULL, "trace=ab*", "trace=*8", &keyed));
	CHECK(!takes("us", "trace=ab*", NULL, &keyed));
}

TEST(header_absent, "a header that is not there matches nothing, one that is empty matches *")
{
	CHECK(takes(NULL, "empty=*", NULL, &keyed));
	CHECK(!takes(NULL, "empty=?", NULL, &keyed));
	CHECK(!takes(NULL, "absent=*", NULL, &keyed));
	CHECK(!takes(NULL, "absent=", NULL, &keyed));
	CHECK(!takes(NULL, "Trace=*", NULL, &keyed));
	CHECK(!takes(NULL, "trac=*", NULL, &keyed));
	CHECK(!takes(NULL, "trace=*", NULL, &bare));
}

TEST(equals, "the value begins behind the first =")
{
	static const struct lmq_header header = { BYTES("a"), BYTES("b=c") };
	const struct lmq_message message = { .headers = &header, .header_count = 1 };

	CHECK(takes(NULL, "a=b=c", NULL, &message));
	CHECK(takes(NULL, "a=?=?", NULL, &message));
	CHECK(!takes(NULL, "a=c", NULL, &message));
}

static const struct {
	uint64_t first, end;
} parts[] = { { 5, 8 }, { 20, 21 }, { 3, 4 }, { 7, 7 }, { 9, 2 }, { 8, 10 }, { 40, UINT64_MAX } };

TEST(offsets, "only offsets of the ranges given are let through, and the next one is found")
{
	lmq_filter *filter = NULL;
	uint64_t next;

	REQUIRE(lmq_filter_open(&filter) == 0);
	CHECK(filter_range(filter, 17, &next) && next == 17);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		CHECK(lmq_filter_offsets(filter, parts[i].first, parts[i].end) == 0);
	for (uint64_t at = 0; at < 60; at++) {
		struct lmq_message message = { .offset = at };
		uint64_t expected = at < 4 ? (at < 3 ? 3 : at) : at < 5 ? 5 : at < 10 ? at
			: at < 21 ? 20 : at < 40 ? 40 : at;

		CHECK(filter_range(filter, at, &next) && next == expected);
		CHECK(lmq_filter_match(filter, &message) == (expected == at));
	}
	CHECK(!filter_range(filter, UINT64_MAX, &next));
	lmq_filter_close(filter);
	CHECK(filter_range(NULL, 9, &next) && next == 9);
}

TEST(no_offsets, "an empty range lets nothing through")
{
	lmq_filter *filter = NULL;
	uint64_t next;

	REQUIRE(lmq_filter_open(&filter) == 0);
	CHECK(lmq_filter_offsets(filter, 4, 4) == 0);
	CHECK(!filter_range(filter, 0, &next));
	CHECK(!lmq_filter_match(filter, &bare));
	lmq_filter_close(filter);
}

TEST(many_offsets, "ranges in any order are as good as a table of offsets")
{
	enum { OFFSETS = 400 };

	for (int round = 0; round < 300; round++) {
		bool in[OFFSETS + 1] = { false };
		lmq_filter *filter = NULL;
		uint64_t next, expected = OFFSETS;

		REQUIRE(lmq_filter_open(&filter) == 0);
		for (uint64_t n = 1 + unit_random_below(100); n > 0; n--) {
			uint64_t first = unit_random_below(OFFSETS), size = unit_random_below(9);
			uint64_t end = first + size < OFFSETS ? first + size : OFFSETS;

			REQUIRE(lmq_filter_offsets(filter, first, end) == 0);
			for (uint64_t at = first; at < end; at++)
				in[at] = true;
		}
		for (uint64_t at = OFFSETS; at-- > 0;) {
			bool any;

			expected = in[at] ? at : expected;
			any = filter_range(filter, at, &next);
			CHECK(any == (expected < OFFSETS) && (!any || next == expected));
		}
		lmq_filter_close(filter);
	}
}

TEST(before, "only messages stored before the time, the earlier of two, are let through")
{
	const struct lmq_message old = { .time = 99 }, new = { .time = 100 };
	lmq_filter *filter = NULL;

	REQUIRE(lmq_filter_open(&filter) == 0);
	CHECK(lmq_filter_match(filter, &new));
	lmq_filter_before(filter, 100);
	lmq_filter_before(filter, 200);
	CHECK(lmq_filter_match(filter, &old));
	CHECK(!lmq_filter_match(filter, &new));
	lmq_filter_close(filter);
}

TEST(deaths, "dead letters can be asked for by reason and origin, and other messages are none")
{
	static const struct lmq_death death = {
		.origin = BYTES("orders"), .history = { .reason = LMQ_CRASHED },
	};
	const struct lmq_message dead = { .death = &death };
	lmq_filter *filter = NULL;

	REQUIRE(lmq_filter_open(&filter) == 0);
	CHECK(lmq_filter_match(filter, &dead));
	lmq_filter_reason(filter, LMQ_CRASHED);
	CHECK(lmq_filter_match(filter, &dead));
	CHECK(!lmq_filter_match(filter, &bare));
	lmq_filter_reason(filter, LMQ_FAILED);
	CHECK(!lmq_filter_match(filter, &dead));
	lmq_filter_reason(filter, LMQ_REASON_NONE);
	CHECK(lmq_filter_origin(filter, "orders") == 0);
	CHECK(lmq_filter_match(filter, &dead));
	CHECK(!lmq_filter_match(filter, &bare));
	CHECK(lmq_filter_origin(filter, "no..name") == LMQ_EINVAL);
	CHECK(lmq_filter_match(filter, &dead));
	CHECK(lmq_filter_origin(filter, "order") == 0);
	CHECK(!lmq_filter_match(filter, &dead));
	lmq_filter_close(filter);
}

TEST(refused, "conditions that are not valid are refused with a reason and change nothing")
{
	static const char *const conditions[] = { "", "trace", "=x", "a=[[:digit:]]" };
	char name[LMQ_FIELD_MAX + 3];
	lmq_filter *filter = NULL;
	const char *reason;

	REQUIRE(lmq_filter_open(&filter) == 0);
	for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
		reason = NULL;
		CHECK_ROW(lmq_filter_header(filter, conditions[i], &reason) == LMQ_EINVAL && reason,
			conditions[i]);
	}
	memset(name, 'n', sizeof(name));
	memcpy(name + LMQ_FIELD_MAX + 1, "=", 2);
	CHECK(lmq_filter_header(filter, name, &reason) == LMQ_EINVAL && reason);
	reason = NULL;
	CHECK(lmq_filter_key(filter, "a#", &reason) == LMQ_EINVAL && reason);
	CHECK(lmq_filter_match(filter, &bare));
	CHECK(lmq_filter_key(filter, "a", &reason) == 0);
	CHECK(lmq_filter_key(filter, "b", &reason) == LMQ_EINVAL && reason);
	CHECK(!lmq_filter_match(filter, &bare));
	lmq_filter_close(filter);
}

/* The same with lmq_filter_any(). */
static bool takes_any(const char *key, const char *first, const char *more, const struct lmq_message *m)
{
	lmq_filter *filter = NULL;
	const char *reason;
	bool match;

	CHECK(lmq_filter_open(&filter) == 0);
	lmq_filter_any(filter);
	CHECK(!key || lmq_filter_key(filter, key, &reason) == 0);
	CHECK(!first || lmq_filter_header(filter, first, &reason) == 0);
	CHECK(!more || lmq_filter_header(filter, more, &reason) == 0);
	match = lmq_filter_match(filter, m);
	lmq_filter_close(filter);
	return match;
}

TEST(any, "one of the header conditions is enough where that was said, and the key still has to match")
{
	CHECK(takes_any(NULL, "trace=ab*", "path=x", &keyed));
	CHECK(takes_any(NULL, "path=x", "trace=ab*", &keyed));
	CHECK(takes_any("eu.#", "path=x", "empty=", &keyed));
	CHECK(!takes_any("us.#", "path=x", "empty=", &keyed));
	CHECK(!takes_any(NULL, "path=x", "none=*", &keyed));
	CHECK(!takes_any(NULL, "path=x", NULL, &bare));
	CHECK(takes_any(NULL, NULL, NULL, &bare));
	CHECK(takes_any("eu.#", NULL, NULL, &keyed));
}

UNIT_MAIN
