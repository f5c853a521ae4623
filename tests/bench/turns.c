/* SPDX-License-Identifier: ISC */
/*
 * turns COUNT COMMAND [ARG]... [: COMMAND [ARG]...]...: runs the commands COUNT times in turn, so that
 * what else goes on in the machine meets all of them alike, each from its start to its end as a process.
 * Prints for each the median and the 10th and 90th percentile in microseconds, a line a command.
 */
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

enum { COMMANDS_MAX = 16, WARM_UP = 3 };

static posix_spawn_file_actions_t silence;

static int64_t run(char **command)
{
	int status;
	pid_t child;
	int64_t began = bench_clock();
	int error = posix_spawnp(&child, command[0], &silence, NULL, command, environ);
	if (error)
		bench_die(command[0], strerror(error));
	if (waitpid(child, &status, 0) != child || status)
		bench_die(command[0], "it failed");
	return bench_clock() - began;
}

/* Cuts the operands at each ":" into commands; returns how many. */
static size_t split(char **operands, char **commands[COMMANDS_MAX])
{
	size_t count = 0;
	for (char **next = operands; *next && count < COMMANDS_MAX;) {
		commands[count++] = next;
		while (*next && strcmp(*next, ":") != 0)
			next++;
		if (*next)
			*next++ = NULL;
	}
	return count;
}

int main(int argc, char **argv)
{
	char **commands[COMMANDS_MAX];
	int64_t *samples[COMMANDS_MAX];
	if (argc < 3)
		bench_die("turns", "COUNT COMMAND [ARG]... [: COMMAND [ARG]...]...");
	size_t turns = bench_number(argv[1]), count = split(argv + 2, commands);
	posix_spawn_file_actions_init(&silence);
	posix_spawn_file_actions_addopen(&silence, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&silence, 1, "/dev/null", O_WRONLY, 0);
	for (size_t i = 0; i < count; i++)
		samples[i] = bench_alloc(turns, sizeof **samples);
	for (size_t warm = 0; warm < WARM_UP; warm++)
		for (size_t i = 0; i < count; i++)
			run(commands[i]);
	for (size_t turn = 0; turn < turns; turn++)
		for (size_t i = 0; i < count; i++)
			samples[i][turn] = run(commands[i]);
	for (size_t i = 0; i < count; i++) {
		qsort(samples[i], turns, sizeof **samples, bench_compare);
		printf("%.1f %.1f %.1f\n", (double)bench_quantile(samples[i], turns, 0.5) / 1e3,
			(double)bench_quantile(samples[i], turns, 0.1) / 1e3,
			(double)bench_quantile(samples[i], turns, 0.9) / 1e3);
		free(samples[i]);
	}
	posix_spawn_file_actions_destroy(&silence);
	return 0;
}
