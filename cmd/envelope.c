/* SPDX-License-Identifier: ISC */
/*
 * The JSON envelope becomes a message.
 *
 * One pass over the text, without building a tree: strings are decoded where they stand, base64
 * after that in the same place, and a value under "data" is kept as it is spelled, less the white
 * space between its tokens, so that no number and no order of keys changes. Nothing is allocated.
 */
#include "input.h"

#include <string.h>

enum field {
	FIELD_BODY, FIELD_BASE64, FIELD_DATA, FIELD_ID, FIELD_KEY, FIELD_TYPE, FIELD_REPLY_TO,
	FIELD_CORRELATION, FIELD_HEADERS, FIELD_PRIORITY, FIELD_TTL, FIELD_NOT_BEFORE, FIELD_TOMBSTONE,
	FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
	"body", "body_base64", "data", "id", "key", "type", "reply_to",
	"correlation", "headers", "priority", "ttl", "not_before", "tombstone"
};

static const char not_object[] = "not a JSON object";

static bool fault(struct envelope *envelope, const char *what)
{
	snprintf(envelope->error, sizeof envelope->error, "%s", what);
	return false;
}

static bool field_fault(struct envelope *envelope, enum field field, const char *what)
{
	snprintf(envelope->error, sizeof envelope->error, "%s %s", field_names[field], what);
	return false;
}

/* ---- bodies -------------------------------------------------------------------------------- */

