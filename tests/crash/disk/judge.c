/* SPDX-License-Identifier: ISC */
#include "judge.h"

#include <stdio.h>
#include <string.h>

static const char body[] = "after the crash";

/* ---- what is in it -------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const MDB_val *v)
{
	const uint8_t *p = v->mv_data, *end = p + v->mv_size;
	uint64_t word;
	hash = image_mix(hash, v->mv_size);
	for (; end - p >= 8; p += 8) {
		memcpy(&word, p, 8);
		hash = image_mix(hash, word);
	}
	word = 0;
	memcpy(&word, p, (size_t)(end - p));
	return image_mix(hash, word);
}

uint64_t store_digest(MDB_txn *t)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_dbi table;
	uint64_t hash = 1;
	int rc = mdb_dbi_open(t, NULL, 0, &table);
	if (rc == 0)
		rc = mdb_cursor_open(t, table, &cursor);
	need(rc == 0, "a digest: %s", mdb_strerror(rc));
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		hash = hash_bytes(hash, &key);
		hash = hash_bytes(hash, &value);
	}
	mdb_cursor_close(cursor);
	need(rc == MDB_NOTFOUND, "damaged: reading all records: %s", mdb_strerror(rc));
	return hash;
}

static uint64_t digest_now(lmq_store *s)
{
	MDB_txn *t;
	uint64_t digest;
	int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t);
	need(rc == 0, "reading: %s", mdb_strerror(rc));
	digest = store_digest(t);
	mdb_txn_abort(t);
	return digest;
}

/* Which of the states it is: the commit's number. */
static uint32_t compare(const struct image *i, const struct story *story, lmq_store *s, bool relaxed)
{
	uint64_t digest = digest_now(s);
	uint32_t least = story->copies ? 1 : i->acknowledged, n;	/* a copy is one of any committed state */
	if (relaxed && !story->copies && i->before > least)
		least = i->before;
	for (n = i->attempted + 1; n-- > least;)
		if (i->commits[n].digest == digest && !i->commits[n].undone)
			return n;
	for (n = 0; n < least; n++)
		need(i->commits[n].digest != digest, "acknowledged commits are lost: the store is as after commit %u, not %u",
			n, least);
	for (n = least; n <= i->attempted; n++)
		need(i->commits[n].digest != digest, "commit %u is there, which had failed with nothing changed", n);
	broken("the store is in no state that anybody committed: neither one of commits %u to %u, nor another", least,
		i->attempted);
}

/* ---- whether it is sound -------------------------------------------------------------------- */

static void fault(const struct lmq_fault *f, void *context)
{
	(void)context;
	broken("%s: %s", f->object, f->what);
}

void store_sound(lmq_store *s)
{
	struct lmq_channel_info *list = NULL;
	struct lmq_accounts accounts;
	struct lmq_check result;
	lmq_channel *c;
	size_t count;
	int rc;
	need(lmq_channel_list(s, NULL, LMQ_ANY, &list, &count) == 0, "listing: %s", lmq_error(s));
	for (size_t n = 0; n < count; n++) {
		need(lmq_channel_open(s, list[n].name, LMQ_ANY, 0, &c) == 0 && lmq_channel_check(c, &result, NULL, NULL) == 0,
			"checking: %s", lmq_error(s));
		need(result.damaged == 0 && result.broken == 0, "%s: damaged", list[n].name);
		lmq_channel_close(c);
	}
	free(list);
	rc = lmq_store_check(s, &accounts, fault, NULL, NULL);
	need(rc == 0, "checking: %s", lmq_error(s));
}

/* ---- whether it works ------------------------------------------------------------------------ */

/* An offset is never given twice. */
static uint64_t send_one(const struct story *story, lmq_channel *c, lmq_store *s, uint64_t least)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_writer *w = NULL;
	uint32_t partition;
	uint64_t offset;
	int rc = lmq_writer_open(s, LMQ_SYNC_FULL, &w);
	m.body = (struct lmq_bytes){ body, strlen(body) };
	if (rc == 0)
		rc = lmq_writer_add(w, c, &m);
	if (rc == 0)
		rc = lmq_writer_commit(w);
	need(rc == 0 && lmq_writer_position(w, 0, &partition, &offset), "sending to %s: %s", story->channel, lmq_error(s));
	need(offset >= least, "offset %llu was given again", (unsigned long long)offset);
	lmq_writer_close(w);
	return offset;
}

static void receive_one(lmq_channel *c, lmq_store *s)
{
	struct lmq_message m;
	lmq_receiver *r = NULL;
	size_t count;
	int rc = lmq_receiver_open(c, NULL, &r);
	if (rc == 0)
		rc = lmq_receiver_claim(r, 1, 1 << 20, &count);
	if (rc == 0)
		rc = lmq_receiver_next(r, &m);
	if (rc == 0)
		rc = lmq_receiver_settle(r, 1, LMQ_SYNC_FULL);
	need(rc == 0, "receiving: %s", rc == LMQ_END ? "nothing, behind a message just sent" : lmq_error(s));
	lmq_receiver_close(r);
}

static void read_one(lmq_channel *c, lmq_store *s, uint64_t offset)
{
	struct lmq_message m;
	lmq_reader *r = NULL;
	int rc = lmq_reader_open(c, &r);
	if (rc == 0)
		rc = lmq_reader_seek(r, LMQ_SEEK_OFFSET, (int64_t)offset);
	if (rc == 0)
		rc = lmq_reader_next(r, &m);
	need(rc == 0 && m.offset == offset && m.body.size == strlen(body) && memcmp(m.body.data, body, m.body.size) == 0,
		"reading: %s", rc == 0 ? "not what was just sent" : lmq_error(s));
	lmq_reader_close(r);
}

static void use(const struct story *story, lmq_store *s, uint64_t least)
{
	lmq_channel *c = NULL;
	uint64_t offset;
	need(lmq_channel_open(s, story->channel, story->kind, LMQ_CREATE, &c) == 0, "opening: %s", lmq_error(s));
	offset = send_one(story, c, s, least);
	if (story->kind == LMQ_QUEUE)
		receive_one(c, s);
	else
		read_one(c, s, offset);
	lmq_channel_close(c);
}

/* The highest of what was acknowledged up to that commit. */
static uint64_t next_offset(const struct image *i, uint32_t commit)
{
	uint64_t next = 0;
	for (uint32_t n = 0; n <= commit; n++)
		if (i->commits[n].next > next)
			next = i->commits[n].next;
	return next;
}

void judge(const struct image *i, const struct story *story, const char *path, bool relaxed)
{
	struct lmq_store_options o = { sizeof o, 0, 0 };
	lmq_store *s;
	int rc = lmq_store_open(path, &o, &s);
	uint64_t least = 0;
	if (rc == LMQ_ENOENT && ((!story->before && !story->old) || story->copies)) {
		need(!i->created, "the store is gone, which its creator was told of: %s", lmq_error(s));
		lmq_store_close(s);
		o.flags = LMQ_CREATE;
		rc = lmq_store_open(path, &o, &s);
	}
	need(rc == 0, "opening: %s", lmq_error(s));
	if (!lmq_store_created(s))
		least = next_offset(i, compare(i, story, s, relaxed));
	if (story->copies)
		least = 0;
	store_sound(s);
	use(story, s, least);
	lmq_store_close(s);
}
