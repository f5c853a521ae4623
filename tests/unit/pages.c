/* SPDX-License-Identifier: ISC */
/*
 * LMDB's file without LMDB, and what a repair saves of it: a store is damaged in many ways, and what is saved is held
 * against a ledger of all that was stored. UNIT_SEED chooses the damages; the number of the one that failed is told.
 */
#include "place.h"

#include "file/pages.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { QUEUED = 600, STREAMED = 900, SIZE = 60, TRIALS = 40, LARGE = 200000, LOST_MOST = 2000 };

static char path[300], saved[300], copy[300];
static uint8_t *image;
static size_t image_size;

struct ledger {			/* of one channel, by offsets */
	bool saved[QUEUED + STREAMED], named[QUEUED + STREAMED];
	uint64_t extra, wrong;
};
static struct ledger queue_ledger, stream_ledger;
static bool vague;	/* more is lost than messages: which ones cannot be told */

static void text_of(const char *channel, uint64_t n, char text[SIZE + 40])
{
	snprintf(text, SIZE + 40, "%s %llu %0*d", channel, (unsigned long long)n, SIZE, (int)(n * 7));
}

static void fill(lmq_store *s, const char *name, enum lmq_kind kind, uint64_t count)
{
	static char large[LARGE];
	lmq_channel *c;
	lmq_writer *w;
	if (lmq_channel_open(s, name, kind, LMQ_CREATE, &c) != 0 || lmq_writer_open(s, LMQ_SYNC_RELAXED, &w) != 0)
		abort();
	for (uint64_t i = 0; i < count; i++) {
		char text[SIZE + 40];
		struct lmq_message m = { .priority = i % 50 == 9 ? 7 : LMQ_PRIORITY_DEFAULT };
		text_of(name, i, text);
		m.body = (struct lmq_bytes){ text, strlen(text) };
		if (i == 300) {
			memset(large, 'x', sizeof large);
			memcpy(large, text, strlen(text));
			m.body = (struct lmq_bytes){ large, sizeof large };
		}
		if (lmq_writer_add(w, c, &m) != 0 || ((i % 100 == 99 || i % 7 == 0) && lmq_writer_commit(w) != 0))
			abort();
	}
	if (lmq_writer_commit(w) != 0)
		abort();
	lmq_writer_close(w);
	lmq_channel_close(c);
}

