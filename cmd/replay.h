/* SPDX-License-Identifier: ISC */
/*
 * The parts of mq-replay. A strand is one channel that is read (strand.c); several are twined into one by
 * time (twine.c). newest.c knows the last message of each key, tempo.c when a message is to leave, kept.c
 * copies messages. mq-replay.c has the options and the loop.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include "reading.h"

struct kept {			/* a copy of a message */
	struct lmq_message message;
	char *room;
	size_t size;
};
/* Copies all but a body that does not lie in one piece. */
void message_keep(struct kept *kept, const struct lmq_message *message);

struct strand {
	char name[LMQ_NAME_MAX + 1];
	uint32_t id;
	lmq_channel *channel;
	lmq_reader *reader;
	struct form form;
	struct body_source source;
	size_t number;			/* among the strands */
	struct lmq_message message;	/* the one that was read last, */
	bool pending;			/* and not handed out yet; */
	bool kept;			/* it is that of copy */
	struct kept copy;
	bool over;			/* nothing more of it is wanted */
	uint64_t told;			/* missed messages that were told of */
};

/* A message of a strand, in the order of reading. */
struct place {
	int64_t time;
	size_t strand;
	uint32_t partition;
	uint64_t offset;
};

struct replay {
	/* what the command line says */
	char **operands;
	size_t operand_count;
	struct selection selection;
	struct range range;
	struct form form;
	int64_t partition;		/* only that one; -1: all */
	bool reverse, loop, newest, strict;
	double speed, rate;		/* 0: not given */
	bool following;			/* it waits for more at the end */
	/* how things stand */
	lmq_store *store;
	lmq_watch *watch;		/* NULL: we never wait */
	struct strand **strands;
	size_t strand_count;
	struct strand **heap;		/* those that have a message, the next one first */
	size_t heap_size;
	int64_t held;			/* when the strands' snapshots began; */
	unsigned steps;			/* messages read since somebody looked */
	uint64_t from, to;		/* offsets */
	struct place cut;		/* with --last and --reverse: the oldest message that is wanted */
	bool cut_set, cut_all;		/* cut_all: none is */
	bool raw;			/* every message is handed out: what is wanted is not asked, */
	bool plain;			/* or nothing was said of it */
	bool surveying;			/* every message in the range is, whatever its key and headers */
	uint64_t written, missed;
};

void replay_check(const struct replay *r, int status);	/* ends the tool where it is a failure */

/* ---- strand.c ------------------------------------------------------------------------------------- */

/* Opens what the operands name. False: something that is waited for did not appear in time. */
bool strands_open(struct replay *r);
void strands_close(struct replay *r);
/* The next message of the strand that is wanted, in s->message. LMQ_END, LMQ_EINTR or a failure. */
int strand_fetch(struct replay *r, struct strand *s);
/* Gives the snapshots back; what was read and not handed out yet is copied. */
void strands_pause(struct replay *r);
void strands_tell(struct replay *r);	/* of missed messages */
bool strands_over(const struct replay *r);

/* ---- twine.c -------------------------------------------------------------------------------------- */

/* Puts all strands to the begin of the range. */
void twine_begin(struct replay *r);
/* The next message of all, in (*next)->message. As strand_fetch(). */
int twine_next(struct replay *r, struct strand **next);

/* ---- newest.c ------------------------------------------------------------------------------------- */

void newest_open(void);
/* Takes the message for the last one of its key. Dies if there is no room. */
void newest_put(const struct strand *s);
bool newest_is(const struct strand *s);		/* it is, and no tombstone */

/* ---- tempo.c -------------------------------------------------------------------------------------- */

void tempo_begin(struct replay *r);	/* a round */
/* Until when to wait before the message is written, as a deadline; what lies in the past is due. */
int64_t tempo_due(const struct replay *r, const struct lmq_message *message);

#endif
