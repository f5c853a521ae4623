/* SPDX-License-Identifier: ISC */
#include "stage.h"

#include <string.h>

struct ledger *ledger;
struct stage *stage;
const char *store_path;
char tools[4096];
bool early, torn, lazy;
struct scene me;

const struct layout layout[PLACES] = {
	[JOBS] = { "jobs", LMQ_QUEUE, PLACE_MOVES, NULL, { "max-attempts=none", "backoff=1ms..1ms" } },
	[OTHER] = { "other", LMQ_QUEUE, 0, NULL, { "max-attempts=none", "backoff=1ms..1ms" } },
	[KEYS] = { "keys", LMQ_QUEUE, PLACE_KEYS, NULL, { "max-attempts=none", "backoff=1ms..1ms", "order=key" } },
	[ONCE] = { "once", LMQ_QUEUE, PLACE_SINGLE, NULL, { "max-attempts=none", "backoff=1ms..1ms", "dedup=1h" } },
	[EVENTS] = { "events", LMQ_TOPIC, PLACE_GROUP, "readers", { NULL } },
	[LANES] = { "lanes", LMQ_STREAM, PLACE_GROUP | PLACE_LANES | PLACE_KEPT, "members", { "partitions=3" } },
	[RECENT] = { "recent", LMQ_STREAM, PLACE_LOSSY, NULL, { "max-messages=40" } },
	[LATEST] = { "latest", LMQ_STREAM, PLACE_LATEST, NULL, { "max-per-key=1" } },
	[PASSING] = { "passing", LMQ_QUEUE, PLACE_LOSSY, NULL, { "max-messages=100", "full=drop-old" } },
};

void actors_begin(const char *path, uint64_t entries)
{
	store_path = path;
	ledger = ledger_new(entries);
	stage = shared_memory(sizeof *stage);
	for (int i = 0; i < PLACES; i++)
		ledger->promised[i] = (uint16_t)layout[i].promised;
}

/* ---- places ------------------------------------------------------------------------------- */

static size_t count_of(const struct layout *l)
{
	size_t n = 0;
	while (n < 4 && l->properties[n])
		n++;
	return n;
}

static int group_there(enum where p)
{
	struct entry e = { .who = me.who, .place = (uint16_t)p, .channel = me.number[p] };
	static const char *const properties[] = { "max-attempts=none", "backoff=1ms..1ms" };
	bool created;
	int rc = lmq_group_make(me.channel[p], layout[p].group, LMQ_SEEK_FIRST, 0, properties, 2, &created, NULL, NULL);
	if (rc == 0)
		ledger_note(ledger, NOTE_GROUPED, &e);
	return rc;
}

int place_open(enum where p)
{
	struct lmq_channel_info info;
	bool created;
	int rc;
	if (me.channel[p])
		return 0;
	rc = lmq_channel_open(me.store, layout[p].name, layout[p].kind, 0, &me.channel[p]);
	if (rc == LMQ_ENOENT) {
		rc = lmq_channel_make(me.store, layout[p].name, layout[p].kind, layout[p].properties,
			count_of(&layout[p]), &created, NULL, NULL);
		if (rc == 0)
			rc = lmq_channel_open(me.store, layout[p].name, layout[p].kind, 0, &me.channel[p]);
	}
	if (rc == 0)
		rc = lmq_channel_info(me.channel[p], &info);
	if (rc == 0) {
		me.number[p] = info.id;
		if (layout[p].group)
			rc = group_there(p);
	}
	return rc;
}

void place_close(enum where p)
{
	lmq_channel_close(me.channel[p]);
	me.channel[p] = NULL;
}

int passed(enum where p, int rc)
{
	if (p != PASSING || (rc != LMQ_EGONE && rc != LMQ_ENOENT))
		return rc;
	return 0;
}

struct entry entry_at(enum where p, uint32_t id)
{
	return (struct entry){ .who = me.who, .id = id, .place = (uint16_t)p, .channel = me.number[p] };
}

int gather_body(const struct lmq_message *m, lmq_reader *reader, lmq_receiver *receiver)
{
	struct lmq_bytes piece = m->body;
	size_t at = 0;
	int rc = 0;
	need(m->body.size <= sizeof me.body, "a message of %zu bytes was never sent", m->body.size);
	do {
		if (!m->body.data)
			rc = reader ? lmq_reader_body(reader, at, &piece) : lmq_receiver_body(receiver, at, &piece);
		if (rc == 0 && piece.size > 0)
			memcpy(me.body + at, piece.data, piece.size);
		at += piece.size;
	} while (rc == 0 && !m->body.data && piece.size > 0);
	return rc;
}
