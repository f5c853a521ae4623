/* SPDX-License-Identifier: ISC */
/* How messages are sent: mq-send and mq-pub. */
#ifndef SENDING_H
#define SENDING_H

#include "input.h"

/* ---- sending.c: all of mq-send and mq-pub but the kind of channel -------------------------------------- */

/* The whole tool; kinds that the tool accepts, the first being the one it creates. */
int sending_main(const struct tool *tool, enum lmq_kind create, const enum lmq_kind *accept, size_t accept_count,
	int argc, char **argv);
extern const struct option_row send_options[], pub_options[];

/* outbox.c: messages on their way into one channel, what was sent so far, and the end in case of a fault. */
struct outbox {
	lmq_store *store;
	lmq_channel *channel;
	lmq_writer *writer;
	struct lmq_message message;	/* the fields that every message gets */
	bool atomic;		/* all in one transaction, or nothing */
	bool mandatory;		/* end with 1 where nobody would keep a message */
	bool print_position;
	bool partitioned;	/* positions tell the partition */
	enum { EXPECT_NOTHING, EXPECT_OFFSET, EXPECT_KEY } expect;
	uint64_t expected;	/* offset of the first message; of the newest one with its key, or LMQ_NONE */
	int64_t wait;		/* ns for room in a full queue; -1: for ever if the channel says full=block */
	lmq_watch *watch;	/* where that is waited for; NULL: it is not */
	const char *resume;	/* the messages are numbered under this name; NULL */
	uint64_t stored;	/* by earlier runs under that name; */
	uint64_t skip;		/* so many of them are still to come in the input */
	bool skipping;		/* the message that comes in pieces is one of them */
	const char *unit;	/* what the present message is called: "line", or a file's name; */
	uint64_t number;	/* its number; 0: unit says all */
	uint64_t last;		/* the number of the last message that was added */
	uint64_t sent;		/* messages committed */
	uint64_t bytes;		/* of bodies taken */
};
/* All of these end the tool on a fault, having told how many messages were sent. */
void outbox_start(struct outbox *outbox);	/* once it has its channel and writer */
void outbox_finish(struct outbox *outbox);	/* at the end of the input */
void outbox_add(struct outbox *outbox, const struct lmq_message *message);
void outbox_begin(struct outbox *outbox, const struct lmq_message *message);
void outbox_write(struct outbox *outbox, const void *data, size_t size);
void outbox_end(struct outbox *outbox);
/* Commits and prints the positions. outbox_pause() does so too, but not when all is to be one transaction. */
void outbox_commit(struct outbox *outbox);
void outbox_pause(struct outbox *outbox);
void outbox_progress(const struct outbox *outbox);
/* Sends what came before, unless atomic, then ends the tool: by the signal, or with status and a sentence. */
_Noreturn void outbox_interrupted(struct outbox *outbox);
_Noreturn void outbox_die(struct outbox *outbox, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* source.c: where messages come from. A source that cannot be read ends the tool. */
void file_send(struct outbox *outbox, const char *name);	/* the whole of it is one message; "-": stdin */
void file_check(const char *name);	/* dies if it surely cannot be read, before anything is created */
void stdin_send(struct outbox *outbox, struct input *input);
void body_send(struct outbox *outbox, const char *body, uint64_t number);

/* ---- stamp.c: what every message of mq-send and mq-pub carries but its body --------------------------- */

struct stamp {
	struct lmq_message message;	/* LMQ_MESSAGE_INIT */
	struct lmq_header headers[LMQ_HEADERS_MAX];
	size_t bytes;			/* of all fields so far */
	bool delayed, timed;		/* -D, --at */
};
enum {
	OPTION_TYPE = OPTION_TOOL + 70, OPTION_ID, OPTION_REPLY_TO, OPTION_CORRELATION, OPTION_AT,
	OPTION_TOMBSTONE,
};
bool stamp_option(struct stamp *stamp, int key, const char *argument);

#endif
