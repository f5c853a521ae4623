/* SPDX-License-Identifier: ISC */
/*
 * mq-ack: settles leased messages: acknowledges them, or gives them back, buries them, keeps them.
 *
 * All leases are read before anything is done, and settled in one transaction: one that cannot be
 * read leaves all as they were. One that was lost does not keep the others from being settled.
 */
#include "cmd.h"
#include "delivery.h"
#include "input.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_RETRY = OPTION_TOOL, OPTION_UNCOUNTED, OPTION_DEAD, OPTION_EXTEND };

static const struct option_row options[] = {
	{ OPTION_RETRY, "retry", NULL, "the attempt failed: deliver again after the backoff" },
	{ 'D', "delay", "D", "with --retry: after D" },
	{ OPTION_UNCOUNTED, "uncounted", NULL, "with --retry: at once, as if not delivered" },
	{ OPTION_DEAD, "dead", NULL, "move to the dead-letter queue" },
	{ OPTION_REASON, "reason", "TEXT", "with --dead or --retry: why, kept with the message" },
	{ OPTION_EXTEND, "extend", "D", "keep the lease until D from now" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-ack orders:1041:1",
	"mq-recv -l 5m -n 100 -j jobs >batch && ./load batch && mq-ack <batch",
	"mq-ack --dead --reason='no such customer' orders:1041:1",
	NULL,
};

static const struct tool tool = {
	.name = "mq-ack",
	.synopsis = "mq-ack [OPTION]... [LEASE]...",
	.purpose = "Settle leased messages; without operands, those named on stdin.",
	.options = options,
	.examples = examples,
};

enum {
	LEASES_BEGIN = 1 << 17,		/* pages that are not touched cost nothing */
	LEASE_MAX = LMQ_LEASE_NAMES + 64,	/* bytes; longer ones are none */
};

static enum lmq_outcome outcome = LMQ_ACKNOWLEDGE;
static const char *outcome_option;	/* that chose it; NULL: none did */
static int64_t delay = -1;		/* negative: by the queue's backoff */
static bool delay_set;
static bool uncounted;
static const char *reason;

static struct lmq_lease *leases;
static size_t lease_count, lease_room;

/* ---- options -------------------------------------------------------------------------------- */

static void outcome_choose(enum lmq_outcome chosen, const char *option)
{
	if (outcome_option != NULL && strcmp(outcome_option, option) != 0)
		die_usage("%s and %s exclude each other", outcome_option, option);
	outcome = chosen;
	outcome_option = option;
}

static void handle(int key, char *argument)
{
	switch (key) {
	case OPTION_RETRY:
		outcome_choose(LMQ_RETRY, "--retry");
		break;
	case OPTION_DEAD:
		outcome_choose(LMQ_BURY, "--dead");
		break;
	case OPTION_EXTEND:
		outcome_choose(LMQ_EXTEND, "--extend");
		delay = argument_duration("--extend", argument);
		break;
	case 'D':
		delay = argument_duration("--delay", argument);
		delay_set = true;
		break;
	case OPTION_UNCOUNTED:
		uncounted = true;
		break;
	case OPTION_REASON:
		reason = argument;
		break;
	}
}

static void settle_options(void)
{
	if (delay_set && outcome != LMQ_RETRY)
		die_usage("--delay goes with --retry only");
	if (uncounted && outcome != LMQ_RETRY)
		die_usage("--uncounted goes with --retry only");
	if (uncounted && (delay_set || reason != NULL))
		die_usage("--uncounted gives back at once, without --delay and --reason");
	if (reason != NULL && outcome != LMQ_RETRY && outcome != LMQ_BURY)
		die_usage("--reason goes with --dead or --retry only");
	if (uncounted)
		outcome = LMQ_RETURN;
}

/* ---- reading leases ------------------------------------------------------------------------- */

/* The name in memory that stays, once. Leases mostly are of few channels and groups. */
static const char *name_keep(const char *name)
{
	static struct kept {
		struct kept *before;
		char name[LMQ_NAME_MAX + 1];
	} *last;
	struct kept *kept;

	for (kept = last; kept != NULL; kept = kept->before)
		if (strcmp(kept->name, name) == 0)
			return kept->name;
	kept = malloc(sizeof *kept);
	if (kept == NULL)
		die(EXIT_SYSTEM, "out of memory");
	strcpy(kept->name, name);
	kept->before = last;
	last = kept;
	return kept->name;
}

static struct lmq_lease *lease_append(void)
{
	if (lease_count == lease_room) {
		lease_room = lease_room ? 2 * lease_room : LEASES_BEGIN;
		leases = reallocarray(leases, lease_room, sizeof *leases);
		if (leases == NULL)
			die(EXIT_SYSTEM, "out of memory");
	}
	return &leases[lease_count++];
}

/* False: that is no lease. */
static bool lease_take(const char *text)
{
	struct lmq_lease lease = { .partition = 0 };
	char names[LMQ_LEASE_NAMES];

	if (lmq_lease_parse(text, names, &lease) != 0)
		return false;
	lease.channel = name_keep(lease.channel);
	if (lease.group != NULL)
		lease.group = name_keep(lease.group);
	lease.outcome = outcome;
	lease.delay = delay;
	lease.error = (struct lmq_bytes){ reason, reason != NULL ? strlen(reason) : 0 };
	*lease_append() = lease;
	return true;
}

static bool lease_bytes_take(const char *data, size_t size)
{
	char text[LEASE_MAX];

	if (size >= sizeof text || memchr(data, '\0', size) != NULL)
		return false;
	memcpy(text, data, size);
	text[size] = '\0';
	return lease_take(text);
}

/* Finds the lease in an envelope. Returns NULL, or why there is none. */
static const char *envelope_take(char *data, size_t size)
{
	static const char not_object[] = "not a JSON object";
	struct scan scan = { data, data + size };
	struct lmq_bytes name, lease = { NULL, 0 };

	if (!scan_take(&scan, '{'))
		return not_object;
	if (!scan_take(&scan, '}')) {
		do {
			bool wanted;

			if (!scan_string(&scan, &name) || !scan_take(&scan, ':'))
				return not_object;
			wanted = name.size == 5 && memcmp(name.data, "lease", 5) == 0;
			if (wanted && lease.data != NULL)
				return "lease is there twice";
			if (!(wanted ? scan_string(&scan, &lease) : scan_value(&scan)))
				return wanted ? "lease is not a string" : not_object;
		} while (scan_take(&scan, ','));
		if (!scan_take(&scan, '}'))
			return not_object;
	}
	scan_space(&scan);
	if (scan.at != scan.end)
		return not_object;
	if (lease.data == NULL)
		return "no lease";
	return lease_bytes_take(lease.data, lease.size) ? NULL : "lease is not valid";
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void line_take(char *line, size_t size, uint64_t number)
{
	const char *fault = NULL;

	while (size > 0 && is_blank(line[size - 1]))
		size--;
	for (; size > 0 && is_blank(*line); line++)
		size--;
	if (size == 0)
		return;
	if (*line == '{')
		fault = envelope_take(line, size);
	else if (!lease_bytes_take(line, size))
		fault = "not a lease, such as orders:1041:1";
	if (fault != NULL)
		die(EXIT_DATA, "line %" PRIu64 ": %s; nothing was settled", number, fault);
}

static void stdin_take(void)
{
	/* Lines as for envelopes: seen whole, whatever their length. */
	struct input input = { .kind = INPUT_JSON, .delimiter = "\n", .delimiter_size = 1 };
	uint64_t number = 1;
	char *line;
	size_t size;

	if (!input_open(&input, STDIN_FILENO))
		die(EXIT_SYSTEM, "out of memory");
	for (;;) {
		switch (input_next(&input, &line, &size)) {
		case INPUT_MESSAGE:
			line_take(line, size, number++);
			break;
		case INPUT_INTERRUPTED:
			die_by_signal(interrupted);
		case INPUT_LONG:
			die(EXIT_DATA, "line %" PRIu64 ": too long; nothing was settled", number);
		case INPUT_ERROR:
			die(EXIT_IO, "stdin: cannot read: %s; nothing was settled",
				strerror(input.error));
		case INPUT_END:
			input_close(&input);
			return;
		}
	}
}

/* ---- settling ------------------------------------------------------------------------------- */

static bool is_partitioned(lmq_store *store, const char *name)
{
	static const char *last;
	static bool partitioned;
	struct lmq_channel_info info;
	lmq_channel *channel = NULL;

	if (name == last)
		return partitioned;
	partitioned = lmq_channel_open(store, name, LMQ_ANY, 0, &channel) == 0 &&
		lmq_channel_info(channel, &info) == 0 && info.partitions > 1;
	lmq_channel_close(channel);
	last = name;
	return partitioned;
}

static void warn_lost(lmq_store *store, const struct lmq_lease *lease)
{
	const struct form form = {
		.channel = lease->channel,
		.group = lease->group,
		.partitioned = is_partitioned(store, lease->channel),
	};
	const struct lmq_message message = {
		.partition = lease->partition,
		.offset = lease->offset,
		.delivery = lease->attempt,
	};
	char text[LEASE_TEXT_MAX];

	warn("%.*s: lease was lost; %s", (int)(lease_put(text, &form, &message) - text), text,
		lease->why != NULL ? lease->why : "it ran out");
}

/* The library says it best: which channel there is instead, of which kind this one is. */
static void warn_channel(lmq_store *store, const struct lmq_lease *lease)
{
	enum lmq_kind kind = lease->group != NULL ? LMQ_ANY : LMQ_QUEUE;
	lmq_channel *channel = NULL;

	if (lmq_channel_open(store, lease->channel, kind, 0, &channel) != 0)
		warn_store(store);
	else if (lease->group != NULL && lease->status == LMQ_ENOENT)
		warn("%s: no group '%s'", lease->channel, lease->group);
	else
		warn("%s: %s", lease->channel, lmq_strerror(lease->status));
	lmq_channel_close(channel);
}

/* Tells what could not be settled. Returns the exit status: a missing queue weighs more than a lease. */
static int report(lmq_store *store)
{
	const char *told = NULL, *told_group = NULL;
	size_t settled = 0;
	int worst = EXIT_SUCCESS;

	for (size_t i = 0; i < lease_count; i++) {
		const struct lmq_lease *lease = &leases[i];

		if (lease->status == 0) {
			settled++;
		} else if (lease->status == LMQ_ELOST) {
			warn_lost(store, lease);
			worst = worst != EXIT_SUCCESS ? worst : EXIT_NO;
		} else if (lease->channel != told || lease->group != told_group) {
			warn_channel(store, lease);
			told = lease->channel;
			told_group = lease->group;
			worst = worst > EXIT_NO ? worst : exit_status(lease->status);
		}
	}
	if (verbose)
		notice("%zu of %zu leases were settled", settled, lease_count);
	return worst;
}

static int settle(void)
{
	lmq_store *store = store_open(0);
	int status = lmq_store_settle(store, leases, lease_count, sync_environment());
	int worst;

	if (status != 0)
		die_store(store, status);
	worst = report(store);
	lmq_store_close(store);
	return worst;
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status = EXIT_SUCCESS;

	settle_options();
	interrupt_catch(NULL);
	for (int i = first; i < argc; i++)
		if (!lease_take(argv[i]))
			die_usage("'%s' is not a lease, such as orders:1041:1", argv[i]);
	if (first == argc)
		stdin_take();
	if (lease_count > 0)
		status = settle();
	free(leases);
	finish(status);
}
