/* SPDX-License-Identifier: ISC */
/*
 * Room for acknowledging on a full disk.
 *
 * LMDB never changes a page in its place, so a removal needs some pages before it gives any back; where the disk
 * has none, and the file has none that are free, a full disk could not even be drained. Therefore the control file
 * is longer than what of it is used, by BALLAST bytes that are allocated. A removal that ended with LMQ_ENOSPC is
 * tried once more, and cuts them off when it has the writer lock, so that nobody who adds messages comes in
 * between. What it frees lies in the data file, and is soon enough for those that follow.
 *
 * From then on whoever adds messages, or their bodies, has to bring the ballast back first, or finds the disk
 * full; unless so much is free in the data file that behind him no removal can be in need. The word in the control
 * file only says whether to try: if it is wrong, a system call is made for nothing, or there is no ballast, and a
 * full disk is as full as it looks.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum ballast_state { UNKNOWN, TAKEN, DROPPED };
enum { PLENTY = 4 * BALLAST };

/* Whether what is free in the data file does as well, when need bytes are added. */
static bool plenty(struct txn *t, size_t need)
{
	uint64_t pages;
	MDB_stat stat;
	mdb_env_stat(t->store->env, &stat);
	return txn_free(t, &pages) == 0 && pages * stat.ms_psize >= PLENTY + need;
}

int ballast_take(struct txn *t, size_t need)
{
	lmq_store *s = t->store;
	int rc;
	if (atomic_load(&s->control->ballast) == TAKEN)
		return 0;
	rc = posix_fallocate(s->control_fd, sizeof *s->control, BALLAST);
	take_pending(SIGXFSZ);
	if ((rc == ENOSPC || rc == EDQUOT) && !plenty(t, need))
		return fail_errno(s, s->path, rc);
	/* Where a limit, or the filesystem, does not allow it, there is none. */
	if (rc == 0)
		atomic_store(&s->control->ballast, TAKEN);
	return 0;
}

int ballast_drop(lmq_store *s)
{
	s->in_need = true;
	return 1;
}

void ballast_cut(lmq_store *s)
{
	struct stat st;
	atomic_store(&s->control->ballast, DROPPED);
	/* Where that fails the disk stays as full as it is. */
	if (fstat(s->control_fd, &st) == 0 && st.st_size > (off_t)sizeof *s->control &&
			ftruncate(s->control_fd, sizeof *s->control) != 0)
		return;
}
