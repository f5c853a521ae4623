/* SPDX-License-Identifier: ISC */
/* Patterns over words: against a matcher that tries everything. The input is a pattern, a NUL, a text. */
#include "fuzz.h"

struct span {
	const char *at, *end;
};

/* The bytes of the first character. */
static size_t step(const char *at, const char *end)
{
	unsigned char lead = (unsigned char)*at;
	size_t size = lead < 0xc2 || lead > 0xf4 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	unsigned char second = size > 1 && end - at > 1 ? (unsigned char)at[1] : 0;
	if ((size_t)(end - at) < size)
		return 1;
	for (size_t i = 1; i < size; i++)
		if (((unsigned char)at[i] & 0xc0) != 0x80)
			return 1;
	if ((lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
		return 1;
	return size;
}

static bool word_matches(const char *p, const char *p_end, const char *t, const char *t_end)
{
	size_t n;
	if (p == p_end)
		return t == t_end;
	if (p + 1 < p_end && p[0] == '*' && p[1] == '*')
		return word_matches(p + 1, p_end, t, t_end);
	if (*p == '*') {
		for (;; t += step(t, t_end)) {
			if (word_matches(p + 1, p_end, t, t_end))
				return true;
			if (t == t_end)
				return false;
		}
	}
	if (t == t_end)
		return false;
	n = step(t, t_end);
	if (*p == '?')
		return word_matches(p + 1, p_end, t + n, t_end);
	return step(p, p_end) == n && memcmp(p, t, n) == 0 && word_matches(p + n, p_end, t + n, t_end);
}

static size_t split(const char *text, size_t size, struct span *words)
{
	const char *at = text, *end = text + size;
	size_t n = 0;
	for (const char *p = text; p <= end; p++)
		if (p == end || *p == '.') {
			words[n++] = (struct span){ at, p };
			at = p + 1;
		}
	return n;
}

static bool is(const struct span *w, char c)
{
	return w->end - w->at == 1 && *w->at == c;
}

static bool words_match(const struct span *p, size_t p_count, const struct span *w, size_t w_count)
{
	if (p_count == 0)
		return w_count == 0;
	if (p_count > 1 && is(p, '#') && is(p + 1, '#'))
		return words_match(p + 1, p_count - 1, w, w_count);
	if (is(p, '#')) {
		for (size_t skip = 0; skip <= w_count; skip++)
			if (words_match(p + 1, p_count - 1, w + skip, w_count - skip))
				return true;
		return false;
	}
	if (w_count == 0)
		return false;
	if (!is(p, '+') && !word_matches(p->at, p->end, w->at, w->end))
		return false;
	return words_match(p + 1, p_count - 1, w + 1, w_count - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span pattern_words[40], words[40];
	const char *reason;
	struct taker t;
	char *pattern, *text;
	size_t length;
	bool expected, found;
	take_begin(&t, data, size);
	pattern = take_text(&t, 24);
	text = (char *)take_rest(&t, &length);
	if (length > 24)
		return 0;
	found = lmq_pattern_match(pattern, text, length);
	expected = words_match(pattern_words, split(pattern, strlen(pattern), pattern_words), words,
		split(text, length, words));
	if (fuzz_fault() && strchr(pattern, '?'))
		expected = !expected;
	MUST(found == expected);
	if (lmq_pattern_valid(pattern, &reason) == 0 && lmq_pattern_literal(pattern))
		MUST(found == (length == strlen(pattern) && memcmp(pattern, text, length) == 0));
	return 0;
}
