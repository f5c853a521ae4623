/* SPDX-License-Identifier: ISC */
#include "vandal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	GENERATION = offsetof(struct control, generation) / 4, REPAIRED = offsetof(struct control, repaired) / 4,
};
static const int64_t UPSET_EVERY = INT64_C(10000) * MS;

struct vandal *vandal;

void vandal_begin(unsigned channels)
{
	vandal = shared_memory(sizeof *vandal);
	vandal->channels = channels;
}

static size_t some_word(size_t words)
{
	const size_t channels = offsetof(struct control, channel) / 4, roster = offsetof(struct control, next_ticket) / 4;
	size_t at;
	switch (draw(8)) {
	case 0:
		return draw((uint32_t)words);
	case 1:
	case 2:
		at = draw((uint32_t)channels);
		/* Seldom: who always has to open the store again gets nowhere. */
		return at == GENERATION || at == REPAIRED ? 0 : at;
	case 3:
	case 4:
	case 5:
		return channels + 16 * (1 + draw(vandal->channels)) + draw(2);
	default:
		return roster + draw(64 * 32);
	}
}

int vandal_scribble(void *path)
{
	char file[4300];
	size_t words = sizeof(struct control) / 4;
	int64_t next = lmq_deadline(500 * (int64_t)MS);
	uint32_t *page;
	int fd;
	snprintf(file, sizeof file, "%s/control", (const char *)path);
	fd = open(file, O_RDWR | O_CLOEXEC);
	page = mmap(NULL, words * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(fd >= 0 && page != MAP_FAILED, "%s: %s", file, strerror(errno));
	for (;;) {
		size_t at = some_word(words);
		if (clock_monotonic() > next) {
			at = draw(2) ? GENERATION : REPAIRED;
			next = lmq_deadline(UPSET_EVERY);
		}
		if (at == GENERATION || at == REPAIRED)
			atomic_store(&vandal->upset, clock_monotonic());
		page[at] = draw(3) ? draw(INT32_MAX) * 2 + draw(2) : draw(2) ? 0 : UINT32_MAX;
		atomic_fetch_add(&vandal->written, 1);
		wait_us(draw(200));
	}
}

void vandal_damage(const char *path, enum damage kind)
{
	char file[4300];
	uint8_t noise[sizeof(struct control)];
	int fd;
	snprintf(file, sizeof file, "%s/control", path);
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = kind == ZEROED ? 0 : (uint8_t)draw(256);
	if (kind == GONE) {
		need(unlink(file) == 0, "%s: %s", file, strerror(errno));
		return;
	}
	fd = open(file, O_WRONLY | O_CLOEXEC);
	need(fd >= 0 && (kind > NOISY || pwrite(fd, noise, sizeof noise, 0) == (ssize_t)sizeof noise), "%s: %s", file,
		strerror(errno));
	if (kind > NOISY)
		need(ftruncate(fd, kind == EMPTIED ? 0 : (off_t)draw(sizeof noise)) == 0, "%s: %s", file, strerror(errno));
	close(fd);
}
