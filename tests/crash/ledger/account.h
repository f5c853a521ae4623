/* SPDX-License-Identifier: ISC */
/* What the checker of the ledger knows so far: of each message, process and place; and what must be so of it in the end. */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include "verdict.h"

enum hold { HOLD_NONE, HOLD_OWNER, HOLD_LEASING, HOLD_LEASED, HOLD_DOUBT, HOLD_GIVEN };

struct message {
	uint32_t sender, batch, key, channel;
	uint16_t place, lane;
	bool meant, refused, sent, seen;	/* seen: delivered or read, so it was stored */
	bool owed;		/* it was sent when its place promised to deliver it */
	bool moving, maybe, settled, read;
	uint8_t hold;		/* enum hold */
	uint32_t who, number;	/* of the last delivery */
	int64_t until;
	uint64_t hash, offset, least[LANE_MAX];	/* offsets that were told before it was sent */
};

struct process {
	bool killed, left;
	uint32_t batch, claim;
	uint16_t batch_lane, claim_place;
	uint64_t batch_offset, claim_offset;
};

struct yard {
	uint32_t channel;
	bool grouped;
	uint64_t end[LANE_MAX];		/* behind the highest offset that was told to a sender */
	uint64_t first[LANE_MAX];	/* behind the highest that was delivered */
	uint32_t key[KEY_COUNT];	/* the newest message of the key that was delivered */
};

struct spot {			/* where a message was seen */
	uint32_t channel, id;
	uint16_t lane;
	uint64_t offset;
};

struct account {
	const struct ledger *l;
	struct verdict *v;
	uint32_t ids, processes;
	struct message *messages;
	struct process *people;
	struct yard places[PLACE_MAX];
	struct spot *spots;
	size_t spot_count;
	uint64_t unrest;	/* how often something was given back so far */
};

/* The first thing that is wrong is kept; false. */
bool wrong(struct account *c, const struct entry *e, const char *what);
bool wrong_message(struct account *c, uint32_t id, const char *what);

unsigned promised(const struct account *c, unsigned place);
/* The message was seen there. */
void account_spot(struct account *c, const struct entry *e);

/* When all entries were seen: no offset was given twice, batches are whole, nothing is missing. */
bool account_agrees(struct account *c);

#endif
