/* SPDX-License-Identifier: ISC */
/*
 * Arguments of options and operands, one a line: each is taken, or ends the tool with 64. The first byte says what it is.
 */
#include "fuzz.h"

#include "cmd.h"
#include "delivery.h"

struct work {
	unsigned kind;
	char *text;
	size_t size;	/* of what came of it */
};

static void take_one(void *argument)
{
	struct work *w = argument;
	struct offsets *list;
	double rate;
	char *text;
	switch (w->kind) {
	case 0:
		text = escapes_decode("--delimiter", w->text, &w->size);
		MUST(w->size <= strlen(w->text) && text);
		break;
	case 1:
		list = offsets_operands(&w->text, 1);
		MUST(list->first < list->end && list->end <= INT64_MAX);
		break;
	case 2:
		MUST(argument_number("-n", w->text, 1, 1000) - 1 <= 999);
		MUST(!fuzz_fault() || strlen(w->text) < 2);
		break;
	case 3:
		rate = argument_rate("--rate", w->text);
		MUST(rate > 0 && rate < 1e300);
		break;
	case 4:
		MUST(states_parse(w->text) < 1u << (LMQ_DEAD_ON_SIGHT + 1));
		break;
	default:
		MUST(argument_duration("-w", w->text) >= 0 && argument_size("--size", w->text) <= UINT64_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct work w = { .kind = 0 };
	struct taker t;
	take_begin(&t, data, size);
	w.kind = (unsigned)take_number(&t, 1) % 6;
	while (t.at < t.end) {
		int end;
		w.text = take_line(&t, 300);
		end = fuzz_tool(take_one, &w);
		MUST(end == -1 || end == EXIT_USAGE);
	}
	return 0;
}
