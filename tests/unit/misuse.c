/* SPDX-License-Identifier: ISC */
/* Calls that make no sense: each is refused with a sentence, and nothing is changed. And handles after a fork. */
#include "single.h"

#include <sys/wait.h>
#include <unistd.h>

static bool says_of(lmq_store *s, const char *sentence)
{
	bool same = strcmp(lmq_error(s), sentence) == 0;
	if (!same)
		printf("# says: %s\n", lmq_error(s));
	return same;
}

static bool says(const char *sentence)
{
	return says_of(store, sentence);
}

/* A sentence about the store itself. */
static bool says_here(lmq_store *s, const char *path, const char *what)
{
	char sentence[400];
	snprintf(sentence, sizeof sentence, "%s: %s", path, what);
	return says_of(s, sentence);
}

TEST(no_text, "no text at all is read as nothing")
{
	int64_t number;
	uint64_t size;
	const char *reason;
	lmq_filter *filter;
	CHECK(lmq_size_parse(NULL, &size) == LMQ_EINVAL && lmq_duration_parse(NULL, &number) == LMQ_EINVAL);
	CHECK(lmq_time_parse(NULL, 0, &number) == LMQ_EINVAL);
	REQUIRE(lmq_filter_open(&filter) == 0);
	CHECK(lmq_filter_header(filter, NULL, &reason) == LMQ_EINVAL && reason);
	lmq_filter_close(filter);
}

static int open_receiver(lmq_channel *c, const char *group, int64_t partition)
{
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_CREATE, .group = group, .partition = partition };
	lmq_receiver *r;
	int rc = lmq_receiver_open(c, &o, &r);
	lmq_receiver_close(r);
	return rc;
}

TEST(receivers, "a receiver is of a queue, or of a group of something else, and of a partition that there is")
{
	struct lmq_receiver_options old = { .size = offsetof(struct lmq_receiver_options, partition), .partition = 99 };
	lmq_receiver *r;
	lmq_channel *q;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=4"));
	q = single_make("q", LMQ_QUEUE, NULL);
	CHECK(open_receiver(q, "group", 0) == LMQ_EKIND && says("q: a queue has no groups"));
	CHECK(open_receiver(channel, NULL, 0) == LMQ_EKIND && says("it: a stream, not a queue"));
	CHECK(open_receiver(channel, "a..b", 0) == LMQ_EINVAL && says("a..b: not a valid name for a group"));
	CHECK(open_receiver(channel, "group", -1) == LMQ_EINVAL && says("it: there is no partition -2"));
	CHECK(open_receiver(channel, "group", 5) == LMQ_EINVAL && says("it: there is no partition 4"));
	CHECK(open_receiver(channel, "group", 4) == 0);
	/* A program that was built before there were partitions does not say one. */
	CHECK(lmq_receiver_open(q, &old, &r) == 0);
	lmq_receiver_close(r);
	lmq_receiver_close(NULL);
	lmq_channel_close(q);
	sound();
	single_end();
}

static lmq_store *store_beside(char path[300])
{
	struct lmq_store_options o = { .size = sizeof o, .flags = LMQ_CREATE };
	lmq_store *other;
	snprintf(path, 300, "%s.other", place);
	good(lmq_store_open(path, &o, &other));
	return other;
}

TEST(stores, "what belongs to another store is refused")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	char path[300], command[310];
	uint64_t number;
	lmq_store *other;
	lmq_channel *q;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	other = store_beside(path);
	good(lmq_channel_open(other, "q", LMQ_QUEUE, LMQ_CREATE, &q));
	CHECK(lmq_writer_add(writer, q, &m) == LMQ_EINVAL && says("q: a channel of another store"));
	CHECK(lmq_writer_resume(writer, q, "load", &number) == LMQ_EINVAL && says("q: a channel of another store"));
	good(lmq_receiver_open(q, NULL, &r));
	CHECK(lmq_receiver_conclude(r, NULL, 0, writer, LMQ_SYNC_RELAXED) == LMQ_EINVAL);
	CHECK(says_here(other, path, "a writer of another store"));
	lmq_receiver_close(r);
	lmq_channel_close(q);
	lmq_store_close(other);
	snprintf(command, sizeof command, "rm -r '%s'", path);
	CHECK(system(command) == 0);
	sound();
	single_end();
}

