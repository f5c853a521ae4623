/* SPDX-License-Identifier: ISC */
/*
 * Which store a tool works on, and opening it: -s, then $MQ_STORE, then the default. A value
 * without a slash is the name of a store beside the default one.
 */
#include "cmd.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *store_option;

static char *join(const char *directory, const char *name)
{
	size_t size = strlen(directory) + strlen(name) + 2;
	char *path = malloc(size);

	if (path == NULL)
		die(EXIT_SYSTEM, "out of memory");
	snprintf(path, size, "%s/%s", directory, name);
	return path;
}

static const char *home(void)
{
	const char *directory = getenv("HOME");
	const struct passwd *entry;

	if (directory != NULL && *directory == '/')
		return directory;
	entry = getpwuid(geteuid());
	if (entry == NULL || entry->pw_dir == NULL || *entry->pw_dir != '/') {
		warn("HOME: not set, and without it there is no default store");
		hint("name a store with --store or in MQ_STORE");
		_exit(EXIT_USAGE);
	}
	return entry->pw_dir;
}

/* The directory that holds the default store and the named ones. */
static char *stores_directory(void)
{
	const char *data = getenv("XDG_DATA_HOME");

	if (geteuid() == 0)
		return join("/var/lib", "mq");
	if (data != NULL && *data == '/')	/* a relative one is invalid by its specification */
		return join(data, "mq");
	return join(home(), ".local/share/mq");
}

/* What was asked for: a path, a name, or NULL for the default. */
static const char *store_asked(void)
{
	const char *asked = store_option != NULL ? store_option : getenv("MQ_STORE");

	if (asked == NULL || (*asked == '\0' && store_option == NULL))
		return NULL;
	if (strchr(asked, '/') == NULL && !lmq_name_valid(asked)) {
		warn("%s: '%s' is not the name of a store",
			store_option != NULL ? "--store" : "MQ_STORE", asked);
		hint("a directory is written with a slash: ./NAME");
		_exit(EXIT_USAGE);
	}
	return asked;
}

static bool is_named(const char *asked)
{
	return asked == NULL || strchr(asked, '/') == NULL;
}

const char *store_path(void)
{
	static const char *path;
	const char *asked;
	char *directory;

	if (path != NULL)
		return path;
	asked = store_asked();
	if (!is_named(asked))
		return path = asked;
	directory = stores_directory();
	path = join(directory, asked != NULL ? asked : "default");
	free(directory);
	return path;
}

/* As mkdir -p, for all but the last part of the path. */
static void make_parents(const char *path)
{
	mode_t mode = geteuid() == 0 ? 0755 : 0700;
	char *part = strdup(path);

	if (part == NULL)
		die(EXIT_SYSTEM, "out of memory");
	for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		int error = mkdir(part, mode) == 0 ? 0 : errno;

		if (error != 0 && error != EEXIST && access(part, F_OK) != 0)
			die(error == EACCES ? EXIT_PERMISSION : EXIT_CANTCREATE,
				"%s: cannot create the directory: %s", part, strerror(error));
		*slash = '/';
	}
	free(part);
}

/* Opens the store; *store is set even on failure, to carry the sentence. */
static int try_open(unsigned flags, lmq_store **store)
{
	const struct lmq_store_options options = { .size = sizeof options, .flags = flags };

	*store = NULL;
	fault_catch(store_path());
	return lmq_store_open(store_path(), &options, store);
}

lmq_store *store_open(unsigned flags)
{
	const char *path = store_path();
	lmq_store *store;
	int status;

	if ((flags & LMQ_CREATE) && is_named(store_asked()) && access(path, F_OK) != 0)
		make_parents(path);
	status = try_open(flags, &store);
	if (status != 0)
		die_store(store, status);
	if (lmq_store_created(store))
		notice("created store '%s'", path);
	return store;
}

lmq_store *store_open_if_there(void)
{
	lmq_store *store;
	int status = try_open(0, &store);

	if (status == 0)
		return store;
	if (status != LMQ_ENOENT)
		die_store(store, status);
	lmq_store_close(store);
	return NULL;
}

lmq_channel *channel_open(lmq_store *store, const char *name, enum lmq_kind kind, unsigned flags)
{
	lmq_channel *channel = NULL;
	int status = lmq_channel_open(store, name, kind, flags, &channel);

	if (status != 0)
		die_store(store, status);
	if (lmq_channel_created(channel))
		notice("created %s '%s'", lmq_kind_name(lmq_channel_kind(channel)), name);
	return channel;
}

enum lmq_sync sync_parse(const char *option, const char *text)
{
	if (strcmp(text, "full") == 0)
		return LMQ_SYNC_FULL;
	if (strcmp(text, "relaxed") == 0)
		return LMQ_SYNC_RELAXED;
	die_usage("%s: '%s' is neither full nor relaxed", option, text);
}

enum lmq_sync sync_environment(void)
{
	const char *text = getenv("MQ_SYNC");

	return text != NULL && *text != '\0' ? sync_parse("MQ_SYNC", text) : LMQ_SYNC_DEFAULT;
}
