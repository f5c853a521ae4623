/* SPDX-License-Identifier: ISC */
/* CRC-32C (Castagnoli), the checksum of blocks. */
#ifndef CRC32C_H
#define CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * The checksum of what crc is the checksum of, followed by data; 0 is that of nothing. So
 * crc32c(crc32c(0, a), b) is the checksum of a and b in one piece.
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The same without the processor's help, so that tests can compare. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

#endif
