/* SPDX-License-Identifier: ISC */
/*
 * The parts of mq-exec. A task is one run of the command: it is taken (task.c), started and watched over
 * (command.c) with its variables and arguments (variables.c, arguments.c), judged (verdict.c), and
 * concluded together with what it wrote (product.c). The loop around all that is in worker.c, crew.c and
 * ledger.c.
 */
#ifndef EXEC_H
#define EXEC_H

#include "cmd.h"
#include "input.h"
#include "reading.h"

#include <sys/types.h>

/* What the end of a command means. */
enum meaning { MEANS_ACKNOWLEDGE, MEANS_STOP, MEANS_RETRY, MEANS_DEAD };
enum { STATUSES = 256 };

/* What the command line says. */
struct work {
	const char *channel;
	char **command;
	size_t parallel;
	size_t batch;
	const char *replace;		/* -I; NULL: bodies go to stdin */
	int64_t timeout;		/* ns; LMQ_FOREVER: none */
	int64_t grace;
	struct selection selection;
	struct pace pace;
	struct range range;		/* of a new group */
	const char *group, *consumer;
	const char *to;			/* NULL: the command's stdout is ours */
	struct input framing;		/* of its output */
	bool no_create;
	enum lmq_sync sync;
	unsigned char meanings[STATUSES];	/* by exit status; 128 + N for the signal N */
};

/* ---- task.c: the messages of one run --------------------------------------------------------- */

struct span {			/* messages that follow each other, at the same attempt */
	uint64_t offset, count;
	uint32_t attempt;
};

enum ending { ENDS_ALONE, ENDS_LATE, ENDS_CALLED_OFF };	/* by: itself, -t, a second signal */

struct task {
	struct span *spans;		/* all of one partition, */
	size_t span_count, span_room;
	uint32_t partition;		/* with this number */
	bool partitioned;		/* of several */
	uint64_t count;			/* messages */
	char *const *arguments, *const *variables;	/* until the command is started */
	int input, output;		/* its stdin, and with --to its stdout; -1 */
	/* command.c */
	pid_t process;			/* and process group */
	int errors;			/* where its stderr is read; -1 */
	enum ending ending;
	bool lingers;			/* it has exited, but others of its group have not */
	int64_t due;			/* deadline of what has to be done to it next */
	int64_t kill_at;
	int status;			/* as of wait(2) */
	char tail[LMQ_ERROR_MAX];	/* the last it wrote to stderr, or why it failed without that */
	size_t tail_size;
	/* verdict.c */
	bool refused;			/* by us: no status of the command */
	enum lmq_outcome outcome;
	enum lmq_reason reason;
	size_t verdict;			/* index of its first */
};

/* What stays the same from message to message. */
struct taking {
	const struct work *work;
	lmq_receiver *receiver;
	bool partitioned;		/* the stream has several partitions */
	uint32_t last_attempt;		/* of messages; 0: there is none */
	const char *last_attempt_text;	/* "5", "none"; "": not known */
};

/*
 * Fills an empty task with count claimed messages, or less. One at its last attempt is taken alone, so
 * that none becomes a dead letter for the faults of others: *alone says that the next claim should be of
 * one. LMQ_END: there was none; TASK_LACKS: errno says what; or a failure with a sentence. What was taken
 * is given back then.
 */
enum { TASK_LACKS = -2000 };	/* beyond the library's statuses */
int task_take(struct task *task, const struct taking *taking, size_t count, bool *alone);
void task_begin(const struct task *task, lmq_receiver *receiver);	/* lmq_receiver_begin() */
void task_return(const struct task *task, lmq_receiver *receiver);	/* lmq_receiver_return() */
/* The command cannot have these messages, and never will: they go to the dead letters. */
void task_refuse(struct task *task, const char *why);
void task_empty(struct task *task);	/* ready to be filled again */

/* ---- variables.c, arguments.c: what the command is told -------------------------------------- */

/* Once, with what is the same for all messages; store: its path. */
void variables_prepare(const struct work *work, const char *store);
/* The environment for this message, until the next call; attempts_most may be "". */
char *const *variables_for(const struct lmq_message *message, bool partitioned, const char *attempts_most);
void variables_count(uint64_t messages);	/* adds to it that the run has so many */

/*
 * The command with the body in its arguments, until the next call; NULL and *why (static text) if no
 * argument can hold it. *status is set where the body could not be had.
 */
char *const *arguments_for(const struct work *work, const struct lmq_message *message, lmq_receiver *receiver,
	const char **why, int *status);

/* ---- command.c: child processes -------------------------------------------------------------- */

