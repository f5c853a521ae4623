/* SPDX-License-Identifier: ISC */
/*
 * Sending the same message twice stores it once.
 *
 * By id: within the window dedup= of a channel, the id that a sender gave to a message is kept with the message's
 * offset and a hash of its body, in the transaction that stores it. The same id again is accepted and not stored;
 * with another body it is an error of the sender. Ids older than the window are forgotten by whoever adds new
 * ones, two for each, so that the table never grows beyond a window's worth for long.
 *
 * By number: a bulk load that is given a name (lmq_writer_resume) keeps how many of its messages are stored, again
 * in their transaction; started again it goes on behind them.
 */
#include "channel.h"

#include <string.h>

struct window {
	struct txn *t;
	uint32_t id;
	uint8_t uuid[16];
	int64_t now, oldest;
};

static int window_open(struct txn *t, uint32_t id, const struct channel_record *r, struct window *w)
{
	struct store_record store;
	uint64_t length = limit_of(r, LIMIT_DEDUP);
	int rc = get_store_record(t->store, t->mdb, &store);
	*w = (struct window){ .t = t, .id = id, .now = lmq_now() };
	memcpy(w->uuid, store.uuid, sizeof w->uuid);
	w->oldest = length < (uint64_t)w->now ? w->now - (int64_t)length : 0;
	return rc;
}

/* Removes the oldest id if it is too old. */
static int forget_oldest(struct window *w)
{
	struct key from = key_id_age(w->id, 0, (const uint8_t[16]){ 0 }), k, i;
	int rc = find_key(w->t, &from, RUN_PREFIX, &k, NULL);
	if (rc != 0)
		return rc == LMQ_END ? 0 : rc;
	if (k.size != ID_AGE_KEY)
		return fail_damaged(w->t->store, "the age of an id");
	if ((int64_t)get64(k.bytes + RUN_PREFIX) >= w->oldest)
		return 0;
	i = key_id(w->id, k.bytes + RUN_PREFIX + 8);
	rc = delete_key(w->t, &k);
	if (rc == 0)
		rc = delete_key(w->t, &i);
	return rc == LMQ_END ? 0 : rc;
}

/* Whether the id is known within the window; *r gets what is known of it. */
static int look_up(struct window *w, const struct key *k, struct id_record *r)
{
	MDB_val v;
	int rc = get_value(w->t->store, w->t->mdb, k, &v);
	if (rc == 0 && !id_record_get(r, k, v.mv_data, v.mv_size))
		return fail_damaged(w->t->store, "an id");
	return rc == 0 && r->time < w->oldest ? LMQ_END : rc;
}

static int remember(struct window *w, const uint8_t hash[16], const struct key *k, const struct id_record *r)
{
	struct key age = key_id_age(w->id, r->time, hash);
	struct id_record old;
	uint8_t value[ID_RECORD];
	MDB_val v;
	int rc = get_value(w->t->store, w->t->mdb, k, &v);
	if (rc == 0 && id_record_get(&old, k, v.mv_data, v.mv_size)) {
		struct key old_age = key_id_age(w->id, old.time, hash);
		rc = delete_key(w->t, &old_age);
	}
	if (rc != 0 && rc != LMQ_END)
		return rc;
	rc = put_value(w->t, k, value, id_record_put(r, k, value));
	if (rc == 0)
		rc = put_value(w->t, &age, value, number_put(0, 0, &age, value));
	for (int i = 0; rc == 0 && i < 2; i++)
		rc = forget_oldest(w);
	return rc;
}

/* A body's hash; of a large one its chunks', which are stored already. */
static int body_hash(struct window *w, const struct lmq_message *m, const struct blob *blob, uint64_t *hash)
{
	struct snapshot view = { .store = w->t->store, .mdb = w->t->mdb, .active = true, .serial = 1 };
	struct hash_state h;
	struct lmq_bytes piece;
	int rc = 0;
	hash_begin(&h, w->uuid);
	if (blob->size == 0)
		hash_add(&h, m->body.data, m->body.size);
	for (uint64_t at = 0; rc == 0 && at < blob->size; at += piece.size) {
		rc = blob_piece(w->t->store, &view, blob, at, &piece);
		if (rc == 0)
			hash_add(&h, piece.data, piece.size);
		if (rc == 0 && piece.size == 0)
			rc = fail_damaged(w->t->store, "a large message has lost a part");
	}
	*hash = hash_end(&h);
	return rc;
}

/* What is known of a message's id: 0 and where it was stored; LMQ_END it is new; LMQ_EDATA another body had it. */
struct lookup {
	uint8_t hash[16];
	struct key key;
	struct id_record mine;
};

static int known(struct window *w, const char *channel, const struct lmq_message *m, const struct blob *blob,
	struct lookup *l, struct place *where)
{
	struct id_record r;
	int rc = body_hash(w, m, blob, &l->mine.body);
	if (rc != 0)
		return rc;
	hash128(w->uuid, m->id.data, m->id.size, l->hash);
	l->key = key_id(w->id, l->hash);
	rc = look_up(w, &l->key, &r);
	if (rc == 0 && r.body != l->mine.body)
		return fail(w->t->store, LMQ_EDATA, "%s: the id '%.*s' was sent before with another body", channel,
			(int)m->id.size, m->id.data);
	if (rc == 0)
		*where = (struct place){ r.offset, r.lane };
	return rc;
}

