/* SPDX-License-Identifier: ISC */
/* A repair: what is said and done of the lost messages of a lane. */
#include "lane.h"

void say_lost(struct lane *l)
{
	char name[LMQ_NAME_MAX + 16];
	uint64_t known = UINT64_MAX;
	lane_name(l->channel, l->lane, name);
	for (size_t i = 0; i < l->r->beyond_count; i++)
		if (l->r->beyond[i].id == l->id && l->r->beyond[i].lane == l->lane)
			known = l->r->beyond[i].from;
	for (size_t i = 0; i < l->lost_count && l->lost[i].first < known; i++) {
		uint64_t first = l->lost[i].first, end = l->lost[i].end < known ? l->lost[i].end : known;
		l->r->result->lost_messages += end - first;
		if (end - first == 1)
			rescue_say(l->r, name, "message %llu is lost", (unsigned long long)first);
		else
			rescue_say(l->r, name, "messages %llu to %llu are lost", (unsigned long long)first,
				(unsigned long long)end - 1);
	}
}

/* Who sends a lost message again is not told that it is there. */
int forget_ids(struct lane *l)
{
	struct key k = key_id(l->id, (const uint8_t[16]){ 0 });
	struct id_record i;
	MDB_val v;
	int rc;
	for (bool first = true; (rc = rescue_next(l->r, &k, RUN_PREFIX, first, &v)) == 0; first = false) {
		if (k.size != ID_KEY || !id_record_get(&i, &k, v.mv_data, v.mv_size) || i.lane != l->lane ||
				!lane_is_lost(l, i.offset))
			continue;
		rc = rescue_delete(l->r, &k);
		if (rc != 0)
			return rc;
	}
	return rc == LMQ_END ? 0 : rc;
}

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