/* One more than the value of each base64 digit; 0 for what is none. */
static const unsigned char base64_digits[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7,
	['H'] = 8, ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
	['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
	['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
	['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
	['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
	['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
	['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
	['/'] = 64,
};

/*
 * Decodes base64 in place. Strict, so that two spellings never mean the same: padded, nothing
 * between the digits, the bits that are left over are 0.
 */
static bool base64_decode(struct lmq_bytes *bytes)
{
	const unsigned char *from = (const unsigned char *)bytes->data;
	unsigned char *to = (unsigned char *)bytes->data;
	size_t padding = 0;

	if (bytes->size % 4 != 0)
		return false;
	if (bytes->size > 0)
		padding = from[bytes->size - 1] != '=' ? 0 : from[bytes->size - 2] != '=' ? 1 : 2;
	for (size_t i = 0; i < bytes->size; i += 4, to += 3) {
		size_t missing = i + 4 == bytes->size ? padding : 0;
		unsigned bits = 0;

		for (size_t k = 0; k < 4 - missing; k++) {
			unsigned digit = base64_digits[from[i + k]];
			if (digit == 0)
				return false;
			bits |= (digit - 1) << (18 - 6 * k);
		}
		if ((bits & ((1u << (8 * missing)) - 1)) != 0)
			return false;
		to[0] = (unsigned char)(bits >> 16);
		to[1] = (unsigned char)(bits >> 8);
		to[2] = (unsigned char)bits;
	}
	bytes->size = bytes->size / 4 * 3 - padding;
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Strips the white space between the tokens of a valid value, in place. */
static void value_compact(struct lmq_bytes *value)
{
	const char *end = value->data + value->size;
	char *to = (char *)value->data;
	bool inside = false;

	for (const char *from = value->data; from < end; from++) {
		if (inside && *from == '\\')
			*to++ = *from++;
		else if (*from == '"')
			inside = !inside;
		else if (!inside && is_space(*from))
			continue;
		*to++ = *from;
	}
	value->size = (size_t)(to - value->data);
}

/* ---- fields -------------------------------------------------------------------------------- */

static bool text_read(struct envelope *envelope, struct scan *scan, enum field field,
	struct lmq_bytes *text)
{
	if (scan->at < scan->end && *scan->at != '"')
		return field_fault(envelope, field, "is not a string");
	return scan_string(scan, text) || fault(envelope, not_object);
}

static bool body_read(struct envelope *envelope, struct scan *scan, enum field field)
{
	struct lmq_bytes *body = &envelope->message.body;

	if (body->data != NULL)
		return fault(envelope, "more than one of body, body_base64, data");
	if (field == FIELD_DATA) {
		body->data = scan->at;
		if (!scan_value(scan))
			return fault(envelope, not_object);
		body->size = (size_t)(scan->at - body->data);
		value_compact(body);
		return true;
	}
	if (!text_read(envelope, scan, field, body))
		return false;
	if (field == FIELD_BASE64 && !base64_decode(body))
		return field_fault(envelope, field, "is not base64");
	return true;
}

static bool same(struct lmq_bytes a, struct lmq_bytes b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Appends a header whose name is not there yet; false if it is, or there is no room. */
static bool header_append(struct envelope *envelope, const struct lmq_header *header)
{
	struct lmq_message *message = &envelope->message;

	for (size_t i = 0; i < message->header_count; i++) {
		if (same(envelope->headers[i].name, header->name))
			return field_fault(envelope, FIELD_HEADERS, "have a name twice");
	}
	if (message->header_count == LMQ_HEADERS_MAX)
		return field_fault(envelope, FIELD_HEADERS, "are too many");
	envelope->headers[message->header_count++] = *header;
	return true;
}

static bool headers_read(struct envelope *envelope, struct scan *scan)
{
	struct lmq_header header;

	if (!scan_take(scan, '{'))
		return field_fault(envelope, FIELD_HEADERS, "is not an object");
	if (scan_take(scan, '}'))
		return true;
	do {
		if (!scan_string(scan, &header.name) || !scan_take(scan, ':'))
			return fault(envelope, not_object);
		scan_space(scan);
		if (scan->at < scan->end && *scan->at != '"')
			return field_fault(envelope, FIELD_HEADERS,
				"has a value that is not a string");
		if (!scan_string(scan, &header.value))
			return fault(envelope, not_object);
		if (!header_append(envelope, &header))
			return false;
	} while (scan_take(scan, ','));
	return scan_take(scan, '}') || fault(envelope, not_object);
}

static bool priority_read(struct envelope *envelope, struct scan *scan)
{
	char *first = scan->at;

	if (!scan_value(scan))
		return fault(envelope, not_object);
	if (scan->at - first != 1 || *first < '0' || *first > '0' + LMQ_PRIORITY_MAX)
		return field_fault(envelope, FIELD_PRIORITY, "is not a whole number from 0 to 9");
	envelope->message.priority = *first - '0';
	return true;
}

/* Copies the text, which ends without NUL, for a parser; false if none of them can take it. */
static bool text_copy(char *copy, struct lmq_bytes text)
{
	if (text.size >= LMQ_VALUE_MAX || memchr(text.data, '\0', text.size) != NULL)
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	return true;
}

/* "10m", or a number of seconds. */
static bool ttl_read(struct envelope *envelope, struct scan *scan)
{
	struct lmq_bytes text = { scan->at, 0 };
	char copy[LMQ_VALUE_MAX];
	int64_t ttl;

	if (scan->at < scan->end && *scan->at == '"') {
		if (!scan_string(scan, &text))
			return fault(envelope, not_object);
	} else {
		if (!scan_value(scan))
			return fault(envelope, not_object);
		text.size = (size_t)(scan->at - text.data);
	}
	if (!text_copy(copy, text) || lmq_duration_parse(copy, &ttl) != 0 || ttl <= 0)
		return field_fault(envelope, FIELD_TTL, "is not a duration above 0, such as \"10m\"");
	envelope->message.ttl = ttl;
	return true;
}

/* RFC 3339 with a zone. The library reads more, which would mean another time at each reading. */
static bool is_timestamp(const char *text)
{
	size_t size = strlen(text);

	if (size < 17 || text[4] != '-' || strchr("Tt ", text[10]) == NULL)
		return false;
	return strchr("Zz", text[size - 1]) != NULL || strchr("+-", text[size - 6]) != NULL;
}

/* The envelope's own time stands before a delay for all messages. */
static bool not_before_read(struct envelope *envelope, struct scan *scan)
{
	struct lmq_message *message = &envelope->message;
	struct lmq_bytes text;
	char copy[LMQ_VALUE_MAX];

	if (!text_read(envelope, scan, FIELD_NOT_BEFORE, &text))
		return false;
	if (!text_copy(copy, text) || !is_timestamp(copy) ||
	    lmq_time_parse(copy, 0, &message->not_before) != 0)
		return field_fault(envelope, FIELD_NOT_BEFORE,
			"is not a time such as \"2026-01-24T10:11:12Z\"");
	message->delay = 0;
	return true;
}

static bool tombstone_read(struct envelope *envelope, struct scan *scan)
{
	envelope->message.tombstone = scan_word(scan, "true");
	return envelope->message.tombstone || scan_word(scan, "false") ||
		field_fault(envelope, FIELD_TOMBSTONE, "is neither true nor false");
}

static bool field_read(struct envelope *envelope, struct scan *scan, enum field field)
{
	struct lmq_message *message = &envelope->message;

	scan_space(scan);
	/* null says nothing, except as the body */
	if (field > FIELD_DATA && scan_word(scan, "null"))
		return true;
	switch (field) {
	case FIELD_ID:
		return text_read(envelope, scan, field, &message->id);
	case FIELD_KEY:
		return text_read(envelope, scan, field, &message->key);
	case FIELD_TYPE:
		return text_read(envelope, scan, field, &message->type);
	case FIELD_REPLY_TO:
		return text_read(envelope, scan, field, &message->reply_to);
	case FIELD_CORRELATION:
		return text_read(envelope, scan, field, &message->correlation);
	case FIELD_HEADERS:
		return headers_read(envelope, scan);
	case FIELD_PRIORITY:
		return priority_read(envelope, scan);
	case FIELD_TTL:
		return ttl_read(envelope, scan);
	case FIELD_NOT_BEFORE:
		return not_before_read(envelope, scan);
	case FIELD_TOMBSTONE:
		return tombstone_read(envelope, scan);
	default:
		return body_read(envelope, scan, field);
	}
}

static enum field field_look_up(struct lmq_bytes name)
{
	int field = 0;

	while (field < FIELD_COUNT && (strlen(field_names[field]) != name.size ||
	    memcmp(field_names[field], name.data, name.size) != 0))
		field++;
	return (enum field)field;
}

static bool members_read(struct envelope *envelope, struct scan *scan)
{
	struct lmq_bytes name;
	unsigned seen = 0;

	do {
		enum field field;

		if (!scan_string(scan, &name) || !scan_take(scan, ':'))
			return fault(envelope, not_object);
		field = field_look_up(name);
		if (field == FIELD_COUNT) {
			if (!scan_value(scan))
				return fault(envelope, not_object);
			continue;
		}
		if (seen & 1u << field)
			return field_fault(envelope, field, "is there twice");
		seen |= 1u << field;
		if (!field_read(envelope, scan, field))
			return false;
	} while (scan_take(scan, ','));
	return scan_take(scan, '}') || fault(envelope, not_object);
}

/* The headers that the envelope does not have itself. */
static bool headers_default(struct envelope *envelope, const struct lmq_message *defaults)
{
	size_t own = envelope->message.header_count;

	for (size_t i = 0; i < defaults->header_count; i++) {
		size_t k = 0;

		while (k < own && !same(envelope->headers[k].name, defaults->headers[i].name))
			k++;
		if (k == own && !header_append(envelope, &defaults->headers[i]))
			return false;
	}
	return true;
}

bool envelope_read(struct envelope *envelope, char *text, size_t size,
	const struct lmq_message *defaults)
{
	struct scan scan = { text, text + size };
	struct lmq_message *message = &envelope->message;

	*message = *defaults;
	message->body = (struct lmq_bytes){ NULL, 0 };
	message->headers = envelope->headers;
	message->header_count = 0;
	if (!scan_take(&scan, '{'))
		return fault(envelope, not_object);
	if (!scan_take(&scan, '}') && !members_read(envelope, &scan))
		return false;
	scan_space(&scan);
	if (scan.at != scan.end)
		return fault(envelope, not_object);
	if (message->body.data == NULL && message->tombstone)
		message->body.data = "";
	if (message->body.data == NULL)
		return fault(envelope, "no body, body_base64 or data");
	return headers_default(envelope, defaults);
}
