/* SPDX-License-Identifier: ISC */
/*
 * Every byte that reaches the disk.
 *
 * A store is a directory with four files: mq-store, a text that says the version of the format and the
 * store's UUID (its flock is the gate around opening and closing); data.mdb and lock.mdb, which are LMDB's;
 * control, shared memory that holds no data.
 *
 * data.mdb holds one B-tree. The first byte of a key names the table; numbers in keys and values are
 * big-endian, so that memcmp orders them. Every value but those of L and B ends in the CRC-32C of key and
 * value; those begin with it. Below, id is a channel's number (u32, never reused), lane the number of a log
 * within the channel (u16: the partition of a stream, else 0), offset the number of a message within its lane
 * (u64, dense, never reused).
 *
 *	key				value						written by, deleted by
 *	S				the store: version, features, uuid, counters,	creation, whoever takes a number
 *					properties
 *	C name				id						make, rename, remove
 *	P id				the channel: kind, created, name, properties	make, rename, remove
 *	E id group			the properties of a group, as a channel's	make; remove
 *	H id lane			the head of a log: first, end, last time,	every append and every drop
 *					counters, where its tail block is
 *	L id lane offset part		a block of messages				append; drop, sweep
 *	G id lane group			a reader's position: next, counters; the	settle; remove
 *					queue's own reader has the empty name
 *	F id lane floor space		in a topic: what a group still needs begins	settle
 *					at offset floor; the group's name
 *	M id lane hash offset		a message of a key; the newest ones of it	append, compaction; drop
 *	U number			a route: what goes on to where			route; its removal, remove
 *	R space first			a run of messages below a reader's next that	whoever changes their state;
 *					are not settled: [first, end), their state,	settle
 *					what happened to them
 *	Q space class first		a run that is ready, by descending priority	with its R
 *					(class = 9 - priority): end
 *	D space due first		a run that waits for a time: its lease's end,	with its R
 *					its delay's, its next attempt
 *	K space hash offset		an unsettled message with a key, in a queue	append; settle
 *					with order=key
 *	I id hash			an id within dedup: offset, time, hash of body	append; append, when it is too old
 *	J id time hash			the same by age					with its I
 *	N id name			messages stored under a name of --resume	append; remove
 *	B blob part			a chunk of a large body				writer; sweep
 *	V blob				so many more messages have the same large body	route, burial; drop
 *	T blob				the body is being written: by a process that	writer; its commit, sweep
 *					holds the OFD lock STAGING_LOCK + blob
 *	X kind number			to be swept: a removed channel ('c', id), a	remove, drop; sweep
 *					dropped body ('b', blob), the runs of a removed
 *					group ('g', space)
 *
 * Messages are records in a byte stream; the stream of a lane is cut into blocks of BLOCK_MAX bytes, so that
 * a block fills one page of 4 KiB to the last byte whatever the sizes of the messages. A block's header says
 * how many bytes at its begin continue the last record of the block before (skip), how many records begin in
 * it (count), the time of the record before the first of those, and the time of the last. Its key is
 * the offset of the first record that begins in it and part 0; a block in which none begins has the
 * offset of the record that it continues and part 1, 2, ... A record begins in a block only where at least
 * RECORD_ROOM bytes are left, so that its length never straddles. The last block of a lane may be short; it is
 * rewritten by the next append until it is full, so a million single sends are stored as densely as one batch.
 *
 *	record	varint n: bytes that follow; flags u8; varint: ns since the record before;
 *		[KEY: varint n, n bytes] [FIELDS: varint n, n bytes of fields] body: the rest
 *		[BLOB: instead of the body u64 blob, u64 size] [HOLE: nothing more: compaction took it]
 *	field	tag u8, varint n, n bytes; a header is varint n, n bytes of name, then the value. Unknown tags
 *		are skipped.
 *
 * A block with a LINK has 32 bytes between header and records: the SHA-256 of the link, the key and the other bytes
 * of the block before it in the lane, in their final form (audit.c). Of a lane that compaction has been through
 * (HEAD_GAPS) whole blocks may be missing.
 *
 * The lane of a message with a key is the SipHash-2-4 of the key, with 16 zero bytes as its key, modulo the number
 * of partitions.
 *
 * Varints are LEB128. Times are ns since 1970 and never decrease within a lane.
 *
 * A reader's position: messages from next on are ready, have the default priority and wait for nothing; no
 * run lies there. Messages below next and in no run are settled. Blocks of which every message is settled may
 * be dropped, in a queue also between others. What a process has in its hands is not on the disk at all but an
 * OFD lock on the control file, byte range space << 32 | (offset mod 2^32), held by its owner: the kernel
 * gives it back at the owner's death (lease.c). The queue's space is its id; a group has one for each lane.
 */
