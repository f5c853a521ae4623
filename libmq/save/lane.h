/* SPDX-License-Identifier: ISC */
/* What the parts of mending a lane share: lane.c leads, blocks.c goes through it, relog.c rewrites it. */
#ifndef LANE_H
#define LANE_H

#include "rescue.h"

struct lane {
	struct rescue *r;
	uint32_t id;
	uint16_t lane;
	const struct channel_record *channel;
	struct head_record head;
	struct group_record position;	/* of a queue */
	struct run_record run;		/* of a queue: the first unsettled one from asked on */
	uint64_t asked;
	uint64_t begin;			/* messages from here on have to be there */
	bool gaps;			/* blocks may be missing; */
	bool relogged;			/* what was lost is among them */
	struct run *lost;		/* ascending */
	size_t lost_count, lost_room;
	size_t bodies;			/* of the rescue's, when the lane began */
	/* counted */
	uint64_t bytes, large, live, live_bytes;
	uint64_t tail_offset;
	uint32_t tail_part;
	uint16_t tail_used;
	int64_t time;
	bool whole_end;			/* the last block ends with the last message */
	/* the place */
	uint64_t expected;		/* the next offset */
	uint64_t covered;		/* the end of the last block */
	size_t carry, have;		/* bytes of the last message that are in the next blocks; that are gathered */
	struct key key;			/* of the block */
	uint64_t base;
	uint32_t part;
	size_t size;			/* of its value */
	struct block block;
	uint8_t bytes_of[BLOCK_LONGEST];	/* its payload */
	struct decoded decoded;
	uint8_t gathered[RECORD_MAX];
};

/* blocks.c: counts everything anew; lost gets what is not whole. */
int lane_scan(struct lane *l);
bool lane_is_lost(const struct lane *l, uint64_t offset);
/* The next block, and its payload. LMQ_END. */
int lane_next(struct lane *l, bool first);

/* lost.c: they are named, and noted; in a queue they are settled. */
int say_lost(struct lane *l);
int settle_lost(struct lane *l);

/* relog.c: what is lost becomes holes. */
int relog(struct lane *l);

#endif
