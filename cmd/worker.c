/* SPDX-License-Identifier: ISC */
/*
 * The loop of mq-exec: takes messages, starts commands, and has those concluded that ended.
 *
 * When a command ends, the next one is started first, and what has ended is concluded while that one runs:
 * the commit costs no time of its own. Nothing waits to be concluded while we sleep, so a command that
 * takes long holds up nobody's acknowledgement.
 */
#include "exec.h"

#include <errno.h>
#include <string.h>

enum {
	BATCH_BYTES = 8 << 20,
	SHARE_PAUSE = 50000000,		/* ns between looks for members that have joined, while commands run */
};

void worker_stop(struct worker *w, int exit_code)
{
	w->stopping = true;
	if (w->exit_code == 0)
		w->exit_code = exit_code;
}

void worker_trouble(struct worker *w, int status, bool fatal)
{
	if (status == LMQ_ENOMEM || *lmq_error(w->store) == '\0')
		warn("%s", lmq_strerror(status));
	else
		warn_store(w->store);
	worker_stop(w, exit_status(status));
	w->broken = w->broken || fatal;
	w->ending = w->ending || fatal;
}

/* ---- the channel ----------------------------------------------------------------------------- */

static bool waits(const struct worker *w)
{
	return w->work->selection.wait > 0;
}

static bool is_idle(const struct worker *w)
{
	return w->running_count == 0 && w->ended_count == 0;
}

static int receiver_make(struct worker *w)
{
	const struct work *work = w->work;
	struct lmq_receiver_options options = {
		.size = sizeof options,
		.flags = LMQ_EXPLICIT_BEGIN | (work->no_create ? 0 : LMQ_CREATE),
		.filter = work->selection.filter,
		.group = work->group,
		.consumer = work->consumer,
	};
	int status;

	if (work->group != NULL && lmq_channel_kind(w->channel) == LMQ_QUEUE)
		die_no_groups(work->channel);
	if (work->group != NULL)
		group_start(&work->range, lmq_channel_kind(w->channel), &options.start, &options.start_value);
	status = lmq_receiver_open(w->channel, &options, &w->receiver);
	return status == 0 ? lmq_watch_receiver(w->watch, w->receiver) : status;
}

static void channel_leave(struct worker *w)
{
	lmq_watch_receiver(w->watch, NULL);
	lmq_receiver_close(w->receiver);
	lmq_channel_close(w->channel);
	w->receiver = NULL;
	w->channel = NULL;
	w->missed = 0;
	w->limits.read_at = 0;
	w->gone = false;
}

/* Notes what does not change about a channel. A group that somebody has removed is not made again behind his back. */
static int channel_note(struct worker *w)
{
	const char *group = w->work->group;
	struct lmq_channel_info info;
	int status = lmq_channel_info(w->channel, &info);

	if (status != 0)
		return status;
	if (w->id == info.id && group != NULL && !group_exists(w->channel, group))
		die(EXIT_NOINPUT, "%s: group '%s' was removed", w->work->channel, group);
	w->id = info.id;
	w->partitioned = info.partitions > 1;
	return 0;
}

