/* SPDX-License-Identifier: ISC */
#include "brim.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SENDS = 4000 };

char brim_store[4200];
static char disk[4100], filler[4200];

const char *brim_begin(const struct trial *t)
{
	snprintf(disk, sizeof disk, "%s/small", t->place);
	snprintf(brim_store, sizeof brim_store, "%s/store", disk);
	snprintf(filler, sizeof filler, "%s/filler", disk);
	need(mkdir(disk, 0700) == 0 || errno == EEXIST, "%s: %s", disk, strerror(errno));
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return "no filesystem can be mounted here";
	return NULL;
}

void brim_mount(const char *name)
{
	need(mount("none", disk, "tmpfs", 0, "size=4m,mode=0700") == 0, "%s: mount: %s", name, strerror(errno));
}

void brim_away(const char *name)
{
	need(umount2(disk, MNT_DETACH) == 0, "%s: umount: %s", name, strerror(errno));
}

void brim_fill(unsigned pages)
{
	struct statvfs fs;
	int fd = open(filler, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	need(fd >= 0 && fstatvfs(fd, &fs) == 0 && fs.f_bsize == BRIM_PAGE && fs.f_blocks <= BRIM_SIZE / BRIM_PAGE, "%s: %s",
		filler, strerror(errno));
	if (fs.f_bavail > pages)
		need(posix_fallocate(fd, 0, (off_t)(fs.f_bavail - pages) * BRIM_PAGE) == 0, "%s cannot be filled", filler);
	close(fd);
}

/* ---- what is done there --------------------------------------------------------------------------- */

void brim_run(const char *name, int (*work)(void *), void *argument)
{
	int status = in_child(work, argument);
	if (status == 1)
		exit(1);
	need(status == 0, "%s: a child ended with %d", name, status);
}

int brim_put(struct desk *d, unsigned count, unsigned size, int64_t ttl)
{
	static char body[4096];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	int rc = 0;
	m.body = (struct lmq_bytes){ memset(body, 'x', sizeof body), size };
	m.ttl = ttl;
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = lmq_writer_add(d->writer, d->queue, &m);
	if (rc == 0)
		rc = lmq_writer_commit(d->writer);
	if (rc != 0)
		lmq_writer_discard(d->writer);
	return rc;
}

int brim_send(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, brim_store, 0, 0);
	(void)argument;
	for (int i = 0; rc == 0 && i < SENDS; i++)
		rc = brim_put(&d, 1, 200, 0);
	desk_close(&d);
	return rc == LMQ_ENOSPC ? 0 : rc;
}
