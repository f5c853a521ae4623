/* SPDX-License-Identifier: ISC */
/*
 * Filters: conditions on the key and the headers of a message, prepared so that a reader can afford
 * to ask for every message. A condition without wildcards becomes a comparison.
 */
#include "libmq.h"

#include <stdlib.h>
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

struct lmq_filter {
	enum match match;	/* of the key */
	char *key;
	size_t key_size;
	struct condition *conditions;
	size_t count;
};

int lmq_filter_open(lmq_filter **filter)
{
	*filter = calloc(1, sizeof(**filter));
	return *filter ? 0 : LMQ_ENOMEM;
}

void lmq_filter_close(lmq_filter *filter)
{
	if (!filter)
		return;
	for (size_t i = 0; i < filter->count; i++)
		free(filter->conditions[i].name);
	free(filter->conditions);
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

bool lmq_filter_match(const lmq_filter *filter, const struct lmq_message *message)
{
	if (!filter)
		return true;
	if (!key_match(filter, &message->key))
		return false;
	for (size_t i = 0; i < filter->count; i++) {
		if (!condition_match(&filter->conditions[i], message))
			return false;
	}
	return true;
}
