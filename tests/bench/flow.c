/* SPDX-License-Identifier: ISC */
/*
 * flow STORE COUNT DEPTH: one process sends COUNT messages of 100 bytes to the queue q, another takes them,
 * both in batches of DEPTH / 4 with durable commits; the queue keeps between DEPTH / 2 and 5/4 DEPTH
 * messages. The receiver checks that they come in order.
 * Prints: messages per second in the first and in the last tenth, the bytes of the data file after the
 * first tenth and at the end.
 *
 * The sender holds back by reading settled counts from a pipe. The receiver holds back by looking at how
 * many are sent, which the sender says before it commits: said after, the commit's wake-up could come
 * before the word, and be wasted.
 */
#include <libmq.h>

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { BODY = 100 };

struct plan {
	const char *path;
	size_t count, depth, batch;
	_Atomic size_t *sent;		/* or about to be; shared by both */
	int credit[2];			/* counts of settled messages, from the receiver */
};

static void await_credit(const struct plan *p, size_t *settled)
{
	size_t more;
	if (read(p->credit[0], &more, sizeof more) != sizeof more)
		bench_die("flow", "the receiver ended");
	*settled += more;
}

static void send_batch(lmq_store *store, lmq_channel *queue, lmq_writer *writer, size_t from, size_t to)
{
	struct lmq_message message = LMQ_MESSAGE_INIT;
	char body[BODY + 1];
	for (size_t i = from; i < to; i++) {
		snprintf(body, sizeof body, "%0*zu", BODY, i);
		message.body = (struct lmq_bytes){ body, BODY };
		bench_must(lmq_writer_add(writer, queue, &message), store, "add");
	}
	bench_must(lmq_writer_commit(writer), store, "commit");
}

static void sender(const struct plan *p)
{
	size_t sent = 0, settled = 0;
	lmq_writer *writer;
	lmq_store *store = bench_store(p->path);
	lmq_channel *queue = bench_queue(store, "q");
	bench_must(lmq_writer_open(store, LMQ_SYNC_FULL, &writer), store, "writer");
	while (sent < p->count) {
		size_t end = sent + p->batch < p->count ? sent + p->batch : p->count;
		while (sent - settled > p->depth)
			await_credit(p, &settled);
		atomic_store(p->sent, end);
		send_batch(store, queue, writer, sent, end);
		sent = end;
	}
	while (settled < p->count)
		await_credit(p, &settled);
	lmq_writer_close(writer);
	lmq_channel_close(queue);
	lmq_store_close(store);
}

static size_t data_size(const struct plan *p)
{
	char path[4096];
	struct stat facts;
	snprintf(path, sizeof path, "%s/data.mdb", p->path);
	if (stat(path, &facts))
		bench_die(path, "cannot stat");
	return (size_t)facts.st_size;
}

/* Takes what one claim gives; returns how many. */
static size_t take(lmq_store *store, lmq_receiver *receiver, const struct plan *p, size_t settled)
{
	struct lmq_message message;
	char expected[BODY + 1];
	size_t count = 0;
	int status = lmq_receiver_claim(receiver, p->batch, SIZE_MAX, &count);
	if (status == LMQ_END)
		return 0;
	bench_must(status, store, "claim");
	for (size_t i = 0; i < count; i++) {
		bench_must(lmq_receiver_next(receiver, &message), store, "next");
		snprintf(expected, sizeof expected, "%0*zu", BODY, settled + i);
		if (message.body.size != BODY || memcmp(message.body.data, expected, BODY) != 0)
			bench_die("flow", "a message was lost, doubled or damaged");
	}
	bench_must(lmq_receiver_settle(receiver, count, LMQ_SYNC_FULL), store, "settle");
	if (write(p->credit[1], &count, sizeof count) != sizeof count)
		bench_die("flow", "the sender ended");
	return count;
}

/* Receives until settled messages reach goal. */
static size_t receive(lmq_store *store, lmq_watch *watch, lmq_receiver *receiver,
	const struct plan *p, size_t settled, size_t goal)
{
	while (settled < goal) {
		lmq_watch_arm(watch);
		size_t sent = atomic_load(p->sent);
		bool due = sent == p->count || sent - settled > p->depth - p->batch;
		size_t got = due ? take(store, receiver, p, settled) : 0;
		settled += got;
		if (!got)
			bench_must(lmq_watch_wait(watch, LMQ_FOREVER), store, "wait");
	}
	return settled;
}

static void receiver(const struct plan *p)
{
	lmq_receiver *taker;
	lmq_watch *watch;
	lmq_store *store = bench_store(p->path);
	lmq_channel *queue = bench_queue(store, "q");
	bench_must(lmq_receiver_open(queue, NULL, &taker), store, "receiver");
	bench_must(lmq_watch_open(store, &watch), store, "watch");
	bench_must(lmq_watch_channel(watch, queue), store, "watch");
	int64_t begin = bench_clock();
	size_t head = receive(store, watch, taker, p, 0, p->count / 10);
	int64_t early = bench_clock();
	size_t early_size = data_size(p);
	size_t most = receive(store, watch, taker, p, head, p->count - p->count / 10);
	int64_t late = bench_clock();
	size_t all = receive(store, watch, taker, p, most, p->count);
	int64_t end = bench_clock();
	printf("%.0f %.0f %zu %zu\n", (double)head * 1e9 / (double)(early - begin),
		(double)(all - most) * 1e9 / (double)(end - late), early_size, data_size(p));
	lmq_watch_close(watch);
	lmq_receiver_close(taker);
	lmq_channel_close(queue);
	lmq_store_close(store);
}

int main(int argc, char **argv)
{
	int status = 0;
	struct plan p = { 0 };
	if (argc != 4)
		bench_die("flow", "STORE COUNT DEPTH");
	p.path = argv[1];
	p.count = bench_number(argv[2]);
	p.depth = bench_number(argv[3]);
	p.batch = p.depth < 4 ? 1 : p.depth / 4;
	p.sent = mmap(NULL, sizeof *p.sent, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p.sent == MAP_FAILED || pipe(p.credit))
		bench_die("flow", "no shared memory or pipe");
	pid_t child = fork();
	if (child < 0)
		bench_die("flow", "cannot fork");
	if (child == 0) {
		close(p.credit[1]);
		sender(&p);
		return 0;
	}
	close(p.credit[0]);
	receiver(&p);
	waitpid(child, &status, 0);
	return status != 0;
}
