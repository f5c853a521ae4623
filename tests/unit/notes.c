/* SPDX-License-Identifier: ISC */
/*
 * What a check says of the data file where its meta pages, or its list of free pages, say what is not so. The store is
 * open meanwhile: whoever opens it looks at some of that first.
 */
#include "single.h"

#include "store/meta.h"

#include <fcntl.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int fd;
static struct meta_page *metas[2];	/* the two, as they are; the newest first */
static uint8_t images[2][PAGE];
static struct lmq_fault faults[20];
static size_t fault_count;

static void note(const struct lmq_fault *fault, void *context)
{
	(void)context;
	if (fault_count < sizeof faults / sizeof *faults)
		faults[fault_count++] = *fault;
}

static void begin(void)
{
	char path[300];
	struct lmq_trim all = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more;
	single_begin(LMQ_STREAM, NULL);
	CHECK(send_sized(1000, 1000) == 0);
	/* So that there are free pages, and some to list them. */
	all.keep = 100;
	CHECK(lmq_channel_trim(channel, &all, &at, &dropped, &more) == 0);
	CHECK(send_sized(1, 10) == 0);
	snprintf(path, sizeof path, "%s/data.mdb", place);
	fd = open(path, O_RDWR);
	for (int i = 0; i < 2; i++) {
		if (pread(fd, images[i], PAGE, i * PAGE) != PAGE)
			abort();
		metas[i] = (struct meta_page *)images[i];
	}
	if (metas[0]->transaction < metas[1]->transaction) {
		struct meta_page *older = metas[0];
		metas[0] = metas[1];
		metas[1] = older;
	}
}

static void end(void)
{
	sound();
	close(fd);
	single_end();
}

static void put(const struct meta_page *m, const void *page)
{
	if (pwrite(fd, page, PAGE, (off_t)m->number * PAGE) != PAGE)
		abort();
}

/* With that in place of the meta page one thing is said, which contains the words. */
static void said(const struct meta_page *m, const struct meta_page *wrong, const char *words)
{
	struct lmq_accounts accounts;
	uint8_t page[PAGE];
	char object[40];
	memcpy(page, m, PAGE);
	memcpy(page, wrong, sizeof *wrong);
	put(m, page);
	fault_count = 0;
	CHECK_ROW(lmq_store_check(store, &accounts, note, NULL, NULL) == 0, lmq_error(store));
	put(m, m);
	snprintf(object, sizeof object, "page %d", (int)m->number);
	CHECK_EQUAL(accounts.faults, 1);
	CHECK(accounts.unreadable);
	CHECK_TEXT(fault_count ? faults[0].object : NULL, object);
	CHECK_ROW(fault_count && strstr(faults[0].what, words), fault_count ? faults[0].what : words);
}

TEST(other, "the meta page of the commit before is looked at too")
{
	struct meta_page wrong;
	begin();
	wrong = *metas[1];
	wrong.magic ^= 1;
	said(metas[1], &wrong, "is no meta page");
	end();
}

TEST(counts, "what the newest meta page counts is counted")
{
	struct meta_page wrong;
	begin();
	for (int tree = 0; tree < 2; tree++) {
		wrong = *metas[0];
		wrong.tree[tree].entries += 5;
		said(metas[0], &wrong, " entries, there are ");
		wrong = *metas[0];
		wrong.tree[tree].leaves++;
		said(metas[0], &wrong, " leaves, there are ");
		wrong = *metas[0];
		wrong.tree[tree].branches++;
		said(metas[0], &wrong, " branches, there are ");
		wrong = *metas[0];
		wrong.tree[tree].overflows += 3;
		said(metas[0], &wrong, " overflow pages, there are ");
	}
	end();
}

TEST(last, "a last page far behind the end of the file is no reason to look for it")
{
	struct meta_page wrong;
	begin();
	wrong = *metas[0];
	wrong.last += 10000;
	said(metas[0], &wrong, "names a last page that lies far beyond the end of the file");
	end();
}

/* Where the numbers of the first entry of the free list begin, within its root, which is a leaf. */
static uint8_t *free_numbers(uint8_t *page)
{
	uint16_t at, key_size;
	memcpy(&at, page + 16, sizeof at);
	memcpy(&key_size, page + at + 6, sizeof key_size);
	return page + at + 8 + key_size;
}

TEST(list, "a page of the free list that lists itself is found")
{
	struct lmq_accounts accounts;
	uint8_t page[PAGE], wrong[PAGE], *numbers;
	char object[40];
	bool found = false;
	uint64_t count, root;
	begin();
	root = metas[0]->tree[0].root;
	REQUIRE(metas[0]->tree[0].depth == 1);
	REQUIRE(pread(fd, page, PAGE, (off_t)(root * PAGE)) == PAGE);
	memcpy(wrong, page, PAGE);
	numbers = free_numbers(wrong);
	memcpy(&count, numbers, sizeof count);
	REQUIRE(count > 0 && count < 300);
	memcpy(numbers + 8 * (root > 100 ? 1 : count), &root, sizeof root);
	REQUIRE(pwrite(fd, wrong, PAGE, (off_t)(root * PAGE)) == PAGE);
	fault_count = 0;
	CHECK(lmq_store_check(store, &accounts, note, NULL, NULL) == 0);
	REQUIRE(pwrite(fd, page, PAGE, (off_t)(root * PAGE)) == PAGE);
	snprintf(object, sizeof object, "page %d", (int)root);
	for (size_t i = 0; i < fault_count; i++)
		found |= strcmp(faults[i].object, object) == 0 &&
			strcmp(faults[i].what, "is in use and in the list of free pages") == 0;
	CHECK(found);
	end();
}

static bool stop(const struct lmq_accounts *sofar, void *context)
{
	unsigned *left = context;
	(void)sofar;
	return (*left)-- > 0;
}

TEST(ended, "a check that is told to end does so at any step, and says so")
{
	struct lmq_accounts accounts;
	int rc = LMQ_EINTR;
	unsigned steps = 0;
	begin();
	for (; rc == LMQ_EINTR && steps < 100; steps++) {
		unsigned left = steps;
		rc = lmq_store_check(store, &accounts, NULL, stop, &left);
		if (rc != 0)
			CHECK(rc == LMQ_EINTR && strstr(lmq_error(store), ": the check was ended"));
	}
	CHECK(rc == 0 && steps > 1);
	end();
}

UNIT_MAIN
