/* SPDX-License-Identifier: ISC */
/*
 * libmq: queues, topics and streams in a directory, without a broker.
 *
 * Conventions
 *   Every function that can fail returns 0 or a negative LMQ_E* status. The failing call leaves one
 *   sentence, "OBJECT: what is wrong", in the store handle: lmq_error(). Some failures also leave a
 *   way out: lmq_hint().
 *   Times are nanoseconds in an int64_t. Times of messages count from 1970-01-01 UTC. Deadlines
 *   count on the monotonic clock: lmq_deadline(). Sizes are bytes.
 *   A handle belongs to one thread at a time, and to the process that opened it: after fork() the
 *   child must not touch it (LMQ_EFORK), not even to close it.
 *   _open makes a handle and _close frees it; closing NULL is nothing. A handle keeps its store open:
 *   close channels, writers, readers, receivers and watches before their store.
 *   Bytes handed out (struct lmq_bytes, struct lmq_message) belong to the library and stay valid
 *   until the next call with the handle that they came from, at most until its _pause or _close.
 */
#ifndef LIBMQ_H
#define LIBMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define LMQ_VERSION "0.1.0"

/* The version of the library that runs, in the form of LMQ_VERSION. */
const char *lmq_version(void);

/* ---- status ------------------------------------------------------------------------------- */

enum lmq_status {
	LMQ_OK = 0,
	LMQ_END = -1,		/* nothing there, or nothing more now; not a fault, leaves no sentence */
	LMQ_ETIME = -2,		/* the deadline passed; leaves no sentence */
	LMQ_EINTR = -3,		/* a signal, or lmq_watch_interrupt(), ended the wait; leaves no sentence */
	LMQ_EINVAL = -4,	/* an argument is not valid: name, property, pattern, option */
	LMQ_EDATA = -5,		/* a message is not valid, or larger than the channel takes */
	LMQ_ENOENT = -6,	/* no such store, channel */
	LMQ_EEXIST = -7,	/* the name is taken */
	LMQ_EKIND = -8,		/* the channel is of another kind */
	LMQ_ECREATE = -9,	/* the store cannot be created there */
	LMQ_EIO = -10,		/* reading or writing the store failed; nothing was changed */
	LMQ_EUNKNOWN = -11,	/* the commit failed in a way that leaves its outcome unknown */
	LMQ_ENOSPC = -12,	/* the disk, a quota or a file-size limit is full; nothing was changed */
	LMQ_EFULL = -13,	/* the store's own max-bytes is reached; nothing was changed */
	LMQ_EBUSY = -14,	/* another process held the store too long; try again */
	LMQ_EACCES = -15,	/* no permission, or the store belongs to somebody else */
	LMQ_EFORMAT = -16,	/* a newer format, or a filesystem that cannot hold a store */
	LMQ_EDAMAGED = -17,	/* the store is damaged */
	LMQ_ENOMEM = -18,	/* out of memory or address space */
	LMQ_ESYSTEM = -19,	/* another failure of the operating system */
	LMQ_EGONE = -20,	/* the channel was removed, or the message trimmed, while it was in use */
	LMQ_EFORK = -21,	/* the handle belongs to another process */
	LMQ_ELIMIT = -22,	/* more than one transaction takes */
	LMQ_EBUG = -23,		/* a bug of the library */
};

/* A few words for a status, never NULL; for people without a handle. */
const char *lmq_strerror(int status);

/* ---- values: the grammar of sizes, durations, times, names, patterns ----------------------- */

struct lmq_bytes {
	const char *data;	/* NULL: absent, which differs from empty */
	size_t size;
};

#define LMQ_FOREVER INT64_MAX

/* Parses a size: "64K", "1.5G" (powers of 1024), "10MB" (powers of 1000), "512". LMQ_EINVAL. */
int lmq_size_parse(const char *text, uint64_t *size);

/* Parses a duration: "250ms" "90" (seconds) "1.5h" "2h30m" "7d" "forever". LMQ_EINVAL. */
int lmq_duration_parse(const char *text, int64_t *duration);

/*
 * Parses a point in time: "now" "today" "yesterday" "tomorrow", "HH:MM[:SS]", "YYYY-MM-DD", RFC 3339
 * with or without zone, "@EPOCH", "-2h" "2h ago" "+30m" "in 30m". Relative to now (ns since 1970);
 * dates without a zone are in the local zone of the process. LMQ_EINVAL.
 */
int lmq_time_parse(const char *text, int64_t now, int64_t *time);

