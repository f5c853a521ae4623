/* SPDX-License-Identifier: ISC */
/* The message codec: a message becomes a record (format.h) and back. Pure functions. */
#include "message.h"

#include <string.h>

bool message_is_special(const struct lmq_message *m)
{
	return m->priority != LMQ_PRIORITY_DEFAULT || (m->delay | m->not_before) != 0;
}

/* ---- encoding ----------------------------------------------------------------------------- */

static size_t field_size(struct lmq_bytes b)
{
	return b.data ? 1 + varint_size(b.size) + b.size : 0;
}

static size_t header_size(const struct lmq_header *h)
{
	return varint_size(h->name.size) + h->name.size + h->value.size;
}

static size_t number_size(int64_t v)
{
	return v ? 2 + varint_size((uint64_t)v) : 0;
}

static size_t fields_size(const struct lmq_message *m)
{
	size_t size;
	if (message_is_bare(m))
		return 0;
	size = field_size(m->type) + field_size(m->id) + field_size(m->reply_to) + field_size(m->correlation);
	if (m->priority != LMQ_PRIORITY_DEFAULT)
		size += 3;
	for (size_t i = 0; i < m->header_count; i++) {
		size_t n = header_size(&m->headers[i]);
		size += 1 + varint_size(n) + n;
	}
	size += number_size(m->ttl) + number_size(m->delay) + number_size(m->not_before);
	if (m->tombstone)
		size += 2;
	if (m->death) {
		size_t n = death_size(m->death);
		size += 1 + varint_size(n) + n + field_size(m->death->group);
	}
	return size;
}

size_t message_room(const struct lmq_message *m)
{
	return 4 * VARINT_MAX + 1 + m->key.size + fields_size(m) +
		(m->body.size > BODY_INLINE_MAX ? 16 : m->body.size);
}

static uint8_t *put_bytes(uint8_t *p, struct lmq_bytes b)
{
	if (b.size)
		memcpy(p, b.data, b.size);
	return p + b.size;
}

static uint8_t *put_field(uint8_t *p, enum field_tag tag, struct lmq_bytes b)
{
	if (!b.data)
		return p;
	*p++ = (uint8_t)tag;
	return put_bytes(put_varint(p, b.size), b);
}

static uint8_t *put_number(uint8_t *p, enum field_tag tag, int64_t v)
{
	if (!v)
		return p;
	*p++ = (uint8_t)tag;
	*p++ = (uint8_t)varint_size((uint64_t)v);
	return put_varint(p, (uint64_t)v);
}

static uint8_t *put_fields(uint8_t *p, const struct lmq_message *m)
{
	p = put_field(p, FIELD_TYPE, m->type);
	if (m->priority != LMQ_PRIORITY_DEFAULT) {
		*p++ = FIELD_PRIORITY;
		*p++ = 1;
		*p++ = (uint8_t)m->priority;
	}
	p = put_field(p, FIELD_ID, m->id);
	p = put_field(p, FIELD_REPLY_TO, m->reply_to);
	p = put_field(p, FIELD_CORRELATION, m->correlation);
	for (size_t i = 0; i < m->header_count; i++) {
		const struct lmq_header *h = &m->headers[i];
		*p++ = FIELD_HEADER;
		p = put_varint(p, header_size(h));
		p = put_varint(p, h->name.size);
		p = put_bytes(put_bytes(p, h->name), h->value);
	}
	p = put_number(p, FIELD_TTL, m->ttl);
	p = put_number(p, FIELD_DELAY, m->delay);
	p = put_number(p, FIELD_NOT_BEFORE, m->not_before);
	if (m->tombstone) {
		*p++ = FIELD_TOMBSTONE;
		*p++ = 0;
	}
	if (m->death) {
		*p++ = FIELD_DEATH;
		p = put_death(put_varint(p, death_size(m->death)), m->death);
	}
	if (m->death && m->death->group.data) {
		*p++ = FIELD_GROUP;
		p = put_bytes(put_varint(p, m->death->group.size), m->death->group);
	}
	return p;
}

