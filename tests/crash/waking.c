/* SPDX-License-Identifier: ISC */
/*
 * A sender is stopped at each system call of its commit until the receiver that waits for the message is asleep again; then
 * it goes on, or is killed. Who sends on wakes the receiver at once, whenever it was stopped; if it was killed with the
 * message stored, the receiver finds it within a second by itself.
 *
 *	waking [-x CALL] PLACE [early]		early: others are woken before the commit
 */
#include "crash.h"

#include <stdio.h>
#include <string.h>

enum { AT_ONCE = 400 * MS, BY_ITSELF = 1500 * MS, LEAST = 8 };

static char path[4096];
static bool early;
static struct {
	_Atomic bool sending;
	_Atomic int64_t sent;		/* monotonic, 0: not yet */
	_Atomic unsigned received;
	_Atomic int64_t received_at;
} *seen;

int __wrap_mdb_txn_commit(MDB_txn *txn);
int __real_mdb_txn_commit(MDB_txn *txn);
void __wrap_notify_wake(struct notify_word *word);
void __real_notify_wake(struct notify_word *word);

static bool commits;
static struct notify_word *last_word;

/* The deliberate fault: the words of the commit before are bumped ahead of this one, none behind it. */
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	if (early && seen && atomic_load(&seen->sending) && last_word)
		__real_notify_wake(last_word);
	commits = true;
	return __real_mdb_txn_commit(txn);
}

void __wrap_notify_wake(struct notify_word *word)
{
	if (early && seen && atomic_load(&seen->sending) && commits)
		return;
	if (commits)
		last_word = word;
	__real_notify_wake(word);
}

static int sender(void *unused)
{
	struct desk d;
	int rc = desk_open(&d, path, 0, 0);
	(void)unused;
	if (rc == 0)
		rc = desk_put(&d, "first");
	atomic_store(&seen->sending, true);
	if (rc == 0)
		rc = desk_put(&d, "second");
	atomic_store(&seen->sent, clock_monotonic());
	desk_close(&d);
	return rc;
}

static int receive_all(struct desk *d, lmq_receiver *r, lmq_watch *w)
{
	struct lmq_message m;
	size_t count;
	for (;;) {
		int rc;
		lmq_watch_arm(w);
		rc = lmq_receiver_claim(r, 10, 1 << 20, &count);
		while (rc == 0 && (rc = lmq_receiver_next(r, &m)) == 0) {
			atomic_store(&seen->received_at, clock_monotonic());
			atomic_fetch_add(&seen->received, 1);
		}
		if (rc == LMQ_END)
			rc = lmq_receiver_settle(r, count, LMQ_SYNC_FULL);
		if (rc == 0 && count == 0)
			rc = lmq_watch_wait(w, LMQ_FOREVER);
		if (rc != 0) {
			fprintf(stderr, "%s\n", lmq_error(d->store));
			return rc;
		}
	}
}

static int receiver(void *unused)
{
	struct desk d;
	lmq_receiver *r = NULL;
	lmq_watch *w = NULL;
	int rc = desk_open(&d, path, 0, 0);
	(void)unused;
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	if (rc == 0)
		rc = lmq_watch_open(d.store, &w);
	if (rc == 0)
		rc = lmq_watch_receiver(w, r);
	return rc == 0 ? receive_all(&d, r, w) : rc;
}

static int make(void *unused)
{
	struct desk d;
	int rc = desk_open(&d, path, LMQ_CREATE, 0);
	(void)unused;
	desk_close(&d);
	return rc;
}

static void wait_received(unsigned count, int64_t most, uint64_t call)
{
	int64_t end = clock_monotonic() + most;
	while (atomic_load(&seen->received) < count) {
		need(clock_monotonic() < end, "stopped at call %llu: the receiver sleeps on", (unsigned long long)call);
		nap();
	}
}

/* 1: the second message is stored. */
static int is_stored(void *unused)
{
	char *all = stored_texts(path);
	bool there = strstr(all, "second") != NULL;
	(void)unused;
	free(all);
	return there;
}

/* False: the sender made fewer calls. */
static bool try(uint64_t call, bool killed)
{
	bool stopped = true;
	int status;
	pid_t r, s;
	memset(seen, 0, sizeof *seen);
	need(in_child(make, NULL) == 0, "the store cannot be made");
	r = child(receiver, NULL);
	need(!settled(r), "the receiver ended");
	s = traced(sender, NULL);
	while ((stopped = step(s, &status)) && !atomic_load(&seen->sending))
		;
	wait_received(1, BY_ITSELF, 0);
	need(!settled(r), "the receiver ended");
	for (uint64_t i = 0; stopped && i < call; i++)
		stopped = step(s, &status);
	stopped = stopped && atomic_load(&seen->sent) == 0;
	if (stopped) {
		need(!settled(r), "the receiver ended");
		if (killed) {
			kill_traced(s);
			if (in_child(is_stored, NULL) == 1)
				wait_received(2, BY_ITSELF, call);
		} else {
			untrace(s);
			need(end_of(s) == 0, "the sender failed");
			wait_received(2, AT_ONCE, call);
		}
	} else {
		kill_traced(s);
	}
	kill(r, SIGKILL);
	end_of(r);
	remove_tree(path);
	return stopped;
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	uint64_t tried = 0;
	early = trial_word(&t, "early");
	seen = shared_memory(sizeof *seen);
	snprintf(path, sizeof path, "%s/store", t.place);
	for (int killed = 0; killed < 2; killed++) {
		for (uint64_t call = t.only == UINT64_MAX ? 0 : t.only;; call++) {
			trial_state = call;
			if (!try(call, killed))
				break;
			tried++;
			if (t.only != UINT64_MAX)
				break;
		}
	}
	need(tried >= LEAST || t.only != UINT64_MAX, "only %llu calls were seen", (unsigned long long)tried);
	printf("%llu senders were stopped at a call of their commit, no wake-up was lost\n", (unsigned long long)tried);
	return 0;
}
