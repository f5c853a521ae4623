/* SPDX-License-Identifier: ISC */
/*
 * SHA-256 as FIPS 180-4 has it, with the processor's instructions where there are some.
 *
 * Which code is used is asked of the processor each time that a text begins: that is cheap beside a block of 4 KiB,
 * and leaves nothing for two threads to share.
 */
#include "sha256.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constant[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* ---- plain C -------------------------------------------------------------------------------- */

static uint32_t rotate(uint32_t x, unsigned bits)
{
	return x >> bits | x << (32 - bits);
}

static uint32_t load(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void schedule(uint32_t w[64], const uint8_t *data)
{
	for (int i = 0; i < 16; i++)
		w[i] = load(data + 4 * i);
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];
		w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
			(rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
}

static void compress_block(uint32_t state[8], const uint8_t *data)
{
	uint32_t w[64], s[8], one, two;
	schedule(w, data);
	memcpy(s, state, sizeof s);
	for (int i = 0; i < 64; i++) {
		one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
			((s[4] & s[5]) ^ (~s[4] & s[6])) + constant[i] + w[i];
		two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
			((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof *s);
		s[4] += one;
		s[0] = one + two;
	}
	for (int i = 0; i < 8; i++)
		state[i] += s[i];
}

static void compress_plain(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	for (; blocks > 0; blocks--, data += SHA256_BLOCK)
		compress_block(state, data);
}

/* ---- x86 ------------------------------------------------------------------------------------ */

#if defined(__x86_64__)

/* The 64 rounds, four at a time. One register has a, b, e and f of the state, the other c, d, g and h. */
__attribute__((target("sha,sse4.1")))
static void rounds(__m128i *abef, __m128i *cdgh, const uint8_t *data)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i w[4], m, x = *abef, y = *cdgh;
	for (int i = 0; i < 4; i++)
		w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)data + i), swap);
#pragma GCC unroll 16
	for (int i = 0; i < 16; i++) {
		m = _mm_add_epi32(w[i % 4], _mm_load_si128((const __m128i *)(const void *)constant + i));
		y = _mm_sha256rnds2_epu32(y, x, m);
		x = _mm_sha256rnds2_epu32(x, y, _mm_shuffle_epi32(m, 0x0e));
		m = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
		m = _mm_add_epi32(m, _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]));
		w[i % 4] = _mm_sha256msg2_epu32(m, w[(i + 3) % 4]);
	}
	*abef = _mm_add_epi32(*abef, x);
	*cdgh = _mm_add_epi32(*cdgh, y);
}

__attribute__((target("sha,sse4.1")))
static void compress_x86(uint32_t state[8], const uint8_t *data, size_t blocks)
{
	__m128i *halves = (__m128i *)(void *)state;
	__m128i low = _mm_shuffle_epi32(_mm_loadu_si128(halves), 0xb1);
	__m128i high = _mm_shuffle_epi32(_mm_loadu_si128(halves + 1), 0x1b);
	__m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
	for (; blocks > 0; blocks--, data += SHA256_BLOCK)
		rounds(&abef, &cdgh, data);
	low = _mm_shuffle_epi32(abef, 0x1b);
	high = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128(halves, _mm_blend_epi16(low, high, 0xf0));
	_mm_storeu_si128(halves + 1, _mm_alignr_epi8(high, low, 8));
}

static bool has_instructions(void)
{
	unsigned a, b, c, d;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3) &&
		__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

#endif

/* ---- texts of any length ------------------------------------------------------------------------ */

void sha256_begin_portable(struct sha256 *h)
{
	/* The first 32 bits of the fractional parts of the square roots of the first 8 primes. */
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};
	memcpy(h->state, start, sizeof start);
	h->size = 0;
	h->compress = compress_plain;
}

void sha256_begin(struct sha256 *h)
{
	sha256_begin_portable(h);
#if defined(__x86_64__)
	if (has_instructions())
		h->compress = compress_x86;
#endif
}

void sha256_add(struct sha256 *h, const void *data, size_t size)
{
	const uint8_t *p = data;
	size_t have = h->size % SHA256_BLOCK, n;
	if (size == 0)
		return;
	h->size += size;
	if (have > 0) {
		n = size < SHA256_BLOCK - have ? size : SHA256_BLOCK - have;
		memcpy(h->rest + have, p, n);
		p += n;
		size -= n;
		if (have + n < SHA256_BLOCK)
			return;
		h->compress(h->state, h->rest, 1);
	}
	h->compress(h->state, p, size / SHA256_BLOCK);
	memcpy(h->rest, p + size / SHA256_BLOCK * SHA256_BLOCK, size % SHA256_BLOCK);
}

void sha256_end(struct sha256 *h, uint8_t digest[SHA256_SIZE])
{
	uint8_t end[SHA256_BLOCK + 8] = { 0x80 };
	uint64_t bits = h->size * 8;
	/* A one, zeros, and the length fill the last block. */
	size_t zeros = (2 * SHA256_BLOCK - 8 - 1 - h->size % SHA256_BLOCK) % SHA256_BLOCK;
	for (int i = 0; i < 8; i++)
		end[1 + zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
	sha256_add(h, end, 1 + zeros + 8);
	for (int i = 0; i < SHA256_SIZE; i++)
		digest[i] = (uint8_t)(h->state[i / 4] >> (24 - i % 4 * 8));
}
