/* SPDX-License-Identifier: ISC */
/* The message codec. */
#include "unit.h"

#include "internal.h"

#define TEXT(s) ((struct lmq_bytes){ s, sizeof(s) - 1 })

static bool equal(struct lmq_bytes a, struct lmq_bytes b)
{
	return (a.data == NULL) == (b.data == NULL) && a.size == b.size &&
		(a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static struct lmq_bytes some(char *room, size_t most)
{
	size_t n = unit_random() % (most + 1);
	if (unit_random() % 3 == 0)
		return (struct lmq_bytes){ NULL, 0 };
	for (size_t i = 0; i < n; i++)
		room[i] = (char)('!' + unit_random() % 90);
	return (struct lmq_bytes){ room, n };
}

static bool same_message(const struct lmq_message *a, const struct lmq_message *b)
{
	if (!equal(a->key, b->key) || !equal(a->type, b->type) || !equal(a->id, b->id) ||
			!equal(a->reply_to, b->reply_to) || !equal(a->correlation, b->correlation) ||
			a->priority != b->priority || a->header_count != b->header_count ||
			a->body.size != b->body.size || memcmp(a->body.data, b->body.data, a->body.size) != 0)
		return false;
	for (size_t i = 0; i < a->header_count; i++)
		if (!equal(a->headers[i].name, b->headers[i].name) || !equal(a->headers[i].value, b->headers[i].value))
			return false;
	return true;
}

TEST(round_trip, "random messages come back equal, with any time delta")
{
	static char text[8][2000], names[4][8];
	static uint8_t record[40000];
	for (int round = 0; round < 5000; round++) {
		struct lmq_message m = LMQ_MESSAGE_INIT, got;
		struct lmq_header headers[4], room[LMQ_HEADERS_MAX];
		struct blob blob;
		uint64_t delta = unit_random() >> (unit_random() % 64), size, skimmed;
		const uint8_t *p;
		uint8_t *end;
		m.body = some(text[0], sizeof text[0]);
		if (!m.body.data)
			m.body = TEXT("");
		m.key = some(text[1], 1000);
		m.type = some(text[2], 255);
		m.id = some(text[3], 255);
		m.reply_to = some(text[4], 255);
		m.correlation = some(text[5], 255);
		m.priority = (int)(unit_random() % 10);
		m.header_count = unit_random() % 5;
		m.headers = headers;
		for (size_t i = 0; i < m.header_count; i++) {
			headers[i].name = (struct lmq_bytes){ names[i], (size_t)snprintf(names[i], 8, "h%zu", i) };
			headers[i].value = some(text[6], 50);
			if (!headers[i].value.data)
				headers[i].value = TEXT("");
		}
		delta &= INT64_MAX;
		end = message_encode(record + VARINT_MAX, &m, delta, NULL);
		REQUIRE((size_t)(end - record) <= message_room(&m) + VARINT_MAX);
		p = get_varint(record + VARINT_MAX, end, &size);
		REQUIRE(p && p + size == end);
		CHECK(message_decode(p, end, &got, room, &blob));
		CHECK(same_message(&m, &got) && (uint64_t)got.time == delta && blob.size == 0);
		/* The same record with another delta. */
		delta = unit_random() >> (unit_random() % 63 + 1);
		p = get_varint(message_shift(record + VARINT_MAX, delta), end, &size);
		REQUIRE(p && p + size == end);
		CHECK(message_decode(p, end, &got, room, &blob));
		CHECK(same_message(&m, &got) && (uint64_t)got.time == delta);
		CHECK(message_skim(p, end, &skimmed, &blob) && skimmed == delta);
	}
}

TEST(hostile, "no bytes make the decoder read beyond them")
{
	for (int round = 0; round < 200000; round++) {
		size_t n = unit_random() % 64 + 1;
		uint8_t *bytes = malloc(n);	/* exactly: a sanitizer sees the first byte too many */
		struct lmq_header room[LMQ_HEADERS_MAX];
		struct lmq_message m;
		struct blob blob;
		uint64_t delta;
		for (size_t i = 0; i < n; i++)
			bytes[i] = unit_random() % 3 ? (uint8_t)(unit_random() % 8) : (uint8_t)unit_random();
		if (message_decode(bytes, bytes + n, &m, room, &blob))
			CHECK(m.body.data == NULL || m.body.size <= n);
		message_skim(bytes, bytes + n, &delta, &blob);
		free(bytes);
	}
}

TEST(checks, "what is not valid is named")
{
	const char *what;
	struct lmq_header twice[2] = { { TEXT("a"), TEXT("1") }, { TEXT("a"), TEXT("2") } };
	static char long_text[LMQ_FIELDS_MAX + 1];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	memset(long_text, 'x', sizeof long_text);
	CHECK(message_check(&m, &what) == 0);
	m.key = TEXT("a\0b");
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "key"));
	m.key = TEXT("\xff");
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "key"));
	m.key = (struct lmq_bytes){ long_text, LMQ_KEY_MAX + 1 };
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "key"));
	m.key = TEXT("\xf0\x9f\x90\x87");
	CHECK(message_check(&m, &what) == 0);
	m.key = TEXT("\xed\xa0\x80");	/* a surrogate */
	CHECK(message_check(&m, &what) == LMQ_EDATA);
	m.key = TEXT("\xc0\x80");	/* overlong */
	CHECK(message_check(&m, &what) == LMQ_EDATA);
	m.key = (struct lmq_bytes){ NULL, 0 };
	m.priority = 10;
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "priority"));
	m.priority = 4;
	m.headers = twice;
	m.header_count = 2;
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "twice"));
	twice[1].name = TEXT("b");
	CHECK(message_check(&m, &what) == 0);
	twice[1].value = (struct lmq_bytes){ long_text, LMQ_FIELDS_MAX };
	twice[0].value = (struct lmq_bytes){ long_text, LMQ_FIELDS_MAX };
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "32 KiB"));
}

UNIT_MAIN
