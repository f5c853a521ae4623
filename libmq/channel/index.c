/* SPDX-License-Identifier: ISC */
/* Messages are entered in table M by their keys, and what that supersedes leaves it. latest.c says what it is for. */
#include "index.h"

#include <string.h>

#define STEP_TIME INT64_C(2000000)

enum {
	STEP_RECORDS = 32768,
	STEP_BYTES = 2 << 20,
	STEP_ENTRIES = 65536,	/* entries that one step looks at, about */
	STEP_MOST = 4,		/* steps in one transaction */
	SCANNED = 64,
};

/* ---- reading -------------------------------------------------------------------------------- */

static int take_record(struct step *p, const struct record *r)
{
	struct keyed *k = &p->keyed[p->count];
	struct lmq_bytes key;
	if (!message_key(r->data, r->end, &key, &k->tombstone))
		return fail_damaged(p->t->store, "a message");
	p->live++;
	p->large += (*r->data & RECORD_BLOB) != 0;
	if (!key.data)
		return 0;
	hash128(p->uuid, key.data, key.size, k->hash);
	k->offset = r->offset;
	p->count++;
	return 0;
}

int index_gather(struct step *p, uint64_t from, uint64_t end)
{
	struct snapshot view;
	struct log_cursor c;
	struct record r;
	size_t bytes = 0;
	int rc = log_cursor_within(p->t, p->id, p->lane, p->head, &view, &c);
	log_seek(&c, from);
	p->count = 0;
	p->live = p->large = 0;
	p->to = from;
	for (unsigned n = 0; rc == 0 && n < STEP_RECORDS && p->count < p->most && p->large < STEP_LARGE &&
			bytes < STEP_BYTES; n++) {
		rc = log_next(&c, &r);
		if (rc == 0 && r.offset >= end)
			rc = LMQ_END;
		if (rc != 0)
			break;
		bytes += (size_t)(r.end - r.data);
		rc = take_record(p, &r);
		p->to = r.offset + 1;
	}
	if (rc == LMQ_END)
		p->to = end;
	log_cursor_leave(&c);
	return rc == LMQ_END ? 0 : rc;
}