TEST(writers, "a writer says what it was not told, and does nothing where there is nothing to do")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	uint64_t number = 7;
	single_begin(LMQ_QUEUE, NULL);
	CHECK(lmq_writer_commit(writer) == 0 && lmq_writer_committed(writer) == 0);
	CHECK(lmq_writer_begin(writer, channel, &m) == 0);
	CHECK(lmq_writer_commit(writer) == LMQ_EINVAL && says_here(store, place, "a message is still being written"));
	lmq_writer_abandon(writer);
	CHECK(lmq_writer_write(writer, "x", 1) == LMQ_EINVAL && says_here(store, place, "no message is being written"));
	CHECK(lmq_writer_end(writer) == LMQ_EINVAL && says_here(store, place, "no message is being written"));
	CHECK(lmq_writer_resume(writer, channel, "a b", &number) == LMQ_EINVAL && number == 0);
	CHECK(says("a b: not a valid name to resume under"));
	CHECK_EQUAL(stored("it"), 0);
	sound();
	single_end();
}

TEST(ways, "a way to seek that is none moves nobody and makes no group")
{
	struct lmq_group_move moves[LMQ_PARTITIONS_MAX];
	const enum lmq_seek none = (enum lmq_seek)99;
	lmq_reader *reader;
	size_t count;
	bool created;
	single_begin(LMQ_STREAM, NULL);
	CHECK(lmq_group_make(channel, "g", none, 0, NULL, 0, &created, NULL, NULL) == LMQ_EINVAL);
	CHECK(says_here(store, place, "no such way to seek"));
	good(lmq_group_make(channel, "g", LMQ_SEEK_END, 0, NULL, 0, &created, NULL, NULL));
	CHECK(created);
	CHECK(lmq_group_seek(channel, "g", -1, none, 0, 0, moves, &count) == LMQ_EINVAL && count == 0);
	CHECK(says_here(store, place, "no such way to seek"));
	good(lmq_reader_open(channel, &reader));
	CHECK(lmq_reader_seek(reader, none, 0) == LMQ_EINVAL && says("it: no such way to seek"));
	lmq_reader_close(reader);
	sound();
	single_end();
}

TEST(lists, "a pattern that is none lists nothing, and a name that is none has no groups")
{
	struct lmq_channel_info *list;
	struct lmq_group_info *groups;
	size_t count = 9;
	single_begin(LMQ_STREAM, NULL);
	CHECK(lmq_channel_list(store, "a..#", LMQ_ANY, &list, &count) == LMQ_EINVAL && count == 0 && !list);
	CHECK(says("a..#: empty word; words are separated by single dots"));
	CHECK(lmq_group_list(channel, "a..b", &groups, &count) == LMQ_EINVAL);
	CHECK(says("a..b: not a valid name for a group"));
	sound();
	single_end();
}

TEST(backward, "a queue is not read backward, and only a queue's messages have a state")
{
	struct lmq_delivery d;
	struct lmq_message m;
	lmq_reader *reader;
	lmq_channel *q;
	single_begin(LMQ_STREAM, NULL);
	q = single_make("q", LMQ_QUEUE, NULL);
	good(lmq_reader_open(q, &reader));
	CHECK(lmq_reader_previous(reader, &m) == LMQ_EKIND && says("q: a queue cannot be read backward"));
	lmq_reader_close(reader);
	good(lmq_reader_open(channel, &reader));
	CHECK(lmq_reader_delivery(reader, &d) == LMQ_EKIND && says("it: a stream, not a queue"));
	lmq_reader_close(reader);
	lmq_channel_close(q);
	sound();
	single_end();
}

/* In a child, which should not even do that. */
static void use_and_close(lmq_reader *reader, lmq_receiver *r, lmq_watch *watch)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	size_t count;
	bool refused = lmq_receiver_claim(r, 1, 1, &count) == LMQ_EFORK && lmq_writer_add(writer, channel, &m) == 0 &&
		lmq_writer_commit(writer) == LMQ_EFORK && says_here(store, place, "the store was opened by another process");
	lmq_watch_close(watch);
	lmq_receiver_close(r);
	lmq_reader_close(reader);
	single_end_keeping();
	/* Without a check for leaks: what is LMDB's stays open here. */
	_exit(refused ? 0 : 1);
}

TEST(forked, "a child that uses what its parent has open is refused, and closing it does the parent no harm")
{
	struct lmq_message m;
	lmq_reader *reader;
	lmq_receiver *r;
	lmq_watch *watch;
	int status;
	pid_t pid;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(3, 10));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 1), 0);
	good(lmq_reader_open(channel, &reader));
	good(lmq_reader_next(reader, &m));
	good(lmq_watch_open(store, &watch));
	good(lmq_watch_channel(watch, channel));
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		use_and_close(reader, r, watch);
	REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(lmq_reader_next(reader, &m) == 0);
	CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(claim(r, 1), 1);
	CHECK(send_sized(1, 10) == 0);
	lmq_watch_close(watch);
	lmq_reader_close(reader);
	lmq_receiver_close(r);
	sound();
	single_end();
}

UNIT_MAIN
