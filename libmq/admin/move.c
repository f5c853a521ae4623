/* SPDX-License-Identifier: ISC */
/*
 * Moving claimed messages to another channel: out of the one and into the other in one transaction. A large body
 * is not copied, the new message names its chunks, which it shares with the old one where that stays in its topic or
 * stream. A copy is sent anew, by a writer.
 *
 * What is moved needs as much room as it gives back, and gives it back later: on a full disk moving ends as sending does.
 */
#include "receive/receiver.h"

#include "channel/enter.h"

#include <string.h>

enum { MOVE_BYTES = 4 << 20, LOTS_MAX = 64 };

struct lot {			/* what goes to one channel */
	uint32_t id;
	struct channel_record record;
	struct batch batch;
};

struct removal {
	lmq_receiver *r;
	struct lmq_channel *to;	/* NULL: each goes back */
	struct queue q;
	struct lot *lots;
	size_t lot_count;
	size_t bytes, moved;
};

/* ---- where to ------------------------------------------------------------------------------ */

static int lot_find(struct removal *m, const char *name, struct lot **lot)
{
	struct txn *t = m->q.t;
	lmq_store *s = t->store;
	struct channel_record record;
	uint32_t id = m->to ? m->to->id : 0;
	int rc = m->to ? get_channel_record(s, t->mdb, id, &record) : find_channel(s, t->mdb, name, &id, &record);
	if (rc == LMQ_END)
		return m->to ? channel_gone(m->to) : fail(s, LMQ_ENOENT, "%s: no such queue any more", name);
	if (rc == 0 && !m->to && record.kind != LMQ_QUEUE)
		return fail(s, LMQ_EKIND, "%s: a %s now, not a queue", name, lmq_kind_name(record.kind));
	if (rc == 0 && id == m->q.id)
		return fail(s, LMQ_EINVAL, "%s: the messages are there already", name ? name : record.name);
	for (size_t i = 0; rc == 0 && i < m->lot_count; i++)
		if (m->lots[i].id == id) {
			*lot = &m->lots[i];
			return 0;
		}
	if (rc != 0)
		return rc;
	if (m->lot_count == LOTS_MAX)
		return LMQ_ELIMIT;
	*lot = &m->lots[m->lot_count++];
	**lot = (struct lot){ .id = id, .record = record };
	return 0;
}

static void bytes_text(struct lmq_bytes bytes, char text[LMQ_NAME_MAX + 1])
{
	size_t n = bytes.size < LMQ_NAME_MAX ? bytes.size : LMQ_NAME_MAX;
	memcpy(text, bytes.data, n);
	text[n] = '\0';
}

static int lot_of(struct removal *m, const struct lmq_message *message, struct lot **lot)
{
	char name[LMQ_NAME_MAX + 1];
	if (m->to)
		return lot_find(m, NULL, lot);
	bytes_text(message->death->origin, name);
	return lot_find(m, name, lot);
}

/* ---- back to a group ----------------------------------------------------------------------- */

/*
 * The group's position in the lane that the letter names: in *own, or, where the letter came to lie in that very channel
 * and is taken for that group, the one it is taken from.
 */
static int group_find(struct removal *m, const struct lmq_death *d, char group[LMQ_NAME_MAX + 1], struct queue *own,
	struct queue **g)
{
	struct txn *t = m->q.t;
	lmq_store *s = t->store;
	char name[LMQ_NAME_MAX + 1];
	struct channel_record record;
	uint32_t id;
	int rc;
	bytes_text(d->origin, name);
	bytes_text(d->group, group);
	rc = find_channel(s, t->mdb, name, &id, &record);
	if (rc == LMQ_END)
		return fail(s, LMQ_ENOENT, "%s: no such channel any more", name);
	if (rc == 0 && record.kind == LMQ_QUEUE)
		return fail(s, LMQ_EKIND, "%s: a queue now, and has no groups", name);
	*g = own;
	if (rc == 0 && id == m->q.id && d->partition == m->q.lane && strcmp(group, m->q.group) == 0)
		*g = &m->q;
	else if (rc == 0)
		rc = d->partition < lanes_of(&record) ? queue_load(t, id, (uint16_t)d->partition, group, own) : LMQ_END;
	return rc == LMQ_END ? fail(s, LMQ_ENOENT, "%s: no group '%s' any more", name, group) : rc;
}

/* Whether the message still lies where the letter says; *key gets its key, valid until something is written. */
static int still_there(struct queue *g, uint64_t offset, struct lmq_bytes *key)
{
	struct snapshot view;
	struct log_cursor c;
	struct record record = { .data = NULL };
	bool tombstone;
	int rc = log_cursor_within(g->t, g->id, g->lane, &g->head, &view, &c);
	log_seek(&c, offset);
	if (rc == 0)
		rc = log_next(&c, &record);
	if (rc == LMQ_END || (rc == 0 && record.offset != offset)) {
		rc = fail(g->t->store, LMQ_EGONE, "%s:%llu: is no longer there to be delivered again", g->record.name,
			(unsigned long long)offset);
		fail_hint(g->t->store, "mq-move takes dead letters to any other queue");
	}
	if (rc == 0 && !message_key(record.data, record.end, key, &tombstone))
		rc = fail_damaged(g->t->store, "a message");
	log_cursor_leave(&c);
	return rc;
}

