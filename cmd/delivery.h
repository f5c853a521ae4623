/* SPDX-License-Identifier: ISC */
/* Single messages of a queue: how their delivery stands, which of them are meant, and how they get into another channel. */
#ifndef DELIVERY_H
#define DELIVERY_H

#include "cmd.h"

/* ---- delivery.c: how their delivery stands -------------------------------------------------------- */

const char *state_name(enum lmq_state state);	/* "ready", "leased", "delayed", "retry", "blocked", "expired" */
unsigned states_parse(const char *list);	/* "ready,leased": the bits 1 << state; dies with 64 */
/* Copies what belongs to the reader, which may be paused then; until the next such call. */
void delivery_keep(struct lmq_delivery *delivery);

/* ---- offsets.c: which of them are meant, by their offsets ----------------------------------------- */

/* Operands "1041" or "1041-1050": a list of as many as there are, allocated; dies with 64. */
struct offsets {
	uint64_t first, end;	/* end is not included */
};
struct offsets *offsets_operands(char **operands, size_t count);

/* ---- conditions.c: which messages mq-move takes; many filters can be made of them ----------------- */

struct condition {
	int key;		/* of the option, -k or -m */
	const char *text;
};
struct conditions {
	struct condition *texts;
	size_t text_count;
	int64_t before;		/* stored before this time; 0: not given */
	enum lmq_reason reason;
	const struct offsets *offsets;
	size_t offset_count;	/* 0: any offset */
};
enum { OPTION_REASON = OPTION_TOOL + 50, OPTION_OLDER };
#define CONDITION_OPTIONS \
	{ 'k', "key", "P", "only messages whose key matches P" }, \
	{ 'm', "match", "N=GLOB", "only messages whose header N matches" }, \
	{ OPTION_REASON, "reason", "R", "only dead letters that are dead for this reason" }, \
	{ OPTION_OLDER, "older", "D", "only messages older than D" }
bool conditions_option(struct conditions *conditions, int key, const char *argument);
void conditions_check(const struct conditions *conditions);	/* dies with 64 where one is not valid */
/* All of them, within [first, end), and of that origin (NULL: any). NULL: no message can meet them. */
lmq_filter *conditions_filter(const struct conditions *conditions, uint64_t first, uint64_t end, const char *origin);

/* ---- transfer.c: messages that are ready, from a queue to another channel ------------------------- */

struct transfer {
	lmq_store *store;
	lmq_channel *from;
	lmq_channel *to;		/* NULL: is created as to_name when there is a message for it */
	const char *to_name;
	bool copy;			/* they stay in from too */
	bool back;			/* dead letters, to where they came from; to is NULL */
	const struct conditions *conditions;
	uint64_t end;			/* offset in from before which they lie */
	struct pace pace;
	lmq_watch *watch;		/* to wait for the pace; NULL where there is none */
	enum lmq_sync sync;
	uint64_t done;			/* messages moved */
};
/* At most so many, of that origin (NULL: any), until a signal comes. 0 or what went wrong. */
int transfer_move(struct transfer *transfer, const char *origin, uint64_t most);
int transfer_copy(struct transfer *transfer, uint64_t most);

#endif
