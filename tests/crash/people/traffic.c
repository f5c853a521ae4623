/* SPDX-License-Identifier: ISC */
#include "traffic.h"

#include "disk/judge.h"

#include <stdio.h>
#include <string.h>

enum { LARGE = 100000, BACKLOG = 1500, BODY = 4000 };

struct traffic *traffic;
static char path[4096];

static int fill(void *argument)
{
	static char large[LARGE];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = NULL;
	struct desk d;
	int rc = desk_open(&d, argument, LMQ_CREATE, 0);
	m.body.data = large;
	m.body.size = sizeof large;
	for (unsigned i = 0; rc == 0 && i < STORED; i++)
		rc = desk_put(&d, "%u", i);
	if (rc == 0)
		rc = lmq_channel_open(d.store, "large", LMQ_STREAM, LMQ_CREATE, &c);
	if (rc == 0)
		rc = lmq_writer_add(d.writer, c, &m);
	if (rc == 0)
		rc = lmq_writer_commit(d.writer);
	lmq_channel_close(c);
	desk_close(&d);
	return rc;
}

void traffic_begin(const char *store)
{
	snprintf(path, sizeof path, "%s", store);
	traffic = shared_memory(sizeof *traffic);
	traffic->acknowledged = traffic->attempted = STORED;
	need(in_child(fill, path) == 0, "the store could not be made");
}

/* ---- people ------------------------------------------------------------------------------- */

int traffic_send(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, path, 0, 0);
	(void)argument;
	for (unsigned i = traffic->acknowledged; rc == 0 && !traffic->over; i++) {
		traffic->attempted = i + 1;
		rc = desk_put(&d, "%u", i);
		if (rc == 0)
			traffic->acknowledged = i + 1;
		/* What is written while a snapshot is held makes the file grow. */
		if (i % 8 == 0)
			nap();
	}
	need(rc == 0, "a sender: %s", d.store ? lmq_error(d.store) : "out of memory");
	desk_close(&d);
	return rc;
}

static int put_bodies(lmq_writer *w, lmq_channel *c, unsigned count)
{
	static char body[BODY];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int rc = 0;
	m.body.data = body;
	m.body.size = sizeof body;
	for (unsigned i = 0; rc == 0 && i < count; i++) {
		memset(body, (int)draw(256), sizeof body);
		rc = lmq_writer_add(w, c, &m);
	}
	return rc == 0 ? lmq_writer_commit(w) : rc;
}

static int take(lmq_receiver *r, size_t most)
{
	size_t count = 0;
	struct lmq_message m;
	int rc = lmq_receiver_claim(r, most, SIZE_MAX, &count);
	while (rc == 0 && lmq_receiver_next(r, &m) == 0)
		;
	if (rc == 0)
		rc = lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED);
	return rc == LMQ_END ? 0 : rc;
}

/* Keeps a backlog, so that pages are freed and used again all the time. */
int traffic_churn(void *argument)
{
	lmq_channel *c = NULL;
	lmq_receiver *r = NULL;
	struct desk d;
	int rc = desk_open(&d, path, 0, 0);
	(void)argument;
	if (rc == 0)
		rc = lmq_channel_open(d.store, "churn", LMQ_QUEUE, LMQ_CREATE, &c);
	if (rc == 0)
		rc = lmq_receiver_open(c, NULL, &r);
	for (unsigned i = 0; rc == 0 && i < BACKLOG; i += 100)
		rc = put_bodies(d.writer, c, 100);
	while (rc == 0 && !traffic->over) {
		rc = put_bodies(d.writer, c, 20);
		if (rc == 0)
			rc = take(r, 20);
		traffic->turns++;
		nap();
	}
	need(rc == 0, "who sends and receives: %s", d.store ? lmq_error(d.store) : "out of memory");
	lmq_receiver_close(r);
	lmq_channel_close(c);
	desk_close(&d);
	return rc;
}

/* Opens and closes the store again and again; also alone it may stay open for a while. */
int traffic_come_and_go(void *argument)
{
	int rc = 0;
	(void)argument;
	while (rc == 0 && !traffic->over) {
		struct desk d;
		rc = desk_open(&d, path, 0, 0);
		for (unsigned i = draw(4); rc == 0 && i > 0; i--) {
			unsigned next = traffic->acknowledged;
			traffic->attempted = next + 1;
			rc = desk_put(&d, "%u", next);
			if (rc == 0)
				traffic->acknowledged = next + 1;
		}
		need(rc == 0, "a sender: %s", d.store ? lmq_error(d.store) : "out of memory");
		desk_close(&d);
		if (draw(2) == 0)
			nap();
	}
	return rc;
}

/* ---- what must be so ---------------------------------------------------------------------- */

static int sound(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, 0, 0);
	if (rc == 0)
		store_sound(d.store);
	desk_close(&d);
	return rc;
}

void traffic_check(const char *at, const char *when)
{
	need(in_child(sound, (void *)(uintptr_t)at) == 0, "%s: %s is damaged", when, at);
}

struct copy {
	const char *path;
	unsigned least;
};

static int count_prefix(void *argument)
{
	const struct copy *c = argument;
	unsigned count = 0;
	char *texts = stored_texts(c->path);
	for (char *p = texts, *end; *p; p = end + 1, count++)
		need(strtoul(p, &end, 10) == count && *end == '\n', "a backup has a gap: %u is not there", count);
	need(count >= c->least, "a backup has %u messages of %u acknowledged", count, c->least);
	need(count <= traffic->attempted, "a backup has %u messages of %u sent", count, traffic->attempted);
	free(texts);
	return 0;
}

void traffic_check_copy(const char *at, unsigned least)
{
	struct copy c = { at, least };
	need(in_child(count_prefix, &c) == 0, "a backup is not what was stored");
	traffic_check(at, "a backup");
}
