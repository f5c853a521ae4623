/* SPDX-License-Identifier: ISC */
/* Messages on the disk, without regard to kinds of channels: logs of blocks, large bodies, runs. */
#ifndef LOG_H
#define LOG_H

#include "message/message.h"

/* ---- blob.c: large bodies -------------------------------------------------------------------- */

/* Stores data as the next parts, in a transaction of its own. *number 0: a new body, which owner (a descriptor
 * on the control file) is locked as being written by. */
int blob_append(lmq_store *s, int owner, uint64_t *number, uint32_t *part, const uint8_t *data, size_t size);
int blob_commit(struct txn *t, uint64_t number);	/* it has a message now */
int blob_share(struct txn *t, uint64_t number);	/* one more message has it */
int blob_drop(struct txn *t, uint64_t number);		/* one less: to be swept if that was the last */
void blob_release(int owner, uint64_t number);		/* the lock */
bool blob_orphan(lmq_store *s, uint64_t number);	/* nobody is writing it any more */
int blob_piece(lmq_store *s, struct snapshot *p, const struct blob *b, uint64_t at, struct lmq_bytes *piece);

/* ---- batch.c: messages encoded in memory ----------------------------------------------------- */

struct batch {			/* records one behind the other, VARINT_MAX bytes of room before the first */
	uint8_t *records;
	size_t size;
	size_t count;
	int64_t time;		/* of all of them */
	bool special, has_ttl, has_id;	/* some message has another priority, or waits; a ttl; an id */
	bool linked;		/* its log is a chain of hashes (audit.c) */
	uint8_t *memory;	/* NULL: somebody else's */
	size_t room;
};
/* False: no memory. batch_add_record takes a record with its length. */
bool batch_add(struct batch *b, const struct lmq_message *m, const struct blob *blob);
bool batch_add_record(struct batch *b, const uint8_t *record, const uint8_t *end);
/* Steps through the records: where each is, where what stands behind its length begins, its end. at is 0 first. */
bool batch_next(const struct batch *b, size_t *at, const uint8_t **record, const uint8_t **start, const uint8_t **end);
/* What a record stores, its large body with it. */
uint64_t record_bytes(const uint8_t *record, const uint8_t *start, const uint8_t *end);
/* How many of the first records are at most so many and so large, and the bytes that they take. */
size_t batch_prefix(const struct batch *b, uint64_t count, uint64_t bytes, size_t *size);
void batch_shift(struct batch *b, size_t count);	/* drops the first ones */
void batch_empty(struct batch *b);			/* keeps the memory */
void batch_free(struct batch *b);

/* ---- log.c, drop.c, cursor.c: append, drop, read --------------------------------------------- */

/* Appends the batch to the log; *first gets the offset of its first message. b->records is not changed. */
int log_append(struct txn *t, uint32_t id, uint16_t lane, struct batch *b, struct head_record *head);

struct log_cursor {
	struct snapshot *snapshot;
	uint64_t serial;	/* of the snapshot when block was loaded */
	uint32_t id;
	uint16_t lane;
	struct head_record head;
	struct block block;
	size_t at;		/* in block.payload */
	uint16_t left;		/* records that begin in block, not read yet */
	uint64_t offset;	/* of the next record */
	int64_t time;		/* of the last record */
	bool placed;		/* block, at, left are valid for this serial */
	bool reversed;		/* backward.c: block, starts, left are */
	uint64_t base;		/* key of block */
	uint32_t part;
	uint8_t *scratch;	/* for a record that straddles */
	size_t scratch_size;
	uint16_t *starts;	/* in block.payload, of the records that begin there */
};

struct record {
	const uint8_t *data, *end;
	uint64_t offset;
	int64_t time;
};

/* A block of the lane, as an LMDB cursor found it. LMQ_END: the key is not of that lane. */
int block_load(lmq_store *s, uint32_t id, uint16_t lane, const MDB_val *key, const MDB_val *value,
	struct block *b, uint64_t *offset, uint32_t *part);
void log_cursor_init(struct log_cursor *c, struct snapshot *p, uint32_t id, uint16_t lane);
void log_cursor_close(struct log_cursor *c);
/* A cursor at head->first within a write transaction, on a view that the caller provides; always to be left. */
int log_cursor_within(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *head,
	struct snapshot *view, struct log_cursor *c);
