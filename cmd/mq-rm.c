/* SPDX-License-Identifier: ISC */
/*
 * mq-rm: delete channels with all their messages, or groups of them. On a terminal it asks; in a script naming a
 * channel is will enough, and only --all needs --yes.
 *
 * A channel is gone at once; its space is given back in small steps, during which others may work.
 * When this process is stopped in between, the next writers do the rest.
 */
#include "cmd.h"
#include "output.h"
#include "reading.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char synopsis[] =
	"mq-rm [OPTION]... NAME...\n"
	"mq-rm [OPTION]... --group=G NAME...\n"
	"mq-rm [OPTION]... --all";

enum { OPTION_DRY_RUN = OPTION_TOOL };

static const struct option_row options[] = {
	{ 'a', "all", NULL, "every channel of the store" },
	{ 'g', "group", "G", "group G of the topics and streams, which stay" },
	{ 'y', "yes", NULL, "do not ask" },
	{ OPTION_DRY_RUN, "dry-run", NULL, "print what would be deleted, and delete nothing" },
	{ 0, NULL, NULL, NULL },
};

static const char *const examples[] = {
	"mq-rm jobs",
	"mq-ls --names 'test.#' | xargs -r mq-rm -y",
	"mq-rm -g mailer news",
	NULL,
};

static const struct tool tool = {
	.name = "mq-rm",
	.synopsis = synopsis,
	.purpose = "Delete channels and all their messages, or groups.",
	.options = options,
	.examples = examples,
};

static bool all;
static const char *group;
static bool yes;
static bool dry_run;

static void handle(int key, char *argument)
{
	switch (key) {
	case 'a':
		all = true;
		break;
	case 'g':
		group_check(argument);
		group = argument;
		break;
	case 'y':
		yes = true;
		break;
	case OPTION_DRY_RUN:
		dry_run = true;
		break;
	}
}

