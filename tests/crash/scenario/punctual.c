/* SPDX-License-Identifier: ISC */
#include "punctual.h"

enum { NEVER = 900 };		/* ms; the slow re-check comes after a second */

/* One in a hundred, and the first two, may be the machine's. */
void took(struct punctual *p, int64_t ns, const char *when)
{
	p->count++;
	p->most = ns > p->most ? ns : p->most;
	p->late += ns > p->limit * (int64_t)MS;
	need(p->late <= 2 + p->count / 100 && ns < NEVER * (int64_t)MS, "%s: %s: after %lld ms, late %llu of %llu times", when,
		p->what, (long long)(ns / MS), (unsigned long long)p->late, (unsigned long long)p->count);
}
