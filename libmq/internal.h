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

/* ---- clock.c ------------------------------------------------------------------------------ */

int64_t clock_monotonic(void);

/* ---- control.c: the shared page ------------------------------------------------------------- */

enum { NOTIFY_WORDS = 1024 };

struct notify_word {			/* a cache line of its own */
	_Atomic uint32_t sequence;	/* bumped after each commit that concerns it */
	_Atomic uint32_t waiters;	/* too high after a kill: costs a system call, never a wake-up */
	uint32_t pad[14];
};

enum { ROSTER_SLOTS = 1024 };

struct roster_slot {		/* what a receiver or a waiting sender is doing; written by it alone (roster.c) */
	_Atomic uint32_t kind;	/* enum roster_kind; 0: free */
	_Atomic uint32_t pid;
	_Atomic uint32_t space;
	_Atomic uint32_t attempt;	/* of the messages being delivered */
	_Atomic uint64_t first, end;	/* of these; end <= first: none */
	_Atomic int64_t since;	/* ns since 1970: when the delivery or the wait began */
	_Atomic uint64_t ticket;	/* of a sender: who waited first is first; of a receiver: one for each join */
	_Atomic uint32_t holding;	/* of a receiver: it has claimed messages */
	char name[64];		/* of the consumer */
	char pad[12];
};

struct control {			/* the control file; any content is survived */
	_Atomic uint64_t pid_namespace;	/* of the processes in LMDB's reader table */
	_Atomic uint32_t poison;	/* a commit failed with an I/O error: sync before the next one (F3) */
	_Atomic uint32_t generation;	/* bumped when everybody must close and reopen (F4) */
	_Atomic uint32_t repaired;	/* the generation for which somebody opened it first, alone */
	_Atomic uint32_t ballast;	/* enum ballast_state (ballast.c) */
	_Atomic uint32_t namespace_seal;	/* follows from pid_namespace (control.c) */
	_Atomic uint32_t anchored;	/* 1: the name of the store is known to be on the disk */
	uint32_t pad[8];
	struct notify_word writer;	/* bumped when the writer lock is given back */
	struct notify_word catalogue;
	struct notify_word any;		/* every commit; for those who wait for more than they can list */
	struct notify_word channel[NOTIFY_WORDS];	/* by id */
	_Atomic uint64_t next_ticket;
	_Atomic uint64_t roster_used[ROSTER_SLOTS / 64];	/* bit: the slot is not free */
	struct roster_slot roster[ROSTER_SLOTS];
};

/* OFD locks on the control file, far behind its end. In-flight messages lie above all of them (lease.c). */
#define STAGING_LOCK ((off_t)1 << 30)
#define STAGING_LOCKS ((uint64_t)1 << 30)
#define WRITER_LOCK ((off_t)1 << 31)
#define ROSTER_LOCK (((off_t)1 << 31) + 1024)	/* + slot: its process is alive */
#define PARTITION_LOCK (((off_t)1 << 31) + 65536)	/* + space: the partition is somebody's */
#define SPACE_MAX (INT32_MAX - 65536)	/* below it all numbers of channels and spaces */

int control_open(lmq_store *s);		/* sets control_fd, control; stand-in memory where read-only */
void control_close(lmq_store *s);
/* Whether any process has the environment open. Only for one that has not: it would lose its locks. */
bool control_in_use(lmq_store *s);

/* ---- lock.c ------------------------------------------------------------------------------- */

/* All signals but those by which the machine tells of a fault: a process that blocks these dies of it unheard. */
void signals_from_outside(sigset_t *set);
void take_pending(int signal);	/* a blocked one that came, of a write past the file-size limit */

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

/* ---- roster.c: who holds what, who waits ------------------------------------------------------- */

/* WORK: only tells what is being delivered. MEMBER: of a group whose partitions are shared out (member.c). */
enum roster_kind { ROSTER_RECEIVER = 1, ROSTER_SENDER, ROSTER_WORK, ROSTER_MEMBER };

/*
 * Takes a slot for this process, kept by an OFD lock through fd (not control_fd): its index, or -1 where none is free:
 * then nothing is told to others, and nothing else is lost. name may be cut.
 */
