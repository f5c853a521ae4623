/* SPDX-License-Identifier: ISC */
/*
 * crowding [-n KILLS] [-r SEED] DIRECTORY [tools] [tell] [early|torn|lazy|unlocked|uncounted]
 *
 * A crowd works on a store: producers, consumers, leasers, movers, readers, trimmers, removers of channels, checkers,
 * with the word tools also mq-send, mq-recv and mq-exec, all of them short-lived. Every few hundred microseconds one of
 * them is killed, or stopped for a while. After some hundred kills the others are let go on to the end, everything is
 * received, and the ledger must be in order; then all begins again with a store that is yet to be created, by the crowd.
 *
 * tell prints what is noted of a message that is wrong. The last words are mistakes that must be found: to believe a
 * commit before it has happened; to commit a batch in two parts; to acknowledge nothing and say so; to claim without
 * locks; to lay no trace for the case of a death.
 */
#include "ledger/verdict.h"
#include "people/actors.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { CROWD = 6, ROUND = 300, ENTRIES = 600000, SECONDS = 30, SAMPLES = 4096 };

static bool unlocked, uncounted, telling;
static struct verdict sum;
static uint64_t kills, stops, rounds;
static int64_t gap_sum, gap_most;	/* from the kill of a producer to the next commit */
static uint64_t gaps, gaps_long;

static struct person {
	pid_t pid;
	struct actor actor;
} crowd[CROWD];

int __real_lease_take(lmq_store *s, int fd, uint32_t space, uint64_t first, uint64_t end, uint64_t most,
	struct run *taken);
int __wrap_lease_take(lmq_store *s, int fd, uint32_t space, uint64_t first, uint64_t end, uint64_t most,
	struct run *taken);
int __wrap_lease_take(lmq_store *s, int fd, uint32_t space, uint64_t first, uint64_t end, uint64_t most,
	struct run *taken)
{
	if (!unlocked)
		return __real_lease_take(s, fd, space, first, end, most, taken);
	*taken = (struct run){ first, end - first > most ? first + most : end };
	return 0;
}

void __real_roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt);
void __wrap_roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt);
void __wrap_roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt)
{
	__real_roster_begin(s, slot, first, uncounted ? first : end, attempt);
}

static void enter(struct person *p, enum kind kind)
{
	p->actor = (struct actor){ kind, ledger_process(ledger), seed ^ (uint64_t)draw(INT32_MAX) << 20, 4 + draw(40) };
	p->pid = child(actor_work, &p->actor);
}

/* The first two are producers, so that there is always somebody who commits. */
static enum kind kind_for(const struct person *p)
{
	return p < crowd + 2 ? PRODUCER : actor_kind(draw(INT32_MAX));
}

static void must_be_well(const struct person *p, int status)
{
	need(status == 0, "round %llu: a process of kind %d ended with %d", (unsigned long long)rounds, p->actor.kind, status);
}

static void kill_person(struct person *p)
{
	struct entry e = { .who = p->actor.who };
	int status;
	ledger_note(ledger, NOTE_KILLING, &e);
	kill(p->pid, SIGKILL);
	status = end_of(p->pid);
	if (status != KILLED)
		must_be_well(p, status);
	kills += status == KILLED;
}

/* How long until somebody else commits. */
static void measure_gap(int64_t since)
{
	int64_t gap, now;
	while (atomic_load(&stage->committed) <= since && (now = clock_monotonic()) < since + 2000 * (int64_t)MS)
		wait_us(100);
	gap = atomic_load(&stage->committed) - since;
	need(gap > 0, "round %llu: a producer was killed, and nobody has committed anything for 2 s", (unsigned long long)rounds);
	gaps++;
	gap_sum += gap;
	gaps_long += gap > 100 * MS;
	gap_most = gap > gap_most ? gap : gap_most;
}

