/* SPDX-License-Identifier: ISC */
/*
 * Waiting for several things at once: commits, due times, deaths, descriptors.
 *
 * Commits are words in the control page (notify.c says why no wake-up is lost). futex_waitv takes up to 128
 * words; where there are more channels than that, the word that every commit bumps stands for all. A word of
 * the watch's own lets a signal handler end the wait. Before sleeping all reader slots of the store are given
 * back.
 *
 * With nothing but words to wait for this thread sleeps on them itself: the shortest way there is. As soon as
 * there are descriptors too, the caller's or those of processes whose death matters (vigil.c), it sleeps in
 * poll, and a helper on the words (relay.c).
 *
 * A message becomes due by the wall clock, which may be set. So its time is taken anew at each wait, and no
 * wait is longer than CHECK_EVERY. That also bounds what the death of a committer between commit and wake-up
 * costs.
 */
#include "receive/receiver.h"
#include "relay.h"
#include "vigil.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CHECK_EVERY = 1000000000, WITHOUT_HELPER = 10000000 };	/* ns */

struct taker {			/* a receiver that is watched */
	lmq_receiver *receiver;
	struct vigil vigil;
	size_t polled;		/* descriptors of the vigil in the present poll */
	int64_t due_spent;	/* this due time, now past, has ended a wait */
};

struct lmq_watch {
	lmq_store *store;
	lmq_channel **channels;
	size_t count, room;
	struct taker *takers;
	size_t taker_count, taker_room;
	bool catalogue;
	bool armed;
	_Atomic uint32_t interrupted;	/* bumped by a signal handler */
	uint32_t interrupted_seen;
	struct notify_word *notify[WORDS_MAX];	/* we are counted among the waiters of these while armed */
	size_t notify_count;
	struct word_list list;		/* the word interrupted, then those of notify */
	struct relay relay;
	struct pollfd *fds;		/* the caller's, those of the vigils, the relay's */
	size_t fd_room;
};

int lmq_watch_open(lmq_store *s, lmq_watch **watch)
{
	*watch = calloc(1, sizeof **watch);
	if (!*watch)
		return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	(*watch)->store = s;
	relay_init(&(*watch)->relay, &s->control->any);
	return 0;
}

static void disarm(lmq_watch *w)
{
	for (size_t i = 0; w->armed && i < w->notify_count; i++)
		atomic_fetch_sub(&w->notify[i]->waiters, 1);
	w->armed = false;
}

void lmq_watch_close(lmq_watch *w)
{
	if (!w)
		return;
	if (w->store->pid == getpid()) {
		relay_close(&w->relay);
		lmq_watch_receiver(w, NULL);
		disarm(w);
	}
	free(w->takers);
	free(w->fds);
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

void lmq_watch_dismiss(lmq_watch *w, const lmq_receiver *r)
{
	for (size_t i = 0; i < w->taker_count; i++)
		if (w->takers[i].receiver == r) {
			vigil_close(&w->takers[i].vigil);
			w->takers[i] = w->takers[--w->taker_count];
			return;
		}
}

int lmq_watch_receiver(lmq_watch *w, lmq_receiver *r)
{
	if (!r) {
		while (w->taker_count > 0)
			vigil_close(&w->takers[--w->taker_count].vigil);
		return 0;
	}
	lmq_watch_dismiss(w, r);
	if (w->taker_count == w->taker_room) {
		size_t room = w->taker_room ? 2 * w->taker_room : 2;
		struct taker *more = realloc(w->takers, room * sizeof *more);
		if (!more)
			return fail(w->store, LMQ_ENOMEM, "%s: out of memory", receiver_channel(r)->name);
		w->takers = more;
		w->taker_room = room;
	}
	w->takers[w->taker_count++] = (struct taker){ .receiver = r, .due_spent = INT64_MAX };
	return 0;
}

void lmq_watch_catalogue(lmq_watch *w)
{
	w->catalogue = true;
}

static void gather(lmq_watch *w)
{
	struct control *c = w->store->control;
	w->notify_count = 0;
	if (w->count + w->taker_count + 2 > WORDS_MAX) {
		w->notify[w->notify_count++] = &c->any;
		return;
	}
	if (w->catalogue)
		w->notify[w->notify_count++] = &c->catalogue;
	for (size_t i = 0; i < w->taker_count; i++)
		w->notify[w->notify_count++] = notify_channel(w->store, receiver_channel(w->takers[i].receiver)->id);
	for (size_t i = 0; i < w->count; i++)
		w->notify[w->notify_count++] = notify_channel(w->store, w->channels[i]->id);
}

void lmq_watch_arm(lmq_watch *w)
{
	disarm(w);
	gather(w);
	w->list.words[0] = (struct word){ &w->interrupted, w->interrupted_seen };
	w->list.count = 1;
	for (size_t i = 0; i < w->notify_count; i++) {
		atomic_fetch_add(&w->notify[i]->waiters, 1);
		w->list.words[w->list.count++] = (struct word){ &w->notify[i]->sequence,
			atomic_load(&w->notify[i]->sequence) };
	}
	w->armed = true;
}

/* ---- sleeping --------------------------------------------------------------------------------- */

static bool fds_ready(const struct pollfd *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i].revents != 0)
			return true;
	return false;
}

