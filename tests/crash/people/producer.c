/* SPDX-License-Identifier: ISC */
#include "producer.h"

#include <stdio.h>

enum { BATCH = 8, PIECE = 50000 };

static bool keyed(enum where p)
{
	return p == KEYS || p == LANES || p == LATEST;
}

/* Adds a message, of which the ledger is told before. */
static int put(lmq_writer *w, enum where p, struct entry *e)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	size_t size = ledger_size(p == ONCE ? e->id * UINT32_C(2654435761) : draw(INT32_MAX));
	char key[16], id[16];
	int rc;
	e->value = ledger_body(e->id, me.body, size);
	ledger_note(ledger, NOTE_SENDING, e);
	if (e->key)
		m.key = (struct lmq_bytes){ key, (size_t)snprintf(key, sizeof key, "k%u", e->key) };
	if (p == ONCE)
		m.id = (struct lmq_bytes){ id, (size_t)snprintf(id, sizeof id, "%u", e->id) };
	if (size <= BODY_INLINE_MAX && draw(8) > 0) {
		m.body = (struct lmq_bytes){ (char *)me.body, size };
		return lmq_writer_add(w, me.channel[p], &m);
	}
	rc = lmq_writer_begin(w, me.channel[p], &m);
	for (size_t at = 0; rc == 0 && at < size; at += PIECE)
		rc = lmq_writer_write(w, me.body + at, size - at < PIECE ? size - at : PIECE);
	return rc == 0 ? lmq_writer_end(w) : rc;
}

static void note_sent(lmq_writer *w, struct entry *e, size_t count)
{
	uint32_t lane;
	for (size_t i = 0; i < count; i++) {
		e[i].number = (uint32_t)i;
		if (!lmq_writer_position(w, i, &lane, &e[i].offset))
			continue;
		e[i].lane = (uint16_t)lane;
		ledger_note(ledger, NOTE_SENT, &e[i]);
	}
}

static void believe(struct entry *e, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		e[i].offset = UINT64_MAX;
		ledger_note(ledger, NOTE_SENT, &e[i]);
	}
}

static int commit(lmq_writer *w, struct entry *e, size_t count)
{
	int rc;
	if (early)
		believe(e, count);
	rc = lmq_writer_commit(w);
	if (rc == 0 && !early && !torn)
		note_sent(w, e, count);
	if (rc == 0) {
		atomic_store(&stage->committed, clock_monotonic());
		atomic_fetch_add(&stage->commits, 1);
	}
	return rc;
}

static int send_batch(lmq_writer *w, enum where p)
{
	struct entry e[BATCH];
	uint32_t count = p == ONCE ? 1 : 1 + draw(BATCH), first = ledger_ids(ledger, count);
	uint32_t batch = p == ONCE ? 0 : ledger_batch(ledger), key = keyed(p) ? 1 + draw(KEY_COUNT - 1) : 0;
	int rc = 0;
	if (p == ONCE && draw(3) == 0 && atomic_load(&stage->once_next) > 0)
		first = atomic_load(&stage->once[draw(atomic_load(&stage->once_next) % 64 + 1) % 64]);
	if (first == 0)
		return 0;
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		e[i] = entry_at(p, first + i);
		e[i].batch = batch;
		e[i].key = key && p == LATEST ? 1 + draw(KEY_COUNT - 1) : key;
		rc = put(w, p, &e[i]);
		if (p == ONCE)
			atomic_store(&stage->once[atomic_fetch_add(&stage->once_next, 1) % 64], first);
		if (rc == 0 && torn && i > 0 && i + 1 < count)
			rc = lmq_writer_commit(w);
	}
	if (rc == 0)
		rc = commit(w, e, count);
	if (rc == LMQ_EGONE && p == PASSING) {
		for (uint32_t i = 0; i < count; i++)
			if (e[i].id == first + i)
				ledger_note(ledger, NOTE_REFUSED, &e[i]);
		lmq_writer_discard(w);
	}
	return rc;
}

static enum where somewhere(void)
{
	static const uint8_t places[] = { JOBS, JOBS, JOBS, JOBS, KEYS, ONCE, EVENTS, EVENTS, LANES, LANES, RECENT, LATEST,
		PASSING };
	return places[draw(sizeof places)];
}

int produce(uint32_t rounds)
{
	lmq_writer *w;
	int rc = lmq_writer_open(me.store, draw(2) ? LMQ_SYNC_FULL : LMQ_SYNC_RELAXED, &w);
	for (uint32_t i = 0; rc == 0 && i < rounds && !ledger_full(ledger); i++) {
		enum where p = somewhere();
		rc = place_open(p);
		if (rc == 0)
			rc = send_batch(w, p);
		if (draw(2))
			nap();
		if (passed(p, rc) == 0 && rc != 0) {
			place_close(p);
			rc = 0;
		}
	}
	return rc;
}

