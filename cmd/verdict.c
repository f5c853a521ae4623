/* SPDX-License-Identifier: ISC */
/*
 * What became of a task: the meaning of the command's end, the verdicts on its messages, and the line that
 * tells of a failure.
 */
#include "exec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { REFRESH = 1000000000 };	/* ns after which properties are read again */

/* ---- meanings -------------------------------------------------------------------------------- */

static _Noreturn void bad_list(const char *option, const char *list)
{
	die_usage("%s: '%s' is not a list of exit statuses from 0 to 255, such as 1-63,70", option, list);
}

/* A number at *at, which moves behind it. */
static unsigned status_read(const char **at, const char *option, const char *list)
{
	char *end;
	unsigned long status;

	if (**at < '0' || **at > '9')
		bad_list(option, list);
	status = strtoul(*at, &end, 10);
	if (status >= STATUSES)
		bad_list(option, list);
	*at = end;
	return (unsigned)status;
}

void meanings_set(unsigned char meanings[STATUSES], const char *option, const char *list,
	enum meaning meaning)
{
	static const char *said_by[STATUSES];
	const char *at = list;

	do {
		unsigned first = status_read(&at, option, list), last = first;

		if (*at == '-' && at++)
			last = status_read(&at, option, list);
		if (last < first || (*at != '\0' && *at != ','))
			bad_list(option, list);
		for (unsigned i = first; i <= last; i++) {
			if (said_by[i] != NULL && strcmp(said_by[i], option) != 0)
				die_usage("%s: %u is in %s, too", option, i, said_by[i]);
			said_by[i] = option;
			meanings[i] = (unsigned char)meaning;
		}
	} while (*at++ == ',');
}

/* ---- judging --------------------------------------------------------------------------------- */

bool verdict_find(const struct work *work, struct task *task)
{
	static const struct { enum lmq_outcome outcome; enum lmq_reason reason; } judged[] = {
		[MEANS_ACKNOWLEDGE] = { LMQ_ACKNOWLEDGE, LMQ_REASON_NONE },
		[MEANS_STOP] = { LMQ_ACKNOWLEDGE, LMQ_REASON_NONE },
		[MEANS_RETRY] = { LMQ_RETRY, LMQ_FAILED },
		[MEANS_DEAD] = { LMQ_BURY, LMQ_REJECTED },
	};
	enum meaning meaning = MEANS_RETRY;

	if (task->refused)
		meaning = MEANS_DEAD;
	else if (WIFEXITED(task->status))
		meaning = (enum meaning)work->meanings[WEXITSTATUS(task->status)];
	else if (WIFSIGNALED(task->status))
		meaning = (enum meaning)work->meanings[(128 + WTERMSIG(task->status)) % STATUSES];
	task->outcome = judged[meaning].outcome;
	task->reason = judged[meaning].reason;
	if (task->ending == ENDS_ALONE)
		return meaning == MEANS_STOP;
	/* Whatever it answered to TERM, it was not done. */
	task->outcome = task->ending == ENDS_LATE ? LMQ_RETRY : LMQ_RETURN;
	task->reason = task->ending == ENDS_LATE ? LMQ_TIMEOUT : LMQ_REASON_NONE;
	return false;
}

