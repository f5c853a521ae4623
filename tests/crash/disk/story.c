/* SPDX-License-Identifier: ISC */
#include "story.h"
#include "deed.h"

enum { BODY = 300 };

static void queue_before(void)
{
	deed_make("jobs", LMQ_QUEUE, NULL);
	deed_send("jobs", (struct deed_many){ .count = 20, .size = BODY });
}

static void single_sends(void)
{
	for (unsigned i = 0; i < 12; i++)
		deed_send("jobs", (struct deed_many){ .count = 1, .size = i % 4 == 3 ? 5000 : BODY });
}

static void batches(void)
{
	for (unsigned i = 1; i <= 5; i++)
		deed_send("jobs", (struct deed_many){ .count = 7 * i, .size = BODY });
}

static void large_bodies(void)
{
	deed_send_large("jobs", 100 << 10);
	deed_send_large("jobs", 300 << 10);
	deed_conclude("jobs", NULL, 22, LMQ_ACKNOWLEDGE, 0);
	deed_sweep();
}

static void receiving(void)
{
	for (size_t i = 1; i < 5; i++) {
		deed_conclude("jobs", NULL, i, LMQ_ACKNOWLEDGE, 0);
		deed_send("jobs", (struct deed_many){ .count = 2, .size = BODY });
	}
	deed_lease("jobs", 3);
	deed_settle("jobs:10:1", LMQ_ACKNOWLEDGE);
	deed_settle("jobs:11:1", LMQ_EXTEND);
	deed_settle("jobs:12:1", LMQ_RETRY);
}

static void failing(void)
{
	deed_conclude("jobs", NULL, 2, LMQ_RETRY, 1000);
	deed_conclude("jobs", NULL, 2, LMQ_RETRY, INT64_C(3600000) * MS);
	deed_conclude("jobs", NULL, 3, LMQ_BURY, 0);
	deed_send("jobs", (struct deed_many){ .count = 2, .size = BODY, .delay = INT64_C(3600000) * MS });
	deed_send("jobs", (struct deed_many){ .count = 2, .size = BODY, .priority = 7 });
	deed_conclude("jobs", NULL, 3, LMQ_ACKNOWLEDGE, 0);
	deed_move("jobs.dead", NULL, LMQ_MOVE_BACK);
	deed_move("jobs", "other", 0);
	deed_answer("jobs", "other");
}

static void failing_before(void)
{
	queue_before();
	deed_make("other", LMQ_QUEUE, NULL);
}

static void dedup_before(void)
{
	deed_make("jobs", LMQ_QUEUE, "dedup=10m");
	deed_send("jobs", (struct deed_many){ .count = 6, .size = BODY, .ids = 1000 });
}

static void deduplicating(void)
{
	for (unsigned i = 0; i < 5; i++)
		deed_send("jobs", (struct deed_many){ .count = 3, .size = BODY, .ids = 1000 });
	deed_conclude("jobs", NULL, 4, LMQ_ACKNOWLEDGE, 0);
}

static void ordered_before(void)
{
	deed_make("jobs", LMQ_QUEUE, "order=key");
	deed_send("jobs", (struct deed_many){ .count = 8, .size = BODY, .keys = 3 });
}

static void ordered(void)
{
	for (unsigned i = 0; i < 4; i++) {
		deed_conclude("jobs", NULL, 2, i == 1 ? LMQ_RETRY : LMQ_ACKNOWLEDGE, 1000);
		deed_send("jobs", (struct deed_many){ .count = 3, .size = BODY, .keys = 2 });
	}
}

static void topics_before(void)
{
	struct lmq_route r = { .source = "events", .destination = "copies" };
	struct deed_hand h;
	bool added;
	deed_make("events", LMQ_TOPIC, "max-messages=40");
	deed_make("copies", LMQ_QUEUE, NULL);
	deed_told(lmq_route_add(deed_store, &r, &added), 0);
	deed_send("events", (struct deed_many){ .count = 20, .size = BODY });
	deed_take(&h, "events", "workers", 1);
	deed_leave(&h);
}

