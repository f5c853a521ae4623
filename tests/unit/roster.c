/* SPDX-License-Identifier: ISC */
/* The roster: what processes tell each other, and what they leave behind when they are killed. */
#include "place.h"

#include "channel/channel.h"

#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SPACE = 7 };

/* A process that has the store open, joins, does as told, and then waits to be killed. */
struct worker {
	enum roster_kind kind;
	uint32_t space;
	uint64_t first, end;	/* what it delivers, and has locked; none if equal */
	uint32_t attempt;
	bool busy;		/* begins and ends deliveries without end */
};

static lmq_store *store;
static int fd = -1;

static void begin(void)
{
	place_make();
	store = place_open();
	if (lease_open(store, &fd) != 0)
		abort();
}

static void end_keeping(void)
{
	close(fd);
	lmq_store_close(store);
}

static void end(void)
{
	end_keeping();
	place_remove();
}

static void deliver_for_ever(lmq_store *s, int slot)
{
	for (uint64_t i = 1;; i++) {
		roster_begin(s, slot, i * 10, i * 10 + i % 10 + 1, (uint32_t)i);
		/* About as long as it takes to begin one. */
		for (volatile int n = 0; n < 50; n++)
			continue;
		if (i % 3 == 0)
			roster_begin(s, slot, 0, 0, 0);
	}
}

static void work(const struct worker *w, int ready)
{
	lmq_store *s = place_open();
	int own, slot;
	struct run got;
	if (lease_open(s, &own) != 0)
		abort();
	slot = roster_join(s, own, w->kind, w->space, "worker");
	if (w->kind == ROSTER_SENDER)
		roster_ticket(s, slot);
	if (w->first < w->end) {
		roster_holding(s, slot, true);
		if (lease_take(s, own, w->space, w->first, w->end, UINT64_MAX, &got) != 0)
			abort();
		roster_begin(s, slot, w->first, w->end, w->attempt);
	}
	if (write(ready, "", 1) != 1)
		abort();
	if (w->busy)
		deliver_for_ever(s, slot);
	for (;;)
		pause();
}

/* Starts one; it has joined when this returns. */
static pid_t start(const struct worker *w)
{
	int ready[2];
	char byte;
	pid_t pid;
	if (pipe(ready) != 0 || (pid = fork()) < 0)
		abort();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(w, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		abort();
	close(ready[0]);
	return pid;
}

static void kill_it(pid_t pid)
{
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) != pid)
		abort();
}

static unsigned used_slots(void)
{
	unsigned count = 0;
	for (size_t i = 0; i < ROSTER_SLOTS / 64; i++)
		count += (unsigned)__builtin_popcountll(atomic_load(&store->control->roster_used[i]));
	return count;
}

static bool find_dead(uint32_t space, uint64_t first, uint64_t last, struct roster_trace *trace)
{
	int from = 0;
	return roster_dead(store, space, first, last, &from, trace);
}

TEST(joins, "a slot is joined, left, and joined again; no slot is nothing")
{
	struct roster_mark mark;
	char name[80], seen[64];
	int a, b;
	int64_t since;
	uint32_t attempt;
	begin();
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = '\0';
	a = roster_join(store, fd, ROSTER_RECEIVER, SPACE, name);
	b = roster_join(store, fd, ROSTER_RECEIVER, SPACE, "");
	CHECK(a >= 0 && b >= 0 && a != b);
	CHECK_EQUAL(used_slots(), 2);
	roster_begin(store, a, 5, 6, 9);
	roster_extend(store, a, 8);
	REQUIRE(roster_holder(store, SPACE, 7, seen, &since, &attempt));
	CHECK_EQUAL(strlen(seen), 63);
	CHECK_EQUAL(attempt, 9);
	CHECK(since <= lmq_now() && since > lmq_now() - 60000000000);
	CHECK(!roster_holder(store, SPACE, 8, seen, &since, &attempt));
	CHECK(!roster_holder(store, SPACE + 1, 7, seen, &since, &attempt));
	roster_begin(store, a, 5, 5, 0);
	CHECK(!roster_holder(store, SPACE, 5, seen, &since, &attempt));
	roster_holding(store, a, true);
	CHECK(!roster_next(store, SPACE, 0, &mark));
	roster_leave(store, fd, a);
	CHECK_EQUAL(used_slots(), 1);
	CHECK(!roster_alive(store, a));
	CHECK(roster_alive(store, b));
	CHECK_EQUAL(roster_join(store, fd, ROSTER_RECEIVER, SPACE, "again"), a);
	roster_leave(store, fd, -1);
	roster_begin(store, -1, 1, 2, 1);
	roster_extend(store, -1, 2);
	roster_holding(store, -1, true);
	roster_turn(store, -1, SPACE);
	roster_lanes(store, -1, (const uint64_t[2]){ 1, 1 });
	roster_clear(store, -1);
	CHECK_EQUAL(used_slots(), 2);
	CHECK_EQUAL(roster_ticket(store, -1), 0);
	end();
}

