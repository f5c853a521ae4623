/* SPDX-License-Identifier: ISC */
/*
 * The last message of each key: a hash table from a key's hash to a position, with linear probing.
 *
 * It may hold a hundred million keys, so it lies in an unlinked file, mapped shared: the kernel may write
 * it out, and it is nobody's private memory. Room in the file is taken before it is touched. Keys are not
 * kept, only 128 bits of SipHash-2-4 of them, under a key of this process: nobody can make two of them
 * collide, and by chance none do.
 */
#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

struct slot {
	uint64_t hash[2];
	uint64_t offset;
	uint32_t strand;	/* 1 + its number; 0: the slot is free */
	uint16_t partition;
	bool tombstone;
};

enum { SLOTS_FIRST = 4096 };

static struct slot *slots;
static size_t slot_count, slots_used;
static uint64_t secret[2];

/* ---- hash --------------------------------------------------------------------------------------- */

static uint64_t rotated(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotated(v[1], 13) ^ v[0];
	v[3] = rotated(v[3], 16) ^ v[2];
	v[0] = rotated(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotated(v[1], 17) ^ v[2];
	v[3] = rotated(v[3], 21) ^ v[0];
	v[2] = rotated(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

static uint64_t sip_result(uint64_t v[4], uint64_t mark, int which)
{
	v[which] ^= mark;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Of the key, and the strand that it belongs to. */
static void hash_of(const struct strand *s, uint64_t hash[2])
{
	const struct lmq_bytes *key = &s->message.key;
	uint64_t v[4] = {
		secret[0] ^ 0x736f6d6570736575, secret[1] ^ 0x646f72616e646f6d ^ 0xee,
		secret[0] ^ 0x6c7967656e657261, secret[1] ^ 0x7465646279746573,
	}, word = 0;

	sip_word(v, s->number);
	for (size_t i = 0; i < key->size; i++) {
		word |= (uint64_t)(unsigned char)key->data[i] << (8 * (i % 8));
		if (i % 8 == 7) {
			sip_word(v, word);
			word = 0;
		}
	}
	sip_word(v, word | (uint64_t)key->size << 56);
	hash[0] = sip_result(v, 0xee, 2);
	hash[1] = sip_result(v, 0xdd, 1);
}

/* ---- table -------------------------------------------------------------------------------------- */

static _Noreturn void die_file(int error)
{
	die(EXIT_IO, "temporary file: %s", strerror(error));
}

/* In $TMPDIR, or where that cannot be had, in memory that may be swapped out. */
static int file_open(void)
{
	const char *directory = getenv("TMPDIR");
	int fd = open(directory != NULL ? directory : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		fd = memfd_create("mq-replay", MFD_CLOEXEC);
	if (fd < 0)
		die_file(errno);
	return fd;
}

static struct slot *slots_new(size_t count)
{
	size_t size = count * sizeof *slots;
	int fd = file_open(), error = posix_fallocate(fd, 0, (off_t)size);
	void *memory;

	if (error != 0)
		die_file(error);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		die_file(errno);
	close(fd);
	return memory;
}

/* The key's slot, or the free one that it would get. */
static struct slot *slot_find(const uint64_t hash[2])
{
	size_t at = hash[0] & (slot_count - 1);

	while (slots[at].strand != 0 && (slots[at].hash[0] != hash[0] || slots[at].hash[1] != hash[1]))
		at = (at + 1) & (slot_count - 1);
	return &slots[at];
}

static void slots_grow(void)
{
	struct slot *old = slots;
	size_t old_count = slot_count;

	slot_count = 2 * old_count;
	slots = slots_new(slot_count);
	for (size_t i = 0; i < old_count; i++)
		if (old[i].strand != 0)
			*slot_find(old[i].hash) = old[i];
	munmap(old, old_count * sizeof *old);
}

void newest_open(void)
{
	if (getrandom(secret, sizeof secret, 0) != sizeof secret)
		die(EXIT_SYSTEM, "no random numbers: %s", strerror(errno));
	slot_count = SLOTS_FIRST;
	slots = slots_new(slot_count);
}

void newest_put(const struct strand *s)
{
	struct slot *slot, new = {
		.offset = s->message.offset,
		.strand = (uint32_t)s->number + 1,
		.partition = (uint16_t)s->message.partition,
		.tombstone = s->message.tombstone,
	};

	if (s->message.key.data == NULL)
		return;
	hash_of(s, new.hash);
	slot = slot_find(new.hash);
	if (slot->strand == 0 && 8 * slots_used++ > 5 * slot_count) {
		slots_grow();
		slot = slot_find(new.hash);
	}
	*slot = new;
}

bool newest_is(const struct strand *s)
{
	uint64_t hash[2];
	const struct slot *slot;

	if (s->message.key.data == NULL)
		return false;
	hash_of(s, hash);
	slot = slot_find(hash);
	return slot->strand != 0 && slot->offset == s->message.offset && slot->partition == s->message.partition &&
		!slot->tombstone;
}
