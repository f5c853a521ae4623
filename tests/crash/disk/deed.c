/* SPDX-License-Identifier: ISC */
#include "deed.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER = 300 };

lmq_store *deed_store;
bool deed_builds;
static const char *path;
static const char *watched;	/* the channel of the offsets that are told */
static enum lmq_sync sync_mode;
static void (*say)(int rc, uint64_t next);
static unsigned number;		/* of the next message */

void deed_begin(const char *at, const char *channel, enum lmq_sync sync, void (*told)(int rc, uint64_t next))
{
	path = at;
	watched = channel;
	sync_mode = sync;
	say = told;
}

void deed_end(void)
{
	lmq_store_close(deed_store);
	deed_store = NULL;
}

/* What a call of the work answered: also a failure, where writes are made to fail. next: the channel's next offset. */
bool deed_told(int rc, uint64_t next)
{
	if (say)
		say(rc, next);
	else
		need(rc >= 0 || rc == LMQ_END, "preparing: %s", lmq_error(deed_store));
	return rc == 0;
}

void deed_must(int rc)
{
	if (rc != 0 && rc != LMQ_END)
		deed_told(rc, 0);
}

void deed_open(void)
{
	struct lmq_store_options o = { sizeof o, LMQ_CREATE, 0 };
	need(lmq_store_open(path, &o, &deed_store) == 0, "opening: %s", lmq_error(deed_store));
}

void deed_make(const char *name, enum lmq_kind kind, const char *property)
{
	bool created;
	deed_told(lmq_channel_make(deed_store, name, kind, &property, property != NULL, &created, NULL, NULL), 0);
}

/* ---- sending ------------------------------------------------------------------------------- */

static int add(lmq_writer *w, lmq_channel *c, const struct deed_many *many, unsigned index)
{
	static char body[400 << 10];
	char key[16], id[16];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	memset(body, 'a' + (int)(number % 26), many->size);
	snprintf(body, sizeof body, "%06u", number++);
	m.body = (struct lmq_bytes){ body, many->size };
	if (many->keys)
		m.key = (struct lmq_bytes){ key, (size_t)snprintf(key, sizeof key, "k%u", index % many->keys) };
	if (many->ids)
		m.id = (struct lmq_bytes){ id, (size_t)snprintf(id, sizeof id, "i%u", number % many->ids) };
	m.delay = many->delay;
	if (many->priority)
		m.priority = many->priority;
	return lmq_writer_add(w, c, &m);
}

void deed_send(const char *name, struct deed_many many)
{
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	uint32_t partition = 0;
	uint64_t offset = 0;
	int rc = lmq_channel_open(deed_store, name, LMQ_ANY, 0, &c);
	if (rc == 0)
		rc = lmq_writer_open(deed_store, sync_mode, &w);
	for (unsigned i = 0; rc == 0 && i < many.count; i++)
		rc = add(w, c, &many, i);
	if (rc == 0)
		rc = lmq_writer_commit(w);
	if (rc == 0 && many.count > 0)
		lmq_writer_position(w, many.count - 1, &partition, &offset);
	deed_told(rc, partition == 0 && !many.ids && strcmp(name, watched) == 0 ? offset + 1 : 0);
	lmq_writer_close(w);
	lmq_channel_close(c);
}

void deed_send_large(const char *name, size_t size)
{
	static char piece[40 << 10];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	int rc = lmq_channel_open(deed_store, name, LMQ_ANY, 0, &c);
	memset(piece, 'A' + (int)(number++ % 26), sizeof piece);
	if (rc == 0)
		rc = lmq_writer_open(deed_store, sync_mode, &w);
	if (rc == 0)
		rc = lmq_writer_begin(w, c, &m);
	for (size_t done = 0; rc == 0 && done < size; done += sizeof piece)
		rc = lmq_writer_write(w, piece, sizeof piece < size - done ? sizeof piece : size - done);
	if (rc == 0)
		rc = lmq_writer_end(w);
	if (rc == 0)
		rc = lmq_writer_commit(w);
	deed_told(rc, 0);
	lmq_writer_close(w);
	lmq_channel_close(c);
}

/* ---- receiving ------------------------------------------------------------------------------ */

int deed_take(struct deed_hand *h, const char *name, const char *group, size_t most)
{
	struct lmq_receiver_options o = { .size = sizeof o, .group = group, .flags = group ? LMQ_CREATE : 0 };
	struct lmq_message m;
	size_t count;
	int rc;
	*h = (struct deed_hand){ .count = 0 };
	rc = lmq_channel_open(deed_store, name, LMQ_ANY, 0, &h->channel);
	if (rc == 0)
		rc = lmq_receiver_open(h->channel, &o, &h->receiver);
	if (rc == 0)
		rc = lmq_receiver_claim(h->receiver, most, 1 << 20, &count);
	while (rc == 0 && (rc = lmq_receiver_next(h->receiver, &m)) == 0)
		h->verdicts[h->count++] = (struct lmq_verdict){ .partition = m.partition, .offset = m.offset, .count = 1,
			.exit_status = 3, .error = { "it broke", 8 } };
	return rc == LMQ_END && h->count > 0 ? 0 : rc;
}

