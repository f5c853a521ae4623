/* SPDX-License-Identifier: ISC */
/*
 * Stored records of every type, with a checksum that is made right: what is read is written as bytes that are read as the
 * same. What says nothing, or stands behind the end of a text, is left out when it is written, so that is done twice.
 * The first byte says which.
 */
#include "fuzz.h"

#include "base/crc32c.h"

static uint8_t out[8192];
static struct key k;

static void seal(uint8_t *value, size_t size)
{
	if (size >= 4)
		put32(value + size - 4, crc32c(crc32c(0, value, size - 4), k.bytes, k.size));
}

#define ROUND(type) \
	static void try_##type(const uint8_t *value, size_t size) \
	{ \
		static struct type##_record a, b; \
		memset(&a, 0, sizeof a); \
		memset(&b, 0, sizeof b); \
		if (!type##_record_get(&b, &k, value, size)) \
			return; \
		MUST(type##_record_get(&a, &k, out, type##_record_put(&b, &k, out))); \
		size = type##_record_put(&a, &k, out); \
		MUST(size <= sizeof out && type##_record_get(&b, &k, out, size)); \
		MUST(memcmp(&a, &b, sizeof a) == 0); \
	}
ROUND(store)
ROUND(channel)
ROUND(head)
ROUND(group)
ROUND(id)

static void try_run(const uint8_t *value, size_t size)
{
	static struct run_record a, b;
	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	if (!run_record_get(&b, &k, value, size))
		return;
	size = run_record_put(&b, &k, out);
	MUST(run_record_get(&a, &k, out, size));
	MUST(a.end > a.first && a.error_size <= RUN_ERROR_MAX && strnlen(a.owner, sizeof a.owner) < sizeof a.owner);
	size = run_record_put(&a, &k, out);
	MUST(size <= RUN_RECORD_MAX && run_record_get(&b, &k, out, size));
	b.state ^= fuzz_fault();
	MUST(memcmp(&a, &b, offsetof(struct run_record, error)) == 0 && memcmp(a.error, b.error, a.error_size) == 0);
}

static void try_name(const uint8_t *value, size_t size)
{
	char name[LMQ_NAME_MAX + 1], again[LMQ_NAME_MAX + 1];
	uint64_t number, number_again;
	if (name_get(name, &k, value, size)) {
		size = name_put(name, &k, out);
		MUST(name_get(again, &k, out, size) && strcmp(name, again) == 0);
	}
	for (size_t width = 0; width <= 8; width += 4)
		if (number_get(&number, width, &k, value, size)) {
			size_t n = number_put(number, width, &k, out);
			MUST(number_get(&number_again, width, &k, out, n) && number == number_again);
		}
}

static void try_death(const uint8_t *value, size_t size)
{
	struct lmq_death a, b;
	uint8_t *end;
	if (!get_death((struct lmq_bytes){ (const char *)value, size }, &a))
		return;
	MUST(death_size(&a) <= DEATH_MAX);
	end = put_death(out, &a);
	MUST((size_t)(end - out) == death_size(&a) && get_death((struct lmq_bytes){ (char *)out, (size_t)(end - out) }, &b));
	MUST(a.offset == b.offset && a.partition == b.partition && a.origin.size == b.origin.size &&
		a.history.attempts == b.history.attempts && a.history.error.size == b.history.error.size &&
		a.history.exit_status == b.history.exit_status && a.history.reason == b.history.reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const uint8_t *, size_t) = { try_store, try_channel, try_head, try_group, try_id, try_run,
		try_name, try_death };
	unsigned kind;
	struct taker t;
	uint8_t *value;
	take_begin(&t, data, size);
	kind = (unsigned)take_number(&t, 1) % 8;
	value = take_rest(&t, &size);
	k = key_run(3, 1041);
	if (kind < 7) {
		tries[kind](value, size);
		seal(value, size);
	}
	tries[kind](value, size);
	return 0;
}
