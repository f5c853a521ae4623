/* SPDX-License-Identifier: ISC */
/*
 * A prepared store with channels of every kind, and operations on it, for programs that stop an operation, fail its
 * system calls or starve it at every point. Each operation is one call that changes the store, or only looks at it,
 * with what has to come before and after.
 *
 * Every message has a number, with which its body begins. What was tried and what was acknowledged of it is noted
 * in memory that the processes share; witness.h compares that with what is stored.
 */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "crash.h"

enum { NUMBERS = 2000, OLD_NUMBERS = 400, BATCH = 40, LARGE = 150 << 10 };

enum { NO, TRIED, DONE };
struct note {			/* of one message */
	uint8_t sent, gone;	/* NO, TRIED, DONE: acknowledged */
	uint8_t copies;		/* more than one of it may be stored */
};

struct progress {		/* of one operation; in shared memory */
	bool opened;		/* its store was */
	bool done;		/* the call that changes the store answered 0 */
	int status;		/* how it ended: 0, or that of the first call that failed */
	int after;		/* that of a message sent with the same handle afterwards */
	int open_files;		/* more than before, at the very end */
	int64_t when;		/* the monotonic clock when it got what it waited for, or when it ended */
	char sentence[256];
};

struct act {			/* an operation that is carried out */
	const struct operation *what;
	const char *path;	/* of the store */
	lmq_store *store;
	unsigned first;		/* the number of its first message */
	int64_t patience;	/* ns; 0: the default */
	bool goes_on;		/* a message with the same handle afterwards */
	struct note *notes;
	struct progress *progress;
};

struct operation {
	const char *name;
	int (*work)(struct act *a);
	enum {
		READS = 1,	/* waits for no writer */
		LOOSE = 2,	/* in several transactions, or also of its own accord: a failure may leave a part of it */
		OPENS = 4,	/* it is about opening: all of that belongs to it */
	} flags;
	int may[3];		/* how it may also end beside another operation; 0: no more */
};
extern const struct operation operations[];
extern const unsigned operation_count;
const struct operation *operation_named(const char *name);

/* Where the operation stands, for a tracer: a system call of a number that no kernel has. on_sign, if set, instead. */
enum { SIGN = 0x6d71, SIGN_BEGIN = 1, SIGN_END, SIGN_LEFT };
void sign(struct act *a, int which);
extern void (*on_sign)(struct act *a, int which);

/* What operations are made of. What the call that changes the store answered: */
int act_change(struct act *a, int rc);
/* Adds a message of that number, with its body. */
int act_add(struct act *a, lmq_writer *w, lmq_channel *c, struct lmq_message m, unsigned number);
/* Notes that all messages from first on, count of them, may be gone from now on. */
void may_go(struct act *a, unsigned first, unsigned count);
/* The number of a message; NUMBERS if it has none. */
unsigned number_of(struct lmq_bytes body);
void print_body(char *body, size_t size, unsigned number);

#endif
