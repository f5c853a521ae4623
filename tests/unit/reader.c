/* SPDX-License-Identifier: ISC */
/* Readers against a model: several lanes merged by time, forward and backward, with holes, and all ways to seek. */
#include "place.h"

#include "read/reader.h"

#include <malloc.h>
#include <time.h>

enum { LANES_MOST = LMQ_PARTITIONS_MAX, MODEL_MOST = 20000 };

struct entry {			/* of the model */
	int64_t time;
	uint64_t offset;
	unsigned lane;
	uint32_t size;
	bool hole;
};

static lmq_store *store;
static lmq_channel *channel;
static lmq_reader *reader;
static struct head_record heads[LANES_MOST];
static unsigned lanes;
static struct entry model[MODEL_MOST];
static size_t entries;
static int64_t present;

static void begin(unsigned count)
{
	char property[32];
	const char *list = property;
	bool created;
	snprintf(property, sizeof property, "partitions=%u", count);
	place_make();
	store = place_open();
	if (lmq_channel_make(store, "log", LMQ_STREAM, &list, 1, &created, NULL, NULL) != 0 ||
			lmq_channel_open(store, "log", LMQ_STREAM, 0, &channel) != 0 ||
			lmq_reader_open(channel, &reader) != 0)
		abort();
	memset(heads, 0, sizeof heads);
	lanes = count;
	entries = 0;
	present = 1000;
}

static void end(void)
{
	lmq_reader_close(reader);
	lmq_channel_close(channel);
	lmq_store_close(store);
	place_remove();
}

static bool good(int rc)
{
	if (rc != 0 && rc != LMQ_END)
		fprintf(stderr, "# %d %s\n", rc, lmq_error(store));
	return rc == 0;
}

/* The lane's head, changed by who asks. */
static void change(unsigned lane, int (*how)(struct txn *t, unsigned lane, struct head_record *head, void *with),
	void *with)
{
	struct txn t;
	if (!good(txn_begin(store, &t)) || !good(how(&t, lane, &heads[lane], with)) ||
			!good(put_head(&t, channel->id, (uint16_t)lane, &heads[lane])) ||
			!good(txn_commit(&t, LMQ_SYNC_RELAXED)))
		abort();
}

static int append_batch(struct txn *t, unsigned lane, struct head_record *head, void *batch)
{
	return log_append(t, channel->id, (uint16_t)lane, batch, head);
}

static void batch_hole(struct batch *b)
{
	static const uint8_t hole[] = { 2, RECORD_HOLE, 0 };
	if (!batch_add_record(b, hole, hole + sizeof hole))
		abort();
}

static void batch_body(struct batch *b, uint64_t offset, uint32_t size)
{
	static char body[BODY_INLINE_MAX];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	memset(body, (int)(offset % 251), size);
	m.body = (struct lmq_bytes){ body, size };
	if (!batch_add(b, &m, NULL))
		abort();
}

/* Appends count messages to the lane at the present time, every nth of them a hole. */
static void append(unsigned lane, unsigned count, uint32_t size_most, unsigned nth)
{
	struct batch b = { .records = NULL };
	for (unsigned i = 0; i < count; i++) {
		struct entry *e = &model[entries++];
		*e = (struct entry){ present, heads[lane].end + i, lane, size_most, false };
		e->size = (uint32_t)(unit_random() % (size_most + 1));
		e->hole = nth > 0 && unit_random() % nth == 0;
		if (e->hole)
			batch_hole(&b);
		else
			batch_body(&b, e->offset, e->size);
		heads[lane].holes += e->hole;
	}
	b.time = present;
	change(lane, append_batch, &b);
	batch_free(&b);
}

static int by_time(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->lane != y->lane)
		return x->lane < y->lane ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Puts the model into the order of reading, without holes. */