/* Opens the channel if it is there. Who does not wait for it needs it now. */
static void channel_find(struct worker *w)
{
	const struct work *work = w->work;
	enum lmq_kind kind = work->group != NULL ? LMQ_ANY : LMQ_QUEUE;
	int status;

	channel_leave(w);
	lmq_watch_catalogue(w->watch);
	lmq_watch_arm(w->watch);
	status = lmq_channel_open(w->store, work->channel, kind, 0, &w->channel);
	if (status == LMQ_ENOENT && waits(w) && !work->no_create)
		return;
	if (status == 0)
		status = channel_note(w);
	if (status == 0)
		status = receiver_make(w);
	if (status == LMQ_EGONE)
		w->gone = true;
	else if (status != 0)
		die_store(w->store, status);
	w->dry = false;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Whether a message has failed and is not concluded yet: nothing of its partition may overtake it. */
static bool would_overtake(const struct worker *w)
{
	for (size_t i = 0; w->partitioned && i < w->ended_count; i++) {
		if (w->ended[i]->outcome != LMQ_ACKNOWLEDGE)
			return true;
	}
	return false;
}

static bool may_start(const struct worker *w)
{
	bool room = w->running_count < w->parallel && w->spare_count > 0 &&
		!(w->held && w->ended_count >= w->parallel);

	return room && w->receiver != NULL && !w->gone && !w->stopping && !would_overtake(w) &&
		w->taken < w->work->selection.count;
}

/* There are no more processes, or less memory, than it takes. What runs will make room. */
static void lacking(struct worker *w, int error)
{
	if (w->running_count == 0) {
		warn("%s: cannot be started: %s", w->work->command[0], command_error(error));
		worker_stop(w, EXIT_SYSTEM);
	} else {
		w->parallel = w->running_count;
		notice("no more than %zu commands at once: %s", w->parallel, command_error(error));
	}
}

static void cannot_start(struct worker *w, int error)
{
	if (command_lacks(error)) {
		lacking(w, error);
		return;
	}
	warn("%s: cannot be run: %s", w->work->command[0], command_error(error));
	worker_stop(w, error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

/* Begins the work on the task's messages. 0, or the errno with which it cannot be. */
static int command_run(struct worker *w, struct task *task)
{
	if (w->work->to != NULL) {
		task->output = product_file();
		if (task->output < 0)
			return errno;
	}
	task_begin(task, w->receiver);
	if (w->work->timeout != LMQ_FOREVER)
		task->due = lmq_deadline(w->work->timeout);
	return command_start(task);
}

static void task_run(struct worker *w, struct task *task)
{
	int error = task->refused ? 0 : command_run(w, task);

	if (error == E2BIG && w->work->replace != NULL) {
		task_refuse(task, "the body is too large for an argument");
	} else if (error != 0) {
		task_return(task, w->receiver);
		ledger_spare(w, task);
		cannot_start(w, error);
		return;
	}
	w->taken += task->count;
	w->idle_until = -1;
	pace_take(&w->work->pace, task->count);
	if (task->refused)
		ledger_add(w, task);
	else
		w->running[w->running_count++] = task;
}

static int task_fill(struct worker *w, struct task *task, size_t count)
{
	struct taking taking = {
		.work = w->work,
		.receiver = w->receiver,
		.partitioned = w->partitioned,
	};

	limits_read(&w->limits, w->channel, w->work->group, lmq_deadline(0));
	taking.last_attempt = w->limits.last_attempt;
	taking.last_attempt_text = w->limits.attempts;
	return task_take(task, &taking, count, &w->alone);
}

/* Takes messages and starts the command for them. LMQ_END: none is ready. */
static int start(struct worker *w)
{
	uint64_t left = w->work->selection.count - w->taken;
	size_t most = w->alone ? 1 : w->work->batch, count = 0;
	struct task *task;
	int status = lmq_receiver_claim(w->receiver, left < most ? (size_t)left : most, BATCH_BYTES, &count);

	if (status != 0)
		return status;
	missed_say(w->work->channel, lmq_receiver_missed(w->receiver), &w->missed);
	task = w->spare[--w->spare_count];
	status = task_fill(w, task, count);
	if (status == 0) {
		task_run(w, task);
		return 0;
	}
	if (status == TASK_LACKS)
		lacking(w, errno);
	ledger_spare(w, task);
	return status == TASK_LACKS || status == LMQ_END ? 0 : status;
}

static bool is_time(const struct worker *w)
{
	return w->work->pace.rate <= 0 || pace_next(&w->work->pace) <= lmq_deadline(0);
}

/* Whether something is ready, where --rate does not let us take it yet but we shall know when to end. */
static int look(struct worker *w)
{
	size_t count;
	int status = lmq_receiver_claim(w->receiver, 1, 1, &count);

	if (status == 0)
		lmq_receiver_release(w->receiver);
	return status;
}

/* What a claim, or a look, came to. */
static void heed(struct worker *w, int status)
{
	if (status == LMQ_END && w->dry) {
		w->nothing_left = true;
	} else if (status == LMQ_END) {
		w->dry = true;
		lmq_watch_arm(w->watch);
	} else if (status == LMQ_EGONE) {
		w->gone = true;
	} else if (status != 0) {
		worker_trouble(w, status, false);
	} else {
		w->dry = false;
	}
}

/*
 * Starts what can be started. Before the look that finds nothing and lets us sleep the watch is armed, so
 * that what comes after that look wakes us.
 */
static void start_all(struct worker *w)
{
	bool ends = w->work->selection.wait != LMQ_FOREVER;

	w->nothing_left = false;
	while (may_start(w) && !w->nothing_left && is_time(w))
		heed(w, start(w));
	while (may_start(w) && !w->nothing_left && ends && is_idle(w)) {
		int status = look(w);

		heed(w, status);
		if (status == 0)
			break;
	}
}

/*
 * While all commands run nothing is claimed. But of partitions that a member who has joined waits for, those of which
 * we have nothing in our hands are given up by whoever looks.
 */
static void look_busy(struct worker *w)
{
	struct lmq_message message;
	size_t count;
	int status = lmq_receiver_claim(w->receiver, 1, 1, &count);

	if (status == 0)
		status = lmq_receiver_next(w->receiver, &message);
	if (status == 0)
		lmq_receiver_return(w->receiver, message.partition, message.offset, 1);
	lmq_receiver_pause(w->receiver);
	if (status == LMQ_EGONE)
		w->gone = true;
	lmq_watch_arm(w->watch);	/* only now: what was returned is not to wake us */
	w->share_at = lmq_deadline(SHARE_PAUSE);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Whether all is done. The time of -w runs while there is neither a message nor a command. */
static bool is_done(struct worker *w)
{
	if (!is_idle(w))
		return false;
	if (w->stopping || w->taken >= w->work->selection.count)
		return true;
	if (!w->nothing_left && w->channel != NULL)
		return false;
	if (w->idle_until < 0)
		w->idle_until = lmq_deadline(w->work->selection.wait);
	return lmq_deadline(0) >= w->idle_until;
}

/* Whether we may have partitions that others wait for, and do not come to look. */
static bool shares_busy(const struct worker *w)
{
	return w->partitioned && w->receiver != NULL && !w->gone && !w->held && !w->broken && !is_idle(w) &&
		!may_start(w);
}

static void wait_for_events(struct worker *w)
{
	int64_t deadline = w->idle_until >= 0 ? w->idle_until : LMQ_FOREVER;
	bool may = may_start(w), watched = w->held || w->nothing_left || w->channel == NULL;

	if (may && !w->nothing_left && is_time(w))
		return;		/* something may be ready */
	if (w->gone && is_idle(w))
		return;		/* there may be another one of that name */
	if (may && !w->nothing_left && pace_next(&w->work->pace) < deadline)
		deadline = pace_next(&w->work->pace);
	if (shares_busy(w) && w->share_at <= lmq_deadline(0)) {
		look_busy(w);
		watched = true;
	} else if (shares_busy(w) && w->share_at < deadline) {
		deadline = w->share_at;
	}
	crew_wait(w, deadline, watched);
}

void worker_run(struct worker *w)
{
	w->idle_until = -1;
	crew_prepare(w);
	while (true) {
		bool concluded;

		if ((w->channel == NULL || w->gone) && is_idle(w))
			channel_find(w);
		else if (w->dry || w->held)
			lmq_watch_arm(w->watch);
		start_all(w);
		concluded = ledger_conclude(w);
		if (is_done(w))
			break;
		if (!concluded || !may_start(w))
			wait_for_events(w);
	}
	if (w->watch != NULL)
		channel_leave(w);
}
