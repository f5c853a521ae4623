/* SPDX-License-Identifier: ISC */
/*
 * All of mq-send and mq-pub but the kind of channel: what the command line says, and the order of
 * acts.
 *
 * Nothing is created before the command line is known to be right.
 */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

enum {
	OPTION_FILE = OPTION_TOOL, OPTION_TYPE, OPTION_ID, OPTION_REPLY_TO, OPTION_CORRELATION,
	OPTION_ATOMIC, OPTION_SYNC, OPTION_PRINT_POSITION, OPTION_NO_CREATE, OPTION_PROGRESS,
	OPTION_AT, OPTION_RESUME,
};

/* Only a queue holds messages back, and only a queue is full. Rows without help keep it to a screen. */
#define ROWS_FIELDS \
	{ OPTION_FILE, "file", "F", "the whole of F is one message; - is stdin" }, \
	{ 'k', "key", "K", "the messages' key" }, \
	{ 'H', "header", "N=V", "header N with value V" }, \
	{ 'p', "priority", "N", "0 to 9, default 4, higher first" }, \
	{ 'T', "ttl", "D", "expires after D" }, \
	{ OPTION_TYPE, "type", "MIME", "content type" }, \
	{ OPTION_ID, "id", "ID", "id of the message" }, \
	{ OPTION_REPLY_TO, "reply-to", "Q", "" }, \
	{ OPTION_CORRELATION, "correlation", "ID", "" }
#define ROWS_QUEUE \
	{ 'D', "delay", "D", "not delivered before D from now" }, \
	{ OPTION_AT, "at", "T", "not delivered before the time T" }, \
	{ 'w', "wait", "D", "wait at most D for room in a full queue" }
#define ROWS_ACTS \
	{ OPTION_RESUME, "resume", "NAME", "skip what earlier runs under NAME have sent" }, \
	{ OPTION_ATOMIC, "atomic", NULL, "all of the input in one transaction, or none" }, \
	{ OPTION_SYNC, "sync", "M", "full or relaxed" }, \
	{ OPTION_PRINT_POSITION, "print-position", NULL, "print where each message was stored" }, \
	{ OPTION_NO_CREATE, "no-create", NULL, "" }, \
	{ OPTION_PROGRESS, "progress", NULL, "" }, \
	{ 'j', "json", NULL, "each line is a JSON envelope" }, \
	{ '0', "null", NULL, "messages end in NUL" }, \
	{ 'd', "delimiter", "S", "messages end in the string S" }, \
	{ 'r', "raw", NULL, "the whole of stdin is one message" }, \
	{ 0, NULL, NULL, NULL }

const struct option_row send_options[] = { ROWS_FIELDS, ROWS_QUEUE, ROWS_ACTS };
const struct option_row pub_options[] = { ROWS_FIELDS, ROWS_ACTS };

enum { DELIMITER_MAX = 4096 };

/* What the command line says. */
static struct {
	const char **files;
	size_t file_count;
	struct lmq_message message;	/* the fields of every message */
	struct lmq_header headers[LMQ_HEADERS_MAX];
	size_t field_bytes;
	struct input input;
	bool framed;			/* -j, -0, -d or -r was given */
	bool atomic, print_position, no_create, progress;
	bool delayed, timed;		/* -D, --at */
	const char *resume;
	int64_t wait;			/* -1: not given */
	enum lmq_sync sync;
} asked = {
	.message = LMQ_MESSAGE_INIT,
	.wait = -1,
	.input = { .kind = INPUT_LINES, .delimiter = "\n", .delimiter_size = 1 },
};

/* ---- options ------------------------------------------------------------------------------- */

/* Checks here what the library would say only when the channel was created. */
static struct lmq_bytes field(const char *option, const char *text, size_t size, size_t most)
{
	asked.field_bytes += size;
	if (size > most)
		die_usage("--%s: longer than %zu bytes", option, most);
	if (!utf8_valid_text(text, size))
		die_usage("--%s: not valid UTF-8", option);
	if (asked.field_bytes > LMQ_FIELDS_MAX)
		die_usage("--%s: key, headers and the like are longer than %d bytes", option,
			LMQ_FIELDS_MAX);
	return (struct lmq_bytes){ text, size };
}

static struct lmq_bytes short_field(const char *option, const char *text)
{
	return field(option, text, strlen(text), LMQ_FIELD_MAX);
}

