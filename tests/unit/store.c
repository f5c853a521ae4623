/* SPDX-License-Identifier: ISC */
/* Opening a store, its limits, and the sentences that go with them. */
#include "single.h"

#include "store/meta.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *in_place(const char *words)
{
	static char text[400];
	snprintf(text, sizeof text, "%s: %s", place, words);
	return text;
}

/* ---- opening -------------------------------------------------------------------------------- */

static void open_at(const char *path, unsigned flags, int status, const char *words)
{
	struct lmq_store_options options = { .size = sizeof options, .flags = flags };
	lmq_store *s;
	CHECK_EQUAL(lmq_store_open(path, &options, &s), status);
	CHECK_ROW(strstr(lmq_error(s), words) != NULL, lmq_error(s));
	lmq_store_close(s);
}

TEST(long_names, "a name that is too long for a store is refused, however long it is, and nothing is left")
{
	char path[2 * PATH_MAX];
	lmq_store *s;
	place_make();
	for (size_t n = 247; n < 300; n = n < 258 ? n + 1 : n + 40) {
		snprintf(path, sizeof path, "%s/", place);
		memset(path + strlen(place) + 1, 'x', n);
		path[strlen(place) + 1 + n] = '\0';
		if (n < 250)
			open_at(path, LMQ_CREATE, 0, "");
		else if (n <= NAME_MAX)
			open_at(path, LMQ_CREATE, LMQ_ECREATE, "cannot create the store: File name too long");
		else
			open_at(path, LMQ_CREATE, LMQ_ESYSTEM, "File name too long");
	}
	strcpy(path + strlen(place), "/s");
	CHECK(lmq_store_open(path, &(struct lmq_store_options){ .size = sizeof(struct lmq_store_options),
		.flags = LMQ_CREATE }, &s) == 0);
	memset(path, 'x', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	CHECK(lmq_store_backup(s, path, 0, NULL, NULL) == LMQ_ECREATE);
	lmq_store_close(s);
	place_remove();
}

TEST(deep, "of a path that is longer than a sentence the end is said, and what is wrong there")
{
	char path[PATH_MAX];
	size_t n;
	place_make();
	n = (size_t)snprintf(path, sizeof path, "%s", place);
	for (int i = 0; i < 5; i++) {
		n += (size_t)snprintf(path + n, sizeof path - n, "/%0200d", i);
		REQUIRE(mkdir(path, 0700) == 0);
	}
	open_at(path, 0, LMQ_ENOENT, "0004: not a store");
	strcpy(path + n, "/none");
	open_at(path, 0, LMQ_ENOENT, "0004/none: no such store");
	open_at(path, LMQ_CREATE, 0, "");
	place_remove();
}

TEST(formats, "a store of another format is refused, by its marker and by its record")
{
	static const struct { const char *text; int status; const char *words; } list[] = {
		{ "mq store 99\n", LMQ_EFORMAT, "a store of format 99; this program knows format" },
		{ "mq store 1\n", LMQ_EFORMAT, "a store of format 1; this program knows format" },
		{ "mq store x\n", LMQ_EDAMAGED, "is not a marker of a store" },
		{ "", LMQ_EDAMAGED, "is not a marker of a store" },
	};
	char path[300];
	single_begin(LMQ_QUEUE, NULL);
	single_end_keeping();
	snprintf(path, sizeof path, "%s/" MARKER_NAME, place);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		FILE *f = fopen(path, "w");
		REQUIRE(f && fputs(list[i].text, f) >= 0 && fclose(f) == 0);
		open_at(place, 0, list[i].status, list[i].words);
	}
	place_remove();
}

