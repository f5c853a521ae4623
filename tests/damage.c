/* SPDX-License-Identifier: ISC */
/*
 * damage STORE CHANNEL WHAT [N]: changes a store behind the library's back. CHANNEL is a number, and so is N, of a block
 * in its first lane, counted from 0, or from the end if negative; 0 if not given.
 *
 *	flip	a bit of the block's last byte
 *	forge	the same, with the checksum made to fit
 *	remove	the block is gone
 *	chunk	a bit of the first chunk of any large body
 *	lose	that chunk is gone
 */
#include "channel/channel.h"

#include <stdio.h>
#include <string.h>

static MDB_env *env;
static MDB_txn *txn;
static MDB_dbi table;

static void must(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "damage: %s: %s\n", what, mdb_strerror(rc));
	exit(1);
}

/* The n-th key with that prefix, with its value. */
static void find(const uint8_t *prefix, size_t size, long n, struct key *k, uint8_t value[BLOCK_LONGEST], size_t *value_size)
{
	MDB_val key, data;
	MDB_cursor *cursor;
	long count = 0;
	for (int pass = 0; pass < 2; pass++) {
		key = (MDB_val){ size, (void *)prefix };
		must(mdb_cursor_open(txn, table, &cursor), "cursor");
		for (int rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE); rc == 0 && key.mv_size >= size &&
				memcmp(key.mv_data, prefix, size) == 0; rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
			if (pass == 1 && n-- == 0)
				goto found;
			count += pass == 0;
		}
		mdb_cursor_close(cursor);
		n += n < 0 ? count : 0;
	}
	must(MDB_NOTFOUND, "no such block");
found:
	k->size = key.mv_size;
	memcpy(k->bytes, key.mv_data, key.mv_size);
	*value_size = data.mv_size;
	memcpy(value, data.mv_data, data.mv_size);
	mdb_cursor_close(cursor);
}

int main(int argc, char **argv)
{
	uint8_t value[BLOCK_LONGEST];
	const char *what = argc > 3 ? argv[3] : "";
	bool gone = strcmp(what, "remove") == 0 || strcmp(what, "lose") == 0;
	struct key k;
	struct block b;
	size_t size;
	MDB_val key, data;
	if (argc < 4)
		return 64;
	must(mdb_env_create(&env), "environment");
	must(mdb_env_set_mapsize(env, (size_t)1 << 30), "map");
	must(mdb_env_open(env, argv[1], 0, 0600), argv[1]);
	must(mdb_txn_begin(env, NULL, 0, &txn), "transaction");
	must(mdb_dbi_open(txn, NULL, 0, &table), "table");
	k = key_block((uint32_t)strtoul(argv[2], NULL, 10), 0, 0, 0);
	if (strcmp(what, "chunk") == 0 || strcmp(what, "lose") == 0)
		find((const uint8_t *)"B", 1, 0, &k, value, &size);
	else
		find(k.bytes, BLOCK_PREFIX, argc > 4 ? strtol(argv[4], NULL, 10) : 0, &k, value, &size);
	key = (MDB_val){ k.size, k.bytes };
	if (strcmp(what, "forge") == 0 && !block_get(&b, k.bytes, k.size, value, size))
		must(MDB_CORRUPTED, "the block");
	value[size - 1] ^= 1;
	if (strcmp(what, "forge") == 0)
		block_seal(value, &b, &k);
	data = (MDB_val){ size, value };
	must(gone ? mdb_del(txn, table, &key, NULL) : mdb_put(txn, table, &key, &data, 0), "write");
	must(mdb_txn_commit(txn), "commit");
	mdb_env_close(env);
	return 0;
}
