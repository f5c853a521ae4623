/* SPDX-License-Identifier: ISC */
/*
 * A damaged data file: what of it can be read.
 *
 * The tree of the newest state is walked as pages.c does it. A page that is not what it has to be leaves a gap: a range
 * of keys of which something may be lost. Only for keys in gaps is anything else looked at: what can still be made out in
 * the damaged page itself; then all pages that the walk did not reach, which are the leaves below a damaged branch, those
 * that are not in the list of free pages first; and at last free ones, which hold what was there some time ago. For
 * every value carries a CRC of itself and its key, whatever is found is something that was stored; where there are several
 * under one key, the newest is taken.
 */
#include "rescue.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VALUE_MOST = 8192 };

/* ---- values --------------------------------------------------------------------------------- */

bool wreck_sound(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	struct block b;
	struct key k = { .size = key_size };
	if (key_size == 0 || key_size >= KEY_MAX || !memchr("SCPEHLGFMURQDKIJNBVTX", *key, 21))
		return false;
	memcpy(k.bytes, key, key_size);
	if (*key == 'L')
		return key_size == BLOCK_KEY && block_get(&b, key, key_size, value, size) &&
			(b.count == 0) == (get32(key + BLOCK_PREFIX + 8) != 0) && (b.count > 0 || b.skip == b.size);
	if (*key == 'B')
		return key_size == CHUNK_KEY && chunk_check(value, size, &k);
	return record_sound(&k, value, size);
}

/* Of a value where the leaf says that it lies; NULL where that cannot be read. */
static const uint8_t *value_of(struct rescue *r, const struct page_node *n, uint8_t buffer[VALUE_MOST])
{
	uint64_t at = 0;
	if (n->page == NO_PAGE)
		return n->value;
	if (n->value_size == 0 || n->value_size > VALUE_MOST || n->page >= r->file.count)
		return NULL;
	while (at < n->value_size) {
		uint8_t page[PAGE_MOST];
		uint64_t place = PAGE_HEADER + at, in = place % r->file.size, part = r->file.size - in;
		if (part > n->value_size - at)
			part = n->value_size - at;
		if (!page_read(&r->file, n->page + place / r->file.size, page, (size_t)(in + part)))
			return NULL;
		memcpy(buffer + at, page + in, part);
		at += part;
	}
	return buffer;
}

/* How far two values with the same key, of which both are sound, tell that the second is the newer one. */
static unsigned holes_in(const struct block *b)
{
	const uint8_t *p = b->payload + b->skip, *end = b->payload + b->size;
	unsigned holes = 0;
	for (unsigned i = 0; i < b->count; i++) {
		uint64_t size;
		const uint8_t *start = get_varint(p, end, &size);
		if (!start || start >= end || size > (uint64_t)(end - start))
			break;
		holes += (*start & RECORD_HOLE) != 0;
		p = start + size;
	}
	return holes;
}

static bool newer_block(const struct key *k, const MDB_val *old, const uint8_t *value, size_t size)
{
	struct block a, b;
	unsigned a_holes, b_holes;
	if (!block_get(&a, k->bytes, k->size, old->mv_data, old->mv_size) || !block_get(&b, k->bytes, k->size, value, size))
		return false;
	a_holes = holes_in(&a);
	b_holes = holes_in(&b);
	if (a.count != b.count)
		return b.count > a.count;
	return a_holes != b_holes ? b_holes > a_holes : size > old->mv_size;
}

