/* SPDX-License-Identifier: ISC */
#include "recorder.h"
#include "crash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DESCRIPTORS = 256, FILES = 64, PARTS = 64 };

void (*record_watch)(off_t at, size_t size);

static struct recording *record;	/* NULL: nothing is recorded */
static char top[PATH_MAX];
static size_t top_size;
static ino_t inode[FILES];	/* of the file with that number */
static int file_count;
static struct {
	int file;		/* 1 + its number; 0: not one of ours */
	bool quiet;		/* its bytes are worth nothing */
	bool synced;		/* each write is */
} open_files[DESCRIPTORS];

/* ---- entries ------------------------------------------------------------------------------- */

static struct entry *put(enum entry_kind kind, int file, uint64_t at, size_t room)
{
	struct entry *e = (struct entry *)(record->bytes + record->used);
	need(record->used + sizeof *e + room + 8 < RECORD_ROOM_MAX, "the record is full");
	*e = (struct entry){ .kind = (uint8_t)kind, .file = (uint16_t)file, .at = at, .size = (uint32_t)room };
	record->used += (sizeof *e + room + 7) & ~(size_t)7;
	return e;
}

const struct entry *record_next(const struct recording *r, const struct entry *e)
{
	const uint8_t *p = e ? (const uint8_t *)e + ((sizeof *e + e->size + 7) & ~(size_t)7) : r->bytes;
	return p < r->bytes + r->used ? (const struct entry *)p : NULL;
}

void record_mark(enum entry_kind kind, uint64_t at)
{
	if (record)
		put(kind, 0, at, 0);
}

/* ---- which file ---------------------------------------------------------------------------- */

static bool quiet_name(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	return strcmp(name, "lock.mdb") == 0 || strcmp(name, "control") == 0;
}

/* The path of a name in a directory, "" where it is not below the top. */
static void path_of(int directory, const char *name, char path[PATH_MAX])
{
	char link[64], base[PATH_MAX];
	ssize_t n;
	*path = '\0';
	if (*name != '/') {
		snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
		n = readlink(link, base, sizeof base - 1);
		if (n < 0 || (size_t)n + strlen(name) + 2 > PATH_MAX)
			return;
		base[n] = '\0';
		snprintf(path, PATH_MAX, "%.2000s/%.2000s", base, name);
	} else {
		snprintf(path, PATH_MAX, "%s", name);
	}
	if (strncmp(path, top, top_size) != 0 || (path[top_size] != '/' && path[top_size]))
		*path = '\0';
}

static int known(ino_t number)
{
	for (int i = 0; i < file_count; i++)
		if (inode[i] == number)
			return i;
	return -1;
}

static int parent_of(const char *path)
{
	char copy[PATH_MAX];
	struct stat st;
	snprintf(copy, sizeof copy, "%s", path);
	*strrchr(copy, '/') = '\0';
	need(stat(copy, &st) == 0 && known(st.st_ino) >= 0, "%s: a directory that the record does not know", copy);
	return known(st.st_ino);
}

/* A new one gets a number and an entry. */
static int number_of(const char *path, const struct stat *st)
{
	const char *name = strrchr(path, '/') + 1;
	struct entry *e;
	int file = known(st->st_ino);
	if (file >= 0)
		return file;
	need(file_count < FILES, "too many files for the record");
	inode[file_count] = st->st_ino;
	e = put(ENTRY_MADE, file_count, 0, strlen(name) + 1);
	e->directory = (uint16_t)parent_of(path);
	e->flags = S_ISDIR(st->st_mode) ? MADE_DIRECTORY : 0;
	memcpy(e->data, name, e->size);
	return file_count++;
}

static int file_at(int fd)
{
	return record && fd >= 0 && fd < DESCRIPTORS && !open_files[fd].quiet ? open_files[fd].file - 1 : -1;
}

/* ---- faults -------------------------------------------------------------------------------- */

static bool faulty(void)
{
	uint64_t call = record->calls++;
	if (record->faults > 0 && call == record->first_fault)
		record_mark(ENTRY_FAULTED, 0);
	return record->faults > 0 && call >= record->first_fault && call - record->first_fault < record->faults;
}

