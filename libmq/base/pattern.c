/* SPDX-License-Identifier: ISC */
/*
 * Patterns over words, and globs.
 *
 * Both matchers are the same idea at two levels. What stands behind the last wildcard ("*" inside a
 * word, "#" among words) is tried at one place after the other; if it does not fit there, the
 * wildcard takes one more. To go back to an earlier wildcard is never needed: the later one has all
 * the choices that the earlier one could open. So a match keeps two positions, allocates nothing,
 * and takes at most pattern times text steps (a set in brackets counts by its length), whatever the
 * pattern looks like.
 *
 * Text is compared by characters, which are UTF-8 sequences and, where bytes are no UTF-8, single
 * bytes.
 */
#include "libmq.h"

#include <string.h>

struct text {
	const char *at;
	const char *end;
};

enum { CHARACTER_BYTE = 0x110000 };	/* plus the byte: a byte that is not UTF-8 */

/* The least value that takes so many bytes behind the lead; one below has a shorter form. */
static const uint32_t least_value[] = { 0, 0x80, 0x800, 0x10000 };

/* The bytes that follow a lead byte and the bits that it gives itself; 0 if it leads nothing. */
static size_t lead_length(unsigned char lead, uint32_t *bits)
{
	if (lead >= 0xc2 && lead <= 0xdf)
		return *bits = lead & 0x1f, 1;
	if (lead >= 0xe0 && lead <= 0xef)
		return *bits = lead & 0x0f, 2;
	if (lead >= 0xf0 && lead <= 0xf4)
		return *bits = lead & 0x07, 3;
	return 0;
}

/* Takes the first character of a text that is not empty. */
static uint32_t character(struct text *text)
{
	unsigned char lead = (unsigned char)*text->at++;
	uint32_t value = 0;
	size_t follow;

	if (lead < 0x80)
		return lead;
	follow = lead_length(lead, &value);
	if (follow == 0 || (size_t)(text->end - text->at) < follow)
		return CHARACTER_BYTE + lead;
	for (size_t i = 0; i < follow; i++) {
		unsigned char c = (unsigned char)text->at[i];

		if ((c & 0xc0) != 0x80)
			return CHARACTER_BYTE + lead;
		value = value << 6 | (c & 0x3f);
	}
	if (value < least_value[follow] || value >= CHARACTER_BYTE)
		return CHARACTER_BYTE + lead;
	text->at += follow;
	return value;
}

/* ---- brackets ------------------------------------------------------------------------------ */

/* One end of a range in brackets; a backslash takes the next character as it is. */
static uint32_t bracket_character(struct text *glob)
{
	uint32_t c = character(glob);

	return c == '\\' && glob->at < glob->end ? character(glob) : c;
}

/*
 * Whether c is in the set whose "[" was just taken; moves behind its "]". *set is false, and
 * nothing is moved, if there is no "]": then the "[" stands for itself. A "]" that comes first
 * belongs to the set.
 */
static bool bracket_match(struct text *glob, uint32_t c, bool *set)
{
	struct text at = *glob;
	bool negated, found = false, first = true;

	negated = at.at < at.end && (*at.at == '!' || *at.at == '^');
	at.at += negated;
	for (*set = false; at.at < at.end && (first || *at.at != ']'); first = false) {
		uint32_t low = bracket_character(&at), high = low;

		if (at.end - at.at >= 2 && at.at[0] == '-' && at.at[1] != ']') {
			at.at++;
			high = bracket_character(&at);
		}
		found = found || (low <= c && c <= high);
	}
	if (at.at == at.end)
		return false;
	glob->at = at.at + 1;
	*set = true;
	return found != negated;
}

/* ---- globs --------------------------------------------------------------------------------- */

/*
 * Takes one element other than "*" off the glob and one character off the text, and tells whether
 * they fit. Neither is empty. plain: only "?" is special.
 */
static bool element_match(struct text *glob, struct text *text, bool plain)
{
	uint32_t c = character(text);
	uint32_t element = character(glob);
	bool set;

	if (element == '?')
		return true;
	if (!plain && element == '[' && memchr(glob->at, ']', (size_t)(glob->end - glob->at))) {
		bool match = bracket_match(glob, c, &set);

		if (set)
			return match;
	}
	if (!plain && element == '\\' && glob->at < glob->end)
		element = character(glob);
	return c == element;
}

