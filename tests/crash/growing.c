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
#include "crash.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	BODY = 2000, BATCH = 16, DEPTH = 1000, KEPT = 250,	/* messages in the queue and in the stream */
	AHEAD = 200, MIB = 1 << 20, STAY = 20 * MIB,		/* that go through while somebody is stopped */
};
enum role { PRODUCER, CONSUMER, WAITER, RECEIVER, PAUSER, HOLDER, PEOPLE };
enum where { COMING, READING, OUTSIDE };

static struct shared {
	_Atomic uint64_t sent, settled;		/* messages */
	struct {
		_Atomic int where;
		_Atomic uint32_t lap;
		_Atomic uint64_t since;		/* sent until then */
	} person[PEOPLE];
} *shared;

static struct person {
	pid_t pid;
	enum role role;
	bool stopped;
	uint64_t until;		/* as much has gone through, and it goes on */
} people[PEOPLE];

static char path[4200];
static bool inside;
static uint64_t stops, kills, exceptions, largest, most;

/* ---- people ------------------------------------------------------------------------------- */

static void now_at(enum role role, enum where where)
{
	atomic_fetch_add(&shared->person[role].lap, 1);
	atomic_store(&shared->person[role].since, atomic_load(&shared->sent));
	atomic_store(&shared->person[role].where, where);
}

static int enter(struct desk *d, const char *name, enum lmq_kind kind, const char *property)
{
	bool created;
	int rc;
	*d = (struct desk){ .store = NULL };
	rc = lmq_store_open(path, &(struct lmq_store_options){ .size = sizeof(struct lmq_store_options), .flags = LMQ_CREATE },
		&d->store);
	if (rc == 0)
		rc = lmq_channel_make(d->store, name, kind, &property, property != NULL, &created, NULL, NULL);
	if (rc == 0)
		rc = lmq_channel_open(d->store, name, kind, 0, &d->queue);
	return rc == 0 ? lmq_writer_open(d->store, LMQ_SYNC_RELAXED, &d->writer) : rc;
}

static int send_batch(struct desk *d, lmq_channel *stream)
{
	static char body[BODY];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int rc = 0;
	m.body = (struct lmq_bytes){ body, BODY };
	for (unsigned i = 0; rc == 0 && i < 2 * BATCH; i++)
		rc = lmq_writer_add(d->writer, i % 2 ? stream : d->queue, &m);
	return rc == 0 ? lmq_writer_commit(d->writer) : rc;
}

/* Whether somebody is in the middle of reading while all this was sent, as on a busy machine: he may. */
static bool outrun(void)
{
	uint64_t sent = atomic_load(&shared->sent);
	for (int i = 1; i < PEOPLE; i++)
		if (atomic_load(&shared->person[i].where) == READING && sent > atomic_load(&shared->person[i].since) + AHEAD)
			return true;
	return false;
}

static int produce(void)
{
	struct desk d;
	lmq_channel *stream;
	int rc = enter(&d, "log", LMQ_STREAM, "max-messages=250");
	stream = d.queue;
	if (rc == 0)
		rc = lmq_channel_open(d.store, "jobs", LMQ_QUEUE, LMQ_CREATE, &d.queue);
	while (rc == 0) {
		rc = send_batch(&d, stream);
		atomic_fetch_add(&shared->sent, BATCH);
		do
			nap();
		while (atomic_load(&shared->sent) > atomic_load(&shared->settled) + DEPTH || outrun());
	}
	return rc;
}

static int receive(lmq_receiver *r, size_t max, bool settle)
{
	struct lmq_message m;
	size_t count;
	int rc = lmq_receiver_claim(r, max, MIB, &count);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = lmq_receiver_next(r, &m);
	if (rc == 0 && settle)
		rc = lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED);
	if (rc == 0 && settle)
		atomic_fetch_add(&shared->settled, count);
	return rc;
}

static int wait_for(lmq_watch *w, enum role role)
{
	int rc;
	now_at(role, OUTSIDE);
	rc = lmq_watch_wait(w, role == WAITER ? lmq_deadline((20 + draw(100)) * (int64_t)MS) : LMQ_FOREVER);
	now_at(role, READING);
	return rc == LMQ_EINTR || rc == LMQ_ETIME ? 0 : rc;
}

/* From the queue with the work, or from one to which nothing comes. */
static int consume(const char *name, enum role role)
{
	struct desk d;
	lmq_receiver *r = NULL;
	lmq_watch *w = NULL;
	int rc = enter(&d, name, LMQ_QUEUE, NULL);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	if (rc == 0)
		rc = lmq_watch_open(d.store, &w);
	if (rc == 0)
		rc = lmq_watch_receiver(w, r);
	while (rc == 0) {
		now_at(role, READING);
		lmq_watch_arm(w);
		rc = receive(r, 2 * BATCH, true);
		if (rc == LMQ_END)
			rc = wait_for(w, role);
	}
	return rc;
}

