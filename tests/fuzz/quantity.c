/* SPDX-License-Identifier: ISC */
/* Sizes and durations: what is read is written so that it is read as the same. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[LMQ_VALUE_MAX];
	uint64_t bytes, bytes_again;
	int64_t ns, ns_again;
	struct taker t;
	char *given;
	take_begin(&t, data, size);
	given = take_text(&t, 200);
	if (lmq_size_parse(given, &bytes) == 0) {
		bytes += fuzz_fault();
		MUST(strlen(lmq_size_format(bytes, text)) < sizeof text);
		MUST(lmq_size_parse(text, &bytes_again) == 0 && bytes_again == bytes);
		MUST(!fuzz_fault() || strcmp(text, given) == 0);
	}
	if (lmq_duration_parse(given, &ns) == 0) {
		MUST(ns >= 0);
		MUST(strlen(lmq_duration_format(ns, text)) < sizeof text);
		MUST(lmq_duration_parse(text, &ns_again) == 0 && ns_again == ns);
	}
	return 0;
}
