/* SPDX-License-Identifier: ISC */
/*
 * Filters: conditions on a message, prepared so that a reader can afford to ask for every message. A
 * condition without wildcards becomes a comparison; ranges of offsets are kept apart and in order, so
 * that one is found by halving and a reader can jump to the next.
 */
#include "message.h"

#include <string.h>

enum match {
	MATCH_NOTHING_ASKED,
	MATCH_EXACT,		/* equal bytes */
	MATCH_PATTERN,
};

struct condition {
	char *name;		/* owns the memory of pattern too */
	size_t name_size;
	const char *pattern;
	size_t pattern_size;
	enum match match;
};

struct range {
	uint64_t first, end;
};

struct lmq_filter {
	bool ranged;		/* only offsets in ranges, which may be none */
	struct range *ranges;	/* ascending, none touches the next */
	size_t range_count, range_room;
	int64_t before;
	enum lmq_reason reason;	/* LMQ_REASON_NONE: not asked */
	char origin[LMQ_NAME_MAX + 1];	/* "": not asked */
	enum match match;	/* of the key */
	char *key;
	size_t key_size;
	struct condition *conditions;
	size_t count;
	bool any;		/* one of the conditions is enough */
};

int lmq_filter_open(lmq_filter **filter)
{
	*filter = calloc(1, sizeof(**filter));
	if (!*filter)
		return LMQ_ENOMEM;
	(*filter)->before = INT64_MAX;
	return 0;
}

void lmq_filter_close(lmq_filter *filter)
{
	if (!filter)
		return;
	for (size_t i = 0; i < filter->count; i++)
		free(filter->conditions[i].name);
	free(filter->conditions);
	free(filter->ranges);
	free(filter->key);
	free(filter);
}

static int refuse(const char **reason, const char *why)
{
	*reason = why;
	return LMQ_EINVAL;
}

int lmq_filter_key(lmq_filter *filter, const char *pattern, const char **reason)
{
	int status = lmq_pattern_valid(pattern, reason);

	if (status)
		return status;
	if (filter->key)
		return refuse(reason, "only one key pattern can be given");
	filter->key = strdup(pattern);
	if (!filter->key)
		return LMQ_ENOMEM;
	filter->key_size = strlen(pattern);
	if (strcmp(pattern, "#") == 0)
		filter->match = MATCH_NOTHING_ASKED;
	else
		filter->match = lmq_pattern_literal(pattern) ? MATCH_EXACT : MATCH_PATTERN;
	return 0;
}

/* Room for one more condition. */
static struct condition *condition_room(lmq_filter *filter)
{
	struct condition *grown;

