/* SPDX-License-Identifier: ISC */
/*
 * failing [-n COUNT] [-r SEED] [-x STATE] PLACE [anyway | no-abort | leak | tell | doubt | OPERATION]
 *
 * Every system call of every operation fails, in each way in which the kernel can let it fail: once, or from then on
 * in every call that can fail that way. A tracer puts the failure in the place of the call, so nothing is left
 * out, whoever makes it. Then: the status is one that says so, "outcome unknown" only where the write of a meta page
 * failed; all of the operation is there or nothing, all where it was acknowledged, nothing where it failed; another
 * process works at once, while the failed one still has the store open; that one goes on with the same handle, and
 * leaves no descriptor behind.
 *
 * The deliberate faults: a failed commit is acknowledged all the same; a failed transaction is not aborted; a
 * descriptor is forgotten. "tell" shows what each fault led to.
 */
#include "scenario/experiment.h"
#include "scenario/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { META = 4096, CALLS = 600, PATIENCE = 300, LONGEST = 20 };

static bool anyway, no_abort, leak, tell;
static struct {
	unsigned calls;
	const struct call *call[CALLS];
} counted[64];
static uint64_t faults, unknown;

/* ---- deliberate faults ----------------------------------------------------------------------- */

int __real_txn_commit(struct txn *t, enum lmq_sync sync);
int __wrap_txn_commit(struct txn *t, enum lmq_sync sync);
void __real_txn_abort(struct txn *t);
void __wrap_txn_abort(struct txn *t);
int __real_lease_open(lmq_store *s, int *fd);
int __wrap_lease_open(lmq_store *s, int *fd);

int __wrap_txn_commit(struct txn *t, enum lmq_sync sync)
{
	int rc = __real_txn_commit(t, sync);
	return anyway ? 0 : rc;
}

void __wrap_txn_abort(struct txn *t)
{
	if (!no_abort)
		__real_txn_abort(t);
}

int __wrap_lease_open(lmq_store *s, int *fd)
{
	int rc = __real_lease_open(s, fd);
	if (leak && rc != 0)
		(void)!dup(s->directory);
	return rc;
}

/* ---- one fault -------------------------------------------------------------------------------- */

struct shot {			/* which call of which operation fails, how */
	const struct operation *what;
	unsigned call, way;
	bool lasting;
	/* found on the way: */
	const struct call *hit;
	int error;
	bool meta;		/* it was the write of a meta page */
};

static void hit(struct shot *s, pid_t pid, const struct call *c, const uint64_t arguments[6])
{
	if (!s->hit) {
		s->hit = c;
		s->error = c->errors[s->way];
		s->lasting &= lasts(s->error);
		snprintf(name, sizeof name, "%s, call %u (%s) fails with %s%s", s->what->name, s->call, c->name,
			error_name(s->error), s->lasting ? " from then on" : "");
	}
	s->meta |= c->number == SYS_pwrite64 && arguments[3] < (uint64_t)2 * META;
	fail_call(pid, s->error);
}

/* Lets the operation run to its end; call 0: only counts. False: it has no such call. */
static bool run(struct shot *s, pid_t pid)
{
	unsigned index = (unsigned)(s->what - operations), count = 0;
	uint64_t arguments[6];
	long number;
	int status;
	run_to_begin(pid, name);
	for (;;) {
		const struct call *c;
		need(step(pid, &status), "%s: it died: %d", name, status);
		c = call_at(pid, &number, arguments);
		if (number == SIGN && arguments[0] == SIGN_END)
			break;
		if (!c)
			continue;
		if (++count == s->call || (s->hit && s->lasting && can_fail(c, s->error)))
			hit(s, pid, c, arguments);
		if (s->call == 0 && count < CALLS)
			counted[index].call[count] = c;
	}
	if (s->call == 0)
		counted[index].calls = count < CALLS ? count : CALLS - 1;
	return s->hit || s->call == 0;
}

static bool fits(const struct shot *s, int status)
{
	int error = s->error;
	switch (status) {
	case LMQ_END:		/* a partition that cannot be locked is taken for somebody else's */
		return s->what->flags & LOOSE && (error == ENOLCK || error == ENOMEM);
	case LMQ_EUNKNOWN:
	case LMQ_OK:
		return true;
	case LMQ_EIO:
		return error == EIO || error == SHORT || error == EINTR;
	case LMQ_ENOSPC:
		return error == ENOSPC || error == EDQUOT || error == SHORT;
	case LMQ_ENOMEM:
		return error == ENOMEM || error == EAGAIN;
	case LMQ_ESYSTEM:
		return error == EMFILE || error == ENOMEM || error == ENOLCK || error == EINTR || error == EAGAIN || error == EMLINK ||
			error == EOPNOTSUPP || error == ENOSYS;
	case LMQ_ECREATE:
		return error != ENOSPC && error != EDQUOT;
	default:
		return false;
	}
}

static void judge_status(const struct shot *s)
{
	int status = progress->status;
	if (tell)
		printf("%s: %s%s: %d %s\n", name, s->meta ? "meta: " : "", progress->done ? "done" : "not done", status,
			status ? progress->sentence : "");
	if (tell && (!fits(s, status) || (status == LMQ_EUNKNOWN && !s->meta))) {
		printf("ODD\n");
		return;
	}
	need(fits(s, status), "%s: the status is %d: %s", name, status, progress->sentence);
	need(status == 0 || status == LMQ_END || progress->sentence[0], "%s: the status is %d, without a word", name, status);
	need(status != LMQ_EUNKNOWN || s->meta, "%s: unknown, but no meta page was written: %s", name,
		progress->sentence);
	unknown += status == LMQ_EUNKNOWN;
}