static void header_set(const char *text)
{
	const char *sign = strchr(text, '=');
	size_t size = sign != NULL ? (size_t)(sign - text) : 0;
	struct lmq_header *header = &asked.headers[asked.message.header_count];

	if (size == 0)
		die_usage("--header: '%s' is not NAME=VALUE", text);
	if (asked.message.header_count == LMQ_HEADERS_MAX)
		die_usage("--header: more than %d headers", LMQ_HEADERS_MAX);
	header->name = field("header", text, size, LMQ_FIELD_MAX);
	header->value = field("header", sign + 1, strlen(sign + 1), LMQ_FIELDS_MAX);
	for (size_t i = 0; i < asked.message.header_count; i++) {
		struct lmq_bytes other = asked.headers[i].name;
		if (other.size == size && memcmp(other.data, text, size) == 0)
			die_usage("--header: '%.*s' is given twice", (int)size, text);
	}
	asked.message.headers = asked.headers;
	asked.message.header_count++;
}

static void file_add(const char *name)
{
	const char **more = realloc(asked.files, (asked.file_count + 1) * sizeof *more);

	if (more == NULL)
		die(EXIT_SYSTEM, "out of memory");
	asked.files = more;
	for (size_t i = 0; i < asked.file_count; i++) {
		if (strcmp(name, "-") == 0 && strcmp(more[i], "-") == 0)
			die_usage("--file: stdin can be read once only");
	}
	more[asked.file_count++] = name;
}

static void framing_set(enum input_kind kind, const char *delimiter, size_t size)
{
	asked.framed = true;
	asked.input.kind = kind;
	asked.input.delimiter = delimiter;
	asked.input.delimiter_size = size;
}

static void delimiter_set(const char *text)
{
	size_t size;
	const char *delimiter = escapes_decode("delimiter", text, &size);

	if (size == 0 || size > DELIMITER_MAX)
		die_usage("--delimiter: '%s' is not a string of 1 to %d bytes", text,
			DELIMITER_MAX);
	framing_set(size == 1 && *delimiter == '\n' ? INPUT_LINES : INPUT_DELIMITER,
		delimiter, size);
}

static const char *resume_name(const char *text)
{
	if (!lmq_name_valid(text))
		die_usage("--resume: '%s' is not a name", text);
	return text;
}

/* When the messages may be delivered, and which first; false if it is another option. */
static bool delivery_option(int key, const char *argument)
{
	struct lmq_message *message = &asked.message;

	switch (key) {
	case 'p':
		message->priority = (int)argument_number("--priority", argument, 0, LMQ_PRIORITY_MAX);
		return true;
	case 'T':
		message->ttl = argument_duration("--ttl", argument);
		if (message->ttl == 0)
			die_usage("--ttl: '%s' leaves no time for a delivery", argument);
		return true;
	case 'D':
		message->delay = argument_duration("--delay", argument);
		if (message->delay == LMQ_FOREVER)
			die_usage("--delay: a message that is held back forever is never delivered");
		asked.delayed = true;
		return true;
	case OPTION_AT:
		message->not_before = argument_time("--at", argument);
		asked.timed = true;
		return true;
	}
	return false;
}

/* Other options that say something about every message; false if it is none of them. */
static bool field_option(int key, const char *argument)
{
	struct lmq_message *message = &asked.message;

	switch (key) {
	case 'k':
		message->key = field("key", argument, strlen(argument), LMQ_KEY_MAX);
		return true;
	case 'H':
		header_set(argument);
		return true;
	case OPTION_TYPE:
		message->type = short_field("type", argument);
		return true;
	case OPTION_ID:
		message->id = short_field("id", argument);
		return true;
	case OPTION_REPLY_TO:
		message->reply_to = short_field("reply-to", argument);
		return true;
	case OPTION_CORRELATION:
		message->correlation = short_field("correlation", argument);
		return true;
	}
	return false;
}

