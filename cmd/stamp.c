/* SPDX-License-Identifier: ISC */
/*
 * What every message of mq-send and mq-pub carries but its body, as the command line says it.
 *
 * Checks here what the library would say only when the channel was created.
 */
#include "cmd.h"
#include "output.h"
#include "sending.h"

#include <string.h>

static struct lmq_bytes field(struct stamp *stamp, const char *option, const char *text, size_t size,
	size_t most)
{
	stamp->bytes += size;
	if (size > most)
		die_usage("--%s: longer than %zu bytes", option, most);
	if (!utf8_valid_text(text, size))
		die_usage("--%s: not valid UTF-8", option);
	if (stamp->bytes > LMQ_FIELDS_MAX)
		die_usage("--%s: key, headers and the like are longer than %d bytes", option,
			LMQ_FIELDS_MAX);
	return (struct lmq_bytes){ text, size };
}

static struct lmq_bytes short_field(struct stamp *stamp, const char *option, const char *text)
{
	return field(stamp, option, text, strlen(text), LMQ_FIELD_MAX);
}

static void header_set(struct stamp *stamp, const char *text)
{
	const char *sign = strchr(text, '=');
	size_t size = sign != NULL ? (size_t)(sign - text) : 0;
	struct lmq_header *header = &stamp->headers[stamp->message.header_count];

	if (size == 0)
		die_usage("--header: '%s' is not NAME=VALUE", text);
	if (stamp->message.header_count == LMQ_HEADERS_MAX)
		die_usage("--header: more than %d headers", LMQ_HEADERS_MAX);
	header->name = field(stamp, "header", text, size, LMQ_FIELD_MAX);
	header->value = field(stamp, "header", sign + 1, strlen(sign + 1), LMQ_FIELDS_MAX);
	for (size_t i = 0; i < stamp->message.header_count; i++) {
		struct lmq_bytes other = stamp->headers[i].name;

		if (other.size == size && memcmp(other.data, text, size) == 0)
			die_usage("--header: '%.*s' is given twice", (int)size, text);
	}
	stamp->message.headers = stamp->headers;
	stamp->message.header_count++;
}

/* When the messages may be delivered, and which first; false if it is another option. */
static bool delivery_option(struct stamp *stamp, int key, const char *argument)
{
	struct lmq_message *message = &stamp->message;

	switch (key) {
	case 'p':
		message->priority = (int)argument_number("--priority", argument, 0, LMQ_PRIORITY_MAX);
		return true;
	case 'T':
		message->ttl = argument_duration("--ttl", argument);
		if (message->ttl == 0)
			die_usage("--ttl: '%s' leaves no time for a delivery", argument);
		return true;
	case 'D':
		message->delay = argument_duration("--delay", argument);
		if (message->delay == LMQ_FOREVER)
			die_usage("--delay: a message that is held back forever is never delivered");
		stamp->delayed = true;
		return true;
	case OPTION_AT:
		message->not_before = argument_time("--at", argument);
		stamp->timed = true;
		return true;
	}
	return false;
}

bool stamp_option(struct stamp *stamp, int key, const char *argument)
{
	struct lmq_message *message = &stamp->message;

	switch (key) {
	case 'k':
		message->key = field(stamp, "key", argument, strlen(argument), LMQ_KEY_MAX);
		return true;
	case 'H':
		header_set(stamp, argument);
		return true;
	case OPTION_TYPE:
		message->type = short_field(stamp, "type", argument);
		return true;
	case OPTION_ID:
		message->id = short_field(stamp, "id", argument);
		return true;
	case OPTION_REPLY_TO:
		message->reply_to = short_field(stamp, "reply-to", argument);
		return true;
	case OPTION_CORRELATION:
		message->correlation = short_field(stamp, "correlation", argument);
		return true;
	case OPTION_TOMBSTONE:
		message->tombstone = true;
		return true;
	}
	return delivery_option(stamp, key, argument);
}
