/* SPDX-License-Identifier: ISC */
/*
 * mq-seek: shows where the groups of a topic or stream are, and moves them.
 *
 * Members of a group need not stop: what they have in their hands they may still settle, and the next message
 * they take is from the new position.
 */
#include "cmd.h"
#include "reading.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char synopsis[] =
	"mq-seek [OPTION]... NAME [GROUP]\n"
	"mq-seek [OPTION]... --export [NAME [GROUP]]\n"
	"mq-seek [OPTION]... --import";

enum { OPTION_SHIFT = OPTION_TOOL, OPTION_PARTITION, OPTION_DRY_RUN, OPTION_EXPORT, OPTION_IMPORT };

static const struct option_row options[] = {
	{ OPTION_FROM, "from", "N", "move to this offset; first, end" },
	{ 'S', "since", "T", "to the first message from this time on" },
	{ OPTION_LAST, "last", "N", "to N messages before the end" },
	{ OPTION_SHIFT, "shift", "N", "by N messages, back if negative" },
	{ OPTION_PARTITION, "partition", "N", "this partition only" },
	{ OPTION_DRY_RUN, "dry-run", NULL, "print what would be moved, and move nothing" },
	{ OPTION_EXPORT, "export", NULL, "print positions in the form that --import reads" },
	{ OPTION_IMPORT, "import", NULL, "move groups to the positions on stdin" },
	{ 'o', "output", "M", "table, plain (tabs, no heading) or json (one object a line)" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-seek orders                  # every group, and how far behind it is",
	"mq-seek --since=-2h --dry-run orders billing",
	"mq-seek --export orders >positions && mq-seek --import <positions",
	NULL,
};

static const struct tool tool = {
	.name = "mq-seek",
	.synopsis = synopsis,
	.purpose = "Show or move the positions of the groups of a topic or stream.",
	.options = options,
	.examples = examples,
};

static const char *const move_columns[] = {
	"channel", "group", "partition", "from", "to", "skipped", "repeated",
};
enum { MOVE_COLUMNS = sizeof move_columns / sizeof *move_columns };

static struct range range = RANGE_INIT;
static int64_t shift;
static bool shifted;
static int64_t partition = -1;
static bool dry_run;
static bool exports;
static bool imports;
static enum table_kind output = TABLE_TABLE;
static bool output_set;

static lmq_store *store;

/* ---- options -------------------------------------------------------------------------------- */

static int64_t shift_parse(const char *text)
{
	bool back = *text == '-';
	int64_t number = (int64_t)argument_number("--shift", text + (back || *text == '+'), 0, INT64_MAX);

	return back ? -number : number;
}

static void handle(int key, char *argument)
{
	if (range_option(&range, key, argument))
		return;
	switch (key) {
	case OPTION_SHIFT:
		shift = shift_parse(argument);
		shifted = true;
		break;
	case OPTION_PARTITION:
		partition = (int64_t)argument_number("--partition", argument, 0, LMQ_PARTITIONS_MAX - 1);
		break;
	case OPTION_DRY_RUN:
		dry_run = true;
		break;
	case OPTION_EXPORT:
		exports = true;
		break;
	case OPTION_IMPORT:
		imports = true;
		break;
	case 'o':
		output = table_argument(argument);
		output_set = true;
		break;
	}
}

static bool moves(void)
{
	return range_starts(&range) || shifted;
}

static void check_options(void)
{
	if (exports && imports)
		die_usage("--export and --import exclude each other");
	if (shifted && range_starts(&range))
		die_usage("--shift goes without --from, --since and --last");
	if ((exports || imports) && moves())
		die_usage("--%s goes without --from, --since, --last and --shift", exports ? "export" : "import");
	if (exports && output_set)
		die_usage("--export has a form of its own: it goes without --output");
	if (imports && partition >= 0)
		die_usage("--import goes without --partition: every line names one");
	if (dry_run && !moves() && !imports)
		die_usage("--dry-run goes with --from, --since, --last, --shift or --import");
}

static void check_group(const char *group)
{
	if (!lmq_name_valid(group))
		die_usage("%s: not the name of a group", group);
}

static void check_operands(char **operands, size_t count)
{
	if (imports && count > 0)
		die_usage("%s: --import goes without operands: every line names its group", operands[0]);
	if (count == 0 && !exports && !imports)
		die_usage("the operand NAME is missing");
	if (moves() && count < 2)
		die_usage("the operand GROUP is missing: which one is to be moved?");
	if (count > 2)
		die_usage("%s: more than one group given", operands[2]);
	if (count > 1)
		check_group(operands[1]);
}

/* ---- showing -------------------------------------------------------------------------------- */

static lmq_channel *open_channel(const char *name)
{
	lmq_channel *channel = channel_open(store, name, LMQ_ANY, 0);
	struct lmq_channel_info info;
	int status;

	if (lmq_channel_kind(channel) == LMQ_QUEUE)
		die_no_groups(name);
	status = lmq_channel_info(channel, &info);
	if (status != 0)
		die_store(store, status);
	partition_check(name, partition, info.partitions);
	return channel;
}

/* The groups asked for, of the partitions asked for; an array for free(). */
static struct lmq_group_info *groups_of(lmq_channel *channel, const char *group, size_t *count)
{
	struct lmq_group_info *list = NULL;
	size_t all = 0;
	int status = lmq_group_list(channel, group, &list, &all);

	if (status != 0)
		die_store(store, status);
	*count = 0;
	for (size_t i = 0; i < all; i++)
		if (partition < 0 || list[i].partition == partition)
			list[(*count)++] = list[i];
	return list;
}

static size_t show(const char *name, const char *group)
{
	lmq_channel *channel = open_channel(name);
	struct table *table = table_new(output, group_columns, GROUP_COLUMNS);
	int64_t now = lmq_now();
	size_t count;
	struct lmq_group_info *list = groups_of(channel, group, &count);

	for (size_t i = 0; i < count; i++)
		group_row(table, &list[i], now);
	table_print(table);
	free(list);
	lmq_channel_close(channel);
	return count;
}

static size_t export_channel(const char *name, const char *group)
{
	lmq_channel *channel = open_channel(name);
	size_t count;
	struct lmq_group_info *list = groups_of(channel, group, &count);

	for (size_t i = 0; i < count; i++)
		position_write(name, &list[i]);
	free(list);
	lmq_channel_close(channel);
	return count;
}

static size_t export_all(void)
{
	struct lmq_channel_info *list = NULL;
	size_t count = 0, written = 0;
	int status = lmq_channel_list(store, NULL, LMQ_ANY, &list, &count);

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++)
		if (list[i].kind != LMQ_QUEUE && (partition < 0 || partition < list[i].partitions))
			written += export_channel(list[i].name, NULL);
	free(list);
	return written;
}