/* First of all in main(): what commands shall have as we had it. */
void command_remember(void);
/* From now on SIGCHLD, and INT, TERM, HUP unless ignored, are read from the descriptor returned. */
int command_signals(void);
/* 0, or the errno with which it cannot be started. */
int command_start(struct task *task);
/* Whether that errno is a lack of processes, memory or descriptors, which may be over later. */
bool command_lacks(int error);
const char *command_error(int error);	/* in words */
void command_errors(struct task *task);		/* its stderr is ready to be read */
/* It was waited for. False: others of its group are still to be waited for. */
bool command_exited(struct task *task, int status);
/* Ends it: TERM to its group, and KILL after grace. */
void command_end(struct task *task, enum ending ending, int64_t grace);
/* What is due. True: nothing of it is left now. */
bool command_due(struct task *task, int64_t now, int64_t grace);

/* ---- verdict.c: what became of a task -------------------------------------------------------- */

/* "--retry-on" and "1-63,70": these mean that from now on; dies with 64. */
void meanings_set(unsigned char meanings[STATUSES], const char *option, const char *list,
	enum meaning meaning);
/* Sets outcome and reason of a task that has ended. True: it asks the worker to stop. */
bool verdict_find(const struct work *work, struct task *task);
/* What it wrote is no good: not acknowledged after all. */
void verdict_spoil(struct task *task, enum lmq_outcome outcome, const char *why);
/* The verdicts on count tasks; an array of the module's own, NULL without memory. */
struct lmq_verdict *verdicts_of(struct task *const *tasks, size_t count, size_t *verdict_count);

/* What of the properties of the channel, or of the group, has to do with failures. */
struct limits {
	char attempts[24];		/* "5", "none"; "": not known */
	uint32_t last_attempt;		/* 0: no limit */
	char dead[LMQ_NAME_MAX + 1];
	int64_t read_at;
};
void limits_read(struct limits *limits, lmq_channel *channel, const char *group, int64_t now);
/* Where the first message of the task lies: "jobs:17", "log/3:17". */
enum { SUBJECT_MAX = LMQ_NAME_MAX + 40 };
int subject_put(char text[SUBJECT_MAX], const struct work *work, const struct task *task);
/* A line about a task that was concluded and not acknowledged. */
void verdict_tell(const struct work *work, const struct task *task, const struct limits *limits);

/* ---- product.c: what commands write becomes messages ----------------------------------------- */

void product_open(const struct work *work, lmq_store *store);
void product_close(void);
lmq_channel *product_channel(void);	/* NULL without --to */
lmq_writer *product_writer(void);
int product_file(void);			/* for a command's stdout; -1 and errno */
bool product_reopen(void);		/* whether the channel was removed, and has been made again */
/*
 * Adds to the writer what tasks wrote, from the first one on, as far as it can be committed at once:
 * *count gets how many tasks that are. A task whose output is no good is spoilt.
 */
int product_gather(struct task *const *tasks, size_t *count);

/* ---- worker.c: takes messages and starts commands; crew.c: those that run; ledger.c: those that ended */

enum { EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct worker {
	struct work *work;
	lmq_store *store;
	lmq_watch *watch;
	lmq_channel *channel;		/* NULL: it is not there (yet) */
	lmq_receiver *receiver;
	uint32_t id;			/* of the channel that was opened last; 0: none was */
	bool partitioned;		/* it has several partitions; */
	int64_t share_at;		/* no look for members that want some of them before this deadline */
	uint64_t missed;		/* messages that were told of as missed */
	struct limits limits;
	/* every task is in one of these, which have room for all */
	struct task **spare, **running, **ended;
	size_t spare_count, running_count, ended_count;
	size_t parallel;		/* less than was asked for where processes or memory are short */
	bool dry;			/* the last claim found nothing: arm the watch before the next */
	bool nothing_left;		/* nor did one since it was armed, and none was concluded */
	bool alone;			/* the next message wants a run of its own */
	bool gone;			/* the channel was removed */
	bool held;			/* a full channel keeps us from concluding */
	bool stopping;			/* no more messages */
	bool ending;			/* nor what runs */
	bool broken;			/* the store fails: nothing can be concluded any more */
	uint64_t taken;			/* messages */
	int64_t idle_until;		/* when -w is over; -1: does not run */
	int signal;			/* the first that asked us to end; 0 */
	int exit_code;			/* 0: as some_failed says */
	bool some_failed;
};

/* Works until there is a reason to stop; the result is in the worker. */
void worker_run(struct worker *worker);
void worker_stop(struct worker *worker, int exit_code);
/* Says what the store says, and stops. With fatal set nothing can be concluded: what runs is ended, too. */
void worker_trouble(struct worker *worker, int status, bool fatal);

void crew_prepare(struct worker *worker);
/*
 * Sleeps until a command ended or has to be, a signal came, the deadline passed, or with watched set
 * something happened that the watch is armed for. Passes on what commands write to stderr.
 */
void crew_wait(struct worker *worker, int64_t deadline, bool watched);

void ledger_add(struct worker *worker, struct task *task);	/* it has ended, or never started */
bool ledger_conclude(struct worker *worker);	/* whether some are through */
void ledger_spare(struct worker *worker, struct task *task);	/* it is through, or was never run */

#endif
