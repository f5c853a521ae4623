/* SPDX-License-Identifier: ISC */
/* Bytes, numbers and texts: what knows of no store. */
#ifndef BASE_H
#define BASE_H

#include "format.h"
#include "libmq.h"

#include <stdlib.h>
#include <sys/types.h>

/* ---- hash.c: SipHash-2-4 --------------------------------------------------------------------- */

uint64_t hash64(const uint8_t key[16], const void *data, size_t size);
void hash128(const uint8_t key[16], const void *data, size_t size, uint8_t out[16]);

struct hash_state {		/* of a hash64 whose data comes in pieces */
	uint64_t v[4];
	uint64_t tail;		/* the last size mod 8 bytes */
	uint64_t size;		/* so far */
};
void hash_begin(struct hash_state *h, const uint8_t key[16]);
void hash_add(struct hash_state *h, const void *data, size_t size);
uint64_t hash_end(struct hash_state *h);

/* ---- clock.c --------------------------------------------------------------------------------- */

int64_t clock_monotonic(void);
int64_t clock_boot(void);	/* since the machine was started, sleep included; nobody can set it */
/* Which boot that is counted from; differs in another time namespace, which has an offset. 0: not known. */
uint32_t boot_number(void);

#endif
