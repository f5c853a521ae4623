/* SPDX-License-Identifier: ISC */
/*
 * LMDB's data file read page by page, without LMDB, which trusts every byte of it: here no byte is trusted, a file of
 * any content is read to the end and in bounded time.
 */
#ifndef PAGES_H
#define PAGES_H

#include "store/store.h"

struct pages_count {
	uint64_t used;		/* pages that were reached: both meta pages, all of both trees */
	uint64_t free;		/* in the list of free pages */
	uint64_t adrift;	/* neither: their space is lost until the file is written anew, and nothing else */
	uint64_t entries;	/* of the store's tree */
	uint64_t faults;
};

struct pages_watch {		/* each may be NULL */
	void (*fault)(uint64_t page, const char *what, void *context);	/* "is reached twice" */
	bool (*step)(const struct pages_count *sofar, void *context);	/* now and then; false ends it: LMQ_EINTR */
	void *context;
};

/*
 * Checks every page of the state that a read transaction of the store sees, and counts them. To be called right after
 * it began: LMQ_EBUSY, without a sentence, where two commits came in between, so that nothing in the file says any more
 * where that state begins; the caller renews the transaction and calls again. 0 also where faults were found.
 */
int pages_check(lmq_store *s, MDB_txn *t, struct pages_count *count, const struct pages_watch *watch);

/* ---- page.c: the file, and what stands in one page ----------------------------------------------- */

enum { SPARE_PAGES = 256 };	/* that the file may lack at its end: they were taken and given back unwritten */
enum { PAGE_LEAST = 512, PAGE_MOST = 32768, PAGE_HEADER = 16, DEPTH_MOST = 32, PAGE_KEY_MAX = 511 };
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };	/* flags of a page */
enum { FREE_TREE, STORE_TREE, TREES };	/* LMDB's list of free pages, and its main table, which is ours */
#define NO_PAGE UINT64_MAX

struct page_file {
	int fd;
	uint32_t size;		/* of a page */
	uint64_t count;		/* whole pages in the file */
};

struct page_tree {		/* MDB_db */
	uint16_t flags, depth;
	uint64_t branches, leaves, overflows, entries;
	uint64_t root;		/* NO_PAGE: it is empty */
};

struct page_meta {		/* MDB_meta */
	uint64_t last, transaction;
	struct page_tree tree[TREES];
};

struct page_node {		/* MDB_node */
	const uint8_t *key;
	size_t key_size;
	uint64_t page;		/* of a branch: the child; of a leaf: where the value begins; NO_PAGE: it lies in the leaf */
	const uint8_t *value;
	uint64_t value_size;
};

/* Sets size by what the meta pages say. LMQ_EIO. */
int page_file_open(lmq_store *s, int fd, struct page_file *f);
/* False: it is no meta page, or says what cannot be. */
bool page_meta(const struct page_file *f, unsigned number, struct page_meta *m);
/* The first bytes of a page, or all of it. False: it is not there, or the disk does not give it. */
bool page_read(const struct page_file *f, uint64_t number, void *to, size_t size);
uint64_t page_span(const struct page_file *f, uint64_t value_size);	/* overflow pages of a value */
/* What is wrong with a branch or leaf with that number, all of its nodes among it; NULL: nothing. */
const char *page_fault(const struct page_file *f, const uint8_t *page, uint64_t number);
/* And with the first of the overflow pages of a value. */
const char *page_overflow_fault(const struct page_file *f, uint64_t number, uint64_t value_size);
bool page_is_leaf(const uint8_t *page);
/* As many as the page says, but not more than fit; and one of them: false where it does not lie in the page. */
unsigned page_nodes(const struct page_file *f, const uint8_t *page);
bool page_node(const struct page_file *f, const uint8_t *page, unsigned i, struct page_node *n);

/* ---- tree.c ------------------------------------------------------------------------------------ */

struct page_bound {		/* a key; size 0: there is none */
	uint8_t key[PAGE_KEY_MAX];
	size_t size;
};
int bound_compare(const void *a, size_t a_size, const void *b, size_t b_size);	/* as LMDB orders keys */

struct page_walk {
	const struct page_file *file;
	uint64_t end;		/* pages from here on do not belong to the state */
	uint64_t limit;		/* and these not to the file: no bit is kept of them */
	uint64_t *reached;	/* bit: the page was */
	const uint64_t *barred;	/* bit: it is in the list of free pages; NULL: not known */
	/* NULL, or whether such a page is taken all the same; its keys lie in [*from, *to), NULL: it is one of a value. */
	bool (*disputed)(uint64_t page, const struct page_bound *from, const struct page_bound *to, void *context);
	uint64_t *used;		/* counted up */
	/* A value of the tree. Anything but 0 ends the walk. */
	int (*entry)(const struct page_node *n, void *context);
	/* A page that is not what it has to be; what lies below it, keys in [*from, *to), is left out. */
	int (*fault)(uint64_t page, const char *what, const struct page_bound *from, const struct page_bound *to,
		void *context);
	/* The same of a value on pages of its own. */
	int (*value_fault)(const struct page_node *n, const char *what, void *context);
	void *context;
	struct page_tree found;	/* what was counted */
};
/* Walks a tree in the order of its keys. LMQ_ENOMEM, or what a callback returned. */
int page_walk(struct page_walk *w, const struct page_tree *t, bool numbers);
/* Sets a bit for each page that a value of the list of free pages names. False: it is none, or names what cannot be. */
bool page_list(const struct page_walk *w, const struct page_node *n, uint64_t *bits, uint64_t *count);
static inline bool page_bit(const uint64_t *bits, uint64_t page)
{
	return bits[page / 64] >> page % 64 & 1;
}

#endif
