/* SPDX-License-Identifier: ISC */
#include "platter.h"
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STALE = 1 << 20 };

static const char *root;
static const struct image *laid;	/* NULL: all has to be made anew */
static int data_file, data_fd = -1;	/* its number in the image; -1: there is none */
static uint8_t *map;			/* of data.mdb */
static char directory[PATH_MAX];	/* that it lies in */
static uint32_t *stale;			/* its sectors that are not as on the image's disk */
static size_t stale_count;

static void mark_stale(uint32_t sector)
{
	need(stale_count < STALE, "too many sectors differ");
	stale[stale_count++] = sector;
}

static void watched(off_t at, size_t size)
{
	for (off_t s = at / SECTOR; laid && s < (at + (off_t)size + SECTOR - 1) / SECTOR; s++)
		mark_stale((uint32_t)s);
}

void platter_begin(const char *where)
{
	root = where;
	stale = malloc(STALE * sizeof *stale);
	need(stale, "out of memory");
	record_watch = watched;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void write_sector(uint8_t *to, uint64_t size, uint32_t sector, const uint8_t *data)
{
	uint64_t at = (uint64_t)sector * SECTOR;
	if (at < size)
		memcpy(to + at, data, size - at < SECTOR ? size - at : SECTOR);
}

static void make_file(const struct image *i, const uint8_t *chosen, int file, const char *path)
{
	uint64_t size = image_size(i, chosen, file);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t *p;
	need(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "%s: %s", path, strerror(errno));
	p = size > 0 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	if (p) {
		uint64_t synced = i->files[file].disk_size < size ? i->files[file].disk_size : size;
		memcpy(p, i->files[file].disk, synced);
		for (size_t n = 0; n < i->item_count; n++)
			if (chosen[n] && i->items[n].kind == ENTRY_WROTE && i->items[n].file == file)
				write_sector(p, size, i->items[n].sector, i->items[n].data);
		munmap(p, size);
	}
	close(fd);
}

static void make_names(const struct image *i, const uint8_t *chosen, const struct name *names, int count, int in,
	const char *at)
{
	char path[PATH_MAX];
	for (int n = 0; n < count; n++) {
		if (names[n].directory != in)
			continue;
		snprintf(path, sizeof path, "%.3000s/%s", at, names[n].text);
		if (i->files[names[n].file].directory) {
			need(mkdir(path, 0700) == 0, "%s: %s", path, strerror(errno));
			make_names(i, chosen, names, count, names[n].file, path);
			continue;
		}
		make_file(i, chosen, names[n].file, path);
		if (strcmp(names[n].text, "data.mdb") == 0) {
			data_file = names[n].file;
			snprintf(directory, sizeof directory, "%.3000s", at);
		}
	}
}

static void open_data(void)
{
	char path[PATH_MAX];
	if (data_fd >= 0) {
		munmap(map, FILE_ROOM);
		close(data_fd);
		data_fd = -1;
	}
	if (data_file < 0)
		return;
	snprintf(path, sizeof path, "%.3000s/data.mdb", directory);
	data_fd = open(path, O_RDWR | O_CLOEXEC);
	need(data_fd >= 0, "%s: %s", path, strerror(errno));
	map = mmap(NULL, FILE_ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, data_fd, 0);
	need(map != MAP_FAILED, "mmap: %s", strerror(errno));
}

static void lay_all(struct image *i, const uint8_t *chosen)
{
	struct name names[IMAGE_FILES];
	int count = image_names(i, chosen, names);
	remove_tree(root);
	need(mkdir(root, 0700) == 0, "%s: %s", root, strerror(errno));
	data_file = -1;
	make_names(i, chosen, names, count, 0, root);
	open_data();
	stale_count = 0;
}

/* ---- what differs ------------------------------------------------------------------------------ */

static void lay_data(struct image *i, const uint8_t *chosen)
{
	static const uint8_t zeros[SECTOR];
	const struct image_file *f = &i->files[data_file];
	uint64_t size = image_size(i, chosen, data_file);
	struct stat st;
	need(fstat(data_fd, &st) == 0, "fstat: %s", strerror(errno));
	if ((uint64_t)st.st_size != size)
		need(ftruncate(data_fd, (off_t)size) == 0, "ftruncate: %s", strerror(errno));
	for (size_t n = 0; n < stale_count; n++)
		write_sector(map, size, stale[n], (uint64_t)stale[n] * SECTOR < f->disk_size ?
			f->disk + (uint64_t)stale[n] * SECTOR : zeros);
	stale_count = 0;
}

static void choose_data(struct image *i, const uint8_t *chosen)
{
	uint64_t size = image_size(i, chosen, data_file);
	for (size_t n = 0; n < i->item_count; n++) {
		if (!chosen[n] || i->items[n].kind != ENTRY_WROTE || i->items[n].file != data_file)
			continue;
		write_sector(map, size, i->items[n].sector, i->items[n].data);
		mark_stale(i->items[n].sector);
	}
}

/* ---- what is worth nothing ---------------------------------------------------------------------- */

static void fill(const char *name, bool empty, bool noise)
{
	static uint8_t bytes[sizeof(struct control)];
	char path[PATH_MAX];
	int fd;
	snprintf(path, sizeof path, "%.3000s/%s", directory, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	memset(bytes, 0, sizeof bytes);
	for (size_t i = 0; noise && i < sizeof bytes; i += 8)
		memcpy(bytes + i, &(uint64_t){ image_mix(i, draw(1u << 30)) }, 8);
	if (!noise)
		memcpy(bytes + offsetof(struct control, poison), &(uint32_t){ 1 }, 4);
	need(ftruncate(fd, 0) == 0 && (empty || pwrite(fd, bytes, sizeof bytes, 0) == sizeof bytes), "%s: %s", path,
		strerror(errno));
	close(fd);
}

static void conditioned(enum condition condition)
{
	const struct image *was = laid;
	laid = NULL;		/* these writes are not the store's */
	switch (condition) {
	case EMPTY:
		fill("control", true, false);
		fill("lock.mdb", true, false);
		break;
	case NOISE: fill("control", false, true); break;
	case NOISE_IN_LOCK: fill("lock.mdb", false, true); break;
	case POISONED: fill("control", false, false); break;
	default: break;
	}
	laid = was;
}

void platter_lay(struct image *i, const uint8_t *chosen, enum condition condition, bool anew)
{
	if (anew || laid != i) {
		laid = NULL;
		lay_all(i, chosen);
	} else {
		for (size_t n = 0; n < i->changed; n++)
			mark_stale(i->changes[n]);
		lay_data(i, chosen);
		choose_data(i, chosen);
	}
	i->changed = 0;
	if (data_file >= 0)
		conditioned(condition);
	if (anew || data_file < 0)
		return;
	if (laid != i)
		for (size_t n = 0; n < i->item_count; n++)
			if (chosen[n] && i->items[n].kind == ENTRY_WROTE && i->items[n].file == data_file)
				mark_stale(i->items[n].sector);
	laid = i;
}
