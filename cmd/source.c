/* SPDX-License-Identifier: ISC */
/*
 * Where messages come from: an operand, a file, standard input. Each becomes messages in the
 * outbox that carry the outbox's fields.
 */
#include "cmd.h"
#include "input.h"
#include "sending.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *reason_text(int error, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s", strerror(error));
	buffer[0] = (char)tolower((unsigned char)buffer[0]);
	return buffer;
}

static int reason_status(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return EXIT_NOINPUT;
	case EACCES:
	case EPERM:
		return EXIT_PERMISSION;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return EXIT_SYSTEM;
	}
	return EXIT_IO;
}

static _Noreturn void read_failed(struct outbox *outbox, const char *source, int error)
{
	char reason[128];

	outbox_die(outbox, reason_status(error), "%s: cannot read: %s", source,
		reason_text(error, reason, sizeof reason));
}

void file_check(const char *name)
{
	struct stat status;
	char reason[128];
	int error = 0;

	if (strcmp(name, "-") == 0)
		return;
	if (stat(name, &status) != 0 || access(name, R_OK) != 0)
		error = errno;
	else if (S_ISDIR(status.st_mode))
		error = EISDIR;
	if (error != 0)
		die(reason_status(error), "%s: cannot read: %s", name,
			reason_text(error, reason, sizeof reason));
}

/* An id from the command line is for one message. */
static void id_used(struct outbox *outbox, const struct lmq_message *message)
{
	static bool used;

	if (message->id.data == NULL || message->id.data != outbox->message.id.data)
		return;
	if (used)
		outbox_die(outbox, EXIT_DATA,
			"%s %" PRIu64 ": --id names one message, not this one too", outbox->unit,
			outbox->number);
	used = true;
}

static bool is_blank(const char *line, size_t size)
{
	while (size > 0 && strchr(" \t\r", line[size - 1]) != NULL && line[size - 1] != '\0')
		size--;
	return size == 0;
}

/* What cannot be held back is refused, rather than published early. */
static void hold_back_check(struct outbox *outbox, struct lmq_message *message)
{
	enum lmq_kind kind = lmq_channel_kind(outbox->channel);

	if (message->not_before == 0 || kind == LMQ_QUEUE)
		return;
	if (message->not_before > lmq_now())
		outbox_die(outbox, EXIT_DATA,
			"line %" PRIu64 ": not_before is not over, and a %s holds nothing back",
			outbox->number, lmq_kind_name(kind));
	message->not_before = 0;
}

static void envelope_send(struct outbox *outbox, char *line, size_t size)
{
	static struct envelope envelope;

	if (is_blank(line, size))
		return;
	if (!envelope_read(&envelope, line, size, &outbox->message))
		outbox_die(outbox, EXIT_DATA, "line %" PRIu64 ": %s", outbox->number,
			envelope.error);
	hold_back_check(outbox, &envelope.message);
	id_used(outbox, &envelope.message);
	outbox_add(outbox, &envelope.message);
}

/* One message that lies there whole. */
static void message_send(struct outbox *outbox, const char *data, size_t size)
{
	outbox->message.body = (struct lmq_bytes){ data, size };
	id_used(outbox, &outbox->message);
	outbox_add(outbox, &outbox->message);
}

/* A piece of a message that does not fit into memory; the first one begins it. */
static void piece_send(struct outbox *outbox, bool first, bool last, const char *data, size_t size)
{
	if (first) {
		outbox->message.body = (struct lmq_bytes){ NULL, 0 };
		id_used(outbox, &outbox->message);
		outbox_begin(outbox, &outbox->message);
	}
	outbox_write(outbox, data, size);
	if (last)
		outbox_end(outbox);
}

/* Sends what the input holds, committing whenever it pauses. */
static void input_send(struct outbox *outbox, struct input *input, const char *source)
{
	bool within = false;	/* a message that is sent in pieces */
	char *data;
	size_t size;

	for (;;) {
		int event = input_next(input, &data, &size);

		if (event <= INPUT_LAST && !within && input->kind != INPUT_RAW)
			outbox->number++;
		switch (event) {
		case INPUT_MESSAGE:
			if (input->kind == INPUT_JSON)
				envelope_send(outbox, data, size);
			else
				message_send(outbox, data, size);
			break;
		case INPUT_PART:
		case INPUT_LAST:
			piece_send(outbox, !within, event == INPUT_LAST, data, size);
			within = event == INPUT_PART;
			break;
		case INPUT_PAUSE:
			/* what came before a message half sent was committed when it began */
			if (!within)
				outbox_pause(outbox);
			outbox_progress(outbox);
			break;
		case INPUT_INTERRUPTED:
			outbox_interrupted(outbox);
		case INPUT_LONG:
			outbox_die(outbox, EXIT_DATA,
				"line %" PRIu64 ": longer than %zu MiB, the most an envelope may be",
				outbox->number + 1, INPUT_LINE_MAX >> 20);
		case INPUT_ERROR:
			read_failed(outbox, source, input->error);
		case INPUT_END:
			return;
		}
	}
}

static void descriptor_send(struct outbox *outbox, struct input *input, int descriptor,
	const char *source)
{
	if (!input_open(input, descriptor))
		read_failed(outbox, source, ENOMEM);
	input->patience = progress_wanted() ? 1000 : -1;
	input_send(outbox, input, source);
	input_close(input);
}

void file_send(struct outbox *outbox, const char *name)
{
	struct input whole = { .kind = INPUT_RAW };
	bool is_stdin = strcmp(name, "-") == 0;
	int descriptor = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);

	outbox->unit = is_stdin ? "stdin" : name;
	outbox->number = 0;
	if (descriptor < 0 && errno == EINTR && interrupted)
		outbox_interrupted(outbox);
	if (descriptor < 0)
		read_failed(outbox, name, errno);
	descriptor_send(outbox, &whole, descriptor, outbox->unit);
	if (!is_stdin)
		close(descriptor);
}

void stdin_send(struct outbox *outbox, struct input *input)
{
	static const char *const units[] = {
		[INPUT_LINES] = "line", [INPUT_DELIMITER] = "message", [INPUT_RAW] = "stdin",
		[INPUT_JSON] = "line",
	};

	outbox->unit = units[input->kind];
	descriptor_send(outbox, input, STDIN_FILENO, "stdin");
}

void body_send(struct outbox *outbox, const char *body, uint64_t number)
{
	outbox->unit = "body";
	outbox->number = number;
	if (interrupted)
		outbox_interrupted(outbox);
	message_send(outbox, body, strlen(body));
}
