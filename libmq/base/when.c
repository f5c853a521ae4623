/* SPDX-License-Identifier: ISC */
/*
 * Points in time: text to nanoseconds since 1970 and back.
 *
 * The calendar is computed here, not by mktime(): that leaves open what it does with a local time
 * that does not exist or exists twice. Here a time inside the gap of a spring night moves on by the
 * gap (02:30 is 03:30; so a day that begins inside a gap begins at its first instant), and a time
 * that an autumn night shows twice is the first one. Only the zone's offsets come from libc.
 *
 * Times lie from 1970 to 2262, where nanoseconds end. A written date is not refused because its
 * zone is east of Greenwich: 1970-01-01 there means the first instant that can be told.
 */
#include "libmq.h"

#include <string.h>
#include <time.h>

static const int64_t second = 1000000000;
static const int64_t day_seconds = 86400;

/* A time of the calendar, without zone. */
struct civil {
	int year, month, day;	/* month and day from 1 */
	int hour, minute, second;
	int nanosecond;
};

static bool leap_year(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int year, int month)
{
	static const char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && leap_year(year));
}

/*
 * Days from 1970-01-01 to the first day of that year, which is after 0; 477 leap days lie before
 * 1970.
 */
static int64_t year_start(int year)
{
	int past = year - 1;

	return (int64_t)(year - 1970) * 365 + past / 4 - past / 100 + past / 400 - 477;
}

static int64_t civil_days(const struct civil *civil)
{
	int64_t days = year_start(civil->year) + civil->day - 1;

	for (int month = 1; month < civil->month; month++)
		days += month_days(civil->year, month);
	return days;
}

/* The seconds since 1970 at which UTC shows that time. */
static int64_t civil_seconds(const struct civil *civil)
{
	return civil_days(civil) * day_seconds + civil->hour * 3600 + civil->minute * 60
		+ civil->second;
}

static void civil_from_days(struct civil *civil, int64_t days)
{
	/*
	 * A first guess that is never too late and, between 1677 and 2262, at most three years
	 * early.
	 */
	int year = (int)(1970 + (days >= 0 ? days / 366 : days / 365 - 1));
	int month = 1;

	while (year_start(year + 1) <= days)
		year++;
	days -= year_start(year);
	while (days >= month_days(year, month))
		days -= month_days(year, month++);
	civil->year = year;
	civil->month = month;
	civil->day = (int)days + 1;
}

/* The seconds by which the local zone is ahead of UTC at that instant. */
static int64_t zone_offset(int64_t instant)
{
	time_t clock = (time_t)instant;
	struct tm tm;

	return localtime_r(&clock, &tm) ? tm.tm_gmtoff : 0;
}

/*
 * The instant at which local clocks show what UTC shows at shown. The offsets a day before and a
 * day after are the only candidates; with neither right the time lies in a gap, and the earlier
 * offset moves it behind the gap.
 */
static int64_t local_instant(int64_t shown)
{
	int64_t before, after;

	tzset();
	before = shown - zone_offset(shown - day_seconds);
	after = shown - zone_offset(shown + day_seconds);
	if (before + zone_offset(before) != shown && after + zone_offset(after) == shown)
		return after;
	/*
	 * Both right and not the same: the clock went back, and the offset before is the first of
	 * them.
	 */
	return before;
}

/* Moves *text behind exactly count digits, with a value of at most most. */
static bool scan_digits(const char **text, int count, int most, int *value)
{
	const char *at = *text;

	*value = 0;
	for (int i = 0; i < count; i++, at++) {
		if (*at < '0' || *at > '9')
			return false;
		*value = *value * 10 + (*at - '0');
	}
	*text = at;
	return *value <= most;
}

