/* SPDX-License-Identifier: ISC */
/*
 * Write transactions.
 *
 * Signals blocked, our writer lock, LMDB's transaction, checks, ..., commit, wake-ups,
 * lock and signals given back. Checks, each under the writer lock:
 *   poison	LMDB undoes a meta page that it could not write, without syncing, and only its own process
 *		knows; another commit and a power cut would then corrupt the store (F3). A failed commit sets
 *		poison; the next writer must bring the metas to the disk before anything else. So does who puts
 *		another file into the directory (shrink.c), which is synced too.
 *   number	mdb_txn_id is the newest meta page's number + 1. If not, the lock region was set up wrongly
 *		(F1): close and open again through the gate, never write.
 *   memory	a reserve is freed before mdb_txn_begin, so that LMDB's recovery of a dead writer's mutex
 *		does not fail for want of memory and leave it unusable for everybody (F4).
 *   inode	the data file is still the one that the directory names.
 * A kill before the commit's last write leaves the old state, after it the new one.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOM_RESERVE = 1 << 20 };	/* of max-bytes, kept for draining */

/* ---- writing ------------------------------------------------------------------------------ */

static void signals_block(sigset_t *old)
{
	sigset_t all;
	signals_from_outside(&all);
	pthread_sigmask(SIG_BLOCK, &all, old);
}

/*
 * Makes both meta pages dirty, without changing them. After a sync that failed the kernel takes its pages for
 * clean: trying again would succeed without writing anything.
 */
static bool touch_metas(lmq_store *s, int fd)
{
	char meta[512];
	MDB_stat stat;
	mdb_env_stat(s->env, &stat);
	for (off_t at = 0; at <= (off_t)stat.ms_psize; at += (off_t)stat.ms_psize)
		if (pread(fd, meta, sizeof meta, at) != sizeof meta || pwrite(fd, meta, sizeof meta, at) != sizeof meta)
			return false;
	return true;
}

static int check_poison(lmq_store *s)
{
	int fd;
	if (atomic_load(&s->control->poison) == 0)
		return 0;
	if (mdb_env_get_fd(s->env, &fd) != 0 || !touch_metas(s, fd) || fdatasync(fd) != 0 || fsync(s->directory) != 0)
		return fail(s, LMQ_EIO, "%s: an earlier write failed and the disk still refuses to sync", s->path);
	atomic_store(&s->control->poison, 0);
	return 0;
}

