/* SPDX-License-Identifier: ISC */
/*
 * Waiting on several words at once (notify.c says why no wake-up is lost).
 *
 * futex_waitv takes up to 128 words; where there are more channels than that, or the kernel has no futex_waitv,
 * the word that every commit bumps stands for all. A word of the watch's own lets a signal handler end
 * the wait. Before sleeping all reader slots of the store are given back.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { WORDS_MAX = 128, CHECK_EVERY = 1000000000 };

struct waiter {			/* as the kernel takes it: struct futex_waitv */
	uint64_t value, address;
	uint32_t flags, reserved;
};

struct lmq_watch {
	lmq_store *store;
	lmq_channel **channels;
	size_t count, room;
	bool catalogue;
	bool armed;
	_Atomic uint32_t interrupted;	/* bumped by a signal handler */
	uint32_t interrupted_seen;
	struct notify_word *words[WORDS_MAX];
	uint32_t seen[WORDS_MAX];
	size_t word_count;
};

int lmq_watch_open(lmq_store *s, lmq_watch **watch)
{
	*watch = calloc(1, sizeof **watch);
	if (!*watch)
		return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	(*watch)->store = s;
	return 0;
}

static void disarm(lmq_watch *w)
{
	for (size_t i = 0; w->armed && i < w->word_count; i++)
		atomic_fetch_sub(&w->words[i]->waiters, 1);
	w->armed = false;
}

void lmq_watch_close(lmq_watch *w)
{
	if (!w)
		return;
	disarm(w);
	free(w->channels);
	free(w);
}

int lmq_watch_channel(lmq_watch *w, lmq_channel *c)
{
	if (w->count == w->room) {
		size_t room = w->room ? 2 * w->room : 4;
		lmq_channel **more = realloc(w->channels, room * sizeof *more);
		if (!more)
			return fail(w->store, LMQ_ENOMEM, "%s: out of memory", c->name);
		w->channels = more;
		w->room = room;
	}
	w->channels[w->count++] = c;
	return 0;
}

void lmq_watch_forget(lmq_watch *w, const lmq_channel *c)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->channels[i] == c) {
			w->channels[i] = w->channels[--w->count];
			return;
		}
}

void lmq_watch_catalogue(lmq_watch *w)
{
	w->catalogue = true;
}

static void gather(lmq_watch *w)
{
	struct control *c = w->store->control;
	w->word_count = 0;
	if (w->count + 2 > WORDS_MAX) {
		w->words[w->word_count++] = &c->any;
		return;
	}
	if (w->catalogue)
		w->words[w->word_count++] = &c->catalogue;
	for (size_t i = 0; i < w->count; i++)
		w->words[w->word_count++] = notify_channel(w->store, w->channels[i]->id);
}

void lmq_watch_arm(lmq_watch *w)
{
	disarm(w);
	gather(w);
	for (size_t i = 0; i < w->word_count; i++) {
		atomic_fetch_add(&w->words[i]->waiters, 1);
		w->seen[i] = atomic_load(&w->words[i]->sequence);
	}
	w->armed = true;
}

static int wait_many(lmq_watch *w, int64_t until)
{
	struct waiter list[WORDS_MAX];
	struct timespec time = { .tv_sec = until / 1000000000, .tv_nsec = until % 1000000000 };
	size_t n = 0;
	list[n++] = (struct waiter){ w->interrupted_seen, (uintptr_t)&w->interrupted, 2, 0 };
	for (size_t i = 0; i < w->word_count; i++)
		list[n++] = (struct waiter){ w->seen[i], (uintptr_t)&w->words[i]->sequence, 2, 0 };
	return syscall(SYS_futex_waitv, list, (unsigned)n, 0, &time, CLOCK_MONOTONIC) >= 0 ? 0 : errno;
}

/* A kernel before 5.16: the one word that says everything, so that at least one futex call does. */
static int wait_any(lmq_watch *w, int64_t until)
{
	struct notify_word *any = &w->store->control->any;
	uint32_t seen;
	int rc = 0;
	atomic_fetch_add(&any->waiters, 1);
	seen = atomic_load(&any->sequence);
	for (size_t i = 0; i < w->word_count; i++)
		if (atomic_load(&w->words[i]->sequence) != w->seen[i])
			goto out;
	rc = notify_wait(&any->sequence, seen, until);
out:
	atomic_fetch_sub(&any->waiters, 1);
	return rc;
}

int lmq_watch_wait(lmq_watch *w, int64_t deadline)
{
	int64_t now = clock_monotonic(), until = now + CHECK_EVERY;
	int rc;
	if (!w->armed)
		return fail(w->store, LMQ_EINVAL, "%s: a wait without lmq_watch_arm", w->store->path);
	if (deadline < until)
		until = deadline;
	snapshot_drop_all(w->store);
	rc = deadline > now ? wait_many(w, until) : 0;
	if (rc == ENOSYS || rc == EPERM)	/* EPERM: a container that does not know the call */
		rc = wait_any(w, until);
	disarm(w);
	if (atomic_load(&w->interrupted) != w->interrupted_seen) {
		w->interrupted_seen = atomic_load(&w->interrupted);
		return LMQ_EINTR;
	}
	if (rc == EINTR)
		return LMQ_EINTR;
	if (clock_monotonic() >= deadline)
		return LMQ_ETIME;
	/* Somebody may wait for everybody to close the environment (F4). */
	return w->store->generation == atomic_load(&w->store->control->generation) ? 0 : store_ready(w->store);
}

void lmq_watch_interrupt(lmq_watch *w)
{
	atomic_fetch_add(&w->interrupted, 1);
	syscall(SYS_futex, &w->interrupted, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0);
}
