/* SPDX-License-Identifier: ISC */
/*
 * SipHash-2-4, by Aumasson and Bernstein ("SipHash: a fast short-input PRF", 2012), with 64 bits of output, and
 * with the 128 bits that its authors' reference implementation added. Without the key nobody can make two texts
 * collide: keys and ids come from strangers.
 */
#include "base.h"

#include <string.h>

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void rounds(uint64_t v[4], unsigned count)
{
	while (count-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static void add_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	rounds(v, 2);
	v[0] ^= word;
}

/* Little-endian, as format.h insists that the machine is. */
static uint64_t load(const void *p)
{
	uint64_t word;
	memcpy(&word, p, sizeof word);
	return word;
}

void hash_begin(struct hash_state *h, const uint8_t key[16])
{
	uint64_t low = load(key), high = load(key + 8);
	h->v[0] = low ^ 0x736f6d6570736575;	/* "somepseudorandomlygeneratedbytes" */
	h->v[1] = high ^ 0x646f72616e646f6d;
	h->v[2] = low ^ 0x6c7967656e657261;
	h->v[3] = high ^ 0x7465646279746573;
	h->tail = 0;
	h->size = 0;
}

void hash_add(struct hash_state *h, const void *data, size_t size)
{
	const uint8_t *p = data, *end = size ? p + size : p;	/* NULL is no text, too */
	unsigned have = h->size % 8;
	h->size += size;
	for (; have > 0 && p < end; p++) {
		h->tail |= (uint64_t)*p << 8 * have;
		have = (have + 1) % 8;
		if (have == 0) {
			add_word(h->v, h->tail);
			h->tail = 0;
		}
	}
	for (; end - p >= 8; p += 8)
		add_word(h->v, load(p));
	for (; p < end; p++)
		h->tail |= (uint64_t)*p << 8 * have++;
}

/* What remains, with the size in the highest byte. */
static void add_last(struct hash_state *h)
{
	add_word(h->v, h->tail | h->size << 56);
}

static uint64_t fold(const uint64_t v[4])
{
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_end(struct hash_state *h)
{
	add_last(h);
	h->v[2] ^= 0xff;
	rounds(h->v, 4);
	return fold(h->v);
}

uint64_t hash64(const uint8_t key[16], const void *data, size_t size)
{
	struct hash_state h;
	hash_begin(&h, key);
	hash_add(&h, data, size);
	return hash_end(&h);
}

void hash128(const uint8_t key[16], const void *data, size_t size, uint8_t out[16])
{
	struct hash_state h;
	uint64_t half;
	hash_begin(&h, key);
	h.v[1] ^= 0xee;
	hash_add(&h, data, size);
	add_last(&h);
	h.v[2] ^= 0xee;
	rounds(h.v, 4);
	half = fold(h.v);
	memcpy(out, &half, 8);
	h.v[1] ^= 0xdd;
	rounds(h.v, 4);
	half = fold(h.v);
	memcpy(out + 8, &half, 8);
}
