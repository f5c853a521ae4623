/* SPDX-License-Identifier: ISC */
/* Who sends: batches of one to eight messages, of all sizes, with keys, with ids, whole or in pieces. */
#ifndef PRODUCER_H
#define PRODUCER_H

#include "stage.h"

int produce(uint32_t rounds);

#endif
