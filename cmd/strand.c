/* SPDX-License-Identifier: ISC */
/*
 * The channels that mq-replay reads, and which messages of them are wanted.
 *
 * No snapshot is held while something blocks, nor for long: one reader sees to that by itself, of several
 * each has a message that waits for its turn, which is copied before its snapshot is given back.
 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

enum { HOLD_STEPS = 1024 };	/* messages between two looks at the clock */
#define HOLD_AGE INT64_C(200000000)

/* ---- opening ---------------------------------------------------------------------------------- */

static bool is_open(const struct replay *r, uint32_t id)
{
	for (size_t i = 0; i < r->strand_count; i++)
		if (r->strands[i]->id == id)
			return true;
	return false;
}

static struct strand *strand_new(struct replay *r)
{
	struct strand *s = calloc(1, sizeof *s);
	struct strand **strands = realloc(r->strands, (r->strand_count + 1) * sizeof(struct strand *));

	if (s == NULL || strands == NULL)
		die(EXIT_SYSTEM, "out of memory");
	r->strands = strands;
	return s;
}

static int strand_piece(void *handle, uint64_t at, struct lmq_bytes *piece)
{
	struct strand *s = handle;

	return lmq_reader_body(s->reader, at, piece);
}

static void strand_free(struct replay *r, struct strand *s)
{
	lmq_reader_close(s->reader);
	if (r->watch != NULL && s->channel != NULL)
		lmq_watch_forget(r->watch, s->channel);
	lmq_channel_close(s->channel);
	free(s->copy.room);
	free(s);
}

/* What is written is all that was there at the start, unless we wait for more. */
static int strand_bound(struct replay *r, struct strand *s)
{
	return r->following ? 0 : lmq_reader_bound(s->reader, r->range.last < 0 ? r->to : UINT64_MAX);
}

static int strand_start(struct replay *r, struct strand *s, void (*pause)(void *))
{
	struct lmq_channel_info info;
	int status = lmq_channel_info(s->channel, &info);

	if (status == 0)
		partition_check(s->name, r->partition, info.partitions);
	if (status == 0)
		status = lmq_reader_open(s->channel, &s->reader);
	if (status == 0 && r->partition >= 0)
		status = lmq_reader_partition(s->reader, (uint32_t)r->partition);
	if (status == 0 && r->following)
		status = lmq_watch_channel(r->watch, s->channel);
	if (status == 0)
		status = strand_bound(r, s);
	if (status != 0)
		return status;
	s->id = info.id;
	s->form = r->form;
	s->form.channel = s->name;
	s->form.partitioned = info.partitions > 1;
	s->source = (struct body_source){ .piece = strand_piece, .pause = pause, .handle = s };
	return 0;
}

static struct replay *paused;	/* whose strands the output pauses */

static void pause_all(void *handle)
{
	(void)handle;
	strands_pause(paused);
}

/* Takes the channel over. */
static void strand_add(struct replay *r, const char *name, lmq_channel *channel)
{
	struct strand *s = strand_new(r);

	snprintf(s->name, sizeof s->name, "%s", name);
	s->channel = channel;
	s->number = r->strand_count;
	if (lmq_channel_kind(channel) == LMQ_QUEUE)
		die_usage("%s: is a queue, not a stream or topic", name);
	replay_check(r, strand_start(r, s, pause_all));
	if (is_open(r, s->id))
		strand_free(r, s);
	else
		r->strands[r->strand_count++] = s;
}

/* False: it did not appear in time. */
static bool add_named(struct replay *r, const char *name)
{
	lmq_channel *channel = NULL;
	int status = 0;

	if (r->following)
		status = channel_await(r->store, name, LMQ_ANY, r->watch, lmq_deadline(r->selection.wait), &channel);
	else
		channel = channel_open(r->store, name, LMQ_ANY, 0);
	if (status == LMQ_ETIME || status == LMQ_EINTR)
		return false;
	replay_check(r, status);
	strand_add(r, name, channel);
	return true;
}

