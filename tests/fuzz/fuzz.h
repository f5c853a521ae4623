/* SPDX-License-Identifier: ISC */
/*
 * Each file beside is a target: a decoder or parser that takes bytes of any origin, and what must hold for all of them.
 * It is linked twice: with main.c, which feeds it the files of tests/fuzz/corpus, and with clang's libFuzzer, which
 * looks for more (`make fuzz`).
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "channel/channel.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) ((condition) ? (void)0 : fuzz_broken(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_broken(const char *condition, const char *file, int line);

/* MQ_FUZZ_FAULT is set: the target makes the mistake that it looks for. */
bool fuzz_fault(void);

/* ---- the input as values ------------------------------------------------------------------------ */

struct taker {
	const uint8_t *at, *end;
};
uint64_t take_number(struct taker *t, size_t width);	/* 0 behind the end */
/* Up to a NUL or the end, at most so many bytes; lives until the input ends. */
char *take_text(struct taker *t, size_t most);
/* The same up to a line's end. */
char *take_line(struct taker *t, size_t most);
struct lmq_bytes take_bytes(struct taker *t, size_t size);	/* fewer at the end */
/* The rest, as memory of exactly its size. */
uint8_t *take_rest(struct taker *t, size_t *size);
void take_begin(struct taker *t, const uint8_t *data, size_t size);	/* ends the input before */

struct lmq_store *fuzz_store(void);	/* not open: for its sentence */

/* ---- functions of tools ------------------------------------------------------------------------- */

/*
 * Calls work in a surrounding where exit(), and writing, do nothing but to be noted: returns the status that it ended
 * with, or -1. What it allocated is freed.
 */
int fuzz_tool(void (*work)(void *argument), void *argument);
void fuzz_leave(void);	/* from a signal's handler: exit() and writing are the system's again */
void fuzz_keep(void);	/* what is allocated from now on stays: the tool has it for good */
struct lmq_bytes fuzz_printed(void);	/* to stdout, since; the next call overwrites it */
void fuzz_feed(const void *data, size_t size, size_t piece);	/* what read() gives, so much at once */

#endif
