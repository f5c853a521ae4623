/* SPDX-License-Identifier: ISC */
#include "sight.h"

#include <string.h>

static const uint8_t zero[16];
const char sight_new[] = "added later";

struct sight *sight;
static bool mixing;

int checked(int rc)
{
	if (rc != 0 && rc != LMQ_END && rc != LMQ_ETIME)
		sight->complained = true;
	return rc;
}

static void mix(uint64_t number)
{
	if (mixing)
		sight->digest = hash64(zero, (uint64_t[]){ sight->digest, number }, 16);
}

static void mix_text(const char *text)
{
	mix(hash64(zero, text, strlen(text)));
}

static void add_bytes(struct hash_state *h, struct lmq_bytes b)
{
	uint64_t n = b.data ? b.size : UINT64_MAX;
	hash_add(h, &n, sizeof n);
	if (b.data)
		hash_add(h, b.data, b.size);
}

/* All of a message that its sender said but the body, which is added piece by piece. */
static void content_begin(struct hash_state *h, const struct lmq_message *m)
{
	hash_begin(h, zero);
	add_bytes(h, m->key);
	add_bytes(h, m->type);
	add_bytes(h, m->id);
	for (size_t i = 0; i < m->header_count; i++) {
		add_bytes(h, m->headers[i].name);
		add_bytes(h, m->headers[i].value);
	}
	hash_add(h, &m->ttl, sizeof m->ttl);
	hash_add(h, &m->body.size, sizeof m->body.size);
}

static uint64_t place_of(const char *channel, const struct lmq_message *m)
{
	uint64_t where[] = { hash64(zero, channel, strlen(channel)), m->partition, m->offset };
	return hash64(zero, where, sizeof where);
}

/* A message came: it must be one that was sent, and what was sent to that place. */
static void delivered(const char *channel, const struct lmq_message *m, uint64_t content, bool is_new)
{
	uint64_t place = place_of(channel, m);
	bool sent = is_new;
	mix(place);
	mix(content);
	mix((uint64_t)m->time);
	if (sight->learning && sight->known < SIGHT_MESSAGES)
		sight->list[sight->known++] = (struct seen){ place, content };
	if (sight->learning)
		return;
	for (size_t i = 0; i < sight->known; i++) {
		sent = sent || sight->list[i].content == content;
		if (sight->list[i].place == place && sight->list[i].content != content)
			sight->wrong = true;
	}
	if (!sent)
		sight->wrong = true;
}

typedef int piece_of(void *handle, uint64_t at, struct lmq_bytes *piece);

static void take_message(const char *channel, const struct lmq_message *m, piece_of *body, void *handle)
{
	struct lmq_bytes piece;
	struct hash_state h;
	bool is_new = m->body.size == sizeof sight_new;
	uint64_t at = 0;
	content_begin(&h, m);
	while (at < m->body.size) {
		if (checked(body(handle, at, &piece)) != 0 || piece.size == 0)
			return;
		is_new = is_new && piece.size == sizeof sight_new && memcmp(piece.data, sight_new, sizeof sight_new) == 0;
		hash_add(&h, piece.data, piece.size);
		at += piece.size;
	}
	delivered(channel, m, hash_end(&h), is_new);
}

static int reader_piece(void *handle, uint64_t at, struct lmq_bytes *piece)
{
	return lmq_reader_body(handle, at, piece);
}

static int receiver_piece(void *handle, uint64_t at, struct lmq_bytes *piece)
{
	return lmq_receiver_body(handle, at, piece);
}

static void read_all(lmq_channel *c)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_delivery d;
	lmq_reader *r;
	if (checked(lmq_reader_open(c, &r)) != 0)
		return;
	while (checked(lmq_reader_next(r, &m)) == 0) {
		take_message(lmq_channel_name(c), &m, reader_piece, r);
		if (lmq_channel_kind(c) == LMQ_QUEUE && checked(lmq_reader_delivery(r, &d)) == 0) {
			mix(d.state);
			mix((uint64_t)d.due);
			mix(d.history.attempts);
		}
	}
	checked(lmq_reader_seek(r, LMQ_SEEK_LAST, 2));
	while (lmq_channel_kind(c) != LMQ_QUEUE && checked(lmq_reader_previous(r, &m)) == 0)
		mix(m.offset);
	checked(lmq_reader_seek(r, LMQ_SEEK_TIME, m.time));
	lmq_reader_close(r);
}

