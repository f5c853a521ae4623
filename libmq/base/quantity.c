/* SPDX-License-Identifier: ISC */
/*
 * Sizes and durations: text to number and back, exact and without the locale.
 *
 * A number is digits with an optional fraction ("1.5"), times a unit. The product is computed in
 * integers, digit by digit, so "0.1G" is the floor of a tenth of 2^30 and never an artefact of
 * binary floating point. What is smaller than a byte or a nanosecond is cut off, with two
 * exceptions that are refused, because they can only be mistakes: a fraction of the smallest unit
 * itself ("1.5" bytes), and a number that is not zero but would become zero ("0.0001K").
 */
#include "libmq.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct decimal {
	uint64_t whole;
	const char *fraction;	/* its digits, not terminated */
	size_t digits;		/* of the fraction; 0: there is none */
};

struct unit {
	char name[4];
	uint64_t value;
};

#define POWERS(k) { (k), (k) * (k), (k) * (k) * (k), (k) * (k) * (k) * (k), \
	(k) * (k) * (k) * (k) * (k), (k) * (k) * (k) * (k) * (k) * (k) }
static const uint64_t binary_powers[] = POWERS(UINT64_C(1024));
static const uint64_t decimal_powers[] = POWERS(UINT64_C(1000));
static const char power_letters[] = "KMGTPE";

enum { POWER_COUNT = sizeof(power_letters) - 1 };

/* Falling, which is also the order that a composed duration must have. */
static const struct unit duration_units[] = {
	{ "w", UINT64_C(604800000000000) },
	{ "d", UINT64_C(86400000000000) },
	{ "h", UINT64_C(3600000000000) },
	{ "m", UINT64_C(60000000000) },
	{ "s", UINT64_C(1000000000) },
	{ "ms", UINT64_C(1000000) },
	{ "us", UINT64_C(1000) },
	{ "ns", UINT64_C(1) },
};

