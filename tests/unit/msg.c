/* SPDX-License-Identifier: ISC */
/* The message codec. */
#include "unit.h"

#include "channel/channel.h"

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

static bool same_death(const struct lmq_death *a, const struct lmq_death *b)
{
	const struct lmq_history *x = &a->history, *y = &b->history;
	return equal(a->origin, b->origin) && equal(a->group, b->group) && a->partitioned == b->partitioned && a->partition == b->partition && a->offset == b->offset &&
		x->attempts == y->attempts && x->failures == y->failures && x->crashes == y->crashes &&
		x->timeouts == y->timeouts && x->first_time == y->first_time && x->last_time == y->last_time &&
		x->reason == y->reason && x->exit_status == y->exit_status && x->signal == y->signal &&
		equal(x->error, y->error);
}

static bool same_message(const struct lmq_message *a, const struct lmq_message *b)
{
	if (a->ttl != b->ttl || a->delay != b->delay || a->not_before != b->not_before || !a->death != !b->death ||
			(a->death && !same_death(a->death, b->death)))
		return false;
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

static int64_t some_time(void)
{
	return unit_random() % 2 ? 0 : (int64_t)(unit_random() >> (1 + unit_random() % 63));
}

static void some_death(struct lmq_death *d, char name[LMQ_NAME_MAX], char error[LMQ_ERROR_MAX])
{
	memset(name, 'n', LMQ_NAME_MAX);
	*d = (struct lmq_death){
		.origin = { name, 1 + unit_random() % LMQ_NAME_MAX },
		.partitioned = unit_random() % 2,
		.offset = unit_random() >> (1 + unit_random() % 63),
		.history = {
			.attempts = (uint32_t)unit_random(),
			.failures = (uint32_t)(unit_random() % 300),
			.crashes = (uint32_t)unit_random(),
			.timeouts = (uint32_t)(unit_random() % 300),
			.first_time = some_time(),
			.last_time = some_time(),
			.reason = (enum lmq_reason)(unit_random() % (LMQ_OVERFLOW + 1)),
			.exit_status = (int)(unit_random() % 257) - 1,
			.signal = (int)(unit_random() % 65),
			.error = some(error, LMQ_ERROR_MAX),
		},
	};
	d->group = unit_random() % 2 ? d->origin : (struct lmq_bytes){ NULL, 0 };
	d->partition = d->partitioned ? (uint32_t)(unit_random() % LMQ_PARTITIONS_MAX) : 0;
	if (d->history.error.size == 0)
		d->history.error.data = NULL;	/* nothing said is no words */
}

TEST(round_trip, "random messages come back equal, with any time delta")
{
	static char text[8][2000], names[4][8], origin[LMQ_NAME_MAX];
	static uint8_t record[40000];
	for (int round = 0; round < 5000; round++) {
		struct lmq_message m = LMQ_MESSAGE_INIT, got;
		struct lmq_header headers[4];
		struct lmq_death death;
		static struct decoded room;
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
		m.ttl = some_time();
		m.delay = some_time();
		m.not_before = some_time();
		if (unit_random() % 3 == 0) {
			some_death(&death, origin, text[7]);
			m.death = &death;
		}
		CHECK(message_is_special(&m) == (m.priority != LMQ_PRIORITY_DEFAULT || m.delay || m.not_before));
		delta &= INT64_MAX;
		end = message_encode(record + VARINT_MAX, &m, delta, NULL);
		REQUIRE((size_t)(end - record) <= message_room(&m) + VARINT_MAX && end <= record + sizeof record);
		p = get_varint(record + VARINT_MAX, end, &size);
		REQUIRE(p && p + size == end);
		CHECK(message_decode(p, end, &got, &room, &blob));
		CHECK(same_message(&m, &got) && (uint64_t)got.time == delta && blob.size == 0);
		/* The same record with another delta. */
		delta = unit_random() >> (unit_random() % 63 + 1);
		p = get_varint(message_shift(record + VARINT_MAX, delta), end, &size);
		REQUIRE(p && p + size == end);
		CHECK(message_decode(p, end, &got, &room, &blob));
		CHECK(same_message(&m, &got) && (uint64_t)got.time == delta);
		CHECK(message_skim(p, end, &skimmed, &blob) && skimmed == delta);
	}
}

TEST(hostile, "no bytes make the decoder read beyond them")
{
	for (int round = 0; round < 200000; round++) {
		size_t n = unit_random() % 64 + 1;
		uint8_t *bytes = malloc(n);	/* exactly: a sanitizer sees the first byte too many */
		static struct decoded room;
		struct lmq_message m;
		struct blob blob;
		uint64_t delta;
		for (size_t i = 0; i < n; i++)
			bytes[i] = unit_random() % 3 ? (uint8_t)(unit_random() % 8) : (uint8_t)unit_random();
		if (message_decode(bytes, bytes + n, &m, &room, &blob))
			CHECK(m.body.data == NULL || m.body.size <= n);
		message_skim(bytes, bytes + n, &delta, &blob);
		free(bytes);
	}
}

static bool within(struct lmq_bytes b, const uint8_t *p, size_t n)
{
	const uint8_t *from = (const uint8_t *)b.data;
	return !from || (from >= p && b.size <= n && (size_t)(from - p) <= n - b.size);
}

/* Whatever is decoded lies in the bytes given and keeps the promises of libmq.h. */
static void try_bytes(const uint8_t *from, size_t n)
{
	static struct decoded room;
	uint8_t *p = malloc(n);		/* exactly: a sanitizer sees the first byte too many */
	char name[LMQ_NAME_MAX + 1];
	struct lmq_message m;
	struct blob blob;
	memcpy(p, from, n);
	if (message_decode(p, p + n, &m, &room, &blob)) {
		CHECK(within(m.key, p, n) && within(m.type, p, n) && within(m.id, p, n) && within(m.body, p, n));
		CHECK(m.priority >= 0 && m.priority <= LMQ_PRIORITY_MAX && m.header_count <= LMQ_HEADERS_MAX);
		CHECK(m.ttl >= 0 && m.delay >= 0 && m.not_before >= 0);
		for (size_t i = 0; i < m.header_count; i++)
			CHECK(within(m.headers[i].name, p, n) && within(m.headers[i].value, p, n));
		if (m.death) {
			const struct lmq_history *h = &m.death->history;
			REQUIRE(within(m.death->origin, p, n) && m.death->origin.size <= LMQ_NAME_MAX);
			snprintf(name, sizeof name, "%.*s", (int)m.death->origin.size, m.death->origin.data);
			CHECK(lmq_name_valid(name) && m.death->offset <= INT64_MAX);
			CHECK(within(h->error, p, n) && h->error.size <= LMQ_ERROR_MAX && h->reason <= LMQ_OVERFLOW);
			CHECK(h->first_time >= 0 && h->last_time >= 0 && h->exit_status >= -1 && h->signal >= 0);
		}
	}
	free(p);
}

TEST(hostile_death, "no cut and no changed byte of a dead letter's record misleads the decoder")
{
	struct lmq_header header = { TEXT("trace"), TEXT("ab-17") };
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_death death = { .origin = TEXT("orders.eu"), .offset = 1041, .history = {
		.attempts = 5, .failures = 3, .crashes = 1, .timeouts = 1, .first_time = 1700000000000000000,
		.last_time = 1700000001000000000, .reason = LMQ_FAILED, .exit_status = 1,
		.error = TEXT("no such file\n"),
	} };
	uint8_t record[1000], *p, *end;
	uint64_t size;
	m.body = TEXT("hello");
	m.key = TEXT("eu.c42");
	m.headers = &header;
	m.header_count = 1;
	m.ttl = 60000000000;
	m.delay = 1;
	m.not_before = 1700000000000000000;
	m.death = &death;
	end = message_encode(record, &m, 5, NULL);
	p = (uint8_t *)get_varint(record, end, &size);
	for (size_t n = 1; n <= size; n++)
		try_bytes(p, n);
	for (size_t i = 0; i < size; i++) {
		uint8_t was = p[i];
		for (unsigned v = 0; v < 256; v++) {
			p[i] = (uint8_t)v;
			try_bytes(p, size);
		}
		p[i] = was;
	}
	for (int round = 0; round < 50000; round++) {	/* several at once */
		uint8_t other[1000];
		size_t n = 1 + unit_random_below(size);
		memcpy(other, p, size);
		for (uint64_t k = unit_random() % 6; k > 0; k--)
			other[unit_random_below(size)] = (uint8_t)unit_random();
		try_bytes(other, n);
	}
}

static void round_trip(const struct lmq_message *m, struct lmq_message *got)
{
	static uint8_t record[RECORD_MAX];
	static struct decoded room;
	struct blob blob;
	uint64_t size;
	uint8_t *end = message_encode(record, m, 0, NULL);
	CHECK(end <= record + sizeof record);
	CHECK(message_decode(get_varint(record, end, &size), end, got, &room, &blob));
}

TEST(error_tail, "of what a consumer said the end is kept, and odd numbers of a history come back as none")
{
	static char words[LMQ_ERROR_MAX + 10];
	struct lmq_message m = LMQ_MESSAGE_INIT, got;
	struct lmq_death death = { .origin = TEXT("a"), .history = { .exit_status = -7, .signal = -1, .first_time = -1,
		.error = { words, sizeof words } } };
	memset(words, 'a', 10);
	memset(words + 10, 'b', LMQ_ERROR_MAX);
	m.death = &death;
	round_trip(&m, &got);
	REQUIRE(got.death && got.death->history.error.size == LMQ_ERROR_MAX);
	CHECK(memcmp(got.death->history.error.data, words + 10, LMQ_ERROR_MAX) == 0);
	CHECK(got.death->history.exit_status == -1 && got.death->history.signal == 0);
	CHECK(got.death->history.first_time == 0);
	death.history.exit_status = INT32_MAX;
	death.history.error.size = 0;
	round_trip(&m, &got);
	CHECK(got.death && got.death->history.exit_status == -1 && !got.death->history.error.data);
}

TEST(largest, "the largest fields that a sender can give fit a record, with the largest death on top")
{
	static char text[LMQ_FIELDS_MAX], error[LMQ_ERROR_MAX];
	struct lmq_header header = { { text, LMQ_FIELD_MAX }, { text, 0 } };
	struct lmq_message m = LMQ_MESSAGE_INIT, got;
	struct lmq_death death;
	const char *what;
	char *body = calloc(1, BODY_INLINE_MAX);
	memset(text, 'x', sizeof text);
	memset(error, 'e', sizeof error);
	death = (struct lmq_death){ { text, LMQ_NAME_MAX }, { text, LMQ_NAME_MAX }, true, UINT16_MAX, INT64_MAX, { UINT32_MAX, UINT32_MAX, UINT32_MAX,
		UINT32_MAX, UINT32_MAX, INT64_MAX, INT64_MAX, LMQ_OVERFLOW, INT32_MAX - 1, INT32_MAX, { error, sizeof error } } };
	m.body = (struct lmq_bytes){ body, BODY_INLINE_MAX };
	m.key = (struct lmq_bytes){ text, LMQ_KEY_MAX };
	m.type = m.id = m.reply_to = m.correlation = (struct lmq_bytes){ text, LMQ_FIELD_MAX };
	m.headers = &header;
	m.header_count = 1;
	m.priority = 9;
	m.ttl = m.delay = m.not_before = INT64_MAX;
	m.death = &death;
	while (message_check(&m, &what) == 0)
		header.value.size++;
	header.value.size--;
	REQUIRE(header.value.size > 30000);
	round_trip(&m, &got);
	CHECK(same_message(&m, &got));
	free(body);
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
	m.key = TEXT("\xe0\x80\x80");
	CHECK(message_check(&m, &what) == LMQ_EDATA);
	m.key = TEXT("\xf4\x90\x80\x80");	/* beyond the last character */
	CHECK(message_check(&m, &what) == LMQ_EDATA);
	m.key = (struct lmq_bytes){ NULL, 0 };
	m.priority = 10;
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "priority"));
	m.priority = 4;
	m.ttl = -1;
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "time to live"));
	m.ttl = INT64_MAX;
	m.delay = -1;
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "delay"));
	m.delay = 0;
	m.not_before = -1;
	CHECK(message_check(&m, &what) == LMQ_EDATA && strstr(what, "not_before"));
	m.not_before = 1;
	CHECK(message_check(&m, &what) == 0);
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
