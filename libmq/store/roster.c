/* SPDX-License-Identifier: ISC */
/*
 * The roster: who is delivering what, and who waits for room.
 *
 * A message in somebody's hands is a lock in the kernel (lease.c), which tells nobody whose it is, and leaves
 * no trace when its holder dies. So each receiver has a slot in the control page, where it notes, without a
 * system call, what it is delivering. The slot outlives its owner: who next gets hold of these messages finds
 * the note, and so knows that a delivery was cut short by a crash. Those who wait find there whose death to
 * wait for.
 *
 * Alive is who holds the slot's byte, ROSTER_LOCK + slot, through the same open file description that its
 * messages are locked through. The kernel drops all of these locks at once, so who gets a dead holder's
 * message sees the slot's byte free. A pid alone says nothing: the number may belong to somebody else by now.
 *
 * A slot is written by its owner alone. Only who holds the byte makes a slot his, or frees one that a dead
 * process left; so there is never a second writer. The used bits only spare everybody the look at 1024 slots.
 *
 * Invariants: a receiver says that it holds something before it locks the first message, and takes that back
 * after it unlocked the last one. It notes a delivery after locking and before the message is out, and takes
 * it out before unlocking. The note is void (end = 0) while its other parts are being changed.
 *
 * A kill between any two stores leaves: in joining, a slot without its bit, or a used one without a kind; in
 * beginning, no delivery noted, as it was before; in leaving, an empty slot. What is left behind is taken
 * over by newcomers, those slots last that tell of a delivery nobody has counted.
 *
 * The page may hold anything: a byte out of place costs an attempt counted wrongly, a wake-up, a place in a
 * line. What is read from it is used as a number to compare, never as an index, and a lock decides in the
 * end.
 */
#include "store.h"

#include <stddef.h>
#include <string.h>

enum { WORDS = ROSTER_SLOTS / 64, PROBES = 4 };

static const int64_t WHILE = 5000000000;	/* ns; everybody who waits looks more often than that */

_Static_assert(sizeof(struct roster_slot) == 128, "two cache lines, in every build");
_Static_assert(offsetof(struct control, roster) % 8 == 0, "slots are aligned");

/* One after the other, as a kill or a reader in between has to find them. */
#define SET(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
#define GET(field) atomic_load_explicit(&(field), memory_order_acquire)

static struct roster_slot *slot_at(lmq_store *s, int slot)
{
	return slot >= 0 && slot < ROSTER_SLOTS ? &s->control->roster[slot] : NULL;
}

static bool used(const struct control *c, int slot)
{
	return GET(c->roster_used[slot / 64]) >> slot % 64 & 1;
}

/* The first used slot from there on; -1 behind the last. */
static int next_used(const struct control *c, int slot)
{
	for (int word = slot / 64; word < WORDS; word++, slot = word * 64) {
		uint64_t bits = GET(c->roster_used[word]) >> slot % 64;
		if (bits)
			return slot + __builtin_ctzll(bits);
	}
	return -1;
}

/* Behind the last used slot. */
static int used_end(const struct control *c)
{
	for (int word = WORDS; word-- > 0;) {
		uint64_t bits = GET(c->roster_used[word]);
		if (bits)
			return word * 64 + 64 - __builtin_clzll(bits);
	}
	return 0;
}

bool roster_alive(lmq_store *s, int slot)
{
	off_t start, end;
	return range_taken(s->control_fd, ROSTER_LOCK + slot, 1, &start, &end);
}

/* ---- joining and leaving -------------------------------------------------------------------- */

enum fitness { FREE, FINISHED, ANY };	/* of a slot, for a newcomer; the best first */

/* Ours look like those of the dead, through the descriptor that holds them. */
static bool own(const lmq_store *s, int slot)
{
	return s->roster_own[slot / 64] >> slot % 64 & 1;
}

/* Whether the slot tells what is being delivered. */
static bool tells(const struct roster_slot *r)
{
	return GET(r->kind) == ROSTER_RECEIVER || GET(r->kind) == ROSTER_WORK;
}

/* Whether it stands for a receiver, and not only for a work of one. */
static bool receives(const struct roster_slot *r)
{
	return GET(r->kind) == ROSTER_RECEIVER || GET(r->kind) == ROSTER_MEMBER;
}

/* FINISHED: nothing is lost with it. */
static bool fits(lmq_store *s, int slot, enum fitness fitness)
{
	struct roster_slot *r = &s->control->roster[slot];
	if (own(s, slot))
		return false;
	if (fitness == FREE)
		return !used(s->control, slot);
	return fitness == ANY || !tells(r) || GET(r->end) <= GET(r->first);
}

/* Takes the byte of a slot that fits, of which another may have become the owner before we are. */
static bool seize(lmq_store *s, int fd, int slot, enum fitness fitness)
{
	if (!fits(s, slot, fitness) || range_lock(fd, ROSTER_LOCK + slot, 1) != 0)
		return false;
	if (fits(s, slot, fitness))
		return true;
	range_unlock(fd, ROSTER_LOCK + slot, 1);
	return false;
}

