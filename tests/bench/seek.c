/* SPDX-License-Identifier: ISC */
/*
 * seek STORE COUNT: COUNT times goes to the first message of the stream s that is not older than a time, which lies
 * anywhere between its oldest and its newest message, and reads it, in a snapshot of its own.
 * Prints, in microseconds, median, 99th percentile and maximum.
 */
#include <libmq.h>

#include "bench.h"

static int64_t somewhere(int64_t first, int64_t last)
{
	static uint64_t state = 88172645463325252u;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return first + (int64_t)(state % (uint64_t)(last - first + 1));
}

static int64_t turn(lmq_store *store, lmq_reader *reader, int64_t time)
{
	struct lmq_message message;
	int64_t began = bench_clock(), took, found;
	bench_must(lmq_reader_seek(reader, LMQ_SEEK_TIME, time), store, "seek");
	bench_must(lmq_reader_next(reader, &message), store, "next");
	took = bench_clock() - began;
	found = message.time;
	bench_must(lmq_reader_previous(reader, &message), store, "back");
	if (found < time || (lmq_reader_previous(reader, &message) == 0 && message.time >= time))
		bench_die("seek", "it led elsewhere");
	lmq_reader_pause(reader);
	return took;
}

int main(int argc, char **argv)
{
	struct lmq_channel_info info;
	lmq_reader *reader;
	if (argc != 3)
		bench_die("seek", "STORE COUNT");
	size_t count = bench_number(argv[2]);
	int64_t *samples = bench_alloc(count, sizeof *samples);
	lmq_store *store = bench_store(argv[1]);
	lmq_channel *stream = bench_channel(store, "s", LMQ_STREAM);
	bench_must(lmq_channel_info(stream, &info), store, "info");
	bench_must(lmq_reader_open(stream, &reader), store, "reader");
	for (size_t i = 0; i < count; i++)
		samples[i] = turn(store, reader, somewhere(info.first_time, info.last_time));
	qsort(samples, count, sizeof *samples, bench_compare);
	printf("%.1f %.1f %.1f\n", (double)bench_quantile(samples, count, 0.5) / 1e3,
		(double)bench_quantile(samples, count, 0.99) / 1e3, (double)samples[count - 1] / 1e3);
	lmq_reader_close(reader);
	lmq_channel_close(stream);
	lmq_store_close(store);
	free(samples);
	return 0;
}
