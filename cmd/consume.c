/* SPDX-License-Identifier: ISC */
/*
 * What mq-recv and mq-sub -g do with the messages of a receiver: claim, write, flush, settle, by the batch.
 *
 * In this order a crash gives a duplicate, never a loss. Only messages whose last byte was taken by stdout are
 * settled; the rest of a claim goes back. Where leases are made the order is claim, lease, write, flush: a receipt
 * that somebody reads is good. What nobody could read goes back too.
 */
#include "cmd.h"
#include "output.h"
#include "reading.h"

#include <stdlib.h>

enum {
	BATCH_BEGIN = 64,
	BATCH_MOST = 65536,
	BATCH_LEASED = 1024,	/* where nobody knows how many will be read before the leases run out */
	BATCH_BYTES = 8 << 20,
	MILLISECOND = 1000000,
};

int64_t lease_argument(const char *argument)
{
	int64_t lease = argument_duration("--lease", argument);

	if (lease < MILLISECOND)
		die_usage("--lease: '%s' is shorter than 1ms", argument);
	return lease;
}

void consumer_start(struct consumer *consumer, lmq_receiver *receiver)
{
	consumer->receiver = receiver;
	consumer->source = receiver_source(receiver);
	consumer->batch = BATCH_BEGIN;
}

/* ---- leases ------------------------------------------------------------------------------------ */

/* The leases of the present batch, in the order of its messages. */
static struct lmq_lease *leases;
static size_t leased;

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

static void lease_note(const struct consumer *consumer, const struct lmq_message *message)
{
	leases[leased++] = (struct lmq_lease){
		.channel = consumer->form->channel,
		.group = consumer->form->group,
		.partition = message->partition,
		.offset = message->offset,
		.attempt = message->delivery,
		.outcome = LMQ_RETURN,
	};
}

/* Gives back what was leased and not written: nobody has seen its receipt. Not counted as an attempt. */
static int leases_return(struct consumer *consumer, size_t written)
{
	struct lmq_message message;

	while (lmq_receiver_next(consumer->receiver, &message) == 0)
		lease_note(consumer, &message);
	lmq_receiver_pause(consumer->receiver);
	if (leased == written)
		return 0;
	return lmq_store_settle(consumer->store, leases + written, leased - written, consumer->sync);
}

/* Makes leases of what was claimed, and room to remember them. */
static int lease_all(struct consumer *consumer, size_t count)
{
	int status;

	leases_clear(count);
	status = lmq_receiver_lease(consumer->receiver, consumer->lease, consumer->sync);
	if (status != 0)
		lmq_receiver_release(consumer->receiver);
	return status;
}

/* ---- delivering -------------------------------------------------------------------------------- */

/* Writes claimed messages, at most count of them, until something is wrong or a signal came. */
static int write_messages(struct consumer *consumer, size_t count)
{
	struct lmq_message message;

	for (size_t i = 0; i < count && !interrupted; i++) {
		int status = lmq_receiver_next(consumer->receiver, &message);

		if (status == LMQ_END)	/* fewer than were claimed, rarely; see libmq.h */
			return 0;
		if (status == 0 && consumer->lease > 0)
			lease_note(consumer, &message);
		if (status == 0)
			status = form_write(consumer->form, &message, &consumer->source);
		if (status != 0)
			return status;
	}
	return 0;
}

/* Settles the first done of count messages, or leaves them to their leases; the rest goes back. */
static int settle(struct consumer *consumer, size_t done, size_t count)
{
	int settled = 0;

	if (consumer->lease > 0)
		return done < count ? leases_return(consumer, done) : 0;
	if (done > 0)
		settled = lmq_receiver_settle(consumer->receiver, done, consumer->sync);
	if (done < count || settled != 0)
		lmq_receiver_release(consumer->receiver);
	return settled;
}

/* Writes what was claimed and settles what stdout has taken. */
static int deliver(struct consumer *consumer, size_t count, uint64_t *taken)
{
	uint64_t before = output_completed();
	int status = write_messages(consumer, count), settled;
	bool whole = true;
	size_t done;

	if (status != 0 && status != OUTPUT_FAILED)
		whole = output_take_back();
	if (output_flush() != 0)
		status = OUTPUT_FAILED;
	done = (size_t)(output_completed() - before);
	*taken += done;
	settled = settle(consumer, done, count);
	if (status == OUTPUT_FAILED && settled == 0)
		output_die();
	if (!whole)	/* a part of a message is out: nothing may follow it */
		die_store(consumer->store, status);
	return settled != 0 ? settled : status;
}

/* Large batches are fast; small ones leave something for the others while stdout is slow. */
static void batch_adapt(struct consumer *consumer, size_t count, int64_t took)
{
	size_t most = consumer->unhurried ? BATCH_LEASED : BATCH_MOST;

	if (took > 100 * MILLISECOND && consumer->batch > 1)
		consumer->batch /= 2;
	else if (took < 20 * MILLISECOND && count == consumer->batch && consumer->batch < most)
		consumer->batch *= 2;
}

int consumer_receive(struct consumer *consumer, uint64_t most, uint64_t *taken)
{
	size_t wanted = most < consumer->batch ? (size_t)most : consumer->batch, count = 0;
	int64_t start = lmq_deadline(0);
	int status = lmq_receiver_claim(consumer->receiver, wanted, BATCH_BYTES, &count);

	if (status == 0 && consumer->lease > 0)
		status = lease_all(consumer, count);
	if (status != 0)
		return status;
	output_source(&consumer->source);
	status = deliver(consumer, count, taken);
	output_source(NULL);
	if (status == 0)
		batch_adapt(consumer, count, lmq_deadline(0) - start);
	return status;
}
