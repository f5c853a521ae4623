/* SPDX-License-Identifier: ISC */
/*
 * crowd STORE COUNT TURNS COMMAND [ARG]...: publishes to the topic t while nobody listens, then starts the command
 * COUNT times; it must first write the oldest message of the topic and then what is published. All write into one pipe:
 * lines of its atomic size.
 * Prints, in microseconds, medians of: a commit while nobody listens; while all do, and sleep; from before the commit
 * until all of them have written.
 */
#include <libmq.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { BODY = 100 };

struct crowd {
	lmq_store *store;
	lmq_channel *topic;
	lmq_writer *writer;
	size_t count;
	pid_t *pids;
	int output[2];
};

static void start(struct crowd *c, char **command)
{
	for (size_t i = 0; i < c->count; i++) {
		c->pids[i] = fork();
		if (c->pids[i] < 0)
			bench_die("crowd", "cannot fork");
		if (c->pids[i] == 0) {
			dup2(c->output[1], 1);
			execvp(command[0], command);
			_exit(127);
		}
	}
}

static void end(const struct crowd *c)
{
	int status;
	for (size_t i = 0; i < c->count; i++)
		kill(c->pids[i], SIGTERM);
	for (size_t i = 0; i < c->count; i++)
		waitpid(c->pids[i], &status, 0);
}

/* Until each has written a line. */
static void hear_all(const struct crowd *c)
{
	static char text[1 << 16];
	size_t wanted = c->count * (BODY + 1);
	while (wanted > 0) {
		ssize_t got = read(c->output[0], text, sizeof text);
		if (got <= 0 || (size_t)got > wanted)
			bench_die("crowd", "a subscriber wrote something else");
		wanted -= (size_t)got;
	}
}

static int64_t publish(const struct crowd *c)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	char body[BODY];
	memset(body, 'x', sizeof body);
	message.body = (struct lmq_bytes){ body, sizeof body };
	bench_must(lmq_writer_add(c->writer, c->topic, &message), c->store, "add");
	int64_t began = bench_clock();
	bench_must(lmq_writer_commit(c->writer), c->store, "commit");
	return bench_clock() - began;
}

/* What it takes them to fall asleep again, and more. */
static void settle_down(void)
{
	static const struct timespec pause = { .tv_nsec = 200000000 };
	nanosleep(&pause, NULL);
}

static double median(int64_t *samples, size_t count)
{
	qsort(samples, count, sizeof *samples, bench_compare);
	return (double)bench_quantile(samples, count, 0.5) / 1e3;
}

int main(int argc, char **argv)
{
	struct crowd c = { .count = 0 };
	if (argc < 5)
		bench_die("crowd", "STORE COUNT TURNS COMMAND [ARG]...");
	c.count = bench_number(argv[2]);
	size_t turns = bench_number(argv[3]);
	int64_t *alone = bench_alloc(turns, sizeof *alone), *commit = bench_alloc(turns, sizeof *commit),
		*all = bench_alloc(turns, sizeof *all);
	c.pids = bench_alloc(c.count, sizeof *c.pids);
	if (pipe2(c.output, O_CLOEXEC) || fcntl(c.output[1], F_SETPIPE_SZ, 1 << 20) < 0)
		bench_die("crowd", "no pipe");
	c.store = bench_store(argv[1]);
	c.topic = bench_channel(c.store, "t", LMQ_TOPIC);
	bench_must(lmq_writer_open(c.store, LMQ_SYNC_FULL, &c.writer), c.store, "writer");
	for (size_t i = 0; i < turns; i++)
		alone[i] = publish(&c);
	start(&c, argv + 4);
	hear_all(&c);
	for (size_t i = 0; i < turns; i++) {
		settle_down();
		int64_t began = bench_clock();
		commit[i] = publish(&c);
		hear_all(&c);
		all[i] = bench_clock() - began;
	}
	end(&c);
	printf("%.1f %.1f %.1f\n", median(alone, turns), median(commit, turns), median(all, turns));
	lmq_writer_close(c.writer);
	lmq_channel_close(c.topic);
	lmq_store_close(c.store);
	free(c.pids);
	free(alone);
	free(commit);
	free(all);
	return 0;
}
