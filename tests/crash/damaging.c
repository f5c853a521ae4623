/* SPDX-License-Identifier: ISC */
/*
 * damaging [-n COUNT] [-r SEED] [-x STATE] PLACE [crc|deaf]
 *
 * Files of a store that no version of ours has written: a small store with a bit of everything is altered in one place,
 * then checked, looked at and used, by the library in a child, and now and then by the tools and the repair. Each byte of
 * the data file gets three values (in pages that hold a piece of a body, one); it is cut every 512 bytes; its pages are
 * swapped, put in the place of others and wiped; so are the bytes of the other files. Whatever is altered: nothing is
 * delivered that was not sent, and what is missing is reported; nothing hangs, takes memory without bound, or touches
 * another store. LMDB may die of it, which the tools report; the check and the repair may not.
 *
 * Deliberate faults: "crc" believes blocks whose checksum is wrong; "deaf" does not hear what is reported.
 */
#include "victim/toolset.h"
#include "victim/victim.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, CUT = 512, VALUES = 3, FILES = 4, SEEN_MAX = 20 };
/* One state in so many is shown to the tools too; of those that LMDB dies of, one in so many; and is repaired. */
enum { TOOLS_EACH = 400, TOOLS_DEAD = 40, REPAIR_EACH = 50 };

static struct image {
	const char *name;
	char path[PATH_MAX + 32];
	uint8_t *sound, *bytes;
	size_t size, length;	/* length: as it is now */
	size_t step;		/* one byte in so many is altered */
	bool written;
} files[FILES] = {
	{ .name = "data.mdb", .step = 1 }, { .name = MARKER_NAME, .step = 1 }, { .name = "control", .step = 61 },
	{ .name = "lock.mdb", .step = 61 },
};
static struct image *const data = &files[0];

static char victim[PATH_MAX], beside[PATH_MAX];
static bool believes;	/* blocks with a wrong checksum */
static char about[256];	/* what was altered */
static uint64_t ends[VICTIM_ENDS], by_tools, repaired;

/* ---- a deliberate fault ---------------------------------------------------------------------- */

bool __real_block_get(struct block *b, const void *key, size_t key_size, const void *value, size_t size);
bool __wrap_block_get(struct block *b, const void *key, size_t key_size, const void *value, size_t size);

bool __wrap_block_get(struct block *b, const void *key, size_t key_size, const void *value, size_t size)
{
	static uint8_t kept[64][BLOCK_LONGEST];
	static unsigned next;
	uint8_t *copy = kept[next++ % 64];
	struct key k = { .size = key_size };
	struct block header = { .payload = NULL };
	if (!believes || size <= BLOCK_HEADER || size > BLOCK_LONGEST || key_size > KEY_MAX)
		return __real_block_get(b, key, key_size, value, size);
	memcpy(copy, value, size);
	memcpy(k.bytes, key, key_size);
	header = (struct block){ .flags = copy[5], .count = get16(copy + 6), .skip = get16(copy + 8),
		.base_time = (int64_t)get64(copy + 12), .last_time = (int64_t)get64(copy + 20),
		.size = size - BLOCK_HEADER };
	block_seal(copy, &header, &k);
	return __real_block_get(b, key, key_size, copy, size);
}

/* ---- the files ------------------------------------------------------------------------------- */

static void load(struct image *f, const char *store)
{
	struct stat st;
	int fd;
	snprintf(f->path, sizeof f->path, "%s/%s", store, f->name);
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", f->path, strerror(errno));
	f->size = (size_t)st.st_size;
	f->sound = malloc(f->size + 1);
	f->bytes = malloc(f->size + 1);
	need(f->sound && f->bytes && read(fd, f->sound, f->size) == (ssize_t)f->size, "%s: %s", f->path, strerror(errno));
	memcpy(f->bytes, f->sound, f->size);
	f->length = f->size;
	close(fd);
}

static void save(const struct image *f)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	need(fd >= 0 && write(fd, f->bytes, f->length) == (ssize_t)f->length, "%s: %s", f->path, strerror(errno));
	close(fd);
}

static void save_all(void)
{
	for (int i = 0; i < FILES; i++)
		save(&files[i]);
}

static void restore(struct image *f)
{
	memcpy(f->bytes, f->sound, f->size);
	f->length = f->size;
}

/* ---- the states ------------------------------------------------------------------------------ */

static size_t pages(void)
{
	return data->size / PAGE;
}

static size_t places(const struct image *f)
{
	return (f->size + f->step - 1) / f->step;
}

static size_t cuts(const struct image *f)
{
	return (f->size + CUT - 1) / CUT;
}

/* Takes the state off the number if it is one of these. */
static bool among(uint64_t *state, uint64_t count)
{
	if (*state < count)
		return true;
	*state -= count;
	return false;
}

/* A piece of the large body, all bytes of which are equal but for the headers. */
static bool holds_body(const struct image *f, size_t at)
{
	const uint8_t *page = f->sound + at / PAGE * PAGE;
	return f == data && memcmp(page + PAGE / 2, page + PAGE / 2 + 1, PAGE / 2 - 1) == 0 && page[PAGE / 2] == 'L';
}

