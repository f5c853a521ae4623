/* SPDX-License-Identifier: ISC */
/*
 * opening STORE [no-gate] [no-number] [no-metas]
 *
 * A process that is killed while it opens or closes the store takes nothing from others. An opener is
 * stopped at each of its system calls in turn; another process meanwhile tries to send a message; the
 * opener is killed; what was acknowledged must be there. Then the transaction number in LMDB's lock region is set
 * to 0 while the store is in use. The words switch guards off: the gate, the check of that number before a commit, and
 * the look at the meta pages when the store is opened.
 */
#include "crash.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIRST = 100, LEAST = 50 };

static bool no_gate, no_number, no_metas;
static const char *path;
static unsigned next;		/* the number that the next message gets */
static struct turn there, go;

int __real_gate_lock(lmq_store *s);
int __wrap_gate_lock(lmq_store *s);
size_t __real_mdb_txn_id(MDB_txn *t);
size_t __wrap_mdb_txn_id(MDB_txn *t);
int __real_inspect_data(lmq_store *s);
int __wrap_inspect_data(lmq_store *s);

int __wrap_gate_lock(lmq_store *s)
{
	return no_gate ? 0 : __real_gate_lock(s);
}

size_t __wrap_mdb_txn_id(MDB_txn *t)
{
	MDB_envinfo info;
	if (!no_number)
		return __real_mdb_txn_id(t);
	mdb_env_info(mdb_txn_env(t), &info);
	return info.me_last_txnid + 1;
}

int __wrap_inspect_data(lmq_store *s)
{
	return no_metas ? 0 : __real_inspect_data(s);
}

static int open_close(void *argument)
{
	lmq_store *s;
	int rc = lmq_store_open(argument, NULL, &s);
	lmq_store_close(s);
	return rc;
}

static int send_next(void *argument)
{
	char text[16];
	snprintf(text, sizeof text, "%u", next);
	return put_once(argument, text);
}

static int send_many(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, LMQ_CREATE, 0);
	for (unsigned i = 0; rc == 0 && i < FIRST; i++)
		rc = desk_put(&d, "%u", i);
	desk_close(&d);
	return rc;
}

/* Sends the next number beside the stopped opener, which is killed as soon as the sender waits for it. */
static void meet(pid_t opener)
{
	pid_t sender = child(send_next, (void *)path);
	int status;
	settled(sender);
	kill_traced(opener);
	status = end_of(sender);
	need(status == 0, "the sender ended with %d", status);
	next++;
}

/* Stops an opener before each of its system calls. */
static void kill_openers(void)
{
	unsigned calls, k = 0;
	int status;
	for (bool ended = false; !ended;) {
		pid_t opener = traced(open_close, (void *)path);
		for (calls = 0, k++; calls < k && !ended; calls++)
			ended = !step(opener, &status);
		if (ended)
			break;
		meet(opener);
		check_numbers(path, next, next, "after an opener was killed");
		need(in_child(send_next, (void *)path) == 0, "the store takes no message any more");
		next++;
		check_numbers(path, next, next, "after a message was sent behind it");
	}
	need(k > LEAST, "only %u system calls were seen", k);
	need(status == 0, "the opener ended with %d", status);
	printf("%u openers were killed\n", k - 1);
}

/* ---- the transaction number --------------------------------------------------------------------- */

/* LMDB's lock region: 8 bytes, the readers' mutex, the number of the last transaction. */
static void scribble(void)
{
	char file[4096];
	uint32_t *region;
	uint64_t *number;
	int fd;
	snprintf(file, sizeof file, "%s/lock.mdb", path);
	fd = open(file, O_RDWR | O_CLOEXEC);
	region = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(fd >= 0 && region != MAP_FAILED && region[0] == 0xBEEFC0DE, "lock.mdb is not as LMDB 0.9 lays it out");
	number = (uint64_t *)(void *)(region + 2 + sizeof(pthread_mutex_t) / 4);
	/* A message is at least one transaction, and the first ones made the store. */
	need(*number >= next && *number < 4 * next + 1000, "lock.mdb holds no transaction number: %llu",
		(unsigned long long)*number);
	*number = 0;
	munmap(region, 4096);
	close(fd);
}

/* Has the store open all the time, and sends two numbers. */
static int keep_and_send(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, 0, 0);
	turn_give(&there);
	turn_wait(&go);
	for (unsigned i = 0; rc == 0 && i < 2; i++)
		rc = desk_put(&d, "%u", next + i);
	if (rc != 0)
		fprintf(stderr, "%s\n", lmq_error(d.store));
	desk_close(&d);
	return rc;
}

static void wrong_number(void)
{
	for (unsigned i = 0; i < 8; i++) {
		pid_t keeper = child(keep_and_send, (void *)path);
		turn_wait(&there);
		scribble();
		turn_give(&go);
		need(end_of(keeper) == 0, "a wrong transaction number was not repaired");
		next += 2;
		check_numbers(path, next, next, "after the transaction number was wrong");
	}
}

int main(int argc, char **argv)
{
	need(argc > 1, "usage: opening STORE [no-gate] [no-number] [no-metas]");
	path = argv[1];
	for (int i = 2; i < argc; i++) {
		no_gate |= strcmp(argv[i], "no-gate") == 0;
		no_number |= strcmp(argv[i], "no-number") == 0;
		no_metas |= strcmp(argv[i], "no-metas") == 0;
	}
	turn_init(&there);
	turn_init(&go);
	need(in_child(send_many, (void *)path) == 0, "the first messages");
	next = FIRST;
	kill_openers();
	wrong_number();
	return 0;
}