void log_cursor_leave(struct log_cursor *c);
/* Renews the view on the log's head. LMQ_EGONE. */
int log_refresh(struct log_cursor *c);
void log_seek(struct log_cursor *c, uint64_t offset);
int log_seek_time(struct log_cursor *c, int64_t time);	/* the first record not before it */
/* The next message. Holes and missing blocks are skipped. LMQ_END. */
int log_next(struct log_cursor *c, struct record *r);
int log_peek(struct log_cursor *c, int64_t *time);	/* when that one was stored */
/* backward.c: the message before, which is then the next one. */
int log_previous(struct log_cursor *c, struct record *r);
int log_peek_previous(struct log_cursor *c, int64_t *time);
/* Decodes a record and checks it. */
int log_message(struct log_cursor *c, const struct record *r, struct lmq_message *m, struct decoded *room,
	struct blob *blob);

/*
 * Drops messages below floor: they are gone at once, their blocks in this and later calls, at most
 * max_blocks a call. Where there are large bodies among them it may stop before floor.
 */
int log_drop(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t floor,
	unsigned max_blocks);
/* Blocks that lie wholly below head->first, at most max_blocks. */
int log_drop_blocks(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, unsigned max_blocks);
/* Blocks with a part of [first, end), if all they hold lies in [low, high). */
int log_drop_between(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const struct run *part,
	uint64_t low, uint64_t high);
/* The end of the messages that begin in that one's block, or of that one alone where some have large bodies: fewer of
 * them give nothing back. */
int log_block_end(struct txn *t, uint32_t id, uint16_t lane, uint64_t offset, uint64_t *end);
/* The messages leave the log, though not yet their blocks: their large bodies go to the sweeper, or, with keep, to
 * somebody else. */
int log_leave(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const struct run *part, bool keep);
/* The lowest block of the lane and its offset. LMQ_END. */
int log_first_block(lmq_store *s, MDB_cursor *cursor, uint32_t id, uint16_t lane, struct block *b,
	uint64_t *offset);

/* ---- hole.c ---------------------------------------------------------------------------------- */

/* The messages, in ascending order, stored and not holes, become holes; head follows. */
int hole_make(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const uint64_t *offsets,
	size_t count);

/* ---- audit.c: the chain of blocks ------------------------------------------------------------ */

enum { DIGEST_SIZE = 32 };
/* Of a block in its final form: what the next one's link is. */
void audit_link(const void *key, size_t key_size, const void *value, size_t size, uint8_t out[DIGEST_SIZE]);

/* ---- run.c: states of messages --------------------------------------------------------------- */

/* The run that contains from, or the first one behind it. LMQ_END. */
int run_at(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint64_t from, struct run_record *r);
/* The last run that begins before offset. LMQ_END. */
int run_before(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint64_t offset, struct run_record *r);
/* The first ready run of that class from offset from on, or of a later class. LMQ_END. */
int run_first_ready(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint8_t class, uint64_t from,
	uint8_t *found_class, struct run *r);
/* The run that is due first, not before from. LMQ_END. */
int run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first);
bool run_waits(const struct run_record *r);	/* for a time: it is in D */
/* A run with its index entries and counts; an empty one is nothing. */
int run_put(struct txn *t, struct group_record *g, const struct run_record *r);
int run_delete(struct txn *t, struct group_record *g, const struct run_record *r);

/* Unsettled messages of a key, in a queue with order=key. */
int chain_put(struct txn *t, uint32_t space, uint64_t hash, uint64_t offset);
int chain_delete(struct txn *t, uint32_t space, uint64_t hash, uint64_t offset);
int chain_first(struct txn *t, uint32_t space, uint64_t hash, uint64_t *offset);	/* LMQ_END */

/* ---- term.c: how long a lease lasts ---------------------------------------------------------- */

struct term {
	int64_t due;		/* by the wall clock */
	uint32_t boot;		/* as in a run */
	int64_t steady;
};
struct term term_from(lmq_store *s, int64_t now, int64_t duration);
void term_begin(struct run_record *r, const struct term *t);	/* the run becomes leased */
/* Its time is over by the wall clock; whether it lasts all the same. Then its due is another one, behind now. */
bool term_goes_on(lmq_store *s, struct run_record *r, int64_t now);
void term_end(struct run_record *r);	/* of a run that is leased no more */

#endif
