/* SPDX-License-Identifier: ISC */
/* Records of messages, as they lie in a block: what is one is written so that it is read as the same. */
#include "fuzz.h"

static bool same(struct lmq_bytes a, struct lmq_bytes b)
{
	return a.size == b.size && !a.data == !b.data && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void check_same(const struct lmq_message *a, const struct lmq_message *b)
{
	MUST(same(a->key, b->key) && same(a->type, b->type) && same(a->id, b->id) && a->time == b->time);
	MUST(same(a->reply_to, b->reply_to) && same(a->correlation, b->correlation));
	MUST(a->priority == b->priority && a->ttl == b->ttl && a->delay == b->delay && a->tombstone == b->tombstone);
	MUST(a->header_count == b->header_count && !a->death == !b->death && a->body.size == b->body.size);
	for (size_t i = 0; i < a->header_count; i++)
		MUST(same(a->headers[i].name, b->headers[i].name) && same(a->headers[i].value, b->headers[i].value));
	if (a->death)
		MUST(same(a->death->origin, b->death->origin) && same(a->death->group, b->death->group) &&
			a->death->offset == b->death->offset && a->death->partition == b->death->partition &&
			a->death->history.attempts == b->death->history.attempts);
}

/* The record behind its length; it must be the length of all of it. */
static void again(const struct lmq_message *m, const struct blob *blob, bool is_hole)
{
	static struct decoded room;
	static uint8_t out[1 << 17];
	struct lmq_message second;
	struct blob blob_again;
	const uint8_t *p;
	uint8_t *end;
	uint64_t size, delta;
	if (is_hole || message_room(m) > sizeof out)
		return;
	end = message_encode(out, m, (uint64_t)m->time, blob->size ? blob : NULL);
	MUST((size_t)(end - out) <= message_room(m));
	p = get_varint(out, end, &size);
	MUST(p && size == (size_t)(end - p));
	MUST(message_decode(p, end - fuzz_fault(), &second, &room, &blob_again));
	MUST(message_skim(p, end, &delta, &blob_again) && delta == (uint64_t)m->time);
	MUST(blob_again.size == blob->size && (!blob->size || blob_again.number == blob->number));
	check_same(m, &second);
	if (!blob->size)
		MUST(same(m->body, second.body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decoded room;
	struct lmq_bytes key;
	struct lmq_message m;
	struct blob blob = { 0, 0 }, skimmed;
	const char *what;
	bool tombstone, good;
	uint64_t delta;
	if (size == 0)
		return 0;
	good = message_decode(data, data + size, &m, &room, &blob);
	if (message_skim(data, data + size, &delta, &skimmed) && good)
		MUST(delta == (uint64_t)m.time && skimmed.size == blob.size);
	if (message_key(data, data + size, &key, &tombstone) && good)
		MUST(same(key, m.key) && (!tombstone || m.tombstone));
	if (good) {
		message_check(&m, &what);
		again(&m, &blob, data[0] & RECORD_HOLE);
	}
	return 0;
}
