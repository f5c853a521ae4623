/* SPDX-License-Identifier: ISC */
/*
 * handing [-x CALL] PLACE [late]
 *
 * A receiver takes messages and settles them one by one, and is killed at each of its system calls, while another one
 * waits: what it had is in the other's hands within 50 ms, and nothing is lost or there twice. A busy machine may be
 * late now and then, but not often, and never by as much as the slow re-check. The deliberate fault: who waits is not told
 * of deaths.
 */
#include "scenario/prepared.h"
#include "scenario/punctual.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { AT_ONCE = 50, LONG = 900, LONGEST = 20, CALLS = 1000 };	/* ms, ms, s */

static char path[4100], name[256];
static bool late;
static struct note *notes;
static struct progress *progress;
static struct punctual handover = { .what = "the messages of a killed receiver came", .limit = AT_ONCE };

bool __real_roster_next(lmq_store *s, uint32_t space, int from, struct roster_mark *mark);
bool __wrap_roster_next(lmq_store *s, uint32_t space, int from, struct roster_mark *mark);

bool __wrap_roster_next(lmq_store *s, uint32_t space, int from, struct roster_mark *mark)
{
	return !late && __real_roster_next(s, space, from, mark);
}

enum { MESSAGES = 3 };
static struct {
	unsigned settled, received;
	int64_t when;		/* the first of them was received */
	bool asleep;
} *desk;

static int receive_some(struct act *a)
{
	struct lmq_receiver_options o = { .size = sizeof o, .flags = LMQ_EXPLICIT_BEGIN };
	lmq_channel *c;
	lmq_receiver *r;
	struct lmq_message m;
	size_t count;
	int rc = lmq_channel_open(a->store, "handed", LMQ_QUEUE, 0, &c);
	if (rc == 0)
		rc = lmq_receiver_open(c, &o, &r);
	if (rc == 0)
		rc = lmq_receiver_claim(r, MESSAGES, 1 << 20, &count);
	while (rc == 0 && (rc = lmq_receiver_next(r, &m)) == 0) {
		lmq_receiver_begin(r, 0, m.offset, 1, m.attempt);
		lmq_receiver_pause(r);
		rc = lmq_receiver_settle(r, 1, LMQ_SYNC_FULL);
		desk->settled += rc == 0;
	}
	return rc;
}

static const struct operation receiving = { "receive-some", receive_some, 0, { 0 } };

/* Until somebody sends "end". */
static int wait_for_messages(void *argument)
{
	struct lmq_message m;
	lmq_store *s;
	lmq_channel *c;
	lmq_receiver *r;
	lmq_watch *w;
	size_t count;
	int rc = lmq_store_open(argument, NULL, &s);
	need(rc == 0 && lmq_channel_open(s, "handed", LMQ_QUEUE, 0, &c) == 0 && lmq_receiver_open(c, NULL, &r) == 0 &&
		lmq_watch_open(s, &w) == 0 && lmq_watch_receiver(w, r) == 0, "who waits cannot begin");
	for (bool end = false; !end;) {
		lmq_watch_arm(w);
		rc = lmq_receiver_claim(r, 1, 1 << 20, &count);
		if (rc == LMQ_END) {
			desk->asleep = true;
			rc = lmq_watch_wait(w, lmq_deadline(LONGEST * INT64_C(1000000000)));
			need(rc == 0, "who waits: %d: %s", rc, lmq_error(s));
			continue;
		}
		need(rc == 0 && lmq_receiver_next(r, &m) == 0, "who waits receives: %d: %s", rc, lmq_error(s));
		if (desk->received++ == 0)
			desk->when = clock_monotonic();
		end = m.body.size == 3;
		need(lmq_receiver_settle(r, 1, LMQ_SYNC_FULL) == 0, "who waits settles: %s", lmq_error(s));
	}
	lmq_watch_close(w);
	lmq_receiver_close(r);
	lmq_channel_close(c);
	lmq_store_close(s);
	return 0;
}

static int send_words(void *argument)
{
	lmq_store *s;
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	struct lmq_message m = LMQ_MESSAGE_INIT;
	const char *words = argument;
	struct lmq_store_options o = { sizeof o, LMQ_CREATE, 0 };
	int rc = lmq_store_open(path, &o, &s);
	if (rc == 0)
		rc = lmq_channel_open(s, "handed", LMQ_QUEUE, LMQ_CREATE, &c);
	if (rc == 0)
		rc = lmq_writer_open(s, LMQ_SYNC_FULL, &w);
	for (; rc == 0 && *words; words += strlen(words) + 1) {
		m.body = (struct lmq_bytes){ words, strlen(words) };
		rc = lmq_writer_add(w, c, &m);
	}
	if (rc == 0)
		rc = lmq_writer_commit(w);
	lmq_writer_close(w);
	lmq_channel_close(c);
	lmq_store_close(s);
	return rc;
}

/* False: it does not make that many calls. */
static bool hand_over(unsigned call)
{
	struct act a = { .what = &receiving, .path = path, .notes = notes, .progress = progress };
	pid_t first, waiter;
	int64_t began;
	bool stopped;
	snprintf(name, sizeof name, "a receiver is killed at call %u while another one waits", call);
	alarm(LONGEST);
	remove_tree(path);
	memset(progress, 0, sizeof *progress);
	memset(desk, 0, sizeof *desk);
	need(in_child(send_words, "one1\0two2\0three\0") == 0, "%s: the messages", name);
	first = traced(scenario_act, &a);
	stopped = run_to(first, call, name);
	waiter = child(wait_for_messages, path);
	settled_soon(waiter);
	began = clock_monotonic();
	kill_traced(first);
	while (desk->received + desk->settled < MESSAGES && clock_monotonic() - began < LONG * (int64_t)MS) {
		/* The last commit may have been made and not been told. */
		if (desk->received + desk->settled == MESSAGES - 1 && clock_monotonic() - began > 3 * AT_ONCE * (int64_t)MS)
			break;
		nap();
	}
	need(desk->received + desk->settled >= MESSAGES - 1, "%s: %u messages were settled, %u received, of %d", name,
		desk->settled, desk->received, MESSAGES);
	if (desk->received > 0 && desk->when > began)
		took(&handover, desk->when - began, name);
	need(in_child(send_words, "end\0") == 0, "%s: the end", name);
	need(end_of(waiter) == 0, "%s: who waited ended badly", name);
	return stopped;
}

static void too_long(int signal)
{
	(void)signal;
	broken("%s: somebody hangs", name);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	unsigned call = 1;
	late = trial_word(&t, "late");
	snprintf(path, sizeof path, "%s/store", t.place);
	notes = shared_memory(NUMBERS * sizeof *notes);
	progress = shared_memory(sizeof *progress);
	desk = shared_memory(sizeof *desk);
	signal(SIGALRM, too_long);
	if (t.only != UINT64_MAX) {
		hand_over((unsigned)t.only);
		return 0;
	}
	for (trial_state = call; hand_over(call) && call < CALLS; trial_state = ++call)
		;
	printf("a receiver was killed at %u calls; its messages were handed over %llu times, after %.1f ms at most\n", call,
		(unsigned long long)handover.count, (double)handover.most / MS);
	return 0;
}
