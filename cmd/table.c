/* SPDX-License-Identifier: ISC */
/*
 * Rows for people and for programs. Cells are gathered first, as a column's width depends on all
 * rows.
 */
#include "cmd.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum cell_kind { CELL_TEXT, CELL_NUMBER, CELL_JSON };

struct cell {
	enum cell_kind kind;
	char *text;	/* as shown; NULL: nothing known */
	char *json;	/* CELL_JSON */
	uint64_t number;
};

struct table {
	enum table_kind kind;
	const char *const *columns;
	size_t column_count;
	struct cell *cells;	/* row by row */
	size_t count, room;
};

static void *checked(void *memory)
{
	if (memory == NULL)
		die(EXIT_SYSTEM, "out of memory");
	return memory;
}

static char *copy(const char *text)
{
	return text != NULL ? checked(strdup(text)) : NULL;
}

struct table *table_new(enum table_kind kind, const char *const columns[], size_t count)
{
	struct table *table = checked(calloc(1, sizeof *table));

	table->kind = kind;
	table->columns = columns;
	table->column_count = count;
	return table;
}

static struct cell *next_cell(struct table *table, enum cell_kind kind)
{
	struct cell *cell;

	if (table->count == table->room) {
		table->room = table->room ? 2 * table->room : 256;
		cell = reallocarray(table->cells, table->room, sizeof *cell);
		table->cells = checked(cell);
	}
	cell = &table->cells[table->count++];
	*cell = (struct cell){ .kind = kind };
	return cell;
}

void table_text(struct table *table, const char *text)
{
	next_cell(table, CELL_TEXT)->text = copy(text);
}

void table_number(struct table *table, uint64_t number, const char *shown)
{
	struct cell *cell = next_cell(table, CELL_NUMBER);
	char digits[24];

	snprintf(digits, sizeof digits, "%" PRIu64, number);
	/* Programs get the number itself, whatever people are shown. */
	cell->text = copy(table->kind == TABLE_TABLE && shown != NULL ? shown : digits);
	cell->number = number;
}

void table_json(struct table *table, const char *text, const char *json)
{
	struct cell *cell = next_cell(table, CELL_JSON);

	cell->text = copy(text);
	cell->json = copy(json);
}

/* "5m": one unit, of which there are at least two, so that the age is off by less than half. */
static const char *short_age(int64_t age, char *buffer, size_t room)
{
	int64_t seconds = age > 0 ? age / 1000000000 : 0;

	if (seconds < 120)
		snprintf(buffer, room, "%ds", (int)seconds);
	else if (seconds < 120 * 60)
		snprintf(buffer, room, "%dm", (int)(seconds / 60));
	else if (seconds < 48 * 3600)
		snprintf(buffer, room, "%dh", (int)(seconds / 3600));
	else
		snprintf(buffer, room, "%lldd", (long long)(seconds / 86400));
	return buffer;
}

void table_time(struct table *table, int64_t time, int64_t now)
{
	char buffer[LMQ_VALUE_MAX];

	if (time == 0)
		table_text(table, NULL);
	else if (table->kind == TABLE_TABLE)
		table_text(table, short_age(now - time, buffer, sizeof buffer));
	else
		table_text(table, lmq_time_format(time, buffer));
}

static void put(const char *text)
{
	output_bytes(text, strlen(text));
}

static void put_spaces(size_t count)
{
	while (count-- > 0)
		output_bytes(" ", 1);
}

static const char *shown(const struct cell *cell)
{
	return cell->text != NULL ? cell->text : "-";
}

static size_t width_of(const struct table *table, size_t column)
{
	size_t width = strlen(table->columns[column]);

	for (size_t i = column; i < table->count; i += table->column_count) {
		size_t size = strlen(shown(&table->cells[i]));

		width = size > width ? size : width;
	}
	return width;
}

static void put_aligned(const char *text, size_t width, bool right, bool last)
{
	size_t fill = width - strlen(text);

	put_spaces(right ? fill : 0);
	put(text);
	if (last)
		put("\n");
	else
		put_spaces((right ? 0 : fill) + 2);
}

static void print_aligned(const struct table *table)
{
	size_t columns = table->column_count;
	size_t *widths = checked(calloc(columns, sizeof *widths));

	for (size_t i = 0; i < columns; i++)
		widths[i] = width_of(table, i);
	/* A heading stands as the cells of its column do. */
	for (size_t i = 0; i < columns; i++)
		put_aligned(table->columns[i], widths[i], table->cells[i].kind == CELL_NUMBER,
			i + 1 == columns);
	for (size_t i = 0; i < table->count; i++)
		put_aligned(shown(&table->cells[i]), widths[i % columns],
			table->cells[i].kind == CELL_NUMBER, i % columns + 1 == columns);
	free(widths);
}

static void print_plain(const struct table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		put(shown(&table->cells[i]));
		put((i + 1) % table->column_count != 0 ? "\t" : "\n");
	}
}

static void print_json(const struct table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct cell *cell = &table->cells[i];
		size_t column = i % table->column_count;

		put(column == 0 ? "{" : ",");
		json_string_write(table->columns[column], strlen(table->columns[column]));
		put(":");
		if (cell->kind == CELL_JSON)
			put(cell->json != NULL ? cell->json : "null");
		else if (cell->text == NULL)
			put("null");
		else if (cell->kind == CELL_NUMBER)
			put(cell->text);
		else
			json_string_write(cell->text, strlen(cell->text));
		if (column + 1 == table->column_count)
			put("}\n");
	}
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		free(table->cells[i].text);
		free(table->cells[i].json);
	}
	free(table->cells);
	free(table);
}

void table_print(struct table *table)
{
	/* Only whole rows: a row begun and not ended is dropped. */
	table->count -= table->count % table->column_count;
	if (table->count == 0)
		;	/* not even a heading */
	else if (table->kind == TABLE_TABLE)
		print_aligned(table);
	else if (table->kind == TABLE_PLAIN)
		print_plain(table);
	else
		print_json(table);
	table_free(table);
}
