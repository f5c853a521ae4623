/* SPDX-License-Identifier: ISC */
/* What is in a receiver's hands: given back in parts, many at once when it dies, under a group that is moved or changed. */
#include "single.h"

#include "receive/receiver.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SENT = 10, APART = 40, NOTES = 17 };
#define HOUR INT64_C(3600000000000)

static size_t claimed(lmq_receiver *r, size_t most)
{
	size_t count = 0;
	int rc = lmq_receiver_claim(r, most, SIZE_MAX / 2, &count);
	CHECK(rc == 0 || rc == LMQ_END);
	return count;
}

/* The next message has that offset; -1: there is none. */
static bool next(lmq_receiver *r, int64_t offset)
{
	struct lmq_message m;
	int rc = lmq_receiver_next(r, &m);
	return offset < 0 ? rc == LMQ_END : rc == 0 && m.offset == (uint64_t)offset;
}

TEST(parts, "what is given back may lie across what was settled, and beyond what is in hand")
{
	struct lmq_verdict v = { .offset = 3, .count = 2, .exit_status = -1 };
	lmq_receiver *a, *b;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(SENT, 1));
	a = receiver_of(channel, NULL);
	b = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(a, SENT), SENT);
	CHECK(next(a, 0));
	good(lmq_receiver_conclude(a, &v, 1, NULL, LMQ_SYNC_RELAXED));
	lmq_receiver_return(a, 1, 0, SENT);
	CHECK_EQUAL(claimed(b, SENT), 0);
	lmq_receiver_return(a, 0, 2, 5);
	CHECK(next(a, 1) && next(a, 7));
	CHECK_EQUAL(claimed(b, SENT), 3);
	CHECK(next(b, 2) && next(b, 5) && next(b, 6) && next(b, -1));
	lmq_receiver_return(a, 0, 9, 100);
	CHECK(next(a, 8) && next(a, -1));
	CHECK_EQUAL(claimed(b, SENT), 1);
	CHECK(lmq_receiver_settle(a, 4, LMQ_SYNC_RELAXED) == 0 && lmq_receiver_settle(b, 4, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(stored("it"), 0);
	lmq_receiver_close(a);
	lmq_receiver_close(b);
	sound();
	single_end();
}

TEST(middle, "what is given back out of the middle, before or behind the next one, does not change which one that is")
{
	for (uint64_t seen = 1; seen < SENT; seen += 7) {
		lmq_receiver *r;
		single_begin(LMQ_QUEUE, NULL);
		good(send_sized(SENT, 1));
		r = receiver_of(channel, NULL);
		CHECK_EQUAL(claimed(r, SENT), SENT);
		for (uint64_t i = 0; i < seen; i++)
			CHECK(next(r, (int64_t)i));
		lmq_receiver_return(r, 0, 3, 2);
		for (uint64_t i = seen; i < SENT; i++)
			CHECK((i >= 3 && i < 5) || next(r, (int64_t)i));
		CHECK(next(r, -1));
		lmq_receiver_close(r);
		single_end();
	}
}

TEST(claimed_only, "nothing is settled but what is in hand, however the range is given")
{
	static const struct lmq_verdict wrong[] = {
		{ .offset = 5, .count = 1 }, { .offset = 3, .count = 3 }, { .offset = 0, .count = 0 },
		{ .partition = 1, .count = 1 }, { .count = 1, .outcome = LMQ_EXTEND }, { .offset = 2, .count = UINT64_MAX },
		{ .offset = 9, .count = UINT64_MAX - 8 }, { .offset = UINT64_MAX, .count = 1 },
	};
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(SENT, 1));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(r, 5), 5);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct lmq_verdict v[] = { { .count = 1, .exit_status = -1 }, wrong[i] };
		CHECK(lmq_receiver_conclude(r, v, 2, NULL, LMQ_SYNC_RELAXED) == LMQ_EINVAL);
		CHECK_EQUAL(stored("it"), SENT);
	}
	CHECK(lmq_receiver_settle(r, 5, LMQ_SYNC_RELAXED) == 0);
	CHECK_EQUAL(stored("it"), SENT - 5);
	lmq_receiver_close(r);
	single_end();
}

