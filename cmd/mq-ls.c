/* SPDX-License-Identifier: ISC */
/*
 * mq-ls: list channels. People get ages and short sizes, programs (-o plain, -o json) the bare
 * numbers and times. A pattern that matches nothing is an answer, not an error: exit 1.
 */
#include "cmd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char synopsis[] = "mq-ls [OPTION]... [PATTERN]...";

enum { OPTION_NAMES = OPTION_TOOL, OPTION_KIND };

static const struct option_row options[] = {
	{ 'o', "output", "M", "table, plain (tabs, no heading) or json (one object a line)" },
	{ OPTION_NAMES, "names", NULL, "names only, one a line" },
	{ OPTION_KIND, "kind", "K", "only channels of this kind: queue, topic or stream" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-ls",
	"mq-ls -v --kind=stream 'logs.#'",
	"mq-ls -o json | jq -r 'select(.messages > 1000).name'",
	NULL,
};

static const struct tool tool = {
	.name = "mq-ls",
	.synopsis = synopsis,
	.purpose = "List queues, topics and streams; with -v the properties that were set, and what is not ready.",
	.options = options,
	.examples = examples,
};

static const char *const columns[] = {
	"name", "kind", "messages", "bytes", "oldest", "newest", "properties", "states",
};

static enum table_kind output = TABLE_TABLE;
static bool output_set;
static bool names_only;
static enum lmq_kind only_kind = LMQ_ANY;

static enum table_kind parse_output(const char *text)
{
	if (strcmp(text, "table") == 0)
		return TABLE_TABLE;
	if (strcmp(text, "plain") == 0)
		return TABLE_PLAIN;
	if (strcmp(text, "json") == 0)
		return TABLE_JSON;
	die_usage("--output: '%s' is not table, plain or json", text);
}

static enum lmq_kind parse_kind(const char *text)
{
	for (enum lmq_kind kind = LMQ_QUEUE; kind <= LMQ_STREAM; kind++)
		if (strcmp(text, lmq_kind_name(kind)) == 0)
			return kind;
	die_usage("--kind: '%s' is not queue, topic or stream", text);
}

static void handle(int key, char *argument)
{
	switch (key) {
	case 'o':
		output = parse_output(argument);
		output_set = true;
		break;
	case OPTION_NAMES:
		names_only = true;
		break;
	case OPTION_KIND:
		only_kind = parse_kind(argument);
		break;
	}
}

/* "1.5M": short, not exact. */
static const char *short_size(uint64_t size, char *buffer, size_t room)
{
	static const char units[] = "KMGTPE";
	double value = (double)size / 1024;
	size_t unit = 0;

	if (size < 1024) {
		snprintf(buffer, room, "%u", (unsigned)size);
		return buffer;
	}
	for (; value >= 1023.95 && units[unit + 1]; unit++)
		value /= 1024;
	snprintf(buffer, room, "%.*f%c", value < 99.95, value, units[unit]);
	return buffer;
}

/* "5m": one unit, of which there are at least two, so that the age is off by less than half. */
static const char *short_age(int64_t age, char *buffer, size_t room)
{
	int64_t seconds = age > 0 ? age / 1000000000 : 0;

	if (seconds < 120)
		snprintf(buffer, room, "%ds", (int)seconds);
	else if (seconds < 120 * 60)
		snprintf(buffer, room, "%dm", (int)(seconds / 60));
	else if (seconds < 48 * 3600)
		snprintf(buffer, room, "%dh", (int)(seconds / 3600));
	else
		snprintf(buffer, room, "%lldd", (long long)(seconds / 86400));
	return buffer;
}

static void show_time(struct table *table, int64_t time, int64_t now)
{
	char buffer[LMQ_VALUE_MAX];

	if (time == 0)
		table_text(table, NULL);
	else if (output == TABLE_TABLE)
		table_text(table, short_age(now - time, buffer, sizeof buffer));
	else
		table_text(table, lmq_time_format(time, buffer));
}

/* The properties that differ from the default: "NAME=VALUE NAME=VALUE", in JSON an object. */
static void show_properties(struct table *table, lmq_store *store, const char *name)
{
	struct lmq_property list[LMQ_PROPERTY_MAX];
	char text[sizeof list + 8 * LMQ_PROPERTY_MAX] = "", json[sizeof text + 8] = "{";
	size_t count = 0, used = 0, used_json = 1;
	lmq_channel *channel = NULL;
	int status = lmq_channel_open(store, name, LMQ_ANY, 0, &channel);

	if (status == 0)
		status = lmq_channel_properties(channel, list, &count);
	lmq_channel_close(channel);
	/* Removed since it was listed: then there is nothing to show. */
	if (status != 0 && status != LMQ_ENOENT && status != LMQ_EGONE)
		die_store(store, status);
	for (size_t i = 0; i < count; i++) {
		if (!list[i].set)
			continue;
		/* Values are words, numbers and names: no byte of them needs an escape. */
		used_json += (size_t)snprintf(json + used_json, sizeof json - used_json,
			"%s\"%s\":\"%s\"", used ? "," : "", list[i].name, list[i].value);
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%s",
			used ? " " : "", list[i].name, list[i].value);
	}
	strcpy(json + used_json, "}");
	table_json(table, used ? text : NULL, json);
}

