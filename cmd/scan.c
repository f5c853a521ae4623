/* SPDX-License-Identifier: ISC */
/*
 * JSON text, token by token, checked in full against RFC 8259 and without building anything.
 *
 * Strings are decoded where they stand: a decoded string is never longer than its spelling. Text
 * that is not UTF-8, or spells half of a surrogate pair, is no JSON.
 *
 * Why not a library: jansson 2.14 parses 0.42 to 0.48 million envelopes a second on a machine where
 * mq-send reads 2.5 million, needs up to 79 times the memory of the text, and refuses numbers such
 * as 1e400, so that a value under "data" would not pass as it is.
 */
#include "input.h"

#include <string.h>

enum { DEPTH_MAX = 2048 };

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void scan_space(struct scan *scan)
{
	while (scan->at < scan->end && is_space(*scan->at))
		scan->at++;
}

bool scan_take(struct scan *scan, char wanted)
{
	scan_space(scan);
	if (scan->at == scan->end || *scan->at != wanted)
		return false;
	scan->at++;
	return true;
}

/* How many bytes the UTF-8 character there has; 0 if it is none. */
static size_t utf8_length(const char *text, size_t room)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t length = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;

	if (c[0] < 0xc2 || c[0] > 0xf4 || length > room)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
	    (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;	/* overlong, a surrogate, or beyond the last character */
	return length;
}

/* The number that four hexadecimal digits spell, or -1. */
static int hex4(const char *text, size_t room)
{
	int value = 0;

	if (room < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int c = (unsigned char)text[i];
		int lower = c | 0x20;

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (lower >= 'a' && lower <= 'f')
			value = value * 16 + (lower - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/*
 * The length of the escape behind a backslash, with it; 0 if it is none. Surrogates only as a
 * pair.
 */
static size_t escape_length(const char *text, size_t room)
{
	int unit;

	if (room < 2 || text[1] == '\0')
		return 0;
	if (text[1] != 'u')
		return strchr("\"\\/bfnrt", text[1]) != NULL ? 2 : 0;
	unit = hex4(text + 2, room - 2);
	if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff))
		return 0;
	if (unit < 0xd800 || unit > 0xdbff)
		return 6;
	if (room < 12 || text[6] != '\\' || text[7] != 'u')
		return 0;
	unit = hex4(text + 8, room - 8);
	return unit >= 0xdc00 && unit <= 0xdfff ? 12 : 0;
}

/* Takes a string, checked but not decoded: *inside is what stands between the quotes. */
static bool string_take(struct scan *scan, struct lmq_bytes *inside, bool *escaped)
{
	char *at;

	*escaped = false;
	if (!scan_take(scan, '"'))
		return false;
	for (at = scan->at; at < scan->end; ) {
		unsigned char c = (unsigned char)*at;
		size_t length = 1;

		if (c == '"') {
			*inside = (struct lmq_bytes){ scan->at, (size_t)(at - scan->at) };
			scan->at = at + 1;
			return true;
		}
		if (c == '\\') {
			*escaped = true;
			length = escape_length(at, (size_t)(scan->end - at));
		} else if (c < 0x20) {
			return false;
		} else if (c >= 0x80) {
			length = utf8_length(at, (size_t)(scan->end - at));
		}
		if (length == 0)
			return false;
		at += length;
	}
	return false;
}

static char *utf8_put(char *to, unsigned c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*to++ = (char)(0xe0 | c >> 12);
		} else {
			*to++ = (char)(0xf0 | c >> 18);
			*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		}
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

/* Writes what an escape (checked before) stands for; returns behind what was written. */
static char *escape_put(char *to, const char *from)
{
	static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	unsigned unit;

	if (from[1] != 'u') {
		*to++ = meant[strchr(letters, from[1]) - letters];
		return to;
	}
	unit = (unsigned)hex4(from + 2, 4);
	if (unit >= 0xd800 && unit <= 0xdbff)
		unit = 0x10000 + ((unit - 0xd800) << 10) + ((unsigned)hex4(from + 8, 4) - 0xdc00);
	return utf8_put(to, unit);
}

bool scan_string(struct scan *scan, struct lmq_bytes *string)
{
	char *from, *to, *end;
	bool escaped;

	if (!string_take(scan, string, &escaped))
		return false;
	if (!escaped)
		return true;
	end = scan->at - 1;
	from = to = end - string->size;
	while (from < end) {
		char *next = memchr(from, '\\', (size_t)(end - from));
		size_t plain = (size_t)((next != NULL ? next : end) - from);
		size_t length;

		memmove(to, from, plain);
		to += plain;
		from += plain;
		if (from == end)
			break;
		length = escape_length(from, (size_t)(end - from));
		to = escape_put(to, from);
		from += length;
	}
	string->size = (size_t)(to - string->data);
	return true;
}

static bool digits_skip(struct scan *scan)
{
	char *before = scan->at;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	return scan->at > before;
}

static bool number_skip(struct scan *scan)
{
	char *first;

	if (scan->at < scan->end && *scan->at == '-')
		scan->at++;
	first = scan->at;
	if (!digits_skip(scan) || (*first == '0' && scan->at - first > 1))
		return false;
	if (scan->at < scan->end && *scan->at == '.') {
		scan->at++;
		if (!digits_skip(scan))
			return false;
	}
	if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
		scan->at++;
		if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
			scan->at++;
		return digits_skip(scan);
	}
	return true;
}

bool scan_word(struct scan *scan, const char *word)
{
	size_t size = strlen(word);

	if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0)
		return false;
	scan->at += size;
	return true;
}

static bool value_skip(struct scan *scan, int depth)
{
	struct lmq_bytes string;
	bool object, escaped;

	scan_space(scan);
	if (scan->at == scan->end || depth > DEPTH_MAX)
		return false;
	switch (*scan->at) {
	case '"':
		return string_take(scan, &string, &escaped);
	case 't':
		return scan_word(scan, "true");
	case 'f':
		return scan_word(scan, "false");
	case 'n':
		return scan_word(scan, "null");
	case '{':
	case '[':
		break;
	default:
		return number_skip(scan);
	}
	object = *scan->at++ == '{';
	if (scan_take(scan, object ? '}' : ']'))
		return true;
	do {
		if (object && !(string_take(scan, &string, &escaped) && scan_take(scan, ':')))
			return false;
		if (!value_skip(scan, depth + 1))
			return false;
	} while (scan_take(scan, ','));
	return scan_take(scan, object ? '}' : ']');
}

bool scan_value(struct scan *scan)
{
	return value_skip(scan, 0);
}
