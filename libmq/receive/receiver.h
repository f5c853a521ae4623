/* SPDX-License-Identifier: ISC */
/*
 * A receiver, as its parts see it: sharing partitions (member.c), seeing (view.c), taking (claim.c), setting aside what
 * may not be handed out (sift.c), handing out (receiver.c), what is in its hands (hand.c), settling (conclude.c), moving
 * (move.c); and what a watch wants to know of it.
 */
#ifndef RECEIVER_H
#define RECEIVER_H

#include "channel/channel.h"

struct claimed {		/* messages that are ours, with one history */
	uint64_t first, end;
	uint32_t attempts, returned;	/* deliveries before this one; of leased ones this one too */
	uint16_t lane;
	bool leased;		/* their locks were given back: they belong to a lease */
};

struct work {			/* messages that are being delivered, or worked on, and of which the roster tells */
	uint64_t first, end;	/* equal: the slot is idle */
	uint16_t lane;		/* under whose space the slot is */
	int slot;
	uint32_t attempt;
};

struct lane {			/* what a receiver knows of a log that it takes from */
	struct log_cursor cursor;	/* shares the snapshot: void as soon as another lane's was used */
	struct group_record group;	/* as the present snapshot shows it */
	uint64_t end;		/* nothing from here on may be handed out now */
	int64_t due;		/* when the next message becomes due; INT64_MAX: none */
	bool owned;		/* of several: our lock says so */
	bool leaving;		/* owned, but to be given up as soon as nothing of it is in our hands */
};

struct lmq_receiver {
	lmq_channel *queue;
	const lmq_filter *filter;
	bool explicit_begin;
	bool ordered;		/* a group with order=key, as last seen */
	char group_name[LMQ_NAME_MAX + 1];	/* "": the queue's own */
	char consumer[LMQ_CONSUMER_MAX + 1];
	int fd;			/* its locks are what is claimed, and the partitions that are ours */
	struct snapshot snapshot;
	struct lane *lanes;
	uint16_t lane_count;
	uint16_t turn;		/* the lane of the last claim */
	struct lane *lane;	/* that whose cursor is in use */
	struct claimed *runs;	/* claimed and not settled, in the order of delivery */
	size_t run_count, run_room;
	size_t fresh;		/* from here on they are of the last claim */
	size_t at;		/* the run, and */
	uint64_t next;		/* the offset of the message that _next hands out */
	uint64_t ttl;		/* of the channel, as last seen; UINT64_MAX: none */
	uint64_t ruled;		/* serial of the snapshot in which ttl and ordered were read */
	uint64_t barren_at;	/* transaction that a claim saw which took nothing that was ready; */
	unsigned barren;	/* so many in a row did */
	uint64_t checked;	/* serial of the snapshot in which that run was seen to be unsettled */
	uint64_t missed;	/* lmq_receiver_missed() */
	int slot;		/* in the roster; -1 */
	struct work told;	/* the latest; its slot is that one, or with several lanes another */
	struct work *works;	/* those before it, and begun ones */
	size_t work_count, work_room;
	/* of several lanes: */
	int64_t only;		/* this one alone; -1 */
	uint64_t members;	/* a digest of those who share them, as last seen */
	int64_t surveyed;	/* when it was asked who of them lives, */
	int64_t tried;		/* and when it was tried to take more */
	uint16_t share, place;	/* how many are ours, and where we begin to look for them */
	uint64_t reserved[LMQ_PARTITIONS_MAX / 64];	/* bit: somebody wants just this one */
	bool joined, idle;	/* idle: there was nothing to be had the last time */
	struct decoded decoded;
	struct lmq_bytes body;
	struct blob blob;
};

