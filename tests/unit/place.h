/* SPDX-License-Identifier: ISC */
/* A scratch store for unit tests: made in $TMPDIR or /tmp, removed at the end of the test. */
#ifndef PLACE_H
#define PLACE_H

#include "unit.h"

#include "libmq.h"

#include <unistd.h>

static char place[256];

static inline void place_make(void)
{
	const char *base = getenv("TMPDIR");
	snprintf(place, sizeof place, "%s/mq-unit-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(place))
		abort();
}

static inline void place_remove(void)
{
	char command[300];
	snprintf(command, sizeof command, "rm -rf '%s'", place);
	if (system(command) != 0)
		abort();
}

static inline lmq_store *place_open(void)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_CREATE };
	lmq_store *s;
	if (lmq_store_open(place, &options, &s) != 0) {
		fprintf(stderr, "%s\n", lmq_error(s));
		abort();
	}
	return s;
}

#endif
