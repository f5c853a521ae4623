/* SPDX-License-Identifier: ISC */
/*
 * A damaged data file: what of it can be read.
 *
 * The tree of the newest state is walked as pages.c does it. A page that is not what it has to be leaves a gap: a range
 * of keys of which something may be lost. Only for keys in gaps is anything else looked at: what can still be made out in
 * the damaged page itself; then all pages that the walk did not reach, which are the leaves below a damaged branch, those
 * that are not in the list of free pages first; and at last free ones, which hold what was there some time ago
 * (values.c says what is taken of it).
 */
#include "rescue.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	int rc = value_take(r, n);
	if (rc <= 0)
		return rc;
	lost_page(r, n->page, n->page == NO_PAGE ? "holds a value with a wrong checksum" : "is a value with a wrong checksum");
	return gap_of_value(r, n->key, n->key_size);
}

/* The fault may lie in what only LMDB relies on. */
static int on_value_fault(const struct page_node *n, const char *what, void *context)
{
	struct rescue *r = context;
	int rc = value_take(r, n);
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
	const struct key low = bound_key(from), high = bound_key(to);
	if (r->ended != 0)
		return r->ended;
	lost_page(r, page, what);
	/* It will be looked at again, as one that was not reached. */
	if (page < r->limit)
		r->reached[page / 64] &= ~((uint64_t)1 << page % 64);
	return gap_add(r, &low, &high);
}

/* A page that the list of free pages names, too. One of a value is taken if that is sound, and needs nothing else. */
static bool on_dispute(uint64_t page, const struct page_bound *from, const struct page_bound *to, void *context)
{
	struct rescue *r = context;
	bool list_wrong = false;
	(void)page, (void)to;
	if (r->disputed || !from)
		return false;
	r->ended = dispute_settle(r, &list_wrong);
	r->disputed = !list_wrong;
	if (!list_wrong)
		return false;
	rescue_say(r, "store", "its list of free pages names some that are in use, and is not believed");
	r->result->mended++;
	r->free_known = false;
	memset(r->free, 0, (size_t)(r->limit / 64 + 1) * 8);
	return true;
}

static int walk_tree(struct rescue *r)
{
	struct page_walk w = { .file = &r->file, .end = r->meta.last + 1, .limit = r->limit, .reached = r->reached,
		.barred = r->free_known ? r->free : NULL, .disputed = on_dispute, .used = &(uint64_t){ 0 },
		.entry = on_entry, .fault = on_fault, .value_fault = on_value_fault, .context = r };
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

/* Where it cannot be read, nothing of what it says is relied on, and no page is its own. */
static int walk_free(struct rescue *r)
{
	size_t bytes = (size_t)(r->limit / 64 + 1) * 8;
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
	if (!r->free_known) {
		memset(r->free, 0, bytes);
		memset(r->reached, 0, bytes);
	}
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
			rc = value_take(r, &n);
	}
	return rc < 0 ? rc : 0;
}

static int salvage_pages(struct rescue *r, bool free_ones)
{
	uint8_t page[PAGE_MOST];
	int rc = 0;
	for (uint64_t i = 2; rc == 0 && i < r->file.count; i++) {
		bool is_free = r->free_known && page_bit(r->free, i);
		rc = rescue_step(r);
		if (rc == 0 && !page_bit(r->reached, i) && is_free == free_ones && page_read(&r->file, i, page, r->file.size))
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
	r->among_free = !r->free_known || r->disputed;
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
		rescue_say(r, "store", "some records were found in pages that may be old: what messages had come to may be older than they are");
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
static int look_for_uuid(struct rescue *r)
{
	uint8_t page[PAGE_MOST];
	struct page_node n;
	int rc = 0;
	for (uint64_t i = 2; rc == 0 && !r->uuid_known && i < r->file.count; i++) {
		uint16_t flags;
		rc = rescue_step(r);
		if (!page_read(&r->file, i, page, r->file.size))
			continue;
		memcpy(&flags, page + 10, sizeof flags);
		for (unsigned j = 0; flags == PAGE_LEAF && !r->uuid_known && j < page_nodes(&r->file, page); j++)
			if (page_node(&r->file, page, j, &n))
				find_uuid(&n, r);
	}
	return rc;
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
	rc = look_for_uuid(r);
	if (!r->uuid_known)
		read_marker(r);
	return rc;
}

/*
 * The last commits are not in the tree that was walked. What they stored may be found, and says itself what is newer. What
 * became of messages is as the tree has it: positions and runs have to be of one moment.
 */
static int add_tables(struct rescue *r)
{
	int rc = 0;
	for (const char *table = "BHIJLN"; rc == 0 && *table; table++) {
		const struct key from = { { (uint8_t)*table }, 1 }, to = { { (uint8_t)(*table + 1) }, 1 };
		rc = gap_add(r, &from, &to);
	}
	return rc;
}

int wreck_copy(struct rescue *r)
{
	static const struct key none;
	bool told = false;
	int rc = wreck_choose(r, &told);
	if (rc == 0 && told)
		rc = walk_free(r);
	if (rc == 0 && (r->meta.tree[STORE_TREE].root != NO_PAGE))
		rc = walk_tree(r);
	else if (rc == 0 && !told)
		rc = gap_add(r, &none, &none);
	if (rc == 0 && r->newest_lost)
		rc = add_tables(r);
	if (rc == 0)
		rc = salvage_all(r, told && !r->newest_lost);
	return rc == 0 ? gaps_doubt(r) : rc;
}

void wreck_close(struct rescue *r)
{
	free(r->reached);
	free(r->free);
	free(r->gaps);
	free(r->doubts);
	free(r->bodies);
	free(r->beyond);
	free(r->lost);
}
