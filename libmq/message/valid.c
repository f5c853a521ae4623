/* SPDX-License-Identifier: ISC */
/* What a message may be. Pure functions. */
#include "message.h"

#include <string.h>

/* Valid UTF-8 (no surrogates, nothing overlong, at most U+10FFFF) without NUL: what JSON can carry back. */
static bool text_valid(struct lmq_bytes b)
{
	const uint8_t *p = (const uint8_t *)b.data, *end = b.size ? p + b.size : p;
	while (p < end) {
		uint32_t c = *p++, least;
		int more;
		if (c == 0)
			return false;
		if (c < 0x80)
			continue;
		more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
		least = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
		if (c < 0xc2 || c > 0xf4 || end - p < more)
			return false;
		c &= 0x3fu >> more;
		for (; more > 0; more--, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*p & 0x3f);
		}
		if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
	}
	return true;
}

static bool short_text(struct lmq_bytes b, size_t most)
{
	return b.size <= most && (b.data || b.size == 0) && text_valid(b);
}

static const char *headers_wrong(const struct lmq_message *m, size_t *size)
{
	if (m->header_count > LMQ_HEADERS_MAX)
		return "more than 128 headers";
	for (size_t i = 0; i < m->header_count; i++) {
		const struct lmq_header *h = &m->headers[i];
		if (h->name.size == 0 || !short_text(h->name, LMQ_FIELD_MAX))
			return "a header's name is not 1 to 255 bytes of UTF-8 without NUL";
		if (!short_text(h->value, LMQ_FIELDS_MAX))
			return "a header's value is not UTF-8 without NUL, or too long";
		for (size_t j = 0; j < i; j++)
			if (m->headers[j].name.size == h->name.size &&
					memcmp(m->headers[j].name.data, h->name.data, h->name.size) == 0)
				return "a header is given twice";
		*size += h->name.size + h->value.size + 3 * VARINT_MAX;
	}
	return NULL;
}

static const char *wrong(const struct lmq_message *m)
{
	size_t size = m->key.size + m->type.size + m->id.size + m->reply_to.size + m->correlation.size;
	const char *what;
	if (!short_text(m->key, LMQ_KEY_MAX))
		return "the key is not UTF-8 without NUL, or longer than 1024 bytes";
	if (!short_text(m->type, LMQ_FIELD_MAX))
		return "the type is not UTF-8 without NUL, or longer than 255 bytes";
	if (!short_text(m->id, LMQ_FIELD_MAX))
		return "the id is not UTF-8 without NUL, or longer than 255 bytes";
	if (!short_text(m->reply_to, LMQ_FIELD_MAX))
		return "reply_to is not UTF-8 without NUL, or longer than 255 bytes";
	if (!short_text(m->correlation, LMQ_FIELD_MAX))
		return "the correlation is not UTF-8 without NUL, or longer than 255 bytes";
	if (m->priority < 0 || m->priority > LMQ_PRIORITY_MAX)
		return "the priority is not 0 to 9";
	if (m->ttl < 0)
		return "the time to live is negative";
	if (m->delay < 0)
		return "the delay is negative";
	if (m->not_before < 0)
		return "not_before lies before 1970";
	if (m->tombstone && (!m->key.data || m->body.size > 0))
		return "a tombstone without a key, or with a body";
	what = headers_wrong(m, &size);
	if (what)
		return what;
	return size > LMQ_FIELDS_MAX ? "key, headers and other fields are larger than 32 KiB" : NULL;
}

bool message_is_bare(const struct lmq_message *m)
{
	return !m->key.data && !m->type.data && !m->id.data && !m->reply_to.data && !m->correlation.data &&
		m->header_count == 0 && m->priority == LMQ_PRIORITY_DEFAULT &&
		(m->ttl | m->delay | m->not_before) == 0 && !m->death && !m->tombstone;
}

int message_check(const struct lmq_message *m, const char **what)
{
	*what = message_is_bare(m) ? NULL : wrong(m);
	return *what ? LMQ_EDATA : 0;
}
