/* SPDX-License-Identifier: ISC */
/*
 * mq-peek: shows the messages of a queue and how their delivery stands, and changes nothing: the store
 * is opened for reading only.
 *
 * What is shown ends where the queue ended at the start, so that a busy queue does not keep it running.
 * A message that is settled while it is being written is taken back.
 */
#include "cmd.h"
#include "delivery.h"
#include "output.h"
#include "reading.h"

#include <stdlib.h>
#include <string.h>

enum { OPTION_STATE = OPTION_TOOL };

static const struct option_row options[] = {
	{ 'n', "count", "N", "stop after N messages" },
	{ OPTION_STATE, "state", "LIST", "only ready, leased, delayed, retry, blocked, expired" },
	{ 'k', "key", "P", "only messages whose key matches P" },
	{ 'm', "match", "N=GLOB", "only messages whose header N matches" },
	RANGE_OPTIONS,
	FORM_SHAPES,
	{ 'o', "output", "M", "body, json, json-data, table or plain; -v: table" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-peek -v jobs                  # who has what, and what waits for what",
	"mq-peek --state=retry,delayed -j jobs",
	"mq-peek -r jobs 1041             # the body of one message",
	NULL,
};

static const struct tool tool = {
	.name = "mq-peek",
	.synopsis = "mq-peek [OPTION]... QUEUE [OFFSET]...",
	.purpose = "Look at the messages of a queue without taking them.",
	.options = options,
	.examples = examples,
};

enum {
	ROWS_AT_ONCE = 8192,	/* of a table, which is kept until it is printed */
	SKIPPED_AT_ONCE = 65536,	/* messages, before the snapshot is renewed */
	CELL_MAX = 4 * LMQ_KEY_MAX + 1,
};
#define SECOND INT64_C(1000000000)

static const char *const columns[] = {
	"offset", "state", "attempts", "due", "holder", "since", "reason", "key", "size",
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static struct selection selection = { .count = UINT64_MAX, .wait = -1 };
static struct range range = RANGE_INIT;
static struct form form;
static unsigned states;			/* bits; 0: every state */
static bool form_set;			/* by an option */
static bool rows;			/* a table instead of messages */
static enum table_kind row_kind = TABLE_TABLE;

static const char *name;
static lmq_store *store;
static lmq_channel *queue;
static lmq_reader *reader;
static struct body_source source;
static struct table *table;
static size_t row_count;
static int64_t now;			/* for ages */
static uint64_t shown;

/* ---- options -------------------------------------------------------------------------------- */

static void form_handle(int key, char *argument)
{
	form_set = true;
	rows = key == 'o' && (strcmp(argument, "table") == 0 || strcmp(argument, "plain") == 0);
	if (rows)
		row_kind = *argument == 't' ? TABLE_TABLE : TABLE_PLAIN;
	else
		form_option(&form, key, argument);
}

static void handle(int key, char *argument)
{
	if (key == OPTION_STATE)
		states |= states_parse(argument);
	else if (!selection_option(&selection, key, argument) && !range_option(&range, key, argument))
		form_handle(key, argument);
}

static void settle_options(int operands)
{
	bool ranged = range.from != NULL || range.to != NULL || range.last >= 0 ||
		range.since != INT64_MIN || range.until != INT64_MAX;

	if (operands == 0)
		die_usage("no queue given");
	if (operands > 1 && ranged)
		die_usage("an OFFSET goes without --from, --to, --since, --until and --last");
	if (verbose && !form_set)
		rows = true;
	form.channel = name;
	form_ready(&form);
}

static void check(int status)
{
	if (status != 0)
		die_store(store, status);
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* Control bytes of a cell as \xHH, those beyond ASCII too; what is too long is cut. */
static const char *cell_text(const char *data, size_t size, char *buffer)
{
	size_t used = 0;

	for (size_t i = 0; i < size && used + 8 < CELL_MAX; i++) {
		unsigned char byte = (unsigned char)data[i];
		bool wide = byte == 0xc2 && i + 1 < size && (unsigned char)data[i + 1] < 0xa0;

		if (byte < 0x20 || byte == 0x7f || wide)
			used += (size_t)sprintf(buffer + used, "\\x%02x", byte);
		else
			buffer[used++] = data[i];
		if (wide)
			used += (size_t)sprintf(buffer + used, "\\x%02x", (unsigned char)data[++i]);
	}
	buffer[used] = '\0';
	return buffer;
}

static void add_text(const char *data, size_t size)
{
	char buffer[CELL_MAX];

	table_text(table, size > 0 ? cell_text(data, size, buffer) : NULL);
}

/* One unit, of which there are at least two: "90s", "5m". */
static const char *short_duration(int64_t duration, char *buffer)
{
	int64_t unit = duration < 120 * SECOND ? SECOND : duration < 7200 * SECOND ? 60 * SECOND :
		duration < 48 * 3600 * SECOND ? 3600 * SECOND : 86400 * SECOND;

	return lmq_duration_format(duration > 0 ? duration / unit * unit : 0, buffer);
}

/* For people how far it is from now, for programs the time. */
static void add_time(int64_t time, int64_t distance)
{
	char buffer[LMQ_VALUE_MAX];

	if (time == 0)
		table_text(table, NULL);
	else if (row_kind == TABLE_TABLE)
		table_text(table, short_duration(distance, buffer));
	else
		table_text(table, lmq_time_format(time, buffer));
}

static void rows_flush(void)
{
	if (table != NULL)
		table_print(table);
	table = NULL;
	row_count = 0;
}

static void row_add(const struct lmq_message *message, const struct lmq_delivery *delivery)
{
	const struct lmq_history *history = &delivery->history;
	const char *reason = lmq_reason_name(history->reason);

	if (table == NULL)
		table = table_new(row_kind, columns, COLUMNS);
	table_number(table, message->offset, NULL);
	table_text(table, state_name(delivery->state));
	table_number(table, history->attempts, NULL);
	add_time(delivery->due, delivery->due - now);
	add_text(delivery->holder, strlen(delivery->holder));
	add_time(delivery->since, now - delivery->since);
	table_text(table, *reason != '\0' ? reason : NULL);
	add_text(message->key.data, message->key.size);
	table_number(table, message->body.size, NULL);
	if (++row_count == ROWS_AT_ONCE)
		rows_flush();
}

/* ---- messages ------------------------------------------------------------------------------- */

static int message_write(const struct lmq_message *message)
{
	int status = form_write(&form, message, &source);

	if (status == 0)
		shown++;
	if (status == 0 || status == OUTPUT_FAILED || !output_take_back())
		return status;
	return status == LMQ_EGONE ? 0 : status;
}

/* Of a detached lease the name is shown: with it mq-ack can settle the message. */
static int message_write_with(struct lmq_message *message, struct lmq_delivery *delivery)
{
	delivery_keep(delivery);
	message->attempt = delivery->history.attempts;
	message->delivery = message->attempt + delivery->history.returned;
	form.delivery = delivery->state == LMQ_LEASED && delivery->due != 0;
	form.delivery_state = delivery;
	return message_write(message);
}

static int show(struct lmq_message *message)
{
	struct lmq_delivery delivery;
	int status;

	if (!rows && states == 0 && form.kind <= FORM_RAW)
		return message_write(message);
	status = lmq_reader_delivery(reader, &delivery);
	if (status != 0 || (states != 0 && !(states & 1u << delivery.state)))
		return status;
	if (!rows)
		return message_write_with(message, &delivery);
	row_add(message, &delivery);
	shown++;
	return 0;
}

/* Shows what there is below end. A snapshot is not held for long, whatever is skipped. */
static int show_up_to(uint64_t end)
{
	struct lmq_message message;

	for (size_t looked = 1; shown < selection.count && !interrupted; looked++) {
		int status = lmq_reader_next(reader, &message);

		if (status == LMQ_END || (status == 0 && message.offset >= end))
			return 0;
		if (status == 0 && message.time >= range.until)
			return 0;
		if (status == 0 && lmq_filter_match(selection.filter, &message))
			status = show(&message);
		if (status != 0)
			return status;
		if (looked % SKIPPED_AT_ONCE == 0)
			lmq_reader_pause(reader);
	}
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* The present end, or what --to says if that is before it. */
static uint64_t end_find(void)
{
	struct lmq_channel_info info;
	uint64_t end, to;

	check(lmq_channel_info(queue, &info));
	check(lmq_reader_end(reader, &end));
	if (range.to == NULL || strcmp(range.to, "end") == 0)
		return end;
	to = strcmp(range.to, "first") == 0 ? info.first :
		argument_number("--to", range.to, 0, INT64_MAX);
	return to < end ? to : end;
}

static int show_offsets(const struct offsets *list, size_t count, uint64_t end)
{
	int status = 0;

	for (size_t i = 0; status == 0 && i < count; i++) {
		if (list[i].first >= end)
			continue;
		status = lmq_reader_seek(reader, LMQ_SEEK_OFFSET, (int64_t)list[i].first);
		if (status == 0)
			status = show_up_to(list[i].end < end ? list[i].end : end);
	}
	return status;
}

static int show_all(const struct offsets *list, size_t count)
{
	uint64_t end = end_find();
	int status;

	if (count > 0)
		return show_offsets(list, count, end);
	status = range_seek(&range, reader, LMQ_SEEK_FIRST);
	return status != 0 ? status : show_up_to(end);
}

static void open_all(void)
{
	store = store_open(LMQ_READ_ONLY);
	interrupt_catch(NULL);
	queue = channel_open(store, name, LMQ_QUEUE, 0);
	check(lmq_reader_open(queue, &reader));
	source = reader_source(reader);
	output_source(&source);
	now = lmq_now();
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status;
	struct offsets *list;
	size_t count;

	name = argv[first];
	settle_options(argc - first);
	count = (size_t)(argc - first - 1);
	list = offsets_operands(argv + first + 1, count);
	open_all();
	status = show_all(list, count);
	rows_flush();
	if (status == OUTPUT_FAILED || output_flush() != 0)
		output_die();
	if (status != 0)
		die_store(store, status);
	output_source(NULL);
	lmq_reader_close(reader);
	lmq_channel_close(queue);
	lmq_store_close(store);
	lmq_filter_close(selection.filter);
	free(list);
	if (interrupted)
		die_by_signal(interrupted);
	finish(shown > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
