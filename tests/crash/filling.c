/* SPDX-License-Identifier: ISC */
/*
 * filling [-n COUNT] [-r SEED] [-x STATE] PLACE [early | no-ballast]
 *
 * A disk that is full, in four ways: filesystems of every size from 16 to 512 KiB, in pages; a filesystem on
 * which somebody else left no more than some pages, for every number of them, from the begin or beside a store; and a
 * limit on the size of files, at every page. A store is made there or not, and if not, nothing is left of it. Messages
 * are sent until there is no room. What was acknowledged can be read; on a disk that is full, with a store that is not,
 * it can be received and acknowledged to the last one, and trimmed; where a limit forbids that, the status says so. When
 * there is room again everything goes on.
 *
 * The deliberate faults: messages count as acknowledged before they are; nothing is kept for acknowledging.
 */
#include "people/company.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PAGE = 4096, SMALLEST = 16 << 10, LARGEST = 512 << 10, ROOMY = 8 << 20, SENDS = 500, FIRST = 60, TOGETHER = 30, LOGGED = 12,
	FREE_MOST = 100 };
enum way { SIZES, PAGES_LEFT, TAKEN, LIMITS, WAYS };

static unsigned send_at_most = SENDS, together = 7;
static char disk[4100], store[4200], filler[4200], name[100];
static bool early, no_ballast;
static struct {
	bool made;
	unsigned acknowledged, attempted, settled, settling;
	int status;
	char sentence[256];
} *flow;
static struct {
	uint64_t disks, made, full, stuck;
} seen[WAYS];

/* ---- deliberate fault ------------------------------------------------------------------------- */

int __real_ballast_drop(lmq_store *s);
int __wrap_ballast_drop(lmq_store *s);

int __wrap_ballast_drop(lmq_store *s)
{
	return no_ballast ? 0 : __real_ballast_drop(s);
}

/* ---- the disk ---------------------------------------------------------------------------------- */

static void disk_size(unsigned size, bool again)
{
	char options[64];
	snprintf(options, sizeof options, "size=%u,mode=0700", size);
	need(mount("none", disk, "tmpfs", again ? MS_REMOUNT : 0, options) == 0, "%s: mount: %s", disk, strerror(errno));
}

static void disk_away(void)
{
	need(umount2(disk, MNT_DETACH) == 0, "%s: umount: %s", disk, strerror(errno));
}

/* Leaves that many pages free. */
static void fill(unsigned pages)
{
	struct statvfs fs;
	int fd = open(filler, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	need(fd >= 0 && fstatvfs(fd, &fs) == 0 && fs.f_bsize == PAGE && fs.f_blocks <= ROOMY / PAGE, "%s: %s", filler,
		strerror(errno));
	if (fs.f_bavail > pages)
		need(posix_fallocate(fd, 0, (off_t)(fs.f_bavail - pages) * PAGE) == 0, "%s cannot be filled", filler);
	close(fd);
}

static unsigned entries(void)
{
	DIR *d = opendir(disk);
	struct dirent *e;
	unsigned n = 0;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.' && strcmp(e->d_name, "filler") != 0;
	rewinddir(d);
	while ((e = readdir(d)))	/* what is built there has a name with a dot */
		n += strncmp(e->d_name, ".store", 6) == 0;
	closedir(d);
	return n;
}

static void limit(rlim_t bytes)
{
	struct rlimit l = { bytes, RLIM_INFINITY };
	need(setrlimit(RLIMIT_FSIZE, &l) == 0, "setrlimit: %s", strerror(errno));
}

/* ---- what is done there --------------------------------------------------------------------------- */

static int keep_words(lmq_store *s, int rc)
{
	flow->status = rc;
	snprintf(flow->sentence, sizeof flow->sentence, "%s", lmq_error(s));
	return rc;
}

static int put_log(struct desk *d)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	static char body[700];
	lmq_channel *c;
	int rc = lmq_channel_open(d->store, "log", LMQ_STREAM, LMQ_CREATE, &c);
	m.body = (struct lmq_bytes){ body, sizeof body };
	for (int i = 0; rc == 0 && i < LOGGED; i++) {
		rc = lmq_writer_add(d->writer, c, &m);
		if (rc == 0)
			rc = lmq_writer_commit(d->writer);
	}
	lmq_writer_discard(d->writer);
	lmq_channel_close(c);
	return rc;
}

