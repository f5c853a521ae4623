/* SPDX-License-Identifier: ISC */
/*
 * The catalogue: create, look up, alter, rename, remove.
 *
 * A name leads to an id (table C), the id to everything else. Handles and logs know only ids, so a rename is two
 * small records, and removing a channel is taking its name and record away: from that commit on it is gone
 * for everybody, and its messages are swept in bounded steps later.
 */
#include "channel.h"

#include "base/name.h"

#include <stdio.h>
#include <string.h>

enum { CHANNEL_BYTES = 8192 };	/* of the store, for a new one */

const char *lmq_kind_name(enum lmq_kind kind)
{
	static const char *const names[] = { "channel", "queue", "topic", "stream", "group" };
	return kind >= LMQ_ANY && kind <= LMQ_GROUP ? names[kind] : names[0];
}

/* ---- names -------------------------------------------------------------------------------- */

static int check_name(lmq_store *s, const char *name)
{
	if (lmq_name_valid(name))
		return 0;
	fail(s, LMQ_EINVAL, "%.*s: not a valid name", LMQ_NAME_MAX, name);
	fail_hint(s, "names are letters, digits, '_', '-', and words of them joined by dots, at most %d bytes",
		LMQ_NAME_MAX);
	return LMQ_EINVAL;
}

static int check_new_name(lmq_store *s, const char *name)
{
	int rc = check_name(s, name);
	if (rc == 0 && lmq_name_reserved(name))
		return fail(s, LMQ_EINVAL, "%s: names that begin with '_' or end in '.dead' are reserved", name);
	return rc;
}

static int check_new(lmq_store *s, const char *name, enum lmq_kind kind)
{
	int rc = check_new_name(s, name);
	if (rc == 0 && (kind < LMQ_QUEUE || kind > LMQ_STREAM))
		return fail(s, LMQ_EINVAL, "%s: a new channel is a queue, a topic or a stream", name);
	return rc;
}

static int find_id(lmq_store *s, MDB_txn *t, const char *name, uint32_t *id)
{
	struct key k = key_name(name);
	MDB_val v;
	uint64_t number;
	int rc = get_value(s, t, &k, &v);
	if (rc == 0 && !number_get(&number, 4, &k, v.mv_data, v.mv_size))
		return fail_damaged(s, "the name of a channel");
	if (rc == 0)
		*id = (uint32_t)number;
	return rc;
}

int find_channel(lmq_store *s, MDB_txn *t, const char *name, uint32_t *id, struct channel_record *r)
{
	int rc = find_id(s, t, name, id);
	if (rc == 0 && (rc = get_channel_record(s, t, *id, r)) == LMQ_END)
		return fail_damaged(s, "a name without a channel");
	return rc;
}

static int put_name(struct txn *t, const char *name, uint32_t id)
{
	struct key k = key_name(name);
	uint8_t value[NAME_RECORD];
	return put_value(t, &k, value, number_put(id, 4, &k, value));
}

int next_name(lmq_store *s, MDB_cursor *cursor, MDB_cursor_op op, char name[LMQ_NAME_MAX + 1])
{
	MDB_val key = { 1, "C" }, value;
	int rc = mdb_cursor_get(cursor, &key, &value, op);
	if (rc == MDB_NOTFOUND || (rc == 0 && *(const char *)key.mv_data != 'C'))
		return LMQ_END;
	if (rc != 0)
		return fail_lmdb(s, s->path, rc);
	if (key.mv_size < 2 || key.mv_size > LMQ_NAME_MAX + 1)
		return fail_damaged(s, "the name of a channel");
	memcpy(name, (const char *)key.mv_data + 1, key.mv_size - 1);
	name[key.mv_size - 1] = '\0';
	return 0;
}

static int no_such(lmq_store *s, struct snapshot *p, const char *name, enum lmq_kind kind)
{
	char other[LMQ_NAME_MAX + 1], best[LMQ_NAME_MAX + 1] = "";
	size_t least = strlen(name) / 3 + 1;
	int rc = next_name(s, p->cursor, MDB_SET_RANGE, other);
	while (rc == 0) {
		size_t distance = name_distance(name, other);
		if (distance <= least) {
			least = distance - (distance > 0);
			strcpy(best, other);
		}
		rc = next_name(s, p->cursor, MDB_NEXT, other);
	}
	fail(s, LMQ_ENOENT, "%s: no such %s", name, lmq_kind_name(kind));
	if (*best)
		fail_hint(s, "did you mean '%s'?", best);
	return LMQ_ENOENT;
}

/* ---- making ------------------------------------------------------------------------------- */

