/* SPDX-License-Identifier: ISC */
/*
 * Checking the store: large bodies.
 *
 * While the lanes are walked, references from messages to bodies are gathered, and those to the same one counted
 * together. Then they are merged with the chunks, which lie in the order of numbers. Where there are more bodies
 * than memory is to be spent on, those with the highest numbers are left for another walk over the lanes.
 */
#include "accounts.h"

#include <stdio.h>
#include <string.h>

/* ---- references ----------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	const struct reference *x = a, *y = b;
	return x->number != y->number ? x->number < y->number ? -1 : 1 : (x->size > y->size) - (x->size < y->size);
}

#define DISPUTED UINT64_MAX	/* its messages do not agree on its size */

/* Sorted, each body once. */
static void merge(struct account *a)
{
	struct bodies *b = &a->bodies;
	size_t n = 0;
	if (b->count == 0)
		return;
	qsort(b->list, b->count, sizeof *b->list, by_number);
	for (size_t i = 1; i < b->count; i++) {
		if (b->list[i].number != b->list[n].number) {
			b->list[++n] = b->list[i];
			continue;
		}
		if (b->list[i].size != b->list[n].size)
			b->list[n].size = DISPUTED;
		b->list[n].count += b->list[i].count;
	}
	b->count = n + 1;
}

/* Room for more: what is counted together takes less, and the upper half may be left for later. */
static int make_room(struct account *a)
{
	struct bodies *b = &a->bodies;
	size_t room = b->room ? 2 * b->room : b->most < 1024 ? b->most : 1024;
	void *more;
	if (b->room > 0)
		merge(a);
	if (b->count <= b->room / 2 && b->room > 0)
		return 0;
	if (room > b->most && b->room > 0) {
		b->count = b->count / 2 + 1;
		b->limit = b->list[--b->count].number;
		return 0;
	}
	more = realloc(b->list, room * sizeof *b->list);
	if (!more)
		return account_no_memory(a);
	b->list = more;
	b->room = room;
	return 0;
}

int bodies_add(struct account *a, uint64_t number, uint64_t size)
{
	struct bodies *b = &a->bodies;
	int rc = 0;
	if (number < b->from || number >= b->limit)
		return 0;
	if (b->count == b->room && (rc = make_room(a)) != 0)
		return rc;
	if (number < b->limit)
		b->list[b->count++] = (struct reference){ number, size, 1 };
	return 0;
}

bool bodies_more(struct account *a)
{
	struct bodies *b = &a->bodies;
	bool more = b->limit < UINT64_MAX;
	b->from = b->limit;
	b->limit = UINT64_MAX;
	b->count = 0;
	return more;
}

/* ---- chunks --------------------------------------------------------------------------------- */

struct body {
	uint64_t number;
	uint64_t size;		/* of its chunks */
	uint32_t first, next;	/* parts; */
	bool gap;		/* not all in between are there, or they are not full */
};

static const char *body_object(uint64_t number, char text[40])
{
	snprintf(text, 40, "body %llu", (unsigned long long)number);
	return text;
}

static int is_there(struct account *a, struct key k, bool *there)
{
	MDB_val v;
	int rc = account_get(a, &k, &v);
	*there = rc == 0;
	return rc == LMQ_END ? 0 : rc;
}

/* Whether so many messages have it as V counts beyond the first. */
static int check_shared(struct account *a, const struct reference *r, const char *object)
{
	struct key k = key_shared(r->number);
	uint64_t count = 0;
	MDB_val v;
	int rc = account_get(a, &k, &v);
	if (rc == 0 && (!number_get(&count, 8, &k, v.mv_data, v.mv_size) || count == 0)) {
		account_fault(a, object, "the count of its messages is damaged");
		return 0;
	}
	if ((rc == 0 || rc == LMQ_END) && (count + 1 < r->count || (count + 1 > r->count && !a->bodies.uncertain)))
		account_fault(a, object, "%llu messages have it, and %llu are counted", (unsigned long long)r->count,
			(unsigned long long)count + 1);
	return rc == LMQ_END ? 0 : rc;
}

/* A body that messages name. b: its chunks, or NULL. */
static int check_named(struct account *a, const struct reference *r, const struct body *b)
{
	bool staged = false, swept = false;
	char object[40];
	int rc = is_there(a, key_staging(r->number), &staged);
	body_object(r->number, object);
	if (rc == 0)
		rc = is_there(a, key_sweep('b', r->number), &swept);
	if (rc != 0)
		return rc;
	if (!b)
		account_fault(a, object, "a message has it, and nothing of it is there");
	else if (r->size == DISPUTED)
		account_fault(a, object, "its messages do not agree on its size");
	else if (b->first != 0 || b->gap || b->size != r->size)
		account_fault(a, object, "%llu of its %llu bytes are there", (unsigned long long)b->size,
			(unsigned long long)r->size);
	if (staged || swept)
		account_fault(a, object, "a message has it, and it is %s", staged ? "noted as not finished" : "to be swept");
	return check_shared(a, r, object);
}

