/* SPDX-License-Identifier: ISC */
/* Clocks that a test sets, in memory that its children share. */
#include "clocks.h"

#include "crash.h"

#include <sys/syscall.h>
#include <unistd.h>

static const int64_t SECOND = INT64_C(1000) * MS, DAY = 24 * 3600 * INT64_C(1000) * MS;
static const int64_t BEGIN = 1800000000 * INT64_C(1000) * MS;

static struct clocks {
	_Atomic int64_t wall;		/* what CLOCK_REALTIME says */
	_Atomic int64_t up;		/* what CLOCK_BOOTTIME says */
	_Atomic int64_t since;		/* taken from the others: when the machine was started */
	_Atomic uint32_t starts;
	_Atomic uint64_t steps;
} *clocks;

int64_t some_span(void)
{
	static const int64_t units[] = { MS, 1000 * (int64_t)MS, 60000 * (int64_t)MS, 3600000 * (int64_t)MS,
		24 * 3600000 * (int64_t)MS };
	return units[draw(5)] * (1 + draw(30));
}

static int64_t read_kernel(clockid_t id)
{
	struct timespec t;
	return syscall(SYS_clock_gettime, id, &t) == 0 ? (int64_t)t.tv_sec * SECOND + t.tv_nsec : 0;
}

int clocks_read(clockid_t id, struct timespec *t)
{
	int64_t now;
	if (!clocks)
		return (int)syscall(SYS_clock_gettime, id, t);
	if (id == CLOCK_REALTIME)
		now = wall_time();
	else if (id == CLOCK_BOOTTIME)
		now = machine_up();
	else
		now = read_kernel(id) - atomic_load(&clocks->since);
	*t = (struct timespec){ now / SECOND, now % SECOND };
	return 0;
}

void clocks_take(void)
{
	struct clocks *c = shared_memory(sizeof *c);
	atomic_store(&c->wall, BEGIN);
	clocks = c;
	machine_restart();
}

void clocks_wait(void)
{
	atomic_store(&clocks->since, 0);
}

int64_t wall_time(void)
{
	return atomic_load(&clocks->wall);
}

void wall_step(int64_t ns)
{
	atomic_fetch_add(&clocks->wall, ns);
	atomic_fetch_add(&clocks->steps, 1);
}

void wall_wander(void)
{
	int64_t away = wall_time() - BEGIN;
	bool back = away > 60 * DAY || (away > -60 * DAY && draw(2));
	wall_step(back ? -some_span() : some_span());
}

uint64_t wall_steps(void)
{
	return atomic_load(&clocks->steps);
}

int64_t machine_up(void)
{
	return atomic_load(&clocks->up);
}

uint32_t machine_start(void)
{
	return atomic_load(&clocks->starts);
}

void machine_runs(int64_t ns)
{
	atomic_fetch_add(&clocks->up, ns);
	atomic_fetch_add(&clocks->wall, ns);
}

void machine_restart(void)
{
	atomic_fetch_add(&clocks->starts, 1);
	atomic_store(&clocks->up, 5 * SECOND);
	atomic_store(&clocks->since, read_kernel(CLOCK_MONOTONIC) - 5 * SECOND);
}
