/* SPDX-License-Identifier: ISC */
/*
 * A tiny harness for unit tests: one program per file, TAP on stdout, exit 0 if every test passed.
 *
 *	#include "unit.h"
 *
 *	TEST(sizes, "sizes are read in powers of 1024 and of 1000")
 *	{
 *		uint64_t size = 0;
 *
 *		CHECK(lmq_size_parse("64K", &size) == 0);
 *		CHECK_EQUAL(size, 65536);
 *	}
 *
 *	UNIT_MAIN
 *
 * A failed check is reported with its place and the test goes on; REQUIRE leaves the test, for what
 * makes no sense to go on without. Tests run in the order of the file; names as operands select
 * some. unit_random() repeats itself from run to run, unless UNIT_SEED says otherwise.
 */
#ifndef UNIT_H
#define UNIT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit_test {
	const char *name;
	const char *sentence;
	void (*run)(void);
	struct unit_test *next;
};

static struct unit_test *unit_first, **unit_last = &unit_first;
static unsigned unit_failures;	/* of the test that runs */
static uint64_t unit_state = 0x9e3779b97f4a7c15;

/*
 * Defines a test and enters it into the list; the compiler's constructors run in the file's
 * order.
 */
#define TEST(name, sentence) \
	static void unit_run_##name(void); \
	__attribute__((constructor)) static void unit_enter_##name(void) \
	{ \
		static struct unit_test test = { #name, sentence, unit_run_##name, NULL }; \
		*unit_last = &test; \
		unit_last = &test.next; \
	} \
	static void unit_run_##name(void)

#define CHECK(expression) \
	((void)unit_check((expression) ? true : false, __FILE__, __LINE__, #expression))

#define REQUIRE(expression) \
	do { \
		if (!unit_check((expression) ? true : false, __FILE__, __LINE__, #expression)) \
			return; \
	} while (0)

/* Both sides as signed 64-bit numbers. */
#define CHECK_EQUAL(value, expected) \
	unit_check_equal((int64_t)(value), (int64_t)(expected), __FILE__, __LINE__, #value)

/* Both sides as text; NULL equals NULL only. */
#define CHECK_TEXT(value, expected) \
	unit_check_text((value), (expected), __FILE__, __LINE__, #value)

/* A check inside a loop over a table: the row's own text is worth more than the expression. */
#define CHECK_ROW(expression, text) \
	((void)unit_check((expression) ? true : false, __FILE__, __LINE__, (text)))

__attribute__((unused))
static bool unit_check(bool good, const char *file, int line, const char *what)
{
	if (!good) {
		unit_failures++;
		printf("# %s:%d: failed: %s\n", file, line, what);
	}
	return good;
}

__attribute__((unused))
static void unit_check_equal(int64_t value, int64_t expected, const char *file, int line,
	const char *what)
{
	if (!unit_check(value == expected, file, line, what))
		printf("#   is %" PRId64 ", expected %" PRId64 "\n", value, expected);
}

__attribute__((unused))
static void unit_check_text(const char *value, const char *expected, const char *file, int line,
	const char *what)
{
	bool equal = value && expected ? strcmp(value, expected) == 0 : value == expected;

	if (!unit_check(equal, file, line, what))
		printf("#   is '%s', expected '%s'\n", value ? value : "(null)",
			expected ? expected : "(null)");
}

/* splitmix64: any seed is a good seed. */
__attribute__((unused))
static uint64_t unit_random(void)
{
	uint64_t z = unit_state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* A number below limit, which is not 0. */
__attribute__((unused))
static uint64_t unit_random_below(uint64_t limit)
{
	return unit_random() % limit;
}

static bool unit_selected(const struct unit_test *test, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], test->name) == 0)
			return true;
	}
	return argc < 2;
}

static int unit_main(int argc, char **argv)
{
	const char *seed = getenv("UNIT_SEED");
	unsigned count = 0, failed = 0;

	if (seed)
		unit_state = strtoull(seed, NULL, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);	/* a crash keeps what was reported before it */
	for (struct unit_test *test = unit_first; test; test = test->next) {
		if (!unit_selected(test, argc, argv))
			continue;
		unit_failures = 0;
		test->run();
		count++;
		failed += unit_failures != 0;
		printf("%s %s - %s\n", unit_failures ? "not ok" : "ok", test->name, test->sentence);
	}
	printf("1..%u\n", count);
	return failed != 0 || count == 0;
}

#define UNIT_MAIN \
	int main(int argc, char **argv) \
	{ \
		return unit_main(argc, argv); \
	}

#endif
