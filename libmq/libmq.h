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
#include <sys/types.h>

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
	LMQ_EFULL = -13,	/* the store's own max-bytes, or a queue's limit, is reached */
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
	LMQ_ELOST = -24,	/* the lease was lost: it ran out, or the message was settled */
	LMQ_ECONFLICT = -25,	/* somebody else was faster: lmq_writer_expect() */
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

enum lmq_kind { LMQ_ANY = 0, LMQ_QUEUE = 1, LMQ_TOPIC = 2, LMQ_STREAM = 3,
	LMQ_GROUP = 4 /* for the names of properties only */ };

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
	uint32_t partitions;	/* of a stream; the numbers below are of all of them together */
	uint64_t messages;	/* stored now: in a queue ready or in flight, else readable */
	uint64_t bytes;		/* of their encoded form */
	uint64_t first;		/* offset of the oldest stored message; equal to end if none; with several partitions */
	uint64_t end;		/* offset that the next message gets; the sums over the partitions */
	int64_t first_time;	/* of the oldest stored message; 0 if none */
	int64_t last_time;	/* of the newest message ever; 0 if none */
	uint64_t sent;		/* ever */
	uint64_t acknowledged;	/* ever; queues */
	/* of the messages of a queue: handed out under a lease with a deadline; not before a time because their
	 * sender said so; because they failed; behind another message of their key. What is in none of
	 * these is ready, or in the hands of a process. */
	uint64_t leased, delayed, retrying, blocked;
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
	char value[LMQ_NAME_MAX + 1];	/* shortest spelling; "none" where there is no limit */
	bool set;			/* differs from the default */
};

enum { LMQ_PROPERTY_MAX = 24 };	/* no kind has more */
enum { LMQ_PARTITIONS_MAX = 128 };	/* of a stream */

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

/* ---- routes ------------------------------------------------------------------------------- */

/*
 * A route copies messages that are published to topics and streams whose name matches source on to another
 * channel, in the publisher's transaction: everything that a publish reaches has it, or nothing. Routes may lead
 * on from a destination that is a topic or a stream; a channel that is reached in several ways gets one copy.
 */
struct lmq_route {
	uint32_t number;	/* set by the library; never reused */
	const char *source;	/* a pattern of names */
	const char *destination;	/* a channel; the route follows it when it is renamed, and goes with it */
	const char *key;	/* a pattern that the key must match; NULL: any, or none */
	const char *const *headers;	/* "NAME=GLOB", header_count of them: all must match, */
	size_t header_count;
	bool any;		/* or with this one of them */
};

/*
 * Adds the route; *added is false where the same one is there already, and route->number is its number then.
 * LMQ_ENOENT no such destination; LMQ_EKIND the source is a queue; LMQ_EINVAL a pattern or a name (a source without
 * wildcards is one), or the route would close a circle, which the sentence names. A source pattern with wildcards may
 * match the destination: it is not copied to itself.
 */
int lmq_route_add(lmq_store *store, struct lmq_route *route, bool *added);
/* All of them, by number; lmq_route_free() frees the list with all it points to. */
int lmq_route_list(lmq_store *store, struct lmq_route **list, size_t *count);
void lmq_route_free(struct lmq_route *list);
/* LMQ_ENOENT no such route. */
int lmq_route_remove(lmq_store *store, uint32_t number);
struct lmq_message;
/*
 * The names of the channels that a message published to name would be copied to, in order of their names, *count of
 * them; an array for free(). Neither the channel called name nor the message need be there. LMQ_EKIND a queue.
 */
int lmq_route_test(lmq_store *store, const char *name, const struct lmq_message *message,
	char (**names)[LMQ_NAME_MAX + 1], size_t *count);

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

/* Why a message was not acknowledged. */
enum lmq_reason {
	LMQ_REASON_NONE,
	LMQ_FAILED,		/* its consumer said so */
	LMQ_CRASHED,		/* its consumer died */
	LMQ_TIMEOUT,		/* its lease, or the time it was given, ran out */
	LMQ_REJECTED,		/* its consumer does not want it again */
	LMQ_EXPIRED,		/* its time to live was over */
	LMQ_OVERFLOW,		/* its queue was full */
};

