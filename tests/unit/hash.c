/* SPDX-License-Identifier: ISC */
/* SipHash-2-4. */
#include "unit.h"

#include "channel/channel.h"

/* Key and texts of the paper's example, and of the vectors that its authors publish: 0, 1, 2, ... */
static uint8_t key[16], text[64];

static void fill(void)
{
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)i;
	memcpy(key, text, sizeof key);
}

static const struct row {
	size_t size;
	uint64_t hash;
	const char *wide;
} rows[] = {
	{ 0, 0x726fdb47dd0e0e31, "a3817f04ba25a8e66df67214c7550293" },
	{ 1, 0x74f839c593dc67fd, "da87c1d86b99af44347659119b22fc45" },
	{ 2, 0x0d6c8009d9a94f5a, "8177228da4a45dc7fca38bdef60affe4" },
	{ 3, 0x85676696d7fb7e2d, "9c70b60c5267a94e5f33b6b02985ed51" },
	{ 7, 0xab0200f58b01d137, "a1f1ebbed8dbc153c0b84aa61ff08239" },
	{ 8, 0x93f5f5799a932462, "3b62a9ba6258f5610f83e264f31497b4" },
	{ 9, 0x9e0082df0ba9e4b0, "264499060ad9baabc47f8b02bb6d71ed" },
	{ 15, 0xa129ca6149be45e5, "5493e99933b0a8117e08ec0f97cfc3d9" },	/* 64 bits: the paper's own */
	{ 16, 0x3f2acc7f57c29bdb, "6ee2a4ca67b054bbfd3315bf85230577" },
	{ 17, 0x699ae9f52cbe4794, "473d06e8738db89854c066c47ae47740" },
	{ 63, 0x958a324ceb064572, "5150d1772f50834a503e069a973fbd7c" },
};
enum { ROWS = sizeof rows / sizeof *rows };

TEST(vectors, "64 and 128 bits are those of the authors")
{
	fill();
	for (size_t i = 0; i < ROWS; i++) {
		uint8_t wide[16];
		char hex[33];
		CHECK_ROW(hash64(key, text, rows[i].size) == rows[i].hash, rows[i].wide);
		hash128(key, text, rows[i].size, wide);
		for (size_t j = 0; j < 16; j++)
			snprintf(hex + 2 * j, 3, "%02x", wide[j]);
		CHECK_TEXT(hex, rows[i].wide);
	}
}

TEST(pieces, "however the text is cut, the hash is the same")
{
	static uint8_t bytes[1000];
	fill();
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)unit_random();
	for (int round = 0; round < 2000; round++) {
		size_t size = unit_random_below(sizeof bytes + 1), most = 1 + unit_random_below(40);
		struct hash_state h;
		hash_begin(&h, key);
		for (size_t at = 0, n; at < size; at += n) {
			n = unit_random_below(most + 1);
			n = n < size - at ? n : size - at;
			hash_add(&h, bytes + at, n);
		}
		CHECK(hash_end(&h) == hash64(key, bytes, size));
	}
}

TEST(keys, "another key is another hash")
{
	uint64_t hash;
	fill();
	hash = hash64(key, text, 20);
	for (size_t i = 0; i < 128; i++) {
		key[i / 8] ^= (uint8_t)(1u << i % 8);
		CHECK(hash64(key, text, 20) != hash);
		key[i / 8] ^= (uint8_t)(1u << i % 8);
	}
}

UNIT_MAIN
