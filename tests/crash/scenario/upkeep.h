/* SPDX-License-Identifier: ISC */
/* The operations of scenario.h that look after a store, or only look at it. */
#ifndef UPKEEP_H
#define UPKEEP_H

#include "scenario.h"

int op_create(struct act *a);
int op_make(struct act *a);
int op_seek(struct act *a);
int op_trim(struct act *a);
int op_retain(struct act *a);
int op_remove(struct act *a);
int op_rename(struct act *a);
int op_route(struct act *a);
int op_group_make(struct act *a);
int op_backup(struct act *a);

int op_list(struct act *a);
int op_info(struct act *a);
int op_check(struct act *a);
int op_replay(struct act *a);
int op_watch(struct act *a);

#endif
