/* SPDX-License-Identifier: ISC */
/* Whether the store that a crash left is one that it may leave. */
#ifndef JUDGE_H
#define JUDGE_H

#include "image.h"
#include "story.h"

/* Breaks where mq-check would find something. */
void store_sound(lmq_store *s);
/* Of all keys and values. */
uint64_t store_digest(MDB_txn *t);
/*
 * Opens the store, checks it, compares it with what was acknowledged and attempted (relaxed: up to the last commit may be
 * undone), sends and receives a message. Breaks where something is wrong.
 */
void judge(const struct image *i, const struct story *s, const char *path, bool relaxed);

#endif