/* ---- receiver.c */
lmq_channel *receiver_channel(lmq_receiver *r);
uint32_t receiver_space(lmq_receiver *r);
int64_t receiver_due(lmq_receiver *r);
void receiver_stir(lmq_receiver *r);	/* after a wait: gives up what is others' by now */
uint16_t lane_number(const lmq_receiver *r, const struct lane *l);
/* The lane's cursor is to be used now. */
void receiver_turn(lmq_receiver *r, struct lane *l);
/* The channel, or only the group, was removed: LMQ_EGONE. The snapshot is active. */
int receiver_gone(lmq_receiver *r);
int receiver_lost(lmq_receiver *r);	/* the same where there is no position; or LMQ_EDAMAGED, where there ought to be one */
int receiver_no_memory(lmq_receiver *r);

/* ---- hand.c */
/* Gives the locks of [first, end) back. */
void receiver_give(lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end);
/* Whether all of [first, end) is claimed. */
bool receiver_has(const lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end);
/* Whether anything of the lane is in our hands. */
bool receiver_busy(const lmq_receiver *r, uint16_t lane);
/* Takes [first, end) out of what is claimed and gives its locks back; receiver_tidy() must follow. False: no memory. */
bool receiver_forget(lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end);
void receiver_tidy(lmq_receiver *r);
void receiver_forget_leased(lmq_receiver *r);	/* leases are nobody's business here any more */
void receiver_holding(lmq_receiver *r, bool holding);	/* tells it to others */
/* Somebody who found everything taken may be asleep. */
void receiver_wake(lmq_receiver *r);
/* The first count messages are settled. */
void receiver_forget_first(lmq_receiver *r, size_t count);
/* The first count claimed messages, part by part: i and count go on from call to call. False behind the last. */
bool receiver_part(const lmq_receiver *r, size_t *i, size_t *count, struct run *part, uint16_t *lane);
/* Before the message is handed out: should we die over it, that is an attempt. */
void receiver_trace(lmq_receiver *r, uint64_t offset, uint32_t attempt);
/* [first, end) is settled, returned, or a lease. */
void receiver_untrace(lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end);

/* ---- member.c */
/* Joins those who share the queue or the group; once. */
int member_join(lmq_receiver *r);
/* With several lanes: gives up what is more than our share, and with take, takes what is less: whether there was. */
bool member_balance(lmq_receiver *r, bool take);
void member_leave(lmq_receiver *r);	/* the descriptor is closed next */
/* Sets members and owner of groups of the channel. */
void member_list(lmq_channel *c, struct lmq_group_info *list, size_t count);

/* ---- view.c */
int view_fresh(lmq_receiver *r);	/* a new snapshot */
int view_lane(lmq_receiver *r, struct lane *l);	/* what it shows of the lane, and the rules of the whole */

/* ---- claim.c */
/* Looks again, and keeps of what was locked last what is still ready; how many. */
int claim_look_again(lmq_receiver *r, struct lane *l, size_t *count);

/* ---- sift.c: what may not be handed out is set aside; each may leave the snapshot paused */
int sift_missed(lmq_receiver *r, struct lane *l);
int sift_due(lmq_receiver *r, struct lane *l);
int sift_crashed(lmq_receiver *r, struct lane *l, size_t *count);
int sift_content(lmq_receiver *r, struct lane *l, size_t *count);	/* expired messages, and holes */
/* Where a message that waits for its retry holds up those behind it; UINT64_MAX. */
int sift_barrier(lmq_receiver *r, struct lane *l, uint64_t *barrier);

/* ---- groups.c, enrol.c */
/* Whether the channel can have groups, and the group (NULL: no matter) that name; and the sentence where it has not. */
int groups_check(lmq_channel *c, const char *group);
int groups_missing(lmq_channel *c, const char *group);
int groups_listed(lmq_channel *c, struct snapshot *p, const char *group, bool *there);	/* in the first lane */
/* Opens the position of a group of a topic or stream, made where it is missing and flags say so. LMQ_ENOENT. */
int group_open(lmq_channel *c, const struct lmq_receiver_options *o);
/* Its two steps: where it is to start in each lane, and its making within a transaction, unless it is there. */
int group_places(lmq_channel *c, const struct lmq_receiver_options *o, uint64_t offsets[LMQ_PARTITIONS_MAX]);
int group_enrol(struct txn *t, lmq_channel *c, const char *group, const uint64_t *offsets, bool *made);

#endif
