/* SPDX-License-Identifier: ISC */
/*
 * A sender that waits for room in a queue.
 *
 * It takes a number in the roster, under a descriptor of its own: only the first living one of a queue finds room
 * there (limit.c), so that those who came later, waiting or not, do not take it away from it. The roster gives the
 * place up with the process. Whoever settles, and whoever gives his place up, bumps the queue's word.
 *
 * A partial writer stores what there is room for each time; where the messages lie is gathered over the rounds.
 */
#include "write/writer.h"

#include <unistd.h>

struct spot {			/* in the line for one channel */
	lmq_channel channel;	/* only its number counts; 0: none was taken */
	int fd, slot;
};

struct rounds {			/* what several commits stored */
	struct place *places;
	size_t count;
};

static int spot_take(lmq_writer *w, lmq_watch *watch, struct spot *p)
{
	uint32_t id = w->store->full_id;
	int rc;
	p->channel = (lmq_channel){ .store = w->store, .id = id, .name = "a full channel" };
	rc = lmq_watch_channel(watch, &p->channel);
	if (rc == 0 && (rc = lease_open(w->store, &p->fd)) != 0)
		lmq_watch_forget(watch, &p->channel);
	if (rc != 0) {
		p->channel.id = 0;
		return rc;
	}
	p->slot = roster_join(w->store, p->fd, ROSTER_SENDER, id, "");
	w->ticket = roster_ticket(w->store, p->slot);
	w->ticket_id = id;
	return 0;
}

/* The next in the line is woken, who has not been let in before. */
static void spot_leave(lmq_writer *w, lmq_watch *watch, struct spot *p)
{
	if (p->channel.id == 0)
		return;
	lmq_watch_forget(watch, &p->channel);
	roster_leave(w->store, p->fd, p->slot);
	close(p->fd);
	w->ticket = 0;
	notify_wake(notify_channel(w->store, p->channel.id));
	notify_wake(&w->store->control->any);
	p->channel.id = 0;
}

/* Room for all positions there may be, so that none is lost later. */
static int rounds_open(lmq_writer *w, struct rounds *r)
{
	*r = (struct rounds){ .count = 0 };
	if (!w->partial)
		return 0;
	r->places = malloc((w->committed + w->count) * sizeof *r->places);
	return r->places ? 0 : writer_no_memory(w);
}

static void rounds_add(const lmq_writer *w, struct rounds *r)
{
	uint32_t partition;
	uint64_t offset;
	for (size_t i = 0; r->places && i < w->committed; i++)
		if (lmq_writer_position(w, i, &partition, &offset))
			r->places[r->count++] = (struct place){ offset, (uint16_t)partition };
}

/* The writer gets all of it, as if it had been one commit. */
static void rounds_close(lmq_writer *w, struct rounds *r)
{
	if (!r->places)
		return;
	w->kept = r->places;
	w->committed = r->count;
}

static bool blocked(const lmq_writer *w, int rc)
{
	return rc == LMQ_EFULL && w->store->queue_full;
}

/* The queue is full: waits for a change. LMQ_EFULL, with the sentence that there is: the deadline has passed. */
static int wait_change(lmq_writer *w, lmq_watch *watch, int64_t deadline)
{
	struct error full = w->store->error;
	int rc = lmq_watch_wait(watch, deadline);
	if (rc != LMQ_ETIME)
		return rc;
	w->store->error = full;
	return LMQ_EFULL;
}

/* Commits until there is no need to wait, or no time. */
static int wait_room(lmq_writer *w, lmq_watch *watch, int64_t deadline, struct rounds *r)
{
	struct spot p = { .slot = -1 };
	int rc = 0;
	while (rc == 0) {
		if (p.channel.id != w->store->full_id) {
			spot_leave(w, watch, &p);
			rc = spot_take(w, watch, &p);
			if (rc != 0)
				break;
		}
		lmq_watch_arm(watch);
		rc = lmq_writer_commit(w);
		rounds_add(w, r);
		if (!blocked(w, rc))
			break;
		/* In the line for another queue than the one that is full now: first into that one. */
		rc = p.channel.id == w->store->full_id ? wait_change(w, watch, deadline) : 0;
	}
	spot_leave(w, watch, &p);
	return rc;
}

int lmq_writer_commit_wait(lmq_writer *w, lmq_watch *watch, int64_t deadline)
{
	struct rounds r;
	int rc = lmq_writer_commit(w);
	if (!blocked(w, rc))
		return rc;
	rc = rounds_open(w, &r);
	if (rc != 0)
		return rc;
	rounds_add(w, &r);
	rc = wait_room(w, watch, deadline, &r);
	rounds_close(w, &r);
	return rc;
}
