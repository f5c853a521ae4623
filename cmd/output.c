/* SPDX-License-Identifier: ISC */
/*
 * The output: a buffer before stdout that knows which messages have left it for good.
 *
 * What is handed in often lies in the library's snapshot, which a flush gives back. So the buffer is
 * flushed behind a message, never in the middle of one that fits: after each message at least
 * OUTPUT_RESERVE bytes are free, more than a body in one piece needs. Who writes more than
 * output_space() copies the message before.
 */
#include "cmd.h"
#include "output.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	OUTPUT_FULL = 256 << 10,	/* flushed behind the message that reaches this */
	OUTPUT_RESERVE = 128 << 10,
	OUTPUT_SIZE = OUTPUT_FULL + OUTPUT_RESERVE,
	OUTPUT_ENDS = 1 << 16,
};

static char buffer[OUTPUT_SIZE];
static size_t used;
static uint32_t ends[OUTPUT_ENDS];	/* where in the buffer messages end */
static size_t end_count;
static uint64_t completed;
static bool spilled;			/* a part of the unfinished message was written */
static int failure;			/* errno of the write that failed */
static const struct body_source *source;

void output_source(const struct body_source *new_source)
{
	source = new_source;
}

/*
 * As write(2) to stdout, but a descriptor that does not block is waited for. Returns 0 when a signal told us to
 * stop, so that the caller looks where; a second signal of the same kind ends the process here.
 */
static ssize_t write_some(const char *data, size_t size)
{
	struct pollfd stdout_poll = { .fd = STDOUT_FILENO, .events = POLLOUT };

	for (;;) {
		ssize_t done = write(STDOUT_FILENO, data, size);

		if (done >= 0 || (errno != EINTR && errno != EAGAIN))
			return done;
		if (errno == EAGAIN)
			poll(&stdout_poll, 1, -1);
		if (interrupted)
			return 0;
	}
}

/* Where the message ends that the byte at lies in; used if it is not in the buffer to its end. */
static size_t message_end(size_t at)
{
	size_t low = 0, high = end_count;

	if (at == 0 && !spilled)
		return 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ends[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low < end_count ? ends[low] : used;
}

/* The first size bytes of the buffer left for good. */
static void count_completed(size_t size)
{
	size_t i = end_count;

	while (i > 0 && ends[i - 1] > size)
		i--;
	completed += i;
	spilled = end_count > 0 ? ends[end_count - 1] < size : spilled || size > 0;
	end_count = 0;
	used = 0;
}

int output_flush(void)
{
	size_t written = 0;

	if (failure)
		return OUTPUT_FAILED;
	if (used > 0 && source != NULL)
		source->pause(source->handle);
	while (written < used) {
		/* After a signal the message that was begun is finished, and no other one begun. */
		size_t limit = interrupted ? message_end(written) : used;
		ssize_t done = written < limit ? write_some(buffer + written, limit - written) : -1;

		if (done < 0) {
			failure = written < limit ? errno : EINTR;
			break;
		}
		written += (size_t)done;
	}
	count_completed(written);
	return failure ? OUTPUT_FAILED : 0;
}

void output_check_reader(void)
{
	struct pollfd stdout_poll = { .fd = STDOUT_FILENO };

	if (poll(&stdout_poll, 1, 0) > 0 && stdout_poll.revents & POLLERR)
		die_by_signal(SIGPIPE);
}

size_t output_space(void)
{
	return OUTPUT_SIZE - used;
}

char *output_room(size_t size)
{
	if (OUTPUT_SIZE - used < size && output_flush() != 0)
		return NULL;
	return failure ? NULL : buffer + used;
}

void output_used(size_t size)
{
	used += size;
}

int output_bytes(const void *data, size_t size)
{
	const char *from = data;

	if (failure)
		return OUTPUT_FAILED;
	while (size > OUTPUT_SIZE - used) {
		size_t part = OUTPUT_SIZE - used;

		memcpy(buffer + used, from, part);
		used += part;
		from += part;
		size -= part;
		if (output_flush() != 0)
			return OUTPUT_FAILED;
	}
	if (size > 0)
		memcpy(buffer + used, from, size);
	used += size;
	return 0;
}

void output_message_end(void)
{
	if (failure)
		return;
	ends[end_count++] = (uint32_t)used;
	spilled = false;
	if (used >= OUTPUT_FULL || end_count == OUTPUT_ENDS)
		output_flush();
}

bool output_take_back(void)
{
	used = end_count > 0 ? ends[end_count - 1] : 0;
	return !spilled;
}

uint64_t output_completed(void)
{
	return completed;
}

int output_error(void)
{
	return failure;
}

void output_die(void)
{
	char reason[128];

	if (failure == EPIPE)
		die_by_signal(SIGPIPE);
	if (failure == EINTR && interrupted)
		die_by_signal(interrupted);
	snprintf(reason, sizeof reason, "%s", strerror(failure));
	reason[0] = (char)tolower((unsigned char)reason[0]);
	die(EXIT_IO, "standard output: %s", reason);
}