/* "failed", ...; "" for LMQ_REASON_NONE. And back: LMQ_EINVAL. */
const char *lmq_reason_name(enum lmq_reason reason);
int lmq_reason_parse(const char *text, enum lmq_reason *reason);

enum { LMQ_ERROR_MAX = 1024 };	/* bytes that are kept of what a consumer said to a failure */

/* What happened to a message that was delivered and not acknowledged. */
struct lmq_history {
	uint32_t attempts;	/* deliveries that count */
	uint32_t failures, crashes, timeouts;	/* how these ended */
	uint32_t returned;	/* deliveries that were given back and do not count */
	int64_t first_time;	/* begin of the first, and end of the last; ns since 1970, 0: none */
	int64_t last_time;
	enum lmq_reason reason;	/* of the last */
	int exit_status;	/* of the last run; -1: it did not exit, or nobody told */
	int signal;		/* that ended it; 0: none */
	struct lmq_bytes error;	/* the end of what it wrote to stderr, or a reason in words; may be any bytes */
};

/* What a dead letter is: where it came from, and why. */
struct lmq_death {
	struct lmq_bytes origin;	/* name of the channel as it was then */
	struct lmq_bytes group;		/* whose letter it is, of a topic or stream; data NULL: a queue's own */
	bool partitioned;		/* it was a stream with several partitions */
	uint32_t partition;
	uint64_t offset;
	struct lmq_history history;	/* history.reason says why it is dead */
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
	int priority;		/* in a queue higher ones are delivered first */
	int64_t ttl;		/* ns from its storing until it expires; 0: as its channel says */
	int64_t delay;		/* queues: ns from its storing until it may be delivered; 0: none */
	int64_t not_before;	/* the same as a time, ns since 1970; 0: none */
	bool tombstone;		/* says that its key is no more: in a stream with max-per-key the older ones of it go */
	/* from here on set by the library, ignored when sending */
	uint32_t partition;
	uint64_t offset;
	int64_t time;		/* when it was stored, ns since 1970 */
	uint32_t attempt;	/* 1 at the first delivery; 0 where nothing is delivered */
	uint32_t delivery;	/* as attempt, but those that do not count are counted too: the number in a lease */
	const struct lmq_death *death;	/* of a dead letter, else NULL */
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
/* One of the header conditions is enough. */
void lmq_filter_any(lmq_filter *filter);
/* Only offsets from first on, up to and without end; may be called again for further ranges. */
int lmq_filter_offsets(lmq_filter *filter, uint64_t first, uint64_t end);
/* Only messages stored before that time; only dead letters of that reason; of that origin. */
void lmq_filter_before(lmq_filter *filter, int64_t time);
void lmq_filter_reason(lmq_filter *filter, enum lmq_reason reason);
int lmq_filter_origin(lmq_filter *filter, const char *channel);
bool lmq_filter_match(const lmq_filter *filter, const struct lmq_message *message);

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct lmq_writer lmq_writer;
typedef struct lmq_watch lmq_watch;

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

/*
 * With partial set, a commit for which a queue's limit leaves room for only some stores the first of them, and
 * answers LMQ_EFULL: lmq_writer_committed() are stored, the others are still in the writer. Without it
 * (the default) a commit is all or nothing. For writers with one channel.
 */
void lmq_writer_partial(lmq_writer *writer, bool partial);
size_t lmq_writer_committed(const lmq_writer *writer);	/* messages that the last commit took */

/*
 * As lmq_writer_commit(), but where a queue is full it waits, behind those who waited before, until there is
 * room, the deadline passed (LMQ_EFULL), or lmq_watch_interrupt(watch) or a signal ended the wait (LMQ_EINTR).
 * In a partial writer lmq_writer_committed() counts all that was stored. Uses up what watch was armed with.
 */
int lmq_writer_commit_wait(lmq_writer *writer, lmq_watch *watch, int64_t deadline);

/*
 * Numbers the messages for channel under name, and keeps the last number with them: *stored is how many were
 * stored under that name before. The caller skips that many of its input and adds the rest; interrupted
 * anywhere and started again, each is stored once. LMQ_EBUSY from the commit: another writer used the name
 * meanwhile. LMQ_EINVAL the name is not valid.
 */
int lmq_writer_resume(lmq_writer *writer, lmq_channel *channel, const char *name, uint64_t *stored);

/*
 * Where the index-th message of the last commit was stored; of one whose id was stored before, within the
 * channel's dedup, where that one is. False beyond the last.
 */
bool lmq_writer_position(const lmq_writer *writer, size_t index, uint32_t *partition, uint64_t *offset);

/*
 * Messages added from now on go to that partition of their stream; -1: as their key says, and those without one
 * together to the partition that was written to least recently. LMQ_EINVAL from _add: there is no such partition.
 */
void lmq_writer_partition(lmq_writer *writer, int64_t partition);

/*
 * A commit stores nothing and answers LMQ_END if a message of it would be kept by nobody: published to a topic
 * without groups, and matched by no route.
 */
void lmq_writer_mandatory(lmq_writer *writer, bool mandatory);

/*
 * The next commit stores its messages only if the first one gets that offset; or, _key, if the newest message with
 * the key of the first one has that offset (LMQ_NONE: there is none with that key). Otherwise LMQ_ECONFLICT, with
 * nothing stored and the messages still in the writer. Good for one commit, of messages for one topic or stream.
 * LMQ_EINVAL from that commit: the first message has no key. The first use of _key on a stream reads all of it.
 */
#define LMQ_NONE UINT64_MAX
void lmq_writer_expect(lmq_writer *writer, uint64_t offset);
void lmq_writer_expect_key(lmq_writer *writer, uint64_t offset);

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
	LMQ_SEEK_SHIFT,		/* value messages on from where it is, back if negative */
};

