/* SPDX-License-Identifier: ISC */
/*
 * A repair: pages that the tree has and that the list of free pages names, too.
 *
 * One of the two is damaged. Where it is the list, the page is as new as all others. Where it is a branch, the page is an
 * old one, and the one that was in its place is named by nobody any more. So the list is the damaged one if without it
 * the tree has no fault, is as large as its meta page says, and no page that nobody names can be the one that was there.
 * If that is not so nothing tells, for what the list named before is a page that nobody names as well, and may be an
 * older one with the same keys.
 */
#include "rescue.h"

enum { DISPUTED_MOST = 64, ASK_ENTRIES = 4096 };

struct dispute {
	struct key from, to;	/* of its keys */
	bool leaf;
};

struct trial {
	struct rescue *r;
	uint64_t *reached;
	struct dispute disputes[DISPUTED_MOST];
	size_t count;
	uint64_t entries;
	bool sound;
};

static int on_entry(const struct page_node *n, void *context)
{
	struct trial *t = context;
	(void)n;
	return ++t->entries % ASK_ENTRIES == 0 ? rescue_ask(t->r) : 0;
}

static int on_fault(uint64_t page, const char *what, const struct page_bound *from, const struct page_bound *to,
	void *context)
{
	struct trial *t = context;
	(void)page, (void)what, (void)from, (void)to;
	t->sound = false;
	return 1;
}

static int on_value_fault(const struct page_node *n, const char *what, void *context)
{
	return on_fault(n->page, what, NULL, NULL, context);
}

/* What has pages of its own says whose it is, and grows old only as a part of something else. */
static bool on_dispute(uint64_t page, const struct page_bound *from, const struct page_bound *to, void *context)
{
	struct trial *t = context;
	struct dispute *d = &t->disputes[t->count];
	uint8_t header[PAGE_HEADER];
	if (!from)
		return true;
	if (t->count == DISPUTED_MOST || !page_read(&t->r->file, page, header, sizeof header)) {
		t->sound = false;
		return false;
	}
	*d = (struct dispute){ .from = bound_key(from), .to = bound_key(to), .leaf = page_is_leaf(header) };
	t->count++;
	return true;
}

static bool is_between(const struct dispute *d, const struct page_node *n)
{
	return bound_compare(n->key, n->key_size, d->from.bytes, d->from.size) >= 0 &&
		(d->to.size == 0 || bound_compare(n->key, n->key_size, d->to.bytes, d->to.size) < 0);
}

/* Whether a page that nobody names can be what one of those in dispute stands in the place of. */
static bool is_rival(const struct trial *t, const uint8_t *page)
{
	const struct page_file *f = &t->r->file;
	struct page_node n;
	for (unsigned i = 0; i < page_nodes(f, page); i++)
		for (size_t j = 0; page_node(f, page, i, &n) && j < t->count; j++)
			if (page_is_leaf(page) == t->disputes[j].leaf && n.key_size > 0 && is_between(&t->disputes[j], &n))
				return true;
	return false;
}

static int find_rival(struct trial *t)
{
	struct rescue *r = t->r;
	uint8_t page[PAGE_MOST];
	int rc = 0;
	for (uint64_t i = 2; rc == 0 && t->sound && i < r->file.count; i++) {
		bool named = page_bit(t->reached, i) || page_bit(r->reached, i) || page_bit(r->free, i);
		rc = rescue_step(r);
		if (rc == 0 && !named && page_read(&r->file, i, page, r->file.size) && !page_fault(&r->file, page, i))
			t->sound = !is_rival(t, page);
	}
	return rc;
}

static bool same_size(const struct page_tree *a, const struct page_tree *b)
{
	return a->entries == b->entries && a->branches == b->branches && a->leaves == b->leaves &&
		a->overflows == b->overflows;
}

int dispute_settle(struct rescue *r, bool *list_wrong)
{
	struct trial *t = calloc(1, sizeof *t);
	const struct page_tree *says = &r->meta.tree[STORE_TREE];
	struct page_walk w = { .file = &r->file, .end = r->meta.last + 1, .limit = r->limit, .barred = r->free,
		.disputed = on_dispute, .used = &(uint64_t){ 0 }, .entry = on_entry, .fault = on_fault,
		.value_fault = on_value_fault, .context = t };
	int rc;
	*list_wrong = false;
	if (!t || !(t->reached = calloc(r->limit / 64 + 1, sizeof *t->reached))) {
		free(t);
		return rescue_no_memory(r);
	}
	t->r = r;
	t->sound = true;
	w.reached = t->reached;
	if (w.end < w.limit)
		w.limit = w.end;
	rc = page_walk(&w, says, false);
	if (rc == 0)
		rc = same_size(&w.found, says) ? find_rival(t) : 1;
	*list_wrong = rc == 0 && t->sound;
	free(t->reached);
	free(t);
	return rc == LMQ_ENOMEM ? rescue_no_memory(r) : rc < 0 ? rc : 0;
}
