/* SPDX-License-Identifier: ISC */
/*
 * mq-send: put messages into a queue. All but the kind of channel is in sending.c.
 */
#include "cmd.h"
#include "sending.h"

static const char *const examples[] = {
	"mq-send jobs 'resize photo-17'",
	"seq 1000 | mq-send numbers",
	"mq-send -k eu.c42 -H trace=ab --file=order.json orders",
	NULL,
};

static const struct tool tool = {
	.name = "mq-send",
	.synopsis = "mq-send [OPTION]... QUEUE [BODY]...",
	.purpose = "Put messages into a queue: each BODY, or each line of stdin.",
	.options = send_options,
	.examples = examples,
};

int main(int argc, char **argv)
{
	static const enum lmq_kind accept[] = { LMQ_QUEUE };

	return sending_main(&tool, LMQ_QUEUE, accept, 1, argc, argv);
}
