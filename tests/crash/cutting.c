/* SPDX-License-Identifier: ISC */
/*
 * cutting [-n COUNT] [-r SEED] PLACE [SECONDS] [WORD]...
 *
 * The power of a real ext4 is cut at random instants, COUNT times or for so many SECONDS, while processes send, one
 * message or several at a time, receive and acknowledge, and make new stores. A ledger outside of the disk says what they
 * intended and what they were told. After each cut what was acknowledged is there, or was settled; what was not is there
 * completely or not at all; nothing comes back; the store is sound and takes more.
 *
 * Words: relaxed, all commits are: the last one may be undone. nosync: commits are not synced, which must be found.
 */
#include "crash.h"
#include "disk/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SENDERS = 2, NUMBERS = 1 << 15, BATCH = 9, CLAIM = 4, LIFE = 150, SIZES = 5000, NOWHERE = 0 };

struct message {
	uint8_t batch, index;	/* of how many messages its transaction was, and which of them it is */
	uint8_t told;		/* acknowledged */
	uint8_t gone;		/* 1: to be settled; 2: that was acknowledged */
	uint8_t there;		/* at the last look; 2: never, then or later */
};

static struct ledger_of_cuts {
	struct message of[SENDERS][NUMBERS];
	uint32_t next[SENDERS];	/* that were intended */
	uint64_t highest;	/* offset + 1 that was acknowledged or seen, at the last look */
	_Atomic uint64_t told;	/* of an offset, since */
	bool created, fresh;	/* the store; another one */
	uint64_t acknowledged, cuts, stores;
} *ledger;

static const char *const mounts[] = { "data=ordered", "data=ordered,commit=1", "data=writeback", "data=ordered,nodelalloc",
	"data=ordered,journal_checksum", "data=writeback,commit=1" };

static char path[4200], fresh[4200];
static bool nosync;
static enum lmq_sync sync_mode = LMQ_SYNC_FULL;

