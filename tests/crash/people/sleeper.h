/* SPDX-License-Identifier: ISC */
/* A process that waits until it gets a message from a queue. */
#ifndef SLEEPER_H
#define SLEEPER_H

#include <stdbool.h>
#include <sys/types.h>

/* Asleep, or it has got the message. Nobody in this process may have the store open. */
pid_t sleeper_begin(const char *path, const char *queue);
/* Whether it has got one, or gets it within two seconds; it has ended then. */
bool sleeper_wakes(pid_t pid);

#endif