#ifndef FORMAT_H
#define FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FORMAT_VERSION = 4,
	FORMAT_FLOORS = 3,	/* the first that has table F */
	FORMAT_OLDEST = 2,	/* read too, and made the present one by whoever opens it for writing */
	BLOCK_VERSION = 1,
	BLOCK_MAX = 4080,	/* bytes of a value that fits one overflow page of 4 KiB */
	BLOCK_HEADER = 28,
	BLOCK_ROOM = BLOCK_MAX - BLOCK_HEADER,
	BLOCK_LONGEST = BLOCK_MAX + 8,	/* where a hole took more room than what was left of a message */
	LINK_SIZE = 32,
	RECORD_ROOM = 8,
	RECORD_LEAST = 3,	/* bytes of the shortest record: its length, flags, time */
	CHUNK_HEADER = 4,
	CHUNK_ROOM = BLOCK_MAX - CHUNK_HEADER,
	BODY_INLINE_MAX = 64 << 10,	/* longer bodies are chunks in table B */
	RECORD_MAX = BODY_INLINE_MAX + (34 << 10),	/* bytes of a record: body, fields, key, header */
	KEY_MAX = 160,		/* bytes of the longest key of a table */
};

#define MARKER_NAME "mq-store"
#define MARKER_TEXT "mq store "

/* ---- numbers ------------------------------------------------------------------------------ */

static inline uint8_t *put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static inline uint8_t *put32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	__builtin_memcpy(p, &v, 4);
	return p + 4;
}

static inline uint8_t *put64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	__builtin_memcpy(p, &v, 8);
	return p + 8;
}

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	__builtin_memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;
	__builtin_memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "put and get are written for little-endian machines"
#endif

enum { VARINT_MAX = 10 };

uint8_t *put_varint(uint8_t *p, uint64_t v);
size_t varint_size(uint64_t v);
const uint8_t *get_long_varint(const uint8_t *p, const uint8_t *end, uint64_t *v);

/* Reads a varint that must end before end; NULL if it does not, or is longer than 64 bits. */
static inline const uint8_t *get_varint(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
	if (p < end && *p < 0x80) {
		*v = *p;
		return p + 1;
	}
	return get_long_varint(p, end, v);
}

/* ---- keys --------------------------------------------------------------------------------- */

struct key {
	uint8_t bytes[KEY_MAX];
	size_t size;
};

struct key key_store(void);
struct key key_name(const char *name);
struct key key_channel(uint32_t id);
struct key key_head(uint32_t id, uint16_t lane);
struct key key_block(uint32_t id, uint16_t lane, uint64_t offset, uint32_t part);
struct key key_group(uint32_t id, uint16_t lane, const char *group);
struct key key_settings(uint32_t id, const char *group);
struct key key_floor(uint32_t id, uint16_t lane, uint64_t floor, uint32_t space);
struct key key_latest(uint32_t id, uint16_t lane, const uint8_t hash[16], uint64_t offset);
struct key key_route(uint32_t number);
struct key key_shared(uint64_t blob);
struct key key_run(uint32_t space, uint64_t first);
struct key key_ready(uint32_t space, uint8_t class, uint64_t first);
struct key key_due(uint32_t space, int64_t due, uint64_t first);
struct key key_chain(uint32_t space, uint64_t hash, uint64_t offset);
struct key key_id(uint32_t id, const uint8_t hash[16]);
struct key key_id_age(uint32_t id, int64_t time, const uint8_t hash[16]);
struct key key_resume(uint32_t id, const char *name);
struct key key_chunk(uint64_t blob, uint32_t part);
struct key key_staging(uint64_t blob);
struct key key_sweep(char kind, uint64_t number);