static void write_image(const uint8_t *data, size_t size)
{
	char name[400];
	int fd;
	snprintf(name, sizeof name, "%s/data.mdb", copy);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void begin(void)
{
	char command[1000];
	lmq_store *s;
	struct stat st;
	int fd;
	place_make();
	snprintf(path, sizeof path, "%s/store", place);
	snprintf(copy, sizeof copy, "%s/damaged", place);
	snprintf(saved, sizeof saved, "%s/saved", place);
	if (lmq_store_open(path, &(struct lmq_store_options){ .size = sizeof(struct lmq_store_options), .flags = LMQ_CREATE }, &s))
		abort();
	fill(s, "jobs", LMQ_QUEUE, QUEUED);
	fill(s, "log", LMQ_STREAM, STREAMED);
	lmq_store_close(s);
	snprintf(command, sizeof command, "mkdir -m 700 '%s' && cp '%s/mq-store' '%s'", copy, path, copy);
	if (system(command) != 0)
		abort();
	snprintf(command, sizeof command, "%s/data.mdb", path);
	fd = open(command, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0 || !(image = malloc((size_t)st.st_size)) ||
			read(fd, image, (size_t)st.st_size) != st.st_size)
		abort();
	image_size = (size_t)st.st_size;
	close(fd);
}

static void end(void)
{
	free(image);
	place_remove();
}

static void remove_saved(void)
{
	char command[400];
	snprintf(command, sizeof command, "rm -rf '%s'", saved);
	if (system(command) != 0)
		abort();
}

/* ---- the ledger ----------------------------------------------------------------------------- */

static void on_loss(const struct lmq_fault *f, void *context)
{
	struct ledger *l = strcmp(f->object, "jobs") == 0 ? &queue_ledger : strcmp(f->object, "log") == 0 ? &stream_ledger : NULL;
	unsigned long long a, b;
	int n = l ? sscanf(f->what, "messages %llu to %llu are lost", &a, &b) : 0;
	(void)context;
	if (l && n < 2 && sscanf(f->what, "message %llu is lost", &a) == 1)
		b = a;
	else if (n < 2) {
		vague = vague || strncmp(f->object, "page ", 5) != 0;
		return;
	}
	for (uint64_t i = a; i <= b && i < QUEUED + STREAMED; i++)
		l->named[i] = true;
}

static void enter(struct ledger *l, const char *name, uint64_t count, const struct lmq_message *m)
{
	char text[SIZE + 40];
	size_t size;
	text_of(name, m->offset, text);
	size = strlen(text);
	if (m->offset >= count)
		l->extra++;
	else if (m->body.size != (m->offset == 300 ? LARGE : size) || (m->body.data && memcmp(m->body.data, text, size) != 0))
		l->wrong++;
	else
		l->saved[m->offset] = true;
}

static bool read_back(lmq_store *s, struct ledger *l, const char *name, uint64_t count)
{
	lmq_channel *c;
	lmq_reader *r;
	struct lmq_message m;
	struct lmq_check check;
	int rc = lmq_channel_open(s, name, LMQ_ANY, 0, &c);
	if (rc != 0)
		return rc == LMQ_ENOENT;
	rc = lmq_reader_open(c, &r);
	while (rc == 0 && (rc = lmq_reader_next(r, &m)) == 0)
		enter(l, name, count, &m);
	lmq_reader_close(r);
	if (rc == LMQ_END)
		rc = lmq_channel_check(c, &check, NULL, NULL);
	lmq_channel_close(c);
	return rc == 0 && check.damaged == 0;
}

/* Messages of a ledger that are neither saved nor named as lost, or are not what was stored. */
static uint64_t unexplained(const struct ledger *l, uint64_t count)
{
	uint64_t n = l->extra + l->wrong;
	for (uint64_t i = 0; i < count; i++)
		n += !l->saved[i] && !l->named[i];
	return n;
}

static void on_fault(const struct lmq_fault *f, void *context)
{
	(void)context;
	printf("# %s: %s\n", f->object, f->what);
}

/* Repairs the copy, and reads back what was saved. The status of the repair. */
static int repair(struct lmq_rescue *result)
{
	struct lmq_accounts accounts = { .faults = 0 };
	lmq_store *s;
	int rc;
	memset(&queue_ledger, 0, sizeof queue_ledger);
	memset(&stream_ledger, 0, sizeof stream_ledger);
	vague = false;
	remove_saved();
	rc = lmq_store_repair(copy, saved, &s, result, on_loss, NULL, NULL);
	if (rc != 0 && rc != LMQ_EFORMAT)
		printf("# %s\n", lmq_error(s));
	lmq_store_close(s);
	if (rc != 0)
		return rc;
	rc = lmq_store_open(saved, NULL, &s);
	CHECK(rc == 0);
	CHECK(lmq_store_check(s, &accounts, on_fault, NULL, NULL) == 0 && accounts.faults == 0 && !accounts.unreadable);
	CHECK(read_back(s, &queue_ledger, "jobs", QUEUED));
	CHECK(read_back(s, &stream_ledger, "log", STREAMED));
	lmq_store_close(s);
	return rc;
}

/* ---- damages -------------------------------------------------------------------------------- */

enum { PAGE = 4096 };

static size_t damage(uint8_t *data, size_t size)
{
	size_t pages = size / PAGE, page = unit_random_below(pages), other = unit_random_below(pages);
	uint8_t kept[PAGE];
	switch (unit_random_below(6)) {
	case 0:
		return page * PAGE + unit_random_below(2) * 100;
	case 1:
		memset(data + page * PAGE, 0, PAGE);
		break;
	case 2:
		memcpy(kept, data + page * PAGE, PAGE);
		memcpy(data + page * PAGE, data + other * PAGE, PAGE);
		memcpy(data + other * PAGE, kept, PAGE);
		break;
	case 3:
		for (unsigned i = 0; i < PAGE; i++)
			data[page * PAGE + i] = (uint8_t)unit_random();
		break;
	case 4:
		data[page * PAGE + unit_random_below(40)] ^= (uint8_t)(1 + unit_random_below(255));
		break;
	default:
		for (unsigned i = 0; i < 20; i++)
			data[unit_random_below(size)] ^= (uint8_t)(1 + unit_random_below(255));
	}
	return size;
}

TEST(undamaged, "of an undamaged store everything is saved, and nothing has to be mended")
{
	struct lmq_rescue r;
	begin();
	write_image(image, image_size);
	CHECK_EQUAL(repair(&r), 0);
	CHECK_EQUAL(unexplained(&queue_ledger, QUEUED) + unexplained(&stream_ledger, STREAMED), 0);
	CHECK_EQUAL(r.messages, QUEUED + STREAMED);
	CHECK_EQUAL(r.lost_messages + r.lost_pages + r.mended, 0);
	end();
}

TEST(damages, "whatever is damaged: what is saved is what was stored, and what is lost is named")
{
	struct lmq_rescue r;
	uint64_t messages = 0, lost = 0, nothing = 0;
	uint8_t *data;
	begin();
	data = malloc(image_size);
	REQUIRE(data != NULL);
	for (unsigned i = 0; i < TRIALS; i++) {
		unsigned before = unit_failures;
		int rc;
		memcpy(data, image, image_size);
		write_image(data, damage(data, image_size));
		rc = repair(&r);
		CHECK(rc == 0 || rc == LMQ_EFORMAT);
		CHECK(rc != 0 || queue_ledger.wrong + stream_ledger.wrong == 0);
		CHECK(rc != 0 || vague || unexplained(&queue_ledger, QUEUED) + unexplained(&stream_ledger, STREAMED) == 0);
		messages += rc == 0 ? r.messages : 0;
		lost += rc == 0 ? r.lost_messages : 0;
		nothing += rc != 0;
		if (unit_failures > before)
			printf("# damage %u: jobs %llu, log %llu unexplained\n", i,
				(unsigned long long)unexplained(&queue_ledger, QUEUED),
				(unsigned long long)unexplained(&stream_ledger, STREAMED));
	}
	printf("# %d damages: %llu messages saved, %llu lost, %llu files without anything\n", TRIALS,
		(unsigned long long)messages, (unsigned long long)lost, (unsigned long long)nothing);
	free(data);
	end();
}

TEST(metas, "with either meta page gone everything is saved, what the last commit stored too")
{
	struct lmq_rescue r;
	uint8_t *data;
	begin();
	data = malloc(image_size);
	REQUIRE(data != NULL);
	for (unsigned gone = 1; gone < 4; gone++) {
		memcpy(data, image, image_size);
		for (unsigned i = 0; i < 2; i++)
			if (gone & 1u << i)
				memset(data + i * PAGE, 0, PAGE);
		write_image(data, image_size);
		CHECK_EQUAL(repair(&r), 0);
		CHECK_EQUAL(unexplained(&queue_ledger, QUEUED) + unexplained(&stream_ledger, STREAMED), 0);
		CHECK_EQUAL(r.lost_messages + r.lost_pages, 0);
		CHECK_EQUAL(r.messages, QUEUED + STREAMED);
	}
	free(data);
	end();
}

/* What a repair that makes mistakes would leave. */
TEST(control, "a message that is gone, changed, or was never stored is found by the ledger")
{
	struct lmq_rescue r;
	struct lmq_message m = { .offset = 5, .body = { "jobs 6", 6 } };
	begin();
	write_image(image, image_size);
	CHECK_EQUAL(repair(&r), 0);
	queue_ledger.saved[17] = false;
	CHECK_EQUAL(unexplained(&queue_ledger, QUEUED), 1);
	queue_ledger.named[17] = true;
	CHECK_EQUAL(unexplained(&queue_ledger, QUEUED), 0);
	enter(&queue_ledger, "jobs", QUEUED, &m);
	CHECK_EQUAL(unexplained(&queue_ledger, QUEUED), 1);
	m.offset = QUEUED;
	enter(&queue_ledger, "jobs", QUEUED, &m);
	CHECK_EQUAL(unexplained(&queue_ledger, QUEUED), 2);
	end();
}

/* ---- the check of pages ---------------------------------------------------------------------- */

static uint64_t first_fault;

static void note(uint64_t page, const char *what, void *context)
{
	(void)what, (void)context;
	first_fault = first_fault ? first_fault : page;
}

static int check_pages(const char *store, struct pages_count *count)
{
	const struct pages_watch watch = { .fault = note };
	struct snapshot view;
	lmq_store *s;
	int rc = lmq_store_open(store, &(struct lmq_store_options){ .size = sizeof(struct lmq_store_options),
		.flags = LMQ_READ_ONLY }, &s);
	first_fault = 0;
	if (rc == 0) {
		snapshot_init(s, &view);
		rc = snapshot_begin(&view);
		if (rc == 0)
			rc = pages_check(s, view.mdb, count, &watch);
		snapshot_close(&view);
	}
	lmq_store_close(s);
	return rc;
}

TEST(pages, "each page of a sound store is in use or free; a page of which the number is wrong is found")
{
	struct pages_count count;
	uint64_t used, found = 0;
	begin();
	REQUIRE(check_pages(path, &count) == 0);
	CHECK_EQUAL(count.faults, 0);
	CHECK_EQUAL(count.adrift, 0);
	CHECK(count.used > 20 && count.entries > 20);
	used = count.used;
	for (uint64_t page = 2; page < image_size / PAGE; page++) {
		image[page * PAGE] ^= 0x40;
		write_image(image, image_size);
		image[page * PAGE] ^= 0x40;
		CHECK(check_pages(copy, &count) == 0);
		CHECK(count.faults == 0 || first_fault == page);
		found += count.faults > 0;
	}
	/* No value has more than one page of its own; the two meta pages were left alone. */
	CHECK_EQUAL(found, used - 2);
	end();
}

UNIT_MAIN