/* Whether the open file is still the one with that name: LMQ_END if not. */
static int same_file(lmq_store *s, int fd, const char *name)
{
	struct stat open_file, named;
	if (fstat(fd, &open_file) != 0)
		return fail_errno(s, s->path, errno);
	if (fstatat(s->directory, name, &named, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? LMQ_END : fail_errno(s, s->path, errno);
	return open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev ? 0 : LMQ_END;
}

/* A replaced control file would be a second set of locks, a replaced data file another store. */
static int check_files(lmq_store *s)
{
	int fd, rc = mdb_env_get_fd(s->env, &fd) == 0 ? same_file(s, fd, "data.mdb") : LMQ_END;
	if (rc == 0)
		rc = same_file(s, s->control_fd, "control");
	return rc == LMQ_END ? fail(s, LMQ_EIO, "%s: the store was removed or replaced while in use", s->path) : rc;
}

static int begin_mdb(lmq_store *s, MDB_txn **mdb)
{
	MDB_envinfo info;
	int rc;
	free(s->reserve);
	s->reserve = NULL;
	rc = s->free_inspected ? 0 : free_inspect(s);
	if (rc == 0)
		rc = mdb_txn_begin(s->env, NULL, 0, mdb);
	s->reserve = malloc(RESERVE);
	if (rc != 0)
		return rc;
	if (!s->table)
		rc = mdb_dbi_open(*mdb, NULL, 0, &s->table);
	if (rc == 0)
		rc = mdb_env_info(s->env, &info);
	if (rc == 0 && mdb_txn_id(*mdb) != info.me_last_txnid + 1)
		rc = ENOTRECOVERABLE;
	if (rc != 0)
		mdb_txn_abort(*mdb);
	return rc;
}

/* One attempt; ENOTRECOVERABLE: the environment must be opened again. */
static int begin_locked(lmq_store *s, struct txn *t)
{
	int rc = writer_lock(s, lmq_deadline(s->patience), &t->old_signals);
	if (rc != 0)
		return rc;
	rc = check_files(s);
	if (rc == 0)
		rc = check_poison(s);
	if (rc == 0) {
		rc = begin_mdb(s, &t->mdb);
		if (rc == MDB_PANIC)
			rc = ENOTRECOVERABLE;
		else if (rc != 0 && rc != ENOTRECOVERABLE)
			rc = fail_lmdb(s, s->path, rc);
	}
	if (rc != 0)
		writer_unlock(s);
	return rc;
}

int txn_begin(lmq_store *s, struct txn *t)
{
	bool in_need = s->in_need;
	int rc = store_ready(s);
	s->in_need = false;
	if (rc != 0)
		return rc;
	if (s->read_only)
		return fail(s, LMQ_EACCES, "%s: the store is open for reading only", s->path);
	if (s->writing)
		return fail(s, LMQ_EBUG, "%s: a transaction is open already", s->path);
	memset(t, 0, sizeof *t);
	t->store = s;
	signals_block(&t->old_signals);
	for (int attempt = 0; attempt < 3; attempt++) {
		rc = begin_locked(s, t);
		if (rc != ENOTRECOVERABLE)
			break;
		rc = store_recover(s);
		if (rc != 0)
			break;
		rc = fail_damaged(s, "LMDB's lock region cannot be recovered");
	}
	if (rc == 0) {
		s->writing = true;
		t->in_need = in_need;
		if (in_need)
			ballast_cut(s);
	} else {
		pthread_sigmask(SIG_SETMASK, &t->old_signals, NULL);
	}
	return rc;
}

static void txn_leave(struct txn *t)
{
	t->store->writing = false;
	if (t->holds)
		range_unlock(t->store->handling_fd, (off_t)1 << 32, 0);
	writer_unlock(t->store);
	pthread_sigmask(SIG_SETMASK, &t->old_signals, NULL);
}

void txn_abort(struct txn *t)
{
	mdb_txn_abort(t->mdb);
	txn_leave(t);
}

static void wake_all(struct txn *t)
{
	if (t->wake_catalogue)
		notify_wake(&t->store->control->catalogue);
	if (!t->wake_any && !t->wake_catalogue)
		return;
	notify_wake(&t->store->control->any);
	for (unsigned i = 0; i < NOTIFY_WORDS; i++)
		if (t->wake[i / 8] & 1u << i % 8)
			notify_wake(&t->store->control->channel[i]);
}

/*
 * Whether the commit got as far as the meta page, which then may or may not be on the disk: LMDB
 * refuses everything from then on. Before that, what it wrote belongs to nobody.
 *
 * It is asked for a write transaction, which nothing else stands in the way of: the commit has given LMDB's mutex back,
 * our writer lock keeps others away, and it needs neither memory nor a place in the table of readers.
 */
static bool meta_failed(lmq_store *s)
{
	MDB_txn *t;
	int rc = mdb_txn_begin(s->env, NULL, 0, &t);
	if (rc == 0)
		mdb_txn_abort(t);
	return rc != 0;
}

/* A commit that failed, and why. */
static int commit_failed(lmq_store *s, int rc)
{
	int fd;
	if (rc == ENOMEM || rc == MDB_MAP_FULL || rc == MDB_TXN_FULL)
		return fail_lmdb(s, s->path, rc);
	atomic_store(&s->control->poison, 1);
	take_pending(SIGXFSZ);
	if (rc > 0 && meta_failed(s))
		return fail(s, LMQ_EUNKNOWN, "%s: %s during the commit: outcome unknown", s->path,
			rc == EIO ? "input/output error" : strerror(rc));
	if (rc == EIO && mdb_env_get_fd(s->env, &fd) == 0)
		rc = room_error(fd, rc);
	return fail_lmdb(s, s->path, rc);
}

static enum lmq_sync default_sync(struct txn *t)
{
	struct store_record r;
	return get_store_record(t->store, t->mdb, &r) == 0 ? (enum lmq_sync)r.sync : LMQ_SYNC_FULL;
}

int txn_commit(struct txn *t, enum lmq_sync sync)
{
	lmq_store *s = t->store;
	int rc;
	if (sync == LMQ_SYNC_DEFAULT)
		sync = default_sync(t);
	mdb_env_set_flags(s->env, MDB_NOMETASYNC, sync == LMQ_SYNC_RELAXED);
	rc = mdb_txn_commit(t->mdb);
	if (rc == 0) {
		wake_all(t);
		txn_leave(t);
		return 0;
	}
	rc = commit_failed(s, rc);
	txn_leave(t);
	environment_close(s);	/* LMDB may have marked it unusable; the next step opens it again */
	return rc;
}

void txn_wake(struct txn *t, uint32_t id)
{
	unsigned i = id % NOTIFY_WORDS;
	t->wake[i / 8] |= (unsigned char)(1u << i % 8);
	t->wake_any = true;
}

int txn_hold(struct txn *t, uint32_t space, uint64_t first, uint64_t end, uint64_t most, struct run *held)
{
	lmq_store *s = t->store;
	int rc = s->handling_fd < 0 ? lease_open(s, &s->handling_fd) : 0;
	t->holds = true;
	return rc == 0 ? lease_take(s, s->handling_fd, space, first, end, most, held) : rc;
}

/* ---- max-bytes ------------------------------------------------------------------------------ */

static int full_address_space(lmq_store *s)
{
	fail(s, LMQ_EFULL, "%s: the store is full: no address space is left", s->path);
	fail_hint(s, "receive or trim messages, or raise the limit of address space (ulimit -v)");
	return LMQ_EFULL;
}

int txn_room(struct txn *t, size_t need)
{
	lmq_store *s = t->store;
	struct store_record r;
	MDB_envinfo info;
	MDB_stat stat;
	uint64_t used, free_pages, limit;
	char text[LMQ_VALUE_MAX];
	int dead, rc = get_store_record(s, t->mdb, &r);
	if (rc != 0)
		return rc;
	/* A part of it is kept so that a full store can still be drained. */
	limit = r.max_bytes ? r.max_bytes : s->map_size - (s->map_size >> 4);
	limit -= limit >> 3 < ROOM_RESERVE ? limit >> 3 : ROOM_RESERVE;
	mdb_env_info(s->env, &info);
	mdb_env_stat(s->env, &stat);
	used = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
	if (used + need <= limit)
		return 0;
	mdb_reader_check(s->env, &dead);
	rc = free_count(s, UINT64_MAX, &free_pages);
	if (rc != 0)
		return rc;
	if (used - free_pages * stat.ms_psize + need <= limit)
		return 0;
	if (r.max_bytes == 0)
		return full_address_space(s);
	fail(s, LMQ_EFULL, "%s: the store is full (max-bytes=%s)", s->path, lmq_size_format(r.max_bytes, text));
	fail_hint(s, "receive or trim messages, or mq-make --store %s max-bytes=...", s->path);
	return LMQ_EFULL;
}
