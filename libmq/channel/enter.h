/* SPDX-License-Identifier: ISC */
/* How messages enter a position, where their place alone does not say when they are delivered (enter.c). */
#ifndef ENTER_H
#define ENTER_H

#include "channel.h"

enum { BLOCKED_MAX = 100000 };	/* of a group's lane at once */

/* Enters the messages of the batch, which lie in the log of the queue from first on. */
int enter_batch(struct queue *q, const struct batch *b, uint64_t first, bool ordered);
/* A settled message of a group is to be delivered again, as if never delivered. */
int enter_again(struct queue *q, uint64_t offset, struct lmq_bytes key);
/* Enters the next messages of a group with order=key, in a bounded transaction of its own. */
int enter_more(lmq_store *s, uint32_t id, uint16_t lane, const char *group, uint64_t *missed);

#endif
