/* SPDX-License-Identifier: ISC */
/*
 * A data file written anew, from a snapshot: page by page, or compact.
 *
 * Page by page: all pages up to the snapshot's last one, in order, and two meta pages that say what the
 * snapshot's meta page says. Its pages do not change as long as LMDB's table of readers has it, whatever
 * others commit; free pages do, and nobody reads them. The trees are not looked at, so this works for a
 * damaged store too, and keeps what is left of it.
 *
 * Compact: every entry is appended to a new environment. LMDB has a copy of that kind (MDB_CP_COMPACT), and
 * it was decided against: it can neither be stopped nor tell how far it is, starts a thread, refuses a store
 * in which a page is in no list, and believes what the pages say. This one takes the same time (3 GB/s in
 * memory). It reads nothing but sound pages, of which pages_check() makes sure before, and looks at every
 * checksum; what is damaged is refused.
 *
 * Invariant "the numbers go on": both keep the number of the snapshot's transaction, so that who remembers
 * one from before the file was replaced is not misled.
 *
 * The snapshot is held all the time, and nothing else is: no lock of ours or LMDB's. A process that is
 * stopped here keeps old pages in use, and so makes the file grow, as a stopped reader does.
 *
 * Where the filesystem is mounted read-only here and written elsewhere there is no table of readers, and nothing
 * keeps the snapshot. The second commit after it makes its pages free, and the third one may use them again. So after
 * each step there must not have been a second one; or else the copy begins anew, with a newer snapshot.
 */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STEP = 1 << 20, FLUSH = 16 << 20, ATTEMPTS = 200 };	/* bytes; snapshots */

/* Whether the pages of the snapshot are still what they were. */
static bool is_kept(struct job *j)
{
	MDB_envinfo info;
	return mdb_env_info(j->from->env, &info) == 0 &&
		(info.me_numreaders > 0 || info.me_last_txnid <= j->transaction + 1);
}

/* ---- failures ----------------------------------------------------------------------------- */

int copy_write_failed(struct job *j, int error)
{
	return fail_lmdb(j->to, j->to->path, room_error(j->out, error));
}