/* ---- the calls ------------------------------------------------------------------------------ */

int recorded_open(int directory, const char *path, int flags, mode_t mode)
{
	int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
	char real[PATH_MAX], link[32];
	struct stat st;
	ssize_t n;
	if (!record || fd < 0 || fd >= DESCRIPTORS)
		return fd;
	memset(&open_files[fd], 0, sizeof open_files[fd]);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, real, sizeof real - 1);
	if (n < (ssize_t)top_size || memcmp(real, top, top_size) != 0 || (n > (ssize_t)top_size && real[top_size] != '/'))
		return fd;
	real[n] = '\0';
	need(fstat(fd, &st) == 0, "fstat: %s", strerror(errno));
	open_files[fd].file = 1 + number_of(real, &st);
	open_files[fd].quiet = quiet_name(real);
	open_files[fd].synced = flags & O_DSYNC;
	return fd;
}

int recorded_close(int fd)
{
	if (record && fd >= 0 && fd < DESCRIPTORS)
		open_files[fd].file = 0;
	return (int)syscall(SYS_close, fd);
}

static void note_write(int fd, const struct iovec *parts, int count, off_t at, size_t size, bool failed)
{
	struct entry *e = put(ENTRY_WROTE, file_at(fd), (uint64_t)at, size);
	size_t done = 0;
	e->flags = (uint8_t)((open_files[fd].synced && !failed ? WROTE_SYNCED : 0) | (failed ? WROTE_FAILED : 0));
	for (int i = 0; i < count && done < size; i++) {
		size_t n = parts[i].iov_len < size - done ? parts[i].iov_len : size - done;
		memcpy(e->data + done, parts[i].iov_base, n);
		done += n;
	}
}

static ssize_t plain_write(int fd, const struct iovec *parts, int count, off_t at)
{
	if (at < 0)
		return count == 1 ? syscall(SYS_write, fd, parts->iov_base, parts->iov_len) :
			syscall(SYS_writev, fd, parts, count);
	return syscall(SYS_pwrite64, fd, parts->iov_base, parts->iov_len, at);
}

/* Half of it, where that is more than nothing. */
static ssize_t half_write(int fd, const struct iovec *parts, off_t at, size_t size)
{
	size_t half = size / 2 < parts->iov_len ? size / 2 : parts->iov_len;
	struct iovec part = { parts->iov_base, half };
	return plain_write(fd, &part, 1, at);
}

ssize_t recorded_write(int fd, const struct iovec *parts, int count, off_t at)
{
	off_t where = at;
	ssize_t n;
	size_t size = 0;
	if (record_watch || file_at(fd) >= 0) {
		for (int i = 0; i < count; i++)
			size += parts[i].iov_len;
		if (at < 0)
			where = lseek(fd, 0, SEEK_CUR);
	}
	if (record_watch)
		record_watch(where, size);
	if (file_at(fd) < 0)
		return plain_write(fd, parts, count, at);
	if (!faulty()) {
		n = plain_write(fd, parts, count, at);
		need(n == (ssize_t)size, "a write of the workload failed: %s", strerror(errno));
		note_write(fd, parts, count, where, size, false);
		return n;
	}
	n = -1;
	if (record->how == FAULT_SHORT && (n = half_write(fd, parts, at, size)) > 0)
		note_write(fd, parts, count, where, (size_t)n, false);
	else if (record->how == FAULT_WRITTEN && plain_write(fd, parts, count, at) == (ssize_t)size)
		note_write(fd, parts, count, where, size, open_files[fd].synced);
	errno = EIO;
	return record->how == FAULT_SHORT ? n : -1;
}

int recorded_size(int fd, off_t size)
{
	int rc = (int)syscall(SYS_ftruncate, fd, size);
	if (rc == 0 && file_at(fd) >= 0)
		put(ENTRY_SIZED, file_at(fd), (uint64_t)size, 0);
	return rc;
}

int recorded_allocate(int fd, off_t at, off_t size)
{
	int rc = (int)syscall(SYS_fallocate, fd, 0, at, size);
	if (rc == 0 && file_at(fd) >= 0)
		put(ENTRY_SIZED, file_at(fd), (uint64_t)(at + size), 0);
	return rc == 0 ? 0 : errno;
}