/* Bytes of a key that all keys of the same (id, lane), space, blob have in common. */
enum {
	BLOCK_KEY = 19,
	BLOCK_PREFIX = 7,	/* of F and M too */
	FLOOR_KEY = 19,
	LATEST_KEY = 31,
	LATEST_PREFIX = 23,	/* one hash */
	ROUTE_KEY = 5,
	RUN_KEY = 13,
	RUN_PREFIX = 5,		/* of R, Q, D, K; of E, I, J, N too */
	READY_KEY = 14,
	DUE_KEY = 21,
	CHAIN_KEY = 21,
	CHAIN_PREFIX = 13,
	ID_KEY = 21,
	ID_AGE_KEY = 29,
	CHUNK_KEY = 13,
	CHUNK_PREFIX = 9,
	SWEEP_KEY = 10,
	STAGING_KEY = 9,
};

/* ---- values ------------------------------------------------------------------------------- */

struct store_record {		/* S */
	uint32_t version;	/* FORMAT_VERSION */
	uint64_t features;	/* bits that a reader must know; 0 */
	uint8_t uuid[16];
	int64_t created;
	uint32_t next_id;	/* the next channel's number, or space */
	uint64_t next_blob;
	uint8_t create;		/* writers may create channels */
	uint8_t sync;		/* enum lmq_sync; the default of writers */
	uint64_t max_bytes;	/* 0: none */
	uint32_t routes;	/* changes with them; 0: there never was one */
	uint32_t next_route;	/* the next one's number */
};
enum { STORE_RECORD_2 = 4 + 8 + 16 + 8 + 4 + 8 + 1 + 1 + 8 + 4, STORE_RECORD = STORE_RECORD_2 + 8 };

enum limit {			/* numeric properties of a channel, by tag; absent: the default */
	LIMIT_MAX_MESSAGE,
	LIMIT_MAX_MESSAGES,
	LIMIT_MAX_BYTES,
	LIMIT_MAX_AGE,
	LIMIT_WINDOW,
	LIMIT_WINDOW_AGE,
	LIMIT_SEALED,
	LIMIT_LEASE,
	LIMIT_MAX_ATTEMPTS,
	LIMIT_BACKOFF_LEAST,
	LIMIT_BACKOFF_MOST,
	LIMIT_DEDUP,
	LIMIT_ORDER_KEY,	/* 0, 1 */
	LIMIT_TTL,
	LIMIT_FULL,		/* enum full_policy */
	LIMIT_PARTITIONS,
	LIMIT_MAX_PER_KEY,
	LIMIT_AUDIT,		/* 0, 1 */
	LIMIT_COUNT
};

struct channel_record {		/* P, and E */
	uint8_t kind;		/* enum lmq_kind; LMQ_GROUP in E, where the name is the channel's as it once was */
	int64_t created;
	char name[129];
	uint32_t given;		/* bit n: limit[n] was set */
	uint64_t limit[LIMIT_COUNT];	/* UINT64_MAX: none */
	char dead[129];		/* where dead letters go; "": the default, "none": nowhere */
};
enum { CHANNEL_RECORD_MAX = 1 + 8 + 1 + 128 + 1 + LIMIT_COUNT * 9 + 1 + 128 + 4 };

struct head_record {		/* H */
	uint64_t first;		/* offset of the oldest message not dropped */
	uint64_t end;		/* offset of the next message */
	int64_t last_time;	/* of the newest message ever */
	uint64_t bytes;		/* of records in the blocks that exist, and of large bodies */
	uint64_t sent_bytes;	/* ever */
	uint64_t large;		/* large bodies among the messages from first on */
	uint64_t tail_offset;	/* key of the newest block; */
	uint32_t tail_part;
	uint16_t tail_used;	/* bytes of its value; 0: there is none */
	uint64_t indexed;	/* table M knows the keys of the messages below */
	uint64_t holes;		/* messages from first on that compaction took */
	uint8_t flags;
};
enum { HEAD_RECORD_2 = 8 * 7 + 4 + 2 + 4, HEAD_RECORD = HEAD_RECORD_2 + 8 + 8 + 1 };
enum { HEAD_GAPS = 1 };		/* blocks may be missing */

