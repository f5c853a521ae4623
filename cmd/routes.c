/* SPDX-License-Identifier: ISC */
/*
 * Rows about routes. People see the conditions as the options that they were given with; in JSON they are the fields
 * key, headers and any.
 */
#include "cmd.h"
#include "output.h"

#include <stdlib.h>
#include <string.h>

struct table *routes_table(enum table_kind kind)
{
	static const char *const columns[] = { "number", "source", "destination", "conditions" };
	static const char *const fields[] = { "number", "source", "destination", "key", "headers", "any" };

	if (kind == TABLE_JSON)
		return table_new(kind, fields, sizeof fields / sizeof *fields);
	return table_new(kind, columns, sizeof columns / sizeof *columns);
}

/* "-k KEY -m NAME=GLOB -m NAME=GLOB --any", for free(); "" without conditions. */
static char *conditions_of(const struct lmq_route *route)
{
	const char *gap = "";
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream == NULL)
		die(EXIT_SYSTEM, "out of memory");
	if (route->key != NULL) {
		fprintf(stream, "-k %s", route->key);
		gap = " ";
	}
	for (size_t i = 0; i < route->header_count; i++) {
		fprintf(stream, "%s-m %s", gap, route->headers[i]);
		gap = " ";
	}
	if (route->any)
		fprintf(stream, "%s--any", gap);
	if (fclose(stream) != 0)
		die(EXIT_SYSTEM, "out of memory");
	return text;
}

static void conditions_cell(struct table *table, const struct lmq_route *route)
{
	char *conditions = conditions_of(route);

	table_text(table, *conditions != '\0' ? conditions : NULL);
	free(conditions);
}

/* An array of strings "NAME=GLOB". */
static void headers_cell(struct table *table, const struct lmq_route *route)
{
	size_t room = sizeof "[]";
	char *json, *to;

	for (size_t i = 0; i < route->header_count; i++)
		room += JSON_TEXT_GROWTH * strlen(route->headers[i]) + sizeof "\"\",";
	to = json = malloc(room);
	if (json == NULL)
		die(EXIT_SYSTEM, "out of memory");
	*to++ = '[';
	for (size_t i = 0; i < route->header_count; i++) {
		if (i > 0)
			*to++ = ',';
		*to++ = '"';
		to = json_text_put(to, route->headers[i], strlen(route->headers[i]));
		*to++ = '"';
	}
	*to++ = ']';
	*to = '\0';
	table_json(table, NULL, json);
	free(json);
}

void route_row(struct table *table, enum table_kind kind, const struct lmq_route *route)
{
	table_number(table, route->number, NULL);
	table_text(table, route->source);
	table_text(table, route->destination);
	if (kind != TABLE_JSON) {
		conditions_cell(table, route);
		return;
	}
	table_text(table, route->key);
	headers_cell(table, route);
	table_json(table, NULL, route->any ? "true" : "false");
}
