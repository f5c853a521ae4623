/* SPDX-License-Identifier: ISC */
/*
 * Members: who of a group has which partitions.
 *
 * A group of a stream with several partitions is shared by partitions: each of them belongs to one member at a
 * time, so that its messages keep their order. That is an OFD lock, PARTITION_LOCK + the space of the lane, held
 * through the receiver's descriptor, so it is free in the instant its owner dies.
 *
 * How many are whose follows from the roster, without anybody to decide: the living members, in the order in which
 * they joined, have n/m partitions each, the first n mod m of them one more. Members that want just one partition
 * (options->partition) are not counted; what they want is left to them. Whoever has more than his share gives some up:
 * first those of which nothing is in his hands; from the others he takes nothing new, and they are given up once all
 * of it is settled. Whoever has less tries to lock what is free. Nobody else does anything, so a change stops only the
 * partitions that change hands, at the boundary between two messages.
 *
 * Wake-ups: who joins, gives up, or leaves bumps the channel's word; of deaths those who wait learn through their
 * vigil, since every member counts as holding something. Those who do not wait look at the roster at each claim,
 * which takes no system call as long as it reads as before; whether all of them live they ask again after a while.
 *
 * Why no partition is forgotten: once the roster is at rest all members see the same list, and so the shares add up
 * to all partitions; nobody keeps more than his share, so what is missing to somebody's is free, or is given up
 * with a wake-up. A list that was read while it changed is put right by the wake-up of who changed it. What the roster
 * says is never trusted with order itself: that rests on the locks alone.
 */
#include "receiver.h"

#include <string.h>

enum { SURVEY_EVERY = 50000000, TRY_EVERY = 5000000 };	/* ns */

int member_join(lmq_receiver *r)
{
	lmq_store *s = r->queue->store;
	int rc = 0;
	if (r->joined)
		return 0;
	rc = view_fresh(r);
	for (uint16_t i = 0; rc == 0 && i < r->lane_count; i++)
		rc = view_lane(r, &r->lanes[i]);
	if (rc != 0)
		return rc;
	r->joined = true;
	if (r->lane_count == 1) {
		r->slot = r->told.slot = roster_join(s, r->fd, ROSTER_RECEIVER, receiver_space(r), r->consumer);
		return 0;
	}
	r->told.slot = roster_join(s, r->fd, ROSTER_WORK, receiver_space(r), r->consumer);
	r->slot = roster_join(s, r->fd, ROSTER_MEMBER, receiver_space(r), r->consumer);
	roster_wants(s, r->slot, (uint32_t)(r->only + 1));
	roster_holding(s, r->slot, true);
	receiver_wake(r);
	return 0;
}

void member_leave(lmq_receiver *r)
{
	lmq_store *s = r->queue->store;
	for (uint16_t i = 0; r->joined && r->lane_count > 1 && i < r->lane_count; i++)
		if (r->lanes[i].owned)
			range_unlock(r->fd, PARTITION_LOCK + r->lanes[i].group.space, 1);
	for (size_t i = 0; i < r->work_count; i++)
		roster_leave(s, r->fd, r->works[i].slot);
	if (r->told.slot != r->slot)
		roster_leave(s, r->fd, r->told.slot);
	roster_leave(s, r->fd, r->slot);
	if (r->joined && r->lane_count > 1)
		receiver_wake(r);
}

/* ---- shares -------------------------------------------------------------------------------- */

static bool bit(const uint64_t *bits, uint16_t lane)
{
	return bits[lane / 64] >> lane % 64 & 1;
}

/* A number that changes when somebody joins or leaves. */
static uint64_t digest(lmq_receiver *r)
{
	struct roster_member m;
	uint64_t sum = 0;
	for (int slot = 0; roster_member(r->queue->store, receiver_space(r), slot, &m); slot = m.slot + 1)
		sum += (m.ticket << 10 | (uint64_t)m.slot) * 0x9e3779b97f4a7c15 + m.wants;
	return sum;
}

/* Who of them lives, and what that leaves to us. */
static void survey(lmq_receiver *r)
{
	lmq_store *s = r->queue->store;
	struct roster_member m;
	uint32_t count = 0, place = 0;
	uint16_t left = r->lane_count;
	uint64_t mine = r->slot >= 0 ? roster_ticket_of(s, r->slot) : UINT64_MAX;
	for (size_t i = 0; i < sizeof r->reserved / sizeof *r->reserved; i++)
		r->reserved[i] = 0;
	for (int slot = 0; roster_member(s, receiver_space(r), slot, &m); slot = m.slot + 1) {
		if (m.slot == r->slot || !roster_alive(s, m.slot))
			continue;
		if (m.wants > 0 && m.wants <= r->lane_count) {
			left -= !bit(r->reserved, (uint16_t)(m.wants - 1));
			r->reserved[(m.wants - 1) / 64] |= (uint64_t)1 << (m.wants - 1) % 64;
			continue;
		}
		count++;
		place += m.ticket < mine;
	}
	r->share = (uint16_t)(left / (count + 1) + (place < left % (count + 1)));
	r->place = (uint16_t)(place * (uint32_t)r->lane_count / (count + 1));
}

