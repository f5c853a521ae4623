/* SPDX-License-Identifier: ISC */
/*
 * Tasks that have ended: concludes them in the order of their ends, as many at once as there are.
 *
 * Where a full queue does not take what commands wrote, the tasks stay here until it does; they keep the
 * place of commands that could run, so that the flow comes to rest. What cannot be concluded at all goes
 * back.
 */
#include "exec.h"

#include <string.h>

void ledger_spare(struct worker *w, struct task *task)
{
	task_empty(task);
	w->spare[w->spare_count++] = task;
}

/* The first tasks are through. */
static void drop(struct worker *w, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ledger_spare(w, w->ended[i]);
	w->ended_count -= count;
	memmove(w->ended, w->ended + count, w->ended_count * sizeof *w->ended);
}

static void give_back(struct worker *w, struct task *task)
{
	task_return(task, w->receiver);
	task->outcome = LMQ_RETURN;
	w->some_failed = true;
	verdict_tell(w->work, task, &w->limits);
}

void ledger_add(struct worker *w, struct task *task)
{
	if (verdict_find(w->work, task))
		worker_stop(w, 0);
	if (task->outcome == LMQ_RETURN) {
		give_back(w, task);
		ledger_spare(w, task);
	} else {
		w->ended[w->ended_count++] = task;
	}
}

/* The first tasks were concluded: tells of failures. */
static void concluded(struct worker *w, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (w->ended[i]->outcome == LMQ_ACKNOWLEDGE)
			continue;
		w->some_failed = true;
		limits_read(&w->limits, w->channel, w->work->group, lmq_deadline(0));
		verdict_tell(w->work, w->ended[i], &w->limits);
	}
	drop(w, count);
	w->nothing_left = false;	/* others of the same keys may be ready now */
}

/* Begins to wait for room, or ends that. */
static void hold(struct worker *w, bool now)
{
	if (now == w->held)
		return;
	w->held = now;
	if (now)
		notice("%s; waiting for room", lmq_error(w->store));
	if (product_channel() != NULL && !now)
		lmq_watch_forget(w->watch, product_channel());
	else if (product_channel() != NULL && lmq_watch_channel(w->watch, product_channel()) != 0)
		worker_trouble(w, LMQ_ENOMEM, true);
	lmq_watch_arm(w->watch);
	w->nothing_left = false;	/* what came since the last look does not wake us any more */
}

/* The messages are gone with their channel, whatever became of the commands. */
static void lose(struct worker *w)
{
	char subject[SUBJECT_MAX];

	for (size_t i = 0; i < w->ended_count; i++) {
		subject_put(subject, w->work, w->ended[i]);
		notice("%s: was removed with its %s", subject, w->work->group != NULL ? "group" : "channel");
	}
	w->some_failed = true;
	w->gone = true;
	drop(w, w->ended_count);
}

/* Concludes some of the tasks, the first ones. */
static int conclude_some(struct worker *w)
{
	size_t count = w->ended_count, verdict_count;
	struct lmq_verdict *verdicts;
	int status = product_gather(w->ended, &count);

	if (status != 0)
		return status;
	verdicts = verdicts_of(w->ended, count, &verdict_count);
	if (verdicts == NULL)
		return LMQ_ENOMEM;
	status = lmq_receiver_conclude(w->receiver, verdicts, verdict_count, product_writer(), w->work->sync);
	if (status == 0)
		concluded(w, count);
	return status;
}

static void all_give_back(struct worker *w)
{
	for (size_t i = 0; i < w->ended_count; i++)
		give_back(w, w->ended[i]);
	drop(w, w->ended_count);
}

bool ledger_conclude(struct worker *w)
{
	size_t before = w->spare_count;

	while (w->ended_count > 0 && !w->broken) {
		int status = conclude_some(w);

		if (status == LMQ_EFULL && w->held && !w->ending)
			break;
		if (status == LMQ_EFULL && !w->ending)
			hold(w, true);
		else if (status == 0)
			hold(w, false);
		else if (status == LMQ_EGONE && !product_reopen())
			lose(w);
		else if (status != LMQ_EGONE)
			worker_trouble(w, status, true);
	}
	if (w->broken)
		all_give_back(w);
	return w->spare_count > before;
}
