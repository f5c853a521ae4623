/* SPDX-License-Identifier: ISC */
/* How messages are read, with or without taking them: which ones, from where on, by whom. */
#ifndef READING_H
#define READING_H

#include "output.h"

/* ---- selection.c: which messages, how many, how long; the options of mq-recv, mq-sub, mq-replay -------- */

struct selection {
	uint64_t count;		/* -n; UINT64_MAX: no limit */
	bool count_set;
	int64_t wait;		/* -w, ns for the next message; -1: not given */
	bool drain;		/* -e */
	bool follow;		/* -f */
	lmq_filter *filter;	/* -k -m, or NULL */
};
#define SELECTION_OPTIONS \
	{ 'n', "count", "N", "stop after N messages" }, \
	{ 'w', "wait", "D", "wait at most D for the next message" }, \
	{ 'e', "drain", NULL, "stop when nothing is left" }, \
	{ 'f', "follow", NULL, "never stop" }, \
	{ 'k', "key", "P", "only messages whose key matches P" }, \
	{ 'm', "match", "N=GLOB", "only messages whose header N matches" }
bool selection_option(struct selection *selection, int key, const char *argument);

/* Where a reader starts: --from --to -S -U --last, as given on the command line. */
struct range {
	const char *from;	/* offset, "first" or "end"; NULL: not given */
	const char *to;
	int64_t since;		/* INT64_MIN: not given */
	int64_t until;		/* INT64_MAX: not given */
	int64_t last;		/* -1: not given */
};
#define RANGE_INIT { .since = INT64_MIN, .until = INT64_MAX, .last = -1 }
#define RANGE_OPTIONS \
	{ 'S', "since", "T", "from this time on" }, \
	{ 'U', "until", "T", "up to, not including, this time" }, \
	{ OPTION_FROM, "from", "N", "from this offset on; first, end" }, \
	{ OPTION_TO, "to", "N", "up to, not including, this offset" }, \
	{ OPTION_LAST, "last", "N", "start N messages before the end" }
enum { OPTION_FROM = 256, OPTION_TO, OPTION_LAST };
bool range_option(struct range *range, int key, const char *argument);
bool range_starts(const struct range *range);	/* whether it says where to start */
/* Moves the reader to where the range starts; default_from is used if nothing was given. 0 or a status. */
int range_seek(const struct range *range, lmq_reader *reader, enum lmq_seek default_seek);

/* ---- reading.c: what mq-recv, mq-sub and mq-replay share ------------------------------------------------ */

struct body_source reader_source(lmq_reader *reader);
struct body_source receiver_source(lmq_receiver *receiver);
/*
 * Opens the channel, waiting until the deadline for it to appear; the watch gets to know of the catalogue.
 * LMQ_ETIME, LMQ_EINTR if interrupted, or a failure with a sentence.
 */
int channel_await(lmq_store *store, const char *name, enum lmq_kind kind, lmq_watch *watch, int64_t deadline,
	lmq_channel **channel);
/* The name given by -c, if it can be one, or 64; without (NULL) HOST:PID. Kept for good. */
const char *consumer_name(const char *given);
/* The only operand, or 64; what: "queue". */
const char *only_operand(int argc, char **argv, int first, const char *what);
/* Tells of messages that were trimmed away before they were read: so many in all, beyond the *told ones told of
 * before; returns how many these were. */
uint64_t missed_say(const char *name, uint64_t missed, uint64_t *told);
/* At the end, of all that were missed: unless the only line about them has said it. */
void missed_sum(uint64_t missed);
/* Where a new group of a channel of that kind starts: as the range says; streams at first, topics now. */
void group_start(const struct range *range, enum lmq_kind kind, enum lmq_seek *how, int64_t *value);
void group_check(const char *group);	/* dies with 64 if that is not a name that a group can have */
bool group_exists(lmq_channel *channel, const char *group);	/* as far as can be told */

/* ---- consume.c: messages that are taken, and written to stdout; mq-recv, mq-sub -g ------------------------------- */

struct consumer {
	lmq_store *store;
	const struct form *form;	/* for the channel, and group, of the receiver */
	int64_t lease;			/* they are kept leased for so long; 0: acknowledged */
	bool unhurried;			/* nobody knows how fast they are read: leases are made of a few only */
	enum lmq_sync sync;		/* of the acknowledgements */
	/* from here on consume.c's own */
	lmq_receiver *receiver;
	struct body_source source;
	size_t batch;
};
int64_t lease_argument(const char *argument);	/* of -l; dies with 64 */
void consumer_start(struct consumer *consumer, lmq_receiver *receiver);
/*
 * Claims messages, at most so many, writes and settles them; *taken grows by those that stdout has taken. LMQ_END:
 * none is ready; or a failure with a sentence. It ends the tool if stdout fails.
 */
int consumer_receive(struct consumer *consumer, uint64_t most, uint64_t *taken);

#endif
