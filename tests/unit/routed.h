/* SPDX-License-Identifier: ISC */
/* A store with channels of all kinds, for the tests of routes. */
#ifndef ROUTED_H
#define ROUTED_H

#include "place.h"

#include "channel/channel.h"

enum { CHANNELS = 9 };

static lmq_store *store;
static lmq_channel *channel[CHANNELS];
static lmq_writer *writer;
static const char *const names[CHANNELS] = {
	"a.one", "a.two", "b.one", "b.two", "b.three", "c", "q.one", "q.two", "a.q",
};

static inline enum lmq_kind kind_of(int i)
{
	return i >= 6 ? LMQ_QUEUE : i % 2 ? LMQ_STREAM : LMQ_TOPIC;
}

static inline void begin(void)
{
	place_make();
	store = place_open();
	for (int i = 0; i < CHANNELS; i++)
		if (lmq_channel_open(store, names[i], kind_of(i), LMQ_CREATE, &channel[i]) != 0)
			abort();
	if (lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer) != 0)
		abort();
}

static inline void end(void)
{
	lmq_writer_close(writer);
	for (int i = 0; i < CHANNELS; i++)
		lmq_channel_close(channel[i]);
	lmq_store_close(store);
	place_remove();
}

#endif
