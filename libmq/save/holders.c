/* SPDX-License-Identifier: ISC */
/*
 * Who has a store open.
 *
 * LMDB knows who reads: its table of readers says process and snapshot. It does not know who has the store
 * open without reading, as one that is asleep; but each of them holds a lock on the first byte of lock.mdb,
 * and the kernel lists locks in /proc/locks. To ask with fcntl() would name only one of them; and whoever has
 * the store open must not open lock.mdb a second time, as closing that would take the lock from him.
 *
 * The list is of a moment, and only for people: what is decided by it is what they do.
 */
#include "channel/channel.h"
#include "holders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { GROWTH = 16 };

struct holders {
	struct lmq_holder *list;
	size_t count, room;
	bool failed;		/* no memory */
	uint64_t newest;	/* transaction */
};

static void read_command(struct lmq_holder *h)
{
	char path[64];
	FILE *f;
	snprintf(path, sizeof path, "/proc/%d/comm", (int)h->pid);
	f = fopen(path, "re");
	if (f && fgets(h->command, sizeof h->command, f))
		h->command[strcspn(h->command, "\n")] = '\0';
	else
		h->command[0] = '\0';
	if (f)
		fclose(f);
}

/* The one of that process, which may be new. NULL: no memory, or the caller itself. */
static struct lmq_holder *holder_of(struct holders *h, pid_t pid)
{
	struct lmq_holder *grown;
	if (pid == getpid())
		return NULL;
	for (size_t i = 0; i < h->count; i++)
		if (h->list[i].pid == pid)
			return &h->list[i];
	if (h->count == h->room) {
		grown = reallocarray(h->list, h->room + GROWTH, sizeof *grown);
		if (!grown) {
			h->failed = true;
			return NULL;
		}
		h->list = grown;
		h->room += GROWTH;
	}
	h->list[h->count] = (struct lmq_holder){ .pid = pid };
	read_command(&h->list[h->count]);
	return &h->list[h->count++];
}

/* ---- locks ------------------------------------------------------------------------------- */

/* Some file systems show a device in stat() that is not the one by which the kernel knows the lock. */
static bool has_open(pid_t pid, const struct stat *file)
{
	char path[64];
	struct dirent *entry;
	struct stat st;
	bool found = false;
	DIR *d;
	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && !found && (entry = readdir(d)))
		found = fstatat(dirfd(d), entry->d_name, &st, 0) == 0 && st.st_ino == file->st_ino &&
			st.st_dev == file->st_dev;
	if (d)
		closedir(d);
	return found;
}

static void find_lockers(lmq_store *s, struct holders *h)
{
	char line[256];
	struct stat file;
	FILE *f;
	if (fstatat(s->directory, "lock.mdb", &file, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	f = fopen("/proc/locks", "re");
	while (f && fgets(line, sizeof line, f)) {
		unsigned long long inode, start;
		unsigned device_major, device_minor;
		int pid;
		if (sscanf(line, "%*d: POSIX %*s %*s %d %x:%x:%llu %llu", &pid, &device_major, &device_minor, &inode,
				&start) != 5 || inode != file.st_ino || start != 0 || pid <= 0)
			continue;
		if (makedev(device_major, device_minor) == file.st_dev || has_open(pid, &file))
			holder_of(h, pid);
	}
	if (f)
		fclose(f);
}

/* ---- readers ----------------------------------------------------------------------------- */

/* A line of LMDB's list: pid, thread, transaction or "-". */
static int take_reader(const char *line, void *context)
{
	struct holders *h = context;
	struct lmq_holder *one;
	unsigned long long transaction;
	uint64_t behind;
	int pid;
	if (sscanf(line, "%d %*s %llu", &pid, &transaction) != 2 || (kill(pid, 0) != 0 && errno == ESRCH))
		return 0;
	one = holder_of(h, pid);
	if (!one)
		return h->failed ? -1 : 0;
	behind = h->newest > transaction ? h->newest - transaction : 0;
	if (!one->reading || behind > one->behind)
		one->behind = behind;
	one->reading = true;
	return 0;
}

/*
 * Pages that were freed by the transaction that a snapshot sees or a later one cannot be used again: LMDB
 * lists them by that, in the table with handle 0, as a count and so many numbers.
 */
static int count_held(lmq_store *s, struct snapshot *p, struct holders *h)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_stat stat;
	int rc = mdb_cursor_open(p->mdb, 0, &cursor);
	if (rc != 0)
		return fail_lmdb(s, s->path, rc);
	mdb_env_stat(s->env, &stat);
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		size_t transaction, pages;
		if (key.mv_size != sizeof transaction || value.mv_size < sizeof pages)
			continue;
		memcpy(&transaction, key.mv_data, sizeof transaction);
		memcpy(&pages, value.mv_data, sizeof pages);
		for (size_t i = 0; i < h->count; i++)
			if (h->list[i].reading && transaction + h->list[i].behind >= h->newest)
				h->list[i].held += pages * stat.ms_psize;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : fail_lmdb(s, s->path, rc);
}

static int find_readers(lmq_store *s, struct holders *h)
{
	struct snapshot p;
	int rc;
	snapshot_init(s, &p);
	rc = snapshot_begin(&p);
	if (rc == 0) {
		h->newest = mdb_txn_id(p.mdb);
		mdb_reader_list(s->env, take_reader, h);
		rc = count_held(s, &p, h);
	}
	snapshot_close(&p);
	return rc;
}

/* ---- the list ------------------------------------------------------------------------------ */

static int oldest_first(const void *a, const void *b)
{
	const struct lmq_holder *x = a, *y = b;
	if (x->reading != y->reading)
		return x->reading ? -1 : 1;
	if (x->behind != y->behind)
		return x->behind > y->behind ? -1 : 1;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

int lmq_store_holders(lmq_store *s, struct lmq_holder **list, size_t *count)
{
	struct holders h = { .list = NULL };
	int rc = store_ready(s);
	*list = NULL;
	*count = 0;
	if (rc == 0)
		rc = find_readers(s, &h);
	if (rc == 0)
		find_lockers(s, &h);
	if (rc == 0 && h.failed)
		rc = fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	if (rc != 0) {
		free(h.list);
		return rc;
	}
	if (h.count > 0)
		qsort(h.list, h.count, sizeof *h.list, oldest_first);
	*list = h.list;
	*count = h.count;
	return 0;
}

void holders_hint(lmq_store *s)
{
	struct holders h = { .list = NULL };
	char text[200];
	size_t used = 0, i;
	find_lockers(s, &h);
	for (i = 0; i < h.count && used + 64 < sizeof text; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %d", i ? ", " : "",
			*h.list[i].command ? h.list[i].command : "process", (int)h.list[i].pid);
	if (h.count > 0)
		fail_hint(s, "end %s%s", text, i < h.count ? " and others" : "");
	free(h.list);
}
