/* SPDX-License-Identifier: ISC */
/*
 * The environment of commands: ours, less what an outer mq-exec has left there, and what there is to say
 * about the message.
 *
 * Everything that a message says about itself stands behind a name that begins with MQ_, so whatever its
 * sender wrote, no other variable is set. The text of a message has a limit, so it fits into a room of
 * fixed size.
 */
#include "exec.h"

#include <stdlib.h>
#include <string.h>

#define HEADER "MQ_HEADER_"

enum {
	NAME_MAX_BYTES = sizeof HEADER + LMQ_FIELD_MAX,
	VARIABLES_MAX = LMQ_HEADERS_MAX + 16,	/* of a message */
	ROOM = LMQ_FIELDS_MAX + VARIABLES_MAX * 16 + LEASE_TEXT_MAX + 512,
};

static char **list;		/* those that stay, those of the message, NULL */
static size_t fixed, used;	/* entries of list */
static char room[ROOM];
static size_t room_used;
static struct form form;	/* for leases */

/* ---- those that stay ------------------------------------------------------------------------- */

static bool is_inherited(const char *variable)
{
	return strncmp(variable, "MQ_", 3) != 0 || strncmp(variable, "MQ_SYNC=", 8) == 0;
}

static void fixed_add(const char *name, const char *value)
{
	if (asprintf(&list[fixed++], "%s=%s", name, value) < 0)
		die(EXIT_SYSTEM, "out of memory");
}

void variables_prepare(const struct work *work, const char *store)
{
	size_t count = 0;
	char *path = realpath(store, NULL);

	form.channel = work->channel;
	form.group = work->group;
	while (environ[count] != NULL)
		count++;
	list = calloc(count + 3 + VARIABLES_MAX + 1, sizeof *list);
	if (list == NULL)
		die(EXIT_SYSTEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		if (is_inherited(environ[i]))
			list[fixed++] = environ[i];
	}
	fixed_add("MQ_STORE", path != NULL ? path : store);
	fixed_add("MQ_CHANNEL", work->channel);
	if (work->group != NULL)
		fixed_add("MQ_GROUP", work->group);
	free(path);
}

/* ---- those of a message ---------------------------------------------------------------------- */

static void add(const char *name, const char *value, size_t size)
{
	size_t length = strlen(name), whole = length + 1 + size + 1;
	char *text = room + room_used;

	if (used == fixed + VARIABLES_MAX || whole > sizeof room - room_used)
		return;
	memcpy(text, name, length);
	text[length] = '=';
	memcpy(text + length + 1, value, size);
	text[whole - 1] = '\0';
	room_used += whole;
	list[used++] = text;
	list[used] = NULL;
}

static void add_field(const char *name, const struct lmq_bytes *field)
{
	if (field->data != NULL)
		add(name, field->data, field->size);
}

static void add_number(const char *name, uint64_t number)
{
	char digits[20];
	const char *end = decimal_put(digits, number);

	add(name, digits, (size_t)(end - digits));
}

static void add_lease(const struct lmq_message *message)
{
	char lease[LEASE_TEXT_MAX];
	const char *end = lease_put(lease, &form, message);

	add("MQ_LEASE", lease, (size_t)(end - lease));
}

/* "X-Trace" becomes "MQ_HEADER_X_TRACE". */
static void header_name(char *name, const struct lmq_bytes *header)
{
	size_t size = header->size < LMQ_FIELD_MAX ? header->size : LMQ_FIELD_MAX;

	name = stpcpy(name, HEADER);
	for (size_t i = 0; i < size; i++) {
		char c = header->data[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		*name++ = (char)((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_');
	}
	*name = '\0';
}

/* Of headers whose names become the same the first one counts, whichever a shell would take. */
static void add_headers(const struct lmq_message *message)
{
	char name[NAME_MAX_BYTES];
	size_t first = used;

	for (size_t i = 0; i < message->header_count; i++) {
		size_t k = first, size;

		header_name(name, &message->headers[i].name);
		size = strlen(name);
		while (k < used && (strncmp(list[k], name, size) != 0 || list[k][size] != '='))
			k++;
		if (k == used)
			add_field(name, &message->headers[i].value);
	}
}

char *const *variables_for(const struct lmq_message *message, bool partitioned, const char *attempts_most)
{
	char time[LMQ_VALUE_MAX];
	const char *time_end = time_put(time, message->time);

	used = fixed;
	room_used = 0;
	form.partitioned = partitioned;
	if (partitioned)
		add_number("MQ_PARTITION", message->partition);
	add_number("MQ_OFFSET", message->offset);
	add("MQ_TIME", time, (size_t)(time_end - time));
	add_number("MQ_ATTEMPT", message->attempt);
	if (*attempts_most != '\0')
		add("MQ_MAX_ATTEMPTS", attempts_most, strlen(attempts_most));
	add_lease(message);
	add_field("MQ_KEY", &message->key);
	add_field("MQ_TYPE", &message->type);
	add_field("MQ_ID", &message->id);
	add_field("MQ_REPLY_TO", &message->reply_to);
	add_field("MQ_CORRELATION", &message->correlation);
	add_headers(message);
	return list;
}

void variables_count(uint64_t messages)
{
	add_number("MQ_COUNT", messages);
}
