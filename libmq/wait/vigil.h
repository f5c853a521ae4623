/* SPDX-License-Identifier: ISC */
/* Vigils: waiting for the death of those who hold what we wait for (vigil.c). */
#ifndef VIGIL_H
#define VIGIL_H

#include "channel/channel.h"

#include <poll.h>

enum { VIGIL_MAX = 128 };	/* pidfds */

struct vigil_mark {
	struct roster_mark who;
	bool holding;
	bool dead;		/* its locks are gone */
	int fd;			/* pidfd; -1 */
	int64_t linger;		/* dead, but its locks are not gone: until when to look at that; 0 */
};

struct vigil {			/* all zero at the start */
	struct vigil_mark *marks;	/* in the order of slots */
	size_t count;
	struct vigil_mark *spare;	/* where the next list is made; both have room for ROSTER_SLOTS */
	size_t open;			/* pidfds */
};

/* Takes note of who holds messages of the space now. True: one of them has left its messages to others. */
bool vigil_look(struct vigil *v, lmq_store *s, uint32_t space);
/* Puts down what is to be polled, at most VIGIL_MAX; how many. */
size_t vigil_poll(const struct vigil *v, struct pollfd *fds);
/* After a poll. True as above. */
bool vigil_polled(struct vigil *v, lmq_store *s, const struct pollfd *fds, size_t count);
/* The time until which to sleep, at most until; and a look when it has come. True as above. */
int64_t vigil_until(const struct vigil *v, int64_t until);
bool vigil_again(struct vigil *v, lmq_store *s);
void vigil_close(struct vigil *v);

#endif
