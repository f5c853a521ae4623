/* SPDX-License-Identifier: ISC */
/*
 * A backup: one committed state of a store, as a store of its own.
 *
 * It is built as every store is, in a directory beside that is renamed when all of it is on the disk
 * (site.c). So a kill leaves nothing under its name, or all; what it leaves beside is cleared by the next one
 * that builds there.
 *
 * It has the UUID of the store, because hashes of keys and ids that are stored were made with it: it is that
 * store, at another time and place. It has the format of the store too: one that was not yet brought to the
 * present format is saved as it is. Its lock file and control file begin anew, so nothing in it is in
 * anybody's hands.
 */
#include "channel/channel.h"
#include "file/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { MARKER_MAX = 256 };

static int copy_marker(lmq_store *s, lmq_store *target, const struct site *site)
{
	char text[MARKER_MAX];
	ssize_t n = pread(s->marker, text, sizeof text, 0);
	if (n < 0)
		return fail_errno(s, s->path, errno);
	return site_marker(target, site, text, (size_t)n);
}

static int sync_file(lmq_store *target, const struct site *site, const char *name)
{
	int rc = 0, fd = openat(site->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fsync(fd) != 0)
		rc = fail_errno(target, target->path, errno);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int build(lmq_store *s, lmq_store *target, const struct site *site, struct copy *c)
{
	int rc = inspect_filesystem(target, site->directory);
	if (rc == 0)
		rc = site_clear(target, site);
	if (rc == 0)
		rc = site_lock_file(target, site);
	if (rc == 0)
		rc = sync_file(target, site, "lock.mdb");
	if (rc == 0)
		rc = copy_data(c);
	/* After the data, which may meanwhile be brought to the present format: its records are none of the old one. */
	if (rc == 0)
		rc = copy_marker(s, target, site);
	if (rc == 0 && fsync(site->directory) != 0)
		rc = fail_errno(target, target->path, errno);
	return rc;
}

static int save(lmq_store *s, lmq_store *target, const char *path, struct copy *c)
{
	struct site site = { .parent = -1, .directory = -1 };
	int rc = site_open(target, path, &site);
	if (rc == 0)
		rc = site_vacant(target, &site);
	if (rc == 0)
		rc = site_lock(target, &site);
	c->directory = site.directory;
	if (rc == 0)
		rc = build(s, target, &site, c);
	if (rc == 0)
		rc = site_publish(target, &site);
	site_close(target, &site, rc);
	if (rc == LMQ_EEXIST)
		rc = fail(target, LMQ_ECREATE, "%s: somebody else has just made a store there", path);
	return rc;
}

int lmq_store_backup(lmq_store *s, const char *path, unsigned flags,
	bool (*progress)(const struct lmq_copy *sofar, void *context), void *context)
{
	lmq_store target = { .path = (char *)path, .patience = s->patience, .directory = -1, .marker = -1 };
	struct copy c = { .from = s, .to = &target, .name = "data.mdb", .compact = flags & LMQ_COPY_COMPACT,
		.progress = progress, .context = context };
	sigset_t limit, old;
	int rc = store_ready(s);
	if (rc != 0)
		return rc;
	if (flags & ~(unsigned)LMQ_COPY_COMPACT)
		return fail(s, LMQ_EINVAL, "%s: unknown flags %#x", s->path, flags);
	sigemptyset(&limit);
	sigaddset(&limit, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &limit, &old);
	rc = save(s, &target, path, &c);
	take_pending(SIGXFSZ);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* The call that failed left its sentence in one of the two, and only that one leaves any in the target. */
	if (rc != 0 && *target.error.sentence)
		s->error = target.error;
	return rc;
}