struct sieve {			/* a batch on its way through the window */
	struct window w;
	const struct channel_record *record;
	struct batch fresh;	/* what is new of it */
	uint64_t ends[LMQ_PARTITIONS_MAX];	/* of the logs, with what is new */
	uint16_t lanes;
	uint64_t count, bytes;	/* room that is left */
};

/* One record of the batch: 0, or LMQ_EFULL where it is new and there is no room. */
static int sift(struct sieve *s, const uint8_t *record, const uint8_t *start, const uint8_t *end,
	const struct intake *in, struct place *where)
{
	uint64_t need = record_bytes(record, start, end);
	struct lookup l = { .mine = { .time = s->w.now } };
	struct decoded parts;
	struct lmq_message m;
	struct blob blob;
	int rc = LMQ_END;
	if (!message_decode(start, end, &m, &parts, &blob))
		return fail(s->w.t->store, LMQ_EBUG, "%s: a message cannot be read back", s->record->name);
	if (m.id.data)
		rc = known(&s->w, s->record->name, &m, &blob, &l, where);
	if (rc == 0 && blob.size > 0)
		return blob_drop(s->w.t, blob.number);	/* the body that was staged for nothing */
	if (rc != LMQ_END)
		return rc;
	if (s->count == 0 || need > s->bytes)
		return LMQ_EFULL;
	l.mine.lane = intake_lane(in, s->lanes, m.key);
	l.mine.offset = s->ends[l.mine.lane]++;
	*where = (struct place){ l.mine.offset, l.mine.lane };
	s->count -= s->count != UINT64_MAX;
	s->bytes -= s->bytes != UINT64_MAX ? need : 0;
	rc = m.id.data ? remember(&s->w, l.hash, &l.key, &l.mine) : 0;
	if (rc == 0 && !batch_add_record(&s->fresh, record, end))
		rc = fail(s->w.t->store, LMQ_ENOMEM, "%s: out of memory", s->record->name);
	return rc;
}

static int sift_all(struct sieve *s, const struct batch *b, struct intake *in)
{
	const uint8_t *record, *start, *end;
	size_t at = 0;
	int rc = 0;
	in->places = malloc(b->count * sizeof *in->places);
	if (!in->places)
		return fail(s->w.t->store, LMQ_ENOMEM, "%s: out of memory", s->record->name);
	for (in->taken = 0; rc == 0 && batch_next(b, &at, &record, &start, &end); in->taken += rc == 0)
		rc = sift(s, record, start, end, in, &in->places[in->taken]);
	if (rc == LMQ_EFULL)
		limit_full(s->w.t, s->w.id, s->record);
	if ((rc == LMQ_EFULL || rc == LMQ_EDATA) && in->partial && in->taken > 0) {
		in->fault = rc;
		rc = 0;
	}
	return rc;
}

int dedup_intake(struct txn *t, uint32_t id, const struct channel_record *r, struct batch *b, uint64_t count,
	uint64_t bytes, struct intake *in)
{
	struct sieve s = { .record = r, .count = count, .bytes = bytes, .lanes = lanes_of(r),
		.fresh = { .special = b->special, .has_ttl = b->has_ttl, .has_id = true } };
	struct head_record head;
	int rc = window_open(t, id, r, &s.w);
	for (uint16_t lane = 0; rc == 0 && lane < s.lanes; lane++) {
		rc = get_head(t->store, t->mdb, id, lane, &head);
		s.ends[lane] = rc == 0 ? head.end : 0;
	}
	if (rc == 0)
		rc = sift_all(&s, b, in);
	if (rc == 0 && s.fresh.count > 0)
		rc = intake_append(t, id, r, &s.fresh, in);
	batch_free(&s.fresh);
	return rc;
}

int dedup_known(struct txn *t, uint32_t id, const struct channel_record *r, const struct lmq_message *m,
	const struct blob *blob)
{
	struct lookup l = { .mine = { .time = 0 } };
	struct place where;
	struct window w;
	int rc;
	if (!m->id.data || limit_of(r, LIMIT_DEDUP) == UINT64_MAX)
		return LMQ_END;
	rc = window_open(t, id, r, &w);
	return rc == 0 ? known(&w, r->name, m, blob, &l, &where) : rc;
}

/* ---- by number ------------------------------------------------------------------------------ */

int resume_get(lmq_store *s, MDB_txn *mdb, uint32_t id, const char *name, uint64_t *stored)
{
	struct key k = key_resume(id, name);
	MDB_val v;
	int rc = get_value(s, mdb, &k, &v);
	*stored = 0;
	if (rc == 0 && !number_get(stored, 8, &k, v.mv_data, v.mv_size))
		return fail_damaged(s, "the state of a bulk load");
	return rc == LMQ_END ? 0 : rc;
}

int resume_put(struct txn *t, uint32_t id, const char *name, uint64_t before, uint64_t stored)
{
	struct key k = key_resume(id, name);
	uint8_t value[NUMBER_RECORD];
	uint64_t now;
	int rc = resume_get(t->store, t->mdb, id, name, &now);
	if (rc == 0 && now != before)
		return fail(t->store, LMQ_EBUSY, "another sender uses the name '%s' to resume", name);
	return rc == 0 ? put_value(t, &k, value, number_put(stored, 8, &k, value)) : rc;
}
