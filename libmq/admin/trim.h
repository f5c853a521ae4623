/* SPDX-License-Identifier: ISC */
/* Trimming, as its parts see it: up to where (bound.c), and the steps (trim.c). */
#ifndef TRIM_H
#define TRIM_H

#include "channel/channel.h"

/* Within a transaction of either kind. */
struct trim {
	lmq_channel *channel;
	struct txn *t;
	struct queue q;		/* of a topic or stream only record and head */
	struct lmq_trim what;
	uint16_t lane;
	uint64_t budget;
	uint64_t dropped;
	bool changed;
};

/* A read transaction, dressed up as one for those who only look. */
struct look {
	struct snapshot snapshot;
	struct txn t;
};

static inline bool trim_is_queue(const struct trim *m)
{
	return m->channel->kind == LMQ_QUEUE;
}

static inline void trim_at_least(uint64_t *floor, uint64_t to)
{
	if (to > *floor)
		*floor = to;
}

int trim_look(struct look *l, lmq_store *s);
int trim_load(struct trim *m, lmq_channel *c, uint16_t lane, struct txn *t, const struct lmq_trim *what);
/* Turns what is to be kept, and "all", into an offset. */
int trim_bound(struct trim *m);

#endif
