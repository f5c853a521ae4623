/* SPDX-License-Identifier: ISC */
/*
 * What the parts of mending how messages stand share: restate.c leads, runs.c mends the runs, indexes.c what leads to them
 * and goes by their keys, again.c takes what is lost of them for unsettled.
 */
#ifndef STATES_H
#define STATES_H

#include "rescue.h"

struct reader {
	struct rescue *r;
	uint32_t id;
	uint16_t lane;
	const struct channel_record *channel;
	char group[LMQ_NAME_MAX + 1];
	char name[2 * LMQ_NAME_MAX + 16];	/* for people */
	struct head_record head;
	struct group_record g;
	uint64_t counted;	/* unsettled messages below next, as g said; UINT64_MAX: g is lost too */
	bool doubt;		/* runs may be lost, */
	bool guessed;		/* and what indexes say of them was taken */
	bool ordered;		/* by key */
};

/* A copy, as a commit moves what LMDB showed. */
bool run_here(struct reader *p, uint64_t first, struct run_record *run);
/* The stored run that contains offset, or the next one. LMQ_END. */
int run_from(struct reader *p, uint64_t offset, struct run_record *run);
int put_run(struct reader *p, const struct run_record *run);
int put_where_none(struct reader *p, struct run_record run);	/* the parts of it that are in no other one */
struct run_record plain_run(uint64_t first, uint64_t end);
uint64_t unsettled(const struct group_record *g);

int mend_runs(struct reader *p);
int mend_indexes(struct reader *p);	/* Q, D, K; runs that are lost and that these know */
int mend_chains(struct reader *p);
int deliver_again(struct reader *p);

#endif
