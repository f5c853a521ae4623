/* SPDX-License-Identifier: ISC */
/*
 * Relays: words to wait for, and a thread that turns a change of one into a readable descriptor.
 *
 * A thread can sleep on words or on descriptors, not on both. Whoever waits for descriptors too gets a
 * helper: a thread that sleeps on the words and rings an eventfd. It is made when it is first needed, and
 * then kept.
 *
 * A task is a list of words with the values seen. The helper copies it, sleeps until a word differs from it,
 * rings, once, and sleeps until there is another task. The word task is in each of its sleeps, so a new task
 * ends the old one. Between two waits of its owner an old task is simply left alone: it cannot take a wake-up
 * away from anybody, as each wakes all that sleep on its word, and if it rings late, the owner looks at the
 * words and sleeps on. And nothing is lost: the owner has counted itself among the waiters before it made the
 * list, so a commit that the helper does not find in the values finds the helper asleep (notify.c).
 *
 * The helper takes no signal, allocates nothing, and touches only the relay and the words: a child that was
 * forked, in which it does not exist, finds no lock of the C library held by it.
 *
 * Without futex_waitv (before Linux 5.16) the word that every commit bumps stands for all the words.
 */
#include "relay.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { STACK = 256 * 1024, WORD_SIZE_32 = 2 };

struct waiter {			/* as the kernel takes it: struct futex_waitv */
	uint64_t value, address;
	uint32_t flags, reserved;
};

bool words_changed(const struct word_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (atomic_load(l->words[i].address) != l->words[i].seen)
			return true;
	return false;
}

static int wait_any(const struct word_list *l, struct notify_word *any, int64_t until)
{
	uint32_t seen;
	int rc = 0;
	atomic_fetch_add(&any->waiters, 1);
	seen = atomic_load(&any->sequence);
	if (!words_changed(l))
		rc = notify_wait(&any->sequence, seen, until);
	atomic_fetch_sub(&any->waiters, 1);
	return rc;
}

int words_wait(const struct word_list *l, struct notify_word *any, int64_t until)
{
	struct waiter list[WORDS_MAX];
	struct timespec time = { .tv_sec = until / 1000000000, .tv_nsec = until % 1000000000 };
	for (size_t i = 0; i < l->count; i++) {
		const struct word *w = &l->words[i];
		list[i] = (struct waiter){ w->seen, (uintptr_t)w->address, WORD_SIZE_32, 0 };
	}
	if (syscall(SYS_futex_waitv, list, (unsigned)l->count, 0, &time, CLOCK_MONOTONIC) >= 0)
		return 0;
	if (errno == EAGAIN)	/* one differs */
		return 0;
	/* ENOSYS, EPERM (a container that does not know the call), ENOMEM. */
	return errno == ETIMEDOUT || errno == EINTR ? errno : wait_any(l, any, until);
}

/* ---- the helper ------------------------------------------------------------------------------- */

/* Gets the present task, with its own word in it. False: no more. */
static bool take_task(struct relay *r, struct word_list *list)
{
	bool quit;
	pthread_mutex_lock(&r->lock);
	memcpy(list->words, r->list.words, r->list.count * sizeof *list->words);
	list->count = r->list.count;
	list->words[list->count++] = (struct word){ &r->task, atomic_load(&r->task) };
	quit = r->quit;
	pthread_mutex_unlock(&r->lock);
	return !quit;
}

static void *help(void *relay)
{
	struct relay *r = relay;
	struct word_list list;
	while (take_task(r, &list)) {
		uint32_t task = list.words[list.count - 1].seen;
		while (!words_changed(&list))
			words_wait(&list, r->any, INT64_MAX);
		if (atomic_load(&r->task) != task)
			continue;
		atomic_store(&r->done, task);
		relay_ring(r);
		while (atomic_load(&r->task) == task)
			notify_wait(&r->task, task, INT64_MAX);
	}
	return NULL;
}

/* ---- its owner ------------------------------------------------------------------------------------ */

void relay_init(struct relay *r, struct notify_word *any)
{
	atomic_store(&r->event, -1);
	r->any = any;
	pthread_mutex_init(&r->lock, NULL);
}

static int make_thread(struct relay *r)
{
	sigset_t all, old;
	pthread_attr_t attributes;
	int rc = pthread_attr_init(&attributes);
	if (rc != 0)
		return rc;
	pthread_attr_setstacksize(&attributes, STACK);
	signals_from_outside(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&r->thread, &attributes, help, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	r->running = rc == 0;
	return rc;
}

static void set_task(struct relay *r, const struct word *words, size_t count, bool quit)
{
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < count; i++)
		r->list.words[i] = words[i];
	r->list.count = count;
	r->quit = quit;
	atomic_fetch_add(&r->task, 1);
	pthread_mutex_unlock(&r->lock);
	if (r->running)
		syscall(SYS_futex, &r->task, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Only its owner writes a task, so he reads it without the lock. */
static bool at_work(const struct relay *r, const struct word *words, size_t count)
{
	if (!r->running || r->list.count != count || atomic_load(&r->done) == atomic_load(&r->task))
		return false;
	for (size_t i = 0; i < count; i++)
		if (r->list.words[i].address != words[i].address || r->list.words[i].seen != words[i].seen)
			return false;
	return true;
}

int relay_start(struct relay *r, const struct word *words, size_t count)
{
	if (at_work(r, words, count))
		return 0;
	if (atomic_load(&r->event) < 0) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0)
			return errno;
		atomic_store(&r->event, fd);
	}
	set_task(r, words, count, false);
	return r->running ? 0 : make_thread(r);
}

void relay_drain(struct relay *r)
{
	uint64_t count;
	(void)!read(atomic_load(&r->event), &count, sizeof count);
}

void relay_ring(struct relay *r)
{
	uint64_t one = 1;
	int fd = atomic_load(&r->event);
	if (fd >= 0)
		(void)!write(fd, &one, sizeof one);
}

void relay_close(struct relay *r)
{
	if (r->running) {
		set_task(r, NULL, 0, true);
		/* Where it does not sleep on its task, but on this. */
		notify_wake(r->any);
		pthread_join(r->thread, NULL);
	}
	if (atomic_load(&r->event) >= 0)
		close(atomic_load(&r->event));
	pthread_mutex_destroy(&r->lock);
}
