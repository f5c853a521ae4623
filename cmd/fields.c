/* SPDX-License-Identifier: ISC */
/*
 * The fields of a message as JSON: the envelope.
 */
#include "output.h"

#include <string.h>

static char *put(char *to, const char *text, size_t size)
{
	memcpy(to, text, size);
	return to + size;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

/* "/3" */
static char *partition_put(char *to, uint32_t partition)
{
	*to++ = '/';
	return decimal_put(to, partition);
}

char *lease_put(char *to, const struct form *form, const struct lmq_message *message)
{
	to = put(to, form->channel, strlen(form->channel));
	if (form->partitioned)
		to = partition_put(to, message->partition);
	if (form->group != NULL) {
		*to++ = '@';
		to = put(to, form->group, strlen(form->group));
	}
	*to++ = ':';
	to = decimal_put(to, message->offset);
	*to++ = ':';
	return decimal_put(to, message->delivery);
}

char *origin_put(char *to, const struct lmq_death *death)
{
	const struct lmq_bytes *name = &death->origin;

	to = put(to, name->data, name->size < LMQ_NAME_MAX ? name->size : LMQ_NAME_MAX);
	if (death->partitioned)
		to = partition_put(to, death->partition);
	*to++ = ':';
	return decimal_put(to, death->offset);
}

static int head_write(const struct form *form, const struct lmq_message *message)
{
	char *room = output_room(LMQ_NAME_MAX + 128), *to = room;

	if (room == NULL)
		return OUTPUT_FAILED;
	to = PUT(to, "{\"channel\":\"");
	to = put(to, form->channel, strlen(form->channel));
	to = PUT(to, "\",\"offset\":");
	to = decimal_put(to, message->offset);
	if (form->partitioned) {
		to = PUT(to, ",\"partition\":");
		to = decimal_put(to, message->partition);
	}
	to = PUT(to, ",\"time\":\"");
	to = time_put(to, message->time);
	*to++ = '"';
	output_used((size_t)(to - room));
	return 0;
}

/* Begin is what stands before the field's text: ,"key":" */
static int text_write(const char *begin, const struct lmq_bytes *text)
{
	size_t size = strlen(begin);
	char *room, *to;

	if (text->size > LMQ_KEY_MAX)
		return output_bytes(begin, size) != 0 || json_text_write(text->data, text->size) != 0 ?
			OUTPUT_FAILED : output_bytes("\"", 1);
	room = output_room(size + JSON_TEXT_GROWTH * text->size + 1);
	if (room == NULL)
		return OUTPUT_FAILED;
	to = json_text_put(put(room, begin, size), text->data, text->size);
	*to++ = '"';
	output_used((size_t)(to - room));
	return 0;
}

/* A field that is absent is left out. */
static int field_write(const char *begin, const struct lmq_bytes *text)
{
	return text->data != NULL ? text_write(begin, text) : 0;
}

int headers_write(const struct lmq_message *message)
{
	for (size_t i = 0; i < message->header_count; i++) {
		const struct lmq_header *header = &message->headers[i];

		if (text_write(i == 0 ? "{\"" : ",\"", &header->name) != 0 ||
		    text_write(":\"", &header->value) != 0)
			return OUTPUT_FAILED;
	}
	return message->header_count == 0 ? output_bytes("{}", 2) : output_bytes("}", 1);
}

static int delivery_write(const struct form *form, const struct lmq_message *message)
{
	char *room = output_room(LEASE_TEXT_MAX + 64), *to = room;

	if (room == NULL)
		return OUTPUT_FAILED;
	to = PUT(to, ",\"attempt\":");
	to = decimal_put(to, message->attempt);
	to = PUT(to, ",\"lease\":\"");
	to = lease_put(to, form, message);
	*to++ = '"';
	output_used((size_t)(to - room));
	return 0;
}

static int ttl_write(int64_t ttl)
{
	char text[LMQ_VALUE_MAX];
	struct lmq_bytes bytes;

	if (ttl <= 0)
		return 0;
	lmq_duration_format(ttl, text);
	bytes = (struct lmq_bytes){ text, strlen(text) };
	return text_write(",\"ttl\":\"", &bytes);
}

/* begin: ,"attempts": */
static char *count_put(char *to, const char *begin, uint64_t count)
{
	return decimal_put(put(to, begin, strlen(begin)), count);
}

static char *moment_put(char *to, const char *begin, int64_t time)
{
	if (time == 0)
		return to;
	to = time_put(put(to, begin, strlen(begin)), time);
	*to++ = '"';
	return to;
}

int history_write(const struct lmq_history *history)
{
	char *room = output_room(512), *to = room;

	if (room == NULL)
		return OUTPUT_FAILED;
	to = count_put(to, ",\"attempts\":", history->attempts);
	to = count_put(to, ",\"failures\":", history->failures);
	to = count_put(to, ",\"crashes\":", history->crashes);
	to = count_put(to, ",\"timeouts\":", history->timeouts);
	to = moment_put(to, ",\"first_time\":\"", history->first_time);
	to = moment_put(to, ",\"last_time\":\"", history->last_time);
	if (history->signal > 0)
		to = count_put(to, ",\"signal\":", (uint64_t)history->signal);
	else if (history->exit_status >= 0)
		to = count_put(to, ",\"exit\":", (uint64_t)history->exit_status);
	output_used((size_t)(to - room));
	if (history->error.size == 0)
		return 0;
	/* the end of what a command wrote: any bytes */
	if (output_bytes(",\"error\":\"", 10) != 0 ||
	    bytes_write(BODY_JSON_ANY, history->error.data, history->error.size) != 0)
		return OUTPUT_FAILED;
	return output_bytes("\"", 1);
}

/* Why a dead letter is dead, and where it came from. */
static int death_write(const struct lmq_death *death)
{
	char text[LMQ_NAME_MAX + 48];
	const char *name = lmq_reason_name(death->history.reason);
	struct lmq_bytes reason = { name, strlen(name) };
	struct lmq_bytes origin = { text, (size_t)(origin_put(text, death) - text) };

	if (text_write(",\"reason\":\"", &reason) != 0 || text_write(",\"origin\":\"", &origin) != 0)
		return OUTPUT_FAILED;
	if (death->group.data != NULL && text_write(",\"group\":\"", &death->group) != 0)
		return OUTPUT_FAILED;
	return history_write(&death->history);
}

static int fields_write(const struct form *form, const struct lmq_message *message)
{
	char priority[] = ",\"priority\":4";

	if (field_write(",\"id\":\"", &message->id) != 0 || field_write(",\"key\":\"", &message->key) != 0)
		return OUTPUT_FAILED;
	if (message->header_count > 0 &&
	    (output_bytes(",\"headers\":", 11) != 0 || headers_write(message) != 0))
		return OUTPUT_FAILED;
	priority[sizeof priority - 2] = (char)('0' + message->priority % 10);
	if (field_write(",\"type\":\"", &message->type) != 0 ||
	    output_bytes(priority, sizeof priority - 1) != 0 || ttl_write(message->ttl) != 0 ||
	    field_write(",\"reply_to\":\"", &message->reply_to) != 0 ||
	    field_write(",\"correlation\":\"", &message->correlation) != 0)
		return OUTPUT_FAILED;
	if (message->tombstone && output_bytes(",\"tombstone\":true", 17) != 0)
		return OUTPUT_FAILED;
	if (form->delivery && delivery_write(form, message) != 0)
		return OUTPUT_FAILED;
	if (form->delivery_state != NULL && delivery_state_write(form->delivery_state) != 0)
		return OUTPUT_FAILED;
	return message->death != NULL ? death_write(message->death) : 0;
}

int envelope_write(const struct form *form, const struct lmq_message *message,
	const struct body_source *source)
{
	const struct lmq_bytes *body = &message->body;
	int status;
	bool text;

	if (head_write(form, message) != 0 || fields_write(form, message) != 0)
		return OUTPUT_FAILED;
	if (form->kind == FORM_JSON_DATA && body->data != NULL && json_valid(body->data, body->size))
		return output_bytes(",\"data\":", 8) != 0 ||
			json_compact_write(body->data, body->size) != 0 ? OUTPUT_FAILED :
			output_bytes("}", 1);
	text = body_is_text(message, source, &status);
	if (status != 0)
		return status;
	if (text)
		output_bytes(",\"body\":\"", 9);
	else
		output_bytes(",\"body_base64\":\"", 16);
	status = body_write(text ? BODY_JSON : BODY_BASE64, message, source);
	return status != 0 ? status : output_bytes("\"}", 2);
}
