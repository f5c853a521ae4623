/* SPDX-License-Identifier: ISC */
/* Steps through a table, for the check of the whole store: no key is trusted to be one. */
#include "accounts.h"

#include <string.h>

/* Bytes of the keys of each table. */
static const struct {
	uint8_t table;
	uint8_t least, most;
	bool index;
} tables[] = {
	{ 'B', CHUNK_KEY, CHUNK_KEY, false }, { 'C', 2, 1 + LMQ_NAME_MAX, true }, { 'D', DUE_KEY, DUE_KEY, true },
	{ 'E', 6, 5 + LMQ_NAME_MAX, false }, { 'F', FLOOR_KEY, FLOOR_KEY, true }, { 'G', 7, 7 + LMQ_NAME_MAX, false },
	{ 'H', 7, 7, false }, { 'I', ID_KEY, ID_KEY, true }, { 'J', ID_AGE_KEY, ID_AGE_KEY, true },
	{ 'K', CHAIN_KEY, CHAIN_KEY, true }, { 'L', BLOCK_KEY, BLOCK_KEY, false },
	{ 'M', LATEST_KEY, LATEST_KEY, true }, { 'N', 6, 5 + LMQ_NAME_MAX, false }, { 'P', 5, 5, false },
	{ 'Q', READY_KEY, READY_KEY, true }, { 'R', RUN_KEY, RUN_KEY, false }, { 'S', 1, 1, false },
	{ 'T', STAGING_KEY, STAGING_KEY, false }, { 'U', ROUTE_KEY, ROUTE_KEY, false }, { 'V', 9, 9, false },
	{ 'X', SWEEP_KEY, SWEEP_KEY, false },
};
enum { TABLES = sizeof tables / sizeof *tables };

static int table_of(uint8_t table)
{
	for (int i = 0; i < TABLES; i++)
		if (tables[i].table == table)
			return i;
	return -1;
}

bool entries_table(uint8_t table)
{
	return table_of(table) >= 0;
}

int entries_open(struct account *a, struct entries *e, const struct key *prefix, size_t size)
{
	int rc;
	*e = (struct entries){ .a = a, .seek = true, .from = *prefix };
	memcpy(e->prefix.bytes, prefix->bytes, size);
	e->prefix.size = size;
	rc = mdb_cursor_open(a->view.mdb, a->s->table, &e->cursor);
	return rc == 0 ? 0 : fail_lmdb(a->s, a->s->path, rc);
}

void entries_close(struct entries *e)
{
	if (e->cursor)
		mdb_cursor_close(e->cursor);
	e->cursor = NULL;
}

/* LMQ_END: none is left that begins as it has to. */
static int step(struct entries *e, MDB_val *key)
{
	int rc;
	*key = (MDB_val){ e->from.size, e->from.bytes };
	rc = mdb_cursor_get(e->cursor, key, &e->value, e->seek ? MDB_SET_RANGE : MDB_NEXT);
	e->seek = false;
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	if (rc != 0)
		return fail_lmdb(e->a->s, e->a->s->path, rc);
	if (key->mv_size < e->prefix.size || memcmp(key->mv_data, e->prefix.bytes, e->prefix.size) != 0)
		return LMQ_END;
	e->key.size = key->mv_size < KEY_MAX ? key->mv_size : KEY_MAX;
	memcpy(e->key.bytes, key->mv_data, e->key.size);
	return 0;
}

/* Whether the key is one of its table, as far as its size tells. Counts the entry. */
static bool is_key(struct entries *e, const MDB_val *key)
{
	struct lmq_accounts *found = e->a->found;
	int i = table_of(*(const uint8_t *)key->mv_data);
	if (i < 0 || key->mv_size < tables[i].least || key->mv_size > tables[i].most) {
		account_fault(e->a, "store", "has a key of %zu bytes in table %c", key->mv_size, e->key.bytes[0]);
		return false;
	}
	if (tables[i].index)
		found->entries += !e->a->again;
	else if (!e->a->again && tables[i].table != 'L' && tables[i].table != 'B')
		found->records++;
	return true;
}

int entries_next(struct entries *e)
{
	MDB_val key;
	int rc;
	do {
		rc = account_tick(e->a);
		if (rc == 0)
			rc = step(e, &key);
	} while (rc == 0 && !e->any_size && !is_key(e, &key));
	return rc;
}

void entries_skip(struct entries *e, size_t size)
{
	e->from = e->key;
	e->from.size = size;
	e->seek = true;
	while (e->from.size > 0 && ++e->from.bytes[e->from.size - 1] == 0)
		e->from.size--;
	/* What begins with nothing but the highest byte is the last: the longest such key is as good as the end. */
	if (e->from.size == 0) {
		memset(e->from.bytes, 0xff, KEY_MAX);
		e->from.size = KEY_MAX;
	}
}
