/* SPDX-License-Identifier: ISC */
/*
 * Messages on their way into one channel: they gather in the library's writer and are committed
 * when it is full, when the input pauses, and at the end.
 *
 * Whatever ends the tool early, the messages before the fault are committed first and counted, so
 * that the sentence tells where to go on. With --atomic nothing is committed before the end, and
 * so nothing is left.
 */
#include "cmd.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { SENTENCE_MAX = 1024 };

/* "2 messages were sent" */
static const char *outcome(const struct outbox *outbox, char *buffer, size_t size)
{
	if (outbox->sent == 0)
		return "nothing was sent";
	snprintf(buffer, size, "%" PRIu64 " message%s sent", outbox->sent,
		outbox->sent == 1 ? " was" : "s were");
	return buffer;
}

static _Noreturn void end(const struct outbox *outbox, int status, const char *sentence,
	const char *way_out)
{
	char count[64];

	progress_break();
	warn("%s; %s", sentence, outcome(outbox, count, sizeof count));
	if (*way_out != '\0')
		hint("%s", way_out);
	finish(status);
}

/* Ends the tool with the library's sentence, committing nothing. */
static _Noreturn void end_by_store(const struct outbox *outbox, int status)
{
	const char *sentence = lmq_error(outbox->store);

	progress_break();
	/* the outcome is not known: "nothing was sent" would be a guess */
	if (status == LMQ_EUNKNOWN && outbox->sent == 0)
		die_store(outbox->store, status);
	if (*sentence == '\0')
		sentence = lmq_strerror(status);
	end(outbox, exit_status(status), sentence, lmq_hint(outbox->store));
}

/* ---- committing ---------------------------------------------------------------------------- */

static void positions_print(const struct outbox *outbox, size_t count)
{
	const char *name = lmq_channel_name(outbox->channel);
	size_t length = strlen(name);
	uint32_t partition;
	uint64_t offset;

	for (size_t i = 0; i < count; i++) {
		char *room = output_room(LMQ_NAME_MAX + 32), *to = room;

		if (room == NULL || !lmq_writer_position(outbox->writer, i, &partition, &offset))
			break;
		memcpy(to, name, length);
		to[length] = ':';
		to = decimal_put(to + length + 1, offset);
		*to++ = '\n';
		output_used((size_t)(to - room));
	}
	if (output_flush() != 0)
		output_die();
}

void outbox_commit(struct outbox *outbox)
{
	size_t count = lmq_writer_count(outbox->writer);
	int status;

	if (count == 0)
		return;
	status = lmq_writer_commit(outbox->writer);
	if (status != 0)
		end_by_store(outbox, status);
	outbox->sent += count;
	if (outbox->print_position)
		positions_print(outbox, count);
	outbox_progress(outbox);
}

void outbox_pause(struct outbox *outbox)
{
	if (!outbox->atomic)
		outbox_commit(outbox);
}

void outbox_progress(const struct outbox *outbox)
{
	progress_show(outbox->sent + lmq_writer_count(outbox->writer), outbox->bytes);
}

/* ---- the end in case of a fault ------------------------------------------------------------ */

void outbox_interrupted(struct outbox *outbox)
{
	lmq_writer_abandon(outbox->writer);
	outbox_pause(outbox);
	progress_break();
	die_by_signal(interrupted);
}

static _Noreturn void end_after_commit(struct outbox *outbox, int status, const char *sentence,
	const char *way_out)
{
	lmq_writer_abandon(outbox->writer);
	outbox_pause(outbox);
	end(outbox, status, sentence, way_out);
}

void outbox_die(struct outbox *outbox, int status, const char *format, ...)
{
	char sentence[SENTENCE_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	end_after_commit(outbox, status, sentence, "");
}

/*
 * What the writer said to a message. Sentence and hint lie in the store's handle, which the commit
 * uses too.
 */
static _Noreturn void refused(struct outbox *outbox, int status)
{
	char sentence[SENTENCE_MAX], way_out[SENTENCE_MAX];
	const char *why = lmq_error(outbox->store);

	if (status == LMQ_EINTR && interrupted)
		outbox_interrupted(outbox);
	if (*why == '\0')
		why = lmq_strerror(status);
	if (status == LMQ_EDATA && outbox->number > 0)
		snprintf(sentence, sizeof sentence, "%s %" PRIu64 ": %s", outbox->unit,
			outbox->number, why);
	else if (status == LMQ_EDATA)
		snprintf(sentence, sizeof sentence, "%s: %s", outbox->unit, why);
	else
		snprintf(sentence, sizeof sentence, "%s", why);
	snprintf(way_out, sizeof way_out, "%s", lmq_hint(outbox->store));
	end_after_commit(outbox, exit_status(status), sentence, way_out);
}

static _Noreturn void beyond_transaction(struct outbox *outbox)
{
	size_t bytes = lmq_writer_bytes(outbox->writer), unit = 1 << 20;

	/* Large bodies are stored beside the transaction and limit it by their number. */
	if (bytes < unit)
		outbox_die(outbox, EXIT_DATA,
			"input is larger than one transaction takes (%zu messages)",
			lmq_writer_count(outbox->writer));
	outbox_die(outbox, EXIT_DATA, "input is larger than one transaction takes (%zu MiB)",
		(bytes + unit - 1) / unit);
}

/* ---- adding -------------------------------------------------------------------------------- */

/* Adds or begins; a full transaction is committed first. */
static void offer(struct outbox *outbox, const struct lmq_message *message,
	int (*take)(lmq_writer *, lmq_channel *, const struct lmq_message *))
{
	int status = take(outbox->writer, outbox->channel, message);

	if (status == LMQ_ELIMIT && outbox->atomic)
		beyond_transaction(outbox);
	if (status == LMQ_ELIMIT) {
		outbox_commit(outbox);
		status = take(outbox->writer, outbox->channel, message);
	}
	if (status != 0)
		refused(outbox, status);
}

void outbox_add(struct outbox *outbox, const struct lmq_message *message)
{
	offer(outbox, message, lmq_writer_add);
	outbox->bytes += message->body.size;
}

void outbox_begin(struct outbox *outbox, const struct lmq_message *message)
{
	/* The pieces may take long to come: what came before does not wait for them. */
	outbox_pause(outbox);
	offer(outbox, message, lmq_writer_begin);
}

void outbox_write(struct outbox *outbox, const void *data, size_t size)
{
	int status = lmq_writer_write(outbox->writer, data, size);

	if (status != 0)
		refused(outbox, status);
	outbox->bytes += size;
	outbox_progress(outbox);
}

void outbox_end(struct outbox *outbox)
{
	int status = lmq_writer_end(outbox->writer);

	if (status != 0)
		refused(outbox, status);
}
