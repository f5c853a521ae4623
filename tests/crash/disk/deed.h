/* SPDX-License-Identifier: ISC */
/* What stories are made of: each deed is a public call that changes the store, with what has to come before and after. */
#ifndef DEED_H
#define DEED_H

#include "crash.h"

struct deed_many {			/* messages of one transaction */
	unsigned count;
	size_t size;
	unsigned keys;		/* so many different ones; 0: none */
	unsigned ids;
	int64_t delay;
	int priority;
};

struct deed_hand {
	lmq_channel *channel;
	lmq_receiver *receiver;
	struct lmq_verdict verdicts[32];
	size_t count;
};

extern lmq_store *deed_store;
extern bool deed_builds;	/* another store, whose commits nobody sees */
/* Before the first one; told is called with what each answers, and that channel's next offset, where it is known. */
void deed_begin(const char *path, const char *channel, enum lmq_sync sync, void (*told)(int rc, uint64_t next));
void deed_open(void);		/* the store, made where there is none */
void deed_end(void);

bool deed_told(int rc, uint64_t next);
void deed_must(int rc);		/* of what is no change by itself */
void deed_make(const char *name, enum lmq_kind kind, const char *property);
void deed_send(const char *name, struct deed_many many);
void deed_send_large(const char *name, size_t size);
int deed_take(struct deed_hand *h, const char *name, const char *group, size_t most);
void deed_leave(struct deed_hand *h);
void deed_conclude(const char *name, const char *group, size_t most, enum lmq_outcome outcome, int64_t delay);
/* What is taken goes, with an answer to another queue, in one transaction. */
void deed_answer(const char *name, const char *to);
void deed_move(const char *from, const char *to, unsigned flags);
void deed_lease(const char *name, size_t most);
void deed_settle(const char *lease, enum lmq_outcome outcome);
void deed_sweep(void);
void deed_copy(void);		/* the store, to "copy" beside it */
void deed_repair(void);		/* the same, as a repair does it */
void deed_shrink(void);		/* compacts its file; it is closed in between */

#endif
