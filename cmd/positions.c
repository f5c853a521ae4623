/* SPDX-License-Identifier: ISC */
/*
 * Positions of groups as lines of text: CHANNEL/PARTITION GROUP OFFSET. The partition always stands there, so
 * that a line means the same whatever becomes of the channel. A "#" begins a comment.
 */
#include "cmd.h"
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_ROOM = 1024 };	/* two names, two numbers and a comment */

void position_write(const char *channel, const struct lmq_group_info *info)
{
	char line[2 * LMQ_NAME_MAX + 64];
	int size = snprintf(line, sizeof line, "%s/%" PRIu32 " %s %" PRIu64 "\n", channel, info->partition,
		info->name, info->position);

	output_bytes(line, (size_t)size);
}

static _Noreturn void die_line(uint64_t line)
{
	warn("line %" PRIu64 ": not of the form CHANNEL/PARTITION GROUP OFFSET", line);
	hint("nothing was moved");
	exit(EXIT_DATA);
}

static bool number_read(const char *text, uint64_t most, uint64_t *number)
{
	*number = 0;
	if (*text == '\0')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (*number > (most - digit) / 10)
			return false;
		*number = 10 * *number + digit;
	}
	return *text == '\0';
}

static bool name_read(char name[LMQ_NAME_MAX + 1], const char *text)
{
	if (!lmq_name_valid(text))
		return false;
	strcpy(name, text);
	return true;
}

/* Takes the line apart. */
static bool position_read(char *line, struct position *position)
{
	static const char blank[] = " \t\r\n";
	char *rest, *channel = strtok_r(line, blank, &rest), *group = strtok_r(NULL, blank, &rest);
	char *offset = strtok_r(NULL, blank, &rest), *slash = strrchr(channel, '/');
	uint64_t partition = 0;

	if (offset == NULL || strtok_r(NULL, blank, &rest) != NULL || slash == NULL)
		return false;
	*slash = '\0';
	if (!number_read(slash + 1, LMQ_PARTITIONS_MAX - 1, &partition))
		return false;
	position->partition = (uint32_t)partition;
	return number_read(offset, INT64_MAX, &position->offset) && name_read(position->channel, channel) &&
		name_read(position->group, group);
}

/* What identifies a position, in the order of listings. */
static int compare(const void *left, const void *right)
{
	const struct position *a = left, *b = right;
	int order = strcmp(a->channel, b->channel);

	if (order == 0)
		order = strcmp(a->group, b->group);
	if (order == 0)
		order = (a->partition > b->partition) - (a->partition < b->partition);
	return order;
}

static int compare_with_line(const void *left, const void *right)
{
	const struct position *a = left, *b = right;
	int order = compare(left, right);

	return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static void check_once(const struct position *list, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		const struct position *p = &list[i];

		if (compare(p - 1, p) != 0)
			continue;
		warn("line %" PRIu64 ": %s/%" PRIu32 " %s stands in line %" PRIu64 " already", p->line, p->channel,
			p->partition, p->group, p[-1].line);
		hint("nothing was moved");
		exit(EXIT_DATA);
	}
}

/* The next line without its comment; false at the end. */
static bool line_read(char line[LINE_ROOM], uint64_t *number)
{
	size_t size;

	if (fgets(line, LINE_ROOM, stdin) == NULL) {
		if (ferror(stdin))
			die(EXIT_IO, "standard input: %s", strerror(errno));
		return false;
	}
	++*number;
	size = strlen(line);
	/* It ends early where it is too long, and where it holds a NUL. */
	if ((size == 0 || line[size - 1] != '\n') && !feof(stdin))
		die_line(*number);
	line[strcspn(line, "#")] = '\0';
	return true;
}

struct position *positions_read(size_t *count)
{
	struct position *list = NULL;
	char line[LINE_ROOM];
	uint64_t number = 0;
	size_t room = 0;

	*count = 0;
	while (line_read(line, &number)) {
		if (line[strspn(line, " \t\r\n")] == '\0')
			continue;
		if (*count == room) {
			room = room ? 2 * room : 64;
			list = reallocarray(list, room, sizeof *list);
			if (list == NULL)
				die(EXIT_SYSTEM, "out of memory");
		}
		list[*count].line = number;
		if (!position_read(line, &list[*count]))
			die_line(number);
		++*count;
	}
	if (*count > 1)
		qsort(list, *count, sizeof *list, compare_with_line);
	check_once(list, *count);
	return list;
}
