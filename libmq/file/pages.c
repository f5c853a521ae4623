/* SPDX-License-Identifier: ISC */
/* A check of the trees of LMDB's data file as a whole: every page is in one of them, or free, and no page in two. */
#include "pages.h"

#include "store/meta.h"

#include <stdio.h>
#include <string.h>

enum { STEP_PAGES = 4096 };	/* between two calls of step */

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
	return magic == (uint32_t)META_MAGIC;
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
