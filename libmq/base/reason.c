/* SPDX-License-Identifier: ISC */
/* Words: why a message is dead, and the names of leases. */
#include "libmq.h"

#include <string.h>

/* ---- reasons ------------------------------------------------------------------------------ */

static const char *const reasons[] = {
	[LMQ_REASON_NONE] = "",
	[LMQ_FAILED] = "failed",
	[LMQ_CRASHED] = "crashed",
	[LMQ_TIMEOUT] = "timeout",
	[LMQ_REJECTED] = "rejected",
	[LMQ_EXPIRED] = "expired",
	[LMQ_OVERFLOW] = "overflow",
};
enum { REASONS = sizeof reasons / sizeof *reasons };

const char *lmq_reason_name(enum lmq_reason reason)
{
	return (unsigned)reason < REASONS ? reasons[reason] : "";
}

int lmq_reason_parse(const char *text, enum lmq_reason *reason)
{
	for (unsigned i = LMQ_FAILED; i < REASONS; i++)
		if (strcmp(text, reasons[i]) == 0) {
			*reason = (enum lmq_reason)i;
			return 0;
		}
	return LMQ_EINVAL;
}

/* ---- leases ------------------------------------------------------------------------------- */

/* A name that ends at one of these bytes; what follows is that byte. */
static const char *scan_name(const char *text, const char *ends, char name[LMQ_NAME_MAX + 1])
{
	size_t n = strcspn(text, ends);
	if (n > LMQ_NAME_MAX || !text[n])
		return NULL;
	memcpy(name, text, n);
	name[n] = '\0';
	return lmq_name_valid(name) ? text + n : NULL;
}

/* Digits up to most; what follows them. NULL. */
static const char *scan_number(const char *text, uint64_t most, uint64_t *number)
{
	const char *p = text;
	*number = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (*number > (most - digit) / 10)
			return NULL;
		*number = *number * 10 + digit;
	}
	return p > text ? p : NULL;
}

int lmq_lease_parse(const char *text, char names[LMQ_LEASE_NAMES], struct lmq_lease *lease)
{
	uint64_t partition = 0, offset, attempt;
	char *group = names + LMQ_NAME_MAX + 1;
	const char *p = scan_name(text, ":/@", names);
	*group = '\0';
	if (p && *p == '/')
		p = scan_number(p + 1, UINT32_MAX, &partition);
	if (p && *p == '@')
		p = scan_name(p + 1, ":", group);
	p = p && *p == ':' ? scan_number(p + 1, INT64_MAX, &offset) : NULL;
	p = p && *p == ':' ? scan_number(p + 1, UINT32_MAX, &attempt) : NULL;
	if (!p || *p || attempt == 0)
		return LMQ_EINVAL;
	lease->channel = names;
	lease->group = *group ? group : NULL;
	lease->partition = (uint32_t)partition;
	lease->offset = offset;
	lease->attempt = (uint32_t)attempt;
	return 0;
}
