/* SPDX-License-Identifier: ISC */
/* Channels: what they are, how messages get in, what they keep. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "queue.h"

/* ---- channel.c, listing.c, property.c, setting.c, retain.c ----------------------------------- */

struct lmq_channel {
	lmq_store *store;
	uint32_t id;
	enum lmq_kind kind;
	bool created;
	uint16_t lanes;
	uint64_t max_message;	/* as of the last look */
	char name[LMQ_NAME_MAX + 1];
};

int find_channel(lmq_store *s, MDB_txn *t, const char *name, uint32_t *id, struct channel_record *r);
/* Steps through the names in order: MDB_SET_RANGE for the first, then MDB_NEXT. LMQ_END behind the last. */
int next_name(lmq_store *s, MDB_cursor *cursor, MDB_cursor_op op, char name[LMQ_NAME_MAX + 1]);
/* The channel of that name, made of that kind where it is missing, also a reserved one. */
int channel_within(struct txn *t, const char *name, enum lmq_kind kind, uint32_t *id, struct channel_record *r);
/* LMQ_EGONE with the channel's name. */
int channel_gone(lmq_channel *c);
int channel_record(lmq_channel *c, MDB_txn *t, struct channel_record *r);

enum full_policy { FULL_ERROR, FULL_BLOCK, FULL_DROP_OLD, FULL_DEAD };	/* of LIMIT_FULL */

uint64_t limit_of(const struct channel_record *r, enum limit l);	/* the set one, or the default */
/* Where the dead letters of the channel go; NULL: nowhere. The name is r's, or stands in buffer. */
const char *dead_of(const struct channel_record *r, char buffer[LMQ_NAME_MAX + 1]);
/* A property of a channel that exists has changed in r. And whether all of r go together. LMQ_EINVAL, LMQ_EBUSY. */
int change_follow(struct txn *t, uint32_t id, const struct channel_record *r, const struct lmq_property *changed);
int change_check(lmq_store *s, const struct channel_record *r);
int property_set(lmq_store *s, const char *object, struct channel_record *r, const char *assignment,
	struct lmq_property *changed, bool *differs);
void property_list(const struct channel_record *r, struct lmq_property *list, size_t *count);
/* "NAME=VALUE" taken apart, and what is said of a NAME that there is not. LMQ_EINVAL. */
int property_split(lmq_store *s, const char *object, const char *assignment, char name[24], const char **value);
int property_unknown(lmq_store *s, const char *object, enum lmq_kind kind, const char *name);

uint16_t lanes_of(const struct channel_record *r);	/* partitions; 1 but for streams */
uint16_t lane_of_key(struct lmq_bytes key, uint16_t lanes);

/* The position of a topic's group has changed: what retention must not take begins at g->floor now. */
int retain_floor(struct txn *t, uint32_t id, uint16_t lane, const char *group, struct group_record *g);
/* The lowest one of all groups, and whose it is (NULL: no matter). LMQ_END: there is no group. */
int retain_lowest(struct txn *t, uint32_t id, uint16_t lane, uint64_t *floor, char group[LMQ_NAME_MAX + 1]);
int group_any(struct txn *t, uint32_t id);	/* whether the channel has a group; LMQ_END */
int retain_floor_forget(struct txn *t, uint32_t id, uint16_t lane, const struct group_record *g);	/* the group goes */
/* upgrade.c: a store of an older format gets the floors of its groups, once. */
int upgrade_floors(struct txn *t);
/* As log_drop, also where keys are indexed: there it may stop before floor. */
int retain_drop(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t floor, unsigned blocks);
/* Drops what the channel's limits no longer keep, in a bounded step. */
int retain_apply(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head);

/* A step for a stream whose keys are indexed, where that takes many. LMQ_END: nothing is left to be dropped. */
int retain_rest(struct txn *t, uint32_t id);

/* ---- intake.c, limit.c, dedup.c: messages enter a channel ------------------------------------ */

