/* SPDX-License-Identifier: ISC */
/*
 * fill STORE single COUNT SIZE: puts COUNT messages of SIZE bytes into the queue q, each with a commit of
 * its own, sync=relaxed. fill STORE channels COUNT: creates the queues q1 to qCOUNT. fill STORE groups COUNT NAME:
 * creates the groups g1 to gCOUNT of that topic or stream. fill STORE keyed COUNT KEYS: publishes COUNT messages of
 * 100 bytes to the stream s, with KEYS keys in turn, in large transactions.
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

/* What is made one by one is not worth a wait for the disk each. */
static void relax(lmq_store *store, bool relaxed)
{
	const char *property = relaxed ? "sync=relaxed" : "sync=full";
	bench_must(lmq_store_make(store, &property, 1, NULL, NULL), store, property);
}

static void channels(lmq_store *store, size_t count)
{
	char name[32];
	for (size_t i = 1; i <= count; i++) {
		snprintf(name, sizeof name, "q%zu", i);
		lmq_channel_close(bench_queue(store, name));
	}
}

static void groups(lmq_store *store, size_t count, const char *name)
{
	lmq_channel *channel = bench_channel(store, name, LMQ_ANY);
	char group[32];
	bool created;
	for (size_t i = 1; i <= count; i++) {
		snprintf(group, sizeof group, "g%zu", i);
		bench_must(lmq_group_make(channel, group, LMQ_SEEK_FIRST, 0, NULL, 0, &created, NULL, NULL), store,
			group);
	}
	lmq_channel_close(channel);
}

static void add(lmq_store *store, lmq_writer *writer, lmq_channel *stream, const struct lmq_message *message)
{
	int status = lmq_writer_add(writer, stream, message);
	if (status == LMQ_ELIMIT) {
		bench_must(lmq_writer_commit(writer), store, "commit");
		status = lmq_writer_add(writer, stream, message);
	}
	bench_must(status, store, "add");
}

static void keyed(lmq_store *store, size_t count, size_t keys)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	lmq_channel *stream = bench_channel(store, "s", LMQ_STREAM);
	lmq_writer *writer;
	char body[101], key[24];
	bench_must(lmq_writer_open(store, LMQ_SYNC_FULL, &writer), store, "writer");
	for (size_t i = 0; i < count; i++) {
		snprintf(body, sizeof body, "%0100zu", i);
		message.body = (struct lmq_bytes){ body, 100 };
		message.key = (struct lmq_bytes){ key, (size_t)snprintf(key, sizeof key, "k%zu", i % keys) };
		add(store, writer, stream, &message);
	}
	bench_must(lmq_writer_commit(writer), store, "commit");
	lmq_writer_close(writer);
	lmq_channel_close(stream);
}

int main(int argc, char **argv)
{
	const char *what = argc >= 4 ? argv[2] : "";
	size_t count = argc >= 4 ? bench_number(argv[3]) : 0;
	lmq_store *store = argc >= 4 ? bench_store(argv[1]) : NULL;
	bool relaxed = strcmp(what, "channels") == 0 || strcmp(what, "groups") == 0;
	if (relaxed)
		relax(store, true);
	if (argc == 5 && strcmp(what, "single") == 0)
		single(store, count, bench_number(argv[4]));
	else if (argc == 4 && strcmp(what, "channels") == 0)
		channels(store, count);
	else if (argc == 5 && strcmp(what, "groups") == 0)
		groups(store, count, argv[4]);
	else if (argc == 5 && strcmp(what, "keyed") == 0)
		keyed(store, count, bench_number(argv[4]));
	else
		bench_die("fill", "STORE single COUNT SIZE, channels COUNT, groups COUNT NAME or keyed COUNT KEYS");
	if (relaxed)
		relax(store, false);
	lmq_store_close(store);
	return 0;
}
