/* SPDX-License-Identifier: ISC */
/*
 * mq-sub: follows topics and streams as they grow.
 *
 * Every channel that matches has a reader; all are read in turn, a bounded number of messages each, so that
 * a busy one starves no other. What appears later is read from its first message on. Looking for channels
 * costs more than looking for messages, and a wake-up does not say which of them came: so messages go
 * first, and looking for channels may take no more than a hundredth of the time.
 */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

static const struct option_row options[] = {
	SELECTION_OPTIONS,
	{ 'S', "since", "T", "from this time on" },
	{ OPTION_FROM, "from", "N", "from this offset on; first, end" },
	{ OPTION_LAST, "last", "N", "start N messages before the end" },
	FORM_OPTIONS,
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-sub news                     # from now on, until interrupted",
	"mq-sub -F '%c: %b\\n' 'orders.#'",
	"mq-sub --last=10 -e logs        # the last ten, then stop",
	NULL,
};

static const struct tool tool = {
	.name = "mq-sub",
	.synopsis = "mq-sub [OPTION]... PATTERN...",
	.purpose = "Follow topics and streams as they grow.",
	.options = options,
	.examples = examples,
};

enum {
	BURST = 1024,			/* messages, and bytes, of a channel before it is another's turn */
	BURST_BYTES = 1 << 20,
};

/* A channel that is followed. */
struct feed {
	lmq_channel *channel;
	lmq_reader *reader;
	struct body_source source;
	struct form form;
	uint64_t end;			/* with -e: where it ended at the start */
	uint64_t told;			/* missed messages that were told of */
	uint32_t id;
	char name[LMQ_NAME_MAX + 1];
};

static struct selection selection = { .count = UINT64_MAX, .wait = -1 };
static struct range range = RANGE_INIT;
static struct form form;

static char **patterns;
static size_t pattern_count;

static lmq_store *store;
static lmq_watch *watch;		/* of the feeds and the catalogue; NULL with -e */
static int64_t next_scan;		/* not before this time */
static bool scan_due = true;		/* something has happened since the last one */
static struct feed **feeds;
static size_t feed_count, feed_room;
static uint64_t written;

static void handle(int key, char *argument)
{
	if (!selection_option(&selection, key, argument) && !range_option(&range, key, argument))
		form_option(&form, key, argument);
}

static void check(int status)
{
	if (status != 0)
		die_store(store, status);
}

/* What was read before the failure is not lost. */
_Noreturn static void stop(int status)
{
	if (output_flush() != 0)
		output_die();
	die_store(store, status);
}

/* ---- feeds ------------------------------------------------------------------------------------ */

static bool is_followed(uint32_t id)
{
	for (size_t i = 0; i < feed_count; i++) {
		if (feeds[i]->id == id)
			return true;
	}
	return false;
}

static struct feed *feed_new(void)
{
	struct feed *feed = calloc(1, sizeof *feed), **more = feeds;

	if (feed_count == feed_room) {
		feed_room = 2 * feed_room + 16;
		more = realloc(feeds, feed_room * sizeof *feeds);
	}
	if (feed == NULL || more == NULL)
		die(EXIT_SYSTEM, "out of memory");
	feeds = more;
	return feed;
}

static void feed_close(struct feed *feed)
{
	lmq_reader_close(feed->reader);
	if (watch != NULL && feed->channel != NULL)
		lmq_watch_forget(watch, feed->channel);
	lmq_channel_close(feed->channel);
	free(feed);
}

/* Places the reader: at the start as the options say, later at the first message. */
static int feed_place(struct feed *feed, bool at_start)
{
	int status = 0;

	if (at_start)
		status = range_seek(&range, feed->reader, LMQ_SEEK_END);
	if (status == 0 && selection.drain)
		status = lmq_reader_end(feed->reader, &feed->end);
	lmq_reader_pause(feed->reader);
	return status;
}

static int feed_open(struct feed *feed, bool at_start)
{
	struct lmq_channel_info info;
	int status = lmq_channel_open(store, feed->name, LMQ_ANY, 0, &feed->channel);

	if (status == 0)
		status = lmq_channel_info(feed->channel, &info);
	if (status != 0)
		return status;
	if (info.kind == LMQ_QUEUE || is_followed(info.id))
		return LMQ_END;		/* another one than was listed */
	feed->id = info.id;
	status = lmq_reader_open(feed->channel, &feed->reader);
	if (status == 0 && watch != NULL)
		status = lmq_watch_channel(watch, feed->channel);
	return status == 0 ? feed_place(feed, at_start) : status;
}

/* Follows a channel that was listed. It may be gone by now. */
static void feed_add(const struct lmq_channel_info *info, bool at_start)
{
	struct feed *feed = feed_new();
	int status;

	memcpy(feed->name, info->name, sizeof feed->name);
	feed->form = form;
	feed->form.channel = feed->name;
	status = feed_open(feed, at_start);
	if (status == 0) {
		feed->source = reader_source(feed->reader);
		feeds[feed_count++] = feed;
		return;
	}
	if (status != LMQ_ENOENT && status != LMQ_EGONE && status != LMQ_END)
		die_store(store, status);
	feed_close(feed);
}

static void feed_drop(size_t index)
{
	notice("%s: was removed", feeds[index]->name);
	feed_close(feeds[index]);
	feeds[index] = feeds[--feed_count];
}

/* ---- patterns --------------------------------------------------------------------------------- */

static void pattern_check(const char *pattern)
{
	const char *reason = "";

	if (lmq_pattern_valid(pattern, &reason) != 0)
		die_usage("%s: %s", pattern, reason);
	if (lmq_pattern_literal(pattern) && !lmq_name_valid(pattern))
		die_usage("%s: not a name that a channel can have", pattern);
}

