/* SPDX-License-Identifier: ISC */
/*
 * The trees of LMDB's data file: walked, and checked whole.
 *
 * A walk goes down at most DEPTH_MOST levels and enters no page twice, so whatever the numbers in pages are, it ends.
 * A page is taken only if all that LMDB relies on is so: its number, its kind, all at the same depth, every
 * entry within the page, keys that ascend and lie between those of the branches above. With the list of free pages at
 * hand (the other tree, walked first) a page that is in it is not taken either: what it holds is older.
 */
#include "pages.h"

#include <stdio.h>
#include <string.h>

enum { STEP_PAGES = 4096 };	/* between two calls of step */

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

/* Takes pages for the tree. What is wrong with them, or NULL. */
static const char *claim(struct page_walk *w, uint64_t page, uint64_t count)
{
	if (page < 2 || count > w->limit || page > w->limit - count)
		return "lies beyond the end";
	for (uint64_t i = page; i < page + count; i++) {
		if (page_bit(w->reached, i))
			return "is reached twice";
		if (w->barred && page_bit(w->barred, i))
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
	const char *what = claim(w, l->number, 1);
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
		what = claim(w, n->page, span);
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

/* ---- a check -------------------------------------------------------------------------------- */

struct inspection {
	lmq_store *store;
	struct page_file file;
	struct page_meta meta;
	struct page_walk walk;
	uint64_t *free;
	struct pages_count *count;
	const struct pages_watch *watch;
	uint64_t shown;		/* used at the last call of step */
	bool list;		/* the list of free pages is being walked */
};

static void note(struct inspection *c, uint64_t page, const char *what)
{
	c->count->faults++;
	if (c->watch->fault)
		c->watch->fault(page, what, c->watch->context);
}

static int note_fault(uint64_t page, const char *what, const struct page_bound *from, const struct page_bound *to,
	void *context)
{
	(void)from, (void)to;
	note(context, page, what);
	return 0;
}

static int note_value(const struct page_node *n, const char *what, void *context)
{
	note(context, n->page, what);
	return 0;
}

static int note_entry(const struct page_node *n, void *context)
{
	struct inspection *c = context;
	if (c->list && !page_list(&c->walk, n, c->free, &c->count->free))
		note(c, c->meta.tree[FREE_TREE].root, "begins a list of free pages that cannot be");
	c->count->entries += !c->list;
	if (c->count->used - c->shown < STEP_PAGES)
		return 0;
	c->shown = c->count->used;
	if (c->watch->step && !c->watch->step(c->count, c->watch->context))
		return fail(c->store, LMQ_EINTR, "%s: the check was ended", c->store->path);
	return 0;
}

/*
 * The meta page that is not the newest. Where a commit failed as it was written, LMDB has put back no more than its
 * number: its trees are of no use then, and the next commit writes it anew.
 */
static bool is_other_meta(struct inspection *c, unsigned number)
{
	struct page_meta other;
	uint8_t head[20];
	uint32_t magic;
	if (page_meta(&c->file, number, &other))
		return true;
	if (!page_read(&c->file, number, head, sizeof head))
		return false;
	memcpy(&magic, head + 16, sizeof magic);
	return magic == 0xBEEFC0DE;
}

/* The meta page of that transaction, read while it was the newest or the one before. */
static int find_state(struct inspection *c, uint64_t transaction)
{
	unsigned mine = (unsigned)(transaction % 2);
	bool found = page_meta(&c->file, mine, &c->meta) && c->meta.transaction == transaction;
	/* Another process may just be writing it. */
	if (!is_other_meta(c, !mine) && !is_other_meta(c, !mine))
		note(c, !mine, "is no meta page");
	return found ? 0 : LMQ_EBUSY;
}

static void compare_tree(struct inspection *c, const struct page_tree *says)
{
	const struct page_tree *is = &c->walk.found;
	char what[96];
	const struct {
		uint64_t says, is;
		const char *name;
	} rows[] = {
		{ says->branches, is->branches, "branches" }, { says->leaves, is->leaves, "leaves" },
		{ says->overflows, is->overflows, "overflow pages" }, { says->entries, is->entries, "entries" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (rows[i].says == rows[i].is)
			continue;
		snprintf(what, sizeof what, "counts %llu %s, there are %llu", (unsigned long long)rows[i].says, rows[i].name,
			(unsigned long long)rows[i].is);
		note(c, c->meta.transaction % 2, what);
	}
}

static int inspect_trees(struct inspection *c)
{
	uint64_t before = c->count->faults;
	int rc;
	c->list = true;
	rc = page_walk(&c->walk, &c->meta.tree[FREE_TREE], true);
	if (rc == 0 && c->count->faults == before)
		compare_tree(c, &c->meta.tree[FREE_TREE]);
	for (uint64_t i = 2; rc == 0 && i < c->walk.limit; i++)
		if (page_bit(c->free, i) && page_bit(c->walk.reached, i))
			note(c, i, "is in use and in the list of free pages");
	c->list = false;
	c->walk.barred = c->free;
	before = c->count->faults;
	if (rc == 0)
		rc = page_walk(&c->walk, &c->meta.tree[STORE_TREE], false);
	if (rc == 0 && c->count->faults == before)
		compare_tree(c, &c->meta.tree[STORE_TREE]);
	for (uint64_t i = 2; rc == 0 && i < c->walk.limit; i++)
		c->count->adrift += !page_bit(c->free, i) && !page_bit(c->walk.reached, i);
	return rc;
}

int pages_check(lmq_store *s, MDB_txn *t, struct pages_count *count, const struct pages_watch *watch)
{
	struct inspection c = { .store = s, .count = count, .watch = watch };
	int fd = -1, rc;
	*count = (struct pages_count){ .used = 2 };
	mdb_env_get_fd(s->env, &fd);
	rc = page_file_open(s, fd, &c.file);
	if (rc == 0)
		rc = find_state(&c, mdb_txn_id(t));
	if (rc != 0)
		return rc;
	c.walk = (struct page_walk){ .file = &c.file, .end = c.meta.last + 1, .limit = c.meta.last + 1, .used = &count->used,
		.entry = note_entry, .fault = note_fault, .value_fault = note_value, .context = &c };
	if (c.walk.limit > c.file.count + SPARE_PAGES) {
		note(&c, c.meta.transaction % 2, "names a last page that lies far beyond the end of the file");
		c.walk.limit = c.file.count + SPARE_PAGES;
	}
	c.walk.reached = calloc(c.walk.limit / 64 + 1, sizeof(uint64_t));
	c.free = calloc(c.walk.limit / 64 + 1, sizeof(uint64_t));
	rc = c.walk.reached && c.free ? inspect_trees(&c) : LMQ_ENOMEM;
	if (rc == LMQ_ENOMEM)
		fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	free(c.walk.reached);
	free(c.free);
	return rc;
}
