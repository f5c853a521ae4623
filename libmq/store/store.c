/* SPDX-License-Identifier: ISC */
/*
 * Opening and closing a store.
 *
 * The directory is opened once, without following a symbolic link, and everything else relative to it: LMDB
 * gets /proc/self/fd/N, so nobody can swap the path under us. Order: owner and filesystem; the marker
 * (version; its flock is the gate); then, behind the gate: control file, a look at the data file, LMDB.
 * A kill at any point leaves nothing but locks, which the kernel gives back.
 *
 * The environment is one large sparse map, the same for every store, because a map cannot grow while
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
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_READERS = 1022, REOPEN_PAUSE = 2000000, REOPEN_AGAIN = 1000000000 };	/* ns */

/* LMDB loses its locks when a process opens a store twice and closes one, so the process keeps a list. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static lmq_store *open_list;

int store_list(lmq_store *s)
{
	int rc = 0;
	pthread_mutex_lock(&open_lock);
	for (lmq_store *o = open_list; o; o = o->next_open)
		if (o->device == s->device && o->inode == s->inode && o->pid == s->pid)
			rc = fail(s, LMQ_EINVAL, "%s: this process has the store open already", s->path);
	if (rc == 0) {
		s->next_open = open_list;
		open_list = s;
	}
	pthread_mutex_unlock(&open_lock);
	return rc;
}

static void list_remove(lmq_store *s)
{
	pthread_mutex_lock(&open_lock);
	for (lmq_store **o = &open_list; *o; o = &(*o)->next_open)
		if (*o == s) {
			*o = s->next_open;
			break;
		}
	pthread_mutex_unlock(&open_lock);
}

char *descriptor_path(char buffer[32], int fd)
{
	snprintf(buffer, 32, "/proc/self/fd/%d", fd);
	return buffer;
}

/* ---- the environment ------------------------------------------------------------------------ */

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

/* ---- open and close --------------------------------------------------------------------------- */

static int marker_check(lmq_store *s)
{
	char text[64];
	unsigned version;
	ssize_t n = pread(s->marker, text, sizeof text - 1, 0);
	if (n < 0)
		return fail_errno(s, s->path, errno);
	text[n] = '\0';
	if (sscanf(text, MARKER_TEXT "%u\n", &version) != 1)
		return fail_damaged(s, MARKER_NAME " is not a marker of a store");
	if (version < FORMAT_OLDEST || version > FORMAT_VERSION) {
		fail(s, LMQ_EFORMAT, "%s: a store of format %u; this program knows format %d", s->path, version,
			FORMAT_VERSION);
		fail_hint(s, version > FORMAT_VERSION ? "use a newer version of the mq tools" :
			"drain it with the version of the mq tools that made it");
		return LMQ_EFORMAT;
	}
	s->outdated = version < FORMAT_VERSION;
	return 0;
}

static int marker_open(lmq_store *s)
{
	s->marker = openat(s->directory, MARKER_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->marker < 0 && errno == ENOENT)
		return fail(s, LMQ_ENOENT, "%s: not a store", s->path);
	if (s->marker < 0)
		return fail_errno(s, s->path, errno);
	return marker_check(s);
}

static int directory_open(lmq_store *s)
{
	struct stat st;
	s->directory = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->directory < 0 && (errno == ENOTDIR || errno == ELOOP)) {
		if (lstat(s->path, &st) == 0 && S_ISLNK(st.st_mode))
			return fail(s, LMQ_EACCES, "%s: a symbolic link; name the store's own directory", s->path);
		return fail(s, LMQ_ENOENT, "%s: not a directory", s->path);
	}
	if (s->directory < 0 || fstat(s->directory, &st) != 0)
		return fail_errno(s, s->path, errno);
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return 0;
}

static int store_look(lmq_store *s)
{
	int rc = directory_open(s);
	if (rc == 0)
		rc = inspect_owner(s, s->directory);
	if (rc == 0)
		rc = inspect_files(s);
	if (rc == 0)
		rc = marker_open(s);
	if (rc == 0)
		rc = inspect_filesystem(s, s->directory);
	return rc;
}

static void store_leave(lmq_store *s)
{
	if (s->marker >= 0)
		close(s->marker);
	if (s->directory >= 0)
		close(s->directory);
	s->marker = s->directory = -1;
}

int store_enter(lmq_store *s)
{
	int rc = store_look(s);
	return rc == 0 ? store_list(s) : rc;
}

static int store_open(lmq_store *s, unsigned flags)
{
	int rc = store_enter(s);
	if (rc == LMQ_ENOENT && flags & LMQ_CREATE) {
		store_leave(s);
		rc = store_create(s, s->path);
		if (rc == 0)
			rc = store_enter(s);
	}
	return rc == 0 ? store_reopen(s) : rc;
}

int store_handle(const char *path, const struct lmq_store_options *options, lmq_store **store)
{
	lmq_store *s = calloc(1, sizeof *s);
	*store = s;
	if (!s)
		return LMQ_ENOMEM;
	s->directory = s->marker = s->control_fd = s->handling_fd = -1;
	s->pid = getpid();
	s->read_only = options && options->flags & LMQ_READ_ONLY;
	s->patience = options && options->patience > 0 ? options->patience : INT64_C(30000000000);
	s->path = strdup(path);
	s->reserve = malloc(RESERVE);
	return s->path && s->reserve ? 0 : fail(s, LMQ_ENOMEM, "%s: out of memory", path);
}

int lmq_store_open(const char *path, const struct lmq_store_options *options, lmq_store **store)
{
	int rc = store_handle(path, options, store);
	return rc == 0 ? store_open(*store, options ? options->flags : 0) : rc;
}

void lmq_store_close(lmq_store *s)
{
	if (!s)
		return;
	if (s->pid == getpid())
		environment_close(s);
	list_remove(s);
	if (s->routes)
		s->routes_free(s->routes);
	if (s->handling_fd >= 0)
		close(s->handling_fd);
	control_close(s);
	store_leave(s);
	free(s->reserve);
	free(s->path);
	free(s);
}

bool lmq_store_created(const lmq_store *s)
{
	return s->created;
}
