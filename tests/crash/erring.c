/* SPDX-License-Identifier: ISC */
/*
 * erring [-n COUNT] [-r SEED] [-x STATE] PLACE [anyway | no-abort | OPERATION]
 *
 * Each call of each operation into LMDB answers with an error, or, where it reads, with bytes that are not what was
 * stored, or with nothing. Then: the operation says so, or did without; where it fails nothing of it is there; nobody
 * crashes; the same handle and another process go on. With nothing in the place of a record the store is allowed to
 * be different, since that is how one looks that never had it: only crashes and hangs are looked for then.
 *
 * The deliberate faults: a failed transaction is committed all the same; it is not aborted.
 */
#include "scenario/experiment.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE = 300, LONGEST = 20 };

enum manner { CORRUPTED, FAILED, CHANGED, SHORT, MISSING, MANNERS };
static const char *const manners[] = { "says that it is damaged", "fails with EIO", "reads a changed byte",
	"reads a byte less", "finds nothing" };

static bool counting, anyway, no_abort;
static uint64_t asked, errs_at;	/* 0: none */
static enum manner manner;
enum { PAGE_HEADER = 16 };	/* stands before a long value, where the library looks at it */
static uint8_t forged[PAGE_HEADER + (1 << 16)];

/* Whether this call is the one. */
static bool errs(void)
{
	return counting && ++asked == errs_at;
}

static int error(void)
{
	return manner == FAILED ? EIO : manner == MISSING ? MDB_NOTFOUND : MDB_CORRUPTED;
}

/* What was read becomes something else. */
static int forge(MDB_val *value, int rc)
{
	if (manner != CHANGED && manner != SHORT)
		return error();
	if (rc != 0 || !value || value->mv_size == 0 || value->mv_size > sizeof forged - PAGE_HEADER)
		return rc;
	memcpy(forged, (const uint8_t *)value->mv_data - PAGE_HEADER, PAGE_HEADER + value->mv_size);
	forged[PAGE_HEADER + (errs_at * 7) % value->mv_size] ^= (uint8_t)(1u << errs_at % 8);
	value->mv_data = forged + PAGE_HEADER;
	value->mv_size -= manner == SHORT;
	return 0;
}

int __real_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
int __wrap_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
int __real_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op);
int __wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op);
int __real_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags);
int __real_mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
int __wrap_mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
int __real_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
int __wrap_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor);
int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __real_mdb_txn_renew(MDB_txn *txn);
int __wrap_mdb_txn_renew(MDB_txn *txn);
int __real_mdb_dbi_open(MDB_txn *txn, const char *table, unsigned flags, MDB_dbi *dbi);
int __wrap_mdb_dbi_open(MDB_txn *txn, const char *table, unsigned flags, MDB_dbi *dbi);

int __wrap_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
	int rc = __real_mdb_get(txn, dbi, key, value);
	return errs() ? forge(value, rc) : rc;
}

int __wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op)
{
	int rc = __real_mdb_cursor_get(cursor, key, value, op);
	return errs() ? forge(value, rc) : rc;
}

int __wrap_mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags)
{
	return errs() && manner <= FAILED ? error() : __real_mdb_put(txn, dbi, key, value, flags);
}

int __wrap_mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
	return errs() && (manner <= FAILED || manner == MISSING) ? error() : __real_mdb_del(txn, dbi, key, value);
}

int __wrap_mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor)
{
	return errs() && manner <= FAILED ? error() : __real_mdb_cursor_open(txn, dbi, cursor);
}

int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
	return errs() && manner <= FAILED ? error() : __real_mdb_txn_begin(env, parent, flags, txn);
}

int __wrap_mdb_txn_renew(MDB_txn *txn)
{
	return errs() && manner <= FAILED ? error() : __real_mdb_txn_renew(txn);
}

int __wrap_mdb_dbi_open(MDB_txn *txn, const char *table, unsigned flags, MDB_dbi *dbi)
{
	return errs() && manner <= FAILED ? error() : __real_mdb_dbi_open(txn, table, flags, dbi);
}

/* ---- deliberate faults ----------------------------------------------------------------------- */

