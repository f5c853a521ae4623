/* SPDX-License-Identifier: ISC */
/*
 * What is looked at before LMDB is: who owns the directory, what filesystem it lies on, and whether the
 * data file is one that LMDB can open without dying of it.
 *
 * LMDB trusts its file: a page size of zero in a meta page divides by zero, a file shorter than its pages
 * is SIGBUS at the first touch. So both meta pages are checked here, with the layout of LMDB's data version
 * 1 on 64-bit machines, and a file that lacks pages is refused. A few pages may be missing at the end in good
 * order: pages that a transaction took and gave back are never written; the file is then made longer.
 *
 * Commits write the two meta pages in turn, even numbers the first, odd ones the second. So their numbers are always
 * neighbours; where they are not, LMDB would take the older state for the newer one, without a word.
 */
#include "meta.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { SPARE_PAGES = 256, DEPTH_MAX = 32, READ_TRIES = 100 };

/* LMDB's list of free pages has numbers as keys, our table has no flags; an empty tree has no root. */
static bool tree_sound(const struct meta_page *m, int i, uint64_t pages)
{
	uint64_t root = m->tree[i].root;
	unsigned depth = m->tree[i].depth;
	if (m->tree[i].flags != (i == 0 ? MDB_INTEGERKEY : 0))
		return false;
	if (root == UINT64_MAX)
		return depth == 0 && m->tree[i].entries == 0;
	return root >= 2 && root < pages && depth >= 1 && depth <= DEPTH_MAX;
}

static bool meta_sound(const struct meta_page *m, uint64_t file_size)
{
	uint64_t page = m->tree[0].page_size, pages;
	if (!(m->flags & META_FLAG) || m->magic != (uint32_t)META_MAGIC || m->version != META_VERSION)
		return false;
	if (page < 512 || page > 65536 || (page & (page - 1)) != 0)
		return false;
	pages = file_size / page;
	if (!tree_sound(m, 0, pages) || !tree_sound(m, 1, pages))
		return false;
	return m->last >= 1 && m->last < pages + SPARE_PAGES;
}

static bool are_neighbours(const struct meta_page m[2])
{
	uint64_t even = m[0].transaction, odd = m[1].transaction;
	return even % 2 == 0 && odd % 2 == 1 && (odd == even + 1 || even == odd + 1);
}

static int read_meta(lmq_store *s, int fd, struct meta_page *m, uint64_t at)
{
	ssize_t n = pread(fd, m, sizeof *m, (off_t)at);
	if (n < 0)
		return fail_errno(s, s->path, errno);
	return n == sizeof *m ? 0 : fail_damaged(s, "data.mdb is cut short");
}

/* Others may commit between the two reads; they do not do so for ever. */
static int read_metas(lmq_store *s, int fd, struct meta_page m[2])
{
	for (int tries = 0; tries < READ_TRIES; tries++) {
		uint64_t page;
		int rc = read_meta(s, fd, &m[0], 0);
		if (rc != 0)
			return rc;
		page = m[0].tree[0].page_size;
		if (m[0].magic != (uint32_t)META_MAGIC || page < 512 || page > 65536)
			return fail_damaged(s, "data.mdb has no valid meta page");
		rc = read_meta(s, fd, &m[1], page);
		if (rc != 0 || are_neighbours(m))
			return rc;
	}
	return fail_damaged(s, "the meta pages of data.mdb do not belong together");
}

