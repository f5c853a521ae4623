/* SPDX-License-Identifier: ISC */
/*
 * staging STORE [never|always]
 *
 * A writer that is killed in the middle of a large body leaves chunks that nobody owns: the sweeper removes them, and
 * only them. The words make the sweeper believe that a body never, or always, is such an orphan.
 */
#include "crash.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { PIECE = 1 << 20, PIECES = 3 };

static const char *path;
static const char *belief = "";

bool __real_blob_orphan(lmq_store *s, uint64_t number);
bool __wrap_blob_orphan(lmq_store *s, uint64_t number);

bool __wrap_blob_orphan(lmq_store *s, uint64_t number)
{
	if (*belief)
		return strcmp(belief, "always") == 0;
	return __real_blob_orphan(s, number);
}

/* Writes a large body, stops before its end, and ends it. */
static int write_large(void *argument)
{
	static char piece[PIECE];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct desk d;
	int rc = desk_open(&d, argument, 0, 0);
	memset(piece, 'x', sizeof piece);
	if (rc == 0)
		rc = lmq_writer_begin(d.writer, d.queue, &m);
	for (int i = 0; rc == 0 && i < PIECES; i++)
		rc = lmq_writer_write(d.writer, piece, sizeof piece);
	raise(SIGSTOP);
	if (rc == 0)
		rc = lmq_writer_end(d.writer);
	if (rc == 0)
		rc = lmq_writer_commit(d.writer);
	if (rc != 0)
		fprintf(stderr, "%s\n", lmq_error(d.store));
	desk_close(&d);
	return rc;
}

static pid_t stopped_writer(void)
{
	pid_t pid = child(write_large, (void *)path);
	int status;
	need(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "the writer did not get so far");
	return pid;
}

static int sweep(void *argument)
{
	struct desk d;
	bool more = true;
	int rc = desk_open(&d, argument, 0, 0);
	for (int i = 0; rc == 0 && more && i < 1000; i++)
		rc = lmq_store_sweep(d.store, &more);
	desk_close(&d);
	return rc == 0 ? more : rc;
}

static struct {
	size_t records;
} *seen;

/* Records of the whole store. */
static int count(void *argument)
{
	struct desk d;
	struct snapshot p;
	MDB_stat stat;
	int rc = desk_open(&d, argument, 0, 0);
	if (rc == 0) {
		snapshot_init(d.store, &p);
		rc = snapshot_begin(&p);
	}
	if (rc == 0 && mdb_stat(p.mdb, d.store->table, &stat) == 0) {
		seen->records = stat.ms_entries;
		snapshot_close(&p);
	}
	desk_close(&d);
	return rc;
}

static size_t records(void)
{
	need(in_child(count, (void *)path) == 0, "the records cannot be counted");
	return seen->records;
}

/* Takes "first", then the large one. */
static int receive(void *argument)
{
	struct desk d;
	struct lmq_message m;
	struct lmq_bytes piece;
	lmq_receiver *r;
	uint64_t at = 0;
	size_t n;
	int rc = desk_open(&d, argument, 0, 0);
	need(rc == 0 && lmq_receiver_open(d.queue, NULL, &r) == 0, "receiving");
	need(lmq_receiver_claim(r, 1, 1, &n) == 0 && lmq_receiver_settle(r, 1, LMQ_SYNC_FULL) == 0, "no message");
	need(lmq_receiver_claim(r, 1, 1, &n) == 0 && lmq_receiver_next(r, &m) == 0, "no large message");
	while (lmq_receiver_body(r, at, &piece) == 0 && piece.size > 0) {
		for (size_t i = 0; i < piece.size; i++)
			need(piece.data[i] == 'x', "other bytes");
		at += piece.size;
	}
	need(at == (uint64_t)PIECES * PIECE, "%llu bytes", (unsigned long long)at);
	rc = lmq_receiver_settle(r, n, LMQ_SYNC_FULL);
	lmq_receiver_close(r);
	desk_close(&d);
	return rc;
}

int main(int argc, char **argv)
{
	size_t empty;
	pid_t pid;
	need(argc > 1, "usage: staging STORE [never|always]");
	path = argv[1];
	belief = argc > 2 ? argv[2] : "";
	seen = shared_memory(sizeof *seen);
	need(put_once(path, "first") == 0, "the first message");
	empty = records();
	pid = stopped_writer();
	need(records() > empty + 256, "the body was not staged");
	need(in_child(sweep, (void *)path) == 0 && records() > empty + 256, "the body of a living writer was swept");
	kill(pid, SIGKILL);
	need(end_of(pid) == KILLED, "the writer ended by itself");
	need(in_child(sweep, (void *)path) == 0, "the sweep failed");
	need(records() == empty, "%zu records of a dead writer are left", records() - empty);
	pid = stopped_writer();
	kill(pid, SIGCONT);
	need(end_of(pid) == 0, "a large message after it");
	need(in_child(receive, (void *)path) == 0, "the large message is not as it was sent");
	need(in_child(sweep, (void *)path) == 0 && records() <= empty, "its chunks are left");
	return 0;
}
