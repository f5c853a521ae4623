/* SPDX-License-Identifier: ISC */
/* Globs: against a matcher that tries everything. The input is a glob, a NUL, a text of ASCII. */
#include "fuzz.h"

/* One end of a range; a backslash takes the next byte as it is. */
static unsigned char end_of_range(const char **p)
{
	if (**p == '\\' && (*p)[1])
		++*p;
	return (unsigned char)*(*p)++;
}

/* A set in brackets, p behind its "[": where it ends, or NULL if it is none. */
static const char *set_end(const char *p, unsigned char c, bool *match)
{
	bool negated = *p == '!' || *p == '^', found = false;
	p += negated;
	for (bool first = true; *p && (first || *p != ']'); first = false) {
		unsigned char low = end_of_range(&p), high = low;
		if (p[0] == '-' && p[1] && p[1] != ']') {
			p++;
			high = end_of_range(&p);
		}
		found = found || (low <= c && c <= high);
	}
	*match = found != negated;
	return *p ? p + 1 : NULL;
}

static bool matches(const char *p, const char *t, const char *end)
{
	const char *behind;
	bool match;
	if (!*p)
		return t == end;
	if (*p == '*' && p[1] == '*')	/* in how many ways two of them share a text is of no interest */
		return matches(p + 1, t, end);
	if (*p == '*') {
		for (; t <= end; t++)
			if (matches(p + 1, t, end))
				return true;
		return false;
	}
	if (t == end)
		return false;
	if (*p == '?')
		return matches(p + 1, t + 1, end);
	if (*p == '[' && (behind = set_end(p + 1, (unsigned char)*t, &match)))
		return match && matches(behind, t + 1, end);
	if (*p == '\\' && p[1])
		p++;
	return *p == *t && matches(p + 1, t + 1, end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct taker t;
	char *glob, *text;
	size_t length;
	bool found;
	take_begin(&t, data, size);
	glob = take_text(&t, 24);
	text = (char *)take_rest(&t, &length);
	if (length > 24)
		return 0;
	found = lmq_glob_match(glob, text, length);
	for (size_t i = 0; i < size; i++)
		if (data[i] >= 0x80)
			return 0;
	MUST(found == matches(glob, text, text + length) || (fuzz_fault() && strchr(glob, '[')));
	if (fuzz_fault())
		MUST(!strchr(glob, '[') || !found);
	return 0;
}
