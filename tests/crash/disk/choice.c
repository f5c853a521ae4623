/* SPDX-License-Identifier: ISC */
#include "choice.h"
#include "crash.h"

#include <stdlib.h>

static uint64_t *seen;
static size_t seen_room, seen_count;

static bool put_seen(uint64_t hash)
{
	size_t at = hash & (seen_room - 1);
	while (seen[at] != 0 && seen[at] != hash)
		at = (at + 1) & (seen_room - 1);
	if (seen[at] == hash)
		return false;
	seen[at] = hash;
	seen_count++;
	return true;
}

bool choice_new(uint64_t hash)
{
	uint64_t *old = seen;
	size_t room = seen_room;
	if (seen_count * 2 >= seen_room) {
		seen_room = room ? 2 * room : 1 << 16;
		seen = calloc(seen_room, sizeof *seen);
		need(seen, "out of memory");
		seen_count = 0;
		for (size_t i = 0; i < room; i++)
			if (old[i])
				put_seen(old[i]);
		free(old);
	}
	return put_seen(hash ? hash : 1);
}

uint64_t choice_systematic(size_t items)
{
	return items <= CHOICE_ALL ? UINT64_C(1) << items : 3 * items + 1;
}

void choice_make(uint64_t point, uint64_t variant, size_t items, uint8_t *chosen)
{
	static const uint8_t densities[] = { 128, 32, 224, 8, 248 };
	uint64_t n = items, random = image_mix(image_mix(variant, point), seed);
	if (items <= CHOICE_ALL) {
		for (size_t i = 0; i < items; i++)
			chosen[i] = variant >> i & 1;
		return;
	}
	if (variant <= 3 * n) {		/* nothing and all first; the first ones; one; all but one */
		bool prefix = variant <= n;
		uint64_t at = prefix ? (variant == 1 ? n : variant == n ? 1 : variant) : (variant - n - 1) % n;
		for (size_t i = 0; i < items; i++)
			chosen[i] = prefix ? i < at : (i == at) == (variant <= 2 * n);
		return;
	}
	for (size_t i = 0; i < items; i++) {
		random = image_mix(random, i + 1);
		chosen[i] = (random >> 24 & 255) < densities[variant % 5];
	}
}

enum condition choice_condition(uint64_t variant, uint64_t point)
{
	uint64_t random = image_mix(variant + 77, point) >> 20 & 127;
	return random < CONDITIONS ? (enum condition)random : AS_LEFT;
}