/*
 * A reader starts at the oldest message. It reads any kind of channel and changes nothing. Of a queue it sees
 * what is not settled, in the order of offsets; of a stream with several partitions all of them, merged by time,
 * each in its own order. What a seek, an end or a bound says of offsets holds for each partition.
 */
int lmq_reader_open(lmq_channel *channel, lmq_reader **reader);
void lmq_reader_close(lmq_reader *reader);
int lmq_reader_seek(lmq_reader *reader, enum lmq_seek how, int64_t value);
/* Only that partition. Before anything is read. LMQ_EINVAL: there is none of that number. */
int lmq_reader_partition(lmq_reader *reader, uint32_t partition);
/* From now on it ends, LMQ_END, at that offset, or where the channel ends now, whichever comes first. */
int lmq_reader_bound(lmq_reader *reader, uint64_t end);

/*
 * The next message, or LMQ_END when there is none yet. The first call after a _pause or an LMQ_END sees
 * what was committed since. Messages trimmed away before they were read are skipped and counted:
 * lmq_reader_missed(). LMQ_EGONE, LMQ_EDAMAGED.
 */
int lmq_reader_next(lmq_reader *reader, struct lmq_message *message);

/*
 * The message before the one that _next would give, which is then the next one; LMQ_END before the oldest. Of a
 * stream with partitions the newest first. Not for queues: LMQ_EKIND.
 */
int lmq_reader_previous(lmq_reader *reader, struct lmq_message *message);

/*
 * The piece of the last message's body that begins at the byte at: piece->size is 0 at its end. Works for
 * every body. May follow a _pause; LMQ_EGONE if the message was trimmed meanwhile.
 */
int lmq_reader_body(lmq_reader *reader, uint64_t at, struct lmq_bytes *piece);

/* Gives back the snapshot. Call it before anything that may block, or trimmed space stays in use. */
void lmq_reader_pause(lmq_reader *reader);

enum lmq_state {
	LMQ_READY,
	LMQ_LEASED,		/* in somebody's hands */
	LMQ_DELAYED,		/* its sender said: not yet */
	LMQ_RETRYING,		/* it failed, and waits for its next delivery */
	LMQ_BLOCKED,		/* behind another message of its key */
	LMQ_DEAD_ON_SIGHT,	/* expired; gone as soon as somebody receives */
};

enum { LMQ_CONSUMER_MAX = 63 };	/* bytes of a consumer's name */