static int put_new_channel(struct txn *t, const char *name, const struct channel_record *r, uint32_t *id)
{
	struct store_record store;
	struct head_record head = { 0 };
	struct group_record group = { 0 };
	int rc = get_store_record(t->store, t->mdb, &store);
	if (rc != 0)
		return rc;
	if (store.next_id >= SPACE_MAX)
		return fail(t->store, LMQ_EFULL, "%s: the store has used up its channel numbers", t->store->path);
	*id = group.space = store.next_id++;
	rc = txn_room(t, CHANNEL_BYTES);
	if (rc == 0)
		rc = put_store_record(t, &store);
	if (rc == 0)
		rc = put_name(t, name, *id);
	if (rc == 0)
		rc = put_channel_record(t, *id, r);
	for (uint16_t lane = 0; rc == 0 && lane < lanes_of(r); lane++)
		rc = put_head(t, *id, lane, &head);
	if (rc == 0 && r->kind == LMQ_QUEUE)
		rc = put_group(t, *id, 0, "", &group);
	t->wake_catalogue = true;
	return rc;
}

static struct channel_record new_record(const char *name, enum lmq_kind kind)
{
	struct channel_record r = { .kind = (uint8_t)kind, .created = lmq_now() };
	snprintf(r.name, sizeof r.name, "%s", name);
	return r;
}

static int wrong_kind(lmq_store *s, const char *name, unsigned is, enum lmq_kind wanted)
{
	fail(s, LMQ_EKIND, "%s: a %s, not a %s", name, lmq_kind_name((enum lmq_kind)is), lmq_kind_name(wanted));
	fail_hint(s, is == LMQ_QUEUE ? "mq-send and mq-recv work on queues" :
		"mq-pub and mq-sub work on topics and streams");
	return LMQ_EKIND;
}

int lmq_channel_make(lmq_store *s, const char *name, enum lmq_kind kind, const char *const properties[],
	size_t count, bool *created, struct lmq_property *changed, size_t *changed_count)
{
	struct channel_record r;
	struct txn t;
	uint32_t id;
	size_t n = 0;
	int rc = check_name(s, name);
	if (rc == 0)
		rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = find_channel(s, t.mdb, name, &id, &r);
	*created = rc == LMQ_END;
	if (rc == LMQ_END && kind == LMQ_ANY)
		rc = fail(s, LMQ_ENOENT, "%s: no such channel", name);
	else if (rc == LMQ_END && (rc = check_new(s, name, kind)) == 0)
		r = new_record(name, kind);
	else if (rc == 0 && kind != LMQ_ANY && r.kind != kind)
		rc = wrong_kind(s, name, r.kind, kind);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct lmq_property one = { .set = false };
		bool differs;
		rc = property_set(s, name, &r, properties[i], &one, &differs);
		if (rc == 0 && differs && !*created)
			rc = change_follow(&t, id, &r, &one);
		if (rc == 0 && differs && changed)
			changed[n++] = one;
	}
	if (rc == 0)
		rc = change_check(s, &r);
	if (rc == 0 && *created)
		rc = ballast_take(&t, CHANNEL_BYTES);
	if (rc == 0)
		rc = *created ? put_new_channel(&t, name, &r, &id) : put_channel_record(&t, id, &r);
	if (changed_count)
		*changed_count = n;
	if (rc == 0) {
		txn_wake(&t, id);	/* publishers may wait for a higher limit */
		return txn_commit(&t, LMQ_SYNC_FULL);
	}
	txn_abort(&t);
	return rc;
}

int channel_within(struct txn *t, const char *name, enum lmq_kind kind, uint32_t *id, struct channel_record *r)
{
	int rc = find_channel(t->store, t->mdb, name, id, r);
	if (rc != LMQ_END)
		return rc;
	*r = new_record(name, kind);
	return put_new_channel(t, name, r, id);
}

/* ---- handles ------------------------------------------------------------------------------ */