/* Makes the store, and sends until there is no room. */
static int send_all(void *bytes)
{
	struct desk d;
	int rc;
	if (bytes)
		limit(*(const rlim_t *)bytes);
	rc = desk_open(&d, store, LMQ_CREATE, 0);
	flow->made = d.store && lmq_store_created(d.store);
	if (rc == 0 && flow->acknowledged == 0)
		rc = put_log(&d);
	for (unsigned i = 0; rc == 0 && i < send_at_most; i++) {
		if (early)
			flow->acknowledged = flow->attempted + 1;
		rc = desk_put(&d, "%-200u", flow->attempted++);
		if (rc == 0)
			flow->acknowledged = flow->attempted;
		else if (!early)
			flow->attempted -= rc != LMQ_EUNKNOWN;
	}
	keep_words(d.store, rc);
	desk_close(&d);
	return 0;
}

static int send_first(void *bytes)
{
	send_at_most = FIRST;
	return send_all(bytes);
}

static int receive_all(void *bytes)
{
	struct desk d;
	lmq_receiver *r = NULL;
	struct lmq_message m;
	size_t count;
	int rc;
	if (bytes)
		limit(*(const rlim_t *)bytes);
	rc = desk_open(&d, store, 0, 0);
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	while (rc == 0 && (rc = lmq_receiver_claim(r, together, 1 << 20, &count)) == 0) {
		for (size_t i = 0; rc == 0 && i < count; i++) {
			rc = lmq_receiver_next(r, &m);
			need(rc != 0 || strtoul(m.body.data, NULL, 10) == flow->settled + i, "%s: received %.10s, not %zu", name,
				m.body.data, flow->settled + i);
		}
		flow->settling = flow->settled + (unsigned)count;
		if (rc == 0)
			rc = lmq_receiver_settle(r, count, LMQ_SYNC_FULL);
		if (rc == 0)
			flow->settled += (unsigned)count;
	}
	keep_words(d.store, rc);
	lmq_receiver_close(r);
	desk_close(&d);
	return 0;
}

static int trim_log(void *bytes)
{
	struct lmq_trim what = LMQ_TRIM_INIT;
	uint64_t at = 0, dropped;
	bool more = true;
	lmq_channel *c = NULL;
	lmq_store *s;
	int rc;
	if (bytes)
		limit(*(const rlim_t *)bytes);
	rc = lmq_store_open(store, NULL, &s);
	what.keep = 1;
	if (rc == 0)
		rc = lmq_channel_open(s, "log", LMQ_STREAM, 0, &c);
	while (rc == 0 && more)
		rc = lmq_channel_trim(c, &what, &at, &dropped, &more);
	keep_words(s, rc);
	lmq_channel_close(c);
	lmq_store_close(s);
	return 0;
}

/* ---- what is looked at ------------------------------------------------------------------------------ */

static int look(void *argument)
{
	char *all = stored_texts(store), *end;
	unsigned next = flow->settled;
	(void)argument;
	for (char *p = all; *p; p = end + 1, next++) {
		unsigned long number = strtoul(p, &end, 10);
		if (p == all && number == flow->settling)	/* unknown, and happened */
			next = flow->settled = flow->settling;
		need(number == next, "%s: there is message %lu, not %u", name, number, next);
		end += strspn(end, " ");
	}
	need(next >= flow->acknowledged && next <= flow->attempted, "%s: there are the messages up to %u; %u were acknowledged, "
		"%u tried", name, next, flow->acknowledged, flow->attempted);
	flow->acknowledged = flow->attempted = next;	/* of what was unknown it is known now */
	free(all);
	return 0;
}

static void run(int (*work)(void *), void *bytes, const char *what)
{
	int status = in_child(work, bytes);
	if (status == 1)
		exit(1);
	need(status == 0, "%s: %s ended with %d", name, what, status);
}

static bool is_full(int status)
{
	return status == LMQ_ENOSPC || status == LMQ_EFULL;
}

/* The store, as it is now, with bytes as the limit on files. */
static void use(enum way way, rlim_t *bytes)
{
	struct stat st;
	bool full;
	seen[way].disks++;
	run(send_all, bytes, "sending");
	full = flow->status != 0;
	seen[way].full += full;
	need(!full || is_full(flow->status), "%s: sending ended with %d: %s", name, flow->status, flow->sentence);
	if (lstat(store, &st) != 0) {
		need(entries() == 0, "%s: no store was made, and something is left of it", name);
		return;
	}
	seen[way].made++;
	if (flow->acknowledged == 0)
		return;		/* there may not even be a queue */
	run(look, NULL, "reading");
	run(receive_all, bytes, "receiving");
	need(flow->status == LMQ_END || (way == LIMITS && is_full(flow->status)), "%s: %u of %u messages are acknowledged, then "
		"%d: %s", name, flow->settled, flow->acknowledged, flow->status, flow->sentence);
	seen[way].stuck += flow->status != LMQ_END;
	run(look, NULL, "reading");
	run(trim_log, bytes, "trimming");
	need(flow->status == 0 || (way == LIMITS && is_full(flow->status)), "%s: trimming ended with %d: %s", name, flow->status,
		flow->sentence);
}

