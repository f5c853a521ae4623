/* SPDX-License-Identifier: ISC */
/* A store with an entry in every table, and how to write wrong ones into it behind the library's back. */
#ifndef BOOKED_H
#define BOOKED_H

#include "place.h"

#include "check/accounts.h"

#include <sys/stat.h>

enum { LARGE = 100000 };

static struct {			/* what was made, and what a check said */
	uint8_t *bytes;
	size_t size;
	uint32_t jobs, ordered, news, events, state, once, trail, copies, removed;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi table;
	struct lmq_fault *faults;
	size_t count;
	struct lmq_accounts found;
} books;

/* ---- making it ------------------------------------------------------------------------------ */

static void require(int rc, lmq_store *s)
{
	if (rc == 0)
		return;
	fprintf(stderr, "status %d: %s\n", rc, lmq_error(s));
	abort();
}

static lmq_channel *book_channel(lmq_store *s, const char *name, enum lmq_kind kind, const char *property)
{
	lmq_channel *c;
	bool created;
	require(lmq_channel_make(s, name, kind, &property, property ? 1 : 0, &created, NULL, NULL), s);
	require(lmq_channel_open(s, name, kind, 0, &c), s);
	return c;
}

/* So many messages, of keys "0", "1", ... in turn if there are to be any, in one transaction. */
static void book_send(lmq_store *s, lmq_channel *c, unsigned count, unsigned keys, struct lmq_message m)
{
	static char body[LARGE];
	lmq_writer *w;
	char key[12];
	require(lmq_writer_open(s, LMQ_SYNC_RELAXED, &w), s);
	if (!m.body.data)
		m.body = (struct lmq_bytes){ body, m.body.size };
	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof key, "%u", keys ? i % keys : 0);
		if (keys)
			m.key = (struct lmq_bytes){ key, strlen(key) };
		require(lmq_writer_add(w, c, &m), s);
	}
	require(lmq_writer_commit(w), s);
	lmq_writer_close(w);
}

/* The first messages for a queue (group NULL) or a group are leased, or fail and wait for their retries. */
static void book_take(lmq_store *s, lmq_channel *c, const char *group, size_t count, bool fail)
{
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE, .group = group };
	struct lmq_message m;
	lmq_receiver *r;
	require(lmq_receiver_open(c, &o, &r), s);
	while (count > 0) {
		size_t got;
		require(lmq_receiver_claim(r, count, SIZE_MAX / 2, &got), s);
		count -= got;
		for (size_t i = 0; fail && i < got; i++) {
			struct lmq_verdict v = { .count = 1, .outcome = LMQ_RETRY, .delay = -1, .exit_status = -1 };
			require(lmq_receiver_next(r, &m), s);
			v.partition = m.partition;
			v.offset = m.offset;
			require(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED), s);
		}
		if (!fail)
			require(lmq_receiver_lease(r, INT64_C(3600000000000), LMQ_SYNC_RELAXED), s);
	}
	lmq_receiver_close(r);
}

static uint32_t id_of(lmq_channel *c)
{
	uint32_t id = c->id;
	lmq_channel_close(c);
	return id;
}

static void book_queues(lmq_store *s)
{
	struct lmq_message plain = LMQ_MESSAGE_INIT, special = LMQ_MESSAGE_INIT, large = LMQ_MESSAGE_INIT;
	lmq_channel *jobs = book_channel(s, "jobs", LMQ_QUEUE, NULL);
	lmq_channel *ordered = book_channel(s, "ordered", LMQ_QUEUE, "order=key");
	lmq_channel *removed = book_channel(s, "removed", LMQ_QUEUE, NULL);
	plain.body.size = 100;
	large.body.size = LARGE;
	book_send(s, jobs, 100, 0, plain);
	book_send(s, jobs, 1, 0, large);
	book_take(s, jobs, NULL, 10, false);
	special.priority = 7;
	book_send(s, jobs, 3, 0, special);
	special.delay = INT64_C(3600000000000);
	book_send(s, jobs, 3, 0, special);
	book_send(s, ordered, 9, 3, plain);
	book_send(s, removed, 2, 0, large);
	books.jobs = id_of(jobs);
	books.ordered = id_of(ordered);
	books.removed = id_of(removed);
}

