/* SPDX-License-Identifier: ISC */
#include "toolset.h"

#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HANG = 20 };

static const char *store;

const char *tools_built(void)
{
	static char directory[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", directory, sizeof directory - 1);
	need(n > 0, "/proc/self/exe: %s", strerror(errno));
	directory[n] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(directory, '/') = '\0';
	return directory;
}

/* ---- on a damaged store ---------------------------------------------------------------------- */

static const char *const commands[] = {
	"mq-ls", "mq-ls -o json", "mq-check -v", "mq-peek -n 100 jobs", "mq-replay log", "mq-replay -j proof",
	"mq-recv -e jobs", "mq-sub -e -g workers log", "mq-send jobs more", "mq-pub news more", "mq-trim -n 1 log",
	"mq-seek", "mq-route", "mq-rm -q log",
};

static int run_command(void *argument)
{
	char path[PATH_MAX + 64], *words[8];
	size_t n = 0;
	snprintf(path, sizeof path, "%s/%s", tools_built(), (const char *)argument);
	for (char *w = strtok(path, " "); w && n < 7; w = strtok(NULL, " "))
		words[n++] = w;
	words[n] = NULL;
	alarm(HANG);
	setenv("MQ_STORE", store, 1);
	execv(words[0], words);
	return 127;
}

/* LMDB may have destroyed the heap, which the C library reports on its own. */
static bool is_of_libc(const char *line)
{
	static const char *const words[] = { "double free", "free()", "malloc", "munmap_chunk", "corrupted", "realloc()",
		"Fatal glibc error", "***" };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strncmp(line, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

/* What LMDB dies of the sanitizer reports, before the tool can. */
static bool is_of_lmdb(int status, const char *said)
{
#ifdef __SANITIZE_ADDRESS__
	return status == 128 + SIGABRT && strstr(said, "Sanitizer") && strstr(said, "liblmdb");
#else
	return (void)said, status < 0;
#endif
}

/* An exit status of the contract, and what it says on stderr: errors, one line each, with a hint at most. */
static const char *run_tool(const char *command, int output)
{
	static char what[256];
	char said[4096], *line;
	int status, errors = memfd_create("stderr", MFD_CLOEXEC);
	ssize_t n;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(output, STDOUT_FILENO);
		dup2(errors, STDERR_FILENO);
		_exit(run_command((void *)command));
	}
	status = end_of(pid);
	n = pread(errors, said, sizeof said - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(errors);
	if (is_of_lmdb(status, said))
		return NULL;
	if (status > 2 && (status < 64 || status > 78)) {
		snprintf(what, sizeof what, "%s: status %d", command, status);
		return what;
	}
	for (line = said; *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : line + strlen(line)) {
		if (strncmp(line, "mq-", 3) == 0 || (status == 70 && is_of_libc(line)))
			continue;
		snprintf(what, sizeof what, "%s: said '%.100s'", command, line);
		return what;
	}
	if (status >= 64 && !*said) {
		snprintf(what, sizeof what, "%s: status %d without a word", command, status);
		return what;
	}
	return NULL;
}

const char *tools_survive(const char *path, void (*restore)(void))
{
	const char *what = NULL;
	int output = open("/dev/null", O_WRONLY | O_CLOEXEC);
	store = path;
	for (size_t i = 0; !what && i < sizeof commands / sizeof *commands; i++) {
		what = run_tool(commands[i], output);
		restore();
	}
	close(output);
	return what;
}
