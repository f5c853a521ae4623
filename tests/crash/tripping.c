/* SPDX-License-Identifier: ISC */
/*
 * tripping [-n COUNT] [-r SEED] [-x STATE] PLACE [TOOL]
 *
 * As failing.c, with the tools: each system call that a tool makes from where it opens the store fails, in each way, once
 * or from then on, until memory is out too. It ends with a status of its contract and not by a signal, says in one
 * line why it failed, and has done all or nothing; what it says it has done is done, and the store is sound.
 */
#include "scenario/experiment.h"
#include "scenario/fault.h"
#include "victim/toolset.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS = 2000, PATIENCE = 2000, LONGEST = 30 };

static const struct tool {
	const char *words[8];
	bool loose;		/* it may have done a part */
} tools[] = {
	{ { "mq-send", "-q", "jobs", "000400 sent" }, false },
	{ { "mq-recv", "jobs" }, false },
	{ { "mq-pub", "-q", "events", "000400 sent" }, false },
	{ { "mq-sub", "-n", "1", "-g", "workers", "events" }, true },
	{ { "mq-exec", "-n", "1", "jobs", "--", "true" }, false },
	{ { "mq-move", "-n", "1", "jobs", "old" }, false },
	{ { "mq-ack", "leases:0:1" }, false },
	{ { "mq-make", "--queue", "made", "max-messages=7" }, false },
	{ { "mq-rm", "older" }, false },
	{ { "mq-ls" }, false },
};
enum { TOOLS = sizeof tools / sizeof *tools };

static char out[4100], err[4100];
static const struct call *counted[CALLS];
static unsigned calls;
static uint64_t faults;

/* ---- one run ------------------------------------------------------------------------------------ */

static int exec_tool(void *argument)
{
	const struct tool *t = argument;
	char file[4200];
	int from = open("/dev/null", O_RDONLY), to = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int words = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(from, 0);
	dup2(to, 1);
	dup2(words, 2);
	closefrom(3);
	setenv("MQ_STORE", path, 1);
	snprintf(file, sizeof file, "%s/%s", tools_built(), t->words[0]);
	execv(file, (char *const *)(uintptr_t)t->words);
	return 126;
}

/* Where it opens the directory of the store. */
static bool opens_store(long number, const uint64_t arguments[6])
{
	return number == SYS_openat && (arguments[2] & (O_DIRECTORY | O_NOFOLLOW)) == (O_DIRECTORY | O_NOFOLLOW);
}

struct shot {
	unsigned tool, call, way;
	bool lasting;
	int error;		/* 0: the call was not met */
};

/* Its exit status. call 0: only counts. */
static int run(struct shot *s)
{
	uint64_t arguments[6];
	unsigned count = 0;
	bool begun = false;
	long number;
	int status;
	pid_t pid = traced(exec_tool, (void *)(uintptr_t)&tools[s->tool]);
	while (step(pid, &status)) {
		const struct call *c = call_at(pid, &number, arguments);
		begun |= opens_store(number, arguments);
		if (!begun || !c || (number == SYS_write && arguments[0] == 2))
			continue;
		count++;
		if (s->call == 0 && count < CALLS)
			counted[count] = c;
		if (count == s->call) {
			s->error = c->errors[s->way];
			s->lasting &= lasts(s->error);
			snprintf(name, sizeof name, "%s, call %u (%s) fails with %s%s", tools[s->tool].words[0], s->call, c->name,
				s->error ? error_name(s->error) : "nothing", s->lasting ? " from then on" : "");
		}
		if (s->error && (count == s->call || (s->lasting && can_fail(c, s->error))))
			fail_call(pid, s->error);
	}
	if (s->call == 0)
		calls = count < CALLS ? count : CALLS - 1;
	return status;
}