/* How the delivery of a message of a queue stands. */
struct lmq_delivery {
	enum lmq_state state;
	int64_t due;		/* end of the lease, or of the delay; ns since 1970, 0: none */
	char holder[LMQ_CONSUMER_MAX + 1];	/* LMQ_LEASED: whose hands, "" if that is not known */
	int64_t since;		/* LMQ_LEASED: since when; 0: not known */
	struct lmq_history history;
};

/* Of the message that _next gave last, in a queue. Ends with its bytes. LMQ_EKIND no queue. */
int lmq_reader_delivery(lmq_reader *reader, struct lmq_delivery *delivery);

uint64_t lmq_reader_tell(const lmq_reader *reader);	/* the next offset; with several partitions the sum of theirs */
int lmq_reader_end(lmq_reader *reader, uint64_t *offset);	/* behind the newest message now; the same */
uint64_t lmq_reader_missed(const lmq_reader *reader);		/* since the reader was opened */

/* ---- receiving: queues, and groups of topics and streams ------------------------------------ */

typedef struct lmq_receiver lmq_receiver;

enum {
	/* Messages handed out by _next count as delivered only from lmq_receiver_begin() on. */
	LMQ_EXPLICIT_BEGIN = 4,
};

struct lmq_receiver_options {
	size_t size;			/* sizeof(struct lmq_receiver_options) */
	unsigned flags;			/* LMQ_EXPLICIT_BEGIN; LMQ_CREATE: a missing group is made */
	const lmq_filter *filter;	/* NULL: every message; used, not owned */
	const char *group;		/* topics and streams; NULL for a queue */
	const char *consumer;		/* name in listings; NULL: "pid N" */
	enum lmq_seek start;		/* where a new group starts; the default is the offset 0 */
	int64_t start_value;
	/* as it was without these: */
	int64_t partition;		/* only that one, 1 + its number; 0: a fair share of them */
};

/*
 * A receiver takes messages from a queue, or for a group. What it claims nobody else gets. A message is gone
 * once it is settled; what is not settled goes back when it is released, when the receiver is closed, and at
 * once when the process dies. That death then counts as an attempt of the messages that were being delivered.
 * Receivers of a group share its messages. Those of a stream with several partitions share the partitions: each has
 * some to itself, as many as the others, and gives some up when another one joins, each once nothing of it is in its
 * hands; in a partition nothing is delivered behind a message that waits for its retry.
 * options may be NULL. LMQ_EKIND; LMQ_ENOENT no such group; LMQ_EINVAL.
 */
int lmq_receiver_open(lmq_channel *channel, const struct lmq_receiver_options *options, lmq_receiver **receiver);
void lmq_receiver_close(lmq_receiver *receiver);

/*
 * Claims the next messages in order, at most max_messages and about max_bytes of them, at least one.
 * *count of them are then to be had from _next. LMQ_END: none is ready. What was claimed before and is not
 * settled stays claimed, but can no longer be had from _next. LMQ_EGONE, LMQ_EDAMAGED, and what a commit can
 * meet: whoever claims also hands out what has become due, and moves what expired or crashed too often.
 */
int lmq_receiver_claim(lmq_receiver *receiver, size_t max_messages, size_t max_bytes, size_t *count);

/*
 * The next claimed message; LMQ_END behind the last. These may be fewer than _claim said, where the receiver that
 * had them before was killed while it settled them.
 */
int lmq_receiver_next(lmq_receiver *receiver, struct lmq_message *message);
int lmq_receiver_body(lmq_receiver *receiver, uint64_t at, struct lmq_bytes *piece);
void lmq_receiver_pause(lmq_receiver *receiver);	/* as lmq_reader_pause */

/* With LMQ_EXPLICIT_BEGIN: the work on count messages from offset on begins; should this process die before they
 * are settled or returned, that counts as an attempt of theirs. No transaction. */
void lmq_receiver_begin(lmq_receiver *receiver, uint32_t partition, uint64_t offset, uint64_t count, uint32_t attempt);

/*
 * Acknowledges the first count claimed messages that are not settled yet, in the order in which _next gave them.
 * What remains of the claim stays claimed. LMQ_EUNKNOWN and the others as for a commit.
 */
