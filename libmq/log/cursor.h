/* SPDX-License-Identifier: ISC */
/* A cursor on a log, as its parts see it: forward and by time (cursor.c), backward (backward.c). */
#ifndef CURSOR_H
#define CURSOR_H

#include "log.h"

/* LMDB's cursor to the first key from (offset, part 0) on; whether it is that very one. */
int block_seek(struct log_cursor *c, uint64_t offset, bool *exact);
/* Moves LMDB's cursor and loads what it finds. LMQ_END where there is no such block of the lane. */
int block_step(struct log_cursor *c, MDB_cursor_op op);
/* The bytes of a record of that size that begins at c->at, and of which the block lacks the end; c->offset is already
 * that of the record behind it. The cursor is then in the block in which it ends. */
int record_gather(struct log_cursor *c, size_t size, struct record *r);
/* Whether blocks may be missing. */
bool log_has_gaps(const struct log_cursor *c);
int log_hole(struct log_cursor *c);
int log_bad_record(struct log_cursor *c);

#endif
