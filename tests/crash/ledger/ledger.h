/* SPDX-License-Identifier: ISC */
/*
 * The ledger: what everybody meant to do and was told, and a checker that says whether it can be true.
 *
 * It lies in shared memory outside of the store, so it outlives who writes it. It is a list of entries that only
 * grows. Whoever notes something takes the next place, fills it in, and publishes it by storing one word, so a kill at
 * any instant leaves an entry or none. An intent is noted before the call, its outcome after the call returned; the
 * killer notes its victim before the signal. So the order of the list never contradicts what was promised.
 *
 * A message is an id; its body is the id, its own size, and bytes that follow from these two. ledger_body() makes it,
 * ledger_read() takes it back.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum note {
	NOTE_NONE,
	/* by producers: number is the place in the batch, batch names those that are committed together */
	NOTE_SENDING,		/* about to commit the message; value is its hash */
	NOTE_SENT,		/* the commit returned 0; lane and offset where it was stored, if known: else UINT64_MAX */
	NOTE_REFUSED,		/* the commit failed, with nothing stored */
	/* by consumers: number is the attempt; of a delivery value is the hash, batch a number for its claim */
	NOTE_DELIVERED,
	NOTE_SETTLING,		/* about to acknowledge */
	NOTE_SETTLED,		/* that returned 0 */
	NOTE_DOUBTFUL,		/* that failed, and nobody knows */
	NOTE_LOST,		/* that was refused: the lease was lost */
	NOTE_RETURNING,		/* about to give it back, or to let it fail */
	NOTE_LEASING,		/* about to lease it; value is the earliest time at which that can end */
	NOTE_LEASED,		/* that returned 0; the same value */
	NOTE_MOVING,		/* about to move it to another queue */
	/* by readers, who take nothing */
	NOTE_READ,
	/* by everybody */
	NOTE_GROUPED,		/* the group of the place is there: it gets what is sent from now on */
	NOTE_LEFT,		/* this process gave everything back, and ends */
	NOTE_KILLING,		/* about to kill the process */
	NOTES
};
extern const char *const note_names[NOTES];

struct entry {
	_Atomic uint32_t note;	/* published last */
	uint32_t who;		/* one number for each process that ever worked */
	uint32_t id;		/* of the message, from 1 */
	uint32_t channel;	/* its number in the store, which is never used again */
	uint16_t place;		/* which channel it is, for the checker */
	uint16_t lane;
	uint32_t number;
	uint32_t batch;		/* 0: none */
	uint32_t key;		/* 0: none */
	int64_t time;		/* monotonic; set by ledger_note() */
	uint64_t offset, value;
};

enum {				/* what is promised of a place */
	PLACE_GROUP = 1,	/* a topic or stream with one group; else a queue */
	PLACE_LANES = 2,	/* first deliveries of a lane come in order, whoever receives */
	PLACE_KEYS = 4,		/* first deliveries of a key come in order, one after the other is settled */
	PLACE_LOSSY = 8,	/* it drops messages: nothing is missed, what comes must still be right */
	PLACE_LATEST = 16,	/* keeps the newest message of each key; readers find it */
	PLACE_SINGLE = 32,	/* one offset for each id, however often it is sent (dedup) */
	PLACE_KEPT = 64,	/* drops nothing: readers find all */
	PLACE_MOVES = 128,	/* its messages may turn up in another place without a note */
	PLACE_UNCOUNTED = 256,	/* the trace of a death may be lost: an attempt need not have been counted */
	PLACE_MAX = 24, LANE_MAX = 4, KEY_COUNT = 16,	/* keys are below */
};

struct ledger {
	_Atomic uint64_t count;
	uint64_t room;
	_Atomic uint32_t ids, processes, batches;
	uint16_t promised[PLACE_MAX];	/* PLACE_* */
	struct entry entries[];
};

struct ledger *ledger_new(uint64_t room);
void ledger_clear(struct ledger *l);
bool ledger_full(const struct ledger *l);	/* nothing new should be begun */
uint32_t ledger_process(struct ledger *l);	/* a number for a process */
uint32_t ledger_ids(struct ledger *l, uint32_t count);	/* the first of count new ids */
uint32_t ledger_batch(struct ledger *l);
/* A full ledger ends the program: the places must be enough for whoever is still at work. */
void ledger_note(struct ledger *l, enum note note, const struct entry *e);
uint64_t ledger_count(const struct ledger *l);	/* of entries */
/* All that is noted of the message, and of those who handled it. */
void ledger_tell(const struct ledger *l, uint32_t id, FILE *to);

/* ---- bodies ------------------------------------------------------------------------------- */

enum { BODY_LEAST = 16, BODY_LARGEST = 300 << 10 };

/* 16 bytes to 300 KB: mostly small, often around the sizes of pages, blocks and chunks. */
size_t ledger_size(uint32_t random);
/* Fills body; its hash. */
uint64_t ledger_body(uint32_t id, uint8_t *body, size_t size);
uint64_t ledger_hash(const uint8_t *body, size_t size);
/* The id in a body, 0 where that is not one. */
uint32_t ledger_read(const uint8_t *body, size_t size);

#endif
