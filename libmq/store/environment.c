/* SPDX-License-Identifier: ISC */
/*
 * LMDB's environment, behind the gate.
 *
 * It is one large sparse map, the same for every store, because a map cannot grow while
 * others read; where address space is limited (RLIMIT_AS, valgrind) smaller ones are tried.
 *
 * When LMDB's lock region is beyond repair (its recovery of a mutex failed in some process, F4) that process
 * raises control->generation. From then on everybody closes at their next step, and nobody opens before all
 * have closed: then LMDB sets the region up anew for the first one, who notes that in control->repaired. A
 * process that does not come to a next step keeps the others waiting, until their patience ends. Who waits in vain
 * raises the generation once more now and then: should the page hold nonsense, those who have the store open and
 * believe that all is well would never close it.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_READERS = 1022, REOPEN_PAUSE = 2000000, REOPEN_AGAIN = 1000000000 };	/* ns */

static size_t map_limit(void)
{
	struct rlimit limit;
	size_t largest = (size_t)1 << 40;
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur / 2 < largest)
		largest = limit.rlim_cur / 2;
	return largest & ~(size_t)0xffff;
}

static void close_on_exec(MDB_env *env)
{
	int fd;
	if (mdb_env_get_fd(env, &fd) == 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* LMDB is about to print what it found, and to abort: the words are of no use to anybody. */
static void give_up(MDB_env *env, const char *words)
{
	(void)env, (void)words;
	abort();
}

static int environment_try(lmq_store *s, size_t map_size)
{
	char path[32];
	unsigned flags = MDB_NOTLS | (s->read_only ? MDB_RDONLY : 0);
	int rc = mdb_env_create(&s->env);
	if (rc == 0)
		rc = mdb_env_set_mapsize(s->env, map_size);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(s->env, MAX_READERS);
	if (rc == 0)
		rc = mdb_env_set_assert(s->env, give_up);
	if (rc == 0)
		rc = mdb_env_open(s->env, descriptor_path(path, s->directory), flags, 0600);
	if (rc != 0) {
		mdb_env_close(s->env);
		s->env = NULL;
		return rc;
	}
	close_on_exec(s->env);
	s->map_size = map_size;
	return 0;
}

/* Behind the gate. Signals are blocked: LMDB takes an interrupted open for a failure. */
static int environment_map(lmq_store *s)
{
	sigset_t all, old;
	int rc = ENOMEM;
	const size_t least = (size_t)1 << 24;
	signals_from_outside(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	for (size_t size = map_limit(); size >= least && (rc == ENOMEM || rc == EINVAL); size /= 8)
		rc = environment_try(s, size);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0 ? 0 : fail_lmdb(s, s->path, rc);
}

/* Whether LMDB's lock region may still be the one that was given up. */
static bool region_void(lmq_store *s)
{
	if (s->generation == atomic_load(&s->control->repaired))
		return false;
	if (control_in_use(s))
		return true;
	atomic_store(&s->control->repaired, s->generation);
	return false;
}

/*
 * The store becomes one of the present format, whose records may be written from now on: older programs must not
 * meet them. One byte of the marker, while nobody has the store open. Under the gate.
 */
static int marker_upgrade(lmq_store *s)
{
	int fd, rc = 0;
	if (control_in_use(s)) {
		fail(s, LMQ_EBUSY, "%s: the store is in use, and has to be brought to a new format first", s->path);
		fail_hint(s, "end the programs that use it, then try again");
		return LMQ_EBUSY;
	}
	fd = openat(s->directory, MARKER_NAME, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fail_errno(s, s->path, errno);
	if (pwrite(fd, &(char){ '0' + FORMAT_VERSION }, 1, sizeof MARKER_TEXT - 1) != 1 || fdatasync(fd) != 0)
		rc = fail_errno(s, s->path, errno);
	close(fd);
	s->outdated = rc != 0;
	return rc;
}

/*
 * Whoever made the store renamed it into its place, and syncs that directory now. We may be here before he has done so,
 * and what we acknowledge must not be lost with the name: once it is known to be on the disk a word says so.
 */
static int anchor(lmq_store *s)
{
	int fd, rc = 0;
	if (s->read_only || (!s->created && atomic_load(&s->control->anchored) == 1))
		return 0;
	/* Where we may not look it was not us who made it. */
	fd = s->created ? -1 : openat(s->directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fsync(fd) != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT))
		rc = fail_errno(s, s->path, errno);
	if (fd >= 0)
		close(fd);
	if (rc == 0)
		atomic_store(&s->control->anchored, 1);
	return rc;
}

int environment_enter(lmq_store *s)
{
	int rc = 0;
	if (!s->control)
		rc = control_open(s);
	if (rc == 0)
		rc = anchor(s);
	if (rc == 0)
		rc = inspect_data(s);
	/* Somebody else may have done it since we have looked. */
	if (rc == 0 && s->outdated && !s->read_only)
		rc = marker_check(s);
	if (rc == 0 && s->outdated && !s->read_only)
		rc = marker_upgrade(s);
	if (rc != 0)
		return rc;
	/* What somebody left who was killed while he compacted the store. */
	if (!s->read_only)
		unlinkat(s->directory, SHRUNK_NAME, 0);
	s->generation = atomic_load(&s->control->generation);
	return region_void(s) ? EAGAIN : environment_map(s);
}

int environment_open(lmq_store *s)
{
	sigset_t all, old;
	int dead, rc = gate_lock(s);
	if (rc != 0)
		return rc;
	/* To be stopped here, or with LMDB's table of readers in hand, would hold up everybody. */
	signals_from_outside(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = environment_enter(s);
	gate_unlock(s);
	/* Slots of killed readers keep old pages in use. */
	if (rc == 0 && !s->read_only && mdb_reader_check(s->env, &dead) == ENOTRECOVERABLE) {
		environment_close(s);
		rc = ENOTRECOVERABLE;
	}
	take_pending(SIGXFSZ);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

void environment_leave(lmq_store *s)
{
	snapshot_drop_all(s);
	mdb_env_close(s->env);
	s->env = NULL;
	s->table = 0;
	s->free_inspected = false;
}

void environment_close(lmq_store *s)
{
	if (!s->env)
		return;
	snapshot_drop_all(s);
	gate_lock(s);
	environment_leave(s);
	gate_unlock(s);
}

/* ---- again (F4) ------------------------------------------------------------------------------- */

/* Once for each environment that failed, however many find that out. */
static void raise_generation(lmq_store *s)
{
	uint32_t ours = s->generation;
	if (atomic_compare_exchange_strong(&s->control->generation, &ours, ours + 1))
		notify_everybody(s);
}

int store_reopen(lmq_store *s)
{
	int64_t deadline = lmq_deadline(s->patience), again = lmq_deadline(REOPEN_AGAIN), now;
	_Atomic uint32_t never = 0;
	int rc;
	for (;;) {
		environment_close(s);
		rc = environment_open(s);
		now = clock_monotonic();
		if (rc != EAGAIN && rc != ENOTRECOVERABLE)
			return rc;
		if (rc == ENOTRECOVERABLE || now >= again) {
			raise_generation(s);
			again = now + REOPEN_AGAIN;
		}
		if (now >= deadline)
			return fail(s, LMQ_EBUSY, "%s: the store has to be closed by every process that uses it", s->path);
		notify_wait(&never, 0, now + REOPEN_PAUSE);
	}
}

int store_recover(lmq_store *s)
{
	if (s->writing || s->shut)
		return fail_damaged(s, "LMDB's lock region cannot be recovered");
	raise_generation(s);
	return store_reopen(s);
}

int store_ready(lmq_store *s)
{
	if (s->pid != getpid())
		return fail(s, LMQ_EFORK, "%s: the store was opened by another process", s->path);
	/* The environment must not be closed under its transaction, and closing it would open the gate. */
	if (s->writing || s->shut)
		return 0;
	if (!s->env || s->generation != atomic_load(&s->control->generation))
		return store_reopen(s);
	return 0;
}
