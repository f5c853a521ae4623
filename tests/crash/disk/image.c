/* SPDX-License-Identifier: ISC */
#include "image.h"
#include "crash.h"
#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { COMMITS = 4096, CHANGES = 1 << 20 };

static void *room(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

uint64_t image_mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)(a ^ UINT64_C(0x9e3779b97f4a7c15)) * (b ^ UINT64_C(0xd6e8feb86659fd93));
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* 0 for nothing but zeros, which is what a file has that is only longer. */
static uint64_t sector_hash(int file, uint32_t sector, const uint8_t *data)
{
	uint64_t hash = image_mix((uint64_t)file + 1, sector), all = 0, word;
	for (size_t i = 0; i < SECTOR; i += sizeof word) {
		memcpy(&word, data + i, sizeof word);
		all |= word;
		hash = image_mix(hash, word);
	}
	return all ? hash : 0;
}

static uint64_t size_hash(int file, uint64_t size)
{
	return image_mix((uint64_t)file + 1000, size);
}

void image_close(struct image *i)
{
	for (int f = 0; f < i->file_count; f++)
		if (i->files[f].disk) {
			munmap(i->files[f].disk, FILE_ROOM);
			munmap(i->files[f].cache, FILE_ROOM);
		}
	munmap(i->commits, COMMITS * sizeof *i->commits);
	munmap(i->sectors, (size_t)RECORD_ROOM_MAX * 4);
	munmap(i->changes, CHANGES * sizeof *i->changes);
	free(i->items);
	free(i);
}

/* ---- items --------------------------------------------------------------------------------- */

static struct item *add_item(struct image *i, uint8_t kind, int file)
{
	if (i->item_count == i->item_room) {
		i->item_room = i->item_room ? 2 * i->item_room : 256;
		i->items = realloc(i->items, i->item_room * sizeof *i->items);
		need(i->items, "out of memory");
	}
	i->items[i->item_count] = (struct item){ .kind = kind, .file = (uint16_t)file };
	return &i->items[i->item_count++];
}

static void add_sector(struct image *i, int file, uint32_t sector, bool failed)
{
	const struct image_file *f = &i->files[file];
	uint8_t *copy = i->sectors + i->sectors_used;
	uint64_t end = ((uint64_t)sector + 1) * SECTOR;
	struct item *item = add_item(i, ENTRY_WROTE, file);
	need(i->sectors_used + SECTOR < (size_t)RECORD_ROOM_MAX * 4, "the record is too long");
	i->sectors_used += SECTOR;
	memcpy(copy, f->cache + end - SECTOR, SECTOR);
	item->sector = sector;
	item->failed = failed;
	item->size = end < f->cache_size ? end : f->cache_size;
	item->data = copy;
	item->hash = sector_hash(file, sector, copy);
}

static void add_size(struct image *i, int file, uint64_t size)
{
	struct item *item = add_item(i, ENTRY_SIZED, file);
	item->shrinks = size < i->files[file].cache_size;
	item->size = size;
	i->files[file].cache_size = size;
}

static void wrote(struct image *i, const struct entry *e, bool failed)
{
	struct image_file *f = &i->files[e->file];
	need(e->at + e->size < FILE_ROOM, "a file of the workload is too large");
	memcpy(f->cache + e->at, e->data, e->size);
	if (e->at + e->size > f->cache_size)
		add_size(i, e->file, e->at + e->size);
	for (uint64_t s = e->at / SECTOR; e->size > 0 && s <= (e->at + e->size - 1) / SECTOR; s++)
		add_sector(i, e->file, (uint32_t)s, failed);
}

/* ---- what is synced -------------------------------------------------------------------------- */

static void disk_size(struct image_file *f, int file, uint64_t size)
{
	f->hash += size_hash(file, size) - size_hash(file, f->disk_size);
	f->disk_size = size;
}

static void to_disk(struct image *i, const struct item *item)
{
	struct image_file *f = &i->files[item->file];
	uint8_t *at = f->disk + (uint64_t)item->sector * SECTOR;
	if (item->size > f->disk_size || item->shrinks)
		disk_size(f, item->file, item->size);
	if (item->kind != ENTRY_WROTE)
		return;
	f->hash += item->hash - sector_hash(item->file, item->sector, at);
	memcpy(at, item->data, SECTOR);
	need(i->changed < CHANGES, "too many changes at once");
	i->changes[i->changed++] = item->sector;
}

static bool in_file(const struct item *item, int file)
{
	return (item->kind == ENTRY_WROTE || item->kind == ENTRY_SIZED) && item->file == file;
}