/* Whether anything may have changed since the last look. */
static bool changed(lmq_receiver *r)
{
	uint64_t members = digest(r);
	int64_t now = clock_monotonic();
	if (members == r->members && !r->idle && now - r->surveyed < SURVEY_EVERY)
		return false;
	r->members = members;
	r->surveyed = now;
	return true;
}

/* ---- giving up and taking ------------------------------------------------------------------ */

static void tell_lanes(lmq_receiver *r)
{
	uint64_t bits[LMQ_PARTITIONS_MAX / 64] = { 0 };
	for (uint16_t i = 0; i < r->lane_count; i++)
		if (r->lanes[i].owned)
			bits[i / 64] |= (uint64_t)1 << i % 64;
	roster_lanes(r->queue->store, r->slot, bits);
}

static uint16_t kept(const lmq_receiver *r)
{
	uint16_t count = 0;
	for (uint16_t i = 0; i < r->lane_count; i++)
		count += r->lanes[i].owned && !r->lanes[i].leaving;
	return count;
}

/* What is to go, and what of it can: true if somebody may have it now. */
static bool give_up_idle(lmq_receiver *r)
{
	bool any = false;
	for (uint16_t i = 0; i < r->lane_count; i++) {
		struct lane *l = &r->lanes[i];
		if (!l->owned || !l->leaving || receiver_busy(r, i))
			continue;
		l->owned = l->leaving = false;
		l->due = INT64_MAX;
		range_unlock(r->fd, PARTITION_LOCK + l->group.space, 1);
		any = true;
	}
	return any;
}

/* Marks what is above our share: what others want for themselves, then what is idle, then the rest. */
static void mark_leaving(lmq_receiver *r)
{
	uint16_t count;
	for (uint16_t i = 0; i < r->lane_count; i++)
		r->lanes[i].leaving = r->lanes[i].owned && r->only < 0 && bit(r->reserved, i);
	if (r->only >= 0)
		return;
	count = kept(r);
	for (int pass = 0; pass < 2; pass++)
		for (uint16_t i = r->lane_count; i-- > 0 && count > r->share;)
			if (r->lanes[i].owned && !r->lanes[i].leaving && (pass > 0 || !receiver_busy(r, i))) {
				r->lanes[i].leaving = true;
				count--;
			}
}

static bool take_lane(lmq_receiver *r, uint16_t i)
{
	struct lane *l = &r->lanes[i];
	if (l->owned || range_lock(r->fd, PARTITION_LOCK + l->group.space, 1) != 0)
		return false;
	l->owned = true;
	l->leaving = false;
	l->due = INT64_MAX;
	return true;
}

/* Where we begin differs from member to member, so that few try the same. */
static bool take_free(lmq_receiver *r, bool look)
{
	uint16_t count = kept(r);
	int64_t now = clock_monotonic();
	bool any = false;
	if (!look && now - r->tried < TRY_EVERY)
		return false;
	r->tried = now;
	if (r->only >= 0)
		return take_lane(r, (uint16_t)r->only);
	for (uint16_t k = 0; k < r->lane_count && count < r->share; k++) {
		uint16_t i = (uint16_t)((r->place + k) % r->lane_count);
		if (!bit(r->reserved, i) && take_lane(r, i)) {
			any = true;
			count++;
		}
	}
	return any;
}

bool member_balance(lmq_receiver *r, bool take)
{
	bool gave, took = false, look;
	if (r->lane_count == 1 || !r->joined)
		return false;
	look = changed(r);
	if (look) {
		survey(r);
		mark_leaving(r);
	}
	gave = give_up_idle(r);
	if (take && (look || kept(r) < r->share))
		took = take_free(r, look);
	if (gave || took)
		tell_lanes(r);
	if (gave)
		receiver_wake(r);
	return took;
}

/* ---- listing ------------------------------------------------------------------------------- */

void member_list(lmq_channel *c, struct lmq_group_info *list, size_t count)
{
	struct group_record g;
	struct snapshot p;
	int rc = 0;
	if (c->store->control_fd < 0)
		return;		/* on a read-only filesystem nobody is at work */
	snapshot_init(c->store, &p);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		bool first = i == 0 || strcmp(list[i].name, list[i - 1].name) != 0;
		rc = first ? snapshot_begin(&p) : 0;
		if (first && rc == 0)
			rc = get_group(c->store, p.mdb, c->id, 0, list[i].name, &g);
		if (rc == 0)
			list[i].members = roster_count(c->store, g.space, c->lanes > 1 ? (int)list[i].partition : -1,
				list[i].owner);
	}
	snapshot_close(&p);
}
