/* SPDX-License-Identifier: ISC */
#include "deliveries.h"

#include "prepared.h"

enum { SECOND = 1000 * MS };

struct hands {			/* a receiver and what it took */
	lmq_channel *channel;
	lmq_receiver *receiver;
	unsigned numbers[16];
	struct lmq_verdict verdicts[16];
	size_t count;
};

static int take(struct act *a, struct hands *h, const char *name, const char *group, size_t most)
{
	struct lmq_receiver_options o = { .size = sizeof o, .group = group };
	struct lmq_message m;
	size_t count;
	int rc = lmq_channel_open(a->store, name, LMQ_ANY, 0, &h->channel);
	if (rc == 0)
		rc = lmq_receiver_open(h->channel, &o, &h->receiver);
	if (rc == 0)
		rc = lmq_receiver_claim(h->receiver, most, 1 << 20, &count);
	while (rc == 0 && (rc = lmq_receiver_next(h->receiver, &m)) == 0) {
		unsigned number = number_of(m.body);
		need(number < NUMBERS, "%s: something was received that nobody sent", a->what->name);
		need(group || a->notes[number].gone != DONE, "%s: message %u came again after it was acknowledged",
			a->what->name, number);
		h->numbers[h->count] = number;
		h->verdicts[h->count++] = (struct lmq_verdict){ .partition = m.partition, .offset = m.offset, .count = 1,
			.exit_status = 3, .delay = -1 };
	}
	return rc == LMQ_END && h->count > 0 ? 0 : rc;
}

static int leave(struct hands *h, int rc)
{
	lmq_receiver_close(h->receiver);
	lmq_channel_close(h->channel);
	return rc;
}

static void note_gone(struct act *a, const struct hands *h, uint8_t how)
{
	for (size_t i = 0; i < h->count; i++)
		a->notes[h->numbers[i]].gone = how;
}

static int conclude(struct act *a, struct hands *h, enum lmq_outcome outcome, lmq_writer *w)
{
	for (size_t i = 0; i < h->count; i++)
		h->verdicts[i].outcome = outcome;
	return act_change(a, lmq_receiver_conclude(h->receiver, h->verdicts, h->count, w, LMQ_SYNC_FULL));
}

int op_receive(struct act *a)
{
	struct hands h = { .count = 0 };
	int rc = take(a, &h, "jobs", NULL, 2);
	note_gone(a, &h, TRIED);
	if (rc == 0)
		rc = act_change(a, lmq_receiver_settle(h.receiver, h.count, LMQ_SYNC_FULL));
	if (rc == 0)
		note_gone(a, &h, DONE);
	return leave(&h, rc);
}

int op_lease(struct act *a)
{
	struct hands h = { .count = 0 };
	int rc = lmq_channel_open(a->store, "jobs", LMQ_QUEUE, 0, &h.channel);
	if (rc == 0)
		rc = lmq_receiver_open(h.channel, NULL, &h.receiver);
	if (rc == 0)
		rc = lmq_receiver_claim(h.receiver, 1, 1 << 20, &h.count);
	if (rc == 0)
		rc = act_change(a, lmq_receiver_lease(h.receiver, 3600 * (int64_t)SECOND, LMQ_SYNC_FULL));
	return leave(&h, rc);
}

static int settle_lease(struct act *a, const char *text, enum lmq_outcome outcome)
{
	char names[LMQ_LEASE_NAMES];
	struct lmq_lease l = { .channel = NULL };
	int rc = lmq_lease_parse(text, names, &l);
	l.outcome = outcome;
	l.delay = 7200 * (int64_t)SECOND;
	if (rc == 0)
		rc = lmq_store_settle(a->store, &l, 1, LMQ_SYNC_FULL);
	return rc == 0 ? act_change(a, l.status) : rc;
}

int op_settle(struct act *a)
{
	int rc;
	may_go(a, LEASES, 1);
	rc = settle_lease(a, "leases:0:1", LMQ_ACKNOWLEDGE);
	if (rc == 0)
		a->notes[LEASES].gone = DONE;
	return rc;
}

int op_extend(struct act *a)
{
	return settle_lease(a, "leases:1:1", LMQ_EXTEND);
}

int op_retry(struct act *a)
{
	struct hands h = { .count = 0 };
	int rc = take(a, &h, "failing", NULL, 1);
	return leave(&h, rc == 0 ? conclude(a, &h, LMQ_RETRY, NULL) : rc);
}

int op_bury(struct act *a)
{
	struct hands h = { .count = 0 };
	int rc = take(a, &h, "failing", NULL, 2);
	return leave(&h, rc == 0 ? conclude(a, &h, LMQ_BURY, NULL) : rc);
}

int op_group(struct act *a)
{
	struct hands h = { .count = 0 };
	int rc = take(a, &h, "events", "workers", 2);
	may_go(a, EVENTS, 8);
	return leave(&h, rc == 0 ? conclude(a, &h, LMQ_ACKNOWLEDGE, NULL) : rc);
}

int op_share(struct act *a)
{
	struct hands h = { .count = 0 };
	int rc = take(a, &h, "parts", "workers", 4);
	return leave(&h, rc == 0 ? conclude(a, &h, LMQ_ACKNOWLEDGE, NULL) : rc);
}

static int move(struct act *a, const char *from, const char *to, unsigned flags)
{
	struct hands h = { .count = 0 };
	lmq_channel *c = NULL;
	size_t moved;
	int rc = take(a, &h, from, NULL, 2);
	if (rc == 0 && to)
		rc = lmq_channel_open(a->store, to, LMQ_QUEUE, 0, &c);
	if (rc == 0)
		rc = act_change(a, lmq_receiver_move(h.receiver, h.count, c, flags, LMQ_SYNC_FULL, &moved));
	lmq_channel_close(c);
	return leave(&h, rc);
}

int op_move(struct act *a)
{
	return move(a, "jobs", "old", 0);
}

int op_redrive(struct act *a)
{
	return move(a, "letters.dead", NULL, LMQ_MOVE_BACK);
}

/* What has become due is handed out first. */
int op_due(struct act *a)
{
	struct hands h = { .count = 0 };
	int rc = take(a, &h, "late", NULL, 2);
	note_gone(a, &h, TRIED);
	if (rc == 0)
		rc = conclude(a, &h, LMQ_ACKNOWLEDGE, NULL);
	if (rc == 0)
		note_gone(a, &h, DONE);
	return leave(&h, rc);
}

/* Takes one message and sends another, in one transaction. */
int op_exchange(struct act *a)
{
	struct hands h = { .count = 0 };
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	int rc = take(a, &h, "jobs", NULL, 1);
	if (rc == 0)
		rc = lmq_channel_open(a->store, "old", LMQ_QUEUE, 0, &c);
	if (rc == 0)
		rc = lmq_writer_open(a->store, LMQ_SYNC_FULL, &w);
	if (rc == 0)
		rc = act_add(a, w, c, (struct lmq_message)LMQ_MESSAGE_INIT, a->first);
	note_gone(a, &h, TRIED);
	if (rc == 0)
		rc = conclude(a, &h, LMQ_ACKNOWLEDGE, w);
	if (rc == 0) {
		note_gone(a, &h, DONE);
		a->notes[a->first].sent = DONE;
	}
	lmq_writer_close(w);
	lmq_channel_close(c);
	return leave(&h, rc);
}