void __real_txn_abort(struct txn *t);
void __wrap_txn_abort(struct txn *t);

void __wrap_txn_abort(struct txn *t)
{
	if (anyway && counting)
		txn_commit(t, LMQ_SYNC_FULL);
	else if (!no_abort || !counting)
		__real_txn_abort(t);
}

/* ---- one error ------------------------------------------------------------------------------- */

static uint64_t *calls;		/* of the operation */
static uint64_t errors;

static void at_sign(struct act *a, int which)
{
	(void)a;
	if (which == SIGN_BEGIN)
		asked = 0;
	counting = which == SIGN_BEGIN;
	if (which == SIGN_END)
		*calls = asked;
}

static int act(void *argument)
{
	on_sign = at_sign;
	signal(SIGALRM, SIG_DFL);
	alarm(LONGEST);
	return scenario_act(argument);
}

static int run(unsigned index)
{
	struct act a = experiment_act(&operations[index], PATIENCE * (int64_t)MS);
	experiment_anew();
	return in_child(act, &a);
}

static void judge(const struct operation *what)
{
	need(progress->status != LMQ_EUNKNOWN && progress->status != LMQ_EBUG, "%s: %s", name, progress->sentence);
	need(progress->after == 0, "%s: then a message with the same handle: %d: %s", name, progress->after,
		progress->sentence);
	need(progress->open_files == 0, "%s: %d descriptors are left open", name, progress->open_files);
	witness_look(path, now, PATIENCE * (int64_t)MS, name);
	experiment_judge(what);
}

/* A damaged block of a removed channel names no large bodies any more: these remain as lost space, as mq-check tells. */
static bool is_judged(const struct operation *what, enum manner how)
{
	return how == FAILED || (how != MISSING && strcmp(what->name, "remove") != 0 && strcmp(what->name, "check") != 0);
}

static bool finds_damage(const struct operation *what, enum manner how)
{
	return how != FAILED && strcmp(what->name, "check") == 0;
}

static void err(unsigned index, uint64_t at, enum manner how)
{
	int status;
	snprintf(name, sizeof name, "%s, call %llu %s", operations[index].name, (unsigned long long)at, manners[how]);
	errs_at = at;
	manner = how;
	status = run(index);
	errs_at = 0;
	errors++;
	need(status != 128 + SIGALRM, "%s: it hangs", name);
	need(status == 0 || (status == 1 && finds_damage(&operations[index], how)), "%s: it ended with %d", name, status);
	if (is_judged(&operations[index], how))
		judge(&operations[index]);
	remove_tree(path);
	remove_tree(fresh);
}

static void learn(unsigned index)
{
	snprintf(name, sizeof name, "%s", operations[index].name);
	need(run(index) == 0 && progress->status == 0, "%s ended with %d: %s", name, progress->status,
		progress->sentence);
	experiment_learn(PATIENCE * (int64_t)MS);
}

/* The state is operation, call and manner in one number. */
static void all_of(unsigned index, const struct trial *t)
{
	const uint64_t base = index * UINT64_C(1000000);
	uint64_t count, share = t->count / operation_count + 1;
	learn(index);
	count = MANNERS * *calls;
	for (uint64_t i = 0; count > 0 && i < (t->count ? share : count); i++) {
		uint64_t state = t->count ? draw((uint32_t)count) : i;
		if (t->only != UINT64_MAX && t->only != base + state)
			continue;
		trial_state = base + state;
		err(index, state / MANNERS + 1, state % MANNERS);
		trial_state = UINT64_MAX;
	}
}

static void setup(const struct trial *t)
{
	anyway = trial_word(t, "anyway");
	no_abort = trial_word(t, "no-abort");
	calls = shared_memory(sizeof *calls);
	experiment_begin(t);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	bool some = false;
	setup(&t);
	for (unsigned i = 0; i < operation_count; i++)
		some |= trial_word(&t, operations[i].name);
	for (unsigned i = 0; i < operation_count; i++)
		if (!some || trial_word(&t, operations[i].name))
			all_of(i, &t);
	printf("%llu calls into the engine that went wrong, 0 bad\n", (unsigned long long)errors);
	return 0;
}
