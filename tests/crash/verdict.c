/* SPDX-License-Identifier: ISC */
/*
 * The checker of the ledger. One walk over the entries in their order, with what is known of each message, process
 * and place so far; then what must be there in the end.
 *
 * A message is in somebody's hands from the note of its delivery on, until that process was about to be killed, left,
 * was about to give it back, or its lease ended. Only then may it come again; and when it does so because somebody
 * died or a lease ended, the number of the attempt must have grown. Each note of an end is made before it happens, and
 * each note of a delivery after it, so what comes too early here came too early there.
 */
#include "verdict.h"

#include "crash.h"

#include <stdio.h>
#include <string.h>

enum hold { HOLD_NONE, HOLD_OWNER, HOLD_LEASING, HOLD_LEASED, HOLD_DOUBT, HOLD_GIVEN };

struct message {
	uint32_t sender, batch, key, channel;
	uint16_t place, lane;
	bool meant, refused, sent, seen;	/* seen: delivered or read, so it was stored */
	bool owed;		/* it was sent when its place promised to deliver it */
	bool moving, maybe, settled, read;
	uint8_t hold;		/* enum hold */
	uint32_t who, number;	/* of the last delivery */
	int64_t until;
	uint64_t hash, offset, least[LANE_MAX];	/* offsets that were told before it was sent */
};

struct process {
	bool killed, left;
	uint32_t batch, claim;
	uint16_t batch_lane, claim_place;
	uint64_t batch_offset, claim_offset;
};

struct yard {
	uint32_t channel;
	bool grouped;
	uint64_t end[LANE_MAX];		/* behind the highest offset that was told to a sender */
	uint64_t first[LANE_MAX];	/* behind the highest that was delivered */
	uint32_t key[KEY_COUNT];	/* the newest message of the key that was delivered */
};

struct spot {			/* where a message was seen */
	uint32_t channel, id;
	uint16_t lane;
	uint64_t offset;
};

struct check {
	const struct ledger *l;
	struct verdict *v;
	uint32_t ids, processes;
	struct message *messages;
	struct process *people;
	struct yard places[PLACE_MAX];
	struct spot *spots;
	size_t spot_count;
	uint64_t unrest;	/* how often something was given back so far */
};

static const char *const names[NOTES] = { "none", "sending", "sent", "refused", "delivered", "settling", "settled",
	"doubtful", "lost", "returning", "leasing", "leased", "moving", "read", "grouped", "left", "killing" };

static bool wrong(struct check *c, const struct entry *e, const char *what)
{
	c->v->id = c->v->wrong[0] ? c->v->id : e->id;
	if (c->v->wrong[0] == '\0')
		snprintf(c->v->wrong, sizeof c->v->wrong, "message %u at %u/%u:%llu (%s by %u, attempt %u, entry %td): %s",
			e->id, e->place, e->lane, (unsigned long long)e->offset, names[e->note], e->who, e->number,
			e - c->l->entries, what);
	return false;
}

static bool wrong_message(struct check *c, uint32_t id, const char *what)
{
	const struct message *m = &c->messages[id];
	c->v->id = c->v->wrong[0] ? c->v->id : id;
	if (c->v->wrong[0] == '\0')
		snprintf(c->v->wrong, sizeof c->v->wrong, "message %u at %u/%u:%llu (sent by %u, batch %u): %s", id,
			m->place, m->lane, (unsigned long long)m->offset, m->sender, m->batch, what);
	return false;
}

static unsigned promised(const struct check *c, unsigned place)
{
	return c->l->promised[place];
}

static void spot(struct check *c, const struct entry *e)
{
	c->spots[c->spot_count++] = (struct spot){ e->channel, e->id, e->lane, e->offset };
}

/* ---- sending ------------------------------------------------------------------------------ */

/* A place that was removed and made anew has another number: everything begins again there. */
static struct yard *place_of(struct check *c, const struct entry *e)
{
	struct yard *p = &c->places[e->place];
	if (e->channel > p->channel) {
		memset(p, 0, sizeof *p);
		p->channel = e->channel;
	}
	return p;
}

static bool sending(struct check *c, const struct entry *e, struct message *m)
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

static bool sent(struct check *c, const struct entry *e, struct message *m)
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
	spot(c, e);
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
static bool caused(struct check *c, const struct entry *e, const struct message *m, bool *counts)
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

static bool again(struct check *c, const struct entry *e, const struct message *m)
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
static bool in_claim_order(struct check *c, const struct entry *e)
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

static bool in_key_order(struct check *c, const struct entry *e, struct yard *p)
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

