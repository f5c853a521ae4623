/* SPDX-License-Identifier: ISC */
/*
 * Which state of a damaged data file is the newest one that is whole.
 *
 * Two meta pages that are sound, of transactions one behind the other, say it. Where one of them is damaged, what it
 * named is still there: a commit overwrites no page of the state before it, and its root is a page like any other. So
 * every page is tried as the root of a tree: it leads to the store's record (a look at one path), all pages below it are
 * sound (a walk), and the ends of its logs and positions, which only grow, say which of two such trees is the newer one.
 * Where any page has an end that is newer than the best tree's, that tree is not the last one: its root is lost.
 */
#include "rescue.h"

#include <string.h>

enum { READS_EACH = 64 };	/* pages of trees that are walked, for each page of the file */

struct mark {			/* a log or a position, and how far it is */
	struct key key;
	uint64_t a, b;
};

struct candidate {
	struct page_tree tree;
	struct mark *marks;	/* by key */
	size_t count, room;
	bool whole;
};

struct search {
	struct rescue *r;
	struct candidate best, part, next;	/* the best whole one, and the best other one */
	uint64_t pages;			/* read in all walks */
	uint64_t *below;		/* bit: a tree that was walked has the page, so it is no root */
	uint8_t *depth;			/* of the tree that each page would be the root of; 0: of none */
};

static void candidate_free(struct candidate *c)
{
	free(c->marks);
	*c = (struct candidate){ .whole = false };
}

/* ---- how new a tree is ------------------------------------------------------------------------ */

static int mark_add(struct rescue *r, struct candidate *c, const struct mark *m)
{
	struct mark *more = rescue_room(c->marks, c->count, &c->room, sizeof *more);
	if (!more)
		return rescue_no_memory(r);
	c->marks = more;
	c->marks[c->count++] = *m;
	return 0;
}

static bool mark_get(struct mark *m, const struct page_node *n)
{
	union {
		struct store_record store;
		struct head_record head;
		struct group_record group;
		uint64_t id;
	} v;
	size_t size = (size_t)n->value_size;
	if (n->page != NO_PAGE || n->key_size > KEY_MAX || n->key_size == 0)
		return false;
	memcpy(m->key.bytes, n->key, n->key_size);
	m->key.size = n->key_size;
	if (*n->key == 'S' && store_record_get(&v.store, &m->key, n->value, size))
		*m = (struct mark){ m->key, v.store.next_id, v.store.next_blob };
	else if (*n->key == 'H' && head_record_get(&v.head, &m->key, n->value, size))
		*m = (struct mark){ m->key, v.head.end, v.head.first };
	else if (*n->key == 'G' && group_record_get(&v.group, &m->key, n->value, size))
		*m = (struct mark){ m->key, v.group.next, v.group.settled };
	else if (*n->key == 'C' && number_get(&v.id, 4, &m->key, n->value, size))
		*m = (struct mark){ m->key, v.id, 0 };
	else
		return false;
	return true;
}

/* Whether something has gone on in a since b, and nothing in b since a. */
static bool is_newer(const struct candidate *a, const struct candidate *b)
{
	bool newer = false;
	for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
		const struct mark *x = &a->marks[i], *y = &b->marks[j];
		int order = bound_compare(x->key.bytes, x->key.size, y->key.bytes, y->key.size);
		i += order <= 0;
		j += order >= 0;
		if (order != 0)
			continue;
		if (x->a < y->a || x->b < y->b)
			return false;
		newer = newer || x->a > y->a || x->b > y->b;
	}
	return newer;
}

