/* SPDX-License-Identifier: ISC */
/*
 * A repair: the indexes of a position's runs. Entries of runs that are lost say which messages these began with: Q, which
 * were ready, to the last one; D, which waited, and until when; K, which had a key.
 */
#include "states.h"

#include <string.h>

enum { OTHER, GOOD, LOST };

/* What an entry of Q, D or K says of a run; LOST: it is of one that is not there. */
static int judge(struct reader *p, const struct key *k, const MDB_val *v, struct run_record *says)
{
	struct run_record run;
	uint64_t end = 0;
	const uint8_t *q = k->bytes + RUN_PREFIX;
	bool there;
	if (k->bytes[0] == 'Q') {
		if (k->size != READY_KEY || !number_get(&end, 8, k, v->mv_data, v->mv_size) || *q > LMQ_PRIORITY_MAX)
			return OTHER;
		*says = plain_run(get64(q + 1), end);
		says->priority = (uint8_t)(LMQ_PRIORITY_MAX - *q);
		there = run_here(p, says->first, &run);
		if (there)
			return run.state == RUN_READY && run.priority == says->priority && run.end == end ? GOOD : OTHER;
	} else if (k->bytes[0] == 'D') {
		if (k->size != DUE_KEY || (int64_t)get64(q) < 0)
			return OTHER;
		*says = plain_run(get64(q + 8), get64(q + 8) + 1);
		says->due = (int64_t)get64(q);
		says->state = RUN_RETRYING;
		there = run_here(p, says->first, &run);
		if (there)
			return run_waits(&run) && run.due == says->due ? GOOD : OTHER;
	} else {
		/* A message without a key is in no chain. */
		if (k->size != CHAIN_KEY || get64(q) == 0)
			return OTHER;
		*says = plain_run(get64(q + 8), get64(q + 8) + 1);
		says->key_hash = get64(q);
		says->state = RUN_BLOCKED;
		there = run_here(p, says->first, &run);
		if (there)
			return run.key_hash == says->key_hash ? GOOD : OTHER;
	}
	return p->doubt && says->first < p->g.next && says->first < says->end ? LOST : OTHER;
}

/* A chain entry gives a run that was made of another index its key. */
static int give_key(struct reader *p, const struct key *k)
{
	struct run_record run;
	int rc;
	if (!p->doubt || k->bytes[0] != 'K' || k->size != CHAIN_KEY || get64(k->bytes + RUN_PREFIX) == 0 ||
			!run_here(p, get64(k->bytes + CHAIN_PREFIX), &run) ||
			run.key_hash || run.end != run.first + 1)
		return 0;
	rc = run_delete(&p->r->t, &p->g, &run);
	run.key_hash = get64(k->bytes + RUN_PREFIX);
	return rc == 0 ? put_run(p, &run) : rc;
}

/* The position may be older than the index, and so not reach as far. */
static int take_index(struct reader *p, struct run_record says)
{
	p->guessed = true;
	if (says.end > p->head.end)
		says.end = p->head.end;
	if (says.end > p->g.next)
		p->g.next = says.end;
	return put_where_none(p, says);
}

static int mend_index(struct reader *p, char table)
{
	struct key k = { { (uint8_t)table }, RUN_PREFIX };
	struct run_record says;
	MDB_val v;
	int rc;
	put32(k.bytes + 1, p->g.space);
	for (bool first = true; (rc = rescue_next(p->r, &k, RUN_PREFIX, first, &v)) == 0; first = false) {
		int what;
		rc = rescue_step(p->r);
		if (rc == 0)
			rc = give_key(p, &k);
		if (rc == 0)
			rc = rescue_get(p->r, &k, &v);
		if (rc != 0)
			return rc;
		what = judge(p, &k, &v, &says);
		if (what == LOST)
			rc = take_index(p, says);
		/* The run may be another one now, and has an entry of its own. */
		if (rc == 0 && what != GOOD && (what == OTHER || table != 'K')) {
			p->r->result->mended++;
			what = rescue_get(p->r, &k, &v) == 0 ? judge(p, &k, &v, &says) : GOOD;
			rc = what == GOOD ? 0 : rescue_delete(p->r, &k);
		}
		if (rc != 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

int mend_indexes(struct reader *p)
{
	int rc = 0;
	for (const char *table = "QDK"; rc == 0 && *table; table++)
		rc = mend_index(p, *table);
	return rc;
}

/* ---- chains ------------------------------------------------------------------------------------ */

/* Of a run in a chain: another one of its key goes first, or none does. */
static int set_blocked(struct reader *p, struct run_record *run, bool blocked)
{
	int rc = run_delete(&p->r->t, &p->g, run);
	p->r->result->mended++;
	if (run->state == RUN_LEASED) {
		term_end(run);
		run->due = 0;
	}
	run->state = blocked ? RUN_BLOCKED : run->due > lmq_now() ? RUN_DELAYED : RUN_READY;
	return rc == 0 ? put_run(p, run) : rc;
}

static int free_first(struct reader *p, uint64_t first)
{
	struct run_record run;
	return run_here(p, first, &run) ? set_blocked(p, &run, false) : 0;
}

/* Of each chain one message is not blocked: the first that was not, or else the first. */
int mend_chains(struct reader *p)
{
	struct key k = key_chain(p->g.space, 0, 0);
	uint64_t last = 0, first = 0;
	bool one = true;	/* of the chain is not blocked */
	struct run_record run;
	int rc = 0;
	for (bool begin = true; rc == 0 && (rc = rescue_next(p->r, &k, RUN_PREFIX, begin, NULL)) == 0; begin = false) {
		uint64_t hash = get64(k.bytes + RUN_PREFIX);
		if (k.size != CHAIN_KEY || !run_here(p, get64(k.bytes + CHAIN_PREFIX), &run))
			continue;
		if (hash != last) {
			rc = one ? 0 : free_first(p, first);
			last = hash;
			first = run.first;
			one = false;
		}
		if (rc == 0 && one && run.state != RUN_BLOCKED)
			rc = set_blocked(p, &run, true);
		one |= run.state != RUN_BLOCKED;
	}
	if (rc == LMQ_END)
		rc = one ? 0 : free_first(p, first);
	return rc;
}
