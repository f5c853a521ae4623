/* SPDX-License-Identifier: ISC */
/* Batches: encoded messages one behind the other in memory, as log_append takes them. */
#include "log.h"

#include <string.h>

enum {
	FIRST_ROOM = 4 << 10,
	SLACK = 3 * VARINT_MAX,		/* log_append reads a little beyond a short first record */
};

static bool batch_reserve(struct batch *b, size_t need)
{
	size_t room = b->room ? b->room : FIRST_ROOM;
	uint8_t *more;
	need += VARINT_MAX + b->size + SLACK;
	if (need <= b->room)
		return true;
	while (room < need)
		room *= 2;
	more = realloc(b->memory, room);
	if (!more)
		return false;
	if (!b->memory)
		memset(more, 0, VARINT_MAX);
	b->memory = more;
	b->records = more + VARINT_MAX;
	b->room = room;
	return true;
}

bool batch_add(struct batch *b, const struct lmq_message *m, const struct blob *blob)
{
	if (!batch_reserve(b, message_room(m)))
		return false;
	b->size = (size_t)(message_encode(b->records + b->size, m, 0, blob) - b->records);
	b->count++;
	b->special |= message_is_special(m);
	b->has_ttl |= m->ttl > 0;
	b->has_id |= m->id.data != NULL;
	return true;
}

bool batch_add_record(struct batch *b, const uint8_t *record, const uint8_t *end)
{
	size_t size = (size_t)(end - record);
	if (!batch_reserve(b, size))
		return false;
	memcpy(b->records + b->size, record, size);
	b->size += size;
	b->count++;
	return true;
}

bool batch_next(const struct batch *b, size_t *at, const uint8_t **record, const uint8_t **start, const uint8_t **end)
{
	uint64_t size;
	if (*at >= b->size)
		return false;
	*record = b->records + *at;
	*start = get_varint(*record, b->records + b->size, &size);
	*end = *start + size;
	*at = (size_t)(*end - b->records);
	return true;
}

uint64_t record_bytes(const uint8_t *record, const uint8_t *start, const uint8_t *end)
{
	return (uint64_t)(end - record) + (*start & RECORD_BLOB ? get64(end - 8) : 0);
}

size_t batch_prefix(const struct batch *b, uint64_t count, uint64_t bytes, size_t *size)
{
	const uint8_t *record = b->records, *start, *end;
	size_t at = 0, n = 0;
	*size = b->size;
	if (count >= b->count && bytes == UINT64_MAX)
		return b->count;
	for (*size = 0; n < count && batch_next(b, &at, &record, &start, &end); n++) {
		uint64_t need = record_bytes(record, start, end);
		if (need > bytes)
			break;
		bytes -= need;
		*size = at;
	}
	return n;
}

void batch_shift(struct batch *b, size_t count)
{
	size_t size;
	if (count >= b->count) {
		batch_empty(b);
		return;
	}
	batch_prefix(b, count, UINT64_MAX, &size);
	memmove(b->records, b->records + size, b->size - size);
	b->size -= size;
	b->count -= count;
}

void batch_empty(struct batch *b)
{
	b->size = b->count = 0;
	b->special = b->has_ttl = b->has_id = false;
}

void batch_free(struct batch *b)
{
	free(b->memory);
	*b = (struct batch){ .records = NULL };
}