static bool delivered(struct check *c, const struct entry *e, struct message *m)
{
	struct yard *p = place_of(c, e);
	bool first = m->hold == HOLD_NONE;
	c->v->delivered++;
	spot(c, e);
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
static bool genuine(struct check *c, const struct entry *e, struct message *m)
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

static bool acknowledged(struct check *c, const struct entry *e, struct message *m)
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

static bool lost(struct check *c, const struct entry *e, struct message *m)
{
	if (e->number == m->number && m->hold == HOLD_LEASED && e->time < m->until)
		return wrong(c, e, "a lease was lost before its end");
	if (e->number == m->number)
		m->maybe = false;
	return true;
}

static void hold(struct check *c, struct message *m, const struct entry *e, enum hold kind)
{
	if (e->number == m->number)
		m->hold = kind;
	m->until = (int64_t)e->value;
	c->unrest++;
}

static bool entry(struct check *c, const struct entry *e)
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
		spot(c, e);
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

/* ---- in the end --------------------------------------------------------------------------- */

static int by_spot(const void *a, const void *b)
{
	const struct spot *x = a, *y = b;
	if (x->channel != y->channel)
		return x->channel < y->channel ? -1 : 1;
	if (x->lane != y->lane)
		return x->lane < y->lane ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b)
{
	const struct spot *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return by_spot(a, b);
}

static bool spots_agree(struct check *c)
{
	qsort(c->spots, c->spot_count, sizeof *c->spots, by_spot);
	for (size_t i = 1; i < c->spot_count; i++)
		if (memcmp(&c->spots[i], &c->spots[i - 1], offsetof(struct spot, id)) == 0 &&
				c->spots[i].lane == c->spots[i - 1].lane &&
				c->spots[i].offset == c->spots[i - 1].offset && c->spots[i].id != c->spots[i - 1].id)
			return wrong_message(c, c->spots[i].id, "its offset was another message's before");
	qsort(c->spots, c->spot_count, sizeof *c->spots, by_id);
	for (size_t i = 1; i < c->spot_count; i++)
		if (c->spots[i].id == c->spots[i - 1].id && c->spots[i].channel == c->spots[i - 1].channel &&
				by_spot(&c->spots[i], &c->spots[i - 1]) != 0)
			return wrong_message(c, c->spots[i].id, "it was stored twice");
	return true;
}

static bool stored(const struct message *m)
{
	return m->sent || m->seen || m->settled || m->maybe;
}

/* The messages of a batch have ids that follow each other. */
static bool batches_whole(struct check *c)
{
	for (uint32_t id = 2; id <= c->ids; id++) {
		const struct message *m = &c->messages[id], *n = m - 1;
		if (m->batch == 0 || m->batch != n->batch || !m->owed || !n->owed ||
				promised(c, m->place) & (PLACE_LOSSY | PLACE_LATEST))
			continue;
		if (stored(m) != stored(n))
			return wrong_message(c, id, "its batch was stored in part");
	}
	return true;
}

static bool none_missing(struct check *c)
{
	uint32_t newest[PLACE_MAX][KEY_COUNT] = { 0 };
	for (uint32_t id = 1; id <= c->ids; id++) {
		const struct message *m = &c->messages[id];
		unsigned p = promised(c, m->place);
		/* Also one of which nobody was told that it is stored makes others of its key go. */
		if (!(m->sent || (m->seen && p & PLACE_LATEST)) || p & PLACE_LOSSY)
			continue;
		if (!(p & (PLACE_KEPT | PLACE_LATEST)) && m->owed && !m->settled && !m->maybe)
			return wrong_message(c, id, "it was acknowledged to its sender, and is lost");
		if (p & PLACE_KEPT && !m->read)
			return wrong_message(c, id, "it was stored, and is no longer there");
		if (p & PLACE_LATEST && (newest[m->place][m->key] == 0 ||
				m->offset > c->messages[newest[m->place][m->key]].offset))
			newest[m->place][m->key] = id;
	}
	for (unsigned i = 0; i < PLACE_MAX; i++)
		for (unsigned k = 0; k < KEY_COUNT; k++)
			if (newest[i][k] && !c->messages[newest[i][k]].read)
				return wrong_message(c, newest[i][k], "it is the newest of its key, and is not there");
	return true;
}

static bool all_entries(struct check *c, uint64_t count)
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

void ledger_tell(const struct ledger *l, uint32_t id, FILE *to)
{
	uint64_t count = atomic_load(&l->count) < l->room ? atomic_load(&l->count) : l->room;
	uint32_t who = 0, claim = 0;
	for (uint64_t i = 0; i < count; i++) {
		const struct entry *e = &l->entries[i];
		bool ours = e->id == id, end = e->note == NOTE_KILLING || e->note == NOTE_LEFT;
		if (ours && e->note == NOTE_DELIVERED) {
			who = e->who;
			claim = e->batch;
		}
		if (e->note == NOTE_NONE || !(ours || (e->who == who && (end || e->batch == claim))))
			continue;
		fprintf(to, "%9llu %.3f ms %-10s by %u: %u at %u/%u:%llu, attempt %u, batch %u, key %u, value %llx\n",
			(unsigned long long)i, (double)e->time / MS, names[e->note], e->who, e->id, e->place, e->lane,
			(unsigned long long)e->offset, e->number, e->batch, e->key, (unsigned long long)e->value);
	}
}

bool ledger_check(const struct ledger *l, struct verdict *v)
{
	uint64_t count = atomic_load(&l->count) < l->room ? atomic_load(&l->count) : l->room;
	struct check c = { .l = l, .v = v, .ids = atomic_load(&l->ids), .processes = atomic_load(&l->processes) };
	bool good;
	memset(v, 0, sizeof *v);
	c.messages = calloc((size_t)c.ids + 1, sizeof *c.messages);
	c.people = calloc((size_t)c.processes + 1, sizeof *c.people);
	c.spots = calloc(count + 1, sizeof *c.spots);
	need(c.messages && c.people && c.spots, "out of memory");
	good = all_entries(&c, count) && spots_agree(&c) && batches_whole(&c) && none_missing(&c);
	free(c.messages);
	free(c.people);
	free(c.spots);
	return good;
}
