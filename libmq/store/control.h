/* SPDX-License-Identifier: ISC */
/* What the processes that use a store share beside its data: the control file, its words, its locks. */
#ifndef CONTROL_H
#define CONTROL_H

#include "base/base.h"

#include <signal.h>
#include <stdatomic.h>

/* ---- control.c: the shared page -------------------------------------------------------------- */

enum { NOTIFY_WORDS = 1024 };

struct notify_word {			/* a cache line of its own */
	_Atomic uint32_t sequence;	/* bumped after each commit that concerns it */
	_Atomic uint32_t waiters;	/* too high after a kill: costs a system call, never a wake-up */
	uint32_t pad[14];
};

enum { ROSTER_SLOTS = 1024 };

struct roster_slot {		/* what a receiver or a waiting sender is doing; written by it alone (roster.c) */
	_Atomic uint32_t kind;	/* enum roster_kind; 0: free */
	_Atomic uint32_t pid;
	_Atomic uint32_t space;
	_Atomic uint32_t attempt;	/* of the messages being delivered */
	_Atomic uint64_t first, end;	/* of these; end <= first: none */
	_Atomic int64_t since;	/* ns since 1970: when the delivery or the wait began */
	_Atomic uint64_t ticket;	/* of a sender: who waited first is first; of a receiver: one for each join */
	_Atomic uint32_t holding;	/* of a receiver: it has claimed messages */
	char name[64];		/* of the consumer */
	char pad[12];
};

struct control {			/* the control file; any content is survived */
	_Atomic uint64_t pid_namespace;	/* of the processes in LMDB's reader table */
	_Atomic uint32_t poison;	/* a commit failed with an I/O error: sync before the next one (F3) */
	_Atomic uint32_t generation;	/* bumped when everybody must close and reopen (F4) */
	_Atomic uint32_t repaired;	/* the generation for which somebody opened it first, alone */
	_Atomic uint32_t ballast;	/* enum ballast_state (ballast.c) */
	_Atomic uint32_t namespace_seal;	/* follows from pid_namespace (control.c) */
	_Atomic uint32_t anchored;	/* 1: the name of the store is known to be on the disk */
	uint32_t pad[8];
	struct notify_word writer;	/* bumped when the writer lock is given back */
	struct notify_word catalogue;
	struct notify_word any;		/* every commit; for those who wait for more than they can list */
	struct notify_word channel[NOTIFY_WORDS];	/* by id */
	_Atomic uint64_t next_ticket;
	_Atomic uint64_t roster_used[ROSTER_SLOTS / 64];	/* bit: the slot is not free */
	struct roster_slot roster[ROSTER_SLOTS];
};

/* OFD locks on the control file, far behind its end. In-flight messages lie above all of them (lease.c). */
#define STAGING_LOCK ((off_t)1 << 30)
#define STAGING_LOCKS ((uint64_t)1 << 30)
#define WRITER_LOCK ((off_t)1 << 31)
#define ROSTER_LOCK (((off_t)1 << 31) + 1024)	/* + slot: its process is alive */
#define PARTITION_LOCK (((off_t)1 << 31) + 65536)	/* + space: the partition is somebody's */
#define SPACE_MAX (INT32_MAX - 65536)	/* below it all numbers of channels and spaces */

int control_open(lmq_store *s);		/* sets control_fd, control; stand-in memory where read-only */
void control_close(lmq_store *s);
/* Whether any process has the environment open. Only for one that has not: it would lose its locks. */
bool control_in_use(lmq_store *s);

/* ---- lock.c ---------------------------------------------------------------------------------- */

/* All signals but those by which the machine tells of a fault: a process that blocks these dies of it unheard. */
void signals_from_outside(sigset_t *set);
void take_pending(int signal);	/* a blocked one that came, of a write past the file-size limit */

int file_lock(lmq_store *s, int fd);	/* flock, with the store's patience: LMQ_EBUSY */
int gate_lock(lmq_store *s);
void gate_unlock(lmq_store *s);
/* LMQ_EBUSY. asleep: the signal mask while it waits. */
int writer_lock(lmq_store *s, int64_t deadline, const sigset_t *asleep);
void writer_unlock(lmq_store *s);

/* Tries to lock [start, start + length) of the control file through fd: 0, or the errno. */
int range_lock(int fd, off_t start, off_t length);
void range_unlock(int fd, off_t start, off_t length);
/* A part of the range that another descriptor holds. False if there is none; in doubt all of it is held. */
bool range_taken(int fd, off_t start, off_t length, off_t *taken_start, off_t *taken_end);

/* ---- notify.c -------------------------------------------------------------------------------- */

void notify_wake(struct notify_word *word);
struct notify_word *notify_channel(lmq_store *s, uint32_t id);
void notify_everybody(lmq_store *s);
/* Waits until *word differs from seen; 0, ETIMEDOUT, EINTR. deadline is absolute, monotonic. */
int notify_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline);