static int create_missing(lmq_store *s, const char *name, enum lmq_kind kind, uint32_t *id,
	struct channel_record *r, bool *created)
{
	struct store_record store;
	struct txn t;
	int rc = check_new(s, name, kind);
	if (rc == 0)
		rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = find_channel(s, t.mdb, name, id, r);
	*created = rc == LMQ_END;
	if (*created && (rc = ballast_take(&t, CHANNEL_BYTES)) == 0 && (rc = get_store_record(s, t.mdb, &store)) == 0) {
		*r = new_record(name, kind);
		rc = store.create ? put_new_channel(&t, name, r, id) :
			fail(s, LMQ_ENOENT, "%s: no such %s, and the store has create=no", name, lmq_kind_name(kind));
	}
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

int lmq_channel_open(lmq_store *s, const char *name, enum lmq_kind kind, unsigned flags, lmq_channel **channel)
{
	struct snapshot p;
	struct channel_record r;
	uint32_t id = 0;
	bool created = false;
	lmq_channel *c;
	int rc = check_name(s, name);
	*channel = NULL;
	if (rc != 0)
		return rc;
	snapshot_init(s, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = find_channel(s, p.mdb, name, &id, &r);
	if (rc == LMQ_END && !(flags & LMQ_CREATE))
		rc = no_such(s, &p, name, kind);
	snapshot_close(&p);
	if (rc == LMQ_END)
		rc = create_missing(s, name, kind, &id, &r, &created);
	if (rc == 0 && kind != LMQ_ANY && r.kind != kind)
		rc = wrong_kind(s, name, r.kind, kind);
	if (rc != 0)
		return rc;
	c = calloc(1, sizeof *c);
	if (!c)
		return fail(s, LMQ_ENOMEM, "%s: out of memory", name);
	c->store = s;
	c->id = id;
	c->kind = (enum lmq_kind)r.kind;
	c->created = created;
	c->lanes = lanes_of(&r);
	c->max_message = limit_of(&r, LIMIT_MAX_MESSAGE);
	strcpy(c->name, name);
	*channel = c;
	return 0;
}

void lmq_channel_close(lmq_channel *c)
{
	free(c);
}

const char *lmq_channel_name(const lmq_channel *c)
{
	return c->name;
}

enum lmq_kind lmq_channel_kind(const lmq_channel *c)
{
	return c->kind;
}

bool lmq_channel_created(const lmq_channel *c)
{
	return c->created;
}

int channel_gone(lmq_channel *c)
{
	return fail(c->store, LMQ_EGONE, "%s: the %s was removed", c->name, lmq_kind_name(c->kind));
}

int channel_record(lmq_channel *c, MDB_txn *t, struct channel_record *r)
{
	int rc = get_channel_record(c->store, t, c->id, r);
	if (rc == LMQ_END)
		return channel_gone(c);
	if (rc == 0)
		c->max_message = limit_of(r, LIMIT_MAX_MESSAGE);
	return rc;
}

/* ---- renaming and removing ------------------------------------------------------------------ */

static int move_name(struct txn *t, const char *name, const char *new_name)
{
	struct channel_record r;
	struct key k = key_name(name);
	uint32_t id, other;
	int rc = find_channel(t->store, t->mdb, name, &id, &r);
	if (rc == LMQ_END)
		return fail(t->store, LMQ_ENOENT, "%s: no such channel", name);
	if (rc == 0 && strcmp(name, new_name) != 0 && find_id(t->store, t->mdb, new_name, &other) == 0)
		return fail(t->store, LMQ_EEXIST, "%s: the name is taken", new_name);
	if (rc == 0)
		rc = delete_key(t, &k);
	if (rc == 0)
		rc = put_name(t, new_name, id);
	snprintf(r.name, sizeof r.name, "%s", new_name);
	return rc == 0 ? put_channel_record(t, id, &r) : rc;
}

int lmq_channel_rename(lmq_store *s, const char *name, const char *new_name)
{
	struct txn t;
	int rc = check_name(s, name);
	if (rc == 0)
		rc = check_new_name(s, new_name);
	if (rc == 0)
		rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = move_name(&t, name, new_name);
	t.wake_catalogue = true;
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

static int take_away(struct txn *t, const char *name)
{
	struct channel_record r;
	struct key name_key = key_name(name), channel_key, sweep_key;
	uint8_t value[SWEEP_RECORD];
	uint32_t id;
	int rc = find_channel(t->store, t->mdb, name, &id, &r);
	if (rc == LMQ_END)
		return fail(t->store, LMQ_ENOENT, "%s: no such channel", name);
	if (rc == 0 && r.kind == LMQ_STREAM && limit_of(&r, LIMIT_AUDIT) == 1) {
		fail(t->store, LMQ_EACCES, "%s: the stream has audit=yes, nothing of it can be removed", name);
		fail_hint(t->store, "only the whole store can be deleted, with rm -r");
		return LMQ_EACCES;
	}
	if (rc == 0)
		rc = route_forget(t, id);
	if (rc != 0)
		return rc;
	channel_key = key_channel(id);
	sweep_key = key_sweep('c', id);
	rc = delete_key(t, &name_key);
	if (rc == 0)
		rc = delete_key(t, &channel_key);
	if (rc == 0)
		rc = put_value(t, &sweep_key, value, number_put(0, 0, &sweep_key, value));
	txn_wake(t, id);
	t->wake_catalogue = true;
	return rc;
}

static int remove_once(lmq_store *s, const char *name)
{
	struct txn t;
	int rc = check_name(s, name);
	if (rc == 0)
		rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = take_away(&t, name);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

int lmq_channel_remove(lmq_store *s, const char *name)
{
	int rc = remove_once(s, name);
	return rc == LMQ_ENOSPC && ballast_drop(s) ? remove_once(s, name) : rc;
}