static bool can_ask(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/* The rest of the line is read too, so that it does not answer the next question. */
static bool answer_is_yes(void)
{
	int first = getchar(), next = first;

	while (next != '\n' && next != EOF)
		next = getchar();
	return first == 'y' || first == 'Y';
}

static const char *messages(uint64_t count)
{
	static char text[40];

	snprintf(text, sizeof text, "%" PRIu64 " message%s", count, count == 1 ? "" : "s");
	return text;
}

static bool confirmed(const struct lmq_channel_info *info)
{
	if (yes || dry_run || all || !can_ask())
		return true;
	fprintf(stderr, "%s: delete %s '%s' with %s? [y/N] ", tool_name,
		lmq_kind_name(info->kind), info->name, messages(info->messages));
	return answer_is_yes();
}

static bool confirmed_all(const struct lmq_channel_info *channels, size_t count)
{
	uint64_t total = 0;

	if (yes || dry_run)
		return true;
	for (size_t i = 0; i < count; i++)
		total += channels[i].messages;
	fprintf(stderr, "%s: delete all %zu channels with %s? [y/N] ", tool_name, count,
		messages(total));
	return answer_is_yes();
}

static void tell(const char *what, const struct lmq_channel_info *info)
{
	char line[LMQ_NAME_MAX + 96];
	int size = snprintf(line, sizeof line, "%s: %s %s with %s\n", info->name, what,
		lmq_kind_name(info->kind), messages(info->messages));

	output_bytes(line, (size_t)size);
}

static int look_up(lmq_store *store, const char *name, struct lmq_channel_info *info)
{
	lmq_channel *channel = NULL;
	int status = lmq_channel_open(store, name, LMQ_ANY, 0, &channel);

	if (status == 0)
		status = lmq_channel_info(channel, info);
	lmq_channel_close(channel);
	return status;
}

/* Deletes the channel, or says what would be. Returns the exit status that this one asks for. */
static int delete(lmq_store *store, const struct lmq_channel_info *info)
{
	int status;

	if (!confirmed(info))
		return EXIT_NO;
	if (dry_run) {
		tell("would delete", info);
		return EXIT_SUCCESS;
	}
	status = lmq_channel_remove(store, info->name);
	if (status != 0)
		warn_store(store);
	else if (verbose)
		tell("deleted", info);
	return exit_status(status);
}

static int delete_named(lmq_store *store, const char *name)
{
	struct lmq_channel_info info;
	int status = look_up(store, name, &info);

	if (status == 0)
		return delete(store, &info);
	warn_store(store);
	return exit_status(status);
}

/* ---- groups --------------------------------------------------------------------------------- */

static bool confirmed_group(const char *name, uint64_t lag)
{
	if (yes || dry_run || !can_ask())
		return true;
	fprintf(stderr, "%s: delete group '%s' of '%s', %s behind? [y/N] ", tool_name, group, name,
		messages(lag));
	return answer_is_yes();
}

static void tell_group(const char *what, const char *name, uint64_t lag)
{
	char line[2 * LMQ_NAME_MAX + 96];
	int size = snprintf(line, sizeof line, "%s@%s: %s group, %s behind\n", name, group, what,
		messages(lag));

	output_bytes(line, (size_t)size);
}

/* How many messages the group has not settled. */
static int lag_of(lmq_channel *channel, uint64_t *lag)
{
	struct lmq_group_info *list = NULL;
	size_t count = 0;
	int status = lmq_group_list(channel, group, &list, &count);

	*lag = 0;
	for (size_t i = 0; i < count; i++)
		*lag += list[i].lag;
	free(list);
	return status;
}

/* Deletes the group, or says that it would be. *refused: "no". */
static int delete_from(lmq_channel *channel, bool *refused)
{
	const char *name = lmq_channel_name(channel);
	uint64_t lag;
	int status = lag_of(channel, &lag);

	if (status != 0)
		return status;
	*refused = !confirmed_group(name, lag);
	if (*refused)
		return 0;
	status = dry_run ? 0 : lmq_group_remove(channel, group);
	if (status == 0 && (dry_run || verbose))
		tell_group(dry_run ? "would delete" : "deleted", name, lag);
	return status;
}

static int delete_group(lmq_store *store, const char *name)
{
	lmq_channel *channel = NULL;
	bool refused = false;
	int status = lmq_channel_open(store, name, LMQ_ANY, 0, &channel);

	if (status == 0)
		status = delete_from(channel, &refused);
	if (status == LMQ_EKIND)
		warn_no_groups(name);
	else if (status != 0)
		warn_store(store);
	lmq_channel_close(channel);
	return refused ? EXIT_NO : exit_status(status);
}

/* ---- channels ------------------------------------------------------------------------------- */

/* One missing channel does not save the others; the first failure is the exit status. */
static int delete_names(lmq_store *store, char **names, size_t count)
{
	int worst = EXIT_SUCCESS;

	for (size_t i = 0; i < count && !interrupted; i++) {
		int status = group != NULL ? delete_group(store, names[i]) : delete_named(store, names[i]);

		worst = worst ? worst : status;
	}
	return worst;
}

static int delete_all(lmq_store *store)
{
	struct lmq_channel_info *channels = NULL;
	size_t count = 0;
	int status = lmq_channel_list(store, NULL, LMQ_ANY, &channels, &count);
	int worst = EXIT_SUCCESS;

	if (status != 0)
		die_store(store, status);
	if (count == 0)
		worst = EXIT_NOTHING;
	else if (!confirmed_all(channels, count))
		worst = EXIT_NO;
	for (size_t i = 0; worst != EXIT_NO && i < count && !interrupted; i++) {
		status = delete(store, &channels[i]);
		worst = worst ? worst : status;
	}
	free(channels);
	return worst;
}

/* Gives the space back. Progress is for a terminal, and only when it takes longer than a second. */
static int sweep(lmq_store *store)
{
	int64_t next = lmq_now() + 1000000000;
	bool more = true, shown = false;
	uint64_t steps = 0;
	int status = 0;

	while (more && status == 0 && !interrupted) {
		more = false;
		status = lmq_store_sweep(store, &more);
		steps++;
		if (!more || quiet || !isatty(STDERR_FILENO) || lmq_now() < next)
			continue;
		fprintf(stderr, "\r%s: giving back space, step %" PRIu64, tool_name, steps);
		next = lmq_now() + 200000000;
		shown = true;
	}
	if (shown)
		fputc('\n', stderr);
	if (status != 0)
		warn_store(store);
	return exit_status(status);
}

static void check_operands(char **names, size_t count)
{
	if (all && count > 0)
		die_usage("--all goes without names");
	if (all && group != NULL)
		die_usage("--all goes without --group");
	if (!all && count == 0)
		die_usage("the operand NAME is missing");
	/* Nothing is deleted by a command line that is wrong in one place. */
	for (size_t i = 0; i < count; i++)
		if (!lmq_name_valid(names[i]))
			die_usage("%s: not the name of a channel", names[i]);
	if (all && !yes && !dry_run && !can_ask()) {
		warn("--all: not without --yes where nobody can be asked");
		exit(EXIT_USAGE);
	}
}

int main(int argc, char **argv)
{
	int first = options_parse(&tool, argc, argv, handle), status, swept;
	char **names = argv + first;
	size_t count = (size_t)(argc - first);
	lmq_store *store;

	check_operands(names, count);
	store = store_open(dry_run ? LMQ_READ_ONLY : 0);
	interrupt_catch(NULL);
	status = all ? delete_all(store) : delete_names(store, names, count);
	/* After a failure of the store or the system the sweeper would only say the same once more. */
	swept = dry_run || status > EXIT_UNAVAILABLE ? EXIT_SUCCESS : sweep(store);
	lmq_store_close(store);
	if (interrupted)
		die_by_signal(interrupted);
	finish(status != EXIT_SUCCESS ? status : swept);
}
