/* SPDX-License-Identifier: ISC */
/*
 * What a disk may hold after a crash, worked out from a record.
 *
 * What was synced is on it. Of everything else any part may be: each sector of 512 bytes that was written, each change
 * of a file's size, each name that was made, renamed or removed in a directory that was not synced since. Sectors of a
 * sync that failed stay uncertain until they are written and synced again.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include "recorder.h"

enum { SECTOR = 512, IMAGE_FILES = 64, FILE_ROOM = 16 << 20 };

struct item {			/* what may be on the disk, or not */
	uint8_t kind;		/* enum entry_kind: WROTE a sector; SIZED; MADE, RENAMED, REMOVED a name */
	bool shrinks;		/* SIZED: it was larger before */
	bool failed;		/* its sync failed: no later one brings it to the disk */
	uint16_t file, directory, to;
	uint32_t sector;
	uint64_t size;		/* the file is at least so large with it; SIZED: its size */
	uint64_t hash, old_hash;	/* of the sector in its place, and of what the disk has there */
	const uint8_t *data;	/* the sector; the name, or two */
};

struct image_file {
	bool directory;
	uint8_t *disk, *cache;	/* what is synced, what programs see */
	uint64_t disk_size, cache_size;
	uint64_t hash;		/* of what is synced */
};

struct name {
	uint16_t directory, file;
	char text[64];
};

struct commit {			/* a state of the store that somebody wanted */
	uint64_t digest;
	uint64_t next;		/* what the channel's next offset was when it was acknowledged; 0: it was not */
	bool undone;
};

struct image {
	const struct recording *record;
	const struct entry *at;	/* done so far */
	bool half;		/* it was written, and is not yet synced */
	struct image_file files[IMAGE_FILES];
	int file_count;
	struct name names[IMAGE_FILES];	/* that are synced */
	int name_count;
	struct item *items;
	size_t item_count, item_room;
	struct commit *commits;	/* 0: how it began */
	uint32_t attempted, committed, before, synced;	/* the last of each; before: the one committed before it */
	uint32_t acknowledged;
	bool faulted;		/* the deliberate fault has begun */
	bool created;		/* the store is there, its creator was told */
	uint8_t *sectors;	/* room for items' data */
	size_t sectors_used;
	/* sectors of the first data file that changed on the disk since somebody set changed to 0 */
	uint32_t *changes;
	size_t changed;
};

struct image *image_open(const struct recording *r);
void image_close(struct image *i);
/* Goes on to behind the next entry after which a crash would find something else; false: there is none. */
bool image_step(struct image *i);

/* The names in a state: those synced, with the chosen items. */
int image_names(const struct image *i, const uint8_t *chosen, struct name names[IMAGE_FILES]);
uint64_t image_size(const struct image *i, const uint8_t *chosen, int file);
/* Says what the whole of it is; names change it too. */
uint64_t image_hash(const struct image *i, const uint8_t *chosen);
/* Whether any of the items is a name. */
bool image_renames(const struct image *i);
uint64_t image_mix(uint64_t a, uint64_t b);

#endif
