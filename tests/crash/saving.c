/* SPDX-License-Identifier: ISC */
/*
 * saving [-n ROUNDS] [-r SEED] [-x STATE] PLACE [in-place | unsynced | no-snapshot | unasked]
 *
 * Backups and compactions. Each is killed at every one of its system calls, and each of its syncs fails in
 * turn: then there is no backup or a complete one, the store has the old data file or the new one, and the
 * next try succeeds. Backups that are taken while others write must hold exactly what had been acknowledged,
 * perhaps more, and no gap. Compactions and senders that open and close the store get in each other's way,
 * and nothing is lost.
 *
 * Faults: in-place writes what should be renamed where it belongs; unsynced does not notice that a sync
 * failed; no-snapshot copies pages that others may use again; unasked compacts a store that others have open.
 */
#include "people/traffic.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* States: the operation's base, and the number of the call; of the sync. */
enum { KILLS = 0, SYNCS = 1000, OPERATION = 2000, LIVE = 6000, RACE = 7000 };
enum { LEAST = 40 };

static struct trial trial;
static bool in_place, unsynced, no_snapshot, unasked;
static char source[4096], copy[4096], beside[4200], shrunk[4200];
static _Atomic unsigned *compacted;	/* how often, in shared memory */
static unsigned syncs, failing;	/* of this process; the one that fails, 0: none */
static unsigned copy_flags;

/* ---- the faults ----------------------------------------------------------------------------- */

int __real_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
bool __real_control_in_use(lmq_store *s);
bool __wrap_control_in_use(lmq_store *s);

static int move_files(int from, int to)
{
	static const char *const files[] = { MARKER_NAME, "lock.mdb", "data.mdb" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (__real_renameat(from, files[i], to, files[i]) != 0)
			return -1;
	return 0;
}

static int write_over(int from, int to)
{
	char buffer[1 << 14];
	ssize_t n;
	while ((n = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, (size_t)n) != n)
			return -1;
	return (int)n;
}

int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	int a, b, rc;
	bool directory = strcmp(from, SHRUNK_NAME) != 0;
	if (!in_place)
		return __real_renameat(from_directory, from, to_directory, to);
	mkdirat(to_directory, directory ? to : ".", 0700);
	a = openat(from_directory, from, O_RDONLY);
	b = openat(to_directory, to, directory ? O_RDONLY : O_WRONLY | O_TRUNC);
	rc = directory ? move_files(a, b) : write_over(a, b);
	close(a);
	close(b);
	unlinkat(from_directory, from, directory ? AT_REMOVEDIR : 0);
	return rc;
}

int __wrap_fsync(int fd)
{
	if (++syncs != failing)
		return __real_fsync(fd);
	errno = EIO;
	return unsynced ? 0 : -1;
}

bool __wrap_control_in_use(lmq_store *s)
{
	return unasked ? false : __real_control_in_use(s);
}

/* ---- what is killed -------------------------------------------------------------------------- */

static int back_up(void *argument)
{
	const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
	lmq_store *s = NULL;
	int rc = lmq_store_open(source, &options, &s);
	(void)argument;
	if (rc == 0)
		rc = lmq_store_backup(s, copy, copy_flags, NULL, NULL);
	lmq_store_close(s);
	return rc;
}

static int compact(void *argument)
{
	const struct lmq_store_options options = { sizeof options, 0, 0 };
	uint64_t before, after;
	lmq_store *s = NULL;
	int rc = lmq_store_compact(source, &options, &s, &before, &after);
	(void)argument;
	lmq_store_close(s);
	return rc;
}

static int (*operation)(void *);
static unsigned base;		/* of its states */

/* Whether the state is to be looked at; one that is left out. */
static bool wanted(unsigned state)
{
	trial_state = state;
	return trial.only == UINT64_MAX || trial.only == state;
}

/* ---- what must be so --------------------------------------------------------------------------- */

static bool there(const char *at)
{
	struct stat st;
	return lstat(at, &st) == 0;
}

static bool complete(const char *at)
{
	static const char *const files[] = { MARKER_NAME, "data.mdb", "lock.mdb" };
	char file[4300];
	struct stat st;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(file, sizeof file, "%s/%s", at, files[i]);
		if (lstat(file, &st) != 0 || st.st_size == 0)
			return false;
	}
	return true;
}

