/* SPDX-License-Identifier: ISC */
/* Templates, and the messages that they print. The input: a template, a NUL, a key, a NUL, a body. */
#include "fuzz.h"

#include "cmd.h"
#include "output.h"

struct work {
	const char *text;
	struct lmq_message message;
	uint64_t written;
};

static void compile_and_write(void *argument)
{
	struct work *w = argument;
	struct form form = { .kind = FORM_TEMPLATE, .channel = "jobs", .delivery = true };
	form.template = template_compile(w->text);
	fuzz_keep();
	for (int i = 0; i < 2; i++)
		MUST(form_write(&form, &w->message, NULL) == 0);
	MUST(output_flush() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lmq_header headers[] = { { { "trace", 5 }, { "a\"b\xff", 4 } }, { { "level", 5 }, { "", 0 } } };
	struct work w = { .message = LMQ_MESSAGE_INIT };
	struct lmq_bytes out;
	struct taker t;
	int end;
	take_begin(&t, data, size);
	w.text = take_text(&t, 200);
	w.message.key.data = take_text(&t, 100);
	w.message.key.size = strlen(w.message.key.data);
	w.message.body.data = (char *)take_rest(&t, &w.message.body.size);
	w.message.headers = headers;
	w.message.header_count = 2;
	w.message.offset = 1041;
	w.message.time = INT64_C(1769249472123456789);
	w.message.attempt = w.message.delivery = 1;
	end = fuzz_tool(compile_and_write, &w);
	MUST(end == -1 || end == EXIT_USAGE);
	out = fuzz_printed();
	/* The same, twice. */
	if (end == -1 && out.size < 1 << 19)
		MUST(out.size % 2 == (fuzz_fault() && out.size > 0) &&
			memcmp(out.data, out.data + out.size / 2, out.size / 2) == 0);
	return 0;
}
