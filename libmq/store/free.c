/* SPDX-License-Identifier: ISC */
/*
 * LMDB's list of free pages: the unnamed table with handle 0. A key is the transaction that freed them, a value a count
 * and that many page numbers, from the highest to the lowest. LMDB shows that table to readers only; under the writer
 * lock a fresh snapshot is the last commit.
 */
#include "store.h"

#include <string.h>

/* Of the oldest entries, which LMDB takes first. More would be felt at the begin of every program. */
enum { ENTRIES_INSPECTED = 64, NUMBERS_INSPECTED = 4096 };

/* The next entry: numbers[0] is how many follow. MDB_NOTFOUND at the end. */
static int next_entry(MDB_cursor *cursor, uint64_t *transaction, const size_t **numbers)
{
	MDB_val key, value;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	if (rc != 0)
		return rc;
	*numbers = value.mv_data;
	if (key.mv_size != sizeof *transaction || value.mv_size < sizeof **numbers ||
			**numbers > value.mv_size / sizeof **numbers - 1)
		return MDB_CORRUPTED;
	memcpy(transaction, key.mv_data, sizeof *transaction);
	return 0;
}

int free_count(lmq_store *s, uint64_t before, uint64_t *pages)
{
	struct snapshot p;
	MDB_cursor *cursor;
	const size_t *numbers;
	uint64_t transaction;
	int rc;
	*pages = 0;
	snapshot_init(s, &p);
	rc = snapshot_begin(&p);
	if (rc == 0) {
		rc = mdb_cursor_open(p.mdb, 0, &cursor);
		if (rc == 0) {
			while ((rc = next_entry(cursor, &transaction, &numbers)) == 0)
				*pages += transaction < before ? *numbers : 0;
			mdb_cursor_close(cursor);
		}
		rc = rc == MDB_NOTFOUND ? 0 : fail_lmdb(s, s->path, rc);
	}
	snapshot_close(&p);
	return rc;
}

static bool numbers_sound(const size_t *numbers, size_t last_page, size_t most)
{
	size_t count = *numbers < most ? *numbers : most, above = last_page + 1;
	for (size_t i = 1; i <= count; i++) {
		if (numbers[i] >= above || numbers[i] < 2)
			return false;
		above = numbers[i];
	}
	return true;
}

static int inspect_entries(MDB_cursor *cursor, const MDB_envinfo *info)
{
	size_t left = NUMBERS_INSPECTED;
	const size_t *numbers;
	uint64_t transaction;
	for (int i = 0; i < ENTRIES_INSPECTED && left > 0; i++) {
		int rc = next_entry(cursor, &transaction, &numbers);
		if (rc != 0)
			return rc == MDB_NOTFOUND ? 0 : rc;
		if (transaction > info->me_last_txnid || !numbers_sound(numbers, info->me_last_pgno, left))
			return MDB_CORRUPTED;
		left -= *numbers < left ? *numbers : left;
	}
	return 0;
}

int free_inspect(lmq_store *s)
{
	MDB_envinfo info;
	MDB_cursor *cursor;
	MDB_txn *t;
	int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
	if (rc != 0)
		return rc == MDB_READERS_FULL ? 0 : rc;
	mdb_env_info(s->env, &info);
	rc = mdb_cursor_open(t, 0, &cursor);
	if (rc == 0) {
		rc = inspect_entries(cursor, &info);
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(t);
	s->free_inspected = rc == 0;
	return rc;
}

/* A line of LMDB's table of readers, of which the last word is a transaction, if it reads one. */
static int reader_line(const char *line, void *context)
{
	const char *word = strrchr(line, ' ');
	uint64_t *oldest = context, number;
	char *end;
	if (!word)
		return 0;
	number = strtoull(word + 1, &end, 10);
	if (end != word + 1 && number < *oldest)
		*oldest = number;
	return 0;
}

int txn_free(struct txn *t, uint64_t *pages)
{
	uint64_t oldest = mdb_txn_id(t->mdb) - 1;
	int rc = mdb_reader_list(t->store->env, reader_line, &oldest);
	return rc < 0 ? fail(t->store, LMQ_ESYSTEM, "%s: LMDB's readers cannot be listed", t->store->path) :
		free_count(t->store, oldest, pages);
}
