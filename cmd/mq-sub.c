/* SPDX-License-Identifier: ISC */
/*
 * mq-sub: follows topics and streams as they grow, by itself or as a member of a group.
 *
 * Every channel that matches has a reader of its own, or with -g a receiver, and one watch waits for all of them
 * and for channels to come. Without -g nothing is changed in the store.
 */
#include "follow.h"

#include <stdlib.h>

enum { OPTION_PARTITION = OPTION_TOOL, OPTION_CREATE_ONLY, OPTION_NO_CREATE, OPTION_STRICT };

static const struct option_row options[] = {
	SELECTION_OPTIONS,
	{ 'S', "since", "T", "from this time on" },
	{ OPTION_FROM, "from", "N", "from this offset on; first, end" },
	{ OPTION_LAST, "last", "N", "start N messages before the end" },
	{ OPTION_PARTITION, "partition", "N", "only this partition of streams" },
	{ OPTION_STRICT, "strict", NULL, "end with 2 if messages were missed" },
	{ 'g', "group", "G", "as a member of group G, which goes on where it was" },
	{ 'l', "lease", "D", "keep the messages leased for D, see mq-ack(1)" },
	{ OPTION_CREATE_ONLY, "create-only", NULL, "make the groups, read nothing" },
	FORM_BRIEF,
	{ 'c', "consumer", "C", "" },
	{ OPTION_NO_CREATE, "no-create", NULL, "" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-sub news                     # from now on, until interrupted",
	"mq-sub -F '%c: %b\\n' 'orders.#'",
	"mq-sub -g billing orders        # goes on where the group stopped",
	NULL,
};

static const struct tool tool = {
	.name = "mq-sub",
	.synopsis = "mq-sub [OPTION]... PATTERN...",
	.purpose = "Follow topics and streams as they grow.",
	.options = options,
	.examples = examples,
};

static struct follow follow = {
	.selection = { .count = UINT64_MAX, .wait = -1 },
	.range = RANGE_INIT,
	.partition = -1,
};

/* ---- options ---------------------------------------------------------------------------------- */

static void own_option(int key, char *argument)
{
	switch (key) {
	case 'g':
		group_check(argument);
		follow.group = argument;
		break;
	case 'l':
		follow.lease = lease_argument(argument);
		break;
	case 'c':
		follow.consumer = consumer_name(argument);
		break;
	case OPTION_PARTITION:
		follow.partition = (int64_t)argument_number("--partition", argument, 0, LMQ_PARTITIONS_MAX - 1);
		break;
	case OPTION_CREATE_ONLY:
		follow.create_only = true;
		break;
	case OPTION_NO_CREATE:
		follow.no_create = true;
		break;
	case OPTION_STRICT:
		follow.strict = true;
		break;
	}
}

static void handle(int key, char *argument)
{
	if (!selection_option(&follow.selection, key, argument) && !range_option(&follow.range, key, argument) &&
	    !form_option(&follow.form, key, argument))
		own_option(key, argument);
}

/* What only the whole command line shows. */
static void settle_options(void)
{
	patterns_check(&follow);
	if (follow.lease > 0 && follow.group == NULL)
		die_usage("--lease keeps messages of a group, but no --group is given");
	if (follow.create_only && follow.group == NULL)
		die_usage("--create-only makes a group, but no --group is given");
	if (follow.create_only && follow.no_create)
		die_usage("--create-only and --no-create exclude each other");
	if (follow.consumer == NULL)
		follow.consumer = consumer_name(NULL);
	if (follow.selection.wait < 0)
		follow.selection.wait = LMQ_FOREVER;
	follow.sync = sync_environment();
	form_ready(&follow.form);
}

bool follow_needs_all(const struct follow *f)
{
	return f->selection.drain || f->create_only || f->no_create;
}

/* ---- the loop --------------------------------------------------------------------------------- */

/* Sleeps until something happens or a look for channels is due. LMQ_ETIME: the deadline passed. */
static int wait_on(int64_t deadline)
{
	int64_t look = discovery_next();
	int status;

	output_check_reader();
	status = lmq_watch_wait(follow.watch, look < deadline ? look : deadline);
	if (status == 0)
		discovery_due();
	return status == LMQ_ETIME && look < deadline ? 0 : status;
}

/*
 * Reads until there is a reason to stop. The watch is armed before anything is looked at, so that what
 * comes after the look ends the wait.
 */
static void read_all(void)
{
	int64_t deadline = lmq_deadline(follow.selection.wait);
	uint64_t timed = 0;	/* written when the deadline was set */
	int status = 0;

	while (!interrupted && follow.written < follow.selection.count && status != LMQ_ETIME) {
		bool more;

		if (follow.watch != NULL)
			lmq_watch_arm(follow.watch);
		more = feeds_read(&follow);
		if (more)
			discovery_due();
		else if (output_flush() != 0)
			output_die();
		if (follow.watch != NULL && discover_again(&follow))
			more = true;
		if (more)
			continue;
		if (follow.watch == NULL)
			break;
		if (follow.written > timed)
			deadline = lmq_deadline(follow.selection.wait);
		timed = follow.written;
		status = wait_on(deadline);
		if (status != 0 && status != LMQ_ETIME && status != LMQ_EINTR)
			die_store(follow.store, status);
	}
	if (output_flush() != 0)
		output_die();
}

/* ---- begin and end ---------------------------------------------------------------------------- */

/* Who only looks at what is there does not need to write, unless for a group. */
static unsigned store_flags(void)
{
	if (!follow_needs_all(&follow))
		return LMQ_CREATE;
	return follow.group == NULL && follow.selection.drain ? LMQ_READ_ONLY : 0;
}

static void open_all(void)
{
	bool waits = !follow.selection.drain && !follow.create_only;
	int status = 0;

	follow.store = store_open(store_flags());
	if (waits)
		status = lmq_watch_open(follow.store, &follow.watch);
	if (status != 0)
		die_store(follow.store, status);
	if (waits)
		lmq_watch_catalogue(follow.watch);
	interrupt_catch(follow.watch);
	discover(&follow);
}

static void close_all(void)
{
	feeds_close(&follow);
	lmq_watch_close(follow.watch);
	lmq_store_close(follow.store);
	lmq_filter_close(follow.selection.filter);
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle);
	bool done;

	follow.patterns = argv + first;
	follow.pattern_count = (size_t)(argc - first);
	settle_options();
	open_all();
	if (!follow.create_only)
		read_all();
	done = follow.create_only ? follow.feed_count > 0 : follow.written > 0;
	close_all();
	if (follow.strict && follow.missed > 0)
		missed_sum(follow.missed);
	if (interrupted)
		die_by_signal(interrupted);
	if (follow.strict && follow.missed > 0)
		finish(EXIT_NO);
	finish(done ? EXIT_SUCCESS : EXIT_NOTHING);
}
