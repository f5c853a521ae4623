/* SPDX-License-Identifier: ISC */
/*
 * Bytes become messages: cuts what a descriptor delivers at lines, delimiters or nowhere.
 *
 * One buffer, read into in large pieces, cut by memchr() or memmem(); a message is handed out
 * where it lies. A message that fills half of the buffer is handed out in pieces from then on, so
 * that memory does not grow with it. Only JSON lines, which must be seen whole, make the buffer
 * grow, up to INPUT_LINE_MAX.
 *
 * Before a read that would block, the caller hears INPUT_PAUSE once, so that it can commit what it
 * has; the call after that sleeps. Signals are held back from the look at their flag until the sleep
 * has begun, so that one which arrives in between ends it at once.
 */
#include "cmd.h"
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 << 10, BUFFER = 2 * PIECE, PIPE = 1 << 20 };

bool input_open(struct input *input, int descriptor)
{
	struct stat status;
	bool known = fstat(descriptor, &status) == 0;

	input->descriptor = descriptor;
	input->patience = -1;
	input->error = 0;
	input->room = BUFFER;
	input->start = input->scanned = input->end = 0;
	input->regular = known && S_ISREG(status.st_mode);
	input->pausing = input->partial = input->exhausted = input->finished = false;
	/* A larger pipe makes larger batches: it fills while a commit is under way. Only a wish. */
	if (known && S_ISFIFO(status.st_mode))
		(void)fcntl(descriptor, F_SETPIPE_SZ, PIPE);
	input->buffer = malloc(BUFFER);
	return input->buffer != NULL;
}

void input_close(struct input *input)
{
	free(input->buffer);
	input->buffer = NULL;
}

static char *delimiter_find(const struct input *input)
{
	char *from = input->buffer + input->scanned;
	size_t size = input->end - input->scanned;

	if (input->kind == INPUT_RAW)
		return NULL;
	if (input->delimiter_size == 1)
		return memchr(from, input->delimiter[0], size);
	return memmem(from, size, input->delimiter, input->delimiter_size);
}

/* Remembers how far the search went; the last bytes could begin a delimiter. */
static void delimiter_missed(struct input *input)
{
	size_t kept = input->kind == INPUT_RAW ? 0 : input->delimiter_size - 1;
	size_t there = input->end - input->start;

	input->scanned = input->end - (kept < there ? kept : there);
}

/* Hands out the bytes from start up to stop; the next message begins at next. */
static int hand_out(struct input *input, size_t stop, size_t next, int event,
	char **data, size_t *size)
{
	*data = input->buffer + input->start;
	*size = stop - input->start;
	input->start = input->scanned = next;
	input->partial = event == INPUT_PART;
	return event;
}

static int end_event(const struct input *input)
{
	return input->partial ? INPUT_LAST : INPUT_MESSAGE;
}

/* What remains when there is nothing more to read. The whole of nothing is still a message. */
static int remainder_take(struct input *input, char **data, size_t *size)
{
	bool whole = input->kind == INPUT_RAW || input->partial;

	if (input->finished || (input->start == input->end && !whole))
		return INPUT_END;
	input->finished = true;
	return hand_out(input, input->end, input->end, end_event(input), data, size);
}

/* A long JSON line makes the buffer grow, and its end lets it shrink again. Keeps what was read. */
static bool buffer_resize(struct input *input, size_t room)
{
	char *buffer = realloc(input->buffer, room);

	if (buffer == NULL) {
		input->error = ENOMEM;
		return false;
	}
	input->buffer = buffer;
	input->room = room;
	return true;
}

/* Makes room for a piece. Returns 0, INPUT_LONG or INPUT_ERROR. */
static int room_make(struct input *input)
{
	size_t left = input->end - input->start;
	size_t room;

	if (input->start > 0 && (left == 0 || input->room - input->end < PIECE)) {
		memmove(input->buffer, input->buffer + input->start, left);
		input->scanned -= input->start;
		input->start = 0;
		input->end = left;
	}
	if (input->room > BUFFER && left < PIECE && input->start == 0)
		return buffer_resize(input, BUFFER) ? 0 : INPUT_ERROR;
	if (input->end < input->room)
		return 0;
	if (left >= INPUT_LINE_MAX)
		return INPUT_LONG;
	room = input->room > INPUT_LINE_MAX / 2 ? INPUT_LINE_MAX : 2 * input->room;
	return buffer_resize(input, room) ? 0 : INPUT_ERROR;
}

/* Whether a read would answer at once. */
static bool is_ready(const struct input *input)
{
	struct pollfd look = { .fd = input->descriptor, .events = POLLIN };

	return input->regular || poll(&look, 1, 0) > 0;
}

/* Sleeps until there is something to read, a signal came or patience ends. */
static int sleep_for_input(struct input *input)
{
	struct pollfd look = { .fd = input->descriptor, .events = POLLIN };
	struct timespec limit = { input->patience / 1000, input->patience % 1000 * 1000000L };
	sigset_t ours, before;
	int ready = -1;

	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	sigprocmask(SIG_BLOCK, &ours, &before);
	if (!interrupted)
		ready = ppoll(&look, 1, input->patience < 0 ? NULL : &limit, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (interrupted)
		return INPUT_INTERRUPTED;
	if (ready == 0)
		return INPUT_PAUSE;
	input->pausing = false;
	return 0;
}

/* Reads once. Returns 0, or the event that has to be told first. */
static int fill(struct input *input)
{
	ssize_t got;
	size_t room;
	int event;

	if (interrupted)
		return INPUT_INTERRUPTED;
	if (input->pausing && (event = sleep_for_input(input)) != 0)
		return event;
	if ((event = room_make(input)) != 0)
		return event;
	if (!is_ready(input)) {
		input->pausing = true;
		return INPUT_PAUSE;
	}
	room = input->room - input->end;
	got = read(input->descriptor, input->buffer + input->end, room < PIECE ? room : PIECE);
	if (got > 0)
		input->end += (size_t)got;
	else if (got == 0)
		input->exhausted = true;
	else if (errno == EAGAIN) {
		/* somebody else reads there too, and was faster */
		input->pausing = true;
		return INPUT_PAUSE;
	} else if (errno != EINTR) {
		input->error = errno;
		return INPUT_ERROR;
	}
	return 0;
}

int input_next(struct input *input, char **data, size_t *size)
{
	for (;;) {
		char *found = delimiter_find(input);
		int event;

		if (found != NULL) {
			size_t stop = (size_t)(found - input->buffer);
			return hand_out(input, stop, stop + input->delimiter_size, end_event(input),
				data, size);
		}
		delimiter_missed(input);
		if (input->exhausted)
			return remainder_take(input, data, size);
		if (input->kind != INPUT_JSON && input->scanned - input->start >= PIECE)
			return hand_out(input, input->scanned, input->scanned, INPUT_PART,
				data, size);
		if ((event = fill(input)) != 0)
			return event;
	}
}