TEST(body, "of a body that is not at hand nothing is given, behind its end there is nothing")
{
	struct lmq_bytes piece;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(2, 5));
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 2), 0);
	CHECK(lmq_receiver_body(r, 3, &piece) == 0 && piece.size == 2);
	CHECK(lmq_receiver_body(r, 6, &piece) == 0 && piece.size == 0);
	lmq_receiver_pause(r);
	CHECK(lmq_receiver_body(r, 0, &piece) == LMQ_EINVAL);
	CHECK(next(r, 1) && lmq_receiver_body(r, 0, &piece) == 0 && piece.size == 5);
	lmq_receiver_close(r);
	single_end();
}

static void reach(void)
{
	store = place_open();
	good(lmq_channel_open(store, "it", LMQ_QUEUE, 0, &channel));
	good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
}

static void leave(void)
{
	lmq_writer_close(writer);
	lmq_channel_close(channel);
	lmq_store_close(store);
}

/* Has every other message in its hands, all of them handed out. */
static void hold_apart(lmq_receiver *r)
{
	CHECK_EQUAL(claimed(r, 2 * APART), 2 * APART);
	for (uint64_t i = 1; i < 2 * APART; i += 2)
		lmq_receiver_return(r, 0, i, 1);
	lmq_receiver_begin(r, 9, 0, 1, 1);
	for (int64_t i = 0; i < APART; i++)
		CHECK(next(r, 2 * i));
}

static void dies(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	reach();
	hold_apart(receiver_of(channel, NULL));
	if (unit_failures == 0)
		kill(getpid(), SIGKILL);
	_exit(1);
}

TEST(many_notes, "who dies over many messages that lie apart is noted for the latest of them, and loses none")
{
	struct lmq_message m;
	lmq_receiver *r;
	size_t counted = 0;
	int status;
	pid_t pid;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(2 * APART, 1));
	r = receiver_of(channel, NULL);
	hold_apart(r);
	lmq_receiver_close(r);
	leave();
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		dies();
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	reach();
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claimed(r, 2 * APART), 2 * APART);
	while (lmq_receiver_next(r, &m) == 0) {
		CHECK(m.attempt <= 2 && (m.attempt == 1 || m.offset % 2 == 0));
		counted += m.attempt == 2;
		if (m.offset == 2 * APART - 2)
			CHECK_EQUAL(m.attempt, 2);
	}
	CHECK_EQUAL(counted, NOTES);
	CHECK(lmq_receiver_settle(r, 2 * APART, LMQ_SYNC_RELAXED) == 0);
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(read_only, "nothing is received from a store that is open for reading only")
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_READ_ONLY };
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	leave();
	good(lmq_store_open(place, &options, &store));
	good(lmq_channel_open(store, "it", LMQ_QUEUE, 0, &channel));
	CHECK(lmq_receiver_open(channel, NULL, &r) == LMQ_EACCES && !r);
	CHECK_TEXT(lmq_error(store), "it: the store is open for reading only");
	lmq_channel_close(channel);
	lmq_store_close(store);
	place_remove();
}

/* ---- groups ------------------------------------------------------------------------------------- */

static struct lmq_group_info info(void)
{
	struct lmq_group_info *list, one = { .lag = UINT64_MAX };
	size_t count;
	CHECK(lmq_group_list(channel, "g", &list, &count) == 0 && count == 1);
	if (count == 1)
		one = *list;
	free(list);
	return one;
}

