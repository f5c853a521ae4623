/* SPDX-License-Identifier: ISC */
/*
 * The gate and the writer lock.
 *
 * Gate: flock on the marker file around mdb_env_open and mdb_env_close. LMDB 0.9.24 sets its lock region up
 * in steps that a kill can leave half done, with transaction number 0 in it; another opener that waited
 * meanwhile would then write over the newest pages (F1). Behind the gate nobody waits inside LMDB: an opener
 * killed halfway leaves a region that has no user, and the next one sets it up anew.
 *
 * Writer lock: a byte of the control file, taken before every mdb_txn_begin for writing. It has a deadline,
 * which LMDB's mutex has not, and because the kernel gives it back at its holder's death, what has to be done
 * between two writers (poison, F3) can be done under it. A waiter sleeps on the word writer, which
 * the holder bumps after giving the lock back; a holder that was killed bumps nothing, so the sleep is cut at
 * RECHECK. The word is only a hint: any value in it costs at most that time.
 *
 * Both are open file description locks, so they exclude threads and handles as well as processes, and are
 * not lost when some other descriptor of the file is closed.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <unistd.h>

enum { RECHECK = 20000000, SHORTEST_PAUSE = 20000, LONGEST_PAUSE = 1000000 };	/* ns */

void signals_from_outside(sigset_t *set)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	sigfillset(set);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		sigdelset(set, faults[i]);
}

/* A write past the file-size limit leaves SIGXFSZ pending; it must not kill the caller for what he is told. */
void take_pending(int signal)
{
	const struct timespec none = { 0 };
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, signal);
	sigtimedwait(&one, NULL, &none);
}

/*
 * flock has no deadline, and a process that was stopped while it holds the lock must not hold up others for ever:
 * so it is tried again and again, at growing intervals.
 */
int file_lock(lmq_store *s, int fd)
{
	int64_t deadline = lmq_deadline(s->patience), pause = SHORTEST_PAUSE, now;
	_Atomic uint32_t never = 0;
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return fail_errno(s, s->path, errno);
		now = clock_monotonic();
		if (now >= deadline)
			return fail(s, LMQ_EBUSY, "%s: another process is opening or closing the store and does not "
				"get on", s->path);
		notify_wait(&never, 0, now + pause < deadline ? now + pause : deadline);
		if (pause < LONGEST_PAUSE)
			pause *= 2;
	}
	return 0;
}

int gate_lock(lmq_store *s)
{
	return file_lock(s, s->marker);
}

void gate_unlock(lmq_store *s)
{
	flock(s->marker, LOCK_UN);
}

int range_lock(int fd, off_t start, off_t length)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

void range_unlock(int fd, off_t start, off_t length)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
	fcntl(fd, F_OFD_SETLK, &lock);
}

bool range_taken(int fd, off_t start, off_t length, off_t *taken_start, off_t *taken_end)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
	if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK)
		return false;
	*taken_start = lock.l_start;
	/* One without an end is none of ours. */
	*taken_end = lock.l_len > 0 ? lock.l_start + lock.l_len : start + length;
	return true;
}

int writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep)
{
	struct notify_word *word = &s->control->writer;
	sigset_t awake;
	int rc;
	for (;;) {
		uint32_t seen = atomic_load(&word->sequence);
		int64_t until;
		rc = range_lock(s->control_fd, WRITER_LOCK, 1);
		if (rc == 0)
			return 0;
		if (rc != EAGAIN && rc != EACCES && rc != EINTR)
			return fail_errno(s, s->path, rc);
		until = clock_monotonic();
		if (until >= deadline)
			return fail(s, LMQ_EBUSY, "%s: another process holds the store's writer lock", s->path);
		until = until + RECHECK < deadline ? until + RECHECK : deadline;
		atomic_fetch_add(&word->waiters, 1);
		if (range_lock(s->control_fd, WRITER_LOCK, 1) == 0) {
			atomic_fetch_sub(&word->waiters, 1);
			return 0;
		}
		pthread_sigmask(SIG_SETMASK, asleep, &awake);
		notify_wait(&word->sequence, seen, until);
		pthread_sigmask(SIG_SETMASK, &awake, NULL);
		atomic_fetch_sub(&word->waiters, 1);
	}
}

void writer_unlock(lmq_store *s)
{
	range_unlock(s->control_fd, WRITER_LOCK, 1);
	notify_wake(&s->control->writer);
}
