/* SPDX-License-Identifier: ISC */
#include "deliveries.h"
#include "prepared.h"
#include "upkeep.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SECOND = 1000 * MS, SMALL = 90 };

void (*on_sign)(struct act *a, int which);

void sign(struct act *a, int which)
{
	if (on_sign)
		on_sign(a, which);
	else
		syscall(SIGN, which);
}

void print_body(char *body, size_t size, unsigned number)
{
	memset(body, 'a' + (int)(number % 26), size);
	body[snprintf(body, size, "%06u", number)] = ' ';
}

unsigned number_of(struct lmq_bytes body)
{
	char text[7] = "";
	unsigned number = NUMBERS;
	if (body.data && body.size >= 6)
		memcpy(text, body.data, 6);
	return sscanf(text, "%u", &number) == 1 && number < NUMBERS ? number : NUMBERS;
}

void may_go(struct act *a, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		if (a->notes[i].gone == NO)
			a->notes[i].gone = TRIED;
}

/* ---- what operations are made of ------------------------------------------------------------ */

int act_change(struct act *a, int rc)
{
	a->progress->done |= rc == 0;
	return rc;
}

int act_add(struct act *a, lmq_writer *w, lmq_channel *c, struct lmq_message m, unsigned number)
{
	char body[SMALL];
	print_body(body, sizeof body, number);
	m.body = (struct lmq_bytes){ body, sizeof body };
	if (a->notes[number].sent == NO)
		a->notes[number].sent = TRIED;
	return lmq_writer_add(w, c, &m);
}

/* Sends count messages in one transaction. */
static int send_some(struct act *a, const char *name, struct lmq_message m, unsigned count)
{
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	int rc = lmq_channel_open(a->store, name, LMQ_ANY, 0, &c);
	if (rc == 0)
		rc = lmq_writer_open(a->store, LMQ_SYNC_FULL, &w);
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = act_add(a, w, c, m, a->first + i);
	if (rc == 0)
		rc = act_change(a, lmq_writer_commit(w));
	for (unsigned i = 0; rc == 0 && i < count; i++)
		a->notes[a->first + i].sent = DONE;
	lmq_writer_close(w);
	lmq_channel_close(c);
	return rc;
}

/* ---- operations ---------------------------------------------------------------------------- */

static int op_open(struct act *a)
{
	(void)a;
	return 0;
}

static int op_send(struct act *a)
{
	return send_some(a, "jobs", (struct lmq_message)LMQ_MESSAGE_INIT, 1);
}

static int op_batch(struct act *a)
{
	return send_some(a, "jobs", (struct lmq_message){ .priority = 6 }, BATCH);
}

/* The first message was added, or rc says why not. */
static int commit_one(struct act *a, lmq_writer *w, lmq_channel *c, int rc)
{
	if (rc == 0)
		rc = act_change(a, lmq_writer_commit(w));
	if (rc == 0)
		a->notes[a->first].sent = DONE;
	lmq_writer_close(w);
	lmq_channel_close(c);
	return rc;
}

static int op_large(struct act *a)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	static char body[LARGE];
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	int rc = lmq_channel_open(a->store, "jobs", LMQ_QUEUE, 0, &c);
	print_body(body, sizeof body, a->first);
	a->notes[a->first].sent = TRIED;
	if (rc == 0)
		rc = lmq_writer_open(a->store, LMQ_SYNC_FULL, &w);
	if (rc == 0)
		rc = lmq_writer_begin(w, c, &m);
	for (size_t at = 0; rc == 0 && at < sizeof body; at += sizeof body / 3)
		rc = lmq_writer_write(w, body + at, sizeof body / 3);
	if (rc == 0)
		rc = lmq_writer_end(w);
	return commit_one(a, w, c, rc);
}

static int op_dedup(struct act *a)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	unsigned first = a->first;
	int rc;
	m.id = (struct lmq_bytes){ "once", 4 };
	a->first = DEDUP;
	rc = send_some(a, "dedup", m, 1);
	a->first = first;
	m.id = (struct lmq_bytes){ "other", 5 };
	a->progress->done = false;
	if (rc != 0)
		return rc;
	a->notes[first].sent = TRIED;
	rc = send_some(a, "dedup", m, 1);
	return rc;
}

