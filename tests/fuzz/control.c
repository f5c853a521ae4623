/* SPDX-License-Identifier: ISC */
/*
 * The control page with anything in it: pairs of a place (u16, in words of 8 bytes; with the highest bit counted from
 * where the roster begins) and a word of 8 bytes. Whoever reads it gets answers that are within bounds, and ends.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void read_roster(lmq_store *s, int fd)
{
	struct roster_trace trace;
	struct roster_member member;
	struct roster_mark mark = { .slot = -1 };
	char name[64];
	uint32_t attempt;
	int64_t since;
	int from = 0, steps = 0;
	while (roster_dead(s, 1, 0, 100, &from, &trace) && steps++ <= ROSTER_SLOTS) {
		MUST(trace.slot >= 0 && trace.slot < ROSTER_SLOTS && trace.first < trace.end);
		MUST(!fuzz_fault() || trace.first > 0);
		roster_clear(s, trace.slot);
	}
	MUST(steps <= ROSTER_SLOTS);
	for (int at = 0; roster_next(s, 1, at, &mark); at = mark.slot + 1) {
		MUST(mark.slot >= at && mark.slot < ROSTER_SLOTS);
		roster_stays(s, &mark);
	}
	for (int at = 0; roster_member(s, 1, at, &member); at = member.slot + 1)
		MUST(member.slot >= at && member.slot < ROSTER_SLOTS);
	if (roster_holder(s, 1, 5, name, &since, &attempt))
		MUST(strnlen(name, sizeof name) < sizeof name);
	roster_count(s, 1, 3, name);
	MUST(strnlen(name, sizeof name) < sizeof name);
	from = roster_join(s, fd, ROSTER_SENDER, 1, "me");
	MUST(from >= -1 && from < ROSTER_SLOTS);
	roster_before(s, 1, roster_ticket(s, from));
	roster_leave(s, fd, from);
}

/* In words. Most of the page is much of the same: the first slots are enough. */
static size_t place_of(uint64_t given)
{
	size_t roster = offsetof(struct control, roster_used) / 8, all = sizeof(struct control) / 8;
	size_t few = ROSTER_SLOTS / 64 + 4 * sizeof(struct roster_slot) / 8;
	return given >> 15 ? roster + (given & 0x7fff) % few : given % all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1, other = -1;
	static struct control *page;
	lmq_store *s = fuzz_store();
	struct taker t;
	if (!page) {
		char path[32];
		fd = memfd_create("control", MFD_CLOEXEC);
		other = open(descriptor_path(path, fd), O_RDWR | O_CLOEXEC);
		page = calloc(1, sizeof *page);
	}
	memset(page, 0, sizeof *page);
	take_begin(&t, data, size);
	while (t.at < t.end) {
		size_t at = place_of(take_number(&t, 2));
		uint64_t word = __builtin_bswap64(take_number(&t, 8));
		memcpy((char *)page + 8 * at, &word, 8);
	}
	s->control = page;
	s->control_fd = fd;
	memset(s->roster_own, 0, sizeof s->roster_own);
	read_roster(s, other);
	for (unsigned i = 0; i < NOTIFY_WORDS; i += 64)
		notify_wake(&page->channel[i]);
	notify_wake(&page->any);
	s->control = NULL;
	s->control_fd = -1;
	return 0;
}
