/* SPDX-License-Identifier: ISC */
/* How the delivery of a message stands, as words and as JSON. */
#include "cmd.h"
#include "delivery.h"
#include "output.h"

#include <string.h>
#include <unistd.h>

static const char *const names[] = {
	[LMQ_READY] = "ready",
	[LMQ_LEASED] = "leased",
	[LMQ_DELAYED] = "delayed",
	[LMQ_RETRYING] = "retry",
	[LMQ_BLOCKED] = "blocked",
	[LMQ_DEAD_ON_SIGHT] = "expired",
};

enum { STATES = sizeof names / sizeof *names };

const char *state_name(enum lmq_state state)
{
	return (unsigned)state < STATES ? names[state] : "unknown";
}

static unsigned state_bit(const char *name, size_t size)
{
	for (unsigned i = 0; i < STATES; i++)
		if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0)
			return 1u << i;
	warn("--state: '%.*s' is not a state", (int)size, name);
	hint("the states are ready, leased, delayed, retry, blocked, expired");
	_exit(EXIT_USAGE);
}

unsigned states_parse(const char *list)
{
	unsigned states = 0;

	for (;;) {
		size_t size = strcspn(list, ",");

		states |= state_bit(list, size);
		if (list[size] == '\0')
			return states;
		list += size + 1;
	}
}

void delivery_keep(struct lmq_delivery *delivery)
{
	static char kept[LMQ_ERROR_MAX];
	struct lmq_bytes *error = &delivery->history.error;

	if (error->data == NULL)
		return;
	if (error->size > sizeof kept)
		error->size = sizeof kept;
	memcpy(kept, error->data, error->size);
	error->data = kept;
}

/* ---- JSON ------------------------------------------------------------------------------------- */

/* Begin is what stands before the value: ,"holder": */
static int text_write(const char *begin, const char *text, size_t size)
{
	if (output_bytes(begin, strlen(begin)) != 0 || output_bytes("\"", 1) != 0 ||
	    bytes_write(BODY_JSON_ANY, text, size) != 0)
		return OUTPUT_FAILED;
	return output_bytes("\"", 1);
}

/* A time that is not known is left out. */
static int time_write(const char *begin, int64_t time)
{
	char text[40];

	if (time == 0)
		return 0;
	return text_write(begin, text, (size_t)(time_put(text, time) - text));
}

/* What happened before, as an object: a dead letter has its own such fields beside it. */
static int past_write(const struct lmq_history *history)
{
	const char *reason = lmq_reason_name(history->reason);

	if (history->attempts == 0 && *reason == '\0')
		return 0;
	if (output_bytes(",\"history\":{", 12) != 0)
		return OUTPUT_FAILED;
	if (*reason == '\0' && output_bytes("\"reason\":null", 13) != 0)
		return OUTPUT_FAILED;
	if (*reason != '\0' && text_write("\"reason\":", reason, strlen(reason)) != 0)
		return OUTPUT_FAILED;
	return history_write(history) != 0 ? OUTPUT_FAILED : output_bytes("}", 1);
}

int delivery_state_write(const struct lmq_delivery *delivery)
{
	const char *state = state_name(delivery->state);

	if (text_write(",\"state\":", state, strlen(state)) != 0 ||
	    time_write(",\"due\":", delivery->due) != 0)
		return OUTPUT_FAILED;
	if (*delivery->holder != '\0' &&
	    text_write(",\"holder\":", delivery->holder, strlen(delivery->holder)) != 0)
		return OUTPUT_FAILED;
	if (time_write(",\"since\":", delivery->since) != 0)
		return OUTPUT_FAILED;
	return past_write(&delivery->history);
}
