/* SPDX-License-Identifier: ISC */
/*
 * wake STORE COUNT COMMAND [ARG]...: starts the command, which must follow the queue q of the store and
 * write what arrives; then sends COUNT messages through libmq, one at a time, and waits for each to come
 * out of the command's pipe. The next is sent when the command has acknowledged the last one and had
 * time to fall asleep again.
 * Prints, in microseconds, median and 99th percentile of the time from the return of the commit to the
 * bytes, the same from before the commit, and the same of the commit alone.
 */
#include <libmq.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { BODY = 100, WARM_UP = 20 };

struct samples {
	int64_t *after, *before, *commit;
};

static pid_t start(char **command, int *output)
{
	int ends[2];
	if (pipe(ends))
		bench_die("wake", "no pipe");
	pid_t child = fork();
	if (child < 0)
		bench_die("wake", "cannot fork");
	if (child == 0) {
		dup2(ends[1], 1);
		close(ends[0]);
		close(ends[1]);
		execvp(command[0], command);
		_exit(127);
	}
	close(ends[1]);
	*output = ends[0];
	return child;
}

static void read_line(int pipe_end)
{
	char line[BODY + 1];
	size_t have = 0;
	while (have < sizeof line) {
		ssize_t got = read(pipe_end, line + have, sizeof line - have);
		if (got <= 0)
			bench_die("wake", "the receiver ended");
		have += (size_t)got;
	}
	if (line[BODY] != '\n')
		bench_die("wake", "the receiver wrote something else");
}

/* Until the receiver has settled everything, and a little longer: it is asleep then. */
static void settle_down(lmq_store *store, lmq_channel *queue)
{
	static const struct timespec pause = { .tv_nsec = 500000 };
	struct lmq_channel_info info;
	do {
		nanosleep(&pause, NULL);
		bench_must(lmq_channel_info(queue, &info), store, "info");
	} while (info.messages);
	nanosleep(&pause, NULL);
}

static void send_one(lmq_store *store, lmq_channel *queue, lmq_writer *writer, int output,
	const struct samples *samples, size_t index)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	char body[BODY];
	memset(body, 'x', sizeof body);
	message.body = (struct lmq_bytes){ body, sizeof body };
	bench_must(lmq_writer_add(writer, queue, &message), store, "add");
	int64_t began = bench_clock();
	bench_must(lmq_writer_commit(writer), store, "commit");
	int64_t committed = bench_clock();
	read_line(output);
	int64_t arrived = bench_clock();
	samples->after[index] = arrived - committed;
	samples->before[index] = arrived - began;
	samples->commit[index] = committed - began;
	settle_down(store, queue);
}

static void print(int64_t *samples, size_t count)
{
	qsort(samples, count, sizeof *samples, bench_compare);
	printf("%.1f %.1f\n", (double)bench_quantile(samples, count, 0.5) / 1e3,
		(double)bench_quantile(samples, count, 0.99) / 1e3);
}

int main(int argc, char **argv)
{
	int output, status;
	lmq_writer *writer;
	if (argc < 4)
		bench_die("wake", "STORE COUNT COMMAND [ARG]...");
	size_t count = bench_number(argv[2]);
	struct samples samples = { bench_alloc(count, sizeof(int64_t)),
		bench_alloc(count, sizeof(int64_t)), bench_alloc(count, sizeof(int64_t)) };
	pid_t receiver = start(argv + 3, &output);
	lmq_store *store = bench_store(argv[1]);
	lmq_channel *queue = bench_queue(store, "q");
	bench_must(lmq_writer_open(store, LMQ_SYNC_FULL, &writer), store, "writer");
	for (size_t i = 0; i < WARM_UP; i++)
		send_one(store, queue, writer, output, &samples, 0);
	for (size_t i = 0; i < count; i++)
		send_one(store, queue, writer, output, &samples, i);
	kill(receiver, SIGTERM);
	waitpid(receiver, &status, 0);
	print(samples.after, count);
	print(samples.before, count);
	print(samples.commit, count);
	lmq_writer_close(writer);
	lmq_channel_close(queue);
	lmq_store_close(store);
	return 0;
}
