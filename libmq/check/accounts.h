/* SPDX-License-Identifier: ISC */
/* What the parts of a check of the whole store share; accounts.c says how it goes. */
#ifndef ACCOUNTS_H
#define ACCOUNTS_H

#include "channel/channel.h"

struct reference {		/* from messages to a large body */
	uint64_t number, size;
	uint64_t count;
};

struct bodies {			/* those with numbers in [from, limit): as many as memory is to be spent on */
	struct reference *list;
	size_t count, room, most;
	uint64_t from, limit;
	bool uncertain;		/* damaged records may name some too */
};

struct account {
	lmq_store *s;
	struct lmq_accounts *found;
	struct snapshot view;
	struct lmq_fault *faults;	/* the first ones, told when the snapshot is given back */
	size_t kept, room;
	bool (*progress)(const struct lmq_accounts *sofar, void *context);
	void *context;
	unsigned countdown;		/* to the next look at the clock */
	int64_t next;			/* progress */
	struct store_record store;
	bool numbered;			/* store could be read, and says which numbers are used up */
	uint32_t *spaces;		/* of all readers, in order once all channels have been looked at */
	size_t space_count, space_room;
	struct bodies bodies;
	bool unplaced;			/* some position could not be read, so not all spaces are known */
	bool again;			/* only to gather references to further bodies; faults have been told */
};

struct owner {			/* a channel, or one that was removed and is not swept yet */
	uint32_t id;
	bool removed;
	uint16_t lanes;
	struct channel_record record;
	char name[LMQ_NAME_MAX + 24];
	uint64_t ends[LMQ_PARTITIONS_MAX];
	struct head_record head;	/* of the present lane, */
	bool headed;			/* if it could be read */
};

enum { OBJECT_MAX = sizeof ((struct lmq_fault *)0)->object };

/* ---- accounts.c ------------------------------------------------------------------------------- */

/* lmq_store_check(), with memory for so many large bodies at a time, at least 16. */
int account_check(lmq_store *s, struct lmq_accounts *accounts,
	void (*fault)(const struct lmq_fault *fault, void *context),
	bool (*progress)(const struct lmq_accounts *sofar, void *context), void *context, size_t references);
void account_fault(struct account *a, const char *object, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int account_no_memory(struct account *a);
/* Now and then tells how far it is. LMQ_EINTR. */
int account_tick(struct account *a);
/* A number was given away that the store's record still has to give. */
void account_number(struct account *a, const char *object, uint32_t id);
int account_space(struct account *a, uint32_t space);
bool account_has_space(const struct account *a, uint32_t space);
/* Whether the key is there; its value. LMQ_END. */
int account_get(struct account *a, const struct key *k, MDB_val *value);
/* The name that a key ends in, from a byte on. False: it is none. */
bool account_name(const struct key *k, size_t from, char name[LMQ_NAME_MAX + 1]);
/* "events/3@workers": group may be NULL. */
const char *owner_object(const struct owner *o, uint16_t lane, const char *group, char text[OBJECT_MAX]);

/* ---- entries.c: the entries of a table in order ----------------------------------------------------- */

struct entries {
	struct account *a;
	MDB_cursor *cursor;
	struct key prefix;
	bool any_size;		/* also keys that are no keys of the table */
	bool seek;		/* to from, not to the next */
	struct key from;
	struct key key;		/* of the present entry */
	MDB_val value;
};
/* Those whose keys begin with the first size bytes of the prefix, which itself is where to start. */
int entries_open(struct account *a, struct entries *e, const struct key *prefix, size_t size);
/* LMQ_END. Keys that are none of their table are reported and left out. */
int entries_next(struct entries *e);
void entries_skip(struct entries *e, size_t size);	/* all that begin with the same bytes as the present one */
void entries_close(struct entries *e);
bool entries_table(uint8_t table);			/* whether there is one */

/* ---- census.c: the store, names, and entries of nobody; ids, bulk loads, properties of groups, routes ----------- */

int census_store(struct account *a);
int census_names(struct account *a);
int census_channel(struct account *a, const struct owner *o);
int census_strays(struct account *a);
int census_sweeps(struct account *a);
int census_routes(struct account *a);

/* ---- tally.c: the blocks of a lane, and its head ----------------------------------------------------- */

int tally_lane(struct account *a, struct owner *o, uint16_t lane);

/* ---- standing.c, ranks.c: positions of readers, and indexes of their runs --------------------------------- */

int standing_lane(struct account *a, const struct owner *o, uint16_t lane);
int standing_removed(struct account *a, const struct owner *o);

struct ranks {			/* of the entries of Q, D, K: sums over their hashes, which do not depend on the order */
	uint64_t ready, due, chain;
	uint64_t free;		/* over the keys of those of them that may be delivered */
};
void ranks_add(struct account *a, uint32_t space, const struct run_record *r, struct ranks *sum);
/* Holds the indexes against what the runs say. sound: these could be read. */
int ranks_check(struct account *a, const char *object, uint32_t space, const struct ranks *sum, bool sound);

/* ---- newest.c: table M ------------------------------------------------------------------------ */

struct keyed {			/* a message with a key */
	uint8_t hash[16];
	uint64_t offset;
};
struct newest {
	struct account *a;
	const struct owner *o;
	uint16_t lane;
	bool wanted;		/* the lane is indexed, or has entries */
	bool sound;		/* all of the lane could be read */
	bool holes;		/* what is superseded is to be a hole */
	uint64_t keep;		/* newest ones of each key */
	uint64_t met;		/* entries whose message was met */
	struct keyed *batch;
	size_t count;
};
int newest_begin(struct newest *n, struct account *a, const struct owner *o, uint16_t lane);
int newest_add(struct newest *n, uint64_t offset, struct lmq_bytes key);	/* stored, in ascending order */
int newest_end(struct newest *n);
void newest_free(struct newest *n);

/* ---- bodies.c -------------------------------------------------------------------------------- */

int bodies_add(struct account *a, uint64_t number, uint64_t size);
int bodies_staged(struct account *a);	/* those that are being written */
int bodies_check(struct account *a);
bool bodies_more(struct account *a);	/* begins anew with those that there was no room for */

#endif
