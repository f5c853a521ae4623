/* SPDX-License-Identifier: ISC */
/*
 * Commands as child processes: each in a process group of its own, so that a signal from the terminal
 * reaches only us, and its end can be brought about with all that it has started.
 *
 * A child is made with vfork, which copies nothing. It shares our memory until it has become the command,
 * so it only makes system calls, and leaves an error where we find it. The kernel kills it should we die:
 * nobody works on a message that others get again.
 */
#include "exec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	LINGER_CHECK = 20000000,	/* ns between looks at a group that is being ended */
	CLOSE_MOST = 4096,		/* descriptors that are looked for one by one */
};

/* Signals that we ignore, and the command only if we were started so. */
static const int ignored[] = { SIGPIPE, SIGXFSZ };
enum { IGNORED = sizeof ignored / sizeof *ignored };

static struct sigaction before[IGNORED];
static sigset_t mask_before;
static int nothing = -1;	/* /dev/null, for a command without input */
static pid_t ourselves;

/* ---- signals --------------------------------------------------------------------------------- */

void command_remember(void)
{
	for (size_t i = 0; i < IGNORED; i++) {
		sigaction(ignored[i], NULL, &before[i]);
		signal(ignored[i], SIG_IGN);
	}
	sigprocmask(SIG_SETMASK, NULL, &mask_before);
	ourselves = getpid();
}

/* A blocked signal is kept even if it is ignored, so those that are (nohup) are left alone. */
int command_signals(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action;
	sigset_t ours;
	int descriptor;

	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		if (sigaction(ends[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&ours, ends[i]);
	}
	signal(SIGCHLD, SIG_DFL);	/* ignored, it would leave nobody to wait for */
	sigprocmask(SIG_BLOCK, &ours, NULL);
	descriptor = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (descriptor < 0)
		die(EXIT_SYSTEM, "cannot wait for signals: %s", strerror(errno));
	nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (nothing < 0)
		die(EXIT_SYSTEM, "/dev/null: cannot open: %s", strerror(errno));
	return descriptor;
}

/* ---- starting -------------------------------------------------------------------------------- */

static struct {
	const struct task *task;
	int errors;		/* becomes its stderr */
	volatile int error;	/* what the child leaves for us */
} launch;

static void close_from(int first)
{
	if (close_range((unsigned)first, ~0U, 0) == 0)
		return;
	for (int descriptor = first; descriptor < CLOSE_MOST; descriptor++)	/* before Linux 5.9 */
		close(descriptor);
}

static _Noreturn void child(void)
{
	const struct task *task = launch.task;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != ourselves)		/* it died before it could take us along */
		_exit(EXIT_SYSTEM);
	for (size_t i = 0; i < IGNORED; i++)
		sigaction(ignored[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, &mask_before, NULL);
	if (dup2(task->input >= 0 ? task->input : nothing, STDIN_FILENO) >= 0 &&
	    dup2(launch.errors, STDERR_FILENO) >= 0 &&
	    (task->output < 0 || dup2(task->output, STDOUT_FILENO) >= 0)) {
		close_from(STDERR_FILENO + 1);
		execvpe(task->arguments[0], task->arguments, task->variables);
	}
	launch.error = errno;
	_exit(127);
}

/* In a function of its own, as what a vforked child does to local variables is the parent's to bear. */
static __attribute__((noinline)) pid_t child_make(void)
{
	pid_t process = vfork();

	if (process == 0)
		child();
	return process;
}

static int process_start(struct task *task, int errors)
{
	launch.task = task;
	launch.errors = errors;
	launch.error = 0;
	task->process = child_make();
	if (task->process < 0)
		return errno;
	if (launch.error != 0)
		waitpid(task->process, NULL, 0);
	return launch.error;
}

int command_start(struct task *task)
{
	int errors[2], error;

	if (pipe2(errors, O_CLOEXEC) != 0)
		return errno;
	error = process_start(task, errors[1]);
	close(errors[1]);
	if (task->input >= 0)
		close(task->input);
	task->input = -1;
	task->errors = errors[0];
	return error;
}

bool command_lacks(int error)
{
	return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE || error == ENOSPC;
}

const char *command_error(int error)
{
	static char text[128];

	if (error == ENOENT)
		return "not found";
	snprintf(text, sizeof text, "%s", strerror(error));
	text[0] = (char)tolower((unsigned char)text[0]);
	return text;
}

/* ---- stderr ---------------------------------------------------------------------------------- */

/* All of it to our stderr. That this fails is no reason to stop the work. */
static void pass_on(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t done = write(STDERR_FILENO, data, size);

		if (done < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ .fd = STDERR_FILENO, .events = POLLOUT }, 1, -1);
		else if (done < 0 && errno != EINTR)
			return;
		if (done > 0) {
			data += done;
			size -= (size_t)done;
		}
	}
}