static void book_streams(lmq_store *s)
{
	struct lmq_message plain = LMQ_MESSAGE_INIT, named = LMQ_MESSAGE_INIT;
	lmq_channel *events = book_channel(s, "events", LMQ_STREAM, "partitions=2");
	lmq_channel *state = book_channel(s, "state", LMQ_STREAM, "max-per-key=2");
	lmq_channel *once = book_channel(s, "once", LMQ_STREAM, "dedup=1h");
	lmq_channel *trail = book_channel(s, "trail", LMQ_STREAM, "audit=yes");
	const char *order = "max-attempts=3";
	bool created;
	plain.body.size = 100;
	require(lmq_group_make(events, "workers", LMQ_SEEK_FIRST, 0, &order, 1, &created, NULL, NULL), s);
	book_send(s, events, 50, 10, plain);
	book_take(s, events, "workers", 5, false);
	book_send(s, state, 60, 5, plain);
	named.body.size = 10;
	named.id = (struct lmq_bytes){ "an id", 5 };
	book_send(s, once, 1, 0, named);
	plain.body.size = 1000;
	book_send(s, trail, 20, 0, plain);
	books.events = id_of(events);
	books.state = id_of(state);
	books.once = id_of(once);
	books.trail = id_of(trail);
}

/* A large body that two messages have, and one of which only the begin is there. */
static void book_topic(lmq_store *s)
{
	struct lmq_message large = LMQ_MESSAGE_INIT;
	lmq_channel *news = book_channel(s, "news", LMQ_TOPIC, NULL), *copies = book_channel(s, "copies", LMQ_QUEUE, NULL);
	struct lmq_route route = { .source = "news", .destination = "copies" };
	bool added;
	large.body.size = LARGE;
	require(lmq_route_add(s, &route, &added), s);
	require(lmq_group_make(news, "readers", LMQ_SEEK_FIRST, 0, NULL, 0, &added, NULL, NULL), s);
	book_send(s, news, 2, 0, large);
	books.news = id_of(news);
	books.copies = id_of(copies);
}

static void books_keep(void)
{
	char path[300];
	struct stat st;
	FILE *f;
	snprintf(path, sizeof path, "%s/data.mdb", place);
	f = fopen(path, "rb");
	if (!f || fstat(fileno(f), &st) != 0)
		abort();
	books.size = (size_t)st.st_size;
	books.bytes = malloc(books.size);
	if (!books.bytes || fread(books.bytes, 1, books.size, f) != books.size)
		abort();
	fclose(f);
}

/* As it was made. */
static void books_restore(void)
{
	char path[300];
	FILE *f;
	snprintf(path, sizeof path, "%s/data.mdb", place);
	f = fopen(path, "wb");
	if (!f || fwrite(books.bytes, 1, books.size, f) != books.size || fclose(f) != 0)
		abort();
}

/* ---- writing into it ------------------------------------------------------------------------- */

static void raw_begin(void)
{
	if (mdb_env_create(&books.env) != 0 || mdb_env_set_mapsize(books.env, 1 << 30) != 0 ||
			mdb_env_open(books.env, place, 0, 0600) != 0 || mdb_txn_begin(books.env, NULL, 0, &books.txn) != 0 ||
			mdb_dbi_open(books.txn, NULL, 0, &books.table) != 0)
		abort();
}

static void raw_end(void)
{
	if (mdb_txn_commit(books.txn) != 0)
		abort();
	mdb_env_close(books.env);
}

