/* SPDX-License-Identifier: ISC */
/* Messages that are to outlive the snapshot that they lie in: copied into memory that grows as needed. */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

static size_t text_size(const struct lmq_message *m)
{
	size_t size = m->key.size + m->type.size + m->id.size + m->reply_to.size + m->correlation.size;

	for (size_t i = 0; i < m->header_count; i++)
		size += m->headers[i].name.size + m->headers[i].value.size;
	if (m->death != NULL)
		size += m->death->origin.size + m->death->history.error.size;
	return m->body.data != NULL ? size + m->body.size : size;
}

static char *text_keep(char *to, struct lmq_bytes *bytes)
{
	if (bytes->data == NULL)
		return to;
	if (bytes->size > 0)
		memcpy(to, bytes->data, bytes->size);
	bytes->data = to;
	return to + bytes->size;
}

static char *headers_keep(char *to, struct lmq_header *headers, const struct lmq_message *m)
{
	for (size_t i = 0; i < m->header_count; i++) {
		headers[i] = m->headers[i];
		to = text_keep(to, &headers[i].name);
		to = text_keep(to, &headers[i].value);
	}
	return to;
}

/* The room begins with the headers and the death, which are aligned there. */
void message_keep(struct kept *kept, const struct lmq_message *message)
{
	size_t headers = message->header_count * sizeof *message->headers;
	size_t fixed = headers + sizeof *message->death, need = fixed + text_size(message);
	struct lmq_message *m = &kept->message;
	struct lmq_death *death;
	char *to;

	if (need > kept->size) {
		free(kept->room);
		kept->size = need + 1024;
		kept->room = malloc(kept->size);
		if (kept->room == NULL)
			die(EXIT_SYSTEM, "out of memory");
	}
	*m = *message;
	to = headers_keep(kept->room + fixed, (struct lmq_header *)(void *)kept->room, message);
	m->headers = (struct lmq_header *)(void *)kept->room;
	to = text_keep(to, &m->key);
	to = text_keep(to, &m->type);
	to = text_keep(to, &m->id);
	to = text_keep(to, &m->reply_to);
	to = text_keep(to, &m->correlation);
	to = text_keep(to, &m->body);
	if (message->death == NULL)
		return;
	death = (struct lmq_death *)(void *)(kept->room + headers);
	*death = *message->death;
	to = text_keep(to, &death->origin);
	text_keep(to, &death->history.error);
	m->death = death;
}
