/* SPDX-License-Identifier: ISC */
/*
 * Bodies on their way out, in several spellings.
 *
 * A body that does not lie in one piece goes through a window of our own: pieces are copied into it
 * before anything is written, as writing may give the library's snapshot back. The window's size is a
 * multiple of three, so that base64 has no remainder before the end.
 */
#include "output.h"

#include <string.h>

enum {
	WINDOW = 48 << 10,
	ROOM = 48 << 10,	/* asked for at once, at most */
};

static const char digits[] = "0123456789abcdef";

/* ---- spellings: each writes one chunk, returns behind it ------------------------------------- */

static char *hex_put(char *to, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)data[i];

		*to++ = digits[byte >> 4];
		*to++ = digits[byte & 15];
	}
	return to;
}

static char *base64_put(char *to, const char *data, size_t size)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *from = (const unsigned char *)data;

	for (; size > 0; from += 3) {
		size_t given = size < 3 ? size : 3;
		unsigned bits = (unsigned)from[0] << 16;

		if (given > 1)
			bits |= (unsigned)from[1] << 8;
		if (given > 2)
			bits |= from[2];
		*to++ = letters[bits >> 18];
		*to++ = letters[bits >> 12 & 63];
		*to++ = given > 1 ? letters[bits >> 6 & 63] : '=';
		*to++ = given > 2 ? letters[bits & 63] : '=';
		size -= given;
	}
	return to;
}

/* Control bytes, what is no UTF-8, and U+0080 to U+009F, which steer terminals too, as \xHH. */
static char *shown_put(char *to, const char *data, size_t size)
{
	while (size > 0) {
		unsigned char byte = (unsigned char)*data;
		size_t step = utf8_step(data, size);
		bool plain = byte >= 0x80 ? step > 1 : byte >= 0x20 && byte != 0x7f;

		if (byte == 0xc2 && step == 2 && (unsigned char)data[1] < 0xa0)
			plain = false;
		for (size_t i = 0; i < step; i++) {
			if (plain || byte == '\n' || byte == '\t') {
				*to++ = data[i];
				continue;
			}
			*to++ = '\\';
			*to++ = 'x';
			to = hex_put(to, data + i, 1);
		}
		data += step;
		size -= step;
	}
	return to;
}

/* What is no UTF-8 becomes U+FFFD. */
static char *json_any_put(char *to, const char *data, size_t size)
{
	while (size > 0) {
		size_t step = utf8_step(data, size);

		if (step == 1 && (unsigned char)*data >= 0x80) {
			memcpy(to, "\\ufffd", 6);
			to += 6;
		} else {
			to = json_text_put(to, data, step);
		}
		data += step;
		size -= step;
	}
	return to;
}

/* How much of data can be taken without cutting its last character in two. */
static size_t whole_characters(const char *data, size_t size)
{
	size_t begin = size;

	while (begin > 0 && size - begin < 3 && ((unsigned char)data[begin - 1] & 0xc0) == 0x80)
		begin--;
	if (begin == 0 || (unsigned char)data[begin - 1] < 0xc0)
		return size;
	return begin - 1 + utf8_step(data + begin - 1, size - begin + 1) == size ? size : begin - 1;
}

static const size_t growth[] = {
	[BODY_PLAIN] = 1, [BODY_SHOWN] = 4, [BODY_JSON] = JSON_TEXT_GROWTH,
	[BODY_JSON_ANY] = JSON_TEXT_GROWTH, [BODY_HEX] = 2, [BODY_BASE64] = 2,
};

static bool in_characters(enum body_form form)
{
	return form == BODY_SHOWN || form == BODY_JSON_ANY;
}

/* How many of the bytes are written next. */
static size_t chunk_of(enum body_form form, const char *data, size_t size)
{
	size_t chunk = ROOM / growth[form] / 3 * 3;

	if (size <= chunk)
		return size;
	return in_characters(form) ? whole_characters(data, chunk) : chunk;
}

static char *chunk_put(enum body_form form, char *to, const char *data, size_t size)
{
	switch (form) {
	case BODY_SHOWN:
		return shown_put(to, data, size);
	case BODY_JSON:
		return json_text_put(to, data, size);
	case BODY_JSON_ANY:
		return json_any_put(to, data, size);
	case BODY_HEX:
		return hex_put(to, data, size);
	case BODY_BASE64:
		return base64_put(to, data, size);
	case BODY_PLAIN:
		break;
	}
	memcpy(to, data, size);
	return to + size;
}

int bytes_write(enum body_form form, const char *data, size_t size)
{
	if (form == BODY_PLAIN)
		return output_bytes(data, size);
	while (size > 0) {
		size_t chunk = chunk_of(form, data, size);
		char *room = output_room(growth[form] * chunk + 4);

		if (room == NULL)
			return OUTPUT_FAILED;
		output_used((size_t)(chunk_put(form, room, data, chunk) - room));
		data += chunk;
		size -= chunk;
	}
	return 0;
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* Copies size bytes of the body, or as many as there are, from the byte at on. */
static int window_fill(const struct body_source *source, uint64_t at, char *window, size_t size,
	size_t *got)
{
	*got = 0;
	while (*got < size) {
		struct lmq_bytes piece = { NULL, 0 };
		int status = source->piece(source->handle, at + *got, &piece);

		if (status != 0)
			return status;
		if (piece.size == 0)
			break;
		if (piece.size > size - *got)
			piece.size = size - *got;
		memcpy(window + *got, piece.data, piece.size);
		*got += piece.size;
	}
	return 0;
}

static char window[WINDOW];

int body_write(enum body_form form, const struct lmq_message *message, const struct body_source *source)
{
	const struct lmq_bytes *body = &message->body;
	size_t got;

	if (body->data != NULL || body->size == 0)
		return bytes_write(form, body->data, body->size);
	for (uint64_t at = 0; at < body->size; at += got) {
		int status = window_fill(source, at, window, sizeof window, &got);

		if (status == 0 && got == 0)
			status = LMQ_EGONE;	/* shorter than it was said to be */
		if (status != 0)
			return status;
		if (in_characters(form) && at + got < body->size)
			got = whole_characters(window, got);
		if (bytes_write(form, window, got) != 0)
			return OUTPUT_FAILED;
	}
	return 0;
}

bool body_is_text(const struct lmq_message *message, const struct body_source *source, int *status)
{
	const struct lmq_bytes *body = &message->body;
	struct utf8 state = { 0, 0, 0 };

	*status = 0;
	if (body->data != NULL || body->size == 0)
		return utf8_valid_text(body->data, body->size);
	for (uint64_t at = 0; at < body->size; ) {
		struct lmq_bytes piece = { NULL, 0 };

		*status = source->piece(source->handle, at, &piece);
		if (*status == 0 && piece.size == 0)
			*status = LMQ_EGONE;
		if (*status != 0 || !utf8_feed(&state, piece.data, piece.size))
			return false;
		at += piece.size;
	}
	return state.need == 0;
}

int body_begin(const struct lmq_message *message, const struct body_source *source, char *buffer,
	size_t size, size_t *got)
{
	const struct lmq_bytes *body = &message->body;

	if (body->data == NULL && body->size > 0)
		return window_fill(source, 0, buffer, size, got);
	*got = body->size < size ? body->size : size;
	if (*got > 0)
		memcpy(buffer, body->data, *got);
	return 0;
}