static void handle(int key, char *argument)
{
	if (field_option(key, argument) || delivery_option(key, argument))
		return;
	switch (key) {
	case OPTION_FILE:
		file_add(argument);
		break;
	case 'w':
		asked.wait = argument_duration("--wait", argument);
		break;
	case OPTION_RESUME:
		asked.resume = resume_name(argument);
		break;
	case OPTION_ATOMIC:
		asked.atomic = true;
		break;
	case OPTION_SYNC:
		asked.sync = sync_parse("--sync", argument);
		break;
	case OPTION_PRINT_POSITION:
		asked.print_position = true;
		break;
	case OPTION_NO_CREATE:
		asked.no_create = true;
		break;
	case OPTION_PROGRESS:
		asked.progress = true;
		break;
	case 'j':
		framing_set(INPUT_JSON, "\n", 1);
		break;
	case '0':
		framing_set(INPUT_DELIMITER, "", 1);
		break;
	case 'd':
		delimiter_set(argument);
		break;
	case 'r':
		framing_set(INPUT_RAW, "", 0);
		break;
	}
}

/* What only the whole command line shows. */
static void check(int operands, const char *name)
{
	size_t given = asked.file_count + (size_t)(operands > 1 ? operands - 1 : 0);

	if (operands == 0)
		die_usage("a channel to send to is missing");
	if (!lmq_name_valid(name))
		die_usage("'%s' is not a name of a channel", name);
	if (given > 0 && asked.framed)
		die_usage("-j, -0, -d and -r say how stdin is cut, but with %s it is not read",
			asked.file_count > 0 ? "--file" : "a BODY");
	if (asked.delayed && asked.timed)
		die_usage("--delay and --at exclude each other");
	if (given > 1 && asked.message.id.data != NULL)
		die_usage("--id: an id names one message, but %zu are given", given);
	if (asked.sync == LMQ_SYNC_DEFAULT)
		asked.sync = sync_environment();
	for (size_t i = 0; i < asked.file_count; i++)
		file_check(asked.files[i]);
}

static void all_send(struct outbox *outbox, char *const bodies[], size_t count)
{
	for (size_t i = 0; i < asked.file_count; i++)
		file_send(outbox, asked.files[i]);
	for (size_t i = 0; i < count; i++)
		body_send(outbox, bodies[i], i + 1);
	if (count == 0 && asked.file_count == 0)
		stdin_send(outbox, &asked.input);
}

/* ---- the tool ------------------------------------------------------------------------------ */

/* The channel as it is, if its kind is among those accepted; NULL if it has to be created. */
static lmq_channel *channel_there(lmq_store *store, const char *name, const enum lmq_kind *accept,
	size_t count)
{
	lmq_channel *channel = NULL;
	int status = lmq_channel_open(store, name, LMQ_ANY, 0, &channel);

	if (status == LMQ_ENOENT)
		return NULL;
	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++) {
		if (lmq_channel_kind(channel) == accept[i])
			return channel;
	}
	warn("%s: a %s, not a %s%s%s", name, lmq_kind_name(lmq_channel_kind(channel)),
		lmq_kind_name(accept[0]), count > 1 ? " or " : "",
		count > 1 ? lmq_kind_name(accept[1]) : "");
	hint("use %s", lmq_channel_kind(channel) == LMQ_QUEUE ? "mq-send" : "mq-pub");
	finish(EXIT_USAGE);
}

int sending_main(const struct tool *tool, enum lmq_kind create, const enum lmq_kind *accept,
	size_t accept_count, int argc, char **argv)
{
	struct outbox outbox = { 0 };
	int first = options_parse(tool, argc, argv, handle), status;
	unsigned flags;

	check(argc - first, argv[first]);
	flags = asked.no_create ? 0 : LMQ_CREATE;
	outbox.message = asked.message;
	outbox.atomic = asked.atomic;
	outbox.print_position = asked.print_position;
	outbox.wait = asked.wait;
	outbox.resume = asked.resume;
	outbox.store = store_open(flags);
	outbox.channel = channel_there(outbox.store, argv[first], accept, accept_count);
	if (outbox.channel == NULL)
		outbox.channel = channel_open(outbox.store, argv[first], create, flags);
	if ((status = lmq_writer_open(outbox.store, asked.sync, &outbox.writer)) != 0)
		die_store(outbox.store, status);
	interrupt_catch(NULL);
	outbox_start(&outbox);
	progress_start(asked.progress);
	all_send(&outbox, argv + first + 1, (size_t)(argc - first - 1));
	outbox_finish(&outbox);
	progress_end(outbox.sent, outbox.bytes);
	lmq_watch_close(outbox.watch);
	lmq_writer_close(outbox.writer);
	lmq_channel_close(outbox.channel);
	lmq_store_close(outbox.store);
	finish(EXIT_SUCCESS);
}