static int seize_any(lmq_store *s, int fd)
{
	for (enum fitness fitness = FREE; fitness <= ANY; fitness++)
		for (int slot = 0; slot < ROSTER_SLOTS; slot++)
			if (seize(s, fd, slot, fitness))
				return slot;
	return -1;
}

/* Frees a slot whose byte is ours. */
static void vacate(lmq_store *s, int fd, int slot)
{
	struct roster_slot *r = &s->control->roster[slot];
	SET(r->end, 0);
	SET(r->holding, 0);
	SET(r->kind, 0);
	atomic_fetch_and(&s->control->roster_used[slot / 64], ~((uint64_t)1 << slot % 64));
	range_unlock(fd, ROSTER_LOCK + slot, 1);
}

/*
 * Every newcomer looks after a few slots, at places that go round, so that those of the dead do not add up.
 * Those who died with messages in hand stay for a while: others may be about to learn of it from the slot.
 */
static void tidy(lmq_store *s, int fd, uint64_t place)
{
	int end = used_end(s->control), slot = end > 0 ? (int)(place * PROBES % (uint64_t)end) : 0;
	int64_t now = lmq_now();
	for (int i = 0; i < PROBES && (slot = next_used(s->control, slot)) >= 0; i++, slot++) {
		const struct roster_slot *r = slot_at(s, slot);
		if (GET(r->holding) != 0 && GET(r->since) > now - WHILE)
			continue;
		if (seize(s, fd, slot, FINISHED))
			vacate(s, fd, slot);
	}
}

static uint64_t next_ticket(lmq_store *s)
{
	uint64_t ticket = atomic_fetch_add(&s->control->next_ticket, 1) + 1;
	return ticket ? ticket : 1;
}

int roster_join(lmq_store *s, int fd, enum roster_kind kind, uint32_t space, const char *name)
{
	int slot = s->control_private ? -1 : seize_any(s, fd);
	uint64_t ticket = next_ticket(s);
	struct roster_slot *r = slot_at(s, slot);
	if (!r)
		return -1;
	SET(r->kind, 0);
	SET(r->end, 0);
	SET(r->first, 0);
	SET(r->attempt, 0);
	SET(r->holding, 0);
	SET(r->since, lmq_now());
	/* A sender gets its own when it begins to wait; a receiver's tells it from the slot's next owner. */
	SET(r->ticket, kind != ROSTER_SENDER ? ticket : 0);
	SET(r->pid, (uint32_t)s->pid);
	SET(r->space, space);
	memset(r->name, 0, sizeof r->name);
	memcpy(r->name, name, strnlen(name, sizeof r->name - 1));
	SET(r->kind, kind);
	atomic_fetch_or(&s->control->roster_used[slot / 64], (uint64_t)1 << slot % 64);
	s->roster_own[slot / 64] |= (uint64_t)1 << slot % 64;
	tidy(s, fd, ticket);
	return slot;
}

void roster_leave(lmq_store *s, int fd, int slot)
{
	if (!slot_at(s, slot))
		return;
	vacate(s, fd, slot);
	s->roster_own[slot / 64] &= ~((uint64_t)1 << slot % 64);
}

/* ---- what its owner tells -------------------------------------------------------------------- */

void roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt)
{
	struct roster_slot *r = slot_at(s, slot);
	if (!r)
		return;
	SET(r->end, 0);
	if (end <= first)
		return;
	SET(r->first, first);
	SET(r->attempt, attempt);
	SET(r->since, lmq_now());
	SET(r->end, end);
}

void roster_extend(lmq_store *s, int slot, uint64_t end)
{
	struct roster_slot *r = slot_at(s, slot);
	if (r)
		SET(r->end, end);
}

void roster_advance(lmq_store *s, int slot, uint64_t first)
{
	struct roster_slot *r = slot_at(s, slot);
	if (r)
		SET(r->first, first);
}

void roster_holding(lmq_store *s, int slot, bool holding)
{
	struct roster_slot *r = slot_at(s, slot);
	if (!r)
		return;
	if (holding && GET(r->end) == 0)
		SET(r->since, lmq_now());
	SET(r->holding, holding);
}

void roster_turn(lmq_store *s, int slot, uint32_t space)
{
	struct roster_slot *r = slot_at(s, slot);
	if (!r)
		return;
	SET(r->end, 0);
	SET(r->space, space);
}

/* Members deliver nothing under their slots: the same words tell of their partitions. */
void roster_wants(lmq_store *s, int slot, uint32_t wants)
{
	struct roster_slot *r = slot_at(s, slot);
	if (r)
		SET(r->attempt, wants);
}

void roster_lanes(lmq_store *s, int slot, const uint64_t lanes[2])
{
	struct roster_slot *r = slot_at(s, slot);
	if (!r)
		return;
	SET(r->first, lanes[0]);
	SET(r->end, lanes[1]);
}

uint64_t roster_ticket(lmq_store *s, int slot)
{
	struct roster_slot *r = slot_at(s, slot);
	uint64_t ticket;
	if (!r)
		return 0;
	ticket = next_ticket(s);
	SET(r->ticket, ticket);
	return ticket;
}