int roster_join(lmq_store *s, int fd, enum roster_kind kind, uint32_t space, const char *name);
void roster_leave(lmq_store *s, int fd, int slot);	/* -1 is nothing */
/* The messages [first, end) are being delivered for the attempt-th time. end = first: none is any more. */
void roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt);
void roster_extend(lmq_store *s, int slot, uint64_t end);	/* longer, or shorter */
void roster_advance(lmq_store *s, int slot, uint64_t first);	/* those below are not any more */
void roster_holding(lmq_store *s, int slot, bool holding);
void roster_turn(lmq_store *s, int slot, uint32_t space);	/* from now on it tells of that space; nothing as yet */
/* Of a member: just one partition, 1 + its number, or 0; and a bit for each that it has. */
void roster_wants(lmq_store *s, int slot, uint32_t wants);
void roster_lanes(lmq_store *s, int slot, const uint64_t lanes[2]);

struct roster_trace {		/* what somebody who died was delivering */
	uint64_t first, end;
	uint32_t attempt;
	int slot;
};
/*
 * A delivery of a part of [first, end) that a dead process left in its slot. Whoever asks holds these messages. Searched
 * from slot *from on, which is moved behind the one found.
 */
bool roster_dead(lmq_store *s, uint32_t space, uint64_t first, uint64_t end, int *from, struct roster_trace *trace);
void roster_clear(lmq_store *s, int slot);	/* what it was delivering has been counted; nothing if it is alive */

/* The living process that delivers the message; name has room for 64 bytes. */
bool roster_holder(lmq_store *s, uint32_t space, uint64_t offset, char *name, int64_t *since, uint32_t *attempt);
struct roster_mark {		/* a receiver of another process */
	int slot;
	pid_t pid;
	uint64_t ticket;	/* another one at each join */
};
/*
 * The first receiver of the space, from slot from on, that has, or is about to have, claimed messages; dead ones too.
 * And whether a receiver seen there is still in its slot. No system calls.
 */
bool roster_next(lmq_store *s, uint32_t space, int from, struct roster_mark *mark);
bool roster_stays(lmq_store *s, const struct roster_mark *mark);
struct roster_member {
	int slot;
	uint64_t ticket;
	uint32_t wants;
	uint64_t lanes[2];
};
/* The first member that joined under the space, from slot from on, living or not. No system calls. */
bool roster_member(lmq_store *s, uint32_t space, int from, struct roster_member *m);
uint64_t roster_ticket_of(lmq_store *s, int slot);
/* How many living receivers have joined under the space (of a group with several lanes: that of the first one), and which
 * of them has the lane: its name, or "". */
uint32_t roster_count(lmq_store *s, uint32_t space, int lane, char name[64]);
bool roster_alive(lmq_store *s, int slot);	/* some process keeps the slot; asks the kernel */

/* Senders that wait for room: a place in the queue, and whether somebody living stands before it (ticket 0: anybody). */
uint64_t roster_ticket(lmq_store *s, int slot);
bool roster_before(lmq_store *s, uint32_t space, uint64_t ticket);

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
	bool outdated;			/* of an older format, which we read */
	int64_t patience;
	MDB_env *env;			/* NULL while it has to be opened again */
	MDB_dbi table;
	uint32_t generation;		/* of the control page, when env was opened */
	size_t map_size;
	void *reserve;			/* memory kept for LMDB's recovery (F4) */
	bool writing;			/* a write transaction is open */
	bool in_need;			/* the next one gives up the ballast */
	bool shut;			/* we keep the gate shut: ours is the only environment, and stays open */
	int handling_fd;		/* its locks are messages that a transaction moves; -1 */
	bool queue_full;		/* the last LMQ_EFULL was a limit of the channel */
	uint32_t full_id;		/* with this number */
	struct route_table *routes;	/* compiled (route.c); NULL: not read yet */
	void (*routes_free)(struct route_table *routes);	/* set with it, for the closing of the store */
	uint64_t roster_own[ROSTER_SLOTS / 64];	/* bit: the slot is ours */
	struct snapshot *snapshots;	/* read transactions of all handles */
	lmq_store *next_open;		/* list of the process */
};

