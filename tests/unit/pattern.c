/* SPDX-License-Identifier: ISC */
/* Patterns and globs, also against matchers that are slow and plain. */
#include "unit.h"

#include "libmq.h"

static bool matches(const char *pattern, const char *text)
{
	return lmq_pattern_match(pattern, text, strlen(text));
}

static bool globs(const char *glob, const char *text)
{
	return lmq_glob_match(glob, text, strlen(text));
}

struct row {
	const char *pattern;
	const char *text;
};

TEST(words, "+ and * are one word, # is any number of words, anywhere")
{
	static const struct row yes[] = {
		{ "orders", "orders" }, { "+", "orders" }, { "*", "orders" }, { "#", "orders" },
		{ "#", "a.b.c" }, { "orders.+.created", "orders.eu.created" },
		{ "orders.*.created", "orders.eu.created" }, { "orders.#", "orders" },
		{ "orders.#", "orders.eu" }, { "orders.#", "orders.eu.created" },
		{ "#.created", "created" }, { "#.created", "a.b.created" }, { "a.#.z", "a.z" },
		{ "a.#.z", "a.b.z" }, { "a.#.z", "a.z.z" }, { "#.#", "a" }, { "#.a.#", "x.a.y" },
		{ "#.+", "a" }, { "+.#.+", "a.b" }, { "#.a.#.b", "x.a.a.y.b.b" }, { "+", "" },
		{ "#", "" }, { "+.+", "." },
	};
	static const struct row no[] = {
		{ "orders", "order" }, { "order", "orders" }, { "+", "a.b" }, { "*", "a.b" },
		{ "a.+", "a" }, { "+.+", "a" }, { "orders.#", "orders2" }, { "orders.#", "order" },
		{ "#.created", "acreated" }, { "a.#.z", "a" }, { "a.#.z", "az" },
		{ "a.#.z", "a.b" }, { "+.#.+", "a" }, { "a", "" }, { "a", "a." }, { "a.b", "a" },
		{ "a", "a.b" }, { "#.a.#.b", "x.b.a" },
	};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		CHECK_ROW(matches(yes[i].pattern, yes[i].text), yes[i].pattern);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		CHECK_ROW(!matches(no[i].pattern, no[i].text), no[i].pattern);
}

TEST(inside, "inside a word * and ? match as in the shell and never cross a dot")
{
	CHECK(matches("ord*", "orders"));
	CHECK(matches("*s", "orders"));
	CHECK(matches("o*d*s", "orders"));
	CHECK(matches("order?", "orders"));
	CHECK(matches("orders*", "orders"));
	CHECK(matches("a.b*.c", "a.bx.c"));
	CHECK(matches("?", "\xc3\xa9"));
	CHECK(matches("[a]", "[a]"));
	CHECK(matches("a\\b", "a\\b"));
	CHECK(!matches("o*", "o.x"));
	CHECK(!matches("a?b", "a.b"));
	CHECK(!matches("??", "\xc3\xa9"));
	CHECK(!matches("order?", "order"));
	CHECK(!matches("[a]", "a"));
}

TEST(absent, "no text at all, which is not an empty text, matches # only")
{
	CHECK(lmq_pattern_match("#", NULL, 0));
	CHECK(lmq_pattern_match("#.#", NULL, 0));
	CHECK(!lmq_pattern_match("+", NULL, 0));
	CHECK(!lmq_pattern_match("*", NULL, 0));
	CHECK(!lmq_pattern_match("a.#", NULL, 0));
}

TEST(sized, "the text ends at its size, not at a NUL")
{
	CHECK(lmq_pattern_match("ab", "abc", 2));
	CHECK(lmq_pattern_match("a*c", "a\0c", 3));
	CHECK(!lmq_pattern_match("a", "a\0c", 3));
	CHECK(lmq_glob_match("a?c", "a\0c", 3));
	CHECK(lmq_glob_match("", NULL, 0));
}

TEST(valid, "patterns are refused with a reason when a word cannot be meant")
{
	static const char *const good[] = {
		"a", "a.b", "#", "+", "*", "?", "a*.b?", "#.#", "a.#.b", "+.+",
		"a/b:c d", "\xc3\xa9", "[x]",
	};
	static const char *const bad[] = {
		"", ".", "a.", ".a", "a..b", "a#", "#a", "a.b+", "+b", "##", "++",
		"+#", "a.#*",
	};
	char text[LMQ_KEY_MAX + 2];
	const char *reason;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK_ROW(lmq_pattern_valid(good[i], &reason) == 0, good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reason = NULL;
		CHECK_ROW(lmq_pattern_valid(bad[i], &reason) == LMQ_EINVAL && reason, bad[i]);
	}
	memset(text, 'a', sizeof(text));
	text[LMQ_KEY_MAX] = '\0';
	CHECK(lmq_pattern_valid(text, &reason) == 0);
	text[LMQ_KEY_MAX] = 'a';
	text[LMQ_KEY_MAX + 1] = '\0';
	CHECK(lmq_pattern_valid(text, &reason) == LMQ_EINVAL);
	CHECK(lmq_pattern_valid(NULL, &reason) == LMQ_EINVAL);
}

