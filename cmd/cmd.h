/* SPDX-License-Identifier: ISC */
/*
 * What all tools share: their options, the store, the ways out, tables and progress for people. Linked into tools only,
 * on top of libmq.h and nothing else of libmq.
 *
 * Messages as bytes are in output.h and input.h; tools that send them include sending.h, tools that read or take them
 * reading.h, and those that deal with single messages of a queue delivery.h.
 */
#ifndef CMD_H
#define CMD_H

#include "libmq.h"

#include <signal.h>
#include <stdio.h>

/* ---- die.c: exit status, errors, the only exit ---------------------------------------------- */

enum {
	EXIT_NOTHING = 1,	/* no message within the limits; not an error */
	EXIT_NO = 2,		/* it ran and the answer is no */
	EXIT_USAGE = 64,
	EXIT_DATA = 65,
	EXIT_NOINPUT = 66,
	EXIT_UNAVAILABLE = 69,
	EXIT_SOFTWARE = 70,
	EXIT_SYSTEM = 71,
	EXIT_CANTCREATE = 73,
	EXIT_IO = 74,
	EXIT_AGAIN = 75,
	EXIT_PERMISSION = 77,
	EXIT_CONFIG = 78,
};

extern const char *tool_name;	/* "mq-send"; set by options_parse() */
extern bool quiet;		/* -q */
extern bool verbose;		/* -v */

