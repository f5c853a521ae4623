/* SPDX-License-Identifier: ISC */
#include "company.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static struct turn kept, leave;

static bool is_locked(const char *file, bool whole)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WRITER_LOCK, .l_len = 1 };
	int fd = open(file, O_RDWR | O_CLOEXEC);
	bool locked;
	if (fd < 0)
		fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	locked = whole ? flock(fd, LOCK_EX | LOCK_NB) != 0 : fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	close(fd);
	return locked;
}

bool gate_taken(const char *path)
{
	char file[4300];
	const char *slash = strrchr(path, '/');
	snprintf(file, sizeof file, "%.*s/.%s-fresh.new", (int)(slash - path), path, slash + 1);
	if (is_locked(file, true))
		return true;
	snprintf(file, sizeof file, "%s-fresh/" MARKER_NAME, path);
	if (is_locked(file, true))
		return true;
	snprintf(file, sizeof file, "%s/" MARKER_NAME, path);
	return is_locked(file, true);
}

/*
 * LMDB's mutex of its table of readers, which is 8 bytes from the begin of lock.mdb; the number of its owner is in its
 * first word. Who takes dead readers out of that table asks the kernel about each with the mutex in his hands.
 */
bool has_readers(const char *path, pid_t pid)
{
	char file[4300];
	uint32_t word = 0;
	int fd;
	snprintf(file, sizeof file, "%s/lock.mdb", path);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && pread(fd, &word, sizeof word, 8) != sizeof word)
		word = 0;
	close(fd);
	return (pid_t)(word & 0x3fffffff) == pid;
}

bool writer_at_work(const char *path)
{
	char file[4300];
	snprintf(file, sizeof file, "%s/control", path);
	return is_locked(file, false);
}

/* ---- company ------------------------------------------------------------------------------------- */

static int keep_open(void *argument)
{
	lmq_store *s;
	int rc = lmq_store_open(argument, NULL, &s);
	turn_give(&kept);
	turn_wait(&leave);
	lmq_store_close(s);
	return rc;
}

static int die_in_transaction(void *argument)
{
	struct snapshot view;
	lmq_store *s;
	struct txn t;
	int rc = lmq_store_open(argument, NULL, &s);
	if (rc == 0) {
		snapshot_init(s, &view);
		rc = snapshot_begin(&view);
	}
	if (rc == 0)
		rc = txn_begin(s, &t);
	if (rc == 0)
		raise(SIGKILL);
	return rc;
}

static int keep_reading(void *argument)
{
	struct desk d;
	struct lmq_message m;
	lmq_reader *r = NULL;
	int rc = desk_open(&d, argument, 0, 0);
	if (rc == 0)
		rc = lmq_reader_open(d.queue, &r);
	if (rc == 0)
		rc = lmq_reader_next(r, &m);
	turn_give(&kept);
	turn_wait(&leave);
	lmq_reader_close(r);
	desk_close(&d);
	return rc;
}

static pid_t invite_to(int (*work)(void *), const char *path)
{
	pid_t guest;
	turn_init(&kept);
	turn_init(&leave);
	guest = child(work, (void *)(uintptr_t)path);
	turn_wait(&kept);
	return guest;
}

pid_t invite_reader(const char *path)
{
	return invite_to(keep_reading, path);
}

pid_t invite(const char *path, enum company company)
{
	pid_t keeper = 0;
	if (company != ALONE)
		keeper = invite_to(keep_open, path);
	if (company == DEAD)
		need(in_child(die_in_transaction, (void *)(uintptr_t)path) == KILLED, "nobody died in a transaction");
	return keeper;
}

void send_away(pid_t guest, const char *when)
{
	if (!guest)
		return;
	turn_give(&leave);
	for (int i = 0; i < 2; i++) {
		close(kept.fd[i]);
		close(leave.fd[i]);
	}
	need(end_of(guest) == 0, "%s: who had the store open", when);
}