static bool scan_char(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* ".5": one to nine digits behind a dot, or nothing at all. */
static bool scan_fraction(const char **text, int *nanoseconds)
{
	int digits = 0;

	*nanoseconds = 0;
	if (!scan_char(text, '.'))
		return true;
	for (; **text >= '0' && **text <= '9'; (*text)++, digits++) {
		if (digits == 9)
			return false;
		*nanoseconds = *nanoseconds * 10 + (**text - '0');
	}
	if (digits == 0)
		return false;
	for (; digits < 9; digits++)
		*nanoseconds *= 10;
	return true;
}

/* "YYYY-MM-DD" */
static bool scan_date(const char **text, struct civil *civil)
{
	return scan_digits(text, 4, 2262, &civil->year) && civil->year >= 1970
		&& scan_char(text, '-')
		&& scan_digits(text, 2, 12, &civil->month) && civil->month >= 1
		&& scan_char(text, '-')
		&& scan_digits(text, 2, month_days(civil->year, civil->month), &civil->day)
		&& civil->day >= 1;
}

/* "HH:MM[:SS[.FRACTION]]"; a leap second counts as the one behind it. */
static bool scan_clock(const char **text, struct civil *civil)
{
	if (!scan_digits(text, 2, 23, &civil->hour) || !scan_char(text, ':')
			|| !scan_digits(text, 2, 59, &civil->minute))
		return false;
	if (!scan_char(text, ':'))
		return true;
	return scan_digits(text, 2, 60, &civil->second) && scan_fraction(text, &civil->nanosecond);
}

/* "Z" or "+HH:MM". */
static bool scan_zone(const char **text, int64_t *offset)
{
	int hours, minutes, sign;

	*offset = 0;
	if (scan_char(text, 'Z') || scan_char(text, 'z'))
		return true;
	sign = **text == '-' ? -1 : 1;
	if (!scan_char(text, '+') && !scan_char(text, '-'))
		return false;
	if (!scan_digits(text, 2, 23, &hours) || !scan_char(text, ':')
			|| !scan_digits(text, 2, 59, &minutes))
		return false;
	*offset = sign * (hours * 3600 + minutes * 60);
	return true;
}

static int time_set(int64_t seconds, int nanoseconds, int64_t *time)
{
	if (seconds < 0 || seconds > (INT64_MAX - nanoseconds) / second)
		return LMQ_EINVAL;
	*time = seconds * second + nanoseconds;
	return 0;
}

/* As time_set(); what a zone moved before 1970 is 1970. */
static int time_set_written(int64_t seconds, int nanoseconds, int64_t *time)
{
	if (seconds < 0)
		return time_set(0, 0, time);
	return time_set(seconds, nanoseconds, time);
}

static int parse_date(const char *text, int64_t *time)
{
	struct civil civil = { 0 };
	int64_t offset, seconds;

	if (!scan_date(&text, &civil))
		return LMQ_EINVAL;
	if (*text) {
		if (!scan_char(&text, 'T') && !scan_char(&text, 't') && !scan_char(&text, ' '))
			return LMQ_EINVAL;
		if (!scan_clock(&text, &civil))
			return LMQ_EINVAL;
	}
	seconds = civil_seconds(&civil);
	if (*text == '\0')
		return time_set_written(local_instant(seconds), civil.nanosecond, time);
	if (!scan_zone(&text, &offset) || *text)
		return LMQ_EINVAL;
	return time_set_written(seconds - offset, civil.nanosecond, time);
}

/* Whole seconds below t, also for a t before 1970. */
static int64_t floor_seconds(int64_t t)
{
	return t / second - (t % second < 0);
}

/* The seconds that UTC shows at the local midnight that begins the day of now. */
static int64_t shown_midnight(int64_t now)
{
	int64_t shown;

	tzset();
	shown = floor_seconds(now);
	shown += zone_offset(shown);
	return shown - ((shown % day_seconds) + day_seconds) % day_seconds;
}

/* "HH:MM[:SS]", today. */
static int parse_clock(const char *text, int64_t now, int64_t *time)
{
	struct civil civil = { 0 };
	int64_t shown;

	if (!scan_clock(&text, &civil) || *text)
		return LMQ_EINVAL;
	shown = shown_midnight(now) + civil.hour * 3600 + civil.minute * 60 + civil.second;
	return time_set_written(local_instant(shown), civil.nanosecond, time);
}

/* "EPOCH[.FRACTION]" behind the "@". */
static int parse_epoch(const char *text, int64_t *time)
{
	int64_t seconds = 0;
	int nanoseconds;

	if (*text < '0' || *text > '9')
		return LMQ_EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (seconds > INT64_MAX / second)
			return LMQ_EINVAL;
		seconds = seconds * 10 + (*text - '0');
	}
	if (!scan_fraction(&text, &nanoseconds) || *text)
		return LMQ_EINVAL;
	return time_set(seconds, nanoseconds, time);
}

