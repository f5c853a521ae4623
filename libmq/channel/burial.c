/* SPDX-License-Identifier: ISC */
/*
 * Dead letters, and what happens to a delivery that failed.
 *
 * A message that may not be tried again leaves its queue and enters the one for dead letters in the same
 * transaction, with where it came from and what happened to it. Burials of one transaction are gathered and
 * appended at its end, behind the storing of the queue that they left. A large body is not copied: the new
 * message names the old one's chunks, and shares them with it where that stays in its topic or stream.
 *
 * The delay before a retry doubles with each attempt and is drawn evenly between nothing and that ("full
 * jitter"; M. Brooker, Exponential Backoff and Jitter, 2015), so that messages that failed together do not
 * come back together.
 */
#include "channel.h"

#include <string.h>
#include <sys/random.h>

enum { BURIAL_BYTES = 4 << 20 };

void burial_free(struct burial *b)
{
	batch_free(&b->batch);
}

bool burial_full(const struct burial *b)
{
	return b->batch.size >= BURIAL_BYTES;
}

void run_history(const struct run_record *r, struct lmq_history *out)
{
	struct lmq_bytes error = { r->error_size ? r->error : NULL, r->error_size };
	*out = history_unpack(&r->history, error);
}

/* Reads the messages of r and adds them as dead letters. */
static int gather(struct burial *b, struct queue *q, const struct run_record *r)
{
	struct lmq_death death = { .partition = q->lane, .partitioned = lanes_of(&q->record) > 1 };
	struct snapshot view;
	struct log_cursor c;
	int rc = log_cursor_within(q->t, q->id, q->lane, &q->head, &view, &c);
	run_history(r, &death.history);
	death.origin = (struct lmq_bytes){ q->record.name, strlen(q->record.name) };
	if (*q->group)
		death.group = (struct lmq_bytes){ q->group, strlen(q->group) };
	log_seek(&c, r->first);
	while (rc == 0 && c.offset < r->end) {
		struct record record;
		struct lmq_message m;
		struct blob blob;
		rc = log_next(&c, &record);
		/* Of a topic or stream it may have been dropped, or compacted away. */
		if (q->record.kind != LMQ_QUEUE && (rc == LMQ_END || (rc == 0 && record.offset >= r->end))) {
			rc = 0;
			break;
		}
		if (rc == 0)
			rc = log_message(&c, &record, &m, &b->parts, &blob);
		if (rc != 0)
			break;
		death.offset = record.offset;
		m.death = &death;
		m.ttl = m.delay = m.not_before = 0;
		if (!batch_add(&b->batch, &m, blob.size ? &blob : NULL))
			rc = fail(q->t->store, LMQ_ENOMEM, "%s: out of memory", q->record.name);
		/* What was read may have moved by that. */
		if (rc == 0 && blob.size > 0 && q->record.kind != LMQ_QUEUE) {
			rc = blob_share(q->t, blob.number);
			c.placed = false;
		}
	}
	log_cursor_leave(&c);
	return rc == LMQ_END ? fail_damaged(q->t->store, "an unsettled message is missing") : rc;
}

/* A carved run becomes dead letters. */
static int bury(struct burial *b, struct queue *q, const struct run_record *r, enum counter why)
{
	int rc = gather(b, q, r);
	q->position.counter[COUNT_DEAD] += why == COUNT_DEAD ? 0 : r->end - r->first;
	return rc == 0 ? queue_leave(q, r, why, true) : rc;
}

int burial_commit(struct burial *b, struct queue *q)
{
	struct intake in = INTAKE_INIT;
	struct channel_record record;
	char buffer[LMQ_NAME_MAX + 1];
	const char *name = dead_of(&q->rules, buffer);
	uint32_t id;
	int rc;
	in.unlimited = true;
	if (b->batch.count == 0)
		return 0;
	if (!name)
		return fail(q->t->store, LMQ_EBUG, "%s: no queue for dead letters", q->record.name);
	rc = channel_within(q->t, name, LMQ_QUEUE, &id, &record);
	if (rc == 0)
		rc = intake(q->t, id, &record, &b->batch, &in);
	free(in.places);
	return rc;
}

