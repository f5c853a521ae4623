/* SPDX-License-Identifier: ISC */
/*
 * Vigils: waiting for the death of those who hold what we wait for.
 *
 * The dead bump no word. So before it sleeps a watch looks into the roster: who holds messages of its queue?
 * Each of them gets a pidfd, which becomes readable when that process ends, after its locks are gone. The
 * descriptors are kept as long as these receivers stay in the roster, so that a wait costs a walk over shared
 * memory and no system call.
 *
 * Why no death is missed: a receiver says that it holds something before it locks the first message. We
 * claimed in vain, so we saw its lock, so we see its slot. If it dies after our pidfd was made, the pidfd
 * tells. If it died before, its slot's lock, which we ask for only after the pidfd was made, is gone: then
 * the wait ends at once, and the same dead one is not looked at again. And as that lock was still held while
 * we had the pidfd, the pidfd is not that of a later process with the same pid. Who vanished from the roster
 * while it held something may have died, and others may have cleared its slot away: that too ends the wait,
 * once.
 *
 * A child that a process starts has its open descriptions, and so its locks, until it calls exec. If such a
 * child outlives the process, the pidfd tells of a death that has given nothing back yet: then the slot's
 * lock is looked at every few milliseconds, for a short while. After that, as after any death that could not
 * be watched (no pidfds, no descriptors left, more than VIGIL_MAX receivers), the regular look once a second
 * has to do.
 */
#include "vigil.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum { LINGER = 100000000, LINGER_STEP = 5000000 };	/* ns */

static void release(struct vigil *v, struct vigil_mark *m)
{
	if (m->fd < 0)
		return;
	close(m->fd);
	m->fd = -1;
	v->open--;
}

/* The process has ended. Whether its messages are free. */
static bool buried(struct vigil *v, lmq_store *s, struct vigil_mark *m)
{
	release(v, m);
	m->dead = !roster_alive(s, m->who.slot);
	m->linger = m->dead ? 0 : clock_monotonic() + LINGER;
	return m->dead;
}

/* Begins to watch over a receiver that was not known before. Whether it has died. */
static bool meet(struct vigil *v, lmq_store *s, struct vigil_mark *m, const struct roster_mark *who)
{
	int fd = v->open < VIGIL_MAX ? (int)syscall(SYS_pidfd_open, who->pid, 0) : -1;
	bool ended = fd < 0 && v->open < VIGIL_MAX && errno == ESRCH;
	*m = (struct vigil_mark){ .who = *who, .fd = fd };
	v->open += fd >= 0;
	if (ended)
		return buried(v, s, m);
	m->dead = !roster_alive(s, who->slot);
	if (m->dead)
		release(v, m);
	return m->dead;
}

/*
 * One that holds nothing now, but stays, keeps its pidfd as long as there are enough. Otherwise it is
 * forgotten: true if it may have died with something in its hands.
 */
static bool lapse(struct vigil *v, lmq_store *s, struct vigil_mark *m, size_t *count)
{
	bool stays = roster_stays(s, &m->who), left = m->holding && !m->dead && !stays;
	bool in_order = *count == 0 || v->spare[*count - 1].who.slot < m->who.slot;
	m->holding = false;
	if (stays && in_order && m->fd >= 0 && v->open <= VIGIL_MAX / 2)
		v->spare[(*count)++] = *m;
	else
		release(v, m);
	return left;
}

static bool ready(struct vigil *v)
{
	if (!v->marks)
		v->marks = malloc(ROSTER_SLOTS * sizeof *v->marks);
	if (!v->spare)
		v->spare = malloc(ROSTER_SLOTS * sizeof *v->spare);
	return v->marks && v->spare;
}

/* Both lists are in the order of slots, none of which is in one twice. */
bool vigil_look(struct vigil *v, lmq_store *s, uint32_t space)
{
	struct vigil_mark *old, *end, *spare;
	struct roster_mark who;
	size_t count = 0;
	bool left = false;
	if (v->count == 0 && (!roster_next(s, space, 0, &who) || !ready(v)))
		return false;
	old = v->marks;
	end = old + v->count;
	for (int slot = 0; roster_next(s, space, slot, &who); slot = who.slot + 1) {
		for (; old < end && old->who.slot < who.slot; old++)
			left |= lapse(v, s, old, &count);
		if (old < end && old->who.slot == who.slot && old->who.ticket == who.ticket)
			v->spare[count] = *old++;
		else
			left |= meet(v, s, &v->spare[count], &who);
		v->spare[count++].holding = true;
	}
	for (; old < end; old++)
		left |= lapse(v, s, old, &count);
	spare = v->spare;
	v->spare = v->marks;
	v->marks = spare;
	v->count = count;
	return left;
}

static bool watched(const struct vigil_mark *m)
{
	return m->holding && m->fd >= 0;
}

size_t vigil_poll(const struct vigil *v, struct pollfd *fds)
{
	size_t n = 0;
	for (size_t i = 0; i < v->count; i++)
		if (watched(&v->marks[i]))
			fds[n++] = (struct pollfd){ v->marks[i].fd, POLLIN, 0 };
	return n;
}

bool vigil_polled(struct vigil *v, lmq_store *s, const struct pollfd *fds, size_t count)
{
	bool left = false;
	size_t n = 0;
	for (size_t i = 0; i < v->count && n < count; i++)
		if (watched(&v->marks[i]) && fds[n++].revents != 0)
			left |= buried(v, s, &v->marks[i]);
	return left;
}

int64_t vigil_until(const struct vigil *v, int64_t until)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->marks[i].linger != 0) {
			int64_t step = clock_monotonic() + LINGER_STEP;
			return step < until ? step : until;
		}
	return until;
}

bool vigil_again(struct vigil *v, lmq_store *s)
{
	bool left = false;
	for (size_t i = 0; i < v->count; i++) {
		struct vigil_mark *m = &v->marks[i];
		if (m->linger == 0)
			continue;
		m->dead = !roster_alive(s, m->who.slot);
		left |= m->dead;
		if (m->dead || clock_monotonic() >= m->linger)
			m->linger = 0;
	}
	return left;
}

void vigil_close(struct vigil *v)
{
	for (size_t i = 0; i < v->count; i++)
		release(v, &v->marks[i]);
	free(v->marks);
	free(v->spare);
	*v = (struct vigil){ 0 };
}