void deed_leave(struct deed_hand *h)
{
	lmq_receiver_close(h->receiver);
	lmq_channel_close(h->channel);
}

void deed_conclude(const char *name, const char *group, size_t most, enum lmq_outcome outcome, int64_t delay)
{
	struct deed_hand h;
	int rc = deed_take(&h, name, group, most);
	for (size_t i = 0; i < h.count; i++) {
		h.verdicts[i].outcome = outcome;
		h.verdicts[i].delay = delay;
	}
	if (rc == 0)
		deed_told(lmq_receiver_conclude(h.receiver, h.verdicts, h.count, NULL, sync_mode), 0);
	else
		deed_must(rc);
	deed_leave(&h);
}

void deed_answer(const char *name, const char *to)
{
	struct deed_many one = { .count = 1, .size = ANSWER };
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	struct deed_hand h;
	int rc = deed_take(&h, name, NULL, 2);
	if (rc == 0)
		rc = lmq_channel_open(deed_store, to, LMQ_QUEUE, 0, &c);
	if (rc == 0)
		rc = lmq_writer_open(deed_store, sync_mode, &w);
	if (rc == 0)
		rc = add(w, c, &one, 0);
	if (rc == 0)
		deed_told(lmq_receiver_conclude(h.receiver, h.verdicts, h.count, w, sync_mode), 0);
	lmq_writer_close(w);
	lmq_channel_close(c);
	deed_leave(&h);
}

void deed_move(const char *from, const char *to, unsigned flags)
{
	lmq_channel *c = NULL;
	struct deed_hand h;
	size_t moved;
	int rc = deed_take(&h, from, NULL, 4);
	if (rc == 0 && to)
		rc = lmq_channel_open(deed_store, to, LMQ_QUEUE, 0, &c);
	if (rc == 0)
		deed_told(lmq_receiver_move(h.receiver, h.count, c, flags, sync_mode, &moved), 0);
	lmq_channel_close(c);
	deed_leave(&h);
}

void deed_lease(const char *name, size_t most)
{
	struct deed_hand h = { .count = 0 };
	int rc = lmq_channel_open(deed_store, name, LMQ_QUEUE, 0, &h.channel);
	if (rc == 0)
		rc = lmq_receiver_open(h.channel, NULL, &h.receiver);
	if (rc == 0)
		rc = lmq_receiver_claim(h.receiver, most, 1 << 20, &h.count);
	if (rc == 0)
		deed_told(lmq_receiver_lease(h.receiver, INT64_C(3600000) * MS, sync_mode), 0);
	deed_leave(&h);
}

void deed_settle(const char *text, enum lmq_outcome outcome)
{
	char names[LMQ_LEASE_NAMES];
	struct lmq_lease l = { .channel = NULL };
	int rc = lmq_lease_parse(text, names, &l);
	l.outcome = outcome;
	l.delay = INT64_C(7200000) * MS;
	if (rc == 0)
		rc = lmq_store_settle(deed_store, &l, 1, sync_mode);
	deed_told(rc, 0);
}

void deed_sweep(void)
{
	bool more = true;
	int rc = 0;
	for (int i = 0; rc == 0 && more && i < 50; i++)
		rc = lmq_store_sweep(deed_store, &more);
	deed_told(rc, 0);
}

void deed_copy(void)
{
	char to[4200];
	int rc;
	snprintf(to, sizeof to, "%.*s/copy", (int)(strrchr(path, '/') - path), path);
	rc = lmq_store_backup(deed_store, to, 0, NULL, NULL);
	deed_told(rc == 0 ? 1 : rc, 0);
}

void deed_repair(void)
{
	struct lmq_rescue rescue;
	lmq_store *s;
	char to[4200];
	int rc;
	snprintf(to, sizeof to, "%.*s/copy", (int)(strrchr(path, '/') - path), path);
	deed_end();
	deed_builds = true;
	rc = lmq_store_repair(path, to, &s, &rescue, NULL, NULL, NULL);
	deed_builds = false;
	lmq_store_close(s);
	deed_told(rc == 0 ? 1 : rc, 0);
	deed_open();
}

void deed_shrink(void)
{
	struct lmq_store_options o = { sizeof o, 0, 0 };
	uint64_t before, after;
	int rc;
	deed_end();
	rc = lmq_store_compact(path, &o, &deed_store, &before, &after);
	deed_told(rc, 0);
	deed_end();
	deed_open();
}