static void look_at(const char *at, const char *when)
{
	check_numbers(at, STORED, STORED, when);
	traffic_check(at, when);
}

/* After a kill, or a sync that failed. */
static void look_after(const char *when)
{
	bool saved = there(copy);
	int rc;
	if (saved) {
		need(complete(copy), "%s: a partial backup is visible", when);
		look_at(copy, when);
	}
	look_at(source, when);
	rc = in_child(operation, NULL);
	need(rc == (saved ? 100 - LMQ_ECREATE : 0), "%s: the next try ended with %d", when, rc);
	need(!there(beside) && !there(shrunk), "%s: something was left beside", when);
	if (!saved)
		look_at(operation == back_up ? copy : source, when);
	remove_tree(copy);
}

static unsigned kill_all(const char *what)
{
	char when[128];
	for (unsigned k = 1;; k++) {
		pid_t pid;
		int status = 0;
		unsigned i = 0;
		if (!wanted(base + KILLS + k) && k < SYNCS - 1)
			continue;
		pid = traced(operation, NULL);
		while (i < k && step(pid, &status))
			i++;
		if (i < k) {
			need(status == 0, "%s ended with %d", what, status);
			remove_tree(copy);
			need(k > LEAST || k == trial.only % OPERATION, "%s: only %u system calls were seen", what, k);
			return k - 1;
		}
		kill_traced(pid);
		snprintf(when, sizeof when, "%s killed after %u calls", what, k);
		look_after(when);
	}
}

static int fail_sync(void *argument)
{
	int rc;
	failing = *(unsigned *)argument;
	syncs = 0;
	rc = operation(NULL);
	return rc == 0 && syncs < failing ? 99 : rc;
}

static unsigned fail_all(const char *what)
{
	char when[128];
	for (unsigned k = 1;; k++) {
		int rc;
		if (!wanted(base + SYNCS + k) && k < SYNCS - 1)
			continue;
		rc = in_child(fail_sync, &k);
		if (rc == 99) {
			remove_tree(copy);
			return k - 1;
		}
		snprintf(when, sizeof when, "%s whose sync %u failed", what, k);
		need(rc != 0, "%s succeeded", when);
		need(rc < KILLED, "%s ended with %d", when, rc);
		look_after(when);
	}
}

/* ---- while others write --------------------------------------------------------------------------- */

struct pace {
	lmq_store *store;
	unsigned seen;
};

/* Lets others work between two steps; the fault gives up the snapshot, which stands first in the list. */
static bool slowly(const struct lmq_copy *sofar, void *context)
{
	struct pace *p = context;
	(void)sofar;
	if (no_snapshot && p->store->snapshots->active)
		mdb_txn_reset(p->store->snapshots->mdb);
	while (traffic->turns < p->seen + 10 && !traffic->over)
		nap();
	p->seen = traffic->turns;
	return true;
}

static int save_slowly(void *argument)
{
	const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
	struct pace p = { .seen = traffic->turns };
	int rc = lmq_store_open(source, &options, &p.store);
	(void)argument;
	if (rc == 0)
		rc = lmq_store_backup(p.store, copy, copy_flags, slowly, &p);
	if (rc != 0)
		fprintf(stderr, "%s\n", p.store ? lmq_error(p.store) : "out of memory");
	lmq_store_close(p.store);
	return rc;
}

static void save_live(unsigned rounds)
{
	pid_t writers[] = { child(traffic_send, NULL), child(traffic_churn, NULL) };
	while (traffic->turns < 5)
		nap();
	for (unsigned i = 0; i < rounds; i++) {
		unsigned least = traffic->acknowledged;
		int rc;
		if (!wanted(LIVE + i))
			continue;
		copy_flags = i % 2 ? LMQ_COPY_COMPACT : 0;
		rc = in_child(save_slowly, NULL);
		need(rc == 0, "a backup ended with %d", rc);
		traffic_check_copy(copy, least);
		remove_tree(copy);
	}
	traffic->over = true;
	for (size_t i = 0; i < 2; i++)
		need(end_of(writers[i]) == 0, "a writer failed");
	traffic->over = false;
}

