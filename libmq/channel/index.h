/* SPDX-License-Identifier: ISC */
/* Steps through messages with a key: index.c takes them, and enters them in table M; latest.c asks, and forgets. */
#ifndef INDEX_H
#define INDEX_H

#include "channel.h"

enum {
	STEP_KEYED = 1024,	/* messages with a key that one step takes */
	STEP_DEAD = 2048,
	STEP_LARGE = 1000,	/* of four steps together log_drop takes all */
};

struct keyed {			/* a message with a key */
	uint8_t hash[16];
	uint64_t offset;
	bool tombstone;
};

struct step {
	struct txn *t;
	uint32_t id;
	uint16_t lane;
	struct head_record *head;
	MDB_cursor *cursor;
	uint8_t uuid[16];
	uint64_t keep;		/* entries of a key */
	bool holes;		/* superseded messages become holes */
	size_t most;		/* messages with a key to take */
	size_t count;
	uint64_t live;		/* messages met that are no holes, with a key or without */
	uint64_t large;		/* of them have large bodies */
	uint64_t to;		/* all below have been met */
	size_t dead_count;
	bool stopped;		/* there is no room for more dead ones */
	struct keyed keyed[STEP_KEYED];
	uint64_t dead[STEP_DEAD];
};

int index_begin(struct step *p, struct txn *t, uint32_t id, uint16_t lane, struct head_record *head);
/* Messages from an offset on, up to and without end, as many as one step takes. */
int index_gather(struct step *p, uint64_t from, uint64_t end);
int index_leave(struct step *p, const uint8_t hash[16], uint64_t offset);	/* LMQ_END: there is no such entry */
uint64_t index_from(const struct head_record *head);	/* the first message that is not indexed */

#endif