void verdict_spoil(struct task *task, enum lmq_outcome outcome, const char *why)
{
	task_refuse(task, why);
	task->outcome = outcome;
	task->reason = outcome == LMQ_BURY ? LMQ_REJECTED : LMQ_FAILED;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static struct lmq_verdict *verdicts;
static size_t verdict_room;

/* What it wrote, without the newlines at the end. */
static struct lmq_bytes error_of(const struct task *task)
{
	size_t size = task->tail_size;

	while (size > 0 && task->tail[size - 1] == '\n')
		size--;
	return (struct lmq_bytes){ size > 0 ? task->tail : NULL, size };
}

static struct lmq_verdict verdict_of(const struct task *task, const struct span *span)
{
	bool ran = !task->refused;

	return (struct lmq_verdict){
		.partition = task->partition,
		.offset = span->offset,
		.count = span->count,
		.outcome = task->outcome,
		.delay = -1,
		.reason = task->reason,
		.exit_status = ran && WIFEXITED(task->status) ? WEXITSTATUS(task->status) : -1,
		.signal = ran && WIFSIGNALED(task->status) ? WTERMSIG(task->status) : 0,
		.error = error_of(task),
	};
}

struct lmq_verdict *verdicts_of(struct task *const *tasks, size_t count, size_t *verdict_count)
{
	size_t spans = 0;

	for (size_t i = 0; i < count; i++)
		spans += tasks[i]->span_count;
	if (spans > verdict_room) {
		free(verdicts);
		verdict_room = 2 * spans;
		verdicts = calloc(verdict_room, sizeof *verdicts);
		if (verdicts == NULL)
			verdict_room = 0;
	}
	*verdict_count = 0;
	for (size_t i = 0; i < count && verdicts != NULL; i++) {
		tasks[i]->verdict = *verdict_count;
		for (size_t k = 0; k < tasks[i]->span_count; k++)
			verdicts[(*verdict_count)++] = verdict_of(tasks[i], &tasks[i]->spans[k]);
	}
	return verdicts;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void limit_take(struct limits *limits, const struct lmq_property *property)
{
	if (strcmp(property->name, "max-attempts") == 0) {
		snprintf(limits->attempts, sizeof limits->attempts, "%.23s", property->value);
		limits->last_attempt = (uint32_t)strtoul(property->value, NULL, 10);	/* "none": 0 */
	} else if (strcmp(property->name, "dead") == 0) {
		snprintf(limits->dead, sizeof limits->dead, "%s", property->value);
	}
}

void limits_read(struct limits *limits, lmq_channel *channel, const char *group, int64_t now)
{
	struct lmq_property list[LMQ_PROPERTY_MAX];
	size_t count = 0;
	int status;

	if (limits->read_at != 0 && now - limits->read_at < REFRESH)
		return;
	*limits = (struct limits){ .read_at = now };
	if (group != NULL)
		status = lmq_group_properties(channel, group, list, &count);
	else
		status = lmq_channel_properties(channel, list, &count);
	if (status != 0)
		return;		/* the next call with the channel tells why */
	for (size_t i = 0; i < count; i++)
		limit_take(limits, &list[i]);
}

/* ---- telling --------------------------------------------------------------------------------- */

int subject_put(char text[SUBJECT_MAX], const struct work *work, const struct task *task)
{
	char partition[16] = "";

	if (task->partitioned)
		snprintf(partition, sizeof partition, "/%" PRIu32, task->partition);
	return snprintf(text, SUBJECT_MAX, "%s%s:%" PRIu64, work->channel, partition, task->spans[0].offset);
}

static void signal_put(char *text, size_t size, int number)
{
	const char *name = sigabbrev_np(number);

	if (name != NULL)
		snprintf(text, size, "killed by signal %d (%s)", number, name);
	else
		snprintf(text, size, "killed by signal %d", number);
}

static void cause_put(char *text, size_t size, const struct work *work, const struct task *task)
{
	char duration[LMQ_VALUE_MAX];

	if (task->refused)
		snprintf(text, size, "%.*s", (int)task->tail_size, task->tail);
	else if (task->ending == ENDS_LATE)
		snprintf(text, size, "timed out after %s", lmq_duration_format(work->timeout, duration));
	else if (WIFSIGNALED(task->status))
		signal_put(text, size, WTERMSIG(task->status));
	else
		snprintf(text, size, "exit status %d", WEXITSTATUS(task->status));
}

/* "at once", "in 250ms", "in 3.2s", "in 1h5m" */
static void delay_put(char text[LMQ_VALUE_MAX + 3], int64_t delay)
{
	int64_t second = 1000000000, millisecond = 1000000;

	if (delay < millisecond)
		strcpy(text, "at once");
	else if (delay < second)
		sprintf(text, "in %dms", (int)(delay / millisecond));
	else if (delay < 60 * second)
		sprintf(text, "in %.1fs", (double)delay / (double)second);
	else
		lmq_duration_format((delay + second / 2) / second * second, strcpy(text, "in ") + 3);
}

/* How many of its messages are dead letters now, and when the first of the others comes again. */
static uint64_t dead_count(const struct task *task, int64_t *due)
{
	uint64_t dead = 0;

	*due = INT64_MAX;
	for (size_t i = 0; i < task->span_count; i++) {
		const struct lmq_verdict *verdict = &verdicts[task->verdict + i];

		if (verdict->result == LMQ_BURY)
			dead += verdict->count;
		else if (verdict->due < *due)
			*due = verdict->due;
	}
	return dead;
}

/* "moved to jobs.dead", "again in 3.2s", "2 moved to jobs.dead, 8 again in 3.2s" */
static void result_put(char *text, size_t size, const struct work *work, const struct task *task,
	const struct limits *limits)
{
	char delay[LMQ_VALUE_MAX + 3];
	const char *dead_name = *limits->dead ? limits->dead : work->channel;
	const char *end = *limits->dead ? "" : ".dead";
	int64_t due;
	uint64_t dead = dead_count(task, &due);

	delay_put(delay, due - lmq_now());
	if (dead == task->count)
		snprintf(text, size, "moved to %s%s", dead_name, end);
	else if (dead == 0)
		snprintf(text, size, "again %s", delay);
	else
		snprintf(text, size, "%" PRIu64 " moved to %s%s, %" PRIu64 " again %s", dead,
			dead_name, end, task->count - dead, delay);
}

void verdict_tell(const struct work *work, const struct task *task, const struct limits *limits)
{
	char subject[SUBJECT_MAX + 32], cause[LMQ_ERROR_MAX + 1], result[2 * LMQ_NAME_MAX + 128];
	bool limited = limits->last_attempt > 0;
	int used;

	if (quiet)
		return;
	used = subject_put(subject, work, task);
	if (task->count > 1)
		snprintf(subject + used, sizeof subject - (size_t)used, " and %" PRIu64 " more", task->count - 1);
	if (task->outcome == LMQ_RETURN) {
		notice("%s: ended before it was done, given back", subject);
		return;
	}
	cause_put(cause, sizeof cause, work, task);
	result_put(result, sizeof result, work, task, limits);
	notice("%s: %s, attempt %" PRIu32 "%s%s, %s", subject, cause, task->spans[0].attempt,
		limited ? " of " : "", limited ? limits->attempts : "", result);
}
