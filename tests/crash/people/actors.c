/* SPDX-License-Identifier: ISC */
#include "consumer.h"
#include "producer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { READS = 20 };

/* ---- those who take nothing ----------------------------------------------------------------- */

/* LMQ_EGONE: dropped while it was read, which may happen. */
static int note_read(lmq_reader *r, enum where p, const struct lmq_message *m)
{
	struct entry e = entry_at(p, 0);
	int rc = gather_body(m, r, NULL);
	if (rc != 0)
		return rc == LMQ_EGONE ? 0 : rc;
	e.lane = (uint16_t)m->partition;
	e.offset = m->offset;
	e.id = ledger_read(me.body, m->body.size);
	need(e.id, "%s:%llu: not a message that was sent", layout[p].name, (unsigned long long)m->offset);
	e.value = ledger_hash(me.body, m->body.size);
	ledger_note(ledger, NOTE_READ, &e);
	return 0;
}

static int read_some(enum where p, uint64_t most)
{
	struct lmq_message m;
	lmq_reader *r = NULL;
	uint64_t last[LANE_MAX] = { 0 };
	int rc = place_open(p);
	if (rc == 0)
		rc = lmq_reader_open(me.channel[p], &r);
	for (uint64_t i = 0; rc == 0 && i < most && (rc = lmq_reader_next(r, &m)) == 0; i++) {
		need(m.partition < LANE_MAX && m.offset >= last[m.partition], "%s: read out of order", layout[p].name);
		last[m.partition] = m.offset + 1;
		rc = note_read(r, p, &m);
		if (most != UINT64_MAX && draw(4) == 0)
			lmq_reader_pause(r);
	}
	lmq_reader_close(r);
	return rc == LMQ_END ? 0 : rc;
}

static enum where anywhere(void)
{
	return 1 + draw(PLACES - 1);
}

static int trim(void)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	enum where p = draw(2) ? RECENT : PASSING;
	uint64_t at = 0, dropped;
	bool more = true;
	int rc = place_open(p);
	what.all = draw(2);
	if (!what.all)
		what.keep = draw(20);
	if (rc == 0)
		rc = lmq_channel_trim_bound(me.channel[p], &what);
	while (rc == 0 && more)
		rc = lmq_channel_trim(me.channel[p], &what, &at, &dropped, &more);
	return passed(p, rc);
}

static int remove_place(void)
{
	bool more = true;
	int rc = lmq_channel_remove(me.store, layout[PASSING].name);
	if (rc == LMQ_ENOENT || rc == 0)
		rc = 0;
	while (rc == 0 && more)
		rc = lmq_store_sweep(me.store, &more);
	place_close(PASSING);
	return rc == 0 ? passed(PASSING, place_open(PASSING)) : rc;
}

static int check_place(enum where p)
{
	struct lmq_check found;
	int rc = place_open(p);
	if (rc == 0)
		rc = lmq_channel_check(me.channel[p], &found, NULL, NULL);
	need(rc != 0 || (found.damaged == 0 && found.broken == 0), "%s: %llu blocks and bodies are damaged", layout[p].name,
		(unsigned long long)found.damaged);
	atomic_fetch_add(&stage->checks, rc == 0);
	return passed(p, rc);
}

static void say_fault(const struct lmq_fault *fault, void *context)
{
	char *text = context;
	if (!*text)
		sprintf(text, "%s: %s", fault->object, fault->what);
}

/* All records and counters of the store against each other. */
static int check_store(void)
{
	struct lmq_accounts accounts = { 0 };
	char text[sizeof ((struct lmq_fault *)0)->object + sizeof ((struct lmq_fault *)0)->what] = "";
	int rc = lmq_store_check(me.store, &accounts, say_fault, NULL, text);
	need(rc != 0 || accounts.faults == 0, "the store's accounts: %s", text);
	return rc == LMQ_EBUG ? 0 : rc;
}

/* ---- the tools ---------------------------------------------------------------------------- */

