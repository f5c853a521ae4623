/* SPDX-License-Identifier: ISC */
/* A position: which messages of a lane are still to be delivered, for a queue or a group, and how they leave it. */
#ifndef QUEUE_H
#define QUEUE_H

#include "log/log.h"

/* ---- group.c: a reader's position ------------------------------------------------------------ */

/* The first unsettled run at or after from, what lies before from cut off: stored ones, then [next, end). LMQ_END. */
int group_run(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end, uint64_t from,
	struct run_record *r);
/* The same within a write transaction. */
int group_first(struct txn *t, const struct group_record *g, uint64_t end, uint64_t from, struct run_record *r);

struct ready {			/* a place among what is ready, in the order of delivery; all 0 at the start */
	uint8_t class;
	uint64_t from;
	bool plain;		/* those from next on have been given */
};
/* The next ready run; LMQ_END. */
int group_ready(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end, struct ready *at,
	struct run *r);

/* The lowest unsettled offset. */
int group_floor(struct txn *t, const struct group_record *g, uint64_t *floor);
/* Between which unsettled messages the settled range lies: all of [*low, *high) is settled. */
int group_around(struct txn *t, const struct group_record *g, uint64_t first, uint64_t end, uint64_t log_end,
	uint64_t *low, uint64_t *high);

/* The offset in the cursor's lane that is meant, within what is stored; SHIFT counts from from. */
int group_place(struct log_cursor *c, enum lmq_seek how, int64_t value, uint64_t from, uint64_t *to);

/* Moves next to an offset; what is jumped becomes a run. */
int group_advance(struct txn *t, struct group_record *g, uint64_t to);
/*
 * Takes [first, end), or a first part of it that is one run, out of where it stands; *out is that run.
 * LMQ_END: first is settled. The caller puts it back with run_put, or settles it.
 */
int group_carve(struct txn *t, struct group_record *g, uint64_t first, uint64_t end, struct run_record *out);
/* A carved run is settled: counts it, and lets the next message of its key go. */
int group_settled(struct txn *t, struct group_record *g, const struct run_record *r);

/* ---- queue.c: a queue or group, in one lane, within a transaction ---------------------------- */

struct queue {
	struct txn *t;
	uint32_t id;
	uint16_t lane;
	const char *group;	/* "": the queue's own */
	struct channel_record record;
	struct channel_record rules;	/* lease, max-attempts, backoff, dead, order: a queue's own, or the group's */
	struct head_record head;
	struct group_record position;
	bool made_ready, made_room;
	uint64_t missed;	/* messages that were gone before anybody got them, found now */
};

int queue_load(struct txn *t, uint32_t id, uint16_t lane, const char *group, struct queue *q);	/* LMQ_END: gone */
int queue_store(struct queue *q);
/* Lets go of the blocks below everything unsettled, which queue_store does too. */
int queue_shed(struct queue *q);
/* Carves the first unsettled run of [from, end). LMQ_END. */
int queue_unsettled(struct queue *q, uint64_t from, uint64_t end, struct run_record *r);
int queue_put(struct queue *q, const struct run_record *r);	/* a carved run in its new state */
/* A carved run is gone; why is what is counted. keep_body: its large bodies belong to somebody else now. */
int queue_leave(struct queue *q, const struct run_record *r, enum counter why, bool keep_body);
/* What is unsettled in [first, end) is gone. */
int queue_settle(struct queue *q, uint64_t first, uint64_t end, enum counter why, bool keep_bodies);

/* ---- burial.c: dead letters, retries --------------------------------------------------------- */

struct burial {			/* dead letters of one queue, gathered in a transaction; all 0 at the start */
	struct batch batch;
	struct decoded parts;
};
bool can_bury(const struct queue *q);
bool burial_full(const struct burial *b);	/* enough for one transaction */
/* Appends them, after queue_store(). */
int burial_commit(struct burial *b, struct queue *q);
void burial_free(struct burial *b);
void run_history(const struct run_record *r, struct lmq_history *out);	/* points into r */
/*
 * The delivery of a carved run, whose attempts are counted, failed: puts it back for a retry, or buries it, as the
 * verdict and the queue say. Sets v->result and v->due.
 */
int queue_failed(struct queue *q, struct burial *b, struct run_record *r, struct lmq_verdict *v);

/* ---- aside.c, expiry.c: what may not be delivered is moved aside ------------------------------ */

enum { ASIDE_RUNS = 1024, ASIDE_MESSAGES = 4096, ASIDE_BYTES = 4 << 20 };	/* in one transaction, */
enum { ASIDE_NEED = 8 };	/* and so many runs with the ballast's room */
/* Whether these dead letters are enough for one transaction. */
bool aside_enough(const struct queue *q, const struct burial *b);
/* The end of [first, end), or of a first part that is about as much as one transaction may bury. */
uint64_t aside_end(const struct queue *q, uint64_t first, uint64_t end);

/* Whether its time to live, or else its channel's, is over. */
bool message_expired(const struct lmq_message *m, uint64_t channel_ttl, int64_t now);

struct aside {			/* a change of a position, in a bounded transaction of its own */
	lmq_store *store;
	uint32_t id;
	uint16_t lane;
	const char *group;
	/* May be called twice; little is to be done where t->in_need. LMQ_END is none of its failures. */
	int (*change)(struct queue *q, struct burial *b, void *what);
	void *what;
};
/* *missed grows by what the queue found missing. LMQ_END: the channel is gone. */
int aside(const struct aside *a, uint64_t *missed);
/* Runs whose time has come, in a bounded transaction of its own. */
int aside_due(lmq_store *s, uint32_t id, uint16_t lane, const char *group, uint64_t *missed);
/*
 * Messages that the caller holds and whose last consumer died at that attempt; *part becomes what is left to do. He had
 * all up to end: what nobody holds of it may be counted too, and then part->first lies behind part->end.
 */
int aside_crashed(lmq_store *s, uint32_t id, uint16_t lane, const char *group, struct run *part, uint64_t end,
	uint32_t attempt, uint64_t *missed);
/* Messages that the caller holds and that have expired, and others that have and that nobody holds. */
int aside_expired(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed);
/* What is not there any more: below the log's first message, and parts that compaction took. */
int aside_missing(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed);

#endif
