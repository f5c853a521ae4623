/* SPDX-License-Identifier: ISC */
/* A repair: the runs of a position. They lie one behind the other, below its end, and each has its entries in the indexes. */
#include "states.h"

bool run_here(struct reader *p, uint64_t first, struct run_record *run)
{
	struct key k = key_run(p->g.space, first);
	MDB_val v;
	return rescue_get(p->r, &k, &v) == 0 && run_record_get(run, &k, v.mv_data, v.mv_size);
}

int put_run(struct reader *p, const struct run_record *run)
{
	int rc = run->first < run->end ? run_put(&p->r->t, &p->g, run) : 0;
	return rc == 0 ? rescue_tick(p->r, RUN_RECORD_MAX) : rc;
}

struct run_record plain_run(uint64_t first, uint64_t end)
{
	return (struct run_record){ .first = first, .end = end, .priority = LMQ_PRIORITY_DEFAULT, .history.exit_status = -1 };
}

static bool index_there(struct reader *p, const struct run_record *run)
{
	struct key k;
	uint64_t end;
	MDB_val v;
	if (run->state == RUN_READY) {
		k = key_ready(p->g.space, (uint8_t)(LMQ_PRIORITY_MAX - run->priority), run->first);
		if (rescue_get(p->r, &k, &v) != 0 || !number_get(&end, 8, &k, v.mv_data, v.mv_size) || end != run->end)
			return false;
	} else if (run_waits(run)) {
		k = key_due(p->g.space, run->due, run->first);
		if (rescue_get(p->r, &k, &v) != 0)
			return false;
	}
	k = key_chain(p->g.space, run->key_hash, run->first);
	return !run->key_hash || rescue_get(p->r, &k, &v) == 0;
}

uint64_t unsettled(const struct group_record *g)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < RUN_STATES; i++)
		n += g->state[i];
	return n;
}

/* One stored run, after those up to *end; it is counted, and its indexes are there then. */
static int mend_run(struct reader *p, struct run_record *run, uint64_t *end)
{
	uint64_t first = run->first;
	bool sound = run->end <= p->head.end;
	int rc = 0;
	if (!sound)
		run->end = p->head.end;
	if (run->first < *end)
		run->first = *end;
	if (run->key_hash && run->end > run->first + 1) {
		run->key_hash = 0;
		sound = false;
	}
	if (run->state == RUN_BLOCKED && !run->key_hash) {
		run->state = RUN_READY;
		sound = false;
	}
	if (run->first >= run->end || run->first != first) {
		struct key k = key_run(p->g.space, first);
		sound = false;
		rc = rescue_delete(p->r, &k);
		if (rc != 0 || run->first >= run->end)
			return rc;
	}
	*end = run->end;
	if (p->g.next < run->first) {
		struct run_record jumped = plain_run(p->g.next, run->first);
		rc = put_run(p, &jumped);
	}
	if (p->g.next < run->end)
		p->g.next = run->end;
	if (rc == 0 && sound && index_there(p, run)) {
		p->g.state[run->state] += run->end - run->first;
		return 0;
	}
	p->r->result->mended++;
	if (rc == 0)
		rc = put_run(p, run);
	return rc == 0 && run->key_hash ? chain_put(&p->r->t, p->g.space, run->key_hash, run->first) : rc;
}

int mend_runs(struct reader *p)
{
	struct key k = key_run(p->g.space, 0);
	struct run_record run;
	uint64_t end = 0;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(p->r, &k, RUN_PREFIX, first, &v)) == 0; first = false) {
		rc = rescue_step(p->r);
		if (rc == 0)
			rc = run_record_get(&run, &k, v.mv_data, v.mv_size) ? mend_run(p, &run, &end) :
				rescue_delete(p->r, &k);
		if (rc != 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

int run_from(struct reader *p, uint64_t offset, struct run_record *run)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(p->r->t.mdb, p->r->to->table, &cursor);
	if (rc != 0)
		return fail_lmdb(p->r->to, p->r->to->path, rc);
	rc = run_at(p->r->to, cursor, p->g.space, offset, run);
	mdb_cursor_close(cursor);
	return rc;
}

int put_where_none(struct reader *p, struct run_record run)
{
	struct run_record there;
	uint64_t end = run.end;
	int rc = 0;
	while (rc == 0 && run.first < end) {
		rc = run_from(p, run.first, &there);
		if (rc != 0 && rc != LMQ_END)
			return rc;
		run.end = rc == 0 && there.first < end ? there.first : end;
		rc = run.first < run.end ? put_run(p, &run) : 0;
		run.first = run.end < end && there.end > run.end ? there.end : end;
	}
	return rc;
}
