/* SPDX-License-Identifier: ISC */
/* Offsets as operands: "1041", or "1041-1050" with both ends. */
#include "cmd.h"
#include "delivery.h"

#include <stdlib.h>
#include <string.h>

static _Noreturn void die_offset(const char *text)
{
	die_usage("%s: not an offset, such as 1041, nor a range of them, such as 1041-1050", text);
}

/* Takes digits; *text is moved behind them. */
static uint64_t number_take(const char **text, const char *operand)
{
	uint64_t number = 0;

	if (**text < '0' || **text > '9')
		die_offset(operand);
	for (; **text >= '0' && **text <= '9'; ++*text) {
		uint64_t digit = (uint64_t)(**text - '0');

		if (number > (INT64_MAX - 1 - digit) / 10)
			die_offset(operand);
		number = 10 * number + digit;
	}
	return number;
}

static struct offsets offsets_parse(const char *operand)
{
	const char *at = operand;
	struct offsets offsets;

	offsets.first = number_take(&at, operand);
	offsets.end = offsets.first + 1;
	if (*at == '-') {
		at++;
		offsets.end = number_take(&at, operand) + 1;
	}
	if (*at != '\0' || offsets.end <= offsets.first)
		die_offset(operand);
	return offsets;
}

struct offsets *offsets_operands(char **operands, size_t count)
{
	struct offsets *list = calloc(count + 1, sizeof *list);

	if (list == NULL)
		die(EXIT_SYSTEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		list[i] = offsets_parse(operands[i]);
	return list;
}
