/* SPDX-License-Identifier: ISC */
/*
 * All of mq-send and mq-pub but the kind of channel: what the command line says, and the order of
 * acts.
 *
 * Nothing is created before the command line is known to be right.
 */
#include "cmd.h"
#include "sending.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPTION_FILE = OPTION_TOOL, OPTION_ATOMIC, OPTION_SYNC, OPTION_PRINT_POSITION, OPTION_NO_CREATE,
	OPTION_PROGRESS, OPTION_RESUME, OPTION_PARTITION, OPTION_EXPECT, OPTION_EXPECT_KEY, OPTION_MANDATORY,
};

/* Only queues hold messages back, only what grows has offsets to expect. Rows without help keep it to a screen. */
#define ROWS_FIELDS \
	{ OPTION_FILE, "file", "F", "the whole of F is one message; - is stdin" }, \
	{ 'k', "key", "K", "the messages' key" }, \
	{ 'H', "header", "N=V", "header N with value V" }, \
	{ 'p', "priority", "N", "0 to 9, default 4, higher first" }, \
	{ 'T', "ttl", "D", "expires after D" }, \
	{ OPTION_TYPE, "type", "MIME", "" }, \
	{ OPTION_ID, "id", "ID", "id of the message" }, \
	{ OPTION_REPLY_TO, "reply-to", "Q", "" }, \
	{ OPTION_CORRELATION, "correlation", "ID", "" }
#define ROWS_QUEUE \
	{ 'D', "delay", "D", "not delivered before D from now" }, \
	{ OPTION_AT, "at", "T", "not delivered before the time T" }
#define ROWS_GROWING \
	{ OPTION_PARTITION, "partition", "N", "publish to partition N of the stream" }, \
	{ OPTION_EXPECT, "expect", "N", "only if the first message gets offset N" }, \
	{ OPTION_EXPECT_KEY, "expect-key", "N", "only if offset N is the newest of the key; none" }, \
	{ OPTION_MANDATORY, "mandatory", NULL, "only if somebody would keep it" }, \
	{ OPTION_TOMBSTONE, "tombstone", NULL, "an empty message: the key is no more" }
#define ROWS_ACTS \
	{ 'w', "wait", "D", "wait at most D for room where it is full" }, \
	{ OPTION_RESUME, "resume", "NAME", "skip what earlier runs under NAME have sent" }, \
	{ OPTION_ATOMIC, "atomic", NULL, "all of the input in one transaction, or none" }, \
	{ OPTION_SYNC, "sync", "M", "" }, \
	{ OPTION_PRINT_POSITION, "print-position", NULL, "print where each message was stored" }, \
	{ OPTION_NO_CREATE, "no-create", NULL, "" }, \
	{ OPTION_PROGRESS, "progress", NULL, "" }, \
	{ 'j', "json", NULL, "each line is a JSON envelope" }
#define ROWS_FRAMES \
	{ '0', "null", NULL, "messages end in NUL" }, \
	{ 'd', "delimiter", "S", "messages end in the string S" }, \
	{ 'r', "raw", NULL, "the whole of stdin is one message" }, \
	{ 0, NULL, NULL, NULL }

#define ROWS_FRAMES_BRIEF \
	{ '0', "null", NULL, "" }, \
	{ 'd', "delimiter", "S", "" }, \
	{ 'r', "raw", NULL, "" }, \
	{ 0, NULL, NULL, NULL }

const struct option_row send_options[] = { ROWS_FIELDS, ROWS_QUEUE, ROWS_ACTS, ROWS_FRAMES };
const struct option_row pub_options[] = { ROWS_FIELDS, ROWS_GROWING, ROWS_ACTS, ROWS_FRAMES_BRIEF };

enum { DELIMITER_MAX = 4096 };

/* What the command line says. */
static struct {
	const char **files;
	size_t file_count;
	struct stamp stamp;
	struct input input;
	bool framed;			/* -j, -0, -d or -r was given */
	bool atomic, print_position, no_create, progress, mandatory;
	bool expects_offset, expects_key;
	uint64_t expected;
	const char *resume;
	int64_t wait;			/* -1: not given */
	int64_t partition;		/* -1: not given */
	enum lmq_sync sync;
} asked = {
	.stamp = { .message = LMQ_MESSAGE_INIT },
	.wait = -1,
	.partition = -1,
	.input = { .kind = INPUT_LINES, .delimiter = "\n", .delimiter_size = 1 },
};

/* ---- options ------------------------------------------------------------------------------- */

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

/* Where in the stream, and under which condition; false if it is another option. */
static bool growing_option(int key, const char *argument)
{
	switch (key) {
	case OPTION_PARTITION:
		asked.partition = (int64_t)argument_number("--partition", argument, 0, LMQ_PARTITIONS_MAX - 1);
		return true;
	case OPTION_EXPECT:
		asked.expected = argument_number("--expect", argument, 0, INT64_MAX);
		asked.expects_offset = true;
		return true;
	case OPTION_EXPECT_KEY:
		asked.expected = strcmp(argument, "none") == 0 ? LMQ_NONE :
			argument_number("--expect-key", argument, 0, INT64_MAX);
		asked.expects_key = true;
		return true;
	case OPTION_MANDATORY:
		asked.mandatory = true;
		return true;
	}
	return false;
}

