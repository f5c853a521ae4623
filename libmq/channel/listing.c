/* SPDX-License-Identifier: ISC */
/* Looking at channels: one, or all whose name matches; numbers and properties in one snapshot. */
#include "channel.h"

#include <string.h>

static int fill_times(struct snapshot *p, uint32_t id, uint16_t lane, const struct head_record *head,
	struct lmq_channel_info *info)
{
	struct log_cursor c;
	struct record r;
	int rc;
	info->first_time = 0;
	if (info->messages == 0)
		return 0;
	log_cursor_init(&c, p, id, lane);
	c.head = *head;
	log_seek(&c, info->first);
	rc = log_next(&c, &r);
	log_cursor_close(&c);
	info->first_time = rc == 0 ? r.time : 0;
	/* A damaged block must not keep the store from being listed; readers report it. */
	return rc == LMQ_END || rc == LMQ_EDAMAGED ? 0 : rc;
}

static int fill_queue(lmq_store *s, struct snapshot *p, uint32_t id, const struct head_record *head,
	struct lmq_channel_info *info)
{
	struct group_record g;
	struct run_record r;
	int rc = get_group(s, p->mdb, id, 0, "", &g);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(s, "a queue without its reader") : rc;
	info->acknowledged = g.counter[COUNT_ACKNOWLEDGED];
	info->leased = g.state[RUN_LEASED];
	info->delayed = g.state[RUN_DELAYED];
	info->retrying = g.state[RUN_RETRYING];
	info->blocked = g.state[RUN_BLOCKED];
	info->messages = head->end - g.settled;
	rc = group_run(s, p->cursor, &g, head->end, head->first, &r);
	info->first = rc == 0 ? r.first : head->end;
	return rc == LMQ_END ? 0 : rc;
}

/* The other partitions of a stream, added. */
static int fill_lanes(lmq_store *s, struct snapshot *p, uint32_t id, const struct channel_record *r,
	struct lmq_channel_info *info)
{
	struct lmq_channel_info one;
	struct head_record head;
	int rc = 0;
	for (uint16_t lane = 1; rc == 0 && lane < lanes_of(r); lane++) {
		rc = get_head(s, p->mdb, id, lane, &head);
		if (rc != 0)
			return rc == LMQ_END ? fail_damaged(s, "a channel without its log") : rc;
		one.messages = head.end - head.first - head.holes;
		one.first = head.first;
		rc = fill_times(p, id, lane, &head, &one);
		info->messages += one.messages;
		info->bytes += head.bytes;
		info->first += head.first;
		info->end += head.end;
		info->sent += head.end;
		if (head.last_time > info->last_time)
			info->last_time = head.last_time;
		if (one.messages > 0 && (info->first_time == 0 || one.first_time < info->first_time))
			info->first_time = one.first_time;
	}
	return rc;
}

static int fill_info(lmq_store *s, struct snapshot *p, uint32_t id, const struct channel_record *r,
	struct lmq_channel_info *info)
{
	struct head_record head;
	int rc = get_head(s, p->mdb, id, 0, &head);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(s, "a channel without its log") : rc;
	memset(info, 0, sizeof *info);
	info->partitions = lanes_of(r);
	strcpy(info->name, r->name);
	info->kind = (enum lmq_kind)r->kind;
	info->id = id;
	info->created = r->created;
	info->taken = lmq_now();
	info->messages = head.end - head.first - head.holes;
	info->bytes = head.bytes;
	info->first = head.first;
	info->end = head.end;
	info->last_time = head.last_time;
	info->sent = head.end;
	if (r->kind == LMQ_QUEUE && (rc = fill_queue(s, p, id, &head, info)) != 0)
		return rc;
	rc = fill_times(p, id, 0, &head, info);
	return rc == 0 ? fill_lanes(s, p, id, r, info) : rc;
}

int lmq_channel_info(lmq_channel *c, struct lmq_channel_info *info)
{
	struct snapshot p;
	struct channel_record r;
	int rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = channel_record(c, p.mdb, &r);
	if (rc == 0)
		rc = fill_info(c->store, &p, c->id, &r, info);
	snapshot_close(&p);
	return rc;
}

int lmq_channel_properties(lmq_channel *c, struct lmq_property list[LMQ_PROPERTY_MAX], size_t *count)
{
	struct snapshot p;
	struct channel_record r;
	int rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = channel_record(c, p.mdb, &r);
	snapshot_close(&p);
	if (rc == 0)
		property_list(&r, list, count);
	return rc;
}

/* The names are gathered first: the cursor is needed for each channel's log. */
static int gather_names(lmq_store *s, struct snapshot *p, const char *pattern, char (**names)[LMQ_NAME_MAX + 1],
	size_t *count)
{
	char name[LMQ_NAME_MAX + 1];
	size_t room = 0;
	int rc = next_name(s, p->cursor, MDB_SET_RANGE, name);
	for (; rc == 0; rc = next_name(s, p->cursor, MDB_NEXT, name)) {
		if (pattern && !lmq_pattern_match(pattern, name, strlen(name)))
			continue;
		if (*count == room) {
			void *more = realloc(*names, (room = room ? 2 * room : 64) * sizeof **names);
			if (!more)
				return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
			*names = more;
		}
		strcpy((*names)[(*count)++], name);
	}
	return rc == LMQ_END ? 0 : rc;
}

int lmq_channel_list(lmq_store *s, const char *pattern, enum lmq_kind kind, struct lmq_channel_info **list,
	size_t *count)
{
	struct snapshot p;
	char (*names)[LMQ_NAME_MAX + 1] = NULL;
	const char *reason;
	size_t n = 0;
	int rc;
	*list = NULL;
	*count = 0;
	if (pattern && lmq_pattern_valid(pattern, &reason) != 0)
		return fail(s, LMQ_EINVAL, "%s: %s", pattern, reason);
	snapshot_init(s, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = gather_names(s, &p, pattern, &names, &n);
	if (rc == 0 && !(*list = malloc((n + 1) * sizeof **list)))
		rc = fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct channel_record r;
		uint32_t id;
		rc = find_channel(s, p.mdb, names[i], &id, &r);
		if (rc == 0 && (kind == LMQ_ANY || r.kind == kind))
			rc = fill_info(s, &p, id, &r, &(*list)[(*count)++]);
	}
	snapshot_close(&p);
	free(names);
	if (rc != 0) {
		free(*list);
		*list = NULL;
		*count = 0;
	}
	return rc;
}
