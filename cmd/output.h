/* SPDX-License-Identifier: ISC */
/* Messages become bytes: in which form they are written (form.c and what it calls), and how they leave (output.c). */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "cmd.h"

/* ---- form.c, template.c, json.c: a message becomes bytes ----------------------------------------- */

enum form_kind { FORM_BODY, FORM_RAW, FORM_JSON, FORM_JSON_DATA, FORM_TEMPLATE };

struct form {
	enum form_kind kind;
	const char *delimiter;		/* behind each body: "\n"; -0, -d */
	size_t delimiter_size;
	struct template *template;	/* FORM_TEMPLATE */
	bool escape;			/* FORM_BODY on a terminal: control bytes shown escaped */
	const char *channel;		/* name for the envelope and %c */
	bool partitioned;		/* the stream has several partitions: positions and the envelope tell which */
	const char *group;		/* for which the message is delivered, for its lease; NULL: of a queue */
	bool delivery;			/* the message is delivered: attempt and lease are shown */
	const struct lmq_delivery *delivery_state;	/* for the envelope: how its delivery stands; or NULL */
};

/* Rows for the option tables of readers (-j -0 -d -r -F -o), and their handler: true if key was one of them. */
#define FORM_SHAPES \
	{ 'j', "json", NULL, "JSON envelope, one object a line" }, \
	{ '0', "null", NULL, "messages end in NUL" }, \
	{ 'd', "delimiter", "S", "messages end in the string S" }, \
	{ 'r', "raw", NULL, "bodies and nothing else" }, \
	{ 'F', "format", "T", "template, see mq-formats(5)" }
/* The same, with few words, where there are many others. */
#define FORM_BRIEF \
	{ 'j', "json", NULL, "JSON envelope, one object a line" }, \
	{ 'F', "format", "T", "template, see mq-formats(5)" }, \
	{ '0', "null", NULL, "" }, \
	{ 'd', "delimiter", "S", "" }, \
	{ 'r', "raw", NULL, "" }, \
	{ 'o', "output", "M", "" }
#define FORM_OPTIONS \
	FORM_SHAPES, \
	{ 'o', "output", "M", "body, json or json-data" }
bool form_option(struct form *form, int key, const char *argument);
/* Decides what depends on stdout (escape); call once after the options. */
void form_ready(struct form *form);

/* Where a message comes from, so that a large body can be fetched piece by piece. */
struct body_source {
	int (*piece)(void *handle, uint64_t at, struct lmq_bytes *piece);	/* lmq_reader_body, lmq_receiver_body */
	void (*pause)(void *handle);	/* lmq_reader_pause, lmq_receiver_pause: called before stdout may block */
	void *handle;
};

/*
 * Appends the message to the output. Returns 0, or a status of the library (a piece could not be had), or
 * OUTPUT_FAILED.
 */
int form_write(const struct form *form, const struct lmq_message *message, const struct body_source *source);

/* Compiles a template; dies with 64 and names what is wrong in it. */
struct template *template_compile(const char *text);
int template_write(const struct template *t, const struct form *form, const struct lmq_message *message,
	const struct body_source *source);

/* ---- output.c: stdout, and how many messages have left it for good -------------------------------- */

enum { OUTPUT_FAILED = -1000 };	/* beyond the library's statuses; output_error() tells errno */

/*
 * A buffer of 256 KiB before stdout. Before each write(2) the source is paused, so that no snapshot is
 * held while the pipe blocks.
 */
