/* SPDX-License-Identifier: ISC */
/*
 * Messages on their way from one queue to another channel, in steps of one transaction each.
 *
 * What is moved is gone, so the next claim finds what comes after it. What is copied is ready again:
 * copies go by windows of offsets, each claimed once.
 */
#include "cmd.h"
#include "delivery.h"

#include <inttypes.h>

enum {
	STEP_MESSAGES = 4096,
	STEP_BYTES = 4 << 20,
};

/* Waits for the pace, holding nothing. LMQ_EINTR: a signal came. */
static int pace_keep(struct transfer *t)
{
	int64_t due = pace_next(&t->pace);

	while (t->watch != NULL && !interrupted && lmq_deadline(0) < due) {
		int status;

		lmq_watch_arm(t->watch);
		status = lmq_watch_wait(t->watch, due);
		if (status != 0 && status != LMQ_ETIME && status != LMQ_EINTR)
			return status;
	}
	return interrupted ? LMQ_EINTR : 0;
}

/* A channel that is missing is created as a queue when there is a message for it. */
static int to_create(struct transfer *t)
{
	int status = lmq_channel_open(t->store, t->to_name, LMQ_QUEUE, LMQ_CREATE, &t->to);

	if (status == 0 && lmq_channel_created(t->to))
		notice("created queue '%s'", t->to_name);
	return status;
}

/* Claims at most so many messages and moves them. LMQ_END: none is ready. */
static int step(struct transfer *t, lmq_receiver *receiver, size_t messages, size_t bytes)
{
	unsigned flags = t->back ? LMQ_MOVE_BACK : t->copy ? LMQ_MOVE_COPY : 0;
	size_t count = 0;
	int status = lmq_receiver_claim(receiver, messages, bytes, &count);

	if (status == 0 && !t->back && t->to == NULL)
		status = to_create(t);
	while (status == 0 && count > 0) {
		size_t moved = 0;

		status = lmq_receiver_move(receiver, count, t->to, flags, t->sync, &moved);
		if (status == 0 && moved == 0)	/* fewer than were claimed, rarely; see libmq.h */
			break;
		count -= moved;
		t->done += moved;
		pace_take(&t->pace, moved);
	}
	progress_show(t->done, 0);
	return status;
}

static int receiver_open(struct transfer *t, const lmq_filter *filter, lmq_receiver **receiver)
{
	const struct lmq_receiver_options how = {
		.size = sizeof how, .flags = LMQ_EXPLICIT_BEGIN, .filter = filter,
	};

	return filter != NULL ? lmq_receiver_open(t->from, &how, receiver) : LMQ_END;
}

static uint64_t goal_of(const struct transfer *t, uint64_t most)
{
	return most < UINT64_MAX - t->done ? t->done + most : UINT64_MAX;
}

/* How many the next step may take. */
static size_t batch_of(const struct transfer *t, uint64_t goal)
{
	size_t batch = pace_batch(&t->pace, STEP_MESSAGES);

	return goal - t->done < batch ? (size_t)(goal - t->done) : batch;
}

static int ended(int status)
{
	return status == LMQ_END || (status == LMQ_EINTR && interrupted) ? 0 : status;
}

/* Moves from the offset *from on. LMQ_EGONE: the letter before *from, as it is then, cannot go back. */
static int move_from(struct transfer *t, const char *origin, uint64_t *from, uint64_t goal)
{
	lmq_filter *filter = conditions_filter(t->conditions, *from, t->end, origin);
	lmq_receiver *receiver = NULL;
	struct lmq_message message;
	int status = receiver_open(t, filter, &receiver);

	while (status == 0 && t->done < goal) {
		status = pace_keep(t);
		if (status == 0)
			status = step(t, receiver, batch_of(t, goal), STEP_BYTES);
	}
	/* What was claimed and not moved begins with it. */
	if (status == LMQ_EGONE && t->back) {
		if (lmq_receiver_next(receiver, &message) != 0)
			status = LMQ_END;
		*from = message.offset + 1;
	}
	lmq_receiver_close(receiver);
	lmq_filter_close(filter);
	return ended(status);
}

int transfer_move(struct transfer *t, const char *origin, uint64_t most)
{
	uint64_t goal = goal_of(t, most), from = 0, stuck = 0;
	int status;

	while ((status = move_from(t, origin, &from, goal)) == LMQ_EGONE && t->back)
		stuck++;
	if (stuck > 1)
		notice("%" PRIu64 " dead letters stay where they are", stuck);
	return status == 0 && stuck > 0 ? LMQ_EGONE : status;
}

/* Copies what is ready in [first, end), claimed at once so that nothing is copied twice. */
static int window_copy(struct transfer *t, uint64_t first, uint64_t end, uint64_t goal)
{
	lmq_filter *filter = conditions_filter(t->conditions, first, end, NULL);
	lmq_receiver *receiver = NULL;
	int status = receiver_open(t, filter, &receiver);

	if (status == 0)
		status = step(t, receiver, batch_of(t, goal), SIZE_MAX);
	lmq_receiver_close(receiver);
	lmq_filter_close(filter);
	return status == LMQ_END ? 0 : status;
}

/* The next window begins with a message; offsets of which nothing is left cost nothing. */
static int window_find(struct transfer *t, lmq_reader *reader, uint64_t *first, uint64_t *end)
{
	uint64_t size = pace_batch(&t->pace, STEP_MESSAGES);
	struct lmq_message message;
	int status = lmq_reader_next(reader, &message);

	if (status != 0)
		return status;
	*first = message.offset;
	*end = t->end;
	if (*first < t->end && t->end - *first > size)
		*end = *first + size;
	lmq_reader_pause(reader);
	return *first < t->end ? 0 : LMQ_END;
}

int transfer_copy(struct transfer *t, uint64_t most)
{
	uint64_t goal = goal_of(t, most), first, end;
	lmq_reader *reader = NULL;
	int status = lmq_reader_open(t->from, &reader);

	while (status == 0 && t->done < goal) {
		status = pace_keep(t);
		if (status == 0)
			status = window_find(t, reader, &first, &end);
		if (status == 0)
			status = window_copy(t, first, end, goal);
		if (status == 0)
			status = lmq_reader_seek(reader, LMQ_SEEK_OFFSET, (int64_t)end);
	}
	lmq_reader_close(reader);
	return ended(status);
}