static bool in_range(const struct item *item, const struct entry *e)
{
	uint64_t at = (uint64_t)item->sector * SECTOR;
	return !e || item->kind == ENTRY_SIZED || (at + SECTOR > e->at && at < e->at + e->size);
}

/*
 * What was written to the file, e: only where that writes, is on the disk. What failed before stays in doubt but where
 * the sector was written again since.
 */
static void sync_file(struct image *i, int file, const struct entry *e)
{
	size_t left = 0;
	for (size_t n = 0; n < i->item_count; n++) {
		struct item *item = &i->items[n];
		bool stays = !in_file(item, file) || !in_range(item, e) || item->failed;
		if (in_file(item, file) && item->failed)
			for (size_t m = n + 1; m < i->item_count && stays; m++)
				stays = !(in_file(&i->items[m], file) && !i->items[m].failed && in_range(&i->items[m], e) &&
					i->items[m].kind == item->kind && i->items[m].sector == item->sector);
		if (!stays && !item->failed)
			to_disk(i, item);
		if (stays)
			i->items[left++] = *item;
	}
	i->item_count = left;
}

static void unsync_file(struct image *i, int file)
{
	for (size_t n = 0; n < i->item_count; n++)
		if (in_file(&i->items[n], file))
			i->items[n].failed = true;
}

/* ---- names --------------------------------------------------------------------------------- */

static bool is_name(const struct item *item)
{
	return item->kind == ENTRY_MADE || item->kind == ENTRY_RENAMED || item->kind == ENTRY_REMOVED;
}

static void sync_directory(struct image *i, int directory)
{
	size_t left = 0;
	for (size_t n = 0; n < i->item_count; n++) {
		if (is_name(&i->items[n]) && (i->items[n].directory == directory ||
				(i->items[n].kind == ENTRY_RENAMED && i->items[n].to == directory)))
			i->name_count = names_apply(&i->items[n], i->names, i->name_count);
		else
			i->items[left++] = i->items[n];
	}
	i->item_count = left;
}

int image_names(const struct image *i, const uint8_t *chosen, struct name names[IMAGE_FILES])
{
	int count = i->name_count;
	memcpy(names, i->names, sizeof *names * (size_t)count);
	for (size_t n = 0; n < i->item_count; n++)
		if (chosen[n] && is_name(&i->items[n]))
			count = names_apply(&i->items[n], names, count);
	return count;
}

bool image_renames(const struct image *i)
{
	for (size_t n = 0; n < i->item_count; n++)
		if (is_name(&i->items[n]))
			return true;
	return false;
}

/* The number of the file that is renamed: the last one that got this name. */
static int file_named(const struct image *i, int directory, const char *text)
{
	static uint8_t all[1 << 20];
	struct name names[IMAGE_FILES];
	int count, n;
	need(i->item_count < sizeof all, "too much is unsynced");
	memset(all, 1, i->item_count);
	count = image_names(i, all, names);
	n = names_find(names, count, directory, text);
	need(n >= 0, "%s: renamed, and was never there", text);
	return names[n].file;
}

/* ---- entries ------------------------------------------------------------------------------- */

static void made(struct image *i, const struct entry *e)
{
	struct image_file *f = &i->files[e->file];
	struct item *item = add_item(i, ENTRY_MADE, e->file);
	item->directory = e->directory;
	item->data = e->data;
	f->directory = e->flags & MADE_DIRECTORY;
	f->disk = room(FILE_ROOM);
	f->cache = room(FILE_ROOM);
	i->file_count = e->file + 1;
}

static void renamed(struct image *i, const struct entry *e)
{
	int file = e->kind == ENTRY_RENAMED ? file_named(i, e->directory, (const char *)e->data) : 0;
	struct item *item = add_item(i, e->kind, file);
	item->directory = e->directory;
	item->to = (uint16_t)e->at;
	item->data = e->data;
}

static void synced(struct image *i, int file)
{
	if (i->files[file].directory)
		sync_directory(i, file);
	else
		sync_file(i, file, NULL);
}

static void begun(struct image *i)
{
	for (int f = 0; f < i->file_count; f++)
		synced(i, f);
}

static void committed(struct image *i, const struct entry *e)
{
	i->before = i->committed;
	i->committed = i->attempted;
	if (e->at)
		i->synced = i->attempted;
}

static void mark(struct image *i, const struct entry *e)
{
	switch (e->kind) {
	case ENTRY_ATTEMPTED:
		need(i->attempted + 1 < COMMITS, "too many commits");
		i->commits[++i->attempted].digest = e->at;
		break;
	case ENTRY_COMMITTED: committed(i, e); break;
	case ENTRY_UNDONE: i->commits[i->attempted].undone = i->committed != i->attempted; break;
	case ENTRY_CREATED: i->created = true; break;
	case ENTRY_FAULTED: i->faulted = true; break;
	case ENTRY_ACKNOWLEDGED:
		i->acknowledged = i->synced;
		i->commits[i->committed].next = e->at;
		break;
	default: broken("a record with an unknown entry");
	}
}