enum {
	DURATION_UNITS = sizeof(duration_units) / sizeof(duration_units[0]),
	DURATION_SECOND = 4,	/* index of "s" */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Moves *text behind a number. False if there is none, or one that no unit can bring into 64
 * bits.
 */
static bool decimal_scan(const char **text, struct decimal *number)
{
	const char *at = *text;

	*number = (struct decimal){ 0 };
	if (!is_digit(*at))
		return false;
	for (; is_digit(*at); at++) {
		uint64_t digit = (uint64_t)(*at - '0');

		if (number->whole > (UINT64_MAX - digit) / 10)
			return false;
		number->whole = number->whole * 10 + digit;
	}
	if (*at == '.') {
		number->fraction = ++at;
		while (is_digit(*at))
			at++;
		number->digits = (size_t)(at - number->fraction);
		if (number->digits == 0)
			return false;
	}
	*text = at;
	return true;
}

/*
 * *product = floor(number * unit). From the last digit to the first each step divides by ten once;
 * floor((n + floor(x)) / 10) equals floor((n + x) / 10), so rounding in between does no harm. The
 * largest unit is 2^60, and ten times that fits.
 */
static bool decimal_multiply(const struct decimal *number, uint64_t unit, uint64_t *product)
{
	uint64_t part = 0;
	bool some = number->whole != 0;

	if (number->digits && unit == 1)
		return false;
	for (size_t i = number->digits; i-- > 0;) {
		uint64_t digit = (uint64_t)(number->fraction[i] - '0');

		some = some || digit != 0;
		part = (digit * unit + part) / 10;
	}
	if (number->whole > (UINT64_MAX - part) / unit)
		return false;
	*product = number->whole * unit + part;
	return *product != 0 || !some;
}

/* "" "B" "K" "KiB" "kB" and so on; 0 for what is no unit of size. */
static uint64_t size_unit(const char *name)
{
	const char *letter;

	if (*name == '\0' || strcmp(name, "B") == 0)
		return 1;
	letter = strchr(power_letters, *name == 'k' ? 'K' : *name);
	if (!letter)
		return 0;
	if (name[1] == '\0' || strcmp(name + 1, "iB") == 0)
		return binary_powers[letter - power_letters];
	if (strcmp(name + 1, "B") == 0)
		return decimal_powers[letter - power_letters];
	return 0;
}

int lmq_size_parse(const char *text, uint64_t *size)
{
	struct decimal number;
	uint64_t unit, product;

	if (!text || !decimal_scan(&text, &number))
		return LMQ_EINVAL;
	unit = size_unit(text);
	if (unit == 0 || !decimal_multiply(&number, unit, &product))
		return LMQ_EINVAL;
	*size = product;
	return 0;
}

/* Moves *text behind the unit that it begins with: its index, or DURATION_UNITS. */
static size_t duration_unit(const char **text)
{
	size_t length = 0;

	while ((*text)[length] >= 'a' && (*text)[length] <= 'z')
		length++;
	for (size_t i = 0; i < DURATION_UNITS; i++) {
		const char *name = duration_units[i].name;

		if (strlen(name) == length && memcmp(*text, name, length) == 0) {
			*text += length;
			return i;
		}
	}
	return DURATION_UNITS;
}

/*
 * A sum of parts in falling units; only the last may have a fraction. INT64_MAX is kept for
 * "forever", so that no sum can be taken for it.
 */
int lmq_duration_parse(const char *text, int64_t *duration)
{
	struct decimal number = { 0 };
	uint64_t sum = 0, part;
	size_t unit, least = 0;
	const char *begin = text;

	if (!text || *text == '\0')
		return LMQ_EINVAL;
	if (strcmp(text, "forever") == 0) {
		*duration = LMQ_FOREVER;
		return 0;
	}
	while (*text) {
		bool only = text == begin;

		if (number.digits || !decimal_scan(&text, &number))
			return LMQ_EINVAL;
		unit = only && *text == '\0' ? DURATION_SECOND : duration_unit(&text);
		if (unit < least || unit == DURATION_UNITS)
			return LMQ_EINVAL;
		if (!decimal_multiply(&number, duration_units[unit].value, &part))
			return LMQ_EINVAL;
		if (part >= (uint64_t)INT64_MAX - sum)
			return LMQ_EINVAL;
		sum += part;
		least = unit + 1;
	}
	*duration = (int64_t)sum;
	return 0;
}

/*
 * Writes value as a number of units if that is exact with at most three decimals and at least one
 * unit: "1.5G", but never "0.5G".
 */
static bool quotient_print(char text[LMQ_VALUE_MAX], uint64_t value, const struct unit *unit)
{
	uint64_t rest = value % unit->value;
	unsigned fraction = 0;
	int digits = 0;

	if (value < unit->value)
		return false;
	for (; rest && digits < 3; digits++) {
		fraction = fraction * 10 + (unsigned)(rest * 10 / unit->value);
		rest = rest * 10 % unit->value;
	}
	if (rest)
		return false;
	if (digits)
		snprintf(text, LMQ_VALUE_MAX, "%" PRIu64 ".%0*u%s", value / unit->value, digits,
			fraction, unit->name);
	else
		snprintf(text, LMQ_VALUE_MAX, "%" PRIu64 "%s", value / unit->value, unit->name);
	return true;
}

/* Keeps the shorter of the two; of equally long ones the one that was there. */
static void keep_shorter(char best[LMQ_VALUE_MAX], const char text[LMQ_VALUE_MAX])
{
	if (strlen(text) < strlen(best))
		memcpy(best, text, LMQ_VALUE_MAX);
}

char *lmq_size_format(uint64_t size, char *buffer)
{
	char text[LMQ_VALUE_MAX] = "";
	struct unit unit;

	snprintf(buffer, LMQ_VALUE_MAX, "%" PRIu64, size);
	for (size_t i = 0; i < POWER_COUNT; i++) {
		unit = (struct unit){ { power_letters[i] }, binary_powers[i] };
		if (quotient_print(text, size, &unit))
			keep_shorter(buffer, text);
		unit = (struct unit){ { power_letters[i], 'B' }, decimal_powers[i] };
		if (i == 0)
			unit.name[0] = 'k';
		if (quotient_print(text, size, &unit))
			keep_shorter(buffer, text);
	}
	return buffer;
}

/* All units that occur: "2h30m". */
static void duration_compose(char text[LMQ_VALUE_MAX], uint64_t value)
{
	size_t length = 0;

	for (size_t i = 0; i < DURATION_UNITS; i++) {
		const struct unit *unit = &duration_units[i];

		if (value < unit->value)
			continue;
		length += (size_t)snprintf(text + length, LMQ_VALUE_MAX - length, "%" PRIu64 "%s",
			value / unit->value, unit->name);
		value %= unit->value;
	}
}

/*
 * Always with a unit: "90s", though "90" would do. Of equally short spellings the smaller unit
 * wins: "7d" rather than "1w".
 */
char *lmq_duration_format(int64_t duration, char *buffer)
{
	char text[LMQ_VALUE_MAX] = "";
	/* A negative one is nothing that parses; it is shown, as far as 64 bits go, for the eye. */
	uint64_t value = duration < 0 ? 0 - (uint64_t)duration : (uint64_t)duration;

	if (duration == LMQ_FOREVER || duration == 0) {
		memcpy(buffer, duration ? "forever" : "0s", duration ? 8 : 3);
		return buffer;
	}
	snprintf(buffer, LMQ_VALUE_MAX, "%" PRIu64 "ns", value);
	for (size_t i = DURATION_UNITS; i-- > 0;) {
		if (quotient_print(text, value, &duration_units[i]))
			keep_shorter(buffer, text);
	}
	duration_compose(text, value);
	keep_shorter(buffer, text);
	if (duration < 0) {
		memmove(buffer + 1, buffer, strlen(buffer) + 1);
		buffer[0] = '-';
	}
	return buffer;
}
