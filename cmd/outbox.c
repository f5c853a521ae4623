/* SPDX-License-Identifier: ISC */
/*
 * Messages on their way into one channel: they gather in the library's writer and are committed
 * when it is full, when the input pauses, and at the end.
 *
 * Whatever ends the tool early, the messages before the fault are committed first and counted, so
 * that the sentence tells where to go on. With --atomic nothing is committed before the end, and
 * so nothing is left. A queue that is full takes what there is room for, and the rest waits for
 * room where the command line or the queue says so.
 */
#include "cmd.h"
#include "output.h"
#include "sending.h"

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
	if (interrupted)
		die_by_signal(interrupted);
	finish(status);
}

/* Ends the tool with the library's sentence, committing nothing. */
static _Noreturn void end_by_store(const struct outbox *outbox, int status)
{
	const char *sentence = lmq_error(outbox->store);

	progress_break();
	/* the outcome is not known: "nothing was sent" would be a guess; or somebody was faster, which says it all */
	if ((status == LMQ_EUNKNOWN || status == LMQ_ECONFLICT) && outbox->sent == 0)
		die_store(outbox->store, status);
	if (*sentence == '\0')
		sentence = lmq_strerror(status);
	end(outbox, exit_status(status), sentence, lmq_hint(outbox->store));
}

/* ---- committing ---------------------------------------------------------------------------- */

/* After a signal too: what is committed is told of, unless stdout blocks and another signal comes. */
static void positions_print(const struct outbox *outbox, size_t count)
{
	int number = interrupted;
	const char *name = lmq_channel_name(outbox->channel);
	size_t length = strlen(name);
	uint32_t partition;
	uint64_t offset;

	if (number)
		interrupted = 0;
	for (size_t i = 0; i < count; i++) {
		char *room = output_room(LMQ_NAME_MAX + 48), *to = room;

		if (room == NULL || !lmq_writer_position(outbox->writer, i, &partition, &offset))
			break;
		memcpy(to, name, length);
		to += length;
		if (outbox->partitioned) {
			*to++ = '/';
			to = decimal_put(to, partition);
		}
		*to++ = ':';
		to = decimal_put(to, offset);
		*to++ = '\n';
		output_used((size_t)(to - room));
	}
	if (output_flush() != 0)
		output_die();
	if (number)
		interrupted = number;
}

/* Commits once, and counts what was stored, all or the first of it. What is expected holds for one commit. */
static int commit_once(struct outbox *outbox, int64_t deadline)
{
	size_t stored = lmq_writer_count(outbox->writer);
	int status;

	if (outbox->expect == EXPECT_OFFSET)
		lmq_writer_expect(outbox->writer, outbox->expected);
	else if (outbox->expect == EXPECT_KEY)
		lmq_writer_expect_key(outbox->writer, outbox->expected);
	if (outbox->watch != NULL && !interrupted)
		status = lmq_writer_commit_wait(outbox->writer, outbox->watch, deadline);
	else
		status = lmq_writer_commit(outbox->writer);
	if (status != 0)
		stored = outbox->atomic ? 0 : lmq_writer_committed(outbox->writer);
	outbox->sent += stored;
	if (outbox->print_position && stored > 0)
		positions_print(outbox, stored);
	return status;
}

static bool blocks_when_full(lmq_channel *channel)
{
	struct lmq_property list[LMQ_PROPERTY_MAX];
	size_t count = 0;

	if (lmq_channel_properties(channel, list, &count) != 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].name, "full") == 0)
			return strcmp(list[i].value, "block") == 0;
	}
	return false;
}

/* From now on waits for room, if that is wanted; whether it is. */
static bool waiting_start(struct outbox *outbox)
{
	int status;

	if (outbox->wait < 0 ? !blocks_when_full(outbox->channel) : outbox->wait == 0)
		return false;
	status = lmq_watch_open(outbox->store, &outbox->watch);
	if (status != 0)
		end_by_store(outbox, status);
	interrupt_catch(outbox->watch);
	return true;
}

/* Whether to try again after a commit that failed, having stored some messages or none. */
static bool goes_on(struct outbox *outbox, int status, bool some)
{
	if (interrupted)
		return false;
	if (status == LMQ_EFULL && outbox->watch == NULL)
		return waiting_start(outbox);	/* the queue's full= may have changed since the start */
	return status == LMQ_EINTR || (status == LMQ_EFULL && some);
}

/* The first message that was not stored is the one at fault. Lines without a message are not counted. */
static _Noreturn void end_by_line(struct outbox *outbox)
{
	char sentence[SENTENCE_MAX];

	snprintf(sentence, sizeof sentence, "%s %" PRIu64 ": %s", outbox->unit,
		outbox->last - lmq_writer_count(outbox->writer) + 1, lmq_error(outbox->store));
	end(outbox, EXIT_DATA, sentence, lmq_hint(outbox->store));
}

