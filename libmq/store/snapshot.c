/* SPDX-License-Identifier: ISC */
/*
 * Snapshots: read transactions.
 *
 * None is held while something blocks: old pages would stay in use. Pausing keeps its slot in LMDB's table of
 * readers, dropping gives that back too. The environment can be closed and opened again under all of them (F4):
 * they are then simply not active, and begin anew with another serial.
 */
#include "store.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void snapshot_init(lmq_store *s, struct snapshot *p)
{
	memset(p, 0, sizeof *p);
	p->store = s;
	p->next = s->snapshots;
	s->snapshots = p;
}

static int snapshot_start(struct snapshot *p)
{
	lmq_store *s = p->store;
	int rc;
	free(s->reserve);
	s->reserve = NULL;
	rc = p->mdb ? mdb_txn_renew(p->mdb) : mdb_txn_begin(s->env, NULL, MDB_RDONLY, &p->mdb);
	s->reserve = malloc(RESERVE);
	if (rc == 0 && !s->table)
		rc = mdb_dbi_open(p->mdb, NULL, 0, &s->table);
	if (rc == 0)
		rc = p->cursor ? mdb_cursor_renew(p->mdb, p->cursor) : mdb_cursor_open(p->mdb, s->table, &p->cursor);
	return rc;
}

/* Slots of killed processes, and those that this one keeps for what it is not reading now. */
static void free_slots(lmq_store *s)
{
	int dead;
	mdb_reader_check(s->env, &dead);
	for (struct snapshot *p = s->snapshots; p; p = p->next)
		if (!p->active)
			snapshot_drop(p);
}

int snapshot_begin(struct snapshot *p)
{
	lmq_store *s = p->store;
	int rc;
	if (p->active)
		return 0;
	rc = store_ready(s);
	if (rc != 0)
		return rc;
	for (int attempt = 0; (rc = snapshot_start(p)) == ENOTRECOVERABLE && attempt < 3; attempt++) {
		rc = store_recover(s);
		if (rc != 0)
			return rc;
	}
	if (rc == MDB_READERS_FULL) {
		free_slots(s);
		rc = snapshot_start(p);
	}
	if (rc != 0) {
		snapshot_drop(p);
		return fail_lmdb(s, s->path, rc);
	}
	p->active = true;
	p->serial++;
	return 0;
}

void snapshot_pause(struct snapshot *p)
{
	if (p->active)
		mdb_txn_reset(p->mdb);
	p->active = false;
}

void snapshot_drop(struct snapshot *p)
{
	if (p->cursor)
		mdb_cursor_close(p->cursor);
	if (p->mdb)
		mdb_txn_abort(p->mdb);
	p->cursor = NULL;
	p->mdb = NULL;
	p->active = false;
}

void snapshot_close(struct snapshot *p)
{
	if (p->store->pid == getpid())
		snapshot_drop(p);
	for (struct snapshot **o = &p->store->snapshots; *o; o = &(*o)->next)
		if (*o == p) {
			*o = p->next;
			break;
		}
}

void snapshot_drop_all(lmq_store *s)
{
	for (struct snapshot *p = s->snapshots; p; p = p->next)
		snapshot_drop(p);
}