/* And one that none names: it is being written, or being swept. */
static int check_nameless(struct account *a, const struct body *b)
{
	bool staged = false, swept = false;
	char object[40];
	int rc = is_there(a, key_staging(b->number), &staged);
	if (rc == 0)
		rc = is_there(a, key_sweep('b', b->number), &swept);
	if (rc == 0 && !staged && !swept && !a->bodies.uncertain)
		account_fault(a, body_object(b->number, object), "no message has it, and its space is not to be swept");
	return rc;
}

/* The chunks from the present one on that are of one body. LMQ_END behind the last of all. */
static int next_body(struct entries *e, struct body *b)
{
	int rc = 0;
	*b = (struct body){ .number = get64(e->key.bytes + 1), .first = get32(e->key.bytes + CHUNK_PREFIX) };
	b->next = b->first;
	while (rc == 0 && get64(e->key.bytes + 1) == b->number) {
		uint32_t part = get32(e->key.bytes + CHUNK_PREFIX);
		size_t size = e->value.mv_size;
		b->gap |= part != b->next || b->size % CHUNK_ROOM != 0 || size <= CHUNK_HEADER || size > BLOCK_MAX;
		b->size += size > CHUNK_HEADER ? size - CHUNK_HEADER : 0;
		b->next = part + 1;
		rc = entries_next(e);
	}
	return rc;
}

/* ---- all of them ---------------------------------------------------------------------------- */

static int check_body(struct account *a, const struct body *b, size_t *at)
{
	struct bodies *all = &a->bodies;
	int rc = 0;
	char object[40];
	for (; rc == 0 && *at < all->count && all->list[*at].number < b->number; ++*at)
		rc = check_named(a, &all->list[*at], NULL);
	if (a->numbered && b->number >= a->store.next_blob)
		account_fault(a, body_object(b->number, object), "the store says that %llu is the next",
			(unsigned long long)a->store.next_blob);
	if (rc == 0 && *at < all->count && all->list[*at].number == b->number)
		return check_named(a, &all->list[(*at)++], b);
	return rc == 0 ? check_nameless(a, b) : rc;
}

static int check_chunks(struct account *a)
{
	struct bodies *all = &a->bodies;
	struct key from = key_chunk(all->from, 0);
	struct entries e;
	struct body b;
	size_t at = 0;
	int rc = entries_open(a, &e, &from, 1), more = rc;
	if (rc == 0)
		more = entries_next(&e);
	while (rc == 0 && more == 0 && get64(e.key.bytes + 1) < all->limit) {
		more = next_body(&e, &b);
		if (more == 0 || more == LMQ_END)
			rc = check_body(a, &b, &at);
	}
	for (; rc == 0 && (more == 0 || more == LMQ_END) && at < all->count; at++)
		rc = check_named(a, &all->list[at], NULL);
	entries_close(&e);
	return rc != 0 || more == LMQ_END ? rc : more;
}

/* Counts of what no message has. */
static int check_counts(struct account *a)
{
	struct bodies *all = &a->bodies;
	struct key from = key_shared(all->from);
	struct entries e;
	char object[40];
	int rc = entries_open(a, &e, &from, 1);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		struct reference wanted = { get64(e.key.bytes + 1), 0, 0 };
		const struct reference *r = all->list;
		size_t low = 0, high = all->count;
		if (wanted.number >= all->limit)
			break;
		while (low < high) {
			size_t middle = low + (high - low) / 2;
			if (r[middle].number < wanted.number)
				low = middle + 1;
			else
				high = middle;
		}
		if ((low == all->count || r[low].number != wanted.number) && !all->uncertain)
			account_fault(a, body_object(wanted.number, object), "no message has it, and several are counted");
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

int bodies_staged(struct account *a)
{
	struct key table = { { 'T' }, 1 };
	struct entries e;
	char object[40];
	int rc = entries_open(a, &e, &table, 1);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		uint64_t time, number = get64(e.key.bytes + 1);
		body_object(number, object);
		if (!number_get(&time, 8, &e.key, e.value.mv_data, e.value.mv_size))
			account_fault(a, object, "the note that it is being written is damaged");
		if (a->numbered && number >= a->store.next_blob)
			account_fault(a, object, "the store says that %llu is the next", (unsigned long long)a->store.next_blob);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

int bodies_check(struct account *a)
{
	int rc;
	merge(a);
	rc = check_chunks(a);
	return rc == 0 ? check_counts(a) : rc;
}
