/* SPDX-License-Identifier: ISC */
/*
 * peak FILE COMMAND [ARG]...: runs the command and writes into FILE the largest amount of private memory
 * (RssAnon, in KiB) that it was seen to have. Pages of files, LMDB's map among them, are the system's
 * cache and are given up under pressure: they do not count. The high-water mark that the kernel keeps
 * (VmHWM) does count them, hence the sampling, every 0.5 ms.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static long private_memory(int status_file)
{
	char text[4096];
	ssize_t size = pread(status_file, text, sizeof text - 1, 0);
	if (size <= 0)
		return 0;
	text[size] = 0;
	const char *line = strstr(text, "RssAnon:");
	return line ? strtol(line + strlen("RssAnon:"), NULL, 10) : 0;
}

static int watch(pid_t child, long *largest)
{
	static const struct timespec pause = { .tv_nsec = 500000 };
	char path[64];
	int status;
	snprintf(path, sizeof path, "/proc/%d/status", (int)child);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		bench_die(path, "cannot be read");
	while (waitpid(child, &status, WNOHANG) == 0) {
		long now = private_memory(file);
		if (now > *largest)
			*largest = now;
		nanosleep(&pause, NULL);
	}
	close(file);
	return status;
}

int main(int argc, char **argv)
{
	long largest = 0;
	if (argc < 3)
		bench_die("peak", "FILE COMMAND [ARG]...");
	pid_t child = fork();
	if (child < 0)
		bench_die("peak", "cannot fork");
	if (child == 0) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	int status = watch(child, &largest);
	FILE *file = fopen(argv[1], "w");
	if (!file || fprintf(file, "%ld\n", largest) < 0 || fclose(file))
		bench_die(argv[1], "cannot write");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
