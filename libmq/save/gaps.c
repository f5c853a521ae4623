/* SPDX-License-Identifier: ISC */
/*
 * A repair: ranges of keys of which something may be lost.
 *
 * A gap is what was seen while the tree was walked. Of a damaged page the branches say which keys it had. Of a damaged
 * value the key is as little to be trusted as the rest; but it lay between the sound ones beside it, so something may be
 * lost anywhere between these. What is still in doubt when everything has been looked through is asked by all that mend:
 * a message, say, that no block has was dropped, unless its block may be lost.
 */
#include "rescue.h"

#include <string.h>

/* Of more the last one takes in all that follow: a hostile file has no more memory than this. */
enum { GAPS_MOST = 16384 };

static int compare(const struct key *a, const struct key *b)
{
	return bound_compare(a->bytes, a->size, b->bytes, b->size);
}

/* Of the ends of two ranges. */
static const struct key *later(const struct key *a, const struct key *b)
{
	return a->size == 0 || (b->size > 0 && compare(a, b) >= 0) ? a : b;
}

/* The key right behind it. */
static struct key behind(const struct key *k)
{
	struct key next = *k;
	if (next.size > 0 && next.size < KEY_MAX)
		next.bytes[next.size++] = 0;
	return next;
}

/* a becomes one of pages that has both. */
static void unite(struct gap *a, const struct gap *b)
{
	if (compare(&b->from, &a->from) < 0)
		a->from = b->from;
	if (compare(&b->low, &a->low) < 0)
		a->low = b->low;
	a->to = *later(&a->to, &b->to);
	a->high = *later(&a->high, &b->high);
	a->values = 0;
	a->open = a->open || b->open;
	a->filled = false;
}

static int add(struct rescue *r, const struct gap *g)
{
	struct gap *more;
	if (r->gap_count == GAPS_MOST) {
		unite(&r->gaps[GAPS_MOST - 1], g);
		if (g->open && r->gap_open == GAPS_MOST)
			r->gap_open--;
		return 0;
	}
	more = rescue_room(r->gaps, r->gap_count, &r->gap_room, sizeof *more);
	if (!more)
		return rescue_no_memory(r);
	r->gaps = more;
	r->gaps[r->gap_count++] = *g;
	return 0;
}

int gap_add(struct rescue *r, const struct key *from, const struct key *to)
{
	return add(r, &(struct gap){ .from = *from, .to = *to, .low = *from, .high = *to });
}

/* A key that is longer than any of ours is looked for nowhere. */
int gap_of_value(struct rescue *r, const uint8_t *key, size_t size)
{
	struct gap g = { .low = behind(&r->passed), .values = 1, .open = true };
	g.from = g.to = g.low;
	if (size > 0 && size < KEY_MAX) {
		g.from.size = size;
		memcpy(g.from.bytes, key, size);
		g.to = behind(&g.from);
	}
	return add(r, &g);
}

void gap_pass(struct rescue *r, const uint8_t *key, size_t size)
{
	r->passed.size = size;
	memcpy(r->passed.bytes, key, size);
	for (; r->gap_open < r->gap_count; r->gap_open++) {
		struct gap *g = &r->gaps[r->gap_open];
		if (g->open)
			g->high = r->passed;
		g->open = false;
	}
}

struct key bound_key(const struct page_bound *b)
{
	struct key k = { .size = b->size };
	/* None of ours is so long: the gap is taken to be wider. */
	if (k.size > KEY_MAX)
		k.size = 0;
	memcpy(k.bytes, b->key, k.size);
	return k;
}

static int by_from(const void *a, const void *b)
{
	const struct gap *x = a, *y = b;
	return compare(&x->from, &y->from);
}

void gaps_sort(struct rescue *r)
{
	size_t n = 0;
	if (r->gap_count > 0)
		qsort(r->gaps, r->gap_count, sizeof *r->gaps, by_from);
	for (size_t i = 0; i < r->gap_count; i++) {
		struct gap *last = n > 0 ? &r->gaps[n - 1] : NULL, *g = &r->gaps[i];
		if (!last || (last->to.size > 0 && compare(&g->from, &last->to) >= 0))
			r->gaps[n++] = *g;
		else
			unite(last, g);
	}
	r->gap_count = n;
}

struct gap *gap_find(const struct rescue *r, const uint8_t *key, size_t size)
{
	for (size_t low = 0, high = r->gap_count; low < high;) {
		size_t middle = low + (high - low) / 2;
		struct gap *g = &r->gaps[middle];
		if (g->to.size > 0 && bound_compare(key, size, g->to.bytes, g->to.size) >= 0)
			low = middle + 1;
		else if (bound_compare(key, size, g->from.bytes, g->from.size) < 0)
			high = middle;
		else
			return g;
	}
	return NULL;
}

/* ---- doubts --------------------------------------------------------------------------------- */

/* A key that looks like a block's is one, or of table F, which is made anew anyway: nothing else is in doubt. */
static struct doubt doubt_of(const struct gap *g)
{
	static const struct key from = { { 'L' }, 1 }, to = { { 'L' + 1 }, 1 };
	struct doubt d = { g->low, g->high, g->values };
	if (g->values == 1 && g->from.size == BLOCK_KEY && g->from.bytes[0] == 'L') {
		d.low = compare(&d.low, &from) < 0 ? from : d.low;
		d.high = d.high.size == 0 || compare(&d.high, &to) > 0 ? to : d.high;
	}
	return d;
}

static int by_low(const void *a, const void *b)
{
	const struct doubt *x = a, *y = b;
	return compare(&x->low, &y->low);
}

int gaps_doubt(struct rescue *r)
{
	size_t n = 0;
	r->doubts = calloc(r->gap_count + 1, sizeof *r->doubts);
	if (!r->doubts)
		return rescue_no_memory(r);
	for (size_t i = 0; i < r->gap_count; i++)
		if (!r->gaps[i].filled)
			r->doubts[n++] = doubt_of(&r->gaps[i]);
	if (n > 0)
		qsort(r->doubts, n, sizeof *r->doubts, by_low);
	for (size_t i = 0; i < n; i++) {
		struct doubt *last = r->doubt_count > 0 ? &r->doubts[r->doubt_count - 1] : NULL, *d = &r->doubts[i];
		if (!last || (last->high.size > 0 && compare(&d->low, &last->high) >= 0)) {
			r->doubts[r->doubt_count++] = *d;
			continue;
		}
		last->high = *later(&last->high, &d->high);
		last->values = last->values && d->values ? last->values + d->values : 0;
	}
	return 0;
}

bool wreck_lacks(const struct rescue *r, const struct key *from, const struct key *to)
{
	size_t low = 0, high = r->doubt_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct doubt *d = &r->doubts[middle];
		if (d->high.size > 0 && compare(&d->high, from) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->doubt_count && compare(&r->doubts[low].low, to) < 0;
}

bool wreck_lacks_key(const struct rescue *r, const struct key *k)
{
	struct key next = behind(k);
	return wreck_lacks(r, k, &next);
}

bool wreck_lacks_any(const struct rescue *r, const struct key *k, size_t size)
{
	struct key from = *k, to;
	from.size = size;
	to = from;
	while (to.size > 0 && ++to.bytes[to.size - 1] == 0)
		to.size--;
	return wreck_lacks(r, &from, &to);
}
