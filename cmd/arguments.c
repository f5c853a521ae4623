/* SPDX-License-Identifier: ISC */
/* The arguments of a command with the body in them (-I): as it is, wherever the replace string stands. */
#include "exec.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *room;		/* the body, then all arguments */
static size_t room_size;
static char **list;

static char *room_make(size_t size)
{
	if (size > room_size) {
		free(room);
		room_size = size + 4096;
		room = malloc(room_size);
		if (room == NULL)
			die(EXIT_SYSTEM, "out of memory");
	}
	return room;
}

/* Copies the body to where it is given; false with *status if it cannot be had. */
static bool body_copy(char *to, const struct lmq_message *message, lmq_receiver *receiver, int *status)
{
	struct lmq_bytes piece = message->body;

	if (piece.data != NULL) {
		memcpy(to, piece.data, piece.size);
		return true;
	}
	for (uint64_t at = 0; at < message->body.size; at += piece.size) {
		*status = lmq_receiver_body(receiver, at, &piece);
		if (*status != 0 || piece.size == 0 || piece.size > message->body.size - at)
			return false;
		memcpy(to + at, piece.data, piece.size);
	}
	return true;
}

/* Bytes of the argument with the body put in, and the end mark. */
static size_t replaced_size(const char *argument, const struct work *work, size_t body)
{
	size_t old = strlen(work->replace), size = strlen(argument) + 1;

	while ((argument = strstr(argument, work->replace)) != NULL) {
		size += body - old;	/* modulo the size of the type, which is what is meant */
		argument += old;
	}
	return size;
}

static char *replaced_put(char *to, const char *argument, const struct work *work, const char *body,
	size_t size)
{
	const char *found;

	while ((found = strstr(argument, work->replace)) != NULL) {
		to = mempcpy(to, argument, (size_t)(found - argument));
		to = mempcpy(to, body, size);
		argument = found + strlen(work->replace);
	}
	return stpcpy(to, argument) + 1;
}

static void list_make(const struct work *work)
{
	size_t count = 0;

	while (work->command[count] != NULL)
		count++;
	list = calloc(count + 1, sizeof *list);
	if (list == NULL)
		die(EXIT_SYSTEM, "out of memory");
}

/* What the system takes for all arguments together; above that nothing has to be tried. */
static size_t most(void)
{
	long limit = sysconf(_SC_ARG_MAX);

	return limit > 0 ? (size_t)limit : 128 << 10;
}

char *const *arguments_for(const struct work *work, const struct lmq_message *message, lmq_receiver *receiver,
	const char **why, int *status)
{
	size_t size = (size_t)message->body.size, whole = size;
	char *to;

	if (list == NULL)
		list_make(work);
	*why = "the body is too large for an argument";
	for (size_t i = 1; size < most() && work->command[i] != NULL && whole < most(); i++)
		whole += replaced_size(work->command[i], work, size);
	if (size >= most() || whole >= most())
		return NULL;
	to = room_make(whole);
	if (!body_copy(to, message, receiver, status))
		return NULL;
	*why = "the body has a NUL byte, which no argument can hold";
	if (memchr(to, '\0', size) != NULL)
		return NULL;
	to += size;
	list[0] = work->command[0];
	for (size_t i = 1; work->command[i] != NULL; i++) {
		list[i] = to;
		to = replaced_put(to, work->command[i], work, room, size);
	}
	return list;
}
