/* SPDX-License-Identifier: ISC */
/*
 * mq-exec: runs a command for each message of a queue.
 *
 * A message is acknowledged after its command has succeeded, and by nobody else's word. Whatever kills us
 * in between, the kernel ends our commands and gives their messages back.
 */
#include "exec.h"

#include <stdlib.h>
#include <string.h>

enum {
	OPTION_GRACE = OPTION_TOOL, OPTION_RATE, OPTION_RETRY_ON, OPTION_DEAD_ON, OPTION_ACK_ON,
	OPTION_TO_CHANNEL, OPTION_SYNC, OPTION_NO_CREATE,
};

static const struct option_row options[] = {
	{ 'P', "parallel", "N", "run N commands at once" },
	{ 'b', "batch", "N", "up to N messages to one run, as lines on stdin" },
	{ 'I', "replace", "R", "put the body in place of R in the arguments" },
	{ 't', "timeout", "D", "end a run after D: TERM, then KILL" },
	{ OPTION_GRACE, "grace", "D", "time from TERM to KILL (10s)" },
	{ 'e', "drain", NULL, "stop when nothing is ready" },
	{ 'n', "count", "N", "stop after N messages" },
	{ 'w', "wait", "D", "wait at most D for the next message" },
	{ OPTION_RATE, "rate", "N/s", "no more than N messages a second" },
	{ OPTION_ACK_ON, "ack-on", "LIST", "exit statuses that acknowledge, such as 0,3-5" },
	{ OPTION_RETRY_ON, "retry-on", "LIST", "that let the message be delivered again" },
	{ OPTION_DEAD_ON, "dead-on", "LIST", "that move it to the dead letters" },
	{ 'g', "group", "G", "work for group G of a topic or stream" },
	{ OPTION_TO_CHANNEL, "to", "CHANNEL", "stdout of the command becomes messages there" },
	{ 'j', "json", NULL, "" },
	{ '0', "null", NULL, "" },
	{ 'd', "delimiter", "S", "" },
	{ 'r', "raw", NULL, "" },
	{ 'f', "follow", NULL, "" },
	{ 'k', "key", "P", "" },
	{ 'm', "match", "N=GLOB", "" },
	{ 'S', "since", "T", "" },
	{ OPTION_FROM, "from", "N", "" },
	{ OPTION_LAST, "last", "N", "" },
	{ 'c', "consumer", "C", "" },
	{ OPTION_SYNC, "sync", "M", "" },
	{ OPTION_NO_CREATE, "no-create", NULL, "" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-exec -P 4 jobs ./work        # four at once, body on stdin, for ever",
	"mq-exec -e -I {} urls curl -fsS -O {}",
	"mq-exec --to=sums files sh -c 'sha256sum \"$(cat)\"'",
	NULL,
};

static const struct tool tool = {
	.name = "mq-exec",
	.synopsis = "mq-exec [OPTION]... QUEUE COMMAND [ARG]...",
	.purpose = "Run a command for each message of a queue.",
	.options = options,
	.examples = examples,
	.operands_before = 1,
};

enum { PARALLEL_MOST = 4096, BATCH_MOST = 65536, DELIMITER_MOST = 4096 };

static struct work work = {
	.parallel = 1,
	.batch = 1,
	.timeout = LMQ_FOREVER,
	.grace = INT64_C(10000000000),
	.selection = { .count = UINT64_MAX, .wait = -1 },
	.range = RANGE_INIT,
	.framing = { .kind = INPUT_LINES, .delimiter = "\n", .delimiter_size = 1 },
};

static const char *consumer;
static bool framed;			/* -j, -0, -d or -r was given */

/* ---- options --------------------------------------------------------------------------------- */

static void framing_set(enum input_kind kind, const char *delimiter, size_t size)
{
	framed = true;
	work.framing.kind = kind;
	work.framing.delimiter = delimiter;
	work.framing.delimiter_size = size;
}

static void delimiter_set(const char *text)
{
	size_t size;
	const char *delimiter = escapes_decode("delimiter", text, &size);

	if (size == 0 || size > DELIMITER_MOST)
		die_usage("--delimiter: '%s' is not a string of 1 to %d bytes", text, DELIMITER_MOST);
	framing_set(size == 1 && *delimiter == '\n' ? INPUT_LINES : INPUT_DELIMITER, delimiter, size);
}

/* How the command's output is cut; false if it is another option. */
static bool framing_option(int key, const char *argument)
{
	switch (key) {
	case 'j':
		framing_set(INPUT_JSON, "\n", 1);
		return true;
	case '0':
		framing_set(INPUT_DELIMITER, "", 1);
		return true;
	case 'd':
		delimiter_set(argument);
		return true;
	case 'r':
		framing_set(INPUT_RAW, "", 0);
		return true;
	}
	return false;
}

static int64_t timeout_of(const char *argument)
{
	int64_t timeout = argument_duration("--timeout", argument);

	if (timeout == 0)
		die_usage("--timeout: '%s' leaves no time at all", argument);
	return timeout;
}

/* What the end of a command means; false if it is another option. */
static bool meaning_option(int key, const char *argument)
{
	switch (key) {
	case OPTION_ACK_ON:
		meanings_set(work.meanings, "--ack-on", argument, MEANS_ACKNOWLEDGE);
		return true;
	case OPTION_RETRY_ON:
		meanings_set(work.meanings, "--retry-on", argument, MEANS_RETRY);
		return true;
	case OPTION_DEAD_ON:
		meanings_set(work.meanings, "--dead-on", argument, MEANS_DEAD);
		return true;
	}
	return false;
}

static void run_option(int key, const char *argument)
{
	switch (key) {
	case 'P':
		work.parallel = (size_t)argument_number("--parallel", argument, 1, PARALLEL_MOST);
		break;
	case 'b':
		work.batch = (size_t)argument_number("--batch", argument, 1, BATCH_MOST);
		break;
	case 'I':
		if (*argument == '\0')
			die_usage("--replace: the string to be replaced is empty");
		work.replace = argument;
		break;
	case 't':
		work.timeout = timeout_of(argument);
		break;
	case OPTION_GRACE:
		work.grace = argument_duration("--grace", argument);
		break;
	case OPTION_RATE:
		work.pace.rate = argument_rate("--rate", argument);
		break;
	}
}

static void channel_option(int key, const char *argument)
{
	switch (key) {
	case 'g':
		group_check(argument);
		work.group = argument;
		break;
	case 'c':
		consumer = argument;
		break;
	case OPTION_TO_CHANNEL:
		if (!lmq_name_valid(argument))
			die_usage("--to: '%s' is not a name of a channel", argument);
		work.to = argument;
		break;
	case OPTION_SYNC:
		work.sync = sync_parse("--sync", argument);
		break;
	case OPTION_NO_CREATE:
		work.no_create = true;
		break;
	}
}

static void handle(int key, char *argument)
{
	if (selection_option(&work.selection, key, argument) || range_option(&work.range, key, argument) ||
	    framing_option(key, argument) || meaning_option(key, argument))
		return;
	run_option(key, argument);
	channel_option(key, argument);
}

/* What the contract says without options. */
static void meanings_begin(void)
{
	memset(work.meanings, MEANS_RETRY, sizeof work.meanings);
	work.meanings[0] = MEANS_ACKNOWLEDGE;
	work.meanings[EXIT_DATA] = MEANS_DEAD;
	work.meanings[99] = MEANS_STOP;
}

/* What only the whole command line shows. */
static void check(int argc, char **argv, int first)
{
	if (first >= argc)
		die_usage("no queue given");
	if (!lmq_name_valid(argv[first]))
		die_usage("'%s' is not a name of a channel", argv[first]);
	if (first + 1 >= argc || *argv[first + 1] == '\0')
		die_usage("no command given");
	if (work.replace != NULL && work.batch > 1)
		die_usage("--replace and --batch exclude each other: arguments hold one body");
	if (framed && work.to == NULL)
		die_usage("-j, -0, -d and -r say how the command's output is cut, "
			"but without --to it is not read");
	if (range_starts(&work.range) && work.group == NULL)
		die_usage("--from, --since and --last say where a new group starts, but no --group is given");
	work.channel = argv[first];
	work.command = argv + first + 1;
	work.consumer = consumer_name(consumer);
	if (work.selection.wait < 0)
		work.selection.wait = work.selection.drain ? 0 : LMQ_FOREVER;
	if (work.sync == LMQ_SYNC_DEFAULT)
		work.sync = sync_environment();
}

static void worker_open(struct worker *worker)
{
	bool creates = (work.selection.wait > 0 || work.to != NULL) && !work.no_create;
	int status;

	worker->work = &work;
	worker->store = store_open(creates ? LMQ_CREATE : 0);
	status = lmq_watch_open(worker->store, &worker->watch);
	if (status != 0)
		die_store(worker->store, status);
	product_open(&work, worker->store);
	variables_prepare(&work, store_path());
}

int main(int argc, char **argv)
{
	static struct worker worker;

	command_remember();
	meanings_begin();
	check(argc, argv, options_parse(&tool, argc, argv, handle));
	worker_open(&worker);
	worker_run(&worker);
	product_close();
	lmq_watch_close(worker.watch);
	lmq_store_close(worker.store);
	lmq_filter_close(work.selection.filter);
	if (worker.signal != 0)
		die_by_signal(worker.signal);
	if (worker.exit_code != 0)
		finish(worker.exit_code);
	finish(worker.taken == 0 ? EXIT_NOTHING : worker.some_failed ? EXIT_NO : EXIT_SUCCESS);
}
