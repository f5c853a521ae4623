/* SPDX-License-Identifier: ISC */
/*
 * A channel that mq-sub follows, and how it is read. All are read in turn, a bounded number of messages each, so
 * that a busy one starves no other.
 */
#include "follow.h"

#include <stdlib.h>
#include <string.h>

enum {
	BURST = 1024,			/* messages, and bytes, of a reader before it is another's turn */
	BURST_BYTES = 1 << 20,
	LOST_MOST = 1000,		/* messages in a row that were gone: more likely their group is another one */
};

struct feed {
	lmq_channel *channel;
	lmq_reader *reader;		/* without -g, */
	struct body_source source;
	lmq_receiver *receiver;		/* and with it */
	struct consumer consumer;
	struct form form;
	uint64_t told;			/* missed messages that were told of */
	unsigned lost;			/* times in a row that something was gone */
	uint32_t id;
	char name[LMQ_NAME_MAX + 1];
};

bool is_followed(const struct follow *f, uint32_t id)
{
	for (size_t i = 0; i < f->feed_count; i++) {
		if (f->feeds[i]->id == id)
			return true;
	}
	return false;
}

/* What was read before the failure is not lost. */
_Noreturn static void stop(struct follow *f, int status)
{
	if (output_flush() != 0)
		output_die();
	die_store(f->store, status);
}

/* ---- opening ---------------------------------------------------------------------------------- */

static struct feed *feed_new(struct follow *f, const char *name)
{
	struct feed *feed = calloc(1, sizeof *feed), **more = f->feeds;

	if (f->feed_count == f->feed_room) {
		f->feed_room = 2 * f->feed_room + 16;
		more = realloc(f->feeds, f->feed_room * sizeof *more);
	}
	if (feed == NULL || more == NULL)
		die(EXIT_SYSTEM, "out of memory");
	f->feeds = more;
	strcpy(feed->name, name);
	feed->form = f->form;
	feed->form.channel = feed->name;
	return feed;
}

static void feed_close(struct follow *f, struct feed *feed)
{
	if (f->watch != NULL && feed->receiver != NULL)
		lmq_watch_dismiss(f->watch, feed->receiver);
	else if (f->watch != NULL && feed->channel != NULL)
		lmq_watch_forget(f->watch, feed->channel);
	lmq_receiver_close(feed->receiver);
	lmq_reader_close(feed->reader);
	lmq_channel_close(feed->channel);
	free(feed);
}

/* Places the reader: at the start as the options say, later at the first message. */
static int reader_place(struct follow *f, struct feed *feed, bool at_start)
{
	int status = 0;

	if (f->partition >= 0)
		status = lmq_reader_partition(feed->reader, (uint32_t)f->partition);
	if (status == 0 && at_start)
		status = range_seek(&f->range, feed->reader, LMQ_SEEK_END);
	if (status == 0 && f->selection.drain)
		status = lmq_reader_bound(feed->reader, UINT64_MAX);
	lmq_reader_pause(feed->reader);
	return status;
}

static int reader_open(struct follow *f, struct feed *feed, bool at_start)
{
	int status = lmq_reader_open(feed->channel, &feed->reader);

	if (status == 0 && f->watch != NULL)
		status = lmq_watch_channel(f->watch, feed->channel);
	if (status == 0)
		status = reader_place(f, feed, at_start);
	feed->source = reader_source(feed->reader);
	return status;
}

/* Where a group starts that is not there yet. */
static void start_choose(const struct follow *f, const struct feed *feed, bool at_start, enum lmq_seek *how,
	int64_t *value)
{
	*how = LMQ_SEEK_FIRST;
	*value = 0;
	if (at_start)
		group_start(&f->range, lmq_channel_kind(feed->channel), how, value);
}

static int group_create(struct follow *f, struct feed *feed)
{
	enum lmq_seek how;
	int64_t value;
	bool created;
	int status;

	start_choose(f, feed, true, &how, &value);
	status = lmq_group_make(feed->channel, f->group, how, value, NULL, 0, &created, NULL, NULL);
	if (status == 0 && created && verbose)
		notice("created group '%s' of '%s'", f->group, feed->name);
	return status;
}

static int receiver_open(struct follow *f, struct feed *feed, bool at_start)
{
	struct lmq_receiver_options options = {
		.size = sizeof options,
		.flags = f->no_create ? 0 : LMQ_CREATE,
		.filter = f->selection.filter,
		.group = f->group,
		.consumer = f->consumer,
		.partition = f->partition + 1,
	};
	int status;

	start_choose(f, feed, at_start, &options.start, &options.start_value);
	status = lmq_receiver_open(feed->channel, &options, &feed->receiver);
	if (status == LMQ_ENOENT && at_start)
		die_store(f->store, status);
	if (status == 0 && f->watch != NULL)
		status = lmq_watch_receiver(f->watch, feed->receiver);
	feed->form.group = f->group;
	feed->form.delivery = true;
	feed->consumer = (struct consumer){
		.store = f->store,
		.form = &feed->form,
		.lease = f->lease,
		.unhurried = f->lease > 0 && !f->selection.drain && !f->selection.count_set,
		.sync = f->sync,
	};
	consumer_start(&feed->consumer, feed->receiver);
	return status;
}