/* The store beside this one is complete, or not there and can be made. */
static void judge_fresh(const struct shot *s)
{
	struct stat st;
	bool there = stat(fresh, &st) == 0;
	if (s->what->work != operation_named("create")->work && s->what->work != operation_named("backup")->work)
		return;
	need(there || !progress->done, "%s: done, and nothing is there", name);
	experiment_use_fresh(PATIENCE * (int64_t)MS);
	remove_tree(fresh);
}

static pid_t begin(const struct operation *what)
{
	struct act act = experiment_act(what, PATIENCE * (int64_t)MS);
	experiment_anew();
	return traced(scenario_act, &act);
}

static void shoot(struct shot *s)
{
	pid_t pid = begin(s->what);
	snprintf(name, sizeof name, "%s, call %u", s->what->name, s->call);
	alarm(LONGEST);
	if (!run(s, pid)) {
		kill_traced(pid);
		return;
	}
	faults++;
	judge_status(s);
	witness_look(path, now, PATIENCE * (int64_t)MS, name);
	experiment_judge(s->what);
	judge_fresh(s);
	untrace(pid);
	need(end_of(pid) == 0, "%s: it died afterwards", name);
	need(progress->after == 0, "%s: then a message with the same handle: %d: %s", name, progress->after,
		progress->sentence);
	need(progress->open_files == 0, "%s: %d descriptors are left open", name, progress->open_files);
	witness_use(path, PATIENCE * (int64_t)MS, name);
}

/* ---- all of them ------------------------------------------------------------------------------- */

/* What the store is like before and after the operation; how many calls it makes. */
static void learn(const struct operation *what)
{
	struct shot s = { .what = what };
	pid_t pid = begin(what);
	snprintf(name, sizeof name, "%s", what->name);
	run(&s, pid);
	untrace(pid);
	need(end_of(pid) == 0 && (progress->status == 0 || progress->status == LMQ_EBUG), "%s ended with %d: %s",
		what->name, progress->status, progress->sentence);
	experiment_learn(PATIENCE * (int64_t)MS);
}

/* Every third number between has a meaning: operation, call, way, lasting. */
static void one(uint64_t state)
{
	struct shot s = { .what = &operations[state / 1000000], .call = (unsigned)(state / 100 % 10000),
		.way = (unsigned)(state / 2 % 50), .lasting = state % 2 };
	trial_state = state;
	shoot(&s);
	trial_state = UINT64_MAX;
}

static void all_of(unsigned index, const struct trial *t, uint64_t share)
{
	static uint64_t states[2 * ERRORS * CALLS];
	size_t count = 0;
	learn(&operations[index]);
	for (unsigned call = 1; call <= counted[index].calls; call++)
		for (unsigned way = 0; way < ERRORS && counted[index].call[call]->errors[way]; way++)
			for (unsigned lasting = 0; lasting < 1u + lasts(counted[index].call[call]->errors[way]); lasting++)
				states[count++] = index * UINT64_C(1000000) + call * 100 + way * 2 + lasting;
	if (t->only != UINT64_MAX) {
		one(t->only);
		return;
	}
	for (uint64_t i = 0; i < (t->count ? share : count); i++)
		one(states[t->count ? draw((uint32_t)count) : i]);
}

/* Somebody has the store open, and no descriptor is left to find that out. */
static int doubt(void *argument)
{
	lmq_store s = { .directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	struct rlimit none = { (rlim_t)s.directory + 1, (rlim_t)s.directory + 1 };
	(void)argument;
	need(s.directory >= 0 && setrlimit(RLIMIT_NOFILE, &none) == 0, "%s: %s", path, strerror(errno));
	return !control_in_use(&s);
}

static void doubts(void)
{
	pid_t pid = begin(operation_named("send"));
	snprintf(name, sizeof name, "in doubt");
	run_to_begin(pid, name);
	need(in_child(doubt, NULL) == 0, "%s: a store that is in use counts as free", name);
	kill_traced(pid);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	bool some = false;
	if (!CALLS_CAN_FAIL) {
		puts("skipped: a sanitizer does not stand failing system calls");
		return 0;
	}
	anyway = trial_word(&t, "anyway");
	no_abort = trial_word(&t, "no-abort");
	leak = trial_word(&t, "leak");
	tell = trial_word(&t, "tell");
	experiment_begin(&t);
	doubts();
	if (trial_word(&t, "doubt"))
		return 0;
	for (unsigned i = 0; i < operation_count; i++)
		some |= trial_word(&t, operations[i].name);
	for (unsigned i = 0; i < operation_count; i++)
		if (t.only != UINT64_MAX ? i == t.only / 1000000 : !some || trial_word(&t, operations[i].name))
			all_of(i, &t, t.count / operation_count + 1);
	printf("%llu failed system calls, %llu of them with an unknown outcome, 0 bad\n", (unsigned long long)faults,
		(unsigned long long)unknown);
	return 0;
}
