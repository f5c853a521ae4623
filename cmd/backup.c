/* SPDX-License-Identifier: ISC */
/*
 * mq-check --backup, --compact and --readers: the store's file as a whole, and who keeps it large.
 */
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *const columns[] = { "pid", "command", "state", "behind", "held" };

static bool go_on(const struct lmq_copy *sofar, void *context)
{
	*(uint64_t *)context = sofar->size;
	return !interrupted;
}

int save_backup(const char *directory, bool compact)
{
	lmq_store *store = store_open(LMQ_READ_ONLY);
	uint64_t size = 0;
	int status;

	interrupt_catch(NULL);
	status = lmq_store_backup(store, directory, compact ? LMQ_COPY_COMPACT : 0, go_on, &size);
	if (status != 0)
		die_store(store, status);
	if (verbose)
		notice("%s: a copy of %s, %" PRIu64 " bytes", directory, store_path(), size);
	lmq_store_close(store);
	return EXIT_SUCCESS;
}

int compact_store(void)
{
	const struct lmq_store_options options = { .size = sizeof options };
	lmq_store *store = NULL;
	uint64_t before, after;
	int status;

	fault_catch(store_path());
	status = lmq_store_compact(store_path(), &options, &store, &before, &after);
	if (status != 0)
		die_store(store, status);
	if (verbose)
		notice("%s: %" PRIu64 " bytes became %" PRIu64, store_path(), before, after);
	lmq_store_close(store);
	return EXIT_SUCCESS;
}

int show_readers(enum table_kind output)
{
	struct table *table = table_new(output, columns, sizeof columns / sizeof *columns);
	lmq_store *store = store_open(LMQ_READ_ONLY);
	struct lmq_holder *list = NULL;
	size_t count = 0;
	int status = lmq_store_holders(store, &list, &count);

	if (status != 0)
		die_store(store, status);
	lmq_store_close(store);
	for (size_t i = 0; i < count; i++) {
		table_number(table, (uint64_t)list[i].pid, NULL);
		table_text(table, *list[i].command ? list[i].command : NULL);
		table_text(table, list[i].reading ? "reading" : "open");
		if (list[i].reading) {
			table_number(table, list[i].behind, NULL);
			table_number(table, list[i].held, NULL);
		} else {
			table_text(table, NULL);
			table_text(table, NULL);
		}
	}
	free(list);
	table_print(table);
	return count > 0 ? EXIT_SUCCESS : EXIT_NOTHING;
}
