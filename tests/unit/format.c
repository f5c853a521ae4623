/* SPDX-License-Identifier: ISC */
/* The bytes of keys, records and blocks. */
#include "unit.h"

#include "base/format.h"
#include "libmq.h"

TEST(varints, "varints of all lengths come back, and cut ones are refused")
{
	for (unsigned bits = 0; bits < 64; bits++)
		for (int i = -1; i <= 1; i++) {
			uint64_t v = (UINT64_C(1) << bits) + (uint64_t)(int64_t)i, got = 0;
			uint8_t bytes[VARINT_MAX];
			uint8_t *end = put_varint(bytes, v);
			CHECK((size_t)(end - bytes) == varint_size(v));
			CHECK(get_varint(bytes, end, &got) == end && got == v);
			CHECK(get_varint(bytes, end - 1, &got) == NULL);
		}
}

TEST(long_varint, "a varint of more than 64 bits is refused")
{
	const uint8_t bytes[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 };
	uint64_t v;
	CHECK(get_varint(bytes, bytes + sizeof bytes, &v) == NULL);
	CHECK(get_varint(bytes, bytes, &v) == NULL);
}

static int compare(struct key a, struct key b)
{
	size_t n = a.size < b.size ? a.size : b.size;
	int c = memcmp(a.bytes, b.bytes, n);
	return c ? c : (a.size > b.size) - (a.size < b.size);
}

TEST(key_order, "blocks sort by channel, lane, offset and part")
{
	CHECK(compare(key_block(1, 0, 9, 9), key_block(2, 0, 0, 0)) < 0);
	CHECK(compare(key_block(1, 0, 9, 9), key_block(1, 1, 0, 0)) < 0);
	CHECK(compare(key_block(1, 0, 255, 0), key_block(1, 0, 256, 0)) < 0);
	CHECK(compare(key_block(1, 0, 7, 0xffff), key_block(1, 0, 8, 0)) < 0);
	CHECK(compare(key_run(3, UINT32_MAX), key_run(3, UINT64_C(1) << 32)) < 0);
	CHECK(key_block(1, 0, 9, 9).size == BLOCK_KEY && key_run(1, 1).size == RUN_KEY);
	CHECK(key_chunk(1, 1).size == CHUNK_KEY && key_sweep('b', 1).size == SWEEP_KEY);
	CHECK(key_staging(1).size == STAGING_KEY);
}

TEST(records, "records come back, and no flipped bit or cut is accepted")
{
	struct head_record head = { 3, 17, 1234567890123456789, 99, 1000, 4, 16, 2, 500, 15, 6, HEAD_GAPS }, h;
	struct group_record group = { .next = 12, .settled = 11, .space = 7, .floor = 9 }, g;
	struct key hk = key_head(5, 0), gk = key_group(5, 0, "readers");
	uint8_t bytes[RUN_RECORD_MAX];
	size_t size = head_record_put(&head, &hk, bytes);
	REQUIRE(size == HEAD_RECORD);
	CHECK(head_record_get(&h, &hk, bytes, size));
	CHECK(h.first == 3 && h.end == 17 && h.last_time == head.last_time && h.bytes == 99 && h.sent_bytes == 1000 && h.large == 4);
	CHECK(h.tail_offset == 16 && h.tail_part == 2 && h.tail_used == 500);
	CHECK(h.indexed == 15 && h.holes == 6 && h.flags == HEAD_GAPS);
	for (size_t i = 0; i < size * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		CHECK(!head_record_get(&h, &hk, bytes, size));
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t i = 0; i < size; i++)
		CHECK(!head_record_get(&h, &hk, bytes, i));
	hk = key_head(6, 0);
	CHECK(!head_record_get(&h, &hk, bytes, size));
	size = group_record_put(&group, &gk, bytes);
	CHECK(size == GROUP_RECORD && group_record_get(&g, &gk, bytes, size));
	CHECK(g.next == 12 && g.settled == 11 && g.space == 7);
}

/* Which boot and until when stands at the end, before the checksum. */
static bool run_accepted(struct run_record *r, uint32_t boot, uint64_t steady)
{
	struct key k = key_run(3, 40);
	struct run_record got;
	uint8_t bytes[RUN_RECORD_MAX], *end;
	size_t size = run_record_put(r, &k, bytes);
	end = bytes + size - 4;
	put64(put32(end - 12, boot), steady);
	return run_record_get(&got, &k, bytes, record_seal(&k, bytes, end)) && got.boot == boot &&
		got.steady == (int64_t)steady;
}

