/* SPDX-License-Identifier: ISC */
/* The operations of scenario.h that receive. */
#ifndef DELIVERIES_H
#define DELIVERIES_H

#include "scenario.h"

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
