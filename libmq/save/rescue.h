/* SPDX-License-Identifier: ISC */
/*
 * What the parts of a repair share. wreck.c reads the damaged file, and copies every sound value into a new store that
 * is being built; the others then mend what does not fit together there: catalogue.c the channels, ends.c where logs
 * begin and end, lane.c the logs, restate.c the positions and runs, stray.c everything else. rescue.c leads.
 */
#ifndef RESCUE_H
#define RESCUE_H

#include "channel/channel.h"
#include "file/pages.h"

struct gap {			/* size 0: no bound */
	struct key from, to;	/* keys in [from, to) are looked for elsewhere */
	struct key low, high;	/* what is lost lies in [low, high): of a damaged value the key may be wrong too */
	unsigned values;	/* so many are lost; 0: of a page, nobody knows how many */
	bool open;		/* high is the key of the next sound value */
	bool filled;		/* it was found after all */
};

struct doubt {			/* what no gap was filled with: of keys in [low, high) some may be lost */
	struct key low, high;
	unsigned values;	/* as in a gap */
};

struct beyond {			/* a lane whose end is lost: what lies from here on is not known ever to have been */
	uint32_t id;
	uint16_t lane;
	uint64_t from;
};

struct lost {			/* messages of a lane */
	uint16_t lane;
	struct run run;
};

struct rescue {
	lmq_store *s;		/* the damaged one: its directory, and the sentence */
	lmq_store *to;		/* the new one */
	struct lmq_rescue *result;
	void (*loss)(const struct lmq_fault *loss, void *context);
	bool (*progress)(const struct lmq_rescue *sofar, void *context);
	void *context;
	/* wreck.c */
	struct page_file file;
	struct page_meta meta;		/* the state that is saved; no root where there is none to be seen */
	uint64_t limit;			/* of the two: */
	uint64_t *reached, *free;	/* bit: the page is of the state; is in its list of free pages */
	bool free_known;
	bool disputed;			/* it names pages of the tree, and nothing tells which of the two is damaged */
	int ended;			/* why it was given up to look for that; 0: it was not */
	bool newest_lost;		/* there was a newer state, of which no root is left */
	struct gap *gaps;		/* ascending */
	size_t gap_count, gap_room;
	size_t gap_open;		/* from this one on there are some that are open */
	struct key passed;		/* of the last sound value */
	struct doubt *doubts;		/* ascending, and none within another */
	size_t doubt_count;
	uint64_t entries;		/* copied */
	bool record_taken;		/* that of the store was among them */
	bool salvaging;			/* what is copied now was found outside of the tree, */
	bool among_free;		/* in pages that may be free ones: it may be old, */
	bool aged;			/* and something was that is not a message */
	uint8_t uuid[16];
	bool uuid_known;
	unsigned steps;			/* since it began */
	/* the transaction that is open in the new store */
	struct txn t;
	bool open;
	unsigned changes;
	size_t bytes;
	/* large bodies that messages have */
	uint64_t *bodies;
	size_t body_count, body_room;
	struct beyond *beyond;
	size_t beyond_count, beyond_room;
	struct lost *lost;		/* of one channel: their ids are to be forgotten */
	size_t lost_count, lost_room;
};

enum { RESCUE_STEPS = 1024 };

/* ---- rescue.c ------------------------------------------------------------------------------- */

/* After a change: a transaction that is large is followed by another one, and nothing read before is valid then. */
int rescue_tick(struct rescue *r, size_t bytes);
int rescue_ask(struct rescue *r);	/* whether to go on: LMQ_EINTR */
/* The same, where nothing is written: for each page or lane, now and then. */
static inline int rescue_step(struct rescue *r)
{
	return ++r->steps % RESCUE_STEPS == 0 ? rescue_ask(r) : 0;
}
void rescue_say(struct rescue *r, const char *object, const char *format, ...) __attribute__((format(printf, 3, 4)));
int rescue_no_memory(struct rescue *r);
/* The list of entries of that size, with room for one more; NULL: no memory, and it is as it was. */
void *rescue_room(void *list, size_t count, size_t *room, size_t size);
/* A value in the new store; LMQ_END. */
int rescue_get(struct rescue *r, const struct key *k, MDB_val *value);
bool rescue_has(struct rescue *r, struct key k);
int rescue_put(struct rescue *r, const struct key *k, const void *value, size_t size);
int rescue_delete(struct rescue *r, const struct key *k);
int rescue_put_head(struct rescue *r, uint32_t id, uint16_t lane, const struct head_record *h);
int rescue_put_group(struct rescue *r, uint32_t id, uint16_t lane, const char *group, const struct group_record *g);
/* The next key behind at (its own where first) that begins with the first size bytes of it. LMQ_END. */
int rescue_next(struct rescue *r, struct key *at, size_t size, bool first, MDB_val *value);