/* Both meta pages as they are, but for that; the second one begins where the first says that it does. */
static void open_metas(uint32_t version, uint32_t page_size, uint64_t root)
{
	static uint8_t image[2 * 4096];
	struct meta_page m[2];
	char path[300];
	FILE *f;
	single_begin(LMQ_QUEUE, NULL);
	single_end_keeping();
	snprintf(path, sizeof path, "%s/data.mdb", place);
	f = fopen(path, "r+");
	REQUIRE(f && fread(image, 1, sizeof image, f) == sizeof image);
	for (int i = 0; i < 2; i++) {
		memcpy(&m[i], image + i * 4096, sizeof m[i]);
		m[i].version = version;
		m[i].tree[0].page_size = page_size;
		m[i].tree[1].root = root;
		REQUIRE(fseek(f, (long)(i * page_size), SEEK_SET) == 0 && fwrite(&m[i], sizeof m[i], 1, f) == 1);
	}
	REQUIRE(fclose(f) == 0);
	open_at(place, 0, LMQ_EDAMAGED, "the store is damaged: data.mdb has no valid meta page");
	place_remove();
}

TEST(metas, "meta pages that agree on what cannot be are refused")
{
	open_metas(2, 4096, 2);
	open_metas(META_VERSION, 768, 2);
	open_metas(META_VERSION, 4096, 1);
	open_metas(META_VERSION, 4096, UINT64_C(1) << 40);
}

static void newer(struct store_record *r)
{
	r->version = FORMAT_VERSION + 1;
}

static void strange(struct store_record *r)
{
	r->features = 4;
}

TEST(records, "a record of the store that asks for what is not known stops readers and writers, and changes nothing")
{
	struct lmq_property list[LMQ_PROPERTY_MAX];
	size_t count;
	for (int i = 0; i < 2; i++) {
		single_begin(LMQ_QUEUE, NULL);
		CHECK(send_sized(1, 10) == 0);
		store_change(i ? strange : newer);
		CHECK(lmq_store_properties(store, list, &count) == LMQ_EFORMAT);
		CHECK_TEXT(lmq_error(store), in_place("a store of a newer format"));
		CHECK(send_sized(1, 10) == LMQ_EFORMAT);
		CHECK_EQUAL(stored("it"), 1);
		single_end();
	}
}

TEST(reading, "who opened a store for reading only cannot write, and is told so")
{
	struct lmq_store_options options = { .size = sizeof options, .flags = LMQ_READ_ONLY };
	single_begin(LMQ_QUEUE, NULL);
	single_end_keeping();
	CHECK(lmq_store_open(place, &options, &store) == 0);
	CHECK(!lmq_store_created(store));
	CHECK_TEXT(lmq_error(store), "");
	CHECK(lmq_channel_remove(store, "it") == LMQ_EACCES);
	CHECK_TEXT(lmq_error(store), in_place("the store is open for reading only"));
	good(lmq_channel_open(store, "it", LMQ_QUEUE, 0, &channel));
	good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
	CHECK(send_sized(1, 10) == LMQ_EACCES);
	single_end();
}

TEST(free_list, "a long list of free pages, that a reader kept from being used, is no reason to refuse a store")
{
	struct lmq_message m;
	lmq_receiver *r;
	lmq_reader *reader;
	single_begin(LMQ_QUEUE, NULL);
	CHECK(send_sized(1, 10) == 0);
	good(lmq_reader_open(channel, &reader));
	CHECK(lmq_reader_next(reader, &m) == 0);
	r = receiver_of(channel, NULL);
	for (int i = 0; i < 300; i++) {
		CHECK(send_sized(1, 10) == 0);
		CHECK_EQUAL(claim(r, 1), i);
		CHECK(lmq_receiver_settle(r, 1, LMQ_SYNC_RELAXED) == 0);
	}
	lmq_receiver_close(r);
	lmq_reader_close(reader);
	single_end_keeping();
	store = place_open();
	good(lmq_channel_open(store, "it", LMQ_QUEUE, 0, &channel));
	good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
	CHECK(send_sized(1, 10) == 0);
	CHECK_EQUAL(stored("it"), 2);
	sound();
	single_end();
}

/* ---- other processes ------------------------------------------------------------------------- */

