/* SPDX-License-Identifier: ISC */
/* A group of a topic or stream comes into being: its position, with a space of its own for what is in flight. */
#include "internal.h"

static int start(lmq_channel *c, const struct lmq_receiver_options *o, uint64_t *offset)
{
	lmq_reader *r;
	int rc = lmq_reader_open(c, &r);
	if (rc == 0)
		rc = lmq_reader_seek(r, o->start, o->start_value);
	if (rc == 0)
		*offset = lmq_reader_tell(r);
	lmq_reader_close(r);
	return rc;
}

static int make(lmq_channel *c, const char *group, uint64_t offset)
{
	struct group_record g = { .next = offset, .settled = offset }, there;
	struct store_record store;
	struct head_record head;
	struct txn t;
	int rc = txn_begin(c->store, &t);
	if (rc != 0)
		return rc;
	rc = get_group(c->store, t.mdb, c->id, 0, group, &there);
	if (rc != LMQ_END) {		/* somebody was faster */
		txn_abort(&t);
		return rc;
	}
	rc = get_head(c->store, t.mdb, c->id, 0, &head);
	if (rc == LMQ_END)
		rc = channel_gone(c);
	if (rc == 0 && g.next > head.end)
		g.next = g.settled = head.end;
	if (rc == 0)
		rc = get_store_record(c->store, t.mdb, &store);
	if (rc == 0 && store.next_id >= INT32_MAX - 1)
		rc = fail(c->store, LMQ_EFULL, "%s: the store has used up its channel numbers", c->store->path);
	g.space = store.next_id++;
	if (rc == 0)
		rc = txn_room(&t, 4096);
	if (rc == 0)
		rc = put_store_record(&t, &store);
	if (rc == 0)
		rc = put_group(&t, c->id, 0, group, &g);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

int group_open(lmq_channel *c, const struct lmq_receiver_options *o)
{
	struct group_record g;
	struct snapshot p;
	uint64_t offset = 0;
	int rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = get_group(c->store, p.mdb, c->id, 0, o->group, &g);
	snapshot_close(&p);
	if (rc != LMQ_END)
		return rc;
	if (!(o->flags & LMQ_CREATE))
		return fail(c->store, LMQ_ENOENT, "%s: no group '%s'", c->name, o->group);
	rc = start(c, o, &offset);
	return rc == 0 ? make(c, o->group, offset) : rc;
}