/* Until until, or a descriptor is ready; 0 or an errno. */
static int poll_until(struct pollfd *fds, size_t count, int64_t until)
{
	int64_t left = until - clock_monotonic();
	struct timespec span = { 0 };
	if (left > 0)
		span = (struct timespec){ .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
	return ppoll(fds, (nfds_t)count, &span, NULL) >= 0 ? 0 : errno;
}

/* What is to be polled for those who might die; and after the poll. True: somebody left messages to others. */
static size_t vigils_poll(lmq_watch *w, struct pollfd *fds)
{
	size_t count = 0;
	for (size_t i = 0; i < w->taker_count; i++) {
		struct taker *k = &w->takers[i];
		count += k->polled = vigil_poll(&k->vigil, fds + count);
	}
	return count;
}

static bool vigils_polled(lmq_watch *w, const struct pollfd *fds)
{
	bool left = false;
	for (size_t i = 0; i < w->taker_count; fds += w->takers[i++].polled)
		left |= vigil_polled(&w->takers[i].vigil, w->store, fds, w->takers[i].polled);
	return left;
}

/* 0: something happened; ETIMEDOUT: nothing that we know of, as yet; or an errno. */
static int sleep_polling(lmq_watch *w, struct pollfd *fds, size_t count, size_t dying, int64_t until)
{
	struct pollfd *relay = w->fds + count + dying;
	bool left;
	int rc;
	*relay = (struct pollfd){ w->relay.event, POLLIN, 0 };
	for (size_t i = 0; i < count; i++)
		w->fds[i] = fds[i];
	rc = poll_until(w->fds, count + dying + 1, until);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < count; i++)
		fds[i].revents = w->fds[i].revents;
	if (relay->revents != 0)
		relay_drain(&w->relay);
	left = vigils_polled(w, w->fds + count);
	return left || fds_ready(fds, count) || words_changed(&w->list) ? 0 : ETIMEDOUT;
}

static bool fds_room(lmq_watch *w, size_t count)
{
	struct pollfd *more;
	if (count <= w->fd_room)
		return true;
	more = realloc(w->fds, count * sizeof *more);
	if (!more)
		return false;
	w->fds = more;
	w->fd_room = count;
	return true;
}

/* One sleep, as long as nothing new is to be polled. As sleep_polling. */
static int sleep_once(lmq_watch *w, struct pollfd *fds, size_t count, int64_t until)
{
	size_t dying;
	for (size_t i = 0; i < w->taker_count; i++)
		until = vigil_until(&w->takers[i].vigil, until);
	if (!fds_room(w, count + w->taker_count * VIGIL_MAX + 1))
		return count > 0 ? ENOMEM : words_wait(&w->list, w->relay.any, until);
	dying = vigils_poll(w, w->fds + count);
	if (count + dying == 0)
		return words_wait(&w->list, w->relay.any, until);
	if (clock_monotonic() < until && relay_start(&w->relay, w->list.words + 1, w->list.count - 1) != 0) {
		/* No thread to be had: deaths are noticed late, but the caller's descriptors are not. */
		int64_t soon = clock_monotonic() + WITHOUT_HELPER;
		if (count == 0)
			return words_wait(&w->list, w->relay.any, until);
		until = soon < until ? soon : until;
	}
	/* An interrupt that came before there was a relay to ring. */
	if (words_changed(&w->list))
		return 0;
	return sleep_polling(w, fds, count, dying, until);
}

