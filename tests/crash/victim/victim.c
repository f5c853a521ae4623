/* SPDX-License-Identifier: ISC */
#include "victim.h"

#include "sight.h"
#include "toolset.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A list of LMDB that has a wrong length ends where memory does; the sanitizer's is not at an end for minutes. */
#ifdef __SANITIZE_ADDRESS__
enum { HANG_USING = VICTIM_DEAD };
#else
enum { HANG_USING = VICTIM_HANG };
#endif

/* Of memory so much that what takes it without bound is seen by the file, too. */
enum { HANG = 5, MEMORY = 1 << 30, GROWTH = 4 << 20, NEW = 30 };

enum phase { CHECKING, LOOKING, USING, BESIDE };

/* What the child found out, for the parent. */
struct notes {
	struct sight sight, neighbour;
	enum phase phase;	/* what it is doing */
	bool found;		/* by the check */
};

const char *const victim_ends[] = { "as it was", "reported", "dead", "delivered what was never sent",
	"damaged in silence", "harmed another store", "the check died of it", "did not end",
	"took more memory or disk than it should" };

static char store[PATH_MAX], file[PATH_MAX + 16], beside[PATH_MAX], saved[PATH_MAX + 16];
static struct notes *notes;
static uint64_t sound, sound_beside;	/* digests */

/* ---- making it ----------------------------------------------------------------------------- */

static const char script[] =
	"set -e; exec >/dev/null; export PATH=\"$1:$PATH\" MQ_STORE=\"$3\" MQ_SYNC=relaxed\n"
	"mq-send -q jobs a 'of another store'\n"
	"MQ_STORE=$2\n"
	"mq-make -q --queue jobs dedup=1d max-attempts=5\n"
	"mq-make -q --queue ordered order=key\n"
	"mq-make -q --topic news\n"
	"mq-make -q --stream log partitions=2 max-per-key=2\n"
	"mq-make -q --stream proof audit=yes\n"
	"mq-make -q -g readers news\n"
	"mq-make -q -g workers log order=key lease=1d\n"
	"mq-route news jobs >/dev/null\n"
	"mq-route -k 'eu.#' -m 'level=[a-m]*' news ordered >/dev/null\n"
	"mq-send -q jobs plain 'and another' third\n"
	"printf 'one\\ntwo\\n' | mq-send -q --resume=load jobs\n"
	"mq-send -q --id=first -H trace=ab -H level=high --type=text/plain -k eu.c jobs 'with all'\n"
	"mq-send -q -p 9 -T 1d jobs soon\n"
	"mq-send -q -D 1d jobs later\n"
	"mq-send -q -k a ordered a1 a2\n"
	"mq-send -q -k b ordered b1\n"
	"mq-pub -q -k eu.x -H level=error news 'to many'\n"
	"head -c 66000 /dev/zero | tr '\\0' L | mq-pub -q --file=- news\n"
	"mq-pub -q -k x log x1 x2 x3 x4\n"
	"mq-pub -q -k y log y1 y2\n"
	"mq-pub -q proof kept 'for ever'\n"
	"head -c 4500 /dev/zero | tr '\\0' P | mq-pub -q --file=- proof\n"
	"mq-recv -n 2 -l 1d -F '%l\\n' jobs | sed -n 2p | mq-ack --retry -D 1d --reason='it was not there' \n"
	"mq-recv -l 1d -F '%l\\n' jobs | mq-ack --dead --reason='nobody wants it'\n"
	"mq-sub -e -n 1 -g workers log >/dev/null\n"
	"mq-ls -q >/dev/null\n";

static void run_script(void)
{
	const char *tools = tools_built();
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		execlp("sh", "sh", "-c", script, "sh", tools, store, beside, (char *)NULL);
		_exit(127);
	}
	status = end_of(pid);
	need(status == 0, "the store could not be made with the tools of %s: %d", tools, status);
}

/* ---- using it -------------------------------------------------------------------------------- */

static bool go_on(const struct lmq_accounts *sofar, void *context)
{
	(void)sofar, (void)context;
	return true;
}

static void check_channel(lmq_store *s, const char *name)
{
	struct lmq_check found = { .damaged = 0 };
	lmq_channel *c;
	int rc = lmq_channel_open(s, name, LMQ_ANY, 0, &c);
	if (rc == 0)
		rc = lmq_channel_check(c, &found, NULL, NULL);
	notes->found = notes->found || rc != 0 || found.damaged + found.broken > 0;
	lmq_channel_close(c);
}

/* As mq-check does. */
static void check(void)
{
	const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
	struct lmq_accounts accounts = { .faults = 0 };
	lmq_store *s;
	int rc = lmq_store_open(store, &options, &s);
	if (rc == 0)
		rc = lmq_store_check(s, &accounts, NULL, go_on, NULL);
	notes->found = rc != 0 || accounts.faults > 0 || accounts.unreadable;
	if (rc == 0 && !accounts.unreadable)
		each_channel(s, check_channel);
	lmq_store_close(s);
}

static void send_some(lmq_store *s, lmq_channel *c)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_writer *w;
	if (checked(lmq_writer_open(s, LMQ_SYNC_RELAXED, &w)) != 0)
		return;
	m.body = (struct lmq_bytes){ sight_new, sizeof sight_new };
	m.key = (struct lmq_bytes){ "a", 1 };
	for (int i = 0; i < NEW; i++)
		if (checked(lmq_writer_add(w, c, &m)) != 0)
			break;
	checked(lmq_writer_commit(w));
	lmq_writer_close(w);
}

