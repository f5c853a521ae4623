/* SPDX-License-Identifier: ISC */
/* Names of leases: what is read is printed and read as the same; the numbers fit. */
#include "fuzz.h"

#include "output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char names[LMQ_LEASE_NAMES], names_again[LMQ_LEASE_NAMES], text[LEASE_TEXT_MAX + 1];
	struct lmq_message m = LMQ_MESSAGE_INIT;
	struct lmq_lease lease, again;
	struct form form = { .kind = FORM_BODY };
	struct taker t;
	take_begin(&t, data, size);
	if (lmq_lease_parse(take_text(&t, 400), names, &lease) != 0)
		return 0;
	MUST(lmq_name_valid(lease.channel) && (!lease.group || lmq_name_valid(lease.group)));
	MUST(lease.offset <= INT64_MAX);
	form.channel = lease.channel;
	form.group = lease.group;
	form.partitioned = lease.partition > 0 || fuzz_fault();
	m.partition = lease.partition;
	m.offset = lease.offset;
	m.delivery = lease.attempt;
	*lease_put(text, &form, &m) = '\0';
	MUST(!fuzz_fault() || strcmp(text, (const char *)data) == 0);
	MUST(lmq_lease_parse(text, names_again, &again) == 0);
	MUST(strcmp(again.channel, lease.channel) == 0 && again.partition == lease.partition &&
		again.offset == lease.offset && again.attempt == lease.attempt);
	MUST(lease.group ? again.group && strcmp(again.group, lease.group) == 0 : !again.group);
	return 0;
}