/* Shortest spelling that parses back to the same value. buffer holds at least LMQ_VALUE_MAX bytes. */
#define LMQ_VALUE_MAX 64
char *lmq_size_format(uint64_t size, char *buffer);
char *lmq_duration_format(int64_t duration, char *buffer);
/* RFC 3339 in UTC with nanoseconds: 2026-01-24T10:11:12.123456789Z */
char *lmq_time_format(int64_t time, char *buffer);

#define LMQ_NAME_MAX 128

/* Whether name can name a channel: [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}, no empty word between dots. */
bool lmq_name_valid(const char *name);
/* Whether only the library may create that name: it begins with "_" or ends in ".dead". */
bool lmq_name_reserved(const char *name);

/*
 * Patterns for names and keys: words separated by dots; "+" or "*" is exactly one word, "#" is zero or
 * more words, anywhere; inside a word "*" and "?" match as in the shell, without crossing a dot.
 * lmq_pattern_valid: 0, or LMQ_EINVAL and *reason (static text) says why not.
 * lmq_pattern_literal: whether the pattern matches only itself.
 */
int lmq_pattern_valid(const char *pattern, const char **reason);
bool lmq_pattern_literal(const char *pattern);
bool lmq_pattern_match(const char *pattern, const char *text, size_t size);

/* Shell glob over any bytes, without words: "*" "?" "[a-z]" "[!a-z]" "\\x". For header values. */
bool lmq_glob_match(const char *glob, const char *text, size_t size);

/* ---- clock --------------------------------------------------------------------------------- */

/* Wall time, ns since 1970. */
int64_t lmq_now(void);

/* The deadline that lies duration ns ahead, for every argument called deadline. Negative counts as 0
 * (the present moment: only look, never wait); LMQ_FOREVER stays LMQ_FOREVER. */
int64_t lmq_deadline(int64_t duration);

/* ---- store --------------------------------------------------------------------------------- */

typedef struct lmq_store lmq_store;

enum {
	LMQ_CREATE = 1,		/* create what is missing */
	LMQ_READ_ONLY = 2,	/* open without the right to write, also from a read-only filesystem */
};

struct lmq_store_options {
	size_t size;		/* sizeof(struct lmq_store_options): lets the struct grow */
	unsigned flags;		/* LMQ_CREATE, LMQ_READ_ONLY */
	int64_t patience;	/* ns to wait for a lock before LMQ_EBUSY; 0 means 30 s */
};

/*
 * Opens the store in directory path. One open handle per store and process.
 * options may be NULL. *store is always set unless memory is out, also on failure, to carry the
 * sentence: close it in every case.
 * LMQ_ENOENT no such directory, LMQ_ECREATE, LMQ_EACCES (also: others could tamper with it),
 * LMQ_EFORMAT, LMQ_EDAMAGED, LMQ_EBUSY, LMQ_ENOMEM, LMQ_ESYSTEM, LMQ_EINVAL (open already).
 */
int lmq_store_open(const char *path, const struct lmq_store_options *options, lmq_store **store);
void lmq_store_close(lmq_store *store);

/* Whether this open created the store. */
bool lmq_store_created(const lmq_store *store);

/* The sentence of the last failed call with this store or a handle of it; "" if there was none. */
const char *lmq_error(const lmq_store *store);
/* A way out that belongs to that sentence, or "". */
const char *lmq_hint(const lmq_store *store);

/*
 * Does one bounded step (a few ms) of work left over by removals and by killed writers, if there is any.
 * *more tells whether another step is due. Every writer also does such steps on the way.
 */
int lmq_store_sweep(lmq_store *store, bool *more);

/* ---- channels ------------------------------------------------------------------------------ */

typedef struct lmq_channel lmq_channel;

enum lmq_kind { LMQ_ANY = 0, LMQ_QUEUE = 1, LMQ_TOPIC = 2, LMQ_STREAM = 3 };

/* "queue", "topic", "stream"; "channel" for LMQ_ANY. */
const char *lmq_kind_name(enum lmq_kind kind);

/*
 * Opens the channel called name. With LMQ_CREATE a missing one is created with default properties,
 * as long as the store has create=yes; kind must then be a kind. LMQ_ANY accepts every kind.
 * The handle goes on when the channel is renamed, and answers LMQ_EGONE once it was removed.
 * LMQ_ENOENT (lmq_hint: "did you mean"), LMQ_EKIND, LMQ_EINVAL, and what a write can meet.
 */
int lmq_channel_open(lmq_store *store, const char *name, enum lmq_kind kind, unsigned flags,
	lmq_channel **channel);
void lmq_channel_close(lmq_channel *channel);
const char *lmq_channel_name(const lmq_channel *channel);	/* as it was opened */
enum lmq_kind lmq_channel_kind(const lmq_channel *channel);
bool lmq_channel_created(const lmq_channel *channel);		/* by this open */

