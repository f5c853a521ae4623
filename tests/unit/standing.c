/* SPDX-License-Identifier: ISC */
/* The check of the whole store goes on: positions, runs and their indexes, large bodies. */
#include "booked.h"

#include "store/meta.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* ---- positions -------------------------------------------------------------------------------- */

static struct group_record group_get(uint32_t id, const char *group)
{
	struct key k = key_group(id, 0, group);
	struct group_record g;
	MDB_val v = raw_get(&k);
	if (!group_record_get(&g, &k, v.mv_data, v.mv_size))
		abort();
	return g;
}

static void group_put(uint32_t id, const char *group, const struct group_record *g)
{
	struct key k = key_group(id, 0, group);
	uint8_t value[GROUP_RECORD];
	raw_put(&k, value, group_record_put(g, &k, value));
}

#define GROUP(name, channel, group, change) \
	static void name(void) \
	{ \
		struct group_record g = group_get(books.channel, group); \
		change; \
		group_put(books.channel, group, &g); \
	}
GROUP(more_ready, jobs, "", g.state[RUN_READY]++)
GROUP(fewer_leased, jobs, "", g.state[RUN_LEASED]--)
GROUP(more_settled, jobs, "", g.settled++)
GROUP(next_beyond, jobs, "", g.next += 1000; g.settled += 1000)
GROUP(next_below, jobs, "", g.next -= 1)
GROUP(other_space, ordered, "", g.space = books.jobs)
GROUP(group_flags, jobs, "", g.flags |= 8)
GROUP(high_floor, news, "readers", g.floor++)
GROUP(no_floor, news, "readers", g.floor = UINT64_MAX)
GROUP(floor_of_stream, events, "workers", g.floor = 0)
GROUP(skips, news, "readers", g.next++; g.settled++)
static void bad_position(void) { raw_damage(key_group(books.jobs, 0, "")); }
static void no_queue_position(void) { raw_delete(key_group(books.copies, 0, "")); }
/* Its runs with it, of which there is one of each kind at most. */
static void one_lane(void)
{
	struct key k = key_group(books.events, 1, "workers");
	struct group_record g;
	MDB_val v = raw_get(&k);
	if (!group_record_get(&g, &k, v.mv_data, v.mv_size))
		abort();
	for (const char *table = "RD"; *table; table++) {
		struct key run = { .bytes = { (uint8_t)*table }, .size = RUN_PREFIX };
		put32(run.bytes + 1, g.space);
		run = raw_find(run);
		if (run.bytes[0] == *table && get32(run.bytes + 1) == g.space)
			raw_delete(run);
	}
	raw_delete(k);
}
static void group_of_queue(void)
{
	struct group_record g = { .space = 1 };
	group_put(books.copies, "x", &g);
}
static void group_without_name(void)
{
	struct group_record g = { .space = 1 };
	group_put(books.once, "", &g);
}
static struct key floor_key(void) { return raw_find(key_floor(books.news, 0, 0, 0)); }
static void no_floor_entry(void) { raw_delete(floor_key()); }
static void bad_floor(void) { raw_damage(floor_key()); }
static void floor_named(const char *name, uint64_t floor)
{
	struct key k = key_floor(books.news, 0, floor, get32(floor_key().bytes + BLOCK_PREFIX + 8));
	uint8_t value[FLOOR_RECORD_MAX];
	raw_put(&k, value, name_put(name, &k, value));
}
static void floor_of_other(void) { floor_named("others", 0); }
static void second_floor(void) { floor_named("readers", 1); }

