/* SPDX-License-Identifier: ISC */
/*
 * mq-move: moves messages that are ready to another channel, or dead letters back to where they came
 * from.
 *
 * Each step is one transaction (transfer.c): a message is in one of the two, whenever this process
 * ends. Only what lies below the end of the queue at the start is moved, not what is sent meanwhile.
 * Dead letters of several queues go back queue by queue: one that is missing keeps none of the others.
 */
#include "cmd.h"
#include "delivery.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char synopsis[] =
	"mq-move [OPTION]... FROM TO [OFFSET]...\n"
	"mq-move [OPTION]... --redrive QUEUE [OFFSET]...";

enum {
	OPTION_REDRIVE = OPTION_TOOL, OPTION_COPY, OPTION_RATE, OPTION_DRY_RUN, OPTION_SYNC,
	OPTION_NO_CREATE, OPTION_PROGRESS
};

static const struct option_row options[] = {
	{ OPTION_REDRIVE, "redrive", NULL, "dead letters of QUEUE go back to where they came from" },
	{ OPTION_COPY, "copy", NULL, "leave the messages in FROM too" },
	{ 'n', "count", "N", "stop after N messages" },
	CONDITION_OPTIONS,
	{ OPTION_RATE, "rate", "N/s", "at most N messages a second" },
	{ OPTION_DRY_RUN, "dry-run", NULL, "print what would be moved, and move nothing" },
	{ OPTION_SYNC, "sync", "M", "full or relaxed" },
	{ OPTION_NO_CREATE, "no-create", NULL, "a missing TO is an error" },
	{ OPTION_PROGRESS, "progress", NULL, "messages and rate on stderr" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-move --redrive jobs",
	"mq-move --dry-run -m tenant=acme jobs jobs.acme",
	"mq-move --redrive --reason=timeout --rate=10/s jobs",
	NULL,
};

static const struct tool tool = {
	.name = "mq-move",
	.synopsis = synopsis,
	.purpose = "Move or copy messages to another channel; redrive dead letters.",
	.options = options,
	.examples = examples,
};

enum { LOOK_MESSAGES = 65536 };	/* before the snapshot is renewed */

struct origin {
	char name[LMQ_NAME_MAX + 1];
	uint64_t count;		/* dead letters that came from there */
};

static bool dry_run, no_create, progress;
static uint64_t limit = UINT64_MAX;
static struct conditions conditions;
static struct transfer transfer = { .conditions = &conditions };
static lmq_store *store;
static const char *from_name;

/* ---- options -------------------------------------------------------------------------------- */

static void handle(int key, char *argument)
{
	switch (key) {
	case OPTION_REDRIVE:
		transfer.back = true;
		break;
	case OPTION_COPY:
		transfer.copy = true;
		break;
	case 'n':
		limit = argument_number("--count", argument, 1, UINT64_MAX - 1);
		break;
	case OPTION_RATE:
		transfer.pace.rate = argument_rate("--rate", argument);
		break;
	case OPTION_DRY_RUN:
		dry_run = true;
		break;
	case OPTION_SYNC:
		transfer.sync = sync_parse("--sync", argument);
		break;
	case OPTION_NO_CREATE:
		no_create = true;
		break;
	case OPTION_PROGRESS:
		progress = true;
		break;
	default:
		conditions_option(&conditions, key, argument);
	}
}

/* The operands: one queue or two, then offsets. */
static void operands_take(char **operands, size_t count)
{
	bool redrive = transfer.back;
	size_t names = redrive ? 1 : 2;

	if (redrive && transfer.copy)
		die_usage("--redrive and --copy exclude each other");
	if (count < names)
		die_usage("%s", redrive ? "no queue given" : count == 0 ? "no FROM given" : "no TO given");
	for (size_t i = 0; i < names; i++)
		if (!lmq_name_valid(operands[i]))
			die_usage("%s: not the name of a channel", operands[i]);
	from_name = operands[0];
	transfer.to_name = redrive ? NULL : operands[1];
	if (!redrive && strcmp(from_name, transfer.to_name) == 0)
		die_usage("%s: FROM and TO are the same", from_name);
	conditions.offset_count = count - names;
	conditions.offsets = offsets_operands(operands + names, count - names);
	conditions_check(&conditions);
	if (transfer.sync == LMQ_SYNC_DEFAULT)
		transfer.sync = sync_environment();
}

static void check(int status)
{
	if (status != 0)
		die_store(store, status);
}

/* ---- looking -------------------------------------------------------------------------------- */

static struct origin *origins;
static size_t origin_count;

static void origin_add(const struct lmq_bytes *name)
{
	size_t i = 0;

	while (i < origin_count && (strlen(origins[i].name) != name->size ||
	    memcmp(origins[i].name, name->data, name->size) != 0))
		i++;
	if (i == origin_count) {
		if (name->size > LMQ_NAME_MAX)
			return;
		origins = reallocarray(origins, origin_count + 1, sizeof *origins);
		if (origins == NULL)
			die(EXIT_SYSTEM, "out of memory");
		origins[origin_count++] = (struct origin){ .count = 0 };
		memcpy(origins[i].name, name->data, name->size);
	}
	origins[i].count++;
}

/* Whether the message is ready, and one that would be moved. */
static int look(lmq_reader *reader, const lmq_filter *filter, const struct lmq_message *message,
	bool *ready)
{
	struct lmq_delivery delivery;
	int status;

	*ready = false;
	if (!lmq_filter_match(filter, message) || (transfer.back && message->death == NULL))
		return 0;
	status = lmq_reader_delivery(reader, &delivery);
	*ready = status == 0 && delivery.state == LMQ_READY;
	return status;
}

/* Counts what would be moved, changing nothing; dead letters by their origin. */
static int survey(const char *origin, uint64_t *count)
{
	lmq_filter *filter = conditions_filter(&conditions, 0, transfer.end, origin);
	lmq_reader *reader = NULL;
	struct lmq_message message;
	int status = filter != NULL ? lmq_reader_open(transfer.from, &reader) : LMQ_END;
	bool ready;

	for (size_t looked = 1; status == 0 && *count < limit && !interrupted; looked++) {
		status = lmq_reader_next(reader, &message);
		if (status != 0 || message.offset >= transfer.end)
			break;
		status = look(reader, filter, &message, &ready);
		if (status == 0 && ready) {
			++*count;
			if (transfer.back)
				origin_add(&message.death->origin);
		}
		if (looked % LOOK_MESSAGES == 0)
			lmq_reader_pause(reader);
	}
	lmq_reader_close(reader);
	lmq_filter_close(filter);
	return status == LMQ_END ? 0 : status;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static const char *messages(uint64_t count)
{
	static char text[40];

	snprintf(text, sizeof text, "%" PRIu64 " message%s", count, count == 1 ? "" : "s");
	return text;
}

static void tell(uint64_t count, const char *target)
{
	progress_break();
	if (count > 0)
		notice("%s %s from %s to %s", transfer.copy ? "copied" : "moved", messages(count), from_name,
			target);
}

static void tell_plan(uint64_t count, const char *target)
{
	char line[2 * LMQ_NAME_MAX + 96];
	int size = snprintf(line, sizeof line, "%s: would %s %s to %s\n", from_name,
		transfer.copy ? "copy" : "move", messages(count), target);

	output_bytes(line, (size_t)size);
}

/* Moves, then tells how many, before what went wrong. Returns the exit status. */
static int move_and_tell(const char *origin, uint64_t most, const char *target)
{
	uint64_t already = transfer.done;
	int status = transfer.copy ? transfer_copy(&transfer, most) :
		transfer_move(&transfer, origin, most);

	tell(transfer.done - already, target);
	if (status != 0)
		warn_store(store);
	return exit_status(status);
}

/* One queue that is missing, or full, does not keep the others from getting theirs back. */
static int redrive_all(void)
{
	uint64_t count = 0;
	int worst = EXIT_SUCCESS;

	check(survey(NULL, &count));
	for (size_t i = 0; i < origin_count && !interrupted; i++) {
		int status = move_and_tell(origins[i].name, origins[i].count, origins[i].name);

		worst = worst ? worst : status;
	}
	return worst;
}

static int plan(const char *origin)
{
	uint64_t count = 0;

	check(survey(origin, &count));
	for (size_t i = 0; transfer.back && i < origin_count; i++)
		tell_plan(origins[i].count, origins[i].name);
	if (!transfer.back && count > 0)
		tell_plan(count, transfer.to_name);
	transfer.done = count;
	return EXIT_SUCCESS;
}

/* ---- main ----------------------------------------------------------------------------------- */

static bool is_dead(const char *name)
{
	size_t size = strlen(name);

	return size > 5 && strcmp(name + size - 5, ".dead") == 0;
}

/* Where the dead letters of a queue go, or those of the groups of a topic or stream that say nothing else. */
static const char *dead_of(const char *name)
{
	static struct lmq_property list[LMQ_PROPERTY_MAX];
	static char usual[LMQ_NAME_MAX + sizeof ".dead"];
	lmq_channel *queue = channel_open(store, name, LMQ_ANY, 0);
	bool grouped = lmq_channel_kind(queue) != LMQ_QUEUE;
	size_t count;

	check(lmq_channel_properties(queue, list, &count));
	lmq_channel_close(queue);
	snprintf(usual, sizeof usual, "%s.dead", name);
	if (grouped)
		return usual;
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].name, "dead") == 0 && strcmp(list[i].value, "none") != 0)
			return list[i].value;
	die(EXIT_NOINPUT, "%s: has no dead-letter queue (dead=none)", name);
}

