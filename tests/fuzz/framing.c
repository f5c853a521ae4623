/* SPDX-License-Identifier: ISC */
/*
 * Input cut at lines, NULs, other delimiters or nowhere, however it comes in pieces: against cutting it at once. The
 * input: how, bytes of a piece, bytes of the delimiter less one, the delimiter, what is read.
 */
#include "fuzz.h"

#include "input.h"

#include <unistd.h>

struct work {
	struct input input;
	const char *text, *end;
};

/* The next message, as it must be; false: there is none. */
static bool expect(struct work *w, struct lmq_bytes *m)
{
	const struct input *i = &w->input;
	const char *stop;
	if (w->text == NULL || (w->text == w->end && i->kind != INPUT_RAW))
		return false;
	stop = i->kind == INPUT_RAW ? NULL : memmem(w->text, (size_t)(w->end - w->text), i->delimiter, i->delimiter_size);
	m->data = w->text;
	m->size = (size_t)((stop ? stop : w->end) - w->text);
	w->text = stop ? stop + i->delimiter_size : i->kind == INPUT_RAW ? NULL : w->end;
	return true;
}

static void read_all(void *argument)
{
	struct work *w = argument;
	struct lmq_bytes wanted;
	char *data;
	size_t size;
	int event;
	if (!input_open(&w->input, STDIN_FILENO))
		abort();
	w->input.regular = true;
	while ((event = input_next(&w->input, &data, &size)) == INPUT_MESSAGE) {
		MUST(expect(w, &wanted) && wanted.size == size && memcmp(wanted.data, data, size) == 0);
		memset(data, 'X', size);	/* as a caller may */
		MUST(!fuzz_fault() || size < 3);
	}
	MUST(event == INPUT_END && !expect(w, &wanted));
	input_close(&w->input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct work w = { .input.kind = INPUT_LINES };
	struct taker t;
	size_t piece, length;
	uint8_t *rest;
	take_begin(&t, data, size);
	w.input.kind = take_number(&t, 1) % (INPUT_JSON + 1);
	piece = take_number(&t, 1) + 1;
	w.input.delimiter_size = take_number(&t, 1) % 8 + 1;
	w.input.delimiter = take_bytes(&t, w.input.delimiter_size).data;
	if (w.input.kind == INPUT_LINES || w.input.kind == INPUT_JSON) {
		w.input.delimiter = "\n";
		w.input.delimiter_size = 1;
	}
	if (t.at == t.end)
		return 0;
	rest = take_rest(&t, &length);
	w.text = (const char *)rest;
	w.end = w.text + length;
	fuzz_feed(rest, length, piece);
	MUST(fuzz_tool(read_all, &w) == -1);
	return 0;
}
