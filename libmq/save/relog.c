/* SPDX-License-Identifier: ISC */
/*
 * A repair: the blocks of a topic or stream without what is lost of it.
 *
 * The record of a lost message becomes a hole, with its time; its bytes in the next blocks go, and a block of which
 * nothing is left goes. Of an audited stream the chain of hashes is made anew from the first change on: its digest
 * tells everybody who knows the one from before. The newest message of a lane has to be in a block (lane.c of readers
 * rely on it): where it is lost with its block, a block of one hole is put there.
 */
#include "lane.h"

#include <string.h>

struct rewriting {
	struct lane *l;
	bool audited, changed;	/* changed: links differ from here on */
	uint8_t link[LINK_SIZE];	/* of the last block */
	int64_t time;		/* of the last record, or block */
	uint64_t end;		/* behind the last message that a block has */
	bool dead;		/* the last message is lost: what goes on with it goes */
	uint8_t value[BLOCK_MAX + BLOCK_LONGEST];
	size_t size;		/* of the payload */
};

static int put_block(struct rewriting *w, struct block *b)
{
	struct lane *l = w->l;
	size_t begin = BLOCK_HEADER + (w->audited ? LINK_SIZE : 0);
	if (w->audited) {
		memmove(w->value + begin, w->value + BLOCK_HEADER, w->size);
		b->link = w->link;
	}
	b->size = w->size;
	if (begin + w->size > BLOCK_LONGEST)
		return fail_damaged(l->r->to, "a block that cannot be mended");
	block_seal(w->value, b, &l->key);
	if (w->audited)
		audit_link(l->key.bytes, l->key.size, w->value, begin + w->size, w->link);
	return rescue_put(l->r, &l->key, w->value, begin + w->size);
}

static void add(struct rewriting *w, const uint8_t *p, size_t size)
{
	memcpy(w->value + BLOCK_HEADER + w->size, p, size);
	w->size += size;
}

static void add_hole(struct rewriting *w, uint64_t delta)
{
	uint8_t hole[2 * VARINT_MAX + 1], *p = put_varint(hole, 1 + varint_size(delta));
	*p++ = RECORD_HOLE;
	p = put_varint(p, delta);
	add(w, hole, (size_t)(p - hole));
}

/* The records that begin in the block, the lost ones as holes. Whether there are any lost ones. */
static bool copy_records(struct rewriting *w, unsigned *flags)
{
	struct lane *l = w->l;
	const uint8_t *p = l->bytes_of + l->block.skip, *end = l->bytes_of + l->block.size;
	int64_t time = l->block.base_time;
	bool changed = false;
	for (unsigned i = 0; i < l->block.count; i++) {
		uint64_t size = 0, delta = 0, left = (uint64_t)(l->block.last_time - time);
		const uint8_t *start = p < end ? get_varint(p, end, &size) : NULL, *stop = end;
		bool known = start && start < end && size >= 2 && get_varint(start + 1, end, &delta) && delta <= left;
		if (!known || i + 1u == l->block.count)
			delta = left;
		if (known && size <= (uint64_t)(end - start))
			stop = start + size;
		w->dead = lane_is_lost(l, l->base + i) || !known;
		if (w->dead && !(known && *start & RECORD_HOLE)) {
			add_hole(w, delta);
			changed = true;
		} else {
			add(w, p, (size_t)(stop - p));
			*flags |= *start & RECORD_BLOB ? BLOCK_HAS_BLOB : 0;
		}
		time += (int64_t)delta;
		p = stop;
	}
	return changed;
}

static int rewrite(struct rewriting *w)
{
	struct lane *l = w->l;
	struct block b = l->block;
	unsigned flags = 0;
	bool strip = b.skip > 0 && (w->dead || (l->base + !!l->part > w->end)), changed = strip;
	w->size = 0;
	if (!strip)
		add(w, l->bytes_of, b.skip);
	w->audited = b.link != NULL;
	if (b.count > 0) {
		changed = copy_records(w, &flags) || changed;
		w->end = l->base + b.count;
		b.flags = (uint8_t)flags;
	}
	b.skip = strip ? 0 : b.skip;
	if (b.last_time > w->time)
		w->time = b.last_time;
	if (w->audited && !changed && memcmp(b.link, w->link, LINK_SIZE) != 0)
		changed = w->changed = true;
	if (w->size == 0) {
		w->changed = true;
		return rescue_delete(l->r, &l->key);
	}
	if (changed)
		return put_block(w, &b);
	if (w->audited) {
		MDB_val v;
		int rc = rescue_get(l->r, &l->key, &v);
		if (rc == 0)
			audit_link(l->key.bytes, l->key.size, v.mv_data, v.mv_size, w->link);
		return rc;
	}
	return 0;
}

/* One hole for the newest message; those before it are in no block. */
static int put_end(struct rewriting *w)
{
	struct lane *l = w->l;
	struct block b = { .count = 1, .base_time = w->time, .last_time = l->head.last_time > w->time ? l->head.last_time : w->time };
	l->key = key_block(l->id, l->lane, l->head.end - 1, 0);
	w->size = 0;
	w->audited = l->channel->kind == LMQ_STREAM && limit_of(l->channel, LIMIT_AUDIT) == 1;
	add_hole(w, (uint64_t)(b.last_time - b.base_time));
	return put_block(w, &b);
}

int relog(struct lane *l)
{
	struct rewriting *w = calloc(1, sizeof *w);
	int rc;
	if (!w)
		return rescue_no_memory(l->r);
	w->l = l;
	/* What the first block begins with may belong to a message that was dropped. */
	w->end = UINT64_MAX;
	for (bool first = true; (rc = lane_next(l, first)) == 0; first = false) {
		w->end = first ? l->base + !!l->part : w->end;
		rc = rewrite(w);
		if (rc != 0)
			break;
	}
	if (rc == LMQ_END)
		rc = 0;
	if (rc == 0 && (w->end < l->head.end || w->end == UINT64_MAX) && l->head.first < l->head.end)
		rc = put_end(w);
	free(w);
	l->head.flags |= HEAD_GAPS;
	l->gaps = l->relogged = true;
	return rc;
}