static bool newer(const struct key *k, const MDB_val *old, const uint8_t *value, size_t size)
{
	union {
		struct store_record store;
		struct head_record head;
		struct group_record group;
		struct id_record id;
		uint64_t number;
	} a, b;
	switch (k->bytes[0]) {
	case 'L':
		return newer_block(k, old, value, size);
	case 'S':
		return store_record_get(&a.store, k, old->mv_data, old->mv_size) && store_record_get(&b.store, k, value, size) &&
			b.store.next_blob + b.store.next_id > a.store.next_blob + a.store.next_id;
	case 'H':
		return head_record_get(&a.head, k, old->mv_data, old->mv_size) && head_record_get(&b.head, k, value, size) &&
			(b.head.end != a.head.end ? b.head.end > a.head.end : b.head.first > a.head.first);
	case 'G':
		return group_record_get(&a.group, k, old->mv_data, old->mv_size) && group_record_get(&b.group, k, value, size) &&
			b.group.settled + b.group.next > a.group.settled + a.group.next;
	case 'I':
		return id_record_get(&a.id, k, old->mv_data, old->mv_size) && id_record_get(&b.id, k, value, size) &&
			b.id.time > a.id.time;
	case 'N':
		return number_get(&a.number, 8, k, old->mv_data, old->mv_size) && number_get(&b.number, 8, k, value, size) &&
			b.number > a.number;
	default:
		return false;
	}
}

/* A sound value that was found outside of the tree. */
static int salvage(struct rescue *r, const struct key *k, const uint8_t *value, size_t size)
{
	struct gap *g = gap_find(r, k->bytes, k->size);
	MDB_val old;
	int rc;
	if (!g)
		return 0;
	rc = rescue_get(r, k, &old);
	if (rc == 0 && !newer(k, &old, value, size))
		return 0;
	if (rc != 0 && rc != LMQ_END)
		return rc;
	r->entries += rc == LMQ_END;
	r->aged = r->aged || (r->among_free && !memchr("LB", k->bytes[0], 2));
	g->filled = g->filled || (!g->page && !r->among_free);
	return rescue_put(r, k, value, size);
}

static int take(struct rescue *r, const struct page_node *n)
{
	uint8_t buffer[VALUE_MOST];
	const uint8_t *value = value_of(r, n, buffer);
	bool sound = value && wreck_sound(n->key, n->key_size, value, (size_t)n->value_size);
	struct key k = { .size = n->key_size };
	if (!sound)
		return 1;
	memcpy(k.bytes, n->key, n->key_size);
	if (r->salvaging)
		return salvage(r, &k, value, (size_t)n->value_size);
	r->entries++;
	return rescue_put(r, &k, value, (size_t)n->value_size);
}

/* ---- the tree ------------------------------------------------------------------------------- */

static void lost_page(struct rescue *r, uint64_t page, const char *what)
{
	char name[32] = "a page";
	if (page != NO_PAGE)
		snprintf(name, sizeof name, "page %llu", (unsigned long long)page);
	r->result->lost_pages++;
	rescue_say(r, name, "%s", what);
}

static int on_entry(const struct page_node *n, void *context)
{
	struct rescue *r = context;
	int rc = take(r, n);
	if (rc <= 0)
		return rc;
	lost_page(r, n->page, n->page == NO_PAGE ? "holds a value with a wrong checksum" : "is a value with a wrong checksum");
	return gap_of_value(r, n->key, n->key_size);
}

/* The fault may lie in what only LMDB relies on. */
static int on_value_fault(const struct page_node *n, const char *what, void *context)
{
	struct rescue *r = context;
	int rc = take(r, n);
	if (rc > 0) {
		lost_page(r, n->page, what);
		return gap_of_value(r, n->key, n->key_size);
	}
	r->result->mended++;
	return rc;
}

static int on_fault(uint64_t page, const char *what, const struct page_bound *from, const struct page_bound *to,
	void *context)
{
	struct rescue *r = context;
	struct gap g = { .page = true };
	lost_page(r, page, what);
	g.from = bound_key(from);
	g.to = bound_key(to);
	/* It will be looked at again, as one that was not reached. */
	if (page < r->limit)
		r->reached[page / 64] &= ~((uint64_t)1 << page % 64);
	return gap_add(r, &g);
}

static int walk_tree(struct rescue *r)
{
	struct page_walk w = { .file = &r->file, .end = r->meta.last + 1, .limit = r->limit, .reached = r->reached,
		.barred = r->free_known ? r->free : NULL, .used = &(uint64_t){ 0 }, .entry = on_entry, .fault = on_fault,
		.value_fault = on_value_fault, .context = r };
	int rc;
	if (w.end < r->limit)
		w.limit = w.end;
	rc = page_walk(&w, &r->meta.tree[STORE_TREE], false);
	return rc == LMQ_ENOMEM ? rescue_no_memory(r) : rc;
}

