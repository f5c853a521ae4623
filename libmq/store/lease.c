/* SPDX-License-Identifier: ISC */
/*
 * What is in flight: locks on the messages themselves.
 *
 * A receiver that takes messages locks their offsets, as a byte range of the control file at
 * space << 32 | (offset mod 2^32), through a descriptor of its own. Nobody else can lock them, and the kernel
 * gives them back in the instant the holder dies: no deadline, no heartbeat, no write to the disk before the
 * message is out. Only the settling is a transaction; without it the message is as it was. That also makes a
 * message that goes back cost nothing.
 *
 * Taking is a look and a try: the first part of a range that no other descriptor holds, then a lock on it,
 * which fails harmlessly if somebody was faster. Who has the lock then looks into a fresh snapshot,
 * since the message may have been settled between his look and his lock (receive/claim.c). Offsets 2^32 apart share
 * a byte: the later one seems taken until the earlier one is settled.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int lease_open(lmq_store *s, int *fd)
{
	/* A new open file description: a duplicate would share its locks. */
	*fd = openat(s->directory, "control", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return *fd < 0 ? fail_errno(s, s->path, errno) : 0;
}

static off_t lease_address(uint32_t space, uint64_t offset)
{
	return (off_t)((uint64_t)space << 32 | (offset & UINT32_MAX));
}

static uint64_t part_end(uint64_t first, uint64_t end, uint64_t most)
{
	return end - first > most ? first + most : end;
}

/* The first part of [*first, end) that nobody holds, at most so long: 0, EAGAIN if there is none, or another errno. */
static int free_part(int fd, uint32_t space, uint64_t *first, uint64_t end, uint64_t most, uint64_t *until)
{
	*until = part_end(*first, end, most);
	while (*first < end) {
		off_t at = lease_address(space, *first), start, stop;
		errno = 0;
		if (!range_taken(fd, at, (off_t)(*until - *first), &start, &stop))
			return 0;
		if (errno != 0)
			return errno;
		/* The kernel answers with any lock in the range, not with the lowest: narrow it down. */
		if (start > at) {
			*until = *first + (uint64_t)(start - at);
		} else {
			*first += (uint64_t)(stop - at);
			*until = part_end(*first, end, most);
		}
	}
	return EAGAIN;
}

int lease_take(lmq_store *s, int fd, uint32_t space, uint64_t first, uint64_t end, uint64_t most, struct run *taken)
{
	uint64_t until;
	int rc;
	end = lease_reach(first, end);
	while ((rc = free_part(fd, space, &first, end, most, &until)) == 0) {
		rc = range_lock(fd, lease_address(space, first), (off_t)(until - first));
		if (rc == 0) {
			*taken = (struct run){ first, until };
			return 0;
		}
		if (rc != EAGAIN && rc != EACCES)
			break;
	}
	return rc == EAGAIN ? LMQ_END : fail_errno(s, s->path, rc);
}

int lease_free(lmq_store *s, uint32_t space, uint64_t first, uint64_t end, struct run *part)
{
	uint64_t until;
	int rc = 0;
	end = until = lease_reach(first, end);
	/* On a read-only filesystem nobody can hold anything. */
	if (s->control_fd >= 0)
		rc = free_part(s->control_fd, space, &first, end, UINT64_MAX, &until);
	*part = (struct run){ first, until };
	return rc == EAGAIN ? LMQ_END : rc == 0 ? 0 : fail_errno(s, s->path, rc);
}

bool lease_taken(lmq_store *s, uint32_t space, uint64_t offset)
{
	struct run part;
	return lease_free(s, space, offset, offset + 1, &part) != 0;	/* in doubt it is */
}

void lease_give(int fd, uint32_t space, const struct run *r)
{
	uint64_t first = r->first;
	/* Taken in two parts they may have become one run. */
	while (first < r->end) {
		uint64_t until = lease_reach(first, r->end);
		range_unlock(fd, lease_address(space, first), (off_t)(until - first));
		first = until;
	}
}
