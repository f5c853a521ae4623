/* SPDX-License-Identifier: ISC */
/* Linked into everything of `make coverage`: who ends by _exit(), as tools and children do, leaves what it has run, too. */
#include <unistd.h>

void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

/* Weak: the fuzz programs have one of their own. */
__attribute__((weak)) void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}
