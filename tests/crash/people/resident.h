/* SPDX-License-Identifier: ISC */
/*
 * Those who live in a store: messages go through a queue and a stream, and each of them says whether it is in the middle of
 * reading, or has no business to be in a snapshot.
 */
#ifndef RESIDENT_H
#define RESIDENT_H

#include "crash.h"

enum { MIB = 1 << 20, BODY = 2000, KEPT = 250 };	/* bytes of a message; messages that the stream keeps */

enum role { PRODUCER, CONSUMER, WAITER, RECEIVER, PAUSER, HOLDER, PEOPLE };
enum where { COMING, READING, OUTSIDE };

struct residents {		/* in shared memory */
	_Atomic uint64_t sent, settled;		/* messages */
	struct {
		_Atomic int where;
		_Atomic uint32_t lap;
		_Atomic uint64_t since;		/* sent until then */
	} person[PEOPLE];
};
extern struct residents *residents;

/* inside: the fault that they say they have paused, and have not. */
void residents_begin(const char *path, bool inside);
int resident_work(void *role);		/* for child(), until it is killed */
void resident_at(enum role role, enum where where);

#endif