static void model_sort(void)
{
	size_t kept = 0;
	for (size_t i = 0; i < entries; i++)
		if (!model[i].hole)
			model[kept++] = model[i];
	entries = kept;
	qsort(model, entries, sizeof *model, by_time);
}

static void fill(unsigned batches, unsigned count_most, uint32_t size_most, unsigned nth)
{
	for (unsigned i = 0; i < batches; i++) {
		present += (int64_t)(unit_random() % 3);
		append(unit_random() % lanes, unit_random() % count_most + 1, size_most, nth);
	}
	/* The compaction that made holes would have said so. */
	model_sort();
}

static bool is(const struct lmq_message *m, const struct entry *e)
{
	return m->time == e->time && m->partition == e->lane && m->offset == e->offset && m->body.size == e->size &&
		(e->size == 0 || (m->body.data[0] == (char)(e->offset % 251) &&
			m->body.data[e->size - 1] == m->body.data[0]));
}

static bool gives(const struct entry *e)
{
	struct lmq_message m;
	return good(lmq_reader_next(reader, &m)) && is(&m, e);
}

static bool gives_back(const struct entry *e)
{
	struct lmq_message m;
	return good(lmq_reader_previous(reader, &m)) && is(&m, e);
}

static bool gives_nothing(void)
{
	struct lmq_message m;
	return lmq_reader_next(reader, &m) == LMQ_END;
}

static bool gives_nothing_back(void)
{
	struct lmq_message m;
	return lmq_reader_previous(reader, &m) == LMQ_END;
}

/* All of it forward and backward, with a pause now and then. */
static bool both_ways(void)
{
	for (size_t i = 0; i < entries; i++) {
		if (!gives(&model[i]))
			return false;
		if (unit_random() % 50 == 0)
			lmq_reader_pause(reader);
	}
	if (!gives_nothing())
		return false;
	for (size_t i = entries; i-- > 0;) {
		if (!gives_back(&model[i]))
			return false;
		if (unit_random() % 50 == 0)
			lmq_reader_pause(reader);
	}
	return gives_nothing_back();
}

/* To and fro from the middle, in steps of any size. */
static bool wanders(unsigned steps)
{
	size_t at = entries / 2;
	if (!good(lmq_reader_seek(reader, LMQ_SEEK_FIRST, 0)) ||
			!good(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, (int64_t)at)))
		return false;
	while (steps-- > 0) {
		size_t many = unit_random() % 40;
		bool back = unit_random() % 2;
		if (unit_random() % 10 == 0)
			lmq_reader_pause(reader);
		for (; many > 0 && (back ? at > 0 : at < entries); many--) {
			if (back ? !gives_back(&model[at - 1]) : !gives(&model[at]))
				return false;
			at += back ? (size_t)-1 : 1;
		}
	}
	return true;
}

TEST(one_lane, "a stream of one partition is read forward and backward, whatever the sizes")
{
	begin(1);
	fill(100, 10, 20000, 0);
	CHECK(both_ways());
	CHECK(wanders(300));
	end();
}

TEST(merged, "partitions are merged by time, then by number, forward and backward")
{
	begin(7);
	fill(1500, 12, 300, 0);
	CHECK(both_ways());
	CHECK(wanders(1000));
	end();
}

TEST(merged_large, "so are messages that lie across blocks")
{
	begin(3);
	fill(150, 5, BODY_INLINE_MAX, 0);
	CHECK(both_ways());
	CHECK(wanders(100));
	end();
}

TEST(most_lanes, "128 partitions need little memory")
{
	struct mallinfo2 before, after;
	begin(LANES_MOST);
	fill(600, 20, 6000, 0);
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_FIRST, 0)));
	before = mallinfo2();
	for (size_t i = 0; i < entries; i++)
		REQUIRE(gives(&model[i]));
	after = mallinfo2();
	CHECK(after.uordblks < before.uordblks + 64 * 1024);
	CHECK(both_ways() || gives_nothing());
	end();
}

