/* SPDX-License-Identifier: ISC */
/*
 * mq-route: connect topics and streams to other channels. What is published to a channel that a source
 * pattern matches is stored in the destination too, in the publisher's transaction.
 *
 * Idempotent, as mq-make: adding a route that is there already is fine, and says nothing.
 */
#include "cmd.h"
#include "output.h"
#include "reading.h"
#include "sending.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char synopsis[] =
	"mq-route [OPTION]... [SOURCE-PATTERN DEST]\n"
	"mq-route [OPTION]... --remove NUMBER...\n"
	"mq-route [OPTION]... --remove SOURCE-PATTERN DEST\n"
	"mq-route [OPTION]... --test=NAME";

enum { OPTION_ANY = OPTION_TOOL, OPTION_NO_CREATE, OPTION_REMOVE, OPTION_TEST };

static const struct option_row options[] = {
	{ 'k', "key", "P", "only messages whose key matches P; with --test their key" },
	{ 'm', "match", "N=GLOB", "only messages whose header N matches" },
	{ OPTION_ANY, "any", NULL, "one of several -m is enough" },
	{ OPTION_NO_CREATE, "no-create", NULL, "a missing DEST is an error" },
	{ OPTION_REMOVE, "remove", NULL, "remove routes" },
	{ OPTION_TEST, "test", "NAME", "print where a message published to NAME would go" },
	{ 'H', "header", "N=V", "with --test: its header N has the value V" },
	{ 'o', "output", "M", "of the list: table, plain or json" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-route orders billing",
	"mq-route -m region=eu -k 'customer.#' 'orders.#' eu.orders",
	"mq-route --test=orders -H region=eu",
	NULL,
};

static const struct tool tool = {
	.name = "mq-route",
	.synopsis = synopsis,
	.purpose = "Copy what topics and streams get to other channels; list these routes.",
	.options = options,
	.examples = examples,
};

static struct lmq_route asked;		/* -k -m --any */
static const char **headers;
static struct stamp message = { .message = LMQ_MESSAGE_INIT };	/* -k -H, for --test */
static bool no_create, remove_them;
static const char *test;
static enum table_kind output = TABLE_TABLE;
static bool output_set;

static void *checked(void *memory)
{
	if (memory == NULL)
		die(EXIT_SYSTEM, "out of memory");
	return memory;
}

static void condition_add(const char *text)
{
	headers = checked(reallocarray(headers, asked.header_count + 1, sizeof *headers));
	headers[asked.header_count++] = text;
	asked.headers = headers;
}

static void handle(int key, char *argument)
{
	switch (key) {
	case 'k':
		if (asked.key != NULL)
			die_usage("--key: only one can be given");
		asked.key = argument;
		break;
	case 'm':
		condition_add(argument);
		break;
	case 'H':
		stamp_option(&message, key, argument);
		break;
	case 'o':
		output = table_argument(argument);
		output_set = true;
		break;
	case OPTION_ANY:
		asked.any = true;
		break;
	case OPTION_NO_CREATE:
		no_create = true;
		break;
	case OPTION_REMOVE:
		remove_them = true;
		break;
	case OPTION_TEST:
		test = argument;
		break;
	}
}

static bool has_conditions(void)
{
	return asked.key != NULL || asked.header_count > 0;
}

static void number_write(uint32_t number)
{
	char line[24];

	output_bytes(line, (size_t)snprintf(line, sizeof line, "%" PRIu32 "\n", number));
}

/* ---- adding --------------------------------------------------------------------------------- */

static void check_name(const char *name)
{
	if (!lmq_name_valid(name))
		die_usage("%s: not the name of a channel", name);
}

/* Nothing is created by a command line that is wrong in one place. */
static void check_conditions(void)
{
	struct selection selection = { .wait = -1 };
	const char *reason;

	if (lmq_pattern_valid(asked.source, &reason) != 0)
		die_usage("%s: not a pattern: %s", asked.source, reason);
	if (lmq_pattern_literal(asked.source))
		check_name(asked.source);
	check_name(asked.destination);
	if (asked.key != NULL)
		selection_option(&selection, 'k', asked.key);
	for (size_t i = 0; i < asked.header_count; i++)
		selection_option(&selection, 'm', headers[i]);
	lmq_filter_close(selection.filter);
}

/* A destination that is missing becomes a queue, unless it would be its own source. */
static void destination_open(lmq_store *store)
{
	unsigned flags = no_create || strcmp(asked.source, asked.destination) == 0 ? 0 : LMQ_CREATE;
	lmq_channel *channel = NULL;
	int status = lmq_channel_open(store, asked.destination, LMQ_ANY, 0, &channel);

	if (status == LMQ_ENOENT && flags != 0)
		channel = channel_open(store, asked.destination, LMQ_QUEUE, flags);
	else if (status != 0)
		die_store(store, status);
	lmq_channel_close(channel);
}

static void add(void)
{
	lmq_store *store;
	bool added;
	int status;

	check_conditions();
	store = store_open(no_create ? 0 : LMQ_CREATE);
	destination_open(store);
	status = lmq_route_add(store, &asked, &added);
	if (status != 0)
		die_store(store, status);
	if (verbose)
		number_write(asked.number);
	lmq_store_close(store);
}

/* ---- removing ------------------------------------------------------------------------------- */

static bool is_number(const char *text)
{
	return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static bool has_header(const struct lmq_route *route, const char *condition)
{
	for (size_t i = 0; i < route->header_count; i++)
		if (strcmp(route->headers[i], condition) == 0)
			return true;
	return false;
}

/* With conditions only the route that has just these. */
static bool is_meant(const struct lmq_route *route)
{
	bool match = strcmp(route->source, asked.source) == 0 &&
		strcmp(route->destination, asked.destination) == 0;

	if (!match || !has_conditions())
		return match;
	match = (route->key == NULL) == (asked.key == NULL) && route->header_count == asked.header_count;
	if (match && asked.key != NULL)
		match = strcmp(route->key, asked.key) == 0;
	for (size_t i = 0; match && i < asked.header_count; i++)
		match = has_header(route, headers[i]);
	return match;
}

/* The exit status that this one asks for. */
static int remove_route(lmq_store *store, uint32_t number)
{
	int status = lmq_route_remove(store, number);

	if (status != 0)
		warn_store(store);
	else if (verbose)
		number_write(number);
	return exit_status(status);
}

static int remove_between(lmq_store *store)
{
	struct lmq_route *list = NULL;
	size_t count = 0, found = 0;
	int status = lmq_route_list(store, &list, &count), worst = EXIT_SUCCESS;

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++) {
		if (!is_meant(&list[i]))
			continue;
		status = remove_route(store, list[i].number);
		worst = worst ? worst : status;
		found++;
	}
	lmq_route_free(list);
	if (found > 0)
		return worst;
	warn("%s: no such route to '%s'", asked.source, asked.destination);
	return EXIT_NOINPUT;
}

static int remove_numbers(lmq_store *store, char **operands, size_t count)
{
	int worst = EXIT_SUCCESS;

	for (size_t i = 0; i < count; i++) {
		uint64_t number = argument_number("--remove", operands[i], 1, UINT32_MAX);
		int status = remove_route(store, (uint32_t)number);

		worst = worst ? worst : status;
	}
	return worst;
}

static int remove_all(char **operands, size_t count)
{
	size_t numbers = 0;
	lmq_store *store;
	int status;

	for (size_t i = 0; i < count; i++)
		numbers += is_number(operands[i]);
	if (count == 0)
		die_usage("--remove: say which route");
	if (numbers < count && count != 2)
		die_usage("--remove: '%s' is not the number of a route",
			operands[is_number(operands[0]) && count > 1]);
	if (numbers == count && has_conditions())
		die_usage("--remove: numbers go without conditions");
	store = store_open(0);
	status = numbers == count ? remove_numbers(store, operands, count) : remove_between(store);
	lmq_store_close(store);
	return status;
}

/* ---- looking -------------------------------------------------------------------------------- */

static int list(void)
{
	lmq_store *store = store_open(LMQ_READ_ONLY);
	struct table *table = routes_table(output);
	struct lmq_route *routes = NULL;
	size_t count = 0;
	int status = lmq_route_list(store, &routes, &count);

	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++)
		route_row(table, output, &routes[i]);
	table_print(table);
	lmq_route_free(routes);
	lmq_store_close(store);
	return count > 0 ? EXIT_SUCCESS : EXIT_NOTHING;
}

