/* SPDX-License-Identifier: ISC */
/*
 * states [-n COUNT] [-r SEED] [-x STATE] PLACE [WORD]...
 *
 * What a crash may leave: small pieces of work are recorded, write by write, and every disk that a crash at any instant
 * may leave of them is opened, checked, compared with what was acknowledged, and used. As many different ones as COUNT.
 *
 * Words: the name of a story, only that one; relaxed: all commits are; faults: only where writes fail as well;
 * old=FILE: an archive with a store of an older format. What must be found: nosync, commits that are not synced;
 * early: acknowledged before the commit; no-directory-sync; no-poison: nobody syncs after a commit that failed.
 */
#include "disk/choice.h"
#include "disk/deed.h"
#include "disk/judge.h"
#include "disk/platter.h"
#include "disk/recorder.h"
#include "disk/story.h"
#include "disk/work.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { POINT_BITS = 32 };

static struct trial trial;
static bool relaxed, nosync, early;
static char crash_root[4096], crash_path[4200], copy_path[4200], work_root[4096];
static uint64_t commits_seen;
/* Instants at which more may differ than can be tried, and how much the others come to at most. */
static uint64_t large_points, small_states;

static struct shared {
	uint64_t state, distinct, points;
} *shared;

/* ---- in the place of the system's ------------------------------------------------------------- */

#define CALL(type, name, ...) type name(__VA_ARGS__); type name(__VA_ARGS__)

static mode_t mode_of(int flags, va_list arguments)
{
	return flags & O_CREAT ? (mode_t)va_arg(arguments, int) : 0;
}

CALL(int, open, const char *path, int flags, ...)
{
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = mode_of(flags, arguments);
	va_end(arguments);
	return recorded_open(AT_FDCWD, path, flags, mode);
}

CALL(int, openat, int directory, const char *path, int flags, ...)
{
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = mode_of(flags, arguments);
	va_end(arguments);
	return recorded_open(directory, path, flags, mode);
}

CALL(int, close, int fd)
{
	return recorded_close(fd);
}

CALL(ssize_t, write, int fd, const void *data, size_t size)
{
	return recorded_write(fd, &(struct iovec){ (void *)data, size }, 1, -1);
}

CALL(ssize_t, pwrite, int fd, const void *data, size_t size, off_t at)
{
	return recorded_write(fd, &(struct iovec){ (void *)data, size }, 1, at);
}

CALL(ssize_t, writev, int fd, const struct iovec *parts, int count)
{
	return recorded_write(fd, parts, count, -1);
}

CALL(int, ftruncate, int fd, off_t size)
{
	return recorded_size(fd, size);
}

CALL(int, posix_fallocate, int fd, off_t at, off_t size)
{
	return recorded_allocate(fd, at, size);
}

CALL(int, fsync, int fd)
{
	return recorded_sync(fd, false);
}

CALL(int, fdatasync, int fd)
{
	return recorded_sync(fd, true);
}

CALL(int, renameat, int directory, const char *name, int to, const char *new_name)
{
	return recorded_rename(directory, name, to, new_name, 0);
}

CALL(int, renameat2, int directory, const char *name, int to, const char *new_name, unsigned flags)
{
	return recorded_rename(directory, name, to, new_name, flags);
}

CALL(int, unlinkat, int directory, const char *name, int flags)
{
	return recorded_remove(directory, name, flags);
}

CALL(int, mkdirat, int directory, const char *name, mode_t mode)
{
	return recorded_make(directory, name, mode);
}

/* So that a recorded_now can be made again, byte by byte. */
CALL(int, clock_gettime, clockid_t id, struct timespec *t)
{
	if (!recorded_now || id != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, id, t);
	recorded_time += 1000;
	*t = (struct timespec){ recorded_time / 1000000000, recorded_time % 1000000000 };
	return 0;
}

CALL(ssize_t, getrandom, void *data, size_t size, unsigned flags)
{
	if (!recorded_now)
		return syscall(SYS_getrandom, data, size, flags);
	for (size_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)draw(256);
	return (ssize_t)size;
}

