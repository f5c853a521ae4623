/* SPDX-License-Identifier: ISC */
/*
 * mq-ls: list channels, their groups, routes. People get ages and short sizes, programs (-o plain,
 * -o json) the bare numbers and times. A pattern that matches nothing is an answer, not an error: exit 1.
 */
#include "cmd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char synopsis[] = "mq-ls [OPTION]... [PATTERN]...";

enum { OPTION_NAMES = OPTION_TOOL, OPTION_KIND, OPTION_GROUPS, OPTION_ROUTES };

static const struct option_row options[] = {
	{ 'o', "output", "M", "table, plain (tabs, no heading) or json (one object a line)" },
	{ OPTION_NAMES, "names", NULL, "names only, one a line" },
	{ OPTION_KIND, "kind", "K", "only channels of this kind: queue, topic or stream" },
	{ OPTION_GROUPS, "groups", NULL, "the groups of topics and streams, by partition" },
	{ OPTION_ROUTES, "routes", NULL, "the routes that lead to or from these channels" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-ls",
	"mq-ls --groups 'logs.#'",
	"mq-ls -o json | jq -r 'select(.messages > 1000).name'",
	NULL,
};

static const struct tool tool = {
	.name = "mq-ls",
	.synopsis = synopsis,
	.purpose = "List channels, groups or routes; with -v also properties, and what is not ready.",
	.options = options,
	.examples = examples,
};

static const char *const columns[] = {
	"name", "kind", "messages", "bytes", "oldest", "newest", "properties", "states",
};

static const char *const columns_of_groups[] = {
	"channel", "group", "partition", "position", "end", "lag", "oldest", "leased", "retrying", "members",
	"owner", "properties",
};

static enum table_kind output = TABLE_TABLE;
static bool output_set;
static bool names_only;
static bool groups;
static bool routes;
static enum lmq_kind only_kind = LMQ_ANY;

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
		output = table_argument(argument);
		output_set = true;
		break;
	case OPTION_NAMES:
		names_only = true;
		break;
	case OPTION_KIND:
		only_kind = parse_kind(argument);
		break;
	case OPTION_GROUPS:
		groups = true;
		break;
	case OPTION_ROUTES:
		routes = true;
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

/* Removed since it was listed: then there is nothing to show. */
static bool is_gone(int status)
{
	return status == LMQ_ENOENT || status == LMQ_EGONE;
}

static void show_properties(struct table *table, lmq_store *store, const char *name)
{
	struct lmq_property list[LMQ_PROPERTY_MAX];
	size_t count = 0;
	lmq_channel *channel = NULL;
	int status = lmq_channel_open(store, name, LMQ_ANY, 0, &channel);

	if (status == 0)
		status = lmq_channel_properties(channel, list, &count);
	lmq_channel_close(channel);
	if (status != 0 && !is_gone(status))
		die_store(store, status);
	properties_cell(table, list, count);
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
	table_time(table, info->first_time, info->taken);
	table_time(table, info->last_time, info->taken);
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

/* The channels that were asked for; an array for free(). */
static struct lmq_channel_info *channels_of(lmq_store *store, char **patterns, size_t pattern_count, size_t *count)
{
	struct lmq_channel_info *channels = NULL;
	size_t all = 0;
	int status = lmq_channel_list(store, pattern_count == 1 ? patterns[0] : NULL, only_kind, &channels, &all);

	if (status != 0)
		die_store(store, status);
	*count = 0;
	for (size_t i = 0; i < all; i++)
		if (matches_any(channels[i].name, patterns, pattern_count))
			channels[(*count)++] = channels[i];
	return channels;
}

static size_t list(lmq_store *store, char **patterns, size_t pattern_count)
{
	size_t count, width = names_only ? 1 : verbose ? 8 : 6;
	struct lmq_channel_info *channels = channels_of(store, patterns, pattern_count, &count);
	struct table *table = table_new(output, columns, width);

	for (size_t i = 0; i < count; i++)
		show(table, store, &channels[i]);
	free(channels);
	table_print(table);
	return count;
}

/* ---- groups --------------------------------------------------------------------------------- */

static int show_group(struct table *table, lmq_channel *channel, const struct lmq_group_info *group, int64_t now)
{
	struct lmq_property properties[LMQ_PROPERTY_MAX];
	size_t count = 0;
	int status = verbose ? lmq_group_properties(channel, group->name, properties, &count) : 0;

	if (status != 0)
		return status;
	table_text(table, lmq_channel_name(channel));
	group_row(table, group, now);
	if (verbose)
		properties_cell(table, properties, count);
	return 0;
}

static size_t show_groups(struct table *table, lmq_store *store, const struct lmq_channel_info *info)
{
	struct lmq_group_info *rows = NULL;
	lmq_channel *channel = NULL;
	size_t count = 0, shown = 0;
	int status = lmq_channel_open(store, info->name, LMQ_ANY, 0, &channel);

	if (status == 0)
		status = lmq_group_list(channel, NULL, &rows, &count);
	for (size_t i = 0; i < count && (status == 0 || is_gone(status)); i++) {
		status = show_group(table, channel, &rows[i], info->taken);
		shown += status == 0;
	}
	if (status != 0 && !is_gone(status))
		die_store(store, status);
	free(rows);
	lmq_channel_close(channel);
	return shown;
}

static size_t list_groups(lmq_store *store, char **patterns, size_t pattern_count)
{
	size_t count, shown = 0;
	struct lmq_channel_info *channels = channels_of(store, patterns, pattern_count, &count);
	struct table *table = table_new(output, columns_of_groups, 1 + GROUP_COLUMNS + verbose);

	for (size_t i = 0; i < count; i++)
		if (channels[i].kind != LMQ_QUEUE)
			shown += show_groups(table, store, &channels[i]);
	free(channels);
	table_print(table);
	return shown;
}

/* ---- routes --------------------------------------------------------------------------------- */

/* A route has to do with a channel that it leads to, or that its source is, or means. */
static bool concerns(const struct lmq_route *route, const char *pattern)
{
	return lmq_pattern_match(pattern, route->source, strlen(route->source)) ||
		lmq_pattern_match(pattern, route->destination, strlen(route->destination)) ||
		(lmq_pattern_literal(pattern) && lmq_pattern_match(route->source, pattern, strlen(pattern)));
}

static bool concerns_any(const struct lmq_route *route, char **patterns, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (concerns(route, patterns[i]))
			return true;
	return count == 0;
}

static size_t list_routes(lmq_store *store, char **patterns, size_t pattern_count)
{
	struct lmq_route *rows = NULL;
	size_t count = 0, shown = 0;
	struct table *table = routes_table(output);
	int status = lmq_route_list(store, &rows, &count);

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++) {
		if (!concerns_any(&rows[i], patterns, pattern_count))
			continue;
		route_row(table, output, &rows[i]);
		shown++;
	}
	lmq_route_free(rows);
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
	if (groups + routes + names_only > 1)
		die_usage("--groups, --routes and --names exclude each other");
	if (routes && only_kind != LMQ_ANY)
		die_usage("--routes goes without --kind");
	check_patterns(patterns, count);
	store = open_store();
	if (groups)
		shown = list_groups(store, patterns, count);
	else if (routes)
		shown = list_routes(store, patterns, count);
	else
		shown = list(store, patterns, count);
	lmq_store_close(store);
	finish(shown > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
