/* SPDX-License-Identifier: ISC */
/* The routes of a store as a handle keeps them (plan.c), for publishing (route.c) and for changing them (routes.c). */
#ifndef ROUTE_H
#define ROUTE_H

#include "channel.h"

struct plan {			/* which rules apply to messages of a channel */
	uint32_t id;
	char name[LMQ_NAME_MAX + 1];	/* as it was then; "": not known yet */
	uint32_t *rules;	/* indices */
	size_t count;
};

struct rule {			/* a route */
	struct binding binding;
	lmq_filter *filter;	/* NULL: every message */
	uint32_t target;	/* index */
};

struct target {			/* a channel that some route leads to */
	uint32_t id;
	struct plan plan;	/* where it leads on */
};

enum { PLANS = 64 };

struct route_table {
	uint32_t serial;	/* store_record.routes */
	struct rule *rules;	/* by number */
	size_t count;
	struct target *targets;
	size_t target_count;
	unsigned depth;		/* copies that are being made: dead letters of a destination may be copied in turn */
	struct plan plans[PLANS];	/* of channels that were published to, by id */
};

/*
 * The present routes; *table stays the handle's, and is NULL where there are none. Within a write transaction not
 * after it has changed them: what it then rolls back must not be kept.
 */
int route_table(lmq_store *s, MDB_txn *mdb, struct route_table **table);
/* Finds out which rules apply to the channel, unless the plan says so already. */
int plan_make(lmq_store *s, const struct route_table *table, uint32_t id, const char *name, struct plan *p);

/* The store's routes have been changed: who keeps them compiled reads them again. */
int routes_changed(struct txn *t, struct store_record *store);
int route_from_queue(lmq_store *s, const char *name);	/* LMQ_EKIND, with its sentence */

struct arrival {		/* of messages at a target */
	bool reached;
	bool all;		/* every message gets here; else bits */
	uint64_t *bits;		/* one for each message; NULL: none */
	struct channel_record record;
};

struct spread {			/* where the messages of a batch go */
	lmq_store *s;
	MDB_txn *mdb;
	struct route_table *table;
	uint32_t source;	/* id; 0: there is no such channel */
	const char *name;	/* its */
	const struct batch *batch;
	size_t words;		/* of bits */
	bool changed;
	struct arrival *at;	/* for each target */
	uint32_t *order;	/* targets as they are reached, */
	size_t reached;		/* so many of them; 0: nothing below is there */
	uint64_t **bits;	/* for each rule: the messages that match it */
	uint32_t *asked;	/* rules with conditions that have been met on the way, */
	size_t asked_count;
};

#endif
