/* SPDX-License-Identifier: ISC */
/*
 * filling DIRECTORY
 *
 * A small filesystem on which somebody else left no more than some pages, for every number of them: a store is
 * made there or not, and if not, nothing is left of it; messages are sent until there is no room, what was
 * acknowledged can be read, and when there is room again everything goes on.
 */
#include "crash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A new store is its control file and a few dozen pages. */
enum { PAGE = 4096, CREATE_PAGES = sizeof(struct control) / PAGE + 64, SEND_PAGES = 24, SENDS = 120 };

static char store[4200], filler[4200];
static const char *directory;
static struct {
	unsigned acknowledged, attempted;
} *sent;

/* Leaves that many pages free. */
static void fill(unsigned pages)
{
	static char zeros[PAGE];
	struct statvfs fs;
	int fd = open(filler, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	need(fd >= 0 && fstatvfs(fd, &fs) == 0 && fs.f_bsize == PAGE, "%s: %s", filler, strerror(errno));
	for (fsblkcnt_t i = fs.f_bavail; i > pages; i--)
		need(write(fd, zeros, PAGE) == PAGE, "%s: %s", filler, strerror(errno));
	close(fd);
}

static unsigned entries(void)
{
	DIR *d = opendir(directory);
	unsigned n = 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static int make(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, LMQ_CREATE, 0);
	desk_close(&d);
	return rc;
}

static int send_many(void *argument)
{
	struct desk d;
	int rc = desk_open(&d, argument, LMQ_CREATE, 0);
	for (unsigned i = 0; rc == 0 && i < SENDS; i++) {
		sent->attempted++;
		rc = desk_put(&d, "%-200u", sent->attempted - 1);
		if (rc == 0)
			sent->acknowledged = sent->attempted;
		else
			sent->attempted -= rc != LMQ_EUNKNOWN;
	}
	desk_close(&d);
	return rc;
}

static bool full_or_fine(int status)
{
	return status == 0 || status == 100 - LMQ_ENOSPC;
}

static void making(void)
{
	unsigned made = 0;
	for (unsigned pages = 0; pages < CREATE_PAGES; pages++) {
		struct stat st;
		int status;
		fill(pages);
		status = in_child(make, store);
		need(full_or_fine(status), "with %u pages free: making it ended with %d", pages, status);
		made += status == 0;
		if (lstat(store, &st) != 0)
			need(entries() == 1, "with %u pages free: something was left", pages);
		unlink(filler);
		need(in_child(make, store) == 0, "with room again: no store can be made");
		remove_tree(store);
	}
	need(made > 0 && made < CREATE_PAGES, "a store was made %u times", made);
}

static void sending(void)
{
	unsigned stopped = 0;
	need(in_child(send_many, store) == 0, "the first messages");
	for (unsigned pages = 0; pages < SEND_PAGES; pages++) {
		int status;
		fill(pages);
		status = in_child(send_many, store);
		need(full_or_fine(status), "with %u pages free: sending ended with %d", pages, status);
		stopped += status != 0;
		check_numbers(store, sent->acknowledged, sent->attempted, "on a full disk");
		unlink(filler);
		need(in_child(send_many, store) == 0, "with room again: no message can be sent");
		check_numbers(store, sent->acknowledged, sent->attempted, "with room again");
	}
	printf("the disk was full for %u of %u\n", stopped, SEND_PAGES);
	need(stopped > 0, "the disk was never full");
}

int main(int argc, char **argv)
{
	need(argc == 2, "usage: filling DIRECTORY");
	directory = argv[1];
	snprintf(store, sizeof store, "%s/store", directory);
	snprintf(filler, sizeof filler, "%s/filler", directory);
	sent = shared_memory(sizeof *sent);
	making();
	sending();
	return 0;
}
