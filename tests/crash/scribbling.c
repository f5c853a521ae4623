/* SPDX-License-Identifier: ISC */
/*
 * scribbling [-n MILLISECONDS] [-r SEED] DIRECTORY [endless|unlocked]
 *
 * Senders, and receivers that wait for each message, one of them or several for a queue, work while somebody writes
 * random words into the control file, which they share. Whatever it holds, nothing is lost, nothing comes twice, nobody
 * waits for longer than a second and what a busy machine takes, or a little longer where all were told to close the
 * store and open it again; and once it is left alone everybody gets on. Then, with nobody in the store, the file is
 * removed, cut, filled with zeros and with anything: it is made anew.
 *
 * Each twentieth wake-up does not happen at all.
 *
 * Mistakes that must be found: to sleep without looking up once a second, when none happens; to claim without locks.
 */
#include "crash.h"
#include "ledger/verdict.h"
#include "people/vandal.h"
#include "wait/relay.h"

#include <signal.h>
#include <stdio.h>

enum {
	SENDERS = 2, QUEUES = 4, RECEIVERS = QUEUES + 2, VISITORS = 1, PEOPLE = SENDERS + RECEIVERS + VISITORS,
	ENTRIES = 4000000,
	PLAYS = 1 + DAMAGES,
};
static const int64_t LONGEST = INT64_C(2000) * MS, CALM = INT64_C(1500) * MS;
/* How long all may have to close the store and open it again. */
static const int64_t UPSET = INT64_C(4000) * MS;

static struct shared {
	_Atomic bool stop;
	_Atomic int64_t calm;	/* since when nobody scribbles; 0: somebody does */
	_Atomic uint64_t waits, refused, steps[PEOPLE + 1];
	_Atomic int64_t longest;
} *shared;

static struct ledger *ledger;
static char path[4200];
static bool endless, unlocked;
static uint32_t numbers[PEOPLE], people;	/* in the ledger, before those of the present play */

int __real_words_wait(const struct word_list *list, struct notify_word *any, int64_t until);
int __wrap_words_wait(const struct word_list *list, struct notify_word *any, int64_t until);
int __wrap_words_wait(const struct word_list *list, struct notify_word *any, int64_t until)
{
	return __real_words_wait(list, any, endless ? until + 3 * LONGEST : until);
}

/* As if whoever has committed were killed before he wakes others. */
void __real_notify_wake(struct notify_word *word);
void __wrap_notify_wake(struct notify_word *word);
void __wrap_notify_wake(struct notify_word *word)
{
	if (!endless && draw(20) > 0)
		__real_notify_wake(word);
}

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

/* What the page tells wrong may make a step fail, but never damage anything; and later nothing fails. */
static int bear(lmq_store *s, int rc, uint32_t me)
{
	int64_t calm = atomic_load(&shared->calm);
	if (rc == 0 || rc == LMQ_END) {
		atomic_fetch_add(&shared->steps[me], 1);
		return 0;
	}
	need(rc == LMQ_EBUSY || rc == LMQ_EFORMAT, "status %d: %s", rc, s ? lmq_error(s) : "out of memory");
	need(calm == 0 || clock_monotonic() < calm + CALM, "the control file is left alone, and yet: %s", lmq_error(s));
	atomic_fetch_add(&shared->refused, 1);
	return 0;
}

/* ---- people ------------------------------------------------------------------------------- */

struct desk_of_queues {
	lmq_store *store;
	lmq_channel *queue[QUEUES];
	lmq_writer *writer;
};

static int enter(struct desk_of_queues *d, unsigned flags)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = flags };
	char name[8];
	int rc = lmq_store_open(path, &options, &d->store);
	for (unsigned i = 0; rc == 0 && i < QUEUES; i++) {
		snprintf(name, sizeof name, "q%u", i);
		rc = lmq_channel_open(d->store, name, LMQ_QUEUE, flags, &d->queue[i]);
	}
	return rc == 0 ? lmq_writer_open(d->store, LMQ_SYNC_FULL, &d->writer) : rc;
}

static struct entry entry_of(uint32_t who, unsigned queue)
{
	return (struct entry){ .who = who, .place = (uint16_t)(queue + 1), .channel = queue + 1 };
}

