/* SPDX-License-Identifier: ISC */
/*
 * Options: one table feeds getopt_long, --help and the completion test. getopt's own messages are
 * off; ours are one line, and a hint instead of the whole help.
 */
#include "cmd.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	ROWS_MAX = 64,
	HELP_LINES = 24,
	HELP_COLUMNS = 80,
	OPERAND = 1,		/* what getopt calls an operand that it was told to stop at */
	OPERANDS_MAX = 4,	/* more than any tool has before its options end */
};

/* The five that every tool has. */
static const struct option_row common_rows[] = {
	{ 'h', "help", NULL, "" },
	{ 'V', "version", NULL, "" },
	{ 's', "store", "S", "" },
	{ 'q', "quiet", NULL, "" },
	{ 'v', "verbose", NULL, "" },
	{ 0, NULL, NULL, NULL },
};
static const char common_help[] =
	"  -s, --store=S  -q, --quiet  -v, --verbose  -h, --help  -V, --version";

/* ---- help ----------------------------------------------------------------------------------- */

static void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void print(const char *format, ...)
{
	char line[512];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (size > 0)
		output_bytes(line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
}

static size_t lines_of(const char *text)
{
	size_t lines = 1;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

/* "-k, --key=P"; a long one without a letter is set in under the other long ones. */
static int row_spell(const struct option_row *row, char *buffer, size_t size)
{
	const char *argument = row->argument != NULL ? row->argument : "";
	const char *sign = row->argument != NULL ? "=" : "";

	if (row->key > 255)
		return snprintf(buffer, size, "    --%s%s%s", row->name, sign, argument);
	return snprintf(buffer, size, "-%c, --%s%s%s", row->key, row->name, sign, argument);
}

/* Options without help, as many as fit in a line. Returns the lines it takes; shown: print them. */
static size_t listed_rows(const struct option_row *rows, bool shown)
{
	char spelled[HELP_COLUMNS];
	int column = 0;
	size_t lines = 0;

	for (; rows->key; rows++) {
		const char *first = spelled;
		int size;

		if (*rows->help != '\0')
			continue;
		row_spell(rows, spelled, sizeof spelled);
		first += strspn(first, " ");
		size = (int)strlen(first) + 2;
		if (shown && column > 0 && column + size > HELP_COLUMNS)
			print("\n");
		if (column == 0 || column + size > HELP_COLUMNS)
			lines++, column = 0;
		if (shown)
			print("  %s", first);
		column += size;
	}
	if (shown && lines > 0)
		print("\n");
	return lines;
}

static void print_rows(const struct option_row *rows)
{
	char spelled[HELP_COLUMNS];
	int width = 0;

	for (const struct option_row *row = rows; row->key; row++) {
		int size = row_spell(row, spelled, sizeof spelled);

		width = *row->help != '\0' && size > width ? size : width;
	}
	for (const struct option_row *row = rows; row->key; row++) {
		row_spell(row, spelled, sizeof spelled);
		if (*row->help != '\0')
			print("  %-*s  %s\n", width, spelled, row->help);
	}
	listed_rows(rows, true);
	print("%s\n", common_help);
}

static void print_synopsis(const char *synopsis)
{
	const char *lead = "usage:";

	while (*synopsis) {
		int size = (int)strcspn(synopsis, "\n");

		print("%s %.*s\n", lead, size, synopsis);
		lead = "      ";
		synopsis += size + (synopsis[size] == '\n');
	}
}

/* A screen of help: what does not fit gives way, first gaps, then examples from the last. */
static void print_help(const struct tool *tool)
{
	size_t rows = listed_rows(tool->options, false), examples = 0, lines;
	const char *gap = "\n";

	for (const struct option_row *row = tool->options; row->key; row++)
		rows += *row->help != '\0';
	while (tool->examples != NULL && tool->examples[examples])
		examples++;
	lines = lines_of(tool->synopsis) + 1 + rows + 1 + examples;
	if (lines + 3 > HELP_LINES)
		gap = "";
	while (lines > HELP_LINES && examples > 1)
		examples--, lines--;
	print_synopsis(tool->synopsis);
	print("%s\n%s", tool->purpose, gap);
	print_rows(tool->options);
	print("%s", *gap ? "\nexamples:\n" : "");
	for (size_t i = 0; i < examples; i++)
		print("  %s\n", tool->examples[i]);
}

/* ---- parsing -------------------------------------------------------------------------------- */

/* getopt's two views of the table. */
struct grammar {
	struct option longs[ROWS_MAX + 1];
	char shorts[2 * ROWS_MAX + 3];
	size_t count, used;
};

static void grammar_add(struct grammar *grammar, const struct option_row *rows)
{
	for (; rows->key && grammar->count < ROWS_MAX; rows++) {
		bool takes = rows->argument != NULL;

		grammar->longs[grammar->count++] = (struct option){
			.name = rows->name,
			.has_arg = takes ? required_argument : no_argument,
			.val = rows->key,
		};
		if (rows->key > 255)
			continue;
		grammar->shorts[grammar->used++] = (char)rows->key;
		if (takes)
			grammar->shorts[grammar->used++] = ':';
	}
}

/* How many long options the word on the command line may stand for. */
static size_t candidates(const struct grammar *grammar, const char *word)
{
	size_t size, found = 0;

	if (strncmp(word, "--", 2) != 0)
		return 0;
	word += 2;
	size = strcspn(word, "=");
	for (size_t i = 0; i < grammar->count; i++)
		found += strncmp(grammar->longs[i].name, word, size) == 0;
	return found;
}

static const struct option *by_key(const struct grammar *grammar, int key)
{
	for (size_t i = 0; i < grammar->count; i++)
		if (grammar->longs[i].val == key)
			return &grammar->longs[i];
	return NULL;
}

/* getopt answers '?' for four faults; optopt and the word tell which. */
static _Noreturn void die_option(const struct grammar *grammar, const char *word)
{
	const struct option *option = optopt != 0 ? by_key(grammar, optopt) : NULL;

	if (option != NULL)
		die_usage("--%s: option takes no argument", option->name);
	if (optopt != 0)
		die_usage("-%c: unrecognized option", optopt);
	if (candidates(grammar, word) > 1)
		die_usage("%.*s: ambiguous option", (int)strcspn(word, "="), word);
	die_usage("%.*s: unrecognized option", (int)strcspn(word, "="), word);
}

static _Noreturn void die_no_argument(const struct grammar *grammar, int key)
{
	const struct option *option = by_key(grammar, key);

	die_usage("--%s: option needs an argument", option != NULL ? option->name : "?");
}

/* Makes 0 to 2 open, so that no store file lands there. They fail when used, as closed ones do. */
static void keep_standard_descriptors(void)
{
	static const int wrong_way[] = { O_WRONLY, O_RDONLY, O_RDONLY };

	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", wrong_way[fd]) != fd)
			_exit(EXIT_SYSTEM);
}

/* One of the five common options; false if it is another. */
static bool common_option(const struct tool *tool, int key)
{
	switch (key) {
	case 'h':
		print_help(tool);
		finish(EXIT_SUCCESS);
	case 'V':
		print("%s (mq) %s\n", tool->name, LMQ_VERSION);
		finish(EXIT_SUCCESS);
	case 's':
		store_option = optarg;
		return true;
	case 'q':
		quiet = true;
		return true;
	case 'v':
		verbose = true;
		return true;
	}
	return false;
}

/* The operands that were seen go to where those that were not looked at begin; the index of the first. */
static int operands_place(char **argv, char *const operands[], int count, int rest)
{
	for (int i = 0; i < count; i++)
		argv[rest - count + i] = operands[i];
	return rest - count;
}

int options_parse(const struct tool *tool, int argc, char **argv,
	void (*handle)(int key, char *argument))
{
	struct grammar grammar = { .shorts = ":" };
	char *operands[OPERANDS_MAX];
	int key, seen = 0;

	tool_name = tool->name;
	keep_standard_descriptors();
	signal(SIGXFSZ, SIG_IGN);	/* a file-size limit is an error of a write, not a death */
	if (tool->operands_before > 0)
		strcpy(grammar.shorts, "-:");	/* tell of operands where they stand */
	grammar.used = strlen(grammar.shorts);
	grammar_add(&grammar, tool->options);
	grammar_add(&grammar, common_rows);
	opterr = 0;
	while ((key = getopt_long(argc, argv, grammar.shorts, grammar.longs, NULL)) != -1) {
		if (key == OPERAND && seen == tool->operands_before)
			return operands_place(argv, operands, seen, optind - 1);
		if (key == OPERAND) {
			operands[seen++] = optarg;
			continue;
		}
		if (key == '?')
			die_option(&grammar, argv[optind - 1]);
		if (key == ':')
			die_no_argument(&grammar, optopt);
		if (!common_option(tool, key))
			handle(key, optarg);
	}
	return operands_place(argv, operands, seen, optind < argc ? optind : argc);
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* Takes "count", "n", "--count" and "-n" alike. */
static _Noreturn void die_argument(const char *option, const char *text, const char *grammar)
{
	const char *dashes = *option == '-' ? "" : strlen(option) == 1 ? "-" : "--";

	die_usage("%s%s: '%s' is not %s", dashes, option, text, grammar);
}

uint64_t argument_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
	char grammar[96], *end = NULL;
	unsigned long long number = 0;
	bool valid = *text >= '0' && *text <= '9';	/* strtoull takes signs and blanks */

	if (valid) {
		errno = 0;
		number = strtoull(text, &end, 10);
		valid = errno == 0 && *end == '\0' && number >= least && number <= most;
	}
	if (valid)
		return number;
	if (most < INT64_MAX)
		snprintf(grammar, sizeof grammar, "a number from %" PRIu64 " to %" PRIu64, least,
			most);
	else
		snprintf(grammar, sizeof grammar, "a number from %" PRIu64 " on", least);
	die_argument(option, text, grammar);
}

uint64_t argument_size(const char *option, const char *text)
{
	uint64_t size;

	if (lmq_size_parse(text, &size) != 0)
		die_argument(option, text, "a size, such as 512, 64K, 1.5G, 10MB");
	return size;
}

int64_t argument_duration(const char *option, const char *text)
{
	int64_t duration;

	if (lmq_duration_parse(text, &duration) != 0)
		die_argument(option, text, "a duration, such as 250ms, 90, 2h30m, 7d, forever");
	return duration;
}

int64_t argument_time(const char *option, const char *text)
{
	int64_t time;

	if (lmq_time_parse(text, lmq_now(), &time) != 0)
		die_argument(option, text,
			"a time, such as today, 14:30, 2026-01-24T10:11:12Z, @EPOCH, -2h");
	return time;
}

double argument_rate(const char *option, const char *text)
{
	static const struct { const char *unit; double seconds; } units[] = {
		{ "", 1 }, { "/s", 1 }, { "/m", 60 }, { "/h", 3600 }, { "/d", 86400 },
	};
	char *end = NULL;
	double rate = 0;

	if (strspn(text, "0123456789.") > 0)	/* strtod takes signs, blanks, "inf" and "nan" */
		rate = strtod(text, &end);
	for (size_t i = 0; end != NULL && i < sizeof units / sizeof *units; i++)
		if (strcmp(end, units[i].unit) == 0 && isfinite(rate) && rate > 0)
			return rate / units[i].seconds;
	die_argument(option, text, "a rate, such as 100/s, 6000/m, 100");
}
