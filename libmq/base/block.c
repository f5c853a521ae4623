/* SPDX-License-Identifier: ISC */
/* The bytes of blocks and chunks. Pure functions; format.h has the schema. */
#include "format.h"

#include "crc32c.h"

#include <string.h>

void block_seal(uint8_t *value, const struct block *b, const struct key *k)
{
	size_t link = b->link ? LINK_SIZE : 0;
	uint32_t crc;
	value[4] = BLOCK_VERSION;
	value[5] = (uint8_t)(b->link ? b->flags | BLOCK_HAS_LINK : b->flags);
	put16(value + 6, b->count);
	put16(value + 8, b->skip);
	put16(value + 10, 0);
	put64(value + 12, (uint64_t)b->base_time);
	put64(value + 20, (uint64_t)b->last_time);
	if (b->link)
		memcpy(value + BLOCK_HEADER, b->link, LINK_SIZE);
	crc = crc32c(0, value + 4, BLOCK_HEADER - 4 + link + b->size);
	put32(value, crc32c(crc, k->bytes, k->size));
}

bool block_get(struct block *b, const void *key, size_t key_size, const void *value, size_t size)
{
	const uint8_t *p = value;
	uint32_t crc;
	size_t link;
	if (size <= BLOCK_HEADER || size > BLOCK_LONGEST || p[4] != BLOCK_VERSION)
		return false;
	link = p[5] & BLOCK_HAS_LINK ? LINK_SIZE : 0;
	if (size <= BLOCK_HEADER + link)
		return false;
	crc = crc32c(0, p + 4, size - 4);
	if (get32(p) != crc32c(crc, key, key_size))
		return false;
	b->flags = p[5];
	b->count = get16(p + 6);
	b->skip = get16(p + 8);
	b->base_time = (int64_t)get64(p + 12);
	b->last_time = (int64_t)get64(p + 20);
	b->link = link ? p + BLOCK_HEADER : NULL;
	b->payload = p + BLOCK_HEADER + link;
	b->size = size - BLOCK_HEADER - link;
	return b->skip <= b->size && b->count <= (b->size - b->skip) / RECORD_LEAST && (b->flags & ~BLOCK_FLAGS) == 0 &&
		b->base_time >= 0 && b->base_time <= b->last_time;
}

static uint32_t chunk_crc(const struct key *k, const uint8_t *value, size_t size)
{
	return crc32c(crc32c(0, value + CHUNK_HEADER, size - CHUNK_HEADER), k->bytes, k->size);
}

void chunk_seal(uint8_t *value, size_t size, const struct key *k)
{
	put32(value, chunk_crc(k, value, size));
}

bool chunk_check(const void *value, size_t size, const struct key *k)
{
	const uint8_t *p = value;
	return size > CHUNK_HEADER && size <= BLOCK_MAX &&
		get32(p) == chunk_crc(k, p, size);
}
