/* SPDX-License-Identifier: ISC */
/* For tests of how many locks are asked for, and of what happens between a look and the lock that follows it. */
#ifndef LOCKS_H
#define LOCKS_H

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Called before the next lock is taken. */
static void (*meanwhile)(void);
/* Looks at locks, and attempts to take some. */
static unsigned calls;

int fcntl(int fd, int command, ...)
{
	struct flock *lock;
	va_list list;
	va_start(list, command);
	lock = va_arg(list, struct flock *);
	va_end(list);
	calls += command == F_OFD_GETLK || command == F_OFD_SETLK;
	if (command == F_OFD_SETLK && lock->l_type == F_WRLCK && meanwhile) {
		void (*now)(void) = meanwhile;
		meanwhile = NULL;
		now();
	}
	return (int)syscall(SYS_fcntl, fd, command, lock);
}

#endif
