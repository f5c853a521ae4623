/* SPDX-License-Identifier: ISC */
/*
 * Checking the store: table M, the newest messages of each key (latest.c, index.c).
 *
 * Messages with keys are gathered in the order of offsets, sorted by key, and each batch merged with the table.
 * Below head.indexed the newest message of each key is there; where older ones become holes, all that are left.
 * What the table has beyond what was met that way names no message of its key; then each entry is looked up.
 *
 * Two leftovers are no faults. Where a change of max-per-key made all be indexed anew, an entry may name a message
 * that is a hole already, until indexing comes by; and retention may have been faster, then it lies below the first
 * message.
 */
#include "accounts.h"

#include <stdio.h>
#include <string.h>

enum { BATCH = 1 << 16 };

static const struct head_record *head_of(const struct newest *n)
{
	return &n->o->head;
}

static void wrong(struct newest *n, uint64_t offset, const char *what)
{
	char object[OBJECT_MAX];
	account_fault(n->a, owner_object(n->o, n->lane, NULL, object), "message %llu %s", (unsigned long long)offset,
		what);
}

/* ---- messages ------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;
	int order = memcmp(x->hash, y->hash, sizeof x->hash);
	return order ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

/* The first entry of the key from an offset on; UINT64_MAX: there is none. */
static int entry_from(struct newest *n, const uint8_t hash[16], uint64_t *offset)
{
	struct key k = key_latest(n->o->id, n->lane, hash, *offset);
	MDB_val key = { k.size, k.bytes }, value;
	int rc = mdb_cursor_get(n->a->view.cursor, &key, &value, MDB_SET_RANGE);
	*offset = UINT64_MAX;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return fail_lmdb(n->a->s, n->a->s->path, rc);
	if (key.mv_size == LATEST_KEY && memcmp(key.mv_data, k.bytes, LATEST_PREFIX) == 0)
		*offset = get64((const uint8_t *)key.mv_data + LATEST_PREFIX);
	return 0;
}

/* Messages of one key. */
static int merge_key(struct newest *n, const struct keyed *m, size_t count)
{
	uint64_t entry = m[0].offset;
	int rc = entry_from(n, m[0].hash, &entry);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		while (rc == 0 && entry < m[i].offset) {
			entry = m[i].offset;
			rc = entry_from(n, m[0].hash, &entry);
		}
		n->met += entry == m[i].offset;
		if (m[i].offset >= head_of(n)->indexed)
			continue;
		if (entry == UINT64_MAX)
			wrong(n, m[i].offset, "is not in the index of keys, and none of its key behind it is");
		else if (entry != m[i].offset && n->holes)
			wrong(n, m[i].offset, "is not in the index of keys, and there all the same");
	}
	return rc;
}

static int merge(struct newest *n)
{
	int rc = 0;
	qsort(n->batch, n->count, sizeof *n->batch, by_key);
	for (size_t i = 0, next; rc == 0 && i < n->count; i = next) {
		for (next = i + 1; next < n->count && memcmp(n->batch[i].hash, n->batch[next].hash, 16) == 0; next++)
			;
		rc = account_tick(n->a);
		if (rc == 0)
			rc = merge_key(n, &n->batch[i], next - i);
	}
	n->count = 0;
	return rc;
}

int newest_add(struct newest *n, uint64_t offset, struct lmq_bytes key)
{
	struct keyed *k = &n->batch[n->count++];
	k->offset = offset;
	hash128(n->a->store.uuid, key.data, key.size, k->hash);
	return n->count == BATCH ? merge(n) : 0;
}

/* ---- entries -------------------------------------------------------------------------------- */

/* The key of a message, if it is there. */
static int look_up(struct newest *n, struct log_cursor *c, uint64_t offset, bool *there, uint8_t hash[16])
{
	struct lmq_bytes key;
	struct record r;
	bool tombstone;
	int rc;
	log_seek(c, offset);
	rc = log_next(c, &r);
	*there = rc == 0 && r.offset == offset && message_key(r.data, r.end, &key, &tombstone);
	if (*there && key.data)
		hash128(n->a->store.uuid, key.data, key.size, hash);
	else if (*there)
		memset(hash, 0, 16);
	return rc == LMQ_END || rc == LMQ_EDAMAGED ? 0 : rc;
}

