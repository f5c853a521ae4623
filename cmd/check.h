/* SPDX-License-Identifier: ISC */
/* What mq-check does besides checking. Each opens the store as it needs it, and returns the exit status. */
#ifndef CHECK_H
#define CHECK_H

#include "cmd.h"

int save_backup(const char *directory, bool compact);	/* backup.c */
int compact_store(void);
int show_readers(enum table_kind output);
int save_repaired(const char *directory);	/* repair.c */

#endif
