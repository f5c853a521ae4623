/* SPDX-License-Identifier: ISC */
/*
 * killing STORE senders|receivers [early] [SEED]
 *
 * Two processes at a time work on the queue and are killed at random instants, some of them stopped before, and
 * followed by new ones. A ledger outside of the store says what they intended and what they were told. early:
 * they believe it before they are told, which must be found out.
 */
#include "crash.h"

#include <stdio.h>
#include <string.h>

enum {
	SLOTS = 2, KILLS = 300, SECONDS = 4,	/* whatever comes first */
	BATCHES = 200000, BATCH = 8, PADDING = 5000,
	MESSAGES = 500000, CLAIM = 4,
};

struct slot {			/* one writer */
	uint32_t attempted;	/* batches */
	uint8_t count[BATCHES];	/* messages of each */
	bool acknowledged[BATCHES];
};

struct ledger {
	struct slot slot[SLOTS];
	_Atomic uint32_t delivered[MESSAGES], settled[MESSAGES];
	_Atomic uint32_t twice;	/* delivered after it had been settled */
};

static const char *path;
static bool early;
static struct ledger *ledger;
static struct lmq_message message = LMQ_MESSAGE_INIT;

/* ---- senders ------------------------------------------------------------------------------ */

static int add(struct desk *d, unsigned slot, unsigned batch, unsigned index, unsigned count)
{
	static char text[PADDING + 64];
	int n = snprintf(text, sizeof text, "%u %u %u %u ", slot, batch, index, count);
	message.body.size = (size_t)n + draw(64) / 63 * draw(PADDING);
	memset(text + n, 'x', message.body.size - (size_t)n);
	message.body.data = text;
	return lmq_writer_add(d->writer, d->queue, &message);
}

static int send_batch(struct desk *d, unsigned number)
{
	struct slot *s = &ledger->slot[number];
	unsigned count = 1 + draw(BATCH), batch = s->attempted;
	int rc = 0;
	s->count[batch] = (uint8_t)count;
	s->attempted++;
	s->acknowledged[batch] = early;
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = add(d, number, batch, i, count);
	if (rc == 0)
		rc = lmq_writer_commit(d->writer);
	if (rc == 0)
		s->acknowledged[batch] = true;
	return rc;
}

static int sender(void *argument)
{
	unsigned number = *(unsigned *)argument;
	struct desk d;
	int rc = desk_open(&d, path, LMQ_CREATE, 0);
	while (rc == 0 && ledger->slot[number].attempted < BATCHES)
		rc = send_batch(&d, number);
	if (rc != 0)
		fprintf(stderr, "sender: %s\n", lmq_error(d.store));
	return rc;
}

/* ---- receivers ---------------------------------------------------------------------------- */

static unsigned number_in(const struct lmq_message *m)
{
	char text[16] = "";
	need(m->body.size < sizeof text, "not a message: %.*s", (int)m->body.size, m->body.data);
	memcpy(text, m->body.data, m->body.size);
	unsigned id = (unsigned)strtoul(text, NULL, 10);
	need(id < MESSAGES, "never sent: %s", text);
	return id;
}

static void deliver(unsigned id)
{
	if (ledger->settled[id])
		ledger->twice++;
	ledger->delivered[id]++;
}

/* Delivers the claim; *count may become less: what another one settled in the last instant of its life. */
static int deliver_claim(lmq_receiver *r, unsigned id[CLAIM], size_t *count)
{
	struct lmq_message m;
	for (size_t i = 0; i < *count; i++) {
		int rc = lmq_receiver_next(r, &m);
		if (rc == LMQ_END) {
			*count = i;
			return 0;
		}
		if (rc != 0)
			return rc;
		id[i] = number_in(&m);
		if (!early)
			deliver(id[i]);
		if (draw(2))
			lmq_receiver_pause(r);	/* as before a write that may block */
	}
	return 0;
}

static int receive_some(lmq_receiver *r)
{
	unsigned id[CLAIM];
	size_t count;
	int rc = lmq_receiver_claim(r, 1 + draw(CLAIM), 1 << 20, &count);
	if (rc == 0)
		rc = deliver_claim(r, id, &count);
	if (rc == 0)
		rc = lmq_receiver_settle(r, count, LMQ_SYNC_FULL);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (early)
			ledger->delivered[id[i]]++;
		ledger->settled[id[i]]++;
	}
	return rc;
}

/* Ends with 0 when the queue is empty. */
static int receiver(void *argument)
{
	struct desk d;
	lmq_receiver *r;
	int rc = desk_open(&d, path, 0, 0);
	(void)argument;
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	while (rc == 0)
		rc = receive_some(r);
	if (rc == LMQ_END)
		return 0;
	fprintf(stderr, "receiver: %s\n", lmq_error(d.store));
	return rc;
}

/* ---- the killer --------------------------------------------------------------------------- */

/* What ended by itself must have ended well, and is not started again. */
static bool ended_well(pid_t *pid)
{
	int status;
	if (*pid == 0 || !has_ended(*pid))
		return *pid == 0;
	status = end_of(*pid);
	need(status == 0, "a process ended with %d", status);
	*pid = 0;
	return true;
}