TEST(older, "the control file of an older version, which had no roster, grows when it is opened")
{
	char path[300];
	struct stat st;
	begin();
	end_keeping();
	snprintf(path, sizeof path, "%s/control", place);
	REQUIRE(truncate(path, offsetof(struct control, next_ticket)) == 0);
	store = place_open();
	REQUIRE(stat(path, &st) == 0);
	CHECK_EQUAL(st.st_size, sizeof *store->control);
	CHECK(lease_open(store, &fd) == 0);
	CHECK_EQUAL(used_slots(), 0);
	CHECK(roster_join(store, fd, ROSTER_RECEIVER, SPACE, "me") >= 0);
	end();
}

TEST(killed, "what a killed receiver was delivering is found by who gets its messages, until it is cleared")
{
	const struct worker w = { ROSTER_RECEIVER, SPACE, 10, 20, 3, false };
	struct roster_trace trace;
	struct roster_mark mark;
	struct run got;
	char name[64];
	int64_t since;
	uint32_t attempt;
	pid_t pid;
	begin();
	pid = start(&w);
	CHECK(!find_dead(SPACE, 0, 100, &trace));
	CHECK(lease_take(store, fd, SPACE, 10, 20, UINT64_MAX, &got) == LMQ_END);
	CHECK(roster_holder(store, SPACE, 19, name, &since, &attempt));
	CHECK_TEXT(name, "worker");
	CHECK_EQUAL(attempt, 3);
	REQUIRE(roster_next(store, SPACE, 0, &mark));
	CHECK_EQUAL(mark.pid, pid);
	CHECK(roster_stays(store, &mark));
	CHECK(!roster_next(store, SPACE, mark.slot + 1, &mark));
	CHECK(!roster_next(store, SPACE + 1, 0, &mark));
	kill_it(pid);
	CHECK(lease_take(store, fd, SPACE, 12, 13, UINT64_MAX, &got) == 0);
	CHECK(!roster_holder(store, SPACE, 19, name, &since, &attempt));
	CHECK(!find_dead(SPACE, 20, 30, &trace));
	CHECK(!find_dead(SPACE, 0, 10, &trace));
	CHECK(!find_dead(SPACE + 1, 12, 13, &trace));
	REQUIRE(find_dead(SPACE, 12, 13, &trace));
	CHECK(trace.first == 10 && trace.end == 20 && trace.attempt == 3);
	roster_clear(store, trace.slot);
	CHECK(!find_dead(SPACE, 12, 13, &trace));
	CHECK_EQUAL(used_slots(), 0);
	end();
}

TEST(own, "a receiver's own deliveries are not those of the dead")
{
	struct roster_trace trace;
	int slot, from = 0;
	begin();
	slot = roster_join(store, fd, ROSTER_RECEIVER, SPACE, "me");
	roster_begin(store, slot, 1, 5, 1);
	CHECK(!roster_dead(store, SPACE, 0, 10, &from, &trace));
	roster_clear(store, slot);
	CHECK(roster_alive(store, slot));
	CHECK_EQUAL(used_slots(), 1);
	end();
}

TEST(several, "several dead receivers of one space are found one after the other")
{
	struct roster_trace trace;
	uint32_t attempts = 0;
	int from = 0, found = 0;
	begin();
	for (uint32_t i = 0; i < 5; i++) {
		struct worker w = { ROSTER_RECEIVER, SPACE, i * 10, i * 10 + 10, i + 1, false };
		pid_t pid = start(&w);
		kill_it(pid);
	}
	while (roster_dead(store, SPACE, 5, 45, &from, &trace)) {
		attempts |= 1U << trace.attempt;
		found++;
		roster_clear(store, trace.slot);
	}
	CHECK_EQUAL(found, 5);
	CHECK_EQUAL(attempts, 0x3e);
	CHECK_EQUAL(used_slots(), 0);
	end();
}

/* Until the process has begun so many deliveries. */
static void await_delivery(pid_t pid, uint32_t count)
{
	for (int slot = 0;; slot = (slot + 1) % ROSTER_SLOTS) {
		struct roster_slot *r = &store->control->roster[slot];
		if (atomic_load(&r->pid) == (uint32_t)pid && atomic_load(&r->attempt) >= count)
			return;
		if (slot == 0)
			sched_yield();
	}
}

TEST(torn, "a kill at any moment leaves a delivery that was begun, or none")
{
	const struct worker w = { ROSTER_RECEIVER, SPACE, 0, 0, 0, true };
	struct roster_trace trace;
	unsigned found = 0;
	begin();
	for (int i = 0; i < 60; i++) {
		pid_t pid = start(&w);
		await_delivery(pid, 1 + (uint32_t)unit_random_below(5000));
		kill_it(pid);
		if (!find_dead(SPACE, 0, UINT64_MAX, &trace))
			continue;
		found++;
		CHECK_EQUAL(trace.first, trace.attempt * UINT64_C(10));
		CHECK_EQUAL(trace.end, trace.first + trace.attempt % 10 + 1);
		roster_clear(store, trace.slot);
	}
	CHECK(found > 0);
	end();
}