int store_create(lmq_store *s, const char *path);
struct site;
/* An empty store in the directory of the site, which is locked; wanted NULL: it gets a new UUID. */
int store_build(lmq_store *s, const struct site *site, const uint8_t *wanted);
/* The two steps of opening: a handle, to be closed in any case; the directory entered, by one handle of the process. */
int store_handle(const char *path, const struct lmq_store_options *options, lmq_store **store);
int store_enter(lmq_store *s);
int store_list(lmq_store *s);	/* the second step's last part: one handle; device and inode are known */
int environment_enter(lmq_store *s);	/* the rest of it, for one who holds the gate; EAGAIN as environment_open() */
void environment_leave(lmq_store *s);
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
#define SHRUNK_NAME "data.mdb.new"	/* a compact data file on its way (shrink.c); else nothing that counts */
char *descriptor_path(char buffer[32], int fd);	/* "/proc/self/fd/N" */

/* ---- site.c: where a store is built ------------------------------------------------------------------ */

struct site {
	int parent, directory;	/* descriptors; -1 when not open */
	bool published;
	char target[256], building[256];	/* names in parent */
};
int site_fail(lmq_store *s, int error);
/* What is to become path, s->path in sentences, can be built: the parent is opened. -1 in parent and directory before. */
int site_open(lmq_store *s, const char *path, struct site *site);
int site_vacant(lmq_store *s, const struct site *site);
int site_lock(lmq_store *s, struct site *site);		/* LMQ_EEXIST: somebody else has just built it */
int site_clear(lmq_store *s, const struct site *site);
int site_marker(lmq_store *s, const struct site *site, const char *text, size_t size);
int site_lock_file(lmq_store *s, const struct site *site);
int site_publish(lmq_store *s, struct site *site);	/* LMQ_EEXIST, as above */
void site_close(lmq_store *s, struct site *site, int rc);	/* rc: what came of it */

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
	bool holds;		/* locks on messages, through the store's handling_fd */
	uint64_t ticket;	/* of a sender that waited for room, */
	uint32_t ticket_id;	/* in this channel */
};

int txn_begin(lmq_store *s, struct txn *t);
/* Ends the transaction whatever it returns. sync: FULL or RELAXED (DEFAULT: as the store says). */
int txn_commit(struct txn *t, enum lmq_sync sync);
void txn_abort(struct txn *t);
void txn_wake(struct txn *t, uint32_t id);
struct run;
/* Takes messages of the space that nobody holds until the transaction ends, as lease_take. LMQ_END. */
int txn_hold(struct txn *t, uint32_t space, uint64_t first, uint64_t end, struct run *held);
/* Whether need more bytes may be stored: the store's max-bytes. 0 or LMQ_EFULL. */
int txn_room(struct txn *t, size_t need);

/* Pages of the file on LMDB's free list that no reader may need. */
int txn_free(struct txn *t, uint64_t *pages);

/* ---- ballast.c ----------------------------------------------------------------------------- */

enum { BALLAST = 128 << 10 };	/* bytes behind the control file's, kept for acknowledging on a full disk */
/* Before need bytes of messages are added: whether that room is kept for others who remove some. 0 or LMQ_ENOSPC. */
int ballast_take(struct txn *t, size_t need);
/* After a removal that ended with LMQ_ENOSPC: the next transaction may have that room. True: it is worth a try. */
int ballast_drop(lmq_store *s);
void ballast_cut(lmq_store *s);		/* under the writer lock */

/* ---- record.c ------------------------------------------------------------------------------ */

/* Records in either kind of transaction. 0, LMQ_END where there is none, or a failure with a sentence. */
int get_value(lmq_store *s, MDB_txn *t, const struct key *k, MDB_val *value);
int put_value(struct txn *t, const struct key *k, const void *data, size_t size);
int put_reserve(struct txn *t, const struct key *k, size_t size, uint8_t **room);
int delete_key(struct txn *t, const struct key *k);	/* LMQ_END where there is none */
/* The first key not before from with the same first bytes, prefix of them; value may be NULL. LMQ_END. */
int find_key(struct txn *t, const struct key *from, size_t prefix, struct key *found, MDB_val *value);

int get_store_record(lmq_store *s, MDB_txn *t, struct store_record *r);
int put_store_record(struct txn *t, const struct store_record *r);
int get_channel_record(lmq_store *s, MDB_txn *t, uint32_t id, struct channel_record *r);
int put_channel_record(struct txn *t, uint32_t id, const struct channel_record *r);
int get_head(lmq_store *s, MDB_txn *t, uint32_t id, uint16_t lane, struct head_record *r);
int put_head(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *r);
int get_group(lmq_store *s, MDB_txn *t, uint32_t id, uint16_t lane, const char *group, struct group_record *r);
int put_group(struct txn *t, uint32_t id, uint16_t lane, const char *group, const struct group_record *r);
/* The properties of a group of that channel, the defaults where none were set; with the channel's name in it. */
int get_settings(lmq_store *s, MDB_txn *t, uint32_t id, const struct channel_record *channel, const char *group,
	struct channel_record *r);
