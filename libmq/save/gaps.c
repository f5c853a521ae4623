/* SPDX-License-Identifier: ISC */
/* A repair: ranges of keys of which something may be lost. */
#include "rescue.h"

#include <string.h>

int gap_add(struct rescue *r, const struct gap *g)
{
	struct gap *more;
	if (r->gap_count == r->gap_room) {
		r->gap_room = r->gap_room ? 2 * r->gap_room : 64;
		more = reallocarray(r->gaps, r->gap_room, sizeof *more);
		if (!more)
			return rescue_no_memory(r);
		r->gaps = more;
	}
	r->gaps[r->gap_count++] = *g;
	return 0;
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

int gap_of_value(struct rescue *r, const uint8_t *key, size_t size)
{
	struct gap g = { .from.size = size };
	if (size >= KEY_MAX)
		return 0;
	memcpy(g.from.bytes, key, size);
	g.to = g.from;
	g.to.bytes[g.to.size++] = 0;
	return gap_add(r, &g);
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

bool wreck_lacks(const struct rescue *r, const struct key *from, const struct key *to)
{
	for (size_t i = 0; i < r->gap_count; i++) {
		const struct gap *g = &r->gaps[i];
		if (!g->filled && bound_compare(g->from.bytes, g->from.size, to->bytes, to->size) < 0 &&
				(g->to.size == 0 || bound_compare(g->to.bytes, g->to.size, from->bytes, from->size) > 0))
			return true;
	}
	return false;
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

static int by_from(const void *a, const void *b)
{
	const struct gap *x = a, *y = b;
	return bound_compare(x->from.bytes, x->from.size, y->from.bytes, y->from.size);
}

void gaps_sort(struct rescue *r)
{
	size_t n = 0;
	if (r->gap_count > 0)
		qsort(r->gaps, r->gap_count, sizeof *r->gaps, by_from);
	for (size_t i = 0; i < r->gap_count; i++) {
		struct gap *last = n > 0 ? &r->gaps[n - 1] : NULL, *g = &r->gaps[i];
		bool apart = !last || (last->to.size > 0 &&
			bound_compare(g->from.bytes, g->from.size, last->to.bytes, last->to.size) >= 0);
		if (apart)
			r->gaps[n++] = *g;
		else if (last->to.size > 0 && (g->to.size == 0 ||
				bound_compare(g->to.bytes, g->to.size, last->to.bytes, last->to.size) > 0))
			last->to = g->to;
		if (!apart)
			last->page = last->page || g->page;
	}
	r->gap_count = n;
}
