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

static void no_flag(void) { newest->flags = 0; }
static void no_flag_other(void) { other->flags = 0; }
static void magic(void) { newest->magic = other->magic = 1; }
static void magic_second(void) { ((struct meta_page *)images[1])->magic++; }
static void version(void) { newest->version = other->version = 2; }
static void version_second(void) { ((struct meta_page *)images[1])->version++; }
static void small_pages(void) { newest->tree[0].page_size = other->tree[0].page_size = 256; }
static void large_pages(void) { newest->tree[0].page_size = other->tree[0].page_size = 1 << 17; }
static void no_power(void) { newest->tree[0].page_size = other->tree[0].page_size = PAGE + 1; }
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

static void refused(int fd, const char *name, void (*change)(void))
{
	uint8_t kept[2][PAGE];
	lmq_store *s;
	memcpy(kept, images, sizeof kept);
	change();
	put(fd);
	CHECK_ROW(lmq_store_open(place, NULL, &s) == LMQ_EDAMAGED, name);
	CHECK_ROW(strstr(lmq_error(s), "data.mdb") != NULL, name);
	lmq_store_close(s);
	memcpy(images, kept, sizeof kept);
	put(fd);
}

TEST(metas, "a meta page that is wrong in one thing is refused, and right again accepted")
{
#define CHANGE(function) { #function, function }
	static const struct {
		const char *name;
		void (*change)(void);
	} changes[] = {
		CHANGE(no_flag), CHANGE(no_flag_other), CHANGE(magic), CHANGE(magic_second), CHANGE(version),
		CHANGE(version_second), CHANGE(small_pages), CHANGE(large_pages), CHANGE(no_power),
		CHANGE(page_size_second), CHANGE(flags), CHANGE(free_flags), CHANGE(deep_nothing),
		CHANGE(many_in_nothing), CHANGE(low_root), CHANGE(high_root), CHANGE(no_depth), CHANGE(too_deep),
		CHANGE(no_last), CHANGE(long_file), CHANGE(same_number), CHANGE(far_apart), CHANGE(both_moved),
	};
	char path[300];
	int fd, even;
	single_begin(LMQ_QUEUE, NULL);
	CHECK(send_sized(10, 1000) == 0);
	single_end_keeping();
	snprintf(path, sizeof path, "%s/data.mdb", place);
	fd = open(path, O_RDWR);
	for (int i = 0; i < 2; i++)
		REQUIRE(pread(fd, images[i], PAGE, i * PAGE) == PAGE);
	even = ((struct meta_page *)images[0])->transaction > ((struct meta_page *)images[1])->transaction;
	newest = (struct meta_page *)images[even ? 0 : 1];
	other = (struct meta_page *)images[even ? 1 : 0];
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
		refused(fd, changes[i].name, changes[i].change);
	close(fd);
	store = place_open();
	CHECK_EQUAL(stored("it"), 10);
	sound();
	lmq_store_close(store);
	place_remove();
}

UNIT_MAIN
