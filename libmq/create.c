/* SPDX-License-Identifier: ISC */
/*
 * Creating a store: built in a directory beside, then renamed into place.
 *
 * LMDB writes its two meta pages in one write that a kill can cut, and never syncs the directory; a store
 * built in place could stay unopenable for ever (F2). Here nothing has the store's name before it is
 * complete and on stable storage. The directory beside has a fixed name, ".NAME.new", and is locked while it
 * is being filled: what a killed creator left there is locked by nobody, and the next one clears it and starts
 * again. rename(2) puts a directory in the place of an empty one or of none, never over another store.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_FILE = 72 << 10 };	/* bytes of lock.mdb: LMDB's header and more than 1022 slots of 64 bytes */

struct site {
	int parent, directory;
	char target[NAME_MAX + 1], building[NAME_MAX + 1];
};

static int fail_create(lmq_store *s, int error)
{
	if (error == ENOSPC || error == EDQUOT)
		return fail_errno(s, s->path, error);
	return fail(s, error == EACCES || error == EPERM ? LMQ_EACCES : LMQ_ECREATE, "%s: cannot create the store: %s",
		s->path, strerror(error));
}

static int site_open(lmq_store *s, const char *path, struct site *site)
{
	char copy[PATH_MAX], copy2[PATH_MAX];
	const char *name;
	if (strlen(path) >= sizeof copy)
		return fail_create(s, ENAMETOOLONG);
	strcpy(copy, path);
	strcpy(copy2, path);
	name = basename(copy2);
	if (strlen(name) + 6 > NAME_MAX)
		return fail_create(s, ENAMETOOLONG);
	strcpy(site->target, name);
	snprintf(site->building, sizeof site->building, ".%.*s.new", NAME_MAX - 6, name);
	site->parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return site->parent < 0 ? fail_create(s, errno) : 0;
}

/* What is in the way of the target, if anything. */
static int site_free(lmq_store *s, const struct site *site)
{
	struct stat st;
	int fd, rc;
	if (fstatat(site->parent, site->target, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : fail_create(s, errno);
	if (!S_ISDIR(st.st_mode))
		return fail(s, LMQ_ECREATE, "%s: not a directory", s->path);
	fd = openat(site->parent, site->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fail_create(s, errno);
	rc = inspect_owner(s, fd);
	close(fd);
	return rc;
}

static int site_leave(struct site *site, int rc)
{
	close(site->directory);
	site->directory = -1;
	return rc;
}

/* Locks the directory beside, our own or one that a killed creator left. */
static int site_lock(lmq_store *s, struct site *site)
{
	struct stat mine, there;
	int rc;
	for (;;) {
		if (mkdirat(site->parent, site->building, 0700) != 0 && errno != EEXIST)
			return fail_create(s, errno);
		site->directory = openat(site->parent, site->building,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (site->directory < 0 && errno != ENOENT)
			return fail_create(s, errno);
		if (site->directory < 0)
			continue;
		rc = file_lock(s, site->directory);
		if (rc == 0)
			rc = inspect_owner(s, site->directory);
		if (rc != 0)
			return site_leave(site, rc);
		/* It may have been renamed into place while we waited. */
		if (fstat(site->directory, &mine) == 0 &&
				fstatat(site->parent, site->building, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
				mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
			return 0;
		site_leave(site, 0);
		if (fstatat(site->parent, site->target, &there, AT_SYMLINK_NOFOLLOW) == 0)
			return LMQ_EEXIST;
	}
}

static int site_clear(lmq_store *s, const struct site *site)
{
	static const char *const files[] = { "data.mdb", "lock.mdb", "control", MARKER_NAME };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (unlinkat(site->directory, files[i], 0) != 0 && errno != ENOENT)
			return fail_create(s, errno);
	return 0;
}

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
	int n, rc = 0, fd = openat(site->directory, MARKER_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_create(s, errno);
	uuid_text(uuid, id);
	n = snprintf(text, sizeof text, MARKER_TEXT "%d\nuuid %s\n", FORMAT_VERSION, id);
	if (write(fd, text, (size_t)n) != n || fsync(fd) != 0)
		rc = fail_create(s, errno);
	close(fd);
	return rc;
}

/* lock.mdb at its full size before LMDB maps it: on a full disk the map would be SIGBUS. */
static int write_lock_file(lmq_store *s, const struct site *site)
{
	int rc, fd = openat(site->directory, "lock.mdb", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_create(s, errno);
	rc = posix_fallocate(fd, 0, LOCK_FILE);
	close(fd);
	return rc == 0 ? 0 : fail_create(s, rc);
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
	return rc == 0 ? 0 : fail_lmdb(s, s->path, rc);
}

static int site_build(lmq_store *s, const struct site *site)
{
	uint8_t uuid[16];
	int rc = inspect_filesystem(s, site->directory);
	if (rc == 0)
		rc = site_clear(s, site);
	if (rc != 0)
		return rc;
	if (getrandom(uuid, sizeof uuid, 0) != sizeof uuid)
		return fail_create(s, errno);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	rc = write_lock_file(s, site);
	if (rc == 0)
		rc = write_data(s, site, uuid);
	if (rc == 0)
		rc = write_marker(s, site, uuid);
	if (rc == 0 && fsync(site->directory) != 0)
		rc = fail_create(s, errno);
	return rc;
}

/* Best effort: what remains is cleared by the next creator. */
static void site_discard(lmq_store *s, const struct site *site)
{
	struct error kept = s->error;
	site_clear(s, site);
	unlinkat(site->parent, site->building, AT_REMOVEDIR);
	s->error = kept;
}

static int site_publish(lmq_store *s, const struct site *site)
{
	char marker[NAME_MAX + sizeof MARKER_NAME + 1];
	if (renameat(site->parent, site->building, site->parent, site->target) != 0) {
		if (errno == ENOTEMPTY || errno == EEXIST) {
			snprintf(marker, sizeof marker, "%s/" MARKER_NAME, site->target);
			if (faccessat(site->parent, marker, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
				site_discard(s, site);
				return LMQ_EEXIST;
			}
			fail(s, LMQ_ECREATE, "%s: the directory is not empty and not a store", s->path);
			fail_hint(s, "name a new directory, or an empty one");
			return LMQ_ECREATE;
		}
		return fail_create(s, errno);
	}
	if (fsync(site->parent) != 0)
		return fail_create(s, errno);
	s->created = true;
	return 0;
}

/* 0 also when another process was faster. */
int store_create(lmq_store *s, const char *path)
{
	struct site site = { .parent = -1, .directory = -1 };
	sigset_t all, old;
	int rc = site_open(s, path, &site);
	if (rc == 0)
		rc = site_free(s, &site);
	if (rc == 0)
		rc = site_lock(s, &site);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (rc == 0)
		rc = site_build(s, &site);
	if (rc == 0)
		rc = site_publish(s, &site);
	if (rc != 0 && rc != LMQ_EEXIST && site.directory >= 0)
		site_discard(s, &site);
	if (site.directory >= 0)
		close(site.directory);
	if (site.parent >= 0)
		close(site.parent);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == LMQ_EEXIST ? 0 : rc;
}
