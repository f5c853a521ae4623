/* SPDX-License-Identifier: ISC */
/*
 * Wake-ups: futex words in the control page.
 *
 * Why none is lost: a waiter adds itself to waiters, reads sequence, looks into the log, and sleeps only if
 * sequence still has the value read. A committer commits, bumps sequence, then reads waiters. If the commit
 * came after the look, the bump came after the read of sequence: either it came before the sleep, and the
 * kernel refuses to sleep on the changed word, or after, and then the committer sees the waiter, who was
 * counted before, and wakes it. All of these accesses are sequentially consistent.
 *
 * A committer killed between commit and bump leaves a waiter asleep: every sleep is cut after one second.
 * A waiter killed in its sleep leaves waiters too high: from then on a commit costs a futex call that
 * wakes nobody. Channels share words when there are more than NOTIFY_WORDS: a wake-up too many.
 */
#include "store.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void notify_wake(struct notify_word *word)
{
	atomic_fetch_add(&word->sequence, 1);
	if (atomic_load(&word->waiters) != 0)
		syscall(SYS_futex, &word->sequence, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

struct notify_word *notify_channel(lmq_store *s, uint32_t id)
{
	return &s->control->channel[id % NOTIFY_WORDS];
}

void notify_everybody(lmq_store *s)
{
	notify_wake(&s->control->catalogue);
	notify_wake(&s->control->writer);
	notify_wake(&s->control->any);
	for (unsigned i = 0; i < NOTIFY_WORDS; i++)
		notify_wake(&s->control->channel[i]);
}

int notify_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline)
{
	struct timespec until = { .tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000 };
	/* FUTEX_WAIT_BITSET takes an absolute time on the monotonic clock; plain FUTEX_WAIT a span. */
	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return errno == EAGAIN ? 0 : errno;
}