/* "TOOL: ..." on stderr, one line; hint() "TOOL: hint: ..."; notice() only without -q. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void hint(const char *format, ...) __attribute__((format(printf, 1, 2)));
void notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The line that warn() (what: "") or hint() ("hint: ") would print, for later; returns its size. */
enum { WARNING_MAX = 4 * 2048 + 64 };
size_t warning_compose(char line[WARNING_MAX], const char *what, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* warn(), then leave with that status; buffered output is dropped, not written. */
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit status that belongs to a status of the library. The one place where they meet. */
int exit_status(int lmq_status);
/* Prints lmq_error() and lmq_hint(). */
void warn_store(lmq_store *store);
_Noreturn void die_store(lmq_store *store, int lmq_status);

/* The only way out in the good case: flushes and closes stdout, and turns a lost write into 74. */
_Noreturn void finish(int status);

/* Ends the process by that signal, with its default action restored. */
_Noreturn void die_by_signal(int signal);

/* ---- options.c: one table feeds parsing, --help and the completion test ----------------------- */

struct option_row {
	int key;		/* short option's letter, or a value above 255 for a long one only */
	const char *name;	/* long name */
	const char *argument;	/* "N", "D", ...; NULL: takes none */
	const char *help;	/* a few words; "": one of those that are only listed, behind the others */
};

struct tool {
	const char *name;	/* "mq-send" */
	const char *synopsis;	/* "mq-send [OPTION]... QUEUE [BODY]...", equal to the man page's; lines split by \n */
	const char *purpose;	/* one line */
	const struct option_row *options;	/* without the five that every tool has; ends with key 0 */
	const char *const *examples;		/* three; ends with NULL */
	int operands_before;	/* so many operands may stand among the options; the next one ends them. 0: all may */
};

/*
 * Sets tool_name, handles -h -V -s -q -v itself (help and version leave with 0), and calls handle() with key
 * and argument (or NULL) for each other option, in order. A bad option dies with 64 and one hint.
 * Operands are moved behind the options; returns the index of the first one in argv. With operands_before what
 * stands behind them is left as it is.
 * Prepares the process too: SIGXFSZ ignored, descriptors 0 to 2 known to be open.
 */
int options_parse(const struct tool *tool, int argc, char **argv, void (*handle)(int key, char *argument));

/* Long options without a letter are numbered from 256 on; the first of a tool's own, which none that are shared has. */
enum { OPTION_TOOL = 300 };

/* "TOOL: ...", then the hint "try TOOL --help"; 64. */
_Noreturn void die_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Option arguments; each dies with 64 and names option, value and grammar. */
uint64_t argument_number(const char *option, const char *text, uint64_t least, uint64_t most);
uint64_t argument_size(const char *option, const char *text);
int64_t argument_duration(const char *option, const char *text);
int64_t argument_time(const char *option, const char *text);
double argument_rate(const char *option, const char *text);	/* "100/s", "6000/m", "100": per second */

/* escapes.c: \n \t \0 \\ \xHH in option arguments; dies with 64. *size gets the length; allocated. */
char *escapes_decode(const char *option, const char *text, size_t *size);
/* Reads the escape behind a backslash and moves *at behind it. -1: not an escape. */
int escape_read(const char **at);

/* ---- store.c: which store, and opening it ----------------------------------------------------- */

extern const char *store_option;	/* -s, or NULL */

/*
 * The directory by -s, $MQ_STORE, or the default; "-s NAME" without a slash lies beside the default one.
 * Allocated once, never freed.
 */
const char *store_path(void);
/* Opens it (flags of lmq_store_open; missing parents of the default store are created), or dies. Notice if created. */
lmq_store *store_open(unsigned flags);
/* As store_open(0), but NULL when there is no store yet. */
lmq_store *store_open_if_there(void);
/* Opens a channel, or dies; notice if created: "created queue 'jobs'". */
lmq_channel *channel_open(lmq_store *store, const char *name, enum lmq_kind kind, unsigned flags);
/* "full" or "relaxed", or dies with 64; option names where it was said. */
enum lmq_sync sync_parse(const char *option, const char *text);
/* What $MQ_SYNC says; LMQ_SYNC_DEFAULT if it is not set. */
enum lmq_sync sync_environment(void);

/* ---- interrupt.c: signals end a tool between messages, never inside one ------------------------- */

/*
 * From now on SIGINT, SIGTERM, SIGHUP only set interrupted (and end a wait on that watch, if not NULL);
 * SIGPIPE is ignored so that a write answers EPIPE.
 */
void interrupt_catch(lmq_watch *watch);
extern volatile sig_atomic_t interrupted;	/* the signal's number, or 0 */

/* ---- fault.c: a damaged store that LMDB dies of ------------------------------------------------ */

/* From now on a fault of the machine, such as SIGSEGV, prints that the store of that path is damaged, and ends with 70. */
void fault_catch(const char *store);

/* ---- progress.c: how far it is ------------------------------------------------------------------ */

/* Messages, bytes and rate on stderr. Costs a look at the clock for each call, so call it per batch. */
void progress_start(bool forced);	/* not forced: on a terminal, after one second, without -q */
bool progress_wanted(void);
void progress_show(uint64_t messages, uint64_t bytes);
void progress_end(uint64_t messages, uint64_t bytes);	/* the final line */
void progress_break(void);		/* leaves the line, so that an error can be printed */

/* ---- pace.c: so many steps a second --------------------------------------------------------------- */

struct pace {		/* begins as { .rate = R } */
	double rate;	/* 0: no limit */
	int64_t next;	/* when the next step may be taken, as a deadline */
	double rest;	/* of a nanosecond, which next lacks */
};
int64_t pace_next(const struct pace *pace);		/* the deadline until which to wait before a step */
void pace_take(struct pace *pace, uint64_t steps);	/* so many were taken now */
size_t pace_batch(const struct pace *pace, size_t most);	/* how many to take at once, for an even flow */

/* ---- table.c: rows for people and programs -------------------------------------------------------------- */

/*
 * table: aligned with a heading, as wide as needed; plain: no heading, tab between cells; json: one object a line.
 * Values are strings or numbers; numbers align right and are bare in JSON.
 */
enum table_kind { TABLE_TABLE, TABLE_PLAIN, TABLE_JSON };
struct table;
struct table *table_new(enum table_kind kind, const char *const columns[], size_t count);
void table_text(struct table *table, const char *text);		/* the next cell */
void table_number(struct table *table, uint64_t number, const char *shown);	/* shown: for people, or NULL */
void table_json(struct table *table, const char *text, const char *json);	/* json: the cell as a JSON value */
void table_time(struct table *table, int64_t time, int64_t now);	/* how long ago for people; 0: not known */
void table_print(struct table *table);	/* everything to stdout through output.c, and frees it */
void table_free(struct table *table);	/* unprinted */

/* "table", "plain" or "json", or dies with 64. */
enum table_kind table_argument(const char *text);

/* groups.c: what is said of a group of a queue, here with 64, and of a partition that a channel does not have. */
void warn_no_groups(const char *name);
_Noreturn void die_no_groups(const char *name);
enum { PARTITION_ABSENT_MAX = LMQ_NAME_MAX + 96 };
void partition_absent(char text[PARTITION_ABSENT_MAX], const char *name, int64_t partition, uint32_t partitions);
void partition_check(const char *name, int64_t partition, uint32_t partitions);	/* dies with 64 */

/* Rows about groups, for mq-ls and mq-seek. */
enum { GROUP_COLUMNS = 10 };
extern const char *const group_columns[GROUP_COLUMNS];
void group_row(struct table *table, const struct lmq_group_info *info, int64_t now);	/* as many cells */
/* "NAME=VALUE NAME=VALUE" of the properties that differ from the default, in JSON an object: one cell. */
void properties_cell(struct table *table, const struct lmq_property *list, size_t count);

/* routes.c: rows about routes, for mq-ls and mq-route. In JSON each condition is a field of its own. */
struct table *routes_table(enum table_kind kind);
void route_row(struct table *table, enum table_kind kind, const struct lmq_route *route);

/* positions.c: positions of groups as lines of text, the same in and out. */
struct position {
	char channel[LMQ_NAME_MAX + 1];
	char group[LMQ_NAME_MAX + 1];
	uint32_t partition;
	uint64_t offset;
	uint64_t line;		/* where it was read */
};
void position_write(const char *channel, const struct lmq_group_info *info);
/* All of stdin, sorted by channel, group and partition, each of which is there once; dies with 65. */
struct position *positions_read(size_t *count);

#endif
