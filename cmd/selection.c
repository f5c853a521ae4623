/* SPDX-License-Identifier: ISC */
/*
 * Which messages a reader wants: how many, how long to wait, which keys and headers, from where on.
 * What excludes each other is refused here, whatever the order on the command line.
 */
#include "cmd.h"
#include "reading.h"

#include <string.h>

/* ---- selection ------------------------------------------------------------------------------ */

static lmq_filter *filter_of(struct selection *selection)
{
	if (selection->filter == NULL && lmq_filter_open(&selection->filter) != 0)
		die(EXIT_SYSTEM, "out of memory");
	return selection->filter;
}

static void add_condition(struct selection *selection, int key, const char *condition)
{
	const char *reason = "out of memory";
	lmq_filter *filter = filter_of(selection);
	int status = key == 'k' ? lmq_filter_key(filter, condition, &reason) :
		lmq_filter_header(filter, condition, &reason);

	if (status == LMQ_EINVAL)
		die_usage("--%s: '%s': %s", key == 'k' ? "key" : "match", condition, reason);
	if (status != 0)
		die(exit_status(status), "%s", lmq_strerror(status));
}

bool selection_option(struct selection *selection, int key, const char *argument)
{
	switch (key) {
	case 'n':
		selection->count = argument_number("--count", argument, 1, UINT64_MAX - 1);
		selection->count_set = true;
		break;
	case 'w':
		selection->wait = argument_duration("--wait", argument);
		break;
	case 'e':
		selection->drain = true;
		break;
	case 'f':
		selection->follow = true;
		break;
	case 'k':
	case 'm':
		add_condition(selection, key, argument);
		break;
	default:
		return false;
	}
	if (selection->drain && selection->follow)
		die_usage("--drain and --follow exclude each other");
	return true;
}

/* ---- range ---------------------------------------------------------------------------------- */

static const char *checked_offset(const char *option, const char *text)
{
	if (strcmp(text, "first") == 0 || strcmp(text, "end") == 0)
		return text;
	if (*text < '0' || *text > '9')
		die_usage("%s: '%s' is not an offset, 'first' or 'end'", option, text);
	argument_number(option, text, 0, INT64_MAX);
	return text;
}

static void check_one_start(const struct range *range)
{
	bool from = range->from != NULL, since = range->since != INT64_MIN, last = range->last >= 0;

	if (from && since)
		die_usage("--from and --since exclude each other");
	if (from && last)
		die_usage("--from and --last exclude each other");
	if (since && last)
		die_usage("--since and --last exclude each other");
}

bool range_option(struct range *range, int key, const char *argument)
{
	switch (key) {
	case 'S':
		range->since = argument_time("--since", argument);
		break;
	case 'U':
		range->until = argument_time("--until", argument);
		break;
	case OPTION_FROM:
		range->from = checked_offset("--from", argument);
		break;
	case OPTION_TO:
		range->to = checked_offset("--to", argument);
		break;
	case OPTION_LAST:
		range->last = (int64_t)argument_number("--last", argument, 0, INT64_MAX);
		break;
	default:
		return false;
	}
	check_one_start(range);
	return true;
}

bool range_starts(const struct range *range)
{
	return range->from != NULL || range->since != INT64_MIN || range->last >= 0;
}

static int seek_from(const char *from, lmq_reader *reader)
{
	if (strcmp(from, "first") == 0)
		return lmq_reader_seek(reader, LMQ_SEEK_FIRST, 0);
	if (strcmp(from, "end") == 0)
		return lmq_reader_seek(reader, LMQ_SEEK_END, 0);
	return lmq_reader_seek(reader, LMQ_SEEK_OFFSET,
		(int64_t)argument_number("--from", from, 0, INT64_MAX));
}

int range_seek(const struct range *range, lmq_reader *reader, enum lmq_seek default_seek)
{
	if (range->from != NULL)
		return seek_from(range->from, reader);
	if (range->since != INT64_MIN)
		return lmq_reader_seek(reader, LMQ_SEEK_TIME, range->since);
	if (range->last >= 0)
		return lmq_reader_seek(reader, LMQ_SEEK_LAST, range->last);
	return lmq_reader_seek(reader, default_seek, 0);
}