static bool alter_byte(struct image *f, uint64_t n)
{
	size_t at = n / VALUES * f->step;
	uint8_t before = f->bytes[at];
	if (holds_body(f, at) && n % VALUES != at % VALUES)
		return false;
	f->bytes[at] = n % VALUES == 0 ? 0 : n % VALUES == 1 ? 0xff : (uint8_t)(before ^ 1 << at * 5 % 8);
	snprintf(about, sizeof about, "%s: byte %zu (page %zu, %zu), %02x becomes %02x", f->name, at, at / PAGE, at % PAGE,
		before, f->bytes[at]);
	return f->bytes[at] != before;
}

static void swap_pages(size_t a, size_t b)
{
	memcpy(data->bytes + a * PAGE, data->sound + b * PAGE, PAGE);
	memcpy(data->bytes + b * PAGE, data->sound + a * PAGE, PAGE);
	snprintf(about, sizeof about, "%s: pages %zu and %zu swapped", data->name, a, b);
}

static void copy_page(size_t a, size_t b)
{
	memcpy(data->bytes + b * PAGE, data->sound + a * PAGE, PAGE);
	snprintf(about, sizeof about, "%s: page %zu in the place of page %zu", data->name, a, b);
}

static void wipe_page(size_t a, uint8_t value)
{
	memset(data->bytes + a * PAGE, value, PAGE);
	snprintf(about, sizeof about, "%s: page %zu is %02x", data->name, a, value);
}

/* Alters the files; false if that is no difference. *altered gets the one. */
static bool alter(uint64_t n, struct image **altered)
{
	for (*altered = files; *altered < files + FILES; ++*altered) {
		struct image *f = *altered;
		if (among(&n, places(f) * VALUES))
			return alter_byte(f, n);
		if (among(&n, cuts(f))) {
			f->length = n * CUT;
			snprintf(about, sizeof about, "%s: cut at %zu", f->name, f->length);
			return true;
		}
	}
	*altered = data;
	if (among(&n, 2 * pages())) {
		wipe_page(n / 2, n % 2 ? 0xff : 0);
		return true;
	}
	if (n / pages() < n % pages())
		swap_pages(n / pages(), n % pages());
	else
		copy_page(n / pages(), n % pages());
	return memcmp(data->bytes, data->sound, data->size) != 0;
}

static uint64_t states(void)
{
	uint64_t count = 2 * pages() + pages() * pages();
	for (int i = 0; i < FILES; i++)
		count += places(&files[i]) * VALUES + cuts(&files[i]);
	return count;
}

/* ---- trying them ------------------------------------------------------------------------------ */

static bool tools_too(uint64_t state, enum victim_end end, const struct trial *t)
{
	return t->only != UINT64_MAX || draw(end == VICTIM_DEAD ? TOOLS_DEAD : TOOLS_EACH) == 0 ||
		(t->count && ends[end] <= 2 && state > 0);
}

static void try(uint64_t state, const struct trial *t, bool deaf)
{
	struct image *f;
	enum victim_end end;
	trial_state = state;
	if (!alter(state, &f)) {
		restore(f);
		return;
	}
	save(f);
	end = victim_use(deaf);
	ends[end]++;
	if (t->only != UINT64_MAX)
		fprintf(stderr, "%s: %s\n", about, victim_ends[end]);
	need(end == VICTIM_SAME || end == VICTIM_REPORTED || end == VICTIM_DEAD, "%s: %s", about, victim_ends[end]);
	if (t->only != UINT64_MAX || draw(REPAIR_EACH) == 0) {
		const char *what;
		save_all();
		save(f);
		what = victim_repair();
		need(!what, "%s: %s", about, what);
		repaired++;
	}
	if (tools_too(state, end, t)) {
		const char *what;
		save_all();
		what = tools_survive(victim, save_all);
		need(!what, "%s: %s", about, what);
		by_tools++;
	}
	restore(f);
	save_all();
}

static void try_all(const struct trial *t, bool deaf)
{
	uint64_t count = states();
	if (t->only != UINT64_MAX)
		try(t->only, t, deaf);
	else if (t->count)
		for (uint64_t i = 0; i < t->count; i++)
			try(((uint64_t)draw(1u << 31) << 31 | draw(1u << 31)) % count, t, deaf);
	else
		for (uint64_t i = 0; i < count; i++)
			try(i, t, deaf);
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	uint64_t tried = 0;
	snprintf(victim, sizeof victim, "%s/store", t.place);
	snprintf(beside, sizeof beside, "%s/beside", t.place);
	victim_make(victim, beside);
	for (int i = 0; i < FILES; i++)
		load(&files[i], victim);
	believes = trial_word(&t, "crc");
	try_all(&t, trial_word(&t, "deaf"));
	for (int i = 0; i < VICTIM_ENDS; i++)
		tried += ends[i];
	printf("%" PRIu64 " altered stores of %zu pages, %" PRIu64 " of them reported, %" PRIu64 " harmless, LMDB died of %"
		PRIu64 "; %" PRIu64 " repaired, %" PRIu64 " shown to the tools\n", tried, pages(), ends[VICTIM_REPORTED],
		ends[VICTIM_SAME], ends[VICTIM_DEAD], repaired, by_tools);
	return 0;
}
