/* SPDX-License-Identifier: ISC */
/*
 * LMDB's file, read without LMDB: the input is a file of pages of 512 bytes, of which both trees are walked by both meta
 * pages. Nothing outside of a page is shown, no page twice.
 */
#include "fuzz.h"

#include "file/pages.h"

#include <sys/mman.h>
#include <unistd.h>

struct visit {
	struct page_walk walk;
	uint64_t *free, *shown, listed;
	bool list;		/* the list of free pages is being walked */
	struct page_bound last;
	volatile uint8_t sum;
};

static void touch(struct visit *v, const uint8_t *at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		v->sum = (uint8_t)(v->sum + at[i]);
}

/* Where a value begins on pages of its own. */
static void show(struct visit *v, uint64_t page)
{
	MUST(page >= 2 && page < v->walk.limit && !page_bit(v->shown, page));
	v->shown[page / 64] |= (uint64_t)1 << page % 64;
}

static int entry(const struct page_node *n, void *context)
{
	struct visit *v = context;
	MUST(n->key_size <= PAGE_KEY_MAX);
	touch(v, n->key, n->key_size);
	if (n->page == NO_PAGE)
		touch(v, n->value, n->value_size);
	else
		show(v, n->page);
	if (v->list) {
		page_list(&v->walk, n, v->free, &v->listed);
		return 0;
	}
	MUST(v->last.size == 0 || bound_compare(v->last.key, v->last.size, n->key, n->key_size) < (fuzz_fault() ? -1 : 0));
	memcpy(v->last.key, n->key, n->key_size);
	v->last.size = n->key_size;
	return 0;
}

static int fault(uint64_t page, const char *what, const struct page_bound *from, const struct page_bound *to, void *context)
{
	(void)page;
	touch(context, from->key, from->size);
	touch(context, to->key, to->size);
	MUST(*what);
	return 0;
}

static int value_fault(const struct page_node *n, const char *what, void *context)
{
	touch(context, n->key, n->key_size);
	MUST(*what);
	return 0;
}

static void walk(const struct page_file *f, const struct page_meta *m)
{
	struct visit v = { .listed = 0 };
	uint64_t used = 0, limit = m->last + 1 < f->count + SPARE_PAGES ? m->last + 1 : f->count + SPARE_PAGES;
	v.walk = (struct page_walk){ .file = f, .end = m->last + 1, .limit = limit, .used = &used, .entry = entry,
		.fault = fault, .value_fault = value_fault, .context = &v };
	v.walk.reached = calloc(limit / 64 + 1, sizeof(uint64_t));
	v.free = calloc(limit / 64 + 1, sizeof(uint64_t));
	v.shown = calloc(limit / 64 + 1, sizeof(uint64_t));
	if (!v.walk.reached || !v.free || !v.shown)
		abort();
	v.list = true;
	MUST(page_walk(&v.walk, &m->tree[FREE_TREE], true) == 0);
	v.list = false;
	v.walk.barred = v.free;
	MUST(page_walk(&v.walk, &m->tree[STORE_TREE], false) == 0);
	MUST(used <= limit);
	free(v.walk.reached);
	free(v.free);
	free(v.shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct page_file f;
	struct page_meta m;
	uint8_t page[PAGE_MOST];
	if (fd < 0)
		fd = memfd_create("pages", MFD_CLOEXEC);
	if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	MUST(page_file_open(fuzz_store(), fd, &f) == 0);
	MUST(f.size >= PAGE_LEAST && f.size <= PAGE_MOST);
	for (unsigned i = 0; i < 2; i++)
		if (page_meta(&f, i, &m))
			walk(&f, &m);
	/* As one that nothing leads to is looked at. */
	for (uint64_t i = 0; page_read(&f, i, page, f.size); i++)
		for (unsigned k = 0; k < page_nodes(&f, page); k++) {
			struct page_node n;
			if (page_node(&f, page, k, &n))
				MUST(n.key >= page && n.key + n.key_size <= page + f.size);
		}
	return 0;
}