TEST(one_of_them, "a reader of one partition reads that one only")
{
	begin(4);
	fill(200, 10, 100, 0);
	CHECK(lmq_reader_partition(reader, 4) == LMQ_EINVAL);
	CHECK(good(lmq_reader_partition(reader, 2)));
	CHECK(lmq_reader_partition(reader, 1) == LMQ_EINVAL);
	for (size_t i = 0; i < entries; i++)
		if (model[i].lane == 2)
			REQUIRE(gives(&model[i]));
	CHECK(gives_nothing());
	CHECK_EQUAL(lmq_reader_tell(reader), heads[2].end);
	end();
}

TEST(seeks, "seeks by offset, time and number hold for all partitions together")
{
	uint64_t all = 0, offset;
	size_t n = 0;
	begin(5);
	fill(500, 10, 100, 0);
	for (unsigned i = 0; i < lanes; i++)
		all += heads[i].end;
	CHECK(good(lmq_reader_end(reader, &offset)) && offset == all && all == entries);
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_END, 0)) && gives_nothing() && lmq_reader_tell(reader) == all);
	for (int64_t last = 0; last < 400; last += 37) {
		REQUIRE(good(lmq_reader_seek(reader, LMQ_SEEK_LAST, last)));
		CHECK(last == 0 ? gives_nothing() : gives(&model[entries - (size_t)last]));
	}
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_LAST, 1 << 30)) && gives(&model[0]));
	for (int64_t time = model[0].time - 1; time <= present + 1; time += 7) {
		for (n = 0; n < entries && model[n].time < time; n++)
			;
		REQUIRE(good(lmq_reader_seek(reader, LMQ_SEEK_TIME, time)));
		CHECK(n < entries ? gives(&model[n]) : gives_nothing());
	}
	REQUIRE(good(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, 20)));
	for (n = 0; model[n].offset < 20; n++)
		;
	CHECK(gives(&model[n]));
	REQUIRE(good(lmq_reader_seek(reader, LMQ_SEEK_FIRST, 0)));
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, 100)) && gives(&model[100]));
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, -51)) && gives(&model[50]));
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, -1000)) && gives(&model[0]));
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_SHIFT, INT64_MAX)) && gives_nothing());
	end();
}

TEST(bounds, "a bounded reader ends there, and begins there backward, whatever is appended")
{
	size_t n;
	begin(3);
	fill(200, 10, 100, 0);
	CHECK(good(lmq_reader_bound(reader, 30)));
	present++;
	append(1, 5, 10, 0);
	for (n = 0; n < entries; n++)
		if (model[n].offset < 30)
			REQUIRE(gives(&model[n]));
	CHECK(gives_nothing());
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_END, 0)));
	for (n = entries; n-- > 0;)
		if (model[n].offset < 30)
			REQUIRE(gives_back(&model[n]));
	CHECK(gives_nothing_back());
	CHECK(good(lmq_reader_bound(reader, UINT64_MAX)));
	append(1, 5, 10, 0);
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_LAST, 1)) && gives(&model[entries - 6]) &&
		gives_nothing());
	end();
}

TEST(follows, "what is appended at the end is read next, from any partition")
{
	begin(4);
	for (int i = 0; i < 200; i++) {
		size_t first = entries;
		present++;
		append(unit_random() % lanes, 3, 2000, 0);
		for (size_t n = first; n < entries; n++)
			REQUIRE(gives(&model[n]));
		CHECK(gives_nothing());
	}
	end();
}

static int raise_first(struct txn *t, unsigned lane, struct head_record *head, void *floor)
{
	(void)t, (void)lane;
	head->first = *(uint64_t *)floor;
	return 0;
}