static const struct mark *find_mark(const struct candidate *c, const struct key *k)
{
	for (size_t low = 0, high = c->count; low < high;) {
		size_t middle = low + (high - low) / 2;
		const struct mark *x = &c->marks[middle];
		int order = bound_compare(k->bytes, k->size, x->key.bytes, x->key.size);
		if (order == 0)
			return x;
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* What lies below a lost root looks like a small tree, and lacks what others had. */
static bool is_piece(const struct candidate *a, const struct candidate *b)
{
	if (a->tree.depth >= b->tree.depth)
		return false;
	for (size_t i = 0; i < b->count; i++)
		if (!find_mark(a, &b->marks[i].key))
			return true;
	return false;
}

static bool is_better(const struct candidate *a, const struct candidate *b)
{
	if (a->tree.depth == 0 || b->tree.depth == 0)
		return a->tree.depth > 0;
	if (is_piece(a, b) || is_piece(b, a))
		return is_piece(b, a);
	return is_newer(a, b) || (!is_newer(b, a) && a->tree.entries > b->tree.entries);
}

/* ---- walks ---------------------------------------------------------------------------------- */

static int on_entry(const struct page_node *n, void *context)
{
	struct search *f = context;
	struct mark m;
	int rc = rescue_step(f->r);
	return rc == 0 && mark_get(&m, n) ? mark_add(f->r, &f->next, &m) : rc;
}

static int on_fault(uint64_t page, const char *what, const struct page_bound *from, const struct page_bound *to,
	void *context)
{
	struct search *f = context;
	(void)page, (void)what, (void)from, (void)to;
	f->next.whole = false;
	return 0;
}

static int try_tree(struct search *f, const struct page_tree *t)
{
	struct rescue *r = f->r;
	struct page_walk w = { .file = &r->file, .end = r->limit, .limit = r->limit, .reached = r->reached,
		.used = &f->pages, .entry = on_entry, .fault = on_fault, .context = f };
	int rc;
	struct candidate *rival, c;
	f->next.count = 0;
	f->next.whole = true;
	rc = page_walk(&w, t, false);
	for (uint64_t i = 0; i <= r->limit / 64; i++)
		f->below[i] |= r->reached[i];
	memset(r->reached, 0, (size_t)(r->limit / 64 + 1) * 8);
	if (rc == 0)
		rc = rescue_ask(r);
	if (rc != 0)
		return rc == LMQ_ENOMEM ? rescue_no_memory(r) : rc;
	f->next.tree = *t;
	f->next.tree.entries = w.found.entries;
	rival = f->next.whole ? &f->best : &f->part;
	if (is_better(&f->next, rival)) {
		c = *rival;
		*rival = f->next;
		f->next = c;
	}
	return 0;
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* Whether a way leads from the page to the store's record; how many pages it has. */
static unsigned path_length(struct rescue *r, uint64_t number, const uint8_t *first)
{
	static const uint8_t wanted = 'S';
	uint8_t page[PAGE_MOST];
	struct page_node n, child;
	memcpy(page, first, r->file.size);
	for (unsigned depth = 1; depth <= DEPTH_MOST; depth++) {
		if (page_fault(&r->file, page, number))
			return 0;
		child.page = NO_PAGE;
		for (unsigned i = 0; i < page_nodes(&r->file, page); i++) {
			bool leaf = page_is_leaf(page);
			if (!page_node(&r->file, page, i, &n))
				return 0;
			if (leaf && n.key_size == 1 && *n.key == wanted)
				return depth;
			if (!leaf && (i == 0 || bound_compare(n.key, n.key_size, &wanted, 1) <= 0))
				child = n;
		}
		number = child.page;
		if (!page_read(&r->file, number, page, r->file.size))
			return 0;
	}
	return 0;
}

/* Those first that may be the highest: what lies below them is not tried again. */
static int try_pages(struct search *f)
{
	struct rescue *r = f->r;
	uint8_t page[PAGE_MOST];
	uint64_t most = r->file.count * READS_EACH;
	int rc = 0;
	for (uint64_t i = 2; rc == 0 && i < r->file.count; i++) {
		if (page_read(&r->file, i, page, r->file.size))
			f->depth[i] = (uint8_t)path_length(r, i, page);
		rc = rescue_step(r);
	}
	for (unsigned depth = DEPTH_MOST; rc == 0 && depth > 0; depth--)
		for (uint64_t i = 2; rc == 0 && i < r->file.count && f->pages < most; i++)
			if (f->depth[i] == depth && !page_bit(f->below, i))
				rc = try_tree(f, &(struct page_tree){ .root = i, .depth = (uint16_t)depth });
	return rc;
}

/* Whether some leaf has what came after the tree. */
static int any_ahead(struct rescue *r, const struct candidate *c, bool *ahead)
{
	uint8_t page[PAGE_MOST];
	const struct mark *known;
	struct page_node n;
	struct mark m;
	int rc = 0;
	*ahead = false;
	for (uint64_t i = 2; rc == 0 && !*ahead && i < r->file.count; i++) {
		rc = rescue_step(r);
		if (!page_read(&r->file, i, page, r->file.size) || page_fault(&r->file, page, i) || !page_is_leaf(page))
			continue;
		for (unsigned j = 0; !*ahead && j < page_nodes(&r->file, page); j++)
			*ahead = page_node(&r->file, page, j, &n) && mark_get(&m, &n) && (known = find_mark(c, &m.key)) &&
				(m.a > known->a || m.b > known->b);
	}
	return rc;
}

/* ---- choosing ------------------------------------------------------------------------------- */

static void say_meta(struct rescue *r, const bool sound[2])
{
	for (unsigned i = 0; i < 2; i++)
		if (!sound[i])
			rescue_say(r, i == 0 ? "page 0" : "page 1", "is no meta page that can be right");
	if (sound[0] && sound[1])
		rescue_say(r, "page 0", "and page 1 are not of transactions that follow each other");
	r->result->mended++;
}

static int choose_among(struct rescue *r, const struct page_meta m[2], const bool sound[2], bool *told)
{
	struct search f = { .r = r, .below = calloc(r->limit / 64 + 1, 8), .depth = calloc(r->file.count + 1, 1) };
	const struct candidate *best;
	int rc = f.below && f.depth ? 0 : rescue_no_memory(r);
	for (unsigned i = 0; rc == 0 && i < 2; i++)
		if (sound[i] && m[i].tree[STORE_TREE].root != NO_PAGE)
			rc = try_tree(&f, &m[i].tree[STORE_TREE]);
	if (rc == 0)
		rc = try_pages(&f);
	for (unsigned i = 0; i < 2; i++)
		if (sound[i] && (!*told || m[i].transaction > r->meta.transaction)) {
			r->meta = m[i];
			*told = true;
		}
	best = is_better(&f.part, &f.best) ? &f.part : &f.best;
	if (rc == 0 && best->tree.depth > 0 && (!*told || r->meta.tree[STORE_TREE].root != best->tree.root)) {
		r->meta = (struct page_meta){ .last = r->limit - 1 };
		r->meta.tree[STORE_TREE] = best->tree;
		*told = false;
	}
	if (rc == 0)
		rc = any_ahead(r, best, &r->newest_lost);
	if (r->newest_lost) {
		r->result->lost_pages++;
		rescue_say(r, "store", "of the last commits only parts are left: what they settled may be delivered again");
	}
	candidate_free(&f.best);
	candidate_free(&f.part);
	candidate_free(&f.next);
	free(f.below);
	free(f.depth);
	return rc;
}

int wreck_choose(struct rescue *r, bool *told)
{
	struct page_meta m[2];
	const bool sound[2] = { page_meta(&r->file, 0, &m[0]), page_meta(&r->file, 1, &m[1]) };
	*told = false;
	r->meta.tree[STORE_TREE].root = NO_PAGE;
	if (sound[0] && sound[1]) {
		unsigned newest = m[1].transaction > m[0].transaction;
		uint64_t apart = m[newest].transaction - m[!newest].transaction;
		*told = apart == 1 || m[newest].transaction == 0;
		if (*told)
			r->meta = m[newest];
	}
	if (*told)
		return 0;
	say_meta(r, sound);
	return choose_among(r, m, sound, told);
}
