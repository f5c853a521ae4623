/* SPDX-License-Identifier: ISC */
/*
 * What commands write to stdout becomes messages of another channel (--to), in the transaction that
 * acknowledges what they worked on.
 *
 * A command writes into a file in memory, which is read when it has succeeded: nothing of a run that fails
 * is ever stored. The file is kept until the transaction is through, so that it can be read again should
 * it fail.
 */
#include "exec.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
	const struct work *work;
	lmq_store *store;
	lmq_channel *channel;
	lmq_writer *writer;
	char fault[LMQ_ERROR_MAX];	/* why the output at hand is no good */
} product;

/* ---- the channel ----------------------------------------------------------------------------- */

/* The channel as it is, or a new queue. */
static void channel_get(void)
{
	int status = lmq_channel_open(product.store, product.work->to, LMQ_ANY, 0, &product.channel);

	if (status == LMQ_ENOENT && !product.work->no_create)
		product.channel = channel_open(product.store, product.work->to, LMQ_QUEUE, LMQ_CREATE);
	else if (status != 0)
		die_store(product.store, status);
}

void product_open(const struct work *work, lmq_store *store)
{
	int status;

	if (work->to == NULL)
		return;
	product.work = work;
	product.store = store;
	channel_get();
	status = lmq_writer_open(store, work->sync, &product.writer);
	if (status != 0)
		die_store(store, status);
}

void product_close(void)
{
	lmq_writer_close(product.writer);
	lmq_channel_close(product.channel);
	product.writer = NULL;
	product.channel = NULL;
}

lmq_channel *product_channel(void)
{
	return product.channel;
}

lmq_writer *product_writer(void)
{
	return product.writer;
}

int product_file(void)
{
	return memfd_create("output", MFD_CLOEXEC);
}

bool product_reopen(void)
{
	struct lmq_channel_info info;

	if (product.channel == NULL || lmq_channel_info(product.channel, &info) != LMQ_EGONE)
		return false;
	lmq_writer_discard(product.writer);
	lmq_channel_close(product.channel);
	product.channel = NULL;
	channel_get();
	return true;
}

/* ---- one output ------------------------------------------------------------------------------ */

static int fault(const char *unit, uint64_t number, const char *what)
{
	if (number > 0)
		snprintf(product.fault, sizeof product.fault, "output %s %" PRIu64 ": %s", unit, number,
			what);
	else
		snprintf(product.fault, sizeof product.fault, "output: %s", what);
	return LMQ_EDATA;
}

static bool is_blank(const char *line, size_t size)
{
	while (size > 0 && line[size - 1] != '\0' && strchr(" \t\r", line[size - 1]) != NULL)
		size--;
	return size == 0;
}

static int message_add(enum input_kind kind, uint64_t number, char *data, size_t size)
{
	static struct envelope envelope;
	struct lmq_message message = LMQ_MESSAGE_INIT;

	if (kind != INPUT_JSON) {
		message.body = (struct lmq_bytes){ data, size };
		return lmq_writer_add(product.writer, product.channel, &message);
	}
	if (is_blank(data, size))
		return 0;
	if (!envelope_read(&envelope, data, size, &message))
		return fault("line", number, envelope.error);
	return lmq_writer_add(product.writer, product.channel, &envelope.message);
}

static int piece_add(bool first, bool last, const char *data, size_t size)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	int status = 0;

	if (first)
		status = lmq_writer_begin(product.writer, product.channel, &message);
	if (status == 0)
		status = lmq_writer_write(product.writer, data, size);
	if (status == 0 && last)
		status = lmq_writer_end(product.writer);
	return status;
}

/* Adds what the input holds; *number gets the number of the message at which it ended. */
static int input_add(struct input *input, uint64_t *number)
{
	bool within = false;
	char *data;
	size_t size;
	int status = 0;

	while (status == 0) {
		int event = input_next(input, &data, &size);

		*number += !within && input->kind != INPUT_RAW;
		switch (event) {
		case INPUT_MESSAGE:
			status = message_add(input->kind, *number, data, size);
			break;
		case INPUT_PART:
		case INPUT_LAST:
			status = piece_add(!within, event == INPUT_LAST, data, size);
			within = event == INPUT_PART;
			break;
		case INPUT_LONG:
			return fault("line", *number, "longer than an envelope may be");
		case INPUT_END:
			return 0;
		default:	/* a file in memory does neither pause nor fail, unless memory is out */
			return LMQ_ENOMEM;
		}
	}
	return status;
}

/* Adds what the task wrote. LMQ_EDATA and LMQ_ELIMIT: product.fault tells what is wrong with it. */
static int output_add(const struct task *task)
{
	struct input input = product.work->framing;
	const char *unit = input.kind == INPUT_DELIMITER ? "message" : "line";
	uint64_t number = 0;
	int status;

	if (lseek(task->output, 0, SEEK_END) == 0 && input.kind != INPUT_RAW)
		return 0;
	lseek(task->output, 0, SEEK_SET);
	if (!input_open(&input, task->output))
		return LMQ_ENOMEM;
	*product.fault = '\0';
	status = input_add(&input, &number);
	input_close(&input);
	if (status == LMQ_EDATA && *product.fault == '\0')
		fault(unit, number, lmq_error(product.store));
	if (status == LMQ_ELIMIT)
		fault(unit, 0, "larger than one transaction takes");
	return status;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool has_output(const struct task *task)
{
	return task->output >= 0 && task->outcome == LMQ_ACKNOWLEDGE;
}

/*
 * What cannot be added behind others may be so alone, or be at fault: they are committed without it, and
 * then it is the first.
 */
int product_gather(struct task *const *tasks, size_t *count)
{
	size_t most = *count;

	if (product.writer == NULL)
		return 0;
	lmq_writer_discard(product.writer);
	for (size_t i = 0; i < most; i++) {
		int status = has_output(tasks[i]) ? output_add(tasks[i]) : 0;

		if (status == 0)
			continue;
		lmq_writer_abandon(product.writer);
		lmq_writer_discard(product.writer);
		if (status != LMQ_EDATA && status != LMQ_ELIMIT)
			return status;
		if (i == 0)
			verdict_spoil(tasks[0], status == LMQ_ELIMIT ? LMQ_BURY : LMQ_RETRY, product.fault);
		else
			most = i;
		i = (size_t)-1;		/* from the first one on */
	}
	*count = most;
	return 0;
}
