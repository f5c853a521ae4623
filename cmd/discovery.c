/* SPDX-License-Identifier: ISC */
/*
 * Which channels mq-sub follows: those that match its patterns, now and later.
 *
 * Looking for channels costs more than looking for messages, and a wake-up does not say which of them came: so
 * messages go first, and looking for channels may take no more than a hundredth of the time.
 */
#include "follow.h"

#include <stdlib.h>

static int64_t next_scan;	/* not before this time */
static bool due;		/* something has happened since the last one */

static void pattern_check(const char *pattern)
{
	const char *reason = "";

	if (lmq_pattern_valid(pattern, &reason) != 0)
		die_usage("%s: %s", pattern, reason);
	if (lmq_pattern_literal(pattern) && !lmq_name_valid(pattern))
		die_usage("%s: not a name that a channel can have", pattern);
}

void patterns_check(const struct follow *f)
{
	if (f->pattern_count == 0)
		die_usage("no channel or pattern given");
	for (size_t i = 0; i < f->pattern_count; i++)
		pattern_check(f->patterns[i]);
}

/* Follows what matches and is not followed yet. Queues are left alone, unless one is named. */
static void pattern_scan(struct follow *f, const char *pattern, bool at_start)
{
	struct lmq_channel_info *list = NULL;
	size_t count = 0;
	bool named = lmq_pattern_literal(pattern);
	int status = lmq_channel_list(f->store, pattern, LMQ_ANY, &list, &count);

	if (status != 0)
		die_store(f->store, status);
	for (size_t i = 0; i < count; i++) {
		if (list[i].kind == LMQ_QUEUE && named && f->group != NULL)
			die_no_groups(pattern);
		if (list[i].kind == LMQ_QUEUE && named)
			die_usage("%s: is a queue, not a topic or stream", pattern);
		if (list[i].kind != LMQ_QUEUE && !is_followed(f, list[i].id))
			feed_add(f, &list[i], at_start, named);
	}
	/* Who does not wait wants what is there: the library says what is missing, and a similar name. */
	if (count == 0 && named && at_start && follow_needs_all(f))
		lmq_channel_close(channel_open(f->store, pattern, LMQ_ANY, 0));
	free(list);
}

static void scan(struct follow *f, bool at_start)
{
	int64_t begin = lmq_deadline(0), end;

	due = false;
	for (size_t i = 0; i < f->pattern_count; i++)
		pattern_scan(f, f->patterns[i], at_start);
	end = lmq_deadline(0);
	next_scan = end + 100 * (end - begin);
}

void discover(struct follow *f)
{
	scan(f, true);
	due = true;	/* the watch was not armed yet */
}

bool discover_again(struct follow *f)
{
	size_t before = f->feed_count;

	if (!due || lmq_deadline(0) < next_scan)
		return false;
	scan(f, false);
	return f->feed_count > before;
}

void discovery_due(void)
{
	due = true;
}

int64_t discovery_next(void)
{
	return due ? next_scan : LMQ_FOREVER;
}