TEST(missed, "what is dropped in any partition before it was read is counted")
{
	struct lmq_message m;
	uint64_t floor[3] = { 10, 20, 30 };
	begin(3);
	for (unsigned lane = 0; lane < 3; lane++)
		append(lane, 100, 10, 0);
	CHECK(good(lmq_reader_next(reader, &m)) && m.partition == 0 && m.offset == 0);
	lmq_reader_pause(reader);
	for (unsigned lane = 0; lane < 3; lane++)
		change(lane, raise_first, &floor[lane]);
	CHECK(good(lmq_reader_next(reader, &m)) && m.partition == 0 && m.offset == 10);
	CHECK_EQUAL(lmq_reader_missed(reader), 9 + 20 + 30);
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, 0)));
	CHECK(good(lmq_reader_next(reader, &m)) && m.partition == 0 && m.offset == 10);
	CHECK_EQUAL(lmq_reader_missed(reader), 9 + 20 + 30);
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_END, 0)));
	CHECK(good(lmq_reader_previous(reader, &m)) && m.partition == 2 && m.offset == 99);
	lmq_reader_pause(reader);
	floor[1] = 50;
	change(1, raise_first, &floor[1]);
	while (lmq_reader_previous(reader, &m) == 0)
		;
	CHECK_EQUAL(lmq_reader_missed(reader), 9 + 20 + 30 + 30);
	end();
}

/* ---- what compaction leaves ------------------------------------------------------------------- */

static int set_gaps(struct txn *t, unsigned lane, struct head_record *head, void *with)
{
	(void)t, (void)lane, (void)with;
	head->flags |= HEAD_GAPS;
	return 0;
}

/* Deletes the blocks of the lane in which nothing but holes begins, and that continue none that stays. */
static int drop_hollow(struct txn *t, unsigned lane, struct head_record *head, void *with)
{
	struct key k = key_block(channel->id, (uint16_t)lane, 0, 0);
	MDB_val key = { k.size, k.bytes }, value;
	MDB_cursor *cursor;
	MDB_cursor_op op = MDB_SET_RANGE;
	unsigned *dropped = with;
	struct block b;
	uint64_t offset;
	uint32_t part;
	if (mdb_cursor_open(t->mdb, store->table, &cursor) != 0)
		return LMQ_EIO;
	for (; mdb_cursor_get(cursor, &key, &value, op) == 0; op = MDB_NEXT) {
		bool hollow = true;
		if (block_load(store, channel->id, (uint16_t)lane, &key, &value, &b, &offset, &part) != 0)
			break;
		for (size_t at = b.skip, i = 0; i < b.count; i++, at += 3)
			hollow = hollow && at + 3 <= b.size && b.payload[at] == 2 && b.payload[at + 1] == RECORD_HOLE;
		if (!hollow || b.skip > 0 || (offset == head->tail_offset && part == head->tail_part))
			continue;
		mdb_cursor_del(cursor, 0);
		++*dropped;
	}
	mdb_cursor_close(cursor);
	return 0;
}

/* Runs of thousands of holes of three bytes, so that blocks hold nothing else. */
static void append_holes(unsigned lane, unsigned count)
{
	struct batch b = { .records = NULL };
	for (unsigned i = 0; i < count; i++)
		batch_hole(&b);
	b.time = present;
	heads[lane].holes += count;
	change(lane, append_batch, &b);
	batch_free(&b);
}

static void holes_make(void)
{
	for (int i = 0; i < 40; i++) {
		unsigned lane = unit_random() % lanes;
		present += 5;
		if (unit_random() % 2)
			append_holes(lane, unit_random() % 6000);
		append(lane, unit_random() % 60 + 1, unit_random() % 3 ? 100 : 9000, 3);
	}
	for (unsigned lane = 0; lane < lanes; lane++)
		append(lane, 1, 10, 0);
	model_sort();
}

/* The first message from the offset on, of one lane. */
static bool finds_offset(uint64_t offset)
{
	size_t n;
	for (n = 0; n < entries && model[n].offset < offset; n++)
		;
	return good(lmq_reader_seek(reader, LMQ_SEEK_OFFSET, (int64_t)offset)) &&
		(n < entries ? gives(&model[n]) : gives_nothing());
}