static void tail_add(struct task *task, const char *data, size_t size)
{
	size_t kept = task->tail_size;

	if (size > sizeof task->tail) {
		data += size - sizeof task->tail;
		size = sizeof task->tail;
	}
	if (kept > sizeof task->tail - size) {
		memmove(task->tail, task->tail + kept - (sizeof task->tail - size), sizeof task->tail - size);
		kept = sizeof task->tail - size;
	}
	memcpy(task->tail + kept, data, size);
	task->tail_size = kept + size;
}

/* Reads at most that much. Returns what was read; 0: there is nobody left who could write. */
static size_t errors_read(struct task *task, size_t most)
{
	static char buffer[64 << 10];
	ssize_t got = read(task->errors, buffer, most < sizeof buffer ? most : sizeof buffer);

	if (got <= 0) {
		close(task->errors);
		task->errors = -1;
		return 0;
	}
	pass_on(buffer, (size_t)got);
	tail_add(task, buffer, (size_t)got);
	return (size_t)got;
}

void command_errors(struct task *task)
{
	errors_read(task, SIZE_MAX);
}

/* What is in the pipe now; somebody in the background may hold its other end for ever. */
static void errors_end(struct task *task)
{
	int there = 0;

	if (task->errors < 0 || ioctl(task->errors, FIONREAD, &there) != 0)
		return;
	while (there > 0 && task->errors >= 0)
		there -= (int)errors_read(task, (size_t)there);
	if (task->errors >= 0)
		close(task->errors);
	task->errors = -1;
}

/* ---- ending ---------------------------------------------------------------------------------- */

static bool group_is_there(const struct task *task)
{
	return kill(-task->process, 0) == 0;
}

/* A command that has not been waited for can be reached even if it went to another group. */
static void group_signal(const struct task *task, int number)
{
	if (kill(-task->process, number) != 0)
		kill(task->process, number);
}

void command_end(struct task *task, enum ending ending, int64_t grace)
{
	if (task->ending == ENDS_ALONE) {
		group_signal(task, SIGTERM);
		group_signal(task, SIGCONT);		/* a stopped one could not hear it */
		task->due = task->kill_at = lmq_deadline(grace);
	}
	task->ending = ending;
}

bool command_exited(struct task *task, int status)
{
	task->status = status;
	if (task->ending != ENDS_ALONE && group_is_there(task)) {
		task->lingers = true;
		task->due = 0;
		return false;
	}
	errors_end(task);
	return true;
}

/*
 * The rest of a group whose command has exited has its grace, too. Where nobody holds its stderr any more,
 * what is left are most likely dead ones that their new parent has not waited for.
 */
static bool linger(struct task *task, int64_t now)
{
	bool there = group_is_there(task);

	if (task->errors < 0)
		task->kill_at = now;
	task->due = now + LINGER_CHECK < task->kill_at ? now + LINGER_CHECK : task->kill_at;
	if (there && now < task->kill_at)
		return false;
	if (there)
		kill(-task->process, SIGKILL);
	task->lingers = false;
	errors_end(task);
	return true;
}

bool command_due(struct task *task, int64_t now, int64_t grace)
{
	if (task->lingers)
		return linger(task, now);
	if (task->ending == ENDS_ALONE) {
		command_end(task, ENDS_LATE, grace);
		return false;
	}
	group_signal(task, SIGKILL);
	task->due = LMQ_FOREVER;
	return false;
}
