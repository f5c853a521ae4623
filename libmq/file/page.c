/* SPDX-License-Identifier: ISC */
/*
 * One page of LMDB's data file, of data version 1 on 64-bit machines, as LMDB 0.9 writes it (MDB_page, MDB_meta,
 * MDB_node in its source). Everything is in the byte order of the machine.
 *
 *	page	u64 number, u16 unused, u16 flags, u16 lower, u16 upper; of an overflow page u32 pages instead of these two;
 *		u16 offsets of nodes, up to lower; free room, up to upper; nodes, packed from the end of the page
 *	node	u16 low, u16 high, u16 flags, u16 size of key; key; a leaf's value. Low and high are the size of the
 *		value, or, with the flags as the third word, the number of a branch's child.
 */
#include "pages.h"

#include "store/meta.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODE_HEADER = 8, NODE_BIG = 1 };

static uint16_t half(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static uint64_t word(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* ---- the file ------------------------------------------------------------------------------- */

bool page_read(const struct page_file *f, uint64_t number, void *to, size_t size)
{
	uint8_t *p = to;
	off_t at;
	if (number >= f->count || size > f->size)
		return false;
	at = (off_t)(number * f->size);
	while (size > 0) {
		ssize_t n = pread(f->fd, p, size, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

static bool is_meta(const struct meta_page *m)
{
	return m->flags == META_FLAG && m->magic == (uint32_t)META_MAGIC && m->version == META_VERSION;
}

static bool is_page_size(uint64_t size)
{
	return size >= PAGE_LEAST && size <= PAGE_MOST && (size & (size - 1)) == 0;
}

/* The first meta page says it; where that is gone, the second one, wherever it is found, or else this machine. */
static uint32_t find_page_size(int fd)
{
	struct meta_page m;
	for (uint64_t at = 0; at <= PAGE_MOST; at = at == 0 ? PAGE_LEAST : 2 * at)
		if (pread(fd, &m, sizeof m, (off_t)at) == sizeof m && is_meta(&m) && is_page_size(m.tree[0].page_size) &&
				(at == 0 || at == m.tree[0].page_size))
			return m.tree[0].page_size;
	return (uint32_t)sysconf(_SC_PAGESIZE);
}

int page_file_open(lmq_store *s, int fd, struct page_file *f)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return fail_errno(s, s->path, errno);
	f->fd = fd;
	f->size = find_page_size(fd);
	f->count = (uint64_t)st.st_size / f->size;
	return 0;
}

/* An empty tree has no root; every page has at least one entry. */
static bool tree_sound(const struct page_tree *t, int i, uint64_t last)
{
	if (t->flags != (i == FREE_TREE ? MDB_INTEGERKEY : 0))
		return false;
	if (t->root == NO_PAGE)
		return t->depth == 0 && t->entries == 0;
	return t->root >= 2 && t->root <= last && t->depth >= 1 && t->depth <= DEPTH_MOST;
}

bool page_meta(const struct page_file *f, unsigned number, struct page_meta *m)
{
	struct meta_page b;
	if (!page_read(f, number, &b, sizeof b) || !is_meta(&b) || b.number != number || b.tree[0].page_size != f->size)
		return false;
	/* The file may lack a few pages at its end, which were taken and given back without having been written. */
	if (b.last < 1 || b.last > INT64_MAX / PAGE_MOST)
		return false;
	*m = (struct page_meta){ .last = b.last, .transaction = b.transaction };
	for (int i = 0; i < TREES; i++) {
		m->tree[i] = (struct page_tree){ b.tree[i].flags, b.tree[i].depth, b.tree[i].branches, b.tree[i].leaves,
			b.tree[i].overflows, b.tree[i].entries, b.tree[i].root };
		if (!tree_sound(&m->tree[i], i, b.last))
			return false;
	}
	return m->transaction < 2 ? number >= m->transaction : m->transaction % 2 == number;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

uint64_t page_span(const struct page_file *f, uint64_t value_size)
{
	return (PAGE_HEADER - 1 + value_size) / f->size + 1;
}

bool page_is_leaf(const uint8_t *page)
{
	return half(page + 10) & PAGE_LEAF;
}

unsigned page_nodes(const struct page_file *f, const uint8_t *page)
{
	unsigned lower = half(page + 12);
	if (lower > f->size)
		lower = f->size;
	return lower < PAGE_HEADER ? 0 : (lower - PAGE_HEADER) / 2;
}

bool page_node(const struct page_file *f, const uint8_t *page, unsigned i, struct page_node *n)
{
	size_t at = half(page + PAGE_HEADER + 2 * i), room;
	const uint8_t *p = page + at;
	uint16_t flags;
	if (at < PAGE_HEADER || at + NODE_HEADER > f->size)
		return false;
	room = f->size - at - NODE_HEADER;
	flags = half(p + 4);
	n->key = p + NODE_HEADER;
	n->key_size = half(p + 6);
	if (n->key_size > room || n->key_size > PAGE_KEY_MAX)
		return false;
	room -= n->key_size;
	n->value = n->key + n->key_size;
	n->value_size = (uint64_t)half(p + 2) << 16 | half(p);
	n->page = NO_PAGE;
	if (!page_is_leaf(page)) {
		n->page = (uint64_t)flags << 32 | n->value_size;
		n->value_size = 0;
		return true;
	}
	if (flags == 0)
		return n->value_size <= room;
	if (flags != NODE_BIG || room < 8)
		return false;
	n->page = word(n->value);
	return true;
}

/* The nodes lie one behind the other, without gaps, from upper to the end; keys ascend, which the walk looks at. */
static bool nodes_packed(const struct page_file *f, const uint8_t *page, unsigned upper)
{
	size_t sum = 0;
	for (unsigned i = 0; i < page_nodes(f, page); i++) {
		struct page_node n;
		size_t at = half(page + PAGE_HEADER + 2 * i), size;
		if (at < upper || at % 2 != 0 || !page_node(f, page, i, &n))
			return false;
		size = NODE_HEADER + n.key_size + (page_is_leaf(page) ? n.page == NO_PAGE ? (size_t)n.value_size : 8 : 0);
		sum += size + size % 2;
	}
	return sum == f->size - upper;
}

const char *page_fault(const struct page_file *f, const uint8_t *page, uint64_t number)
{
	unsigned flags = half(page + 10), lower = half(page + 12), upper = half(page + 14), count;
	if (word(page) != number)
		return "has another number";
	if (flags != PAGE_BRANCH && flags != PAGE_LEAF)
		return "is neither branch nor leaf";
	count = page_nodes(f, page);
	if (lower < PAGE_HEADER || lower % 2 != 0 || lower > upper || upper > f->size)
		return "has bounds that cannot be";
	if (count < (flags == PAGE_BRANCH ? 2 : 1))
		return "has too few entries";
	return nodes_packed(f, page, upper) ? NULL : "has entries that do not lie in it";
}

const char *page_overflow_fault(const struct page_file *f, uint64_t number, uint64_t value_size)
{
	uint8_t header[PAGE_HEADER];
	uint32_t pages;
	if (!page_read(f, number, header, sizeof header))
		return "cannot be read";
	if (word(header) != number)
		return "has another number";
	if (half(header + 10) != PAGE_OVERFLOW)
		return "is no overflow page";
	memcpy(&pages, header + 12, sizeof pages);
	return pages == page_span(f, value_size) ? NULL : "is another number of overflow pages than its value takes";
}
