/* SPDX-License-Identifier: ISC */
/*
 * fall STORE trim|PROPERTY=VALUE: lets all messages of the stream s but a few go: trims them, or gives the stream that
 * limit and publishes single messages until nothing is left to drop. Prints, in microseconds, the longest call and the
 * median. A call is at least one transaction, so that none holds the writer lock for longer.
 */
#include <libmq.h>

#include "bench.h"

enum { CALLS_MAX = 1 << 20 };

struct calls {
	int64_t *took;
	size_t count;
};

static void note(struct calls *c, int64_t took)
{
	if (c->count == CALLS_MAX)
		bench_die("fall", "there is no end of it");
	c->took[c->count++] = took;
}

static void trim(lmq_store *store, lmq_channel *stream, struct calls *c)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	what.all = true;
	bench_must(lmq_channel_trim_bound(stream, &what), store, "bound");
	for (bool more = true; more;) {
		int64_t began = bench_clock();
		bench_must(lmq_channel_trim(stream, &what, &at, &dropped, &more), store, "trim");
		note(c, bench_clock() - began);
	}
}

static uint64_t stored(lmq_store *store, lmq_channel *stream)
{
	struct lmq_channel_info info;
	bench_must(lmq_channel_info(stream, &info), store, "info");
	return info.messages;
}

/* Until a message more does not make them fewer. */
static void publish(lmq_store *store, lmq_channel *stream, struct calls *c)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	lmq_writer *writer;
	uint64_t before = UINT64_MAX, now;
	message.body = (struct lmq_bytes){ "x", 1 };
	bench_must(lmq_writer_open(store, LMQ_SYNC_DEFAULT, &writer), store, "writer");
	while ((now = stored(store, stream)) < before) {
		int64_t began;
		before = now;
		bench_must(lmq_writer_add(writer, stream, &message), store, "add");
		began = bench_clock();
		bench_must(lmq_writer_commit(writer), store, "commit");
		note(c, bench_clock() - began);
	}
	lmq_writer_close(writer);
}

int main(int argc, char **argv)
{
	struct calls c = { .count = 0 };
	bool created;
	if (argc != 3)
		bench_die("fall", "STORE trim|PROPERTY=VALUE");
	const char *limit = argv[2];
	c.took = bench_alloc(CALLS_MAX, sizeof *c.took);
	lmq_store *store = bench_store(argv[1]);
	lmq_channel *stream = bench_channel(store, "s", LMQ_STREAM);
	uint64_t before = stored(store, stream);
	if (strcmp(limit, "trim") == 0) {
		trim(store, stream, &c);
	} else {
		bench_must(lmq_channel_make(store, "s", LMQ_ANY, &limit, 1, &created, NULL, NULL), store, limit);
		publish(store, stream, &c);
	}
	if (stored(store, stream) > before / 10)
		bench_die("fall", "messages are left");
	qsort(c.took, c.count, sizeof *c.took, bench_compare);
	printf("%.1f %.1f\n", (double)c.took[c.count - 1] / 1e3, (double)bench_quantile(c.took, c.count, 0.5) / 1e3);
	lmq_channel_close(stream);
	lmq_store_close(store);
	free(c.took);
	return 0;
}
