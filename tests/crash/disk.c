/* SPDX-License-Identifier: ISC */
/*
 * A disk that fails, for LD_PRELOAD.
 *
 * Calls on data.mdb are of four kinds: "pages", a write of pages; "sync"; "meta", LMDB writes its meta page, through a
 * descriptor of its own, opened with O_DSYNC; "again", the meta page through another descriptor, as LMDB does to undo it.
 * FAULT names those whose first call fails. FAULT_LOG names a file that gets a line for each call.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

typedef ssize_t pwrite_call(int, const void *, size_t, off_t);

ssize_t pwrite(int fd, const void *data, size_t size, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at);

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* Whether this fault is due; at most once. */
static bool due(const char *fault)
{
	const char *faults = getenv("FAULT");
	static char happened[64];
	if (!faults || !strstr(faults, fault) || strstr(happened, fault))
		return false;
	strcat(happened, fault);
	errno = EIO;
	return true;
}

static void note(const char *word)
{
	const char *name = getenv("FAULT_LOG");
	int error = errno, fd = name ? open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd >= 0 && (write(fd, word, strlen(word)) < 0 || write(fd, "\n", 1) < 0))
		abort();
	if (fd >= 0)
		close(fd);
	errno = error;
}

static bool is_data(int fd)
{
	char link[32] = "/proc/self/fd/", target[4096], *p = link + strlen(link);
	ssize_t n;
	for (int scale = 100000; scale > 0; scale /= 10)
		if (fd >= scale || scale == 1)
			*p++ = (char)('0' + fd / scale % 10);
	n = readlink(link, target, sizeof target);
	return n >= 9 && memcmp(target + n - 9, "/data.mdb", 9) == 0;
}

static ssize_t written(const char *name, int fd, const void *data, size_t size, off_t at)
{
	pwrite_call *call = (pwrite_call *)(intptr_t)real(name);
	const char *what = at < 2 * getpagesize() ? "again" : "pages";
	if (!is_data(fd))
		return call(fd, data, size, at);
	if (fcntl(fd, F_GETFL) & O_DSYNC)
		what = "meta";
	note(what);
	return due(what) ? -1 : call(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	return written("pwrite", fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
	return written("pwrite64", fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	if (is_data(fd)) {
		note("pages");
		if (due("pages"))
			return -1;
	}
	return ((ssize_t (*)(int, const struct iovec *, int))(intptr_t)real("writev"))(fd, parts, count);
}

int fdatasync(int fd)
{
	if (is_data(fd)) {
		note("sync");
		if (due("sync"))
			return -1;
	}
	return ((int (*)(int))(intptr_t)real("fdatasync"))(fd);
}
