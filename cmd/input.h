/* SPDX-License-Identifier: ISC */
/* Bytes become messages. */
#ifndef INPUT_H
#define INPUT_H

#include "cmd.h"

/* ---- input.c, envelope.c: bytes become messages ------------------------------------------------------ */

enum input_kind { INPUT_LINES, INPUT_DELIMITER, INPUT_RAW, INPUT_JSON };

struct input {
	enum input_kind kind;
	const char *delimiter;		/* LINES: "\n" */
	size_t delimiter_size;
	int descriptor;
	int patience;			/* ms that a pause lasts before INPUT_PAUSE is told again; -1: no end */
	int error;			/* errno behind INPUT_ERROR */
	/* from here on input.c's own */
	char *buffer;
	size_t room, start, scanned, end;	/* start to end is not handed out yet; no delimiter before scanned */
	bool regular, pausing, partial, exhausted, finished;
};

/* What input_next() found. */
enum {
	INPUT_MESSAGE,		/* a message */
	INPUT_PART,		/* a piece of a message too long for the buffer; more follow */
	INPUT_LAST,		/* its last piece, perhaps empty */
	INPUT_PAUSE,		/* nothing at once: commit; the next call sleeps */
	INPUT_END,
	INPUT_INTERRUPTED,	/* by a signal, see interrupt.c */
	INPUT_LONG,		/* JSON: a line longer than INPUT_LINE_MAX */
	INPUT_ERROR,
};

/* A body of 64 MiB whose every byte is written as \u00XX, and everything around it. */
#define INPUT_LINE_MAX (6 * ((size_t)64 << 20) + ((size_t)256 << 10))

/* Starts on a descriptor; kind and delimiter are set before. False without memory. */
bool input_open(struct input *input, int descriptor);
void input_close(struct input *input);	/* frees the buffer, leaves the descriptor */
/* The next event. The bytes may be overwritten by the caller and stay until the next call. */
int input_next(struct input *input, char **data, size_t *size);

/* scan.c: JSON text, checked token by token; false where it is no JSON. Strings are decoded in place. */
struct scan {
	char *at;
	char *end;
};
void scan_space(struct scan *scan);
bool scan_take(struct scan *scan, char wanted);		/* white space, then that character if it is there */
bool scan_word(struct scan *scan, const char *word);	/* true, false or null, if it is there */
bool scan_string(struct scan *scan, struct lmq_bytes *string);
bool scan_value(struct scan *scan);			/* skips a value of any type, leaving it as it is */

/* A message as it stands in an envelope; points into the text that it was read from, and into the defaults. */
struct envelope {
	struct lmq_message message;
	struct lmq_header headers[LMQ_HEADERS_MAX];
	char error[96];		/* why it is not valid */
};

/* Reads one envelope, decoding inside the text. What it does not say is taken from defaults. */
bool envelope_read(struct envelope *envelope, char *text, size_t size, const struct lmq_message *defaults);

#endif