/* A snapshot of one channel. */
struct lmq_channel_info {
	char name[LMQ_NAME_MAX + 1];
	enum lmq_kind kind;
	uint32_t id;		/* never reused within a store */
	int64_t created;	/* ns since 1970 */
	int64_t taken;		/* when this snapshot was taken */
	uint64_t messages;	/* stored now: in a queue ready or in flight, else readable */
	uint64_t bytes;		/* of their encoded form */
	uint64_t first;		/* offset of the oldest stored message; equal to end if none */
	uint64_t end;		/* offset that the next message gets */
	int64_t first_time;	/* of the oldest stored message; 0 if none */
	int64_t last_time;	/* of the newest message ever; 0 if none */
	uint64_t sent;		/* ever */
	uint64_t acknowledged;	/* ever; queues */
};

int lmq_channel_info(lmq_channel *channel, struct lmq_channel_info *info);

/*
 * Lists the channels whose name matches pattern (NULL: all) and whose kind is kind (LMQ_ANY: all), by
 * name. *list is an array of *count entries for the caller to free with free(). LMQ_EINVAL pattern.
 */
int lmq_channel_list(lmq_store *store, const char *pattern, enum lmq_kind kind,
	struct lmq_channel_info **list, size_t *count);

/* A property of a channel or of the store, as text. */
struct lmq_property {
	char name[24];
	char value[LMQ_VALUE_MAX];	/* shortest spelling; "none" where there is no limit */
	bool set;			/* differs from the default */
};

enum { LMQ_PROPERTY_MAX = 16 };	/* no kind has more */

/* Fills list with the properties of the channel, in a fixed order; *count of them. */
int lmq_channel_properties(lmq_channel *channel, struct lmq_property list[LMQ_PROPERTY_MAX],
	size_t *count);

/*
 * Creates the channel called name, or changes the one there is, so that it has the properties given as
 * count texts "NAME=VALUE". kind LMQ_ANY leaves the kind as it is, and is refused where there is none.
 * *created tells whether it was created. changed, if not NULL, has room for count entries and gets those
 * that differ from before; *changed_count of them.
 * LMQ_EINVAL an unknown property or a bad value: lmq_hint names the valid ones. LMQ_EKIND, LMQ_ENOENT.
 */
int lmq_channel_make(lmq_store *store, const char *name, enum lmq_kind kind,
	const char *const properties[], size_t count, bool *created,
	struct lmq_property *changed, size_t *changed_count);

/* Gives the channel another name, at once; its open handles go on. LMQ_ENOENT, LMQ_EEXIST, LMQ_EINVAL. */
int lmq_channel_rename(lmq_store *store, const char *name, const char *new_name);

/*
 * Removes the channel and all its messages: gone at once, its space given back in bounded steps by
 * lmq_store_sweep(). Handles in other processes answer LMQ_EGONE. LMQ_ENOENT.
 */
int lmq_channel_remove(lmq_store *store, const char *name);

/* The store's own properties: create, max-bytes, sync. As for channels. */
int lmq_store_properties(lmq_store *store, struct lmq_property list[LMQ_PROPERTY_MAX], size_t *count);
int lmq_store_make(lmq_store *store, const char *const properties[], size_t count,
	struct lmq_property *changed, size_t *changed_count);

/*
 * The names of the properties that a channel of that kind can have (LMQ_ANY: the store's), in a fixed
 * order; NULL beyond the last. For completion and help.
 */
const char *lmq_property_name(enum lmq_kind kind, size_t index);

/* ---- messages ------------------------------------------------------------------------------ */

struct lmq_header {
	struct lmq_bytes name;
	struct lmq_bytes value;
};

enum {
	LMQ_PRIORITY_DEFAULT = 4,	/* of 0 to 9, higher first */
	LMQ_PRIORITY_MAX = 9,
	LMQ_FIELD_MAX = 255,		/* bytes of type, id, reply_to, correlation, a header's name */
	LMQ_KEY_MAX = 1024,		/* bytes of a key */
	LMQ_HEADERS_MAX = 128,		/* headers of a message */
	LMQ_FIELDS_MAX = 32768,		/* bytes of all fields of a message but the body */
};

/*
 * A message, for sending and as received. All text fields are UTF-8 without NUL; the body is any bytes.
 * A body that does not lie in one piece (larger than 64 KiB) is received as body.data NULL and its
 * size: get the pieces with lmq_reader_body() or lmq_receiver_body().
 */
