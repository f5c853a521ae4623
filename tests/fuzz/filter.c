/* SPDX-License-Identifier: ISC */
/*
 * Filters, and routes with the same conditions: lines of the input are a source, a key's pattern, headers' globs; the rest
 * is a key. A route is stored and read back as the same; any bytes in its place are refused or read.
 */
#include "fuzz.h"

#include "base/crc32c.h"

static void check_route(const struct lmq_route *r)
{
	struct key k = key_route(r->number);
	uint8_t value[BINDING_MAX];
	MDB_val key = { k.size, k.bytes }, v = { binding_put(r, 9, &k, value), value };
	struct binding b;
	if (v.mv_size == 0)
		return;
	MUST(v.mv_size <= BINDING_MAX && binding_get(fuzz_store(), &key, &v, &b) == 0);
	MUST(b.destination == 9 && b.route.number == r->number && strcmp(b.route.source, r->source) == 0);
	MUST(!b.route.key == !r->key && (!r->key || strcmp(b.route.key, r->key) == 0));
	MUST(b.route.header_count == r->header_count + fuzz_fault() && b.route.any == r->any);
	for (size_t i = 0; i < r->header_count; i++)
		MUST(strcmp(b.route.headers[i], r->headers[i]) == 0);
	binding_free(&b);
}

/* The input itself as the stored bytes of a route. */
static void check_bytes(const uint8_t *data, size_t size)
{
	struct key k = key_route(1);
	struct taker t = { data, data + size };
	MDB_val key = { k.size, k.bytes }, v;
	uint8_t *value = take_rest(&t, &size);
	struct binding b;
	if (size < 4)
		return;
	put32(value + size - 4, crc32c(crc32c(0, value, size - 4), k.bytes, k.size));
	v = (MDB_val){ size, value };
	if (binding_get(fuzz_store(), &key, &v, &b) != 0)
		return;
	check_route(&b.route);
	binding_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lmq_header header = { { "trace", 5 }, { "abc", 3 } };
	struct lmq_message m = { .headers = &header, .header_count = 1, .priority = LMQ_PRIORITY_DEFAULT };
	struct lmq_route r = { .number = 1 };
	const char *reason, *headers[8];
	lmq_filter *f;
	struct taker t;
	if (lmq_filter_open(&f) != 0)
		abort();
	take_begin(&t, data, size);
	check_bytes(data, size);
	r.source = take_line(&t, 300);
	r.key = take_line(&t, 300);
	r.any = *r.key == '!';
	r.key = *r.key && lmq_filter_key(f, r.key, &reason) == 0 ? r.key : NULL;
	r.headers = headers;
	for (int i = 0; i < 4; i++) {
		const char *text = take_line(&t, 300);
		if (*text && lmq_filter_header(f, text, &reason) == 0)
			headers[r.header_count++] = text;
	}
	if (r.any)
		lmq_filter_any(f);
	m.key.data = (char *)take_rest(&t, &m.key.size);
	lmq_filter_match(f, &m);
	lmq_filter_close(f);
	if (lmq_pattern_valid(r.source, &reason) == 0)
		check_route(&r);
	return 0;
}