static void kill_one(pid_t pid)
{
	int status;
	if (draw(8) == 0) {
		kill(pid, SIGSTOP);
		wait_us(draw(5000));
		if (draw(2))
			kill(pid, SIGCONT);
	}
	kill(pid, SIGKILL);
	status = end_of(pid);
	need(status == KILLED || status == 0, "a process ended with %d", status);
}

static void kill_many(int (*work)(void *))
{
	int64_t deadline = lmq_deadline(SECONDS * INT64_C(1000) * MS);
	unsigned number[SLOTS], kills;
	pid_t pid[SLOTS] = { 0 };
	for (unsigned i = 0; i < SLOTS; i++) {
		number[i] = i;
		draw(2);
		pid[i] = child(work, &number[i]);
	}
	for (kills = 0; kills < KILLS && clock_monotonic() < deadline; kills++) {
		unsigned i = draw(SLOTS);
		wait_us(300 + draw(draw(2) ? 1000 : 8000));
		if (ended_well(&pid[i]))
			break;
		kill_one(pid[i]);
		draw(2);	/* the next one gets other numbers */
		pid[i] = child(work, &number[i]);
	}
	printf("%u processes were killed\n", kills);
	for (unsigned i = 0; i < SLOTS; i++)
		if (!ended_well(&pid[i]))
			kill_one(pid[i]);
	need(kills >= KILLS / 4, "only %u processes were killed", kills);
}

/* ---- the verdict -------------------------------------------------------------------------- */

/* Reads one batch from the text; its messages follow each other, since they were one transaction. */
static char *check_batch(char *p, unsigned next[SLOTS])
{
	unsigned slot, batch, index, count;
	for (unsigned i = 0;; i++) {
		slot = (unsigned)strtoul(p, &p, 10);
		batch = (unsigned)strtoul(p, &p, 10);
		index = (unsigned)strtoul(p, &p, 10);
		count = (unsigned)strtoul(p, &p, 10);
		need(index == i && slot < SLOTS && batch < ledger->slot[slot].attempted &&
			count == ledger->slot[slot].count[batch], "a batch in pieces, at %.40s", p);
		p = strchr(p, '\n') + 1;
		if (i + 1 == count)
			break;
	}
	need(batch >= next[slot], "a batch twice or out of order: %u %u", slot, batch);
	for (unsigned i = next[slot]; i < batch; i++)
		need(!ledger->slot[slot].acknowledged[i], "an acknowledged batch is lost: %u %u", slot, i);
	next[slot] = batch + 1;
	return p;
}

static int check_senders(void *argument)
{
	char *all = stored_texts(path), *p = all;
	unsigned next[SLOTS] = { 0 }, sent = 0;
	(void)argument;
	while (*p)
		p = check_batch(p, next);
	for (unsigned i = 0; i < SLOTS; i++) {
		for (unsigned j = next[i]; j < ledger->slot[i].attempted; j++)
			need(!ledger->slot[i].acknowledged[j], "an acknowledged batch is lost: %u %u", i, j);
		sent += ledger->slot[i].attempted;
	}
	printf("%u batches were sent\n", sent);
	fflush(stdout);
	free(all);
	return 0;
}

static int fill(void *argument)
{
	struct desk d;
	char text[16];
	int rc = desk_open(&d, path, LMQ_CREATE, 0);
	(void)argument;
	message.body.data = text;
	for (unsigned i = 0; rc == 0 && i < MESSAGES; i++) {
		message.body.size = (size_t)snprintf(text, sizeof text, "%u", i);
		rc = lmq_writer_add(d.writer, d.queue, &message);
		if (rc == 0 && (i + 1) % 10000 == 0)
			rc = lmq_writer_commit(d.writer);
	}
	desk_close(&d);
	return rc;
}

static void check_receivers(void)
{
	unsigned again = 0;
	early = false;
	need(in_child(receiver, NULL) == 0, "the rest cannot be received");
	for (unsigned i = 0; i < MESSAGES; i++) {
		need(ledger->delivered[i] > 0, "never delivered: %u", i);
		again += ledger->delivered[i] - 1;
	}
	need(ledger->twice == 0, "%u messages came again after they had been settled", ledger->twice);
	/* A kill costs at most a claim again. */
	need(again <= (KILLS + SLOTS) * CLAIM, "%u messages were delivered again", again);
	printf("%u messages were delivered again\n", again);
}

int main(int argc, char **argv)
{
	need(argc > 2, "usage: killing STORE senders|receivers [early] [SEED]");
	path = argv[1];
	early = argc > 3 && strcmp(argv[3], "early") == 0;
	if (argc > 3 + early)
		seed = strtoull(argv[3 + early], NULL, 10);
	ledger = shared_memory(sizeof *ledger);
	if (strcmp(argv[2], "senders") == 0) {
		kill_many(sender);
		need(in_child(check_senders, NULL) == 0, "the senders' messages are not as they should be");
		need(put_once(path, "after") == 0, "the store takes no message any more");
	} else {
		need(in_child(fill, NULL) == 0, "the first messages");
		kill_many(receiver);
		check_receivers();
	}
	return 0;
}
