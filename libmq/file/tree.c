/* SPDX-License-Identifier: ISC */
/*
 * A tree of LMDB's data file, walked.
 *
 * A walk goes down at most DEPTH_MOST levels and enters no page twice, so whatever the numbers in pages are, it ends.
 * A page is taken only if all that LMDB relies on is so: its number, its kind, all at the same depth, every
 * entry within the page, keys that ascend and lie between those of the branches above. With the list of free pages at
 * hand (the other tree, walked first) a page that is in it is not taken either: what it holds is older, unless somebody
 * knows better.
 */
#include "pages.h"

#include <string.h>
#include <unistd.h>

int bound_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
	return order ? order : (a_size > b_size) - (a_size < b_size);
}

/* ---- the walk ------------------------------------------------------------------------------- */

struct level {
	uint8_t page[PAGE_MOST];
	uint64_t number;
	unsigned next, count;
	struct page_bound from, to;	/* its keys lie in [from, to) */
};

struct descent {
	struct page_walk *w;
	unsigned depth;			/* of the tree */
	bool numbers;			/* keys are numbers in the machine's byte order */
	struct page_bound last;		/* key */
	struct level *levels[DEPTH_MOST];
};

static int compare(const struct descent *d, const void *a, size_t a_size, const void *b, size_t b_size)
{
	uint64_t x, y;
	if (!d->numbers || a_size != sizeof x || b_size != sizeof y)
		return bound_compare(a, a_size, b, b_size);
	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

static void bound_set(struct page_bound *b, const struct page_node *n)
{
	memcpy(b->key, n->key, n->key_size);
	b->size = n->key_size;
}

static bool is_barred(const struct page_walk *w, uint64_t page, const struct level *l)
{
	return w->barred && page_bit(w->barred, page) &&
		!(w->disputed && w->disputed(page, l ? &l->from : NULL, l ? &l->to : NULL, w->context));
}

/* Takes pages for the tree, or those of a value. What is wrong with them, or NULL. */
static const char *claim(struct page_walk *w, uint64_t page, uint64_t count, const struct level *l)
{
	if (page < 2 || count > w->limit || page > w->limit - count)
		return "lies beyond the end";
	for (uint64_t i = page; i < page + count; i++) {
		if (page_bit(w->reached, i))
			return "is reached twice";
		if (is_barred(w, i, l))
			return "is in use and in the list of free pages";
	}
	for (uint64_t i = page; i < page + count; i++)
		w->reached[i / 64] |= (uint64_t)1 << i % 64;
	*w->used += count;
	return NULL;
}

/* Every key of a page is above the one before, and within the bounds; the first one of a branch says nothing. */
static bool keys_sound(const struct descent *d, const struct level *l)
{
	const struct page_file *f = d->w->file;
	struct page_node n, before = { .key_size = 0 };
	bool leaf = page_is_leaf(l->page);
	for (unsigned i = leaf ? 0 : 1; i < l->count; i++, before = n) {
		page_node(f, l->page, i, &n);
		if (n.key_size == 0 || (d->numbers && n.key_size != sizeof(uint64_t)))
			return false;
		if (i > (leaf ? 0 : 1) && compare(d, before.key, before.key_size, n.key, n.key_size) >= 0)
			return false;
		if (l->from.size > 0 && compare(d, n.key, n.key_size, l->from.key, l->from.size) < 0)
			return false;
		if (l->to.size > 0 && compare(d, n.key, n.key_size, l->to.key, l->to.size) >= 0)
			return false;
	}
	return true;
}

/* Reads the page of a level whose number and bounds are set. */
static const char *enter(struct descent *d, struct level *l, unsigned depth)
{
	struct page_walk *w = d->w;
	const char *what = claim(w, l->number, 1, l);
	bool leaf;
	if (what)
		return what;
	if (!page_read(w->file, l->number, l->page, w->file->size))
		return "cannot be read";
	what = page_fault(w->file, l->page, l->number);
	if (what)
		return what;
	leaf = page_is_leaf(l->page);
	if (leaf != (depth + 1 == d->depth))
		return "lies at the wrong depth";
	l->next = 0;
	l->count = page_nodes(w->file, l->page);
	if (!keys_sound(d, l))
		return "has keys out of order";
	*(leaf ? &w->found.leaves : &w->found.branches) += 1;
	return NULL;
}

static int report(struct descent *d, const struct level *l, const char *what)
{
	return d->w->fault ? d->w->fault(l->number, what, &l->from, &l->to, d->w->context) : 0;
}

static int walk_value(struct descent *d, const struct page_node *n)
{
	struct page_walk *w = d->w;
	const char *what = NULL;
	if (n->page != NO_PAGE) {
		uint64_t span = page_span(w->file, n->value_size);
		what = claim(w, n->page, span, NULL);
		if (!what)
			what = page_overflow_fault(w->file, n->page, n->value_size);
		w->found.overflows += what ? 0 : span;
	}
	w->found.entries++;
	if (!what)
		return w->entry ? w->entry(n, w->context) : 0;
	return w->value_fault ? w->value_fault(n, what, w->context) : 0;
}

static int walk_leaf(struct descent *d, const struct level *l)
{
	struct page_node n;
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < l->count; i++) {
		page_node(d->w->file, l->page, i, &n);
		rc = walk_value(d, &n);
	}
	return rc;
}

