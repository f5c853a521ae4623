/* SPDX-License-Identifier: ISC */
/*
 * Checking the store: what the blocks of a lane hold, and what its head says of them.
 *
 * That each block is sound in itself, and follows from the one before, is looked at when a channel is checked
 * (sound.c). Here they are counted. Most records are only stepped over; one with a large body, or a key that is
 * indexed, is read, and put together where it goes on in the next blocks. Of a queue a large body counts as long
 * as its message is not settled.
 */
#include "accounts.h"

#include <string.h>

struct tally {
	struct account *a;
	struct owner *o;
	uint16_t lane;
	char object[OBJECT_MAX];
	const struct head_record *head;
	bool queue;
	struct group_record position;	/* of a queue */
	struct newest newest;
	uint64_t bytes, large;		/* counted */
	uint64_t live;			/* messages from the first on that are no holes */
	bool damaged;			/* not everything could be counted */
	/* the present block */
	uint64_t base;
	uint32_t part;
	size_t used;			/* bytes of its value; 0: there was none yet */
	struct block block;
	/* the last record that began, if it is to be read and goes on in the next block */
	bool open;
	uint64_t offset;
	size_t have, need;
	uint8_t gathered[RECORD_MAX];
};

static void doubt(struct tally *t)
{
	t->damaged = true;
	t->a->bodies.uncertain = true;
}

/* ---- records -------------------------------------------------------------------------------- */

static bool is_within(const struct tally *t, uint64_t offset)
{
	return offset >= t->head->first && offset < t->head->end;
}

/* Whether the message is there for anybody. */
static int is_stored(struct tally *t, uint64_t offset, bool *stored)
{
	struct run_record r;
	int rc;
	*stored = is_within(t, offset);
	if (!*stored || !t->queue || offset >= t->position.next)
		return 0;
	rc = run_at(t->a->s, t->a->view.cursor, t->position.space, offset, &r);
	*stored = rc == 0 && r.first <= offset;
	if (rc == LMQ_EDAMAGED)
		doubt(t);
	return rc == LMQ_END || rc == LMQ_EDAMAGED ? 0 : rc;
}

static int take_body(struct tally *t, const uint8_t *start, const uint8_t *end, uint64_t offset)
{
	struct blob blob;
	uint64_t delta;
	bool stored;
	int rc = is_stored(t, offset, &stored);
	if (rc != 0 || !stored)
		return rc;
	if (!message_skim(start, end, &delta, &blob)) {
		account_fault(t->a, t->object, "message %llu cannot be read", (unsigned long long)offset);
		doubt(t);
		return 0;
	}
	t->large++;
	t->bytes += blob.size;
	return bodies_add(t->a, blob.number, blob.size);
}

/* One that is to be read: behind its length. */
static int take_record(struct tally *t, const uint8_t *start, const uint8_t *end, uint64_t offset)
{
	struct lmq_bytes key;
	bool tombstone;
	int rc = 0;
	if (*start & RECORD_BLOB)
		rc = take_body(t, start, end, offset);
	if (rc != 0 || !t->newest.wanted || !(*start & RECORD_KEY) || !is_within(t, offset))
		return rc;
	if (message_key(start, end, &key, &tombstone) && key.data)
		return newest_add(&t->newest, offset, key);
	account_fault(t->a, t->object, "message %llu cannot be read", (unsigned long long)offset);
	t->newest.sound = false;
	return 0;
}

/* The message at t->offset ends before its time: which is right only where nobody wants it any more. */
static int cut_short(struct tally *t)
{
	bool stored;
	int rc = is_stored(t, t->offset, &stored);
	t->open = false;
	if (rc != 0 || !stored)
		return rc;
	account_fault(t->a, t->object, "message %llu is cut short", (unsigned long long)t->offset);
	doubt(t);
	t->newest.sound = false;
	return 0;
}

/* What the block begins with goes on with the record that is open. */
static int take_rest(struct tally *t)
{
	size_t skip = t->block.skip;
	bool follows = t->part ? t->base == t->offset : t->base == t->offset + 1;
	if (!follows || skip == 0 || skip > t->need - t->have || (t->block.count > 0 && skip != t->need - t->have))
		return cut_short(t);
	memcpy(t->gathered + t->have, t->block.payload, skip);
	t->have += skip;
	if (t->have < t->need)
		return 0;
	t->open = false;
	return take_record(t, t->gathered, t->gathered + t->need, t->offset);
}

