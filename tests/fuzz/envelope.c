/* SPDX-License-Identifier: ISC */
/* JSON envelopes: what is a message is written as an envelope that is the same message, but for when it may be delivered. */
#include "fuzz.h"

#include "input.h"
#include "output.h"

struct work {
	char *text;
	size_t size;
	struct envelope *in;
	bool good;
};

static bool same(struct lmq_bytes a, struct lmq_bytes b)
{
	return a.size == b.size && !a.data == !b.data && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void check_same(const struct lmq_message *a, const struct lmq_message *b)
{
	MUST(same(a->body, b->body) && same(a->key, b->key) && same(a->type, b->type) && same(a->id, b->id));
	MUST(same(a->reply_to, b->reply_to) && same(a->correlation, b->correlation));
	MUST(a->priority == b->priority && a->ttl == b->ttl && a->tombstone == b->tombstone);
	MUST(a->header_count == b->header_count);
	for (size_t i = 0; i < a->header_count; i++)
		MUST(same(a->headers[i].name, b->headers[i].name) && same(a->headers[i].value, b->headers[i].value));
}

static void read_one(void *argument)
{
	static const struct lmq_message defaults = LMQ_MESSAGE_INIT;
	struct work *w = argument;
	const char *what;
	w->good = envelope_read(w->in, w->text, w->size, &defaults) && message_check(&w->in->message, &what) == 0;
	MUST(w->good || strlen(w->in->error) < sizeof w->in->error);
}

static void write_one(void *argument)
{
	const struct work *w = argument;
	struct form form = { .kind = FORM_JSON, .channel = "jobs", .delimiter = "\n", .delimiter_size = 1 };
	MUST(form_write(&form, &w->in->message, NULL) == 0);
	MUST(output_flush() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct envelope first, second;
	struct work w = { .in = &first };
	struct lmq_bytes out;
	struct taker t;
	take_begin(&t, data, size);
	w.text = (char *)take_rest(&t, &w.size);
	MUST(fuzz_tool(read_one, &w) == -1);
	if (!w.good)
		return 0;
	MUST(fuzz_tool(write_one, &w) == -1);
	out = fuzz_printed();
	MUST(out.size > 2 && out.data[out.size - 1] == '\n' && !memchr(out.data, '\n', out.size - 1));
	w.text = (char *)take_bytes(&(struct taker){ (const uint8_t *)out.data, (const uint8_t *)out.data + out.size },
		out.size - 1).data;
	w.size = out.size - 1;
	w.in = &second;
	MUST(json_valid(w.text, w.size));
	MUST(fuzz_tool(read_one, &w) == -1 && w.good);
	if (fuzz_fault())
		second.message.priority ^= 1;
	check_same(&first.message, &second.message);
	return 0;
}
