/* SPDX-License-Identifier: ISC */
/* Records of the tables by their types, in either kind of transaction. */
#include "store.h"

#include <string.h>

/* Of a page of LMDB's: where its kind and, of one for a long value, the number of pages stand; its header's size. */
enum { PAGE_KIND = 10, PAGE_COUNT = 12, PAGE_HEADER = 16, PAGE_IS_LONG = 4 };
/* Of a node in a page with others: its header, and its place in the page's list. A page holds two at least. */
enum { NODE_HEADER = 8, NODE_PLACE = 2, NODES_LEAST = 2, SHORT_VALUE = 64 };	/* that lies in one of any size */

/*
 * LMDB keeps a value that is too long for a page with others on pages of its own, and gives back as many as their
 * header says: where that is another page's, any number. So the header must fit to the value before they are given back,
 * by a deletion or by a value that takes its place.
 */
static bool pages_sound(lmq_store *s, size_t key_size, const MDB_val *value)
{
	const uint8_t *page = (const uint8_t *)value->mv_data - PAGE_HEADER;
	uint16_t kind;
	uint32_t count;
	MDB_stat stat;
	size_t most;
	if (value->mv_size <= SHORT_VALUE)
		return true;
	mdb_env_stat(s->env, &stat);
	most = (((stat.ms_psize - PAGE_HEADER) / NODES_LEAST) & ~(size_t)1) - NODE_PLACE;
	if (NODE_HEADER + key_size + value->mv_size <= most)
		return true;
	memcpy(&kind, page + PAGE_KIND, sizeof kind);
	memcpy(&count, page + PAGE_COUNT, sizeof count);
	return kind & PAGE_IS_LONG && count == (PAGE_HEADER - 1 + value->mv_size) / stat.ms_psize + 1;
}

int get_value(lmq_store *s, MDB_txn *t, const struct key *k, MDB_val *value)
{
	MDB_val key = { k->size, (void *)k->bytes };
	int rc = mdb_get(t, s->table, &key, value);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	if (rc == 0 && !pages_sound(s, k->size, value))
		return fail_damaged(s, "a page of a long value");
	return rc == 0 ? 0 : fail_lmdb(s, s->path, rc);
}

int put_value(struct txn *t, const struct key *k, const void *data, size_t size)
{
	MDB_val key = { k->size, (void *)k->bytes }, value = { size, (void *)data };
	int rc = mdb_put(t->mdb, t->store->table, &key, &value, 0);
	return rc == 0 ? 0 : fail_lmdb(t->store, t->store->path, rc);
}

int put_reserve(struct txn *t, const struct key *k, size_t size, uint8_t **room)
{
	MDB_val key = { k->size, (void *)k->bytes }, value = { .mv_size = size };
	int rc = mdb_put(t->mdb, t->store->table, &key, &value, MDB_RESERVE);
	*room = value.mv_data;
	return rc == 0 ? 0 : fail_lmdb(t->store, t->store->path, rc);
}

int delete_key(struct txn *t, const struct key *k)
{
	MDB_val key = { k->size, (void *)k->bytes }, value;
	int rc = memchr("LBU", k->bytes[0], 3) ? get_value(t->store, t->mdb, k, &value) : 0;
	if (rc != 0)
		return rc;
	rc = mdb_del(t->mdb, t->store->table, &key, NULL);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	return rc == 0 ? 0 : fail_lmdb(t->store, t->store->path, rc);
}

int find_key(struct txn *t, const struct key *from, size_t prefix, struct key *found, MDB_val *value)
{
	MDB_val key = { from->size, (void *)from->bytes }, at;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = mdb_cursor_get(cursor, &key, &at, MDB_SET_RANGE);
	mdb_cursor_close(cursor);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	if (key.mv_size < prefix || key.mv_size > KEY_MAX || memcmp(key.mv_data, from->bytes, prefix) != 0)
		return LMQ_END;
	memcpy(found->bytes, key.mv_data, key.mv_size);
	found->size = key.mv_size;
	if (value)
		*value = at;
	return 0;
}

