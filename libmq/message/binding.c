/* SPDX-License-Identifier: ISC */
/*
 * The bytes of a route, table U: u32 id of the destination; flags u8; source pattern, [KEY: key pattern], header
 * conditions, each ending in NUL; CRC. They are texts of people, checked when they are read all the same.
 */
#include "message.h"

#include <string.h>

enum { BINDING_KEY = 1, BINDING_ANY = 2, BINDING_FLAGS = 3 };
enum { BINDING_TEXTS = 5 };	/* where these begin */

/* Appends the text with its NUL; NULL where there is no room, or was none before. */
static uint8_t *put_text(uint8_t *p, const uint8_t *limit, const char *text)
{
	size_t size = strlen(text) + 1;
	if (!p || size > (size_t)(limit - p))
		return NULL;
	memcpy(p, text, size);
	return p + size;
}

size_t binding_put(const struct lmq_route *r, uint32_t destination, const struct key *k, uint8_t out[BINDING_MAX])
{
	const uint8_t *limit = out + (BINDING_MAX - 4);
	uint8_t *p = put32(out, destination);
	*p++ = (uint8_t)((r->key ? BINDING_KEY : 0) | (r->any ? BINDING_ANY : 0));
	p = put_text(p, limit, r->source);
	if (r->key)
		p = put_text(p, limit, r->key);
	for (size_t i = 0; i < r->header_count; i++)
		p = put_text(p, limit, r->headers[i]);
	return p ? record_seal(k, out, p) : 0;
}

static size_t count_texts(const char *text, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i < size; i++)
		n += text[i] == '\0';
	return n;
}

/* One piece of memory: a pointer for each text, then the texts. */
static const char **copy_texts(const char *text, size_t size, size_t count)
{
	const char **list = malloc(count * sizeof *list + size);
	char *at;
	if (!list)
		return NULL;
	at = memcpy(list + count, text, size);
	for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
		list[i] = at;
	return list;
}

static int get_texts(lmq_store *s, unsigned flags, const char *text, size_t size, struct binding *b)
{
	size_t keys = flags & BINDING_KEY ? 1 : 0, count = count_texts(text, size);
	const char **list, *reason;
	if (count < 1 + keys || text[size - 1] != '\0')
		return fail_damaged(s, "a route");
	list = copy_texts(text, size, count);
	if (!list)
		return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
	b->memory = list;
	b->route.source = list[0];
	b->route.key = keys ? list[1] : NULL;
	b->route.headers = list + 1 + keys;
	b->route.header_count = count - 1 - keys;
	b->route.any = flags & BINDING_ANY;
	if (lmq_pattern_valid(list[0], &reason) == 0 && (!keys || lmq_pattern_valid(list[1], &reason) == 0))
		return 0;
	binding_free(b);
	return fail_damaged(s, "a route");
}

int binding_get(lmq_store *s, const MDB_val *key, const MDB_val *value, struct binding *b)
{
	const uint8_t *p = value->mv_data;
	struct key k;
	*b = (struct binding){ .destination = 0 };
	if (key->mv_size == 0 || *(const char *)key->mv_data != 'U')
		return LMQ_END;
	if (key->mv_size != ROUTE_KEY)
		return fail_damaged(s, "a route");
	b->route.number = get32((const uint8_t *)key->mv_data + 1);
	k = key_route(b->route.number);
	if (value->mv_size <= BINDING_TEXTS + 4 || !record_sound(&k, p, value->mv_size) || p[4] & ~BINDING_FLAGS)
		return fail_damaged(s, "a route");
	b->destination = get32(p);
	return get_texts(s, p[4], (const char *)p + BINDING_TEXTS, value->mv_size - BINDING_TEXTS - 4, b);
}

void binding_free(struct binding *b)
{
	free(b->memory);
	b->memory = NULL;
}