TEST(runs, "a lease keeps until when it lasts by either clock, in any version; nothing else has a second clock")
{
	static struct run_record r, got;
	struct key k = key_run(3, 40);
	uint8_t bytes[RUN_RECORD_MAX];
	size_t size, plain;
	r = (struct run_record){ .first = 40, .end = 50, .state = RUN_LEASED, .due = 7, .owner = "anna", .boot = 9,
		.steady = INT64_MAX, .history = { .attempts = 1, .exit_status = -1 }, .error_size = 3, .error = "bad" };
	size = run_record_put(&r, &k, bytes);
	REQUIRE(run_record_get(&got, &k, bytes, size));
	CHECK(got.boot == 9 && got.steady == INT64_MAX && got.due == 7 && got.state == RUN_LEASED);
	CHECK(strcmp(got.owner, "anna") == 0 && got.error_size == 3 && memcmp(got.error, "bad", 3) == 0);
	for (size_t i = 0; i < size; i++)
		CHECK(!run_record_get(&got, &k, bytes, i));
	CHECK(run_accepted(&r, 1, 0) && run_accepted(&r, UINT32_MAX, INT64_MAX));
	CHECK(!run_accepted(&r, 0, 5) && !run_accepted(&r, 1, UINT64_C(1) << 63));
	r.boot = 0;
	plain = run_record_put(&r, &k, bytes);
	CHECK(plain == size - 12 && run_record_get(&got, &k, bytes, plain) && got.boot == 0 && got.steady == 0);
	r.boot = 9;
	r.state = RUN_RETRYING;
	CHECK(run_record_put(&r, &k, bytes) == plain && run_record_get(&got, &k, bytes, plain) && got.boot == 0);
	r.state = RUN_LEASED;
	run_record_put(&r, &k, bytes);
	bytes[8] = RUN_RETRYING;
	CHECK(!run_record_get(&got, &k, bytes, record_seal(&k, bytes, bytes + size - 4)));
}

TEST(longest, "the longest run there can be has room")
{
	static struct run_record r = { .first = 40, .end = UINT64_MAX, .state = RUN_LEASED, .due = INT64_MAX,
		.key_hash = UINT64_MAX, .boot = UINT32_MAX, .steady = INT64_MAX, .error_size = RUN_ERROR_MAX };
	struct key k = key_run(3, 40);
	uint8_t bytes[RUN_RECORD_MAX + 1];
	memset(r.owner, 'o', RUN_OWNER_MAX);
	memset(&r.history, 0x7f, sizeof r.history);
	memset(&r.history.attempts, 0xff, 5 * sizeof r.history.attempts);
	r.history.reason = LMQ_TIMEOUT;
	CHECK(run_record_put(&r, &k, bytes) <= RUN_RECORD_MAX);
}

TEST(channels, "a channel's record keeps its name and the properties that were set")
{
	struct channel_record r = { .kind = LMQ_STREAM, .created = 5, .name = "orders.eu" }, got;
	struct key k = key_channel(9);
	uint8_t bytes[CHANNEL_RECORD_MAX];
	size_t size;
	r.given = 1u << LIMIT_MAX_AGE | 1u << LIMIT_SEALED;
	r.limit[LIMIT_MAX_AGE] = 77;
	r.limit[LIMIT_SEALED] = 1;
	size = channel_record_put(&r, &k, bytes);
	REQUIRE(channel_record_get(&got, &k, bytes, size));
	CHECK(got.kind == LMQ_STREAM && got.created == 5 && strcmp(got.name, "orders.eu") == 0);
	CHECK(got.given == r.given && got.limit[LIMIT_MAX_AGE] == 77 && got.limit[LIMIT_SEALED] == 1);
	for (size_t i = 0; i < size; i++)
		CHECK(!channel_record_get(&got, &k, bytes, i));
}

TEST(blocks, "a block is accepted under its own key only, and with no bit flipped")
{
	uint8_t value[BLOCK_HEADER + 100];
	struct block b = { .count = 3, .skip = 10, .base_time = 5, .last_time = 9, .size = 100 }, got;
	struct key k = key_block(1, 0, 40, 0), other = key_block(1, 0, 41, 0);
	memset(value, 0x5a, sizeof value);
	block_seal(value, &b, &k);
	REQUIRE(block_get(&got, k.bytes, k.size, value, sizeof value));
	CHECK(got.count == 3 && got.skip == 10 && got.base_time == 5 && got.last_time == 9 && got.size == 100);
	CHECK(!block_get(&got, other.bytes, other.size, value, sizeof value));
	CHECK(!block_get(&got, k.bytes, k.size, value, sizeof value - 1));
	for (size_t i = 0; i < sizeof value * 8; i++) {
		value[i / 8] ^= (uint8_t)(1u << i % 8);
		CHECK(!block_get(&got, k.bytes, k.size, value, sizeof value));
		value[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

TEST(crowded, "a block is refused in which more records begin than it has room for")
{
	uint8_t value[BLOCK_HEADER + 100];
	struct key k = key_block(1, 0, 40, 0);
	struct block got;
	memset(value, 0x5a, sizeof value);
	for (uint16_t count = 30; count <= 31; count++) {
		struct block b = { .count = count, .skip = 9, .base_time = 5, .last_time = 9, .size = 100 };
		block_seal(value, &b, &k);
		CHECK_EQUAL(block_get(&got, k.bytes, k.size, value, sizeof value), count == 30);
	}
}

UNIT_MAIN
