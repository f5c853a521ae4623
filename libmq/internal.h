/* SPDX-License-Identifier: ISC */
/*
 * What the modules of libmq share. Grouped by module, from the ground up; a module includes this and calls
 * only what stands above its own group.
 */
#ifndef INTERNAL_H
#define INTERNAL_H

#include "format.h"
#include "libmq.h"

#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>

/* ---- error.c ------------------------------------------------------------------------------ */

struct error {
	char sentence[512];
	char hint[256];
};

/* Leave the sentence (and drop an older hint), return status. */
int fail(lmq_store *s, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void fail_hint(lmq_store *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For a failed system call on object: chooses the status by errno. */
int fail_errno(lmq_store *s, const char *object, int error);
/* For a status of LMDB (or an errno that came through it). */
int fail_lmdb(lmq_store *s, const char *object, int rc);
/* Bytes on the disk that no version of ours has written there. */
int fail_damaged(lmq_store *s, const char *what);

/* ---- clock.c ------------------------------------------------------------------------------ */

int64_t clock_monotonic(void);

/* ---- control.c: the shared page ------------------------------------------------------------- */

enum { NOTIFY_WORDS = 1024 };

struct notify_word {			/* a cache line of its own */
	_Atomic uint32_t sequence;	/* bumped after each commit that concerns it */
	_Atomic uint32_t waiters;	/* too high after a kill: costs a system call, never a wake-up */
	uint32_t pad[14];
};

struct control {			/* the control file; any content is survived */
	_Atomic uint64_t pid_namespace;	/* of the processes in LMDB's reader table */
	_Atomic uint32_t poison;	/* a commit failed with an I/O error: sync before the next one (F3) */
	_Atomic uint32_t generation;	/* bumped when everybody must close and reopen (F4) */
	_Atomic uint32_t repaired;	/* the generation for which somebody opened it first, alone */
	uint32_t pad[11];
	struct notify_word writer;	/* bumped when the writer lock is given back */
	struct notify_word catalogue;
	struct notify_word any;		/* every commit; for those who wait for more than they can list */
	struct notify_word channel[NOTIFY_WORDS];	/* by id */
};

/* OFD locks on the control file, far behind its end. In-flight messages lie above all of them (lease.c). */
#define STAGING_LOCK ((off_t)1 << 30)
#define STAGING_LOCKS ((uint64_t)1 << 30)
#define WRITER_LOCK ((off_t)1 << 31)

int control_open(lmq_store *s);		/* sets control_fd, control; stand-in memory where read-only */
void control_close(lmq_store *s);
/* Whether any process has the environment open. Only for one that has not: it would lose its locks. */
bool control_in_use(lmq_store *s);

/* ---- lock.c ------------------------------------------------------------------------------- */

int file_lock(lmq_store *s, int fd);	/* flock, with the store's patience: LMQ_EBUSY */
int gate_lock(lmq_store *s);
void gate_unlock(lmq_store *s);
/* LMQ_EBUSY. asleep: the signal mask while it waits. */
int writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep);
void writer_unlock(lmq_store *s);

/* Tries to lock [start, start + length) of the control file through fd: 0, or the errno. */
int range_lock(int fd, off_t start, off_t length);
void range_unlock(int fd, off_t start, off_t length);
/* A part of the range that another descriptor holds. False if there is none; in doubt all of it is held. */
bool range_taken(int fd, off_t start, off_t length, off_t *taken_start, off_t *taken_end);

/* ---- notify.c ------------------------------------------------------------------------------ */

void notify_wake(struct notify_word *word);
struct notify_word *notify_channel(lmq_store *s, uint32_t id);
void notify_everybody(lmq_store *s);
/* Waits until *word differs from seen; 0, ETIMEDOUT, EINTR. deadline is absolute, monotonic. */
int notify_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline);

/* ---- store.c, create.c, inspect.c ------------------------------------------------------------ */

struct snapshot;

struct lmq_store {
	struct error error;
	char *path;
	pid_t pid;			/* that opened it: the fork guard */
	dev_t device;
	ino_t inode;			/* of the directory; one handle per store and process */
	int directory;			/* descriptors; -1 when not open */
	int marker;			/* its flock is the gate */
	int control_fd;
	struct control *control;
	bool control_private;		/* no shared memory: a read-only filesystem */
	bool read_only;
	bool created;
	int64_t patience;
	MDB_env *env;			/* NULL while it has to be opened again */
	MDB_dbi table;
	uint32_t generation;		/* of the control page, when env was opened */
	size_t map_size;
	void *reserve;			/* memory kept for LMDB's recovery (F4) */
	bool writing;			/* a write transaction is open */
	struct snapshot *snapshots;	/* read transactions of all handles */
	lmq_store *next_open;		/* list of the process */
};

