/* SPDX-License-Identifier: ISC */
/* Who else is there while an operation is carried out, and what keeps others from going on. */
#ifndef COMPANY_H
#define COMPANY_H

#include "crash.h"

/* DEAD: somebody has the store open, and another one died in a transaction, with a snapshot. */
enum company { ALONE, KEEPER, DEAD, COMPANIES };
pid_t invite(const char *path, enum company company);	/* 0: nobody stays */
void send_away(pid_t keeper, const char *when);

/* Of the store, or of the one that is being made beside it: path-fresh. */
bool gate_taken(const char *path);
bool writer_at_work(const char *path);
bool has_readers(const char *path, pid_t pid);	/* LMDB's mutex of its table of readers is that process's */

#endif
