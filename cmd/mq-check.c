/* SPDX-License-Identifier: ISC */
/*
 * mq-check: reads everything that is stored and tells what is damaged. It changes nothing, and others may work
 * meanwhile. Without -v or -o it says nothing of what is well.
 */
#include "cmd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row options[] = {
	{ 'C', "channel", "P", "only channels whose name matches P" },
	{ 'o', "output", "M", "all channels, as table, plain (no heading) or json" },
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
	}
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

/* ---- what was found ------------------------------------------------------------------------- */

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
	struct table *table = table_new(output, columns, sizeof columns / sizeof *columns);
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

	if (argc - first > 1)
		die_usage("more than one operand");
	if (argc > first) {
		if (store_option != NULL)
			die_usage("the store is given twice, by --store and as operand");
		store_option = argv[first];
	}
	store = store_open(LMQ_READ_ONLY);
	interrupt_catch(NULL);
	progress_start(false);
	status = check_all();
	lmq_store_close(store);
	finish(status);
}