static int op_delay(struct act *a)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.delay = 3600 * (int64_t)SECOND;
	return send_some(a, "jobs", m, 1);
}

static int op_publish(struct act *a)
{
	a->notes[a->first].copies = a->notes[a->first + 1].copies = 1;
	return send_some(a, "events", (struct lmq_message)LMQ_MESSAGE_INIT, 2);
}

/* The newest two of each key are kept: what is sent makes older ones go. */
static int op_compact(struct act *a)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	m.key = (struct lmq_bytes){ "k1", 2 };
	may_go(a, TABLE, 10);
	may_go(a, a->first, 3);
	return send_some(a, "table", m, 3);
}

/* A full queue, of which the oldest message makes room as a dead letter. */
static int op_overflow(struct act *a)
{
	return send_some(a, "narrow", (struct lmq_message)LMQ_MESSAGE_INIT, 1);
}

static int op_number(struct act *a)
{
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	uint64_t stored;
	int rc = lmq_channel_open(a->store, "table", LMQ_STREAM, 0, &c);
	if (rc == 0)
		rc = lmq_writer_open(a->store, LMQ_SYNC_FULL, &w);
	if (rc == 0)
		rc = lmq_writer_resume(w, c, "load", &stored);
	if (rc == 0)
		rc = act_add(a, w, c, (struct lmq_message)LMQ_MESSAGE_INIT, a->first);
	return commit_one(a, w, c, rc);
}

const struct operation operations[] = {
	{ "open", op_open, READS | OPENS, { 0 } },
	{ "send", op_send, 0, { 0 } },
	{ "receive", op_receive, 0, { LMQ_END } },
	{ "create", op_create, OPENS, { LMQ_EEXIST, LMQ_ECREATE } },
	{ "make", op_make, 0, { 0 } },
	{ "batch", op_batch, 0, { 0 } },
	{ "large", op_large, 0, { 0 } },
	{ "lease", op_lease, 0, { LMQ_END } },
	{ "settle", op_settle, 0, { LMQ_ELOST } },
	{ "extend", op_extend, 0, { 0 } },
	{ "retry", op_retry, 0, { LMQ_END } },
	{ "bury", op_bury, 0, { LMQ_END } },
	{ "dedup", op_dedup, 0, { LMQ_EDATA } },
	{ "delay", op_delay, 0, { 0 } },
	{ "publish", op_publish, 0, { 0 } },
	{ "group", op_group, 0, { LMQ_END } },
	{ "share", op_share, LOOSE, { LMQ_END, LMQ_EINVAL } },
	{ "seek", op_seek, LOOSE, { 0 } },
	{ "move", op_move, 0, { LMQ_END } },
	{ "redrive", op_redrive, 0, { LMQ_END } },
	{ "trim", op_trim, LOOSE, { 0 } },
	{ "retain", op_retain, LOOSE, { 0 } },
	{ "compact", op_compact, LOOSE, { 0 } },
	{ "remove", op_remove, 0, { LMQ_ENOENT } },
	{ "rename", op_rename, 0, { LMQ_ENOENT } },
	{ "list", op_list, READS, { 0 } },
	{ "info", op_info, READS, { 0 } },
	{ "check", op_check, READS, { LMQ_ENOENT, LMQ_EGONE } },
	{ "replay", op_replay, READS, { 0 } },
	{ "watch", op_watch, READS, { 0 } },
	{ "due", op_due, LOOSE, { LMQ_END } },
	{ "exchange", op_exchange, 0, { LMQ_END } },
	{ "overflow", op_overflow, 0, { 0 } },
	{ "number", op_number, 0, { LMQ_EBUSY } },
	{ "route", op_route, 0, { 0 } },
	{ "group-make", op_group_make, 0, { 0 } },
	{ "backup", op_backup, READS, { LMQ_EEXIST, LMQ_ECREATE } },
};
const unsigned operation_count = sizeof operations / sizeof *operations;

const struct operation *operation_named(const char *name)
{
	for (unsigned i = 0; i < operation_count; i++)
		if (strcmp(operations[i].name, name) == 0)
			return &operations[i];
	return NULL;
}
