/* SPDX-License-Identifier: ISC */
/*
 * recovering STORE [no-reserve] [no-sign]
 * recovering STORE wreck writers|readers
 *
 * A process dies with LMDB's mutex and the next one has to recover it without memory. With the reserve
 * it succeeds. Where a mutex became unusable all the same, every process closes and opens again, sleeping ones
 * too, and goes on. The words switch off the reserve, and that anybody is asked to open again. The second form
 * only makes a mutex unusable.
 */
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *path;
static bool no_reserve, no_sign;
static unsigned next;
static struct turn there, go;

/* ---- no memory ------------------------------------------------------------------------------ */

int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **t);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **t);

static bool exhausted;		/* until the writer lock is LMDB's too, there is only what was freed since */

int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **t)
{
	int rc = __real_mdb_txn_begin(env, parent, flags, t);
	exhausted &= (flags & MDB_RDONLY) != 0;
	return rc;
}

/* A sanitizer has malloc for itself. */
#ifdef __SANITIZE_ADDRESS__
static const bool memory_is_ours = false;
#else
static const bool memory_is_ours = true;
static size_t left;		/* bytes, where it is exhausted */

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *p);

void *malloc(size_t size)
{
	if (exhausted && size > left) {
		errno = ENOMEM;
		return NULL;
	}
	if (exhausted)
		left -= size;
	return __libc_malloc(size);
}

void free(void *p)
{
	if (exhausted && p && !no_reserve)
		left += malloc_usable_size(p);
	__libc_free(p);
}
#endif

static int begin_and_die(void *argument)
{
	struct desk d;
	struct txn t;
	int rc = desk_open(&d, argument, 0, 0);
	if (rc == 0)
		rc = txn_begin(d.store, &t);
	if (rc == 0)
		raise(SIGKILL);
	return rc;
}

/* Is there before the other one dies, sends when memory is out, and again when there is some. */
static int recover(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, 0, 0);
	turn_give(&there);
	turn_wait(&go);
	exhausted = true;
	if (rc == 0)
		rc = desk_put(&d, "%u", next);
	exhausted = false;
	if (rc != 0)
		fprintf(stderr, "%s\n", lmq_error(d.store));
	desk_close(&d);
	return rc;
}

static void without_memory(void)
{
	for (unsigned i = 0; i < 4; i++) {
		pid_t pid = child(recover, (void *)path);
		turn_wait(&there);
		need(in_child(begin_and_die, (void *)path) == KILLED, "no process died in a transaction");
		turn_give(&go);
		need(end_of(pid) == 0, "a dead writer's mutex was not recovered without memory");
		next++;
		check_numbers(path, next, next, "after a recovery");
	}
}

/* ---- an unusable mutex ------------------------------------------------------------------------ */

/* LMDB's lock region: 8 bytes, the readers' mutex, 12 bytes; the writers' mutex on the next cache line. */
static pthread_mutex_t *lmdb_mutex(bool writers)
{
	char file[4096];
	uint8_t *region;
	int fd;
	snprintf(file, sizeof file, "%s/lock.mdb", path);
	fd = open(file, O_RDWR | O_CLOEXEC);
	region = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(fd >= 0 && region != MAP_FAILED, "%s: %s", file, strerror(errno));
	close(fd);
	return (pthread_mutex_t *)(void *)(region + (writers ? 64 : 8));
}

static int lock_and_die(void *mutex)
{
	return pthread_mutex_lock(mutex) == 0 ? 0 : 1;
}

int __real_store_recover(lmq_store *s);
int __wrap_store_recover(lmq_store *s);

int __wrap_store_recover(lmq_store *s)
{
	return no_sign ? store_reopen(s) : __real_store_recover(s);
}

/* Its owner dies, and the next one lets go of it without making it consistent. */
static void wreck(bool writers)
{
	pthread_mutex_t *mutex = lmdb_mutex(writers);
	need(in_child(lock_and_die, mutex) == 0, "LMDB's mutex is in use or not where it should be");
	need(pthread_mutex_lock(mutex) == EOWNERDEAD, "LMDB's mutex is not robust");
	pthread_mutex_unlock(mutex);
	need(pthread_mutex_lock(mutex) == ENOTRECOVERABLE, "LMDB's mutex is still good");
	munmap((uint8_t *)mutex - (writers ? 64 : 8), 4096);
}