/* ---- the list of free pages ------------------------------------------------------------------- */

struct list {
	struct rescue *r;
	struct page_walk *w;
	uint64_t count;
	bool sound;
};

static int list_entry(const struct page_node *n, void *context)
{
	struct list *l = context;
	l->sound = page_list(l->w, n, l->r->free, &l->count) && l->sound;
	return 0;
}

static int list_value(const struct page_node *n, const char *what, void *context)
{
	struct list *l = context;
	(void)n, (void)what;
	l->sound = false;
	return 0;
}

static int list_fault(uint64_t page, const char *what, const struct page_bound *from, const struct page_bound *to,
	void *context)
{
	struct list *l = context;
	(void)page, (void)what, (void)from, (void)to;
	l->sound = false;
	return 0;
}

/* Where it cannot be read, nothing of what it says is relied on. */
static int walk_free(struct rescue *r)
{
	struct list l = { .r = r, .sound = true };
	struct page_walk w = { .file = &r->file, .end = r->meta.last + 1, .limit = r->limit, .reached = r->reached,
		.used = &(uint64_t){ 0 }, .entry = list_entry, .fault = list_fault,
		.value_fault = list_value, .context = &l };
	int rc;
	l.w = &w;
	rc = page_walk(&w, &r->meta.tree[FREE_TREE], true);
	for (uint64_t i = 2; rc == 0 && l.sound && i < r->limit; i++)
		l.sound = !(page_bit(r->free, i) && page_bit(r->reached, i));
	r->free_known = rc == 0 && l.sound;
	if (!r->free_known)
		memset(r->free, 0, (size_t)(r->limit / 64 + 1) * 8);
	return rc == LMQ_ENOMEM ? rescue_no_memory(r) : rc;
}

/* ---- other pages ---------------------------------------------------------------------------- */

/* Whatever it says of itself: a page that was taken for a leaf once, and of whose header not all is right, is tried too. */
static int salvage_leaf(struct rescue *r, uint8_t *page, uint64_t number)
{
	const uint16_t leaf = PAGE_LEAF;
	uint16_t flags, lower = (uint16_t)r->file.size;
	bool sound = !page_fault(&r->file, page, number);
	int rc = 0;
	memcpy(&flags, page + 10, sizeof flags);
	if (flags == PAGE_OVERFLOW || flags == PAGE_META || (sound && flags == PAGE_BRANCH))
		return 0;
	memcpy(page + 10, &leaf, sizeof leaf);
	if (!sound)
		memcpy(page + 12, &lower, sizeof lower);
	for (unsigned i = 0; rc >= 0 && i < page_nodes(&r->file, page); i++) {
		struct page_node n;
		if (page_node(&r->file, page, i, &n) && n.key_size > 0 && gap_find(r, n.key, n.key_size))
			rc = take(r, &n);
	}
	return rc < 0 ? rc : 0;
}

static int salvage_pages(struct rescue *r, bool free_ones)
{
	uint8_t page[PAGE_MOST];
	int rc = 0;
	for (uint64_t i = 2; rc == 0 && i < r->file.count; i++) {
		bool is_free = r->free_known && page_bit(r->free, i);
		if (!page_bit(r->reached, i) && is_free == free_ones && page_read(&r->file, i, page, r->file.size))
			rc = salvage_leaf(r, page, i);
	}
	return rc;
}

/* As many values as the state has: then the gaps have been filled. */
static bool is_whole(const struct rescue *r, bool told)
{
	return told && r->entries == r->meta.tree[STORE_TREE].entries;
}