static bool finds_time(int64_t time)
{
	size_t n;
	for (n = 0; n < entries && model[n].time < time; n++)
		;
	return good(lmq_reader_seek(reader, LMQ_SEEK_TIME, time)) &&
		(n < entries ? gives(&model[n]) : gives_nothing());
}

TEST(gaps, "holes and missing blocks are skipped both ways, and found around by offset, time and number")
{
	for (unsigned count = 1; count <= 4; count += 3) {
		unsigned dropped = 0;
		begin(count);
		holes_make();
		CHECK(both_ways());
		for (unsigned lane = 0; lane < lanes; lane++) {
			change(lane, set_gaps, NULL);
			change(lane, drop_hollow, &dropped);
		}
		CHECK(dropped > 10);
		REQUIRE(good(lmq_reader_seek(reader, LMQ_SEEK_FIRST, 0)));
		CHECK(both_ways());
		CHECK(wanders(200));
		for (int64_t time = 990; time < present + 2; time++)
			CHECK(finds_time(time));
		for (uint64_t offset = 0; count == 1 && offset <= heads[0].end; offset += 17)
			CHECK(finds_offset(offset));
		CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_LAST, 3)) && gives(&model[entries - 3]));
		end();
	}
}

TEST(damage, "a missing block is damage where compaction has not been")
{
	unsigned dropped = 0;
	struct lmq_message m;
	int rc;
	begin(1);
	holes_make();
	change(0, drop_hollow, &dropped);
	CHECK(dropped > 10);
	while ((rc = lmq_reader_next(reader, &m)) == 0)
		;
	CHECK_EQUAL(rc, LMQ_EDAMAGED);
	CHECK(good(lmq_reader_seek(reader, LMQ_SEEK_END, 0)));
	while ((rc = lmq_reader_previous(reader, &m)) == 0)
		;
	CHECK_EQUAL(rc, LMQ_EDAMAGED);
	end();
}

/* ---- time ------------------------------------------------------------------------------------- */

TEST(renewal, "a reader that never pauses renews its snapshot, at a message's end")
{
	uint64_t serial;
	int64_t until = lmq_deadline(INT64_C(10000000000));
	begin(2);
	fill(10, 12, 100, 0);
	REQUIRE(gives(&model[0]));
	serial = reader->snapshot.serial;
	while (reader->snapshot.serial == serial && lmq_deadline(0) < until)
		REQUIRE(gives_back(&model[0]) && gives(&model[0]));
	CHECK(reader->snapshot.serial != serial);
	CHECK(gives(&model[1]));
	CHECK_EQUAL(lmq_reader_missed(reader), 0);
	end();
}

TEST(time_seek, "a time is found among 10 million messages in less than a millisecond")
{
	enum { BATCHES = 160, EACH = 62500 };
	struct batch b = { .records = NULL };
	struct lmq_message m;
	int64_t least = INT64_MAX;
	begin(1);
	for (unsigned i = 0; i < EACH; i++)
		batch_body(&b, 0, 0);
	for (unsigned i = 0; i < BATCHES; i++) {
		b.time = present = 1000 + i;
		change(0, append_batch, &b);
	}
	batch_free(&b);
	for (int i = 0; i < 50; i++) {
		int64_t time = 1000 + (int64_t)(unit_random() % BATCHES), from = lmq_deadline(0);
		REQUIRE(good(lmq_reader_seek(reader, LMQ_SEEK_TIME, time)));
		from = lmq_deadline(0) - from;
		least = from < least ? from : least;
		CHECK(good(lmq_reader_next(reader, &m)) && m.time == time &&
			m.offset == (uint64_t)(time - 1000) * EACH);
	}
	CHECK(least < 1000000);
	end();
}

UNIT_MAIN