uint8_t *message_encode(uint8_t *p, const struct lmq_message *m, uint64_t time_delta, const struct blob *blob)
{
	size_t fields = fields_size(m), size = 1 + varint_size(time_delta);
	uint8_t flags = (uint8_t)((m->key.data ? RECORD_KEY : 0) | (fields ? RECORD_FIELDS : 0) |
		(blob ? RECORD_BLOB : 0));
	if (m->key.data)
		size += varint_size(m->key.size) + m->key.size;
	if (fields)
		size += varint_size(fields) + fields;
	size += blob ? 16 : m->body.size;
	p = put_varint(p, size);
	*p++ = flags;
	p = put_varint(p, time_delta);
	if (m->key.data)
		p = put_bytes(put_varint(p, m->key.size), m->key);
	if (fields)
		p = put_fields(put_varint(p, fields), m);
	if (blob)
		return put64(put64(p, blob->number), blob->size);
	return put_bytes(p, m->body);
}

uint8_t *message_shift(uint8_t *record, uint64_t time_delta)
{
	uint8_t head[2 * VARINT_MAX + 1], *p;
	uint64_t size, old_delta;
	const uint8_t *start = get_varint(record, record + VARINT_MAX, &size);
	const uint8_t *rest = get_varint(start + 1, start + 1 + VARINT_MAX, &old_delta);
	size += varint_size(time_delta) - (size_t)(rest - start - 1);
	p = put_varint(head, size);
	*p++ = *start;
	p = put_varint(p, time_delta);
	record = (uint8_t *)rest - (p - head);
	memcpy(record, head, (size_t)(p - head));
	return record;
}

/* ---- decoding ----------------------------------------------------------------------------- */

/* A length and that many bytes. */
static const uint8_t *get_bytes(const uint8_t *p, const uint8_t *end, struct lmq_bytes *b)
{
	uint64_t n;
	p = get_varint(p, end, &n);
	if (!p || n > (uint64_t)(end - p))
		return NULL;
	b->data = (const char *)p;
	b->size = n;
	return p + n;
}

static bool get_header(struct lmq_bytes field, struct lmq_header *h)
{
	const uint8_t *p = (const uint8_t *)field.data, *end = p + field.size;
	p = get_bytes(p, end, &h->name);
	if (!p)
		return false;
	h->value = (struct lmq_bytes){ (const char *)p, (size_t)(end - p) };
	return true;
}

static bool get_number(struct lmq_bytes field, int64_t *v)
{
	const uint8_t *p = (const uint8_t *)field.data, *end = p + field.size;
	uint64_t n;
	if (get_varint(p, end, &n) != end || n > INT64_MAX)
		return false;
	*v = (int64_t)n;
	return true;
}

static bool get_field(unsigned tag, struct lmq_bytes field, struct lmq_message *m, struct decoded *room)
{
	switch (tag) {
	case FIELD_TYPE:
		m->type = field;
		return true;
	case FIELD_PRIORITY:
		m->priority = field.size == 1 ? *field.data : -1;
		return m->priority >= 0 && m->priority <= LMQ_PRIORITY_MAX;
	case FIELD_ID:
		m->id = field;
		return true;
	case FIELD_REPLY_TO:
		m->reply_to = field;
		return true;
	case FIELD_CORRELATION:
		m->correlation = field;
		return true;
	case FIELD_HEADER:
		return m->header_count < LMQ_HEADERS_MAX && get_header(field, &room->headers[m->header_count++]);
	case FIELD_TTL:
		return get_number(field, &m->ttl);
	case FIELD_DELAY:
		return get_number(field, &m->delay);
	case FIELD_NOT_BEFORE:
		return get_number(field, &m->not_before);
	case FIELD_DEATH:
		m->death = &room->death;
		return get_death(field, &room->death);
	case FIELD_TOMBSTONE:
		m->tombstone = true;
		return field.size == 0;
	case FIELD_GROUP:
		room->death.group = field;
		return m->death && death_name_sound(field);
	default:
		return true;
	}
}

