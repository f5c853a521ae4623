/* SPDX-License-Identifier: ISC */
/* Points in time. */
#include "unit.h"

#include "libmq.h"

#include <time.h>

#define S INT64_C(1000000000)

/* Rules written out, so that no zone data need be installed. */
static const char *const berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
/* Its summer begins at midnight. */
static const char *const santiago = "XST4XDT,M9.1.0/0,M4.1.0/0";

/* 2026-01-24T10:11:12.123456789Z */
static const int64_t now = INT64_C(1769249472) * S + 123456789;

static void zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

/* What text means, shown again; or "refused". */
static const char *meaning(const char *text, int64_t at)
{
	static char buffer[LMQ_VALUE_MAX];
	int64_t time = -5;

	if (lmq_time_parse(text, at, &time))
		return time == -5 ? "refused" : "refused, but set";
	return lmq_time_format(time, buffer);
}

TEST(format, "times are shown in UTC with nanoseconds")
{
	char buffer[LMQ_VALUE_MAX];

	zone(berlin);
	CHECK_TEXT(lmq_time_format(now, buffer), "2026-01-24T10:11:12.123456789Z");
	CHECK_TEXT(lmq_time_format(0, buffer), "1970-01-01T00:00:00.000000000Z");
	CHECK_TEXT(lmq_time_format(-1, buffer), "1969-12-31T23:59:59.999999999Z");
	CHECK_TEXT(lmq_time_format(INT64_MAX, buffer), "2262-04-11T23:47:16.854775807Z");
	CHECK_TEXT(lmq_time_format(INT64_MIN, buffer), "1677-09-21T00:12:43.145224192Z");
	CHECK_TEXT(lmq_time_format(951782400 * S, buffer), "2000-02-29T00:00:00.000000000Z");
}

TEST(rfc3339, "RFC 3339 is read with Z, with an offset, and to the nanosecond")
{
	zone(berlin);
	CHECK_TEXT(meaning("2026-01-24T10:11:12.123456789Z", 0), "2026-01-24T10:11:12.123456789Z");
	CHECK_TEXT(meaning("2026-01-24t10:11:12z", 0), "2026-01-24T10:11:12.000000000Z");
	CHECK_TEXT(meaning("2026-01-24 10:11:12.5+05:30", 0), "2026-01-24T04:41:12.500000000Z");
	CHECK_TEXT(meaning("2026-01-24T23:11:12-02:00", 0), "2026-01-25T01:11:12.000000000Z");
	CHECK_TEXT(meaning("2026-01-24T10:11Z", 0), "2026-01-24T10:11:00.000000000Z");
	CHECK_TEXT(meaning("2016-12-31T23:59:60Z", 0), "2017-01-01T00:00:00.000000000Z");
	CHECK_TEXT(meaning("2024-02-29T00:00:00Z", 0), "2024-02-29T00:00:00.000000000Z");
	CHECK_TEXT(meaning("2262-04-11T23:47:16.854775807Z", 0), "2262-04-11T23:47:16.854775807Z");
	CHECK_TEXT(meaning("2262-04-11T23:47:16.854775808Z", 0), "refused");
	CHECK_TEXT(meaning("2262-12-31T00:00:00Z", 0), "refused");
	CHECK_TEXT(meaning("1970-01-01T00:00:00+05:00", 0), "1970-01-01T00:00:00.000000000Z");
}

TEST(local, "dates and clock times without a zone are local")
{
	zone(berlin);
	CHECK_TEXT(meaning("2026-01-24", now), "2026-01-23T23:00:00.000000000Z");
	CHECK_TEXT(meaning("2026-07-24T10:00:00", now), "2026-07-24T08:00:00.000000000Z");
	CHECK_TEXT(meaning("2026-07-24 10:00", now), "2026-07-24T08:00:00.000000000Z");
	CHECK_TEXT(meaning("10:30", now), "2026-01-24T09:30:00.000000000Z");
	CHECK_TEXT(meaning("23:59:59", now), "2026-01-24T22:59:59.000000000Z");
	CHECK_TEXT(meaning("10:30:01.25", now), "2026-01-24T09:30:01.250000000Z");
	CHECK_TEXT(meaning("1970-01-01", now), "1970-01-01T00:00:00.000000000Z");
	zone("UTC0");
	CHECK_TEXT(meaning("2026-01-24", now), "2026-01-24T00:00:00.000000000Z");
}

