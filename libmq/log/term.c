/* SPDX-License-Identifier: ISC */
/*
 * How long a lease lasts: until its time has passed by two clocks.
 *
 * The wall clock is what people and other machines go by, and the only one that goes on over a restart; but it
 * may be set forward, and whoever has a lease works no faster for that. So a lease also notes when it ends by
 * the time since the machine was started, and which start that was. Where the wall clock says that it is over and
 * the same boot's clock says that it is not, what is left moves its end by the wall clock, in the index too: the
 * next look finds it there. After a restart, and in another time namespace, only the wall clock counts. One
 * that is set back makes leases longer: no work is lost by that.
 *
 * Which boot it is, a store's handle asks the kernel once, when it first makes a lease or finds one that seems over. Where
 * the kernel does not say it, leases last by the wall clock alone.
 */
#include "log.h"

static uint32_t boot_of(lmq_store *s)
{
	if (!s->boot_asked)
		s->boot = boot_number();
	s->boot_asked = true;
	return s->boot;
}

/* Not before now, and not behind the last time that there is. */
static int64_t after(int64_t now, int64_t duration)
{
	return duration < INT64_MAX - now ? now + (duration > 0 ? duration : 0) : INT64_MAX;
}

struct term term_from(lmq_store *s, int64_t now, int64_t duration)
{
	return (struct term){ .due = after(now, duration), .boot = boot_of(s),
		.steady = after(clock_boot(), duration) };
}

void term_begin(struct run_record *r, const struct term *t)
{
	r->state = RUN_LEASED;
	r->due = t->due;
	r->boot = t->boot;
	r->steady = t->steady;
}

bool term_goes_on(lmq_store *s, struct run_record *r, int64_t now)
{
	int64_t left;
	if (r->state != RUN_LEASED || r->boot == 0 || r->boot != boot_of(s))
		return false;
	left = r->steady - clock_boot();
	if (left > 0)
		r->due = after(now, left);
	return left > 0;
}

void term_end(struct run_record *r)
{
	r->owner[0] = '\0';
	r->boot = 0;
	r->steady = 0;
}
