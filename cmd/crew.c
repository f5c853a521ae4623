/* SPDX-License-Identifier: ISC */
/*
 * The commands that run, and all waiting: for their ends, what they write to stderr, signals and messages.
 *
 * Signals are blocked and read like everything else, so none is lost between a look and a sleep. The first
 * one that asks us to end stops the taking of messages; the second one ends what runs.
 */
#include "exec.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int signals;
static struct pollfd *fds;	/* signals, then the stderr of each command that runs */

/* Twice as many tasks as may run: while one half is concluded, the other may run. */
void crew_prepare(struct worker *w)
{
	size_t count = 2 * w->work->parallel;
	struct task *tasks = calloc(count, sizeof *tasks);

	w->spare = calloc(count, sizeof *w->spare);
	w->running = calloc(count, sizeof *w->running);
	w->ended = calloc(count, sizeof *w->ended);
	fds = calloc(count + 1, sizeof *fds);
	if (tasks == NULL || w->spare == NULL || w->running == NULL || w->ended == NULL || fds == NULL)
		die(EXIT_SYSTEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		tasks[i].input = tasks[i].output = tasks[i].errors = -1;
		ledger_spare(w, &tasks[i]);
	}
	w->parallel = w->work->parallel;
	signals = command_signals();
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void leave(struct worker *w, size_t index)
{
	struct task *task = w->running[index];

	w->running[index] = w->running[--w->running_count];
	ledger_add(w, task);
}

static size_t find(const struct worker *w, pid_t process)
{
	size_t i = 0;

	while (i < w->running_count && (w->running[i]->process != process || w->running[i]->lingers))
		i++;
	return i;
}

/* Children that are not ours to run were left to us by who became mq-exec. */
static void reap(struct worker *w)
{
	pid_t process;
	int status;

	while (w->running_count > 0 && (process = waitpid(-1, &status, WNOHANG)) > 0) {
		size_t i = find(w, process);

		if (i < w->running_count && command_exited(w->running[i], status))
			leave(w, i);
	}
}

static void signals_read(struct worker *w)
{
	struct signalfd_siginfo list[8];
	ssize_t size = read(signals, list, sizeof list);

	for (ssize_t i = 0; i < size / (ssize_t)sizeof *list; i++) {
		if (list[i].ssi_signo == SIGCHLD)
			continue;
		w->ending = w->ending || w->signal != 0;
		if (w->signal == 0)
			w->signal = (int)list[i].ssi_signo;
		worker_stop(w, 0);
	}
	reap(w);
}

static void due_all(struct worker *w, int64_t now)
{
	for (size_t i = 0; i < w->running_count; i++) {
		struct task *task = w->running[i];

		if (w->ending)
			command_end(task, ENDS_CALLED_OFF, w->work->grace);
		if (task->due <= now && command_due(task, now, w->work->grace))
			leave(w, i--);
	}
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void poll_until(size_t count, int64_t deadline)
{
	int64_t left = deadline - lmq_deadline(0);
	struct timespec limit = { left / 1000000000, left % 1000000000 };

	if (left < 0)
		limit = (struct timespec){ 0, 0 };
	if (ppoll(fds, count, deadline == LMQ_FOREVER ? NULL : &limit, NULL) < 0 && errno != EINTR)
		die(EXIT_SYSTEM, "cannot wait: %s", strerror(errno));
}

static void sleep_until(struct worker *w, size_t count, int64_t deadline, bool watched)
{
	int status = 0;

	if (watched)
		status = lmq_watch_poll(w->watch, fds, count, deadline);
	else
		poll_until(count, deadline);
	if (status != 0 && status != LMQ_ETIME && status != LMQ_EINTR)
		worker_trouble(w, status, true);
}

void crew_wait(struct worker *w, int64_t deadline, bool watched)
{
	size_t count;

	if (w->ending)
		due_all(w, lmq_deadline(0));
	count = w->running_count;
	if (w->ending && count == 0)
		return;
	fds[0] = (struct pollfd){ .fd = signals, .events = POLLIN };
	for (size_t i = 0; i < count; i++) {
		const struct task *task = w->running[i];

		fds[i + 1] = (struct pollfd){ .fd = task->errors, .events = POLLIN };
		deadline = task->due < deadline ? task->due : deadline;
	}
	sleep_until(w, count + 1, deadline, watched);
	for (size_t i = 0; i < count; i++) {
		if (fds[i + 1].revents != 0)
			command_errors(w->running[i]);
	}
	if (fds[0].revents != 0)
		signals_read(w);
	due_all(w, lmq_deadline(0));
}