/* The value, in memory of its own. */
static MDB_val raw_get(const struct key *k)
{
	static uint8_t bytes[BLOCK_LONGEST];
	MDB_val key = { k->size, (void *)k->bytes }, value;
	if (mdb_get(books.txn, books.table, &key, &value) != 0)
		abort();
	memcpy(bytes, value.mv_data, value.mv_size);
	value.mv_data = bytes;
	return value;
}

static void raw_put(const struct key *k, const void *data, size_t size)
{
	MDB_val key = { k->size, (void *)k->bytes }, value = { size, (void *)data };
	if (mdb_put(books.txn, books.table, &key, &value, 0) != 0)
		abort();
}

static void raw_delete(struct key k)
{
	MDB_val key = { k.size, k.bytes };
	if (mdb_del(books.txn, books.table, &key, NULL) != 0)
		abort();
}

/* The first key from that one on. */
static struct key raw_find(struct key from)
{
	MDB_val key = { from.size, from.bytes }, value;
	MDB_cursor *cursor;
	if (mdb_cursor_open(books.txn, books.table, &cursor) != 0 ||
			mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE) != 0)
		abort();
	from.size = key.mv_size;
	memcpy(from.bytes, key.mv_data, key.mv_size);
	mdb_cursor_close(cursor);
	return from;
}

static void raw_number(struct key k, uint64_t number, size_t width)
{
	uint8_t value[NUMBER_RECORD];
	raw_put(&k, value, number_put(number, width, &k, value));
}

/* A byte of the value is not as it was. */
static void raw_damage(struct key k)
{
	MDB_val v = raw_get(&k);
	((uint8_t *)v.mv_data)[v.mv_size / 2] ^= 1;
	raw_put(&k, v.mv_data, v.mv_size);
}

/* ---- checking it ----------------------------------------------------------------------------- */

static void note(const struct lmq_fault *fault, void *context)
{
	(void)context;
	books.faults[books.count++] = *fault;
}

static int books_check(size_t references)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_READ_ONLY };
	lmq_store *s;
	int rc = lmq_store_open(place, &options, &s);
	books.count = 0;
	if (rc == 0)
		rc = account_check(s, &books.found, note, NULL, NULL, references);
	if (rc != 0)
		printf("# %s\n", lmq_error(s));
	lmq_store_close(s);
	return rc;
}

/* Whether something of the object is said that contains the words, and nothing else of anything. */
static bool books_say(const char *object, const char *words)
{
	size_t right = 0;
	for (size_t i = 0; i < books.count; i++)
		right += strcmp(books.faults[i].object, object) == 0 && strstr(books.faults[i].what, words) != NULL;
	if (right > 0 && right == books.count && books.found.faults == books.count)
		return true;
	for (size_t i = 0; i < books.count && i < 10; i++)
		printf("# says: %s: %s\n", books.faults[i].object, books.faults[i].what);
	return false;
}

static void books_begin(void)
{
	place_make();
	books.faults = malloc(LMQ_FAULTS_MAX * sizeof *books.faults);
}

static void books_open(void)
{
	lmq_store *s;
	books_begin();
	s = place_open();
	book_queues(s);
	book_streams(s);
	book_topic(s);
	/* Last: whoever writes sweeps on the way. */
	require(lmq_channel_remove(s, "removed"), s);
	lmq_store_close(s);
	books_keep();
}

static void books_close(void)
{
	free(books.bytes);
	free(books.faults);
	place_remove();
}

/* A way to be wrong, and what is to be said. */
struct wrong {
	void (*make)(void);
	const char *object, *words;
};

static void each(const struct wrong *list, size_t count)
{
	books_open();
	CHECK(books_check(1000) == 0 && books.found.faults == 0);
	books_say("", "");
	for (size_t i = 0; i < count; i++) {
		raw_begin();
		list[i].make();
		raw_end();
		CHECK_ROW(books_check(1000) == 0 && books_say(list[i].object, list[i].words), list[i].words);
		books_restore();
	}
	books_close();
}
#define EACH(list) each(list, sizeof (list) / sizeof *(list))

#endif
