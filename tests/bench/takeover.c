/* SPDX-License-Identifier: ISC */
/*
 * takeover STORE COUNT COMMAND [ARG]...: COUNT times: puts a message into the queue q, has mq-exec work on
 * it, starts the command, which must wait for messages of that queue and write what arrives, and kills
 * mq-exec when the command has fallen asleep. Prints, in microseconds, median, 99th percentile and maximum of
 * the time from before the kill to the bytes.
 */
#include <libmq.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { BODY = 100, WARM_UP = 2 };

struct process {
	pid_t pid;
	int output;
};

static struct process start(char **command)
{
	struct process p;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC))
		bench_die("takeover", "no pipe");
	p.output = ends[0];
	p.pid = fork();
	if (p.pid < 0)
		bench_die("takeover", "cannot fork");
	if (p.pid == 0) {
		dup2(ends[1], 1);
		execvp(command[0], command);
		_exit(127);
	}
	close(ends[1]);
	return p;
}

static void end(struct process *p, int sign)
{
	int status;
	kill(p->pid, sign);
	waitpid(p->pid, &status, 0);
	close(p->output);
}

static void read_line(const struct process *p)
{
	char line[BODY + 1];
	size_t have = 0;
	while (have < sizeof line) {
		ssize_t got = read(p->output, line + have, sizeof line - have);
		if (got <= 0)
			bench_die("takeover", "a worker ended");
		have += (size_t)got;
	}
	if (line[BODY] != '\n')
		bench_die("takeover", "a worker wrote something else");
}

/* Whether the process sleeps and has done so for a while: it uses no more time. */
static void until_asleep(const struct process *p)
{
	static const struct timespec pause = { .tv_nsec = 30000000 };
	struct timespec before = { 0 }, used = { .tv_sec = -1 };
	clockid_t clock;
	if (clock_getcpuclockid(p->pid, &clock))
		bench_die("takeover", "the waiting worker ended");
	while (before.tv_sec != used.tv_sec || before.tv_nsec != used.tv_nsec) {
		before = used;
		nanosleep(&pause, NULL);
		clock_gettime(clock, &used);
	}
}

static void send_one(lmq_store *store, lmq_channel *queue, lmq_writer *writer)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	char body[BODY + 1];
	memset(body, 'x', BODY);
	body[BODY] = '\n';
	message.body = (struct lmq_bytes){ body, sizeof body };
	bench_must(lmq_writer_add(writer, queue, &message), store, "add");
	bench_must(lmq_writer_commit(writer), store, "commit");
}

/* Until the queue is empty, so that the next message is not the second. */
static void until_settled(lmq_store *store, lmq_channel *queue)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	struct lmq_channel_info info;
	for (;;) {
		bench_must(lmq_channel_info(queue, &info), store, "info");
		if (!info.messages)
			return;
		nanosleep(&pause, NULL);
	}
}

static int64_t turn(lmq_store *store, lmq_channel *queue, lmq_writer *writer, char *path, char **command)
{
	char *work[] = { "mq-exec", "-q", "-s", path, "q", "sh", "-c", "cat; kill -STOP $$", NULL };
	struct process holder, other;
	int64_t began, took;
	send_one(store, queue, writer);
	holder = start(work);
	read_line(&holder);
	other = start(command);
	until_asleep(&other);
	began = bench_clock();
	kill(holder.pid, SIGKILL);
	read_line(&other);
	took = bench_clock() - began;
	end(&holder, SIGKILL);
	until_settled(store, queue);
	end(&other, SIGTERM);
	return took;
}

int main(int argc, char **argv)
{
	lmq_writer *writer;
	if (argc < 4)
		bench_die("takeover", "STORE COUNT COMMAND [ARG]...");
	size_t count = bench_number(argv[2]);
	int64_t *samples = bench_alloc(count, sizeof *samples);
	lmq_store *store = bench_store(argv[1]);
	lmq_channel *queue = bench_queue(store, "q");
	bench_must(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer), store, "writer");
	for (size_t i = 0; i < WARM_UP; i++)
		turn(store, queue, writer, argv[1], argv + 3);
	for (size_t i = 0; i < count; i++)
		samples[i] = turn(store, queue, writer, argv[1], argv + 3);
	qsort(samples, count, sizeof *samples, bench_compare);
	printf("%.1f %.1f %.1f\n", (double)bench_quantile(samples, count, 0.5) / 1e3,
		(double)bench_quantile(samples, count, 0.99) / 1e3, (double)samples[count - 1] / 1e3);
	lmq_writer_close(writer);
	lmq_channel_close(queue);
	lmq_store_close(store);
	free(samples);
	return 0;
}