/* Follows what matches and is not followed yet. Queues are left alone, unless one is named. */
static void pattern_scan(const char *pattern, bool at_start)
{
	struct lmq_channel_info *list = NULL;
	size_t count = 0;

	check(lmq_channel_list(store, pattern, LMQ_ANY, &list, &count));
	for (size_t i = 0; i < count; i++) {
		if (list[i].kind != LMQ_QUEUE) {
			if (!is_followed(list[i].id))
				feed_add(&list[i], at_start);
		} else if (lmq_pattern_literal(pattern)) {
			die_usage("%s: is a queue, not a topic or stream", pattern);
		}
	}
	/* Who does not wait wants what is there: the library says what is missing, and a similar name. */
	if (count == 0 && selection.drain && lmq_pattern_literal(pattern))
		lmq_channel_close(channel_open(store, pattern, LMQ_ANY, 0));
	free(list);
}

static void scan_all(bool at_start)
{
	int64_t begin = lmq_deadline(0), end;

	for (size_t i = 0; i < pattern_count; i++)
		pattern_scan(patterns[i], at_start);
	end = lmq_deadline(0);
	next_scan = end + 100 * (end - begin);
}

/* Looks for channels if it may be worth it. Whether there are new ones. */
static bool scan_again(void)
{
	size_t before = feed_count;

	if (!scan_due || lmq_deadline(0) < next_scan)
		return false;
	scan_due = false;
	scan_all(false);
	return feed_count > before;
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Writes a message. One that is trimmed away while it is written is taken back, as if it was missed. */
static int message_write(struct feed *feed, const struct lmq_message *message)
{
	int status = form_write(&feed->form, message, &feed->source);

	if (status == 0)
		written++;
	if (status == 0 || status == OUTPUT_FAILED)
		return status;
	if (!output_take_back() || status != LMQ_EGONE)
		stop(status);
	feed->told--;
	return 0;
}

/* Reads some messages. 0: there may be more; LMQ_END, LMQ_EGONE, OUTPUT_FAILED. */
static int feed_read(struct feed *feed)
{
	struct lmq_message message;
	size_t bytes = 0;
	int status = 0;

	for (int i = 0; status == 0 && i < BURST && bytes < BURST_BYTES && !interrupted; i++) {
		if (written == selection.count)
			break;
		status = lmq_reader_next(feed->reader, &message);
		if (status == 0 && selection.drain && message.offset >= feed->end)
			status = LMQ_END;
		if (status != 0)
			break;
		if (selection.filter != NULL && !lmq_filter_match(selection.filter, &message))
			continue;
		bytes += message.body.size;
		status = message_write(feed, &message);
	}
	return status;
}

/* Lets every feed have its turn. Whether there may be more. */
static bool feeds_read(void)
{
	bool more = false;

	for (size_t i = 0; i < feed_count; i++) {
		struct feed *feed = feeds[i];
		int status;

		output_source(&feed->source);
		status = feed_read(feed);
		lmq_reader_pause(feed->reader);
		output_source(NULL);
		missed_tell(feed->name, feed->reader, &feed->told);
		if (status == OUTPUT_FAILED)
			output_die();
		if (status == LMQ_EGONE)
			feed_drop(i--);
		else if (status != 0 && status != LMQ_END)
			stop(status);
		more = more || status == 0;
	}
	return more;
}

/* Sleeps until something happens or a look for channels is due. LMQ_ETIME: the deadline passed. */
static int wait_on(int64_t deadline)
{
	bool first = scan_due && next_scan < deadline;
	int status;

	output_check_reader();
	status = lmq_watch_wait(watch, first ? next_scan : deadline);
	if (status == 0)
		scan_due = true;
	return status == LMQ_ETIME && first ? 0 : status;
}

/*
 * Reads until there is a reason to stop. The watch is armed before anything is looked at, so that what
 * comes after the look ends the wait.
 */
static void follow(void)
{
	int64_t deadline = lmq_deadline(selection.wait);
	uint64_t timed = 0;	/* written when the deadline was set */
	int status = 0;

	while (!interrupted && written < selection.count && status != LMQ_ETIME) {
		bool more;

		if (watch != NULL)
			lmq_watch_arm(watch);
		more = feeds_read();
		scan_due = scan_due || more;
		if (!more && output_flush() != 0)
			output_die();
		if (watch != NULL && scan_again())
			more = true;
		if (more)
			continue;
		if (watch == NULL)
			break;
		if (written > timed)
			deadline = lmq_deadline(selection.wait);
		timed = written;
		status = wait_on(deadline);
		if (status != LMQ_ETIME && status != LMQ_EINTR)
			check(status);
	}
}

static void open_all(void)
{
	store = store_open(selection.drain ? LMQ_READ_ONLY : LMQ_CREATE);
	if (!selection.drain) {
		check(lmq_watch_open(store, &watch));
		lmq_watch_catalogue(watch);
	}
	interrupt_catch(watch);
	scan_all(true);
}

static void close_all(void)
{
	while (feed_count > 0)
		feed_close(feeds[--feed_count]);
	free(feeds);
	lmq_watch_close(watch);
	lmq_store_close(store);
	lmq_filter_close(selection.filter);
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle);

	patterns = argv + first;
	pattern_count = (size_t)(argc - first);
	if (pattern_count == 0)
		die_usage("no channel or pattern given");
	for (size_t i = 0; i < pattern_count; i++)
		pattern_check(patterns[i]);
	if (selection.wait < 0)
		selection.wait = LMQ_FOREVER;
	form_ready(&form);
	open_all();
	follow();
	if (output_flush() != 0)
		output_die();
	close_all();
	if (interrupted)
		die_by_signal(interrupted);
	finish(written > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