static int by_key(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;
	int order = memcmp(x->hash, y->hash, sizeof x->hash);
	return order ? order : (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_offset(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* ---- the table ------------------------------------------------------------------------------ */

/* Counts the entries of a key, up to most; the offsets of the oldest ones, at most SCANNED. */
static int scan(struct step *p, const uint8_t hash[16], uint64_t oldest[SCANNED], uint64_t most, uint64_t *total)
{
	struct key k = key_latest(p->id, p->lane, hash, 0);
	MDB_val key = { k.size, k.bytes }, value;
	int rc = mdb_cursor_get(p->cursor, &key, &value, MDB_SET_RANGE);
	for (*total = 0; rc == 0 && *total < most; ++*total) {
		if (key.mv_size != LATEST_KEY || memcmp(key.mv_data, k.bytes, LATEST_PREFIX) != 0)
			return 0;
		if (*total < SCANNED)
			oldest[*total] = get64((const uint8_t *)key.mv_data + LATEST_PREFIX);
		rc = mdb_cursor_get(p->cursor, &key, &value, MDB_NEXT);
	}
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : fail_lmdb(p->t->store, p->t->store->path, rc);
}

static int enter(struct step *p, const struct keyed *m)
{
	struct key k = key_latest(p->id, p->lane, m->hash, m->offset);
	uint8_t value[SWEEP_RECORD];
	return put_value(p->t, &k, value, number_put(0, 0, &k, value));
}

int index_leave(struct step *p, const uint8_t hash[16], uint64_t offset)
{
	struct key k = key_latest(p->id, p->lane, hash, offset);
	return delete_key(p->t, &k);
}

static void superseded(struct step *p, uint64_t offset)
{
	if (p->holes && offset >= p->head->first)
		p->dead[p->dead_count++] = offset;
}

/* Removes entries of a key until so many are left, and none older than since. They are counted once. */
static int remove_old(struct step *p, const uint8_t hash[16], uint64_t since)
{
	uint64_t oldest[SCANNED], total, found;
	size_t i;
	int rc = scan(p, hash, oldest, UINT64_MAX, &total);
	for (found = total; rc == 0; rc = scan(p, hash, oldest, SCANNED, &found)) {
		for (i = 0; rc == 0 && i < SCANNED && i < found && p->dead_count < STEP_DEAD; i++, total--) {
			if (total <= p->keep && oldest[i] >= since)
				return 0;
			rc = index_leave(p, hash, oldest[i]);
			superseded(p, oldest[i]);
		}
		if (rc != 0 || i < SCANNED || p->dead_count == STEP_DEAD)
			break;
	}
	p->stopped = p->dead_count == STEP_DEAD;
	return rc;
}

/*
 * The messages of one key. Those that newer ones of the same step supersede are not entered at all. Where they are
 * indexed again they may be in the table: they leave it before they become holes, or a step that stops in between would
 * leave entries of what is not there.
 */
static int index_key(struct step *p, const struct keyed *m, size_t count)
{
	size_t skipped = count > p->keep ? count - (size_t)p->keep : 0;
	uint64_t since = 0;
	int rc = 0;
	for (size_t i = 0; i < count; i++)
		if (m[i].tombstone)
			since = m[i].offset;
	for (size_t i = skipped; rc == 0 && i < count; i++)
		if (m[i].offset >= since)
			rc = enter(p, &m[i]);
	if (rc == 0)
		rc = remove_old(p, m->hash, since);
	for (size_t i = 0; rc == 0 && !p->stopped && i < count; i++) {
		if (i < skipped || m[i].offset < since)
			superseded(p, m[i].offset);
		p->stopped = p->dead_count == STEP_DEAD;
	}
	return rc;
}

static int index_all(struct step *p)
{
	size_t next;
	int rc = mdb_cursor_open(p->t->mdb, p->t->store->table, &p->cursor);
	if (rc != 0)
		return fail_lmdb(p->t->store, p->t->store->path, rc);
	qsort(p->keyed, p->count, sizeof *p->keyed, by_key);
	for (size_t i = 0; rc == 0 && !p->stopped && i < p->count; i = next) {
		for (next = i + 1; next < p->count && memcmp(p->keyed[i].hash, p->keyed[next].hash, 16) == 0; next++)
			;
		rc = index_key(p, &p->keyed[i], next - i);
	}
	mdb_cursor_close(p->cursor);
	return rc;
}

/* ---- steps ---------------------------------------------------------------------------------- */

int index_begin(struct step *p, struct txn *t, uint32_t id, uint16_t lane, struct head_record *head)
{
	struct store_record r;
	int rc = get_store_record(t->store, t->mdb, &r);
	p->t = t;
	p->id = id;
	p->lane = lane;
	p->head = head;
	p->keep = 1;
	p->holes = false;
	p->most = STEP_KEYED;
	if (rc == 0)
		memcpy(p->uuid, r.uuid, sizeof p->uuid);
	return rc;
}

static int make_holes(struct step *p)
{
	size_t n = 0;
	qsort(p->dead, p->dead_count, sizeof *p->dead, by_offset);
	/* One that was in the table already, as it is indexed again, may be there twice. */
	for (size_t i = 0; i < p->dead_count; i++)
		if (n == 0 || p->dead[i] != p->dead[n - 1])
			p->dead[n++] = p->dead[i];
	return n == 0 ? 0 : hole_make(p->t, p->id, p->lane, p->head, p->dead, n);
}

uint64_t index_from(const struct head_record *head)
{
	return head->indexed > head->first ? head->indexed : head->first;
}

/* In a stream that keeps so many messages of a key, the others become holes. */
static void choose_keep(struct step *p, const struct channel_record *r)
{
	uint64_t keep = limit_of(r, LIMIT_MAX_PER_KEY);
	if (r->kind != LMQ_STREAM || keep == 0 || keep == UINT64_MAX || limit_of(r, LIMIT_AUDIT) == 1)
		return;
	p->keep = keep;
	p->holes = true;
}

/* Each key costs a look at all its entries: leaves off the messages from that key on with which these are too many. */
static void bound_keys(struct step *p)
{
	size_t most = p->keep < STEP_ENTRIES ? (size_t)(STEP_ENTRIES / p->keep) : 1, keys = 0, i, j;
	const struct keyed *met[STEP_KEYED];
	if (most >= STEP_KEYED)
		return;
	for (i = 0; i < p->count; i++) {
		for (j = 0; j < keys && memcmp(met[j]->hash, p->keyed[i].hash, 16) != 0; j++)
			;
		if (j == keys && keys == most)
			break;
		if (j == keys)
			met[keys++] = &p->keyed[i];
	}
	if (i < p->count) {
		p->to = p->keyed[i].offset;
		p->count = i;
	}
}

static int index_step(struct step *p)
{
	int rc = index_gather(p, index_from(p->head), p->head->end);
	p->dead_count = 0;
	p->stopped = false;
	if (rc == 0)
		bound_keys(p);
	if (rc == 0)
		rc = index_all(p);
	if (rc == 0)
		rc = make_holes(p);
	if (rc == 0 && !p->stopped)
		p->head->indexed = p->to;
	return rc;
}

int latest_step(struct txn *t, uint32_t id, uint16_t lane, const struct channel_record *r, struct head_record *head)
{
	int64_t enough = clock_monotonic() + STEP_TIME;
	struct step p;
	int rc;
	if (index_from(head) >= head->end)
		return LMQ_END;
	rc = index_begin(&p, t, id, lane, head);
	choose_keep(&p, r);
	for (int i = 0; rc == 0 && i < STEP_MOST && index_from(head) < head->end; i++) {
		rc = index_step(&p);
		if (clock_monotonic() > enough)
			break;
	}
	return rc;
}
