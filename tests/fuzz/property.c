/* SPDX-License-Identifier: ISC */
/*
 * NAME=VALUE of channels and groups: what was set is listed so that it can be set again, and is stored and read back as
 * the same.
 */
#include "fuzz.h"

#include <stdio.h>

static void same_again(const struct channel_record *r)
{
	struct channel_record again = { .kind = r->kind, .created = r->created };
	struct lmq_property list[LMQ_PROPERTY_MAX], changed;
	char text[sizeof list->name + sizeof list->value + 2];
	size_t count;
	bool differs;
	memcpy(again.name, r->name, sizeof again.name);
	property_list(r, list, &count);
	for (size_t i = 0; i < count; i++) {
		snprintf(text, sizeof text, "%.23s=%.128s", list[i].name, list[i].value);
		MUST(!list[i].set || property_set(fuzz_store(), "it", &again, text, &changed, &differs) == 0);
		MUST(!list[i].set || strcmp(changed.value, list[i].value) == 0);
	}
	for (unsigned i = 0; i < LIMIT_COUNT; i++)
		MUST(limit_of(&again, i) == limit_of(r, i) + fuzz_fault());
	MUST(strcmp(again.dead, r->dead) == 0);
}

static void stored(const struct channel_record *r)
{
	struct key k = key_channel(7);
	struct channel_record again;
	uint8_t value[CHANNEL_RECORD_MAX];
	size_t size = channel_record_put(r, &k, value);
	MUST(size <= sizeof value && channel_record_get(&again, &k, value, size));
	MUST(again.given == r->given && memcmp(again.limit, r->limit, sizeof r->limit) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_record r = { .created = 1, .name = "jobs" };
	struct lmq_property changed;
	struct taker t;
	bool differs;
	take_begin(&t, data, size);
	r.kind = (uint8_t)(LMQ_QUEUE + take_number(&t, 1) % 4);
	while (t.at < t.end)
		property_set(fuzz_store(), "it", &r, take_line(&t, 300), &changed, &differs);
	for (unsigned i = 0; i < LIMIT_COUNT; i++)
		if (!(r.given & 1u << i))
			r.limit[i] = 0;
	same_again(&r);
	stored(&r);
	return 0;
}