/* Runs a tool with its output in a file; it dies with us. Its exit status; 128 + signal. */
static int run_tool(const char *out, const char *const words[])
{
	char program[4200];
	pid_t parent = getpid(), pid = fork();
	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		int fd = open(out ? out : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || fd < 0 || dup2(fd, 1) < 0)
			_exit(126);
		snprintf(program, sizeof program, "%s/%s", tools, words[0]);
		setenv("MQ_STORE", store_path, 1);
		execv(program, (char *const *)words);
		_exit(127);
	}
	return end_of(pid);
}

static void path_of(char path[4200], const char *what, uint32_t who)
{
	snprintf(path, 4200, "%s.%s.%u", store_path, what, who);
}

static int send_by_tool(void)
{
	char path[4200], option[4300];
	const char *const words[] = { "mq-send", "-q", option, layout[JOBS].name, NULL };
	struct entry e = entry_at(JOBS, ledger_ids(ledger, 1));
	size_t size = ledger_size(draw(INT32_MAX));
	int fd, status;
	path_of(path, "out", me.who);
	snprintf(option, sizeof option, "--file=%s", path);
	e.value = ledger_body(e.id, me.body, size);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	need(fd >= 0 && write(fd, me.body, size) == (ssize_t)size, "%s: %s", path, strerror(errno));
	close(fd);
	ledger_note(ledger, NOTE_SENDING, &e);
	status = run_tool(NULL, words);
	need(status == 0, "mq-send ended with %d", status);
	unlink(path);
	e.offset = UINT64_MAX;
	ledger_note(ledger, NOTE_SENT, &e);
	return 0;
}

/* "OFFSET ATTEMPT BODY" in a file, complete or cut off. */
static bool read_output(const char *path, struct entry *e)
{
	static char text[BODY_LARGEST + 64];
	int fd = open(path, O_RDONLY | O_CLOEXEC), used = 0;
	ssize_t n = 0;
	size_t size = 0;
	unsigned long long offset;
	while (fd >= 0 && (n = read(fd, text + size, sizeof text - 1 - size)) > 0)
		size += (size_t)n;
	if (fd >= 0)
		close(fd);
	text[size] = '\0';
	if (sscanf(text, "%llu %u%n", &offset, &e->number, &used) != 2 || (size_t)used + 1 >= size)
		return false;
	e->offset = offset;
	e->id = ledger_read((uint8_t *)text + used + 1, size - (size_t)used - 1);
	e->value = ledger_hash((uint8_t *)text + used + 1, size - (size_t)used - 1);
	return e->id != 0;
}

static int receive_by_tool(void)
{
	static const char *const words[] = { "mq-recv", "-q", "-w", "20ms", "-F", "%o %a %b", "jobs", NULL };
	struct entry e = entry_at(JOBS, 0);
	char path[4200];
	int status;
	path_of(path, "in", me.who);
	status = run_tool(path, words);
	need(status == 0 || status == 1, "mq-recv ended with %d", status);
	if (status == 0) {
		need(read_output(path, &e), "mq-recv printed what was never sent");
		e.batch = ++me.claims;
		e.number = UINT32_MAX;	/* the attempt, without those that did not count: not what we compare */
		ledger_note(ledger, NOTE_DELIVERED, &e);
		ledger_note(ledger, NOTE_SETTLED, &e);
	}
	unlink(path);
	return 0;
}

static int work_by_tool(void)
{
	static const char *const words[] = { "mq-exec", "-q", "-r", "-w", "10ms", "-n", "3", "--to", "other", "jobs", "cat", NULL };
	int status = place_open(OTHER) == 0 ? run_tool(NULL, words) : 1;
	need(status == 0 || status == 1, "mq-exec ended with %d", status);
	return 0;
}