int lmq_receiver_settle(lmq_receiver *receiver, size_t count, enum lmq_sync sync);

/* Gives the messages that are not settled back: they are ready again, as if never claimed. */
void lmq_receiver_release(lmq_receiver *receiver);
/* The same for count messages from offset on. */
void lmq_receiver_return(lmq_receiver *receiver, uint32_t partition, uint64_t offset, uint64_t count);

/* Messages of the group that were trimmed away before anybody got them, and that this receiver found missing. */
uint64_t lmq_receiver_missed(const lmq_receiver *receiver);

enum lmq_outcome {
	LMQ_ACKNOWLEDGE,	/* done: the message is gone */
	LMQ_RETRY,		/* this attempt failed: again later; to the dead letters if it was the last */
	LMQ_RETURN,		/* give it back as if it had not been delivered */
	LMQ_BURY,		/* to the dead letters */
	LMQ_EXTEND,		/* leases only: keep it for longer */
};

struct lmq_verdict {		/* on claimed messages */
	uint32_t partition;
	uint64_t offset;
	uint64_t count;		/* messages from offset on */
	enum lmq_outcome outcome;
	int64_t delay;		/* LMQ_RETRY: ns until the next delivery; negative: by the queue's backoff */
	/* LMQ_RETRY, LMQ_BURY: what is kept of it. reason LMQ_REASON_NONE means failed, or rejected. */
	enum lmq_reason reason;
	int exit_status;	/* -1: none */
	int signal;		/* 0: none */
	struct lmq_bytes error;	/* only its last LMQ_ERROR_MAX bytes are kept */
	/* set by the library */
	enum lmq_outcome result;	/* LMQ_BURY where the last attempt failed */
	int64_t due;		/* LMQ_RETRY: when it is delivered again, ns since 1970 */
};

/*
 * Settles claimed messages, each in its way, and commits what was added to writer (NULL: nothing), in one
 * transaction: all of it happens, or nothing. After a failure the messages are still claimed and the writer
 * is as after a failed lmq_writer_commit().
 * LMQ_EINVAL a message that is not claimed; LMQ_EFULL, and the others as for a commit.
 */
int lmq_receiver_conclude(lmq_receiver *receiver, struct lmq_verdict *verdicts, size_t count, lmq_writer *writer,
	enum lmq_sync sync);

/*
 * Makes leases of what was claimed last: the messages can still be had from _next, their attempt is counted,
 * and they are nobody's but the lease's from now on: lmq_store_settle() settles them, from any process, and at
 * the deadline, duration from now (0: as the queue's lease=), they are delivered again. As long as the machine is
 * not started again that is not before so much time has passed, wherever the clock is set.
 */
int lmq_receiver_lease(lmq_receiver *receiver, int64_t duration, enum lmq_sync sync);

enum {
	LMQ_MOVE_COPY = 1,	/* leave the messages where they are */
	/* Dead letters: to where each came from, as if never delivered; to is NULL. Those of a group of a topic or
	 * stream are delivered to that group again, from where they still lie. */
	LMQ_MOVE_BACK = 2,
};

/*
 * Moves the first count claimed messages to another channel, in one transaction: each is in one of the two,
 * whatever happens. At most about 4 MiB a call: *moved tells how many. With LMQ_MOVE_COPY they are then given back.
 * With LMQ_MOVE_BACK LMQ_EINVAL a message that is no dead letter; LMQ_ENOENT, LMQ_EKIND its origin, or group, is not
 * there, or of another kind now; LMQ_EGONE it is no longer in the topic or stream that it came from.
 * LMQ_EFULL the other queue is full; LMQ_EDATA a message larger than it takes.
 */
int lmq_receiver_move(lmq_receiver *receiver, size_t count, lmq_channel *to, unsigned flags, enum lmq_sync sync,
	size_t *moved);

