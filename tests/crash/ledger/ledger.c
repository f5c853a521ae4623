/* SPDX-License-Identifier: ISC */
#include "crash.h"
#include "ledger.h"

#include <stdio.h>
#include <string.h>

const char *const note_names[NOTES] = { "none", "sending", "sent", "refused", "delivered", "settling",
	"settled", "doubtful", "lost", "returning", "leasing", "leased", "moving", "read", "grouped", "left", "killing" };

struct ledger *ledger_new(uint64_t room)
{
	struct ledger *l = shared_memory(sizeof *l + room * sizeof l->entries[0]);
	l->room = room;
	return l;
}

uint64_t ledger_count(const struct ledger *l)
{
	uint64_t count = atomic_load(&l->count);
	return count < l->room ? count : l->room;
}

void ledger_clear(struct ledger *l)
{
	memset(l->entries, 0, ledger_count(l) * sizeof l->entries[0]);
	atomic_store(&l->count, 0);
	atomic_store(&l->ids, 0);
	atomic_store(&l->processes, 0);
	atomic_store(&l->batches, 0);
}

bool ledger_full(const struct ledger *l)
{
	return atomic_load(&l->count) > l->room / 4 * 3;
}

uint32_t ledger_process(struct ledger *l)
{
	return atomic_fetch_add(&l->processes, 1) + 1;
}

uint32_t ledger_ids(struct ledger *l, uint32_t count)
{
	return atomic_fetch_add(&l->ids, count) + 1;
}

uint32_t ledger_batch(struct ledger *l)
{
	return atomic_fetch_add(&l->batches, 1) + 1;
}

void ledger_note(struct ledger *l, enum note note, const struct entry *e)
{
	uint64_t at = atomic_fetch_add(&l->count, 1);
	struct entry *to = &l->entries[at];
	need(at < l->room, "the ledger is full");
	memcpy((char *)to + sizeof to->note, (const char *)e + sizeof e->note, sizeof *e - sizeof e->note);
	to->time = clock_monotonic();
	atomic_store(&to->note, note);
}

void ledger_tell(const struct ledger *l, uint32_t id, FILE *to)
{
	uint64_t count = ledger_count(l);
	uint32_t who = 0, claim = 0;
	for (uint64_t i = 0; i < count; i++) {
		const struct entry *e = &l->entries[i];
		bool ours = e->id == id, end = e->note == NOTE_KILLING || e->note == NOTE_LEFT;
		if (ours && e->note == NOTE_DELIVERED) {
			who = e->who;
			claim = e->batch;
		}
		if (e->note == NOTE_NONE || !(ours || (e->who == who && (end || e->batch == claim))))
			continue;
		fprintf(to, "%9llu %.3f ms %-10s by %u: %u at %u/%u:%llu, attempt %u, batch %u, key %u, value %llx\n",
			(unsigned long long)i, (double)e->time / MS, note_names[e->note], e->who, e->id, e->place, e->lane,
			(unsigned long long)e->offset, e->number, e->batch, e->key, (unsigned long long)e->value);
	}
}

/* ---- bodies ------------------------------------------------------------------------------- */

size_t ledger_size(uint32_t random)
{
	static const size_t edges[] = { 4096, 2 * 4096, BLOCK_ROOM, 2 * BLOCK_ROOM, BODY_INLINE_MAX, CHUNK_ROOM };
	uint32_t kind = random % 64, more = random / 64;
	if (kind < 40)
		return BODY_LEAST + more % 200;
	if (kind < 50)
		return BODY_LEAST + more % 5000;
	if (kind < 62)
		return edges[more % 6] - 24 + more / 6 % 32;
	if (kind == 62)
		return BODY_INLINE_MAX + more % (BODY_LARGEST - BODY_INLINE_MAX);
	return BODY_LEAST + more % (BODY_LARGEST - BODY_LEAST);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t ledger_hash(const uint8_t *body, size_t size)
{
	static const uint8_t key[16];
	return hash64(key, body, size);
}

uint64_t ledger_body(uint32_t id, uint8_t *body, size_t size)
{
	uint64_t state = (uint64_t)id << 32 | size, word;
	put32(body, id);
	put32(body + 4, (uint32_t)size);
	for (size_t i = 8; i < size; i += sizeof word) {
		word = mix(state += UINT64_C(0x9e3779b97f4a7c15));
		memcpy(body + i, &word, size - i < sizeof word ? size - i : sizeof word);
	}
	return ledger_hash(body, size);
}

uint32_t ledger_read(const uint8_t *body, size_t size)
{
	uint64_t state, word;
	uint32_t id;
	if (size < BODY_LEAST || get32(body + 4) != size)
		return 0;
	id = get32(body);
	state = (uint64_t)id << 32 | size;
	for (size_t i = 8; i < size; i += sizeof word) {
		word = mix(state += UINT64_C(0x9e3779b97f4a7c15));
		if (memcmp(body + i, &word, size - i < sizeof word ? size - i : sizeof word) != 0)
			return 0;
	}
	return id;
}
