/* SPDX-License-Identifier: ISC */
/* The properties of a channel change: what follows from that, and what stands against it. */
#include "channel.h"

#include <string.h>

/* Messages know from their arrival on whether their keys are ordered. */
static int check_order(struct txn *t, uint32_t id, const char *name)
{
	struct head_record head;
	struct group_record g;
	int rc = get_head(t->store, t->mdb, id, 0, &head);
	if (rc == 0)
		rc = get_group(t->store, t->mdb, id, 0, "", &g);
	if (rc == 0 && head.end > g.settled) {
		fail(t->store, LMQ_EBUSY, "%s: order can be changed only while the queue is empty", name);
		fail_hint(t->store, "receive or trim its messages first, or make another queue and mq-move them");
		return LMQ_EBUSY;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int fixed(struct txn *t, const char *name, const char *property, const char *why)
{
	fail(t->store, LMQ_EINVAL, "%s: %s is fixed when the stream is made", name, property);
	fail_hint(t->store, "%s", why);
	return LMQ_EINVAL;
}

/* Keys are looked at anew from the first message on, by the next sweeps. */
static int index_anew(struct txn *t, uint32_t id, const struct channel_record *r)
{
	struct head_record head;
	int rc = 0;
	for (uint16_t lane = 0; rc == 0 && lane < lanes_of(r); lane++) {
		rc = get_head(t->store, t->mdb, id, lane, &head);
		head.indexed = 0;
		if (rc == 0)
			rc = put_head(t, id, lane, &head);
	}
	if (rc == 0 && limit_of(r, LIMIT_MAX_PER_KEY) != UINT64_MAX)
		rc = compact_later(t, id);
	return rc;
}

/* What follows from the change of a property, or stands against it. */
int change_follow(struct txn *t, uint32_t id, const struct channel_record *r, const struct lmq_property *changed)
{
	if (strcmp(changed->name, "order") == 0)
		return check_order(t, id, r->name);
	if (strcmp(changed->name, "partitions") == 0)
		return fixed(t, r->name, "partitions", "make another stream, and a route to it or mq-replay -j | mq-pub -j");
	if (strcmp(changed->name, "audit") == 0)
		return fixed(t, r->name, "audit", "make another stream with audit=yes, and mq-replay -j | mq-pub -j");
	return strcmp(changed->name, "max-per-key") == 0 ? index_anew(t, id, r) : 0;
}

/* Nothing goes from a stream with audit=yes, so it can have no limits. */
int change_check(lmq_store *s, const struct channel_record *r)
{
	static const struct { enum limit limit; const char *name; } limits[] = {
		{ LIMIT_MAX_MESSAGES, "max-messages" }, { LIMIT_MAX_BYTES, "max-bytes" }, { LIMIT_MAX_AGE, "max-age" },
		{ LIMIT_MAX_PER_KEY, "max-per-key" },
	};
	if (r->kind != LMQ_STREAM || limit_of(r, LIMIT_AUDIT) != 1)
		return 0;
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
		if (limit_of(r, limits[i].limit) != UINT64_MAX)
			return fail(s, LMQ_EINVAL, "%s: audit=yes keeps everything, so it cannot have %s", r->name,
				limits[i].name);
	return 0;
}
