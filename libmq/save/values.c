/* SPDX-License-Identifier: ISC */
/*
 * A repair: the values of a damaged file. Each carries a CRC of itself and its key, so whatever passes is something that
 * was stored. Of those that the tree does not lead to, and of which there are several under one key, the newest is taken.
 */
#include "rescue.h"

#include <string.h>

enum { VALUE_MOST = 8192 };

static bool is_sound(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
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

/* ---- two with the same key -------------------------------------------------------------------- */

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

/* How far they tell that the second one is the newer one. */
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

/* ---- copying ---------------------------------------------------------------------------------- */

static int copy(struct rescue *r, const struct key *k, const uint8_t *value, size_t size, bool another)
{
	r->entries += another;
	r->record_taken = r->record_taken || (k->size == 1 && *k->bytes == 'S');
	return rescue_put(r, k, value, size);
}

/* A sound value that was found outside of the tree. */
static int salvage(struct rescue *r, const struct key *k, const uint8_t *value, size_t size)
{
	struct gap *g = gap_find(r, k->bytes, k->size);
	MDB_val old;
	int rc;
	if (!g)
		return 0;
	/* The new store began with a record of its own. */
	rc = k->size == 1 && *k->bytes == 'S' && !r->record_taken ? LMQ_END : rescue_get(r, k, &old);
	if (rc == 0 && !newer(k, &old, value, size))
		return 0;
	if (rc != 0 && rc != LMQ_END)
		return rc;
	r->aged = r->aged || (r->among_free && !memchr("LB", k->bytes[0], 2));
	g->filled = g->filled || (g->values == 1 && !r->among_free);
	return copy(r, k, value, size, rc == LMQ_END);
}

int value_take(struct rescue *r, const struct page_node *n)
{
	uint8_t buffer[VALUE_MOST];
	const uint8_t *value = value_of(r, n, buffer);
	bool sound = value && is_sound(n->key, n->key_size, value, (size_t)n->value_size);
	struct key k = { .size = n->key_size };
	if (!sound)
		return 1;
	memcpy(k.bytes, n->key, n->key_size);
	if (r->salvaging)
		return salvage(r, &k, value, (size_t)n->value_size);
	gap_pass(r, n->key, n->key_size);
	return copy(r, &k, value, (size_t)n->value_size, true);
}
