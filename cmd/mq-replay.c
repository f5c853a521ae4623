/* SPDX-License-Identifier: ISC */
/*
 * mq-replay: reads the history of a stream or topic, as fast as stdout takes it or at a pace.
 *
 * At a pace, a message that is not due yet is let go, as nothing may be kept of the store while we sleep,
 * and read again when it is due.
 */
#include "cmd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_SPEED = OPTION_TOOL, OPTION_RATE };

static const struct option_row options[] = {
	SELECTION_OPTIONS,
	RANGE_OPTIONS,
	{ OPTION_SPEED, "speed", "X", "with the original timing, X times as fast" },
	{ OPTION_RATE, "rate", "N/s", "at most N messages a second" },
	FORM_OPTIONS,
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-replay logs                  # all of it",
	"mq-replay --since=-1h -k 'eu.#' -j orders",
	"mq-replay --speed=10 events     # ten times as fast as it happened",
	NULL,
};

static const struct tool tool = {
	.name = "mq-replay",
	.synopsis = "mq-replay [OPTION]... STREAM",
	.purpose = "Read the history of a stream or topic.",
	.options = options,
	.examples = examples,
};

#define SECOND INT64_C(1000000000)
#define EARLY INT64_C(1000000)	/* with --rate: how early a message may leave, so that many leave at once */

static struct selection selection = { .count = UINT64_MAX, .wait = -1 };
static struct range range = RANGE_INIT;
static struct form form;
static double speed;		/* 0: not given */
static double rate;		/* messages a second; 0: not given */

static const char *name;
static lmq_store *store;
static lmq_watch *watch;	/* NULL: we never wait */
static lmq_channel *channel;
static lmq_reader *reader;
static struct body_source source;

static bool following;
static uint64_t limit = UINT64_MAX;	/* the first offset that is not wanted */
static uint64_t written;
static bool slept;			/* for the pace: the watch is not armed any more */

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

static void handle(int key, char *argument)
{
	if (key == OPTION_SPEED)
		speed = speed_argument(argument);
	else if (key == OPTION_RATE)
		rate = argument_rate("--rate", argument);
	else if (!selection_option(&selection, key, argument) && !range_option(&range, key, argument))
		form_option(&form, key, argument);
}

static void check(int status)
{
	if (status != 0)
		die_store(store, status);
}

/* ---- opening ---------------------------------------------------------------------------------- */

/* False: it did not appear in time. */
static bool channel_find(void)
{
	int status = 0;

	if (following)
		status = channel_await(store, name, LMQ_ANY, watch, lmq_deadline(selection.wait),
			&channel);
	else
		channel = channel_open(store, name, LMQ_ANY, 0);
	if (status == LMQ_ETIME || status == LMQ_EINTR)
		return false;
	check(status);
	if (lmq_channel_kind(channel) == LMQ_QUEUE)
		die_usage("%s: is a queue, not a stream or topic", name);
	return true;
}

/* The end: what --to says, and the present one, unless we follow. */
static void limit_set(void)
{
	struct lmq_channel_info info;
	uint64_t end;

	check(lmq_channel_info(channel, &info));
	check(lmq_reader_end(reader, &end));
	if (!following)
		limit = end;
	if (range.to == NULL)
		return;
	if (strcmp(range.to, "first") == 0)
		end = info.first;
	else if (strcmp(range.to, "end") != 0)
		end = argument_number("--to", range.to, 0, INT64_MAX);
	if (end < limit)
		limit = end;
}

/* False: there is nothing to read. */
static bool open_all(void)
{
	store = store_open(following ? LMQ_CREATE : LMQ_READ_ONLY);
	if (following || speed > 0 || rate > 0)
		check(lmq_watch_open(store, &watch));
	interrupt_catch(watch);
	if (!channel_find())
		return false;
	if (following)
		check(lmq_watch_channel(watch, channel));
	check(lmq_reader_open(channel, &reader));
	source = reader_source(reader);
	output_source(&source);
	limit_set();
	check(range_seek(&range, reader, LMQ_SEEK_FIRST));
	return true;
}

static void close_all(void)
{
	output_source(NULL);
	lmq_reader_close(reader);
	lmq_channel_close(channel);
	lmq_watch_close(watch);
	lmq_store_close(store);
	lmq_filter_close(selection.filter);
}

/* ---- pace ------------------------------------------------------------------------------------- */

static int64_t later(int64_t from, double by)
{
	return by < (double)(INT64_MAX - from) ? from + (int64_t)by : LMQ_FOREVER;
}

