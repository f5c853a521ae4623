/* SPDX-License-Identifier: ISC */
/*
 * Compaction of a store in its place: a compact data file is written beside and renamed over the old one.
 *
 * A data file must never be replaced under those who have it open: what they write would go to the old one.
 * So nobody may have it open. Under the gate, behind which every opener waits, that is asked of the kernel
 * once and stays true. All who wait begin with a look at the file that has the name then, so none goes on
 * with the old one.
 *
 * Others may have a handle of the store without the file open: after a failed commit, or on the way to open
 * it again. They find the new file as they would have found the old one: same entries, and numbers of
 * transactions that go on (copy.c). Locks on messages lie on the control file, which stays; as does lock.mdb,
 * whose region the next opener sets up anew because nobody uses it.
 *
 * A kill leaves the old file or the new one, and perhaps what was written beside: whoever opens the store
 * next for writing, or compacts it, removes that. The new file is synced before it gets the name.
 */
#include "channel/channel.h"
#include "file/copy.h"
#include "holders.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int alone(lmq_store *s)
{
	if (!control_in_use(s))
		return 0;
	fail(s, LMQ_EBUSY, "%s: the store is in use, and has to be closed to be compacted", s->path);
	holders_hint(s);
	return LMQ_EBUSY;
}

/* The file gets group and mode of the one that it replaces; the owner is us. */
static int adopt(lmq_store *s, uint64_t *before, uint64_t *after)
{
	struct stat old, new;
	int rc = 0, fd = openat(s->directory, SHRUNK_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &new) != 0 || fstatat(s->directory, "data.mdb", &old, AT_SYMLINK_NOFOLLOW) != 0)
		rc = fail_errno(s, s->path, errno);
	if (rc == 0 && new.st_gid != old.st_gid && fchown(fd, (uid_t)-1, old.st_gid) != 0)
		rc = fail_errno(s, s->path, errno);
	if (rc == 0 && (fchmod(fd, old.st_mode & 07777) != 0 || fsync(fd) != 0))
		rc = fail_errno(s, s->path, errno);
	if (rc == 0) {
		*before = (uint64_t)old.st_size;
		*after = (uint64_t)new.st_size;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/*
 * From the rename until the directory is on the disk a power cut may bring the old file back, and with it would go
 * what others commit to the new one. Were we killed here, or does the disk refuse, the mark makes the next writer
 * sync the directory first.
 */
static int replace(lmq_store *s)
{
	uint32_t before = atomic_exchange(&s->control->poison, 1);
	if (renameat(s->directory, SHRUNK_NAME, s->directory, "data.mdb") != 0) {
		atomic_store(&s->control->poison, before);
		return fail_errno(s, s->path, errno);
	}
	if (fsync(s->directory) != 0)
		return fail_errno(s, s->path, errno);
	atomic_store(&s->control->poison, 0);
	return 0;
}

/* Under the gate. The environment is opened for reading only: it is not to be brought to the present format. */
static int shrink(lmq_store *s, uint64_t *before, uint64_t *after)
{
	struct copy c = { .from = s, .to = s, .directory = s->directory, .name = SHRUNK_NAME, .compact = true };
	int rc = alone(s);
	if (rc == 0 && unlinkat(s->directory, SHRUNK_NAME, 0) != 0 && errno != ENOENT)
		rc = fail_errno(s, s->path, errno);
	if (rc == 0)
		rc = environment_enter(s);
	if (rc != 0)
		return rc;
	/* Who raises the generation now has closed the environment: that is not for us. */
	s->shut = true;
	rc = copy_data(&c);
	s->shut = false;
	if (rc == 0)
		rc = adopt(s, before, after);
	environment_leave(s);
	if (rc == 0)
		return replace(s);
	unlinkat(s->directory, SHRUNK_NAME, 0);
	return rc;
}

int lmq_store_compact(const char *path, const struct lmq_store_options *options, lmq_store **store,
	uint64_t *before, uint64_t *after)
{
	sigset_t limit, old;
	lmq_store *s;
	int rc = store_handle(path, options, store);
	*before = *after = 0;
	s = *store;
	if (rc == 0)
		rc = store_enter(s);
	if (rc == 0)
		rc = gate_lock(s);
	if (rc != 0)
		return rc;
	s->read_only = true;
	/* The control file and LMDB's lock file may have to be made, too. */
	sigemptyset(&limit);
	sigaddset(&limit, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &limit, &old);
	rc = shrink(s, before, after);
	gate_unlock(s);
	take_pending(SIGXFSZ);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}
