/* SPDX-License-Identifier: ISC */
/*
 * squeezing PLACE [CASE] [unaided | unasked]
 *
 * On a full disk everything works that does not add: claims that have to write something first, since somebody died over
 * the message, or it expired and becomes a dead letter, or has to be entered into a group with order=key; groups are
 * moved and removed. Who adds nothing but small things, a channel, a message to another queue, cannot use up what is
 * kept for that. And a sender finds the room of what no limit keeps any more, and of what was removed.
 *
 * The deliberate faults: nothing is tried again with the ballast; whoever adds does not look for it.
 */
#include "disk/brim.h"
#include "people/company.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 60, LOGGED = 300, KEYS = 7, EXPIRED = 300, LARGE = 3000 };
enum { TIGHTEST = 28, LOOSEST = 44 };	/* pages left, so that the last of them go to this or that */

static const char *name;
static bool unaided, unasked;

/* ---- deliberate faults ---------------------------------------------------------------------------- */

int __real_ballast_take(struct txn *t, size_t need);
int __wrap_ballast_take(struct txn *t, size_t need);
int __real_ballast_drop(lmq_store *s);
int __wrap_ballast_drop(lmq_store *s);

int __wrap_ballast_take(struct txn *t, size_t need)
{
	return unasked ? 0 : __real_ballast_take(t, need);
}

int __wrap_ballast_drop(lmq_store *s)
{
	return unaided ? 0 : __real_ballast_drop(s);
}

/* ---- before the disk is full ------------------------------------------------------------------------ */

static int send_first(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, brim_store, LMQ_CREATE, 0);
	(void)argument;
	for (int i = 0; rc == 0 && i < FIRST; i++)
		rc = brim_put(&d, 5, LARGE, 0);
	desk_close(&d);
	return rc;
}

/* They are too old when anybody looks at them. */
static int send_short_lived(void *argument)
{
	const char *const dead = "dead=letters";
	struct desk d;
	bool created;
	int rc = desk_open(&d, brim_store, LMQ_CREATE, 0);
	(void)argument;
	if (rc == 0)
		rc = lmq_channel_make(d.store, "jobs", LMQ_QUEUE, &dead, 1, &created, NULL, NULL);
	for (int i = 0; rc == 0 && i < EXPIRED; i += 10)
		rc = brim_put(&d, 10, LARGE, 1);
	if (rc == 0)
		rc = brim_put(&d, 3, LARGE, 0);
	desk_close(&d);
	return rc;
}

static int put_logged(lmq_writer *w, lmq_channel *log)
{
	static char body[LARGE], key[8];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int rc = 0;
	m.body = (struct lmq_bytes){ body, sizeof body };
	for (int i = 0; rc == 0 && i < LOGGED; i++) {
		m.key = (struct lmq_bytes){ key, (size_t)snprintf(key, sizeof key, "k%d", i % KEYS) };
		rc = lmq_writer_add(w, log, &m);
	}
	return rc == 0 ? lmq_writer_commit(w) : rc;
}

/*
 * A stream with a group that takes keys in order, and one that does not and has let every second message go. It gets its
 * property last: by then what it drops has been received.
 */
static int prepare_log(void *argument)
{
	const char *const order = "order=key";
	struct lmq_receiver_options o = { .size = sizeof o, .group = "plain" };
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_ACKNOWLEDGE };
	lmq_channel *log = NULL;
	lmq_receiver *r = NULL;
	struct desk d;
	bool made;
	size_t n;
	int rc = desk_open(&d, brim_store, LMQ_CREATE, 0);
	if (rc == 0)
		rc = lmq_channel_open(d.store, "log", LMQ_STREAM, LMQ_CREATE, &log);
	if (rc == 0)
		rc = put_logged(d.writer, log);
	if (rc == 0)
		rc = lmq_group_make(log, "keyed", LMQ_SEEK_FIRST, 0, &order, 1, &made, NULL, NULL);
	if (rc == 0)
		rc = lmq_group_make(log, "plain", LMQ_SEEK_FIRST, 0, NULL, 0, &made, NULL, NULL);
	if (rc == 0)
		rc = lmq_receiver_open(log, &o, &r);
	if (rc == 0)
		rc = lmq_receiver_claim(r, LOGGED, 1 << 20, &n);
	for (v.offset = 0; rc == 0 && v.offset < LOGGED; v.offset += 2)
		rc = lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_FULL);
	if (rc == 0)
		rc = lmq_channel_make(d.store, "log", LMQ_STREAM, argument, argument ? 1 : 0, &made, NULL, NULL);
	lmq_receiver_close(r);
	lmq_channel_close(log);
	desk_close(&d);
	return rc;
}