TEST(words, "now, today, yesterday and tomorrow follow the local calendar")
{
	zone(berlin);
	CHECK_TEXT(meaning("now", now), "2026-01-24T10:11:12.123456789Z");
	CHECK_TEXT(meaning("today", now), "2026-01-23T23:00:00.000000000Z");
	CHECK_TEXT(meaning("yesterday", now), "2026-01-22T23:00:00.000000000Z");
	CHECK_TEXT(meaning("tomorrow", now), "2026-01-24T23:00:00.000000000Z");
	/* at 00:30 in Berlin it is yesterday in Greenwich */
	CHECK_TEXT(meaning("today", now + 47940 * S), "2026-01-24T23:00:00.000000000Z");
	zone("PST8");
	CHECK_TEXT(meaning("today", now), "2026-01-24T08:00:00.000000000Z");
	CHECK_TEXT(meaning("today", now - 4 * 3600 * S), "2026-01-23T08:00:00.000000000Z");
}

TEST(relative, "durations count back and ahead from now, and @ from 1970")
{
	zone(berlin);
	CHECK_TEXT(meaning("-2h", now), "2026-01-24T08:11:12.123456789Z");
	CHECK_TEXT(meaning("2h ago", now), "2026-01-24T08:11:12.123456789Z");
	CHECK_TEXT(meaning("1h30m ago", now), "2026-01-24T08:41:12.123456789Z");
	CHECK_TEXT(meaning("+30m", now), "2026-01-24T10:41:12.123456789Z");
	CHECK_TEXT(meaning("in 30m", now), "2026-01-24T10:41:12.123456789Z");
	CHECK_TEXT(meaning("-90", now), "2026-01-24T10:09:42.123456789Z");
	CHECK_TEXT(meaning("@0", now), "1970-01-01T00:00:00.000000000Z");
	CHECK_TEXT(meaning("@1769249472.5", now), "2026-01-24T10:11:12.500000000Z");
	CHECK_TEXT(meaning("@9223372036.854775807", now), "2262-04-11T23:47:16.854775807Z");
}

