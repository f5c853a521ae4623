/* SPDX-License-Identifier: ISC */
/*
 * settle STORE BATCH claim|lease: takes all messages out of the queue q, BATCH at a time: claims, reads and
 * acknowledges them, with claims, or with leases in a transaction of their own. Prints messages a second.
 */
#include <libmq.h>

#include "bench.h"

/* Reads the messages claimed last; leases, if there are any, get what names them. */
static size_t read_all(lmq_store *store, lmq_receiver *receiver, struct lmq_lease *leases)
{
	struct lmq_message message;
	size_t count = 0;
	int status;
	while ((status = lmq_receiver_next(receiver, &message)) == 0) {
		if (leases)
			leases[count] = (struct lmq_lease){ .channel = "q", .offset = message.offset,
				.attempt = message.attempt };
		count++;
	}
	if (status != LMQ_END)
		bench_must(status, store, "next");
	return count;
}

static void acknowledge(lmq_store *store, struct lmq_lease *leases, size_t count)
{
	bench_must(lmq_store_settle(store, leases, count, LMQ_SYNC_DEFAULT), store, "settle leases");
	for (size_t i = 0; i < count; i++)
		bench_must(leases[i].status, store, "a lease");
}

static size_t settle(lmq_store *store, lmq_receiver *receiver, struct lmq_lease *leases)
{
	size_t count;
	if (leases)
		bench_must(lmq_receiver_lease(receiver, 0, LMQ_SYNC_DEFAULT), store, "lease");
	count = read_all(store, receiver, leases);
	if (leases)
		acknowledge(store, leases, count);
	else
		bench_must(lmq_receiver_settle(receiver, count, LMQ_SYNC_DEFAULT), store, "settle");
	return count;
}

int main(int argc, char **argv)
{
	struct lmq_channel_info info;
	lmq_receiver *receiver;
	size_t total = 0, count;
	int status;
	if (argc != 4 || (strcmp(argv[3], "claim") != 0 && strcmp(argv[3], "lease") != 0))
		bench_die("settle", "STORE BATCH claim|lease");
	size_t batch = bench_number(argv[2]);
	struct lmq_lease *leases = *argv[3] == 'l' ? bench_alloc(batch, sizeof *leases) : NULL;
	lmq_store *store = bench_store(argv[1]);
	lmq_channel *queue = bench_queue(store, "q");
	bench_must(lmq_receiver_open(queue, NULL, &receiver), store, "receiver");
	int64_t began = bench_clock();
	while ((status = lmq_receiver_claim(receiver, batch, SIZE_MAX, &count)) == 0)
		total += settle(store, receiver, leases);
	if (status != LMQ_END)
		bench_must(status, store, "claim");
	int64_t ended = bench_clock();
	bench_must(lmq_channel_info(queue, &info), store, "info");
	if (info.messages)
		bench_die("settle", "something is left");
	printf("%.0f\n", (double)total * 1e9 / (double)(ended - began));
	lmq_receiver_close(receiver);
	lmq_channel_close(queue);
	lmq_store_close(store);
	free(leases);
	return 0;
}