/* ---- gaps.c --------------------------------------------------------------------------------- */

int gap_add(struct rescue *r, const struct key *from, const struct key *to);	/* of a page */
int gap_of_value(struct rescue *r, const uint8_t *key, size_t size);
void gap_pass(struct rescue *r, const uint8_t *key, size_t size);	/* a sound value, behind what was added before */
struct key bound_key(const struct page_bound *b);	/* no bound where it is longer than any of ours */
void gaps_sort(struct rescue *r);			/* ascending, and none within another */
struct gap *gap_find(const struct rescue *r, const uint8_t *key, size_t size);	/* in which it lies, or NULL */
int gaps_doubt(struct rescue *r);			/* makes the doubts, which the following ask */
/* Whether a key from [from, to) may be lost; that one; one that begins with the first size bytes of k. */
bool wreck_lacks(const struct rescue *r, const struct key *from, const struct key *to);
bool wreck_lacks_key(const struct rescue *r, const struct key *k);
bool wreck_lacks_any(const struct rescue *r, const struct key *k, size_t size);

/* ---- wreck.c, roots.c ---------------------------------------------------------------------------- */

int wreck_open(struct rescue *r, int fd);	/* chooses the state, looks for the UUID */
int wreck_copy(struct rescue *r);
void wreck_close(struct rescue *r);
int wreck_choose(struct rescue *r, bool *whole);	/* roots.c: sets meta; whole: a meta page says so, and the other agrees */

/* ---- dispute.c ------------------------------------------------------------------------------------- */

/* Whether of tree and list of free pages, of which both have a page, it is the list that is damaged. */
int dispute_settle(struct rescue *r, bool *list_wrong);

/* ---- values.c --------------------------------------------------------------------------------------- */

/* Copies the value if it is sound: 1 if it is not. */
int value_take(struct rescue *r, const struct page_node *n);

/* ---- catalogue.c, ends.c, lane.c, restate.c, stray.c ---------------------------------------------------- */

int mend_store(struct rescue *r);		/* table S */
int mend_catalogue(struct rescue *r);		/* C, P, and channels of which neither is left */
int mend_groups(struct rescue *r, uint32_t id, const struct channel_record *c);	/* E, G, R, Q, D, K of one channel */
int mend_lanes(struct rescue *r, uint32_t id, const struct channel_record *c);	/* H, L, M */
int mend_floors(struct rescue *r, uint32_t id, const struct channel_record *c);	/* F */
/* Only notes the large bodies of a log that is being swept. */
int lane_bodies(struct rescue *r, uint32_t id, const struct channel_record *c, uint16_t lane);
int mend_strays(struct rescue *r);		/* what no channel, group or message has; B, V, T, X, I, J, N, U */

/* lost.c: messages that are lost are noted, and when all lanes of the channel are mended, their ids are forgotten. */
int note_lost(struct rescue *r, uint16_t lane, uint64_t first, uint64_t end);
int forget_ids(struct rescue *r, uint32_t id);

/* One lane of a channel: "events/3", or "events". */
void lane_name(const struct channel_record *c, uint16_t lane, char text[LMQ_NAME_MAX + 16]);
/* ends.c: the heads of all lanes, where they are lost made of all that is known; c loses a limit that would then harm. */
int mend_ends(struct rescue *r, uint32_t id, struct channel_record *c);
int lane_head(struct rescue *r, uint32_t id, uint16_t lane, struct head_record *h);	/* after that */

#endif
