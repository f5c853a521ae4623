/* SPDX-License-Identifier: ISC */
/* Sizes and durations. */
#include "unit.h"

#include "libmq.h"

struct size_row {
	const char *text;
	uint64_t size;
};

TEST(size_units, "sizes are in bytes, in powers of 1024, and of 1000 with B")
{
	static const struct size_row rows[] = {
		{ "0", 0 }, { "512", 512 }, { "512B", 512 }, { "007", 7 }, { "64K", 65536 },
		{ "64k", 65536 }, { "64KiB", 65536 }, { "10M", 10485760 }, { "1.5G", 1610612736 },
		{ "2T", UINT64_C(1) << 41 }, { "1P", UINT64_C(1) << 50 },
		{ "15E", UINT64_C(15) << 60 }, { "1kB", 1000 }, { "1KB", 1000 },
		{ "10MB", 10000000 }, { "1.5GB", 1500000000 }, { "3TB", UINT64_C(3000000000000) },
		{ "1PB", UINT64_C(1000000000000000) }, { "18EB", UINT64_C(18000000000000000000) },
		{ "18446744073709551615", UINT64_MAX }, { "1.5000000000000000000000000K", 1536 },
		{ "0K", 0 }, { "0.0M", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t size = 77;

		CHECK_ROW(lmq_size_parse(rows[i].text, &size) == 0
			&& size == rows[i].size, rows[i].text);
	}
}

TEST(size_exact, "fractions of sizes are exact, and what is below a byte is cut off")
{
	static const struct size_row rows[] = {
		{ "0.1G", 107374182 }, { "0.3K", 307 }, { "0.001K", 1 }, { "0.7M", 734003 },
		{ "1.999999999999999999999999K", 2047 },
		{ "15.999999999999999999999999E", UINT64_MAX }, { "0.1kB", 100 },
		{ "1.001MB", 1001000 }, { "0.000000000000000001EB", 1 },
		{ "0.3E", UINT64_C(345876451382054092) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t size = 77;

		CHECK_ROW(lmq_size_parse(rows[i].text, &size) == 0
			&& size == rows[i].size, rows[i].text);
	}
}

TEST(size_refused, "what is no size, or too large, is refused and sets nothing")
{
	static const char *const texts[] = {
		"", " ", "-1", "+1", " 1", "1 ", "1 K", "1e3", "0x10", "K", ".5K", "1.K", "1.",
		"1.5", "1.5B", "1,5K", "1KK", "1Kb", "1kib", "1g", "1m", "1i", "1iB", "1Z", "1K\n",
		"0.0001K", "16E", "19EB", "18446744073709551616", "99999999999999999999999999",
		"18014398509481984K", "1.5.5K", "none", "1_000", "\xc2\xbd", "1\xe2\x80\x89K",
		"nan", "inf",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint64_t size = 77;

		CHECK_ROW(lmq_size_parse(texts[i], &size) == LMQ_EINVAL && size == 77, texts[i]);
	}
}

TEST(size_shortest, "sizes are shown in their shortest exact spelling")
{
	static const struct size_row rows[] = {
		{ "0", 0 }, { "1", 1 }, { "999", 999 }, { "1kB", 1000 }, { "1K", 1024 },
		{ "1001", 1001 }, { "64K", 65536 }, { "64M", 67108864 }, { "1.5G", 1610612736 },
		{ "10MB", 10000000 }, { "1G", 1073741824 }, { "107374182", 107374182 },
		{ "16383P", UINT64_C(16383) << 50 }, { "18446744073709551615", UINT64_MAX },
	};
	char buffer[LMQ_VALUE_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_TEXT(lmq_size_format(rows[i].size, buffer), rows[i].text);
}

/* Numbers of every magnitude, many of them round. */
static uint64_t some_number(uint64_t unit)
{
	uint64_t number = unit_random() >> unit_random_below(64);

	if (unit_random_below(2) && number < UINT64_MAX / unit)
		number *= unit;
	return number;
}

TEST(size_returns, "a size that was shown parses back to itself")
{
	static const uint64_t units[] = { 1, 1000, 1024, 512, 1000000, 1048576, 1073741824 };
	char buffer[LMQ_VALUE_MAX];

	for (int i = 0; i < 200000; i++) {
		uint64_t size = some_number(units[unit_random_below(7)]), back = size + 1;

		lmq_size_format(size, buffer);
		REQUIRE(lmq_size_parse(buffer, &back) == 0);
		REQUIRE(back == size);
	}
}

struct duration_row {
	const char *text;
	int64_t duration;
};

#define S INT64_C(1000000000)

TEST(duration_units, "durations are sums of parts in falling units, a bare number is seconds")
{
	static const struct duration_row rows[] = {
		{ "0", 0 }, { "90", 90 * S }, { "1.5", 3 * S / 2 }, { "250ms", S / 4 },
		{ "1.5h", 5400 * S }, { "2h30m", 9000 * S }, { "7d", 604800 * S },
		{ "2w", 1209600 * S }, { "1us", 1000 }, { "5ns", 5 },
		{ "1w2d3h4m5s6ms7us8ns", 788645 * S + 6007008 }, { "1h0.5s", 3600 * S + S / 2 },
		{ "0.1s", S / 10 }, { "1.0000000001s", S }, { "forever", LMQ_FOREVER },
		{ "1d1s", 86401 * S }, { "9223372036854775806ns", INT64_MAX - 1 }, { "0s", 0 },
		{ "0.000000001", 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t duration = -7;

		CHECK_ROW(lmq_duration_parse(rows[i].text, &duration) == 0
			&& duration == rows[i].duration, rows[i].text);
	}
}

TEST(duration_refused, "what is no duration, or too long, is refused and sets nothing")
{
	static const char *const texts[] = {
		"", "-1", "-1s", "+1s", " 1s", "1s ", "1 s", "1e3", "0x10", "s", ".5s", "1.s",
		"1.5ns", "2h30", "30m2h", "1h1h", "1.5h30m", "1S", "1H", "1M", "1min", "1sec", "1y",
		"ever", "forever1", "Forever", "-forever", "9223372036854775807ns",
		"9223372036854775808ns", "15251w", "99999999999999999999s",
		"106751d23h47m16s854ms775us807ns", "1h,30m", "0.0000000001s", "1m\n", "1\xc2\xb5s",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int64_t duration = -7;

		CHECK_ROW(lmq_duration_parse(texts[i], &duration) == LMQ_EINVAL
			&& duration == -7, texts[i]);
	}
}

TEST(duration_shortest, "durations are shown in their shortest spelling with a unit")
{
	static const struct duration_row rows[] = {
		{ "0s", 0 }, { "1s", S }, { "90s", 90 * S }, { "1h", 3600 * S },
		{ "90m", 5400 * S }, { "7d", 604800 * S }, { "1d", 86400 * S }, { "250ms", S / 4 },
		{ "1.5s", 3 * S / 2 }, { "30s", 30 * S }, { "5m", 300 * S }, { "1ns", 1 },
		{ "forever", LMQ_FOREVER }, { "150m", 9000 * S }, { "1w1s", 604801 * S },
		{ "-1.5s", -3 * S / 2 }, { "9223372036854775806ns", INT64_MAX - 1 },
		{ "-9223372036854775808ns", INT64_MIN },
	};
	char buffer[LMQ_VALUE_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_TEXT(lmq_duration_format(rows[i].duration, buffer), rows[i].text);
}

TEST(duration_returns, "a duration that was shown parses back to itself")
{
	static const uint64_t units[] = { 1, 1000, 1000000, S, 60 * S, 3600 * S, 86400 * S };
	char buffer[LMQ_VALUE_MAX];

	for (int i = 0; i < 200000; i++) {
		int64_t duration = (int64_t)(some_number(units[unit_random_below(7)]) & INT64_MAX);
		int64_t back = -1;

		lmq_duration_format(duration, buffer);
		REQUIRE(lmq_duration_parse(buffer, &back) == 0);
		REQUIRE(back == duration);
	}
}

TEST(noise, "random text is refused or means what its shown form means")
{
	static const char letters[] = "0123456789..KMGTPEBikwdhmsun -+exfo";
	char text[16], buffer[LMQ_VALUE_MAX];

	for (int i = 0; i < 300000; i++) {
		size_t length = unit_random_below(sizeof(text));
		uint64_t size, size_back = 0;
		int64_t duration, duration_back = -1;

		for (size_t j = 0; j < length; j++)
			text[j] = letters[unit_random_below(sizeof(letters) - 1)];
		text[length] = '\0';
		if (lmq_size_parse(text, &size) == 0) {
			lmq_size_parse(lmq_size_format(size, buffer), &size_back);
			REQUIRE(size == size_back);
		}
		if (lmq_duration_parse(text, &duration) == 0) {
			lmq_duration_parse(lmq_duration_format(duration, buffer), &duration_back);
			REQUIRE(duration == duration_back && duration >= 0);
		}
	}
}

UNIT_MAIN
