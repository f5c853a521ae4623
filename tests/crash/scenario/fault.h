/* SPDX-License-Identifier: ISC */
/* System calls that fail in a traced process, in each way in which the kernel can let them fail. */
#ifndef FAULT_H
#define FAULT_H

#include "crash.h"

enum { SHORT = 1000, ERRORS = 6 };	/* SHORT: it is made, for half of the bytes */

/* A sanitizer dies itself of calls that fail, and does not stand a tracer. */
#ifdef __SANITIZE_ADDRESS__
enum { CALLS_CAN_FAIL = false };
#else
enum { CALLS_CAN_FAIL = true };
#endif

struct call {
	long number;
	const char *name;
	int errors[ERRORS];	/* 0: no more */
};

/* The call that a stopped process is about to make, and its row if it can fail. */
const struct call *call_at(pid_t pid, long *number, uint64_t arguments[6]);
bool can_fail(const struct call *c, int error);
bool lasts(int error);		/* it may go on like that; nobody is interrupted for ever */
/* The call is not made, and answers that. The process then stands behind it. */
void fail_call(pid_t pid, int error);
const char *error_name(int error);

#endif
