/* SPDX-License-Identifier: ISC */
/*
 * entry STORE WHAT BYTE: damages a store's file, behind LMDB's back. WHAT is
 *
 *	a letter	the table: of each of its entries the lowest bit of that byte of the key is changed, or from 100 on
 *			of the value
 *	root		the page that the tree begins with is wiped
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

int main(int argc, char **argv)
{
	static const uint8_t nothing[PAGE_MOST];
	struct page_meta m[2];
	char path[4096];
	unsigned newest;
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
	if (strcmp(what, "root") == 0)
		put((off_t)(m[newest].tree[STORE_TREE].root * file.size), nothing, file.size);
	else
		walk(m[newest].tree[STORE_TREE].root);
	return 0;
}
