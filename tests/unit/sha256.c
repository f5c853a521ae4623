/* SPDX-License-Identifier: ISC */
/* SHA-256: the examples that NIST gives for FIPS 180-4, and both ways to compute it against each other. */
#include "unit.h"

#include "base/sha256.h"

static const char *hex(const uint8_t digest[SHA256_SIZE])
{
	static char text[2 * SHA256_SIZE + 1];
	for (int i = 0; i < SHA256_SIZE; i++)
		sprintf(text + 2 * i, "%02x", digest[i]);
	return text;
}

typedef void begin(struct sha256 *h);

static const char *digest_of(begin *start, const void *data, size_t size)
{
	uint8_t digest[SHA256_SIZE];
	struct sha256 h;
	start(&h);
	sha256_add(&h, data, size);
	sha256_end(&h, digest);
	return hex(digest);
}

static void examples(begin *start)
{
	static char million[1000000];
	static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	static const char long_two[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
		"ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
	memset(million, 'a', sizeof million);
	CHECK_TEXT(digest_of(start, NULL, 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	CHECK_TEXT(digest_of(start, "abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	CHECK_TEXT(digest_of(start, two, sizeof two - 1),
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	CHECK_TEXT(digest_of(start, long_two, sizeof long_two - 1),
		"cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
	CHECK_TEXT(digest_of(start, million, sizeof million),
		"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	CHECK_TEXT(digest_of(start, "\xbd", 1), "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b");
	memset(million, 0, 57);
	CHECK_TEXT(digest_of(start, million, 55), "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7");
	CHECK_TEXT(digest_of(start, million, 56), "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb");
	CHECK_TEXT(digest_of(start, million, 57), "65a16cb7861335d5ace3c60718b5052e44660726da4cd13bb745381b235a1785");
}

TEST(plain, "the published examples, in plain C")
{
	examples(sha256_begin_portable);
}

TEST(chosen, "the published examples, as this processor does it best")
{
	examples(sha256_begin);
}

TEST(pieces, "any text gives the same digest both ways, whatever pieces it comes in")
{
	static uint8_t text[5000];
	uint8_t one[SHA256_SIZE], two[SHA256_SIZE];
	for (unsigned round = 0; round < 400; round++) {
		size_t size = unit_random_below(round % 2 ? sizeof text : 200), at = 0;
		struct sha256 h;
		for (size_t i = 0; i < size; i++)
			text[i] = (uint8_t)unit_random();
		sha256_begin_portable(&h);
		sha256_add(&h, text, size);
		sha256_end(&h, one);
		sha256_begin(&h);
		while (at < size) {
			size_t n = unit_random_below(size - at + 1);
			sha256_add(&h, text + at, n);
			at += n;
		}
		sha256_end(&h, two);
		CHECK(memcmp(one, two, sizeof one) == 0);
	}
}

UNIT_MAIN