TEST(dead_slots, "the slots of killed processes do not add up")
{
	const struct worker idle = { ROSTER_RECEIVER, SPACE, 0, 0, 0, false };
	begin();
	for (int i = 0; i < 40; i++) {
		pid_t pid = start(&idle);
		kill_it(pid);
	}
	CHECK(used_slots() <= 4);
	end();
}

/* Slots as processes left them that are dead by now. */
static void leave_behind(int slot, uint64_t delivered)
{
	struct roster_slot *r = &store->control->roster[slot];
	r->kind = ROSTER_RECEIVER;
	r->space = SPACE;
	r->pid = 1;
	r->holding = 1;
	r->first = 0;
	r->end = delivered;
	r->since = lmq_now();
	atomic_fetch_or(&store->control->roster_used[slot / 64], UINT64_C(1) << slot % 64);
}

TEST(full, "of a full roster a newcomer takes what tells nothing first, and nothing from the living")
{
	begin();
	for (int i = 0; i < ROSTER_SLOTS; i++)
		leave_behind(i, i != 700);
	CHECK_EQUAL(roster_join(store, fd, ROSTER_RECEIVER, SPACE, "a"), 700);
	for (int i = 1; i < ROSTER_SLOTS; i++)
		CHECK(roster_join(store, fd, ROSTER_RECEIVER, SPACE, "b") >= 0);
	CHECK_EQUAL(roster_join(store, fd, ROSTER_RECEIVER, SPACE, "c"), -1);
	for (int i = 0; i < ROSTER_SLOTS; i++)
		roster_leave(store, fd, i);
	CHECK_EQUAL(used_slots(), 0);
	end();
}

TEST(senders, "of the senders that wait, those who came first and live stand before the others")
{
	const struct worker w = { ROSTER_SENDER, SPACE, 0, 0, 0, false };
	uint64_t ticket, later;
	int slot, other;
	pid_t pid;
	begin();
	slot = roster_join(store, fd, ROSTER_SENDER, SPACE, "me");
	CHECK(!roster_before(store, SPACE, 0));
	pid = start(&w);
	ticket = roster_ticket(store, slot);
	CHECK(ticket > 0);
	CHECK(roster_before(store, SPACE, ticket));
	CHECK(roster_before(store, SPACE, 0));
	CHECK(!roster_before(store, SPACE + 1, ticket));
	kill_it(pid);
	CHECK(!roster_before(store, SPACE, ticket));
	other = roster_join(store, fd, ROSTER_SENDER, SPACE, "another");
	later = roster_ticket(store, other);
	CHECK(later > ticket);
	CHECK(roster_before(store, SPACE, later));
	roster_leave(store, fd, slot);
	CHECK(!roster_before(store, SPACE, later));
	CHECK(roster_before(store, SPACE, 0));
	end();
}

/* Everything that is asked of the page, whatever is in it. */
static void ask_everything(uint32_t space)
{
	struct roster_trace trace;
	struct roster_mark mark;
	char name[64];
	int64_t since;
	uint32_t attempt;
	int from = 0, slot = roster_join(store, fd, ROSTER_RECEIVER, space, "me");
	roster_begin(store, slot, unit_random(), unit_random(), 1);
	while (roster_dead(store, space, 0, UINT64_MAX, &from, &trace)) {
		CHECK(trace.slot >= 0 && trace.slot < from && from <= ROSTER_SLOTS);
		roster_clear(store, trace.slot);
	}
	if (roster_holder(store, space, unit_random(), name, &since, &attempt))
		CHECK(memchr(name, 0, sizeof name));
	for (int next = 0; roster_next(store, space, next, &mark); next = mark.slot + 1)
		CHECK(mark.slot >= next && roster_stays(store, &mark));
	roster_before(store, space, unit_random());
	roster_leave(store, fd, slot);
}

TEST(scribbled, "no content of the page makes anything crash")
{
	uint8_t *page;
	begin();
	page = (uint8_t *)&store->control->next_ticket;
	for (int round = 0; round < 30; round++) {
		size_t size = sizeof *store->control - offsetof(struct control, next_ticket);
		for (size_t i = 0; i < size; i++)
			page[i] = (uint8_t)(unit_random() >> 20);
		/* Some that pass for slots. */
		for (int i = 0; i < ROSTER_SLOTS; i += 3) {
			store->control->roster[i].kind = 1 + (uint32_t)unit_random_below(2);
			store->control->roster[i].space = SPACE;
		}
		ask_everything(SPACE);
	}
	memset(page, 0xff, sizeof *store->control - offsetof(struct control, next_ticket));
	ask_everything(UINT32_MAX);
	end();
}

UNIT_MAIN
