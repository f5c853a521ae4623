/* SPDX-License-Identifier: ISC */
/* Streams with max-per-key where one step of compaction cannot take all that it has before it. */
#include "single.h"

static void sweep(void)
{
	bool more = true;
	for (int i = 0; more && i < 1000; i++)
		REQUIRE(lmq_store_sweep(store, &more) == 0);
	CHECK(!more);
}

static void keep(const char *property)
{
	bool created;
	good(lmq_channel_make(store, "it", LMQ_STREAM, &property, 1, &created, NULL, NULL));
}

/* Messages of so many keys in turn, in transactions of 2000. */
static void send_keys(unsigned count, unsigned keys)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	char key[12];
	m.body = (struct lmq_bytes){ "x", 1 };
	for (unsigned n = 0; n < count; n++) {
		snprintf(key, sizeof key, "%u", n % keys);
		m.key = (struct lmq_bytes){ key, strlen(key) };
		good(lmq_writer_add(writer, channel, &m));
		if (n % 2000 == 1999 || n == count - 1)
			good(lmq_writer_commit(writer));
	}
}

/* All that is left are the newest of each of so many keys, of messages that were sent in turn. */
static void newest(unsigned count, unsigned keys, unsigned each)
{
	struct lmq_message m;
	lmq_reader *reader;
	unsigned n = count - keys * each;
	good(lmq_reader_open(channel, &reader));
	for (; lmq_reader_next(reader, &m) == 0; n++)
		CHECK_EQUAL(m.offset, n);
	CHECK_EQUAL(n, count);
	lmq_reader_close(reader);
}

TEST(many_keys, "more keys than one step can look at, where many messages of each are kept")
{
	single_begin(LMQ_STREAM, PROPERTIES("max-per-key=1000"));
	send_keys(6000, 300);
	sweep();
	CHECK_EQUAL(stored("it"), 6000);
	sound();
	keep("max-per-key=3");
	sweep();
	newest(6000, 300, 3);
	sound();
	single_end();
}

TEST(few_keys, "more superseded messages than one step can take, of several keys")
{
	single_begin(LMQ_STREAM, PROPERTIES("max-per-key=10000"));
	send_keys(2200, 2);
	sweep();
	CHECK_EQUAL(stored("it"), 2200);
	sound();
	keep("max-per-key=1");
	sweep();
	newest(2200, 2, 1);
	sound();
	keep("max-per-key=5000");
	send_keys(9000, 3);
	sweep();
	CHECK_EQUAL(stored("it"), 9002);
	keep("max-per-key=2");
	sweep();
	newest(11200, 3, 2);
	sound();
	single_end();
}

/* ---- at random ------------------------------------------------------------------------------ */

enum { MOST = 12000 };

static struct {
	int key;
	bool alive;
} model[MOST];

static void send_random(unsigned from, unsigned end, unsigned keys)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	char key[12];
	for (unsigned n = from; n < end; n++) {
		unsigned k = (unsigned)(unit_random() % (unit_random() % 2 ? keys : 3));
		snprintf(key, sizeof key, "%u", k);
		m.key = (struct lmq_bytes){ key, strlen(key) };
		m.tombstone = unit_random() % 500 == 0;
		m.body = (struct lmq_bytes){ "some text", m.tombstone ? 0 : 9 };
		good(lmq_writer_add(writer, channel, &m));
		if (n % 2000 == 1999 || n == end - 1)
			good(lmq_writer_commit(writer));
		for (unsigned i = 0; m.tombstone && i < n; i++)
			model[i].alive &= model[i].key != (int)k;
		model[n].key = (int)k;
		model[n].alive = true;
	}
}

static void keep_random(unsigned count, unsigned each)
{
	unsigned newer[1000] = { 0 };
	char text[40];
	snprintf(text, sizeof text, "max-per-key=%u", each);
	keep(text);
	sweep();
	for (unsigned n = count; n-- > 0;)
		if (model[n].alive && newer[model[n].key]++ >= each)
			model[n].alive = false;
}

static void compare(unsigned count)
{
	struct lmq_message m;
	lmq_reader *reader;
	unsigned n = 0;
	good(lmq_reader_open(channel, &reader));
	for (; lmq_reader_next(reader, &m) == 0; n++) {
		for (; n < count && !model[n].alive; n++)
			;
		CHECK_EQUAL(m.offset, n);
	}
	for (; n < count && !model[n].alive; n++)
		;
	CHECK_EQUAL(n, count);
	lmq_reader_close(reader);
	sound();
}

TEST(model, "whatever the keys, and however the limit changes: of each key the newest stay")
{
	for (int round = 0; round < 3; round++) {
		unsigned keys = 1 + (unsigned)(unit_random() % 900), each = 3000 + (unsigned)(unit_random() % 5000), count = 0;
		single_begin(LMQ_STREAM, PROPERTIES("max-per-key=10000"));
		while (count < MOST) {
			unsigned more = MOST - count < 5000 ? MOST - count : 3000 + (unsigned)(unit_random() % 2000);
			keep("max-per-key=10000");
			send_random(count, count + more, keys);
			count += more;
			sweep();
			compare(count);
			keep_random(count, each);
			compare(count);
			each = 1 + each / (2 + (unsigned)(unit_random() % 50));
		}
		single_end();
	}
}

UNIT_MAIN