static void look_at_groups(lmq_channel *c)
{
	struct lmq_group_info *list;
	size_t count;
	if (lmq_channel_kind(c) == LMQ_QUEUE || checked(lmq_group_list(c, NULL, &list, &count)) != 0)
		return;
	for (size_t i = 0; i < count; i++) {
		mix_text(list[i].name);
		mix(list[i].partition);
		mix(list[i].position);
		mix(list[i].lag);
		mix(list[i].leased * 7 + list[i].blocked * 5 + list[i].retrying * 3 + list[i].acknowledged);
	}
	free(list);
}

static void look_at_channel(lmq_store *s, const char *name)
{
	struct lmq_property list[LMQ_PROPERTY_MAX];
	struct lmq_channel_info info;
	lmq_channel *c;
	size_t count;
	mix_text(name);
	if (checked(lmq_channel_open(s, name, LMQ_ANY, 0, &c)) != 0)
		return;
	if (checked(lmq_channel_info(c, &info)) == 0) {
		uint64_t numbers[] = { info.kind, info.partitions, info.messages, info.bytes, info.first, info.end,
			info.sent, info.acknowledged, info.leased, info.delayed, info.retrying, info.blocked };
		mix(hash64(zero, numbers, sizeof numbers));
	}
	if (checked(lmq_channel_properties(c, list, &count)) == 0)
		for (size_t i = 0; i < count; i++)
			mix_text(list[i].value);
	look_at_groups(c);
	read_all(c);
	lmq_channel_close(c);
}

static void look_at_routes(lmq_store *s)
{
	struct lmq_route *list;
	size_t count;
	if (checked(lmq_route_list(s, &list, &count)) != 0)
		return;
	for (size_t i = 0; i < count; i++) {
		mix_text(list[i].source);
		mix_text(list[i].destination);
		mix(list[i].header_count);
	}
	lmq_route_free(list);
}

void receive_some(lmq_channel *c, const char *group)
{
	const struct lmq_receiver_options options = { .size = sizeof options, .group = group };
	struct lmq_message m;
	lmq_receiver *r;
	size_t count;
	if (checked(lmq_receiver_open(c, &options, &r)) != 0)
		return;
	for (int i = 0; i < 2 && checked(lmq_receiver_claim(r, 10, 1 << 20, &count)) == 0; i++) {
		while (checked(lmq_receiver_next(r, &m)) == 0)
			take_message(lmq_channel_name(c), &m, receiver_piece, r);
		checked(lmq_receiver_settle(r, count, LMQ_SYNC_RELAXED));
		lmq_receiver_release(r);
	}
	lmq_receiver_close(r);
}

void each_channel(lmq_store *s, void (*work)(lmq_store *s, const char *name))
{
	struct lmq_channel_info *list;
	size_t count;
	if (checked(lmq_channel_list(s, NULL, LMQ_ANY, &list, &count)) != 0)
		return;
	for (size_t i = 0; i < count; i++)
		work(s, list[i].name);
	free(list);
}

void look_at_all(const char *path)
{
	const struct lmq_store_options options = { sizeof options, LMQ_READ_ONLY, 0 };
	struct lmq_property list[LMQ_PROPERTY_MAX];
	size_t count;
	lmq_store *s;
	mixing = true;
	if (checked(lmq_store_open(path, &options, &s)) == 0) {
		if (checked(lmq_store_properties(s, list, &count)) == 0)
			for (size_t i = 0; i < count; i++)
				mix_text(list[i].value);
		each_channel(s, look_at_channel);
		look_at_routes(s);
	}
	lmq_store_close(s);
	mixing = false;
}