TEST(refused, "what is no time, or out of bounds, is refused and sets nothing")
{
	static const char *const texts[] = {
		"", " ", "Now", "now ", " now", "noon", "-", "+", "@", "in ", " ago", "ago", "in",
		"2h  ago", "in  2h", "-2h ago", "in -2h", "--2h", "+-2h", "-forever", "+forever",
		"in forever", "2h", "90", "@-1", "@1e3", "@0x10", "@1.", "@.5", "@1.1234567890",
		"@9223372037", "@99999999999999999999", "@1 ", "1:30", "24:00", "10:60", "10:30:61",
		"10:3", "10:30:", "10:30:1", "10:30Z", "10:30 ", "10:30:00.", "10:30:00.1234567890",
		"2026", "2026-1-24", "2026-01", "2026-13-01", "2026-00-01", "2026-01-32",
		"2026-01-00", "2026-02-29", "2100-02-29", "1969-12-31", "2263-01-01", "9999-01-01",
		"02026-01-01", "2026-01-24T", "2026-01-24Z", "2026-01-24T10",
		"2026-01-24T10:11:12.Z", "2026-01-24T10:11:12.1234567890Z",
		"2026-01-24T10:11:12+5:30", "2026-01-24T10:11:12+05", "2026-01-24T10:11:12+0530",
		"2026-01-24T10:11:12+24:00", "2026-01-24T10:11:12+05:60", "2026-01-24T10:11:12 Z",
		"2026-01-24T10:11:12ZZ", "2026-01-24  10:11:12", "2026/01/24", "20260124", "-60y",
		"-3000w", "+15000w",
		"9999999999999999999999999999999999999999999999999999999999999999999999h ago",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK_ROW(strcmp(meaning(texts[i], now), "refused") == 0, texts[i]);
	CHECK(lmq_time_parse("+1ns", INT64_MAX, &(int64_t){ 0 }) == LMQ_EINVAL);
}

TEST(gap, "a local time that does not exist moves on by the gap")
{
	zone(berlin);
	CHECK_TEXT(meaning("2026-03-29T01:59:59", now), "2026-03-29T00:59:59.000000000Z");
	CHECK_TEXT(meaning("2026-03-29T02:00:00", now), "2026-03-29T01:00:00.000000000Z");
	CHECK_TEXT(meaning("2026-03-29T02:30:00", now), "2026-03-29T01:30:00.000000000Z");
	CHECK_TEXT(meaning("2026-03-29T03:00:00", now), "2026-03-29T01:00:00.000000000Z");
	zone(santiago);
	CHECK_TEXT(meaning("2026-09-05", now), "2026-09-05T04:00:00.000000000Z");
	CHECK_TEXT(meaning("2026-09-06", now), "2026-09-06T04:00:00.000000000Z");
	CHECK_TEXT(meaning("2026-09-07", now), "2026-09-07T03:00:00.000000000Z");
}

TEST(twice, "a local time that exists twice is the first one")
{
	zone(berlin);
	CHECK_TEXT(meaning("2026-10-25T01:59:59", now), "2026-10-24T23:59:59.000000000Z");
	CHECK_TEXT(meaning("2026-10-25T02:30:00", now), "2026-10-25T00:30:00.000000000Z");
	CHECK_TEXT(meaning("2026-10-25T03:00:00", now), "2026-10-25T02:00:00.000000000Z");
	CHECK_TEXT(meaning("2026-10-26", now), "2026-10-25T23:00:00.000000000Z");
}

TEST(calendar, "the calendar agrees with libc's, and what was shown parses back")
{
	for (int i = 0; i < 200000; i++) {
		int64_t time = (int64_t)(unit_random() & INT64_MAX), back = -1;
		time_t clock = (time_t)(time / S);
		char buffer[LMQ_VALUE_MAX], expected[32];
		struct tm tm;

		lmq_time_format(time, buffer);
		strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", gmtime_r(&clock, &tm));
		REQUIRE(strncmp(buffer, expected, strlen(expected)) == 0);
		REQUIRE(lmq_time_parse(buffer, now, &back) == 0);
		REQUIRE(back == time);
	}
}

TEST(clocks, "what a local clock shows parses back, or to the hour that it showed before")
{
	static const char *const zones[] = {
		"CET-1CEST,M3.5.0,M10.5.0/3", "XST4XDT,M9.1.0/0,M4.1.0/0",
		"IST-5:30", "NZST-12NZDT,M9.5.0,M4.1.0/3", "<-12>12",
	};

	for (int i = 0; i < 50000; i++) {
		time_t clock = (time_t)(86400 + unit_random_below(9000000000)), before;
		int64_t back = -1;
		char text[32];
		struct tm tm, tm_before;

		if (i % 10000 == 0)
			zone(zones[i / 10000]);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", localtime_r(&clock, &tm));
		REQUIRE(lmq_time_parse(text, now, &back) == 0);
		before = clock - 3600;
		localtime_r(&before, &tm_before);
		if (tm_before.tm_hour == tm.tm_hour)
			clock = before;
		REQUIRE(back == (int64_t)clock * S);
	}
}

TEST(noise, "random text never sets a time before 1970")
{
	static const char letters[] = "0123456789-:TZ+. @agoinhmsd";
	char text[32];

	zone(berlin);
	for (int i = 0; i < 300000; i++) {
		size_t length = unit_random_below(sizeof(text));
		int64_t time = 0;

		for (size_t j = 0; j < length; j++)
			text[j] = letters[unit_random_below(sizeof(letters) - 1)];
		text[length] = '\0';
		REQUIRE(lmq_time_parse(text, now, &time) == LMQ_EINVAL || time >= 0);
	}
}

UNIT_MAIN
