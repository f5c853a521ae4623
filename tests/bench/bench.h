/* SPDX-License-Identifier: ISC */
/* What the programs of the benchmark share: they end with a sentence at the first thing that fails. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline _Noreturn void bench_die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

/* Nanoseconds of the clock that all processes share. */
static inline int64_t bench_clock(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The operand as a number of at least 1. */
static inline size_t bench_number(const char *text)
{
	char *end;
	unsigned long long number = strtoull(text, &end, 10);
	if (*end || !number)
		bench_die(text, "not a number above 0");
	return number;
}

static inline void *bench_alloc(size_t count, size_t size)
{
	void *memory = calloc(count, size);
	if (!memory)
		bench_die("memory", "there is not enough");
	return memory;
}

static inline int bench_compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return (left > right) - (left < right);
}

/* The value below which that share of the samples lies; they must be sorted. */
static inline int64_t bench_quantile(const int64_t *sorted, size_t count, double share)
{
	return sorted[(size_t)((double)(count - 1) * share)];
}

#ifdef LMQ_VERSION
static inline void bench_must(int status, lmq_store *store, const char *what)
{
	if (status)
		bench_die(what, store && *lmq_error(store) ? lmq_error(store) : lmq_strerror(status));
}

static inline lmq_store *bench_store(const char *path)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_CREATE };
	lmq_store *store;
	bench_must(lmq_store_open(path, &options, &store), store, "open");
	return store;
}

static inline lmq_channel *bench_channel(lmq_store *store, const char *name, enum lmq_kind kind)
{
	lmq_channel *channel;
	bench_must(lmq_channel_open(store, name, kind, kind == LMQ_ANY ? 0 : LMQ_CREATE, &channel), store, name);
	return channel;
}

static inline lmq_channel *bench_queue(lmq_store *store, const char *name)
{
	return bench_channel(store, name, LMQ_QUEUE);
}
#endif

#endif
