/* SPDX-License-Identifier: ISC */
/* Points in time: what is read lies within what can be told, and is written so that it is read as the same. */
#include "fuzz.h"

#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const zones[] = { "UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "<x>25", ":no" };
	char text[LMQ_VALUE_MAX];
	int64_t now, time, again;
	struct taker t;
	unsigned zone;
	char *given;
	take_begin(&t, data, size);
	zone = (unsigned)take_number(&t, 1) % (sizeof zones / sizeof *zones);
	now = (int64_t)(take_number(&t, 4) * UINT64_C(1000000007));
	given = take_text(&t, 200);
	setenv("TZ", zones[zone], 1);
	tzset();
	if (lmq_time_parse(given, now, &time) != 0)
		return 0;
	MUST(time >= 0);
	lmq_time_format(time, text);
	MUST(strlen(text) < sizeof text);
	MUST(lmq_time_parse(text, 0, &again) == 0);
	MUST(again == time + fuzz_fault());
	return 0;
}