static int send_one(struct desk_of_queues *d, uint32_t who)
{
	unsigned queue = draw(QUEUES);
	uint8_t body[BODY_LEAST + 500];
	size_t size = BODY_LEAST + draw(500);
	struct entry e = entry_of(who, queue);
	struct lmq_message m = LMQ_MESSAGE_INIT;
	uint32_t lane;
	int rc;
	e.id = ledger_ids(ledger, 1);
	e.value = ledger_body(e.id, body, size);
	m.body = (struct lmq_bytes){ (char *)body, size };
	ledger_note(ledger, NOTE_SENDING, &e);
	rc = lmq_writer_add(d->writer, d->queue[queue], &m);
	if (rc == 0)
		rc = lmq_writer_commit(d->writer);
	if (rc == 0 && lmq_writer_position(d->writer, 0, &lane, &e.offset))
		ledger_note(ledger, NOTE_SENT, &e);
	if (rc != 0)
		lmq_writer_discard(d->writer);
	return rc;
}

static int sender(void *argument)
{
	uint32_t me = *(uint32_t *)argument;
	struct desk_of_queues d;
	int rc = enter(&d, 0);
	while (rc == 0 && !atomic_load(&shared->stop) && !ledger_full(ledger)) {
		rc = bear(d.store, send_one(&d, people + me + 1), me);
		wait_us(draw(16) ? draw(300) : draw(30000));
	}
	return rc;
}

static int receive(struct desk_of_queues *d, unsigned queue, lmq_receiver *r, uint32_t me, uint32_t *claims)
{
	struct entry e = entry_of(people + me + 1, queue);
	struct lmq_message m;
	size_t count;
	int64_t late;
	int rc = lmq_receiver_claim(r, 1, 1 << 20, &count);
	if (rc == 0)
		rc = lmq_receiver_next(r, &m);
	if (rc != 0)
		return rc;
	late = lmq_now() - m.time;
	if (late > atomic_load(&shared->longest))
		atomic_store(&shared->longest, late);
	need(late < LONGEST || (late < UPSET + LONGEST && clock_monotonic() < atomic_load(&vandal->upset) + 2 * UPSET),
		"a message came %.0f ms after it was sent", (double)late / MS);
	e.id = ledger_read((const uint8_t *)m.body.data, m.body.size);
	need(e.id, "not a message that was sent");
	e.value = ledger_hash((const uint8_t *)m.body.data, m.body.size);
	e.offset = m.offset;
	e.number = m.delivery;
	e.batch = ++*claims;
	ledger_note(ledger, NOTE_DELIVERED, &e);
	ledger_note(ledger, NOTE_SETTLING, &e);
	while ((rc = lmq_receiver_settle(r, 1, LMQ_SYNC_FULL)) != 0)
		bear(d->store, rc, me);
	ledger_note(ledger, NOTE_SETTLED, &e);
	return 0;
}

static int receiver(void *argument)
{
	uint32_t me = *(uint32_t *)argument, claims = 0;
	unsigned queue = (me - SENDERS) % QUEUES;
	lmq_receiver *r = NULL;
	lmq_watch *w = NULL;
	struct desk_of_queues d;
	int rc = enter(&d, 0);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue[queue], NULL, &r);
	if (rc == 0)
		rc = lmq_watch_open(d.store, &w);
	if (rc == 0)
		rc = lmq_watch_receiver(w, r);
	while (rc == 0 && !atomic_load(&shared->stop)) {
		lmq_watch_arm(w);
		rc = receive(&d, queue, r, me, &claims);
		if (rc == LMQ_END) {
			rc = lmq_watch_wait(w, lmq_deadline(LONGEST));
			atomic_fetch_add(&shared->waits, 1);
		}
		rc = rc == LMQ_ETIME || rc == LMQ_EINTR ? 0 : bear(d.store, rc, me);
	}
	return rc;
}

/* Opens the store, and closes it. */
static int visitor(void *argument)
{
	uint32_t me = *(uint32_t *)argument;
	while (!atomic_load(&shared->stop)) {
		lmq_store *s;
		int rc = lmq_store_open(path, NULL, &s);
		bear(s, rc, me);
		lmq_store_close(s);
		wait_us(draw(20000));
	}
	return 0;
}

/* ---- the play ----------------------------------------------------------------------------- */

static int make_store(void *unused)
{
	struct desk_of_queues d;
	int rc = enter(&d, LMQ_CREATE);
	(void)unused;
	return rc;
}

