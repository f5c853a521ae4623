/* SPDX-License-Identifier: ISC */
/*
 * JSON and UTF-8: in pieces as in one; a string is written so that it is valid and read as the same; a value without its
 * white space is valid, and stays as it is.
 */
#include "fuzz.h"

#include "input.h"
#include "output.h"

struct work {
	const char *data;
	size_t size, cut;
};

static void write_string(void *argument)
{
	const struct work *w = argument;
	MUST(json_string_write(w->data, w->size) == 0 && output_flush() == 0);
}

static void write_compact(void *argument)
{
	const struct work *w = argument;
	MUST(json_compact_write(w->data, w->size) == 0 && output_flush() == 0);
}

static struct work kept(struct lmq_bytes b)
{
	struct taker t = { (const uint8_t *)b.data, (const uint8_t *)b.data + b.size };
	return (struct work){ .data = take_bytes(&t, b.size).data, .size = b.size };
}

static void check_text(struct work *w)
{
	struct utf8 state = { 0 };
	bool valid = utf8_valid_text(w->data, w->size), pieces;
	struct lmq_bytes string;
	struct work written;
	struct scan scan;
	pieces = utf8_feed(&state, w->data, w->cut) && utf8_feed(&state, w->data + w->cut, w->size - w->cut);
	MUST(valid == (pieces && state.need == (fuzz_fault() && w->size > 8)));
	if (!valid)
		return;
	MUST(fuzz_tool(write_string, w) == -1);
	written = kept(fuzz_printed());
	MUST(json_valid(written.data, written.size));
	scan = (struct scan){ (char *)written.data, (char *)written.data + written.size };
	MUST(scan_string(&scan, &string) && scan.at == scan.end);
	MUST(string.size == w->size && memcmp(string.data, w->data, w->size) == 0);
}

static void check_value(struct work *w)
{
	struct work once;
	if (!json_valid(w->data, w->size))
		return;
	MUST(fuzz_tool(write_compact, w) == -1);
	once = kept(fuzz_printed());
	MUST(once.size <= w->size && json_valid(once.data, once.size));
	MUST(fuzz_tool(write_compact, &once) == -1);
	MUST(fuzz_printed().size == once.size && memcmp(fuzz_printed().data, once.data, once.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct work w;
	struct taker t;
	take_begin(&t, data, size);
	w.cut = take_number(&t, 1);
	w.data = (char *)take_rest(&t, &w.size);
	w.cut = w.cut < w.size ? w.cut : w.size;
	check_text(&w);
	check_value(&w);
	return 0;
}