TEST(into_lease, "a seek into the middle of a leased batch settles what lies before, and ends the lease of the rest")
{
	static const char *const why[] = { "the message was settled", "there was no such delivery, or a process holds it" };
	struct lmq_group_move way;
	lmq_receiver *r;
	size_t count;
	single_begin(LMQ_STREAM, NULL);
	good(send_sized(SENT, 1));
	r = receiver_of(channel, "g");
	CHECK_EQUAL(claimed(r, SENT - 2), SENT - 2);
	good(lmq_receiver_lease(r, HOUR, LMQ_SYNC_RELAXED));
	CHECK(info().leased == SENT - 2 && info().lag == SENT && info().position == 0);
	good(lmq_group_seek(channel, "g", -1, LMQ_SEEK_OFFSET, 4, 0, &way, &count));
	CHECK(count == 1 && way.from == 0 && way.to == 4 && way.end == SENT);
	CHECK(info().leased == 0 && info().lag == SENT - 4 && info().position == 4);
	for (uint64_t i = 0; i < SENT - 2; i++) {
		struct lmq_lease l = { .channel = "it", .group = "g", .offset = i, .attempt = 1 };
		CHECK(lmq_store_settle(store, &l, 1, LMQ_SYNC_RELAXED) == 0 && l.status == LMQ_ELOST);
		CHECK_TEXT(l.why, why[i >= 4]);
	}
	CHECK_EQUAL(claimed(r, SENT), SENT - 4);
	CHECK(next(r, 4));
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(order, "the order of a group is changed only while nothing of it is in flight")
{
	const char *const by_key = "order=key";
	struct lmq_property changed[LMQ_PROPERTY_MAX];
	lmq_receiver *r;
	size_t count;
	bool created;
	single_begin(LMQ_STREAM, NULL);
	good(send_sized(SENT, 1));
	r = receiver_of(channel, "g");
	CHECK_EQUAL(claimed(r, 2), 2);
	good(lmq_receiver_lease(r, HOUR, LMQ_SYNC_RELAXED));
	CHECK(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, &by_key, 1, &created, changed, &count) == LMQ_EBUSY);
	CHECK_TEXT(lmq_error(store), "it: order can be changed only while no message of the group 'g' is in flight");
	CHECK_TEXT(lmq_hint(store), "let its members settle what they have, or make another group");
	for (uint64_t i = 0; i < 2; i++) {
		struct lmq_lease l = { .channel = "it", .group = "g", .offset = i, .attempt = 1 };
		CHECK(lmq_store_settle(store, &l, 1, LMQ_SYNC_RELAXED) == 0 && l.status == 0);
	}
	CHECK(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, &by_key, 1, &created, changed, &count) == 0 && count == 1);
	CHECK_EQUAL(claimed(r, SENT), SENT - 2);
	lmq_receiver_close(r);
	sound();
	single_end();
}

TEST(held_missed, "what retention drops while it is in somebody's hands is missed by nobody else, until that dies")
{
	lmq_receiver *a, *b;
	single_begin(LMQ_STREAM, NULL);
	good(send_sized(2 * APART * 2, 1));
	a = receiver_of(channel, "g");
	b = receiver_of(channel, "g");
	CHECK_EQUAL(claimed(a, 4 * APART), 4 * APART);
	for (uint64_t i = 0; i < 4 * APART; i += 2) {
		struct lmq_verdict v = { .offset = i, .count = 1, .exit_status = -1 };
		good(lmq_receiver_conclude(a, &v, 1, NULL, LMQ_SYNC_RELAXED));
	}
	trim_to(4 * APART);
	CHECK(claimed(b, 9) == 0 && lmq_receiver_missed(b) == 0);
	lmq_receiver_close(a);
	CHECK(claimed(b, 9) == 0 && lmq_receiver_missed(b) == 2 * APART);
	CHECK_EQUAL(info().missed, 2 * APART);
	lmq_receiver_close(b);
	sound();
	single_end();
}

