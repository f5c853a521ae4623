/* SPDX-License-Identifier: ISC */
/* The checksum, by the processor and by table. */
#include "unit.h"

#include "base/crc32c.h"

typedef uint32_t crc_function(uint32_t crc, const void *data, size_t size);

static crc_function *const functions[] = { crc32c, crc32c_portable };

/* By the definition: one bit at a time. */
static uint32_t slow(uint32_t crc, const unsigned char *data, size_t size)
{
	crc = ~crc;
	for (; size; data++, size--) {
		crc ^= *data;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

TEST(known, "published checksums come out")
{
	unsigned char bytes[32];

	for (size_t f = 0; f < 2; f++) {
		CHECK(functions[f](0, "123456789", 9) == 0xe3069283);
		CHECK(functions[f](0, "", 0) == 0);
		CHECK(functions[f](0, NULL, 0) == 0);
		memset(bytes, 0, sizeof(bytes));
		CHECK(functions[f](0, bytes, sizeof(bytes)) == 0x8a9136aa);
		memset(bytes, 0xff, sizeof(bytes));
		CHECK(functions[f](0, bytes, sizeof(bytes)) == 0x62a8ab43);
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (unsigned char)i;
		CHECK(functions[f](0, bytes, sizeof(bytes)) == 0x46dd794e);
	}
}

TEST(agree, "both ways agree with the definition at every length and alignment")
{
	unsigned char bytes[160];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)unit_random();
	for (size_t at = 0; at < 16; at++) {
		for (size_t size = 0; size + at <= sizeof(bytes); size++) {
			uint32_t expected = slow(0, bytes + at, size);

			REQUIRE(crc32c(0, bytes + at, size) == expected);
			REQUIRE(crc32c_portable(0, bytes + at, size) == expected);
		}
	}
}

TEST(chain, "the checksum of two pieces is that of both in one")
{
	unsigned char bytes[4096];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)unit_random();
	for (int i = 0; i < 2000; i++) {
		size_t size = unit_random_below(sizeof(bytes)), cut = unit_random_below(size + 1);
		uint32_t whole = crc32c(0, bytes, size);

		REQUIRE(crc32c(crc32c(0, bytes, cut), bytes + cut, size - cut) == whole);
		REQUIRE(crc32c_portable(crc32c(0, bytes, cut), bytes + cut, size - cut) == whole);
	}
}

UNIT_MAIN
