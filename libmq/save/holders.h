/* SPDX-License-Identifier: ISC */
#ifndef HOLDERS_H
#define HOLDERS_H

#include "store/store.h"

void holders_hint(lmq_store *s);	/* who has the store open, which the caller has not, behind a sentence */

#endif