/* A lease: one delivery of one message. */
struct lmq_lease {
	const char *channel;
	const char *group;	/* NULL: a queue's own */
	uint32_t partition;
	uint64_t offset;
	uint32_t attempt;	/* lmq_message.delivery */
	enum lmq_outcome outcome;
	int64_t delay;		/* LMQ_RETRY: as in lmq_verdict; LMQ_EXTEND: ns from now to the new deadline */
	struct lmq_bytes error;	/* LMQ_RETRY, LMQ_BURY: the reason in words */
	/* set by the library */
	int status;		/* 0; LMQ_ELOST; LMQ_ENOENT, LMQ_EKIND the channel is not there, is no queue */
	const char *why;	/* LMQ_ELOST: static text, "the message was delivered again" */
	enum lmq_outcome result;
};

/*
 * Reads "CHANNEL[/PARTITION][@GROUP]:OFFSET:ATTEMPT" into lease, whose channel and group point into names.
 * LMQ_EINVAL.
 */
enum { LMQ_LEASE_NAMES = 2 * (LMQ_NAME_MAX + 1) };
int lmq_lease_parse(const char *text, char names[LMQ_LEASE_NAMES], struct lmq_lease *lease);

/*
 * Settles leases in one transaction. A lost one is left alone and says so in its status; the others are settled.
 * LMQ_EINVAL an outcome that is none; or what a commit can meet: then nothing was settled, or with LMQ_EUNKNOWN that
 * is not known.
 */
int lmq_store_settle(lmq_store *store, struct lmq_lease *leases, size_t count, enum lmq_sync sync);

/* ---- groups ------------------------------------------------------------------------------- */

/*
 * Makes the group, or changes the one there is, so that it has the properties given (lease, max-attempts, backoff,
 * dead, order), as lmq_channel_make(). A new one starts as start and value say, an old one stays where it is.
 * LMQ_EKIND a queue; LMQ_EINVAL; LMQ_EBUSY order can be changed only while nothing of the group is in flight.
 */
int lmq_group_make(lmq_channel *channel, const char *group, enum lmq_seek start, int64_t value,
	const char *const properties[], size_t count, bool *created, struct lmq_property *changed, size_t *changed_count);
int lmq_group_properties(lmq_channel *channel, const char *group, struct lmq_property list[LMQ_PROPERTY_MAX],
	size_t *count);

struct lmq_group_info {		/* of one partition */
	char name[LMQ_NAME_MAX + 1];
	uint32_t partition;
	uint64_t position;	/* offset of the oldest message that is not settled; end if there is none */
	uint64_t end;		/* of the partition */
	uint64_t lag;		/* messages that are not settled */
	int64_t oldest_time;	/* of the message at position; 0: there is none */
	uint64_t leased, delayed, retrying, blocked;	/* of them, as in lmq_channel_info */
	uint64_t acknowledged, dead, missed;	/* ever */
	uint32_t members;	/* receivers that live, as far as is known */
	char owner[LMQ_CONSUMER_MAX + 1];	/* of several partitions: who has this one; "" nobody, or not known */
};

/* The groups of the channel, by name and partition; group NULL: all. An array for free(). LMQ_ENOENT no such group. */
int lmq_group_list(lmq_channel *channel, const char *group, struct lmq_group_info **list, size_t *count);

struct lmq_group_move {		/* what a seek did, or would do, to one partition */
	uint32_t partition;
	uint64_t from, to;	/* offsets; from is position in lmq_group_info */
	uint64_t end;		/* of the partition */
};
enum { LMQ_SEEK_DRY_RUN = 8 };

/*
 * Moves the group, in one partition or in all (-1). What lies before its new position is settled for it, all that
 * lies behind is to be delivered, again or not; what members have in their hands meanwhile they may still settle.
 * moves has room for LMQ_PARTITIONS_MAX entries. In bounded transactions: killed in between it has moved a part of
 * the way, or not all partitions. A position outside of what is stored becomes the nearest inside. LMQ_EINVAL.
 */
int lmq_group_seek(lmq_channel *channel, const char *group, int64_t partition, enum lmq_seek how, int64_t value,
	unsigned flags, struct lmq_group_move *moves, size_t *count);
/* LMQ_ENOENT. Its receivers in other processes answer LMQ_EGONE. */
int lmq_group_remove(lmq_channel *channel, const char *group);

/* ---- checking ------------------------------------------------------------------------------ */

