/* SPDX-License-Identifier: ISC */
/* Channels are made, opened, renamed and removed: what is refused, with which sentence, and that nothing changes then. */
#include "single.h"

/* How many channels the store has. */
static size_t channels(void)
{
	struct lmq_channel_info *list;
	size_t count;
	good(lmq_channel_list(store, NULL, LMQ_ANY, &list, &count));
	free(list);
	return count;
}

static int make(const char *name, enum lmq_kind kind, const char *property)
{
	bool created;
	return lmq_channel_make(store, name, kind, &property, property ? 1 : 0, &created, NULL, NULL);
}

static int create(const char *name, enum lmq_kind kind)
{
	lmq_channel *c;
	int rc = lmq_channel_open(store, name, kind, LMQ_CREATE, &c);
	lmq_channel_close(c);
	return rc;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static void last_number(struct store_record *r)
{
	r->next_id = SPACE_MAX - 1;
}

static const char *in_place(const char *words)
{
	static char text[400];
	snprintf(text, sizeof text, "%s: %s", place, words);
	return text;
}

TEST(numbers, "a store that has used up its numbers takes no more channels and groups, and works on")
{
	bool created;
	lmq_receiver *r;
	single_begin(LMQ_TOPIC, NULL);
	store_change(last_number);
	CHECK(make("last", LMQ_STREAM, "partitions=3") == 0);
	CHECK(make("more", LMQ_QUEUE, NULL) == LMQ_EFULL);
	CHECK_TEXT(lmq_error(store), in_place("the store has used up its channel numbers"));
	CHECK(create("more", LMQ_TOPIC) == LMQ_EFULL);
	CHECK(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, NULL, 0, &created, NULL, NULL) == LMQ_EFULL);
	CHECK_TEXT(lmq_error(store), in_place("the store has used up its channel numbers"));
	CHECK_EQUAL(channels(), 2);
	CHECK(send_sized(3, 100) == 0);
	CHECK_EQUAL(stored("it"), 3);
	CHECK(make("last", LMQ_STREAM, "max-messages=5") == 0);
	CHECK(lmq_receiver_open(channel, &(struct lmq_receiver_options){ .size = sizeof(struct lmq_receiver_options),
		.flags = LMQ_CREATE, .group = "g" }, &r) == LMQ_EFULL);
	sound();
	single_end();
}

static void nearly(struct store_record *r)
{
	r->next_id = SPACE_MAX - 2;
}

TEST(lanes, "a group takes a number for each partition, or none at all")
{
	bool created;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=3"));
	store_change(nearly);
	CHECK(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, NULL, 0, &created, NULL, NULL) == LMQ_EFULL);
	CHECK(make("one", LMQ_TOPIC, NULL) == 0);
	CHECK(make("two", LMQ_TOPIC, NULL) == 0);
	CHECK(make("three", LMQ_TOPIC, NULL) == LMQ_EFULL);
	sound();
	single_end();
}

static void last_route(struct store_record *r)
{
	r->next_route = UINT32_MAX - 1;
	r->routes = UINT32_MAX;
}

TEST(routes, "so does one that has used up its numbers of routes; a table of routes that is read anew is noticed")
{
	struct lmq_route route = { .source = "it", .destination = "other" };
	struct lmq_route more = { .source = "it.#", .destination = "other" };
	bool added;
	single_begin(LMQ_TOPIC, NULL);
	CHECK(make("other", LMQ_QUEUE, NULL) == 0);
	store_change(last_route);
	CHECK(lmq_route_add(store, &route, &added) == 0 && added);
	CHECK_EQUAL(route.number, UINT32_MAX - 1);
	CHECK(lmq_route_add(store, &more, &added) == LMQ_EFULL);
	CHECK_TEXT(lmq_error(store), in_place("the store has used up its numbers of routes"));
	CHECK(lmq_route_add(store, &route, &added) == 0 && !added);
	CHECK(send_sized(2, 10) == 0);
	CHECK_EQUAL(stored("other"), 2);
	CHECK(lmq_route_remove(store, route.number) == 0);
	CHECK(send_sized(2, 10) == 0);
	CHECK_EQUAL(stored("other"), 2);
	sound();
	single_end();
}

/* ---- what is refused ------------------------------------------------------------------------ */

TEST(many_groups, "a channel with more groups than one step of the sweeper takes is swept all the same")
{
	char name[20];
	bool created, more = true;
	int steps = 0;
	single_begin(LMQ_STREAM, NULL);
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof name, "g%d", i);
		good(lmq_group_make(channel, name, LMQ_SEEK_FIRST, 0, NULL, 0, &created, NULL, NULL));
	}
	good(lmq_channel_remove(store, "it"));
	for (; more; steps++)
		good(lmq_store_sweep(store, &more));
	CHECK(steps > 2);
	sound();
	single_end();
}