/* Opens both ends. False: no dead letter was ever there. */
static bool open_all(const char **origin)
{
	struct lmq_channel_info info;
	int status;

	*origin = transfer.back && !is_dead(from_name) ? from_name : NULL;
	if (*origin != NULL)
		from_name = dead_of(*origin);
	status = lmq_channel_open(store, from_name, LMQ_QUEUE, 0, &transfer.from);
	if (status == LMQ_ENOENT && *origin != NULL)
		return false;
	check(status);
	check(lmq_channel_info(transfer.from, &info));
	transfer.end = info.end;
	if (!transfer.back) {
		status = lmq_channel_open(store, transfer.to_name, LMQ_ANY, 0, &transfer.to);
		if (status != LMQ_ENOENT || no_create)
			check(status);
	}
	return true;
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status = EXIT_SUCCESS;
	const char *origin;

	operands_take(argv + first, (size_t)(argc - first));
	store = store_open(dry_run ? LMQ_READ_ONLY : 0);
	transfer.store = store;
	if (transfer.pace.rate > 0 && !dry_run)
		check(lmq_watch_open(store, &transfer.watch));
	interrupt_catch(transfer.watch);
	progress_start(progress);
	if (open_all(&origin)) {
		if (dry_run)
			status = plan(origin);
		else if (transfer.back && origin == NULL)
			status = redrive_all();
		else
			status = move_and_tell(origin, limit, transfer.back ? origin :
				transfer.to_name);
	}
	progress_end(transfer.done, 0);
	lmq_channel_close(transfer.to);
	lmq_channel_close(transfer.from);
	lmq_watch_close(transfer.watch);
	lmq_store_close(store);
	if (interrupted)
		die_by_signal(interrupted);
	finish(status != EXIT_SUCCESS ? status : transfer.done > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
