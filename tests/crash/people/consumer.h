/* SPDX-License-Identifier: ISC */
/* Who takes: acknowledges, lets fail, gives back, leases, moves to another queue. */
#ifndef CONSUMER_H
#define CONSUMER_H

#include "stage.h"

int consume(enum kind kind, uint32_t rounds);
/* Receives and acknowledges until nothing is left there, also of what others have leased. */
int drain(enum where p);

#endif