int put_settings(struct txn *t, uint32_t id, const char *group, const struct channel_record *r);

/* ---- death.c ------------------------------------------------------------------------------ */

/* A history as callers see it, and as it is stored; error then lies elsewhere. */
struct lmq_history history_unpack(const struct run_history *h, struct lmq_bytes error);
struct run_history history_pack(const struct lmq_history *h);
/* Of a consumer's words only the last LMQ_ERROR_MAX bytes are kept. */
struct lmq_bytes error_tail(struct lmq_bytes error);

enum { DEATH_MAX = VARINT_MAX + LMQ_NAME_MAX + 2 * VARINT_MAX + HISTORY_MAX + LMQ_ERROR_MAX };
size_t death_size(const struct lmq_death *d);	/* at most DEATH_MAX */
uint8_t *put_death(uint8_t *p, const struct lmq_death *d);
bool death_name_sound(struct lmq_bytes name);
/* All of the field must be a death, and name a channel. Of no group. */
bool get_death(struct lmq_bytes field, struct lmq_death *d);

/* ---- binding.c: the bytes of a route ----------------------------------------------------------------------- */

enum { BINDING_MAX = 4000 };	/* bytes of the value */
struct binding {
	struct lmq_route route;		/* all of it but the destination's name */
	uint32_t destination;
	void *memory;
};
/* Returns the size, 0 where it would be more than BINDING_MAX. */
size_t binding_put(const struct lmq_route *r, uint32_t destination, const struct key *k, uint8_t out[BINDING_MAX]);
/* The route that an LMDB cursor found. LMQ_END: none, the key belongs to another table. */
int binding_get(lmq_store *s, const MDB_val *key, const MDB_val *value, struct binding *b);
void binding_free(struct binding *b);

/* ---- valid.c, msg.c -------------------------------------------------------------------------------- */

struct blob {
	uint64_t number;
	uint64_t size;
};

struct decoded {		/* what a decoded message points to, beside the bytes of the record */
	struct lmq_header headers[LMQ_HEADERS_MAX];
	struct lmq_death death;
};

/* Checks all that a sender gives but the body's size; *what gets a few words. 0 or LMQ_EDATA. */
int message_check(const struct lmq_message *m, const char **what);
bool message_is_bare(const struct lmq_message *m);	/* the common case: nothing but a body */
/* Whether its place alone does not say when a queue delivers it: a priority, or a time to wait for. */
bool message_is_special(const struct lmq_message *m);
/* Bytes that message_encode writes at most. */
size_t message_room(const struct lmq_message *m);
/* Writes a record, m->death too; blob NULL: the body lies in the message. Returns the end. */
uint8_t *message_encode(uint8_t *p, const struct lmq_message *m, uint64_t time_delta, const struct blob *blob);
/* The same record with another time delta, written so that it ends where it ended; returns its new begin, at
 * most VARINT_MAX before the old one. */
uint8_t *message_shift(uint8_t *record, uint64_t time_delta);
/*
 * Reads what stands behind a record's length. m->time gets the delta. blob->size is 0 unless the body is one.
 * False: not a record.
 */
bool message_decode(const uint8_t *p, const uint8_t *end, struct lmq_message *m, struct decoded *room,
	struct blob *blob);
/* Only the time delta and the blob, for walks over records. */
bool message_skim(const uint8_t *p, const uint8_t *end, uint64_t *delta, struct blob *blob);
/* Only the key (data NULL: none), and whether it is a tombstone. */
bool message_key(const uint8_t *p, const uint8_t *end, struct lmq_bytes *key, bool *tombstone);

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

struct run {			/* messages [first, end) */
	uint64_t first, end;
};

/* ---- copy.c: a data file written anew ---------------------------------------------------------------- */

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

/* ---- batch.c: messages encoded in memory ---------------------------------------------------------- */

struct batch;
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

