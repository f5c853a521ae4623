/* SPDX-License-Identifier: ISC */
/*
 * Opening and closing a store.
 *
 * The directory is opened once, without following a symbolic link, and everything else relative to it: LMDB
 * gets /proc/self/fd/N, so nobody can swap the path under us. Order: owner and filesystem; the marker
 * (version; its flock is the gate); then, behind the gate: control file, a look at the data file, LMDB.
 * A kill at any point leaves nothing but locks, which the kernel gives back.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* ---- open and close --------------------------------------------------------------------------- */

int marker_check(lmq_store *s)
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
	if (s->directory < 0)
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
