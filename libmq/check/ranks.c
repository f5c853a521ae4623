/* SPDX-License-Identifier: ISC */
/*
 * Checking the store: the indexes of runs. Q has the runs that are ready, D those that wait for a time, K each message
 * with an ordered key; of each key just one message may be delivered, all others are blocked behind it.
 */
#include "accounts.h"

#include <string.h>

/* ---- what follows from a run ---------------------------------------------------------------- */

/* The end of the run is a part of an entry of Q. */
static uint64_t ready_hash(struct account *a, const struct key *k, uint64_t end)
{
	uint8_t bytes[READY_KEY + 8];
	memcpy(bytes, k->bytes, READY_KEY);
	put64(bytes + READY_KEY, end);
	return hash64(a->store.uuid, bytes, sizeof bytes);
}

static struct key ready_key(uint32_t space, const struct run_record *r)
{
	return key_ready(space, (uint8_t)(LMQ_PRIORITY_MAX - r->priority), r->first);
}

void ranks_add(struct account *a, uint32_t space, const struct run_record *r, struct ranks *sum)
{
	struct key k;
	if (r->state == RUN_READY) {
		k = ready_key(space, r);
		sum->ready += ready_hash(a, &k, r->end);
	} else if (run_waits(r)) {
		k = key_due(space, r->due, r->first);
		sum->due += hash64(a->store.uuid, k.bytes, k.size);
	}
	if (!r->key_hash)
		return;
	k = key_chain(space, r->key_hash, r->first);
	sum->chain += hash64(a->store.uuid, k.bytes, k.size);
	if (r->state != RUN_BLOCKED)
		sum->free += hash64(a->store.uuid, k.bytes, CHAIN_PREFIX);
}

/* ---- what is there -------------------------------------------------------------------------- */

