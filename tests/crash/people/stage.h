/* SPDX-License-Identifier: ISC */
/* Where the actors meet: the places of the store, and what one process has of them. */
#ifndef STAGE_H
#define STAGE_H

#include "actors.h"

struct layout {
	const char *name;
	enum lmq_kind kind;
	unsigned promised;
	const char *group;
	const char *properties[4];
};
extern const struct layout layout[PLACES];

struct scene {			/* of one process */
	uint32_t who, claims;
	lmq_store *store;
	lmq_channel *channel[PLACES];
	uint32_t number[PLACES];	/* of the channel */
	uint8_t body[BODY_LARGEST];
};
extern struct scene me;

int place_open(enum where p);		/* creates what is missing */
void place_close(enum where p);
/* Removed under our hands is nothing where that is what the place is there for. */
int passed(enum where p, int rc);
struct entry entry_at(enum where p, uint32_t id);
/* The whole body of a message, to me.body, from one of the two; the other is NULL. */
int gather_body(const struct lmq_message *m, lmq_reader *reader, lmq_receiver *receiver);

#endif
