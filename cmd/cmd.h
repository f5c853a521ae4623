/* SPDX-License-Identifier: ISC */
/*
 * What the tools share; linked into tools only, on top of libmq.h and nothing else of libmq.
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

/* "TOOL: ...", then the hint "try TOOL --help"; 64. */
_Noreturn void die_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Option arguments; each dies with 64 and names option, value and grammar. */
uint64_t argument_number(const char *option, const char *text, uint64_t least, uint64_t most);
uint64_t argument_size(const char *option, const char *text);
int64_t argument_duration(const char *option, const char *text);
int64_t argument_time(const char *option, const char *text);
double argument_rate(const char *option, const char *text);	/* "100/s", "6000/m", "100": per second */

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

/* escapes.c: \n \t \0 \\ \xHH in option arguments; dies with 64. *size gets the length; allocated. */
char *escapes_decode(const char *option, const char *text, size_t *size);
/* Reads the escape behind a backslash and moves *at behind it. -1: not an escape. */
int escape_read(const char **at);

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

/*
 * body.c: bodies of any size to the output. BODY_SHOWN escapes control bytes. BODY_JSON is for valid UTF-8,
 * BODY_JSON_ANY replaces what is not.
 */
enum body_form { BODY_PLAIN, BODY_SHOWN, BODY_JSON, BODY_JSON_ANY, BODY_HEX, BODY_BASE64 };
int bytes_write(enum body_form form, const char *data, size_t size);
int body_write(enum body_form form, const struct lmq_message *message, const struct body_source *source);
/* Whether the body is valid UTF-8 without NUL; false also when *status is set. */
bool body_is_text(const struct lmq_message *message, const struct body_source *source, int *status);
/* Its first bytes, size at most, copied to the buffer; *got of them. */
int body_begin(const struct lmq_message *message, const struct body_source *source, char *buffer, size_t size,
	size_t *got);
enum { LEASE_TEXT_MAX = 2 * LMQ_NAME_MAX + 48 };
/* fields.c: the message without a delimiter, and its headers, as JSON; and its position with the attempt. */
int envelope_write(const struct form *form, const struct lmq_message *message, const struct body_source *source);
int headers_write(const struct lmq_message *message);
char *lease_put(char *to, const struct form *form, const struct lmq_message *message);	/* LEASE_TEXT_MAX bytes */
char *origin_put(char *to, const struct lmq_death *death);	/* where a dead letter was; as many bytes */

/* ---- reading.c: what mq-recv, mq-sub and mq-replay share ------------------------------------------------ */

struct body_source reader_source(lmq_reader *reader);
struct body_source receiver_source(lmq_receiver *receiver);
/*
 * Opens the channel, waiting until the deadline for it to appear; the watch gets to know of the catalogue.
 * LMQ_ETIME, LMQ_EINTR if interrupted, or a failure with a sentence.
 */
int channel_await(lmq_store *store, const char *name, enum lmq_kind kind, lmq_watch *watch, int64_t deadline,
	lmq_channel **channel);
/* The name given by -c, if it can be one, or 64; without (NULL) HOST:PID. Kept for good. */
const char *consumer_name(const char *given);
/* The only operand, or 64; what: "queue". */
const char *only_operand(int argc, char **argv, int first, const char *what);
/* Tells of messages that were trimmed away before they were read: so many in all, beyond the *told ones told of
 * before; returns how many these were. */
uint64_t missed_say(const char *name, uint64_t missed, uint64_t *told);
/* At the end, of all that were missed: unless the only line about them has said it. */
void missed_sum(uint64_t missed);
/* Where a new group of a channel of that kind starts: as the range says; streams at first, topics now. */
struct range;
void group_start(const struct range *range, enum lmq_kind kind, enum lmq_seek *how, int64_t *value);
void group_check(const char *group);	/* dies with 64 if that is not a name that a group can have */
bool group_exists(lmq_channel *channel, const char *group);	/* as far as can be told */

/* ---- consume.c: messages that are taken, and written to stdout; mq-recv, mq-sub -g ------------------------------- */

struct consumer {
	lmq_store *store;
	const struct form *form;	/* for the channel, and group, of the receiver */
	int64_t lease;			/* they are kept leased for so long; 0: acknowledged */
	bool unhurried;			/* nobody knows how fast they are read: leases are made of a few only */
	enum lmq_sync sync;		/* of the acknowledgements */
	/* from here on consume.c's own */
	lmq_receiver *receiver;
	struct body_source source;
	size_t batch;
};
int64_t lease_argument(const char *argument);	/* of -l; dies with 64 */
void consumer_start(struct consumer *consumer, lmq_receiver *receiver);
/*
 * Claims messages, at most so many, writes and settles them; *taken grows by those that stdout has taken. LMQ_END:
 * none is ready; or a failure with a sentence. It ends the tool if stdout fails.
 */
int consumer_receive(struct consumer *consumer, uint64_t most, uint64_t *taken);

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

/* progress.c: messages, bytes and rate on stderr. Costs a look at the clock for each call, so call it per batch. */
void progress_start(bool forced);	/* not forced: on a terminal, after one second, without -q */
bool progress_wanted(void);
void progress_show(uint64_t messages, uint64_t bytes);
void progress_end(uint64_t messages, uint64_t bytes);	/* the final line */
void progress_break(void);		/* leaves the line, so that an error can be printed */

/* ---- selection.c: which messages, how many, how long; the options of mq-recv, mq-sub, mq-replay -------- */

