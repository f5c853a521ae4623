/* SPDX-License-Identifier: ISC */
/* mq-check --repair: what can be read of a damaged store becomes a new one; each loss is a line on stderr. */
#include "check.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void show_loss(const struct lmq_fault *loss, void *context)
{
	(void)context;
	progress_break();
	warn("%s: %s", loss->object, loss->what);
}

static bool step(const struct lmq_rescue *sofar, void *context)
{
	(void)context;
	progress_show(sofar->messages, sofar->bytes);
	return !interrupted;
}

/* The answer on stdout, with the numbers that are not 0. */
static void show_result(const char *directory, const struct lmq_rescue *r)
{
	const struct {
		uint64_t number;
		const char *one, *many;
	} rows[] = {
		{ r->lost_messages, "message lost", "messages lost" },
		{ r->lost_pages, "page not readable", "pages not readable" },
		{ r->mended, "record mended", "records mended" },
	};
	char text[512], size[LMQ_VALUE_MAX];
	size_t used = (size_t)snprintf(text, sizeof text, ": saved %" PRIu64 " channel%s, %" PRIu64 " message%s (%s)",
		r->channels, r->channels == 1 ? "" : "s", r->messages, r->messages == 1 ? "" : "s",
		lmq_size_format(r->bytes, size));

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].number > 0)
			used += (size_t)snprintf(text + used, sizeof text - used, "; %" PRIu64 " %s", rows[i].number,
				rows[i].number == 1 ? rows[i].one : rows[i].many);
	text[used++] = '\n';
	if (output_bytes(directory, strlen(directory)) != 0 || output_bytes(text, used) != 0)
		output_die();
}

int save_repaired(const char *directory)
{
	struct lmq_rescue result;
	lmq_store *store = NULL;
	int status;

	interrupt_catch(NULL);
	progress_start(false);
	status = lmq_store_repair(store_path(), directory, &store, &result, show_loss, step, NULL);
	progress_break();
	if (status != 0)
		die_store(store, status);
	lmq_store_close(store);
	show_result(directory, &result);
	return result.lost_messages + result.lost_pages > 0 ? EXIT_NO : EXIT_SUCCESS;
}
