/* SPDX-License-Identifier: ISC */
/* A data file written anew. */
#ifndef COPY_H
#define COPY_H

#include "pages.h"

struct copy {
	lmq_store *from, *to;	/* to: for the sentence where writing fails */
	int directory;		/* where the file is made, which must not be there yet; */
	const char *name;	/* after a failure it may be */
	bool compact;
	bool (*progress)(const struct lmq_copy *sofar, void *context);
	void *context;
	struct lmq_copy sofar;
};
int copy_data(struct copy *c);	/* complete and synced; LMQ_EINTR, LMQ_EDAMAGED (if compact) */

/* ---- what copy.c and repack.c share ------------------------------------------------------------- */

enum { COPY_COMMIT = 8 << 20 };		/* bytes of a transaction */
enum { META_SIZE = 512, META_NUMBER = 0, META_FLAGS = 44, META_TRANSACTION = 144 };	/* offsets, see page.c */

struct job {
	struct copy *copy;
	lmq_store *from, *to;
	struct snapshot snapshot;
	int in, out;		/* descriptors of the data files */
	uint64_t transaction;	/* of the snapshot */
	uint64_t entries;
	struct page_file file;	/* the source */
	struct page_meta meta;	/* the snapshot's, and its bytes */
	uint8_t bytes[META_SIZE];
	uint64_t flushed, flushing;	/* bytes that are on the disk, and on their way to it */
};

/* For an errno, or a status of LMDB, from writing the new file. */
int copy_write_failed(struct job *j, int error);
/* Tells how far it is. EAGAIN: everybody has to close the environment (F4), and so have we. */
int copy_advance(struct job *j, uint64_t done);
/* Writes both meta pages: they say the same, the older one under the number before, so either may be the one that counts. */
int copy_metas(struct job *j, const uint8_t bytes[META_SIZE]);

int copy_compact(struct job *j);	/* repack.c */

#endif
