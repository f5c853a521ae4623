/* SPDX-License-Identifier: ISC */
/*
 * damaging STORE [SECONDS] [SEED]
 *
 * Bytes of the data file that no version of ours has written: a small store's file is changed in one place,
 * or cut, and everything that a tool does is done with it in a child. First each byte of both meta pages gets
 * three values, and the file is cut at many places: any status is good, a death by a signal, or no end, is not.
 * Then pages are changed at random, most of them in their headers: LMDB does not check these and may die of them,
 * but what is delivered must be what was sent.
 */
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { META = 160, HANG = 5, LEAST = 800, LARGE = 70000, MEMORY = 64 << 20, WRONG = 3 };

static const char *path;
static char file[4096];
static uint8_t *whole;		/* the sound file */
static size_t size, page;
static bool quiet;
static unsigned tried, died, wrong;

/* ---- what tools do ------------------------------------------------------------------------ */

/* Bodies are made of their length: byte i is i + length. */
static void check_piece(const struct lmq_message *m, uint64_t at, const struct lmq_bytes *piece)
{
	for (size_t i = 0; i < piece->size; i++)
		if ((uint8_t)piece->data[i] != (uint8_t)(m->body.size + at + i))
			_exit(WRONG);
}

static void read_all(lmq_channel *c)
{
	struct lmq_message m;
	struct lmq_bytes piece = { 0 };
	lmq_reader *r;
	if (lmq_reader_open(c, &r) != 0)
		return;
	while (lmq_reader_next(r, &m) == 0)
		for (uint64_t at = 0; lmq_reader_body(r, at, &piece) == 0 && piece.size > 0;) {
			check_piece(&m, at, &piece);
			at += piece.size;
		}
	lmq_reader_seek(r, LMQ_SEEK_TIME, lmq_now() - 1000000);
	lmq_reader_next(r, &m);
	lmq_reader_seek(r, LMQ_SEEK_LAST, 2);
	lmq_reader_next(r, &m);
	lmq_reader_close(r);
}

static void receive(lmq_channel *c)
{
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	if (lmq_receiver_open(c, NULL, &r) != 0)
		return;
	for (int i = 0; i < 3 && lmq_receiver_claim(r, 10, 1 << 20, &count) == 0; i++) {
		while (lmq_receiver_next(r, &m) == 0)
			;
		lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED);
		lmq_receiver_release(r);
	}
	lmq_receiver_close(r);
}

static void send_more(lmq_store *s, lmq_channel *c)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_writer *w;
	if (lmq_writer_open(s, LMQ_SYNC_RELAXED, &w) != 0)
		return;
	m.body = (struct lmq_bytes){ "\5\6\7\10\11", 5 };
	for (int i = 0; i < 100; i++)
		if (lmq_writer_add(w, c, &m) != 0)
			break;
	lmq_writer_commit(w);
	lmq_writer_close(w);
}

static void use_channel(lmq_store *s, const char *name)
{
	struct lmq_property list[LMQ_PROPERTY_MAX];
	struct lmq_channel_info info;
	lmq_channel *c;
	size_t count;
	if (lmq_channel_open(s, name, LMQ_ANY, 0, &c) != 0)
		return;
	lmq_channel_info(c, &info);
	lmq_channel_properties(c, list, &count);
	read_all(c);
	receive(c);
	send_more(s, c);
	read_all(c);
	lmq_channel_close(c);
}

static int use(void *argument)
{
	struct lmq_channel_info *list = NULL;
	size_t count;
	bool more = true;
	lmq_store *s;
	(void)argument;
	alarm(HANG);
#ifndef __SANITIZE_ADDRESS__
	setrlimit(RLIMIT_DATA, &(struct rlimit){ MEMORY, MEMORY });
#endif
	if (lmq_store_open(path, NULL, &s) == 0) {
		if (lmq_channel_list(s, NULL, LMQ_ANY, &list, &count) == 0)
			free(list);
		use_channel(s, "jobs");
		use_channel(s, "log");
		lmq_channel_remove(s, "jobs");
		for (int i = 0; i < 100 && more && lmq_store_sweep(s, &more) == 0; i++)
			;
	}
	lmq_store_close(s);
	return 0;
}

/* ---- the store ---------------------------------------------------------------------------- */