void actors_gather(void)
{
	char path[4200];
	for (uint32_t who = 1; who <= atomic_load(&ledger->processes); who++) {
		struct entry e = { .who = who, .place = JOBS };
		path_of(path, "out", who);
		unlink(path);
		path_of(path, "in", who);
		if (read_output(path, &e))
			ledger_note(ledger, NOTE_SETTLING, &e);
		unlink(path);
	}
}

/* ---- processes ---------------------------------------------------------------------------- */

static int act_once(enum kind kind)
{
	enum where p;
	switch (kind) {
	case READER:
		p = anywhere();
		return passed(p, read_some(p, READS));
	case TRIMMER:
		return trim();
	case REMOVER:
		return remove_place();
	case CHECKER:
		return draw(4) ? check_place(anywhere()) : check_store();
	case SENDING_TOOL:
		return place_open(JOBS) == 0 ? send_by_tool() : 0;
	case RECEIVING_TOOL:
		return place_open(JOBS) == 0 ? receive_by_tool() : 0;
	case WORKING_TOOL:
		return place_open(JOBS) == 0 ? work_by_tool() : 0;
	default:
		return 0;
	}
}

static int act(const struct actor *a)
{
	int rc = 0;
	switch (a->kind) {
	case PRODUCER:
		return produce(a->rounds);
	case CONSUMER:
	case LEASER:
	case MOVER:
		return consume(a->kind, a->rounds);
	default:
		for (uint32_t i = 0; rc == 0 && i < a->rounds / 4 + 1; i++) {
			rc = act_once(a->kind);
			place_close(PASSING);
		}
		return rc;
	}
}

static void leave(void)
{
	for (int i = 0; i < PLACES; i++)
		place_close(i);
	lmq_store_close(me.store);
}

static int enter(uint32_t who)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_CREATE };
	me.who = who;
	return lmq_store_open(store_path, &options, &me.store);
}

static int say(const char *who, int rc)
{
	if (rc != 0)
		fprintf(stderr, "%s: %d: %s\n", who, rc, me.store ? lmq_error(me.store) : "out of memory");
	return rc;
}

int actor_work(void *argument)
{
	static const char *const kinds[KINDS] = { "producer", "consumer", "leaser", "mover", "reader", "trimmer", "remover",
		"checker", "visitor", "sending tool", "receiving tool", "working tool" };
	const struct actor *a = argument;
	int rc;
	seed = a->seed;
	rc = enter(a->who);
	if (rc == 0)
		rc = act(a);
	say(kinds[a->kind], rc);
	/* Many end without a word, as programs do. */
	if (rc == 0 && draw(2))
		leave();
	return rc;
}

enum kind actor_kind(uint32_t random)
{
	static const uint8_t kinds[] = { PRODUCER, PRODUCER, PRODUCER, CONSUMER, CONSUMER, CONSUMER, CONSUMER, CONSUMER,
		CONSUMER, CONSUMER, CONSUMER, CONSUMER, LEASER, LEASER, MOVER, READER, TRIMMER, REMOVER, CHECKER, VISITOR,
		VISITOR, SENDING_TOOL, RECEIVING_TOOL, WORKING_TOOL, PRODUCER };
	enum kind kind = kinds[random % sizeof kinds];
	return kind >= SENDING_TOOL && !tools[0] ? PRODUCER : kind;
}

int actors_finish(void *unused)
{
	int rc = enter(ledger_process(ledger));
	(void)unused;
	lazy = early = torn = false;
	if (rc == 0)
		rc = produce(4);
	for (int p = 1; rc == 0 && p < PLACES; p++) {
		rc = place_open(p);
		if (rc == 0 && (layout[p].group || layout[p].kind == LMQ_QUEUE))
			rc = drain(p);
		if (rc == 0 && (layout[p].promised & (PLACE_KEPT | PLACE_LATEST)))
			rc = read_some(p, UINT64_MAX);
		if (rc == 0)
			rc = check_place(p);
	}
	if (rc == 0)
		rc = check_store();
	say("in the end", rc);
	leave();
	return rc;
}
