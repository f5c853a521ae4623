/* SPDX-License-Identifier: ISC */
/*
 * The compact copy of a data file: every entry of a snapshot is appended to a new environment (copy.c says
 * why).
 *
 * It is filled in transactions of a bounded size that are not synced, as nobody knows the file before it is
 * complete.
 */
#include "copy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool value_sound(const MDB_val *key, const MDB_val *value)
{
	struct block b;
	struct key k;
	if (key->mv_size < 1 || key->mv_size > sizeof k.bytes)
		return false;
	k.size = key->mv_size;
	memcpy(k.bytes, key->mv_data, k.size);
	if (k.bytes[0] == 'L')
		return block_get(&b, k.bytes, k.size, value->mv_data, value->mv_size);
	if (k.bytes[0] == 'B')
		return chunk_check(value->mv_data, value->mv_size, &k);
	return record_sound(&k, value->mv_data, value->mv_size);
}

static int append(struct job *j, MDB_cursor *cursor, MDB_val *key, MDB_val *value)
{
	int rc;
	if (!value_sound(key, value))
		return fail_damaged(j->from, "a checksum is wrong");
	rc = mdb_cursor_put(cursor, key, value, MDB_APPEND);
	if (rc == MDB_KEYEXIST)
		return fail_damaged(j->from, "keys are not in order");
	return rc == 0 ? 0 : fail_lmdb(j->to, j->to->path, rc);
}

/* Appends entries, up to a bounded size. *more: there may be others. */
static int append_some(struct job *j, MDB_txn *t, bool *first, bool *more, uint64_t *bytes)
{
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_dbi table;
	uint64_t end = *bytes + COPY_COMMIT;
	int rc = mdb_dbi_open(t, NULL, 0, &table);
	if (rc == 0)
		rc = mdb_cursor_open(t, table, &cursor);
	if (rc != 0)
		return fail_lmdb(j->to, j->to->path, rc);
	while (rc == 0 && *bytes < end) {
		rc = mdb_cursor_get(j->snapshot.cursor, &key, &value, *first ? MDB_FIRST : MDB_NEXT);
		*more = rc == 0;
		*first = false;
		if (rc != 0) {
			rc = rc == MDB_NOTFOUND ? 0 : fail_lmdb(j->from, j->from->path, rc);
			break;
		}
		rc = append(j, cursor, &key, &value);
		*bytes += key.mv_size + value.mv_size;
	}
	mdb_cursor_close(cursor);
	return rc;
}

static int append_all(struct job *j, MDB_env *env)
{
	bool first = true, more = true;
	uint64_t bytes = 0;
	MDB_txn *t;
	int rc = 0;
	while (rc == 0 && more) {
		rc = mdb_txn_begin(env, NULL, 0, &t);
		if (rc != 0)
			return fail_lmdb(j->to, j->to->path, rc);
		rc = append_some(j, t, &first, &more, &bytes);
		if (rc != 0) {
			mdb_txn_abort(t);
			return rc;
		}
		rc = mdb_txn_commit(t);
		if (rc != 0)
			return copy_write_failed(j, rc);
		rc = copy_advance(j, bytes);
	}
	return rc;
}

/*
 * The new file's newest meta page, under the number of the snapshot. LMDB keeps flags of the environment
 * beside those of the list of free pages; how the file was named once is of no interest later.
 */
static int renumber(struct job *j)
{
	const uint16_t flags = MDB_INTEGERKEY;
	uint8_t bytes[2][META_SIZE];
	uint64_t number[2];
	for (int i = 0; i < 2; i++) {
		if (pread(j->out, bytes[i], META_SIZE, (off_t)i * j->file.size) != META_SIZE)
			return copy_write_failed(j, EIO);
		memcpy(&number[i], bytes[i] + META_TRANSACTION, sizeof number[i]);
		memcpy(bytes[i] + META_FLAGS, &flags, sizeof flags);
	}
	return copy_metas(j, bytes[number[1] > number[0]]);
}

/* Nobody else knows the new file: it needs no locks, and is synced when it is complete. */
static int open_new(struct job *j, MDB_env **env)
{
	char directory[32], path[300];
	int rc = mdb_env_create(env);
	if (rc != 0)
		return fail_lmdb(j->to, j->to->path, rc);
	snprintf(path, sizeof path, "%s/%s", descriptor_path(directory, j->copy->directory), j->copy->name);
	mdb_env_set_mapsize(*env, (size_t)(2 * (j->meta.last + 1) * j->file.size + (1 << 24)));
	rc = mdb_env_open(*env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC | MDB_NOTLS, 0600);
	if (rc == 0)
		return 0;
	mdb_env_close(*env);
	return copy_write_failed(j, rc);
}

struct checking {
	struct job *job;
	int rc;		/* what ended it */
};

static bool check_step(const struct pages_count *sofar, void *context)
{
	struct checking *c = context;
	(void)sofar;
	c->rc = copy_advance(c->job, 0);
	return c->rc == 0;
}

/* It may take long: the caller can end it, and who needs the store closed does not wait for its end. */
static int check_source(struct job *j)
{
	struct pages_count count = { .faults = 0 };
	struct checking c = { .job = j };
	const struct pages_watch watch = { .step = check_step, .context = &c };
	int rc = pages_check(j->from, j->snapshot.mdb, &count, &watch);
	if (c.rc != 0)
		return c.rc;
	if (rc == LMQ_EBUSY)
		return EAGAIN;
	return rc == 0 && count.faults > 0 ? fail_damaged(j->from, "pages of its data file") : rc;
}

int copy_compact(struct job *j)
{
	const struct page_tree *t = &j->meta.tree[STORE_TREE];
	MDB_env *env;
	int rc;
	j->copy->sofar.size = (t->branches + t->leaves + t->overflows) * j->file.size;
	rc = check_source(j);
	if (rc == 0)
		rc = copy_advance(j, 0);
	if (rc == 0)
		rc = open_new(j, &env);
	if (rc != 0)
		return rc;
	rc = append_all(j, env);
	mdb_env_close(env);
	return rc == 0 ? renumber(j) : rc;
}
