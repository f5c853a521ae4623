/* SPDX-License-Identifier: ISC */
/*
 * entry STORE WHAT BYTE: damages a store's file, behind LMDB's back. WHAT is
 *
 *	a letter	the table: of each of its entries the lowest bit of that byte of the key is changed, or from 100 on
 *			of the value
 *	root		the page that the tree begins with is wiped
 *	child		that page is a branch, and its entry with the number BYTE leads nowhere
 *	older		that entry leads to a leaf from the list of free pages which begins with the same key
 *	listed		in the list of free pages the last that was of that kind (enum PAGE_BRANCH) becomes that page
 *	newer		the store's record says that it is of a format that there is not yet
 */
#include "file/pages.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct page_file file;
static const char *what;
static size_t byte;

static void must(bool good, const char *doing)
{
	if (good)
		return;
	fprintf(stderr, "entry: %s\n", doing);
	exit(1);
}

static void put(off_t at, const void *data, size_t size)
{
	must(pwrite(file.fd, data, size, at) == (ssize_t)size, "writing");
}

static void make_newer(const struct page_node *n, off_t at)
{
	struct key k = key_store();
	struct store_record r;
	uint8_t value[STORE_RECORD];
	must(store_record_get(&r, &k, n->value, (size_t)n->value_size), "the store's record");
	r.version = FORMAT_VERSION + 1;
	must(store_record_put(&r, &k, value) == n->value_size, "the store's record");
	put(at + (off_t)n->key_size, value, sizeof value);
}

/* One entry of a leaf; at: of its key. */
static void damage(const struct page_node *n, off_t at)
{
	off_t value = n->page == NO_PAGE ? at + (off_t)n->key_size : (off_t)(n->page * file.size) + PAGE_HEADER;
	uint8_t changed;
	if (strcmp(what, "newer") == 0 && *n->key == 'S')
		make_newer(n, at);
	if (strlen(what) != 1 || *n->key != (uint8_t)*what)
		return;
	at = byte < 100 ? at + (off_t)byte : value + (off_t)byte - 100;
	must(pread(file.fd, &changed, 1, at) == 1, "reading");
	changed ^= 1;
	put(at, &changed, 1);
}

static void walk(uint64_t number)
{
	uint8_t page[PAGE_MOST];
	struct page_node n;
	must(page_read(&file, number, page, file.size), "reading");
	for (unsigned i = 0; i < page_nodes(&file, page); i++) {
		must(page_node(&file, page, i, &n), "a page");
		if (page_is_leaf(page))
			damage(&n, (off_t)(number * file.size) + (n.key - page));
		else
			walk(n.page);
	}
}

/* The first key of a leaf. */
static bool first_key(uint64_t number, uint8_t page[PAGE_MOST], struct page_node *n)
{
	return page_read(&file, number, page, file.size) && !page_fault(&file, page, number) && page_is_leaf(page) &&
		page_node(&file, page, 0, n);
}

static uint64_t child;

static bool is_kind(uint64_t number)
{
	uint8_t page[PAGE_MOST];
	uint16_t kind = 0;
	if (page_read(&file, number, page, file.size))
		memcpy(&kind, page + 10, sizeof kind);
	return kind == byte;
}

static bool is_older(uint64_t number)
{
	uint8_t a[PAGE_MOST], b[PAGE_MOST];
	struct page_node x, y;
	return first_key(number, a, &x) && first_key(child, b, &y) &&
		bound_compare(x.key, x.key_size, y.key, y.key_size) == 0 && memcmp(a + 16, b + 16, file.size - 16) != 0;
}

/* The last number in the list of such a page, and where it lies. Each entry of the list is a count and numbers. */
static uint64_t find_free(uint64_t list, bool (*is_such)(uint64_t number), off_t *where)
{
	uint8_t page[PAGE_MOST];
	struct page_node n;
	uint64_t found = 0, free;
	must(page_read(&file, list, page, file.size) && page_is_leaf(page), "the list of free pages");
	for (unsigned i = 0; i < page_nodes(&file, page); i++) {
		off_t at;
		must(page_node(&file, page, i, &n), "a page");
		at = n.page == NO_PAGE ? (off_t)(list * file.size) + (n.value - page) : (off_t)(n.page * file.size) + PAGE_HEADER;
		for (uint64_t number = 8; number < n.value_size; number += 8)
			if (pread(file.fd, &free, sizeof free, at + (off_t)number) == sizeof free && is_such(free)) {
				found = free;
				*where = at + (off_t)number;
			}
	}
	must(found > 0, "no such page in the list");
	return found;
}

/* The number of a child begins with the first two words of its node, in front of a header of four and the key. */
static void lead(uint64_t root, uint64_t list)
{
	uint8_t page[PAGE_MOST];
	struct page_node n;
	uint32_t number = UINT32_MAX;
	off_t at;
	must(page_read(&file, root, page, file.size) && !page_is_leaf(page), "reading a branch");
	must(byte < page_nodes(&file, page) && page_node(&file, page, (unsigned)byte, &n), "an entry of it");
	child = n.page;
	if (strcmp(what, "older") == 0)
		number = (uint32_t)find_free(list, is_older, &at);
	put((off_t)(root * file.size) + (n.key - page) - 8, &number, sizeof number);
}

int main(int argc, char **argv)
{
	static const uint8_t nothing[PAGE_MOST];
	struct page_meta m[2];
	char path[4096];
	unsigned newest;
	uint64_t root, list;
	off_t at;
	lmq_store *s;
	if (argc != 4)
		return 64;
	what = argv[2];
	byte = strtoul(argv[3], NULL, 10);
	must(lmq_store_open(argv[1], NULL, &s) == 0, "opening");
	snprintf(path, sizeof path, "%s/data.mdb", argv[1]);
	must(page_file_open(s, open(path, O_RDWR), &file) == 0, path);
	lmq_store_close(s);
	must(page_meta(&file, 0, &m[0]) && page_meta(&file, 1, &m[1]), "meta pages");
	newest = m[1].transaction > m[0].transaction;
	root = m[newest].tree[STORE_TREE].root;
	list = m[newest].tree[FREE_TREE].root;
	if (strcmp(what, "root") == 0)
		put((off_t)(root * file.size), nothing, file.size);
	else if (strcmp(what, "child") == 0 || strcmp(what, "older") == 0)
		lead(root, list);
	else if (strcmp(what, "listed") == 0) {
		find_free(list, is_kind, &at);
		put(at, &root, sizeof root);
	} else
		walk(root);
	return 0;
}
