/* SPDX-License-Identifier: ISC */
/*
 * mq-recv: takes messages from a queue.
 *
 * The order of acts is write, flush, settle: a crash in between gives a duplicate, never a loss. Only
 * messages whose last byte was taken by stdout are settled; the rest of a claim goes back. With --lease the
 * order is lease, write, flush: a receipt that somebody reads is good. What nobody could read goes back too.
 */
#include "cmd.h"

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

enum {
	BATCH_BEGIN = 64,
	BATCH_MOST = 65536,
	BATCH_LEASED = 1024,	/* where nobody knows how many will be read before the leases run out */
	BATCH_BYTES = 8 << 20,
	MILLISECOND = 1000000,
};

static struct selection selection = { .count = UINT64_MAX, .wait = -1 };
static struct form form = { .delivery = true };
static int64_t lease;				/* -l; 0: acknowledge */
static const char *consumer;
static enum lmq_sync durability;		/* of the acknowledgements */

static const char *name;
static lmq_store *store;
static lmq_watch *watch;		/* NULL: we do not wait */
static lmq_channel *queue;
static lmq_receiver *receiver;
static struct body_source source;

static int64_t deadline = -1;		/* for the next message; -1: does not run yet */
static uint64_t taken;
static size_t batch = BATCH_BEGIN, batch_most = BATCH_MOST;

/* The leases of a batch, in the order of its messages. */
static struct lmq_lease *leases;
static size_t leased;

static void handle(int key, char *argument)
{
	if (key == 'l')
		lease = argument_duration("--lease", argument);
	if (key == 'l' && lease < MILLISECOND)
		die_usage("--lease: '%s' is shorter than 1ms", argument);
	if (key == 'c')
		consumer = consumer_name(argument);
	else if (!selection_option(&selection, key, argument))
		form_option(&form, key, argument);
}

/* What was not said follows from what was. */
static void settle_options(void)
{
	if (!selection.count_set)
		selection.count = selection.drain || selection.follow ? UINT64_MAX : 1;
	if (selection.wait < 0)
		selection.wait = selection.follow ? LMQ_FOREVER : 0;
	if (lease > 0 && !selection.drain && !selection.count_set)
		batch_most = BATCH_LEASED;
	if (consumer == NULL)
		consumer = consumer_name(NULL);
	durability = sync_environment();
	form.channel = name;
	form_ready(&form);
}

/* Opens the queue, waiting for it where we wait. LMQ_ETIME, LMQ_EINTR. */
static int queue_open(void)
{
	const struct lmq_receiver_options receiving = {
		.size = sizeof receiving,
		.filter = selection.filter,
		.consumer = consumer,
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
	if (status != 0)
		return status;
	source = receiver_source(receiver);
	output_source(&source);
	return 0;
}

static void queue_close(void)
{
	output_source(NULL);
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

	store = store_open(waits ? LMQ_CREATE : 0);
	if (waits)
		status = lmq_watch_open(store, &watch);
	if (status != 0)
		die_store(store, status);
	interrupt_catch(watch);
}

/* ---- leases ------------------------------------------------------------------------------------ */

static void leases_clear(size_t room)
{
	static size_t had;

	leased = 0;
	if (room <= had)
		return;
	free(leases);
	had = room;
	leases = calloc(room, sizeof *leases);
	if (leases == NULL)
		die(EXIT_SYSTEM, "out of memory");
}

static void lease_note(const struct lmq_message *message)
{
	leases[leased++] = (struct lmq_lease){
		.channel = name,
		.partition = message->partition,
		.offset = message->offset,
		.attempt = message->delivery,
		.outcome = LMQ_RETURN,
	};
}

/* Gives back what was leased and not written: nobody has seen its receipt. Not counted as an attempt. */
static int leases_return(size_t written)
{
	struct lmq_message message;

	while (lmq_receiver_next(receiver, &message) == 0)
		lease_note(&message);
	lmq_receiver_pause(receiver);
	if (leased == written)
		return 0;
	return lmq_store_settle(store, leases + written, leased - written, durability);
}

/* Makes leases of what was claimed, and room to remember them. */
static int lease_all(size_t count)
{
	int status;

	leases_clear(count);
	status = lmq_receiver_lease(receiver, lease, durability);
	if (status != 0)
		lmq_receiver_release(receiver);
	return status;
}

/* ---- delivering -------------------------------------------------------------------------------- */

/* Writes claimed messages, at most count of them, until something is wrong or a signal came. */
static int write_messages(size_t count)
{
	struct lmq_message message;

	for (size_t i = 0; i < count && !interrupted; i++) {
		int status = lmq_receiver_next(receiver, &message);

		if (status == LMQ_END)	/* fewer than were claimed, rarely; see libmq.h */
			return 0;
		if (status == 0 && lease > 0)
			lease_note(&message);
		if (status == 0)
			status = form_write(&form, &message, &source);
		if (status != 0)
			return status;
	}
	return 0;
}

/* Settles the first done of count messages, or leaves them to their leases; the rest goes back. */
static int settle(size_t done, size_t count)
{
	int settled = 0;

	taken += done;
	if (done > 0)
		deadline = -1;
	if (lease > 0)
		return done < count ? leases_return(done) : 0;
	if (done > 0)
		settled = lmq_receiver_settle(receiver, done, durability);
	if (done < count || settled != 0)
		lmq_receiver_release(receiver);
	return settled;
}

/* Writes what was claimed and settles what stdout has taken. */
static int deliver(size_t count)
{
	uint64_t before = output_completed();
	int status = write_messages(count), settled;
	bool whole = true;

	if (status != 0 && status != OUTPUT_FAILED)
		whole = output_take_back();
	if (output_flush() != 0)
		status = OUTPUT_FAILED;
	settled = settle((size_t)(output_completed() - before), count);
	if (status == OUTPUT_FAILED && settled == 0)
		output_die();
	if (!whole)	/* a part of a message is out: nothing may follow it */
		die_store(store, status);
	return settled != 0 ? settled : status;
}

/* Large batches are fast; small ones leave something for the others while stdout is slow. */
static void batch_adapt(size_t count, int64_t took)
{
	if (took > 100 * MILLISECOND && batch > 1)
		batch /= 2;
	else if (took < 20 * MILLISECOND && count == batch && batch < batch_most)
		batch *= 2;
}

/* Claims and delivers once. LMQ_END: nothing is ready. */
static int receive(void)
{
	uint64_t left = selection.count - taken;
	size_t most = left < batch ? (size_t)left : batch, count = 0;
	int64_t start = lmq_deadline(0);
	int status;

	if (watch != NULL)
		lmq_watch_arm(watch);
	status = lmq_receiver_claim(receiver, most, BATCH_BYTES, &count);
	if (status == 0 && lease > 0)
		status = lease_all(count);
	if (status == 0)
		status = deliver(count);
	if (status == 0)
		batch_adapt(count, lmq_deadline(0) - start);
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
