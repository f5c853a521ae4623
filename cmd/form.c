/* SPDX-License-Identifier: ISC */
/*
 * A message becomes bytes: its body and a delimiter, the JSON envelope, or what a template says.
 */
#include "cmd.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- options -------------------------------------------------------------------------------- */

static void delimit(struct form *form, const char *delimiter, size_t size)
{
	form->delimiter = delimiter;
	form->delimiter_size = size;
	if (form->kind == FORM_RAW)
		form->kind = FORM_BODY;
}

static enum form_kind kind_named(const char *name)
{
	if (strcmp(name, "body") == 0)
		return FORM_BODY;
	if (strcmp(name, "json") == 0)
		return FORM_JSON;
	if (strcmp(name, "json-data") == 0)
		return FORM_JSON_DATA;
	die_usage("--output: '%s' is not body, json or json-data", name);
}

bool form_option(struct form *form, int key, const char *argument)
{
	size_t size;

	switch (key) {
	case 'j':
		form->kind = FORM_JSON;
		return true;
	case '0':
		delimit(form, "", 1);
		return true;
	case 'd':
		argument = escapes_decode("--delimiter", argument, &size);
		delimit(form, argument, size);
		return true;
	case 'r':
		form->kind = FORM_RAW;
		form->delimiter = NULL;
		return true;
	case 'F':
		form->kind = FORM_TEMPLATE;
		form->template = template_compile(argument);
		return true;
	case 'o':
		form->kind = kind_named(argument);
		return true;
	}
	return false;
}

void form_ready(struct form *form)
{
	bool people = form->delimiter == NULL && isatty(STDOUT_FILENO);

	form->escape = people && (form->kind == FORM_BODY || form->kind == FORM_TEMPLATE);
	if (form->delimiter != NULL)
		return;
	form->delimiter_size = form->kind == FORM_RAW || form->kind == FORM_TEMPLATE ? 0 : 1;
	form->delimiter = "\n";
}

/* ---- numbers and times ------------------------------------------------------------------------ */

char *decimal_put(char *to, uint64_t number)
{
	char digits[20], *first = digits + sizeof digits;

	do
		*--first = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	for (; first < digits + sizeof digits; first++)
		*to++ = *first;
	return to;
}

/* Exactly count digits, led by zeros. */
static char *digits_put(char *to, int number, int count)
{
	for (int i = count - 1; i >= 0; i--, number /= 10)
		to[i] = (char)('0' + number % 10);
	return to + count;
}

/* "2026-01-24T10:11:12." */
static void second_put(char *to, time_t second)
{
	struct tm tm;

	gmtime_r(&second, &tm);
	to = digits_put(to, tm.tm_year + 1900, 4);
	*to++ = '-';
	to = digits_put(to, tm.tm_mon + 1, 2);
	*to++ = '-';
	to = digits_put(to, tm.tm_mday, 2);
	*to++ = 'T';
	to = digits_put(to, tm.tm_hour, 2);
	*to++ = ':';
	to = digits_put(to, tm.tm_min, 2);
	*to++ = ':';
	to = digits_put(to, tm.tm_sec, 2);
	*to = '.';
}

/* Messages share seconds: the last one's text is kept. */
char *time_put(char *to, int64_t time)
{
	static char text[20];
	static int64_t text_second = INT64_MIN;
	int64_t second = time / 1000000000, rest = time % 1000000000;

	if (rest < 0) {
		rest += 1000000000;
		second--;
	}
	if (second != text_second) {
		second_put(text, (time_t)second);
		text_second = second;
	}
	memcpy(to, text, sizeof text);
	to = digits_put(to + sizeof text, (int)rest, 9);
	*to++ = 'Z';
	return to;
}

/* ---- messages --------------------------------------------------------------------------------- */

/* A field that is absent stays absent. Returns behind its bytes. */
static char *field_copy(char *to, struct lmq_bytes *field)
{
	if (field->data == NULL)
		return to;
	if (field->size > 0)
		memcpy(to, field->data, field->size);
	field->data = to;
	return to + field->size;
}

