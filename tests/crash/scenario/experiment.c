/* SPDX-License-Identifier: ISC */
#include "experiment.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

char prepared[4100], path[4100], fresh[4200], name[256];
struct note *notes, *first_notes;
struct progress *progress;
struct view *now, *before, *after;

static void too_long(int signal)
{
	(void)signal;
	broken("%s: it hangs", name);
}

void experiment_begin(const struct trial *t)
{
	snprintf(prepared, sizeof prepared, "%s/prepared", t->place);
	snprintf(path, sizeof path, "%s/store", t->place);
	snprintf(fresh, sizeof fresh, "%s-fresh", path);
	notes = shared_memory(NUMBERS * sizeof *notes);
	first_notes = shared_memory(NUMBERS * sizeof *notes);
	progress = shared_memory(2 * sizeof *progress);
	now = shared_memory(3 * sizeof *now);
	before = now + 1;
	after = now + 2;
	signal(SIGALRM, too_long);
	scenario_prepare(prepared, first_notes);
}

void experiment_anew(void)
{
	scenario_copy(prepared, path);
	remove_tree(fresh);
	memcpy(notes, first_notes, NUMBERS * sizeof *notes);
	memset(progress, 0, 2 * sizeof *progress);
}

struct act experiment_act(const struct operation *what, int64_t patience)
{
	return (struct act){ .what = what, .path = path, .first = OLD_NUMBERS, .patience = patience, .goes_on = true,
		.notes = notes, .progress = progress };
}

void experiment_learn(int64_t patience)
{
	witness_look(path, after, patience, name);
	witness_compare(after, notes, name);
	remove_tree(fresh);
	scenario_copy(prepared, path);
	witness_look(path, before, patience, name);
}

void experiment_judge(const struct operation *what)
{
	bool all, nothing;
	witness_compare(now, notes, name);
	if (what->flags & LOOSE)
		return;
	all = !witness_difference(after, now)[0];
	nothing = !witness_difference(before, now)[0];
	need(all || !progress->done, "%s: done, but %s", name, witness_difference(after, now));
	need(all || nothing, "%s: neither done nor not: %s", name, witness_difference(before, now));
	need(nothing || progress->done || progress->status == LMQ_EUNKNOWN, "%s: failed with %d, but %s", name,
		progress->status, witness_difference(now, before));
}

static int make_fresh(void *argument)
{
	struct lmq_store_options o = { sizeof o, LMQ_CREATE, 0 };
	lmq_store *s;
	int rc = lmq_store_open(argument, &o, &s);
	if (rc != 0)
		fprintf(stderr, "%s: %s\n", name, lmq_error(s));
	lmq_store_close(s);
	return rc;
}

void experiment_use_fresh(int64_t patience)
{
	need(in_child(make_fresh, fresh) == 0, "%s: no store can be made", name);
	witness_use(fresh, patience, name);
}