/* The state of a run. */
enum run_state {
	RUN_READY,
	RUN_LEASED,		/* until due */
	RUN_DELAYED,		/* until due; so its sender wanted it */
	RUN_RETRYING,		/* until due */
	RUN_BLOCKED,		/* behind another message of its key */
	RUN_STATES
};

enum counter {			/* of a reader, ever */
	COUNT_ACKNOWLEDGED,
	COUNT_FAILED,
	COUNT_CRASHED,
	COUNT_TIMEOUT,
	COUNT_DEAD,
	COUNT_EXPIRED,
	COUNT_DROPPED,		/* trimmed, or pushed out by newer ones */
	COUNT_MOVED,
	COUNTERS
};

enum { GROUP_TTL = 1 };		/* messages with a ttl of their own were stored */

struct group_record {		/* G */
	uint64_t next;		/* from here on messages are ready and nothing special */
	uint64_t settled;	/* messages, ever */
	uint32_t space;
	uint8_t flags;
	uint64_t state[RUN_STATES];	/* messages in runs of that state */
	uint64_t counter[COUNTERS];
	uint64_t floor;		/* as it stands in F; UINT64_MAX: not there */
};
enum { GROUP_RECORD_2 = 8 + 8 + 4 + 1 + 8 * (RUN_STATES + COUNTERS) + 4, GROUP_RECORD = GROUP_RECORD_2 + 8 };

enum { RUN_ERROR_MAX = 1024, RUN_OWNER_MAX = 63, HISTORY_MAX = 5 * 5 + 2 * 10 + 1 + 2 * 5 };

struct run_history {		/* as struct lmq_history */
	uint32_t attempts, failures, crashes, timeouts;
	uint32_t returned;	/* deliveries given back uncounted */
	int64_t first_time, last_time;
	uint8_t reason;		/* enum lmq_reason */
	int32_t exit_status;	/* -1: none */
	int32_t signal;
};

struct run_record {		/* R */
	uint64_t first;		/* stands in the key */
	uint64_t end;
	uint8_t state;		/* enum run_state */
	uint8_t priority;
	int64_t due;		/* LEASED, DELAYED, RETRYING; BLOCKED: not before it either; 0: none */
	uint64_t key_hash;	/* order=key: never 0, and the run is one message; 0: none */
	struct run_history history;
	uint16_t error_size;
	char owner[RUN_OWNER_MAX + 1];	/* LEASED */
	uint32_t boot;		/* LEASED: while it is this boot of the machine (boot_number()), */
	int64_t steady;		/* it also lasts until this time of CLOCK_BOOTTIME; boot 0: only due counts */
	char error[RUN_ERROR_MAX];
};
enum { RUN_RECORD_MAX = 8 + 3 + 8 + 8 + HISTORY_MAX + 1 + RUN_OWNER_MAX + 2 + RUN_ERROR_MAX + 4 + 8 + 4 };

struct id_record {		/* I */
	uint64_t offset;
	int64_t time;
	uint64_t body;		/* its hash */
	uint16_t lane;
};
enum { ID_RECORD_2 = 8 + 8 + 8 + 4, ID_RECORD = ID_RECORD_2 + 2 };

enum { NUMBER_RECORD = 8 + 4, NAME_RECORD = 4 + 4, STAGING_RECORD = 8 + 4, SWEEP_RECORD = 4 };

/*
 * A record's bytes with the CRC of key and value behind them, and back; _get returns false where the
 * bytes are not such a record.
 */