struct lmq_check {
	uint64_t messages, blocks, bytes;	/* looked at */
	uint64_t damaged;	/* blocks and bodies that are */
	bool audited;		/* the stream has audit=yes; */
	uint64_t broken;	/* of its blocks do not follow from the one before */
	uint32_t wrong_partition;	/* about where the first of these lies; 0 where all is well */
	uint64_t wrong_offset;
	char digest[65];	/* SHA-256, in hexadecimal, of everything up to the end: grows from that of any earlier end */
};
/*
 * Reads all of the channel, in steps that hold no snapshot for long: step is called after each with what was seen so
 * far, and ends it by answering false; it may be NULL. LMQ_EINTR then.
 */
int lmq_channel_check(lmq_channel *channel, struct lmq_check *check,
	bool (*step)(const struct lmq_check *sofar, void *context), void *context);

struct lmq_fault {		/* one thing that is wrong */
	char object[2 * LMQ_NAME_MAX + 32];	/* "jobs", "events/3@workers", "page 7", "store" */
	char what[192];		/* "has 4 runs that are leased, and counts 5" */
};
struct lmq_accounts {
	uint64_t pages;		/* of the data file, that are in use */
	uint64_t records, entries;	/* looked at: of state, and of indexes */
	uint64_t faults;
	bool unreadable;	/* the trees of the file are damaged: nothing but pages was looked at, nothing else is safe */
};
/*
 * Holds every record, counter and index of the store against each other, and the pages of the file themselves, in one
 * snapshot; blocks and bodies are lmq_channel_check()'s. fault is called, outside of any transaction, with each of
 * the first LMQ_FAULTS_MAX faults; progress after each step, with what was seen so far; it ends the check by answering
 * false (LMQ_EINTR); each may be NULL. 0 also where faults were found.
 */
enum { LMQ_FAULTS_MAX = 1000 };
int lmq_store_check(lmq_store *store, struct lmq_accounts *accounts,
	void (*fault)(const struct lmq_fault *fault, void *context),
	bool (*progress)(const struct lmq_accounts *sofar, void *context), void *context);

/* ---- saving ------------------------------------------------------------------------------- */

struct lmq_copy {		/* how far a copy is */
	uint64_t done, size;	/* bytes of the data file */
};
enum { LMQ_COPY_COMPACT = 1 };	/* leave out the pages that are free */
/*
 * Writes a copy of the store, of one committed state, as a new store to path, while others work. path must not exist,
 * or be an empty directory. Killed at any time it leaves either nothing there, or all. progress as above; may be NULL.
 * LMQ_ECREATE, LMQ_ENOSPC, LMQ_EINTR, LMQ_EDAMAGED. What others write meanwhile makes the store's file grow.
 */
int lmq_store_backup(lmq_store *store, const char *path, unsigned flags,
	bool (*progress)(const struct lmq_copy *sofar, void *context), void *context);
/*
 * Replaces the data file of the store at path, which must be closed, by a compact one. Needs free space for that. Killed at any
 * time it leaves the old file or the new one. LMQ_EBUSY: somebody has the store open; lmq_hint names who.
 * *before, *after: bytes of the data file. *store, for the sentence, is to be closed, as for lmq_store_open().
 */
int lmq_store_compact(const char *path, const struct lmq_store_options *options, lmq_store **store,
	uint64_t *before, uint64_t *after);

struct lmq_holder {		/* a process that has the store open to read it */
	pid_t pid;
	bool reading;		/* in a snapshot now: pages that were freed since are not reused */
	uint64_t behind;	/* commits since that snapshot */
	uint64_t held;		/* bytes of the data file that cannot be used again because of it */
	char command[32];	/* as the kernel has it; "" if not known */
};
/* Which other processes have the store open, the oldest snapshot first. An array for free(); NULL if there is none. */
int lmq_store_holders(lmq_store *store, struct lmq_holder **list, size_t *count);

struct lmq_rescue {
	uint64_t channels, messages, bytes;	/* saved */
	uint64_t lost_messages;	/* known to be lost: offsets that are missing and were not settled */
	uint64_t lost_pages;	/* of the file, that could not be read or made sense of */
	uint64_t mended;	/* counters and index entries made anew */
};
/*
 * Saves all that can be read of the store at path, damaged as it may be, as a new store at destination; the old one is
 * only read, without LMDB, and must not be in use. loss is called with each thing that was lost, or mended. *store, for
 * the sentence, is to be closed, as for lmq_store_open(). LMQ_EFORMAT: no page of the file makes sense.
 */
