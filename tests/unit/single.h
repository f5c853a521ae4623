/* SPDX-License-Identifier: ISC */
/* A store with one channel, for tests of what a channel does at its limits. */
#ifndef SINGLE_H
#define SINGLE_H

#include "place.h"

#include "channel/channel.h"

static lmq_store *store;
static lmq_channel *channel;
static lmq_writer *writer;

/* A status that must be 0; else the test makes no sense. */
static inline void good(int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "status %d: %s\n", rc, lmq_error(store));
	abort();
}

static inline lmq_channel *single_make(const char *name, enum lmq_kind kind, const char *const *properties)
{
	lmq_channel *made;
	size_t count = 0;
	bool created;
	while (properties && properties[count])
		count++;
	good(lmq_channel_make(store, name, kind, properties, count, &created, NULL, NULL));
	good(lmq_channel_open(store, name, kind, 0, &made));
	return made;
}

#define PROPERTIES(...) (const char *const[]){ __VA_ARGS__, NULL }

/* The channel is called "it". */
static inline void single_begin(enum lmq_kind kind, const char *const *properties)
{
	place_make();
	store = place_open();
	channel = single_make("it", kind, properties);
	good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
}

static inline void single_end_keeping(void)
{
	lmq_writer_close(writer);
	lmq_channel_close(channel);
	lmq_store_close(store);
}

static inline void single_end(void)
{
	single_end_keeping();
	place_remove();
}

/* Behind the library's back. */
static inline void store_change(void (*change)(struct store_record *r))
{
	struct store_record r;
	struct txn t;
	good(txn_begin(store, &t));
	good(get_store_record(store, t.mdb, &r));
	change(&r);
	good(put_store_record(&t, &r));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
}

/* Messages with a body of that size, in one transaction; its status. */
static inline int send_sized(unsigned count, size_t size)
{
	static char body[300000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int rc = 0;
	m.body = (struct lmq_bytes){ body, size };
	while (rc == 0 && count-- > 0)
		rc = lmq_writer_add(writer, channel, &m);
	return rc == 0 ? lmq_writer_commit(writer) : rc;
}

/* What lies before that offset is trimmed away. */
static inline void trim_to(uint64_t to)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more = true;
	for (what.to = to; more;)
		good(lmq_channel_trim(channel, &what, &at, &dropped, &more));
}

static inline uint64_t stored(const char *name)
{
	struct lmq_channel_info info;
	lmq_channel *c;
	good(lmq_channel_open(store, name, LMQ_ANY, 0, &c));
	good(lmq_channel_info(c, &info));
	lmq_channel_close(c);
	return info.messages;
}

static inline lmq_receiver *receiver_of(lmq_channel *c, const char *group)
{
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE, .group = group };
	lmq_receiver *r;
	good(lmq_receiver_open(c, &o, &r));
	return r;
}

/* The offset of the first of the messages that are claimed now, at most so many; -1: there is none. */
static inline int64_t claim(lmq_receiver *r, size_t most)
{
	struct lmq_message m;
	size_t count;
	int rc = lmq_receiver_claim(r, most, SIZE_MAX / 2, &count);
	if (rc == LMQ_END)
		return -1;
	good(rc);
	good(lmq_receiver_next(r, &m));
	return (int64_t)m.offset;
}

/* Every record, counter and index of the store agrees with the others. */
static inline void sound(void)
{
	struct lmq_accounts accounts;
	CHECK(lmq_store_check(store, &accounts, NULL, NULL, NULL) == 0);
	CHECK_EQUAL(accounts.faults, 0);
}

#endif