int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __real_mdb_txn_commit(MDB_txn *t);
int __wrap_mdb_txn_commit(MDB_txn *t);
int __real_txn_commit(struct txn *t, enum lmq_sync sync);
int __wrap_txn_commit(struct txn *t, enum lmq_sync sync);

static bool wanted_synced = true;	/* what the caller asks for, whatever the library makes of it */

int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
	return __real_mdb_env_open(env, path, flags | (recorded_now && nosync ? MDB_NOSYNC : 0), mode);
}

int __wrap_txn_commit(struct txn *t, enum lmq_sync sync)
{
	struct store_record r;
	int rc;
	if (sync == LMQ_SYNC_DEFAULT && get_store_record(t->store, t->mdb, &r) == 0)
		sync = (enum lmq_sync)r.sync;
	wanted_synced = sync != LMQ_SYNC_RELAXED;
	rc = __real_txn_commit(t, sync);
	wanted_synced = true;
	return rc;
}

int __wrap_mdb_txn_commit(MDB_txn *t)
{
	static uint64_t committed;	/* the digest of the last one */
	uint64_t digest = recorded_now ? store_digest(t) : 0;
	int rc;
	/* One that changes nothing, also that of a copy that is being made, is no new state. */
	if (!recorded_now || deed_builds || digest == committed)
		return __real_mdb_txn_commit(t);
	record_mark(ENTRY_ATTEMPTED, digest);
	if (early) {
		record_mark(ENTRY_COMMITTED, true);
		record_mark(ENTRY_ACKNOWLEDGED, 0);
	}
	rc = __real_mdb_txn_commit(t);
	if (rc == 0 && !early)
		record_mark(ENTRY_COMMITTED, wanted_synced);
	if (rc == 0)
		committed = digest;
	return rc;
}

/* ---- which states ------------------------------------------------------------------------------- */

static uint8_t chosen[1 << 20];

static void try_state(struct image *i, const struct work *w, uint64_t point, uint64_t variant)
{
	shared->state = point << POINT_BITS | variant;
	trial_state = shared->state;
	seed = shared->state + 1;
	platter_lay(i, chosen, choice_condition(variant, point), w->story->remakes);
	judge(i, w->story, w->story->copies ? copy_path : crash_path, relaxed);
	shared->distinct++;
}

/* So many states of this instant, if there are as many. */
static uint64_t try_point(struct image *i, const struct work *w, uint64_t point, uint64_t most)
{
	uint64_t first_seed = seed, count = choice_systematic(i->item_count), found = 0, variant;
	bool all = count <= most;
	need(i->item_count < sizeof chosen, "too much is unsynced");
	for (uint64_t n = 0; found < most && n < 2 * (most > count ? most : count); n++) {
		variant = n;
		if (!all && n >= 2)	/* some of them, but for the two most likely ones */
			variant = image_mix(image_mix(n, first_seed), point) % (2 * count);
		else if (n >= count && i->item_count <= CHOICE_ALL)
			break;
		choice_make(point, variant, i->item_count, chosen);
		if (i->item_count <= CHOICE_ALL && variant >= count)
			continue;
		if (!choice_new(image_mix(image_hash(i, chosen), (uint64_t)i->acknowledged << 32 | (relaxed ? i->before : 0))))
			continue;
		try_state(i, w, point, variant);
		seed = first_seed;
		found++;
	}
	return found;
}

/* The next instant that is tried: before the fault all is as without it. */
static bool next_point(const struct work *w, struct image *i)
{
	bool found;
	while ((found = image_step(i)) && w->faults > 0 && !i->faulted)
		;
	return found;
}

static uint64_t count_points(struct work *w, uint64_t before)
{
	struct image *i = image_open(w->record);
	w->first_point = before;
	while (next_point(w, i)) {
		w->points++;
		if (i->item_count > CHOICE_ALL)
			large_points++;
		else
			small_states += choice_systematic(i->item_count);
	}
	commits_seen += i->attempted;
	image_close(i);
	return w->points;
}

