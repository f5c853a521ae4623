/* SPDX-License-Identifier: ISC */
/* Wall time for ages, monotonic time for waits, and the time since the machine was started for leases. */
#include "base.h"

#include "crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_read(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t lmq_now(void)
{
	return clock_read(CLOCK_REALTIME);
}

int64_t clock_monotonic(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_boot(void)
{
	return clock_read(CLOCK_BOOTTIME);
}

/* A kernel without time namespaces has one clock for all. */
static bool time_namespace(uint64_t *number)
{
	struct stat st;
	*number = 0;
	if (stat("/proc/self/ns/time", &st) != 0)
		return errno == ENOENT;
	*number = st.st_ino;
	return true;
}

uint32_t boot_number(void)
{
	char text[64];
	uint64_t namespace;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
	uint32_t number;
	if (fd >= 0)
		close(fd);
	if (n <= 0 || !time_namespace(&namespace))
		return 0;
	number = crc32c(crc32c(0, text, (size_t)n), &namespace, sizeof namespace);
	return number ? number : 1;
}

int64_t lmq_deadline(int64_t duration)
{
	int64_t deadline;
	if (duration == LMQ_FOREVER)
		return LMQ_FOREVER;
	if (duration < 0)
		duration = 0;
	if (__builtin_add_overflow(clock_monotonic(), duration, &deadline))
		return LMQ_FOREVER;
	return deadline;
}