static void disturb(void)
{
	struct person *p = &crowd[draw(CROWD)];
	bool was_producer = p < crowd + 2;
	int64_t now;
	if (has_ended(p->pid)) {
		must_be_well(p, end_of(p->pid));
		enter(p, kind_for(p));
		return;
	}
	if (draw(6) == 0) {
		kill(p->pid, SIGSTOP);
		stops++;
		wait_us(draw(5000));
		if (draw(2)) {
			kill(p->pid, SIGCONT);
			return;
		}
	}
	now = clock_monotonic();
	kill_person(p);
	enter(p, kind_for(p));
	if (was_producer && draw(8) == 0)
		measure_gap(now);
}

static void add_up(const struct verdict *v)
{
	sum.sent += v->sent;
	sum.delivered += v->delivered;
	sum.settled += v->settled;
	sum.read += v->read;
	sum.again += v->again;
	sum.died += v->died;
	sum.ended += v->ended;
	sum.given += v->given;
	sum.unknown += v->unknown;
}

/* From a store that is not there to one that was emptied. */
static void play(uint64_t most)
{
	struct verdict v;
	int64_t began = clock_monotonic();
	uint64_t end = kills + (most < ROUND ? most : ROUND);
	int64_t deadline = lmq_deadline(SECONDS * INT64_C(1000000000));
	remove_tree(store_path);
	ledger_clear(ledger);
	memset(stage, 0, sizeof *stage);
	for (struct person *p = crowd; p < crowd + CROWD; p++)
		enter(p, kind_for(p));
	while (kills < end && !ledger_full(ledger) && clock_monotonic() < deadline) {
		wait_us(100 + draw(draw(2) ? 500 : 2500));
		disturb();
	}
	for (struct person *p = crowd; p < crowd + CROWD; p++) {
		if (draw(2))
			must_be_well(p, end_of(p->pid));
		else
			kill_person(p);
	}
	actors_gather();
	if (telling)
		fprintf(stderr, "played %.0f ms\n", (double)(clock_monotonic() - began) / MS);
	need(in_child(actors_finish, NULL) == 0, "round %llu: what is left cannot be received", (unsigned long long)rounds);
	if (!ledger_check(ledger, &v) && telling)
		ledger_tell(ledger, v.id, stderr);
	need(!v.wrong[0], "round %llu: %s", (unsigned long long)rounds, v.wrong);
	if (telling)
		fprintf(stderr, "done %.0f ms\n", (double)(clock_monotonic() - began) / MS);
	add_up(&v);
	rounds++;
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	uint64_t most = t.count ? t.count : 1000;
	char path[4200];
	snprintf(path, sizeof path, "%s/store", t.place);
	early = trial_word(&t, "early");
	torn = trial_word(&t, "torn");
	lazy = trial_word(&t, "lazy");
	unlocked = trial_word(&t, "unlocked");
	uncounted = trial_word(&t, "uncounted");
	telling = trial_word(&t, "tell");
	if (trial_word(&t, "tools"))
		snprintf(tools, sizeof tools, "%.*s/../..", (int)(strrchr(argv[0], '/') - argv[0]), argv[0]);
	actors_begin(path, ENTRIES);
	if (!tools[0])
		ledger->promised[JOBS] &= (uint16_t)~PLACE_MOVES;
	while (kills < most)
		play(most - kills);
	remove_tree(path);
	/* On a busy machine a few may come late by its fault. */
	need(gaps_long <= 2 + gaps / 100, "after %llu of %llu deaths of producers nobody committed for 100 ms",
		(unsigned long long)gaps_long, (unsigned long long)gaps);
	printf("%llu kills and %llu stops in %llu stores, %llu messages sent, %llu deliveries, %llu of them again (%llu "
		"consumers died, %llu leases ended, %llu given back, %llu unknown), 0 unexplained; after a producer's "
		"death others committed in %.1f ms on average, %.0f ms at most, %llu of %llu later than 100 ms\n",
		(unsigned long long)kills, (unsigned long long)stops, (unsigned long long)rounds,
		(unsigned long long)sum.sent, (unsigned long long)sum.delivered, (unsigned long long)sum.again,
		(unsigned long long)sum.died, (unsigned long long)sum.ended, (unsigned long long)sum.given,
		(unsigned long long)sum.unknown, gaps ? (double)gap_sum / (double)gaps / MS : 0, (double)gap_most / MS,
		(unsigned long long)gaps_long, (unsigned long long)gaps);
	return 0;
}
