/* SPDX-License-Identifier: ISC */
/* Names of channels: which are valid, which are the library's own, and how alike two are. */
#include "name.h"

#include "libmq.h"

#include <string.h>

/* By hand: isalnum() follows the locale. */
static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
		|| c == '_';
}

bool lmq_name_valid(const char *name)
{
	size_t length;

	if (!name || !is_word_byte(name[0]))
		return false;
	for (length = 1; name[length]; length++) {
		char c = name[length];

		if (length == LMQ_NAME_MAX)
			return false;
		if (!is_word_byte(c) && c != '-' && c != '.')
			return false;
		if (c == '.' && name[length - 1] == '.')
			return false;
	}
	return name[length - 1] != '.';
}

bool lmq_name_reserved(const char *name)
{
	static const char ending[] = ".dead";
	size_t length = strlen(name), tail = sizeof(ending) - 1;

	return name[0] == '_' || (length >= tail && strcmp(name + length - tail, ending) == 0);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * The table of distances between all prefixes, of which three rows are enough: row[i] is the one
 * for the first i bytes of a, and a swap looks back two.
 */
size_t name_distance(const char *a, const char *b)
{
	size_t rows[3][LMQ_NAME_MAX + 1];
	size_t height = strlen(a), width = strlen(b);
	size_t *before = rows[0], *above = rows[1], *row = rows[2];

	if (height > LMQ_NAME_MAX || width > LMQ_NAME_MAX)
		return height > width ? height : width;
	for (size_t j = 0; j <= width; j++)
		row[j] = j;
	for (size_t i = 1; i <= height; i++) {
		size_t *free_row = before;

		before = above;
		above = row;
		row = free_row;
		row[0] = i;
		for (size_t j = 1; j <= width; j++) {
			size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);

			row[j] = least(least(above[j], row[j - 1]) + 1, replaced);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return row[width];
}
