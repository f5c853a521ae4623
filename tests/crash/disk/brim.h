/* SPDX-License-Identifier: ISC */
/* A small filesystem with a store, filled to the brim: in a mount namespace of the process. */
#ifndef BRIM_H
#define BRIM_H

#include "crash.h"

enum { BRIM_PAGE = 4096, BRIM_SIZE = 4 << 20 };

extern char brim_store[4200];

/* NULL, or why no filesystem can be mounted. */
const char *brim_begin(const struct trial *t);
void brim_mount(const char *name);
void brim_away(const char *name);
/* A file of somebody else's leaves no more than so many pages. */
void brim_fill(unsigned pages);

/* Runs work(argument) in a child, which has to end with 0. */
void brim_run(const char *name, int (*work)(void *), void *argument);
/* In one commit, to "jobs"; what fails is dropped. */
int brim_put(struct desk *d, unsigned count, unsigned size, int64_t ttl);
/* A child that sends 200 bytes at a time until the disk is full. */
int brim_send(void *argument);

#endif
