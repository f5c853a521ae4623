/* SPDX-License-Identifier: ISC */
#include "deliveries.h"
#include "prepared.h"

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

/* A store of its own beside this one. */
static int op_create(struct act *a)
{
	struct lmq_store_options o = { sizeof o, LMQ_CREATE, a->patience };
	char path[4200];
	lmq_store *s;
	int rc;
	snprintf(path, sizeof path, "%s-fresh", a->path);
	rc = act_change(a, lmq_store_open(path, &o, &s));
	if (rc != 0)
		snprintf(a->progress->sentence, sizeof a->progress->sentence, "%s", lmq_error(s));
	lmq_store_close(s);
	return rc;
}

static int op_make(struct act *a)
{
	static const char *const properties[] = { "max-messages=7", "dedup=1m" };
	struct lmq_property changed[2];
	size_t count;
	bool created;
	return act_change(a, lmq_channel_make(a->store, "made", LMQ_QUEUE, properties, 2, &created, changed, &count));
}

static int op_send(struct act *a)
{
	return send_some(a, "jobs", (struct lmq_message)LMQ_MESSAGE_INIT, 1);
}

static int op_batch(struct act *a)
{
	return send_some(a, "jobs", (struct lmq_message){ .priority = 6 }, BATCH);
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
	if (rc == 0)
		rc = act_change(a, lmq_writer_commit(w));
	if (rc == 0)
		a->notes[a->first].sent = DONE;
	lmq_writer_close(w);
	lmq_channel_close(c);
	return rc;
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

static int op_seek(struct act *a)
{
	struct lmq_group_move moves[LMQ_PARTITIONS_MAX];
	size_t count;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "parts", LMQ_STREAM, 0, &c);
	if (rc == 0)
		rc = act_change(a, lmq_group_seek(c, "workers", -1, LMQ_SEEK_END, 0, 0, moves, &count));
	lmq_channel_close(c);
	return rc;
}

static int op_trim(struct act *a)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more = true;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "trimmed", LMQ_STREAM, 0, &c);
	what.keep = 2;
	may_go(a, TRIMMED, 10);
	if (rc == 0)
		rc = lmq_channel_trim_bound(c, &what);
	while (rc == 0 && more)
		rc = lmq_channel_trim(c, &what, &at, &dropped, &more);
	lmq_channel_close(c);
	return act_change(a, rc);
}

static int op_retain(struct act *a)
{
	uint64_t at = 0, dropped;
	bool more = true;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "aged", LMQ_STREAM, 0, &c);
	may_go(a, AGED, 10);
	while (rc == 0 && more)
		rc = lmq_channel_retain(c, &at, &dropped, &more);
	lmq_channel_close(c);
	return act_change(a, rc);
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

static int op_remove(struct act *a)
{
	bool more = true;
	int rc;
	may_go(a, GONE, 10);
	rc = act_change(a, lmq_channel_remove(a->store, "gone"));
	while (rc == 0 && more)
		rc = lmq_store_sweep(a->store, &more);
	return rc;
}

static int op_rename(struct act *a)
{
	return act_change(a, lmq_channel_rename(a->store, "older", "newer"));
}

static int op_list(struct act *a)
{
	struct lmq_channel_info *list = NULL;
	struct lmq_route *routes = NULL;
	size_t count;
	int rc = lmq_channel_list(a->store, NULL, LMQ_ANY, &list, &count);
	free(list);
	if (rc == 0)
		rc = lmq_route_list(a->store, &routes, &count);
	lmq_route_free(routes);
	return rc;
}

static int op_info(struct act *a)
{
	struct lmq_property properties[LMQ_PROPERTY_MAX];
	struct lmq_channel_info info;
	struct lmq_group_info *groups = NULL;
	size_t count;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "parts", LMQ_ANY, 0, &c);
	if (rc == 0)
		rc = lmq_channel_info(c, &info);
	if (rc == 0)
		rc = lmq_channel_properties(c, properties, &count);
	if (rc == 0)
		rc = lmq_group_list(c, NULL, &groups, &count);
	free(groups);
	lmq_channel_close(c);
	return rc;
}

static int op_check(struct act *a)
{
	struct lmq_check check;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "gone", LMQ_ANY, 0, &c);
	if (rc == 0)
		rc = lmq_channel_check(c, &check, NULL, NULL);
	need(rc != 0 || check.damaged == 0, "check: %llu damaged blocks", (unsigned long long)check.damaged);
	lmq_channel_close(c);
	return rc;
}

static int op_replay(struct act *a)
{
	struct lmq_message m;
	lmq_reader *r = NULL;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "parts", LMQ_STREAM, 0, &c);
	if (rc == 0)
		rc = lmq_reader_open(c, &r);
	while (rc == 0)
		rc = lmq_reader_next(r, &m);
	lmq_reader_close(r);
	lmq_channel_close(c);
	return rc == LMQ_END ? 0 : rc;
}

/* Nothing comes: a look, and a wait that ends at once. */
static int op_watch(struct act *a)
{
	lmq_watch *w = NULL;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "after", LMQ_QUEUE, 0, &c);
	if (rc == 0)
		rc = lmq_watch_open(a->store, &w);
	if (rc == 0)
		rc = lmq_watch_channel(w, c);
	if (rc == 0) {
		lmq_watch_arm(w);
		rc = lmq_watch_wait(w, lmq_deadline(MS / 10));
	}
	lmq_watch_close(w);
	lmq_channel_close(c);
	return rc == LMQ_ETIME || rc == LMQ_EINTR ? 0 : rc;
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
	if (rc == 0)
		rc = act_change(a, lmq_writer_commit(w));
	if (rc == 0)
		a->notes[a->first].sent = DONE;
	lmq_writer_close(w);
	lmq_channel_close(c);
	return rc;
}

static int op_route(struct act *a)
{
	struct lmq_route r = { .source = "parts", .destination = "old" };
	bool added;
	return act_change(a, lmq_route_add(a->store, &r, &added));
}

static int op_group_make(struct act *a)
{
	bool created;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "parts", LMQ_STREAM, 0, &c);
	if (rc == 0)
		rc = act_change(a, lmq_group_make(c, "others", LMQ_SEEK_FIRST, 0, NULL, 0, &created, NULL, NULL));
	lmq_channel_close(c);
	return rc;
}

static int op_backup(struct act *a)
{
	char path[4200];
	snprintf(path, sizeof path, "%s-fresh", a->path);
	return act_change(a, lmq_store_backup(a->store, path, 0, NULL, NULL));
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