int store_create(lmq_store *s, const char *path);
int inspect_data(lmq_store *s);		/* before LMDB sees the file: both meta pages, its size */
int inspect_filesystem(lmq_store *s, int fd);
int inspect_owner(lmq_store *s, int fd);
int inspect_files(lmq_store *s);	/* all of them regular, and nobody else's */
/* Fork guard, and the environment is opened anew if somebody asked for it. */
int store_ready(lmq_store *s);
int store_reopen(lmq_store *s);		/* somebody asked for it */
int store_recover(lmq_store *s);	/* our environment is unusable: asks everybody for it */
int environment_open(lmq_store *s);	/* through the gate; EAGAIN, ENOTRECOVERABLE: not yet */
void environment_close(lmq_store *s);
char *descriptor_path(char buffer[32], int fd);	/* "/proc/self/fd/N" */

/* ---- snapshot.c ---------------------------------------------------------------------------- */

enum { RESERVE = 16 << 10 };	/* bytes of memory kept for LMDB's recovery */

/* A read transaction with a cursor; one per reader, given back while nothing is read. */
struct snapshot {
	lmq_store *store;
	MDB_txn *mdb;
	MDB_cursor *cursor;
	bool active;
	uint64_t serial;		/* changes when it is renewed: what was read before is void */
	struct snapshot *next;
};

void snapshot_init(lmq_store *s, struct snapshot *p);
int snapshot_begin(struct snapshot *p);		/* nothing if active */
void snapshot_pause(struct snapshot *p);	/* keeps its reader slot */
void snapshot_drop(struct snapshot *p);		/* gives its slot back */
void snapshot_close(struct snapshot *p);
void snapshot_drop_all(lmq_store *s);

/* ---- txn.c -------------------------------------------------------------------------------- */

struct txn {
	lmq_store *store;
	MDB_txn *mdb;
	sigset_t old_signals;
	unsigned char wake[NOTIFY_WORDS / 8];	/* bit: this word is woken after the commit */
	bool wake_any;
	bool wake_catalogue;
};

int txn_begin(lmq_store *s, struct txn *t);
/* Ends the transaction whatever it returns. sync: FULL or RELAXED (DEFAULT: as the store says). */
int txn_commit(struct txn *t, enum lmq_sync sync);
void txn_abort(struct txn *t);
void txn_wake(struct txn *t, uint32_t id);
/* Whether need more bytes may be stored: the store's max-bytes. 0 or LMQ_EFULL. */
int txn_room(struct txn *t, size_t need);

/* ---- record.c ------------------------------------------------------------------------------ */

/* Records in either kind of transaction. 0, LMQ_END where there is none, or a failure with a sentence. */
int get_value(lmq_store *s, MDB_txn *t, const struct key *k, MDB_val *value);
int put_value(struct txn *t, const struct key *k, const void *data, size_t size);
int put_reserve(struct txn *t, const struct key *k, size_t size, uint8_t **room);
int delete_key(struct txn *t, const struct key *k);	/* LMQ_END where there is none */

int get_store_record(lmq_store *s, MDB_txn *t, struct store_record *r);
int put_store_record(struct txn *t, const struct store_record *r);
int get_channel_record(lmq_store *s, MDB_txn *t, uint32_t id, struct channel_record *r);
int put_channel_record(struct txn *t, uint32_t id, const struct channel_record *r);
int get_head(lmq_store *s, MDB_txn *t, uint32_t id, uint16_t lane, struct head_record *r);
int put_head(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *r);
int get_group(lmq_store *s, MDB_txn *t, uint32_t id, uint16_t lane, const char *group, struct group_record *r);
int put_group(struct txn *t, uint32_t id, uint16_t lane, const char *group, const struct group_record *r);

/* ---- msg.c -------------------------------------------------------------------------------- */

struct blob {
	uint64_t number;
	uint64_t size;
};

/* Checks all but the body's size; *what gets a few words. 0 or LMQ_EDATA. */
int message_check(const struct lmq_message *m, const char **what);
/* Bytes that message_encode writes at most. */
size_t message_room(const struct lmq_message *m);
/* Writes a record; blob NULL: the body lies in the message. Returns the end. */
uint8_t *message_encode(uint8_t *p, const struct lmq_message *m, uint64_t time_delta, const struct blob *blob);
/* The same record with another time delta, written so that it ends where it ended; returns its new begin, at
 * most VARINT_MAX before the old one. */
uint8_t *message_shift(uint8_t *record, uint64_t time_delta);
/*
 * Reads what stands behind a record's length. headers has room for LMQ_HEADERS_MAX. m->time gets the delta.
 * blob->size is 0 unless the body is one. False: not a record.
 */
bool message_decode(const uint8_t *p, const uint8_t *end, struct lmq_message *m, struct lmq_header *headers,
	struct blob *blob);
