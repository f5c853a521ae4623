/* SPDX-License-Identifier: ISC */
/* A reader, as its parts see it: what it hands out (reader.c), where it is (position.c), its lanes (merge.c). */
#ifndef READER_H
#define READER_H

#include "channel/channel.h"

struct lane {
	struct log_cursor cursor;	/* head.end is not behind bound */
	uint64_t end;		/* of the log */
	uint64_t bound;		/* where the reader is to end */
	uint64_t low;		/* head.first when it was looked at last */
	int64_t time;		/* of its next message; not sharp: a time that this does not come before */
	bool sharp;
};

enum direction { BACKWARD = -1, FORWARD = 1 };

struct lmq_reader {
	lmq_channel *channel;
	struct snapshot snapshot;
	uint64_t serial;	/* of the snapshot that the lanes know */
	int64_t begun;		/* when that was taken */
	unsigned steps;		/* until somebody looks how old it is */
	struct lane *lanes;	/* of one partition, or all; NULL before the first look */
	unsigned lane_count;
	unsigned partitions;
	uint16_t *heap;		/* lanes that have something, the one to be read next first; */
	unsigned heap_size;
	int heap_direction;	/* 0: is to be built anew */
	int times_direction;	/* what lane.time was for; 0: nothing is known */
	uint8_t *scratch;	/* of the lane that is read */
	size_t scratch_size;
	bool backward;		/* the last step was; */
	bool viewed;		/* what is dropped from now on is missed; before the first look nothing is */
	uint64_t missed;

	struct group_record group;	/* of a queue: its own, and */
	struct run_record run;	/* the run in which the cursor is, */
	uint64_t run_serial;	/* valid if the snapshot has this one */

	uint64_t ttl;		/* of the channel */
	struct decoded decoded;
	struct lmq_message last;	/* of a queue: what was given last; */
	bool at_hand;		/* its bytes are valid */
	struct lmq_bytes body;	/* of the last message, if it lies in one piece */
	struct blob blob;	/* or size > 0 */
};

static inline bool reader_of_queue(const struct lmq_reader *r)
{
	return r->channel->kind == LMQ_QUEUE;
}

/* position.c: a view on the channel: a fresh one if the last was given back, or has become old. LMQ_EGONE. */
int reader_view_anew(struct lmq_reader *r);
static inline int reader_view(struct lmq_reader *r)
{
	if (r->snapshot.active && r->serial == r->snapshot.serial && r->steps > 0) {
		r->steps--;
		return 0;
	}
	return reader_view_anew(r);
}

/* reader.c: the next record in that direction, in *lane. LMQ_END. */
int reader_step(struct lmq_reader *r, enum direction d, struct record *record, struct lane **lane);
int reader_unsettled(struct lmq_reader *r, struct record *record);	/* of a queue */

/* merge.c: the same where there are several lanes. */
int merge_step(struct lmq_reader *r, enum direction d, struct record *record, struct lane **lane);
/* The lanes' heads were read anew; or their cursors were moved. */
void merge_renewed(struct lmq_reader *r);
void merge_moved(struct lmq_reader *r);
/* One piece of scratch memory serves all lanes, each while it is worked on; one that is alone keeps its own. */
void lane_lend(struct lmq_reader *r, struct lane *lane);
void lane_take_back(struct lmq_reader *r, struct lane *lane);

#endif