static int prepare_old(void *argument)
{
	struct desk d;
	lmq_channel *old = NULL;
	int rc = desk_open(&d, brim_store, LMQ_CREATE, 0);
	(void)argument;
	if (rc == 0)
		rc = lmq_channel_open(d.store, "old", LMQ_QUEUE, LMQ_CREATE, &old);
	if (rc == 0)
		rc = put_logged(d.writer, old);
	lmq_channel_close(old);
	desk_close(&d);
	return rc;
}

/* ---- receiving ------------------------------------------------------------------------------------- */

struct order {
	const char *channel, *group;
	unsigned count, together;
	uint32_t attempt;	/* of the first; 0: no matter */
	bool dies;		/* with the first in his hands */
};

static int receive(void *argument)
{
	const struct order *o = argument;
	struct lmq_receiver_options options = { .size = sizeof options, .group = o->group };
	struct lmq_message m;
	lmq_channel *c = NULL;
	lmq_receiver *r = NULL;
	struct desk d;
	size_t count = 0;
	int rc = desk_open(&d, brim_store, 0, 0);
	if (rc == 0)
		rc = lmq_channel_open(d.store, o->channel, LMQ_ANY, 0, &c);
	if (rc == 0)
		rc = lmq_receiver_open(c, &options, &r);
	for (unsigned n = 0; rc == 0 && n < o->count; n += (unsigned)count) {
		rc = lmq_receiver_claim(r, o->together ? o->together : 1, 1 << 20, &count);
		if (rc == 0)
			rc = lmq_receiver_next(r, &m);
		if (rc == 0 && o->dies)
			_exit(0);
		need(rc != 0 || n > 0 || o->attempt == 0 || m.attempt == o->attempt, "%s: it is attempt %u and not %u", name,
			m.attempt, o->attempt);
		if (rc == 0)
			rc = lmq_receiver_settle(r, count, LMQ_SYNC_FULL);
		need(rc == 0, "%s: %u are acknowledged, then %d: %s", name, n, rc, lmq_error(d.store));
	}
	lmq_receiver_close(r);
	lmq_channel_close(c);
	desk_close(&d);
	return rc;
}

static void drain(struct order o)
{
	brim_run(name, receive, &o);
}

/* ---- what else is done on a full disk ------------------------------------------------------------------ */

static int change_groups(void *argument)
{
	struct lmq_group_move move;
	lmq_channel *log = NULL;
	struct desk d;
	size_t n;
	int rc = desk_open(&d, brim_store, 0, 0);
	if (rc == 0)
		rc = lmq_channel_open(d.store, "log", LMQ_STREAM, 0, &log);
	if (rc == 0)
		rc = argument ? lmq_group_seek(log, "plain", -1, LMQ_SEEK_FIRST, 0, 0, &move, &n) :
			lmq_group_remove(log, "plain");
	need(rc == 0, "%s: a group: %d: %s", name, rc, lmq_error(d.store));
	lmq_channel_close(log);
	desk_close(&d);
	return rc;
}

static int remove_old(void *argument)
{
	lmq_store *s;
	int rc = lmq_store_open(brim_store, NULL, &s);
	(void)argument;
	if (rc == 0)
		rc = lmq_channel_remove(s, "old");
	lmq_store_close(s);
	return rc;
}

/* Until there is no room; to where it goes is made before, in a channel of its own. */
static int move_some(void *argument)
{
	lmq_channel *to = NULL;
	lmq_receiver *r = NULL;
	struct desk d;
	size_t count = 0, moved;
	int rc = desk_open(&d, brim_store, 0, 0);
	(void)argument;
	if (rc == 0)
		rc = lmq_channel_open(d.store, "old", LMQ_QUEUE, 0, &to);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	for (int i = 0; rc == 0 && i < FIRST; i++) {
		rc = lmq_receiver_claim(r, 2, 1 << 20, &count);
		if (rc == 0)
			rc = lmq_receiver_move(r, count, to, 0, LMQ_SYNC_FULL, &moved);
	}
	need(rc == 0 || rc == LMQ_ENOSPC, "%s: %d: %s", name, rc, lmq_error(d.store));
	lmq_receiver_close(r);
	lmq_channel_close(to);
	desk_close(&d);
	return 0;
}

static int make_channels(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, brim_store, 0, 0);
	(void)argument;
	for (int i = 0; rc == 0 && i < FIRST; i++) {
		char text[16];
		lmq_channel *c;
		snprintf(text, sizeof text, "new%d", i);
		rc = lmq_channel_open(d.store, text, LMQ_QUEUE, LMQ_CREATE, &c);
		lmq_channel_close(c);
	}
	desk_close(&d);
	return rc == LMQ_ENOSPC ? 0 : rc;
}