static bool one_step(const struct lmq_copy *sofar, void *context)
{
	unsigned *steps = context;
	need(sofar->done <= sofar->size, "a copy is larger than it is");
	return --*steps > 0;
}

/* Ended by its caller after so many steps; 1: it was complete by then. */
static int interrupt(void *argument)
{
	const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
	unsigned steps = *(unsigned *)argument;
	lmq_store *s = NULL;
	int rc = lmq_store_open(source, &options, &s);
	if (rc == 0)
		rc = lmq_store_backup(s, copy, copy_flags, one_step, &steps);
	lmq_store_close(s);
	return rc == 0 ? 1 : rc == LMQ_EINTR ? 0 : rc;
}

static void interrupt_all(void)
{
	for (unsigned flags = 0; flags <= LMQ_COPY_COMPACT; flags += LMQ_COPY_COMPACT) {
		unsigned steps = 1;
		int rc;
		copy_flags = flags;
		while ((rc = in_child(interrupt, &steps)) == 0) {
			need(!there(copy) && !there(beside), "a backup that was interrupted left something");
			steps++;
		}
		need(rc == 1 && steps > 2, "a backup interrupted after %u steps ended with %d", steps, rc);
		remove_tree(copy);
	}
}

/* ---- compactions and senders -------------------------------------------------------------------------- */

static int compact_often(void *argument)
{
	(void)argument;
	while (!traffic->over) {
		int rc = compact(NULL);
		need(rc == 0 || rc == LMQ_EBUSY, "a compaction ended with %d", rc);
		if (rc == 0)
			++*compacted;
		/* Who waits for a lock tries it once a millisecond. */
		nap();
	}
	return 0;
}

static void race(unsigned rounds)
{
	unsigned enough = traffic->acknowledged + 10 * rounds;
	pid_t pids[] = { child(traffic_come_and_go, NULL), child(compact_often, NULL) };
	while (*compacted < rounds || traffic->acknowledged < enough)
		for (int i = 0; i < 2; i++) {
			need(!has_ended(pids[i]), "a sender or a compaction failed");
			nap();
		}
	traffic->over = true;
	for (size_t i = 0; i < 2; i++)
		need(end_of(pids[i]) == 0, "a sender or a compaction failed");
	check_numbers(source, traffic->acknowledged, traffic->attempted, "after compactions");
	traffic_check(source, "after compactions");
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static void try_all(const char *what, int (*work)(void *), unsigned flags)
{
	unsigned killed, failed;
	if (operation)
		base += OPERATION;
	operation = work;
	copy_flags = flags;
	killed = kill_all(what);
	failed = fail_all(what);
	if (trial.only == UINT64_MAX)
		printf("%s: %u kills, %u syncs that failed\n", what, killed, failed);
}

int main(int argc, char **argv)
{
	unsigned rounds;
	trial = trial_begin(argc, argv);
	in_place = trial_word(&trial, "in-place");
	unsynced = trial_word(&trial, "unsynced");
	no_snapshot = trial_word(&trial, "no-snapshot");
	unasked = trial_word(&trial, "unasked");
	rounds = trial.count ? (unsigned)trial.count : 6;
	snprintf(source, sizeof source, "%s/store", trial.place);
	snprintf(copy, sizeof copy, "%s/copy", trial.place);
	snprintf(beside, sizeof beside, "%s/.copy.new", trial.place);
	snprintf(shrunk, sizeof shrunk, "%s/" SHRUNK_NAME, source);
	compacted = shared_memory(sizeof *compacted);
	traffic_begin(source);
	if (!no_snapshot && !unasked) {
		interrupt_all();
		try_all("a compaction", compact, 0);
		try_all("a backup", back_up, 0);
		try_all("a compact backup", back_up, LMQ_COPY_COMPACT);
	}
	if (unasked)
		rounds *= 10;
	else
		save_live(rounds);
	if (wanted(RACE))
		race(10 * rounds);
	if (trial.only == UINT64_MAX)
		printf("%u backups of a store in use, %u compactions between %u messages\n", rounds, *compacted,
			traffic->acknowledged);
	return 0;
}
