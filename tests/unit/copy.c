/* SPDX-License-Identifier: ISC */
/* Copies that are ended, or begun anew, at any step: there is all or nothing. */
#include "single.h"

#include <sys/stat.h>

static struct {
	unsigned left;		/* steps until something is done */
	unsigned times;		/* how often */
	unsigned seen;
} plan;

static char target[300];

static void send_large(void)
{
	for (int i = 0; i < 40; i++)
		CHECK(send_sized(2, 300000) == 0);
}

static void begin(void)
{
	single_begin(LMQ_STREAM, NULL);
	send_large();
	CHECK(send_sized(1000, 100) == 0);
	snprintf(target, sizeof target, "%s/copy", place);
}

/* So many messages are in the copy, which agrees with itself and goes. */
static void copied(uint64_t count)
{
	lmq_store *from = store;
	char command[400];
	CHECK(lmq_store_open(target, NULL, &store) == 0);
	CHECK_EQUAL(stored("it"), count);
	sound();
	lmq_store_close(store);
	store = from;
	snprintf(command, sizeof command, "rm -r '%s'", target);
	CHECK(system(command) == 0);
}

static void nothing_there(void)
{
	char path[330];
	struct stat st;
	CHECK(stat(target, &st) != 0);
	snprintf(path, sizeof path, "%s/.copy.new/data.mdb", place);
	CHECK(stat(path, &st) != 0 || st.st_size >= 0);
}

static bool stop(const struct lmq_copy *sofar, void *context)
{
	(void)context;
	CHECK(sofar->done <= sofar->size);
	return plan.left-- > 0;
}

TEST(ended, "a copy that is told to end does so at any step, and leaves nothing of its name")
{
	begin();
	for (unsigned flags = 0; flags <= LMQ_COPY_COMPACT; flags++) {
		int rc = LMQ_EINTR;
		unsigned steps = 0;
		for (; rc == LMQ_EINTR && steps < 1000; steps++) {
			plan.left = steps;
			rc = lmq_store_backup(store, target, flags, stop, NULL);
			if (rc != 0) {
				CHECK_EQUAL(rc, LMQ_EINTR);
				CHECK_ROW(strstr(lmq_error(store), " was ended") != NULL, lmq_error(store));
				nothing_there();
			}
		}
		CHECK(rc == 0 && steps > 5);
		copied(1080);
	}
	single_end();
}

/* As somebody does who wants all to close the store and to open it again. */
static bool reopen(const struct lmq_copy *sofar, void *context)
{
	(void)sofar, (void)context;
	plan.seen++;
	if (plan.left > 0 && --plan.left == 0 && plan.times > 0) {
		plan.times--;
		plan.left = 2;
		atomic_fetch_add(&store->control->generation, 1);
	}
	return true;
}

TEST(again, "a copy from under which its snapshot is taken begins anew, and gives up after some times")
{
	begin();
	for (unsigned flags = 0; flags <= LMQ_COPY_COMPACT; flags++) {
		for (unsigned times = 1; times <= 3; times++) {
			plan.left = 3;
			plan.times = times;
			CHECK(lmq_store_backup(store, target, flags, reopen, NULL) == 0);
			CHECK_EQUAL(plan.times, 0);
			copied(1080);
		}
		plan.left = 3;
		plan.times = 100000;
		CHECK(lmq_store_backup(store, target, flags, reopen, NULL) == LMQ_EBUSY);
		CHECK(strstr(lmq_error(store), ": the store changes too fast to be copied") != NULL);
		nothing_there();
	}
	plan.times = 0;
	CHECK(lmq_store_backup(store, target, 0, reopen, NULL) == 0);
	copied(1080);
	sound();
	single_end();
}

/* Others go on, in every step. */
static bool work(const struct lmq_copy *sofar, void *context)
{
	struct lmq_trim all = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more;
	(void)sofar, (void)context;
	plan.seen++;
	all.keep = 500;
	CHECK(send_sized(5, 100) == 0);
	CHECK(lmq_channel_trim(channel, &all, &at, &dropped, &more) == 0);
	return true;
}

TEST(meanwhile, "a copy is one state, whatever is committed meanwhile in the same process")
{
	begin();
	for (unsigned flags = 0; flags <= LMQ_COPY_COMPACT; flags++) {
		uint64_t before;
		/* Those of the first round have been trimmed, and swept. */
		if (flags)
			send_large();
		before = stored("it");
		plan.seen = 0;
		CHECK(lmq_store_backup(store, target, flags, work, NULL) == 0);
		CHECK(plan.seen > 3);
		copied(before);
	}
	sound();
	single_end();
}

UNIT_MAIN
