/* SPDX-License-Identifier: ISC */
/*
 * The checker of the ledger. One walk over the entries in their order, with what is known of each message, process
 * and place so far; then what must be there in the end (account.c).
 *
 * A message is in somebody's hands from the note of its delivery on, until that process was about to be killed, left,
 * was about to give it back, or its lease ended. Only then may it come again; and when it does so because somebody
 * died or a lease ended, the number of the attempt must have grown. Each note of an end is made before it happens, and
 * each note of a delivery after it, so what comes too early here came too early there.
 */
#include "account.h"

#include "crash.h"

#include <string.h>

/* ---- sending ------------------------------------------------------------------------------ */

/* A place that was removed and made anew has another number: everything begins again there. */
static struct yard *place_of(struct account *c, const struct entry *e)
{
	struct yard *p = &c->places[e->place];
	if (e->channel > p->channel) {
		memset(p, 0, sizeof *p);
		p->channel = e->channel;
	}
	return p;
}

static bool sending(struct account *c, const struct entry *e, struct message *m)
{
	const struct yard *p = place_of(c, e);
	bool again = m->meant && !m->refused && promised(c, e->place) & PLACE_SINGLE;
	if (again)
		return m->hash == e->value || wrong(c, e, "two messages have one id");
	if (m->meant && !m->refused)
		return wrong(c, e, "two messages have one id");
	*m = (struct message){ .sender = e->who, .batch = e->batch, .key = e->key, .channel = e->channel,
		.place = e->place, .hash = e->value, .meant = true };
	m->owed = !(promised(c, e->place) & PLACE_GROUP) || p->grouped;
	if (p->channel == e->channel)
		memcpy(m->least, p->end, sizeof m->least);
	return true;
}

static bool sent(struct account *c, const struct entry *e, struct message *m)
{
	struct process *s = &c->people[e->who];
	struct yard *p = place_of(c, e);
	bool first = !m->sent && !m->seen;
	if (!m->meant)
		return wrong(c, e, "acknowledged and never sent");
	c->v->sent++;
	m->sent = true;
	m->refused = false;
	if (e->offset == UINT64_MAX)
		return true;	/* it was not told where */
	account_spot(c, e);
	if (promised(c, e->place) & PLACE_SINGLE && !first)
		return true;
	m->lane = e->lane;
	m->offset = e->offset;
	if (e->offset < m->least[e->lane])
		return wrong(c, e, "its offset is not above those that were told before it was sent");
	if (e->batch && s->batch == e->batch && s->batch_lane == e->lane && e->offset <= s->batch_offset)
		return wrong(c, e, "its offset is not above that of the message before it in its batch");
	s->batch = e->batch;
	s->batch_lane = e->lane;
	s->batch_offset = e->offset;
	if (p->channel == e->channel && p->end[e->lane] <= e->offset)
		p->end[e->lane] = e->offset + 1;
	return true;
}

/* ---- receiving ---------------------------------------------------------------------------- */

/* Why the message comes again; false: there is no reason. */
static bool caused(struct account *c, const struct entry *e, const struct message *m, bool *counts)
{
	const struct process *holder = &c->people[m->who];
	*counts = false;
	if (m->hold == HOLD_GIVEN)
		return c->v->given++, true;
	if (m->hold == HOLD_DOUBT)
		return c->v->unknown++, true;
	*counts = true;
	if (m->hold == HOLD_LEASING || m->hold == HOLD_LEASED) {
		if (e->time >= m->until)
			return c->v->ended++, true;
		if (m->hold == HOLD_LEASED)
			return wrong(c, e, "delivered again before its lease ended");
	}
	if (holder->killed)
		return c->v->died++, true;
	*counts = false;
	if (holder->left)
		return c->v->given++, true;
	return wrong(c, e, "delivered again without a cause");
}

static bool again(struct account *c, const struct entry *e, const struct message *m)
{
	bool counts;
	c->v->again++;
	if (m->settled)
		return wrong(c, e, "delivered again after it was acknowledged");
	if (!caused(c, e, m, &counts))
		return false;
	if (promised(c, e->place) & PLACE_UNCOUNTED)
		return true;
	if (counts && e->place == m->place && !m->moving && e->number <= m->number)
		return wrong(c, e, "an attempt was not counted");
	return true;
}

/* Within a claim; and from one claim to the next as long as nobody has given anything back. */
static bool in_claim_order(struct account *c, const struct entry *e)
{
	struct process *p = &c->people[e->who];
	bool same = p->claim == e->batch || (p->claim_place == e->place && c->unrest == 0);
	if (p->claim != 0 && same && e->offset <= p->claim_offset &&
			!(promised(c, e->place) & (PLACE_LANES | PLACE_KEYS)))
		return wrong(c, e, "delivered out of order");
	p->claim = e->batch;
	p->claim_place = e->place;
	p->claim_offset = e->offset;
	return true;
}

static bool in_key_order(struct account *c, const struct entry *e, struct yard *p)
{
	const struct message *before = &c->messages[p->key[e->key]];
	if (p->key[e->key] != 0 && p->key[e->key] != e->id) {
		if (!before->settled && !before->maybe)
			return wrong(c, e, "delivered while another one of its key was not settled");
		if (e->offset < before->offset)
			return wrong(c, e, "delivered behind a later one of its key");
	}
	p->key[e->key] = e->id;
	return true;
}

