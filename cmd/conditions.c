/* SPDX-License-Identifier: ISC */
/*
 * Conditions on messages, as given on the command line, kept so that several filters can be made of
 * them: one for each stretch of offsets, one for each queue that dead letters came from.
 */
#include "cmd.h"
#include "delivery.h"
#include "reading.h"

#include <stdlib.h>
#include <unistd.h>

static void text_add(struct conditions *conditions, int key, const char *text)
{
	size_t count = conditions->text_count;
	struct condition *texts = reallocarray(conditions->texts, count + 1, sizeof *texts);

	if (texts == NULL)
		die(EXIT_SYSTEM, "out of memory");
	texts[count] = (struct condition){ key, text };
	conditions->texts = texts;
	conditions->text_count++;
}

static enum lmq_reason reason_argument(const char *text)
{
	enum lmq_reason reason;

	if (lmq_reason_parse(text, &reason) == 0 && reason != LMQ_REASON_NONE)
		return reason;
	warn("--reason: '%s' is not a reason", text);
	hint("the reasons are failed, crashed, timeout, rejected, expired, overflow");
	_exit(EXIT_USAGE);
}

bool conditions_option(struct conditions *conditions, int key, const char *argument)
{
	switch (key) {
	case 'k':
	case 'm':
		text_add(conditions, key, argument);
		return true;
	case OPTION_REASON:
		conditions->reason = reason_argument(argument);
		return true;
	case OPTION_OLDER:
		conditions->before = lmq_now() - argument_duration("--older", argument);
		return true;
	}
	return false;
}

static void check(int status)
{
	if (status != 0)
		die(exit_status(status), "%s", lmq_strerror(status));
}

/* Whether the offsets asked for and [first, end) have some in common. */
static bool offsets_meet(const struct conditions *conditions, uint64_t first, uint64_t end)
{
	for (size_t i = 0; i < conditions->offset_count; i++)
		if (conditions->offsets[i].first < end && conditions->offsets[i].end > first)
			return first < end;
	return conditions->offset_count == 0 && first < end;
}

static void offsets_add(const struct conditions *conditions, lmq_filter *filter, uint64_t first,
	uint64_t end)
{
	if (conditions->offset_count == 0)
		check(lmq_filter_offsets(filter, first, end));
	for (size_t i = 0; i < conditions->offset_count; i++) {
		struct offsets part = conditions->offsets[i];

		part.first = part.first > first ? part.first : first;
		part.end = part.end < end ? part.end : end;
		if (part.first < part.end)
			check(lmq_filter_offsets(filter, part.first, part.end));
	}
}

lmq_filter *conditions_filter(const struct conditions *conditions, uint64_t first, uint64_t end,
	const char *origin)
{
	struct selection selection = { .wait = -1 };
	lmq_filter *filter;

	if (!offsets_meet(conditions, first, end))
		return NULL;
	for (size_t i = 0; i < conditions->text_count; i++)
		selection_option(&selection, conditions->texts[i].key, conditions->texts[i].text);
	filter = selection.filter;
	if (filter == NULL)
		check(lmq_filter_open(&filter));
	offsets_add(conditions, filter, first, end);
	if (conditions->before != 0)
		lmq_filter_before(filter, conditions->before);
	if (conditions->reason != LMQ_REASON_NONE)
		lmq_filter_reason(filter, conditions->reason);
	if (origin != NULL)
		check(lmq_filter_origin(filter, origin));
	return filter;
}

void conditions_check(const struct conditions *conditions)
{
	lmq_filter_close(conditions_filter(conditions, 0, INT64_MAX, NULL));
}