/* --mandatory: an answer rather than an error, unless a part of the input is published. */
static _Noreturn void end_unwanted(const struct outbox *outbox)
{
	char count[64];

	progress_break();
	if (outbox->sent > 0 || verbose)
		warn("%s: no group and no route would keep the message; %s", lmq_channel_name(outbox->channel),
			outcome(outbox, count, sizeof count));
	finish(EXIT_NOTHING);
}

void outbox_commit(struct outbox *outbox)
{
	int64_t patience = outbox->wait < 0 ? LMQ_FOREVER : outbox->wait;
	int64_t deadline = lmq_deadline(patience);
	uint64_t before;
	int status;

	if (lmq_writer_count(outbox->writer) == 0)
		return;
	do {
		before = outbox->sent;
		status = commit_once(outbox, deadline);
		if (outbox->sent > before)
			deadline = lmq_deadline(patience);
	} while (status != 0 && goes_on(outbox, status, outbox->sent > before));
	if (status == LMQ_EINTR && interrupted)
		outbox_interrupted(outbox);
	if (status == LMQ_EDATA && outbox->last > 0 && !outbox->atomic)
		end_by_line(outbox);
	if (status == LMQ_END && outbox->mandatory)
		end_unwanted(outbox);
	if (status != 0)
		end_by_store(outbox, status);
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
	static bool ending;	/* the last commit was interrupted too */

	lmq_writer_abandon(outbox->writer);
	if (!ending) {
		ending = true;
		outbox_pause(outbox);
	}
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

/* Whether an earlier run has sent the next message of the input, which is then skipped. */
static bool skip_next(struct outbox *outbox)
{
	if (outbox->skip == 0)
		return false;
	if (--outbox->skip == 0) {
		progress_break();
		notice("%s: %" PRIu64 " message%s sent by an earlier run", outbox->resume,
			outbox->stored, outbox->stored == 1 ? " was" : "s were");
	}
	return true;
}

/* The one whose key says what is expected. */
static void first_check(struct outbox *outbox, const struct lmq_message *message)
{
	if (outbox->expect == EXPECT_KEY && message->key.data == NULL && lmq_writer_count(outbox->writer) == 0)
		outbox_die(outbox, EXIT_DATA, "%s %" PRIu64 ": no key, which --expect-key needs", outbox->unit,
			outbox->number);
}

void outbox_add(struct outbox *outbox, const struct lmq_message *message)
{
	if (skip_next(outbox))
		return;
	first_check(outbox, message);
	offer(outbox, message, lmq_writer_add);
	outbox->bytes += message->body.size;
	outbox->last = outbox->number;
}

void outbox_begin(struct outbox *outbox, const struct lmq_message *message)
{
	outbox->skipping = skip_next(outbox);
	if (outbox->skipping)
		return;
	/* The pieces may take long to come: what came before does not wait for them. */
	outbox_pause(outbox);
	offer(outbox, message, lmq_writer_begin);
}

void outbox_write(struct outbox *outbox, const void *data, size_t size)
{
	int status;

	if (outbox->skipping)
		return;
	status = lmq_writer_write(outbox->writer, data, size);
	if (status != 0)
		refused(outbox, status);
	outbox->bytes += size;
	outbox_progress(outbox);
}

void outbox_end(struct outbox *outbox)
{
	int status;

	if (outbox->skipping)
		return;
	status = lmq_writer_end(outbox->writer);
	if (status != 0)
		refused(outbox, status);
}

/* ---- begin and end ------------------------------------------------------------------------- */

void outbox_start(struct outbox *outbox)
{
	int status = 0;

	if (!outbox->atomic)
		lmq_writer_partial(outbox->writer, true);
	/* Who is going to wait does not pass those who wait already. */
	waiting_start(outbox);
	if (outbox->resume != NULL)
		status = lmq_writer_resume(outbox->writer, outbox->channel, outbox->resume, &outbox->stored);
	if (status != 0)
		die_store(outbox->store, status);
	outbox->skip = outbox->stored;
}

void outbox_finish(struct outbox *outbox)
{
	uint64_t found = outbox->stored - outbox->skip;

	outbox_commit(outbox);
	if (outbox->skip == 0)
		return;
	progress_break();
	die(EXIT_DATA, "the input ends after %" PRIu64 " message%s, but %" PRIu64
		" were sent under '%s'", found, found == 1 ? "" : "s", outbox->stored,
		outbox->resume);
}
