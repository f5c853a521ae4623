/* SPDX-License-Identifier: ISC */
/*
 * JSON text and UTF-8 on their way out: eight bytes at a time as long as there is nothing to do.
 */
#include "input.h"
#include "output.h"

#include <string.h>

enum { CHUNK = 8 << 10 };	/* of a string, for one output_room() */

#define EVERY_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

static uint64_t load8(const char *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof word);
	return word;
}

/* Whether a byte of the word is 0: the borrow of a subtraction reaches the top bit of such a byte. */
static bool has_zero(uint64_t word)
{
	return ((word - EVERY_BYTE(1)) & ~word & EVERY_BYTE(0x80)) != 0;
}

/* ---- strings -------------------------------------------------------------------------------- */

/* What follows the backslash: 'u' begins a \u00XX; 0: the byte stands for itself. */
static char escape_letter(unsigned char byte)
{
	static const char controls[32] = "uuuuuuuubtnufruuuuuuuuuuuuuuuuu" "u";

	if (byte < 0x20)
		return controls[byte];
	if (byte == '"' || byte == '\\')
		return (char)byte;
	return byte == 0x7f ? 'u' : '\0';
}

static char *byte_put(char *to, unsigned char byte)
{
	static const char digits[] = "0123456789abcdef";
	char letter = escape_letter(byte);

	if (letter == '\0') {
		*to++ = (char)byte;
		return to;
	}
	*to++ = '\\';
	*to++ = letter;
	if (letter == 'u') {
		*to++ = '0';
		*to++ = '0';
		*to++ = digits[byte >> 4];
		*to++ = digits[byte & 15];
	}
	return to;
}

/* Whether all eight bytes stand for themselves. A byte below 0x20 borrows, as in has_zero(). */
static bool is_clean(uint64_t word)
{
	return ((word - EVERY_BYTE(0x20)) & ~word & EVERY_BYTE(0x80)) == 0 &&
		!has_zero(word ^ EVERY_BYTE('"')) && !has_zero(word ^ EVERY_BYTE('\\')) &&
		!has_zero(word ^ EVERY_BYTE(0x7f));
}

char *json_text_put(char *to, const char *data, size_t size)
{
	const char *end = data + size;

	while (end - data >= 8) {
		uint64_t word = load8(data);

		if (is_clean(word)) {
			memcpy(to, &word, sizeof word);
			to += 8;
			data += 8;
			continue;
		}
		for (int i = 0; i < 8; i++)
			to = byte_put(to, (unsigned char)*data++);
	}
	while (data < end)
		to = byte_put(to, (unsigned char)*data++);
	return to;
}

int json_text_write(const char *data, size_t size)
{
	while (size > 0) {
		size_t part = size < CHUNK ? size : CHUNK;
		char *room = output_room(JSON_TEXT_GROWTH * part);

		if (room == NULL)
			return OUTPUT_FAILED;
		output_used((size_t)(json_text_put(room, data, part) - room));
		data += part;
		size -= part;
	}
	return 0;
}

int json_string_write(const char *data, size_t size)
{
	if (output_bytes("\"", 1) != 0 || json_text_write(data, size) != 0)
		return OUTPUT_FAILED;
	return output_bytes("\"", 1);
}

/* ---- values --------------------------------------------------------------------------------- */

bool json_valid(const char *data, size_t size)
{
	/* scan_value() leaves the text as it is. */
	struct scan scan = { (char *)data, (char *)data + size };

	if (!scan_value(&scan))
		return false;
	scan_space(&scan);
	return scan.at == scan.end;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Behind the token that begins there; a string is taken as a whole. */
static const char *token_end(const char *at, const char *end)
{
	if (*at++ != '"') {
		while (at < end && !is_space(*at) && *at != '"')
			at++;
		return at;
	}
	while (*at != '"')
		at += *at == '\\' ? 2 : 1;
	return at + 1;
}

int json_compact_write(const char *data, size_t size)
{
	const char *end = data + size;

	while (data < end) {
		const char *next = data + 1;

		if (!is_space(*data)) {
			next = token_end(data, end);
			if (output_bytes(data, (size_t)(next - data)) != 0)
				return OUTPUT_FAILED;
		}
		data = next;
	}
	return 0;
}

/* ---- UTF-8 ---------------------------------------------------------------------------------- */

/* Takes the first byte of a character of several. */
static bool utf8_lead(struct utf8 *state, unsigned char byte)
{
	if (byte < 0xc2 || byte > 0xf4)
		return false;
	state->need = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
	/* No overlong spelling, no surrogate, nothing beyond U+10FFFF. */
	state->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
	state->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
	return true;
}

static bool utf8_byte(struct utf8 *state, unsigned char byte)
{
	if (state->need == 0)
		return byte < 0x80 ? byte != 0 : utf8_lead(state, byte);
	if (byte < state->low || byte > state->high)
		return false;
	state->need--;
	state->low = 0x80;
	state->high = 0xbf;
	return true;
}

bool utf8_feed(struct utf8 *state, const char *data, size_t size)
{
	const char *end = data + size;

	while (data < end) {
		if (state->need == 0) {
			while (end - data >= 8) {
				uint64_t word = load8(data);

				if ((word & EVERY_BYTE(0x80)) != 0 || has_zero(word))
					break;
				data += 8;
			}
			if (data == end)
				break;
		}
		if (!utf8_byte(state, (unsigned char)*data++))
			return false;
	}
	return true;
}

bool utf8_valid_text(const char *data, size_t size)
{
	struct utf8 state = { 0, 0, 0 };

	return utf8_feed(&state, data, size) && state.need == 0;
}

size_t utf8_step(const char *data, size_t size)
{
	struct utf8 state = { 0, 0, 0 };
	size_t length = 0;

	while (length < size && utf8_byte(&state, (unsigned char)data[length])) {
		length++;
		if (state.need == 0)
			return length;
	}
	return 1;
}