static int make(void *argument)
{
	static char body[LARGE];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct desk d;
	lmq_channel *log;
	int rc = desk_open(&d, path, LMQ_CREATE, 0);
	(void)argument;
	if (rc == 0)
		rc = lmq_channel_open(d.store, "log", LMQ_STREAM, LMQ_CREATE, &log);
	for (unsigned i = 0; rc == 0 && i < 120; i++) {
		m.body = (struct lmq_bytes){ body, i == 67 ? LARGE : i * 3 };
		for (size_t j = 0; j < m.body.size; j++)
			body[j] = (char)(m.body.size + j);
		rc = lmq_writer_add(d.writer, i % 2 ? d.queue : log, &m);
		if (rc == 0 && i % 5 == 0)
			rc = lmq_writer_commit(d.writer);
	}
	if (rc == 0)
		rc = lmq_writer_commit(d.writer);
	desk_close(&d);
	return rc;
}

static void load(void)
{
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	need(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", file, strerror(errno));
	size = (size_t)st.st_size;
	page = 4096;
	whole = malloc(size);
	need(whole && read(fd, whole, size) == (ssize_t)size, "%s: %s", file, strerror(errno));
	close(fd);
}

/* Writes the first length bytes and uses them. */
static void try(const uint8_t *bytes, size_t length, const char *what, size_t at)
{
	int status, fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
	need(fd >= 0 && write(fd, bytes, length) == (ssize_t)length, "%s: %s", file, strerror(errno));
	close(fd);
	status = in_child(use, NULL);
	tried++;
	wrong += status == WRONG;
	died += status > 128;
	if (status == 0 || quiet)
		return;
	fprintf(stderr, "%s at %zu, page %zu byte %zu: ended with %d\n", what, at, at / page, at % page, status);
}

static void changed(size_t at, uint8_t value, uint8_t *bytes)
{
	uint8_t before = bytes[at];
	char what[64];
	if (before == value)
		return;
	bytes[at] = value;
	snprintf(what, sizeof what, "byte %02x changed to %02x", before, value);
	try(bytes, size, what, at);
	bytes[at] = before;
}

static void change_metas(uint8_t *bytes)
{
	for (size_t i = 0; i < 2 * META; i++) {
		size_t at = i < META ? i : page + i - META;
		changed(at, 0, bytes);
		changed(at, 0xff, bytes);
		changed(at, bytes[at] ^ 1 << draw(8), bytes);
	}
}

static void cut(uint8_t *bytes)
{
	for (size_t length = 0; length < size; length += length < 2 * page ? 511 : 2049)
		try(bytes, length, "a cut", length);
}

/* Pages behind the metas. */
static void change_randomly(uint8_t *bytes)
{
	size_t at = page * (2 + draw((uint32_t)(size / page) - 2));
	switch (draw(7)) {
	case 1:
		memset(bytes + at, draw(2) ? 0 : 0xff, page);
		try(bytes, size, "a wiped page", at);
		memcpy(bytes + at, whole + at, page);
		break;
	case 2:
		memcpy(bytes + at, whole + page * draw((uint32_t)(size / page)), page);
		try(bytes, size, "a page of elsewhere", at);
		memcpy(bytes + at, whole + at, page);
		break;
	case 3:
		changed(at + draw((uint32_t)page), (uint8_t)draw(256), bytes);
		break;
	case 4:
		at += page - 1 - draw(256);
		changed(at, (uint8_t)draw(256), bytes);
		break;
	default:
		changed(at + draw(64), (uint8_t)draw(256), bytes);
	}
}

int main(int argc, char **argv)
{
	int64_t deadline;
	uint8_t *bytes;
	int errors;
	need(argc > 1, "usage: damaging STORE [SECONDS] [SEED]");
	path = argv[1];
	deadline = lmq_deadline((argc > 2 ? atoi(argv[2]) : 8) * INT64_C(1000) * MS);
	if (argc > 3)
		seed = strtoull(argv[3], NULL, 10);
	snprintf(file, sizeof file, "%s/data.mdb", path);
	need(in_child(make, NULL) == 0, "the store cannot be made");
	load();
	bytes = malloc(size);
	memcpy(bytes, whole, size);
	try(bytes, size, "no change", 0);
	need(died == 0, "a sound store is not usable");
	change_metas(bytes);
	cut(bytes);
	need(died == 0, "%u of %u changed files killed a process", died, tried);
	quiet = true;
	errors = dup(2);
	dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);	/* LMDB's last words */
	while (clock_monotonic() < deadline)
		change_randomly(bytes);
	dup2(errors, 2);
	printf("%u changed files of %zu bytes, LMDB died of %u\n", tried, size, died);
	need(wrong == 0, "%u times something was delivered that was never sent", wrong);
	need(tried > LEAST, "only %u changed files were tried", tried);
	return 0;
}
