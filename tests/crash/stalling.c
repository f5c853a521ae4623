/* SPDX-License-Identifier: ISC */
/*
 * stalling [-n COUNT] [-r SEED] [-x STATE] PLACE [no-gate] [no-number] [no-lock] [early] [OPERATION/OPERATION]
 *
 * One process is stopped before each of its system calls in turn; another one carries out an operation meanwhile; then
 * the first is killed, or goes on, or both are killed. Who meets a stopped process waits for it only where it
 * holds the writer lock, or the gate; when it is killed he is through within 100 ms. Whatever happens, nothing that
 * was acknowledged is lost, nothing that was settled is there again, all numbers add up, and the store can be used.
 * Three kinds of company: nobody else; somebody who has the store open; and LMDB's mutex in the hands of a process that
 * died in a transaction, with a snapshot of a dead reader.
 *
 * The deliberate faults: no gate around opening and no check of the transaction number, which together lose messages; no
 * writer lock of our own, so that one waits for LMDB's; a message acknowledged before its commit.
 */
#include "people/company.h"
#include "scenario/experiment.h"
#include "scenario/punctual.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE = 4, ON = 100, LONGEST = 20 };	/* ms; the last s */
static struct punctual release = { .what = "who waited for a killed process", .limit = ON };
enum end { KILL, CONTINUE, KILL_BOTH, GIVE_UP, ENDS };

static bool no_gate, no_number, no_lock, early;
static bool acting;		/* this process carries out an operation */
static unsigned calls[64];
static uint64_t meetings, held_up, refused;

/* ---- deliberate faults ----------------------------------------------------------------------- */

int __real_gate_lock(lmq_store *s);
int __wrap_gate_lock(lmq_store *s);
size_t __real_mdb_txn_id(MDB_txn *t);
size_t __wrap_mdb_txn_id(MDB_txn *t);
int __real_writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep);
int __wrap_writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep);
int __real_txn_commit(struct txn *t, enum lmq_sync sync);
int __wrap_txn_commit(struct txn *t, enum lmq_sync sync);

int __wrap_gate_lock(lmq_store *s)
{
	return no_gate ? 0 : __real_gate_lock(s);
}

size_t __wrap_mdb_txn_id(MDB_txn *t)
{
	MDB_envinfo info;
	if (!no_number || !acting)
		return __real_mdb_txn_id(t);
	mdb_env_info(mdb_txn_env(t), &info);
	return info.me_last_txnid + 1;
}

int __wrap_writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep)
{
	return no_lock ? 0 : __real_writer_lock(s, deadline, asleep);
}

/* The first message of the first process. */
int __wrap_txn_commit(struct txn *t, enum lmq_sync sync)
{
	if (early && notes[OLD_NUMBERS].sent == TRIED)
		notes[OLD_NUMBERS].sent = DONE;
	return __real_txn_commit(t, sync);
}

/* ---- a meeting ---------------------------------------------------------------------------------- */

struct meeting {
	unsigned first, second, call;
	enum company company;
	enum end end;
};

static struct act *act_of(unsigned index, int who, int64_t patience)
{
	static struct act acts[2];
	acts[who] = (struct act){ .what = &operations[index], .path = path, .first = OLD_NUMBERS + 300 * (unsigned)who,
		.patience = patience, .notes = notes, .progress = &progress[who] };
	return &acts[who];
}

static int carry_out(void *act)
{
	acting = true;
	return scenario_act(act);
}

static bool may_end_so(const struct operation *what, int status)
{
	for (int i = 0; i < 3; i++)
		if (what->may[i] == status)
			return true;
	return false;
}

static void judge_end(unsigned index, int who, bool busy)
{
	const struct progress *p = &progress[who];
	need(may_end_so(&operations[index], p->status) || (busy && p->status == LMQ_EBUSY), "%s: %s ended with %d: %s", name,
		operations[index].name, p->status, p->sentence);
	refused += p->status == LMQ_EBUSY;
}

static void end_well(pid_t pid, unsigned index, int who, bool busy)
{
	int status = end_of(pid);
	need(status == 0, "%s: %s died: %d", name, operations[index].name, status);
	judge_end(index, who, busy);
}

static void finish(const struct meeting *m, pid_t first, pid_t second, bool waits, bool busy)
{
	int64_t began = clock_monotonic();
	switch (m->end) {
	case CONTINUE:
		untrace(first);
		end_well(first, m->first, 0, false);
		end_well(second, m->second, 1, false);
		break;
	case KILL_BOTH:
		kill(second, SIGKILL);
		kill_traced(first);
		end_of(second);
		break;
	case GIVE_UP:	/* its patience ends first */
		end_well(second, m->second, 1, busy);
		kill_traced(first);
		break;
	case KILL:
	case ENDS:
		kill_traced(first);
		end_well(second, m->second, 1, false);
		if (waits)
			took(&release, progress[1].when - began, name);
		break;
	}
}

static void judge_store(const struct meeting *m)
{
	witness_look(path, now, 0, name);
	witness_compare(now, notes, name);
	if (strcmp(operations[m->first].name, "create") != 0 && strcmp(operations[m->second].name, "create") != 0)
		return;
	experiment_use_fresh(0);
}

