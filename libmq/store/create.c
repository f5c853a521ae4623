/* SPDX-License-Identifier: ISC */
/*
 * Creating a store: built in a directory beside, then renamed into place (site.c).
 *
 * LMDB writes its two meta pages in one write that a kill can cut, and never syncs the directory; a store
 * built in place could stay unopenable for ever (F2).
 */
#include "store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static void uuid_text(const uint8_t uuid[16], char text[37])
{
	char *p = text;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += snprintf(p, 3, "%02x", uuid[i]);
	}
}

static int write_marker(lmq_store *s, const struct site *site, const uint8_t uuid[16])
{
	char id[37], text[96];
	uuid_text(uuid, id);
	return site_marker(s, site, text,
		(size_t)snprintf(text, sizeof text, MARKER_TEXT "%d\nuuid %s\n", FORMAT_VERSION, id));
}

static int first_commit(const uint8_t uuid[16], MDB_env *env)
{
	struct key k = key_store();
	struct store_record r = { .version = FORMAT_VERSION, .next_id = 1, .next_blob = 1, .create = 1,
		.sync = LMQ_SYNC_FULL, .created = lmq_now() };
	uint8_t value[STORE_RECORD];
	MDB_val key = { k.size, k.bytes }, data = { .mv_data = value };
	MDB_txn *t;
	MDB_dbi table;
	int rc = mdb_txn_begin(env, NULL, 0, &t);
	if (rc != 0)
		return rc;
	memcpy(r.uuid, uuid, sizeof r.uuid);
	data.mv_size = store_record_put(&r, &k, value);
	rc = mdb_dbi_open(t, NULL, 0, &table);
	if (rc == 0)
		rc = mdb_put(t, table, &key, &data, 0);
	if (rc == 0)
		return mdb_txn_commit(t);
	mdb_txn_abort(t);
	return rc;
}

static int write_data(lmq_store *s, const struct site *site, const uint8_t uuid[16])
{
	char path[32];
	MDB_env *env;
	int rc = mdb_env_create(&env);
	if (rc != 0)
		return fail_lmdb(s, s->path, rc);
	mdb_env_set_mapsize(env, (size_t)1 << 24);
	rc = mdb_env_open(env, descriptor_path(path, site->directory), MDB_NOTLS, 0600);
	if (rc == 0)
		rc = first_commit(uuid, env);
	if (rc == 0)
		rc = mdb_env_sync(env, 1);
	mdb_env_close(env);
	/* Nobody else has these files: a lock was not to be had. */
	if (rc == MDB_INVALID)
		return site_fail(s, ENOLCK);
	return rc == 0 ? 0 : fail_lmdb(s, s->path, rc);
}

static int draw_uuid(lmq_store *s, uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return site_fail(s, errno);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return 0;
}

int store_build(lmq_store *s, const struct site *site, const uint8_t *wanted)
{
	uint8_t uuid[16];
	int rc = inspect_filesystem(s, site->directory);
	if (rc == 0)
		rc = site_clear(s, site);
	if (rc == 0 && wanted)
		memcpy(uuid, wanted, sizeof uuid);
	else if (rc == 0)
		rc = draw_uuid(s, uuid);
	if (rc == 0)
		rc = site_lock_file(s, site);
	if (rc == 0)
		rc = write_data(s, site, uuid);
	if (rc == 0)
		rc = write_marker(s, site, uuid);
	if (rc == 0 && fsync(site->directory) != 0)
		rc = site_fail(s, errno);
	return rc;
}

/* 0 also when another process was faster. */
int store_create(lmq_store *s, const char *path)
{
	struct site site = { .parent = -1, .directory = -1 };
	sigset_t all, old;
	int rc = site_open(s, path, &site);
	if (rc == 0)
		rc = site_lock(s, &site);
	signals_from_outside(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (rc == 0)
		rc = store_build(s, &site, NULL);
	if (rc == 0)
		rc = site_publish(s, &site);
	site_close(s, &site, rc);
	take_pending(SIGXFSZ);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == LMQ_EEXIST ? 0 : rc;
}
