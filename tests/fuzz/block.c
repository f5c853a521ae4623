/* SPDX-License-Identifier: ISC */
/*
 * Blocks: the input is one whose checksum is made right, then walked as its readers do: nothing outside of it is touched.
 */
#include "fuzz.h"

#include "base/crc32c.h"

/* The first record, of one that continues, is not to be made sense of. */
static void walk(const struct block *b)
{
	static struct decoded room;
	const uint8_t *at = b->payload + b->skip, *end = b->payload + b->size;
	for (unsigned i = 0; i < b->count && end - at >= RECORD_ROOM; i++) {
		struct lmq_message m;
		struct blob blob;
		uint64_t size;
		const uint8_t *start = get_varint(at, end, &size);
		if (!start || size == 0 || size > (uint64_t)(end - start))
			return;
		message_decode(start, start + size, &m, &room, &blob);
		at = start + size;
	}
}

/* As if block_get() believed what the block says of itself. */
static bool believe(struct block *b, const uint8_t *value, size_t size)
{
	volatile uint8_t sum = 0;
	if (size <= BLOCK_HEADER || get16(value + 8) <= size)
		return false;
	b->payload = value + BLOCK_HEADER;
	for (size_t i = 0; i < 65536; i++)
		sum = (uint8_t)(sum + b->payload[i]);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct key k = key_block(1, 0, 7, 0);
	struct taker t;
	struct block b;
	uint8_t *value;
	take_begin(&t, data, size);
	block_get(&b, k.bytes, k.size, data, size);
	value = take_rest(&t, &size);
	if (size < 4)
		return 0;
	put32(value, crc32c(crc32c(0, value + 4, size - 4), k.bytes, k.size));
	if (fuzz_fault())
		believe(&b, size > BLOCK_HEADER ? data : value, size);
	if (!block_get(&b, k.bytes, k.size, value, size))
		return 0;
	MUST(b.size > 0 && b.size < size && b.payload == value + size - b.size && b.skip <= b.size);
	MUST(!b.link || b.link + LINK_SIZE == b.payload);
	MUST(b.base_time >= 0 && b.last_time >= b.base_time);
	walk(&b);
	block_seal(value, &b, &k);
	MUST(block_get(&b, k.bytes, k.size, value, size));
	MUST(chunk_check(value, size, &k) || size >= 4);
	return 0;
}
