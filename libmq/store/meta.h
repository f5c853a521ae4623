/* SPDX-License-Identifier: ISC */
/* LMDB's meta page, of data version 1 on 64-bit machines, as LMDB 0.9 writes it, in the byte order of the machine. */
#ifndef META_H
#define META_H

#include <stdint.h>

enum { META_FLAG = 8, META_MAGIC = 0xBEEFC0DE, META_VERSION = 1 };

struct meta_page {
	uint64_t number;
	uint16_t pad, flags, lower, upper;
	uint32_t magic, version;
	uint64_t address, map_size;
	struct {
		uint32_t page_size;	/* in the first one only */
		uint16_t flags, depth;
		uint64_t branches, leaves, overflows, entries, root;
	} tree[2];		/* the list of free pages, and the main table, which is ours */
	uint64_t last, transaction;
};

#endif
