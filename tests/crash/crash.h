/* SPDX-License-Identifier: ISC */
/*
 * What the crash tests share: children that work on a store, a tracer that stops them at a system call, and
 * a check of what is stored. A program ends with 0, or with 1 after one line that says what is wrong.
 *
 * The parent never has a store open: what it wants to know it asks a child.
 */
#ifndef CRASH_H
#define CRASH_H

#include "channel/channel.h"

#include <libmq.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define need(condition, ...) ((condition) ? (void)0 : broken(__VA_ARGS__))
_Noreturn void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum { MS = 1000000, KILLED = 128 + 9 };

/*
 * How a program of the torture tier is called: PROGRAM [-n COUNT] [-r SEED] [-x STATE] PLACE [WORD]...
 * PLACE is a directory that is there and empty. Its last line on stdout are its figures.
 */
struct trial {
	const char *place;
	uint64_t count;		/* how many of what it tries; 0: all there are */
	uint64_t only;		/* just this one, to look at it again; UINT64_MAX: not given */
	char **words;		/* a deliberate fault, or what the program says; ends with NULL */
};
struct trial trial_begin(int argc, char **argv);	/* sets seed, and the command that broken() tells */
bool trial_word(const struct trial *t, const char *word);
/* What broken() names as the one to look at again; UINT64_MAX: none. */
extern uint64_t trial_state;

/* An open store with the queue "jobs" and a writer for it. */
struct desk {
	lmq_store *store;
	lmq_channel *queue;
	lmq_writer *writer;
};

/* flags: LMQ_CREATE or 0; patience in ns, 0: the default. */
int desk_open(struct desk *d, const char *path, unsigned flags, int64_t patience);
void desk_close(struct desk *d);
/* Adds a message and commits it. */
int desk_put(struct desk *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Opens, puts, closes. */
int put_once(const char *path, const char *text);

/* Calls work(argument) in a child, which ends with its result; a result below 0 becomes 100 - result. */
pid_t child(int (*work)(void *), void *argument);
/* The exit status, or 128 + signal. */
int end_of(pid_t pid);
bool has_ended(pid_t pid);
int in_child(int (*work)(void *), void *argument);
/* Waits until it has ended, or was asleep for a while whenever looked at. True: it has ended. */
bool settled(pid_t pid);
bool settled_soon(pid_t pid);	/* the same, after a moment */
bool is_asleep(pid_t pid);

/* As child(), stopped at its first system call. */
pid_t traced(int (*work)(void *), void *argument);
/* Lets it run to where it enters its next system call; false when it has ended, with *status as end_of. */
bool step(pid_t pid, int *status);
/* The number of the call it stands at, and its arguments. */
long call_of(pid_t pid, uint64_t arguments[6]);
/* Lets it run to where the kernel has done that call, and not further. */
void finish_call(pid_t pid);
/* Lets it run on its own. */
void untrace(pid_t pid);
void kill_traced(pid_t pid);

/* Pipes for "I am there" and "go on". */
struct turn {
	int fd[2];
};
void turn_init(struct turn *t);
void turn_give(struct turn *t);
void turn_wait(struct turn *t);

/* The texts stored in "jobs", in order, as one string of lines; for the caller to free. In this process. */
char *stored_texts(const char *path);
/* The store holds at least the first acknowledged numbers 0, 1, ... and at most attempted, in order. In a child. */
void check_numbers(const char *path, unsigned acknowledged, unsigned attempted, const char *when);

void remove_tree(const char *path);
void *shared_memory(size_t size);
void nap(void);		/* a millisecond, while polling */
void wait_us(uint32_t us);	/* less than a second */

/* rand(3) by a seed that is printed when something breaks. */
extern uint64_t seed;
uint32_t draw(uint32_t below);

#endif
