/* SPDX-License-Identifier: ISC */
/*
 * A fault of the machine becomes an error like others: one line, one hint, status 70.
 *
 * LMDB believes what its pages say, and dies of some that say something else. What is behind a fault is nearly always
 * a damaged store, and the rest is a bug: both are what 70 means. Nothing is lost by ending here: a process may die at
 * any point. A sanitizer has handlers of its own, whose reports are worth more.
 */
#include "cmd.h"

#include <string.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* Made while all is well. */
static char last_words[2 * WARNING_MAX];
static size_t last_size;

/* Only what may be called anywhere: the fault may lie in the middle of malloc(). */
static void fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	/* Sent by somebody, who wants it to die of that. */
	if (info->si_code <= 0 && info->si_pid != getpid()) {
		raise(number);
		return;
	}
	(void)!write(STDERR_FILENO, last_words, last_size);
	_exit(EXIT_SOFTWARE);
}

void fault_catch(const char *store)
{
	static const int numbers[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	static char stack[64 << 10];	/* the fault may be that the other one has ended */
	struct sigaction action;

	if (SANITIZED)
		return;
	last_size = warning_compose(last_words, "", "%s: the store is damaged, or this is a bug", store);
	last_size += warning_compose(last_words + last_size, "hint: ",
		"mq-check tells what is damaged, mq-check --repair saves what can be read");
	sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
	memset(&action, 0, sizeof action);
	action.sa_sigaction = fault;
	action.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND);
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaction(numbers[i], &action, NULL);
}
