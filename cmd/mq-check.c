/* SPDX-License-Identifier: ISC */
/*
 * mq-check: reads everything that is stored and tells what is damaged. It changes nothing, and others may work
 * meanwhile. First the store as a whole, whose faults are lines on stderr; then each channel, a row of a table.
 * Without -v or -o it says nothing of what is well.
 */
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_BACKUP = OPTION_TOOL, OPTION_REPAIR, OPTION_COMPACT, OPTION_READERS };

static const struct option_row options[] = {
	{ 'C', "channel", "P", "only channels whose name matches P" },
	{ 'o', "output", "M", "all channels, as table, plain (no heading) or json" },
	{ OPTION_BACKUP, "backup", "DIR", "write a copy of the store to the new directory DIR" },
	{ OPTION_REPAIR, "repair", "DIR", "save what can be read of a damaged store to DIR" },
	{ OPTION_COMPACT, "compact", NULL, "give free pages back, in the store or in its backup" },
	{ OPTION_READERS, "readers", NULL, "list the processes that have the store open" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-check -v",
	"mq-check -C 'orders.#' -C audit ./backup",
	"mq-check -o json -C audit | jq -r .digest",
	NULL,
};

static const struct tool tool = {
	.name = "mq-check",
	.synopsis = "mq-check [OPTION]... [STORE]",
	.purpose = "Check that what is stored is sound, and audited streams are unchanged.",
	.options = options,
	.examples = examples,
};

static const char *const columns[] = { "name", "messages", "blocks", "state", "near", "digest" };

struct pattern {
	const char *text;
	bool met;	/* by a channel */
};

static struct pattern *patterns;
static size_t pattern_count;
static enum table_kind output = TABLE_TABLE;
static bool output_set;
static int action;	/* the option that says what else to do; 0: check */
static const char *directory;
static bool compact;
static lmq_store *store;
static uint64_t messages, bytes;	/* of the channels that are done */

/* ---- options -------------------------------------------------------------------------------- */

static void add_pattern(const char *text)
{
	const char *reason = "";

	if (lmq_pattern_valid(text, &reason) != 0)
		die_usage("--channel: '%s' is not a pattern: %s", text, reason);
	patterns = reallocarray(patterns, pattern_count + 1, sizeof *patterns);
	if (patterns == NULL)
		die(EXIT_SYSTEM, "out of memory");
	patterns[pattern_count++] = (struct pattern){ .text = text };
}

static void handle(int key, char *argument)
{
	switch (key) {
	case 'C':
		add_pattern(argument);
		break;
	case 'o':
		output = table_argument(argument);
		output_set = true;
		break;
	case OPTION_COMPACT:
		compact = true;
		break;
	default:
		if (action != 0)
			die_usage("only one of --backup, --repair and --readers can be done at a time");
		action = key;
		directory = argument;
	}
}

static int act(void)
{
	if (pattern_count > 0)
		die_usage("--channel goes with a check only");
	if (output_set && action != OPTION_READERS)
		die_usage("--output goes with a check, or with --readers");
	if (action == 0)
		return compact_store();
	if (compact && action != OPTION_BACKUP)
		die_usage("--compact goes with --backup, or alone");
	if (action == OPTION_BACKUP)
		return save_backup(directory, compact);
	return action == OPTION_REPAIR ? save_repaired(directory) : show_readers(output);
}

static bool is_wanted(const char *name)
{
	bool wanted = pattern_count == 0;

	for (size_t i = 0; i < pattern_count; i++) {
		if (!lmq_pattern_match(patterns[i].text, name, strlen(name)))
			continue;
		patterns[i].met = true;
		wanted = true;
	}
	return wanted;
}

/* ---- the store as a whole -------------------------------------------------------------------- */

static void tell(const struct lmq_fault *fault, void *context)
{
	(void)context;
	progress_break();
	warn("%s: %s", fault->object, fault->what);
}

static bool go_on(const struct lmq_accounts *sofar, void *context)
{
	(void)sofar, (void)context;
	return !interrupted;
}

/* Whether nothing is wrong. What is says itself; *unreadable: let nothing else look at the store. */
static bool check_store(bool *unreadable)
{
	struct lmq_accounts found;
	int status = lmq_store_check(store, &found, tell, go_on, NULL);

	*unreadable = status == LMQ_EDAMAGED || found.unreadable;
	if (status == LMQ_EDAMAGED)
		warn_store(store);
	else if (status != 0)
		die_store(store, status);
	if (found.faults > LMQ_FAULTS_MAX)
		warn("store: %" PRIu64 " more of these", found.faults - LMQ_FAULTS_MAX);
	if (*unreadable)
		hint("mq-check --repair=DIR saves what can be read to the new directory DIR");
	if (verbose)
		notice("store: %" PRIu64 " pages, %" PRIu64 " records and %" PRIu64 " entries of indexes, %s",
			found.pages, found.records, found.entries, found.faults == 0 ? "all sound" : "not all sound");
	return status == 0 && found.faults == 0;
}

/* ---- what was found in channels ------------------------------------------------------------------ */

static void show(struct table *table, const struct lmq_channel_info *info, const struct lmq_check *found)
{
	bool good = found->damaged + found->broken == 0;
	char text[LMQ_NAME_MAX + 64];
	size_t used = 0;

	if (good && !verbose && !output_set)
		return;
	table_text(table, info->name);
	table_number(table, found->messages, NULL);
	table_number(table, found->blocks, NULL);
	if (found->damaged > 0)
		used = (size_t)snprintf(text, sizeof text, "%" PRIu64 " damaged", found->damaged);
	if (found->broken > 0)
		snprintf(text + used, sizeof text - used, "%s%" PRIu64 " broken", used ? ", " : "", found->broken);
	table_text(table, good ? "ok" : text);
	if (info->partitions > 1)
		snprintf(text, sizeof text, "%s/%" PRIu32 ":%" PRIu64, info->name, found->wrong_partition,
			found->wrong_offset);
	else
		snprintf(text, sizeof text, "%s:%" PRIu64, info->name, found->wrong_offset);
	table_text(table, good ? NULL : text);
	table_text(table, found->audited ? found->digest : NULL);
}

static bool step(const struct lmq_check *sofar, void *context)
{
	(void)context;
	progress_show(messages + sofar->messages, bytes + sofar->bytes);
	return !interrupted;
}

/* False: something of the channel is wrong. */
static bool check(struct table *table, const struct lmq_channel_info *info)
{
	struct lmq_check found = { .damaged = 0 };
	lmq_channel *channel = NULL;
	int status = lmq_channel_open(store, info->name, LMQ_ANY, 0, &channel);

	if (status == 0)
		status = lmq_channel_check(channel, &found, step, NULL);
	lmq_channel_close(channel);
	/* Removed since it was listed. */
	if (status == LMQ_ENOENT || status == LMQ_EGONE)
		return true;
	if (status == LMQ_EDAMAGED) {
		progress_break();
		warn_store(store);
		found.damaged++;
	} else if (status != 0) {
		progress_break();
		die_store(store, status);
	}
	messages += found.messages;
	bytes += found.bytes;
	show(table, info, &found);
	return found.damaged + found.broken == 0;
}

static int check_all(void)
{
	struct table *table;
	struct lmq_channel_info *list = NULL;
	int result = EXIT_SUCCESS;
	size_t count = 0;
	int status = lmq_channel_list(store, NULL, LMQ_ANY, &list, &count);

	if (status == LMQ_EDAMAGED) {
		warn_store(store);
		return EXIT_NO;
	}
	if (status != 0)
		die_store(store, status);
	table = table_new(output, columns, sizeof columns / sizeof *columns);
	for (size_t i = 0; i < count; i++)
		if (is_wanted(list[i].name) && !check(table, &list[i]))
			result = EXIT_NO;
	free(list);
	progress_break();
	if (result != EXIT_SUCCESS || verbose || output_set)
		table_print(table);
	else
		table_free(table);
	for (size_t i = 0; i < pattern_count; i++) {
		if (patterns[i].met)
			continue;
		warn("%s: no such channel", patterns[i].text);
		result = result == EXIT_SUCCESS ? EXIT_NOINPUT : result;
	}
	return result;
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status;
	bool unreadable = false, sound;

	if (argc - first > 1)
		die_usage("more than one operand");
	if (argc > first) {
		if (store_option != NULL)
			die_usage("the store is given twice, by --store and as operand");
		store_option = argv[first];
	}
	if (action != 0 || compact)
		finish(act());
	store = store_open(LMQ_READ_ONLY);
	interrupt_catch(NULL);
	progress_start(false);
	/* The file's pages come first: LMDB, which reads everything else, trusts them. */
	sound = pattern_count > 0 || check_store(&unreadable);
	status = unreadable ? EXIT_NO : check_all();
	if (!sound)
		status = EXIT_NO;
	lmq_store_close(store);
	finish(status);
}
