/* SPDX-License-Identifier: ISC */
/*
 * CRC-32C with the processor's instruction where there is one, otherwise eight bytes at a time by
 * table.
 *
 * Which one is decided by the first call, not when the program is loaded: a tool that stops at its
 * options pays nothing. Until then the function pointer leads to choose(), which replaces it. Two
 * threads may both choose; they choose the same.
 */
#include "crc32c.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

/* All functions of this type work on the inverted checksum. */
typedef uint32_t crc_update(uint32_t crc, const unsigned char *data, size_t size);

static const uint32_t polynomial = 0x82f63b78;	/* 0x1edc6f41, its bits reversed */

/* table[n][b]: what the byte b contributes when n more bytes follow it in the same step. */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_make(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
		table[0][byte] = crc;
	}
	for (int n = 1; n < 8; n++) {
		for (int byte = 0; byte < 256; byte++) {
			uint32_t crc = table[n - 1][byte];

			table[n][byte] = crc >> 8 ^ table[0][crc & 0xff];
		}
	}
}

static uint32_t update_table(uint32_t crc, const unsigned char *data, size_t size)
{
	uint64_t word;

	for (; size >= 8; data += 8, size -= 8) {
		memcpy(&word, data, 8);
		word = le64toh(word) ^ crc;
		crc = 0;
		for (int n = 0; n < 8; n++, word >>= 8)
			crc ^= table[7 - n][word & 0xff];
	}
	for (; size; data++, size--)
		crc = crc >> 8 ^ table[0][(crc ^ *data) & 0xff];
	return crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2")))
static uint32_t update_hardware(uint32_t crc, const unsigned char *data, size_t size)
{
	uint64_t word, wide = crc;

	for (; size >= 8; data += 8, size -= 8) {
		memcpy(&word, data, 8);
		wide = _mm_crc32_u64(wide, word);
	}
	crc = (uint32_t)wide;
	for (; size; data++, size--)
		crc = _mm_crc32_u8(crc, *data);
	return crc;
}

static crc_update *hardware(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2) ? update_hardware : NULL;
}

#elif defined(__ARM_FEATURE_CRC32)

static uint32_t update_hardware(uint32_t crc, const unsigned char *data, size_t size)
{
	uint64_t word;

	for (; size >= 8; data += 8, size -= 8) {
		memcpy(&word, data, 8);
		crc = __crc32cd(crc, le64toh(word));
	}
	for (; size; data++, size--)
		crc = __crc32cb(crc, *data);
	return crc;
}

static crc_update *hardware(void)
{
	return update_hardware;
}

#else

static crc_update *hardware(void)
{
	return NULL;
}

#endif

static crc_update choose;
static _Atomic(crc_update *) update = choose;

/*
 * The release below and the acquire in crc32c() make the table visible with the pointer to its
 * user.
 */
static uint32_t choose(uint32_t crc, const unsigned char *data, size_t size)
{
	crc_update *chosen = hardware();

	if (!chosen) {
		pthread_once(&table_once, table_make);
		chosen = update_table;
	}
	atomic_store_explicit(&update, chosen, memory_order_release);
	return chosen(crc, data, size);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
	return ~atomic_load_explicit(&update, memory_order_acquire)(~crc, data, size);
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size)
{
	pthread_once(&table_once, table_make);
	return ~update_table(~crc, data, size);
}
