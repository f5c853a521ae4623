/* SPDX-License-Identifier: ISC */
/* The bytes of keys. Pure functions; format.h has the schema. */
#include "format.h"

#include "libmq.h"

#include <string.h>

static struct key key_begin(char table)
{
	struct key k;
	k.bytes[0] = (uint8_t)table;
	k.size = 1;
	return k;
}

static void key_add(struct key *k, uint64_t v, size_t width)
{
	while (width-- > 0)
		k->bytes[k->size++] = (uint8_t)(v >> (8 * width));
}

static void key_add_text(struct key *k, const char *text)
{
	size_t n = strnlen(text, LMQ_NAME_MAX);
	memcpy(k->bytes + k->size, text, n);
	k->size += n;
}

struct key key_store(void)
{
	return key_begin('S');
}

struct key key_name(const char *name)
{
	struct key k = key_begin('C');
	key_add_text(&k, name);
	return k;
}

struct key key_channel(uint32_t id)
{
	struct key k = key_begin('P');
	key_add(&k, id, 4);
	return k;
}

static struct key key_lane(char table, uint32_t id, uint16_t lane)
{
	struct key k = key_begin(table);
	key_add(&k, id, 4);
	key_add(&k, lane, 2);
	return k;
}

struct key key_head(uint32_t id, uint16_t lane)
{
	return key_lane('H', id, lane);
}

struct key key_block(uint32_t id, uint16_t lane, uint64_t offset, uint32_t part)
{
	struct key k = key_lane('L', id, lane);
	key_add(&k, offset, 8);
	key_add(&k, part, 4);
	return k;
}

struct key key_group(uint32_t id, uint16_t lane, const char *group)
{
	struct key k = key_lane('G', id, lane);
	key_add_text(&k, group);
	return k;
}

struct key key_floor(uint32_t id, uint16_t lane, uint64_t floor, uint32_t space)
{
	struct key k = key_lane('F', id, lane);
	key_add(&k, floor, 8);
	key_add(&k, space, 4);
	return k;
}

struct key key_route(uint32_t number)
{
	struct key k = key_begin('U');
	key_add(&k, number, 4);
	return k;
}

static struct key key_space(char table, uint32_t space)
{
	struct key k = key_begin(table);
	key_add(&k, space, 4);
	return k;
}

struct key key_run(uint32_t space, uint64_t first)
{
	struct key k = key_space('R', space);
	key_add(&k, first, 8);
	return k;
}

struct key key_ready(uint32_t space, uint8_t class, uint64_t first)
{
	struct key k = key_space('Q', space);
	key_add(&k, class, 1);
	key_add(&k, first, 8);
	return k;
}

struct key key_due(uint32_t space, int64_t due, uint64_t first)
{
	struct key k = key_space('D', space);
	key_add(&k, (uint64_t)due, 8);
	key_add(&k, first, 8);
	return k;
}

struct key key_chain(uint32_t space, uint64_t hash, uint64_t offset)
{
	struct key k = key_space('K', space);
	key_add(&k, hash, 8);
	key_add(&k, offset, 8);
	return k;
}

static void key_add_hash(struct key *k, const uint8_t hash[16])
{
	memcpy(k->bytes + k->size, hash, 16);
	k->size += 16;
}

struct key key_settings(uint32_t id, const char *group)
{
	struct key k = key_space('E', id);
	key_add_text(&k, group);
	return k;
}

struct key key_latest(uint32_t id, uint16_t lane, const uint8_t hash[16], uint64_t offset)
{
	struct key k = key_lane('M', id, lane);
	key_add_hash(&k, hash);
	key_add(&k, offset, 8);
	return k;
}

struct key key_id(uint32_t id, const uint8_t hash[16])
{
	struct key k = key_space('I', id);
	key_add_hash(&k, hash);
	return k;
}

struct key key_id_age(uint32_t id, int64_t time, const uint8_t hash[16])
{
	struct key k = key_space('J', id);
	key_add(&k, (uint64_t)time, 8);
	key_add_hash(&k, hash);
	return k;
}

struct key key_resume(uint32_t id, const char *name)
{
	struct key k = key_space('N', id);
	key_add_text(&k, name);
	return k;
}

static struct key key_blob(char table, uint64_t blob)
{
	struct key k = key_begin(table);
	key_add(&k, blob, 8);
	return k;
}

struct key key_chunk(uint64_t blob, uint32_t part)
{
	struct key k = key_blob('B', blob);
	key_add(&k, part, 4);
	return k;
}

struct key key_shared(uint64_t blob)
{
	return key_blob('V', blob);
}

struct key key_staging(uint64_t blob)
{
	return key_blob('T', blob);
}

struct key key_sweep(char kind, uint64_t number)
{
	struct key k = key_begin('X');
	k.bytes[k.size++] = (uint8_t)kind;
	key_add(&k, number, 8);
	return k;
}