static void topics(void)
{
	struct lmq_group_move moves[LMQ_PARTITIONS_MAX];
	struct lmq_route r = { .source = "events.#", .destination = "copies" };
	lmq_channel *c;
	size_t count;
	bool added;
	for (unsigned i = 0; i < 4; i++) {
		deed_send("events", (struct deed_many){ .count = 9, .size = BODY });
		deed_conclude("events", "workers", 5, LMQ_ACKNOWLEDGE, 0);
	}
	deed_told(lmq_route_add(deed_store, &r, &added), 0);
	deed_told(lmq_route_remove(deed_store, r.number), 0);
	if (lmq_channel_open(deed_store, "events", LMQ_TOPIC, 0, &c) == 0) {
		deed_told(lmq_group_seek(c, "workers", -1, LMQ_SEEK_END, 0, 0, moves, &count), 0);
		deed_told(lmq_group_remove(c, "workers"), 0);
	}
	lmq_channel_close(c);
	deed_sweep();
}

static void streams_before(void)
{
	deed_make("events", LMQ_STREAM, "partitions=3");
	deed_make("table", LMQ_STREAM, "max-per-key=2");
	deed_make("short", LMQ_STREAM, "max-messages=30");
	deed_send("table", (struct deed_many){ .count = 12, .size = BODY, .keys = 4 });
	deed_send("short", (struct deed_many){ .count = 30, .size = BODY });
}

static void streams(void)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	lmq_channel *c = NULL;
	bool more = true;
	for (unsigned i = 0; i < 3; i++) {
		deed_send("events", (struct deed_many){ .count = 9, .size = BODY, .keys = 5 });
		deed_send("table", (struct deed_many){ .count = 8, .size = BODY, .keys = 4 });
		deed_sweep();
		deed_send("short", (struct deed_many){ .count = 15, .size = BODY });
		deed_conclude("events", "workers", 4, LMQ_ACKNOWLEDGE, 0);
	}
	what.keep = 5;
	deed_must(lmq_channel_open(deed_store, "short", LMQ_STREAM, 0, &c));
	deed_must(lmq_channel_trim_bound(c, &what));
	while (more && deed_told(lmq_channel_trim(c, &what, &at, &dropped, &more), 0))
		;
	lmq_channel_close(c);
}

static void catalogue(void)
{
	deed_make("made", LMQ_QUEUE, "max-messages=40");
	deed_make("made", LMQ_QUEUE, "dedup=1m");
	deed_told(lmq_channel_rename(deed_store, "made", "named"), 0);
	deed_send("named", (struct deed_many){ .count = 12, .size = 2 * BODY, .priority = 6 });
	deed_send("named", (struct deed_many){ .count = 9, .size = 2 * BODY, .priority = 6 });
	deed_told(lmq_channel_remove(deed_store, "named"), 0);
	deed_sweep();
	deed_told(lmq_channel_rename(deed_store, "jobs", "elsewhere"), 0);
	deed_told(lmq_channel_rename(deed_store, "elsewhere", "jobs"), 0);
}

static void creating(void)
{
	deed_open();
	deed_told(STORY_CREATED, 0);
	deed_make("jobs", LMQ_QUEUE, NULL);
	deed_send("jobs", (struct deed_many){ .count = 2, .size = BODY });
}

/* The store is one of an older format, as the files of the tests have it. */
static void upgrading(void)
{
	deed_make("jobs", LMQ_QUEUE, NULL);
	deed_send("jobs", (struct deed_many){ .count = 2, .size = BODY });
	deed_conclude("jobs", NULL, 1, LMQ_ACKNOWLEDGE, 0);
}

