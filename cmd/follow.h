/* SPDX-License-Identifier: ISC */
/*
 * The parts of mq-sub. A feed is a channel that is followed: it has a reader, or with -g a receiver (feed.c). Which
 * channels there are to follow is found out in discovery.c; mq-sub.c has the options and the loop.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include "reading.h"

struct feed;

struct follow {
	/* what the command line says */
	char **patterns;
	size_t pattern_count;
	struct selection selection;
	struct range range;		/* with -g: of a new group */
	struct form form;
	const char *group;		/* NULL: just readers */
	const char *consumer;
	int64_t lease;			/* -l; 0: acknowledge */
	int64_t partition;		/* only that one; -1: all */
	bool create_only, no_create, strict;
	enum lmq_sync sync;
	/* how things stand */
	lmq_store *store;
	lmq_watch *watch;		/* of the feeds and the catalogue; NULL: we do not wait */
	struct feed **feeds;
	size_t feed_count, feed_room;
	uint64_t written, missed;
};

/* Whether what is not there is an error, instead of being waited for. */
bool follow_needs_all(const struct follow *f);

/* ---- feed.c: channels that are followed --------------------------------------------------------------- */

bool is_followed(const struct follow *f, uint32_t id);
/*
 * Follows a channel that was listed, unless it is gone by now. At the start it begins where the options say; what
 * appears later begins at its first message. named: it was asked for by its name, not by a pattern.
 */
void feed_add(struct follow *f, const struct lmq_channel_info *info, bool at_start, bool named);
void feeds_close(struct follow *f);
/* Lets every feed have its turn. Whether there may be more. */
bool feeds_read(struct follow *f);

/* ---- discovery.c: channels that match the patterns ------------------------------------------------------ */

void patterns_check(const struct follow *f);
/* Follows what matches, at the start. */
void discover(struct follow *f);
/* The same later on, if it may be worth it. Whether there is something new. */
bool discover_again(struct follow *f);
void discovery_due(void);	/* something has happened: there may be new channels */
int64_t discovery_next(void);	/* when it may be worth it; LMQ_FOREVER: nothing has happened */

#endif