/* More than is free in the file, to the channel that is named. */
static int send_more(void *argument)
{
	static char body[LARGE];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_channel *c = NULL;
	struct desk d;
	int rc = desk_open(&d, brim_store, 0, 0);
	m.body = (struct lmq_bytes){ body, sizeof body };
	if (rc == 0)
		rc = lmq_channel_open(d.store, argument, LMQ_ANY, 0, &c);
	for (int i = 0; rc == 0 && i < FIRST; i++)
		rc = lmq_writer_add(d.writer, c, &m);
	if (rc == 0)
		rc = lmq_writer_commit(d.writer);
	need(rc == 0, "%s: sending ends with %d: %s", name, rc, lmq_error(d.store));
	lmq_channel_close(c);
	desk_close(&d);
	return rc;
}

/* ---- the cases -------------------------------------------------------------------------------------- */

static void crashed(void)
{
	drain((struct order){ .channel = "jobs", .count = 1, .dies = true });
	drain((struct order){ .channel = "jobs", .count = 4, .attempt = 2 });
}

static void buried(void)
{
	drain((struct order){ .channel = "jobs", .count = 3, .together = 100 });
}

static void keyed(void)
{
	drain((struct order){ .channel = "log", .group = "keyed", .count = 4 });
}

static void sought(void)
{
	brim_run(name, change_groups, (void *)(uintptr_t)"seek");
	drain((struct order){ .channel = "log", .group = "plain", .count = 3 });
}

static void parted(void)
{
	brim_run(name, change_groups, NULL);
	drain((struct order){ .channel = "jobs", .count = 3 });
}

static void moved(void)
{
	drain((struct order){ .channel = "jobs", .count = 3 });
	brim_run(name, move_some, NULL);
	drain((struct order){ .channel = "jobs", .count = 5 });
}

static void channels(void)
{
	drain((struct order){ .channel = "jobs", .count = 3 });
	brim_run(name, make_channels, NULL);
	drain((struct order){ .channel = "jobs", .count = 5 });
}

static void aged(void)
{
	brim_run(name, send_more, (void *)(uintptr_t)"log");
	drain((struct order){ .channel = "jobs", .count = 3 });
}

static void swept(void)
{
	brim_run(name, remove_old, NULL);
	brim_fill(0);
	brim_run(name, send_more, (void *)(uintptr_t)"jobs");
}

static const struct {
	const char *name;
	void (*run)(void);
	int (*first)(void *argument);
	const char *property;
	bool held;
} cases[] = {
	{ "crashed", crashed, NULL, NULL, true },
	{ "buried", buried, send_short_lived, NULL, false },
	{ "keyed", keyed, prepare_log, NULL, true },
	{ "sought", sought, prepare_log, NULL, true },
	{ "parted", parted, prepare_log, NULL, true },
	{ "moved", moved, prepare_old, NULL, true },
	{ "channels", channels, NULL, NULL, true },
	{ "aged", aged, prepare_log, "max-age=1ms", false },
	{ "swept", swept, prepare_old, NULL, false },
};

static void one(size_t i, unsigned slack)
{
	const char *property = cases[i].property;
	pid_t holder = 0;
	name = cases[i].name;
	trial_state = slack;
	brim_mount(name);
	if (cases[i].first)
		brim_run(name, cases[i].first, property ? &property : NULL);
	if (cases[i].run != buried)
		brim_run(name, send_first, NULL);
	if (cases[i].held) {
		holder = invite_reader(brim_store);
		brim_fill(slack);
	}
	brim_run(name, brim_send, NULL);
	if (!cases[i].held)
		brim_fill(0);
	cases[i].run();
	send_away(holder, name);
	brim_away(name);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	const char *why = brim_begin(&t);
	bool some = false;
	unsigned done = 0;
	unaided = trial_word(&t, "unaided");
	unasked = trial_word(&t, "unasked");
	if (why) {
		printf("skipped: %s\n", why);
		return 0;
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		some |= trial_word(&t, cases[i].name);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (unsigned slack = TIGHTEST; slack < LOOSEST; slack++)
			if ((!some || trial_word(&t, cases[i].name)) && (t.only == UINT64_MAX || t.only == slack) &&
					(cases[i].held || slack == TIGHTEST)) {
				one(i, slack);
				done++;
			}
	printf("%u full disks on which all but adding works, 0 bad\n", done);
	return 0;
}
