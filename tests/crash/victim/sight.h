/* SPDX-License-Identifier: ISC */
/* All that the library shows of a store, as one number, and whether what it delivers was ever sent. */
#ifndef SIGHT_H
#define SIGHT_H

#include "crash.h"

enum { SIGHT_MESSAGES = 512 };

struct sight {
	bool learning;		/* what is seen now is how it is to be */
	bool complained;	/* a call failed */
	bool wrong;		/* something was delivered that was never sent, or not to that place */
	uint64_t digest;	/* of everything that can be seen */
	size_t known;
	struct seen {
		uint64_t place, content;
	} list[SIGHT_MESSAGES];
};
extern struct sight *sight;	/* where it is noted */

extern const char sight_new[12];	/* a body that may be anywhere */

int checked(int rc);		/* notes what is neither 0 nor LMQ_END nor LMQ_ETIME; returns it */
/* Opens the store for reading only and looks at all of it. */
void look_at_all(const char *path);
void each_channel(lmq_store *s, void (*work)(lmq_store *s, const char *name));
/* Takes some messages and settles them. */
void receive_some(lmq_channel *c, const char *group);

#endif
