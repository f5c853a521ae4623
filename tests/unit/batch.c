/* SPDX-License-Identifier: ISC */
/* Batches, what a message may not be, and reading backwards from where nothing is. */
#include "single.h"

static bool holds(const struct batch *b, unsigned first, unsigned end)
{
	const uint8_t *record, *start, *stop;
	struct decoded parts;
	struct lmq_message m;
	struct blob blob;
	size_t at = 0;
	char text[12];
	for (; first < end && batch_next(b, &at, &record, &start, &stop); first++) {
		snprintf(text, sizeof text, "%u", first);
		if (!message_decode(start, stop, &m, &parts, &blob) || m.body.size != strlen(text) ||
				memcmp(m.body.data, text, m.body.size) != 0)
			return false;
	}
	return first == end && at == b->size;
}

static void add(struct batch *b, unsigned first, unsigned end)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	char text[12];
	for (; first < end; first++) {
		snprintf(text, sizeof text, "%u", first);
		m.body = (struct lmq_bytes){ text, strlen(text) };
		CHECK(batch_add(b, &m, NULL));
	}
}

TEST(shift, "what leaves a batch leaves it from the front, at most all of it")
{
	struct batch b = { .records = NULL };
	size_t size;
	add(&b, 0, 300);
	CHECK(batch_prefix(&b, 300, UINT64_MAX, &size) == 300 && size == b.size);
	CHECK(batch_prefix(&b, 1000, UINT64_MAX, &size) == 300 && size == b.size);
	CHECK(batch_prefix(&b, 1000, b.size, &size) == 300 && size == b.size);
	CHECK(batch_prefix(&b, 1000, b.size - 1, &size) == 299 && size < b.size);
	CHECK(batch_prefix(&b, 1000, 0, &size) == 0 && size == 0);
	batch_shift(&b, 0);
	CHECK(b.count == 300 && holds(&b, 0, 300));
	batch_shift(&b, 7);
	CHECK(b.count == 293 && holds(&b, 7, 300));
	add(&b, 300, 310);
	batch_shift(&b, 292);
	CHECK(b.count == 11 && holds(&b, 299, 310));
	batch_shift(&b, 11);
	CHECK(b.count == 0 && b.size == 0);
	add(&b, 5, 9);
	batch_shift(&b, 100);
	CHECK(b.count == 0 && b.size == 0);
	add(&b, 1, 3);
	CHECK(b.count == 2 && holds(&b, 1, 3));
	batch_free(&b);
}

TEST(made_up, "a death that somebody made up is written as one that can be read back")
{
	static char long_name[200];
	struct lmq_death death = { .origin = { long_name, sizeof long_name }, .offset = INT64_MAX,
		.history = { .attempts = UINT32_MAX, .first_time = -5, .last_time = INT64_MIN, .reason = (enum lmq_reason)99,
			.exit_status = INT32_MAX, .signal = -9 } };
	struct lmq_message m = LMQ_MESSAGE_INIT, back;
	struct batch b = { .records = NULL };
	const uint8_t *record, *start, *end;
	struct decoded parts;
	struct blob blob;
	size_t at = 0;
	memset(long_name, 'x', sizeof long_name);
	m.body = (struct lmq_bytes){ "body", 4 };
	m.death = &death;
	REQUIRE(batch_add(&b, &m, NULL) && batch_next(&b, &at, &record, &start, &end));
	REQUIRE(message_decode(start, end, &back, &parts, &blob) && back.death);
	CHECK_EQUAL(back.death->origin.size, LMQ_NAME_MAX);
	CHECK(back.death->offset == INT64_MAX && back.death->history.attempts == UINT32_MAX);
	CHECK(back.death->history.first_time == 0 && back.death->history.last_time == 0);
	CHECK_EQUAL(back.death->history.reason, LMQ_REASON_NONE);
	CHECK_EQUAL(back.death->history.exit_status, -1);
	CHECK_EQUAL(back.death->history.signal, 0);
	batch_free(&b);
}

/* What a message is not allowed is refused by its writer, which goes on with others. */
TEST(refused, "a message that is not valid is refused with what is wrong, and those before it stay")
{
	static char large[40000];
	static struct lmq_header headers[129], twice[2];
	static char names[129][8];
	const struct { struct lmq_message m; const char *what; } list[] = {
		{ { .headers = headers, .header_count = 129 }, "more than 128 headers" },
		{ { .headers = twice, .header_count = 2 }, "a header is given twice" },
		{ { .priority = 10 }, "the priority is not 0 to 9" },
		{ { .priority = -1 }, "the priority is not 0 to 9" },
		{ { .ttl = -1 }, "the time to live is negative" },
		{ { .delay = -1 }, "the delay is negative" },
		{ { .not_before = -1 }, "not_before lies before 1970" },
		{ { .tombstone = true }, "a tombstone without a key, or with a body" },
		{ { .key = { large, 1025 } }, "the key is not UTF-8 without NUL, or longer than 1024 bytes" },
		{ { .type = { large, 256 } }, "the type is not UTF-8 without NUL, or longer than 255 bytes" },
		{ { .id = { "\xff", 1 } }, "the id is not UTF-8 without NUL, or longer than 255 bytes" },
		{ { .reply_to = { "\0", 1 } }, "reply_to is not UTF-8 without NUL, or longer than 255 bytes" },
		{ { .correlation = { "\xed\xa0\x80", 3 } },
			"the correlation is not UTF-8 without NUL, or longer than 255 bytes" },
	};
	memset(large, 'x', sizeof large);
	for (int i = 0; i < 129; i++) {
		snprintf(names[i], sizeof names[i], "h%d", i);
		headers[i] = (struct lmq_header){ { names[i], strlen(names[i]) }, { "v", 1 } };
	}
	twice[0] = twice[1] = headers[0];
	single_begin(LMQ_QUEUE, NULL);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		CHECK(lmq_writer_add(writer, channel, &list[i].m) == LMQ_EDATA);
		CHECK_ROW(strstr(lmq_error(store), list[i].what) != NULL, lmq_error(store));
	}
	for (int i = 0; i < 2; i++) {
		struct lmq_message m = { .headers = headers, .header_count = 128 };
		headers[0].value = (struct lmq_bytes){ large, i ? 33000 : 20000 };
		CHECK_EQUAL(lmq_writer_add(writer, channel, &m), i ? LMQ_EDATA : 0);
	}
	CHECK_TEXT(lmq_error(store), "it: a header's value is not UTF-8 without NUL, or too long");
	CHECK(lmq_writer_commit(writer) == 0);
	CHECK_EQUAL(stored("it"), 1);
	single_end();
}

TEST(behind, "a reader that was put behind the end reads the newest message backwards")
{
	struct lmq_message m;
	lmq_reader *reader;
	single_begin(LMQ_STREAM, NULL);
	CHECK(lmq_reader_open(channel, &reader) == 0);
	CHECK(lmq_reader_previous(reader, &m) == LMQ_END);
	CHECK(send_sized(3, 10) == 0);
	lmq_reader_pause(reader);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, 1000) == 0);
	CHECK(lmq_reader_next(reader, &m) == LMQ_END);
	CHECK(lmq_reader_previous(reader, &m) == 0);
	CHECK_EQUAL(m.offset, 2);
	CHECK(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, INT64_MAX) == 0);
	CHECK(lmq_reader_previous(reader, &m) == 0);
	CHECK_EQUAL(m.offset, 2);
	CHECK(lmq_reader_next(reader, &m) == 0);
	CHECK_EQUAL(m.offset, 2);
	lmq_reader_close(reader);
	single_end();
}

UNIT_MAIN