TEST(kinds, "a channel is not made of another kind, and none is made without a kind")
{
	single_begin(LMQ_QUEUE, NULL);
	CHECK(make("it", LMQ_TOPIC, NULL) == LMQ_EKIND);
	CHECK_TEXT(lmq_error(store), "it: a queue, not a topic");
	CHECK_TEXT(lmq_hint(store), "mq-send and mq-recv work on queues");
	CHECK(make("events", LMQ_STREAM, NULL) == 0);
	CHECK(create("events", LMQ_QUEUE) == LMQ_EKIND);
	CHECK_TEXT(lmq_error(store), "events: a stream, not a queue");
	CHECK_TEXT(lmq_hint(store), "mq-pub and mq-sub work on topics and streams");
	CHECK(make("nothing", LMQ_ANY, NULL) == LMQ_ENOENT);
	CHECK_TEXT(lmq_error(store), "nothing: no such channel");
	CHECK(create("nothing", LMQ_ANY) == LMQ_EINVAL);
	CHECK(create("nothing", LMQ_GROUP) == LMQ_EINVAL);
	CHECK(make("nothing", LMQ_GROUP, NULL) == LMQ_EINVAL);
	CHECK(make("nothing", (enum lmq_kind)9, NULL) == LMQ_EINVAL);
	CHECK_EQUAL(channels(), 2);
	CHECK_TEXT(lmq_kind_name((enum lmq_kind)9), "channel");
	CHECK_TEXT(lmq_kind_name((enum lmq_kind)-1), "channel");
	sound();
	single_end();
}

TEST(closed, "a store with create=no makes channels only for those who ask for one")
{
	const char *no = "create=no";
	single_begin(LMQ_QUEUE, NULL);
	CHECK(lmq_store_make(store, &no, 1, NULL, NULL) == 0);
	CHECK(create("other", LMQ_TOPIC) == LMQ_ENOENT);
	CHECK_TEXT(lmq_error(store), "other: no such topic, and the store has create=no");
	CHECK(create("it", LMQ_QUEUE) == 0);
	CHECK_EQUAL(channels(), 1);
	CHECK(make("other", LMQ_TOPIC, NULL) == 0);
	CHECK(create("other", LMQ_TOPIC) == 0);
	single_end();
}

TEST(names, "names that are not valid, taken or reserved are refused wherever one is given")
{
	char long_name[LMQ_NAME_MAX + 2];
	memset(long_name, 'x', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	single_begin(LMQ_QUEUE, NULL);
	CHECK(create(long_name, LMQ_QUEUE) == LMQ_EINVAL);
	CHECK_TEXT(lmq_hint(store),
		"names are letters, digits, '_', '-', and words of them joined by dots, at most 128 bytes");
	CHECK(make(long_name, LMQ_QUEUE, NULL) == LMQ_EINVAL);
	CHECK(lmq_channel_rename(store, "it", long_name) == LMQ_EINVAL);
	CHECK(lmq_channel_rename(store, long_name, "other") == LMQ_EINVAL);
	CHECK(lmq_channel_remove(store, long_name) == LMQ_EINVAL);
	long_name[LMQ_NAME_MAX] = '\0';
	CHECK(lmq_channel_rename(store, "it", long_name) == 0);
	CHECK(make("it", LMQ_TOPIC, NULL) == 0);
	CHECK(lmq_channel_rename(store, long_name, "it") == LMQ_EEXIST);
	CHECK_TEXT(lmq_error(store), "it: the name is taken");
	CHECK(lmq_channel_rename(store, "nothing", "other") == LMQ_ENOENT);
	CHECK_TEXT(lmq_error(store), "nothing: no such channel");
	CHECK(lmq_channel_rename(store, "it", "_it") == LMQ_EINVAL);
	CHECK_TEXT(lmq_error(store), "_it: names that begin with '_' or end in '.dead' are reserved");
	CHECK(lmq_channel_rename(store, "it", "it") == 0);
	CHECK(lmq_channel_remove(store, "nothing") == LMQ_ENOENT);
	CHECK_EQUAL(channels(), 2);
	CHECK_EQUAL(stored(long_name), 0);
	sound();
	single_end();
}

/* ---- resuming ------------------------------------------------------------------------------- */

TEST(resume, "of two writers that resume under one name only the first stores, and the other knows")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_writer *other;
	uint64_t first, second;
	single_begin(LMQ_STREAM, NULL);
	m.body = (struct lmq_bytes){ "x", 1 };
	CHECK(lmq_writer_open(store, LMQ_SYNC_RELAXED, &other) == 0);
	CHECK(lmq_writer_resume(writer, channel, "load", &first) == 0 && first == 0);
	CHECK(lmq_writer_resume(other, channel, "load", &second) == 0 && second == 0);
	CHECK(send_sized(3, 10) == 0);
	CHECK(lmq_writer_add(other, channel, &m) == 0);
	CHECK(lmq_writer_commit(other) == LMQ_EBUSY);
	CHECK_TEXT(lmq_error(store), "another sender uses the name 'load' to resume");
	CHECK_EQUAL(stored("it"), 3);
	lmq_writer_discard(other);
	CHECK(lmq_writer_resume(other, channel, "load", &second) == 0 && second == 3);
	CHECK(lmq_writer_add(other, channel, &m) == 0);
	CHECK(lmq_writer_commit(other) == 0);
	CHECK_EQUAL(stored("it"), 4);
	sound();
	lmq_writer_close(other);
	single_end();
}

UNIT_MAIN