/* Half of all for where little is unsynced, unless that is more than there is. The rest is shared out evenly. */
static uint64_t share_of(const struct image *i, uint64_t points, uint64_t left)
{
	if (i->item_count > CHOICE_ALL)
		return left / (large_points ? large_points : 1) + 1;
	return small_states <= trial.count / 2 ? UINT64_C(1) << CHOICE_ALL : trial.count / 2 / points + 1;
}

static int try_all(void *argument)
{
	uint64_t small = small_states < trial.count / 2 ? small_states : trial.count / 2, done = 0;
	uint64_t points = *(uint64_t *)argument, left = trial.count - small;
	mallopt(M_MMAP_THRESHOLD, 1 << 20);	/* what LMDB wants zeroed then is so without a hand on it */
	platter_begin(crash_root);
	for (unsigned n = 0; n < work_count; n++) {
		struct image *i = image_open(works[n].record);
		while (next_point(&works[n], i)) {
			bool large = i->item_count > CHOICE_ALL;
			uint64_t share = share_of(i, points, left);
			uint64_t found = try_point(i, &works[n], done++, share);
			uint64_t given = large || choice_systematic(i->item_count) > share ? share : choice_systematic(i->item_count);
			left = large ? left - (found < left ? found : left) : left + given - (found < given ? found : given);
			large_points -= large;
		}
		image_close(i);
	}
	return 0;
}

static int try_one(void *argument)
{
	uint64_t point = trial.only >> POINT_BITS, variant = trial.only & UINT32_MAX;
	(void)argument;
	platter_begin(crash_root);
	for (unsigned n = 0; n < work_count; n++) {
		struct work *w = &works[n];
		struct image *i;
		if (point < w->first_point || point >= w->first_point + w->points)
			continue;
		i = image_open(w->record);
		for (uint64_t p = w->first_point; p <= point; p++)
			next_point(w, i);
		choice_make(point, variant, i->item_count, chosen);
		printf("%s, %llu of its instants, fault %llu of kind %u (%llu): %zu parts unsynced, commits %u to %u\n",
			w->story->name, (unsigned long long)(point - w->first_point), (unsigned long long)w->first_fault,
			w->how, (unsigned long long)w->faults, i->item_count, i->acknowledged, i->attempted);
		fflush(stdout);
		try_state(i, w, point, variant);
		image_close(i);
	}
	return 0;
}

static void begin(int argc, char **argv)
{
	trial = trial_begin(argc, argv);
	if (trial.count == 0)
		trial.count = 100000;
	relaxed = trial_word(&trial, "relaxed");
	nosync = trial_word(&trial, "nosync");
	early = trial_word(&trial, "early");
	snprintf(work_root, sizeof work_root, "%s/work", trial.place);
	snprintf(crash_root, sizeof crash_root, "%s/crash", trial.place);
	snprintf(copy_path, sizeof copy_path, "%s/copy", crash_root);
	snprintf(crash_path, sizeof crash_path, "%s/store", crash_root);
	shared = shared_memory(sizeof *shared);
}

int main(int argc, char **argv)
{
	uint64_t points = 0, given;
	int status;
	begin(argc, argv);
	given = seed;
	works_record(&trial);
	seed = given;
	for (unsigned n = 0; n < work_count; n++)
		points += count_points(&works[n], points);
	status = in_child(trial.only == UINT64_MAX ? try_all : try_one, &points);
	remove_tree(work_root);
	remove_tree(crash_root);
	trial_state = shared->state;
	need(status < 128, "opening or using the store ended with signal %d", status - 128);
	if (status != 0)
		return status;
	printf("%llu distinct crash states of %llu commits in %u recordings, 0 bad\n", (unsigned long long)shared->distinct,
		(unsigned long long)commits_seen, work_count);
	return 0;
}