static struct level *level_at(struct descent *d, unsigned depth)
{
	if (!d->levels[depth])
		d->levels[depth] = malloc(sizeof **d->levels);
	return d->levels[depth];
}

/* The next child of a branch, at the level below. */
static int walk_child(struct descent *d, unsigned *depth)
{
	struct level *l = d->levels[*depth], *child = level_at(d, *depth + 1);
	const struct page_file *f = d->w->file;
	struct page_node n, behind;
	const char *what;
	if (!child)
		return LMQ_ENOMEM;
	page_node(f, l->page, l->next, &n);
	child->number = n.page;
	child->from = l->from;
	child->to = l->to;
	if (l->next > 0)
		bound_set(&child->from, &n);
	if (l->next + 1 < l->count) {
		page_node(f, l->page, l->next + 1, &behind);
		bound_set(&child->to, &behind);
	}
	l->next++;
	what = enter(d, child, *depth + 1);
	if (what)
		return report(d, child, what);
	if (page_is_leaf(child->page))
		return walk_leaf(d, child);
	++*depth;
	return 0;
}

static int walk_down(struct descent *d)
{
	struct level *root = d->levels[0];
	const char *what = enter(d, root, 0);
	unsigned depth = 0;
	int rc = 0;
	if (what)
		return report(d, root, what);
	if (page_is_leaf(root->page))
		return walk_leaf(d, root);
	while (rc == 0) {
		if (d->levels[depth]->next < d->levels[depth]->count)
			rc = walk_child(d, &depth);
		else if (depth-- == 0)
			break;
	}
	return rc;
}

int page_walk(struct page_walk *w, const struct page_tree *t, bool numbers)
{
	struct descent *d;
	int rc = LMQ_ENOMEM;
	w->found = (struct page_tree){ .flags = t->flags, .depth = t->depth, .root = t->root };
	if (t->root == NO_PAGE)
		return 0;
	d = calloc(1, sizeof *d);
	if (!d)
		return LMQ_ENOMEM;
	d->w = w;
	d->depth = t->depth;
	d->numbers = numbers;
	if (level_at(d, 0)) {
		d->levels[0]->number = t->root;
		d->levels[0]->from.size = d->levels[0]->to.size = 0;
		rc = walk_down(d);
	}
	for (unsigned i = 0; i < DEPTH_MOST; i++)
		free(d->levels[i]);
	free(d);
	return rc;
}

/* ---- the list of free pages ------------------------------------------------------------------- */

/* A value is a count and that many page numbers, which may begin in the leaf or on pages of their own. */
bool page_list(const struct page_walk *w, const struct page_node *n, uint64_t *bits, uint64_t *count)
{
	uint64_t numbers[PAGE_LEAST / 8], total = 0, size = n->value_size;
	bool sound = size >= 8 && size % 8 == 0;
	for (uint64_t at = 0; sound && at < size; at += sizeof numbers) {
		size_t part = size - at < sizeof numbers ? (size_t)(size - at) : sizeof numbers;
		if (n->page == NO_PAGE)
			memcpy(numbers, n->value + at, part);
		else if (pread(w->file->fd, numbers, part, (off_t)(n->page * w->file->size + PAGE_HEADER + at)) != (ssize_t)part)
			return false;
		for (size_t i = 0; i < part / 8; i++) {
			uint64_t page = numbers[i];
			if (at == 0 && i == 0) {
				total = page;
				sound = total <= size / 8 - 1;
			} else if (at / 8 + i <= total) {
				sound = sound && page >= 2 && page < w->end && (page >= w->limit || !page_bit(bits, page));
				if (!sound)
					break;
				if (page < w->limit)
					bits[page / 64] |= (uint64_t)1 << page % 64;
				++*count;
			}
		}
	}
	return sound;
}
