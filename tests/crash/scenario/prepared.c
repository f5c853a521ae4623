/* SPDX-License-Identifier: ISC */
#include "prepared.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL = 90 };

static lmq_store *store;
static struct note *noted;

static void must(int rc)
{
	need(rc == 0, "the prepared store: %d: %s", rc, lmq_error(store));
}

/* ---- filling it ---------------------------------------------------------------------------- */

static lmq_channel *channel(const char *name, enum lmq_kind kind, const char *property)
{
	lmq_channel *c;
	bool created;
	must(lmq_channel_make(store, name, kind, &property, property != NULL, &created, NULL, NULL));
	must(lmq_channel_open(store, name, LMQ_ANY, 0, &c));
	return c;
}

/* Sends count messages, each in a transaction of its own; with a key or without. */
static void put(lmq_channel *c, unsigned first, unsigned count, struct lmq_message m, size_t size, bool keys)
{
	static char body[LARGE];
	char key[8];
	lmq_writer *w;
	must(lmq_writer_open(store, LMQ_SYNC_RELAXED, &w));
	for (unsigned i = first; i < first + count; i++) {
		print_body(body, size, i);
		m.body = (struct lmq_bytes){ body, size };
		if (keys)
			m.key = (struct lmq_bytes){ key, (size_t)snprintf(key, sizeof key, "k%u", i % 3) };
		must(lmq_writer_add(w, c, &m));
		must(lmq_writer_commit(w));
		noted[i].sent = DONE;
	}
	lmq_writer_close(w);
}

static lmq_receiver *claim(lmq_channel *c, const char *group, size_t most)
{
	struct lmq_receiver_options o = { .size = sizeof o, .group = group, .flags = LMQ_EXPLICIT_BEGIN };
	lmq_receiver *r;
	size_t count;
	must(lmq_receiver_open(c, &o, &r));
	must(lmq_receiver_claim(r, most, 1 << 20, &count));
	return r;
}

static void queues(void)
{
	const struct lmq_message plain = LMQ_MESSAGE_INIT;
	struct lmq_message named = plain, delayed = plain;
	lmq_channel *c = channel("jobs", LMQ_QUEUE, NULL);
	lmq_receiver *r;
	put(c, JOBS, 8, plain, SMALL, false);
	lmq_channel_close(c);
	c = channel("leases", LMQ_QUEUE, NULL);
	put(c, LEASES, 4, plain, SMALL, false);
	r = claim(c, NULL, 2);
	must(lmq_receiver_lease(r, 3600 * INT64_C(1000000000), LMQ_SYNC_RELAXED));
	lmq_receiver_close(r);
	lmq_channel_close(c);
	c = channel("failing", LMQ_QUEUE, "backoff=1h");
	put(c, FAILING, 4, plain, SMALL, false);
	lmq_channel_close(c);
	c = channel("dedup", LMQ_QUEUE, "dedup=1h");
	named.id = (struct lmq_bytes){ "once", 4 };
	put(c, DEDUP, 1, named, SMALL, false);
	lmq_channel_close(c);
	c = channel("late", LMQ_QUEUE, NULL);
	delayed.delay = 2 * MS;
	put(c, LATE, 4, delayed, SMALL, false);
	lmq_channel_close(c);
	c = channel("narrow", LMQ_QUEUE, "max-messages=3");
	lmq_channel_close(c);
	c = channel("narrow", LMQ_QUEUE, "full=dead");
	put(c, NARROW, 3, plain, SMALL, false);
	lmq_channel_close(c);
	lmq_channel_close(channel("old", LMQ_QUEUE, NULL));
	lmq_channel_close(channel("older", LMQ_QUEUE, NULL));
	lmq_channel_close(channel("after", LMQ_QUEUE, NULL));
}

static void dead_letters(void)
{
	struct lmq_verdict v = { .outcome = LMQ_BURY, .count = 1, .exit_status = -1 };
	lmq_channel *c = channel("letters", LMQ_QUEUE, NULL);
	lmq_receiver *r;
	struct lmq_message m;
	put(c, LETTERS, 4, (struct lmq_message)LMQ_MESSAGE_INIT, SMALL, false);
	r = claim(c, NULL, 3);
	while (lmq_receiver_next(r, &m) == 0) {
		v.offset = m.offset;
		must(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED));
	}
	lmq_receiver_close(r);
	lmq_channel_close(c);
}

