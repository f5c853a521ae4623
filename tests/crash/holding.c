/* SPDX-License-Identifier: ISC */
/*
 * holding STORE [no-lock]
 *
 * A process that is stopped while it holds a lock keeps others waiting as long as their patience lasts and not
 * longer; when it is killed they go on at once. no-lock: without our own writer lock, LMDB's mutex makes them
 * wait for ever.
 */
#include "crash.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE = 150, LATE = 2000 };	/* ms */

static const char *path;
static bool no_lock;
static unsigned next;

int __real_writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep);
int __wrap_writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep);

int __wrap_writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep)
{
	return no_lock ? 0 : __real_writer_lock(s, deadline, asleep);
}

/* Begins a transaction and stops; when it goes on, it stores a message. */
static int hold(void *argument)
{
	struct desk d;
	struct txn t;
	int rc = desk_open(&d, argument, 0, 0);
	if (rc == 0)
		rc = txn_begin(d.store, &t);
	if (rc == 0) {
		raise(SIGSTOP);
		txn_abort(&t);
		rc = desk_put(&d, "%u", next);
	}
	desk_close(&d);
	return rc;
}

static pid_t holder(void)
{
	pid_t pid = child(hold, (void *)path);
	int status;
	need(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "no process holds the writer lock");
	return pid;
}

static int put_soon(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, LMQ_CREATE, PATIENCE * (int64_t)MS);
	if (rc == 0)
		rc = desk_put(&d, "%u", next);
	desk_close(&d);
	return rc;
}

static int put_patiently(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, LMQ_CREATE, 0);
	if (rc == 0)
		rc = desk_put(&d, "%u", next);
	desk_close(&d);
	return rc;
}

/* Ended within the limit; else it is killed. */
static int end_within(pid_t pid, int ms)
{
	int64_t deadline = lmq_deadline(ms * (int64_t)MS);
	while (!has_ended(pid) && clock_monotonic() < deadline)
		nap();
	if (!has_ended(pid))
		kill(pid, SIGKILL);
	return end_of(pid);
}

static void must_be_busy(const char *what)
{
	int64_t began = clock_monotonic(), took;
	int status = end_within(child(put_soon, (void *)path), LATE);
	took = (clock_monotonic() - began) / MS;
	need(status == 100 - LMQ_EBUSY, "%s: it ended with %d, not with LMQ_EBUSY", what, status);
	need(took >= PATIENCE - 5, "%s: it gave up after %d ms", what, (int)took);
}

/* Somebody waits for pid; it is killed or goes on; he has sent his message soon. */
static void must_go_on(pid_t pid, bool killed, const char *what)
{
	pid_t waiter = child(put_patiently, (void *)path);
	int64_t began;
	need(!settled(waiter), "%s: it did not wait", what);
	began = clock_monotonic();
	kill(pid, killed ? SIGKILL : SIGCONT);
	need(end_within(waiter, LATE) == 0, "%s: who waited did not get on", what);
	printf("%s: after %d us\n", what, (int)((clock_monotonic() - began) / 1000));
	need(clock_monotonic() - began < 500 * (int64_t)MS, "%s: who waited got on late", what);
	need(end_of(pid) == (killed ? KILLED : 0), "%s: it ended badly", what);
	next++;
}

static void stopped_writer(void)
{
	pid_t pid = holder();
	must_be_busy("a stopped writer");
	must_go_on(pid, true, "a killed writer");
	check_numbers(path, next, next, "after a killed writer");
}

static void resumed_writer(void)
{
	pid_t pid = holder();
	must_be_busy("a stopped writer");
	must_go_on(pid, false, "a resumed writer");
}

/* ---- stopped between two system calls ------------------------------------------------------------- */

/* A tracee stands where it has entered its calls-th call of flock. */
static pid_t at_flock(unsigned calls)
{
	pid_t pid = traced(put_patiently, (void *)path);
	uint64_t arguments[6];
	int status;
	while (calls > 0) {
		need(step(pid, &status), "it ended with %d before it stopped", status);
		calls -= call_of(pid, arguments) == SYS_flock;
	}
	return pid;
}

static void gate(unsigned calls, const char *what)
{
	pid_t pid = at_flock(calls);
	int status;
	need(step(pid, &status), "it ended");	/* the lock was got, and it stands at the next call */
	must_be_busy(what);
	must_go_on(pid, true, what);
}

int main(int argc, char **argv)
{
	need(argc > 1, "usage: holding STORE [no-lock]");
	path = argv[1];
	no_lock = argc > 2;
	gate(1, "a stopped creator");
	next = 1;
	check_numbers(path, next, next, "after a killed creator");
	stopped_writer();
	resumed_writer();
	gate(1, "a stopped opener");
	return 0;
}