TEST(literal, "a pattern without wildcards is literal")
{
	CHECK(lmq_pattern_literal("orders"));
	CHECK(lmq_pattern_literal("orders.eu"));
	CHECK(lmq_pattern_literal("[a]"));
	CHECK(!lmq_pattern_literal("#"));
	CHECK(!lmq_pattern_literal("a.+"));
	CHECK(!lmq_pattern_literal("+.a"));
	CHECK(!lmq_pattern_literal("a*"));
	CHECK(!lmq_pattern_literal("a?"));
}

TEST(globs, "globs know *, ?, sets and the backslash, and no words")
{
	static const struct row yes[] = {
		{ "", "" }, { "*", "" }, { "*", "a.b/c" }, { "a*c", "abbc" }, { "a?c", "abc" },
		{ "?", "\xc3\xa9" }, { "?", "\xff" }, { "[a-c]", "b" }, { "[!a-c]", "d" },
		{ "[^a-c]", "d" }, { "[]]", "]" }, { "[!]]", "a" }, { "[a-]", "-" },
		{ "[-a]", "-" }, { "[\xc3\xa0-\xc3\xbf]", "\xc3\xa9" }, { "\\*", "*" },
		{ "[\\]]", "]" }, { "a\\", "a\\" }, { "[", "[" }, { "[a", "[a" }, { "[]", "[]" },
		{ "[!", "[!" }, { "x[*]y", "x*y" }, { "*.[ch]", "x.y.c" }, { "+", "+" },
		{ "#", "#" }, { "[[]", "[" }, { "\\[a]", "[a]" }, { "***", "a" }, { "[\\", "[\\" },
		{ "[a-", "[a-" }, { "*\xff", "\xfe\xff" },
	};
	static const struct row no[] = {
		{ "", "a" }, { "?", "" }, { "a", "" }, { "a*c", "abb" }, { "[a-c]", "d" },
		{ "[!a-c]", "b" }, { "[]", "a" }, { "[c-a]", "b" }, { "\\*", "a" }, { "[a]", "" },
		{ "?", "ab" }, { "A", "a" }, { "+", "a" }, { "A", "\xc1\x81" },
		{ "A", "\xe0\x81\x81" }, { "??", "\xc3\xa9" }, { "[!a]", "" }, { "[!a]", "bb" },
		{ "*[!\xc3\xa9]", "\xc3\xa9" },
	};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		CHECK_ROW(globs(yes[i].pattern, yes[i].text), yes[i].pattern);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		CHECK_ROW(!globs(no[i].pattern, no[i].text), no[i].pattern);
}

/* ---- the same, by trying everything ---------------------------------------------------------- */

/* Random texts consist of these; the e with accent takes two bytes and is one character. */
static const char *const letters[] = { "a", "b", "\xc3\xa9", ".", "*", "?", "+", "#" };

static size_t letter_size(const char *at)
{
	return *at == '\xc3' ? 2 : 1;
}

/* One word against one word; both end at a dot or NUL. */
static bool plain_word(const char *p, const char *t)
{
	bool p_end = *p == '\0' || *p == '.', t_end = *t == '\0' || *t == '.';

	if (p_end)
		return t_end;
	if (*p == '*')
		return plain_word(p + 1, t) || (!t_end && plain_word(p, t + letter_size(t)));
	if (t_end)
		return false;
	if (*p != '?' && memcmp(p, t, letter_size(p)) != 0)
		return false;
	return plain_word(p + letter_size(p), t + letter_size(t));
}

/* The word behind the next dot, or NULL. */
static const char *behind(const char *text)
{
	const char *dot = strchr(text, '.');

	return dot ? dot + 1 : NULL;
}

static bool is_word(const char *at, char c)
{
	return at[0] == c && (at[1] == '\0' || at[1] == '.');
}

