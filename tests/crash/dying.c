/* SPDX-License-Identifier: ISC */
/*
 * dying STORE
 *
 * A receiver is killed at the end of its commit: the meta page is written, but LMDB's lock region does not say so
 * yet, and readers see the state before until the next writer finds out. What it settled may come again, since
 * it was never told; but nothing else may come of it. Three times: the next receiver comes before any other writer;
 * a sender has just got the writer lock and no further; the next receiver looks again in the middle of its claim.
 * Each of them where the roster does not tell of the delivery that was cut short, and where it does, so that it is
 * to be counted before the messages are handed out again: that needs the writer lock, so there is no third then.
 */
#include "crash.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MESSAGES = 6, SETTLED = 3 };

static const char *path;
static bool pausing, telling;
static struct turn half, go, leave;

static int fill(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, LMQ_CREATE, 0);
	for (unsigned i = 0; rc == 0 && i < MESSAGES; i++)
		rc = desk_put(&d, "%u", i);
	desk_close(&d);
	return rc;
}

static int receive(lmq_receiver *r, size_t max)
{
	struct lmq_message m;
	size_t count, done = 0;
	int rc = lmq_receiver_claim(r, max, 1 << 20, &count);
	while (rc == 0 && done < count && (rc = lmq_receiver_next(r, &m)) == 0) {
		done++;
		lmq_receiver_pause(r);
		if (pausing) {
			pausing = false;
			turn_give(&half);
			turn_wait(&go);
		}
	}
	if (rc == LMQ_END && done > 0)
		rc = 0;
	return rc == 0 ? lmq_receiver_settle(r, done, LMQ_SYNC_FULL) : rc;
}

static int receive_first(void *argument)
{
	struct lmq_receiver_options o = { .size = sizeof o, .flags = telling ? 0 : LMQ_EXPLICIT_BEGIN };
	struct desk d;
	lmq_receiver *r;
	int rc = desk_open(&d, argument, 0, 0);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, &o, &r);
	return rc == 0 ? receive(r, SETTLED) : rc;
}

/* Until the queue is empty. */
static int receive_rest(void *argument)
{
	struct desk d;
	lmq_receiver *r;
	int rc = desk_open(&d, argument, 0, 0);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	while (rc == 0)
		rc = receive(r, MESSAGES);
	if (rc != LMQ_END)
		fprintf(stderr, "the next receiver: %s\n", lmq_error(d.store));
	return rc == LMQ_END ? 0 : rc;
}

static int send_one(void *argument)
{
	return put_once(argument, "more");
}

static bool synchronous(pid_t pid, uint64_t fd)
{
	char file[64], line[64];
	unsigned flags = 0;
	FILE *f;
	snprintf(file, sizeof file, "/proc/%d/fdinfo/%llu", pid, (unsigned long long)fd);
	f = fopen(file, "re");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "flags: %o", &flags);
	if (f)
		fclose(f);
	return flags & O_DSYNC;
}

/* It dies between the write of the meta page and the next instruction. */
static void die_in_commit(void)
{
	pid_t pid = traced(receive_first, (void *)path);
	uint64_t arguments[6];
	int status;
	do
		need(step(pid, &status), "the receiver ended with %d before it wrote a meta page", status);
	while (call_of(pid, arguments) != SYS_pwrite64 || !synchronous(pid, arguments[0]));
	finish_call(pid);
	kill_traced(pid);
}

/* It stands at the call behind the one that got the writer lock. */
static pid_t sender_with_lock(void)
{
	pid_t pid = traced(send_one, (void *)path);
	uint64_t arguments[6];
	int status;
	do
		need(step(pid, &status), "the sender ended with %d before it had the lock", status);
	while (call_of(pid, arguments) != SYS_fcntl || arguments[1] != F_OFD_SETLK);
	need(step(pid, &status), "the sender ended with %d", status);
	return pid;
}

static int wait_here(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, 0, 0);
	turn_give(&half);
	turn_wait(&leave);
	desk_close(&d);
	return rc;
}

/* Somebody has the store open all the time: else the next opener sets the lock region up anew. */
static void scene(int kind)
{
	pid_t keeper, receiver, sender = 0;
	need(in_child(fill, (void *)path) == 0, "the messages");
	keeper = child(wait_here, (void *)path);
	turn_wait(&half);
	die_in_commit();
	if (kind > 0)
		sender = sender_with_lock();
	pausing = kind == 2;
	receiver = child(receive_rest, (void *)path);
	pausing = false;
	if (kind == 2)
		turn_wait(&half);
	else
		settled(receiver);
	if (kind > 0) {
		untrace(sender);
		need(end_of(sender) == 0, "the sender");
	}
	if (kind == 2)
		turn_give(&go);
	need(end_of(receiver) == 0, "scene %d: the next receiver failed", kind);
	turn_give(&leave);
	need(end_of(keeper) == 0, "the keeper");
	remove_tree(path);
}

int main(int argc, char **argv)
{
	need(argc == 2, "usage: dying STORE");
	path = argv[1];
	turn_init(&half);
	turn_init(&go);
	turn_init(&leave);
	for (int kind = 0; kind < 3; kind++) {
		scene(kind);
		telling = true;
		if (kind < 2)
			scene(kind);
		telling = false;
	}
	return 0;
}