bool can_bury(const struct queue *q)
{
	char buffer[LMQ_NAME_MAX + 1];
	const char *name = dead_of(&q->rules, buffer);
	return name && strcmp(name, q->record.name) != 0;
}

/* ---- failed deliveries --------------------------------------------------------------------- */

static int64_t backoff(const struct channel_record *r, uint64_t attempts)
{
	uint64_t least = limit_of(r, LIMIT_BACKOFF_LEAST), most = limit_of(r, LIMIT_BACKOFF_MOST), random;
	uint64_t delay = least;
	for (uint64_t i = 1; i < attempts && delay < most; i++)
		delay = delay > most / 2 ? most : 2 * delay;
	if (delay > most)
		delay = most;
	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
		random = (uint64_t)clock_monotonic() * 0x9e3779b97f4a7c15u;
	return (int64_t)(random % (delay + 1));
}

static void count_failure(struct queue *q, struct run_record *r, enum lmq_reason reason)
{
	uint64_t n = r->end - r->first;
	r->history.reason = (uint8_t)reason;
	r->history.last_time = lmq_now();
	if (reason == LMQ_CRASHED) {
		r->history.crashes++;
		q->position.counter[COUNT_CRASHED] += n;
	} else if (reason == LMQ_TIMEOUT) {
		r->history.timeouts++;
		q->position.counter[COUNT_TIMEOUT] += n;
	} else {
		r->history.failures++;
		q->position.counter[COUNT_FAILED] += n;
	}
}

static void keep_error(struct run_record *r, struct lmq_bytes error)
{
	size_t n = error.size < RUN_ERROR_MAX ? error.size : RUN_ERROR_MAX;
	if (n)
		memcpy(r->error, error.data + (error.size - n), n);
	r->error_size = (uint16_t)n;
}

/* Deliveries that have ended, and badly. */
static uint64_t ended(const struct run_history *h)
{
	return (uint64_t)h->failures + h->crashes + h->timeouts;
}

/* Puts the messages back, each with a delay of its own if it is to be drawn. */
static int again(struct queue *q, struct run_record *r, struct lmq_verdict *v)
{
	uint64_t end = r->end;
	int64_t now = lmq_now();
	int rc = 0;
	v->due = v->delay > 0 ? v->delay < INT64_MAX - now ? now + v->delay : INT64_MAX : 0;
	for (; rc == 0 && r->first < end; r->first = r->end) {
		r->end = v->delay < 0 ? r->first + 1 : end;
		if (v->delay < 0)
			v->due = now + backoff(&q->rules, ended(&r->history));
		r->due = v->due;
		r->state = v->due ? RUN_RETRYING : RUN_READY;
		rc = queue_put(q, r);
	}
	return rc;
}

int queue_failed(struct queue *q, struct burial *b, struct run_record *r, struct lmq_verdict *v)
{
	uint64_t most = limit_of(&q->rules, LIMIT_MAX_ATTEMPTS);
	enum lmq_reason reason = v->reason > LMQ_REASON_NONE && v->reason <= LMQ_OVERFLOW ? v->reason :
		v->outcome == LMQ_BURY ? LMQ_REJECTED : LMQ_FAILED;
	if (reason != LMQ_EXPIRED && reason != LMQ_OVERFLOW)
		count_failure(q, r, reason);
	else
		r->history.reason = (uint8_t)reason;
	/* What a caller made up has to be readable later. */
	r->history.exit_status = v->exit_status >= 0 && v->exit_status < INT32_MAX ? v->exit_status : -1;
	r->history.signal = v->signal > 0 ? v->signal : 0;
	keep_error(r, v->error);
	term_end(r);
	v->result = v->outcome;
	if ((v->outcome == LMQ_BURY || ended(&r->history) >= most) && can_bury(q)) {
		v->result = LMQ_BURY;
		return bury(b, q, r, reason == LMQ_EXPIRED ? COUNT_EXPIRED : COUNT_DEAD);
	}
	v->result = LMQ_RETRY;
	return again(q, r, v);
}
