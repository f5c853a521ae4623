/* SPDX-License-Identifier: ISC */
/* Records with good checksums that no version of ours has written: a repair believes none of them. */
#include "single.h"

#include "file/pages.h"

#include <sys/stat.h>

static struct lmq_rescue rescue;

static lmq_store *mended(void)
{
	struct lmq_store_options o = { .size = sizeof o };
	char path[300];
	lmq_store *old, *s;
	snprintf(path, sizeof path, "%s/mended", place);
	CHECK(lmq_store_repair(place, path, &old, &rescue, NULL, NULL, NULL) == 0);
	lmq_store_close(old);
	good(lmq_store_open(path, &o, &s));
	return s;
}

/* The mended store in the place of the other one. */
static void mend(enum lmq_kind kind)
{
	single_end_keeping();
	store = mended();
	good(lmq_channel_open(store, "it", kind, 0, &channel));
	good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
	sound();
}

TEST(no_key, "a message without a key is in no chain, and not held up by one")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_receiver *r;
	struct txn t;
	struct key k;
	uint8_t value[NUMBER_RECORD];
	single_begin(LMQ_QUEUE, NULL);
	m.priority = 8;
	for (int i = 0; i < 10; i++)
		good(lmq_writer_add(writer, channel, &m));
	good(lmq_writer_commit(writer));
	k = key_chain(channel->id, 0, 0);
	good(txn_begin(store, &t));
	good(put_value(&t, &k, value, number_put(0, 0, &k, value)));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
	mend(LMQ_QUEUE);
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 10), 0);
	lmq_receiver_close(r);
	single_end();
}

/* No free page has anything that was there before. */
static void compact(void)
{
	char directory[300], from[320], to[320];
	snprintf(directory, sizeof directory, "%s/compact", place);
	snprintf(from, sizeof from, "%s/data.mdb", directory);
	snprintf(to, sizeof to, "%s/data.mdb", place);
	if (mkdir(directory, 0700) != 0 || mdb_env_copy2(store->env, directory, MDB_CP_COMPACT) != 0 || rename(from, to) != 0)
		abort();
}

/* The position is as it was some messages ago, and the record of the run does not fit its checksum. */
static void forget_run(uint64_t next)
{
	struct key g = key_group(channel->id, 0, ""), k = key_run(channel->id, 0);
	struct group_record position;
	uint8_t value[GROUP_RECORD], run[RUN_RECORD_MAX] = { 0 };
	struct txn t;
	MDB_val v;
	good(txn_begin(store, &t));
	good(get_value(store, t.mdb, &g, &v));
	CHECK(group_record_get(&position, &g, v.mv_data, v.mv_size));
	position.next = next;
	position.state[RUN_READY] = next;
	good(put_value(&t, &g, value, group_record_put(&position, &g, value)));
	good(put_value(&t, &k, run, sizeof run));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
}

TEST(older_position, "a run that only its index knows, and that goes on behind an older position, moves that on")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_receiver *r;
	single_begin(LMQ_QUEUE, NULL);
	m.priority = 8;
	for (int i = 0; i < 10; i++)
		good(lmq_writer_add(writer, channel, &m));
	good(lmq_writer_commit(writer));
	forget_run(5);
	compact();
	mend(LMQ_QUEUE);
	CHECK_EQUAL(stored("it"), 10);
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 10), 0);
	lmq_receiver_close(r);
	single_end();
}

/* The first block says of its first record that it has no bytes; blocks may be missing. */
static void spoil_block(void)
{
	struct key k = key_block(channel->id, 0, 0, 0), h = key_head(channel->id, 0);
	struct head_record head;
	struct block b;
	uint8_t value[BLOCK_LONGEST], record[HEAD_RECORD];
	struct txn t;
	size_t size;
	MDB_val v;
	good(txn_begin(store, &t));
	good(get_value(store, t.mdb, &k, &v));
	size = v.mv_size;
	memcpy(value, v.mv_data, size);
	CHECK(block_get(&b, k.bytes, k.size, value, size));
	value[size - b.size] = 0;
	block_seal(value, &b, &k);
	good(put_value(&t, &k, value, size));
	good(get_value(store, t.mdb, &h, &v));
	CHECK(head_record_get(&head, &h, v.mv_data, v.mv_size));
	head.flags |= HEAD_GAPS;
	good(put_value(&t, &h, record, head_record_put(&head, &h, record)));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
}

TEST(bad_records, "records that make no sense are lost, also where blocks may be missing; those trimmed away are not")
{
	single_begin(LMQ_STREAM, NULL);
	good(send_sized(10, 20));
	trim_to(4);
	spoil_block();
	mend(LMQ_STREAM);
	CHECK_EQUAL(rescue.lost_messages, 6);
	CHECK_EQUAL(stored("it"), 0);
	good(send_sized(1, 20));
	sound();
	CHECK_EQUAL(stored("it"), 1);
	single_end();
}

static unsigned asked, most;

static bool go_on(const struct lmq_rescue *sofar, void *context)
{
	(void)sofar, (void)context;
	return ++asked < most;
}

/* A repair that may be asked so often; its status. */
static int ask(unsigned often)
{
	char path[300];
	lmq_store *old;
	int rc;
	snprintf(path, sizeof path, "%s/mended", place);
	asked = 0;
	most = often;
	rc = lmq_store_repair(place, path, &old, &rescue, NULL, go_on, NULL);
	lmq_store_close(old);
	return rc;
}

enum { PAGES = 20000, EACH = PAGES / 1024 };

/* Pages of the file become zeros. */
static void wipe(uint64_t first, uint64_t count)
{
	static const uint8_t nothing[PAGE_MOST];
	char path[300];
	FILE *f;
	snprintf(path, sizeof path, "%s/data.mdb", place);
	f = fopen(path, "r+");
	if (!f || fseek(f, (long)(first * 4096), SEEK_SET) != 0 || fwrite(nothing, count * 4096, 1, f) != 1 || fclose(f) != 0)
		abort();
}

/* Nothing but zeros from there on. */
static void enlarge(uint64_t from)
{
	char path[300];
	snprintf(path, sizeof path, "%s/data.mdb", place);
	if (truncate(path, (off_t)(from * 4096)) != 0 || truncate(path, PAGES * 4096L) != 0)
		abort();
}

static uint64_t root(void)
{
	struct page_file file;
	struct page_meta m[2];
	int fd = -1;
	mdb_env_get_fd(store->env, &fd);
	good(page_file_open(store, fd, &file));
	CHECK(page_meta(&file, 0, &m[0]) && page_meta(&file, 1, &m[1]));
	return m[m[1].transaction > m[0].transaction].tree[STORE_TREE].root;
}

TEST(asked, "a repair can be ended while it looks through a large file in which nothing more is found")
{
	uint64_t page;
	single_begin(LMQ_QUEUE, NULL);
	good(send_sized(10, 20));
	page = root();
	single_end_keeping();
	enlarge(PAGES);
	/* Each page that is not in use: may it have what the root had. */
	wipe(page, 1);
	CHECK_EQUAL(ask(EACH / 2), LMQ_EINTR);
	/* May it be a root, has it anything newer than the tree. */
	wipe(0, 2);
	CHECK_EQUAL(ask(EACH / 2), LMQ_EINTR);
	CHECK_EQUAL(ask(EACH + EACH / 2), LMQ_EINTR);
	CHECK_EQUAL(ask(UINT32_MAX), 0);
	/* Has it the store's record. */
	enlarge(2);
	CHECK_EQUAL(ask(EACH / 2), LMQ_EINTR);
	place_remove();
}

UNIT_MAIN