int __real_mdb_env_open(MDB_env *env, const char *at, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(MDB_env *env, const char *at, unsigned flags, mdb_mode_t mode);

int __wrap_mdb_env_open(MDB_env *env, const char *at, unsigned flags, mdb_mode_t mode)
{
	return __real_mdb_env_open(env, at, flags | (nosync ? MDB_NOSYNC : 0), mode);
}

/* ---- those who work ---------------------------------------------------------------------------- */

static int add(struct desk *d, unsigned sender, uint32_t number)
{
	static char text[SIZES + 64];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	size_t size = draw(8) ? 20 + draw(300) : 20 + draw(SIZES);
	memset(text, 'a' + (int)(number % 26), size);
	text[snprintf(text, sizeof text, "%u %u", sender, number)] = ' ';
	m.body = (struct lmq_bytes){ text, size };
	return lmq_writer_add(d->writer, d->queue, &m);
}

static void sent(struct desk *d, unsigned sender, uint32_t first, unsigned count)
{
	uint32_t partition;
	uint64_t offset;
	for (unsigned i = 0; i < count; i++)
		ledger->of[sender][first + i].told = 1;
	ledger->acknowledged += count;
	if (lmq_writer_position(d->writer, count - 1, &partition, &offset))
		for (uint64_t told = ledger->told; offset + 1 > told;)
			if (atomic_compare_exchange_weak(&ledger->told, &told, offset + 1))
				break;
}

static int send_batch(struct desk *d, unsigned sender)
{
	unsigned count = sender == 0 ? 1 : 1 + draw(BATCH);
	uint32_t first = ledger->next[sender];
	int rc = 0;
	for (unsigned i = 0; i < count; i++)
		ledger->of[sender][first + i] = (struct message){ .batch = (uint8_t)count, .index = (uint8_t)i };
	ledger->next[sender] = first + count;
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = add(d, sender, first + i);
	if (rc == 0)
		rc = lmq_writer_commit(d->writer);
	if (rc == 0)
		sent(d, sender, first, count);
	return rc;
}

static int open_desk(struct desk *d, unsigned flags)
{
	int rc = desk_open(d, path, flags, 0);
	if (rc == 0) {
		lmq_writer_close(d->writer);
		rc = lmq_writer_open(d->store, sync_mode, &d->writer);
		ledger->created = true;
	}
	return rc;
}

static int sender(void *argument)
{
	unsigned number = *(unsigned *)argument;
	struct desk d;
	int rc = open_desk(&d, LMQ_CREATE);
	while (rc == 0 && ledger->next[number] + BATCH < NUMBERS)
		rc = send_batch(&d, number);
	return 0;
}

static struct message *message_of(const struct lmq_message *m, unsigned *from, uint32_t *number)
{
	char text[32] = "";
	memcpy(text, m->body.data, m->body.size < sizeof text - 1 ? m->body.size : sizeof text - 1);
	need(sscanf(text, "%u %u", from, number) == 2 && *from < SENDERS && *number < ledger->next[*from],
		"a message that nobody sent: %.30s", text);
	for (size_t i = strcspn(text, "abcdefghijklmnopqrstuvwxyz"); i < m->body.size; i++)
		need(m->body.data[i] == 'a' + (int)(*number % 26), "message %u of sender %u is not as it was sent", *number,
			*from);
	return &ledger->of[*from][*number];
}

static int receive_some(lmq_receiver *r)
{
	struct message *taken[CLAIM];
	struct lmq_message m;
	unsigned from;
	uint32_t number;
	size_t count, n = 0;
	int rc = lmq_receiver_claim(r, 1 + draw(CLAIM), 1 << 20, &count);
	while (rc == 0 && n < count && (rc = lmq_receiver_next(r, &m)) == 0)
		taken[n++] = message_of(&m, &from, &number);
	if (n == 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		taken[i]->gone = 1;
	rc = lmq_receiver_settle(r, n, sync_mode);
	for (size_t i = 0; rc == 0 && i < n; i++)
		taken[i]->gone = 2;
	return rc;
}

static int receiver(void *argument)
{
	struct desk d;
	lmq_receiver *r;
	int rc = open_desk(&d, LMQ_CREATE);
	(void)argument;
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	while (rc == 0 || rc == LMQ_END) {
		rc = receive_some(r);
		if (rc == LMQ_END)
			nap();
	}
	return 0;
}

/* Another store: when its first message is acknowledged, it is there. */
static int maker(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, fresh, LMQ_CREATE, 0);
	(void)argument;
	if (rc == 0 && desk_put(&d, "first") == 0)
		ledger->fresh = true;
	return 0;
}

/* ---- after the cut ------------------------------------------------------------------------------ */

static void sound(struct desk *d)
{
	struct lmq_accounts accounts;
	struct lmq_check result;
	int rc = lmq_channel_check(d->queue, &result, NULL, NULL);
	need(rc == 0 && result.damaged == 0, "the store is damaged: %s", lmq_error(d->store));
	rc = lmq_store_check(d->store, &accounts, NULL, NULL, NULL);
	need(rc == 0 && accounts.faults == 0, "the store has faults: %s", lmq_error(d->store));
}

/* Marks what is there, in order. */
static void look(struct desk *d, uint8_t (*now)[NUMBERS])
{
	uint32_t last[SENDERS] = { 0 }, number;
	uint64_t seen = ledger->highest;
	struct lmq_message m;
	lmq_reader *r = NULL;
	unsigned from;
	int rc = lmq_reader_open(d->queue, &r);
	while (rc == 0 && (rc = lmq_reader_next(r, &m)) == 0) {
		const struct message *x = message_of(&m, &from, &number);
		need(number + 1 > last[from], "message %u of sender %u is out of order", number, from);
		need(x->there == 1 || m.offset >= ledger->highest, "offset %llu was given again",
			(unsigned long long)m.offset);
		last[from] = number + 1;
		now[from][number] = 1;
		if (m.offset + 1 > seen)
			seen = m.offset + 1;
	}
	need(rc == LMQ_END, "reading: %s", lmq_error(d->store));
	lmq_reader_close(r);
	ledger->highest = seen;
	if (sync_mode == LMQ_SYNC_FULL && ledger->told > seen)
		ledger->highest = ledger->told;
}

/* A batch is there or not, as far as nobody has taken it apart. */
static void whole(unsigned from, uint32_t number, const uint8_t *now)
{
	const struct message *m = &ledger->of[from][number], *first = m - m->index;
	for (unsigned i = 0; i < m->batch && m->there == NOWHERE; i++)
		need(first[i].gone == 1 || m->gone == 1 || (now[number - m->index + i] || first[i].gone == 2) ==
			(now[number] || m->gone == 2), "the batch of message %u of sender %u is there in part", number, from);
}

/* Acknowledged commits that are undone, and what comes of it in the ledger. */
static void compare(uint8_t (*now)[NUMBERS])
{
	unsigned lost = 0, back = 0, most = sync_mode == LMQ_SYNC_RELAXED ? 1 : 0;
	for (unsigned from = 0; from < SENDERS; from++)
		for (uint32_t n = 0; n < ledger->next[from]; n++) {
			struct message *m = &ledger->of[from][n];
			need(m->there != 2 || !now[from][n], "message %u of sender %u came back", n, from);
			whole(from, n, now[from]);
			if (!now[from][n] && m->there != 2 && (m->told || m->there == 1) && m->gone == 0)
				need((lost += m->index == 0) <= most && m->there != 1,
					"message %u of sender %u was acknowledged and is lost", n, from);
			if (now[from][n] && m->gone == 2)
				need(++back <= most * CLAIM, "message %u of sender %u is there, and was settled", n, from);
		}
	for (unsigned from = 0; from < SENDERS; from++)
		for (uint32_t n = 0; n < ledger->next[from]; n++) {
			struct message *m = &ledger->of[from][n];
			m->there = now[from][n] ? 1 : 2;
			if (now[from][n])
				m->gone = 0;
		}
}

static void look_at_store(void)
{
	static uint8_t now[SENDERS][NUMBERS];
	struct desk d;
	int rc = desk_open(&d, path, 0, 0);
	if (rc == LMQ_ENOENT && ledger->told == 0) {
		need(!ledger->created || access(path, F_OK) == 0, "the store is gone, which was acknowledged");
		desk_close(&d);
		return;
	}
	need(rc == 0, "%s: %s", rc == LMQ_ENOENT ? "what was acknowledged is lost" : "opening", lmq_error(d.store));
	sound(&d);
	memset(now, 0, sizeof now);
	look(&d, now);
	compare(now);
	desk_close(&d);
}

/* For good: a name that a cut brings back would be taken for a new one. */
static void remove_synced(const char *store)
{
	int fd = open(volume_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	remove_tree(store);
	need(fd >= 0 && syncfs(fd) == 0, "syncfs: %s", strerror(errno));
	close(fd);
}

static void look_at_fresh(void)
{
	char *texts;
	need(!ledger->fresh || access(fresh, F_OK) == 0, "a new store is gone, which was acknowledged");
	if (ledger->fresh) {
		texts = stored_texts(fresh);
		need(strcmp(texts, "first\n") == 0, "the message in a new store is lost");
		free(texts);
	}
	need(put_once(fresh, "second") == 0, "a new store that was being made cannot be used");
	remove_synced(fresh);
	ledger->fresh = false;
	ledger->stores++;
}

/* ---- the cuts ----------------------------------------------------------------------------------- */

static void cut_once(bool makes)
{
	unsigned number[SENDERS];
	uint64_t before = ledger->acknowledged;
	pid_t pid[SENDERS + 1];
	int count = 0;
	for (unsigned i = 0; i < SENDERS; i++) {
		number[i] = i;
		draw(2);
		pid[count++] = child(sender, &number[i]);
	}
	pid[count++] = makes ? child(maker, NULL) : child(receiver, NULL);
	/* Some early, while they open or make the store; most in the midst of the work. */
	for (int naps = 0; draw(5) > 0 && ledger->acknowledged == before && naps < 100; naps++)
		nap();
	wait_us(draw(draw(3) ? 2000 : 8000));
	volume_cut();
	for (int i = 0; i < count; i++)
		kill(pid[i], SIGKILL);
	for (int i = 0; i < count; i++)
		end_of(pid[i]);
	volume_unmount();
	ledger->cuts++;
}

static void begin_anew(void)
{
	uint64_t acknowledged = ledger->acknowledged, cuts = ledger->cuts, stores = ledger->stores;
	remove_synced(path);
	memset(ledger, 0, sizeof *ledger);
	ledger->acknowledged = acknowledged;
	ledger->cuts = cuts;
	ledger->stores = stores + 1;
}

static bool full(void)
{
	for (unsigned i = 0; i < SENDERS; i++)
		if (ledger->next[i] + 1000 > NUMBERS)
			return true;
	return false;
}

struct course {
	uint64_t count;
	int64_t end;		/* on the monotonic clock */
};

static int cut_many(void *argument)
{
	const struct course *c = argument;
	volume_mount(NULL);
	for (uint64_t n = 0; n < c->count && clock_monotonic() < c->end; n++) {
		bool makes = draw(5) == 0;
		if (n % LIFE == 0 || full())
			begin_anew();
		cut_once(makes);
		volume_mount(mounts[draw(sizeof mounts / sizeof *mounts)]);
		look_at_store();
		if (makes)
			look_at_fresh();
	}
	volume_unmount();
	return 0;
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	struct course c = { t.count ? t.count : UINT64_MAX, INT64_MAX };
	const char *reason;
	int status;
	if (*t.words && strtoull(*t.words, NULL, 10) > 0)
		c.end = lmq_deadline((int64_t)strtoull(*t.words, NULL, 10) * 1000 * MS);
	nosync = trial_word(&t, "nosync");
	if (trial_word(&t, "relaxed"))
		sync_mode = LMQ_SYNC_RELAXED;
	ledger = shared_memory(sizeof *ledger);
	reason = volume_make(t.place);
	if (reason) {
		printf("skipped: %s\n", reason);
		return 0;
	}
	snprintf(path, sizeof path, "%s/store", volume_path);
	snprintf(fresh, sizeof fresh, "%s/fresh", volume_path);
	status = in_child(cut_many, &c);
	need(status < 128, "opening or using the store ended with signal %d", status - 128);
	if (status == 0)
		printf("%llu power cuts of ext4, %llu messages acknowledged, %llu stores made, 0 bad\n",
			(unsigned long long)ledger->cuts, (unsigned long long)ledger->acknowledged,
			(unsigned long long)ledger->stores);
	return status;
}
