/* SPDX-License-Identifier: ISC */
/*
 * mq-replay: reads the history of streams and topics, as fast as stdout takes it or at a pace.
 *
 * Nothing of the store is held while stdout blocks, or while we sleep until a message is due: what is
 * needed then is copied before. How several channels become one is in strand.c and twine.c.
 */
#include "replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPTION_SPEED = OPTION_TOOL, OPTION_RATE, OPTION_LOOP, OPTION_NEWEST, OPTION_REVERSE, OPTION_PARTITION,
	OPTION_STRICT,
};

static const struct option_row options[] = {
	{ 'S', "since", "T", "from this time on" },
	{ 'U', "until", "T", "up to, not including, this time" },
	{ OPTION_FROM, "from", "N", "from this offset on; first, end" },
	{ OPTION_TO, "to", "N", "up to, not including, this offset" },
	{ OPTION_LAST, "last", "N", "start N messages before the end" },
	{ OPTION_PARTITION, "partition", "N", "only this partition of streams" },
	{ 'k', "key", "P", "only messages whose key matches P" },
	{ 'm', "match", "N=GLOB", "only messages whose header N matches" },
	{ OPTION_NEWEST, "last-per-key", NULL, "only the last message of each key in the range" },
	{ 'n', "count", "N", "" },
	{ 'w', "wait", "D", "" },
	{ 'e', "drain", NULL, "" },
	{ 'f', "follow", NULL, "at the end wait for more, never stop" },
	{ OPTION_REVERSE, "reverse", NULL, "the newest first" },
	{ OPTION_LOOP, "loop", NULL, "again and again" },
	{ OPTION_SPEED, "speed", "X", "with the original timing, X times as fast" },
	{ OPTION_RATE, "rate", "N/s", "at most N messages a second" },
	{ OPTION_STRICT, "strict", NULL, "end with 2 if messages were missed" },
	{ 'j', "json", NULL, "" },
	{ '0', "null", NULL, "" },
	{ 'd', "delimiter", "S", "" },
	{ 'r', "raw", NULL, "" },
	{ 'F', "format", "T", "" },
	{ 'o', "output", "M", "" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-replay --since=-1h -k 'eu.#' -j orders",
	"mq-replay --speed=10 events     # ten times as fast as it happened",
	"mq-replay --last-per-key 'customers.#'",
	NULL,
};

static const struct tool tool = {
	.name = "mq-replay",
	.synopsis = "mq-replay [OPTION]... STREAM...",
	.purpose = "Read the history of streams and topics.",
	.options = options,
	.examples = examples,
};

static struct replay replay = {
	.selection = { .count = UINT64_MAX, .wait = -1 },
	.range = RANGE_INIT,
	.partition = -1,
	.to = UINT64_MAX,
};

static bool slept;	/* for the pace: the watch is not armed any more */

/* ---- options ---------------------------------------------------------------------------------- */

static double speed_argument(const char *text)
{
	char *end = NULL;
	double value = 0;

	if (strspn(text, "0123456789.") > 0)	/* strtod takes much more than numbers */
		value = strtod(text, &end);
	if (end == NULL || *end != '\0' || !isfinite(value) || value <= 0)
		die_usage("--speed: '%s' is not a positive number, such as 1, 10, 0.5", text);
	return value;
}

static bool own_option(int key, const char *argument)
{
	switch (key) {
	case OPTION_SPEED:
		replay.speed = speed_argument(argument);
		return true;
	case OPTION_RATE:
		replay.rate = argument_rate("--rate", argument);
		return true;
	case OPTION_LOOP:
		replay.loop = true;
		return true;
	case OPTION_NEWEST:
		replay.newest = true;
		return true;
	case OPTION_REVERSE:
		replay.reverse = true;
		return true;
	case OPTION_PARTITION:
		replay.partition = (int64_t)argument_number("--partition", argument, 0, LMQ_PARTITIONS_MAX - 1);
		return true;
	case OPTION_STRICT:
		replay.strict = true;
		return true;
	}
	return false;
}

static void handle(int key, char *argument)
{
	if (!own_option(key, argument) && !selection_option(&replay.selection, key, argument) &&
	    !range_option(&replay.range, key, argument))
		form_option(&replay.form, key, argument);
}

/* "first" is below all offsets, "end" above. */
static uint64_t offset_of(const char *text, uint64_t absent)
{
	if (text == NULL)
		return absent;
	if (strcmp(text, "first") == 0)
		return 0;
	return strcmp(text, "end") == 0 ? UINT64_MAX : argument_number("offset", text, 0, INT64_MAX);
}

static void operands_check(void)
{
	const char *reason = "";

	if (replay.operand_count == 0)
		die_usage("no stream given");
	for (size_t i = 0; i < replay.operand_count; i++) {
		const char *operand = replay.operands[i];

		if (lmq_pattern_valid(operand, &reason) != 0)
			die_usage("%s: %s", operand, reason);
		if (lmq_pattern_literal(operand) && !lmq_name_valid(operand))
			die_usage("%s: not a name that a channel can have", operand);
	}
}

static void settle_options(void)
{
	const char *waits = replay.selection.follow ? "follow" : "wait";

	operands_check();
	replay.following = replay.selection.follow || (replay.selection.wait > 0 && !replay.selection.drain);
	if (replay.following && replay.reverse)
		die_usage("--reverse and --%s exclude each other", waits);
	if (replay.following && replay.loop)
		die_usage("--loop and --%s exclude each other", waits);
	if (replay.following && replay.newest)
		die_usage("--last-per-key and --%s exclude each other", waits);
	if (replay.selection.wait < 0)
		replay.selection.wait = LMQ_FOREVER;
	replay.from = offset_of(replay.range.from, 0);
	replay.to = offset_of(replay.range.to, UINT64_MAX);
	replay.plain = !replay.reverse && !replay.newest && replay.selection.filter == NULL &&
		replay.to == UINT64_MAX && replay.range.until == INT64_MAX;
	form_ready(&replay.form);
}

void replay_check(const struct replay *r, int status)
{
	if (status != 0)
		die_store(r->store, status);
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Waits until the message is due, holding nothing. */
static int wait_until_due(struct strand *s)
{
	int64_t due = tempo_due(&replay, &s->message);

	if (due <= lmq_deadline(0))
		return 0;
	s->pending = true;	/* so that it is copied */
	if (output_flush() != 0)
		return OUTPUT_FAILED;
	strands_pause(&replay);
	s->pending = false;
	slept = true;
	while (!interrupted && lmq_deadline(0) < due) {
		int status;

		output_check_reader();
		lmq_watch_arm(replay.watch);
		status = lmq_watch_wait(replay.watch, due);
		if (status != LMQ_ETIME && status != LMQ_EINTR)
			replay_check(&replay, status);
	}
	return interrupted ? LMQ_EINTR : 0;
}

/* A message that is trimmed away while it is written is taken back. */
static int message_write(struct strand *s)
{
	int status = form_write(&s->form, &s->message, &s->source);
	uint64_t told = 0;

	if (status == 0)
		replay.written++;
	if (status == 0 || status == OUTPUT_FAILED)
		return status;
	if (!output_take_back() || status != LMQ_EGONE)
		return status;
	replay.missed += missed_say(s->name, 1, &told);
	return 0;
}

/* Writes what there is. LMQ_END: nothing more now; 0: all that was asked for was written, or a signal came. */
static int read_on(void)
{
	bool paced = replay.speed > 0 || replay.rate > 0;
	struct strand *s;
	int status = 0;

	while (status == 0 && !interrupted && replay.written < replay.selection.count) {
		status = twine_next(&replay, &s);
		if (status == 0 && paced)
			status = wait_until_due(s);
		if (status == 0)
			status = message_write(s);
	}
	return status == LMQ_EINTR ? 0 : status;
}

/* Waits for more, not beyond --until. */
static int wait_on(int64_t deadline)
{
	int64_t now = lmq_now(), until = replay.range.until, end = LMQ_FOREVER;

	if (until != INT64_MAX)
		end = lmq_deadline(until > now ? until - now : 0);
	output_check_reader();
	return lmq_watch_wait(replay.watch, end < deadline ? end : deadline);
}

/* As read_on(), again and again; armed before each look, so that nothing comes unseen. */
static int follow(void)
{
	int64_t deadline = lmq_deadline(replay.selection.wait);
	uint64_t timed = 0;	/* written when the deadline was set */
	int status;

	do {
		slept = false;
		lmq_watch_arm(replay.watch);
		status = read_on();
		strands_tell(&replay);
		if (status != LMQ_END)
			return status;
		if (output_flush() != 0)
			return OUTPUT_FAILED;
		strands_pause(&replay);
		if (strands_over(&replay))
			return 0;
		status = 0;
		if (slept)
			continue;
		if (replay.written > timed)
			deadline = lmq_deadline(replay.selection.wait);
		timed = replay.written;
		status = wait_on(deadline);
	} while (status == 0 || (status == LMQ_EINTR && !interrupted));
	return status == LMQ_ETIME || status == LMQ_EINTR ? 0 : status;
}

/* Finds the last message of each key, for a second pass. */
static int survey(void)
{
	bool reverse = replay.reverse;
	int status = 0;

	newest_open();
	replay.reverse = false;
	replay.surveying = true;
	twine_begin(&replay);
	for (size_t i = 0; status == 0 && i < replay.strand_count; i++) {
		struct strand *s = replay.strands[i];

		while ((status = strand_fetch(&replay, s)) == 0) {
			s->pending = false;
			newest_put(s);
		}
		lmq_reader_pause(s->reader);
		status = status == LMQ_END ? 0 : status;
	}
	replay.surveying = false;
	replay.reverse = reverse;
	return status;
}

/* All of it: a round, or with --loop one after the other as long as they give something. */
static int run(void)
{
	int status = replay.newest ? survey() : 0;
	uint64_t before;

	if (status != 0)
		return status == LMQ_EINTR ? 0 : status;
	do {
		before = replay.written;
		twine_begin(&replay);
		tempo_begin(&replay);
		status = replay.following ? follow() : read_on();
		strands_tell(&replay);
	} while (replay.loop && status == LMQ_END && replay.written > before);
	return status;
}

static void open_store(void)
{
	bool waits = replay.following || replay.speed > 0 || replay.rate > 0;

	replay.store = store_open(replay.following ? LMQ_CREATE : LMQ_READ_ONLY);
	if (waits)
		replay_check(&replay, lmq_watch_open(replay.store, &replay.watch));
	interrupt_catch(replay.watch);
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status = 0;

	replay.operands = argv + first;
	replay.operand_count = (size_t)(argc - first);
	settle_options();
	open_store();
	if (strands_open(&replay))
		status = run();
	if (status == OUTPUT_FAILED || output_flush() != 0)
		output_die();
	if (status != 0 && status != LMQ_END)
		die_store(replay.store, status);
	strands_close(&replay);
	lmq_watch_close(replay.watch);
	lmq_store_close(replay.store);
	lmq_filter_close(replay.selection.filter);
	if (replay.strict && replay.missed > 0)
		missed_sum(replay.missed);
	if (interrupted)
		die_by_signal(interrupted);
	if (replay.strict && replay.missed > 0)
		finish(EXIT_NO);
	finish(replay.written > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
