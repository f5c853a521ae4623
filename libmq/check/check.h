/* SPDX-License-Identifier: ISC */
/* What the two halves of checking a channel share: check.c goes through lanes, sound.c looks at a block. */
#ifndef CHECK_H
#define CHECK_H

#include "channel/channel.h"

struct lane_start {
	uint64_t end;
	uint8_t digest[DIGEST_SIZE];
};

struct check {
	lmq_channel *channel;
	lmq_store *store;
	struct lmq_check *found;
	bool (*step)(const struct lmq_check *sofar, void *context);
	void *context;
	struct channel_record record;
	struct lane_start *lanes;
	struct snapshot view;
	int64_t renew;			/* when the snapshot is too old */
	unsigned countdown;		/* to the next look at the clock */
	/* the lane */
	uint16_t lane;
	struct head_record head;
	struct group_record position;	/* of a queue */
	struct run_record run;		/* of a queue: the first unsettled one from an offset on; empty: to be looked for */
	uint64_t end;			/* as it was at the start */
	uint64_t expected;		/* the offset that comes next */
	int64_t time;			/* of the last message */
	bool lost;			/* the last block was damaged: the next one says what comes */
	bool known;			/* it is known how the last message goes on: */
	size_t carry;			/* so many bytes of it are in the next blocks */
	size_t have;			/* so many of it are gathered */
	uint8_t link[DIGEST_SIZE];	/* of the last block */
	/* the present block */
	struct key key;
	uint64_t base;
	uint32_t part;
	struct block block;
	uint8_t bytes[BLOCK_LONGEST];	/* its payload */
	uint8_t gathered[RECORD_MAX];
	struct decoded decoded;
};

/* check.c */
void check_damage(struct check *c);
int check_tick(struct check *c);	/* renews the snapshot if it is old */
bool check_is_queue(const struct check *c);
/* Whether the message is stored: in a queue, whether it is not settled. */
int check_stored(struct check *c, uint64_t offset, bool *stored);
/* Whether no message in [first, end) need be there. */
int check_may_lack(struct check *c, uint64_t first, uint64_t end, bool *may);

/* sound.c: all of the present block. */
int check_block(struct check *c);

#endif