struct place {			/* of a stored message */
	uint64_t offset;
	uint16_t lane;
};
struct expectation {		/* of the first message of a batch */
	bool by_key;
	uint64_t offset;	/* that it gets; by_key: of the newest message with its key, LMQ_NONE: there is none */
};
struct intake {
	int64_t lane;		/* all of the batch goes there; -1: as the keys say, */
	uint16_t keyless;	/* and without a key there: intake's own */
	bool routed;		/* a copy that came by a route, and goes no further */
	bool mandatory;		/* LMQ_END where a message would be kept by nobody */
	const struct expectation *expectation;	/* NULL: none; LMQ_ECONFLICT */
	bool partial;		/* a queue may take only the first ones */
	uint64_t most;		/* and no more than so many are to be taken; 0: no matter */
	bool unlimited;		/* a queue's limits do not count, and nothing is pushed out for these */
	bool sent;		/* by a sender: ids that are known are not stored again */
	int fault;		/* out: partial, and the message behind those taken was refused: LMQ_EDATA */
	size_t taken;		/* out: messages stored, or known already */
	struct place first;	/* out: where the first one lies; the others follow, unless */
	struct place *places;	/* out: not NULL, allocated: where each one lies */
};
#define INTAKE_INIT { .lane = -1 }
/* Appends the batch to a channel whose record is given. LMQ_EFULL. */
int intake(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in);
int intake_append(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in);
/* The lane that a message goes to. */
uint16_t intake_lane(const struct intake *in, uint16_t lanes, struct lmq_bytes key);

/* Room for so many messages and bytes; first is what the first of them needs. */
int limit_room(struct txn *t, uint32_t id, const struct channel_record *r, uint64_t first, uint64_t *count,
	uint64_t *bytes);
int limit_full(struct txn *t, uint32_t id, const struct channel_record *r);	/* LMQ_EFULL with its sentence */
int limit_push_out(struct queue *q);

/* The part of the batch that is new within the window, at most so many and about so large. */
int dedup_intake(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, uint64_t count,
	uint64_t bytes, struct intake *in);
/* Whether the message would not be stored again: its id is known within the window, with the same body. LMQ_END. */
int dedup_known(struct txn *t, uint32_t id, const struct channel_record *r, const struct lmq_message *m,
	const struct blob *blob);
int resume_get(lmq_store *s, MDB_txn *mdb, uint32_t id, const char *name, uint64_t *stored);
int resume_put(struct txn *t, uint32_t id, const char *name, uint64_t before, uint64_t stored);	/* LMQ_EBUSY */

/* ---- route.c: copies to other channels ------------------------------------------------------- */

/* Copies what was just appended to the channel, a topic or stream, to where the routes lead. */
int route_out(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b);
/* Whether every message of the batch would reach another channel. 0, LMQ_END if not, or a failure. */
int route_reaches(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b);
/* To how many channels a message can get at most: so many copies of a batch are in its transaction. */
int route_fan(lmq_store *s, MDB_txn *mdb, uint32_t id, const struct channel_record *r, size_t *channels);
/* The channel was removed: so are the routes to it. */
int route_forget(struct txn *t, uint32_t id);

/* ---- latest.c, compact.c, audit.c: the newest messages of each key; the chain of blocks ------ */

/* The newest message with that key in the lane, all of whose messages are indexed on the way. LMQ_END: none. */
int latest_find(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct lmq_bytes key,
	uint64_t *offset);
/* Indexes what is not yet, in bounded transactions of its own, so that the above has little to do. */
int latest_catch_up(lmq_store *s, uint32_t id, uint16_t lane);
/* What is to be known before messages below *floor are dropped from an indexed lane: lowers *floor to a bounded step. */
int latest_forget(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t *floor);
/* One bounded step of indexing; where a stream keeps so many messages of a key only, older ones become holes. LMQ_END. */
int latest_step(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head);
/* Messages were appended to a stream with max-per-key: what they replace is to be swept. */
int compact_later(struct txn *t, uint32_t id);
/* One bounded step; LMQ_END when nothing is left to do in any lane. For the sweeper. */
int compact_step(struct txn *t, uint32_t id);

/* ---- sweep.c --------------------------------------------------------------------------------- */

bool sweep_due(struct txn *t);		/* whether something is to be swept */
void sweep_aside(lmq_store *s);		/* a step, in a transaction of its own, whatever comes of it */
int sweep_all(lmq_store *s, bool *any);	/* whether there was anything; else it stays as it is */

#endif