/* ---- roster.c: who holds what, who waits ----------------------------------------------------- */

/* WORK: only tells what is being delivered. MEMBER: of a group whose partitions are shared out (member.c). */
enum roster_kind { ROSTER_RECEIVER = 1, ROSTER_SENDER, ROSTER_WORK, ROSTER_MEMBER };

/*
 * Takes a slot for this process, kept by an OFD lock through fd (not control_fd): its index, or -1 where none is free:
 * then nothing is told to others, and nothing else is lost. name may be cut.
 */
int roster_join(lmq_store *s, int fd, enum roster_kind kind, uint32_t space, const char *name);
void roster_leave(lmq_store *s, int fd, int slot);	/* -1 is nothing */
/* The messages [first, end) are being delivered for the attempt-th time. end = first: none is any more. */
void roster_begin(lmq_store *s, int slot, uint64_t first, uint64_t end, uint32_t attempt);
void roster_extend(lmq_store *s, int slot, uint64_t end);	/* longer, or shorter */
void roster_advance(lmq_store *s, int slot, uint64_t first);	/* those below are not any more */
void roster_holding(lmq_store *s, int slot, bool holding);
void roster_turn(lmq_store *s, int slot, uint32_t space);	/* from now on it tells of that space; nothing as yet */
/* Of a member: just one partition, 1 + its number, or 0; and a bit for each that it has. */
void roster_wants(lmq_store *s, int slot, uint32_t wants);
void roster_lanes(lmq_store *s, int slot, const uint64_t lanes[2]);

struct roster_trace {		/* what somebody who died was delivering */
	uint64_t first, end;
	uint32_t attempt;
	int slot;
};
/*
 * A delivery of a part of [first, end) that a dead process left in its slot. Whoever asks holds these messages. Searched
 * from slot *from on, which is moved behind the one found.
 */
bool roster_dead(lmq_store *s, uint32_t space, uint64_t first, uint64_t end, int *from, struct roster_trace *trace);
void roster_clear(lmq_store *s, int slot);	/* what it was delivering has been counted; nothing if it is alive */

/* The living process that delivers the message; name has room for 64 bytes. */
bool roster_holder(lmq_store *s, uint32_t space, uint64_t offset, char *name, int64_t *since, uint32_t *attempt);
struct roster_mark {		/* a receiver of another process */
	int slot;
	pid_t pid;
	uint64_t ticket;	/* another one at each join */
};
/*
 * The first receiver of the space, from slot from on, that has, or is about to have, claimed messages; dead ones too.
 * And whether a receiver seen there is still in its slot. No system calls.
 */
bool roster_next(lmq_store *s, uint32_t space, int from, struct roster_mark *mark);
bool roster_stays(lmq_store *s, const struct roster_mark *mark);
struct roster_member {
	int slot;
	uint64_t ticket;
	uint32_t wants;
	uint64_t lanes[2];
};
/* The first member that joined under the space, from slot from on, living or not. No system calls. */
bool roster_member(lmq_store *s, uint32_t space, int from, struct roster_member *m);
uint64_t roster_ticket_of(lmq_store *s, int slot);
/* How many living receivers have joined under the space (of a group with several lanes: that of the first one), and which
 * of them has the lane: its name, or "". */
uint32_t roster_count(lmq_store *s, uint32_t space, int lane, char name[64]);
bool roster_alive(lmq_store *s, int slot);	/* some process keeps the slot; asks the kernel */

/* Senders that wait for room: a place in the queue, and whether somebody living stands before it (ticket 0: anybody). */
uint64_t roster_ticket(lmq_store *s, int slot);
bool roster_before(lmq_store *s, uint32_t space, uint64_t ticket);

/* ---- lease.c: what is in flight -------------------------------------------------------------- */

struct run {			/* messages [first, end) */
	uint64_t first, end;
};

/* How far a lock reaches that begins at first. */
static inline uint64_t lease_reach(uint64_t first, uint64_t end)
{
	uint64_t wrap = (first | UINT32_MAX) + 1;
	return end < wrap ? end : wrap;
}

int lease_open(lmq_store *s, int *fd);	/* a descriptor of its own on the control file */
/*
 * Takes a free part of what a lock reaches of [first, end), the one that begins lowest, at most so many messages.
 * LMQ_END: nothing is free there.
 */
int lease_take(lmq_store *s, int fd, uint32_t space, uint64_t first, uint64_t end, uint64_t most, struct run *taken);
void lease_give(int fd, uint32_t space, const struct run *r);
/* As lease_take, but only looks, and at all. And whether somebody holds the message. */
int lease_free(lmq_store *s, uint32_t space, uint64_t first, uint64_t end, struct run *part);
bool lease_taken(lmq_store *s, uint32_t space, uint64_t offset);

#endif