static void mixed(void)
{
	deed_send("jobs", (struct deed_many){ .count = 1, .size = BODY });
	deed_conclude("jobs", NULL, 2, LMQ_ACKNOWLEDGE, 0);
	deed_send("jobs", (struct deed_many){ .count = 5, .size = BODY });
	deed_send_large("jobs", 70 << 10);
	deed_send("jobs", (struct deed_many){ .count = 1, .size = BODY });
	deed_conclude("jobs", NULL, 3, LMQ_ACKNOWLEDGE, 0);
}

static void copying(void)
{
	deed_conclude("jobs", NULL, 9, LMQ_ACKNOWLEDGE, 0);
	deed_copy();
	deed_send("jobs", (struct deed_many){ .count = 1, .size = BODY });
}

static void repairing(void)
{
	deed_conclude("jobs", NULL, 9, LMQ_ACKNOWLEDGE, 0);
	deed_repair();
	deed_send("jobs", (struct deed_many){ .count = 1, .size = BODY });
}

static void shrinking(void)
{
	deed_send("jobs", (struct deed_many){ .count = 200, .size = BODY });
	deed_conclude("jobs", NULL, 30, LMQ_ACKNOWLEDGE, 0);
	deed_conclude("jobs", NULL, 30, LMQ_ACKNOWLEDGE, 0);
	deed_shrink();
	deed_send("jobs", (struct deed_many){ .count = 1, .size = BODY });
}

const struct story stories[] = {
	{ .name = "sending", .before = queue_before, .work = single_sends, .channel = "jobs", .kind = LMQ_QUEUE,
		.faults = true },
	{ .name = "batches", .before = queue_before, .work = batches, .channel = "jobs", .kind = LMQ_QUEUE },
	{ .name = "large", .before = queue_before, .work = large_bodies, .channel = "jobs", .kind = LMQ_QUEUE },
	{ .name = "receiving", .before = queue_before, .work = receiving, .channel = "jobs", .kind = LMQ_QUEUE },
	{ .name = "failing", .before = failing_before, .work = failing, .channel = "jobs", .kind = LMQ_QUEUE },
	{ .name = "dedup", .before = dedup_before, .work = deduplicating, .channel = "jobs", .kind = LMQ_QUEUE },
	{ .name = "ordered", .before = ordered_before, .work = ordered, .channel = "jobs", .kind = LMQ_QUEUE },
	{ .name = "topics", .before = topics_before, .work = topics, .channel = "events", .kind = LMQ_TOPIC },
	{ .name = "streams", .before = streams_before, .work = streams, .channel = "table", .kind = LMQ_STREAM },
	{ .name = "catalogue", .before = queue_before, .work = catalogue, .channel = "jobs", .kind = LMQ_QUEUE },
	{ .name = "mixed", .before = queue_before, .work = mixed, .channel = "jobs", .kind = LMQ_QUEUE, .faults = true },
	{ .name = "creating", .work = creating, .channel = "jobs", .kind = LMQ_QUEUE, .remakes = true },
	{ .name = "copying", .before = queue_before, .work = copying, .channel = "jobs", .kind = LMQ_QUEUE, .remakes = true,
		.copies = true },
	{ .name = "repairing", .before = queue_before, .work = repairing, .channel = "jobs", .kind = LMQ_QUEUE, .remakes = true,
		.copies = true },
	{ .name = "shrinking", .before = queue_before, .work = shrinking, .channel = "jobs", .kind = LMQ_QUEUE,
		.remakes = true },
	{ .name = "upgrading", .work = upgrading, .channel = "jobs", .kind = LMQ_QUEUE, .remakes = true, .old = true },
};
const unsigned story_count = sizeof stories / sizeof *stories;

void story_prepare(const struct story *s, const char *path)
{
	deed_begin(path, s->channel, LMQ_SYNC_FULL, NULL);
	if (!s->before)
		return;
	deed_open();
	s->before();
	deed_end();
}

void story_tell(const struct story *s, const char *path, enum lmq_sync sync, void (*told)(int rc, uint64_t next))
{
	deed_begin(path, s->channel, sync, told);
	if (s->before || s->old)
		deed_open();
	s->work();
	deed_end();
}