struct lmq_message {
	struct lmq_bytes body;
	struct lmq_bytes key;
	struct lmq_bytes type;
	struct lmq_bytes id;
	struct lmq_bytes reply_to;
	struct lmq_bytes correlation;
	const struct lmq_header *headers;	/* names are unique */
	size_t header_count;
	int priority;
	/* from here on set by the library, ignored when sending */
	uint32_t partition;
	uint64_t offset;
	int64_t time;		/* when it was stored, ns since 1970 */
	uint32_t attempt;	/* 1 at the first delivery; 0 where nothing is delivered (topic, stream) */
};

#define LMQ_MESSAGE_INIT { .priority = LMQ_PRIORITY_DEFAULT }

/* ---- filter -------------------------------------------------------------------------------- */

typedef struct lmq_filter lmq_filter;

/*
 * A condition on messages: the key matches a pattern (lmq_filter_key, at most once; a message without
 * key matches only "#"), and each named header matches its glob (lmq_filter_header, "NAME=GLOB").
 * LMQ_EINVAL with *reason (static text), LMQ_ENOMEM.
 */
int lmq_filter_open(lmq_filter **filter);
void lmq_filter_close(lmq_filter *filter);
int lmq_filter_key(lmq_filter *filter, const char *pattern, const char **reason);
int lmq_filter_header(lmq_filter *filter, const char *condition, const char **reason);
bool lmq_filter_match(const lmq_filter *filter, const struct lmq_message *message);

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct lmq_writer lmq_writer;

enum lmq_sync {
	LMQ_SYNC_DEFAULT = 0,	/* as the store's property sync says */
	LMQ_SYNC_FULL = 1,	/* a commit returns when it is on stable storage */
	LMQ_SYNC_RELAXED = 2,	/* never corrupt, but a power cut may undo the last commits */
};

/*
 * A writer gathers messages in memory and stores them in one transaction: none of them is there before
 * lmq_writer_commit(), all of them after. Not holding any lock in between, it may be kept and fed slowly.
 */
int lmq_writer_open(lmq_store *store, enum lmq_sync sync, lmq_writer **writer);
void lmq_writer_close(lmq_writer *writer);	/* drops what was not committed */

/*
 * Adds a message (copied). LMQ_ELIMIT: the transaction is full; commit, then add it again.
 * LMQ_EDATA, and the sentence names what is not valid; LMQ_ENOMEM; LMQ_EGONE. The messages added before
 * stay.
 */
int lmq_writer_add(lmq_writer *writer, lmq_channel *channel, const struct lmq_message *message);

/*
 * Adds a message whose body comes in pieces, for large ones: _begin with everything but the body, _write
 * any number of times, then _end, which adds it to the transaction, or _abandon. Pieces beyond 64 KiB go
 * to the store at once in bounded transactions of their own, seen by nobody before the commit; those of a
 * killed writer are swept later. One message at a time; lmq_writer_add() is refused in between.
 * LMQ_EDATA larger than max-message; LMQ_ELIMIT (from _begin) as above; and what a commit can meet.
 */
int lmq_writer_begin(lmq_writer *writer, lmq_channel *channel, const struct lmq_message *message);
int lmq_writer_write(lmq_writer *writer, const void *data, size_t size);
int lmq_writer_end(lmq_writer *writer);
void lmq_writer_abandon(lmq_writer *writer);

/* Messages, and bytes of them, added and not yet committed. */
size_t lmq_writer_count(const lmq_writer *writer);
size_t lmq_writer_bytes(const lmq_writer *writer);

/*
 * Stores what was added, wakes those who wait for it, and empties the writer; with nothing added it does
 * nothing. After a failure the messages are still in the writer (so that it may be tried again), except
 * after LMQ_EUNKNOWN. LMQ_EFULL, LMQ_ENOSPC, LMQ_EIO, LMQ_EUNKNOWN, LMQ_EBUSY, LMQ_EGONE, LMQ_EDAMAGED.
 */
int lmq_writer_commit(lmq_writer *writer);

/* Where the index-th message of the last commit was stored. False beyond the last. */
bool lmq_writer_position(const lmq_writer *writer, size_t index, uint32_t *partition, uint64_t *offset);

/* Drops what was added and not committed. */
void lmq_writer_discard(lmq_writer *writer);

/* ---- reading: topics and streams, without taking anything ---------------------------------- */

typedef struct lmq_reader lmq_reader;

enum lmq_seek {
	LMQ_SEEK_OFFSET,	/* to the message with this offset, or the next there is */
	LMQ_SEEK_TIME,		/* to the first message not before this time (ns since 1970) */
	LMQ_SEEK_FIRST,		/* to the oldest; value ignored */
	LMQ_SEEK_END,		/* behind the newest; value ignored */
	LMQ_SEEK_LAST,		/* value messages before the end */
};