static int salvage_all(struct rescue *r, bool told)
{
	int rc;
	gaps_sort(r);
	if (r->gap_count == 0)
		return 0;
	r->salvaging = true;
	r->among_free = !r->free_known;
	rc = salvage_pages(r, false);
	if (rc == 0 && !r->among_free && is_whole(r, told)) {
		r->result->mended += r->result->lost_pages;
		r->result->lost_pages = 0;
		r->gap_count = 0;
		return 0;
	}
	r->among_free = true;
	if (rc == 0 && r->free_known)
		rc = salvage_pages(r, true);
	if (r->aged)
		rescue_say(r, "store", "some records were found in old pages only: what messages had come to may be older than they are");
	return rc;
}

static int find_uuid(const struct page_node *n, void *context)
{
	struct rescue *r = context;
	struct key k = key_store();
	struct store_record store;
	if (n->key_size != 1 || *n->key != 'S' || n->page != NO_PAGE ||
			!store_record_get(&store, &k, n->value, (size_t)n->value_size))
		return 0;
	memcpy(r->uuid, store.uuid, sizeof r->uuid);
	r->uuid_known = true;
	return 1;
}

/* In any page, as it never changes. */
static void look_for_uuid(struct rescue *r)
{
	uint8_t page[PAGE_MOST];
	struct page_node n;
	for (uint64_t i = 2; !r->uuid_known && i < r->file.count; i++) {
		uint16_t flags;
		if (!page_read(&r->file, i, page, r->file.size))
			continue;
		memcpy(&flags, page + 10, sizeof flags);
		for (unsigned j = 0; flags == PAGE_LEAF && !r->uuid_known && j < page_nodes(&r->file, page); j++)
			if (page_node(&r->file, page, j, &n))
				find_uuid(&n, r);
	}
}

/* The marker has it too, as text. */
static void read_marker(struct rescue *r)
{
	char text[96];
	const char *p;
	size_t digits = 0;
	ssize_t n = r->s->marker >= 0 ? pread(r->s->marker, text, sizeof text - 1, 0) : -1;
	text[n > 0 ? n : 0] = '\0';
	p = strstr(text, "\nuuid ");
	for (p = p ? p + 6 : ""; *p && *p != '\n' && digits < 32; p++) {
		int value = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
		if (value < 0)
			continue;
		r->uuid[digits / 2] = (uint8_t)(digits % 2 ? r->uuid[digits / 2] | value : value << 4);
		digits++;
	}
	r->uuid_known = r->uuid_known || digits == 32;
}

int wreck_open(struct rescue *r, int fd)
{
	int rc = page_file_open(r->s, fd, &r->file);
	if (rc != 0)
		return rc;
	r->limit = r->file.count + SPARE_PAGES;
	r->reached = calloc(r->limit / 64 + 1, sizeof *r->reached);
	r->free = calloc(r->limit / 64 + 1, sizeof *r->free);
	if (!r->reached || !r->free)
		return rescue_no_memory(r);
	look_for_uuid(r);
	if (!r->uuid_known)
		read_marker(r);
	return 0;
}

/* The last commit is not in the tree that was walked: what it wrote to logs may be found, and says itself what is newer. */
static int add_tables(struct rescue *r)
{
	int rc = 0;
	for (const char *table = "BGHL"; rc == 0 && *table; table++)
		rc = gap_add(r, &(struct gap){ .from = { { (uint8_t)*table }, 1 }, .to = { { (uint8_t)(*table + 1) }, 1 },
			.page = true });
	return rc;
}

int wreck_copy(struct rescue *r)
{
	static const struct gap everything = { .page = true };
	bool told = false;
	int rc = wreck_choose(r, &told);
	if (rc == 0 && told)
		rc = walk_free(r);
	if (rc == 0 && (r->meta.tree[STORE_TREE].root != NO_PAGE))
		rc = walk_tree(r);
	else if (rc == 0 && !told)
		rc = gap_add(r, &everything);
	if (rc == 0 && r->newest_lost)
		rc = add_tables(r);
	return rc == 0 ? salvage_all(r, told) : rc;
}

void wreck_close(struct rescue *r)
{
	free(r->reached);
	free(r->free);
	free(r->gaps);
	free(r->bodies);
	free(r->beyond);
}