/* The newer of the two meta pages must be sound, and the other one a meta page at least. */
static int inspect_metas(lmq_store *s, int fd)
{
	struct meta_page m[2];
	const struct meta_page *newest;
	struct stat st;
	uint64_t page, needed, size;
	int rc = read_metas(s, fd, m);
	if (rc != 0)
		return rc;
	page = m[0].tree[0].page_size;
	/* The size is read behind the metas: another process writes pages before the meta that needs them. */
	if (fstat(fd, &st) != 0)
		return fail_errno(s, s->path, errno);
	size = (uint64_t)st.st_size;
	newest = m[1].transaction > m[0].transaction ? &m[1] : &m[0];
	if (!(m[0].flags & m[1].flags & META_FLAG) || m[1].magic != m[0].magic || m[1].version != m[0].version ||
			m[1].tree[0].page_size != page)
		return fail_damaged(s, "data.mdb has no valid meta page");
	if (newest->last + 1 > size / page + SPARE_PAGES)
		return fail_damaged(s, "data.mdb is cut short");
	if (!meta_sound(newest, size))
		return fail_damaged(s, "data.mdb has no valid meta page");
	needed = (newest->last + 1) * page;
	/* Not ftruncate: another process may have made the file longer since its size was read. */
	if (size < needed && !s->read_only)
		(void)!fallocate(fd, 0, (off_t)size, (off_t)(needed - size));
	return 0;
}

int inspect_data(lmq_store *s)
{
	int rc, fd = openat(s->directory, "data.mdb", (s->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0)
		return errno == ENOENT ? fail_damaged(s, "data.mdb is missing") : fail_errno(s, s->path, errno);
	if (fstat(fd, &st) == 0 && st.st_size == 0)
		rc = fail_damaged(s, "data.mdb is empty");
	else
		rc = inspect_metas(s, fd);
	close(fd);
	return rc;
}

/* LMDB follows links and trusts every owner. */
int inspect_files(lmq_store *s)
{
	static const char *const files[] = { MARKER_NAME, "data.mdb", "lock.mdb", "control" };
	struct stat st;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		if (fstatat(s->directory, files[i], &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (!S_ISREG(st.st_mode))
			return fail(s, LMQ_EACCES, "%s: %s is not a regular file", s->path, files[i]);
		if (st.st_uid != geteuid() || st.st_mode & 022)
			return fail(s, LMQ_EACCES, "%s: others can change %s", s->path, files[i]);
		/* Two stores that share a file, but not its locks, destroy each other. */
		if (st.st_nlink > 1) {
			fail(s, LMQ_EACCES, "%s: %s has a second name, a hard link", s->path, files[i]);
			fail_hint(s, "copy a store with mq-check --backup, or cp -a");
			return LMQ_EACCES;
		}
	}
	return 0;
}

int inspect_filesystem(lmq_store *s, int fd)
{
	static const struct {
		uint32_t magic;
		const char *name;
	} unfit[] = {
		{ NFS_SUPER_MAGIC, "NFS" }, { 0xff534d42, "CIFS" }, { 0xfe534d42, "SMB" }, { 0x517b, "SMB" },
		{ 0x01021997, "9p" }, { CODA_SUPER_MAGIC, "Coda" }, { 0x5346414f, "AFS" }, { AFS_SUPER_MAGIC, "AFS" },
		{ 0x00c36400, "Ceph" }, { 0x0bd00bd0, "Lustre" }, { 0x65735546, "FUSE" },
		{ ECRYPTFS_SUPER_MAGIC, "eCryptfs" }, { 0x61756673, "aufs" }, { 0x47504653, "GPFS" },
		{ 0x7461636f, "OCFS2" }, { 0x01161970, "GFS2" },
	};
	struct statfs fs;
	if (fstatfs(fd, &fs) != 0)
		return fail_errno(s, s->path, errno);
	for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++)
		if ((uint32_t)fs.f_type == unfit[i].magic)
			return fail(s, LMQ_EFORMAT, "%s: a store cannot lie on %s: neither its locks nor its shared "
				"memory are reliable there", s->path, unfit[i].name);
	return 0;
}

int inspect_owner(lmq_store *s, int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return fail_errno(s, s->path, errno);
	if (st.st_uid != geteuid()) {
		fail(s, LMQ_EACCES, "%s: the store belongs to somebody else (user %u)", s->path, st.st_uid);
		fail_hint(s, "use a store of your own: -s, or MQ_STORE");
		return LMQ_EACCES;
	}
	if (st.st_mode & 022) {
		fail(s, LMQ_EACCES, "%s: others can write to the store's directory", s->path);
		fail_hint(s, "chmod go-w %s", s->path);
		return LMQ_EACCES;
	}
	return 0;
}
