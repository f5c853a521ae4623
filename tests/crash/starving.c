/* SPDX-License-Identifier: ISC */
/*
 * starving [-n COUNT] [-r SEED] [-x STATE] PLACE [anyway | no-abort | no-reserve | leak | tell | OPERATION]
 *
 * Every allocation of every operation fails, once or from then on. Then: the status is LMQ_ENOMEM, or the operation
 * did without; all of it is there or nothing, as the answer says; another process works at once, while the
 * starved one still has the store open; there is memory again, and that one goes on with the same handle, with its
 * reserve for LMDB's recovery; nothing that was allocated is forgotten. Some operations find LMDB's mutex in the
 * hands of a process that died in a transaction.
 *
 * The deliberate faults: a failed commit is acknowledged all the same; a failed transaction is not aborted; the reserve
 * is not given back before LMDB's recovery; memory is forgotten.
 */
#include "people/company.h"
#include "scenario/experiment.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE = 300, LONGEST = 20 };

/* ---- memory --------------------------------------------------------------------------------- */

static bool counting, lasting, no_reserve;
static bool exhausted;		/* all memory is in use: there is what is given back, and no more */
static uint64_t asked, fails_at;	/* 0: none */
static int64_t live;

/* A sanitizer has malloc for itself. */
#ifdef __SANITIZE_ADDRESS__
static const bool memory_is_ours = false;
#else
static const bool memory_is_ours = true;
static size_t free_bytes;	/* where memory is exhausted */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *p);

static bool denied(size_t size)
{
	if (!counting)
		return false;
	asked++;
	if (fails_at == 0 || !(asked == fails_at || (lasting && asked > fails_at)))
		return false;
	if (exhausted && size <= free_bytes) {
		free_bytes -= size;
		return false;
	}
	errno = ENOMEM;
	return true;
}

static void *given(void *p)
{
	live += p != NULL;
	return p;
}