/* The channels there are. Queues are left alone, and what does not have the partition that is wanted. */
static void add_matching(struct replay *r, const char *pattern)
{
	struct lmq_channel_info *list = NULL;
	lmq_channel *channel;
	size_t count = 0;

	replay_check(r, lmq_channel_list(r->store, pattern, LMQ_ANY, &list, &count));
	for (size_t i = 0; i < count; i++) {
		int status = LMQ_ENOENT;

		if (list[i].kind != LMQ_QUEUE && r->partition < (int64_t)list[i].partitions)
			status = lmq_channel_open(r->store, list[i].name, list[i].kind, 0, &channel);
		if (status == LMQ_ENOENT)
			continue;	/* it is gone since */
		replay_check(r, status);
		strand_add(r, list[i].name, channel);
	}
	free(list);
}

bool strands_open(struct replay *r)
{
	bool there = true;

	paused = r;
	for (size_t i = 0; there && i < r->operand_count; i++) {
		if (lmq_pattern_literal(r->operands[i]))
			there = add_named(r, r->operands[i]);
		else
			add_matching(r, r->operands[i]);
	}
	r->heap = calloc(r->strand_count + 1, sizeof(struct strand *));
	if (r->heap == NULL)
		die(EXIT_SYSTEM, "out of memory");
	if (r->strand_count > 0)
		output_source(&r->strands[0]->source);
	return there && r->strand_count > 0;
}

void strands_close(struct replay *r)
{
	output_source(NULL);
	while (r->strand_count > 0)
		strand_free(r, r->strands[--r->strand_count]);
	free(r->strands);
	free(r->heap);
}

/* ---- reading ---------------------------------------------------------------------------------- */

void strands_pause(struct replay *r)
{
	for (size_t i = 0; i < r->strand_count; i++) {
		struct strand *s = r->strands[i];

		if (s->pending && !s->kept) {
			message_keep(&s->copy, &s->message);
			s->message = s->copy.message;
			s->kept = true;
		}
		lmq_reader_pause(s->reader);
	}
	r->held = lmq_deadline(0);
}

/* Of several strands, one may go through millions that are not wanted while the others hold what they have. */
static void hold_not_long(struct replay *r)
{
	if (++r->steps < HOLD_STEPS)
		return;
	r->steps = 0;
	if (lmq_deadline(0) - r->held >= HOLD_AGE)
		strands_pause(r);
}

/* Nothing more is wanted of the strand in this direction. */
static bool is_beyond(const struct replay *r, const struct strand *s)
{
	const struct lmq_message *m = &s->message;
	const struct place *cut = &r->cut;

	if (!r->reverse)
		return m->time >= r->range.until || (m->offset >= r->to && !s->form.partitioned);
	if (r->cut_all)
		return true;
	if (r->cut_set && m->time == cut->time && s->number == cut->strand && m->partition == cut->partition)
		return m->offset < cut->offset;
	if (r->cut_set && m->time == cut->time)
		return s->number < cut->strand || (s->number == cut->strand && m->partition < cut->partition);
	return (r->cut_set && m->time < cut->time) || m->time < r->range.since ||
		(m->offset < r->from && !s->form.partitioned);
}

static bool is_wanted(const struct replay *r, const struct strand *s)
{
	const struct lmq_message *m = &s->message;

	if (m->offset >= r->to || m->time >= r->range.until || (r->reverse && m->offset < r->from))
		return false;
	if (r->surveying)
		return true;
	return (!r->newest || newest_is(s)) &&
		(r->selection.filter == NULL || lmq_filter_match(r->selection.filter, m));
}

int strand_fetch(struct replay *r, struct strand *s)
{
	do {
		int status;

		if (interrupted)
			return LMQ_EINTR;
		if (r->strand_count > 1)
			hold_not_long(r);
		s->kept = false;
		status = r->reverse ? lmq_reader_previous(s->reader, &s->message) :
			lmq_reader_next(s->reader, &s->message);
		if (status != 0)
			return status;
		if (r->raw || r->plain)
			break;
		if (is_beyond(r, s)) {
			s->over = true;
			return LMQ_END;
		}
	} while (!is_wanted(r, s));
	s->pending = true;
	return 0;
}

void strands_tell(struct replay *r)
{
	for (size_t i = 0; i < r->strand_count; i++) {
		struct strand *s = r->strands[i];

		r->missed += missed_say(s->name, lmq_reader_missed(s->reader), &s->told);
	}
}

bool strands_over(const struct replay *r)
{
	for (size_t i = 0; i < r->strand_count; i++) {
		const struct strand *s = r->strands[i];

		if (!s->over && (s->form.partitioned || lmq_reader_tell(s->reader) < r->to))
			return false;
	}
	return true;
}