/* Looks at some messages, and waits for something else; that alone must end its snapshot. */
static int look_and_wait(struct desk *d, lmq_watch *w)
{
	struct lmq_message m;
	lmq_reader *r;
	int rc = lmq_reader_open(d->queue, &r);
	while (rc == 0 && (rc = lmq_reader_next(r, &m)) == 0) {
		if (draw(50) > 0)
			continue;
		lmq_watch_arm(w);
		rc = wait_for(w, WAITER);
	}
	lmq_reader_close(r);
	now_at(WAITER, READING);
	nap();
	return rc == LMQ_END || rc == LMQ_EGONE ? 0 : rc;
}

static int follow(void)
{
	lmq_channel *quiet;
	lmq_watch *w = NULL;
	struct desk d;
	int rc = enter(&d, "log", LMQ_STREAM, "max-messages=250");
	if (rc == 0)
		rc = lmq_channel_open(d.store, "quiet", LMQ_QUEUE, LMQ_CREATE, &quiet);
	if (rc == 0)
		rc = lmq_watch_open(d.store, &w);
	if (rc == 0)
		rc = lmq_watch_channel(w, quiet);
	now_at(WAITER, READING);
	while (rc == 0)
		rc = look_and_wait(&d, w);
	return rc;
}

static void rest(enum role role)
{
	now_at(role, OUTSIDE);
	for (unsigned i = 20 + draw(100); i > 0; i--)
		nap();
	now_at(role, READING);
}

static int read_and_pause(void)
{
	struct lmq_message m;
	struct desk d;
	lmq_reader *r = NULL;
	int rc = enter(&d, "log", LMQ_STREAM, "max-messages=250");
	while (rc == 0) {
		rc = lmq_reader_open(d.queue, &r);
		now_at(PAUSER, READING);
		while (rc == 0 && (rc = lmq_reader_next(r, &m)) == 0) {
			if (draw(50) > 0)
				continue;
			for (unsigned i = draw(20); i > 0; i--)
				nap();
			if (!inside)
				lmq_reader_pause(r);
			rest(PAUSER);
		}
		lmq_reader_close(r);
		rc = rc == LMQ_END || rc == LMQ_EGONE ? 0 : rc;
		nap();
	}
	return rc;
}

static int hold(void)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct desk d;
	lmq_receiver *r = NULL;
	int rc = enter(&d, "held", LMQ_QUEUE, "max-attempts=none");
	m.body = (struct lmq_bytes){ "held", 4 };
	if (rc == 0)
		rc = lmq_writer_add(d.writer, d.queue, &m);
	if (rc == 0)
		rc = lmq_writer_commit(d.writer);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	while (rc == 0) {
		now_at(HOLDER, READING);
		rc = receive(r, 1 + draw(3), false);
		lmq_receiver_pause(r);
		rest(HOLDER);
		if (rc == 0)
			rc = lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED);
		if (rc == 0)
			lmq_receiver_release(r);
		if (rc == LMQ_END)
			return 0;
	}
	return rc;
}

static int work(void *argument)
{
	switch (*(enum role *)argument) {
	case PRODUCER:
		return produce();
	case CONSUMER:
		return consume("jobs", CONSUMER);
	case WAITER:
		return follow();
	case RECEIVER:
		return consume("silent", RECEIVER);
	case PAUSER:
		return read_and_pause();
	default:
		return hold();
	}
}

/* ---- the disturber ------------------------------------------------------------------------ */

static void start(struct person *p)
{
	draw(2);
	p->stopped = false;
	now_at(p->role, COMING);
	p->pid = child(work, &p->role);
}

static bool asleep(pid_t pid)
{
	char file[64], state = '?';
	FILE *f;
	snprintf(file, sizeof file, "/proc/%d/stat", pid);
	f = fopen(file, "re");
	if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	if (f)
		fclose(f);
	return state == 'S';
}

/* Outside of a snapshot, as it says, and at rest. */
static bool at_rest(const struct person *p)
{
	uint32_t lap = atomic_load(&shared->person[p->role].lap);
	for (int i = 0; i < 3; i++, nap())
		if (atomic_load(&shared->person[p->role].where) != OUTSIDE || !asleep(p->pid))
			return false;
	return lap == atomic_load(&shared->person[p->role].lap);
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
			atomic_load(&shared->person[p->role].where) != READING))
		return;
	kill(p->pid, SIGSTOP);
	stops++;
	if (!rests && !may_stay(p)) {
		kill(p->pid, SIGCONT);
		exceptions++;
		return;
	}
	if (!rests)
		now_at(p->role, OUTSIDE);
	p->stopped = true;
	p->until = atomic_load(&shared->sent) + STAY / BODY / 2;
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
	} else if (p->stopped && atomic_load(&shared->sent) > p->until) {
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
	uint64_t settled = atomic_load(&shared->settled), live = (atomic_load(&shared->sent) - settled + KEPT) * BODY;
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
	inside = trial_word(&t, "inside");
	shared = shared_memory(sizeof *shared);
	for (int i = 0; i < PEOPLE; i++) {
		people[i].role = (enum role)i;
		start(&people[i]);
	}
	while (atomic_load(&shared->sent) < end) {
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
