/* SPDX-License-Identifier: ISC */
/*
 * The place where a store is built: a directory beside, which is then renamed.
 *
 * Nothing has the store's name before it is complete and on stable storage. The directory beside has a fixed
 * name, ".NAME.new", and is locked while it is being filled: what a killed process left there is locked by
 * nobody, and the next one clears it and starts again. rename(2) puts a directory in the place of an empty
 * one or of none, never over another store.
 */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_FILE = 72 << 10 };	/* bytes of lock.mdb: LMDB's header and more than 1022 slots of 64 bytes */

int site_fail(lmq_store *s, int error)
{
	if (error == ENOSPC || error == EDQUOT || error == EFBIG)
		return fail_errno(s, s->path, error);
	return fail(s, error == EACCES || error == EPERM ? LMQ_EACCES : LMQ_ECREATE, "%s: cannot create the store: %s",
		s->path, strerror(error));
}

static int find_parent(lmq_store *s, const char *path, struct site *site)
{
	char copy[PATH_MAX], copy2[PATH_MAX];
	const char *name;
	if (strlen(path) >= sizeof copy)
		return site_fail(s, ENAMETOOLONG);
	strcpy(copy, path);
	strcpy(copy2, path);
	name = basename(copy2);
	if (strlen(name) + 6 > NAME_MAX)
		return site_fail(s, ENAMETOOLONG);
	strcpy(site->target, name);
	snprintf(site->building, sizeof site->building, ".%.*s.new", NAME_MAX - 6, name);
	site->parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return site->parent < 0 ? site_fail(s, errno) : 0;
}

/* What is in the way of the target, if anything. */
static int find_target(lmq_store *s, const struct site *site)
{
	struct stat st;
	int fd, rc;
	if (fstatat(site->parent, site->target, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : site_fail(s, errno);
	if (!S_ISDIR(st.st_mode))
		return fail(s, LMQ_ECREATE, "%s: not a directory", s->path);
	fd = openat(site->parent, site->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return site_fail(s, errno);
	rc = inspect_owner(s, fd);
	close(fd);
	return rc;
}

int site_open(lmq_store *s, const char *path, struct site *site)
{
	int rc;
	site->directory = -1;
	rc = find_parent(s, path, site);
	return rc == 0 ? find_target(s, site) : rc;
}

/* There is nothing yet: for those who work long before they find out. */
int site_vacant(lmq_store *s, const struct site *site)
{
	int fd = openat(site->parent, site->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct dirent *entry;
	struct stat parent, target;
	bool empty = true;
	DIR *d;
	if (fd < 0)
		return errno == ENOENT ? 0 : site_fail(s, errno);
	if (fstat(site->parent, &parent) != 0 || fstat(fd, &target) != 0 || parent.st_dev != target.st_dev ||
			strcmp(site->target, ".") == 0 || strcmp(site->target, "..") == 0) {
		close(fd);
		fail(s, LMQ_ECREATE, "%s: nothing can be put in the place of this directory", s->path);
		fail_hint(s, "name a new directory in it");
		return LMQ_ECREATE;
	}
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return site_fail(s, ENOMEM);
	}
	while (empty && (entry = readdir(d)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(d);
	if (empty)
		return 0;
	fail(s, LMQ_ECREATE, "%s: the directory is not empty", s->path);
	fail_hint(s, "name a new directory, or an empty one");
	return LMQ_ECREATE;
}

static int site_leave(struct site *site, int rc)
{
	close(site->directory);
	site->directory = -1;
	return rc;
}

/* An empty directory may have been there before. */
static bool is_taken(const struct site *site)
{
	char marker[sizeof site->target + sizeof MARKER_NAME + 1];
	snprintf(marker, sizeof marker, "%s/" MARKER_NAME, site->target);
	return faccessat(site->parent, marker, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Locks the directory beside, our own or one that a killed creator left. */
int site_lock(lmq_store *s, struct site *site)
{
	struct stat mine, there;
	int rc;
	for (;;) {
		if (mkdirat(site->parent, site->building, 0700) != 0 && errno != EEXIST)
			return site_fail(s, errno);
		site->directory = openat(site->parent, site->building,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (site->directory < 0 && errno != ENOENT)
			return site_fail(s, errno);
		if (site->directory < 0)
			continue;
		rc = inspect_owner(s, site->directory);
		if (rc == 0)
			rc = file_lock(s, site->directory);
		if (rc != 0)
			return site_leave(site, rc);
		/* It may have been renamed into place while we waited. */
		if (fstat(site->directory, &mine) == 0 &&
				fstatat(site->parent, site->building, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
				mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
			return 0;
		site_leave(site, 0);
		if (is_taken(site))
			return LMQ_EEXIST;
	}
}

int site_clear(lmq_store *s, const struct site *site)
{
	static const char *const files[] = { "data.mdb", "lock.mdb", "control", MARKER_NAME };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (unlinkat(site->directory, files[i], 0) != 0 && errno != ENOENT)
			return site_fail(s, errno);
	return 0;
}

int site_marker(lmq_store *s, const struct site *site, const char *text, size_t size)
{
	int rc = 0, fd = openat(site->directory, MARKER_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return site_fail(s, errno);
	if (write(fd, text, size) != (ssize_t)size || fsync(fd) != 0)
		rc = site_fail(s, errno);
	close(fd);
	return rc;
}

static int full_size(lmq_store *s, const struct site *site, const char *name, off_t size)
{
	int rc, fd = openat(site->directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return site_fail(s, errno);
	rc = posix_fallocate(fd, 0, size);
	close(fd);
	return rc == 0 ? 0 : site_fail(s, rc);
}

/*
 * lock.mdb at its full size before LMDB maps it: on a full disk the map would be SIGBUS. And the control file, without
 * which a store cannot be opened: what is made can be used.
 */
int site_lock_file(lmq_store *s, const struct site *site)
{
	int rc = full_size(s, site, "lock.mdb", LOCK_FILE);
	return rc == 0 ? full_size(s, site, "control", sizeof(struct control)) : rc;
}

/* Best effort: what remains is cleared by the next creator. */
static void site_discard(lmq_store *s, const struct site *site)
{
	struct error kept = s->error;
	site_clear(s, site);
	unlinkat(site->parent, site->building, AT_REMOVEDIR);
	s->error = kept;
}

int site_publish(lmq_store *s, struct site *site)
{
	if (renameat(site->parent, site->building, site->parent, site->target) != 0) {
		if (errno == ENOTEMPTY || errno == EEXIST) {
			if (is_taken(site)) {
				site_discard(s, site);
				return LMQ_EEXIST;
			}
			fail(s, LMQ_ECREATE, "%s: the directory is not empty and not a store", s->path);
			fail_hint(s, "name a new directory, or an empty one");
			return LMQ_ECREATE;
		}
		return site_fail(s, errno);
	}
	site->published = true;
	if (fsync(site->parent) != 0)
		return site_fail(s, errno);
	s->created = true;
	return 0;
}

/* What was published stays, even where that could not be synced: others may use it already. */
void site_close(lmq_store *s, struct site *site, int rc)
{
	if (rc != 0 && rc != LMQ_EEXIST && site->directory >= 0 && !site->published)
		site_discard(s, site);
	if (site->directory >= 0)
		close(site->directory);
	if (site->parent >= 0)
		close(site->parent);
	site->parent = site->directory = -1;
}
