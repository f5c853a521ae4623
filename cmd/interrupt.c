/* SPDX-License-Identifier: ISC */
/*
 * Signals end a tool between messages: the handler takes a note and ends the wait, the loop does
 * the rest.
 *
 * The second signal of a kind ends the process at once: that is the way out when stdout is a pipe
 * that nobody empties. Nothing is lost by it, as a process may die at any point.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

volatile sig_atomic_t interrupted;

static lmq_watch *volatile interrupted_watch;

static void note(int number)
{
	int saved = errno;

	if (!interrupted)
		interrupted = number;
	if (interrupted_watch != NULL)
		lmq_watch_interrupt(interrupted_watch);
	errno = saved;
}

static void catch_signal(int number)
{
	struct sigaction action, before;

	/* What nohup, or a shell that starts a background job, had ignored stays ignored. */
	if (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
		return;
	memset(&action, 0, sizeof action);
	action.sa_handler = note;
	action.sa_flags = (int)SA_RESETHAND;	/* no SA_RESTART: a blocked write returns */
	sigemptyset(&action.sa_mask);
	sigaction(number, &action, NULL);
}

void interrupt_catch(lmq_watch *watch)
{
	interrupted_watch = watch;
	signal(SIGPIPE, SIG_IGN);
	catch_signal(SIGINT);
	catch_signal(SIGTERM);
	catch_signal(SIGHUP);
}
