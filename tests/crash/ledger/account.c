/* SPDX-License-Identifier: ISC */
#include "account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool wrong(struct account *c, const struct entry *e, const char *what)
{
	c->v->id = c->v->wrong[0] ? c->v->id : e->id;
	if (c->v->wrong[0] == '\0')
		snprintf(c->v->wrong, sizeof c->v->wrong, "message %u at %u/%u:%llu (%s by %u, attempt %u, entry %td): %s",
			e->id, e->place, e->lane, (unsigned long long)e->offset, note_names[e->note], e->who, e->number,
			e - c->l->entries, what);
	return false;
}

bool wrong_message(struct account *c, uint32_t id, const char *what)
{
	const struct message *m = &c->messages[id];
	c->v->id = c->v->wrong[0] ? c->v->id : id;
	if (c->v->wrong[0] == '\0')
		snprintf(c->v->wrong, sizeof c->v->wrong, "message %u at %u/%u:%llu (sent by %u, batch %u): %s", id,
			m->place, m->lane, (unsigned long long)m->offset, m->sender, m->batch, what);
	return false;
}

unsigned promised(const struct account *c, unsigned place)
{
	return c->l->promised[place];
}

void account_spot(struct account *c, const struct entry *e)
{
	c->spots[c->spot_count++] = (struct spot){ e->channel, e->id, e->lane, e->offset };
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

static bool spots_agree(struct account *c)
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
static bool batches_whole(struct account *c)
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

static bool none_missing(struct account *c)
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

bool account_agrees(struct account *c)
{
	return spots_agree(c) && batches_whole(c) && none_missing(c);
}
