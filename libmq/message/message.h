/* SPDX-License-Identifier: ISC */
/* What is in a value: messages, deaths, routes; and which messages are wanted. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "store/store.h"

/* ---- valid.c, msg.c -------------------------------------------------------------------------- */

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

/* ---- death.c --------------------------------------------------------------------------------- */

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

/* ---- binding.c: the bytes of a route --------------------------------------------------------- */

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

/* ---- filter.c -------------------------------------------------------------------------------- */

/* The first offset from from on that the filter's ranges of offsets allow; NULL allows all. False: none. */
bool filter_range(const lmq_filter *f, uint64_t from, uint64_t *first);

#endif
