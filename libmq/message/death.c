/* SPDX-License-Identifier: ISC */
/* What happened to a message: histories, and the field that makes it a dead letter. Pure functions. */
#include "message.h"

#include <string.h>

_Static_assert((int)LMQ_FIELDS_MAX + (int)DEATH_MAX + 128 <= (int)RECORD_MAX - (int)BODY_INLINE_MAX,
	"a dead letter with the largest fields fits a record");
_Static_assert((int)RUN_ERROR_MAX == (int)LMQ_ERROR_MAX, "a run keeps all that a dead letter tells");

struct lmq_history history_unpack(const struct run_history *h, struct lmq_bytes error)
{
	return (struct lmq_history){
		.attempts = h->attempts,
		.failures = h->failures,
		.crashes = h->crashes,
		.timeouts = h->timeouts,
		.returned = h->returned,
		.first_time = h->first_time,
		.last_time = h->last_time,
		.reason = (enum lmq_reason)h->reason,
		.exit_status = h->exit_status,
		.signal = h->signal,
		.error = error,
	};
}

/* What a caller made up becomes something that can be read back. */
struct run_history history_pack(const struct lmq_history *h)
{
	return (struct run_history){
		.attempts = h->attempts,
		.failures = h->failures,
		.crashes = h->crashes,
		.timeouts = h->timeouts,
		.returned = h->returned,
		.first_time = h->first_time > 0 ? h->first_time : 0,
		.last_time = h->last_time > 0 ? h->last_time : 0,
		.reason = h->reason <= LMQ_OVERFLOW ? (uint8_t)h->reason : LMQ_REASON_NONE,
		.exit_status = h->exit_status >= 0 && h->exit_status < INT32_MAX ? h->exit_status : -1,
		.signal = h->signal > 0 ? h->signal : 0,
	};
}

struct lmq_bytes error_tail(struct lmq_bytes error)
{
	size_t cut = error.size > LMQ_ERROR_MAX ? error.size - LMQ_ERROR_MAX : 0;
	return cut ? (struct lmq_bytes){ error.data + cut, LMQ_ERROR_MAX } : error;
}

uint8_t *put_death(uint8_t *p, const struct lmq_death *d)
{
	struct run_history history = history_pack(&d->history);
	struct lmq_bytes error = error_tail(d->history.error);
	size_t n = d->origin.size < LMQ_NAME_MAX ? d->origin.size : LMQ_NAME_MAX;
	p = put_varint(p, n);
	if (n)
		memcpy(p, d->origin.data, n);
	p = put_varint(put_varint(p + n, d->partitioned ? d->partition + UINT64_C(1) : 0), d->offset);
	p = put_history(p, &history);
	if (error.size)
		memcpy(p, error.data, error.size);
	return p + error.size;
}

size_t death_size(const struct lmq_death *d)
{
	uint8_t field[DEATH_MAX];
	return (size_t)(put_death(field, d) - field);
}

bool death_name_sound(struct lmq_bytes name)
{
	char text[LMQ_NAME_MAX + 1];
	if (name.size > LMQ_NAME_MAX || memchr(name.data, '\0', name.size))
		return false;
	memcpy(text, name.data, name.size);
	text[name.size] = '\0';
	return lmq_name_valid(text);
}

bool get_death(struct lmq_bytes field, struct lmq_death *d)
{
	const uint8_t *p = (const uint8_t *)field.data, *end = p + field.size;
	struct run_history history;
	struct lmq_bytes error;
	uint64_t n, partition;
	p = get_varint(p, end, &n);
	if (!p || n > (uint64_t)(end - p))
		return false;
	d->origin = (struct lmq_bytes){ (const char *)p, n };
	d->group = (struct lmq_bytes){ NULL, 0 };
	p = get_varint(p + n, end, &partition);
	p = p ? get_varint(p, end, &d->offset) : NULL;
	p = p ? get_history(p, end, &history) : NULL;
	if (!p || end - p > LMQ_ERROR_MAX || partition > UINT32_MAX || d->offset > INT64_MAX)
		return false;
	d->partitioned = partition > 0;
	d->partition = d->partitioned ? (uint32_t)partition - 1 : 0;
	error = (struct lmq_bytes){ p < end ? (const char *)p : NULL, (size_t)(end - p) };
	d->history = history_unpack(&history, error);
	return death_name_sound(d->origin);
}