/* ---- log.c, drop.c, cursor.c: append, drop, read ---------------------------------------------------------------- */

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
/* The messages leave the log, though not yet their blocks: their large bodies go to the sweeper, or, with keep, to
 * somebody else. */
int log_leave(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const struct run *part, bool keep);
/* The lowest block of the lane and its offset. LMQ_END. */
int log_first_block(lmq_store *s, MDB_cursor *cursor, uint32_t id, uint16_t lane, struct block *b,
	uint64_t *offset);

/* ---- lease.c: what is in flight ----------------------------------------------------------------- */

int lease_open(lmq_store *s, int *fd);	/* a descriptor of its own on the control file */
/* Takes a free part of [first, end), the one that begins lowest. LMQ_END: nothing is free. */
int lease_take(lmq_store *s, int fd, uint32_t space, uint64_t first, uint64_t end, struct run *taken);
void lease_give(int fd, uint32_t space, const struct run *r);
/* As lease_take, but only looks. And whether somebody holds the message. */
int lease_free(lmq_store *s, uint32_t space, uint64_t first, uint64_t end, struct run *part);
bool lease_taken(lmq_store *s, uint32_t space, uint64_t offset);

/* ---- run.c: states of messages -------------------------------------------------------------------- */

/* The run that contains from, or the first one behind it. LMQ_END. */
int run_at(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint64_t from, struct run_record *r);
/* The last run that begins before offset. LMQ_END. */
int run_before(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint64_t offset, struct run_record *r);
/* The first ready run of that class from offset from on, or of a later class. LMQ_END. */
int run_first_ready(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint8_t class, uint64_t from,
	uint8_t *found_class, struct run *r);
/* The run that is due first, not before from. LMQ_END. */
int run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first);
/* A run with its index entries and counts; an empty one is nothing. */
int run_put(struct txn *t, struct group_record *g, const struct run_record *r);
int run_delete(struct txn *t, struct group_record *g, const struct run_record *r);

/* Unsettled messages of a key, in a queue with order=key. */
int chain_put(struct txn *t, uint32_t space, uint64_t hash, uint64_t offset);
int chain_delete(struct txn *t, uint32_t space, uint64_t hash, uint64_t offset);
int chain_first(struct txn *t, uint32_t space, uint64_t hash, uint64_t *offset);	/* LMQ_END */

/* ---- group.c: a reader's position ---------------------------------------------------------------- */

/* The first unsettled run at or after from, what lies before from cut off: stored ones, then [next, end). LMQ_END. */
int group_run(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end, uint64_t from,
	struct run_record *r);
/* The same within a write transaction. */
int group_first(struct txn *t, const struct group_record *g, uint64_t end, uint64_t from, struct run_record *r);

struct ready {			/* a place among what is ready, in the order of delivery; all 0 at the start */
	uint8_t class;
	uint64_t from;
	bool plain;		/* those from next on have been given */
};
/* The next ready run; LMQ_END. */
int group_ready(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end, struct ready *at,
	struct run *r);

/* The lowest unsettled offset. */
int group_floor(struct txn *t, const struct group_record *g, uint64_t *floor);
/* Between which unsettled messages the settled range lies: all of [*low, *high) is settled. */
int group_around(struct txn *t, const struct group_record *g, uint64_t first, uint64_t end, uint64_t log_end,
	uint64_t *low, uint64_t *high);

/* The offset in the cursor's lane that is meant, within what is stored; SHIFT counts from from. */
int group_place(struct log_cursor *c, enum lmq_seek how, int64_t value, uint64_t from, uint64_t *to);

/* Moves next to an offset; what is jumped becomes a run. */
int group_advance(struct txn *t, struct group_record *g, uint64_t to);
/*
 * Takes [first, end), or a first part of it that is one run, out of where it stands; *out is that run.
 * LMQ_END: first is settled. The caller puts it back with run_put, or settles it.
 */
int group_carve(struct txn *t, struct group_record *g, uint64_t first, uint64_t end, struct run_record *out);
/* A carved run is settled: counts it, and lets the next message of its key go. */
int group_settled(struct txn *t, struct group_record *g, const struct run_record *r);