/* Whether the entry is behind a write, a sync or a name. */
static bool apply(struct image *i, const struct entry *e)
{
	switch (e->kind) {
	case ENTRY_MADE: made(i, e); return true;
	case ENTRY_WROTE: wrote(i, e, e->flags & WROTE_FAILED); return true;
	case ENTRY_SIZED: add_size(i, e->file, e->at); return true;
	case ENTRY_SYNCED: synced(i, e->file); return true;
	case ENTRY_UNSYNCED: unsync_file(i, e->file); return true;
	case ENTRY_RENAMED:
	case ENTRY_REMOVED: renamed(i, e); return true;
	case ENTRY_BEGUN: begun(i); return false;
	default: mark(i, e); return false;
	}
}

struct image *image_open(const struct recording *r)
{
	struct image *i = calloc(1, sizeof *i);
	need(i, "out of memory");
	i->record = r;
	i->commits = room(COMMITS * sizeof *i->commits);
	i->sectors = room((size_t)RECORD_ROOM_MAX * 4);
	i->changes = room(CHANGES * sizeof *i->changes);
	i->files[0].directory = true;
	i->file_count = 1;
	while (!i->at || i->at->kind != ENTRY_BEGUN) {
		const struct entry *e = record_next(r, i->at);
		need(e, "a record without a begin");
		apply(i, e);
		i->at = e;
	}
	return i;
}

/*
 * A write through a descriptor for synced writes is two steps: it may be on the disk, then it is. What its caller was
 * told afterwards belongs to the second.
 */
bool image_step(struct image *i)
{
	const struct entry *e, *next;
	bool found = false;
	if (i->half) {
		sync_file(i, i->at->file, i->at);
		found = true;
		i->half = false;
	}
	while ((next = record_next(i->record, i->at)) && (!found || next->kind == ENTRY_COMMITTED ||
			next->kind == ENTRY_ACKNOWLEDGED || next->kind == ENTRY_UNDONE || next->kind == ENTRY_CREATED)) {
		e = next;
		i->at = e;
		found |= apply(i, e);
		i->half = e->kind == ENTRY_WROTE && e->flags & WROTE_SYNCED;
		if (i->half)
			break;
	}
	for (size_t n = 0; found && n < i->item_count; n++)
		if (i->items[n].kind == ENTRY_WROTE)
			i->items[n].old_hash = sector_hash(i->items[n].file, i->items[n].sector,
				i->files[i->items[n].file].disk + (uint64_t)i->items[n].sector * SECTOR);
	return found;
}

/* ---- a state ------------------------------------------------------------------------------- */

uint64_t image_size(const struct image *i, const uint8_t *chosen, int file)
{
	uint64_t size = i->files[file].disk_size;
	for (size_t n = 0; n < i->item_count; n++) {
		const struct item *item = &i->items[n];
		if (chosen[n] && in_file(item, file) && (item->shrinks || item->size > size))
			size = item->size;
	}
	return size;
}

/* The chosen sectors in the place of those on the disk; of several for one place the last counts. */
static uint64_t sectors_hash(const struct image *i, const uint8_t *chosen)
{
	static uint32_t stamp[IMAGE_FILES][FILE_ROOM / SECTOR], now;
	uint64_t hash = 0;
	now++;
	for (size_t n = i->item_count; n-- > 0;) {
		const struct item *item = &i->items[n];
		if (!chosen[n] || item->kind != ENTRY_WROTE || stamp[item->file][item->sector] == now)
			continue;
		stamp[item->file][item->sector] = now;
		hash += item->hash - item->old_hash;
	}
	return hash;
}

uint64_t image_hash(const struct image *i, const uint8_t *chosen)
{
	struct name names[IMAGE_FILES];
	uint64_t hash = sectors_hash(i, chosen);
	for (int f = 0; f < i->file_count; f++)
		if (!i->files[f].directory)
			hash += i->files[f].hash + size_hash(f, image_size(i, chosen, f)) - size_hash(f, i->files[f].disk_size);
	if (!image_renames(i))
		return hash;
	for (int n = image_names(i, chosen, names); n-- > 0;) {
		uint64_t text = 0;
		for (const char *p = names[n].text; *p; p++)
			text = image_mix(text, (uint8_t)*p);
		hash += image_mix(image_mix(names[n].directory, names[n].file), text);
	}
	return hash;
}