/* The group gets the message again, from where it lies. */
static int to_group(struct removal *m, const struct lmq_message *letter)
{
	uint64_t offset = letter->death->offset;
	char group[LMQ_NAME_MAX + 1];
	struct lmq_bytes key;
	struct run_record run;
	struct queue own, *g;
	int rc, stored = 0;
	m->bytes += message_room(letter);
	rc = group_find(m, letter->death, group, &own, &g);
	if (rc != 0)
		return rc;
	rc = still_there(g, offset, &key);
	/* After a seek it may be to be delivered anyway. */
	if (rc == 0) {
		rc = group_first(g->t, &g->position, g->head.end, offset, &run);
		if (rc == LMQ_END || (rc == 0 && run.first > offset))
			rc = enter_again(g, offset, letter->key);
	}
	/* Loading it may have settled what is gone: that counts whatever becomes of the message. */
	if ((rc == 0 || rc == LMQ_EGONE) && g == &own)
		stored = queue_store(g);
	return stored == 0 ? rc : stored;
}

/* ---- taking along -------------------------------------------------------------------------- */

static int take_along(struct removal *m, struct lmq_message *message, const struct blob *blob)
{
	lmq_store *s = m->q.t->store;
	struct lot *lot;
	int rc = lot_of(m, message, &lot);
	if (rc != 0)
		return rc;
	if (message->body.size > limit_of(&lot->record, LIMIT_MAX_MESSAGE))
		return fail(s, LMQ_EDATA, "%s:%llu: larger than '%s' takes", m->r->queue->name,
			(unsigned long long)message->offset, lot->record.name);
	message->delay = message->not_before = 0;
	if (!m->to)
		message->death = NULL;
	m->bytes += message_room(message);
	return batch_add(&lot->batch, message, blob->size ? blob : NULL) ? 0 : receiver_no_memory(m->r);
}

/* Where the message goes. *body: its large body goes along. */
static int place(struct removal *m, struct lmq_message *message, const struct blob *blob, bool *body)
{
	if (!m->to && !message->death)
		return fail(m->q.t->store, LMQ_EINVAL, "%s:%llu: not a dead letter", m->r->queue->name,
			(unsigned long long)message->offset);
	*body = m->to || !message->death->group.data;
	return *body ? take_along(m, message, blob) : to_group(m, message);
}

/* One message: read, taken along, gone from here. */
static int move_one(struct removal *m, uint64_t offset)
{
	bool body = true;
	struct snapshot view;
	struct log_cursor c;
	struct record record;
	struct lmq_message message;
	struct run_record run;
	struct blob blob;
	int rc = queue_unsettled(&m->q, offset, offset + 1, &run);
	if (rc == LMQ_END)
		return 0;	/* its last holder was killed while it settled it */
	if (rc != 0)
		return rc;
	rc = log_cursor_within(m->q.t, m->q.id, m->q.lane, &m->q.head, &view, &c);
	log_seek(&c, offset);
	if (rc == 0)
		rc = log_next(&c, &record);
	if (rc == 0)
		rc = log_message(&c, &record, &message, &m->r->decoded, &blob);
	if (rc == LMQ_END)
		rc = fail_damaged(m->q.t->store, "a claimed message is missing");
	if (rc == 0)
		rc = place(m, &message, &blob, &body);
	log_cursor_leave(&c);
	if (rc == 0 && body && blob.size > 0 && m->q.record.kind != LMQ_QUEUE)
		rc = blob_share(m->q.t, blob.number);
	if ((rc == LMQ_ELIMIT || rc == LMQ_EGONE) && queue_put(&m->q, &run) != 0)
		return fail(m->q.t->store, LMQ_EIO, "%s: a message could not be put back", m->r->queue->name);
	return rc == 0 ? queue_leave(&m->q, &run, COUNT_MOVED, body) : rc;
}

/* As far as they are of one lane. */
static int move_all(struct removal *m, size_t count)
{
	struct run part;
	uint16_t lane;
	size_t i = 0;
	int rc = 0;
	while (rc == 0 && m->bytes < MOVE_BYTES && receiver_part(m->r, &i, &count, &part, &lane) &&
			lane == m->q.lane)
		for (; rc == 0 && m->bytes < MOVE_BYTES && part.first < part.end; part.first++) {
			rc = move_one(m, part.first);
			m->moved += rc == 0;
		}
	/* What came before a message that cannot be moved still can. */
	if ((rc == LMQ_ELIMIT || rc == LMQ_EGONE) && m->moved > 0)
		rc = 0;
	if (rc == 0)
		rc = queue_store(&m->q);
	for (size_t j = 0; rc == 0 && j < m->lot_count; j++) {
		struct intake in = INTAKE_INIT;
		rc = intake(m->q.t, m->lots[j].id, &m->lots[j].record, &m->lots[j].batch, &in);
		free(in.places);
	}
	return rc;
}

