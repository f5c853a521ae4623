/* SPDX-License-Identifier: ISC */
/*
 * mq-make: create or change a channel, a group or a store. Idempotent: it states what shall be, prints what
 * that changed, and prints nothing where all was so before.
 *
 * --store=S is -s, as in every tool. Given without a NAME it is the store itself that is made,
 * which is why "mq-make --store jobs sync=relaxed" needs no rule of its own: a property has a "=",
 * a name never.
 */
#include "cmd.h"
#include "output.h"
#include "reading.h"

#include <stdlib.h>
#include <string.h>

static const char synopsis[] =
	"mq-make [OPTION]... [--queue|--topic|--stream] NAME [PROPERTY=VALUE]...\n"
	"mq-make [OPTION]... --group=G NAME [PROPERTY=VALUE]...\n"
	"mq-make [OPTION]... --rename=NEW NAME\n"
	"mq-make [OPTION]... --store=S [PROPERTY=VALUE]...";

enum { OPTION_QUEUE = OPTION_TOOL, OPTION_TOPIC, OPTION_STREAM, OPTION_RENAME };

static const struct option_row options[] = {
	{ OPTION_QUEUE, "queue", NULL, "a queue; created if missing" },
	{ OPTION_TOPIC, "topic", NULL, "a topic; created if missing" },
	{ OPTION_STREAM, "stream", NULL, "a stream; created if missing" },
	{ 'g', "group", "G", "group G of the topic or stream; created if missing" },
	{ OPTION_FROM, "from", "N", "a new group starts at this offset; first, end" },
	{ 'S', "since", "T", "a new group starts at this time" },
	{ OPTION_LAST, "last", "N", "a new group starts N messages before the end" },
	{ OPTION_RENAME, "rename", "NEW", "give the channel the name NEW" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-make --queue jobs max-message=1G",
	"mq-make --stream logs max-age=30d partitions=4",
	"mq-make -g mailer logs lease=2m max-attempts=3",
	NULL,
};

static const struct tool tool = {
	.name = "mq-make",
	.synopsis = synopsis,
	.purpose = "Create or change a channel, a group or a store, and print what that changed.",
	.options = options,
	.examples = examples,
};

static enum lmq_kind kind = LMQ_ANY;
static const char *new_name;
static const char *group;
static struct range range = RANGE_INIT;	/* where a new group starts */

static void set_kind(enum lmq_kind wanted)
{
	if (kind != LMQ_ANY && kind != wanted)
		die_usage("--%s and --%s exclude each other", lmq_kind_name(kind),
			lmq_kind_name(wanted));
	kind = wanted;
}

static void handle(int key, char *argument)
{
	if (range_option(&range, key, argument))
		return;
	switch (key) {
	case OPTION_QUEUE:
		set_kind(LMQ_QUEUE);
		break;
	case OPTION_TOPIC:
		set_kind(LMQ_TOPIC);
		break;
	case OPTION_STREAM:
		set_kind(LMQ_STREAM);
		break;
	case 'g':
		group_check(argument);
		group = argument;
		break;
	case OPTION_RENAME:
		new_name = argument;
		break;
	}
}

static void tell(const char *object, const char *what, const char *detail)
{
	output_bytes(object, strlen(object));
	output_bytes(": ", 2);
	output_bytes(what, strlen(what));
	output_bytes(detail, strlen(detail));
	output_bytes("\n", 1);
}

static void tell_changes(const char *object, const struct lmq_property *changed, size_t count)
{
	char text[sizeof *changed + 4];

	for (size_t i = 0; i < count; i++) {
		snprintf(text, sizeof text, "%s=%s", changed[i].name, changed[i].value);
		tell(object, text, "");
	}
}

static struct lmq_property *room_for(size_t count)
{
	struct lmq_property *changed = calloc(count + 1, sizeof *changed);

	if (changed == NULL)
		die(EXIT_SYSTEM, "out of memory");
	return changed;
}

static _Noreturn void die_no_kind(const char *name)
{
	warn("%s: no such channel", name);
	hint("to create it, say what it shall be: --queue, --topic or --stream");
	exit(EXIT_USAGE);
}

static void make_channel(const char *name, const char *const properties[], size_t count)
{
	lmq_store *store = store_open(kind != LMQ_ANY ? LMQ_CREATE : 0);
	struct lmq_property *changed = room_for(count);
	size_t changed_count = 0;
	bool created = false;
	int status = lmq_channel_make(store, name, kind, properties, count, &created, changed,
		&changed_count);

	if (status == LMQ_ENOENT && kind == LMQ_ANY)
		die_no_kind(name);
	if (status != 0)
		die_store(store, status);
	if (created)
		tell(name, "created ", lmq_kind_name(kind));
	tell_changes(name, changed, changed_count);
	free(changed);
	lmq_store_close(store);
}

static void make_group(const char *name, const char *const properties[], size_t count)
{
	lmq_store *store = store_open(0);
	lmq_channel *channel = channel_open(store, name, LMQ_ANY, 0);
	struct lmq_property *changed = room_for(count);
	char object[2 * LMQ_NAME_MAX + 2];
	size_t changed_count = 0;
	bool created = false;
	enum lmq_seek start;
	int64_t value;
	int status;

	if (lmq_channel_kind(channel) == LMQ_QUEUE)
		die_no_groups(name);
	group_start(&range, lmq_channel_kind(channel), &start, &value);
	status = lmq_group_make(channel, group, start, value, properties, count, &created, changed, &changed_count);
	if (status != 0)
		die_store(store, status);
	snprintf(object, sizeof object, "%s@%s", name, group);
	if (created)
		tell(object, "created group", "");
	tell_changes(object, changed, changed_count);
	if (!created && range_starts(&range))
		notice("%s: it is there already, and stays where it is: mq-seek moves it", object);
	free(changed);
	lmq_channel_close(channel);
	lmq_store_close(store);
}

static void make_store(const char *const properties[], size_t count)
{
	struct lmq_property *changed = room_for(count);
	bool quiet_before = quiet;
	size_t changed_count = 0;
	lmq_store *store;
	int status;

	/* Here the new store is the result, told on stdout, and not worth a notice besides. */
	quiet = true;
	store = store_open(LMQ_CREATE);
	quiet = quiet_before;
	if (lmq_store_created(store))
		tell(store_path(), "created store", "");
	status = lmq_store_make(store, properties, count, changed, &changed_count);
	if (status != 0)
		die_store(store, status);
	tell_changes(store_path(), changed, changed_count);
	free(changed);
	lmq_store_close(store);
}

static void rename_channel(const char *name)
{
	lmq_store *store = store_open(0);
	int status = lmq_channel_rename(store, name, new_name);

	if (status != 0)
		die_store(store, status);
	tell(name, "renamed to ", new_name);
	lmq_store_close(store);
}

static bool is_property(const char *operand)
{
	return strchr(operand, '=') != NULL;
}

static void check_properties(char **operands, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!is_property(operands[i]))
			die_usage("%s: not a property, as in PROPERTY=VALUE", operands[i]);
}

static void check_usage(bool named, size_t count)
{
	if (!named && (store_option == NULL || kind != LMQ_ANY || new_name != NULL || group != NULL))
		die_usage("the operand NAME is missing");
	if (new_name != NULL && (count > 1 || kind != LMQ_ANY || group != NULL))
		die_usage("--rename goes with a NAME and nothing else");
	if (group != NULL && kind != LMQ_ANY)
		die_usage("--group goes without --%s: it is of a channel that is there", lmq_kind_name(kind));
	if (group == NULL && range_starts(&range))
		die_usage("--from, --since and --last say where a new group starts, but no --group is given");
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle);
	char **operands = argv + first;
	size_t count = (size_t)(argc - first);
	bool named = count > 0 && !is_property(operands[0]);

	check_usage(named, count);
	check_properties(operands + named, count - named);
	if (new_name != NULL)
		rename_channel(operands[0]);
	else if (group != NULL)
		make_group(operands[0], (const char *const *)operands + 1, count - 1);
	else if (named)
		make_channel(operands[0], (const char *const *)operands + 1, count - 1);
	else
		make_store((const char *const *)operands, count);
	finish(EXIT_SUCCESS);
}