/* ---- moving --------------------------------------------------------------------------------- */

static void move_row(struct table *table, const char *channel, const char *group, const struct lmq_group_move *move)
{
	table_text(table, channel);
	table_text(table, group);
	table_number(table, move->partition, NULL);
	table_number(table, move->from, NULL);
	table_number(table, move->to, NULL);
	table_number(table, move->to > move->from ? move->to - move->from : 0, NULL);
	table_number(table, move->to < move->from ? move->from - move->to : 0, NULL);
}

/* Moves a group, of all partitions or of one; the rows go to the table. */
static void move(struct table *table, lmq_channel *channel, const char *group, int64_t lane, enum lmq_seek how,
	int64_t value)
{
	static struct lmq_group_move done[LMQ_PARTITIONS_MAX];
	size_t count = 0;
	int status = lmq_group_seek(channel, group, lane, how, value, dry_run ? LMQ_SEEK_DRY_RUN : 0, done, &count);

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++)
		move_row(table, lmq_channel_name(channel), group, &done[i]);
}

/* Nobody need read what was asked for and done. */
static void moved_print(struct table *table)
{
	if (dry_run || verbose || output_set)
		table_print(table);
	else
		table_free(table);
}

static void move_one(const char *name, const char *group)
{
	lmq_channel *channel = open_channel(name);
	struct table *table = table_new(output, move_columns, MOVE_COLUMNS);
	enum lmq_seek how = LMQ_SEEK_SHIFT;
	int64_t value = shift;

	if (!shifted)
		group_start(&range, lmq_channel_kind(channel), &how, &value);
	move(table, channel, group, partition, how, value);
	moved_print(table);
	lmq_channel_close(channel);
}

