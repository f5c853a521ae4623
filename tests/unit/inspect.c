/* SPDX-License-Identifier: ISC */
/* A meta page that is wrong in one thing only is refused before LMDB sees it. */
#include "single.h"

#include "store/meta.h"

#include <fcntl.h>
#include <lmdb.h>

enum { PAGE = 4096 };
static const uint64_t none = UINT64_MAX;

static struct meta_page *newest, *other;	/* as they are, and as a change leaves them */
static uint8_t images[2][PAGE];
static unsigned there;		/* messages */

static void no_flag(void) { ((struct meta_page *)images[0])->flags = 0; }
static void no_flag_second(void) { ((struct meta_page *)images[1])->flags = 0; }
static void magic(void) { newest->magic = other->magic = 1; }
static void magic_second(void) { ((struct meta_page *)images[1])->magic++; }
static void version(void) { newest->version = other->version = 2; }
static void version_second(void) { ((struct meta_page *)images[1])->version++; }
static void small_pages(void) { newest->tree[0].page_size = other->tree[0].page_size = 256; }
static void large_pages(void) { newest->tree[0].page_size = other->tree[0].page_size = 1 << 17; }
/* Where such pages would have it, the other one has to be found. */
static void no_power(void)
{
	newest->tree[0].page_size = other->tree[0].page_size = PAGE + 512;
	memcpy(images[1] + 512, images[1], sizeof(struct meta_page));
}
static void page_size_second(void) { ((struct meta_page *)images[1])->tree[0].page_size *= 2; }
static void flags(void) { newest->tree[1].flags = 4; }
static void free_flags(void) { newest->tree[0].flags = 0; }
static void deep_nothing(void) { newest->tree[0].root = none; newest->tree[0].depth = 1; newest->tree[0].entries = 0; }
static void many_in_nothing(void) { newest->tree[1].root = none; newest->tree[1].depth = 0; newest->tree[1].entries = 1; }
static void low_root(void) { newest->tree[1].root = 1; }
static void high_root(void) { newest->tree[1].root = 1 << 20; }
static void no_depth(void) { newest->tree[1].depth = 0; }
static void too_deep(void) { newest->tree[1].depth = 33; }
static void no_last(void) { newest->last = 0; }
static void long_file(void) { newest->last = 1 << 20; }
static void same_number(void) { other->transaction = newest->transaction; }
static void far_apart(void) { newest->transaction += 2; }
static void both_moved(void) { newest->transaction++; other->transaction++; }

static void put(int fd)
{
	for (int i = 0; i < 2; i++)
		if (pwrite(fd, images[i], PAGE, i * PAGE) != PAGE)
			abort();
}

/* Accepted, with all that is in it. */
static void accepted(const char *name)
{
	int rc = lmq_store_open(place, NULL, &store);
	CHECK_ROW(rc == 0 && stored("it") == there, name);
	lmq_store_close(store);
}

static void refused(int fd, const char *name, void (*change)(void), const char *why)
{
	uint8_t kept[2][PAGE];
	char sentence[400];
	lmq_store *s;
	snprintf(sentence, sizeof sentence, "%s: the store is damaged: %s", place, why);
	memcpy(kept, images, sizeof kept);
	change();
	put(fd);
	CHECK_ROW(lmq_store_open(place, NULL, &s) == LMQ_EDAMAGED, name);
	CHECK_TEXT(lmq_error(s), sentence);
	lmq_store_close(s);
	memcpy(images, kept, sizeof kept);
	put(fd);
	accepted(name);
}

#define NO_META "data.mdb has no valid meta page"
#define APART "the meta pages of data.mdb do not belong together"
#define CHANGE(function, why) { #function, function, why }
static const struct {
	const char *name;
	void (*change)(void);
	const char *why;
} changes[] = {
	CHANGE(no_flag, NO_META), CHANGE(no_flag_second, NO_META),
	CHANGE(magic, NO_META), CHANGE(magic_second, NO_META),
	CHANGE(version, NO_META), CHANGE(version_second, NO_META),
	CHANGE(small_pages, NO_META), CHANGE(large_pages, NO_META), CHANGE(no_power, NO_META),
	CHANGE(page_size_second, NO_META), CHANGE(flags, NO_META), CHANGE(free_flags, NO_META),
	CHANGE(deep_nothing, NO_META), CHANGE(many_in_nothing, NO_META), CHANGE(low_root, NO_META),
	CHANGE(high_root, NO_META), CHANGE(no_depth, NO_META), CHANGE(too_deep, NO_META), CHANGE(no_last, NO_META),
	CHANGE(long_file, "data.mdb is cut short"),
	CHANGE(same_number, APART), CHANGE(far_apart, APART), CHANGE(both_moved, APART),
};

/* Of a store into which so many messages were sent; whether its first meta page is the newest. */
static bool change_all(unsigned messages)
{
	char path[300];
	bool first;
	int fd;
	single_begin(LMQ_QUEUE, NULL);
	for (there = 0; there < messages; there++)
		CHECK(send_sized(1, 1000) == 0);
	single_end_keeping();
	snprintf(path, sizeof path, "%s/data.mdb", place);
	fd = open(path, O_RDWR);
	for (int i = 0; i < 2; i++)
		if (pread(fd, images[i], PAGE, i * PAGE) != PAGE)
			abort();
	first = ((struct meta_page *)images[0])->transaction > ((struct meta_page *)images[1])->transaction;
	newest = (struct meta_page *)images[first ? 0 : 1];
	other = (struct meta_page *)images[first ? 1 : 0];
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
		refused(fd, changes[i].name, changes[i].change, changes[i].why);
	close(fd);
	store = place_open();
	sound();
	lmq_store_close(store);
	place_remove();
	return first;
}

TEST(metas, "a meta page that is wrong in one thing is refused with a sentence, and right again accepted")
{
	CHECK(change_all(3) != change_all(4));
}

UNIT_MAIN