static void name_it(const struct meeting *m)
{
	static const char *const company[] = { "", " with company", " with dead company" };
	static const char *const end[] = { "killed", "goes on", "killed with it", "outlasts it" };
	snprintf(name, sizeof name, "%s is stopped at call %u, meets %s%s, %s", operations[m->first].name, m->call,
		operations[m->second].name, company[m->company], end[m->end]);
	trial_state = (((uint64_t)m->first * 100 + m->second) * 1000 + m->call) * 100 + m->company * 10 + m->end;
}

static void count_calls(unsigned index)
{
	pid_t pid;
	int status;
	if (calls[index] > 0)
		return;
	snprintf(name, sizeof name, "%s", operations[index].name);
	experiment_anew();
	pid = traced(carry_out, act_of(index, 0, 0));
	run_to(pid, 0, name);
	while (step(pid, &status) && !stands_at(pid, SIGN_END))
		calls[index]++;
	untrace(pid);
	end_well(pid, index, 0, false);
}

/* False: the first one does not make that many calls. */
static bool meet(struct meeting *m)
{
	const struct operation *second = &operations[m->second];
	pid_t keeper, first, other;
	bool gate, writer, readers, waits, busy;
	count_calls(m->first);
	name_it(m);
	alarm(LONGEST);
	experiment_anew();
	keeper = invite(path, m->company);
	first = traced(carry_out, act_of(m->first, 0, 0));
	if (!run_to(first, m->call, name)) {
		kill_traced(first);
		send_away(keeper, name);
		return false;
	}
	gate = gate_taken(path);
	writer = writer_at_work(path);
	readers = has_readers(path, first);
	if (m->end == GIVE_UP && (readers || no_gate))
		m->end = KILL;	/* nobody's patience ends in there */
	busy = gate || (writer && !(second->flags & READS));
	other = child(carry_out, act_of(m->second, 1, m->end == GIVE_UP ? PATIENCE * (int64_t)MS : 0));
	waits = !settled_soon(other);
	meetings++;
	held_up += waits;
	need(!waits || busy || no_gate || readers, "%s: it is held up by a "
		"process that holds neither gate nor writer lock%s", name, writer ? ", but only reads" : "");
	finish(m, first, other, waits, busy);
	send_away(keeper, name);
	judge_store(m);
	trial_state = UINT64_MAX;
	return true;
}

/* ---- all of them -------------------------------------------------------------------------------- */

static void again(uint64_t state)
{
	struct meeting m = { .end = (enum end)(state % 10), .company = (enum company)(state / 10 % 10),
		.call = (unsigned)(state / 100 % 1000), .second = (unsigned)(state / 100000 % 100),
		.first = (unsigned)(state / 10000000) };
	need(meet(&m), "there is no such state");
}

/* Every call of an operation, with all kinds of ends and company, or with one of them in turn. */
static void all_calls(unsigned first, unsigned second, bool thorough)
{
	const unsigned kinds = COMPANIES * ENDS;
	uint32_t turn = draw(kinds);
	count_calls(first);
	for (unsigned call = 1; call <= calls[first]; call++)
		for (unsigned i = 0; i < (thorough ? kinds : 1); i++, turn++)
			meet(&(struct meeting){ first, second, call, (enum company)(turn % COMPANIES), (enum end)(turn % ENDS) });
}

static void some(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		unsigned first = draw(operation_count);
		count_calls(first);
		if (calls[first] > 0)
			meet(&(struct meeting){ first, draw(operation_count), 1 + draw(calls[first]), (enum company)draw(COMPANIES),
				(enum end)draw(ENDS) });
	}
}

static void setup(const struct trial *t)
{
	no_gate = trial_word(t, "no-gate");
	no_number = trial_word(t, "no-number");
	no_lock = trial_word(t, "no-lock");
	early = trial_word(t, "early");
	experiment_begin(t);
}

static bool pair_named(const struct trial *t, unsigned first, unsigned second)
{
	char pair[64];
	snprintf(pair, sizeof pair, "%s/%s", operations[first].name, operations[second].name);
	return trial_word(t, pair);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	bool named = false;
	setup(&t);
	if (t.only != UINT64_MAX) {
		again(t.only);
		return 0;
	}
	for (unsigned i = 0; i < operation_count * operation_count; i++)
		if (pair_named(&t, i / operation_count, i % operation_count)) {
			named = true;
			all_calls(i / operation_count, i % operation_count, true);
		}
	if (!named && t.count)
		some(t.count);
	else if (!named)
		for (unsigned i = 0; i < operation_count * operation_count; i++)
			all_calls(i / operation_count, i % operation_count, &operations[i % operation_count] == operation_named("send"));
	printf("%llu meetings with a stopped process, %llu held up, %llu refused; released after %.1f ms "
		"at most, 0 bad\n", (unsigned long long)meetings, (unsigned long long)held_up, (unsigned long long)refused,
		(double)release.most / MS);
	return 0;
}
