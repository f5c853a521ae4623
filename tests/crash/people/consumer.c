/* SPDX-License-Identifier: ISC */
#include "consumer.h"

#include <string.h>

enum { CLAIM = 4, LAST_CLAIM = 64, LARGE_CLAIM = 1 << 20, SHORT_LEASE = 20 * MS, FINISH = 20 };

struct hand {			/* what a claim gave */
	struct entry e[LAST_CLAIM];
	size_t count;
};

/* Notes the messages of a claim as delivered. Some of them another one may have settled in the last instant of its life. */
static int deliver(lmq_receiver *r, enum where p, struct hand *h, size_t count)
{
	struct lmq_message m;
	int rc = 0;
	me.claims++;
	for (h->count = 0; h->count < count && (rc = lmq_receiver_next(r, &m)) == 0; h->count++) {
		struct entry *e = &h->e[h->count];
		*e = entry_at(p, 0);
		e->lane = (uint16_t)m.partition;
		e->offset = m.offset;
		e->number = m.delivery;
		e->batch = me.claims;
		e->key = m.key.data ? (uint32_t)strtoul(m.key.data + 1, NULL, 10) : 0;
		rc = gather_body(&m, NULL, r);
		if (rc != 0)
			break;
		e->id = ledger_read(me.body, m.body.size);
		need(e->id, "%s:%llu: not a message that was sent", layout[p].name, (unsigned long long)m.offset);
		e->value = ledger_hash(me.body, m.body.size);
		ledger_note(ledger, NOTE_DELIVERED, e);
		if (draw(3) == 0)
			lmq_receiver_pause(r);
	}
	return rc == LMQ_END ? 0 : rc;
}

static void note_all(const struct hand *h, enum note note)
{
	for (size_t i = 0; i < h->count; i++)
		ledger_note(ledger, note, &h->e[i]);
}

static int settle(lmq_receiver *r, struct hand *h)
{
	int rc = 0;
	note_all(h, NOTE_SETTLING);
	if (!lazy)
		rc = lmq_receiver_settle(r, h->count, LMQ_SYNC_FULL);
	if (rc == 0 && !lazy)
		atomic_fetch_add(&stage->commits, 1);
	note_all(h, rc == 0 ? NOTE_SETTLED : NOTE_DOUBTFUL);
	return rc;
}

/* Some are acknowledged, some fail. */
static int conclude(lmq_receiver *r, struct hand *h)
{
	struct lmq_verdict v[CLAIM] = { 0 };
	int rc;
	for (size_t i = 0; i < h->count; i++) {
		v[i] = (struct lmq_verdict){ .partition = h->e[i].lane, .offset = h->e[i].offset, .count = 1,
			.outcome = draw(3) ? LMQ_ACKNOWLEDGE : draw(2) ? LMQ_RETRY : LMQ_RETURN, .exit_status = -1 };
		ledger_note(ledger, v[i].outcome == LMQ_ACKNOWLEDGE ? NOTE_SETTLING : NOTE_RETURNING, &h->e[i]);
	}
	rc = lmq_receiver_conclude(r, v, h->count, NULL, LMQ_SYNC_RELAXED);
	for (size_t i = 0; i < h->count; i++)
		if (v[i].outcome == LMQ_ACKNOWLEDGE)
			ledger_note(ledger, rc == 0 ? NOTE_SETTLED : NOTE_DOUBTFUL, &h->e[i]);
	return rc;
}

static int lease(lmq_receiver *r, struct hand *h)
{
	uint64_t until = (uint64_t)(clock_monotonic() + SHORT_LEASE);
	int rc;
	for (size_t i = 0; i < h->count; i++) {
		h->e[i].value = until;
		ledger_note(ledger, NOTE_LEASING, &h->e[i]);
	}
	rc = lmq_receiver_lease(r, SHORT_LEASE, LMQ_SYNC_FULL);
	if (rc == 0)
		note_all(h, NOTE_LEASED);
	return rc;
}

/* Half of the leases are acknowledged; the others run out. */
static int settle_leases(enum where p, struct hand *h)
{
	struct lmq_lease l[CLAIM];
	int rc;
	h->count = (h->count + 1) / 2;
	for (size_t i = 0; i < h->count; i++)
		l[i] = (struct lmq_lease){ .channel = layout[p].name, .group = layout[p].group, .partition = h->e[i].lane,
			.offset = h->e[i].offset, .attempt = h->e[i].number, .outcome = LMQ_ACKNOWLEDGE };
	note_all(h, NOTE_SETTLING);
	rc = lmq_store_settle(me.store, l, h->count, LMQ_SYNC_FULL);
	for (size_t i = 0; i < h->count; i++)
		ledger_note(ledger, rc != 0 ? NOTE_DOUBTFUL : l[i].status == 0 ? NOTE_SETTLED : NOTE_LOST, &h->e[i]);
	return rc;
}

