/* SPDX-License-Identifier: ISC */
/*
 * A task: the messages of one run of the command, which of them there are and their bodies.
 *
 * Bodies lie in a file in memory, which becomes the command's stdin: nobody has to feed a pipe, and a
 * command that does not read is no special case.
 */
#include "exec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the messages ---------------------------------------------------------------------------- */

/* Adds a message to the spans. */
static int span_add(struct task *task, const struct lmq_message *message)
{
	struct span *last = task->span_count > 0 ? &task->spans[task->span_count - 1] : NULL;

	task->count++;
	if (last != NULL && last->offset + last->count == message->offset &&
	    last->attempt == message->attempt) {
		last->count++;
		return 0;
	}
	if (task->span_count == task->span_room) {
		size_t room = 2 * task->span_room + 1;
		struct span *more = realloc(task->spans, room * sizeof *more);

		if (more == NULL)
			return TASK_LACKS;
		task->spans = more;
		task->span_room = room;
	}
	task->spans[task->span_count++] = (struct span){ message->offset, 1, message->attempt };
	return 0;
}

void task_begin(const struct task *task, lmq_receiver *receiver)
{
	for (size_t i = 0; i < task->span_count; i++) {
		const struct span *span = &task->spans[i];

		lmq_receiver_begin(receiver, task->partition, span->offset, span->count, span->attempt);
	}
}

void task_return(const struct task *task, lmq_receiver *receiver)
{
	for (size_t i = 0; i < task->span_count; i++)
		lmq_receiver_return(receiver, task->partition, task->spans[i].offset, task->spans[i].count);
}

void task_refuse(struct task *task, const char *why)
{
	size_t size = strlen(why);

	task->refused = true;
	task->tail_size = size < sizeof task->tail ? size : sizeof task->tail;
	memcpy(task->tail, why, task->tail_size);
}

static void descriptor_close(int *descriptor)
{
	if (*descriptor >= 0)
		close(*descriptor);
	*descriptor = -1;
}

void task_empty(struct task *task)
{
	descriptor_close(&task->input);
	descriptor_close(&task->output);
	descriptor_close(&task->errors);
	task->span_count = task->count = task->tail_size = 0;
	task->lingers = task->refused = false;
	task->ending = ENDS_ALONE;
	task->due = LMQ_FOREVER;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* Bytes on their way into the file: those of many small bodies go there together. */
static struct {
	int descriptor;
	off_t at;
	size_t used;
	char bytes[64 << 10];
} stage;

static int stage_write(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t done = pwrite(stage.descriptor, data, size, stage.at);

		if (done < 0 && errno != EINTR)
			return TASK_LACKS;
		if (done < 0)
			continue;
		stage.at += done;
		data += done;
		size -= (size_t)done;
	}
	return 0;
}

static int stage_flush(void)
{
	size_t size = stage.used;

	stage.used = 0;
	return stage_write(stage.bytes, size);
}

static int stage_add(const char *data, size_t size)
{
	int status = 0;

	if (size > sizeof stage.bytes - stage.used)
		status = stage_flush();
	if (status != 0 || size > sizeof stage.bytes)
		return status != 0 ? status : stage_write(data, size);
	memcpy(stage.bytes + stage.used, data, size);
	stage.used += size;
	return 0;
}

static int body_add(const struct lmq_message *message, lmq_receiver *receiver)
{
	struct lmq_bytes piece = message->body;
	uint64_t at = 0;
	int status;

	if (piece.data != NULL)
		return stage_add(piece.data, piece.size);
	while (at < message->body.size) {
		status = lmq_receiver_body(receiver, at, &piece);
		if (status == 0)
			status = stage_add(piece.data, piece.size);
		if (status != 0 || piece.size == 0)
			return status;
		at += piece.size;
	}
	return 0;
}

static int input_make(struct task *task)
{
	task->input = memfd_create("messages", MFD_CLOEXEC);
	stage.descriptor = task->input;
	stage.at = 0;
	stage.used = 0;
	return task->input < 0 ? TASK_LACKS : 0;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* What the first message decides: the variables, and with -I the arguments. */
static int first_take(struct task *task, const struct taking *taking, const struct lmq_message *message)
{
	const struct work *work = taking->work;
	const char *why = NULL;
	int status = 0;

	task->partition = message->partition;
	task->partitioned = taking->partitioned;
	task->arguments = work->command;
	if (work->replace == NULL)
		status = input_make(task);
	if (status == 0)
		task->variables = variables_for(message, taking->partitioned, taking->last_attempt_text);
	if (status != 0 || work->replace == NULL)
		return status;
	task->arguments = arguments_for(work, message, taking->receiver, &why, &status);
	if (status == 0 && task->arguments == NULL)
		task_refuse(task, why);
	return status;
}

static int message_take(struct task *task, const struct taking *taking, const struct lmq_message *message)
{
	bool first = task->count == 0;
	int status = span_add(task, message);

	if (status == 0 && first)
		status = first_take(task, taking, message);
	if (status == 0 && taking->work->replace == NULL)
		status = body_add(message, taking->receiver);
	if (status == 0 && taking->work->batch > 1)
		status = stage_add("\n", 1);
	return status;
}

/* Messages of a claim that are not for this run. */
static void rest_return(const struct taking *taking)
{
	struct lmq_message message;

	while (lmq_receiver_next(taking->receiver, &message) == 0)
		lmq_receiver_return(taking->receiver, message.partition, message.offset, 1);
}

/* Takes from a claim of count messages what is for one run. */
static int messages_take(struct task *task, const struct taking *taking, size_t count, bool *alone)
{
	struct lmq_message message;
	int status = 0;

	for (size_t i = 0; i < count && status == 0; i++) {
		bool last;

		status = lmq_receiver_next(taking->receiver, &message);
		if (status != 0)
			break;
		last = message.attempt > 1 && message.attempt == taking->last_attempt;
		if (task->count > 0 && (*alone || last)) {
			lmq_receiver_return(taking->receiver, message.partition, message.offset, 1);
			continue;
		}
		*alone = last;
		status = message_take(task, taking, &message);
	}
	return status;
}

int task_take(struct task *task, const struct taking *taking, size_t count, bool *alone)
{
	int status, error;

	*alone = false;
	status = messages_take(task, taking, count, alone);
	if (status == LMQ_END && task->count > 0)	/* fewer than were claimed, rarely */
		status = 0;
	if (status == 0)
		status = stage_flush();
	if (status == 0 && taking->work->batch > 1)
		variables_count(task->count);
	error = errno;
	if (status == TASK_LACKS)
		rest_return(taking);
	if (status != 0)
		task_return(task, taking->receiver);
	lmq_receiver_pause(taking->receiver);
	errno = error;
	return status;
}
