/* SPDX-License-Identifier: ISC */
/* A store on the disk: its handle, where it is built, how it is opened; transactions, and the records in them. */
#ifndef STORE_H
#define STORE_H

#include "control.h"

#include <lmdb.h>

/* ---- error.c --------------------------------------------------------------------------------- */

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

/* ---- store.c, environment.c, create.c, inspect.c ----------------------------------------------- */

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
	bool free_inspected;		/* LMDB's list of free pages was sound when env was opened */
	bool writing;			/* a write transaction is open */
	bool in_need;			/* the next one gives up the ballast */
	bool shut;			/* we keep the gate shut: ours is the only environment, and stays open */
	int handling_fd;		/* its locks are messages that a transaction moves; -1 */
	bool boot_asked;		/* by a lease (term.c): */
	uint32_t boot;			/* boot_number(); 0: nobody knows */
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
/* The two steps of opening: a handle, to be closed in any case; the directory entered, which may be open already, by one
 * handle of the process. */
int store_handle(const char *path, const struct lmq_store_options *options, lmq_store **store);
int store_enter(lmq_store *s);
int store_list(lmq_store *s);	/* the second step's last part: one handle; device and inode are known */
int marker_check(lmq_store *s);		/* the version that the marker says */
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

/* ---- site.c: where a store is built ---------------------------------------------------------- */

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

/* ---- snapshot.c ------------------------------------------------------------------------------ */

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

/* ---- txn.c ----------------------------------------------------------------------------------- */

struct txn {
	lmq_store *store;
	MDB_txn *mdb;
	sigset_t old_signals;
	unsigned char wake[NOTIFY_WORDS / 8];	/* bit: this word is woken after the commit */
	bool wake_any;
	bool wake_catalogue;
	bool holds;		/* locks on messages, through the store's handling_fd */
	bool in_need;		/* on a full disk: it has the ballast's room, and should do little */
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
int txn_hold(struct txn *t, uint32_t space, uint64_t first, uint64_t end, uint64_t most, struct run *held);
/* Whether need more bytes may be stored: the store's max-bytes. 0 or LMQ_EFULL. */
int txn_room(struct txn *t, size_t need);

/* ---- free.c: LMDB's list of free pages ----------------------------------------------------------- */

/* How many pages transactions before that one have freed. */
int free_count(lmq_store *s, uint64_t before, uint64_t *pages);
/*
 * Before LMDB takes pages from the list the first time: it believes what it finds there, writes where that says, and
 * makes the file as long. Under the writer lock. A status of LMDB.
 */
int free_inspect(lmq_store *s);
/* Pages of the file that no reader may need. */
int txn_free(struct txn *t, uint64_t *pages);

/* ---- ballast.c ------------------------------------------------------------------------------- */

enum { BALLAST = 128 << 10 };	/* bytes behind the control file's, kept for acknowledging on a full disk */
/* Before need bytes of messages are added: whether that room is kept for others who remove some. 0 or LMQ_ENOSPC. */
int ballast_take(struct txn *t, size_t need);
/* After a removal that ended with LMQ_ENOSPC: the next transaction may have that room. True: it is worth a try. */
int ballast_drop(lmq_store *s);
void ballast_cut(lmq_store *s);		/* under the writer lock */

/* ---- room.c ---------------------------------------------------------------------------------- */

/* The errno of a write to fd that LMDB calls error. SIGXFSZ is blocked, and nobody else writes to the file. */
int room_error(int fd, int error);

/* ---- record.c -------------------------------------------------------------------------------- */

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

#endif
