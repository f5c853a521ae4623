/* SPDX-License-Identifier: ISC */
/* Names, and how alike two of them are: against the distance that is computed in the plain way. */
#include "fuzz.h"

#include "base/name.h"

enum { LONGEST = 40 };

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Inserted, dropped, replaced, or two neighbours swapped, each part edited once. */
static size_t distance(const char *a, const char *b)
{
	static size_t d[LONGEST + 1][LONGEST + 1];
	size_t m = strlen(a), n = strlen(b);
	for (size_t i = 0; i <= m; i++)
		for (size_t k = 0; k <= n; k++) {
			if (i == 0 || k == 0) {
				d[i][k] = i + k;
				continue;
			}
			d[i][k] = least(least(d[i - 1][k], d[i][k - 1]) + 1, d[i - 1][k - 1] + (a[i - 1] != b[k - 1]));
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				d[i][k] = least(d[i][k], d[i - 2][k - 2] + 1);
		}
	return d[m][n];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct taker t;
	char *a, *b;
	take_begin(&t, data, size);
	a = take_text(&t, 300);
	b = take_text(&t, LONGEST);
	if (lmq_name_valid(a)) {
		MUST(*a && strlen(a) <= LMQ_NAME_MAX && !strpbrk(a, "/ \t\n@:#+*?"));
		MUST(lmq_name_reserved(a) == lmq_name_reserved(a));
	}
	if (strlen(a) <= LONGEST)
		MUST(name_distance(a, b) == distance(a, b) + fuzz_fault());
	else
		name_distance(a, b);
	return 0;
}