void output_source(const struct body_source *source);	/* NULL: nothing to pause */
int output_bytes(const void *data, size_t size);	/* 0 or OUTPUT_FAILED */
/* Room for at least size (at most 64 KiB) contiguous bytes, or NULL on failure; output_used() takes them. */
char *output_room(size_t size);
void output_used(size_t size);
size_t output_space(void);	/* bytes that fit before a flush, which pauses the source */
int output_flush(void);
/* Marks the end of a message: output_completed() counts those of which every byte was taken by stdout. */
void output_message_end(void);
uint64_t output_completed(void);
/* Drops what was added since the last message end; false if a part of it has left already. */
bool output_take_back(void);
/* Before a wait: dies by SIGPIPE if stdout is a pipe that nobody reads any more. */
void output_check_reader(void);
int output_error(void);		/* errno of the failed write, EPIPE among them; 0 */
/* What a reader does after OUTPUT_FAILED, having given back its messages: dies by SIGPIPE on EPIPE, else 74. */
_Noreturn void output_die(void);

/* ---- json.c: text --------------------------------------------------------------------------------- */

/* JSON text to the output. json_string_write: the bytes (valid UTF-8) as a JSON string in quotes. */
int json_string_write(const char *data, size_t size);
bool utf8_valid_text(const char *data, size_t size);	/* valid UTF-8 without NUL */
bool json_valid(const char *data, size_t size);		/* one valid JSON value */
int json_text_write(const char *data, size_t size);	/* as json_string_write, without the quotes */
int json_compact_write(const char *data, size_t size);	/* a valid value without white space between tokens */
char *json_text_put(char *to, const char *data, size_t size);	/* into 6 * size bytes of room */
enum { JSON_TEXT_GROWTH = 6 };	/* bytes that one byte can become */

/* Text that comes in pieces; all bytes 0 at the start. */
struct utf8 {
	unsigned char need;		/* bytes that the character still lacks */
	unsigned char low, high;	/* the next of them lies between; 0: any */
};
bool utf8_feed(struct utf8 *state, const char *data, size_t size);	/* false: not UTF-8, or NUL */
size_t utf8_step(const char *data, size_t size);	/* bytes of the first character; an invalid byte is one */

/* Numbers and times into memory: at most 20 and 30 bytes; return behind the last. No NUL. */
char *decimal_put(char *to, uint64_t number);
char *time_put(char *to, int64_t time);		/* RFC 3339, as lmq_time_format */

/* ---- body.c: bodies of any size ------------------------------------------------------------------- */

/* BODY_SHOWN escapes control bytes. BODY_JSON is for valid UTF-8, BODY_JSON_ANY replaces what is not. */
enum body_form { BODY_PLAIN, BODY_SHOWN, BODY_JSON, BODY_JSON_ANY, BODY_HEX, BODY_BASE64 };
int bytes_write(enum body_form form, const char *data, size_t size);
int body_write(enum body_form form, const struct lmq_message *message, const struct body_source *source);
/* Whether the body is valid UTF-8 without NUL; false also when *status is set. */
bool body_is_text(const struct lmq_message *message, const struct body_source *source, int *status);
/* Its first bytes, size at most, copied to the buffer; *got of them. */
int body_begin(const struct lmq_message *message, const struct body_source *source, char *buffer, size_t size,
	size_t *got);

/* ---- fields.c: parts of an envelope --------------------------------------------------------------- */

/* The message without a delimiter. */
int envelope_write(const struct form *form, const struct lmq_message *message, const struct body_source *source);
int headers_write(const struct lmq_message *message);
int history_write(const struct lmq_history *history);	/* all of it but the reason, a comma before each field */
/* delivery.c: how its delivery stands, in the same way; at most DELIVERY_STATE_MAX bytes. */
enum { DELIVERY_STATE_MAX = JSON_TEXT_GROWTH * (LMQ_ERROR_MAX + LMQ_CONSUMER_MAX) + 1024 };
int delivery_state_write(const struct lmq_delivery *delivery);
/* Its position with the attempt; and where a dead letter was. At most LEASE_TEXT_MAX bytes each. */
enum { LEASE_TEXT_MAX = 2 * LMQ_NAME_MAX + 48 };
char *lease_put(char *to, const struct form *form, const struct lmq_message *message);
char *origin_put(char *to, const struct lmq_death *death);

#endif
