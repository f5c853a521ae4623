/* SPDX-License-Identifier: ISC */
/*
 * A receiver, as its parts see it: taking (claim.c), handing out (receiver.c), settling (conclude.c), moving (move.c);
 * and what a watch wants to know of it.
 */
#ifndef RECEIVER_H
#define RECEIVER_H

#include "internal.h"

struct claimed {		/* messages that are ours, with one history */
	uint64_t first, end;
	uint32_t attempts, returned;	/* deliveries before this one; of leased ones this one too */
	bool leased;		/* their locks were given back: they belong to a lease */
};

struct work {			/* messages that lmq_receiver_begin() named */
	uint64_t first, end;	/* equal: the slot is idle */
	int slot;
};

struct lmq_receiver {
	lmq_channel *queue;
	const lmq_filter *filter;
	bool explicit_begin;
	char group_name[LMQ_NAME_MAX + 1];	/* "": the queue's own */
	char consumer[LMQ_CONSUMER_MAX + 1];
	int fd;			/* its locks are what is claimed */
	struct snapshot snapshot;
	struct log_cursor cursor;
	struct group_record group;
	struct claimed *runs;	/* claimed and not settled, in the order of delivery */
	size_t run_count, run_room;
	size_t fresh;		/* from here on they are of the last claim */
	size_t at;		/* the run, and */
	uint64_t next;		/* the offset of the message that _next hands out */
	uint64_t ttl;		/* of the channel, as last seen; UINT64_MAX: none */
	uint64_t checked;	/* serial of the snapshot in which that run was seen to be unsettled */
	int64_t due;		/* when the next message becomes due; INT64_MAX: none */
	int slot;		/* in the roster; -1 */
	struct run told;	/* what that slot says is being delivered */
	struct work *works;
	size_t work_count, work_room;
	struct decoded decoded;
	struct lmq_bytes body;
	struct blob blob;
};

lmq_channel *receiver_channel(lmq_receiver *r);
uint32_t receiver_space(lmq_receiver *r);
int64_t receiver_due(lmq_receiver *r);

int receiver_no_memory(lmq_receiver *r);
/* Gives the locks of [first, end) back. */
void receiver_give(lmq_receiver *r, uint64_t first, uint64_t end);
/* Whether all of [first, end) is claimed. */
bool receiver_has(const lmq_receiver *r, uint64_t first, uint64_t end);
/* Takes [first, end) out of what is claimed and gives its locks back; receiver_tidy() must follow. False: no memory. */
bool receiver_forget(lmq_receiver *r, uint64_t first, uint64_t end);
void receiver_tidy(lmq_receiver *r);
void receiver_forget_leased(lmq_receiver *r);	/* leases are nobody's business here any more */
/* Somebody who found everything taken may be asleep. */
void receiver_wake(lmq_receiver *r);
/* The first count messages are settled. */
void receiver_forget_first(lmq_receiver *r, size_t count);
/* The first count claimed messages, part by part: i and count go on from call to call. False behind the last. */
bool receiver_part(const lmq_receiver *r, size_t *i, size_t *count, struct run *part);

#endif