/* Waits for messages and takes them, up to "stop"; its result is how many. */
static int sleeper(void *argument)
{
	struct desk d;
	lmq_receiver *r;
	lmq_watch *w;
	struct lmq_message m;
	size_t n;
	int rc = desk_open(&d, argument, 0, 0), count = 0;
	need(rc == 0 && lmq_receiver_open(d.queue, NULL, &r) == 0 && lmq_watch_open(d.store, &w) == 0 &&
		lmq_watch_channel(w, d.queue) == 0, "the sleeper cannot start");
	for (bool stop = false; !stop;) {
		lmq_watch_arm(w);
		rc = lmq_receiver_claim(r, 1, 1 << 20, &n);
		if (rc == LMQ_END) {
			rc = lmq_watch_wait(w, lmq_deadline(20000 * (int64_t)MS));
			need(rc == 0, "the sleeper's wait: %d: %s", rc, lmq_error(d.store));
			continue;
		}
		if (rc == 0)
			rc = lmq_receiver_next(r, &m);
		need(rc == 0, "the sleeper: %s", lmq_error(d.store));
		stop = m.body.size == 4 && memcmp(m.body.data, "stop", 4) == 0;
		count++;
		rc = lmq_receiver_settle(r, 1, LMQ_SYNC_FULL);
		need(rc == 0, "the sleeper settles: %s", lmq_error(d.store));
	}
	lmq_watch_close(w);
	lmq_receiver_close(r);
	desk_close(&d);
	return count;
}

/* Is there before the mutex is wrecked, and sends two messages after it. */
static int keeper(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, 0, 0);
	turn_give(&there);
	turn_wait(&go);
	if (rc == 0)
		rc = desk_put(&d, "from the keeper");
	if (rc == 0)
		rc = desk_put(&d, "again");
	if (rc != 0)
		fprintf(stderr, "%s\n", lmq_error(d.store));
	desk_close(&d);
	return rc;
}

static int put_soon(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, 0, 100 * (int64_t)MS);
	if (rc == 0)
		rc = desk_put(&d, "never stored");
	desk_close(&d);
	return rc;
}

/*
 * Two sleep, one has the store open and does nothing: as long as that one does not move, a new process is told
 * to try again. idle: it moves after the new one came.
 */
static void with_wreck(bool writers, bool idle)
{
	pid_t kept, asleep[2];
	int64_t began = clock_monotonic();
	int total = 0;
	for (int i = 0; i < 2; i++)
		asleep[i] = child(sleeper, (void *)path);
	for (int i = 0; i < 2; i++)
		need(!settled(asleep[i]), "the sleeper ended");
	kept = child(keeper, (void *)path);
	turn_wait(&there);
	wreck(writers);
	if (idle)
		need(in_child(put_soon, (void *)path) == 100 - LMQ_EBUSY, "an unusable store was used");
	turn_give(&go);
	need(end_of(kept) == 0, "who had the store open cannot send");
	need(put_once(path, "from a new process") == 0, "a new process cannot send");
	for (int i = 0; i < 2; i++)
		need(put_once(path, "stop") == 0, "nobody can send any more");
	for (int i = 0; i < 2; i++)
		total += end_of(asleep[i]);
	need(total == 5, "the sleepers got %d of 5 messages", total);
	need(clock_monotonic() - began < 10000 * (int64_t)MS, "it took too long");
}

int main(int argc, char **argv)
{
	need(argc > 1, "usage: recovering STORE [no-reserve | no-sign | wreck writers|readers]");
	path = argv[1];
	if (argc == 4) {
		wreck(strcmp(argv[3], "writers") == 0);
		return 0;
	}
	no_reserve = argc > 2 && strcmp(argv[2], "no-reserve") == 0;
	no_sign = argc > 2 && strcmp(argv[2], "no-sign") == 0;
	turn_init(&there);
	turn_init(&go);
	need(put_once(path, "0") == 0, "the first message");
	next = 1;
	if (memory_is_ours)
		without_memory();
	need(put_once(path, "stop") == 0, "the last message");
	need(in_child(sleeper, (void *)path) == (int)next + 1, "the queue cannot be emptied");
	for (int i = 0; i < 4; i++)
		with_wreck(i & 1, i & 2);
	return 0;
}