/* Only the time delta and the blob, for walks over records. */
bool message_skim(const uint8_t *p, const uint8_t *end, uint64_t *delta, struct blob *blob);

/* ---- blob.c: large bodies -------------------------------------------------------------------- */

/* Stores data as the next parts, in a transaction of its own. *number 0: a new body, which owner (a descriptor
 * on the control file) is locked as being written by. */
int blob_append(lmq_store *s, int owner, uint64_t *number, uint32_t *part, const uint8_t *data, size_t size);
int blob_commit(struct txn *t, uint64_t number);	/* it has a message now */
int blob_drop(struct txn *t, uint64_t number);		/* to be swept */
void blob_release(int owner, uint64_t number);		/* the lock */
bool blob_orphan(lmq_store *s, uint64_t number);	/* nobody is writing it any more */
int blob_piece(lmq_store *s, struct snapshot *p, const struct blob *b, uint64_t at, struct lmq_bytes *piece);

/* ---- log.c, cursor.c: append, read, drop ---------------------------------------------------------------- */

struct batch {			/* records one behind the other, VARINT_MAX bytes of room before the first */
	uint8_t *records;
	size_t size;
	size_t count;
	int64_t time;		/* of all of them */
	bool has_blob;
};

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
	uint8_t *scratch;	/* RECORD_MAX bytes once a record straddled */
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
int log_next(struct log_cursor *c, struct record *r);	/* LMQ_END */
/* Decodes a record and checks it. */
int log_message(struct log_cursor *c, const struct record *r, struct lmq_message *m, struct lmq_header *headers,
	struct blob *blob);

/*
 * Drops messages below floor: they are gone at once, their blocks in this and later calls, at most
 * max_blocks a call. Where there are large bodies among them it may stop before floor.
 */
int log_drop(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t floor,
	unsigned max_blocks);
/* The lowest block of the lane and its offset. LMQ_END. */
int log_first_block(lmq_store *s, MDB_cursor *cursor, uint32_t id, uint16_t lane, struct block *b,
	uint64_t *offset);

/* ---- lease.c: what is in flight ----------------------------------------------------------------- */

struct run {
	uint64_t first, end;
};

int lease_open(lmq_store *s, int *fd);	/* a descriptor of its own on the control file */
/* Takes a free part of [first, end), the one that begins lowest. LMQ_END: nothing is free. */
int lease_take(lmq_store *s, int fd, uint32_t space, uint64_t first, uint64_t end, struct run *taken);
void lease_give(int fd, uint32_t space, const struct run *r);

/* ---- group.c: a reader's position ---------------------------------------------------------------- */

/* The first unsettled run at or after from: stored ones, then [next, end). LMQ_END. */
int group_unsettled(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end,
	uint64_t from, struct run *r);
/* The same within a write transaction. */
int group_first(struct txn *t, const struct group_record *g, uint64_t end, uint64_t from, struct run *r);
/* Settles [first, end); LMQ_END if it was not unsettled. */
int group_settle(struct txn *t, struct group_record *g, const struct run *r);
/* The lowest unsettled offset. */
int group_floor(struct txn *t, const struct group_record *g, uint64_t *floor);

/* ---- channel.c, listing.c, property.c, retain.c --------------------------------------------------------------- */

struct lmq_channel {
	lmq_store *store;
	uint32_t id;
	enum lmq_kind kind;
	bool created;
	uint64_t max_message;	/* as of the last look */
	char name[LMQ_NAME_MAX + 1];
};

int find_channel(lmq_store *s, MDB_txn *t, const char *name, uint32_t *id, struct channel_record *r);
/* Steps through the names in order: MDB_SET_RANGE for the first, then MDB_NEXT. LMQ_END behind the last. */
int next_name(lmq_store *s, MDB_cursor *cursor, MDB_cursor_op op, char name[LMQ_NAME_MAX + 1]);
/* LMQ_EGONE with the channel's name. */
int channel_gone(lmq_channel *c);
int channel_record(lmq_channel *c, MDB_txn *t, struct channel_record *r);

uint64_t limit_of(const struct channel_record *r, enum limit l);	/* the set one, or the default */
int property_set(lmq_store *s, const char *object, struct channel_record *r, const char *assignment,
	struct lmq_property *changed, bool *differs);
void property_list(const struct channel_record *r, struct lmq_property *list, size_t *count);
int store_property_set(lmq_store *s, struct store_record *r, const char *assignment, struct lmq_property *changed,
	bool *differs);

/* Drops what the channel's limits no longer keep, in a bounded step. */
int retain_apply(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head);

/* ---- sweep.c ---------------------------------------------------------------------------------------- */

bool sweep_due(struct txn *t);		/* whether something is to be swept */
void sweep_aside(lmq_store *s);		/* a step, in a transaction of its own, whatever comes of it */
int sweep_all(lmq_store *s);

#endif