static bool delivered(struct account *c, const struct entry *e, struct message *m)
{
	struct yard *p = place_of(c, e);
	bool first = m->hold == HOLD_NONE;
	c->v->delivered++;
	account_spot(c, e);
	if (!first && !again(c, e, m))
		return false;
	if (!in_claim_order(c, e))
		return false;
	if (first && promised(c, e->place) & PLACE_LANES) {
		if (e->offset < p->first[e->lane])
			return wrong(c, e, "delivered behind a later one of its partition");
		p->first[e->lane] = e->offset + 1;
	}
	m->offset = e->offset;
	m->lane = e->lane;
	if (promised(c, e->place) & PLACE_KEYS && e->key && !in_key_order(c, e, p))
		return false;
	m->hold = HOLD_OWNER;
	m->who = e->who;
	m->number = e->number;
	m->maybe = false;
	if (e->place != m->place)
		m->place = e->place;
	return true;
}

/* What holds for whoever sees a message. */
static bool genuine(struct account *c, const struct entry *e, struct message *m)
{
	if (!m->meant)
		return wrong(c, e, "never sent");
	if (m->refused)
		return wrong(c, e, "refused, and stored all the same");
	if (m->hash != e->value)
		return wrong(c, e, "not the bytes that were sent");
	if (m->place != e->place && !m->moving && !(promised(c, m->place) & PLACE_MOVES))
		return wrong(c, e, "not where it was sent to");
	m->seen = true;
	return true;
}

static bool acknowledged(struct account *c, const struct entry *e, struct message *m)
{
	c->v->settled++;
	if (m->settled)
		return wrong(c, e, "acknowledged twice");
	if (m->hold == HOLD_NONE)
		return wrong(c, e, "acknowledged and never delivered");
	if (e->number != m->number)
		return wrong(c, e, "acknowledged by one whose lease was lost");
	m->settled = true;
	return true;
}

/* From where messages are dropped, or the queue is removed, they go whoever has them. */
static bool lost(struct account *c, const struct entry *e, struct message *m)
{
	if (e->number == m->number && m->hold == HOLD_LEASED && e->time < m->until && !(promised(c, m->place) & PLACE_LOSSY))
		return wrong(c, e, "a lease was lost before its end");
	if (e->number == m->number)
		m->maybe = false;
	return true;
}

static void hold(struct account *c, struct message *m, const struct entry *e, enum hold kind)
{
	if (e->number == m->number)
		m->hold = kind;
	m->until = (int64_t)e->value;
	c->unrest++;
}

static bool entry(struct account *c, const struct entry *e)
{
	struct message *m = &c->messages[e->id];
	switch ((enum note)e->note) {
	case NOTE_SENDING:
		return sending(c, e, m);
	case NOTE_SENT:
		return sent(c, e, m);
	case NOTE_REFUSED:
		m->refused = !m->sent;
		return true;
	case NOTE_DELIVERED:
		return genuine(c, e, m) && delivered(c, e, m);
	case NOTE_READ:
		c->v->read++;
		m->read = true;
		m->offset = e->offset;
		m->lane = e->lane;
		account_spot(c, e);
		return genuine(c, e, m);
	case NOTE_SETTLING:
		m->maybe = true;
		return true;
	case NOTE_SETTLED:
		return acknowledged(c, e, m);
	case NOTE_LOST:
		return lost(c, e, m);
	case NOTE_DOUBTFUL:
		return hold(c, m, e, HOLD_DOUBT), true;
	case NOTE_RETURNING:
		return hold(c, m, e, HOLD_GIVEN), true;
	case NOTE_LEASING:
		return hold(c, m, e, HOLD_LEASING), true;
	case NOTE_LEASED:
		return hold(c, m, e, HOLD_LEASED), true;
	case NOTE_MOVING:
		hold(c, m, e, HOLD_GIVEN);
		return m->moving = true;
	case NOTE_GROUPED:
		return place_of(c, e)->grouped = true;
	case NOTE_LEFT:
		c->unrest++;
		return c->people[e->who].left = true;
	case NOTE_KILLING:
		c->unrest++;
		c->v->killed++;
		return c->people[e->who].killed = true;
	default:
		return true;
	}
}

static bool all_entries(struct account *c, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		const struct entry *e = &c->l->entries[i];
		if (e->id > c->ids || e->who > c->processes || e->place >= PLACE_MAX || e->lane >= LANE_MAX ||
				e->key >= KEY_COUNT)
			return wrong(c, e, "not an entry");
		if (!entry(c, e))
			return false;
	}
	return true;
}

bool ledger_check(const struct ledger *l, struct verdict *v)
{
	uint64_t count = ledger_count(l);
	struct account c = { .l = l, .v = v, .ids = atomic_load(&l->ids), .processes = atomic_load(&l->processes) };
	bool good;
	memset(v, 0, sizeof *v);
	c.messages = calloc((size_t)c.ids + 1, sizeof *c.messages);
	c.people = calloc((size_t)c.processes + 1, sizeof *c.people);
	c.spots = calloc(count + 1, sizeof *c.spots);
	need(c.messages && c.people && c.spots, "out of memory");
	good = all_entries(&c, count) && account_agrees(&c);
	free(c.messages);
	free(c.people);
	free(c.spots);
	return good;
}