/* A duration before (sign -1) or behind now, given as size bytes of text. */
static int parse_relative(const char *text, size_t size, int sign, int64_t now, int64_t *time)
{
	char copy[LMQ_VALUE_MAX];
	int64_t duration, sum;

	if (size >= sizeof(copy))
		return LMQ_EINVAL;
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (lmq_duration_parse(copy, &duration) || duration == LMQ_FOREVER)
		return LMQ_EINVAL;
	if (__builtin_add_overflow(now, sign * duration, &sum) || sum < 0)
		return LMQ_EINVAL;
	*time = sum;
	return 0;
}

static bool parse_word(const char *text, int64_t now, int64_t *time, int *status)
{
	static const char *const words[] = { "yesterday", "today", "tomorrow" };

	for (int i = 0; i < 3; i++) {
		if (strcmp(text, words[i]) == 0) {
			int64_t shown = shown_midnight(now) + (i - 1) * day_seconds;

			*status = time_set_written(local_instant(shown), 0, time);
			return true;
		}
	}
	return false;
}

int lmq_time_parse(const char *text, int64_t now, int64_t *time)
{
	size_t length = text ? strlen(text) : 0;
	int status;

	if (length == 0)
		return LMQ_EINVAL;
	if (strcmp(text, "now") == 0) {
		*time = now;
		return 0;
	}
	if (parse_word(text, now, time, &status))
		return status;
	if (*text == '@')
		return parse_epoch(text + 1, time);
	if (*text == '-' || *text == '+')
		return parse_relative(text + 1, length - 1, *text == '-' ? -1 : 1, now, time);
	if (strncmp(text, "in ", 3) == 0)
		return parse_relative(text + 3, length - 3, 1, now, time);
	if (length > 4 && strcmp(text + length - 4, " ago") == 0)
		return parse_relative(text, length - 4, -1, now, time);
	/* "10:11" or "2026-01-24": the third character tells them apart. */
	if (length > 2 && text[2] == ':')
		return parse_clock(text, now, time);
	return parse_date(text, time);
}

/* Writes value as count digits and returns what follows them. */
static char *put_digits(char *at, int value, int count)
{
	for (int i = count; i-- > 0; value /= 10)
		at[i] = (char)('0' + value % 10);
	return at + count;
}

/* By hand, since -j does it for every message. */
char *lmq_time_format(int64_t time, char *buffer)
{
	int64_t seconds = floor_seconds(time);
	int64_t days = seconds / day_seconds - (seconds % day_seconds < 0);
	int rest = (int)(seconds - days * day_seconds);
	struct civil civil;
	char *at = buffer;

	civil_from_days(&civil, days);
	at = put_digits(at, civil.year, 4);
	*at++ = '-';
	at = put_digits(at, civil.month, 2);
	*at++ = '-';
	at = put_digits(at, civil.day, 2);
	*at++ = 'T';
	at = put_digits(at, rest / 3600, 2);
	*at++ = ':';
	at = put_digits(at, rest / 60 % 60, 2);
	*at++ = ':';
	at = put_digits(at, rest % 60, 2);
	*at++ = '.';
	/* Near INT64_MIN the whole seconds below do not fit in ns; the remainder does. */
	at = put_digits(at, (int)(time % second + (time % second < 0 ? second : 0)), 9);
	*at++ = 'Z';
	*at = '\0';
	return buffer;
}
