/* SPDX-License-Identifier: ISC */
/*
 * draining PLACE [CASE [unguarded]]
 *
 * A full disk is drained while others want to add: a sender begins in the instant in which the ballast is given up; the
 * body of a large message is stored in pieces; a batch is as large as what was freed; what is received is answered with
 * something larger. And it is drained by leases. Each time what was sent can be received and acknowledged to the last.
 *
 * The deliberate fault: whoever adds does not look for the ballast first.
 */
#include "disk/brim.h"
#include "people/company.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 60, SENDS = 4000 };
enum { TIGHTEST = 28, LOOSEST = 44 };	/* pages left, so that the last of them go to this or that */

static const char *name;
static struct turn dropped, sent;
static bool unguarded, asks;
static int64_t short_lived;

/* ---- in between ------------------------------------------------------------------------------------- */

int __real_ballast_take(struct txn *t, size_t need);
int __wrap_ballast_take(struct txn *t, size_t need);
int __real_ballast_drop(lmq_store *s);
int __wrap_ballast_drop(lmq_store *s);

int __wrap_ballast_take(struct txn *t, size_t need)
{
	return unguarded ? 0 : __real_ballast_take(t, need);
}

int __wrap_ballast_drop(lmq_store *s)
{
	int rc = __real_ballast_drop(s);
	if (asks) {
		asks = false;
		turn_give(&dropped);
		turn_wait(&sent);
	}
	return rc;
}

/* ---- what is done there ------------------------------------------------------------------------------ */

static int send_first(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, brim_store, LMQ_CREATE, 0);
	(void)argument;
	for (int i = 0; rc == 0 && i < FIRST; i++) {
		rc = brim_put(&d, i == 0 ? 2 : 5, 3000, short_lived);
		short_lived = 0;
	}
	desk_close(&d);
	return rc;
}

static int send_until_full(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, brim_store, 0, 0);
	(void)argument;
	for (int i = 0; rc == 0 && i < SENDS; i++)
		rc = brim_put(&d, 1, 200, short_lived);
	desk_close(&d);
	return rc == LMQ_ENOSPC ? 0 : rc;
}

static int send_when_dropped(void *argument)
{
	turn_wait(&dropped);
	argument = NULL;
	return send_until_full(argument) + (turn_give(&sent), 0);
}

/* Batches as large as will go in. */
static int send_batches(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, brim_store, 0, 0);
	(void)argument;
	for (unsigned count = 400; rc == 0 && count > 0; count--)
		if ((rc = brim_put(&d, count, 3000, short_lived)) == LMQ_ENOSPC)
			rc = 0;
	desk_close(&d);
	return rc;
}

/* Every attempt fails, and what it stored is to be given back. */
static int send_large(void *argument)
{
	static char part[100000];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct desk d;
	int rc = desk_open(&d, brim_store, 0, 0);
	(void)argument;
	for (int i = 0; i < 20 && (rc == 0 || rc == LMQ_ENOSPC); i++) {
		rc = lmq_writer_begin(d.writer, d.queue, &m);
		if (rc == 0)
			rc = lmq_writer_write(d.writer, part, sizeof part - 4000 * (unsigned)i);
		if (rc == 0)
			rc = lmq_writer_end(d.writer);
		if (rc == 0)
			rc = lmq_writer_commit(d.writer);
		lmq_writer_abandon(d.writer);
		lmq_writer_discard(d.writer);
	}
	need(rc == LMQ_ENOSPC, "%s: a large body ended with %d", name, rc);
	desk_close(&d);
	return 0;
}

static int answer(struct desk *d, lmq_receiver *r, const struct lmq_message *m)
{
	struct lmq_verdict v = { .offset = m->offset, .count = 1, .outcome = LMQ_ACKNOWLEDGE };
	static char body[3000];
	struct lmq_message more = LMQ_MESSAGE_INIT;
	int rc = 0;
	more.body = (struct lmq_bytes){ body, sizeof body };
	for (int i = 0; rc == 0 && i < 8; i++)
		rc = lmq_writer_add(d->writer, d->queue, &more);
	if (rc == 0)
		rc = lmq_receiver_conclude(r, &v, 1, d->writer, LMQ_SYNC_FULL);
	lmq_writer_discard(d->writer);
	return rc;
}

static int by_lease(struct desk *d, lmq_receiver *r, const struct lmq_message *m)
{
	struct lmq_lease l = { .channel = "jobs", .offset = m->offset, .attempt = m->delivery, .outcome = LMQ_ACKNOWLEDGE };
	int rc = lmq_receiver_lease(r, INT64_C(60000000000), LMQ_SYNC_FULL);
	if (rc != 0)
		return rc;
	rc = lmq_store_settle(d->store, &l, 1, LMQ_SYNC_FULL);
	return rc == 0 ? l.status : rc;
}

enum how { TOGETHER, PLAIN, LEASED, ANSWERED };
struct order {
	enum how how;
	unsigned count;
};