/* Whether the channel can have groups, and the group (NULL: no matter) that name; and the sentence where it has not. */
int groups_check(lmq_channel *c, const char *group);
int groups_missing(lmq_channel *c, const char *group);
/* Opens the position of a group of a topic or stream, made where it is missing and flags say so. LMQ_ENOENT. */
int group_open(lmq_channel *c, const struct lmq_receiver_options *o);
/* Its two steps: where it is to start in each lane, and its making within a transaction, unless it is there. */
int group_places(lmq_channel *c, const struct lmq_receiver_options *o, uint64_t offsets[LMQ_PARTITIONS_MAX]);
int group_enrol(struct txn *t, lmq_channel *c, const char *group, const uint64_t *offsets, bool *made);

/* ---- queue.c: a queue or group, in one lane, within a transaction ------------------------------------------------------ */

struct queue {
	struct txn *t;
	uint32_t id;
	uint16_t lane;
	const char *group;	/* "": the queue's own */
	struct channel_record record;
	struct channel_record rules;	/* lease, max-attempts, backoff, dead, order: a queue's own, or the group's */
	struct head_record head;
	struct group_record position;
	bool made_ready, made_room;
	uint64_t missed;	/* messages that were gone before anybody got them, found now */
};

int queue_load(struct txn *t, uint32_t id, uint16_t lane, const char *group, struct queue *q);	/* LMQ_END: gone */
int queue_store(struct queue *q);
/* Lets go of the blocks below everything unsettled, which queue_store does too. */
int queue_shed(struct queue *q);
/* Carves the first unsettled run of [from, end). LMQ_END. */
int queue_unsettled(struct queue *q, uint64_t from, uint64_t end, struct run_record *r);
int queue_put(struct queue *q, const struct run_record *r);	/* a carved run in its new state */
/* A carved run is gone; why is what is counted. keep_body: its large bodies belong to somebody else now. */
int queue_leave(struct queue *q, const struct run_record *r, enum counter why, bool keep_body);
/* What is unsettled in [first, end) is gone. */
int queue_settle(struct queue *q, uint64_t first, uint64_t end, enum counter why, bool keep_bodies);

/* ---- intake.c, limit.c, dedup.c: messages enter a channel --------------------------------------------------- */

struct place {			/* of a stored message */
	uint64_t offset;
	uint16_t lane;
};
struct expectation {		/* of the first message of a batch */
	bool by_key;
	uint64_t offset;	/* that it gets; by_key: of the newest message with its key, LMQ_NONE: there is none */
};
struct intake {
	int64_t lane;		/* all of the batch goes there; -1: as the keys say, */
	uint16_t keyless;	/* and without a key there: intake's own */
	bool routed;		/* a copy that came by a route, and goes no further */
	bool mandatory;		/* LMQ_END where a message would be kept by nobody */
	const struct expectation *expectation;	/* NULL: none; LMQ_ECONFLICT */
	bool partial;		/* a queue may take only the first ones */
	uint64_t most;		/* and no more than so many are to be taken; 0: no matter */
	bool unlimited;		/* a queue's limits do not count, and nothing is pushed out for these */
	bool sent;		/* by a sender: ids that are known are not stored again */
	int fault;		/* out: partial, and the message behind those taken was refused: LMQ_EDATA */
	size_t taken;		/* out: messages stored, or known already */
	struct place first;	/* out: where the first one lies; the others follow, unless */
	struct place *places;	/* out: not NULL, allocated: where each one lies */
};
#define INTAKE_INIT { .lane = -1 }
/* Appends the batch to a channel whose record is given. LMQ_EFULL. */
int intake(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in);
int intake_append(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, struct intake *in);
/* The lane that a message goes to. */
uint16_t intake_lane(const struct intake *in, uint16_t lanes, struct lmq_bytes key);

/* Room for so many messages and bytes; first is what the first of them needs. */
int limit_room(struct txn *t, uint32_t id, const struct channel_record *r, uint64_t first, uint64_t *count,
	uint64_t *bytes);
int limit_full(struct txn *t, uint32_t id, const struct channel_record *r);	/* LMQ_EFULL with its sentence */
int limit_push_out(struct queue *q);

/* The part of the batch that is new within the window, at most so many and about so large. */
int dedup_intake(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, uint64_t count,
	uint64_t bytes, struct intake *in);
/* Whether the message would not be stored again: its id is known within the window, with the same body. LMQ_END. */
int dedup_known(struct txn *t, uint32_t id, const struct channel_record *r, const struct lmq_message *m,
	const struct blob *blob);
