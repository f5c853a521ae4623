/* SPDX-License-Identifier: ISC */
#include "crash.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { QUIET = 8 };		/* naps */

uint64_t seed = 1, trial_state = UINT64_MAX;
static uint64_t first_seed;
static const char *program;	/* NULL: not by trial_begin() */
static char operands[512];	/* of the program: place and words */

/* One line: what is wrong, and how to see it again. */
_Noreturn void broken(const char *format, ...)
{
	char line[4096];
	size_t used;
	va_list arguments;
	va_start(arguments, format);
	used = (size_t)vsnprintf(line, sizeof line / 2, format, arguments);
	va_end(arguments);
	if (used >= sizeof line / 2)
		used = sizeof line / 2 - 1;
	if (!program)
		snprintf(line + used, sizeof line - used, " (seed %llu)\n", (unsigned long long)seed);
	else if (trial_state == UINT64_MAX)
		snprintf(line + used, sizeof line - used, "; again: %s -r %llu%s\n", program,
			(unsigned long long)first_seed, operands);
	else
		snprintf(line + used, sizeof line - used, "; again: %s -r %llu -x %llu%s\n", program,
			(unsigned long long)first_seed, (unsigned long long)trial_state, operands);
	fputs(line, stderr);	/* at once: others may have something to say too */
	exit(1);
}

struct trial trial_begin(int argc, char **argv)
{
	struct trial t = { .only = UINT64_MAX };
	int option;
	size_t used = 0;
	program = argv[0];
	while ((option = getopt(argc, argv, "+n:r:x:")) != -1) {
		need(option != '?', "usage: %s [-n COUNT] [-r SEED] [-x STATE] PLACE [WORD]...", argv[0]);
		uint64_t *number = option == 'n' ? &t.count : option == 'r' ? &seed : &t.only;
		*number = strtoull(optarg, NULL, 10);
	}
	need(optind < argc, "usage: %s [-n COUNT] [-r SEED] [-x STATE] PLACE [WORD]...", argv[0]);
	t.place = argv[optind];
	t.words = argv + optind + 1;
	for (int i = optind; i < argc && used < sizeof operands; i++)
		used += (size_t)snprintf(operands + used, sizeof operands - used, " %s", argv[i]);
	first_seed = seed;
	return t;
}

bool trial_word(const struct trial *t, const char *word)
{
	for (char **w = t->words; *w; w++)
		if (strcmp(*w, word) == 0)
			return true;
	return false;
}

uint32_t draw(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((seed >> 33) % below);
}

void nap(void)
{
	poll(NULL, 0, 1);
}

void wait_us(uint32_t us)
{
	struct timespec t = { .tv_nsec = us * 1000L };
	nanosleep(&t, NULL);
}

/* ---- a store ------------------------------------------------------------------------------ */

int desk_open(struct desk *d, const char *path, unsigned flags, int64_t patience)
{
	struct lmq_store_options options = { sizeof options, flags, patience };
	int rc;
	memset(d, 0, sizeof *d);
	rc = lmq_store_open(path, &options, &d->store);
	if (rc == 0)
		rc = lmq_channel_open(d->store, "jobs", LMQ_QUEUE, flags, &d->queue);
	if (rc == 0)
		rc = lmq_writer_open(d->store, LMQ_SYNC_FULL, &d->writer);
	return rc;
}

void desk_close(struct desk *d)
{
	lmq_writer_close(d->writer);
	lmq_channel_close(d->queue);
	lmq_store_close(d->store);
}

int desk_put(struct desk *d, const char *format, ...)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	char text[256];
	va_list arguments;
	int rc;
	va_start(arguments, format);
	m.body.size = (size_t)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	m.body.data = text;
	rc = lmq_writer_add(d->writer, d->queue, &m);
	return rc == 0 ? lmq_writer_commit(d->writer) : rc;
}

int put_once(const char *path, const char *text)
{
	struct desk d;
	int rc = desk_open(&d, path, LMQ_CREATE, 0);
	if (rc == 0)
		rc = desk_put(&d, "%s", text);
	if (rc != 0)
		fprintf(stderr, "%s\n", d.store ? lmq_error(d.store) : "out of memory");
	desk_close(&d);
	return rc;
}

/* ---- children ----------------------------------------------------------------------------- */

/* Where coverage is measured, a child that leaves without exit() has to write down what it ran. */
void __gcov_dump(void) __attribute__((weak));

static _Noreturn void leave(int result)
{
	if (__gcov_dump)
		__gcov_dump();
	_exit(result);
}

static int result_of(int (*work)(void *), void *argument)
{
	int result = work(argument);
	return result < 0 ? 100 - result : result;
}

pid_t child(int (*work)(void *), void *argument)
{
	pid_t pid;
	fflush(NULL);
	pid = fork();
	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		leave(result_of(work, argument));
	}
	return pid;
}

int end_of(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) != pid)
		need(errno == EINTR, "waitpid: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool has_ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };
	need(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0, "waitid: %s", strerror(errno));
	return info.si_pid == pid;
}

int in_child(int (*work)(void *), void *argument)
{
	return end_of(child(work, argument));
}