static int write_all(struct job *j, const void *data, size_t size, off_t at)
{
	const uint8_t *p = data;
	while (size > 0) {
		ssize_t n = pwrite(j->out, p, size, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return copy_write_failed(j, n < 0 ? errno : ENOSPC);
		p += n;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/*
 * What is written goes to the disk soon, so that the commits of others do not have to wait for a gigabyte at
 * once. A failure told here is not told again by fsync. Where there is no such call nothing is lost.
 */
static int flush(struct job *j, uint64_t at)
{
	int rc = 0;
	if (at < j->flushing + FLUSH)
		return 0;
	if (sync_file_range(j->out, (off_t)j->flushing, (off_t)(at - j->flushing), SYNC_FILE_RANGE_WRITE) != 0)
		rc = errno;
	if (j->flushing > j->flushed && sync_file_range(j->out, (off_t)j->flushed, (off_t)(j->flushing - j->flushed),
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) != 0)
		rc = errno;
	j->flushed = j->flushing;
	j->flushing = at;
	return rc == EIO || rc == ENOSPC || rc == EDQUOT ? copy_write_failed(j, rc) : 0;
}

int copy_advance(struct job *j, uint64_t done)
{
	struct copy *c = j->copy;
	int rc = flush(j, done);
	if (rc != 0)
		return rc;
	c->sofar.done = done < c->sofar.size ? done : c->sofar.size;
	if (c->progress && !c->progress(&c->sofar, c->context))
		return fail(j->from, LMQ_EINTR, "%s: the copy was ended", j->from->path);
	if (!j->from->shut && j->from->generation != atomic_load(&j->from->control->generation))
		return EAGAIN;
	return is_kept(j) ? 0 : EAGAIN;
}

/* ---- the meta page ------------------------------------------------------------------------- */

/*
 * The meta page of the snapshot stays until the second commit after it. EAGAIN where it is gone, or is just
 * being written: it is read twice, and has to say what LMDB took from it.
 */
static int find_meta(struct job *j)
{
	unsigned mine = (unsigned)(j->transaction % 2);
	uint8_t again[META_SIZE];
	MDB_envinfo info;
	MDB_stat stat;
	if (!page_meta(&j->file, mine, &j->meta) || !page_read(&j->file, mine, j->bytes, META_SIZE) ||
			!page_read(&j->file, mine, again, META_SIZE) || memcmp(j->bytes, again, META_SIZE) != 0)
		return EAGAIN;
	if (mdb_env_info(j->from->env, &info) != 0 || mdb_stat(j->snapshot.mdb, j->from->table, &stat) != 0)
		return EAGAIN;
	if (j->meta.transaction != j->transaction || info.me_last_txnid > j->transaction + 1 ||
			j->meta.tree[STORE_TREE].entries != stat.ms_entries)
		return EAGAIN;
	j->entries = stat.ms_entries;
	return 0;
}

int copy_metas(struct job *j, const uint8_t bytes[META_SIZE])
{
	uint8_t page[PAGE_MOST] = { 0 };
	int rc = 0;
	for (uint64_t number = 0; rc == 0 && number < 2; number++) {
		uint64_t transaction = number == j->transaction % 2 ? j->transaction : j->transaction - 1;
		memcpy(page, bytes, META_SIZE);
		memcpy(page + META_NUMBER, &number, sizeof number);
		memcpy(page + META_TRANSACTION, &transaction, sizeof transaction);
		rc = write_all(j, page, j->file.size, (off_t)(number * j->file.size));
	}
	return rc;
}

/* ---- page by page --------------------------------------------------------------------------- */

static int copy_step(struct job *j, uint8_t *buffer, uint64_t at, size_t size, size_t *copied)
{
	ssize_t n;
	do
		n = pread(j->in, buffer, size, (off_t)at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return fail_errno(j->from, j->from->path, errno);
	*copied = (size_t)n;
	return write_all(j, buffer, (size_t)n, (off_t)at);
}

static int copy_pages(struct job *j)
{
	uint64_t end = (j->meta.last + 1) * j->file.size, at = 0;
	uint8_t *buffer = malloc(STEP);
	size_t n = 1;
	int rc = buffer ? 0 : fail(j->from, LMQ_ENOMEM, "%s: out of memory", j->from->path);
	j->copy->sofar.size = end;
	while (rc == 0 && n > 0 && at < end) {
		rc = copy_step(j, buffer, at, end - at < STEP ? end - at : STEP, &n);
		at += n;
		if (rc == 0)
			rc = copy_advance(j, at);
	}
	free(buffer);
	/* Pages at the end that were taken and given back were never written. */
	if (rc == 0 && ftruncate(j->out, (off_t)end) != 0)
		rc = copy_write_failed(j, errno);
	return rc == 0 ? copy_metas(j, j->bytes) : rc;
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* That it can be opened, and is what was to be copied. Nothing of the trees is looked at. */
static int look(struct job *j)
{
	char directory[32], path[300];
	MDB_env *env;
	MDB_txn *t = NULL;
	MDB_stat stat = { .ms_entries = 0 };
	MDB_dbi table;
	struct page_file file;
	struct page_meta m;
	bool good;
	int rc = mdb_env_create(&env);
	if (rc != 0)
		return fail_lmdb(j->to, j->to->path, rc);
	snprintf(path, sizeof path, "%s/%s", descriptor_path(directory, j->copy->directory), j->copy->name);
	/* LMDB maps as much as there is, and not what the meta page says, for which there may be no address space. */
	mdb_env_set_mapsize(env, (size_t)1 << 24);
	rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_RDONLY | MDB_NOTLS, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &t);
	if (rc == 0)
		rc = mdb_dbi_open(t, NULL, 0, &table);
	good = rc == 0 && mdb_stat(t, table, &stat) == 0 && mdb_txn_id(t) == j->transaction &&
		stat.ms_entries == j->entries && (rc = page_file_open(j->to, j->out, &file)) == 0 &&
		file.size == j->file.size && page_meta(&file, 0, &m) && page_meta(&file, 1, &m);
	if (t)
		mdb_txn_abort(t);
	mdb_env_close(env);
	if (rc < 0 && rc >= LMQ_ECONFLICT)
		return rc;	/* of page_file_open() */
	if (rc != 0)
		return fail_lmdb(j->to, j->to->path, rc);
	return good ? 0 : fail(j->to, LMQ_EIO, "%s: the copy is not what was copied", j->to->path);
}

static int try_once(struct job *j)
{
	int rc = snapshot_begin(&j->snapshot);
	if (rc != 0)
		return rc;
	if (mdb_env_get_fd(j->from->env, &j->in) != 0)
		return fail(j->from, LMQ_EBUG, "%s: no data file", j->from->path);
	j->transaction = mdb_txn_id(j->snapshot.mdb);
	j->flushed = j->flushing = 0;
	rc = page_file_open(j->from, j->in, &j->file);
	if (rc == 0)
		rc = find_meta(j);
	if (rc == 0 && ftruncate(j->out, 0) != 0)
		rc = copy_write_failed(j, errno);
	if (rc == 0)
		rc = j->copy->compact ? copy_compact(j) : copy_pages(j);
	return rc == LMQ_EDAMAGED && !is_kept(j) ? EAGAIN : rc;
}

static int copy_job(struct job *j)
{
	struct copy *c = j->copy;
	int rc;
	for (int attempt = 0; (rc = try_once(j)) == EAGAIN && attempt < ATTEMPTS; attempt++)
		snapshot_pause(&j->snapshot);
	snapshot_pause(&j->snapshot);
	if (rc == EAGAIN)
		return fail(j->from, LMQ_EBUSY, "%s: the store changes too fast to be copied", j->from->path);
	if (rc == 0)
		rc = look(j);
	if (rc == 0 && fsync(j->out) != 0)
		rc = copy_write_failed(j, errno);
	c->sofar.done = c->sofar.size;
	if (rc == 0 && c->progress && !c->progress(&c->sofar, c->context))
		rc = fail(j->from, LMQ_EINTR, "%s: the copy was ended", j->from->path);
	return rc;
}

int copy_data(struct copy *c)
{
	struct job *j = calloc(1, sizeof *j);
	sigset_t limit, old;
	int rc;
	if (!j)
		return fail(c->from, LMQ_ENOMEM, "%s: out of memory", c->from->path);
	j->copy = c;
	j->from = c->from;
	j->to = c->to;
	j->out = openat(c->directory, c->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->out < 0) {
		rc = fail_errno(c->to, c->to->path, errno);
		free(j);
		return rc;
	}
	sigemptyset(&limit);
	sigaddset(&limit, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &limit, &old);
	snapshot_init(c->from, &j->snapshot);
	rc = copy_job(j);
	snapshot_close(&j->snapshot);
	take_pending(SIGXFSZ);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(j->out);
	free(j);
	return rc;
}