int resume_get(lmq_store *s, MDB_txn *mdb, uint32_t id, const char *name, uint64_t *stored);
int resume_put(struct txn *t, uint32_t id, const char *name, uint64_t before, uint64_t stored);	/* LMQ_EBUSY */

/* ---- route.c: copies to other channels ------------------------------------------------------------------ */

/* Copies what was just appended to the channel, a topic or stream, to where the routes lead. */
int route_out(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b);
/* Whether every message of the batch would reach another channel. 0, LMQ_END if not, or a failure. */
int route_reaches(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b);
/* To how many channels a message can get at most: so many copies of a batch are in its transaction. */
int route_fan(lmq_store *s, MDB_txn *mdb, uint32_t id, const struct channel_record *r, size_t *channels);
/* The channel was removed: so are the routes to it. */
int route_forget(struct txn *t, uint32_t id);

/* ---- latest.c, compact.c, audit.c: the newest messages of each key; the chain of blocks ------------------- */

/* The newest message with that key in the lane, all of whose messages are indexed on the way. LMQ_END: none. */
int latest_find(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct lmq_bytes key,
	uint64_t *offset);
/* Indexes what is not yet, in bounded transactions of its own, so that the above has little to do. */
int latest_catch_up(lmq_store *s, uint32_t id, uint16_t lane);
/* What is to be known before messages below *floor are dropped from an indexed lane: lowers *floor to a bounded step. */
int latest_forget(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t *floor);
/* One bounded step of indexing; where a stream keeps so many messages of a key only, older ones become holes. LMQ_END. */
int latest_step(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head);
/* hole.c: the messages, in ascending order, stored and not holes, become holes; head follows. */
int hole_make(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, const uint64_t *offsets,
	size_t count);
/* Messages were appended to a stream with max-per-key: what they replace is to be swept. */
int compact_later(struct txn *t, uint32_t id);
/* One bounded step; LMQ_END when nothing is left to do in any lane. For the sweeper. */
int compact_step(struct txn *t, uint32_t id);

enum { DIGEST_SIZE = 32 };
/* Of a block in its final form: what the next one's link is. */
void audit_link(const void *key, size_t key_size, const void *value, size_t size, uint8_t out[DIGEST_SIZE]);

/* ---- burial.c: dead letters, retries ------------------------------------------------------------------ */

struct burial {			/* dead letters of one queue, gathered in a transaction; all 0 at the start */
	struct batch batch;
	struct decoded parts;
};
bool can_bury(const struct queue *q);
bool burial_full(const struct burial *b);	/* enough for one transaction */
/* Appends them, after queue_store(). */
int burial_commit(struct burial *b, struct queue *q);
void burial_free(struct burial *b);
void run_history(const struct run_record *r, struct lmq_history *out);	/* points into r */
/*
 * The delivery of a carved run, whose attempts are counted, failed: puts it back for a retry, or buries it, as the
 * verdict and the queue say. Sets v->result and v->due.
 */
int queue_failed(struct queue *q, struct burial *b, struct run_record *r, struct lmq_verdict *v);

/* Whether its time to live, or else its channel's, is over. */
bool message_expired(const struct lmq_message *m, uint64_t channel_ttl, int64_t now);

/* ---- aside.c: what may not be delivered is moved aside ------------------------------------------------------ */

/* Ends such a transaction, rc being what came of it so far. *missed grows by what the queue found missing. */
int aside_end(struct txn *t, struct queue *q, int rc, uint64_t *missed);
/* Runs whose time has come, in a bounded transaction of its own. */
int aside_due(lmq_store *s, uint32_t id, uint16_t lane, const char *group, uint64_t *missed);
/* Messages that the caller holds and whose last consumer died at that attempt; *part becomes what is left to do. */
int aside_crashed(lmq_store *s, uint32_t id, uint16_t lane, const char *group, struct run *part, uint32_t attempt,
	uint64_t *missed);
/* Messages that the caller holds and that have expired. */
int aside_expired(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed);
/* What is not there any more: below the log's first message, and parts that compaction took. */
int aside_missing(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed);

/* ---- channel.c, listing.c, property.c, setting.c, retain.c --------------------------------------------------------------- */

struct lmq_channel {
	lmq_store *store;
	uint32_t id;
	enum lmq_kind kind;
	bool created;
	uint16_t lanes;
	uint64_t max_message;	/* as of the last look */
	char name[LMQ_NAME_MAX + 1];
};

