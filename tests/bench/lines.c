/* SPDX-License-Identifier: ISC */
/*
 * lines COUNT SIZE: so many lines of SIZE bytes and a newline, numbered at the front. What follows the
 * number is letters in an order that does not repeat soon, so that nobody wins by compressing.
 */
#include "bench.h"

static void fill(char *line, size_t size, size_t number)
{
	static uint64_t state = 88172645463325252u;
	char digits[24];
	int length = snprintf(digits, sizeof digits, "%zu ", number);
	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
		}
		line[i] = (char)('a' + (state >> (8 * (i % 8)) & 15));
	}
	memcpy(line, digits, (size_t)length < size ? (size_t)length : size);
	line[size] = '\n';
}

int main(int argc, char **argv)
{
	if (argc != 3)
		bench_die("lines", "COUNT SIZE");
	size_t count = bench_number(argv[1]), size = bench_number(argv[2]);
	char *line = bench_alloc(size + 1, 1);
	setvbuf(stdout, NULL, _IOFBF, 1 << 18);
	for (size_t i = 0; i < count; i++) {
		fill(line, size, i);
		if (fwrite(line, 1, size + 1, stdout) != size + 1)
			bench_die("lines", "cannot write");
	}
	free(line);
	return fflush(stdout) ? 1 : 0;
}
