/* SPDX-License-Identifier: ISC */
/*
 * Delays and retries end when the wall clock shows their time. So do leases, but while the machine is the one that was
 * started when they began not before that much time has passed: until then a claim moves their end.
 */
#include "foretold.h"

#include "clocks.h"
#include "crash.h"

#include <string.h>

enum { MOST = 64 };

static struct foretold queue[MOST];
static unsigned queued;
uint64_t foretold_ended, foretold_kept;

struct foretold *foretold_send(int64_t due)
{
	if (queued == MOST)
		return NULL;
	queue[queued] = (struct foretold){ .due = due };
	return &queue[queued++];
}

static int64_t left(const struct foretold *m)
{
	return m->leased && m->start == machine_start() ? m->steady - machine_up() : 0;
}

static void look(struct foretold *m)
{
	if (m->due == 0 || m->due > wall_time())
		return;
	if (left(m) > 0) {
		m->due = wall_time() + left(m);
		foretold_kept++;
		return;
	}
	m->due = 0;
	m->leased = false;
	foretold_ended++;
}

struct foretold *foretold_claim(void)
{
	struct foretold *first = NULL;
	for (struct foretold *m = queue; m < queue + queued; m++) {
		look(m);
		if (m->due == 0 && !first)
			first = m;
	}
	return first;
}

struct foretold *foretold_any(void)
{
	return queued ? &queue[draw(queued)] : NULL;
}

void foretold_lease(struct foretold *m, int64_t duration)
{
	m->leased = true;
	m->due = wall_time() + duration;
	m->steady = machine_up() + duration;
	m->start = machine_start();
}

void foretold_retry(struct foretold *m, int64_t delay)
{
	m->due = wall_time() + delay;
	m->attempts++;
}

void foretold_acknowledge(struct foretold *m)
{
	memmove(m, m + 1, (size_t)(queue + queued - m - 1) * sizeof *m);
	queued--;
}

bool foretold_leases(void)
{
	for (unsigned i = 0; i < queued; i++)
		if (queue[i].leased)
			return true;
	return false;
}

bool foretold_waits(uint64_t offset)
{
	for (unsigned i = 0; i < queued; i++)
		if (queue[i].offset == offset)
			return queue[i].due != 0;
	return false;
}