int recorded_sync(int fd, bool data_only)
{
	int file = file_at(fd);
	struct stat st;
	if (file < 0)
		return (int)syscall(data_only ? SYS_fdatasync : SYS_fsync, fd);
	if (record->no_directory_sync && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	if (faulty()) {
		put(ENTRY_UNSYNCED, file, 0, 0);
		errno = EIO;
		return -1;
	}
	put(ENTRY_SYNCED, file, 0, 0);
	return 0;
}

static void note_rename(const char *from, const char *to)
{
	const char *name = strrchr(from, '/') + 1, *new_name = strrchr(to, '/') + 1;
	struct entry *e = put(ENTRY_RENAMED, 0, (uint64_t)parent_of(to), strlen(name) + strlen(new_name) + 2);
	e->directory = (uint16_t)parent_of(from);
	strcpy((char *)e->data, name);
	strcpy((char *)e->data + strlen(name) + 1, new_name);
}

int recorded_rename(int directory, const char *name, int to, const char *new_name, unsigned flags)
{
	int rc = (int)syscall(SYS_renameat2, directory, name, to, new_name, flags);
	char from_path[PATH_MAX], to_path[PATH_MAX];
	if (rc != 0 || !record)
		return rc;
	path_of(directory, name, from_path);
	path_of(to, new_name, to_path);
	need(!*from_path == !*to_path, "a rename into or out of what is recorded");
	need(!*from_path || !(flags & RENAME_EXCHANGE), "an exchange of names is not recorded");
	if (*from_path)
		note_rename(from_path, to_path);
	return 0;
}

int recorded_remove(int directory, const char *name, int flags)
{
	int rc = (int)syscall(SYS_unlinkat, directory, name, flags);
	char path[PATH_MAX];
	struct entry *e;
	if (rc != 0 || !record)
		return rc;
	path_of(directory, name, path);
	if (*path) {
		e = put(ENTRY_REMOVED, 0, 0, strlen(strrchr(path, '/')));
		e->directory = (uint16_t)parent_of(path);
		memcpy(e->data, strrchr(path, '/') + 1, e->size);
	}
	return 0;
}

int recorded_make(int directory, const char *name, mode_t mode)
{
	int rc = (int)syscall(SYS_mkdirat, directory, name, mode);
	char path[PATH_MAX];
	struct stat st;
	if (rc != 0 || !record)
		return rc;
	path_of(directory, name, path);
	if (*path && stat(path, &st) == 0)
		number_of(path, &st);
	return 0;
}

/* ---- the begin ------------------------------------------------------------------------------- */

static void note_bytes(const char *path, int file, size_t size)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
	struct entry *e = put(ENTRY_WROTE, file, 0, size);
	need(fd >= 0 && read(fd, e->data, size) == (ssize_t)size, "%s: %s", path, strerror(errno));
	syscall(SYS_close, fd);
}

/* What is there already, as if it had been made just now. */
static void note_tree(const char *path)
{
	struct dirent **list;
	int count = scandir(path, &list, NULL, alphasort);
	for (int n = 0; n < count; n++) {
		char name[PATH_MAX];
		struct stat st;
		snprintf(name, sizeof name, "%.3000s/%s", path, list[n]->d_name);
		if (*list[n]->d_name != '.' && stat(name, &st) == 0) {
			int file = number_of(name, &st);
			if (S_ISDIR(st.st_mode))
				note_tree(name);
			else if (quiet_name(name))
				put(ENTRY_SIZED, file, (uint64_t)st.st_size, 0);
			else
				note_bytes(name, file, (size_t)st.st_size);
		}
		free(list[n]);
	}
	free(list);
}

void record_begin(struct recording *r, const char *root)
{
	struct stat st;
	need(stat(root, &st) == 0 && realpath(root, top), "%s: %s", root, strerror(errno));
	top_size = strlen(top);
	inode[0] = st.st_ino;
	file_count = 1;
	record = r;
	note_tree(top);
	record_mark(ENTRY_BEGUN, 0);
}