/* ---- blocks --------------------------------------------------------------------------------- */

static int bad_block(struct tally *t, const char *what)
{
	account_fault(t->a, t->object, "the block at %llu%s", (unsigned long long)t->base, what);
	doubt(t);
	t->newest.sound = false;
	t->open = false;
	return 0;
}

/* The record at *p, of which left tells how many begin behind it in the block. LMQ_EDATA: there is none. */
static int step_record(struct tally *t, const uint8_t **p, uint64_t offset, unsigned left)
{
	const uint8_t *end = t->block.payload + t->block.size, *start;
	bool wanted, whole;
	uint64_t size;
	start = get_varint(*p, end, &size);
	if (!start || start == end || size < 2 || size > RECORD_MAX)
		return LMQ_EDATA;
	whole = size <= (size_t)(end - start);
	if (!whole && left > 0)
		return LMQ_EDATA;
	if (*start & RECORD_BLOB && !(t->block.flags & BLOCK_HAS_BLOB))
		return LMQ_EDATA;
	*p = whole ? start + size : end;
	t->live += is_within(t, offset) && !(*start & RECORD_HOLE);
	wanted = !(*start & RECORD_HOLE) && (*start & RECORD_BLOB || (t->newest.wanted && *start & RECORD_KEY));
	if (!wanted)
		return 0;
	if (whole)
		return take_record(t, start, start + size, offset);
	t->open = true;
	t->offset = offset;
	t->need = size;
	t->have = (size_t)(end - start);
	memcpy(t->gathered, start, t->have);
	return 0;
}

static int take_block(struct tally *t)
{
	const uint8_t *p = t->block.payload + t->block.skip;
	uint64_t end = t->base + (t->block.count ? t->block.count : 1);
	int rc = t->open ? take_rest(t) : 0;
	t->bytes += t->block.size;
	for (unsigned left = t->block.count; rc == 0 && left-- > 0;)
		rc = step_record(t, &p, end - left - 1, left);
	if (rc == LMQ_EDATA || (rc == 0 && p != t->block.payload + t->block.size))
		return bad_block(t, " cannot be read");
	if (rc == 0 && end > t->head->end)
		account_fault(t->a, t->object, "has messages up to %llu, and the next one is to be %llu",
			(unsigned long long)end, (unsigned long long)t->head->end);
	return rc;
}

static bool has_right_link(const struct tally *t)
{
	bool audited = t->o->record.kind == LMQ_STREAM && limit_of(&t->o->record, LIMIT_AUDIT) == 1;
	return t->o->removed || audited == (t->block.link != NULL);
}

static int take_blocks(struct tally *t)
{
	struct key prefix = key_block(t->o->id, t->lane, 0, 0);
	struct entries e;
	int rc = entries_open(t->a, &e, &prefix, BLOCK_PREFIX);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		MDB_val key = { e.key.size, e.key.bytes };
		t->used = e.value.mv_size;
		t->base = get64(e.key.bytes + BLOCK_PREFIX);
		t->part = get32(e.key.bytes + BLOCK_PREFIX + 8);
		rc = block_load(t->a->s, t->o->id, t->lane, &key, &e.value, &t->block, &t->base, &t->part);
		if (rc == LMQ_EDAMAGED) {
			t->block = (struct block){ .count = 0 };
			rc = bad_block(t, " is damaged");
			continue;
		}
		rc = rc == 0 ? take_block(t) : rc;
		if (rc == 0 && !has_right_link(t))
			account_fault(t->a, t->object, "the block at %llu %s", (unsigned long long)t->base,
				t->block.link ? "is part of a chain, and the stream is not audited" :
				"is not part of the chain");
	}
	entries_close(&e);
	if (rc == LMQ_END && t->open)
		return cut_short(t);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- the head -------------------------------------------------------------------------------- */

static void compare(struct tally *t, uint64_t said, uint64_t counted, const char *what)
{
	if (said != counted)
		account_fault(t->a, t->object, "has %llu %s, and counts %llu", (unsigned long long)counted, what,
			(unsigned long long)said);
}