TEST(lag, "what was dropped before a group came to it is no part of its lag")
{
	const char *const by_key = "order=key";
	struct lmq_property changed[LMQ_PROPERTY_MAX];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_receiver *r;
	size_t count;
	bool created;
	m.key = (struct lmq_bytes){ "k", 1 };
	for (int ordered = 0; ordered < 2; ordered++) {
		single_begin(LMQ_STREAM, NULL);
		good(lmq_group_make(channel, "g", LMQ_SEEK_FIRST, 0, &by_key, (size_t)ordered, &created, changed, &count));
		for (int i = 0; i < SENT; i++)
			good(lmq_writer_add(writer, channel, &m));
		good(lmq_writer_commit(writer));
		r = receiver_of(channel, "g");
		/* By keys the others are entered, behind that one. */
		CHECK_EQUAL(claimed(r, 1), 1);
		lmq_receiver_release(r);
		CHECK(info().lag == SENT && info().position == 0 && info().blocked == (ordered ? SENT - 1 : 0));
		trim_to(4);
		CHECK(info().lag == SENT - 4 && info().position == 4);
		CHECK_EQUAL(claimed(r, 1), 1);
		CHECK(next(r, 4));
		CHECK_EQUAL(lmq_receiver_missed(r), 4);
		lmq_receiver_close(r);
		sound();
		single_end();
	}
}

/* ---- who else is there -------------------------------------------------------------------------- */

TEST(watched, "several receivers are watched at once, before their first claim too, until none is any more")
{
	lmq_receiver *r[3];
	lmq_watch *watch;
	single_begin(LMQ_STREAM, NULL);
	good(lmq_watch_open(store, &watch));
	for (int i = 0; i < 3; i++) {
		r[i] = receiver_of(channel, (const char *[]){ "a", "b", "c" }[i]);
		CHECK(lmq_watch_receiver(watch, r[i]) == 0);
	}
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_wait(watch, 0), LMQ_ETIME);
	CHECK(lmq_watch_receiver(watch, NULL) == 0);
	for (int i = 0; i < 3; i++)
		lmq_receiver_close(r[i]);
	lmq_watch_arm(watch);
	CHECK_EQUAL(lmq_watch_wait(watch, 0), LMQ_ETIME);
	lmq_watch_close(watch);
	single_end();
}

TEST(scribbled_member, "who seems to want a partition that there is not counts as one who takes any")
{
	struct roster_member m;
	lmq_receiver *r[2];
	single_begin(LMQ_STREAM, PROPERTIES("partitions=4"));
	for (int i = 0; i < 2; i++) {
		r[i] = receiver_of(channel, "g");
		CHECK_EQUAL(claimed(r[i], 1), 0);
		if (i == 0) {
			REQUIRE(roster_member(store, receiver_space(r[0]), 0, &m));
			roster_wants(store, m.slot, 99);
		}
	}
	for (int64_t lane = 0; lane < 4; lane++) {
		lmq_writer_partition(writer, lane);
		good(send_sized(1, 1));
	}
	while (claimed(r[0], 9) + claimed(r[1], 9) > 0)
		continue;
	for (int i = 0; i < 2; i++)
		CHECK(lmq_receiver_settle(r[i], 2, LMQ_SYNC_RELAXED) == 0);
	for (int i = 0; i < 2; i++)
		lmq_receiver_close(r[i]);
	sound();
	single_end();
}

TEST(owners, "the owner of a partition is named, whatever its number")
{
	struct lmq_group_info *list;
	lmq_receiver *r;
	size_t count;
	single_begin(LMQ_STREAM, PROPERTIES("partitions=128"));
	r = receiver_of(channel, "g");
	CHECK_EQUAL(claimed(r, 1), 0);
	good(lmq_group_list(channel, "g", &list, &count));
	REQUIRE(count == 128);
	for (size_t i = 0; i < count; i++)
		CHECK(list[i].members == 1 && *list[i].owner);
	free(list);
	lmq_receiver_close(r);
	single_end();
}

UNIT_MAIN