static int try(void)
{
	char (*names)[LMQ_NAME_MAX + 1] = NULL;
	lmq_store *store;
	size_t count = 0;
	int status;

	if (asked.key != NULL)
		stamp_option(&message, 'k', asked.key);
	store = store_open(LMQ_READ_ONLY);
	status = lmq_route_test(store, test, &message.message, &names, &count);
	if (status != 0)
		die_store(store, status);
	for (size_t i = 0; i < count; i++) {
		output_bytes(names[i], strlen(names[i]));
		output_bytes("\n", 1);
	}
	free(names);
	lmq_store_close(store);
	return count > 0 ? EXIT_SUCCESS : EXIT_NOTHING;
}

static void check_together(size_t operands)
{
	bool adds = operands > 0 && test == NULL && !remove_them;

	if (test != NULL && (operands > 0 || remove_them || asked.header_count > 0))
		die_usage("--test goes with -k and -H, and without operands");
	if (test == NULL && message.message.header_count > 0)
		die_usage("--header goes with --test; a condition is -m");
	if (output_set && (operands > 0 || test != NULL || remove_them))
		die_usage("--output is for the list of routes");
	if (adds && operands != 2)
		die_usage(operands == 1 ? "the operand DEST is missing" : "too many operands");
	if (operands == 0 && test == NULL && !remove_them && has_conditions())
		die_usage("SOURCE-PATTERN and DEST are missing");
	if (asked.any && asked.header_count == 0)
		die_usage("--any goes with -m");
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle);
	char **operands = argv + first;
	size_t count = (size_t)(argc - first);

	check_together(count);
	if (count == 2) {
		asked.source = operands[0];
		asked.destination = operands[1];
	}
	if (test != NULL)
		finish(try());
	if (remove_them)
		finish(remove_all(operands, count));
	if (count == 0)
		finish(list());
	add();
	finish(EXIT_SUCCESS);
}