/* One line "TOOL: ...", and perhaps a hint, or what becomes of a message that was in its hands. */
static bool one_line(const char *tool, char line[256])
{
	char second[256] = "", third[256];
	FILE *f = fopen(err, "re");
	bool good = f && fgets(line, 256, f) && strncmp(line, tool, strlen(tool)) == 0;
	if (good && fgets(second, sizeof second, f))
		good = (strstr(second, ": hint: ") || strstr(second, "given back")) && !fgets(third, sizeof third, f);
	if (f)
		fclose(f);
	return good;
}

static void judge(const struct shot *s, int status)
{
	const struct tool *t = &tools[s->tool];
	char line[256] = "";
	bool all, nothing, words = one_line(t->words[0], line);
	need(status < 128, "%s: it died of signal %d", name, status - 128);
	need(status == 0 || status == 71 || status == 73 || status == 74 || status == 75 || (status == 1 && t->loose) ||
		(status == 1 && s->error == EINTR), "%s: it ended with %d: %s", name, status, line);
	need(status < 64 || words, "%s: it ended with %d and not with one line: %s", name, status, line);
	witness_look(path, now, PATIENCE * (int64_t)MS, name);
	if (t->loose)
		return;
	all = !witness_difference(after, now)[0];
	nothing = !witness_difference(before, now)[0];
	need(all || nothing, "%s: neither done nor not: %s", name, witness_difference(before, now));
	need(all || status != 0, "%s: it ended with 0, but %s", name, witness_difference(after, now));
}

static void ready(void)
{
	scenario_copy(prepared, path);
	alarm(LONGEST);
}

static void shoot(struct shot *s)
{
	int status;
	trial_state = (s->tool * UINT64_C(10000) + s->call) * 100 + s->way * 2 + s->lasting;
	ready();
	status = run(s);
	if (s->error) {
		faults++;
		judge(s, status);
	}
	trial_state = UINT64_MAX;
}

/* ---- all of them ---------------------------------------------------------------------------------- */

static void learn(unsigned tool)
{
	struct shot s = { .tool = tool };
	int status;
	snprintf(name, sizeof name, "%s", tools[tool].words[0]);
	ready();
	witness_look(path, before, PATIENCE * (int64_t)MS, name);
	ready();
	status = run(&s);
	need(status == 0 || status == 1, "%s ended with %d", name, status);
	witness_look(path, after, PATIENCE * (int64_t)MS, name);
}

static void all_of(unsigned tool, const struct trial *t)
{
	learn(tool);
	if (t->only != UINT64_MAX) {
		struct shot s = { .tool = tool, .call = (unsigned)(t->only / 100 % 10000), .way = (unsigned)(t->only / 2 % 50),
			.lasting = t->only % 2 };
		shoot(&s);
		return;
	}
	for (uint64_t i = 0; t->count && i < t->count / TOOLS + 1; i++) {
		struct shot s = { .tool = tool, .call = 1 + draw(calls), .way = draw(2), .lasting = draw(2) };
		shoot(&s);
	}
	for (unsigned call = 1; !t->count && call <= calls; call++)
		for (unsigned way = 0; way < ERRORS && counted[call]->errors[way]; way++)
			for (unsigned lasting = 0; lasting < 1u + lasts(counted[call]->errors[way]); lasting++) {
				struct shot s = { .tool = tool, .call = call, .way = way, .lasting = lasting };
				shoot(&s);
			}
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	bool some = false;
	if (!CALLS_CAN_FAIL) {
		puts("skipped: a sanitizer does not stand failing system calls");
		return 0;
	}
	snprintf(out, sizeof out, "%s/out", t.place);
	snprintf(err, sizeof err, "%s/err", t.place);
	experiment_begin(&t);
	for (unsigned i = 0; i < TOOLS; i++)
		some |= trial_word(&t, tools[i].words[0]);
	for (unsigned i = 0; i < TOOLS; i++)
		if (t.only != UINT64_MAX ? i == t.only / 1000000 : !some || trial_word(&t, tools[i].words[0]))
			all_of(i, &t);
	printf("%llu failed system calls of tools, 0 bad\n", (unsigned long long)faults);
	return 0;
}
