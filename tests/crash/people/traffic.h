/* SPDX-License-Identifier: ISC */
/*
 * Those who work on a store while it is saved or compacted. The queue "jobs" holds the numbers 0, 1, ... in order: so it can
 * be said of each copy whether it is a state that the store had.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "crash.h"

struct traffic {		/* in shared memory */
	_Atomic unsigned acknowledged, attempted;	/* numbers in "jobs" */
	_Atomic unsigned turns;		/* commits of the one who sends and receives */
	_Atomic bool over;		/* all are to end */
};
extern struct traffic *traffic;

enum { STORED = 200 };		/* numbers, to begin with */

/* Makes the store. */
void traffic_begin(const char *path);

/* For child(), until it is over: sends numbers; sends and receives; opens the store, sends now and then, and closes it. */
int traffic_send(void *unused);
int traffic_churn(void *unused);
int traffic_come_and_go(void *unused);

/* Breaks where the store at that path is not sound. */
void traffic_check(const char *at, const char *when);
/* The same of a copy: it must hold all numbers up to one that had been sent, and so many at least. */
void traffic_check_copy(const char *at, unsigned least);

#endif
