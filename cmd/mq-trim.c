/* SPDX-License-Identifier: ISC */
/*
 * mq-trim: drops messages that nobody needs: all, the old, all but the newest. On a terminal it asks;
 * in a script a condition is will enough, and only --all needs --yes. Limits that the channels have
 * (--retain) were wanted before: nobody is asked again.
 *
 * What is to go is decided once, as an offset, and dropped in small steps, during which others may
 * work: what is sent meanwhile is not dropped, nor what is in flight.
 */
#include "cmd.h"
#include "delivery.h"
#include "output.h"
#include "reading.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_KEEP = OPTION_TOOL, OPTION_KEEP_BYTES, OPTION_RETAIN, OPTION_DRY_RUN };

static const struct option_row options[] = {
	{ OPTION_KEEP, "keep", "N", "all but the newest N messages" },
	{ OPTION_KEEP_BYTES, "keep-bytes", "S", "all but the newest of size S together" },
	{ OPTION_OLDER, "older", "D", "messages older than D" },
	{ OPTION_TO, "to", "N", "up to, not including, this offset; first, end" },
	{ 'a', "all", NULL, "every message" },
	{ OPTION_RETAIN, "retain", NULL, "what the limits of the channels no longer keep" },
	{ 'y', "yes", NULL, "do not ask" },
	{ OPTION_DRY_RUN, "dry-run", NULL, "print what would be dropped, and drop nothing" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-trim --keep=1000 news",
	"mq-trim --retain                 # from cron: every topic and stream",
	"mq-trim --all -y jobs.dead",
	NULL,
};

static const struct tool tool = {
	.name = "mq-trim",
	.synopsis = "mq-trim [OPTION]... NAME...\nmq-trim [OPTION]... --retain [NAME]...",
	.purpose = "Drop old messages, or all; where several conditions are given, what meets any.",
	.options = options,
	.examples = examples,
};

static struct lmq_trim wanted = LMQ_TRIM_INIT;
static const char *to;		/* --to, or NULL */
static bool older;
static bool retain;		/* --retain */
static bool yes;
static lmq_store *store;

/* ---- options -------------------------------------------------------------------------------- */

static void handle(int key, char *argument)
{
	struct range range = RANGE_INIT;

	switch (key) {
	case OPTION_KEEP:
		wanted.keep = argument_number("--keep", argument, 0, INT64_MAX);
		break;
	case OPTION_KEEP_BYTES:
		wanted.keep_bytes = argument_size("--keep-bytes", argument);
		break;
	case OPTION_OLDER:
		wanted.before = lmq_now() - argument_duration("--older", argument);
		older = true;
		break;
	case OPTION_TO:
		range_option(&range, key, argument);
		to = range.to;
		break;
	case 'a':
		wanted.all = true;
		break;
	case OPTION_RETAIN:
		retain = true;
		break;
	case 'y':
		yes = true;
		break;
	case OPTION_DRY_RUN:
		wanted.dry_run = true;
		break;
	}
}

static bool can_ask(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/* The conditions but all and retain. */
static bool some_condition(void)
{
	return wanted.keep != UINT64_MAX || wanted.keep_bytes != UINT64_MAX || older || to != NULL;
}

static void check_conditions(void)
{
	bool some = some_condition();

	if (!some && !wanted.all && !retain) {
		warn("nothing says what to drop");
		hint("give --keep, --keep-bytes, --older, --to, --all or --retain");
		exit(EXIT_USAGE);
	}
	if (retain && (some || wanted.all))
		die_usage("--retain goes without other conditions");
	if (retain && wanted.dry_run)
		die_usage("--retain and --dry-run exclude each other");
	if (some && wanted.all)
		die_usage("--all goes without other conditions");
}

static void check_usage(char **names, size_t count)
{
	if (count == 0 && !retain)
		die_usage("the operand NAME is missing");
	check_conditions();
	/* Nothing is dropped by a command line that is wrong in one place. */
	for (size_t i = 0; i < count; i++)
		if (!lmq_name_valid(names[i]))
			die_usage("%s: not the name of a channel", names[i]);
	if (wanted.all && !yes && !wanted.dry_run && !can_ask()) {
		warn("--all: not without --yes where nobody can be asked");
		exit(EXIT_USAGE);
	}
}

/* ---- asking --------------------------------------------------------------------------------- */

static const char *messages(uint64_t count)
{
	static char text[40];

	snprintf(text, sizeof text, "%" PRIu64 " message%s", count, count == 1 ? "" : "s");
	return text;
}

/* The rest of the line is read too, so that it does not answer the next question. */
static bool answer_is_yes(void)
{
	int first = getchar(), next = first;

	while (next != '\n' && next != EOF)
		next = getchar();
	return first == 'y' || first == 'Y';
}

static bool confirmed(const char *name, uint64_t count)
{
	fprintf(stderr, "%s: drop %s of '%s'? [y/N] ", tool_name, messages(count), name);
	return answer_is_yes();
}

static void tell(const char *name, uint64_t count)
{
	char line[LMQ_NAME_MAX + 96];
	int size = snprintf(line, sizeof line, "%s: would drop %s\n", name, messages(count));

	output_bytes(line, (size_t)size);
}

/* ---- trimming ------------------------------------------------------------------------------- */

/* What --to means: in a stream with several partitions the same for each. */
static void to_set(void)
{
	if (strcmp(to, "end") == 0)
		wanted.all = true;
	else if (strcmp(to, "first") != 0)	/* before the first there is nothing */
		wanted.to = argument_number("--to", to, 0, INT64_MAX);
}

/* How far the conditions reach now. LMQ_END: not at all. */
static int bound(lmq_channel *channel, struct lmq_trim *what)
{
	*what = wanted;
	if (!wanted.all && wanted.to == 0 && wanted.keep == UINT64_MAX && wanted.keep_bytes == UINT64_MAX && !older)
		return LMQ_END;
	return lmq_channel_trim_bound(channel, what);
}

/* Drops, or only counts, step by step until a signal comes. */
static int trim(lmq_channel *channel, const struct lmq_trim *what, uint64_t *count)
{
	uint64_t at = 0;
	bool more = true;
	int status = 0;

	*count = 0;
	while (more && status == 0 && !interrupted) {
		uint64_t dropped = 0;

		more = false;
		status = lmq_channel_trim(channel, what, &at, &dropped, &more);
		*count += dropped;
		progress_show(*count, 0);
	}
	progress_break();
	return status;
}

static int count_first(lmq_channel *channel, const struct lmq_trim *what, uint64_t *count)
{
	struct lmq_trim look = *what;

	look.dry_run = true;
	return trim(channel, &look, count);
}

/* Trims one channel. LMQ_END: nothing of it is to go; LMQ_EINTR: a signal; *refused: "no". */
static int trim_channel(lmq_channel *channel, bool *refused)
{
	const char *name = lmq_channel_name(channel);
	bool ask = !yes && !wanted.dry_run && can_ask();
	struct lmq_trim what;
	uint64_t count = 0;
	int status = bound(channel, &what);

	if (status == 0 && ask)
		status = count_first(channel, &what, &count);
	if (status != 0 || interrupted || (ask && count == 0))
		return status != 0 ? status : interrupted ? LMQ_EINTR : LMQ_END;
	if (ask && !confirmed(name, count)) {
		*refused = true;
		return 0;
	}
	status = trim(channel, &what, &count);
	if (count > 0 && wanted.dry_run)
		tell(name, count);
	else if (count > 0)
		notice("dropped %s of '%s'", messages(count), name);
	return status != 0 || count > 0 ? status : LMQ_END;
}

/* Applies the limits of the channel. Nothing to be dropped is as it should be. */
static int retain_channel(lmq_channel *channel)
{
	uint64_t at = 0, count = 0;
	bool more = true;
	int status = 0;

	while (more && status == 0 && !interrupted) {
		uint64_t dropped = 0;

		more = false;
		status = lmq_channel_retain(channel, &at, &dropped, &more);
		count += dropped;
		progress_show(count, 0);
	}
	progress_break();
	if (count > 0 && verbose)
		notice("dropped %s of '%s'", messages(count), lmq_channel_name(channel));
	return status == 0 && interrupted ? LMQ_EINTR : status;
}

/* Returns the exit status that this one asks for. */
static int trim_named(const char *name)
{
	lmq_channel *channel = NULL;
	bool refused = false;
	int status = lmq_channel_open(store, name, LMQ_ANY, 0, &channel);

	if (status == 0 && retain && lmq_channel_kind(channel) == LMQ_QUEUE) {
		warn("%s: a queue, and no limit drops what is old in a queue", name);
		lmq_channel_close(channel);
		return EXIT_USAGE;
	}
	if (status == 0)
		status = retain ? retain_channel(channel) : trim_channel(channel, &refused);
	if (status != 0 && status != LMQ_END && !(status == LMQ_EINTR && interrupted))
		warn_store(store);
	lmq_channel_close(channel);
	return refused ? EXIT_NO : exit_status(status);
}

/* The first failure is the exit status; nothing dropped is one only if nothing was dropped anywhere. */
static int trim_all(char **names, size_t count)
{
	int worst = EXIT_SUCCESS;
	bool any = false;

	for (size_t i = 0; i < count && !interrupted; i++) {
		int status = trim_named(names[i]);

		any = any || status == EXIT_SUCCESS;
		if (worst == EXIT_SUCCESS && status != EXIT_NOTHING)
			worst = status;
	}
	return worst == EXIT_SUCCESS && !any ? EXIT_NOTHING : worst;
}

/* Every topic and stream; one that was removed meanwhile needs nothing. */
static int retain_all(void)
{
	struct lmq_channel_info *list = NULL;
	size_t count = 0;
	int status = lmq_channel_list(store, NULL, LMQ_ANY, &list, &count), worst = EXIT_SUCCESS;

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count && !interrupted; i++) {
		lmq_channel *channel = NULL;

		if (list[i].kind == LMQ_QUEUE)
			continue;
		status = lmq_channel_open(store, list[i].name, LMQ_ANY, 0, &channel);
		if (status == 0)
			status = retain_channel(channel);
		lmq_channel_close(channel);
		if (status == 0 || status == LMQ_ENOENT || status == LMQ_EGONE || interrupted)
			continue;
		warn_store(store);
		worst = worst != EXIT_SUCCESS ? worst : exit_status(status);
	}
	free(list);
	return worst;
}

/* The space of what was dropped, and of removed channels, is given back too. */
static int sweep(void)
{
	bool more = true;
	int status = 0;

	while (more && status == 0 && !interrupted) {
		more = false;
		status = lmq_store_sweep(store, &more);
	}
	if (status != 0)
		warn_store(store);
	return exit_status(status);
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status;
	size_t count = (size_t)(argc - first);

	check_usage(argv + first, count);
	store = store_open(wanted.dry_run ? LMQ_READ_ONLY : 0);
	interrupt_catch(NULL);
	progress_start(false);
	if (to != NULL)
		to_set();
	status = retain && count == 0 ? retain_all() : trim_all(argv + first, count);
	if (retain && status == EXIT_SUCCESS)
		status = sweep();
	lmq_store_close(store);
	if (interrupted)
		die_by_signal(interrupted);
	finish(status);
}