/* With --speed: when a message of that time leaves. */
static int64_t due_by_speed(int64_t time, int64_t now)
{
	static int64_t first_time, start = -1;

	if (start < 0) {
		start = now;
		first_time = time;
	}
	return later(start, (double)(time - first_time) / speed);
}

/* With --rate: when the next message leaves. What was held up for long does not come in one go. */
static int64_t due_by_rate(int64_t now)
{
	static int64_t start = -1;
	int64_t due;

	if (start < 0)
		start = now;
	due = later(start, (double)written * (double)SECOND / rate);
	if (now - due > SECOND)
		start += now - due;
	return due - EARLY;
}

/*
 * Whether the message is due. If not, sleeps until it is, holding nothing, and goes back to it.
 */
static bool is_due(const struct lmq_message *message)
{
	uint64_t offset = message->offset;
	int64_t now = lmq_deadline(0), due = INT64_MIN;

	if (rate > 0)
		due = due_by_rate(now);
	if (due > now)
		due += EARLY;
	if (speed > 0 && due_by_speed(message->time, now) > due)
		due = due_by_speed(message->time, now);
	if (due <= now)
		return true;
	if (output_flush() != 0)
		output_die();
	lmq_reader_pause(reader);
	slept = true;
	while (!interrupted && lmq_deadline(0) < due) {
		int status;

		lmq_watch_arm(watch);
		status = lmq_watch_wait(watch, due);
		if (status != LMQ_ETIME && status != LMQ_EINTR)
			check(status);
	}
	check(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, (int64_t)offset));
	return false;
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* A message that is trimmed away while it is written is taken back. */
static int message_write(const struct lmq_message *message)
{
	int status = form_write(&form, message, &source);

	if (status == 0)
		written++;
	if (status == 0 || status == OUTPUT_FAILED)
		return status;
	if (!output_take_back() || status != LMQ_EGONE)
		return status;
	notice("%s: 1 message was missed", name);
	return 0;
}

/* Writes what there is. LMQ_END: nothing more now; LMQ_OK: all that was asked for was written. */
static int read_on(void)
{
	bool paced = speed > 0 || rate > 0;
	struct lmq_message message;

	while (!interrupted && written < selection.count) {
		int status = lmq_reader_next(reader, &message);

		if (status != 0)
			return status;
		if (message.offset >= limit || message.time >= range.until)
			break;
		if (selection.filter != NULL && !lmq_filter_match(selection.filter, &message))
			continue;
		if (paced && !is_due(&message))
			continue;
		status = message_write(&message);
		if (status != 0)
			return status;
	}
	return 0;
}

/* Waits for more, not beyond --until. */
static int wait_on(int64_t deadline)
{
	int64_t now = lmq_now(), end = LMQ_FOREVER;

	if (range.until != INT64_MAX)
		end = lmq_deadline(range.until > now ? range.until - now : 0);
	output_check_reader();
	return lmq_watch_wait(watch, end < deadline ? end : deadline);
}

/* As read_on(), again and again; armed before each look, so that nothing comes unseen. */
static int follow(void)
{
	int64_t deadline = lmq_deadline(selection.wait);
	uint64_t timed = 0;	/* written when the deadline was set */
	int status;

	do {
		slept = false;
		lmq_watch_arm(watch);
		status = read_on();
		if (status != LMQ_END)
			return status;
		if (output_flush() != 0)
			return OUTPUT_FAILED;
		lmq_reader_pause(reader);
		if (lmq_reader_tell(reader) >= limit)
			return 0;
		status = 0;
		if (slept)
			continue;
		if (written > timed)
			deadline = lmq_deadline(selection.wait);
		timed = written;
		status = wait_on(deadline);
	} while (status == 0 || (status == LMQ_EINTR && !interrupted));
	return status == LMQ_ETIME || status == LMQ_EINTR ? 0 : status;
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status = 0;
	uint64_t told = 0;

	name = only_operand(argc, argv, first, "stream");
	following = selection.follow || (selection.wait > 0 && !selection.drain);
	if (selection.wait < 0)
		selection.wait = LMQ_FOREVER;
	form.channel = name;
	form_ready(&form);
	if (open_all()) {
		status = following ? follow() : read_on();
		missed_tell(name, reader, &told);
	}
	if (status == OUTPUT_FAILED || output_flush() != 0)
		output_die();
	if (status != 0 && status != LMQ_END)
		die_store(store, status);
	close_all();
	if (interrupted)
		die_by_signal(interrupted);
	finish(written > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