static void bury_one(lmq_channel *c)
{
	struct lmq_verdict v = { .count = 1, .outcome = LMQ_BURY, .exit_status = -1 };
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	if (checked(lmq_receiver_open(c, NULL, &r)) != 0)
		return;
	if (checked(lmq_receiver_claim(r, 1, 1 << 20, &count)) == 0 && checked(lmq_receiver_next(r, &m)) == 0) {
		v.partition = m.partition;
		v.offset = m.offset;
		checked(lmq_receiver_conclude(r, &v, 1, NULL, LMQ_SYNC_RELAXED));
	}
	lmq_receiver_close(r);
}

static void use_channel(lmq_store *s, const char *name)
{
	struct lmq_trim trim = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more = true;
	lmq_channel *c;
	if (checked(lmq_channel_open(s, name, LMQ_ANY, 0, &c)) != 0)
		return;
	send_some(s, c);
	if (lmq_channel_kind(c) == LMQ_QUEUE) {
		bury_one(c);
		receive_some(c, NULL);
	} else {
		receive_some(c, "workers");
		receive_some(c, "readers");
		lmq_group_remove(c, "readers");
	}
	trim.keep = 5;
	for (int i = 0; i < 100 && more && lmq_channel_trim(c, &trim, &at, &dropped, &more) == 0; i++)
		;
	lmq_channel_close(c);
}

static void use(void)
{
	lmq_store *s;
	bool more = true;
	if (checked(lmq_store_open(store, NULL, &s)) == 0) {
		each_channel(s, use_channel);
		checked(lmq_channel_remove(s, "jobs"));
		for (int i = 0; i < 100 && more && checked(lmq_store_sweep(s, &more)) == 0; i++)
			;
	}
	lmq_store_close(s);
}

static int child_work(void *argument)
{
	(void)argument;
	alarm(HANG);
	signal(SIGXFSZ, SIG_IGN);
#ifndef __SANITIZE_ADDRESS__
	setrlimit(RLIMIT_DATA, &(struct rlimit){ MEMORY, MEMORY });
#endif
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	sight = &notes->sight;
	notes->found = false;
	notes->phase = CHECKING;
	check();
	notes->phase = LOOKING;
	look_at_all(store);
	notes->found = notes->found || notes->sight.complained;
	notes->phase = USING;
	if (!notes->sight.learning)
		use();
	notes->phase = BESIDE;
	sight = &notes->neighbour;
	look_at_all(beside);
	return 0;
}

static void forget(struct sight *s)
{
	s->digest = 0;
	s->complained = s->wrong = false;
}

static bool has_grown(void)
{
	struct stat st;
	return stat(file, &st) == 0 && st.st_blocks * 512 > GROWTH;
}

enum victim_end victim_use(bool deaf)
{
	const struct sight *s = &notes->sight;
	bool found;
	int status;
	forget(&notes->sight);
	forget(&notes->neighbour);
	status = in_child(child_work, NULL);
	found = !deaf && notes->found;
	if (s->wrong)
		return VICTIM_WRONG;
	if (status == 128 + SIGALRM)
		return notes->phase == CHECKING ? VICTIM_CHECK : (enum victim_end)HANG_USING;
	if (has_grown())
		return VICTIM_GROWN;
	if (status > 128)
		return notes->phase == CHECKING ? VICTIM_CHECK : VICTIM_DEAD;
	if (status == 0 && (notes->neighbour.digest != sound_beside || notes->neighbour.complained))
		return VICTIM_HARM;
	if (s->digest != sound && !found)
		return VICTIM_SILENT;
	return found ? VICTIM_REPORTED : VICTIM_SAME;
}

void victim_make(const char *path, const char *neighbour)
{
	int status;
	snprintf(store, sizeof store, "%s", path);
	snprintf(beside, sizeof beside, "%s", neighbour);
	snprintf(file, sizeof file, "%s/data.mdb", path);
	snprintf(saved, sizeof saved, "%s.saved", path);
	run_script();
	notes = shared_memory(sizeof *notes);
	notes->sight.learning = notes->neighbour.learning = true;
	status = in_child(child_work, NULL);
	need(status == 0 && !notes->found, "the sound store is not usable: %d", status);
	sound = notes->sight.digest;
	sound_beside = notes->neighbour.digest;
	notes->sight.learning = notes->neighbour.learning = false;
}

/* ---- repairing it ---------------------------------------------------------------------------- */

static bool all_right(const char *path)
{
	const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
	struct lmq_accounts accounts = { .faults = 0 };
	lmq_store *s;
	bool right = lmq_store_open(path, &options, &s) == 0 && lmq_store_check(s, &accounts, NULL, go_on, NULL) == 0 &&
		accounts.faults == 0 && !accounts.unreadable;
	lmq_store_close(s);
	return right;
}

enum { REFUSED, SAVED, NOT_WHOLE };

static int repair(void *argument)
{
	struct lmq_rescue rescue;
	lmq_store *s;
	int rc;
	(void)argument;
	alarm(HANG);
	sight = &notes->sight;
	rc = lmq_store_repair(store, saved, &s, &rescue, NULL, NULL, NULL);
	lmq_store_close(s);
	if (rc != 0)
		return REFUSED;
	look_at_all(saved);
	return all_right(saved) ? SAVED : NOT_WHOLE;
}

const char *victim_repair(void)
{
	static char what[64];
	int status;
	forget(&notes->sight);
	status = in_child(repair, NULL);
	remove_tree(saved);
	if (status > NOT_WHOLE) {
		snprintf(what, sizeof what, "the repair ended with %d", status);
		return what;
	}
	if (notes->sight.wrong)
		return "the repaired store delivers what was never sent";
	return status == NOT_WHOLE || notes->sight.complained ? "the repaired store is not whole" : NULL;
}