/* All entries of an index; free: once for each key. False: one is damaged, and told of. */
static int sum_entries(struct account *a, const char *object, struct key prefix, uint64_t *sum, uint64_t *free_sum,
	bool *sound)
{
	bool ready = prefix.bytes[0] == 'Q';
	uint8_t last[CHAIN_PREFIX] = { 0 };
	struct entries e;
	uint64_t end = 0;
	int rc = entries_open(a, &e, &prefix, RUN_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		if (!number_get(&end, ready ? 8 : 0, &e.key, e.value.mv_data, e.value.mv_size)) {
			account_fault(a, object, "an entry in the index %c of its runs is damaged", prefix.bytes[0]);
			*sound = false;
			continue;
		}
		*sum += ready ? ready_hash(a, &e.key, end) : hash64(a->store.uuid, e.key.bytes, e.key.size);
		if (free_sum && memcmp(last, e.key.bytes, CHAIN_PREFIX) != 0) {
			memcpy(last, e.key.bytes, CHAIN_PREFIX);
			*free_sum += hash64(a->store.uuid, last, CHAIN_PREFIX);
		}
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- which ones are wrong ------------------------------------------------------------------- */

/* The entry that the run needs in that index; false: none. */
static bool wants(uint32_t space, const struct run_record *r, char index, struct key *k)
{
	if (index == 'Q')
		*k = ready_key(space, r);
	else if (index == 'D')
		*k = key_due(space, r->due, r->first);
	else
		*k = key_chain(space, r->key_hash, r->first);
	return index == 'Q' ? r->state == RUN_READY : index == 'D' ? run_waits(r) : r->key_hash != 0;
}

static int name_missing(struct account *a, const char *object, uint32_t space, char index)
{
	struct key prefix = key_run(space, 0), k;
	struct run_record r;
	struct entries e;
	uint64_t end;
	MDB_val v;
	int rc = entries_open(a, &e, &prefix, RUN_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		if (!run_record_get(&r, &e.key, e.value.mv_data, e.value.mv_size) || !wants(space, &r, index, &k))
			continue;
		rc = account_get(a, &k, &v);
		if (rc == LMQ_END)
			account_fault(a, object, "the run of messages from %llu on is not in the index %c",
				(unsigned long long)r.first, index);
		else if (rc == 0 && index == 'Q' && number_get(&end, 8, &k, v.mv_data, v.mv_size) && end != r.end)
			account_fault(a, object, "the run of messages from %llu on ends at %llu, in the index Q at %llu",
				(unsigned long long)r.first, (unsigned long long)r.end, (unsigned long long)end);
		rc = rc == LMQ_END ? 0 : rc;
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* The run that begins at the offset; false: none that can be read. */
static int run_of(struct account *a, uint32_t space, uint64_t offset, struct run_record *r, bool *there)
{
	struct key k = key_run(space, offset);
	MDB_val v;
	int rc = account_get(a, &k, &v);
	*there = rc == 0 && run_record_get(r, &k, v.mv_data, v.mv_size);
	return rc == LMQ_END ? 0 : rc;
}

static int name_surplus(struct account *a, const char *object, uint32_t space, struct key prefix)
{
	char index = (char)prefix.bytes[0];
	struct run_record r;
	struct entries e;
	struct key k;
	bool there;
	int rc = entries_open(a, &e, &prefix, RUN_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		uint64_t first = get64(e.key.bytes + e.key.size - 8);
		rc = run_of(a, space, first, &r, &there);
		if (rc == 0 && (!there || !wants(space, &r, index, &k) || memcmp(k.bytes, e.key.bytes, k.size) != 0))
			account_fault(a, object, "the index %c has an entry for message %llu, which no run has", index,
				(unsigned long long)first);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

static void tell_chain(struct account *a, const char *object, uint64_t first, unsigned found)
{
	if (found == 0)
		account_fault(a, object, "message %llu and all others of its key are blocked behind each other",
			(unsigned long long)first);
	else if (found > 1)
		account_fault(a, object, "message %llu and others of its key may be delivered at the same time",
			(unsigned long long)first);
}

/* Keys of which not just one message may be delivered. */
static int name_keys(struct account *a, const char *object, uint32_t space)
{
	struct key prefix = key_chain(space, 0, 0);
	uint8_t last[CHAIN_PREFIX] = { 0 };
	struct run_record r;
	struct entries e;
	uint64_t first = 0;
	unsigned found = 1;
	bool there;
	int rc = entries_open(a, &e, &prefix, RUN_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		uint64_t offset = get64(e.key.bytes + CHAIN_PREFIX);
		if (memcmp(last, e.key.bytes, CHAIN_PREFIX) != 0) {
			tell_chain(a, object, first, found);
			memcpy(last, e.key.bytes, CHAIN_PREFIX);
			first = offset;
			found = 0;
		}
		rc = run_of(a, space, offset, &r, &there);
		found += rc == 0 && there && r.state != RUN_BLOCKED;
	}
	if (rc == LMQ_END)
		tell_chain(a, object, first, found);
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- all of a reader's ----------------------------------------------------------------------- */

static int compare(struct account *a, const char *object, uint32_t space, struct key prefix, uint64_t wanted,
	uint64_t found)
{
	int rc;
	if (wanted == found)
		return 0;
	rc = name_missing(a, object, space, (char)prefix.bytes[0]);
	return rc == 0 ? name_surplus(a, object, space, prefix) : rc;
}

int ranks_check(struct account *a, const char *object, uint32_t space, const struct ranks *sum, bool sound)
{
	struct key ready = key_ready(space, 0, 0), due = key_due(space, 0, 0), chain = key_chain(space, 0, 0);
	struct ranks found = { .ready = 0 };
	int rc = sum_entries(a, object, ready, &found.ready, NULL, &sound);
	if (rc == 0)
		rc = sum_entries(a, object, due, &found.due, NULL, &sound);
	if (rc == 0)
		rc = sum_entries(a, object, chain, &found.chain, &found.free, &sound);
	if (rc != 0 || !sound)
		return rc;
	rc = compare(a, object, space, ready, sum->ready, found.ready);
	if (rc == 0)
		rc = compare(a, object, space, due, sum->due, found.due);
	if (rc == 0)
		rc = compare(a, object, space, chain, sum->chain, found.chain);
	return rc == 0 && sum->chain == found.chain && sum->free != found.free ? name_keys(a, object, space) : rc;
}
