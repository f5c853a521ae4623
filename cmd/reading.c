/* SPDX-License-Identifier: ISC */
/*
 * What mq-recv, mq-sub and mq-replay share: where bodies come from, and waiting for a channel, what to say of messages
 * that were missed, and where groups start.
 */
#include "cmd.h"
#include "output.h"
#include "reading.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int reader_piece(void *handle, uint64_t at, struct lmq_bytes *piece)
{
	return lmq_reader_body(handle, at, piece);
}

static void reader_pause(void *handle)
{
	lmq_reader_pause(handle);
}

struct body_source reader_source(lmq_reader *reader)
{
	return (struct body_source){ .piece = reader_piece, .pause = reader_pause, .handle = reader };
}

static int receiver_piece(void *handle, uint64_t at, struct lmq_bytes *piece)
{
	return lmq_receiver_body(handle, at, piece);
}

static void receiver_pause(void *handle)
{
	lmq_receiver_pause(handle);
}

struct body_source receiver_source(lmq_receiver *receiver)
{
	return (struct body_source){ .piece = receiver_piece, .pause = receiver_pause,
		.handle = receiver };
}

int channel_await(lmq_store *store, const char *name, enum lmq_kind kind, lmq_watch *watch,
	int64_t deadline, lmq_channel **channel)
{
	lmq_watch_catalogue(watch);
	for (;;) {
		int status;

		lmq_watch_arm(watch);
		status = lmq_channel_open(store, name, kind, 0, channel);
		if (status != LMQ_ENOENT)
			return status;
		output_check_reader();
		status = lmq_watch_wait(watch, deadline);
		if (interrupted)
			return LMQ_EINTR;
		if (status != 0 && status != LMQ_EINTR)
			return status;
	}
}

static uint64_t missed_lines;	/* about messages that were missed */

uint64_t missed_say(const char *name, uint64_t missed, uint64_t *told)
{
	uint64_t more = missed - *told;

	*told = missed;
	missed_lines += more > 0;
	if (more == 1)
		notice("%s: 1 message was missed", name);
	else if (more > 0)
		notice("%s: %" PRIu64 " messages were missed", name, more);
	return more;
}

void missed_sum(uint64_t missed)
{
	if (quiet || missed_lines > 1)
		warn("%" PRIu64 " message%s missed", missed, missed == 1 ? " was" : "s were");
}

void group_start(const struct range *range, enum lmq_kind kind, enum lmq_seek *how, int64_t *value)
{
	const char *from = range->from;

	*how = kind == LMQ_STREAM ? LMQ_SEEK_FIRST : LMQ_SEEK_END;
	*value = 0;
	if (range->since != INT64_MIN) {
		*how = LMQ_SEEK_TIME;
		*value = range->since;
	} else if (range->last >= 0) {
		*how = LMQ_SEEK_LAST;
		*value = range->last;
	} else if (from != NULL && *from >= '0' && *from <= '9') {
		*how = LMQ_SEEK_OFFSET;
		*value = (int64_t)argument_number("--from", from, 0, INT64_MAX);
	} else if (from != NULL) {
		*how = *from == 'f' ? LMQ_SEEK_FIRST : LMQ_SEEK_END;
	}
}

void group_check(const char *group)
{
	if (!lmq_name_valid(group))
		die_usage("--group: '%s' is not a name that a group can have", group);
}

bool group_exists(lmq_channel *channel, const char *group)
{
	struct lmq_group_info *list = NULL;
	size_t count = 0;
	int status = lmq_group_list(channel, group, &list, &count);

	free(list);
	return status != LMQ_ENOENT;
}

const char *consumer_name(const char *given)
{
	static char name[LMQ_CONSUMER_MAX + 1];
	char host[256] = "";

	if (given != NULL && *given == '\0')
		die_usage("--consumer: the name is empty");
	if (given != NULL && strlen(given) > LMQ_CONSUMER_MAX)
		die_usage("--consumer: '%s' is longer than %d bytes", given, LMQ_CONSUMER_MAX);
	if (given != NULL && !utf8_valid_text(given, strlen(given)))
		die_usage("--consumer: not valid UTF-8");
	if (given != NULL)
		return given;
	if (gethostname(host, sizeof host - 1) != 0)
		strcpy(host, "localhost");
	snprintf(name, sizeof name, "%.48s:%ld", host, (long)getpid());
	return name;
}

const char *only_operand(int argc, char **argv, int first, const char *what)
{
	if (first >= argc)
		die_usage("no %s given", what);
	if (first + 1 < argc)
		die_usage("%s: more than one %s given", argv[first + 1], what);
	return argv[first];
}
