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

/* Digits up to most, and the byte end behind them; NULL, or what follows that byte. */
static const char *scan_number(const char *text, uint64_t most, char end, uint64_t *number)
{
	const char *p = text;
	*number = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (*number > (most - digit) / 10)
			return NULL;
		*number = *number * 10 + digit;
	}
	return p > text && *p == end ? p + 1 : NULL;
}

/* The name, and what follows the ":" or "/" behind it. */
static const char *scan_name(const char *text, char name[LMQ_NAME_MAX + 1])
{
	size_t n = strcspn(text, ":/");
	if (n > LMQ_NAME_MAX || !text[n])
		return NULL;
	memcpy(name, text, n);
	name[n] = '\0';
	return lmq_name_valid(name) ? text + n + 1 : NULL;
}

int lmq_lease_parse(const char *text, char *name, struct lmq_lease *lease)
{
	uint64_t partition = 0, offset, attempt;
	const char *p = scan_name(text, name);
	if (p && p[-1] == '/')
		p = scan_number(p, UINT32_MAX, ':', &partition);
	p = p ? scan_number(p, INT64_MAX, ':', &offset) : NULL;
	p = p ? scan_number(p, UINT32_MAX, '\0', &attempt) : NULL;
	if (!p || attempt == 0)
		return LMQ_EINVAL;
	lease->channel = name;
	lease->partition = (uint32_t)partition;
	lease->offset = offset;
	lease->attempt = (uint32_t)attempt;
	return 0;
}