size_t record_seal(const struct key *k, uint8_t *out, const uint8_t *end);	/* only the CRC; returns the whole size */
bool record_sound(const struct key *k, const void *data, size_t size);
size_t store_record_put(const struct store_record *r, const struct key *k, uint8_t *out);
bool store_record_get(struct store_record *r, const struct key *k, const void *data, size_t size);
size_t channel_record_put(const struct channel_record *r, const struct key *k, uint8_t *out);
bool channel_record_get(struct channel_record *r, const struct key *k, const void *data, size_t size);
size_t head_record_put(const struct head_record *r, const struct key *k, uint8_t *out);
bool head_record_get(struct head_record *r, const struct key *k, const void *data, size_t size);
size_t group_record_put(const struct group_record *r, const struct key *k, uint8_t *out);
bool group_record_get(struct group_record *r, const struct key *k, const void *data, size_t size);
size_t run_record_put(const struct run_record *r, const struct key *k, uint8_t *out);
bool run_record_get(struct run_record *r, const struct key *k, const void *data, size_t size);
/* The history of a run, or of a dead letter. get_history(NULL), or where the bytes are none: NULL. */
uint8_t *put_history(uint8_t *p, const struct run_history *h);
const uint8_t *get_history(const uint8_t *p, const uint8_t *end, struct run_history *h);
size_t id_record_put(const struct id_record *r, const struct key *k, uint8_t *out);
bool id_record_get(struct id_record *r, const struct key *k, const void *data, size_t size);
/* A value that is a name: F. _get: room for LMQ_NAME_MAX + 1 bytes. */
size_t name_put(const char *name, const struct key *k, uint8_t *out);
bool name_get(char *name, const struct key *k, const void *data, size_t size);
enum { FLOOR_RECORD_MAX = 128 + 4 };
/* A value that is one number: Q (end), N (messages), T (ns since 1970), V (messages), C (id, as 4 bytes); D, J, K, M,
 * X have none. */
size_t number_put(uint64_t number, size_t width, const struct key *k, uint8_t *out);
bool number_get(uint64_t *number, size_t width, const struct key *k, const void *data, size_t size);

/* ---- blocks ------------------------------------------------------------------------------- */

enum { BLOCK_HAS_BLOB = 1, BLOCK_HAS_LINK = 2, BLOCK_FLAGS = 3 };

struct block {			/* L, decoded */
	uint8_t flags;
	uint16_t count;		/* records that begin here */
	uint16_t skip;		/* bytes of payload that continue an earlier record */
	int64_t base_time;	/* of the record before the first that begins here */
	int64_t last_time;	/* of the last record that begins here, or base_time */
	const uint8_t *link;	/* LINK_SIZE bytes; NULL: none */
	const uint8_t *payload;
	size_t size;		/* of payload */
};

/* Writes the header of a block, and its link; the payload is in place behind them. */
void block_seal(uint8_t *value, const struct block *b, const struct key *k);
/* Checks everything, the CRC among it. */
bool block_get(struct block *b, const void *key, size_t key_size, const void *value, size_t size);

/* A chunk of a large body: CRC of key and bytes, then the bytes. */
void chunk_seal(uint8_t *value, size_t size, const struct key *k);
bool chunk_check(const void *value, size_t size, const struct key *k);

/* ---- records ------------------------------------------------------------------------------ */

enum { RECORD_KEY = 1, RECORD_FIELDS = 2, RECORD_BLOB = 4, RECORD_HOLE = 8, RECORD_KNOWN = 15 };

enum field_tag {
	FIELD_TYPE = 1,
	FIELD_PRIORITY,
	FIELD_ID,
	FIELD_HEADER,
	FIELD_REPLY_TO,
	FIELD_CORRELATION,
	FIELD_TTL,		/* varint: ns from its storing until it expires */
	FIELD_DELAY,		/* varint: ns from its storing until it may be delivered */
	FIELD_NOT_BEFORE,	/* varint: the same as a time */
	FIELD_DEATH,		/* of a dead letter: varint n, n bytes of origin; varints: partition + 1 (0: the only one),
				   offset, attempts, failures, crashes, time-outs, first and last time; reason u8; varints:
				   exit status + 1, signal; error: the rest */
	FIELD_TOMBSTONE,	/* empty */
	FIELD_GROUP,		/* of a dead letter, behind that field: the name of the group, if it is one's */
};

#endif