bool is_asleep(pid_t pid)
{
	char path[64], state = '?';
	FILE *f;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	fclose(f);
	return state == 'S';
}

bool settled(pid_t pid)
{
	for (int quiet = 0; quiet < QUIET;) {
		if (has_ended(pid))
			return true;
		nap();
		quiet = is_asleep(pid) ? quiet + 1 : 0;
	}
	return false;
}

bool settled_soon(pid_t pid)
{
	for (int quiet = 0; quiet < 3;) {
		if (has_ended(pid))
			return true;
		wait_us(300);
		quiet = is_asleep(pid) ? quiet + 1 : 0;
	}
	return has_ended(pid);
}

/* ---- the tracer --------------------------------------------------------------------------- */

pid_t traced(int (*work)(void *), void *argument)
{
	int status;
	pid_t pid;
	fflush(NULL);
	pid = fork();
	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(99);
		raise(SIGSTOP);
		leave(result_of(work, argument));
	}
	need(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "a process cannot be traced here");
	need(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0, "ptrace: %s",
		strerror(errno));
	return pid;
}

bool step(pid_t pid, int *status)
{
	struct __ptrace_syscall_info info;
	int signal = 0;
	for (;;) {
		need(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal) == 0, "ptrace: %s", strerror(errno));
		need(waitpid(pid, status, 0) == pid, "waitpid: %s", strerror(errno));
		if (!WIFSTOPPED(*status)) {
			*status = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
			return false;
		}
		signal = WSTOPSIG(*status);
		if (signal == (SIGTRAP | 0x80)) {
			signal = 0;
			need(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) > 0, "ptrace: %s",
				strerror(errno));
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
				return true;
		} else if (signal == SIGTRAP) {
			signal = 0;	/* an exec */
		}
	}
}

long call_of(pid_t pid, uint64_t arguments[6])
{
	struct __ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) <= 0)
		return -1;
	for (int i = 0; i < 6; i++)
		arguments[i] = info.entry.args[i];
	return (long)info.entry.nr;
}

void finish_call(pid_t pid)
{
	int status;
	need(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status),
		"ptrace: %s", strerror(errno));
}

void untrace(pid_t pid)
{
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

void kill_traced(pid_t pid)
{
	kill(pid, SIGKILL);
	need(end_of(pid) == KILLED, "a killed process ended in another way");
}

/* ---- taking turns ------------------------------------------------------------------------- */

void turn_init(struct turn *t)
{
	need(pipe(t->fd) == 0, "pipe: %s", strerror(errno));
}

void turn_give(struct turn *t)
{
	need(write(t->fd[1], "", 1) == 1, "pipe: %s", strerror(errno));
}

void turn_wait(struct turn *t)
{
	struct pollfd p = { .fd = t->fd[0], .events = POLLIN };
	char c;
	need(poll(&p, 1, 20000) == 1 && read(t->fd[0], &c, 1) == 1, "waited too long for the other process");
}

/* ---- what is stored ------------------------------------------------------------------------- */

static int append_texts(lmq_reader *r, FILE *f)
{
	struct lmq_message m;
	int rc;
	while ((rc = lmq_reader_next(r, &m)) == 0)
		fprintf(f, "%.*s\n", (int)m.body.size, m.body.data);
	return rc == LMQ_END ? 0 : rc;
}

char *stored_texts(const char *path)
{
	char *text = NULL;
	size_t size;
	struct desk d;
	lmq_reader *r = NULL;
	FILE *f = open_memstream(&text, &size);
	int rc = desk_open(&d, path, 0, 0);
	if (rc == 0)
		rc = lmq_reader_open(d.queue, &r);
	if (rc == 0)
		rc = append_texts(r, f);
	fclose(f);
	need(rc == 0, "reading: %s", d.store ? lmq_error(d.store) : "out of memory");
	lmq_reader_close(r);
	desk_close(&d);
	return text;
}

struct numbers {
	const char *path, *when;
	unsigned acknowledged, attempted;
};

static int numbers_work(void *argument)
{
	const struct numbers *n = argument;
	char *all = stored_texts(n->path), *p = all, *end;
	long last = -1;
	unsigned count = 0;
	for (; *p; p = end + 1, count++) {
		long number = strtol(p, &end, 10);
		end += strspn(end, " ");
		need(*end == '\n' && number > last, "%s: out of order: %.20s", n->when, p);
		need(number < (long)n->attempted, "%s: never sent: %ld", n->when, number);
		need(number >= (long)n->acknowledged || number == last + 1, "%s: lost: %ld", n->when, last + 1);
		last = number;
	}
	need(last + 1 >= (long)n->acknowledged, "%s: %ld of %u acknowledged messages", n->when, last + 1,
		n->acknowledged);
	free(all);
	return 0;
}

void check_numbers(const char *path, unsigned acknowledged, unsigned attempted, const char *when)
{
	struct numbers n = { path, when, acknowledged, attempted };
	if (in_child(numbers_work, &n) != 0)
		exit(1);
}

/* ---- files and memory ----------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void *shared_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}
