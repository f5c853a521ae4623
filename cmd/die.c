/* SPDX-License-Identifier: ISC */
/*
 * Errors and the end of a tool: one line for one fault, one exit status for one kind of fault.
 *
 * A line goes to stderr in a single write, so that lines of several processes never mix. What it
 * quotes comes from anywhere: control bytes are shown escaped, and a line stays one line.
 */
#include "cmd.h"
#include "output.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = (WARNING_MAX - 64) / 4 };

const char *tool_name = "mq";
bool quiet;
bool verbose;

static bool is_control(const unsigned char *at)
{
	/* U+0080 to U+009F steer terminals too; in UTF-8 they are C2 80 to C2 9F. */
	return *at < 0x20 || *at == 0x7f || (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f);
}

static size_t escape(char *line, const char *text)
{
	size_t used = 0;

	for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
		if (is_control(at))
			used += (size_t)sprintf(line + used, "\\x%02x", *at);
		else
			line[used++] = (char)*at;
	}
	return used;
}

static size_t compose(char line[WARNING_MAX], const char *what, const char *format, va_list arguments)
{
	char text[TEXT_MAX];
	int size = vsnprintf(text, sizeof text, format, arguments);
	size_t used;

	if (size < 0)
		return 0;
	if ((size_t)size >= sizeof text)
		memcpy(text + sizeof text - 4, "...", 4);
	used = (size_t)snprintf(line, 64, "%.32s: %s", tool_name, what);
	used += escape(line + used, text);
	line[used++] = '\n';
	return used;
}

static void say(const char *what, const char *format, va_list arguments)
{
	char line[WARNING_MAX];
	int saved = errno;
	size_t used = compose(line, what, format, arguments);
	ssize_t done;

	if (used == 0)
		return;
	do
		done = write(STDERR_FILENO, line, used);
	while (done < 0 && errno == EINTR);
	errno = saved;
}

void warn(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say("", format, arguments);
	va_end(arguments);
}

void hint(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say("hint: ", format, arguments);
	va_end(arguments);
}

size_t warning_compose(char line[WARNING_MAX], const char *what, const char *format, ...)
{
	va_list arguments;
	size_t used;

	va_start(arguments, format);
	used = compose(line, what, format, arguments);
	va_end(arguments);
	return used;
}

void notice(const char *format, ...)
{
	va_list arguments;

	if (quiet)
		return;
	va_start(arguments, format);
	say("", format, arguments);
	va_end(arguments);
}

void die(int status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say("", format, arguments);
	va_end(arguments);
	_exit(status);
}

void die_usage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say("", format, arguments);
	va_end(arguments);
	hint("try %s --help", tool_name);
	_exit(EXIT_USAGE);
}

int exit_status(int lmq_status)
{
	switch ((enum lmq_status)lmq_status) {
	case LMQ_OK:
		return EXIT_SUCCESS;
	case LMQ_END:
	case LMQ_ETIME:
		return EXIT_NOTHING;
	case LMQ_ELOST:
	case LMQ_ECONFLICT:
		return EXIT_NO;
	case LMQ_EINVAL:
	case LMQ_EKIND:
		return EXIT_USAGE;
	case LMQ_EDATA:
	case LMQ_ELIMIT:
		return EXIT_DATA;
	case LMQ_ENOENT:
	case LMQ_EGONE:
		return EXIT_NOINPUT;
	case LMQ_EEXIST:
	case LMQ_ECREATE:
		return EXIT_CANTCREATE;
	case LMQ_EIO:
	case LMQ_EUNKNOWN:
	case LMQ_ENOSPC:
		return EXIT_IO;
	case LMQ_EFULL:
	case LMQ_EBUSY:
		return EXIT_AGAIN;
	case LMQ_EACCES:
		return EXIT_PERMISSION;
	case LMQ_EFORMAT:
		return EXIT_CONFIG;
	case LMQ_EINTR:
	case LMQ_ENOMEM:
	case LMQ_ESYSTEM:
		return EXIT_SYSTEM;
	case LMQ_EDAMAGED:
	case LMQ_EFORK:
	case LMQ_EBUG:
		break;
	}
	return EXIT_SOFTWARE;
}

void warn_store(lmq_store *store)
{
	if (store == NULL || *lmq_error(store) == '\0')
		return;
	warn("%s", lmq_error(store));
	if (*lmq_hint(store) != '\0')
		hint("%s", lmq_hint(store));
}

void die_store(lmq_store *store, int lmq_status)
{
	if (lmq_status == LMQ_EINTR && interrupted)
		die_by_signal(interrupted);
	if (store == NULL || *lmq_error(store) == '\0')
		warn("%s", lmq_strerror(lmq_status));
	else
		warn_store(store);
	_exit(exit_status(lmq_status));
}

/* Some file systems tell only in close() that a write was lost. */
static void close_stdout(void)
{
	char reason[128];

	if (close(STDOUT_FILENO) == 0 || errno == EINTR)
		return;
	snprintf(reason, sizeof reason, "%s", strerror(errno));
	reason[0] = (char)tolower((unsigned char)reason[0]);
	die(EXIT_IO, "standard output: %s", reason);
}

void finish(int status)
{
	if (output_flush() != 0)
		output_die();
	close_stdout();
	exit(status);
}

void die_by_signal(int number)
{
	sigset_t set;

	signal(number, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(number);
	_exit(128 + number);	/* only for a signal that ends no process */
}