static bool glob_match(struct text glob, struct text text, bool plain)
{
	struct text star = { NULL, NULL };	/* behind the last "*" */
	struct text held = text;		/* where that was tried last */

	while (text.at < text.end) {
		if (glob.at < glob.end && *glob.at == '*') {
			glob.at++;
			star = glob;
			held = text;
			continue;
		}
		if (glob.at < glob.end && element_match(&glob, &text, plain))
			continue;
		if (!star.end)
			return false;
		if (star.at == star.end)
			return true;
		character(&held);
		text = held;
		glob = star;
	}
	while (glob.at < glob.end && *glob.at == '*')
		glob.at++;
	return glob.at == glob.end;
}

bool lmq_glob_match(const char *glob, const char *text, size_t size)
{
	if (!text)
		text = "", size = 0;
	return glob_match((struct text){ glob, glob + strlen(glob) },
		(struct text){ text, text + size }, false);
}

/* ---- words --------------------------------------------------------------------------------- */

/*
 * The rest of a text, word by word. at is NULL behind the last one, since an empty rest still holds
 * a word: "" has one word, and "a." has two.
 */
static bool word_next(struct text *rest, struct text *word)
{
	const char *dot;

	if (!rest->at)
		return false;
	dot = rest->at < rest->end ? memchr(rest->at, '.', (size_t)(rest->end - rest->at)) : NULL;
	*word = (struct text){ rest->at, dot ? dot : rest->end };
	rest->at = dot ? dot + 1 : NULL;
	return true;
}

static bool word_is(const struct text *word, char c)
{
	return word->end - word->at == 1 && *word->at == c;
}

static bool word_match(const struct text *pattern, const struct text *word)
{
	return word_is(pattern, '+') || glob_match(*pattern, *word, true);
}

/* Whether nothing but "#" is left, which zero words match. */
static bool words_optional(struct text pattern)
{
	struct text word;

	while (word_next(&pattern, &word)) {
		if (!word_is(&word, '#'))
			return false;
	}
	return true;
}

bool lmq_pattern_match(const char *pattern, const char *text, size_t size)
{
	struct text rest = { pattern, pattern + strlen(pattern) };
	struct text words = { text, text ? text + size : NULL };
	struct text hash = { NULL, NULL }, held = words;
	struct text expected, word, next;

	while (words.at) {
		next = rest;
		if (word_next(&next, &expected)) {
			rest = next;
			if (word_is(&expected, '#')) {
				if (!rest.at)
					return true;
				hash = rest;
				held = words;
				continue;
			}
			word_next(&words, &word);
			if (word_match(&expected, &word))
				continue;
		}
		if (!hash.end)
			return false;
		word_next(&held, &word);
		words = held;
		rest = hash;
	}
	return words_optional(rest);
}

/* Why a word cannot stand in a pattern, or NULL. */
static const char *word_fault(const struct text *word)
{
	size_t size = (size_t)(word->end - word->at);

	if (size == 0)
		return "empty word; words are separated by single dots";
	if (size > 1 && memchr(word->at, '#', size))
		return "'#' must be a word of its own";
	if (size > 1 && memchr(word->at, '+', size))
		return "'+' must be a word of its own";
	return NULL;
}

/*
 * A name or key that itself holds "+" or "#" or an empty word is still matched, by "?", "+" and
 * "#"; as part of a pattern these are far more often a slip than meant, and would silently match
 * nothing.
 */
int lmq_pattern_valid(const char *pattern, const char **reason)
{
	struct text rest = { "", "" }, word;
	size_t size = pattern ? strlen(pattern) : 0;

	*reason = NULL;
	if (size == 0)
		*reason = "pattern is empty";
	else if (size > LMQ_KEY_MAX)
		*reason = "pattern is longer than 1024 bytes";
	else
		rest = (struct text){ pattern, pattern + size };
	while (!*reason && word_next(&rest, &word))
		*reason = word_fault(&word);
	return *reason ? LMQ_EINVAL : 0;
}

bool lmq_pattern_literal(const char *pattern)
{
	struct text rest = { pattern, pattern + strlen(pattern) }, word;

	if (strpbrk(pattern, "*?"))
		return false;
	while (word_next(&rest, &word)) {
		if (word_is(&word, '+') || word_is(&word, '#'))
			return false;
	}
	return true;
}