static void streams(void)
{
	const struct lmq_message plain = LMQ_MESSAGE_INIT;
	struct lmq_route route = { .source = "events", .destination = "old" };
	lmq_channel *c = channel("events", LMQ_TOPIC, NULL);
	bool made;
	must(lmq_group_make(c, "workers", LMQ_SEEK_FIRST, 0, NULL, 0, &made, NULL, NULL));
	put(c, EVENTS, 8, plain, SMALL, true);
	must(lmq_route_add(store, &route, &made));
	lmq_channel_close(c);
	c = channel("table", LMQ_STREAM, "max-per-key=2");
	put(c, TABLE, 10, plain, SMALL, true);
	for (unsigned i = TABLE; i < TABLE + 10; i++)
		noted[i].gone = TRIED;	/* only the newest are kept */
	lmq_channel_close(c);
	c = channel("parts", LMQ_STREAM, "partitions=3");
	must(lmq_group_make(c, "workers", LMQ_SEEK_FIRST, 0, NULL, 0, &made, NULL, NULL));
	put(c, PARTS, 10, plain, SMALL, true);
	lmq_channel_close(c);
	c = channel("trimmed", LMQ_STREAM, NULL);
	put(c, TRIMMED, 10, plain, 1500, false);
	lmq_channel_close(c);
	c = channel("aged", LMQ_STREAM, NULL);
	put(c, AGED, 10, plain, 1500, false);
	lmq_channel_close(c);
	lmq_channel_close(channel("aged", LMQ_STREAM, "max-age=1ms"));
	c = channel("gone", LMQ_STREAM, NULL);
	put(c, GONE, 9, plain, 3000, false);
	put(c, GONE + 9, 1, plain, LARGE, false);
	lmq_channel_close(c);
}

static int prepare(void *path)
{
	struct lmq_store_options o = { sizeof o, LMQ_CREATE, 0 };
	must(lmq_store_open(path, &o, &store));
	queues();
	dead_letters();
	streams();
	lmq_store_close(store);
	return 0;
}

void scenario_prepare(const char *path, struct note *notes)
{
	noted = notes;
	if (in_child(prepare, (void *)path) != 0)
		exit(1);
	nap();	/* what is to be due or too old is so now */
	nap();
	nap();
}

/* ---- copies -------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to, const char *name)
{
	static char bytes[4 << 20];
	char path[4300];
	ssize_t size;
	int fd;
	snprintf(path, sizeof path, "%s/%s", from, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
	need(size >= 0 && size < (ssize_t)sizeof bytes, "%s: %s", path, strerror(errno));
	close(fd);
	snprintf(path, sizeof path, "%s/%s", to, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	need(fd >= 0 && write(fd, bytes, (size_t)size) == size, "%s: %s", path, strerror(errno));
	close(fd);
}

void scenario_copy(const char *from, const char *to)
{
	static const char *const files[] = { MARKER_NAME, "data.mdb", "lock.mdb", "control" };
	remove_tree(to);
	need(mkdir(to, 0700) == 0, "%s: %s", to, strerror(errno));
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		copy_file(from, to, files[i]);
}

/* ---- carrying out -------------------------------------------------------------------------- */

unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

int send_after(lmq_store *s)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = NULL;
	lmq_writer *w = NULL;
	int rc = lmq_channel_open(s, "after", LMQ_QUEUE, LMQ_CREATE, &c);
	m.body = (struct lmq_bytes){ "after", 5 };
	if (rc == 0)
		rc = lmq_writer_open(s, LMQ_SYNC_FULL, &w);
	if (rc == 0)
		rc = lmq_writer_add(w, c, &m);
	if (rc == 0)
		rc = lmq_writer_commit(w);
	lmq_writer_close(w);
	lmq_channel_close(c);
	return rc;
}

static void remember(struct act *a, int rc)
{
	a->progress->status = rc;
	if (rc != 0 && !a->progress->sentence[0])
		snprintf(a->progress->sentence, sizeof a->progress->sentence, "%s", lmq_error(a->store));
}

int scenario_act(void *argument)
{
	struct act *a = argument;
	struct lmq_store_options o = { sizeof o, 0, a->patience };
	bool opens = a->what->flags & OPENS;
	unsigned files = open_files();
	int rc;
	if (opens)
		sign(a, SIGN_BEGIN);
	rc = lmq_store_open(a->path, &o, &a->store);
	a->progress->opened = rc == 0;
	if (!opens)
		sign(a, SIGN_BEGIN);
	if (rc == 0)
		rc = a->what->work(a);
	remember(a, rc);
	if (opens && a->progress->opened) {
		lmq_store_close(a->store);
		a->store = NULL;
	}
	a->progress->when = clock_monotonic();
	sign(a, SIGN_END);
	a->progress->after = a->store && a->progress->opened && a->goes_on ? send_after(a->store) : 0;
	if (a->progress->after != 0)
		snprintf(a->progress->sentence, sizeof a->progress->sentence, "%s", lmq_error(a->store));
	sign(a, SIGN_LEFT);
	lmq_store_close(a->store);
	a->progress->open_files = (int)open_files() - (int)files;
	return 0;
}

/* ---- tracing it ---------------------------------------------------------------------------- */

bool stands_at(pid_t pid, uint64_t which)
{
	uint64_t arguments[6];
	return call_of(pid, arguments) == SIGN && arguments[0] == which;
}

void run_to_begin(pid_t pid, const char *when)
{
	int status;
	do
		need(step(pid, &status), "%s: it ended with %d before it began", when, status);
	while (!stands_at(pid, SIGN_BEGIN));
}

bool run_to(pid_t pid, unsigned call, const char *when)
{
	int status;
	run_to_begin(pid, when);
	for (; call > 0; call--) {
		need(step(pid, &status), "%s: it ended with %d", when, status);
		if (stands_at(pid, SIGN_END))
			return false;
	}
	return true;
}
