/* SPDX-License-Identifier: ISC */
/*
 * The chain of blocks of a stream with audit=yes: each block holds the SHA-256 of the block before it, which
 * holds that of the one before. So the link of the newest block stands for everything before it, and whoever wrote
 * it down finds out about every change, also one by somebody who can compute a CRC. A block is hashed once, when the
 * next one is begun, and is never rewritten after that.
 */
#include "log.h"

#include "base/sha256.h"

#include <string.h>

void audit_link(const void *key, size_t key_size, const void *value, size_t size, uint8_t out[DIGEST_SIZE])
{
	static const uint8_t none[LINK_SIZE];
	const uint8_t *p = value;
	size_t link = size >= BLOCK_HEADER + LINK_SIZE && p[5] & BLOCK_HAS_LINK ? LINK_SIZE : 0;
	size_t header = size < BLOCK_HEADER ? size : BLOCK_HEADER;
	struct sha256 h;
	sha256_begin(&h);
	sha256_add(&h, link ? p + BLOCK_HEADER : none, LINK_SIZE);
	sha256_add(&h, key, key_size);
	sha256_add(&h, p, header);
	sha256_add(&h, p + header + link, size - header - link);
	sha256_end(&h, out);
}
