/* SPDX-License-Identifier: ISC */
/* The bytes of a run of messages, and of what happened to them. Pure functions; format.h has the schema. */
#include "format.h"

#include "libmq.h"

#include <string.h>

enum {
	PART_DUE = 1,
	PART_HASH = 2,
	PART_HISTORY = 4,
	PART_OWNER = 8,
	PART_ERROR = 16,
	PART_STEADY = 32,
	PARTS_KNOWN = 63
};

enum { STEADY_SIZE = 4 + 8 };

static bool has_history(const struct run_history *h)
{
	return h->attempts || h->returned || h->first_time || h->last_time;
}

static unsigned run_parts(const struct run_record *r)
{
	return (r->due ? PART_DUE : 0u) | (r->key_hash ? PART_HASH : 0u) |
		(has_history(&r->history) ? PART_HISTORY : 0u) | (*r->owner ? PART_OWNER : 0u) |
		(r->error_size ? PART_ERROR : 0u) | (r->state == RUN_LEASED && r->boot ? PART_STEADY : 0u);
}

uint8_t *put_history(uint8_t *p, const struct run_history *h)
{
	p = put_varint(p, h->attempts);
	p = put_varint(p, h->failures);
	p = put_varint(p, h->crashes);
	p = put_varint(p, h->timeouts);
	p = put_varint(p, h->returned);
	p = put_varint(p, (uint64_t)h->first_time);
	p = put_varint(p, (uint64_t)h->last_time);
	*p++ = h->reason;
	p = put_varint(p, (uint32_t)(h->exit_status + 1));
	return put_varint(p, (uint32_t)h->signal);
}

static const uint8_t *get_small(const uint8_t *p, const uint8_t *end, uint32_t *v)
{
	uint64_t n;
	p = p ? get_varint(p, end, &n) : NULL;
	if (!p || n > UINT32_MAX)
		return NULL;
	*v = (uint32_t)n;
	return p;
}

static const uint8_t *get_time(const uint8_t *p, const uint8_t *end, int64_t *v)
{
	uint64_t n;
	p = p ? get_varint(p, end, &n) : NULL;
	if (!p || n > INT64_MAX)
		return NULL;
	*v = (int64_t)n;
	return p;
}

const uint8_t *get_history(const uint8_t *p, const uint8_t *end, struct run_history *h)
{
	uint32_t status = 0, signal = 0;
	p = get_small(p, end, &h->attempts);
	p = get_small(p, end, &h->failures);
	p = get_small(p, end, &h->crashes);
	p = get_small(p, end, &h->timeouts);
	p = get_small(p, end, &h->returned);
	p = get_time(p, end, &h->first_time);
	p = get_time(p, end, &h->last_time);
	if (!p || p == end || *p > LMQ_OVERFLOW)
		return NULL;
	h->reason = *p++;
	p = get_small(p, end, &status);
	p = get_small(p, end, &signal);
	if (!p || status > INT32_MAX || signal > INT32_MAX)
		return NULL;
	h->exit_status = (int32_t)status - 1;
	h->signal = (int32_t)signal;
	return p;
}

size_t run_record_put(const struct run_record *r, const struct key *k, uint8_t *out)
{
	unsigned parts = run_parts(r);
	uint8_t *p = put64(out, r->end);
	*p++ = r->state;
	*p++ = r->priority;
	*p++ = (uint8_t)parts;
	if (parts & PART_DUE)
		p = put64(p, (uint64_t)r->due);
	if (parts & PART_HASH)
		p = put64(p, r->key_hash);
	if (parts & PART_HISTORY)
		p = put_history(p, &r->history);
	if (parts & PART_OWNER) {
		size_t n = strnlen(r->owner, RUN_OWNER_MAX);
		*p++ = (uint8_t)n;
		memcpy(p, r->owner, n);
		p += n;
	}
	if (parts & PART_ERROR) {
		p = put16(p, r->error_size);
		memcpy(p, r->error, r->error_size);
		p += r->error_size;
	}
	if (parts & PART_STEADY)
		p = put64(put32(p, r->boot), (uint64_t)r->steady);
	return record_seal(k, out, p);
}

static const uint8_t *get_counted(const uint8_t *p, const uint8_t *end, size_t width, size_t most, char *to,
	size_t *size)
{
	if (!p || (size_t)(end - p) < width)
		return NULL;
	*size = width == 1 ? *p : get16(p);
	p += width;
	if (*size > most || *size > (size_t)(end - p))
		return NULL;
	memcpy(to, p, *size);
	return p + *size;
}

static const uint8_t *get_steady(const uint8_t *p, const uint8_t *end, struct run_record *r)
{
	if (!p || end - p < STEADY_SIZE || r->state != RUN_LEASED)
		return NULL;
	r->boot = get32(p);
	r->steady = (int64_t)get64(p + 4);
	return r->boot != 0 && r->steady >= 0 ? p + STEADY_SIZE : NULL;
}

/* Everything but the error is cleared, and that only as far as it reaches. */
static void run_clear(struct run_record *r)
{
	memset(r, 0, offsetof(struct run_record, error));
	r->history.exit_status = -1;
}

bool run_record_get(struct run_record *r, const struct key *k, const void *data, size_t size)
{
	const uint8_t *p = data, *end;
	unsigned parts;
	size_t n;
	if (k->size != RUN_KEY || size < 15 || !record_sound(k, data, size))
		return false;
	run_clear(r);
	end = p + size - 4;
	r->first = get64(k->bytes + RUN_PREFIX);
	r->end = get64(p);
	r->state = p[8];
	r->priority = p[9];
	parts = p[10];
	p += 11;
	if (parts & PART_DUE && end - p >= 8) {
		r->due = (int64_t)get64(p);
		p += 8;
	}
	if (parts & PART_HASH && end - p >= 8) {
		r->key_hash = get64(p);
		p += 8;
	}
	if (parts & PART_HISTORY)
		p = get_history(p, end, &r->history);
	if (parts & PART_OWNER)
		p = get_counted(p, end, 1, RUN_OWNER_MAX, r->owner, &n);
	if (parts & PART_ERROR) {
		p = get_counted(p, end, 2, RUN_ERROR_MAX, r->error, &n);
		r->error_size = p ? (uint16_t)n : 0;
	}
	if (parts & PART_STEADY)
		p = get_steady(p, end, r);
	return p == end && (parts & ~(unsigned)PARTS_KNOWN) == 0 && r->end > r->first && r->state < RUN_STATES &&
		r->priority <= LMQ_PRIORITY_MAX && r->due >= 0;
}