static bool vigils_again(lmq_watch *w)
{
	bool left = false;
	for (size_t i = 0; i < w->taker_count; i++)
		left |= vigil_again(&w->takers[i].vigil, w->store);
	return left;
}

/* 0: something happened, or until has come; or an errno. */
static int sleep_until(lmq_watch *w, struct pollfd *fds, size_t count, int64_t until)
{
	int rc;
	for (size_t i = 0; i < w->taker_count; i++)
		if (vigil_look(&w->takers[i].vigil, w->store, receiver_space(w->takers[i].receiver)))
			until = 0;
	if (words_changed(&w->list))
		until = 0;
	do {
		if (count == 0 && clock_monotonic() >= until)
			return 0;
		rc = sleep_once(w, fds, count, until);
	} while (rc == ETIMEDOUT && !vigils_again(w) && clock_monotonic() < until);
	return rc == ETIMEDOUT ? 0 : rc;
}

/*
 * When the receiver's next message becomes due, on the monotonic clock. The wall clock is read first, so this
 * is rather too late than too early. A time that is past ends one wait: if the message is still there after
 * the next claim, it is not its time that it waits for.
 */
static int64_t due_time(struct taker *k)
{
	int64_t due = receiver_due(k->receiver);
	int64_t wall = lmq_now(), now = clock_monotonic();
	if (due > wall)
		return due - wall < CHECK_EVERY ? now + (due - wall) : INT64_MAX;
	if (due == k->due_spent)
		return INT64_MAX;
	k->due_spent = due;
	return 0;
}

/* Whoever waits for other things than messages must not keep partitions that are others' by now. */
static void stir(lmq_watch *w)
{
	for (size_t i = 0; i < w->taker_count; i++)
		receiver_stir(w->takers[i].receiver);
}

int lmq_watch_poll(lmq_watch *w, struct pollfd *fds, size_t count, int64_t deadline)
{
	int64_t until = clock_monotonic() + CHECK_EVERY;
	int rc;
	if (!w->armed)
		return fail(w->store, LMQ_EINVAL, "%s: a wait without lmq_watch_arm", w->store->path);
	for (size_t i = 0; i < count; i++)
		fds[i].revents = 0;
	for (size_t i = 0; i < w->taker_count; i++) {
		int64_t due = due_time(&w->takers[i]);
		until = due < until ? due : until;
	}
	if (deadline < until)
		until = deadline;
	snapshot_drop_all(w->store);
	rc = sleep_until(w, fds, count, until);
	disarm(w);
	stir(w);
	if (atomic_load(&w->interrupted) != w->interrupted_seen) {
		w->interrupted_seen = atomic_load(&w->interrupted);
		return LMQ_EINTR;
	}
	if (rc == EINTR)
		return LMQ_EINTR;
	if (rc != 0)
		return fail_errno(w->store, w->store->path, rc);
	if (!fds_ready(fds, count) && clock_monotonic() >= deadline)
		return LMQ_ETIME;
	/* Somebody may wait for everybody to close the environment (F4). */
	if (w->store->generation != atomic_load(&w->store->control->generation))
		return store_ready(w->store);
	return 0;
}

int lmq_watch_wait(lmq_watch *w, int64_t deadline)
{
	return lmq_watch_poll(w, NULL, 0, deadline);
}

void lmq_watch_interrupt(lmq_watch *w)
{
	atomic_fetch_add(&w->interrupted, 1);
	syscall(SYS_futex, &w->interrupted, FUTEX_WAKE, 1, NULL, NULL, 0);
	relay_ring(&w->relay);
}