static void handle(int key, char *argument)
{
	if (stamp_option(&asked.stamp, key, argument) || growing_option(key, argument))
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

static void tombstone_check(size_t given)
{
	if (!asked.stamp.message.tombstone)
		return;
	if (asked.stamp.message.key.data == NULL)
		die_usage("--tombstone: the key that is no more is missing (-k)");
	if (given > 0 || asked.framed)
		die_usage("--tombstone: such a message has no body");
}

static bool expects(void)
{
	return asked.expects_offset || asked.expects_key;
}

static void expect_check(void)
{
	if (!expects())
		return;
	asked.atomic = true;
	if (asked.expects_offset && asked.expects_key)
		die_usage("--expect and --expect-key exclude each other");
	if (asked.resume != NULL)
		die_usage("--expect and --resume both say where the input goes on: one of them");
	if (asked.expects_key && asked.stamp.message.key.data == NULL && asked.input.kind != INPUT_JSON)
		die_usage("--expect-key: the key is missing (-k)");
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
	if (asked.stamp.delayed && asked.stamp.timed)
		die_usage("--delay and --at exclude each other");
	if (given > 1 && asked.stamp.message.id.data != NULL)
		die_usage("--id: an id names one message, but %zu are given", given);
	tombstone_check(given);
	expect_check();
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
	if (outbox->message.tombstone)
		body_send(outbox, "", 1);
	else if (count == 0 && asked.file_count == 0)
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

/*
 * Whether a new topic of that name would pass on what is published to it: it has no groups yet, so some route's
 * pattern must match.
 */
static bool route_leads_on(lmq_store *store, const char *name)
{
	struct lmq_route *list = NULL;
	size_t count = 0;
	bool found = false;
	int status = lmq_route_list(store, &list, &count);

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count && !found; i++)
		found = lmq_pattern_match(list[i].source, name, strlen(name));
	lmq_route_free(list);
	return found;
}

/* Whether what is expected cannot hold of a channel that is not there. */
static bool expects_history(void)
{
	return asked.expects_key ? asked.expected != LMQ_NONE : asked.expects_offset && asked.expected > 0;
}

static _Noreturn void end_absent(const char *name)
{
	if (expects_history())
		die(EXIT_NO, "%s: expected %soffset %" PRIu64 ", there is no such channel", name,
			asked.expects_key ? "the newest message of the key at " : "", asked.expected);
	if (verbose)
		warn("%s: no such topic, and no route from it; nothing was sent", name);
	finish(EXIT_NOTHING);
}

/* Nothing is created for a message that will not be stored. */
static lmq_store *store_there(const char *name, unsigned flags)
{
	bool doubted = expects_history() || (asked.mandatory && !expects());
	lmq_store *store = doubted && flags != 0 ? store_open_if_there() : store_open(flags);

	if (store == NULL)
		end_absent(name);
	return store;
}

/* Who expects something of the history needs one, and gets a stream: that keeps every message. */
static lmq_channel *channel_new(lmq_store *store, const char *name, enum lmq_kind create, unsigned flags)
{
	if (expects())
		create = LMQ_STREAM;
	if (flags != 0 && asked.partition > 0)
		die_usage("--partition: %s is not there, and a new %s has partition 0 only", name,
			lmq_kind_name(create));
	if (flags != 0 && expects_history())
		end_absent(name);
	if (flags != 0 && asked.mandatory && create != LMQ_STREAM && !route_leads_on(store, name))
		end_absent(name);
	return channel_open(store, name, create, flags);
}

static void channel_note(struct outbox *outbox)
{
	struct lmq_channel_info info;

	if (lmq_channel_info(outbox->channel, &info) != 0)
		return;		/* it is gone since: what is committed finds that out */
	partition_check(info.name, asked.partition, info.partitions);
	outbox->partitioned = info.partitions > 1;
}

static void outbox_open(struct outbox *outbox, const char *name, enum lmq_kind create,
	const enum lmq_kind *accept, size_t accept_count)
{
	unsigned flags = asked.no_create ? 0 : LMQ_CREATE;
	int status;

	outbox->message = asked.stamp.message;
	outbox->atomic = asked.atomic;
	outbox->mandatory = asked.mandatory;
	outbox->print_position = asked.print_position;
	outbox->expect = asked.expects_offset ? EXPECT_OFFSET : asked.expects_key ? EXPECT_KEY : EXPECT_NOTHING;
	outbox->expected = asked.expected;
	outbox->wait = asked.wait;
	outbox->resume = asked.resume;
	outbox->store = store_there(name, flags);
	outbox->channel = channel_there(outbox->store, name, accept, accept_count);
	if (outbox->channel == NULL)
		outbox->channel = channel_new(outbox->store, name, create, flags);
	channel_note(outbox);
	if ((status = lmq_writer_open(outbox->store, asked.sync, &outbox->writer)) != 0)
		die_store(outbox->store, status);
	lmq_writer_partition(outbox->writer, asked.partition);
	lmq_writer_mandatory(outbox->writer, asked.mandatory);
}

int sending_main(const struct tool *tool, enum lmq_kind create, const enum lmq_kind *accept,
	size_t accept_count, int argc, char **argv)
{
	struct outbox outbox = { 0 };
	int first = options_parse(tool, argc, argv, handle);

	check(argc - first, argv[first]);
	outbox_open(&outbox, argv[first], create, accept, accept_count);
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