/* The messages of a queue that are not ready: "leased=2 delayed=1", in JSON an object. */
static void show_states(struct table *table, const struct lmq_channel_info *info)
{
	const struct { const char *name; uint64_t count; } states[] = {
		{ "leased", info->leased }, { "delayed", info->delayed },
		{ "retrying", info->retrying }, { "blocked", info->blocked },
	};
	char text[160] = "", json[200] = "{";
	size_t used = 0, used_json = 1;

	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		if (states[i].count == 0)
			continue;
		used_json += (size_t)snprintf(json + used_json, sizeof json - used_json,
			"%s\"%s\":%" PRIu64, used ? "," : "", states[i].name, states[i].count);
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%" PRIu64,
			used ? " " : "", states[i].name, states[i].count);
	}
	strcpy(json + used_json, "}");
	table_json(table, used ? text : NULL, json);
}

static void show(struct table *table, lmq_store *store, const struct lmq_channel_info *info)
{
	char buffer[32];

	table_text(table, info->name);
	if (names_only)
		return;
	table_text(table, lmq_kind_name(info->kind));
	table_number(table, info->messages, NULL);
	table_number(table, info->bytes, short_size(info->bytes, buffer, sizeof buffer));
	show_time(table, info->first_time, info->taken);
	show_time(table, info->last_time, info->taken);
	if (verbose) {
		show_properties(table, store, info->name);
		show_states(table, info);
	}
}

static bool matches_any(const char *name, char **patterns, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (lmq_pattern_match(patterns[i], name, strlen(name)))
			return true;
	return count == 0;
}

static void check_patterns(char **patterns, size_t count)
{
	const char *reason = "";

	for (size_t i = 0; i < count; i++)
		if (lmq_pattern_valid(patterns[i], &reason) != 0)
			die_usage("%s: not a pattern: %s", patterns[i], reason);
}

/* Completion asks for names before there is a store: that is no news for the terminal. */
static lmq_store *open_store(void)
{
	if (names_only && access(store_path(), F_OK) != 0)
		finish(EXIT_NOINPUT);
	return store_open(LMQ_READ_ONLY);
}

static size_t list(lmq_store *store, char **patterns, size_t pattern_count)
{
	size_t shown = 0, count = 0, width = names_only ? 1 : verbose ? 8 : 6;
	struct lmq_channel_info *channels = NULL;
	struct table *table = table_new(output, columns, width);
	int status = lmq_channel_list(store, pattern_count == 1 ? patterns[0] : NULL, only_kind,
		&channels, &count);

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++) {
		if (!matches_any(channels[i].name, patterns, pattern_count))
			continue;
		show(table, store, &channels[i]);
		shown++;
	}
	free(channels);
	table_print(table);
	return shown;
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle);
	char **patterns = argv + first;
	size_t count = (size_t)(argc - first), shown;
	lmq_store *store;

	if (names_only && !output_set)
		output = TABLE_PLAIN;
	check_patterns(patterns, count);
	store = open_store();
	shown = list(store, patterns, count);
	lmq_store_close(store);
	finish(shown > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