static bool get_fields(struct lmq_bytes fields, struct lmq_message *m, struct decoded *room)
{
	const uint8_t *p = (const uint8_t *)fields.data, *end = p + fields.size;
	while (p && p < end) {
		struct lmq_bytes field;
		unsigned tag = *p;
		p = get_bytes(p + 1, end, &field);
		if (p && !get_field(tag, field, m, room))
			return false;
	}
	m->headers = room->headers;
	return p != NULL;
}

static bool get_blob(const uint8_t *p, const uint8_t *end, struct blob *blob)
{
	if (end - p != 16)
		return false;
	blob->number = get64(p);
	blob->size = get64(p + 8);
	return blob->size > 0 && blob->size < (uint64_t)1 << 40;
}

/* Nothing is left of it but its time. */
static bool is_hole(unsigned flags, const uint8_t *p, const uint8_t *end)
{
	return flags == RECORD_HOLE && p == end;
}

bool message_decode(const uint8_t *p, const uint8_t *end, struct lmq_message *m, struct decoded *room,
	struct blob *blob)
{
	unsigned flags = *p++;
	uint64_t delta;
	struct lmq_bytes fields;
	memset(m, 0, sizeof *m);
	m->priority = LMQ_PRIORITY_DEFAULT;
	blob->size = 0;
	p = get_varint(p, end, &delta);
	if (!p || flags & ~(unsigned)RECORD_KNOWN)
		return false;
	m->time = (int64_t)delta;
	if (flags & RECORD_HOLE)
		return is_hole(flags, p, end);
	if (flags & RECORD_KEY && !(p = get_bytes(p, end, &m->key)))
		return false;
	if (flags & RECORD_FIELDS && !((p = get_bytes(p, end, &fields)) && get_fields(fields, m, room)))
		return false;
	if (flags & RECORD_BLOB) {
		if (!get_blob(p, end, blob))
			return false;
		m->body.size = blob->size;
		return true;
	}
	m->body = (struct lmq_bytes){ (const char *)p, (size_t)(end - p) };
	return true;
}

bool message_skim(const uint8_t *p, const uint8_t *end, uint64_t *delta, struct blob *blob)
{
	unsigned flags = *p++;
	p = get_varint(p, end, delta);
	blob->size = 0;
	if (!p || flags & ~(unsigned)RECORD_KNOWN)
		return false;
	if (flags & RECORD_HOLE)
		return is_hole(flags, p, end);
	return !(flags & RECORD_BLOB) || (end - p >= 16 && get_blob(end - 16, end, blob));
}

/* Whether a field with that tag is among them; false too where they are none. */
static bool has_field(struct lmq_bytes fields, enum field_tag wanted)
{
	const uint8_t *p = (const uint8_t *)fields.data, *end = p + fields.size;
	struct lmq_bytes field;
	while (p && p < end) {
		if (*p == wanted)
			return true;
		p = get_bytes(p + 1, end, &field);
	}
	return false;
}

bool message_key(const uint8_t *p, const uint8_t *end, struct lmq_bytes *key, bool *tombstone)
{
	unsigned flags = *p++;
	struct lmq_bytes fields;
	uint64_t delta;
	*key = (struct lmq_bytes){ NULL, 0 };
	*tombstone = false;
	p = get_varint(p, end, &delta);
	if (p && flags & RECORD_KEY)
		p = get_bytes(p, end, key);
	if (p && flags & RECORD_FIELDS && (p = get_bytes(p, end, &fields)))
		*tombstone = key->data && has_field(fields, FIELD_TOMBSTONE);
	return p != NULL;
}