/* Names the entries that are not of a message of their key. */
static int name_wrong(struct newest *n)
{
	struct key prefix = key_latest(n->o->id, n->lane, (const uint8_t[16]){ 0 }, 0);
	const struct head_record *h = head_of(n);
	struct txn t = { .store = n->a->s, .mdb = n->a->view.mdb };	/* only to look */
	struct snapshot view;
	struct log_cursor c;
	struct entries e = { .cursor = NULL };
	uint8_t hash[16];
	bool there;
	int rc = log_cursor_within(&t, n->o->id, n->lane, h, &view, &c);
	if (rc == 0)
		rc = entries_open(n->a, &e, &prefix, BLOCK_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		uint64_t offset = get64(e.key.bytes + LATEST_PREFIX);
		if (offset < h->first || offset >= h->end)
			continue;
		rc = look_up(n, &c, offset, &there, hash);
		if (rc == 0 && !there && offset < h->indexed)
			wrong(n, offset, "is in the index of keys, and not there");
		else if (rc == 0 && there && memcmp(hash, e.key.bytes + BLOCK_PREFIX, sizeof hash) != 0)
			wrong(n, offset, "is in the index of keys under another key");
	}
	entries_close(&e);
	log_cursor_leave(&c);
	return rc == LMQ_END ? 0 : rc;
}

/* Counts those of stored messages. */
static int count_entries(struct newest *n, uint64_t *total)
{
	struct key prefix = key_latest(n->o->id, n->lane, (const uint8_t[16]){ 0 }, 0);
	const struct head_record *h = head_of(n);
	uint64_t of_key = 0, nothing;
	uint8_t last[16];
	struct entries e;
	int rc = entries_open(n->a, &e, &prefix, BLOCK_PREFIX);
	*total = 0;
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		uint64_t offset = get64(e.key.bytes + LATEST_PREFIX);
		if (of_key == 0 || memcmp(last, e.key.bytes + BLOCK_PREFIX, sizeof last) != 0)
			of_key = 0;
		memcpy(last, e.key.bytes + BLOCK_PREFIX, sizeof last);
		if (!number_get(&nothing, 0, &e.key, e.value.mv_data, e.value.mv_size))
			wrong(n, offset, "has a damaged entry in the index of keys");
		if (offset >= h->end)
			wrong(n, offset, "is in the index of keys, and there never was one of that number");
		*total += offset >= h->first && offset < h->end;
		of_key += offset >= h->first && offset < h->indexed;
		if (of_key == n->keep + 1)
			wrong(n, offset, "and older ones of its key are in the index of keys, more than are kept");
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- a lane --------------------------------------------------------------------------------- */

/* Whether the lane has entries although nothing of it is indexed, as after a change of max-per-key. */
static int any_entry(struct newest *n)
{
	struct key prefix = key_latest(n->o->id, n->lane, (const uint8_t[16]){ 0 }, 0);
	struct entries e;
	int rc = entries_open(n->a, &e, &prefix, BLOCK_PREFIX);
	e.any_size = true;
	if (rc == 0)
		rc = entries_next(&e);
	n->wanted = rc == 0;
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

int newest_begin(struct newest *n, struct account *a, const struct owner *o, uint16_t lane)
{
	uint64_t keep = limit_of(&o->record, LIMIT_MAX_PER_KEY);
	int rc = 0;
	*n = (struct newest){ .a = a, .o = o, .lane = lane, .keep = 1, .sound = true };
	if (o->record.kind == LMQ_STREAM && keep > 0 && keep != UINT64_MAX &&
			limit_of(&o->record, LIMIT_AUDIT) != 1) {
		n->keep = keep;
		n->holes = true;
	}
	/* Without the store's UUID keys cannot be told. */
	if (!a->numbered)
		return 0;
	n->wanted = o->head.indexed > 0;
	if (!n->wanted)
		rc = any_entry(n);
	if (rc == 0 && n->wanted && !(n->batch = malloc(BATCH * sizeof *n->batch)))
		return account_no_memory(a);
	return rc;
}

/* Something is left to be indexed, and nobody has noted it. */
static int check_note(struct newest *n)
{
	struct key note = key_sweep('k', n->o->id);
	const struct head_record *h = head_of(n);
	MDB_val v;
	int rc;
	if (!n->holes || h->first >= h->end || h->indexed >= h->end)
		return 0;
	rc = account_get(n->a, &note, &v);
	if (rc == LMQ_END)
		wrong(n, h->indexed, "and those behind it are to be indexed by their keys, and that is not noted");
	return rc == LMQ_END ? 0 : rc;
}

int newest_end(struct newest *n)
{
	uint64_t total = 0;
	int rc = check_note(n);
	if (rc != 0 || !n->wanted)
		return rc;
	rc = merge(n);
	if (rc == 0)
		rc = count_entries(n, &total);
	return rc == 0 && n->sound && total != n->met ? name_wrong(n) : rc;
}

void newest_free(struct newest *n)
{
	free(n->batch);
}
