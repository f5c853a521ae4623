/* SPDX-License-Identifier: ISC */
/* Reasons and leases as words. */
#include "unit.h"

#include "libmq.h"

TEST(reasons, "every reason has a name that reads back, and nothing else is one")
{
	enum lmq_reason reason = LMQ_OVERFLOW;
	for (int i = LMQ_FAILED; i <= LMQ_OVERFLOW; i++) {
		const char *name = lmq_reason_name((enum lmq_reason)i);
		CHECK_ROW(*name && lmq_reason_parse(name, &reason) == 0 && (int)reason == i, name);
	}
	CHECK_TEXT(lmq_reason_name(LMQ_CRASHED), "crashed");
	CHECK_TEXT(lmq_reason_name(LMQ_REASON_NONE), "");
	CHECK_TEXT(lmq_reason_name((enum lmq_reason)77), "");
	CHECK(lmq_reason_parse("", &reason) == LMQ_EINVAL);
	CHECK(lmq_reason_parse("Failed", &reason) == LMQ_EINVAL);
	CHECK(lmq_reason_parse("fail", &reason) == LMQ_EINVAL);
}

TEST(leases, "a lease is a channel, perhaps a partition and a group, an offset and an attempt")
{
	char name[LMQ_LEASE_NAMES];
	struct lmq_lease lease = { .outcome = LMQ_EXTEND, .delay = 9 };
	CHECK(lmq_lease_parse("orders:1041:2", name, &lease) == 0);
	CHECK_TEXT(lease.channel, "orders");
	CHECK(lease.group == NULL);
	CHECK(lease.channel == name && lease.partition == 0 && lease.offset == 1041 && lease.attempt == 2);
	CHECK(lease.outcome == LMQ_EXTEND && lease.delay == 9);
	CHECK(lmq_lease_parse("a.b-c/7:0:1", name, &lease) == 0);
	CHECK_TEXT(name, "a.b-c");
	CHECK(lease.partition == 7 && lease.offset == 0 && lease.attempt == 1);
	CHECK(lmq_lease_parse("q/4294967295:9223372036854775807:4294967295", name, &lease) == 0);
	CHECK(lease.partition == UINT32_MAX && lease.offset == INT64_MAX && lease.attempt == UINT32_MAX);
	CHECK(lmq_lease_parse("clicks/3@audit.1:17:2", name, &lease) == 0);
	CHECK_TEXT(lease.channel, "clicks");
	CHECK_TEXT(lease.group, "audit.1");
	CHECK(lease.partition == 3 && lease.offset == 17 && lease.attempt == 2);
	CHECK(lmq_lease_parse("news@g:0:1", name, &lease) == 0 && lease.partition == 0);
	CHECK_TEXT(lease.group, "g");
}

TEST(no_leases, "what is not a lease is refused")
{
	static const char *const texts[] = {
		"", ":", "::", "orders", "orders:", "orders:1", "orders:1:", "orders::1", ":1:1", "orders:1:0",
		"orders:1:2:3", "orders:1:2 ", " orders:1:2", "orders:-1:2", "orders:+1:2", "orders:0x1:2",
		"orders:1:2\n", "orders:1/2:3", "orders/:1:2", "orders/1", "orders/1/2:1:1", "a b:1:2", "a..b:1:2", "-a:1:2",
		"orders:9223372036854775808:1", "orders:1:4294967296", "orders/4294967296:1:1",
		"s@:1:1", "s@g", "s@g/1:1:1", "s@g@h:1:1", "@g:1:1", "s@a b:1:1", "s/@g:1:1", "s@g:1", "s:1@g:1",
		"orders:18446744073709551616:1", "orders:99999999999999999999999:1",
	};
	char name[LMQ_LEASE_NAMES], text[400];
	struct lmq_lease lease = { .offset = 5 };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		CHECK_ROW(lmq_lease_parse(texts[i], name, &lease) == LMQ_EINVAL, texts[i]);
	memset(text, 'n', sizeof text);
	strcpy(text + LMQ_NAME_MAX, ":1:1");
	CHECK(lmq_lease_parse(text, name, &lease) == 0 && strlen(name) == LMQ_NAME_MAX);
	memset(text, 'n', sizeof text);
	strcpy(text + LMQ_NAME_MAX + 1, ":1:1");
	CHECK(lmq_lease_parse(text, name, &lease) == LMQ_EINVAL);
}

TEST(any_text, "no text makes the parser read or write beyond it")
{
	static const char alphabet[] = "a.:/@0192-:";
	for (int round = 0; round < 200000; round++) {
		size_t n = unit_random_below(24);
		char *text = malloc(n + 1), *name = malloc(LMQ_LEASE_NAMES);
		struct lmq_lease lease;
		for (size_t i = 0; i < n; i++)
			text[i] = alphabet[unit_random_below(sizeof alphabet - 1)];
		text[n] = '\0';
		if (lmq_lease_parse(text, name, &lease) == 0)
			CHECK_ROW(lmq_name_valid(name) && lease.offset <= INT64_MAX && lease.attempt >= 1, text);
		free(text);
		free(name);
	}
}

UNIT_MAIN