/* There is room again. */
static void use_again(void)
{
	run(send_all, NULL, "sending with room again");
	need(flow->status == 0, "%s: with room again sending ended with %d: %s", name, flow->status, flow->sentence);
	run(look, NULL, "reading with room again");
	run(receive_all, NULL, "receiving with room again");
	need(flow->status == LMQ_END && flow->settled == flow->acknowledged, "%s: with room again %u of %u messages are "
		"acknowledged, then %d: %s", name, flow->settled, flow->acknowledged, flow->status, flow->sentence);
}

static void one(enum way way, unsigned pages)
{
	rlim_t bytes = (rlim_t)pages * PAGE;
	pid_t holder = 0;
	static const char *const names[WAYS] = { "a disk of so many pages", "a disk with so many pages left",
		"a disk with so many pages left beside a store", "files of so many pages" };
	trial_state = (uint64_t)way * 10000 + pages;
	snprintf(name, sizeof name, "%s: %u", names[way], pages);
	alarm(60);
	memset(flow, 0, sizeof *flow);
	disk_size(way == SIZES ? pages * PAGE : ROOMY, false);
	together = way == TAKEN ? TOGETHER : 7;
	if (way == TAKEN) {
		run(send_first, NULL, "sending");
		holder = invite_reader(store);
	}
	if (way == PAGES_LEFT || way == TAKEN)
		fill(pages);
	use(way, way == LIMITS ? &bytes : NULL);
	if (way == TAKEN)
		send_away(holder, name);
	if (way == SIZES)
		disk_size(ROOMY, true);
	unlink(filler);
	use_again();
	disk_away();
	trial_state = UINT64_MAX;
}

/* ---- all of them ---------------------------------------------------------------------------------- */

static const char *prepare(const struct trial *t)
{
	early = trial_word(t, "early");
	no_ballast = trial_word(t, "no-ballast");
	snprintf(disk, sizeof disk, "%s/small", t->place);
	snprintf(store, sizeof store, "%s/store", disk);
	snprintf(filler, sizeof filler, "%s/filler", disk);
	flow = shared_memory(sizeof *flow);
	need(mkdir(disk, 0700) == 0 || errno == EEXIST, "%s: %s", disk, strerror(errno));
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
			mount("none", disk, "tmpfs", 0, "size=64k") != 0)
		return "no filesystem can be mounted here";
	disk_away();
	return NULL;
}

static void too_long(int signal)
{
	(void)signal;
	broken("%s: it hangs", name);
}

int main(int argc, char **argv)
{
	static const unsigned first[WAYS] = { SMALLEST / PAGE, 0, 0, 0 };
	static const unsigned behind[WAYS] = { LARGEST / PAGE + 1, (sizeof(struct control) + (256 << 10)) / PAGE + FREE_MOST,
		FREE_MOST, LARGEST / PAGE + 1 };
	struct trial t = trial_begin(argc, argv);
	const char *why = prepare(&t);
	if (why) {
		printf("skipped: %s\n", why);
		return 0;
	}
	signal(SIGALRM, too_long);
	for (int way = 0; way < WAYS; way++)
		for (unsigned i = first[way]; i < behind[way]; i++)
			if (t.only != UINT64_MAX ? t.only == (uint64_t)way * 10000 + i : t.count == 0 ||
					draw(behind[way] - first[way]) < t.count / WAYS)
				one((enum way)way, i);
	for (int way = 0; t.only == UINT64_MAX && way < WAYS; way++)
		need(t.count > 0 || (seen[way].made > 0 && seen[way].full > 0 &&
			(way == TAKEN || seen[way].made < seen[way].disks)),
			"of %llu disks %llu had a store and %llu were full", (unsigned long long)seen[way].disks,
			(unsigned long long)seen[way].made, (unsigned long long)seen[way].full);
	printf("%llu small disks and %llu limits on files, full %llu times, %llu times a limit forbade to acknowledge, 0 bad\n",
		(unsigned long long)(seen[SIZES].disks + seen[PAGES_LEFT].disks + seen[TAKEN].disks), (unsigned long long)seen[LIMITS].disks,
		(unsigned long long)(seen[SIZES].full + seen[PAGES_LEFT].full + seen[TAKEN].full + seen[LIMITS].full),
		(unsigned long long)seen[LIMITS].stuck);
	return 0;
}
