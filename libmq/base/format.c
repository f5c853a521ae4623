/* SPDX-License-Identifier: ISC */
/* The bytes of values but blocks and runs. Pure functions; format.h has the schema. */
#include "format.h"

#include "crc32c.h"
#include "libmq.h"

#include <string.h>

/* ---- numbers ------------------------------------------------------------------------------ */

uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

size_t varint_size(uint64_t v)
{
	size_t n = 1;
	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

const uint8_t *get_long_varint(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
	uint64_t r = 0;
	for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
		uint8_t byte = *p++;
		if (shift == 63 && byte > 1)
			return NULL;
		r |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*v = r;
			return p;
		}
	}
	return NULL;
}

/* ---- values ------------------------------------------------------------------------------- */

static uint32_t record_crc(const struct key *k, const void *value, size_t size)
{
	return crc32c(crc32c(0, value, size), k->bytes, k->size);
}

size_t record_seal(const struct key *k, uint8_t *out, const uint8_t *end)
{
	size_t size = (size_t)(end - out);
	put32(out + size, record_crc(k, out, size));
	return size + 4;
}

bool record_sound(const struct key *k, const void *data, size_t size)
{
	return size >= 4 && get32((const uint8_t *)data + size - 4) == record_crc(k, data, size - 4);
}

size_t store_record_put(const struct store_record *r, const struct key *k, uint8_t *out)
{
	uint8_t *p = put32(out, r->version);
	p = put64(p, r->features);
	memcpy(p, r->uuid, sizeof r->uuid);
	p = put64(p + sizeof r->uuid, (uint64_t)r->created);
	p = put32(p, r->next_id);
	p = put64(p, r->next_blob);
	*p++ = r->create;
	*p++ = r->sync;
	p = put64(p, r->max_bytes);
	p = put32(p, r->routes);
	p = put32(p, r->next_route);
	return record_seal(k, out, p);
}

bool store_record_get(struct store_record *r, const struct key *k, const void *data, size_t size)
{
	const uint8_t *p = data;
	if ((size != STORE_RECORD && size != STORE_RECORD_2) || !record_sound(k, data, size))
		return false;
	r->version = get32(p);
	r->features = get64(p + 4);
	memcpy(r->uuid, p + 12, sizeof r->uuid);
	r->created = (int64_t)get64(p + 28);
	r->next_id = get32(p + 36);
	r->next_blob = get64(p + 40);
	r->create = p[48];
	r->sync = p[49];
	r->max_bytes = get64(p + 50);
	r->routes = size == STORE_RECORD ? get32(p + 58) : 0;
	r->next_route = size == STORE_RECORD ? get32(p + 62) : 0;
	return r->next_blob >= 1 && r->next_id >= 1 && r->next_id < INT32_MAX && r->sync <= LMQ_SYNC_RELAXED &&
		r->create <= 1;
}

size_t channel_record_put(const struct channel_record *r, const struct key *k, uint8_t *out)
{
	uint8_t *p = out, *count;
	size_t n = strnlen(r->name, LMQ_NAME_MAX);
	*p++ = r->kind;
	p = put64(p, (uint64_t)r->created);
	*p++ = (uint8_t)n;
	memcpy(p, r->name, n);
	p += n;
	count = p++;
	*count = 0;
	for (unsigned i = 0; i < LIMIT_COUNT; i++)
		if (r->given & 1u << i) {
			*p++ = (uint8_t)i;
			p = put64(p, r->limit[i]);
			++*count;
		}
	n = strnlen(r->dead, LMQ_NAME_MAX);
	*p++ = (uint8_t)n;
	memcpy(p, r->dead, n);
	return record_seal(k, out, p + n);
}

bool channel_record_get(struct channel_record *r, const struct key *k, const void *data, size_t size)
{
	const uint8_t *p = data, *end;
	size_t n;
	if (size < 15 || !record_sound(k, data, size))
		return false;
	end = p + size - 4;
	memset(r, 0, sizeof *r);
	r->kind = *p;
	r->created = (int64_t)get64(p + 1);
	n = p[9];
	if (n > LMQ_NAME_MAX || n + 1 > (size_t)(end - p - 10))
		return false;
	memcpy(r->name, p + 10, n);
	r->name[n] = '\0';
	p += 10 + n;
	n = *p++;
	if ((size_t)(end - p) < n * 9 + 1 || r->kind < LMQ_QUEUE || r->kind > LMQ_GROUP || !lmq_name_valid(r->name))
		return false;
	for (; n-- > 0; p += 9) {
		if (*p >= LIMIT_COUNT)
			return false;
		r->given |= 1u << *p;
		r->limit[*p] = get64(p + 1);
	}
	n = *p++;
	if (n > LMQ_NAME_MAX || n != (size_t)(end - p))
		return false;
	memcpy(r->dead, p, n);
	return n == 0 || lmq_name_valid(r->dead);
}

