/* SPDX-License-Identifier: ISC */
/* SHA-256 (FIPS 180-4), which chains the blocks of streams that are audited. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, SHA256_BLOCK = 64 };

struct sha256 {
	void (*compress)(uint32_t state[8], const uint8_t *data, size_t blocks);
	uint32_t state[8];
	uint64_t size;			/* bytes so far */
	uint8_t rest[SHA256_BLOCK];	/* the last size mod 64 of them */
};

void sha256_begin(struct sha256 *h);
void sha256_begin_portable(struct sha256 *h);	/* without the processor's help, so that tests can compare */
void sha256_add(struct sha256 *h, const void *data, size_t size);
void sha256_end(struct sha256 *h, uint8_t digest[SHA256_SIZE]);

#endif