TEST(positions, "positions of queues and groups, and what groups need")
{
	static const struct wrong list[] = {
		{ more_ready, "jobs", "messages in runs that are ready, and counts" },
		{ fewer_leased, "jobs", "has 10 messages in runs that are leased, and counts 9" },
		{ more_settled, "jobs", "has 0 settled messages, and counts 1" },
		{ next_beyond, "jobs", "and the next message is to be" },
		{ next_below, "jobs", "" }, { other_space, "ordered", "keeps its runs under number" },
		{ group_flags, "jobs", "unknown flags" },
		{ high_floor, "news@readers", "" }, { no_floor, "news@readers", "" },
		{ floor_of_stream, "events/0@workers", "which asks only groups of topics" },
		{ skips, "news@readers", "needs messages from 1 on, and says 0" },
		{ bad_position, "jobs", "its position is damaged" },
		{ no_queue_position, "copies", "it has no position" },
		{ one_lane, "events/0@workers", "no position in partition 1" },
		{ group_of_queue, "copies@x", "a queue has a group" },
		{ group_without_name, "once", "the name of a group is none" },
		{ no_floor_entry, "news@readers", "retention does not know what it needs" },
		{ bad_floor, "news", "what a group needs from 0 on is damaged" },
		{ floor_of_other, "news@others", "for nothing" },
		{ second_floor, "news@readers", "retention keeps messages from 1 on for it, for nothing" },
	};
	EACH(list);
}

/* ---- runs and their indexes -------------------------------------------------------------------- */

static struct key run_key(uint32_t space) { return raw_find(key_run(space, 0)); }

static struct run_record run_get(struct key k)
{
	static struct run_record r;
	MDB_val v = raw_get(&k);
	if (!run_record_get(&r, &k, v.mv_data, v.mv_size))
		abort();
	return r;
}

static void run_write(struct key k, const struct run_record *r)
{
	uint8_t value[RUN_RECORD_MAX];
	raw_put(&k, value, run_record_put(r, &k, value));
}

#define RUN(name, channel, change) \
	static void name(void) \
	{ \
		struct key k = run_key(books.channel); \
		struct run_record r = run_get(k); \
		change; \
		run_write(k, &r); \
	}
RUN(longer, jobs, r.end++)
RUN(due_later, jobs, r.due++)
RUN(delayed, jobs, r.state = RUN_DELAYED)
RUN(keyed_twice, ordered, r.end++)
RUN(two_blocked, ordered, r.state = RUN_BLOCKED)
static void bad_run(void) { raw_damage(run_key(books.jobs)); }
static void no_run(void) { raw_delete(run_key(books.jobs)); }
/* All of an ordered queue's messages; the first three of its nine are ready. */
static void two_free(void)
{
	struct key k = key_run(books.ordered, 3);
	struct run_record r = run_get(k);
	struct group_record g = group_get(books.ordered, "");
	r.state = RUN_DELAYED;
	run_write(k, &r);
	raw_number(key_due(books.ordered, r.due, 3), 0, 0);
	g.state[RUN_BLOCKED]--;
	g.state[RUN_DELAYED]++;
	group_put(books.ordered, "", &g);
}
static void none_free(void)
{
	struct key k = key_run(books.ordered, 0);
	struct run_record r = run_get(k);
	struct group_record g = group_get(books.ordered, "");
	r.state = RUN_BLOCKED;
	run_write(k, &r);
	raw_delete(raw_find(key_ready(books.ordered, 0, 0)));
	g.state[RUN_READY]--;
	g.state[RUN_BLOCKED]++;
	group_put(books.ordered, "", &g);
}
static struct key q(void) { return raw_find(key_ready(books.jobs, 0, 0)); }
static struct key d(void) { return raw_find(key_due(books.jobs, 0, 0)); }
static struct key k(void) { return raw_find(key_chain(books.ordered, 0, 0)); }
static void bad_q(void) { raw_damage(q()); }
static void bad_d(void) { raw_damage(d()); }
static void bad_k(void) { raw_damage(k()); }
static void no_q(void) { raw_delete(q()); }
static void no_d(void) { raw_delete(d()); }
static void no_k(void) { raw_delete(k()); }
static void other_q(void) { raw_number(q(), 9999, 8); }
static void more_q(void) { raw_number(key_ready(books.jobs, 5, 50), 51, 8); }
static void more_d(void) { raw_number(key_due(books.jobs, 5, 50), 0, 0); }
static void more_k(void) { raw_number(key_chain(books.jobs, 5, 50), 0, 0); }