/* Receives so many, one by one; 0: all. */
static int receive(void *argument)
{
	const struct order *o = argument;
	struct lmq_message m;
	lmq_receiver *r = NULL;
	struct desk d;
	size_t count = 0;
	int rc = desk_open(&d, brim_store, 0, 0);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	for (unsigned n = 0; rc == 0 && (o->count == 0 || n < o->count); n += (unsigned)count) {
		rc = lmq_receiver_claim(r, o->how == TOGETHER ? o->count : 1, 4 << 20, &count);
		if (rc == 0)
			rc = lmq_receiver_next(r, &m);
		if (rc == 0)
			rc = o->how <= PLAIN ? lmq_receiver_settle(r, count, LMQ_SYNC_FULL) :
				o->how == LEASED ? by_lease(&d, r, &m) : answer(&d, r, &m);
		need(rc == 0 || rc == LMQ_END || (rc == LMQ_ENOSPC && o->how == ANSWERED), "%s: %u are acknowledged, then %d: %s",
			name, n, rc, lmq_error(d.store));
	}
	lmq_receiver_close(r);
	desk_close(&d);
	return 0;
}

static int receive_asking(void *argument)
{
	asks = true;
	return receive(argument);
}

static void run(int (*work)(void *), enum how how, unsigned count)
{
	struct order o = { how, count };
	int status = in_child(work, &o);
	if (status == 1)
		exit(1);
	need(status == 0, "%s: a child ended with %d", name, status);
}

/* ---- the cases -------------------------------------------------------------------------------------- */

static void between(void)
{
	pid_t sender = child(send_when_dropped, NULL);
	run(receive_asking, PLAIN, 5);
	need(end_of(sender) == 0, "%s: the sender", name);
}

static void large(void)
{
	run(receive, PLAIN, 3);
	run(send_large, PLAIN, 0);
	run(receive, PLAIN, 5);
}

static void answered(void)
{
	for (int i = 0; i < 10; i++)
		run(receive, ANSWERED, 1);
	run(receive, PLAIN, 8);
}

/* What was freed is still in a reader's hands. */
static void unusable(void)
{
	run(receive, PLAIN, 2);
	run(receive, TOGETHER, 250);
	run(send_until_full, PLAIN, 0);
	run(receive, PLAIN, 8);
}

static int remove_jobs(void *argument)
{
	lmq_store *s;
	int rc = lmq_store_open(brim_store, NULL, &s);
	(void)argument;
	if (rc == 0)
		rc = lmq_channel_remove(s, "jobs");
	lmq_store_close(s);
	return rc;
}

static int send_again(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, brim_store, LMQ_CREATE, 0);
	(void)argument;
	if (rc == 0)
		rc = brim_put(&d, 1, 200, short_lived);
	need(rc == 0, "%s: there is room, and sending ends with %d", name, rc);
	desk_close(&d);
	return rc;
}

/* By somebody who was killed before he swept; meanwhile others have taken the ballast's room. */
static void removed(void)
{
	run(receive, PLAIN, 3);
	brim_fill(0);
	run(remove_jobs, PLAIN, 0);
	run(send_again, PLAIN, 0);
}

/* The first are too old when the disk is full: receiving begins with a change. */
static void expired(void)
{
	run(receive, PLAIN, 4);
}

static void plain(void)
{
	run(receive, PLAIN, 8);
}

static void leased(void)
{
	run(receive, LEASED, 4);
}

/* Without a reader in the way, over and over. */
static void batches(void)
{
	run(receive, PLAIN, 30);
	for (int i = 0; i < 10; i++) {
		run(receive, PLAIN, 400 + 37 * (unsigned)i);
		run(send_batches, PLAIN, 0);
		run(receive, PLAIN, 20);
	}
	run(receive, PLAIN, 0);
}

static const struct {
	const char *name;
	void (*run)(void);
	bool held;
} cases[] = { { "plain", plain, true }, { "between", between, true }, { "large", large, true }, { "answered", answered, true },
	{ "leased", leased, true }, { "unusable", unusable, true }, { "removed", removed, false },
	{ "expired", expired, true }, { "batches", batches, false } };

static void one(size_t i, unsigned slack)
{
	pid_t holder = 0;
	name = cases[i].name;
	trial_state = slack;
	short_lived = cases[i].run == expired;
	brim_mount(name);
	run(send_first, PLAIN, 0);
	if (cases[i].held) {
		holder = invite_reader(brim_store);
		brim_fill(slack);
	}
	run(send_until_full, PLAIN, 0);
	cases[i].run();
	send_away(holder, name);
	brim_away(name);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	const char *why;
	unsigned done = 0;
	unguarded = trial_word(&t, "unguarded");
	turn_init(&dropped);
	turn_init(&sent);
	why = brim_begin(&t);
	if (why) {
		printf("skipped: %s\n", why);
		return 0;
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (unsigned slack = TIGHTEST; slack < LOOSEST; slack++)
			if ((!t.words[0] || trial_word(&t, cases[i].name)) && (t.only == UINT64_MAX || t.only == slack) &&
					(cases[i].held || slack == TIGHTEST)) {
				one(i, slack);
				done++;
			}
	printf("%u full disks drained while others add, 0 bad\n", done);
	return 0;
}
