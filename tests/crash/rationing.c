/* SPDX-License-Identifier: ISC */
/*
 * rationing [-n COUNT] [-r SEED] [-x STATE] PLACE [unasked]
 *
 * A quota: the kernel writes what it still allows and no more, and then nothing. LMDB calls both an input/output error.
 * For every 512 bytes between a store and 64 KiB more messages are sent until the quota is used up, which the status has
 * to say; then they are received and acknowledged, and with the quota gone sent again. And a disk that fails, or writes
 * less than it was given, is not called full.
 *
 * The kernel's part is played by this program, whose functions stand in the place of the system's: a real quota needs a
 * kernel and a filesystem that have it.
 *
 * The deliberate fault: an input/output error is believed.
 */
#include "disk/brim.h"
#include "people/company.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SECTOR = 512, STATES = 128, FIRST = 20, SENDS = 1000, RECEIVES = 8 };
enum failure { NONE, QUOTA, BROKEN, SHORT };

static char store[4200], name[100];
static enum failure failure;
static off_t allowed;		/* bytes of all files of the store */
static bool unasked;

int __real_room_error(int fd, int error);
int __wrap_room_error(int fd, int error);

int __wrap_room_error(int fd, int error)
{
	return unasked ? error : __real_room_error(fd, error);
}

/* ---- the kernel ----------------------------------------------------------------------------------- */

static off_t size_of(const char *file)
{
	char path[4300];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", store, file);
	return stat(path, &st) == 0 ? st.st_size : 0;
}

static off_t used(void)
{
	return size_of("data.mdb") + size_of("control");
}

/* How many of size bytes at that place may be written; or -1, and errno. */
static ssize_t grant(int fd, size_t size, off_t at)
{
	struct stat st;
	off_t growth, left;
	if (failure == NONE || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || size == 0)
		return (ssize_t)size;
	if (failure == SHORT && size > SECTOR)
		return (ssize_t)(size / 2);
	growth = at + (off_t)size > st.st_size ? at + (off_t)size - st.st_size : 0;
	left = allowed > used() ? allowed - used() : 0;
	if (failure == QUOTA && growth - left < (off_t)size)
		return (ssize_t)size - (growth > left ? growth - left : 0);
	errno = failure == QUOTA ? EDQUOT : EIO;
	return -1;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	ssize_t n = grant(fd, size, at);
	return n < 0 ? n : syscall(SYS_pwrite64, fd, data, (size_t)n, at);
}

/* As many of the parts as make up what may be written. */
static ssize_t write_parts(int fd, const struct iovec *part, int count, off_t at)
{
	size_t size = 0;
	ssize_t n, done = 0;
	for (int i = 0; i < count; i++)
		size += part[i].iov_len;
	n = grant(fd, size, at);
	for (int i = 0; n >= 0 && i < count && done < n; i++) {
		size_t left = (size_t)(n - done);
		ssize_t one = syscall(SYS_pwrite64, fd, part[i].iov_base, part[i].iov_len < left ? part[i].iov_len : left,
			at + done);
		if (one < 0)
			return one;
		done += one;
	}
	return n < 0 ? n : done;
}

ssize_t pwritev(int fd, const struct iovec *part, int count, off_t at)
{
	return write_parts(fd, part, count, at);
}

ssize_t writev(int fd, const struct iovec *part, int count)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t n;
	if (at < 0)
		return syscall(SYS_writev, fd, part, count);
	n = write_parts(fd, part, count, at);
	if (n > 0)
		lseek(fd, n, SEEK_CUR);
	return n;
}

int posix_fallocate(int fd, off_t at, off_t size)
{
	ssize_t n = grant(fd, (size_t)size, at);
	if (failure == QUOTA && n != size)
		return EDQUOT;
	return syscall(SYS_fallocate, fd, 0, at, size) == 0 ? 0 : errno;
}

/* ---- what is done ----------------------------------------------------------------------------------- */

static int send_first(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, store, LMQ_CREATE, 0);
	(void)argument;
	for (int i = 0; rc == 0 && i < FIRST; i++)
		rc = brim_put(&d, 5, 3000, 0);
	desk_close(&d);
	return rc;
}

static int send_until_full(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, store, 0, 0);
	(void)argument;
	for (int i = 0; rc == 0 && i < SENDS; i++)
		rc = brim_put(&d, 5, 3000, 0);
	need(rc == LMQ_ENOSPC && strstr(lmq_error(d.store), "quota"), "%s: sending ends with %d: %s", name, rc, lmq_error(d.store));
	desk_close(&d);
	return 0;
}

static int send_in_vain(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, store, 0, 0);
	failure = *(enum failure *)argument;
	if (rc == 0)
		rc = brim_put(&d, 5, 3000, 0);
	failure = NONE;
	need(rc == LMQ_EIO, "%s: sending ends with %d: %s", name, rc, lmq_error(d.store));
	desk_close(&d);
	return 0;
}

static int receive(void *argument)
{
	struct lmq_message m;
	lmq_receiver *r = NULL;
	struct desk d;
	size_t count;
	int rc = desk_open(&d, store, 0, 0);
	(void)argument;
	if (rc == 0)
		rc = lmq_receiver_open(d.queue, NULL, &r);
	for (int i = 0; rc == 0 && i < RECEIVES; i++) {
		rc = lmq_receiver_claim(r, 1, 1 << 20, &count);
		if (rc == 0)
			rc = lmq_receiver_next(r, &m);
		if (rc == 0)
			rc = lmq_receiver_settle(r, count, LMQ_SYNC_FULL);
		need(rc == 0, "%s: %d are acknowledged, then %d: %s", name, i, rc, lmq_error(d.store));
	}
	lmq_receiver_close(r);
	desk_close(&d);
	return rc;
}

static void run(int (*work)(void *), void *argument)
{
	int status = in_child(work, argument);
	if (status == 1)
		exit(1);
	need(status == 0, "%s: a child ended with %d", name, status);
}

/* ---- all of it -------------------------------------------------------------------------------------- */

static void one(unsigned state)
{
	pid_t reader;
	trial_state = state;
	snprintf(name, sizeof name, "a quota of %u bytes more", state * SECTOR);
	run(send_first, NULL);
	reader = invite_reader(store);
	allowed = used() + (off_t)state * SECTOR;
	failure = QUOTA;
	run(send_until_full, NULL);
	run(receive, NULL);
	failure = NONE;
	run(send_first, NULL);
	run(receive, NULL);
	send_away(reader, name);
	remove_tree(store);
	trial_state = UINT64_MAX;
}

static void fail_for_real(void)
{
	static enum failure ways[] = { BROKEN, SHORT };
	snprintf(name, sizeof name, "a disk that fails");
	run(send_first, NULL);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		run(send_in_vain, &ways[i]);
	run(send_first, NULL);
	run(receive, NULL);
	remove_tree(store);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	unsigned done = 0;
	unasked = trial_word(&t, "unasked");
	snprintf(store, sizeof store, "%s/store", t.place);
	for (unsigned i = 0; i < STATES; i++)
		if (t.only != UINT64_MAX ? t.only == i : t.count == 0 || draw(STATES) < t.count) {
			one(i);
			done++;
		}
	fail_for_real();
	printf("%u quotas used up, 0 bad\n", done);
	return 0;
}