static int drain(void *unused)
{
	struct desk_of_queues d;
	lmq_receiver *r;
	uint32_t claims = 0;
	int rc = enter(&d, 0);
	(void)unused;
	for (unsigned i = 0; (rc == 0 || rc == LMQ_END) && i < QUEUES; i++) {
		rc = lmq_receiver_open(d.queue[i], NULL, &r);
		while (rc == 0)
			rc = receive(&d, i, r, 0, &claims);
	}
	if (rc != LMQ_END)
		fprintf(stderr, "%s\n", lmq_error(d.store));
	return rc == LMQ_END ? 0 : rc;
}

/* 1: it has said itself what is wrong. */
static void must_be_well(unsigned number, int status)
{
	if (status == 1)
		exit(1);
	need(status == 0, "number %u ended with %d", number, status);
}

static void must_be_there(pid_t pid, unsigned number)
{
	if (has_ended(pid))
		must_be_well(number, end_of(pid));
}

static void must_get_on(const pid_t *pid)
{
	int64_t deadline = lmq_deadline(10 * INT64_C(1000) * MS);
	for (unsigned i = 0; i < PEOPLE; i++) {
		uint64_t steps = atomic_load(&shared->steps[i]);
		while (atomic_load(&shared->steps[i]) < steps + 2) {
			must_be_there(pid[i], i);
			need(clock_monotonic() < deadline, "the control file is left alone, and number %u hangs", i);
			nap();
		}
	}
}

/* Nobody sends any more, so a receiver may wait for a second. */
static int end_asleep(pid_t pid, unsigned number)
{
	struct entry e = { .who = people + number + 1 };
	int status;
	ledger_note(ledger, NOTE_KILLING, &e);
	kill(pid, SIGKILL);
	status = end_of(pid);
	return status == KILLED ? 0 : status;
}

static void play(unsigned ms)
{
	pid_t pid[PEOPLE], scribble = 0;
	int64_t end;
	for (unsigned i = 0; i < PEOPLE; i++) {
		numbers[i] = i;
		draw(2);
		pid[i] = child(i < SENDERS ? sender : i < PEOPLE - VISITORS ? receiver : visitor, &numbers[i]);
	}
	atomic_store(&shared->calm, 0);
	if (ms > 0)
		scribble = child(vandal_scribble, path);
	for (end = lmq_deadline(ms * (int64_t)MS); clock_monotonic() < end && !ledger_full(ledger); nap())
		for (unsigned i = 0; i < PEOPLE; i++)
			must_be_there(pid[i], i);
	if (scribble) {
		kill(scribble, SIGKILL);
		end_of(scribble);
	}
	atomic_store(&shared->calm, clock_monotonic());
	must_get_on(pid);
	atomic_store(&shared->stop, true);
	for (unsigned i = 0; i < PEOPLE; i++) {
		int status = i < SENDERS || i >= SENDERS + RECEIVERS ? end_of(pid[i]) : end_asleep(pid[i], i);
		must_be_well(i, status);
	}
	people += PEOPLE;
	atomic_store(&shared->stop, false);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	unsigned ms = t.count ? (unsigned)t.count : 2000;
	struct verdict v;
	snprintf(path, sizeof path, "%s/store", t.place);
	endless = trial_word(&t, "endless");
	unlocked = trial_word(&t, "unlocked");
	shared = shared_memory(sizeof *shared);
	vandal_begin(QUEUES);
	ledger = ledger_new(ENTRIES);
	for (unsigned i = 0; i < PEOPLE * PLAYS + 1; i++)
		ledger_process(ledger);
	/* Deaths leave their traces in the file that we scribble over. */
	for (unsigned i = 1; i <= QUEUES; i++)
		ledger->promised[i] = PLACE_UNCOUNTED;
	need(in_child(make_store, NULL) == 0, "the store");
	play(ms);
	for (unsigned kind = 0; kind < DAMAGES; kind++) {
		vandal_damage(path, (enum damage)kind);
		play(0);
	}
	need(in_child(drain, NULL) == 0, "what is left");
	need(ledger_check(ledger, &v), "%s", v.wrong);
	remove_tree(path);
	printf("%llu words written, %llu messages, %llu waits, the longest delivery after %.0f ms, %llu steps refused meanwhile; "
		"0 lost, 0 twice\n", (unsigned long long)atomic_load(&vandal->written), (unsigned long long)v.sent,
		(unsigned long long)atomic_load(&shared->waits), (double)atomic_load(&shared->longest) / MS,
		(unsigned long long)atomic_load(&shared->refused));
	return 0;
}
