/* SPDX-License-Identifier: ISC */
/*
 * The record of what a program does to the files below a directory, in order: what a crash at any time would leave
 * behind is worked out from it (image.c).
 *
 * The program that is recorded has the system calls below in the place of libc's, and so of LMDB's; each of them is one
 * of these functions. What is not recorded they only do. lock.mdb and control are known by name alone: their bytes are
 * worth nothing after a crash.
 */
#ifndef RECORDER_H
#define RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum entry_kind {
	ENTRY_MADE,		/* the file with that number, under a name in a directory */
	ENTRY_WROTE,		/* data, at */
	ENTRY_SIZED,		/* at is its new size */
	ENTRY_SYNCED,
	ENTRY_UNSYNCED,		/* a sync failed: what was not on the disk may be or not, and the kernel forgets about it */
	ENTRY_RENAMED,		/* from the name in directory to the name behind it, in the directory at */
	ENTRY_REMOVED,		/* the name */
	ENTRY_BEGUN,		/* what stands before was on the disk already */
	ENTRY_ATTEMPTED,	/* a commit of the state with the digest at */
	ENTRY_COMMITTED,	/* it returned; at: it was synced */
	ENTRY_UNDONE,		/* it failed, and its outcome is not unknown */
	ENTRY_ACKNOWLEDGED,	/* the caller was told that all up to now is stored; at: the channel's next offset */
	ENTRY_CREATED,		/* the caller was told that the store is there */
	ENTRY_FAULTED,		/* the deliberate fault begins */
};

enum { WROTE_SYNCED = 1, WROTE_FAILED = 2, MADE_DIRECTORY = 1 };

struct entry {
	uint32_t size;		/* of data */
	uint8_t kind, flags;
	uint16_t file;		/* its number; 0 is the directory that is recorded */
	uint16_t directory;
	uint64_t at;
	uint8_t data[];
};

enum { RECORD_ROOM_MAX = 192 << 20, FAULT_WORDS = 8 };

struct recording {			/* in shared memory */
	uint64_t used;
	uint64_t calls;		/* writes and syncs of recorded files, so far */
	/* the deliberate fault: those from the first-th call on, and how */
	uint64_t first_fault, faults;
	uint8_t how;		/* enum fault_kind */
	bool no_directory_sync;	/* a directory's sync does nothing, and is not recorded */
	uint8_t bytes[] __attribute__((aligned(8)));
};

enum fault_kind { FAULT_NOTHING, FAULT_WRITTEN, FAULT_SHORT, FAULTS };	/* EIO with nothing done, with all; half of it */

/* In the process that is recorded: from now on, what happens below root. */
void record_begin(struct recording *r, const char *root);
void record_mark(enum entry_kind kind, uint64_t at);
/* Steps through the entries; NULL: the first. */
const struct entry *record_next(const struct recording *r, const struct entry *e);

/* Where there is no record: called with each range of a file that is written. */
extern void (*record_watch)(off_t at, size_t size);

int recorded_open(int directory, const char *path, int flags, mode_t mode);
int recorded_close(int fd);
ssize_t recorded_write(int fd, const struct iovec *parts, int count, off_t at);	/* at -1: where it stands */
int recorded_size(int fd, off_t size);
int recorded_allocate(int fd, off_t at, off_t size);	/* an errno */
int recorded_sync(int fd, bool data_only);
int recorded_rename(int directory, const char *name, int to, const char *new_name, unsigned flags);
int recorded_remove(int directory, const char *name, int flags);
int recorded_make(int directory, const char *name, mode_t mode);

#endif
