/* SPDX-License-Identifier: ISC */
/* A writer, as its parts see it: messages in one piece (writer.c), bodies in many (pieces.c), commit.c, waiting (blocked.c). */
#ifndef WRITER_H
#define WRITER_H

#include "channel/channel.h"

enum {
	BATCH_BYTES = 4 << 20,		/* of a whole transaction; LMDB's dirty pages come on top */
	ROUTED_BYTES = 32 << 20,	/* with all copies that routes make */
	BATCH_LEAST = 64 << 10,
	BLOBS_MAX = 1024,
	STAGE_BYTES = 256 * CHUNK_ROOM,	/* of a large body, gathered before they are stored: 1 MiB */
};

struct lot {			/* what goes to one channel, or one partition of it */
	lmq_channel *channel;
	int64_t partition;	/* -1: as the keys say */
	struct batch batch;
	/* of the last commit: */
	size_t taken;		/* messages stored */
	struct place first;	/* where the first one lies; the others follow */
	struct place *places;	/* not NULL: where each one lies instead */
};

struct resume {			/* the bulk load that the messages belong to */
	bool set;
	uint32_t id;		/* of its channel */
	uint64_t stored;
	uint64_t taken;		/* by the present commit, so far */
	char name[LMQ_NAME_MAX + 1];
};

struct lmq_writer {
	lmq_store *store;
	enum lmq_sync sync;
	struct lot *lots;
	size_t lot_count, lot_room;
	size_t count, bytes;
	size_t batch_bytes;	/* the most that one commit takes */
	size_t committed;	/* messages of the last commit */
	bool partial;
	bool may_cut;		/* this commit may store only the first messages, */
	uint64_t most;		/* and is to store no more than so many; 0: no matter */
	bool cut;		/* it does, */
	int fault;		/* because of that: LMQ_EFULL, LMQ_EDATA */
	uint64_t ticket;	/* of a sender that waits for room; 0 */
	uint32_t ticket_id;	/* in the channel with that number */
	int64_t partition;	/* of messages added from now on; -1 */
	bool mandatory;
	bool expects;		/* of the next commit: */
	struct expectation expectation;
	struct place *kept;		/* not NULL: where the messages of the last commit lie, which took several rounds */
	struct resume resume;
	uint16_t *order;	/* per message the index of its lot; NULL while there is one lot */
	size_t order_room;
	int owner;		/* descriptor whose locks say that bodies are being written; -1 */
	uint64_t *blobs;	/* numbers of the bodies staged and not committed */
	size_t blob_count;
	/* the message that comes in pieces */
	bool open;
	struct lot *target;
	struct lmq_message message;	/* its fields point into fields */
	uint8_t *stage;		/* bytes not stored yet */
	size_t staged;
	struct blob body;	/* number 0: nothing was stored yet */
	uint32_t parts;
	uint8_t *fields;
};

int writer_no_memory(lmq_writer *w);
/* The lot of that channel, made if there is none; NULL: no memory. */
struct lot *writer_lot(lmq_writer *w, lmq_channel *c);
/* Encodes a message into the lot; blob: where its body is, or NULL. */
int writer_lot_add(lmq_writer *w, struct lot *l, const struct lmq_message *m, const struct blob *blob);
/* Whether a body of that size is allowed; the limit may have been raised since the channel was opened. */
int writer_check_size(lmq_writer *w, lmq_channel *c, uint64_t size);
/* How many staged bodies the first messages have, where there is one lot; and lets the first bodies go. */
size_t writer_bodies(const lmq_writer *w, size_t count);
void writer_bodies_release(lmq_writer *w, size_t count);
/* Whether the message can be added: its fields, and the room that is left in the transaction. */
int writer_check(lmq_writer *w, lmq_channel *c, const struct lmq_message *m);
/* The message without what a sender has no say in, or does not matter any more: m, or a copy in *room. */
const struct lmq_message *writer_message(const lmq_channel *c, const struct lmq_message *m,
	struct lmq_message *room);
void writer_empty(lmq_writer *w);		/* drops what was added */
void writer_forget_positions(lmq_writer *w);	/* of the last commit */
/* Makes room in a full store or disk: what limits do not keep any more, and what was removed. Whether there was any. */
bool writer_clear(lmq_writer *w);
/* A commit: what happens in a transaction, and what follows it, rc being its outcome, or why it was not reached. */
int writer_append(lmq_writer *w, struct txn *t);
void writer_done(lmq_writer *w, int rc);

#endif