int lmq_store_repair(const char *path, const char *destination, lmq_store **store, struct lmq_rescue *rescue,
	void (*loss)(const struct lmq_fault *loss, void *context),
	bool (*progress)(const struct lmq_rescue *sofar, void *context), void *context);

/* ---- trimming ------------------------------------------------------------------------------ */

/* What lmq_channel_trim() drops: messages that any of the conditions given names. Nothing in flight is dropped. */
struct lmq_trim {
	bool all;
	uint64_t keep;		/* all but the newest so many; UINT64_MAX: not given */
	uint64_t keep_bytes;	/* all but the newest that take so many bytes, exact to a block; UINT64_MAX */
	int64_t before;		/* stored before this time; 0: not given */
	uint64_t to;		/* below this offset; 0: not given */
	bool dry_run;		/* only count */
};

#define LMQ_TRIM_INIT { .keep = UINT64_MAX, .keep_bytes = UINT64_MAX }

/*
 * Drops messages in one bounded step (a few ms). *dropped counts those of this step, *more tells
 * whether another one is due; at gets where to go on and is 0 before the first. Messages that are
 * sent in between are not dropped by offset or number: call lmq_channel_trim_bound() first.
 * LMQ_EACCES the stream is sealed, or has audit=yes.
 */
int lmq_channel_trim(lmq_channel *channel, const struct lmq_trim *what, uint64_t *at, uint64_t *dropped, bool *more);
/* Turns all, keep and keep_bytes into an offset, as of now, so that steps do not run after a sender. What is to be kept
 * of a stream with several partitions, each of them keeps its share of. */
int lmq_channel_trim_bound(lmq_channel *channel, struct lmq_trim *what);

/*
 * Drops what the limits of the topic or stream no longer keep, in one bounded step, as every publisher does: for
 * those that nobody publishes to. at is 0 before the first.
 */
int lmq_channel_retain(lmq_channel *channel, uint64_t *at, uint64_t *dropped, bool *more);

/* ---- waiting ------------------------------------------------------------------------------- */

/*
 * Waits for commits, without polling and without losing one that happens between looking and waiting:
 *	lmq_watch_arm(w);  look: nothing there?  lmq_watch_wait(w, deadline);  again
 * lmq_watch_channel() and lmq_watch_catalogue() (channels created, removed, renamed) say what to wait for.
 */
int lmq_watch_open(lmq_store *store, lmq_watch **watch);
void lmq_watch_close(lmq_watch *watch);
int lmq_watch_channel(lmq_watch *watch, lmq_channel *channel);
void lmq_watch_forget(lmq_watch *watch, const lmq_channel *channel);
/*
 * A receiver's channel, and with it the time when the next of its messages becomes due, and the deaths of
 * those who hold messages of it. NULL forgets all receivers; _dismiss one of them.
 */
int lmq_watch_receiver(lmq_watch *watch, lmq_receiver *receiver);
void lmq_watch_dismiss(lmq_watch *watch, const lmq_receiver *receiver);
void lmq_watch_catalogue(lmq_watch *watch);

/* Remembers the present. A commit from now on ends the next _wait. */
void lmq_watch_arm(lmq_watch *watch);

/*
 * Sleeps until something watched was committed since _arm (0; now and then also without a cause),
 * the deadline passed (LMQ_ETIME), or a signal handler ran (LMQ_EINTR; one installed with SA_RESTART need not end
 * it). Holds no snapshot.
 */
int lmq_watch_wait(lmq_watch *watch, int64_t deadline);

/*
 * As lmq_watch_wait(), but one of count descriptors being ready ends it too (0): fds is as for poll(2), and
 * revents is set.
 */
struct pollfd;
int lmq_watch_poll(lmq_watch *watch, struct pollfd *fds, size_t count, int64_t deadline);

/* Ends the present or next _wait with LMQ_EINTR. May be called in a signal handler. */
void lmq_watch_interrupt(lmq_watch *watch);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
