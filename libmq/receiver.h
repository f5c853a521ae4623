/* SPDX-License-Identifier: ISC */
/* A receiver, as its two halves see it: taking (claim.c), handing out and settling (receiver.c). */
#ifndef RECEIVER_H
#define RECEIVER_H

#include "internal.h"

struct lmq_receiver {
	lmq_channel *queue;
	const lmq_filter *filter;
	int fd;			/* its locks are what is claimed */
	struct snapshot snapshot;
	struct log_cursor cursor;
	struct group_record group;
	struct run *runs;	/* claimed and not settled */
	size_t run_count, run_room;
	uint64_t next;		/* offset of the message that _next hands out */
	struct lmq_header headers[LMQ_HEADERS_MAX];
	struct lmq_bytes body;
	struct blob blob;
};

/* Gives the locks of [first, end) back. */
void receiver_give(lmq_receiver *r, uint64_t first, uint64_t end);

#endif
