/* SPDX-License-Identifier: ISC */
/*
 * fill STORE single COUNT SIZE: puts COUNT messages of SIZE bytes into the queue q, each with a commit of
 * its own, sync=relaxed. fill STORE channels COUNT: creates the queues q1 to qCOUNT.
 */
#include <libmq.h>

#include "bench.h"

static void single(lmq_store *store, size_t count, size_t size)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	lmq_channel *queue = bench_queue(store, "q");
	lmq_writer *writer;
	char *body = bench_alloc(size, 1);
	memset(body, 'x', size);
	message.body = (struct lmq_bytes){ body, size };
	bench_must(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer), store, "writer");
	for (size_t i = 0; i < count; i++) {
		bench_must(lmq_writer_add(writer, queue, &message), store, "add");
		bench_must(lmq_writer_commit(writer), store, "commit");
	}
	lmq_writer_close(writer);
	lmq_channel_close(queue);
	free(body);
}

static void channels(lmq_store *store, size_t count)
{
	static const char *const relaxed[] = { "sync=relaxed" }, *const full[] = { "sync=full" };
	char name[32];
	bench_must(lmq_store_make(store, relaxed, 1, NULL, NULL), store, "sync=relaxed");
	for (size_t i = 1; i <= count; i++) {
		snprintf(name, sizeof name, "q%zu", i);
		lmq_channel_close(bench_queue(store, name));
	}
	bench_must(lmq_store_make(store, full, 1, NULL, NULL), store, "sync=full");
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[2], "single") == 0) {
		lmq_store *store = bench_store(argv[1]);
		single(store, bench_number(argv[3]), bench_number(argv[4]));
		lmq_store_close(store);
	} else if (argc == 4 && strcmp(argv[2], "channels") == 0) {
		lmq_store *store = bench_store(argv[1]);
		channels(store, bench_number(argv[3]));
		lmq_store_close(store);
	} else {
		bench_die("fill", "STORE single COUNT SIZE, or STORE channels COUNT");
	}
	return 0;
}
