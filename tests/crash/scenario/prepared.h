/* SPDX-License-Identifier: ISC */
/* The store that the operations of scenario.h find, and how one of them is carried out in a process of its own. */
#ifndef PREPARED_H
#define PREPARED_H

#include "scenario.h"

/* The numbers of the messages in each channel of the prepared store begin here. */
enum { JOBS = 0, LEASES = 20, FAILING = 40, DEDUP = 60, EVENTS = 80, TABLE = 100, PARTS = 120, TRIMMED = 140,
	AGED = 160, GONE = 180, LETTERS = 200, LATE = 220, NARROW = 240 };

/* Makes the store; notes of what it holds are set. In a child. */
void scenario_prepare(const char *path, struct note *notes);
/* Makes to a copy of the store, which nobody uses now. */
void scenario_copy(const char *from, const char *to);
/* Opens the store, does it, sends a message with the same handle, and closes: for child() and traced(). Its result is
 * 0; progress tells the rest. */
int scenario_act(void *act);
int send_after(lmq_store *s);	/* one message to the queue "after" */
unsigned open_files(void);

/* For who traces one of these: whether it stands at that sign; to its first sign, and on to its call-th call from there,
 * false if it does not make as many. when: for what breaks. */
bool stands_at(pid_t pid, uint64_t which);
void run_to_begin(pid_t pid, const char *when);
bool run_to(pid_t pid, unsigned call, const char *when);

#endif