/* Whether it has the partition that is wanted; one that is named must have it. */
static bool has_partition(const struct follow *f, const struct lmq_channel_info *info, bool named)
{
	if (named)
		partition_check(info->name, f->partition, info->partitions);
	return f->partition < (int64_t)info->partitions;
}

/* LMQ_END: it is none to be followed. */
static int feed_open(struct follow *f, struct feed *feed, bool at_start, bool named)
{
	struct lmq_channel_info info;
	int status = lmq_channel_open(f->store, feed->name, LMQ_ANY, 0, &feed->channel);

	if (status == 0)
		status = lmq_channel_info(feed->channel, &info);
	if (status != 0)
		return status;
	if (info.kind == LMQ_QUEUE || is_followed(f, info.id) || !has_partition(f, &info, named))
		return LMQ_END;		/* perhaps another one than was listed */
	feed->id = info.id;
	feed->form.partitioned = info.partitions > 1;
	if (f->create_only)
		return group_create(f, feed);
	return f->group != NULL ? receiver_open(f, feed, at_start) : reader_open(f, feed, at_start);
}

void feed_add(struct follow *f, const struct lmq_channel_info *info, bool at_start, bool named)
{
	struct feed *feed = feed_new(f, info->name);
	int status = feed_open(f, feed, at_start, named);

	if (status == 0) {
		f->feeds[f->feed_count++] = feed;
		return;
	}
	if (status != LMQ_ENOENT && status != LMQ_EGONE && status != LMQ_END)
		stop(f, status);
	feed_close(f, feed);
}

void feeds_close(struct follow *f)
{
	while (f->feed_count > 0)
		feed_close(f, f->feeds[--f->feed_count]);
	free(f->feeds);
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Writes a message. One that is trimmed away while it is written is taken back, as if it was missed. */
static int message_write(struct follow *f, struct feed *feed, const struct lmq_message *message)
{
	int status = form_write(&feed->form, message, &feed->source);

	if (status == 0)
		f->written++;
	if (status == 0 || status == OUTPUT_FAILED)
		return status;
	if (!output_take_back() || status != LMQ_EGONE)
		stop(f, status);
	feed->told--;
	return 0;
}

/* Reads some messages. 0: there may be more; LMQ_END, LMQ_EGONE. */
static int messages_read(struct follow *f, struct feed *feed)
{
	const lmq_filter *filter = f->selection.filter;
	struct lmq_message message;
	size_t bytes = 0;
	int status = 0;

	for (int i = 0; status == 0 && i < BURST && bytes < BURST_BYTES && !interrupted; i++) {
		if (f->written == f->selection.count)
			break;
		status = lmq_reader_next(feed->reader, &message);
		if (status != 0)
			break;
		if (filter != NULL && !lmq_filter_match(filter, &message))
			continue;
		bytes += message.body.size;
		status = message_write(f, feed, &message);
	}
	return status;
}

static int reader_read(struct follow *f, struct feed *feed)
{
	int status;

	output_source(&feed->source);
	status = messages_read(f, feed);
	lmq_reader_pause(feed->reader);
	output_source(NULL);
	f->missed += missed_say(feed->name, lmq_reader_missed(feed->reader), &feed->told);
	if (status == OUTPUT_FAILED)
		output_die();
	return status;
}

static int receiver_read(struct follow *f, struct feed *feed)
{
	int status = consumer_receive(&feed->consumer, f->selection.count - f->written, &f->written);

	f->missed += missed_say(feed->name, lmq_receiver_missed(feed->receiver), &feed->told);
	return status;
}

/*
 * The channel is gone, or only a message that we were about to write. A group that somebody has removed is not
 * made again behind his back; and if he has made it again himself, that is another one.
 */
static bool feed_lost(struct follow *f, size_t index)
{
	struct feed *feed = f->feeds[index];
	struct lmq_channel_info info;

	if (lmq_channel_info(feed->channel, &info) != 0 || f->group == NULL) {
		notice("%s: was removed", feed->name);
		feed_close(f, feed);
		f->feeds[index] = f->feeds[--f->feed_count];
		return true;
	}
	if (!group_exists(feed->channel, f->group) || ++feed->lost > LOST_MOST)
		die(EXIT_NOINPUT, "%s: group '%s' was removed", feed->name, f->group);
	return false;
}

bool feeds_read(struct follow *f)
{
	bool more = false;

	for (size_t i = 0; i < f->feed_count && f->written < f->selection.count && !interrupted; i++) {
		struct feed *feed = f->feeds[i];
		int status = f->group != NULL ? receiver_read(f, feed) : reader_read(f, feed);

		if (status == 0)
			feed->lost = 0;
		if (status == LMQ_EGONE && feed_lost(f, i))
			i--;
		else if (status != 0 && status != LMQ_END && status != LMQ_EGONE)
			stop(f, status);
		more = more || status == 0 || status == LMQ_EGONE;
	}
	return more;
}
