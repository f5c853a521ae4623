/* SPDX-License-Identifier: ISC */
/* The operations of scenario.h that receive, and what both kinds are made of. */
#ifndef DELIVERIES_H
#define DELIVERIES_H

#include "scenario.h"

/* What the call that changes the store answered. */
int act_change(struct act *a, int rc);
/* Adds a message of that number, with its body. */
int act_add(struct act *a, lmq_writer *w, lmq_channel *c, struct lmq_message m, unsigned number);

int op_receive(struct act *a);
int op_lease(struct act *a);
int op_settle(struct act *a);
int op_extend(struct act *a);
int op_retry(struct act *a);
int op_bury(struct act *a);
int op_group(struct act *a);
int op_share(struct act *a);
int op_move(struct act *a);
int op_redrive(struct act *a);
int op_due(struct act *a);
int op_exchange(struct act *a);

#endif