/* NULL is no word left. */
static bool plain_words(const char *p, const char *t)
{
	if (!p)
		return !t;
	if (is_word(p, '#'))
		return plain_words(behind(p), t) || (t && plain_words(p, behind(t)));
	if (!t || !(is_word(p, '+') || plain_word(p, t)))
		return false;
	return plain_words(behind(p), behind(t));
}

static void some_text(char *text, size_t most, size_t kinds)
{
	*text = '\0';
	for (size_t n = unit_random_below(most + 1); n; n--)
		strcat(text, letters[unit_random_below(kinds)]);
}

TEST(patterns_agree, "patterns match what trying everything matches")
{
	char pattern[32], text[32];
	unsigned hits = 0;

	for (int i = 0; i < 400000; i++) {
		bool expected;

		some_text(pattern, 9, 8);
		some_text(text, 9, 4);
		expected = plain_words(pattern, text);
		hits += expected;
		if (matches(pattern, text) != expected)
			CHECK_ROW(false, pattern);
	}
	CHECK(hits > 1000);
}

/* Patterns in which every word is a wildcard or one letter meet long texts far more often. */
TEST(hashes_agree, "patterns of many # match what trying everything matches")
{
	static const char *const words[] = { "#", "#", "+", "a", "b", "a*" };
	char pattern[32], text[32];
	unsigned hits = 0;

	for (int i = 0; i < 200000; i++) {
		bool expected;

		pattern[0] = text[0] = '\0';
		for (size_t n = 1 + unit_random_below(6); n; n--)
			strcat(strcat(pattern, words[unit_random_below(6)]), n > 1 ? "." : "");
		for (size_t n = 1 + unit_random_below(8); n; n--)
			strcat(strcat(text, letters[unit_random_below(2)]), n > 1 ? "." : "");
		expected = plain_words(pattern, text);
		hits += expected;
		if (matches(pattern, text) != expected)
			CHECK_ROW(false, pattern);
	}
	CHECK(hits > 10000);
}

TEST(globs_agree, "globs match what trying everything matches")
{
	char glob[32], text[32];

	for (int i = 0; i < 200000; i++) {
		some_text(glob, 9, 8);
		some_text(text, 9, 3);
		/* Without dots a glob is one word; "+" and "#" are themselves in both. */
		if (strchr(glob, '.'))
			continue;
		if (globs(glob, text) != plain_word(glob, text))
			CHECK_ROW(false, glob);
	}
}

TEST(bounded, "patterns made to be slow are not")
{
	char pattern[LMQ_KEY_MAX + 1], text[LMQ_KEY_MAX + 1];
	const char *reason;

	for (size_t i = 0; i < LMQ_KEY_MAX; i++) {
		pattern[i] = i % 2 ? '.' : '#';
		text[i] = i % 2 ? '.' : 'a';
	}
	pattern[LMQ_KEY_MAX] = text[LMQ_KEY_MAX] = '\0';
	pattern[LMQ_KEY_MAX - 1] = 'b';
	CHECK(!matches(pattern, text));
	memcpy(pattern + LMQ_KEY_MAX - 4, ".b.#", 4);
	pattern[LMQ_KEY_MAX - 3] = 'b';
	CHECK(!matches(pattern, text));
	for (size_t i = 0; i < LMQ_KEY_MAX; i++) {
		pattern[i] = i % 2 ? 'a' : '*';
		text[i] = 'a';
	}
	pattern[LMQ_KEY_MAX - 1] = 'b';
	CHECK(lmq_pattern_valid(pattern, &reason) == 0);
	CHECK(!matches(pattern, text));
	CHECK(!globs(pattern, text));
	pattern[LMQ_KEY_MAX - 1] = 'a';
	CHECK(matches(pattern, text));
}

TEST(noise, "random bytes neither crash a match nor reach behind their end")
{
	for (int i = 0; i < 100000; i++) {
		size_t length = unit_random_below(12), size = unit_random_below(12);
		char *pattern = malloc(length + 1), *text = malloc(size ? size : 1);
		const char *reason;

		REQUIRE(pattern && text);
		for (size_t j = 0; j < length; j++)
			pattern[j] = unit_random_below(2) ? "*?[]!-\\.+#^a"[unit_random_below(12)]
				: (char)(1 + unit_random_below(255));
		pattern[length] = '\0';
		for (size_t j = 0; j < size; j++)
			text[j] = (char)unit_random();
		lmq_pattern_valid(pattern, &reason);
		lmq_pattern_literal(pattern);
		lmq_pattern_match(pattern, text, size);
		lmq_glob_match(pattern, text, size);
		free(pattern);
		free(text);
	}
}

UNIT_MAIN
