/* SPDX-License-Identifier: ISC */
/*
 * Groups and partitions: rows about them, one for each partition of the channel, and what every tool says where a
 * channel has none such.
 */
#include "cmd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const group_columns[GROUP_COLUMNS] = {
	"group", "partition", "position", "end", "lag", "oldest", "leased", "retrying", "members", "owner",
};

void group_row(struct table *table, const struct lmq_group_info *info, int64_t now)
{
	table_text(table, info->name);
	table_number(table, info->partition, NULL);
	table_number(table, info->position, NULL);
	table_number(table, info->end, NULL);
	table_number(table, info->lag, NULL);
	table_time(table, info->oldest_time, now);
	table_number(table, info->leased, NULL);
	table_number(table, info->retrying, NULL);
	table_number(table, info->members, NULL);
	table_text(table, *info->owner != '\0' ? info->owner : NULL);
}

void warn_no_groups(const char *name)
{
	warn("%s: a queue has no groups", name);
	hint("groups belong to topics and streams; the readers of a queue share it as it is");
}

void die_no_groups(const char *name)
{
	warn_no_groups(name);
	exit(EXIT_USAGE);
}

void partition_absent(char text[PARTITION_ABSENT_MAX], const char *name, int64_t partition, uint32_t partitions)
{
	int used = snprintf(text, PARTITION_ABSENT_MAX, "%s: there is no partition %" PRId64 "; it has 0", name,
		partition);

	if (partitions > 1)
		snprintf(text + used, PARTITION_ABSENT_MAX - (size_t)used, " to %" PRIu32, partitions - 1);
	else
		snprintf(text + used, PARTITION_ABSENT_MAX - (size_t)used, " only");
}

void partition_check(const char *name, int64_t partition, uint32_t partitions)
{
	char text[PARTITION_ABSENT_MAX];

	if (partition < (int64_t)partitions)
		return;
	partition_absent(text, name, partition, partitions);
	die_usage("%s", text);
}

void properties_cell(struct table *table, const struct lmq_property *list, size_t count)
{
	char text[LMQ_PROPERTY_MAX * (sizeof *list + 8)] = "", json[sizeof text + 8] = "{";
	size_t used = 0, used_json = 1;

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

enum table_kind table_argument(const char *text)
{
	if (strcmp(text, "table") == 0)
		return TABLE_TABLE;
	if (strcmp(text, "plain") == 0)
		return TABLE_PLAIN;
	if (strcmp(text, "json") == 0)
		return TABLE_JSON;
	die_usage("--output: '%s' is not table, plain or json", text);
}
