/* SPDX-License-Identifier: ISC */
/*
 * What mq-recv, mq-sub and mq-replay share: where bodies come from, and waiting for a channel.
 */
#include "cmd.h"

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

void missed_tell(const char *name, lmq_reader *reader, uint64_t *told)
{
	uint64_t missed = lmq_reader_missed(reader), more = missed - *told;

	if (more == 0)
		return;
	*told = missed;
	if (more == 1)
		notice("%s: 1 message was missed", name);
	else
		notice("%s: %llu messages were missed", name, (unsigned long long)more);
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