/* A reader starts at the oldest message. It reads any kind of channel and changes nothing. */
int lmq_reader_open(lmq_channel *channel, lmq_reader **reader);
void lmq_reader_close(lmq_reader *reader);
int lmq_reader_seek(lmq_reader *reader, enum lmq_seek how, int64_t value);

/*
 * The next message, or LMQ_END when there is none yet. The first call after a _pause or an LMQ_END sees
 * what was committed since. Messages trimmed away before they were read are skipped and counted:
 * lmq_reader_missed(). LMQ_EGONE, LMQ_EDAMAGED.
 */
int lmq_reader_next(lmq_reader *reader, struct lmq_message *message);

/*
 * The piece of the last message's body that begins at the byte at: piece->size is 0 at its end. Works for
 * every body. May follow a _pause; LMQ_EGONE if the message was trimmed meanwhile.
 */
int lmq_reader_body(lmq_reader *reader, uint64_t at, struct lmq_bytes *piece);

/* Gives back the snapshot. Call it before anything that may block, or trimmed space stays in use. */
void lmq_reader_pause(lmq_reader *reader);

uint64_t lmq_reader_tell(const lmq_reader *reader);		/* the next offset */
int lmq_reader_end(lmq_reader *reader, uint64_t *offset);	/* behind the newest message now */
uint64_t lmq_reader_missed(const lmq_reader *reader);		/* since the reader was opened */

/* ---- receiving: queues --------------------------------------------------------------------- */

typedef struct lmq_receiver lmq_receiver;

/*
 * A receiver takes messages from a queue. What it claims nobody else gets. A message is gone once it is
 * settled; what is not settled goes back when it is released, when the receiver is closed, and at once
 * when the process dies. filter may be NULL; it is used, not owned.
 */
int lmq_receiver_open(lmq_channel *queue, const lmq_filter *filter, lmq_receiver **receiver);
void lmq_receiver_close(lmq_receiver *receiver);

/*
 * Claims the next messages in order, at most max_messages and about max_bytes of them, at least one.
 * *count of them are then to be had from _next. LMQ_END: none is ready. One claim at a time: the messages
 * of the last one must be settled or released. LMQ_EGONE, LMQ_EDAMAGED.
 */
int lmq_receiver_claim(lmq_receiver *receiver, size_t max_messages, size_t max_bytes, size_t *count);

/*
 * The next claimed message; LMQ_END behind the last. These may be fewer than _claim said, where the receiver that
 * had them before was killed while it settled them.
 */
int lmq_receiver_next(lmq_receiver *receiver, struct lmq_message *message);
int lmq_receiver_body(lmq_receiver *receiver, uint64_t at, struct lmq_bytes *piece);
void lmq_receiver_pause(lmq_receiver *receiver);	/* as lmq_reader_pause */

/*
 * Acknowledges the first count messages of the claim that are not settled yet. What remains of the claim
 * stays claimed. LMQ_EUNKNOWN and the others as for a commit.
 */
int lmq_receiver_settle(lmq_receiver *receiver, size_t count, enum lmq_sync sync);

/* Gives the messages that are not settled back: they are ready again, as if never claimed. */
void lmq_receiver_release(lmq_receiver *receiver);

/* ---- waiting ------------------------------------------------------------------------------- */

typedef struct lmq_watch lmq_watch;

/*
 * Waits for commits, without polling and without losing one that happens between looking and waiting:
 *	lmq_watch_arm(w);  look: nothing there?  lmq_watch_wait(w, deadline);  again
 * lmq_watch_channel() and lmq_watch_catalogue() (channels created, removed, renamed) say what to wait for.
 */
int lmq_watch_open(lmq_store *store, lmq_watch **watch);
void lmq_watch_close(lmq_watch *watch);
int lmq_watch_channel(lmq_watch *watch, lmq_channel *channel);
void lmq_watch_forget(lmq_watch *watch, const lmq_channel *channel);
void lmq_watch_catalogue(lmq_watch *watch);

/* Remembers the present. A commit from now on ends the next _wait. */
void lmq_watch_arm(lmq_watch *watch);

/*
 * Sleeps until something watched was committed since _arm (0; now and then also without a cause),
 * the deadline passed (LMQ_ETIME), or a signal handler ran (LMQ_EINTR). Holds no snapshot.
 */
int lmq_watch_wait(lmq_watch *watch, int64_t deadline);

/* Ends the present or next _wait with LMQ_EINTR. May be called in a signal handler. */
void lmq_watch_interrupt(lmq_watch *watch);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