size_t head_record_put(const struct head_record *r, const struct key *k, uint8_t *out)
{
	uint8_t *p = put64(out, r->first);
	p = put64(p, r->end);
	p = put64(p, (uint64_t)r->last_time);
	p = put64(p, r->bytes);
	p = put64(p, r->sent_bytes);
	p = put64(p, r->large);
	p = put64(p, r->tail_offset);
	p = put32(p, r->tail_part);
	p = put16(p, r->tail_used);
	p = put64(p, r->indexed);
	p = put64(p, r->holes);
	*p++ = r->flags;
	return record_seal(k, out, p);
}

bool head_record_get(struct head_record *r, const struct key *k, const void *data, size_t size)
{
	const uint8_t *p = data;
	if ((size != HEAD_RECORD && size != HEAD_RECORD_2) || !record_sound(k, data, size))
		return false;
	r->first = get64(p);
	r->end = get64(p + 8);
	r->last_time = (int64_t)get64(p + 16);
	r->bytes = get64(p + 24);
	r->sent_bytes = get64(p + 32);
	r->large = get64(p + 40);
	r->tail_offset = get64(p + 48);
	r->tail_part = get32(p + 56);
	r->tail_used = get16(p + 60);
	r->indexed = size == HEAD_RECORD ? get64(p + 62) : 0;
	r->holes = size == HEAD_RECORD ? get64(p + 70) : 0;
	r->flags = size == HEAD_RECORD ? p[78] : 0;
	return r->first <= r->end && r->indexed <= r->end && r->holes <= r->end - r->first && r->end < INT64_MAX && r->last_time >= 0 && r->tail_used <= BLOCK_MAX &&
		(r->tail_used == 0 || (r->tail_used > BLOCK_HEADER && r->tail_offset < r->end));
}

size_t group_record_put(const struct group_record *r, const struct key *k, uint8_t *out)
{
	uint8_t *p = put64(out, r->next);
	p = put64(p, r->settled);
	p = put32(p, r->space);
	*p++ = r->flags;
	for (size_t i = 0; i < RUN_STATES; i++)
		p = put64(p, r->state[i]);
	for (size_t i = 0; i < COUNTERS; i++)
		p = put64(p, r->counter[i]);
	p = put64(p, r->floor);
	return record_seal(k, out, p);
}

bool group_record_get(struct group_record *r, const struct key *k, const void *data, size_t size)
{
	const uint8_t *p = data;
	if ((size != GROUP_RECORD && size != GROUP_RECORD_2) || !record_sound(k, data, size))
		return false;
	r->next = get64(p);
	r->settled = get64(p + 8);
	r->space = get32(p + 16);
	r->flags = p[20];
	p += 21;
	for (size_t i = 0; i < RUN_STATES; i++, p += 8)
		r->state[i] = get64(p);
	for (size_t i = 0; i < COUNTERS; i++, p += 8)
		r->counter[i] = get64(p);
	r->floor = size == GROUP_RECORD ? get64(p) : UINT64_MAX;
	return r->next < INT64_MAX && r->space < INT32_MAX;
}

/* ---- ids ---------------------------------------------------------------------------------- */

size_t id_record_put(const struct id_record *r, const struct key *k, uint8_t *out)
{
	uint8_t *p = put64(put64(put64(out, r->offset), (uint64_t)r->time), r->body);
	return record_seal(k, out, put16(p, r->lane));
}

bool id_record_get(struct id_record *r, const struct key *k, const void *data, size_t size)
{
	const uint8_t *p = data;
	if ((size != ID_RECORD && size != ID_RECORD_2) || !record_sound(k, data, size))
		return false;
	r->offset = get64(p);
	r->time = (int64_t)get64(p + 8);
	r->body = get64(p + 16);
	r->lane = size == ID_RECORD ? get16(p + 24) : 0;
	return true;
}

size_t number_put(uint64_t number, size_t width, const struct key *k, uint8_t *out)
{
	for (size_t i = 0; i < width; i++)
		out[i] = (uint8_t)(number >> (8 * (width - 1 - i)));
	return record_seal(k, out, out + width);
}

bool number_get(uint64_t *number, size_t width, const struct key *k, const void *data, size_t size)
{
	const uint8_t *p = data;
	if (size != width + 4 || !record_sound(k, data, size))
		return false;
	*number = 0;
	for (size_t i = 0; i < width; i++)
		*number = *number << 8 | p[i];
	return true;
}

size_t name_put(const char *name, const struct key *k, uint8_t *out)
{
	size_t n = strnlen(name, LMQ_NAME_MAX);
	memcpy(out, name, n);
	return record_seal(k, out, out + n);
}

bool name_get(char *name, const struct key *k, const void *data, size_t size)
{
	if (size > LMQ_NAME_MAX + 4 || !record_sound(k, data, size))
		return false;
	memcpy(name, data, size - 4);
	name[size - 4] = '\0';
	return lmq_name_valid(name);
}