TEST(runs, "runs, and the indexes of what is ready, what waits, and what has which key")
{
	static const struct wrong list[] = {
		{ longer, "jobs", "" }, { due_later, "jobs", "" }, { delayed, "jobs", "" },
		{ keyed_twice, "ordered", "" }, { two_blocked, "ordered", "" },
		{ bad_run, "jobs", "the run of messages from 0 on is damaged" }, { no_run, "jobs", "" },
		{ two_free, "ordered", "message 0 and others of its key may be delivered at the same time" },
		{ none_free, "ordered", "message 0 and all others of its key are blocked" },
		{ bad_q, "jobs", "index Q of its runs is damaged" }, { bad_d, "jobs", "index D of its runs is damaged" },
		{ bad_k, "ordered", "index K of its runs is damaged" },
		{ no_q, "jobs", "is not in the index Q" }, { no_d, "jobs", "the run of messages from 0 on is not in the index D" },
		{ no_k, "ordered", "is not in the index K" }, { other_q, "jobs", "in the index Q at 9999" },
		{ more_q, "jobs", "the index Q has an entry for message 50" },
		{ more_d, "jobs", "the index D has an entry for message 50" },
		{ more_k, "jobs", "the index K has an entry for message 50" },
	};
	EACH(list);
}

/* ---- large bodies -------------------------------------------------------------------------------- */

enum { OF_JOBS = 1, OF_REMOVED, ALSO_REMOVED, OF_NEWS, ALSO_NEWS };

static void lose(uint64_t body)
{
	for (uint32_t part = 0; part <= (LARGE - 1) / CHUNK_ROOM; part++)
		raw_delete(key_chunk(body, part));
}
static void no_body(void) { lose(OF_NEWS); }
static void no_last_body(void) { lose(ALSO_NEWS); }
static void no_first_chunk(void) { raw_delete(key_chunk(OF_JOBS, 0)); }
static void no_chunk(void) { raw_delete(key_chunk(OF_REMOVED, 3)); }
static void no_last_chunk(void) { raw_delete(key_chunk(OF_NEWS, (LARGE - 1) / CHUNK_ROOM)); }
static void short_chunk(void) { raw_put((struct key[]){ key_chunk(OF_JOBS, 1) }, "12345", 5); }
static void staged(void) { raw_number(key_staging(OF_JOBS), 1, 8); }
static void swept(void) { raw_number(key_sweep('b', OF_JOBS), 0, 0); }
static void nameless(void) { raw_put((struct key[]){ key_chunk(0, 0) }, "12345", 5); }
static void not_shared(void) { raw_delete(key_shared(OF_NEWS)); }
static void shared_more(void) { raw_number(key_shared(OF_NEWS), 2, 8); }
static void shared_by_none(void) { raw_number(key_shared(0), 2, 8); }
static void bad_shared(void) { raw_damage(key_shared(ALSO_NEWS)); }
static void bad_staging(void) { raw_number(key_staging(0), 1, 4); }
static void staged_beyond(void) { raw_number(key_staging(999), 1, 8); }
static void swept_beyond(void) { raw_number(key_sweep('b', 999), 0, 0); }

TEST(bodies, "chunks of large bodies, and how many messages have them")
{
	static const struct wrong list[] = {
		{ no_body, "body 4", "nothing of it is there" }, { no_last_body, "body 5", "nothing of it is there" },
		{ no_first_chunk, "body 1", "95924 of its 100000 bytes" }, { no_chunk, "body 2", "95924 of its 100000 bytes" },
		{ no_last_chunk, "body 4", "of its 100000 bytes" }, { short_chunk, "body 1", "of its 100000 bytes" },
		{ staged, "body 1", "noted as not finished" }, { swept, "body 1", "to be swept" },
		{ nameless, "body 0", "no message has it" }, { not_shared, "body 4", "2 messages have it, and 1 are counted" },
		{ shared_more, "body 4", "2 messages have it, and 3 are counted" },
		{ shared_by_none, "body 0", "no message has it, and several are counted" },
		{ bad_shared, "body 5", "the count of its messages is damaged" },
		{ bad_staging, "body 0", "being written is damaged" }, { staged_beyond, "body 999", "is the next" },
		{ swept_beyond, "store", "body 999 is to be swept" },
	};
	EACH(list);
}

