/* SPDX-License-Identifier: ISC */
/*
 * growing [-n MIB] [-r SEED] DIRECTORY [inside]
 *
 * So many MiB go through a queue and a stream, of which little is there at a time, while readers, receivers and those
 * who wait are stopped and killed. The data file must stay below twice what is there at most, and 4 MiB. Who is stopped
 * inside of a snapshot is the exception that the page names: the table of readers tells, and it is let go on. But who
 * waits, or has paused, has no business to be in one: he stays as he is for longer than the file could bear it.
 *
 * inside: readers say that they have paused, and have not, which must be found.
 */
#include "people/resident.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

enum { STAY = 20 * MIB };	/* that go through while somebody is stopped */

static struct person {
	pid_t pid;
	enum role role;
	bool stopped;
	uint64_t until;		/* as much has gone through, and it goes on */
} people[PEOPLE];

static char path[4200];
static uint64_t stops, kills, exceptions, largest, most;

/* ---- the disturber ------------------------------------------------------------------------ */

static void start(struct person *p)
{
	draw(2);
	p->stopped = false;
	resident_at(p->role, COMING);
	p->pid = child(resident_work, &p->role);
}

/* Outside of a snapshot, as it says, and at rest. */
static bool at_rest(const struct person *p)
{
	uint32_t lap = atomic_load(&residents->person[p->role].lap);
	for (int i = 0; i < 3; i++, nap())
		if (atomic_load(&residents->person[p->role].where) != OUTSIDE || !is_asleep(p->pid))
			return false;
	return lap == atomic_load(&residents->person[p->role].lap);
}

/* 1: the table of readers has it in a snapshot. */
static int in_snapshot(void *argument)
{
	pid_t pid = *(pid_t *)argument;
	struct lmq_holder *list = NULL;
	size_t count = 0;
	lmq_store *s;
	int rc = lmq_store_open(path, NULL, &s);
	if (rc == 0)
		rc = lmq_store_holders(s, &list, &count);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (list[i].pid == pid && list[i].reading)
			rc = 1;
	lmq_store_close(s);
	return rc;
}

/* May it stay stopped? Not where it was in the middle of something: then it may even keep us from asking. */
static bool may_stay(struct person *p)
{
	int64_t deadline = lmq_deadline(1000 * (int64_t)MS);
	pid_t pid = child(in_snapshot, &p->pid);
	while (!has_ended(pid) && clock_monotonic() < deadline)
		nap();
	if (has_ended(pid))
		return end_of(pid) == 0;
	kill(p->pid, SIGCONT);
	end_of(pid);
	return false;
}

static void stop(struct person *p)
{
	bool rests = at_rest(p);
	if (!rests && ((p->role != PAUSER && p->role != WAITER) ||
			atomic_load(&residents->person[p->role].where) != READING))
		return;
	kill(p->pid, SIGSTOP);
	stops++;
	if (!rests && !may_stay(p)) {
		kill(p->pid, SIGCONT);
		exceptions++;
		return;
	}
	if (!rests)
		resident_at(p->role, OUTSIDE);
	p->stopped = true;
	p->until = atomic_load(&residents->sent) + STAY / BODY / 2;
}

static void replace(struct person *p)
{
	kill(p->pid, SIGKILL);
	end_of(p->pid);
	kills++;
	start(p);
}

static void disturb(void)
{
	struct person *p = &people[1 + draw(PEOPLE - 1)];
	if (has_ended(p->pid)) {
		int status = end_of(p->pid);
		need(status == 0, "number %d ended with %d", p->role, status);
		start(p);
	} else if (p->stopped && atomic_load(&residents->sent) > p->until) {
		kill(p->pid, SIGCONT);
		p->stopped = false;
		if (draw(2))
			replace(p);
	} else if (!p->stopped && draw(40) == 0) {
		replace(p);
	} else if (!p->stopped && p->role != CONSUMER && draw(8) == 0) {
		stop(p);
	}
}

static void measure(void)
{
	uint64_t settled = atomic_load(&residents->settled), live = (atomic_load(&residents->sent) - settled + KEPT) * BODY;
	char file[4300];
	struct stat st;
	snprintf(file, sizeof file, "%s/data.mdb", path);
	if (stat(file, &st) != 0)
		return;
	most = live > most ? live : most;
	largest = (uint64_t)st.st_size > largest ? (uint64_t)st.st_size : largest;
	need(largest <= 2 * most + 4 * MIB, "%llu KiB are stored, and the file has %llu", (unsigned long long)most / 1024,
		(unsigned long long)largest / 1024);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	uint64_t end = (t.count ? t.count : 60) * MIB / BODY / 2;
	snprintf(path, sizeof path, "%s/store", t.place);
	residents_begin(path, trial_word(&t, "inside"));
	for (int i = 0; i < PEOPLE; i++) {
		people[i].role = (enum role)i;
		start(&people[i]);
	}
	while (atomic_load(&residents->sent) < end) {
		need(!has_ended(people[PRODUCER].pid), "the producer ended with %d", end_of(people[PRODUCER].pid));
		disturb();
		measure();
		nap();
	}
	for (int i = 0; i < PEOPLE; i++) {
		kill(people[i].pid, SIGKILL);
		end_of(people[i].pid);
	}
	remove_tree(path);
	printf("%llu MiB through a store of %llu KiB, whose file had %llu KiB at most; %llu stops, %llu kills, %llu let go on "
		"because they were in a snapshot\n", (unsigned long long)(end * 2 * BODY / MIB),
		(unsigned long long)most / 1024, (unsigned long long)largest / 1024, (unsigned long long)stops,
		(unsigned long long)kills, (unsigned long long)exceptions);
	return 0;
}
