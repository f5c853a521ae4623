/* SPDX-License-Identifier: ISC */
/* Who else is there while an operation is carried out, and what keeps others from going on. */
#ifndef COMPANY_H
#define COMPANY_H

#include "crash.h"

/* DEAD: somebody has the store open, and another one died in a transaction, with a snapshot. */
enum company { ALONE, KEEPER, DEAD, COMPANIES };
pid_t invite(const char *path, enum company company);	/* 0: nobody stays */
/* Who reads "jobs": pages that are freed meanwhile cannot be used again, so every commit needs new ones. */
pid_t invite_reader(const char *path);
void send_away(pid_t guest, const char *when);

/* Of the store, or of the one that is being made beside it: path-fresh. */
bool gate_taken(const char *path);
bool writer_at_work(const char *path);
bool has_readers(const char *path, pid_t pid);	/* LMDB's mutex of its table of readers is that process's */

#endif