TEST(windows, "more large bodies than are looked at in one walk")
{
	struct lmq_message large = LMQ_MESSAGE_INIT;
	lmq_store *s;
	lmq_channel *c;
	books_begin();
	large.body.size = LARGE;
	s = place_open();
	c = book_channel(s, "large", LMQ_QUEUE, NULL);
	for (int i = 0; i < 70; i++)
		book_send(s, c, 1, 0, large);
	lmq_channel_close(c);
	lmq_store_close(s);
	books_keep();
	CHECK(books_check(16) == 0 && books.found.faults == 0);
	books_say("", "");
	for (uint64_t i = 1; i <= 70; i += 23) {
		char object[20];
		raw_begin();
		raw_delete(key_chunk(i, 2));
		raw_end();
		snprintf(object, sizeof object, "body %d", (int)i);
		CHECK(books_check(16) == 0 && books_say(object, "of its 100000 bytes"));
		books_restore();
	}
	books_close();
}

/* ---- while others work -------------------------------------------------------------------------- */

/* Many runs, each of one message that waits for its retry. */
static lmq_channel *many_runs(lmq_store *s)
{
	struct lmq_message plain = LMQ_MESSAGE_INIT;
	lmq_channel *c = book_channel(s, "many", LMQ_STREAM, NULL);
	plain.body.size = 10;
	book_send(s, c, 4000, 0, plain);
	book_take(s, c, "workers", 4000, true);
	return c;
}

/* In a child, which stops before and behind each of its system calls. */
static void seek(void)
{
	struct lmq_group_move moves[1];
	lmq_store *s;
	lmq_channel *c;
	size_t count;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0)
		_exit(1);
	s = place_open();
	if (lmq_channel_open(s, "many", LMQ_STREAM, 0, &c) != 0 ||
			lmq_group_seek(c, "workers", -1, LMQ_SEEK_OFFSET, 2000, 0, moves, &count) != 0)
		_exit(1);
	lmq_channel_close(c);
	lmq_store_close(s);
	_exit(0);
}

/* The number of the last commit. */
static uint64_t last_commit(void)
{
	struct meta_page m;
	uint64_t last = 0;
	char path[300];
	int fd;
	snprintf(path, sizeof path, "%s/data.mdb", place);
	fd = open(path, O_RDONLY);
	for (int i = 0; i < 2; i++)
		if (pread(fd, &m, sizeof m, i * sysconf(_SC_PAGESIZE)) == sizeof m && m.transaction > last)
			last = m.transaction;
	close(fd);
	return last;
}

TEST(seeking, "a group on its way to another position is in order after each of its steps")
{
	unsigned between = 0;
	uint64_t last, before;
	lmq_store *s;
	pid_t child;
	int status;
	books_begin();
	s = place_open();
	lmq_channel_close(many_runs(s));
	lmq_store_close(s);
	books_keep();
	last = last_commit();
	CHECK(books_check(1000) == 0 && books.found.faults == 0);
	before = books.found.records;
	child = fork();
	if (child == 0)
		seek();
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		if (last_commit() != last) {
			last = last_commit();
			CHECK(books_check(1000) == 0 && books.found.faults == 0);
			between += books.found.records < before && books.found.entries > 0;
			before = books.found.records;
		}
		ptrace(PTRACE_SYSCALL, child, NULL, NULL);
	}
	books_say("", "");
	CHECK(status == 0);
	CHECK(between > 1);	/* the last of them is the end */
	books_close();
}

static bool stop(const struct lmq_accounts *sofar, void *context)
{
	(void)sofar;
	return ++*(int *)context < 2;
}

TEST(many, "of many faults the first are told, and all are counted; a check can be ended")
{
	lmq_store *s;
	lmq_channel *c;
	int calls = 1;
	books_begin();
	s = place_open();
	c = many_runs(s);
	lmq_channel_close(c);
	lmq_store_close(s);
	books_keep();
	raw_begin();
	for (unsigned i = 0; i < 1500; i++)
		raw_delete(raw_find(key_due(2, 0, 0)));
	raw_end();
	CHECK(books_check(1000) == 0);
	CHECK_EQUAL(books.found.faults, 1500);
	CHECK_EQUAL(books.count, LMQ_FAULTS_MAX);
	s = place_open();
	CHECK(lmq_store_check(s, &books.found, NULL, stop, &calls) == LMQ_EINTR);
	lmq_store_close(s);
	books_close();
}

UNIT_MAIN
