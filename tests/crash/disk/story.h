/* SPDX-License-Identifier: ISC */
/*
 * What is recorded: small pieces of work on a store. told() says after each public call what it answered.
 */
#ifndef STORY_H
#define STORY_H

#include "crash.h"

struct story {
	const char *name;
	void (*before)(void);	/* before the recording begins; NULL: there is no store yet */
	void (*work)(void);
	const char *channel;	/* that is used after a crash */
	enum lmq_kind kind;
	bool remakes;		/* files beside data.mdb change */
	bool old;		/* begins with a store of an older format, from elsewhere */
	bool copies;		/* what is looked at is the copy that is made, "copy" beside the store */
	bool faults;		/* takes part where writes fail */
};
extern const struct story stories[];
extern const unsigned story_count;

enum { STORY_CREATED = 1 };	/* told instead of a status: the store is there */

/* In children: what comes before, then the work. sync is that of all commits. */
void story_prepare(const struct story *s, const char *path);
void story_tell(const struct story *s, const char *path, enum lmq_sync sync, void (*told)(int rc, uint64_t next));

#endif