static int move(lmq_receiver *r, size_t count, struct removal *m, enum lmq_sync sync)
{
	struct run part;
	struct txn t;
	uint16_t lane;
	size_t i = 0, any = count;
	int rc;
	if (!receiver_part(r, &i, &any, &part, &lane))
		return 0;
	snapshot_pause(&r->snapshot);
	rc = txn_begin(r->queue->store, &t);
	if (rc != 0)
		return rc;
	rc = queue_load(&t, r->queue->id, lane, r->group_name, &m->q);
	if (rc == LMQ_END && m->q.record.kind == 0)
		rc = channel_gone(r->queue);
	if (rc == LMQ_END || (rc == 0 && m->q.position.space != r->lanes[lane].group.space))
		rc = fail(r->queue->store, LMQ_EGONE, "%s: the group '%s' was removed", r->queue->name, r->group_name);
	if (rc == 0)
		rc = txn_room(&t, MOVE_BYTES / 4);
	if (rc == 0)
		rc = move_all(m, count);
	if (rc == 0)
		rc = ballast_take(&t, m->bytes + m->bytes / 16);
	if (rc != 0) {
		txn_abort(&t);
		return rc;
	}
	rc = txn_commit(&t, sync);
	r->missed += rc == 0 ? m->q.missed : 0;
	return rc;
}

/* ---- copying ------------------------------------------------------------------------------- */

static int copy_large(lmq_receiver *r, lmq_writer *w, lmq_channel *to, const struct lmq_message *message)
{
	struct lmq_bytes piece = { "", 1 };
	int rc = lmq_writer_begin(w, to, message);
	for (uint64_t at = 0; rc == 0 && piece.size > 0; at += piece.size) {
		rc = lmq_receiver_body(r, at, &piece);
		if (rc == 0)
			rc = lmq_writer_write(w, piece.data, piece.size);
	}
	return rc == 0 ? lmq_writer_end(w) : rc;
}

static int copy(lmq_receiver *r, size_t count, lmq_channel *to, enum lmq_sync sync, size_t *copied)
{
	struct lmq_message message;
	lmq_writer *w;
	int rc = lmq_writer_open(r->queue->store, sync, &w);
	r->at = r->fresh = 0;
	r->next = 0;
	while (rc == 0 && *copied < count && (rc = lmq_receiver_next(r, &message)) == 0) {
		message.delay = message.not_before = 0;
		rc = message.body.data ? lmq_writer_add(w, to, &message) : copy_large(r, w, to, &message);
		*copied += rc == 0;
	}
	if (rc == LMQ_END || (rc == LMQ_ELIMIT && *copied > 0))
		rc = 0;
	if (rc == 0)
		rc = lmq_writer_commit(w);
	lmq_writer_close(w);
	return rc;
}

static int move_once(lmq_receiver *r, size_t count, lmq_channel *to, enum lmq_sync sync, size_t *moved)
{
	struct removal m = { .r = r, .to = to, .lots = calloc(LOTS_MAX, sizeof *m.lots) };
	int rc = m.lots ? move(r, count, &m, sync) : receiver_no_memory(r);
	*moved = m.moved;
	for (size_t i = 0; m.lots && i < m.lot_count; i++)
		batch_free(&m.lots[i].batch);
	free(m.lots);
	return rc;
}

/* Where the other queue has no room for all of them, for as many as it has. */
static int move_most(lmq_receiver *r, size_t count, lmq_channel *to, enum lmq_sync sync, size_t *moved)
{
	lmq_store *s = r->queue->store;
	int rc;
	for (;;) {
		s->queue_full = false;
		rc = move_once(r, count, to, sync, moved);
		if (rc != LMQ_EFULL || !s->queue_full || *moved <= 1)
			break;
		count = *moved / 2;
	}
	return rc;
}

int lmq_receiver_move(lmq_receiver *r, size_t count, lmq_channel *to, unsigned flags, enum lmq_sync sync, size_t *moved)
{
	int rc;
	*moved = 0;
	if (!to == !(flags & LMQ_MOVE_BACK))
		return fail(r->queue->store, LMQ_EINVAL, "%s: nowhere to move to", r->queue->name);
	if (flags & LMQ_MOVE_COPY && to) {
		rc = copy(r, count, to, sync, moved);
	} else {
		rc = move_most(r, count, to, sync, moved);
	}
	if (rc != 0) {
		*moved = 0;
		return rc;
	}
	receiver_forget_first(r, *moved);
	member_balance(r, false);
	return 0;
}
