/* SPDX-License-Identifier: ISC */
/*
 * Escapes in the arguments of options: \n \t \0 \\ \xHH.
 */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int escape_read(const char **at)
{
	int high, low;

	switch (*(*at)++) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case '0':
		return '\0';
	case '\\':
		return '\\';
	case 'x':
		high = hex_digit((*at)[0]);
		low = high < 0 ? -1 : hex_digit((*at)[1]);
		*at += 2;
		return low < 0 ? -1 : high * 16 + low;
	}
	return -1;
}

char *escapes_decode(const char *option, const char *text, size_t *size)
{
	char *decoded = malloc(strlen(text) + 1), *to = decoded;

	if (decoded == NULL)
		die(EXIT_SYSTEM, "out of memory");
	for (const char *at = text; *at != '\0'; ) {
		int byte = (unsigned char)*at++;

		if (byte == '\\')
			byte = escape_read(&at);
		if (byte < 0)
			die_usage("%s: '%s' has a backslash that is none of \\n \\t \\0 \\\\ \\xHH",
				option, text);
		*to++ = (char)byte;
	}
	*size = (size_t)(to - decoded);
	return decoded;
}