/* A copy of a message in memory of our own, which outlives a flush; until the next one. */
static const struct lmq_message *message_copy(const struct lmq_message *message, size_t size)
{
	static struct lmq_message copy;
	static struct lmq_header headers[LMQ_HEADERS_MAX];
	static struct lmq_death death;
	static char *room;
	static size_t room_size;
	struct lmq_bytes *fields[] = { &copy.key, &copy.type, &copy.id, &copy.reply_to,
		&copy.correlation, &copy.body, &death.origin, &death.group, &death.history.error };
	char *to;

	if (size > room_size) {
		free(room);
		room_size = size + 4096;
		room = malloc(room_size);
		if (room == NULL)
			die(EXIT_SYSTEM, "out of memory");
	}
	to = room;
	copy = *message;
	copy.headers = headers;
	death = message->death != NULL ? *message->death : (struct lmq_death){ 0 };
	copy.death = message->death != NULL ? &death : NULL;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		to = field_copy(to, fields[i]);
	for (size_t i = 0; i < copy.header_count; i++) {
		headers[i] = message->headers[i];
		to = field_copy(to, &headers[i].name);
		to = field_copy(to, &headers[i].value);
	}
	return &copy;
}

/* Bytes of everything that lies in the library's memory. */
static size_t message_size(const struct lmq_message *message)
{
	size_t size = message->key.size + message->type.size + message->id.size +
		message->reply_to.size + message->correlation.size;

	for (size_t i = 0; i < message->header_count; i++)
		size += message->headers[i].name.size + message->headers[i].value.size;
	if (message->death != NULL)
		size += message->death->origin.size + message->death->group.size + message->death->history.error.size;
	return message->body.data != NULL ? size + message->body.size : size;
}

/* The message itself if it can be written without a flush in between, else a copy. */
static const struct lmq_message *message_kept(const struct form *form, const struct lmq_message *message)
{
	size_t size = message_size(message);
	size_t most = JSON_TEXT_GROWTH * size + 16 * message->header_count + 8 * LMQ_NAME_MAX + 2048;
	bool whole = message->body.data != NULL || message->body.size == 0;

	if (form->delivery_state != NULL)
		most += DELIVERY_STATE_MAX;
	if (whole && form->kind != FORM_TEMPLATE && most <= output_space())
		return message;
	return message_copy(message, size);
}

static int body_plain_write(const struct form *form, const struct lmq_bytes *body)
{
	size_t size = body->size + form->delimiter_size;
	char *room;

	if (size > 64 << 10)
		return output_bytes(body->data, body->size) != 0 ? OUTPUT_FAILED :
			output_bytes(form->delimiter, form->delimiter_size);
	room = output_room(size);
	if (room == NULL)
		return OUTPUT_FAILED;
	memcpy(room, body->data, body->size);
	if (form->delimiter_size == 1)
		room[body->size] = *form->delimiter;
	else
		memcpy(room + body->size, form->delimiter, form->delimiter_size);
	output_used(size);
	return 0;
}

static int other_write(const struct form *form, const struct lmq_message *message,
	const struct body_source *source)
{
	enum body_form shape = form->escape ? BODY_SHOWN : BODY_PLAIN;
	int status;

	if (form->kind >= FORM_JSON || message->body.data != NULL)
		message = message_kept(form, message);
	if (form->kind == FORM_TEMPLATE)
		status = template_write(form->template, form, message, source);
	else if (form->kind >= FORM_JSON)
		status = envelope_write(form, message, source);
	else
		status = body_write(shape, message, source);
	return status != 0 ? status : output_bytes(form->delimiter, form->delimiter_size);
}

int form_write(const struct form *form, const struct lmq_message *message,
	const struct body_source *source)
{
	int status;

	if (form->kind <= FORM_RAW && !form->escape && message->body.data != NULL &&
	    message->body.size <= output_space())
		status = body_plain_write(form, &message->body);
	else
		status = other_write(form, message, source);
	if (status != 0)
		return status;
	output_message_end();
	return output_error() != 0 ? OUTPUT_FAILED : 0;
}
