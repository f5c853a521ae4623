/* SPDX-License-Identifier: ISC */
/*
 * mq-pub: publish messages to a topic or stream; a missing one is created as a topic, or as a stream
 * where something is expected of its history. The rest is in sending.c.
 */
#include "cmd.h"
#include "sending.h"

static const char *const examples[] = {
	"mq-pub news 'doors open at nine'",
	"tail -F app.log | mq-pub logs",
	"mq-pub -k eu.paid -j orders < envelopes.json",
	NULL,
};

static const struct tool tool = {
	.name = "mq-pub",
	.synopsis = "mq-pub [OPTION]... NAME [BODY]...",
	.purpose = "Publish messages to a topic or stream: each BODY, or each line of stdin.",
	.options = pub_options,
	.examples = examples,
};

int main(int argc, char **argv)
{
	static const enum lmq_kind accept[] = { LMQ_TOPIC, LMQ_STREAM };

	return sending_main(&tool, LMQ_TOPIC, accept, 2, argc, argv);
}
