/* SPDX-License-Identifier: ISC */
/* A repair: what is said and done of the lost messages of a lane. */
#include "lane.h"

static void say_run(struct lane *l, const char *name, uint64_t first, uint64_t end)
{
	l->r->result->lost_messages += end - first;
	if (end - first == 1)
		rescue_say(l->r, name, "message %llu is lost", (unsigned long long)first);
	else
		rescue_say(l->r, name, "messages %llu to %llu are lost", (unsigned long long)first, (unsigned long long)end - 1);
}

int say_lost(struct lane *l)
{
	char name[LMQ_NAME_MAX + 16];
	uint64_t known = UINT64_MAX;
	int rc = 0;
	lane_name(l->channel, l->lane, name);
	/* From there on nothing is known ever to have been. Lanes of this channel were noted last. */
	for (size_t i = l->r->beyond_count; i > 0 && l->r->beyond[i - 1].id == l->id; i--)
		if (l->r->beyond[i - 1].lane == l->lane)
			known = l->r->beyond[i - 1].from;
	for (size_t i = 0; rc == 0 && i < l->lost_count; i++) {
		const struct run *run = &l->lost[i];
		if (run->first < known)
			say_run(l, name, run->first, run->end < known ? run->end : known);
		rc = note_lost(l->r, l->lane, run->first, run->end);
	}
	return rc;
}

/* ---- ids -------------------------------------------------------------------------------------- */

int note_lost(struct rescue *r, uint16_t lane, uint64_t first, uint64_t end)
{
	struct lost *more = rescue_room(r->lost, r->lost_count, &r->lost_room, sizeof *more);
	if (!more)
		return rescue_no_memory(r);
	r->lost = more;
	r->lost[r->lost_count++] = (struct lost){ lane, { first, end } };
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct lost *x = a, *y = b;
	if (x->lane != y->lane)
		return x->lane < y->lane ? -1 : 1;
	return (x->run.first > y->run.first) - (x->run.first < y->run.first);
}

/* By their begins and by their ends. */
static void sort_lost(struct lost *lost, size_t count)
{
	if (count > 0)
		qsort(lost, count, sizeof *lost, by_place);
	for (size_t i = 1; i < count; i++)
		if (lost[i].lane == lost[i - 1].lane && lost[i].run.end < lost[i - 1].run.end)
			lost[i].run.end = lost[i - 1].run.end;
}

static bool is_noted(const struct rescue *r, uint16_t lane, uint64_t offset)
{
	size_t low = 0, high = r->lost_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct lost *at = &r->lost[middle];
		if (at->lane < lane || (at->lane == lane && at->run.end <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->lost_count && r->lost[low].lane == lane && offset >= r->lost[low].run.first;
}

/* Who sends a lost message again is not told that it is there. Ids do not lie by lanes: once for all of them. */
int forget_ids(struct rescue *r, uint32_t id)
{
	struct key k = key_id(id, (const uint8_t[16]){ 0 });
	struct id_record i;
	MDB_val v;
	int rc = r->lost_count > 0 ? 0 : LMQ_END;
	sort_lost(r->lost, r->lost_count);
	for (bool first = true; rc == 0 && (rc = rescue_next(r, &k, RUN_PREFIX, first, &v)) == 0; first = false)
		if (k.size == ID_KEY && id_record_get(&i, &k, v.mv_data, v.mv_size) && is_noted(r, i.lane, i.offset))
			rc = rescue_delete(r, &k);
	r->lost_count = 0;
	return rc == LMQ_END ? 0 : rc;
}

/* ---- in a queue --------------------------------------------------------------------------------- */

static int settle_one(struct lane *l, uint64_t first, uint64_t end)
{
	struct run_record run;
	int rc = 0;
	while (rc == 0 && first < end) {
		rc = group_first(&l->r->t, &l->position, l->head.end, first, &run);
		if (rc != 0 || run.first >= end)
			break;
		first = run.first;
		rc = group_carve(&l->r->t, &l->position, first, run.end < end ? run.end : end, &run);
		if (rc == 0)
			rc = group_settled(&l->r->t, &l->position, &run);
		l->position.counter[COUNT_DROPPED] += run.end - run.first;
		first = run.end;
		if (rc == 0)
			rc = rescue_tick(l->r, RUN_RECORD_MAX);
	}
	return rc == LMQ_END ? 0 : rc;
}

int settle_lost(struct lane *l)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < l->lost_count; i++)
		rc = settle_one(l, l->lost[i].first, l->lost[i].end);
	return rc == 0 ? rescue_put_group(l->r, l->id, l->lane, "", &l->position) : rc;
}