void *malloc(size_t size)
{
	return denied(size) ? NULL : given(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
	return denied(count * size) ? NULL : given(__libc_calloc(count, size));
}

void *realloc(void *p, size_t size)
{
	void *q;
	if (denied(size))
		return NULL;
	q = __libc_realloc(p, size);
	live += q && !p;
	return q;
}

void *memalign(size_t alignment, size_t size)
{
	return denied(size) ? NULL : given(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
	*p = memalign(alignment, size);
	return *p ? 0 : ENOMEM;
}

void free(void *p)
{
	live -= p != NULL;
	if (p && counting && !no_reserve && asked + 1 >= fails_at)	/* memory ran out behind the allocation before */
		free_bytes += malloc_usable_size(p);
	__libc_free(p);
}
#endif

/* ---- deliberate faults ----------------------------------------------------------------------- */

static bool anyway, no_abort, leak, tell;

int __real_txn_commit(struct txn *t, enum lmq_sync sync);
int __wrap_txn_commit(struct txn *t, enum lmq_sync sync);
void __real_txn_abort(struct txn *t);
void __wrap_txn_abort(struct txn *t);

int __wrap_txn_commit(struct txn *t, enum lmq_sync sync)
{
	int rc = __real_txn_commit(t, sync);
	return anyway ? 0 : rc;
}

void __wrap_txn_abort(struct txn *t)
{
	if (!no_abort)
		__real_txn_abort(t);
	if (leak)
		live++;
}

/* ---- one failure -------------------------------------------------------------------------------- */

static struct {
	uint64_t asked;		/* allocations of the operation */
	int64_t left;		/* more of them live than before */
	bool reserve;
} *meal;
static struct turn stands, go;
static uint64_t failures;

static void at_sign(struct act *a, int which)
{
	if (which == SIGN_BEGIN) {
		asked = 0;
		counting = true;
	} else if (which == SIGN_END) {
		counting = false;
		meal->asked = asked;
		turn_give(&stands);
		turn_wait(&go);
	} else {
		meal->reserve = !a->progress->opened || !a->store || a->store->reserve;
	}
}

static int act(void *argument)
{
	int64_t had = live;
	on_sign = at_sign;
	scenario_act(argument);
	meal->left = live - had;
	return 0;
}

struct bite {
	unsigned index;
	bool orphaned;		/* LMDB's mutex belongs to a dead process, and somebody else has the store open */
	pid_t keeper;
};

static pid_t begin(struct bite *b)
{
	static struct act a;
	a = experiment_act(&operations[b->index], PATIENCE * (int64_t)MS);
	experiment_anew();
	memset(meal, 0, sizeof *meal);
	if (b->orphaned)
		b->keeper = invite(path, DEAD);
	return child(act, &a);
}

static void end(struct bite *b, pid_t pid)
{
	int status;
	turn_give(&go);
	status = end_of(pid);
	need(status == 0, "%s: it ended with %d", name, status);
	send_away(b->keeper, name);
}

/* The starved one stands at the end of its operation, or it died. */
static void wait_for(pid_t pid)
{
	struct pollfd p = { .fd = stands.fd[0], .events = POLLIN };
	while (poll(&p, 1, 1) == 0)
		need(!has_ended(pid), "%s: it ended with %d", name, end_of(pid));
	turn_wait(&stands);
}

static void judge(const struct bite *b)
{
	const struct operation *what = &operations[b->index];
	if (tell)
		printf("%s: %s: %d %s\n", name, progress->done ? "done" : "not done", progress->status, progress->sentence);
	need(progress->status == 0 || progress->status == LMQ_ENOMEM, "%s: the status is %d: %s", name, progress->status,
		progress->sentence);
	witness_look(path, now, PATIENCE * (int64_t)MS, name);
	experiment_judge(what);
}

static void starve(struct bite *b, uint64_t at, bool on)
{
	pid_t pid;
	snprintf(name, sizeof name, "%s%s, allocation %llu fails%s", operations[b->index].name,
		b->orphaned ? " behind a dead writer" : "", (unsigned long long)at, b->orphaned ? " for want of memory" :
		on ? " and all behind it" : "");
	fails_at = at;
	lasting = on || b->orphaned;
	exhausted = b->orphaned;
	pid = begin(b);
	fails_at = 0;
	alarm(LONGEST);
	wait_for(pid);
	failures++;
	judge(b);
	end(b, pid);
	need(progress->after == 0, "%s: then a message with the same handle: %d: %s", name, progress->after,
		progress->sentence);
	need(meal->reserve, "%s: the reserve is gone", name);
	need(meal->left == 0, "%s: %lld allocations are forgotten", name, (long long)meal->left);
	need(progress->open_files == 0, "%s: %d descriptors are left open", name, progress->open_files);
	witness_use(path, PATIENCE * (int64_t)MS, name);
	remove_tree(fresh);
}

/* ---- all of them ------------------------------------------------------------------------------- */

/* How many allocations it makes; what the store is like before and after it. */
static uint64_t learn(struct bite *b)
{
	pid_t pid;
	snprintf(name, sizeof name, "%s", operations[b->index].name);
	pid = begin(b);
	wait_for(pid);
	end(b, pid);
	need(progress->status == 0, "%s ended with %d: %s", name, progress->status, progress->sentence);
	need(meal->left == 0, "%s: %lld allocations are forgotten", name, (long long)meal->left);
	experiment_learn(PATIENCE * (int64_t)MS);
	return meal->asked;
}

/* The state is operation, place and manner in one number. */
static void all_of(struct bite *b, const struct trial *t)
{
	const uint64_t base = (b->index * 2 + b->orphaned) * UINT64_C(1000000);
	uint64_t count = learn(b), share = t->count / (operation_count + 3) + 1;
	for (uint64_t i = 0; i < (t->count ? share : 2 * count); i++) {
		uint64_t state = t->count ? draw((uint32_t)(2 * count)) : i;
		if (count == 0 || (t->only != UINT64_MAX && t->only != base + state))
			continue;
		trial_state = base + state;
		starve(b, state / 2 + 1, state % 2);
		trial_state = UINT64_MAX;
	}
}

static void setup(const struct trial *t)
{
	anyway = trial_word(t, "anyway");
	no_abort = trial_word(t, "no-abort");
	no_reserve = trial_word(t, "no-reserve");
	leak = trial_word(t, "leak");
	tell = trial_word(t, "tell");
	meal = shared_memory(sizeof *meal);
	turn_init(&stands);
	turn_init(&go);
	experiment_begin(t);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	bool some = false;
	if (!memory_is_ours) {
		puts("skipped: a sanitizer has the memory");
		return 0;
	}
	setup(&t);
	for (unsigned i = 0; i < operation_count; i++)
		some |= trial_word(&t, operations[i].name);
	for (unsigned i = 0; i < operation_count; i++) {
		struct bite b = { .index = i }, c = { .index = i, .orphaned = true };
		const char *what = operations[i].name;
		if (some && !trial_word(&t, what))
			continue;
		all_of(&b, &t);
		if (strcmp(what, "send") == 0 || strcmp(what, "receive") == 0 || strcmp(what, "list") == 0)
			all_of(&c, &t);
	}
	printf("%llu failed allocations, 0 bad\n", (unsigned long long)failures);
	return 0;
}
