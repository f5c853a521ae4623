/* SPDX-License-Identifier: ISC */
/*
 * People who work on a store and write into the ledger what they do: for programs that disturb them.
 *
 * Each of them is a process of its own. It opens the store, creates what is missing, does a few things of its kind, and
 * ends; it may be killed or stopped at any instant. What it could not have been told, LMQ_EIO or a damaged store, ends
 * it with 1 and a sentence.
 */
#ifndef ACTORS_H
#define ACTORS_H

#include "crash.h"
#include "ledger/ledger.h"

enum where {			/* places of the ledger */
	NOWHERE,
	JOBS,			/* a queue */
	OTHER,			/* a queue into which messages of jobs are moved */
	KEYS,			/* a queue with order=key */
	ONCE,			/* a queue with dedup */
	EVENTS,			/* a topic with a group */
	LANES,			/* a stream with partitions, and a group whose members share them out */
	RECENT,			/* a stream that keeps few messages */
	LATEST,			/* a stream that keeps the newest of each key */
	PASSING,		/* a queue that is removed and made anew */
	PLACES
};

enum kind { PRODUCER, CONSUMER, LEASER, MOVER, READER, TRIMMER, REMOVER, CHECKER, VISITOR, SENDING_TOOL,
	RECEIVING_TOOL, WORKING_TOOL, KINDS };

struct stage {			/* shared memory */
	_Atomic uint64_t commits, wakes, checks;
	_Atomic int64_t committed;	/* when the last one was, monotonic */
	_Atomic uint32_t once[64];	/* ids that were sent to the place ONCE, to be sent again */
	_Atomic uint32_t once_next;
};

struct actor {
	enum kind kind;
	uint32_t who;
	uint64_t seed;
	uint32_t rounds;	/* how often it does what it does */
};

extern struct ledger *ledger;
extern struct stage *stage;
extern const char *store_path;
extern char tools[4096];	/* the directory of the tools; "": none */
/* Mistakes: believe before being told; commit a batch in two parts; settle nothing, and say so. */
extern bool early, torn, lazy;

void actors_begin(const char *path, uint64_t entries);
int actor_work(void *actor);	/* for child() */
enum kind actor_kind(uint32_t random);
/* Receives all there is, until nothing is left; reads what streams keep; holds all of the store against itself. */
int actors_finish(void *unused);
/* What killed tools have received. */
void actors_gather(void);

#endif
