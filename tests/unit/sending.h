/* SPDX-License-Identifier: ISC */
/* For tests of writers: what is said, sent, and stored where. */
#ifndef SENDING_H
#define SENDING_H

#include "single.h"

static inline bool says(const char *words)
{
	const char *error = lmq_error(store);
	if (strstr(error, words))
		return true;
	printf("# says: %s\n", error);
	return false;
}

static inline int add(lmq_channel *c)
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	return lmq_writer_add(writer, c, &m);
}

/* Where the message was stored; -1: it was not. */
static inline int64_t position(size_t index)
{
	uint32_t partition;
	uint64_t offset;
	return lmq_writer_position(writer, index, &partition, &offset) ? (int64_t)(partition * 1000 + offset) : -1;
}

/* Where the first count messages were stored: from that offset on, and no others. */
static inline void positions(size_t count, int64_t first)
{
	CHECK_EQUAL(lmq_writer_committed(writer), count);
	for (size_t i = 0; i < count; i++)
		CHECK_EQUAL(position(i), first + (int64_t)i);
	CHECK_EQUAL(position(count), -1);
}

#endif
