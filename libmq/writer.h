/* SPDX-License-Identifier: ISC */
/* A writer, as its two halves see it: messages in one piece (writer.c) and bodies in many (pieces.c). */
#ifndef WRITER_H
#define WRITER_H

#include "internal.h"

enum {
	BATCH_BYTES = 4 << 20,		/* of a whole transaction; LMDB's dirty pages come on top */
	BLOBS_MAX = 1024,
	STAGE_BYTES = 256 * CHUNK_ROOM,	/* of a large body, gathered before they are stored: 1 MiB */
};

struct lot {			/* what goes to one channel */
	lmq_channel *channel;
	struct batch batch;
	uint8_t *memory;	/* batch.records lies VARINT_MAX behind its begin */
	size_t room;
	uint64_t first;		/* offset of the first message, after the commit */
};

struct lmq_writer {
	lmq_store *store;
	enum lmq_sync sync;
	struct lot *lots;
	size_t lot_count, lot_room;
	size_t count, bytes;
	size_t batch_bytes;	/* the most that one commit takes */
	size_t committed;	/* messages of the last commit */
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
/* Whether the message can be added: its fields, and the room that is left in the transaction. */
int writer_check(lmq_writer *w, lmq_channel *c, const struct lmq_message *m);

#endif
