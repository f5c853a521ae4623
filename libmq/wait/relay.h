/* SPDX-License-Identifier: ISC */
/* Relays: words to wait for, and a thread that turns a change of one into a readable descriptor (relay.c). */
#ifndef RELAY_H
#define RELAY_H

#include "channel/channel.h"

#include <pthread.h>

enum { WORDS_MAX = 128 };	/* as many as the kernel takes */

struct word {
	_Atomic uint32_t *address;
	uint32_t seen;
};

struct word_list {
	struct word words[WORDS_MAX];
	size_t count;
};

bool words_changed(const struct word_list *l);
/*
 * Waits until one of them differs from what was seen: 0, ETIMEDOUT, EINTR; until is absolute, monotonic.
 * Where the kernel cannot wait for several words any stands for all; then 0 also without a cause.
 */
int words_wait(const struct word_list *l, struct notify_word *any, int64_t until);

struct relay {
	_Atomic int event;	/* eventfd; -1 */
	struct notify_word *any;
	bool running;
	pthread_t thread;
	pthread_mutex_t lock;	/* of what follows */
	bool quit;
	struct word_list list;
	_Atomic uint32_t task;	/* bumped when it changed */
	_Atomic uint32_t done;	/* the last task that was reported */
};

void relay_init(struct relay *r, struct notify_word *any);
/* From now on a change of one of these words, at most WORDS_MAX - 1, makes event readable. 0 or an errno. */
int relay_start(struct relay *r, const struct word *words, size_t count);
void relay_drain(struct relay *r);	/* event is not readable any more */
void relay_ring(struct relay *r);	/* makes it readable; also in a signal handler */
void relay_close(struct relay *r);

#endif
