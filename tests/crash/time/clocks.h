/* SPDX-License-Identifier: ISC */
/* The clocks of a machine that is ours: its time stands still, passes, is set and begins again as a test says. */
#ifndef CLOCKS_H
#define CLOCKS_H

#include <stdint.h>
#include <time.h>

int64_t some_span(void);		/* a millisecond to a month */

/* Before the first child. From then on clocks_read(), which the program's clock_gettime() calls, tells our time. */
void clocks_take(void);
int clocks_read(clockid_t id, struct timespec *t);
/* Whoever waits does so by the kernel's monotonic clock: from now on that is told as it is. */
void clocks_wait(void);

int64_t wall_time(void);
void wall_step(int64_t ns);		/* somebody sets the clock */
void wall_wander(void);			/* back or forth, and not ever further away */
uint64_t wall_steps(void);		/* how often */

int64_t machine_up(void);		/* what CLOCK_BOOTTIME tells */
uint32_t machine_start(void);		/* how often it was started, 1 at first */
void machine_runs(int64_t ns);		/* that time passes */
void machine_restart(void);		/* and the wall clock goes on, which somebody may set */

#endif
