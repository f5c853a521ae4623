/* SPDX-License-Identifier: ISC */
/*
 * An operation of scenario.h that is disturbed at one point, again and again: each time on a fresh copy of the prepared
 * store. What the store is like before it and after it is known.
 */
#ifndef EXPERIMENT_H
#define EXPERIMENT_H

#include "witness.h"

extern char prepared[4100], path[4100];	/* the store as it was prepared, and the copy */
extern char fresh[4200];	/* one that the operation may make beside it */
extern char name[256];		/* what is tried just now */
extern struct note *notes, *first_notes;	/* of path, of prepared; in shared memory */
extern struct progress *progress;	/* of the first process, and of a second */
extern struct view *now, *before, *after;

/* Prepares the store. From then on an alarm means that what is tried hangs. */
void experiment_begin(const struct trial *t);
/* The store and the notes as they were prepared, nothing beside it, no progress. */
void experiment_anew(void);
/* The operation, to be carried out by the first process. */
struct act experiment_act(const struct operation *what, int64_t patience);
/* It was carried out undisturbed: what the store is like after it, and before. The copy is used up. */
void experiment_learn(int64_t patience);
/* Of now: all of the operation, or nothing; which of the two, its answer tells. */
void experiment_judge(const struct operation *what);
/* A store can be made, or used, where the operation was to make one. */
void experiment_use_fresh(int64_t patience);

#endif
