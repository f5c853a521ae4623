/* SPDX-License-Identifier: ISC */
/*
 * Progress on stderr: messages, bytes where they are counted, and the rate since the start. On a
 * terminal one line that is written over, at most four times a second; elsewhere, if asked for, a
 * line a second.
 */
#include "cmd.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static bool wanted;
static bool insisted;		/* by --progress */
static bool terminal;
static int64_t started;
static int64_t next;		/* when the line may be shown again */
static int shown;		/* columns of the line that stands there; 0: none */

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

void progress_start(bool forced)
{
	terminal = isatty(STDERR_FILENO);
	insisted = forced;
	wanted = forced || (terminal && !quiet);
	started = now();
	next = started + (forced && terminal ? SECOND / 4 : SECOND);
}

bool progress_wanted(void)
{
	return wanted;
}

/* Three digits and a prefix: "1.24 M". */
static const char *rounded(double number, double step, const char *const prefixes[], char *buffer,
	size_t size)
{
	size_t i = 0;

	for (; number >= 999.5 && prefixes[i + 1] != NULL; i++)
		number /= step;
	snprintf(buffer, size, "%.*f%s", number >= 100 || i == 0 ? 0 : number >= 10 ? 1 : 2, number,
		prefixes[i]);
	return buffer;
}

static void line_write(int64_t at, uint64_t messages, uint64_t bytes, const char *end)
{
	static const char *const sizes[] = { " B", " KiB", " MiB", " GiB", " TiB", " PiB", NULL };
	static const char *const rates[] = { "", " k", " M", " G", NULL };
	double seconds = (double)(at > started ? at - started : 1) / (double)SECOND;
	char line[192], size[32], rate[32];
	int columns = snprintf(line, sizeof line, "%s: %" PRIu64 " message%s%s%s, %s/s",
		tool_name, messages, messages == 1 ? "" : "s", bytes > 0 ? ", " : "",
		bytes > 0 ? rounded((double)bytes, 1024, sizes, size, sizeof size) : "",
		rounded((double)messages / seconds, 1000, rates, rate, sizeof rate));
	int blanks = shown > columns ? shown - columns : 0;
	char whole[320];
	int length = snprintf(whole, sizeof whole, "%s%s%*s%s", terminal ? "\r" : "",
		line, blanks, "", end);

	shown = terminal ? columns : 0;
	/* nobody is helped by an error about this */
	if (write(STDERR_FILENO, whole, (size_t)length) < 0)
		wanted = false;
}

void progress_show(uint64_t messages, uint64_t bytes)
{
	int64_t at;

	if (!wanted || (at = now()) < next)
		return;
	next = at + (terminal ? SECOND / 4 : SECOND);
	line_write(at, messages, bytes, terminal ? "" : "\n");
}

void progress_end(uint64_t messages, uint64_t bytes)
{
	if (wanted && (insisted || shown > 0))
		line_write(now(), messages, bytes, "\n");
	wanted = false;
	shown = 0;
}

void progress_break(void)
{
	if (shown > 0 && write(STDERR_FILENO, "\n", 1) < 0)
		wanted = false;
	shown = 0;
}