/* The newest block, the present one, is where new messages are added. */
static void compare_tail(struct tally *t)
{
	const struct head_record *h = t->head;
	bool last = t->used > 0 && t->base == h->tail_offset && t->part == h->tail_part;
	uint64_t end = t->base + (t->block.count ? t->block.count : 1);
	if (h->tail_used == 0) {
		/* In a queue older blocks may be left, of messages that wait. */
		if (t->used > 0 && (!t->queue || end > h->end))
			account_fault(t->a, t->object, "has a block at %llu, and knows of no newest one",
				(unsigned long long)t->base);
		if (!t->queue && h->first < h->end)
			account_fault(t->a, t->object, "has messages from %llu to %llu, and no block",
				(unsigned long long)h->first, (unsigned long long)h->end);
		return;
	}
	if (!last || t->used != h->tail_used) {
		account_fault(t->a, t->object,
			"the newest block is to be %u bytes at %llu, part %u, and is %zu at %llu, part %u", h->tail_used,
			(unsigned long long)h->tail_offset, h->tail_part, t->used, (unsigned long long)t->base, t->part);
		return;
	}
	if (!t->block.payload)
		return;
	if (end != h->end)
		account_fault(t->a, t->object, "the newest block ends at %llu, and the next message is to be %llu",
			(unsigned long long)end, (unsigned long long)h->end);
	if (t->block.last_time != h->last_time)
		account_fault(t->a, t->object, "the newest message was not stored when the head says");
}

static void compare_head(struct tally *t)
{
	const struct head_record *h = t->head;
	uint64_t span = h->end - h->first, holes = t->queue || t->live > span ? 0 : span - t->live;
	compare_tail(t);
	if (h->flags & ~HEAD_GAPS)
		account_fault(t->a, t->object, "its head has unknown flags");
	if (t->damaged)
		return;
	compare(t, h->bytes, t->bytes, "bytes");
	compare(t, h->large, t->large, "large bodies");
	compare(t, h->holes, holes, "holes");
}

/* ---- a lane --------------------------------------------------------------------------------- */

/* The position of a queue says which messages are settled. Only a queue has one without a name. */
static int load_position(struct tally *t)
{
	struct key k = key_group(t->o->id, 0, "");
	MDB_val v;
	int rc = account_get(t->a, &k, &v);
	t->queue = rc == 0 || t->o->record.kind == LMQ_QUEUE;
	if (rc == 0 && !group_record_get(&t->position, &k, v.mv_data, v.mv_size))
		rc = LMQ_END;
	if (rc == LMQ_END && t->queue)
		doubt(t);
	return rc == LMQ_END ? 0 : rc;
}

static int load_head(struct account *a, struct owner *o, uint16_t lane)
{
	char object[OBJECT_MAX];
	struct key k = key_head(o->id, lane);
	MDB_val v;
	int rc = account_get(a, &k, &v);
	o->headed = rc == 0 && head_record_get(&o->head, &k, v.mv_data, v.mv_size);
	if (lane < LMQ_PARTITIONS_MAX)
		o->ends[lane] = o->headed ? o->head.end : UINT64_MAX;
	if (!o->headed && (rc == 0 || rc == LMQ_END)) {
		account_fault(a, owner_object(o, lane, NULL, object), rc == 0 ? "its head is damaged" : "it has no head");
		a->bodies.uncertain = true;
	}
	return rc == LMQ_END ? 0 : rc;
}

static int tally(struct tally *t)
{
	int rc = load_position(t);
	/* Of what was removed only large bodies are of interest. */
	if ((t->o->removed || t->a->again) && t->head->large == 0)
		return rc;
	if (rc == 0 && !t->o->removed && !t->a->again)
		rc = newest_begin(&t->newest, t->a, t->o, t->lane);
	if (rc == 0)
		rc = take_blocks(t);
	if (rc != 0 || t->o->removed || t->a->again)
		return rc;
	compare_head(t);
	return newest_end(&t->newest);
}

int tally_lane(struct account *a, struct owner *o, uint16_t lane)
{
	struct tally *t;
	int rc = load_head(a, o, lane);
	if (rc != 0 || !o->headed)
		return rc;
	t = calloc(1, sizeof *t);
	if (!t)
		return account_no_memory(a);
	t->a = a;
	t->o = o;
	t->lane = lane;
	t->head = &o->head;
	owner_object(o, lane, NULL, t->object);
	rc = tally(t);
	newest_free(&t->newest);
	free(t);
	return rc;
}
