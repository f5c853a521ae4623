/* SPDX-License-Identifier: ISC */
/* The tools that were built, and how they take a store that is damaged. */
#ifndef TOOLSET_H
#define TOOLSET_H

/* Their directory, in static memory. */
const char *tools_built(void);
/* One after the other on that store, which *restore* makes again as it was; what was wrong, or NULL. */
const char *tools_survive(const char *path, void (*restore)(void));

#endif