/* ---- what others ask ------------------------------------------------------------------------- */

/* Whether it is a receiver of the space that delivers a part of [first, end). */
static bool delivers(const struct roster_slot *r, uint32_t space, uint64_t first, uint64_t end)
{
	return tells(r) && GET(r->space) == space && GET(r->end) > first &&
		GET(r->first) < end && GET(r->first) < GET(r->end);
}

/* A living one is about to take out what it gave back, or was read while it changed. */
bool roster_dead(lmq_store *s, uint32_t space, uint64_t first, uint64_t end, int *from,
	struct roster_trace *trace)
{
	int slot = *from;
	while (slot < ROSTER_SLOTS && (slot = next_used(s->control, slot)) >= 0) {
		struct roster_slot *r = slot_at(s, slot++);
		if (!delivers(r, space, first, end) || roster_alive(s, slot - 1))
			continue;
		*trace = (struct roster_trace){ GET(r->first), GET(r->end), GET(r->attempt), slot - 1 };
		*from = slot;
		return true;
	}
	*from = ROSTER_SLOTS;
	return false;
}

void roster_clear(lmq_store *s, int slot)
{
	const struct roster_slot *r = slot_at(s, slot);
	if (r && tells(r) && range_lock(s->control_fd, ROSTER_LOCK + slot, 1) == 0)
		vacate(s, s->control_fd, slot);
}

static void read_name(const struct roster_slot *r, char name[64])
{
	memcpy(name, r->name, sizeof r->name);
	name[sizeof r->name - 1] = '\0';
}

bool roster_holder(lmq_store *s, uint32_t space, uint64_t offset, char *name, int64_t *since,
	uint32_t *attempt)
{
	for (int slot = -1; (slot = next_used(s->control, slot + 1)) >= 0;) {
		struct roster_slot *r = slot_at(s, slot);
		if (!delivers(r, space, offset, offset + 1) || !roster_alive(s, slot))
			continue;
		read_name(r, name);
		*since = GET(r->since);
		*attempt = GET(r->attempt);
		/* It may have gone on to others meanwhile. */
		if (delivers(r, space, offset, offset + 1))
			return true;
	}
	return false;
}

bool roster_next(lmq_store *s, uint32_t space, int from, struct roster_mark *mark)
{
	for (int slot = from; (slot = next_used(s->control, slot)) >= 0; slot++) {
		const struct roster_slot *r = slot_at(s, slot);
		if (own(s, slot) || !receives(r) || GET(r->space) != space || GET(r->holding) == 0)
			continue;
		*mark = (struct roster_mark){ slot, (pid_t)GET(r->pid), GET(r->ticket) };
		return true;
	}
	return false;
}

bool roster_member(lmq_store *s, uint32_t space, int from, struct roster_member *m)
{
	for (int slot = from; (slot = next_used(s->control, slot)) >= 0; slot++) {
		const struct roster_slot *r = slot_at(s, slot);
		if (GET(r->kind) != ROSTER_MEMBER || GET(r->space) != space)
			continue;
		*m = (struct roster_member){ .slot = slot, .ticket = GET(r->ticket), .wants = GET(r->attempt),
			.lanes = { GET(r->first), GET(r->end) } };
		return true;
	}
	return false;
}

uint64_t roster_ticket_of(lmq_store *s, int slot)
{
	const struct roster_slot *r = slot_at(s, slot);
	return r ? GET(r->ticket) : 0;
}

uint32_t roster_count(lmq_store *s, uint32_t space, int lane, char name[64])
{
	uint32_t count = 0;
	name[0] = '\0';
	for (int slot = -1; (slot = next_used(s->control, slot + 1)) >= 0;) {
		const struct roster_slot *r = slot_at(s, slot);
		uint64_t bits = lane < 64 ? GET(r->first) : GET(r->end);
		if (!receives(r) || GET(r->space) != space || !roster_alive(s, slot))
			continue;
		count++;
		if (GET(r->kind) == ROSTER_MEMBER && lane >= 0 && bits >> lane % 64 & 1)
			read_name(r, name);
	}
	return count;
}

bool roster_stays(lmq_store *s, const struct roster_mark *mark)
{
	const struct roster_slot *r = slot_at(s, mark->slot);
	return used(s->control, mark->slot) && receives(r) && GET(r->ticket) == mark->ticket;
}

bool roster_before(lmq_store *s, uint32_t space, uint64_t ticket)
{
	for (int slot = -1; (slot = next_used(s->control, slot + 1)) >= 0;) {
		struct roster_slot *r = slot_at(s, slot);
		uint64_t theirs = GET(r->ticket);
		if (GET(r->kind) != ROSTER_SENDER || GET(r->space) != space || theirs == 0)
			continue;
		if (ticket != 0 && theirs >= ticket)
			continue;
		if (roster_alive(s, slot))
			return true;
		/* Asked once. No ticket is given twice, so it is not that of the slot's next owner. */
		atomic_compare_exchange_strong(&r->ticket, &theirs, 0);
	}
	return false;
}