struct selection {
	uint64_t count;		/* -n; UINT64_MAX: no limit */
	bool count_set;
	int64_t wait;		/* -w, ns for the next message; -1: not given */
	bool drain;		/* -e */
	bool follow;		/* -f */
	lmq_filter *filter;	/* -k -m, or NULL */
};
#define SELECTION_OPTIONS \
	{ 'n', "count", "N", "stop after N messages" }, \
	{ 'w', "wait", "D", "wait at most D for the next message" }, \
	{ 'e', "drain", NULL, "stop when nothing is left" }, \
	{ 'f', "follow", NULL, "never stop" }, \
	{ 'k', "key", "P", "only messages whose key matches P" }, \
	{ 'm', "match", "N=GLOB", "only messages whose header N matches" }
bool selection_option(struct selection *selection, int key, const char *argument);

/* Where a reader starts: --from --to -S -U --last, as given on the command line. */
struct range {
	const char *from;	/* offset, "first" or "end"; NULL: not given */
	const char *to;
	int64_t since;		/* INT64_MIN: not given */
	int64_t until;		/* INT64_MAX: not given */
	int64_t last;		/* -1: not given */
};
#define RANGE_INIT { .since = INT64_MIN, .until = INT64_MAX, .last = -1 }
#define RANGE_OPTIONS \
	{ 'S', "since", "T", "from this time on" }, \
	{ 'U', "until", "T", "up to, not including, this time" }, \
	{ OPTION_FROM, "from", "N", "from this offset on; first, end" }, \
	{ OPTION_TO, "to", "N", "up to, not including, this offset" }, \
	{ OPTION_LAST, "last", "N", "start N messages before the end" }
enum { OPTION_FROM = 256, OPTION_TO, OPTION_LAST, OPTION_TOOL = 300 /* first of a tool's own */ };
bool range_option(struct range *range, int key, const char *argument);
bool range_starts(const struct range *range);	/* whether it says where to start */
/* Moves the reader to where the range starts; default_from is used if nothing was given. 0 or a status. */
int range_seek(const struct range *range, lmq_reader *reader, enum lmq_seek default_seek);

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

/* ---- delivery.c, offsets.c, conditions.c, pace.c: what mq-ack, mq-exec, mq-move, mq-peek and mq-trim share ------------- */

const char *state_name(enum lmq_state state);	/* "ready", "leased", "delayed", "retry", "blocked", "expired" */
unsigned states_parse(const char *list);	/* "ready,leased": the bits 1 << state; dies with 64 */
/* Copies what belongs to the reader, which may be paused then; until the next such call. */
void delivery_keep(struct lmq_delivery *delivery);
/* Its fields in an envelope, a comma before each; at most DELIVERY_STATE_MAX bytes. */
enum { DELIVERY_STATE_MAX = JSON_TEXT_GROWTH * (LMQ_ERROR_MAX + LMQ_CONSUMER_MAX) + 1024 };
int delivery_state_write(const struct lmq_delivery *delivery);
int history_write(const struct lmq_history *history);	/* fields.c: all of it but the reason, in the same way */

/* Operands "1041" or "1041-1050": a list of as many as there are, allocated; dies with 64. */
struct offsets {
	uint64_t first, end;	/* end is not included */
};
struct offsets *offsets_operands(char **operands, size_t count);

/* conditions.c: which messages mq-move takes; many filters can be made of them. */
struct condition {
	int key;		/* of the option, -k or -m */
	const char *text;
};
struct conditions {
	struct condition *texts;
	size_t text_count;
	int64_t before;		/* stored before this time; 0: not given */
	enum lmq_reason reason;
	const struct offsets *offsets;
	size_t offset_count;	/* 0: any offset */
};
enum { OPTION_REASON = OPTION_TOOL + 50, OPTION_OLDER };
#define CONDITION_OPTIONS \
	{ 'k', "key", "P", "only messages whose key matches P" }, \
	{ 'm', "match", "N=GLOB", "only messages whose header N matches" }, \
	{ OPTION_REASON, "reason", "R", "only dead letters that are dead for this reason" }, \
	{ OPTION_OLDER, "older", "D", "only messages older than D" }
bool conditions_option(struct conditions *conditions, int key, const char *argument);
void conditions_check(const struct conditions *conditions);	/* dies with 64 where one is not valid */
/* All of them, within [first, end), and of that origin (NULL: any). NULL: no message can meet them. */
lmq_filter *conditions_filter(const struct conditions *conditions, uint64_t first, uint64_t end, const char *origin);

/* So many steps a second; begins as { .rate = R }. */
struct pace {
	double rate;	/* 0: no limit */
	int64_t next;	/* when the next step may be taken, as a deadline */
	double rest;	/* of a nanosecond, which next lacks */
};
int64_t pace_next(const struct pace *pace);		/* the deadline until which to wait before a step */
void pace_take(struct pace *pace, uint64_t steps);	/* so many were taken now */
size_t pace_batch(const struct pace *pace, size_t most);	/* how many to take at once, for an even flow */

/* transfer.c: messages that are ready, from a queue to another channel. */
struct transfer {
	lmq_store *store;
	lmq_channel *from;
	lmq_channel *to;		/* NULL: is created as to_name when there is a message for it */
	const char *to_name;
	bool copy;			/* they stay in from too */
	bool back;			/* dead letters, to where they came from; to is NULL */
	const struct conditions *conditions;
	uint64_t end;			/* offset in from before which they lie */
	struct pace pace;
	lmq_watch *watch;		/* to wait for the pace; NULL where there is none */
	enum lmq_sync sync;
	uint64_t done;			/* messages moved */
};
/* At most so many, of that origin (NULL: any), until a signal comes. 0 or what went wrong. */
int transfer_move(struct transfer *transfer, const char *origin, uint64_t most);
int transfer_copy(struct transfer *transfer, uint64_t most);

#endif
