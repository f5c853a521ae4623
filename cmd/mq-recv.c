/* SPDX-License-Identifier: ISC */
/*
 * mq-recv: takes messages from a queue.
 *
 * What is done with them is in consume.c; here is which queue they come from, and how long to wait for it and
 * for them.
 */
#include "cmd.h"
#include "output.h"
#include "reading.h"

#include <stdlib.h>

static const struct option_row options[] = {
	SELECTION_OPTIONS,
	{ 'l', "lease", "D", "keep the messages leased for D, see mq-ack(1)" },
	{ 'c', "consumer", "C", "this reader's name in listings" },
	FORM_OPTIONS,
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-recv jobs                    # one message, or exit 1",
	"mq-recv -w 10s -j jobs          # wait for one, as JSON",
	"mq-recv -f jobs | while read -r job; do echo \"$job\"; done",
	NULL,
};

static const struct tool tool = {
	.name = "mq-recv",
	.synopsis = "mq-recv [OPTION]... QUEUE",
	.purpose = "Take messages from a queue, and print them.",
	.options = options,
	.examples = examples,
};

static struct selection selection = { .count = UINT64_MAX, .wait = -1 };
static struct form form = { .delivery = true };
static struct consumer consumer = { .form = &form };
static const char *consumer_called;	/* -c */

static const char *name;
static lmq_store *store;
static lmq_watch *watch;		/* NULL: we do not wait */
static lmq_channel *queue;
static lmq_receiver *receiver;

static int64_t deadline = -1;		/* for the next message; -1: does not run yet */
static uint64_t taken;

static void handle(int key, char *argument)
{
	if (key == 'l')
		consumer.lease = lease_argument(argument);
	else if (key == 'c')
		consumer_called = consumer_name(argument);
	else if (!selection_option(&selection, key, argument))
		form_option(&form, key, argument);
}

/* What was not said follows from what was. */
static void settle_options(void)
{
	consumer.unhurried = consumer.lease > 0 && !selection.drain && !selection.count_set;
	if (!selection.count_set)
		selection.count = selection.drain || selection.follow ? UINT64_MAX : 1;
	if (selection.wait < 0)
		selection.wait = selection.follow ? LMQ_FOREVER : 0;
	if (consumer_called == NULL)
		consumer_called = consumer_name(NULL);
	consumer.sync = sync_environment();
	form.channel = name;
	form_ready(&form);
}

/* Opens the queue, waiting for it where we wait. LMQ_ETIME, LMQ_EINTR. */
static int queue_open(void)
{
	const struct lmq_receiver_options receiving = {
		.size = sizeof receiving,
		.filter = selection.filter,
		.consumer = consumer_called,
	};
	int status = 0;

	if (deadline < 0)
		deadline = lmq_deadline(selection.wait);
	if (watch == NULL)
		queue = channel_open(store, name, LMQ_QUEUE, 0);
	else
		status = channel_await(store, name, LMQ_QUEUE, watch, deadline, &queue);
	if (status == 0)
		status = lmq_receiver_open(queue, &receiving, &receiver);
	if (status == 0 && watch != NULL)
		status = lmq_watch_receiver(watch, receiver);
	if (status == 0)
		consumer_start(&consumer, receiver);
	return status;
}

static void queue_close(void)
{
	if (watch != NULL)
		lmq_watch_receiver(watch, NULL);
	lmq_receiver_close(receiver);
	receiver = NULL;
	lmq_channel_close(queue);
	queue = NULL;
}

static void open_all(void)
{
	bool waits = selection.wait > 0;
	int status = 0;

	store = consumer.store = store_open(waits ? LMQ_CREATE : 0);
	if (waits)
		status = lmq_watch_open(store, &watch);
	if (status != 0)
		die_store(store, status);
	interrupt_catch(watch);
}

/* Claims and delivers once. LMQ_END: nothing is ready. */
static int receive(void)
{
	uint64_t before = taken;
	int status;

	if (watch != NULL)
		lmq_watch_arm(watch);
	status = consumer_receive(&consumer, selection.count - taken, &taken);
	if (taken > before)
		deadline = -1;
	return status;
}

/* After nothing was ready. 0: look again. */
static int wait_for_more(void)
{
	if (watch == NULL)
		return LMQ_END;
	if (deadline < 0)
		deadline = lmq_deadline(selection.wait);
	output_check_reader();
	return lmq_watch_wait(watch, deadline);
}

/* Receives until there is a reason to stop; returns it. */
static int receive_all(void)
{
	int status = queue_open();

	while (status == 0 && taken < selection.count && !interrupted) {
		status = receive();
		if (status == LMQ_END)
			status = wait_for_more();
		if (status == LMQ_EINTR && !interrupted)
			status = 0;
		if (status == LMQ_EGONE && watch != NULL) {
			queue_close();
			status = queue_open();
		}
	}
	return status;
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status;

	name = only_operand(argc, argv, first, "queue");
	settle_options();
	open_all();
	status = receive_all();
	if (status != 0 && status != LMQ_END && status != LMQ_ETIME && status != LMQ_EINTR)
		die_store(store, status);
	queue_close();
	lmq_watch_close(watch);
	lmq_store_close(store);
	lmq_filter_close(selection.filter);
	if (interrupted)
		die_by_signal(interrupted);
	finish(taken > 0 ? EXIT_SUCCESS : EXIT_NOTHING);
}