int get_store_record(lmq_store *s, MDB_txn *t, struct store_record *r)
{
	struct key k = key_store();
	MDB_val v;
	int rc = get_value(s, t, &k, &v);
	if (rc == LMQ_END || (rc == 0 && !store_record_get(r, &k, v.mv_data, v.mv_size)))
		return fail_damaged(s, "the record of the store");
	if (rc == 0 && (r->version < FORMAT_OLDEST || r->version > FORMAT_VERSION || r->features != 0))
		return fail(s, LMQ_EFORMAT, "%s: a store of a newer format", s->path);
	return rc;
}

int put_store_record(struct txn *t, const struct store_record *r)
{
	struct key k = key_store();
	uint8_t value[STORE_RECORD];
	return put_value(t, &k, value, store_record_put(r, &k, value));
}

int get_channel_record(lmq_store *s, MDB_txn *t, uint32_t id, struct channel_record *r)
{
	struct key k = key_channel(id);
	MDB_val v;
	int rc = get_value(s, t, &k, &v);
	if (rc == 0 && !channel_record_get(r, &k, v.mv_data, v.mv_size))
		return fail_damaged(s, "the record of a channel");
	return rc;
}

int put_channel_record(struct txn *t, uint32_t id, const struct channel_record *r)
{
	struct key k = key_channel(id);
	uint8_t value[CHANNEL_RECORD_MAX];
	return put_value(t, &k, value, channel_record_put(r, &k, value));
}

int get_head(lmq_store *s, MDB_txn *t, uint32_t id, uint16_t lane, struct head_record *r)
{
	struct key k = key_head(id, lane);
	MDB_val v;
	int rc = get_value(s, t, &k, &v);
	if (rc == 0 && !head_record_get(r, &k, v.mv_data, v.mv_size))
		return fail_damaged(s, "the head of a log");
	return rc;
}

int put_head(struct txn *t, uint32_t id, uint16_t lane, const struct head_record *r)
{
	struct key k = key_head(id, lane);
	uint8_t value[HEAD_RECORD];
	return put_value(t, &k, value, head_record_put(r, &k, value));
}

int get_group(lmq_store *s, MDB_txn *t, uint32_t id, uint16_t lane, const char *group, struct group_record *r)
{
	struct key k = key_group(id, lane, group);
	MDB_val v;
	int rc = get_value(s, t, &k, &v);
	if (rc == 0 && !group_record_get(r, &k, v.mv_data, v.mv_size))
		return fail_damaged(s, "the position of a group");
	return rc;
}

int put_group(struct txn *t, uint32_t id, uint16_t lane, const char *group, const struct group_record *r)
{
	struct key k = key_group(id, lane, group);
	uint8_t value[GROUP_RECORD];
	return put_value(t, &k, value, group_record_put(r, &k, value));
}

int get_settings(lmq_store *s, MDB_txn *t, uint32_t id, const struct channel_record *channel, const char *group,
	struct channel_record *r)
{
	struct key k = key_settings(id, group);
	MDB_val v;
	int rc = get_value(s, t, &k, &v);
	if (rc == 0 && (!channel_record_get(r, &k, v.mv_data, v.mv_size) || r->kind != LMQ_GROUP))
		return fail_damaged(s, "the properties of a group");
	if (rc == LMQ_END)
		*r = (struct channel_record){ .kind = LMQ_GROUP, .created = channel->created };
	if (rc == 0 || rc == LMQ_END)
		memcpy(r->name, channel->name, sizeof r->name);
	return rc == LMQ_END ? 0 : rc;
}

int put_settings(struct txn *t, uint32_t id, const char *group, const struct channel_record *r)
{
	struct key k = key_settings(id, group);
	uint8_t value[CHANNEL_RECORD_MAX];
	return put_value(t, &k, value, channel_record_put(r, &k, value));
}