	grown = realloc(filter->conditions, (filter->count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	filter->conditions = grown;
	return grown + filter->count;
}

int lmq_filter_header(lmq_filter *filter, const char *condition, const char **reason)
{
	const char *equals = condition ? strchr(condition, '=') : NULL;
	struct condition *room;
	char *copy;

	*reason = NULL;
	if (!equals)
		return refuse(reason, "not of the form NAME=GLOB");
	if (equals == condition)
		return refuse(reason, "the header's name is empty");
	if (equals - condition > LMQ_FIELD_MAX)
		return refuse(reason, "the header's name is longer than 255 bytes");
	if (strstr(equals, "[[:"))
		return refuse(reason, "classes such as [[:digit:]] are not known; write [0-9]");
	room = condition_room(filter);
	copy = room ? strdup(condition) : NULL;
	if (!copy)
		return LMQ_ENOMEM;
	*room = (struct condition){
		.name = copy,
		.name_size = (size_t)(equals - condition),
		.pattern = copy + (equals - condition) + 1,
		.pattern_size = strlen(equals + 1),
		.match = strpbrk(equals + 1, "*?[\\") ? MATCH_PATTERN : MATCH_EXACT,
	};
	filter->count++;
	return 0;
}

void lmq_filter_any(lmq_filter *filter)
{
	filter->any = true;
}

/* The index of the first range that ends behind offset. */
static size_t range_find(const lmq_filter *filter, uint64_t offset)
{
	size_t low = 0, high = filter->range_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (filter->ranges[middle].end > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool range_room(lmq_filter *filter)
{
	size_t room = filter->range_room ? 2 * filter->range_room : 8;
	struct range *grown;

	if (filter->range_count < filter->range_room)
		return true;
	grown = realloc(filter->ranges, room * sizeof(*grown));
	if (!grown)
		return false;
	filter->ranges = grown;
	filter->range_room = room;
	return true;
}

int lmq_filter_offsets(lmq_filter *filter, uint64_t first, uint64_t end)
{
	size_t at, behind;

	if (!range_room(filter))
		return LMQ_ENOMEM;
	filter->ranged = true;
	if (first >= end)
		return 0;
	/* Those from at on, up to behind, overlap the new one or touch it: it takes their place. */
	at = first > 0 ? range_find(filter, first - 1) : 0;
	for (behind = at; behind < filter->range_count && filter->ranges[behind].first <= end; behind++) {
		if (filter->ranges[behind].first < first)
			first = filter->ranges[behind].first;
		if (filter->ranges[behind].end > end)
			end = filter->ranges[behind].end;
	}
	memmove(filter->ranges + at + 1, filter->ranges + behind,
		(filter->range_count - behind) * sizeof(*filter->ranges));
	filter->ranges[at] = (struct range){ first, end };
	filter->range_count += at + 1 - behind;
	return 0;
}

bool filter_range(const lmq_filter *filter, uint64_t from, uint64_t *first)
{
	size_t at;

	*first = from;
	if (!filter || !filter->ranged)
		return true;
	at = range_find(filter, from);
	if (at == filter->range_count)
		return false;
	if (filter->ranges[at].first > from)
		*first = filter->ranges[at].first;
	return true;
}

void lmq_filter_before(lmq_filter *filter, int64_t time)
{
	if (time < filter->before)
		filter->before = time;
}

void lmq_filter_reason(lmq_filter *filter, enum lmq_reason reason)
{
	filter->reason = reason;
}

int lmq_filter_origin(lmq_filter *filter, const char *channel)
{
	if (!lmq_name_valid(channel))
		return LMQ_EINVAL;
	strcpy(filter->origin, channel);
	return 0;
}

static bool bytes_equal(const struct lmq_bytes *bytes, const char *text, size_t size)
{
	return bytes->data && bytes->size == size && memcmp(bytes->data, text, size) == 0;
}

static bool condition_match(const struct condition *condition, const struct lmq_message *message)
{
	for (size_t i = 0; i < message->header_count; i++) {
		const struct lmq_bytes *name = &message->headers[i].name;
		const struct lmq_bytes *value = &message->headers[i].value;

		if (!bytes_equal(name, condition->name, condition->name_size))
			continue;
		if (condition->match == MATCH_EXACT)
			return bytes_equal(value, condition->pattern, condition->pattern_size);
		return lmq_glob_match(condition->pattern, value->data, value->size);
	}
	return false;
}

static bool key_match(const lmq_filter *filter, const struct lmq_bytes *key)
{
	if (filter->match == MATCH_EXACT)
		return bytes_equal(key, filter->key, filter->key_size);
	return filter->match == MATCH_NOTHING_ASKED
		|| lmq_pattern_match(filter->key, key->data, key->size);
}

static bool place_match(const lmq_filter *filter, const struct lmq_message *message)
{
	uint64_t first;

	return message->time < filter->before && filter_range(filter, message->offset, &first)
		&& first == message->offset;
}

static bool death_match(const lmq_filter *filter, const struct lmq_death *death)
{
	if (filter->reason != LMQ_REASON_NONE && (!death || death->history.reason != filter->reason))
		return false;
	return !*filter->origin
		|| (death && bytes_equal(&death->origin, filter->origin, strlen(filter->origin)));
}

bool lmq_filter_match(const lmq_filter *filter, const struct lmq_message *message)
{
	if (!filter)
		return true;
	if (!place_match(filter, message) || !death_match(filter, message->death)
			|| !key_match(filter, &message->key))
		return false;
	for (size_t i = 0; i < filter->count; i++) {
		if (condition_match(&filter->conditions[i], message) == filter->any)
			return filter->any;
	}
	return !filter->any || filter->count == 0;
}