static int move(lmq_receiver *r, enum where p, struct hand *h)
{
	size_t moved;
	int rc = place_open(OTHER);
	if (rc != 0 || p != JOBS)
		return rc != 0 ? rc : settle(r, h);
	note_all(h, NOTE_MOVING);
	rc = lmq_receiver_move(r, h->count, me.channel[OTHER], 0, LMQ_SYNC_FULL, &moved);
	if (rc == 0)
		lmq_receiver_release(r);
	return rc;
}

static int handle(lmq_receiver *r, enum where p, enum kind kind, struct hand *h)
{
	uint32_t how = draw(16);
	if (h->count == 0)
		return 0;
	if (kind == MOVER)
		return move(r, p, h);
	if (kind == LEASER) {
		int rc = lease(r, h);
		return rc == 0 ? settle_leases(p, h) : rc;
	}
	if (how == 0) {
		note_all(h, NOTE_RETURNING);
		lmq_receiver_release(r);
		return 0;
	}
	return how < 3 ? conclude(r, h) : settle(r, h);
}

static int receive(lmq_receiver *r, enum where p, enum kind kind)
{
	struct hand h;
	size_t count;
	int rc = lmq_receiver_claim(r, 1 + draw(CLAIM), LARGE_CLAIM, &count);
	if (rc == 0)
		rc = deliver(r, p, &h, count);
	return rc == 0 ? handle(r, p, kind, &h) : rc;
}

static int receiver_for(enum where p, lmq_receiver **r)
{
	struct lmq_receiver_options o = { .size = sizeof o, .group = layout[p].group };
	int rc = place_open(p);
	return rc == 0 ? lmq_receiver_open(me.channel[p], &o, r) : rc;
}

/* Waits for more, a little while. */
static int wait_for(lmq_watch *w, lmq_receiver *r, enum where p, enum kind kind)
{
	int rc;
	lmq_watch_arm(w);
	rc = receive(r, p, kind);
	if (rc != LMQ_END)
		return rc;
	rc = lmq_watch_wait(w, lmq_deadline(draw(50) * (int64_t)MS));
	atomic_fetch_add(&stage->wakes, 1);
	return rc == LMQ_ETIME || rc == LMQ_EINTR ? 0 : rc;
}

static enum where some_source(enum kind kind)
{
	static const uint8_t places[] = { JOBS, JOBS, OTHER, KEYS, ONCE, EVENTS, LANES, LANES, PASSING };
	return kind == MOVER ? JOBS : places[draw(sizeof places)];
}

int consume(enum kind kind, uint32_t rounds)
{
	enum where p = some_source(kind);
	struct entry left = entry_at(p, 0);
	lmq_receiver *r = NULL;
	lmq_watch *w = NULL;
	int rc = receiver_for(p, &r);
	if (rc == 0)
		rc = lmq_watch_open(me.store, &w);
	if (rc == 0)
		rc = lmq_watch_receiver(w, r);
	for (uint32_t i = 0; rc == 0 && i < rounds && !ledger_full(ledger); i++) {
		rc = receive(r, p, kind);
		if (rc == LMQ_END)
			rc = wait_for(w, r, p, kind);
	}
	ledger_note(ledger, NOTE_LEFT, &left);
	lmq_watch_close(w);
	lmq_receiver_close(r);
	return passed(p, rc);
}

/* ---- the last one ------------------------------------------------------------------------- */

/* Whether nothing is left, also not in anybody's hands. */
static int is_empty(enum where p, bool *empty)
{
	struct lmq_channel_info info;
	struct lmq_group_info *groups = NULL;
	size_t count = 0;
	int rc = lmq_channel_info(me.channel[p], &info);
	*empty = info.messages == 0;
	if (rc == 0 && layout[p].group) {
		rc = lmq_group_list(me.channel[p], layout[p].group, &groups, &count);
		*empty = true;
		for (size_t i = 0; rc == 0 && i < count; i++)
			*empty &= groups[i].lag == 0;
		free(groups);
	}
	return rc;
}

/* One step: 0, also where there was nothing to do. */
static int drain_some(lmq_receiver *r, enum where p)
{
	struct hand h;
	size_t count;
	int rc = lmq_receiver_claim(r, LAST_CLAIM, LARGE_CLAIM, &count);
	if (rc == 0)
		rc = deliver(r, p, &h, count);
	if (rc == 0)
		return settle(r, &h);
	nap();
	return rc == LMQ_END ? 0 : rc;
}

int drain(enum where p)
{
	int64_t deadline = lmq_deadline(FINISH * INT64_C(1000000000));
	bool empty = false;
	lmq_receiver *r = NULL;
	int rc = receiver_for(p, &r);
	while (rc == 0 && !empty) {
		need(clock_monotonic() < deadline, "%s cannot be emptied", layout[p].name);
		rc = drain_some(r, p);
		if (rc == 0)
			rc = is_empty(p, &empty);
	}
	lmq_receiver_close(r);
	return rc;
}