int find_channel(lmq_store *s, MDB_txn *t, const char *name, uint32_t *id, struct channel_record *r);
/* Steps through the names in order: MDB_SET_RANGE for the first, then MDB_NEXT. LMQ_END behind the last. */
int next_name(lmq_store *s, MDB_cursor *cursor, MDB_cursor_op op, char name[LMQ_NAME_MAX + 1]);
/* The channel of that name, made of that kind where it is missing, also a reserved one. */
int channel_within(struct txn *t, const char *name, enum lmq_kind kind, uint32_t *id, struct channel_record *r);
/* LMQ_EGONE with the channel's name. */
int channel_gone(lmq_channel *c);
int channel_record(lmq_channel *c, MDB_txn *t, struct channel_record *r);

enum full_policy { FULL_ERROR, FULL_BLOCK, FULL_DROP_OLD, FULL_DEAD };	/* of LIMIT_FULL */

uint64_t limit_of(const struct channel_record *r, enum limit l);	/* the set one, or the default */
/* Where the dead letters of the channel go; NULL: nowhere. The name is r's, or stands in buffer. */
const char *dead_of(const struct channel_record *r, char buffer[LMQ_NAME_MAX + 1]);
/* A property of a channel that exists has changed in r. And whether all of r go together. LMQ_EINVAL, LMQ_EBUSY. */
int change_follow(struct txn *t, uint32_t id, const struct channel_record *r, const struct lmq_property *changed);
int change_check(lmq_store *s, const struct channel_record *r);
int property_set(lmq_store *s, const char *object, struct channel_record *r, const char *assignment,
	struct lmq_property *changed, bool *differs);
void property_list(const struct channel_record *r, struct lmq_property *list, size_t *count);
/* "NAME=VALUE" taken apart, and what is said of a NAME that there is not. LMQ_EINVAL. */
int property_split(lmq_store *s, const char *object, const char *assignment, char name[24], const char **value);
int property_unknown(lmq_store *s, const char *object, enum lmq_kind kind, const char *name);

uint16_t lanes_of(const struct channel_record *r);	/* partitions; 1 but for streams */
uint16_t lane_of_key(struct lmq_bytes key, uint16_t lanes);

/* The position of a topic's group has changed: what retention must not take begins at g->floor now. */
int retain_floor(struct txn *t, uint32_t id, uint16_t lane, const char *group, struct group_record *g);
/* The lowest one of all groups, and whose it is (NULL: no matter). LMQ_END: there is no group. */
int retain_lowest(struct txn *t, uint32_t id, uint16_t lane, uint64_t *floor, char group[LMQ_NAME_MAX + 1]);
int group_any(struct txn *t, uint32_t id);	/* whether the channel has a group; LMQ_END */
int retain_floor_forget(struct txn *t, uint32_t id, uint16_t lane, const struct group_record *g);	/* the group goes */
/* upgrade.c: a store of an older format gets the floors of its groups, once. */
int upgrade_floors(struct txn *t);
/* As log_drop, also where keys are indexed: there it may stop before floor. */
int retain_drop(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t floor, unsigned blocks);
/* Drops what the channel's limits no longer keep, in a bounded step. */
int retain_apply(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head);

/* A step for a stream whose keys are indexed, where that takes many. LMQ_END: nothing is left to be dropped. */
int retain_rest(struct txn *t, uint32_t id);

/* ---- member.c: who shares a group -------------------------------------------------------------------- */

/* Sets members and owner of groups of the channel. */
void member_list(lmq_channel *c, struct lmq_group_info *list, size_t count);

/* ---- holders.c --------------------------------------------------------------------------------------- */

void holders_hint(lmq_store *s);	/* who has the store open, which the caller has not, behind a sentence */

/* ---- sweep.c ---------------------------------------------------------------------------------------- */

bool sweep_due(struct txn *t);		/* whether something is to be swept */
void sweep_aside(lmq_store *s);		/* a step, in a transaction of its own, whatever comes of it */
int sweep_all(lmq_store *s);

/* ---- filter.c --------------------------------------------------------------------------------------- */

/* The first offset from from on that the filter's ranges of offsets allow; NULL allows all. False: none. */
bool filter_range(const lmq_filter *f, uint64_t from, uint64_t *first);

#endif