/* As a process of another PID namespace leaves the control file. */
static void pretend(lmq_store *s, uint64_t namespace)
{
	atomic_store(&s->control->pid_namespace, namespace);
	atomic_store(&s->control->namespace_seal, (uint32_t)((namespace + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32));
}

TEST(namespaces, "a store in use by another PID namespace is refused, and taken over once it is not in use")
{
	int ready[2];
	char c;
	pid_t pid;
	single_begin(LMQ_QUEUE, NULL);
	single_end_keeping();
	REQUIRE(pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		pretend(place_open(), 12345);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	REQUIRE(read(ready[0], &c, 1) == 1);
	open_at(place, 0, LMQ_EFORMAT, "in use by processes of another PID namespace (container)");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	open_at(place, 0, 0, "");
	close(ready[0]);
	close(ready[1]);
	place_remove();
}

TEST(readers, "when all slots for readers are taken one is told; writers go on; a pause makes room")
{
	enum { SLOTS = 1022, MANY = 1300 };	/* so many at least, and more than there are */
	static lmq_reader *reader[MANY];
	struct lmq_channel_info info;
	struct lmq_message m;
	int count = 0, rc = 0;
	single_begin(LMQ_STREAM, NULL);
	CHECK(send_sized(3, 10) == 0);
	while (rc == 0 && count < MANY) {
		good(lmq_reader_open(channel, &reader[count]));
		rc = lmq_reader_next(reader[count++], &m);
	}
	CHECK_EQUAL(rc, LMQ_EBUSY);
	CHECK_TEXT(lmq_error(store), in_place("too many processes read the store at once"));
	CHECK(count > SLOTS);
	CHECK(lmq_channel_info(channel, &info) == LMQ_EBUSY);
	CHECK(send_sized(1, 10) == 0);
	lmq_reader_pause(reader[0]);
	CHECK(lmq_reader_next(reader[count - 1], &m) == 0);
	CHECK(lmq_reader_next(reader[0], &m) == LMQ_EBUSY);
	lmq_reader_pause(reader[5]);
	CHECK(lmq_reader_next(reader[0], &m) == 0 && m.offset == 1);
	while (count > 0)
		lmq_reader_close(reader[--count]);
	CHECK(lmq_channel_info(channel, &info) == 0 && info.messages == 4);
	single_end();
}

/* Takes all slots, and keeps them. */
static void crowd(int ready)
{
	struct lmq_message m;
	lmq_reader *reader;
	store = place_open();
	good(lmq_channel_open(store, "it", LMQ_ANY, 0, &channel));
	do
		good(lmq_reader_open(channel, &reader));
	while (lmq_reader_next(reader, &m) == 0);
	if (write(ready, "", 1) == 1)
		pause();
	_exit(1);
}

TEST(crowded, "where another process has them all a store can be opened and written, and read when that one is dead")
{
	struct lmq_channel_info info;
	int ready[2];
	char c;
	pid_t pid;
	single_begin(LMQ_STREAM, NULL);
	CHECK(send_sized(3, 10) == 0);
	single_end_keeping();
	REQUIRE(pipe(ready) == 0);
	pid = fork();
	if (pid == 0)
		crowd(ready[1]);
	REQUIRE(read(ready[0], &c, 1) == 1);
	store = place_open();
	CHECK(lmq_channel_open(store, "it", LMQ_ANY, 0, &channel) == LMQ_EBUSY);
	CHECK_TEXT(lmq_error(store), in_place("too many processes read the store at once"));
	CHECK(lmq_channel_rename(store, "it", "that") == 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	good(lmq_channel_open(store, "that", LMQ_ANY, 0, &channel));
	CHECK(lmq_channel_info(channel, &info) == 0 && info.messages == 3);
	good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
	close(ready[0]);
	close(ready[1]);
	single_end();
}

/* ---- words ---------------------------------------------------------------------------------- */

TEST(failures, "what LMDB answers has a status and a sentence")
{
	static const struct { int rc, status; const char *words; } list[] = {
		{ MDB_MAP_FULL, LMQ_EFULL, "it: the store has no room left in its map" },
		{ MDB_MAP_RESIZED, LMQ_ENOMEM, "it: the store is larger than this process may map" },
		{ MDB_READERS_FULL, LMQ_EBUSY, "it: too many processes read the store at once" },
		{ MDB_TXN_FULL, LMQ_ELIMIT, "it: more than one transaction takes" },
		{ MDB_VERSION_MISMATCH, LMQ_EFORMAT, "it: data file of another version of LMDB" },
		{ MDB_BAD_VALSIZE, LMQ_EBUG,
			"it: MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size" },
		{ ENOSPC, LMQ_ENOSPC, "it: the disk is full" },
		{ EDQUOT, LMQ_ENOSPC, "it: the disk quota is used up" },
		{ EROFS, LMQ_EACCES, "it: the filesystem is read-only" },
		{ EPERM, LMQ_EACCES, "it: permission denied" },
		{ ENOMEM, LMQ_ENOMEM, "it: out of memory" },
		{ EMFILE, LMQ_ESYSTEM, "it: Too many open files" },
	};
	single_begin(LMQ_QUEUE, NULL);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		CHECK_EQUAL(fail_lmdb(store, "it", list[i].rc), list[i].status);
		CHECK_TEXT(lmq_error(store), list[i].words);
		CHECK_TEXT(lmq_hint(store), "");
	}
	CHECK_EQUAL(fail_lmdb(store, "it", MDB_CORRUPTED), LMQ_EDAMAGED);
	single_end();
}

TEST(words, "every status has a few words, and people without a handle get some too")
{
	for (int status = LMQ_OK; status >= LMQ_ECONFLICT; status--)
		CHECK_ROW(*lmq_strerror(status) && strcmp(lmq_strerror(status), "an unknown status") != 0,
			lmq_strerror(status));
	CHECK_TEXT(lmq_strerror(LMQ_ECONFLICT - 1), "an unknown status");
	CHECK_TEXT(lmq_strerror(1), "an unknown status");
	CHECK_TEXT(lmq_strerror(INT_MIN), "an unknown status");
	CHECK_TEXT(lmq_version(), LMQ_VERSION);
	CHECK_TEXT(lmq_hint(NULL), "");
	lmq_store_close(NULL);
}

TEST(recovered, "in the middle of a transaction, or while it is shut, a store is not closed and opened under its user")
{
	struct txn t;
	single_begin(LMQ_QUEUE, NULL);
	good(txn_begin(store, &t));
	CHECK(store_recover(store) == LMQ_EDAMAGED);
	txn_abort(&t);
	store->shut = true;
	CHECK(store_recover(store) == LMQ_EDAMAGED);
	store->shut = false;
	CHECK(store_recover(store) == 0);
	CHECK(send_sized(1, 1) == 0);
	single_end();
}

TEST(replaced, "who has a store open notices before he writes that another file has got the name of one of its own")
{
	static const char *const names[] = { "data.mdb", "control" };
	for (int i = 0; i < 2; i++) {
		char command[1000];
		single_begin(LMQ_QUEUE, NULL);
		snprintf(command, sizeof command, "cd '%s' && cp %s other && mv other %s", place, names[i], names[i]);
		CHECK(system(command) == 0);
		CHECK(send_sized(1, 1) == LMQ_EIO);
		CHECK_TEXT(lmq_error(store), in_place("the store was removed or replaced while in use"));
		single_end();
	}
}

TEST(deadlines, "a deadline lies ahead by what was asked for, and never behind all times")
{
	int64_t now = lmq_deadline(0);
	CHECK(lmq_deadline(-5) >= now && lmq_deadline(-5) <= lmq_deadline(0));
	CHECK(lmq_deadline(INT64_MIN) >= now && lmq_deadline(INT64_MIN) <= lmq_deadline(0));
	CHECK(lmq_deadline(1000) >= now + 1000);
	CHECK(lmq_deadline(LMQ_FOREVER) == LMQ_FOREVER);
	CHECK(lmq_deadline(LMQ_FOREVER - 1) == LMQ_FOREVER);
}

UNIT_MAIN