/* ---- import --------------------------------------------------------------------------------- */

/* The position at i, and those behind it, of the same channel: how many. */
static size_t same_channel(const struct position *list, size_t count, size_t i)
{
	size_t n = 1;

	while (i + n < count && strcmp(list[i].channel, list[i + n].channel) == 0)
		n++;
	return n;
}

/* Of the groups, which are sorted as the positions are, the next one that is not before that position. */
static bool find(const struct lmq_group_info *groups, size_t count, size_t *at, const struct position *position)
{
	for (; *at < count; ++*at) {
		int order = strcmp(groups[*at].name, position->group);

		if (order > 0 || (order == 0 && groups[*at].partition >= position->partition))
			return order == 0 && groups[*at].partition == position->partition;
	}
	return false;
}

static _Noreturn void die_missing(lmq_channel *channel, const struct position *position)
{
	char text[PARTITION_ABSENT_MAX];
	struct lmq_channel_info info;

	if (lmq_channel_info(channel, &info) == 0 && position->partition >= info.partitions) {
		partition_absent(text, position->channel, position->partition, info.partitions);
		die(EXIT_DATA, "line %" PRIu64 ": %s; nothing was moved", position->line, text);
	}
	warn("line %" PRIu64 ": %s has no group '%s'; nothing was moved", position->line, position->channel,
		position->group);
	hint("mq-make -g %s %s makes one", position->group, position->channel);
	exit(EXIT_NOINPUT);
}

/* Whether all of them are there is known before the first one is moved. */
static void import_check(const struct position *list, size_t count)
{
	for (size_t i = 0, n; i < count; i += n) {
		lmq_channel *channel = open_channel(list[i].channel);
		size_t group_count, at = 0;
		struct lmq_group_info *groups = groups_of(channel, NULL, &group_count);

		n = same_channel(list, count, i);
		for (size_t j = i; j < i + n; j++)
			if (!find(groups, group_count, &at, &list[j]))
				die_missing(channel, &list[j]);
		free(groups);
		lmq_channel_close(channel);
	}
}

static void import(const struct position *list, size_t count)
{
	struct table *table = table_new(output, move_columns, MOVE_COLUMNS);

	for (size_t i = 0, n; i < count; i += n) {
		lmq_channel *channel = open_channel(list[i].channel);

		n = same_channel(list, count, i);
		for (size_t j = i; j < i + n; j++)
			move(table, channel, list[j].group, list[j].partition, LMQ_SEEK_OFFSET,
				(int64_t)list[j].offset);
		lmq_channel_close(channel);
	}
	moved_print(table);
}

static void import_stdin(void)
{
	size_t count;
	struct position *list = positions_read(&count);

	store = store_open(dry_run ? LMQ_READ_ONLY : 0);
	import_check(list, count);
	import(list, count);
	free(list);
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle);
	char **operands = argv + first;
	size_t count = (size_t)(argc - first), shown = 1;
	const char *group = count > 1 ? operands[1] : NULL;

	check_options();
	check_operands(operands, count);
	if (imports) {
		import_stdin();
	} else {
		store = store_open(moves() && !dry_run ? 0 : LMQ_READ_ONLY);
		if (moves())
			move_one(operands[0], group);
		else if (!exports)
			shown = show(operands[0], group);
		else
			shown = count > 0 ? export_channel(operands[0], group) : export_all();
	}
	lmq_store_close(store);
	finish(shown > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
