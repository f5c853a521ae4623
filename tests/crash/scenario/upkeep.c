/* SPDX-License-Identifier: ISC */
#include "upkeep.h"

#include "prepared.h"

#include <stdio.h>

/* ---- looking after it ---------------------------------------------------------------------- */

/* A store of its own beside this one. */
int op_create(struct act *a)
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

int op_make(struct act *a)
{
	static const char *const properties[] = { "max-messages=7", "dedup=1m" };
	struct lmq_property changed[2];
	size_t count;
	bool created;
	return act_change(a, lmq_channel_make(a->store, "made", LMQ_QUEUE, properties, 2, &created, changed, &count));
}

int op_seek(struct act *a)
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

int op_trim(struct act *a)
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

int op_retain(struct act *a)
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

int op_remove(struct act *a)
{
	bool more = true;
	int rc;
	may_go(a, GONE, 10);
	rc = act_change(a, lmq_channel_remove(a->store, "gone"));
	while (rc == 0 && more)
		rc = lmq_store_sweep(a->store, &more);
	return rc;
}

int op_rename(struct act *a)
{
	return act_change(a, lmq_channel_rename(a->store, "older", "newer"));
}

int op_route(struct act *a)
{
	struct lmq_route r = { .source = "parts", .destination = "old" };
	bool added;
	return act_change(a, lmq_route_add(a->store, &r, &added));
}

int op_group_make(struct act *a)
{
	bool created;
	lmq_channel *c = NULL;
	int rc = lmq_channel_open(a->store, "parts", LMQ_STREAM, 0, &c);
	if (rc == 0)
		rc = act_change(a, lmq_group_make(c, "others", LMQ_SEEK_FIRST, 0, NULL, 0, &created, NULL, NULL));
	lmq_channel_close(c);
	return rc;
}

int op_backup(struct act *a)
{
	char path[4200];
	snprintf(path, sizeof path, "%s-fresh", a->path);
	return act_change(a, lmq_store_backup(a->store, path, 0, NULL, NULL));
}

/* ---- looking at it ------------------------------------------------------------------------- */

int op_list(struct act *a)
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

int op_info(struct act *a)
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

int op_check(struct act *a)
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

int op_replay(struct act *a)
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
int op_watch(struct act *a)
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
