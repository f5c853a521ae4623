/* SPDX-License-Identifier: ISC */
/* Properties of channels: one table says name, kinds, grammar and default. */
#include "channel.h"

#include <stdio.h>
#include <string.h>

enum grammar { SIZE, DURATION, SPAN, NUMBER, WORD, NAME };
enum { Q = 1 << LMQ_QUEUE, T = 1 << LMQ_TOPIC, S = 1 << LMQ_STREAM, G = 1 << LMQ_GROUP };

#define NONE UINT64_MAX
#define SECONDS(n) ((uint64_t)(n) * 1000000000)
#define DAYS(n) SECONDS((n) * 86400)

enum { MILLISECOND = 1000000 };
/* The longest that is added to a time: a hundred years, after which no sum overflows. */
#define LONG DAYS(UINT64_C(36500))

#define SOME_SIZE "a size of at least 4K such as 64K, 10M, or none"
#define SOME_DURATION "a duration such as 30s, 2h30m, 7d, or none"

static const char *const no_yes[] = { "no", "yes", NULL };
static const char *const order_words[] = { "none", "key", NULL };
static const char *const full_words[] = {
	[FULL_ERROR] = "error", [FULL_BLOCK] = "block", [FULL_DROP_OLD] = "drop-old", [FULL_DEAD] = "dead", NULL
};

/* In the order of listings. A row without a name holds the upper limit of the span above it. */
static const struct property {
	const char *name;
	enum limit limit;
	unsigned kinds;
	enum grammar grammar;
	bool may_be_none;
	uint64_t default_value, topic_default, least, most;
	const char *takes;		/* the grammar in words */
	const char *const *words;	/* WORD: the value is an index */
} table[] = {
	{ "lease", LIMIT_LEASE, Q | G, DURATION, false, SECONDS(30), SECONDS(30), MILLISECOND, LONG,
		"a duration of at least 1ms, such as 30s, 2h", NULL },
	{ "max-attempts", LIMIT_MAX_ATTEMPTS, Q | G, NUMBER, true, 5, 5, 1, UINT32_MAX,
		"a number of attempts, or none", NULL },
	{ "backoff", LIMIT_BACKOFF_LEAST, Q | G, SPAN, false, SECONDS(1), SECONDS(1), 0, LONG,
		"the first and the longest delay such as 1s..5m, or one duration for both", NULL },
	{ NULL, LIMIT_BACKOFF_MOST, Q | G, SPAN, false, SECONDS(300), SECONDS(300), 0, LONG, NULL, NULL },
	{ "dead", LIMIT_COUNT, Q | G, NAME, true, 0, 0, 0, 0, "the name of another queue, or none", NULL },
	{ "dedup", LIMIT_DEDUP, Q | T | S, DURATION, true, NONE, NONE, MILLISECOND, LONG, SOME_DURATION, NULL },
	{ "order", LIMIT_ORDER_KEY, Q | G, WORD, false, 0, 0, 0, 1, "key or none", order_words },
	{ "ttl", LIMIT_TTL, Q | T | S, DURATION, true, NONE, NONE, MILLISECOND, LONG, SOME_DURATION, NULL },
	{ "max-messages", LIMIT_MAX_MESSAGES, Q | T | S, NUMBER, true, NONE, NONE, 1, INT64_MAX,
		"a number of messages, or none", NULL },
	{ "max-bytes", LIMIT_MAX_BYTES, Q | T | S, SIZE, true, NONE, NONE, 4096, INT64_MAX, SOME_SIZE, NULL },
	{ "full", LIMIT_FULL, Q | T, WORD, false, FULL_ERROR, FULL_DROP_OLD, 0, FULL_DEAD,
		"error, block, drop-old or dead", full_words },
	{ "max-message", LIMIT_MAX_MESSAGE, Q | T | S, SIZE, false, 64 << 20, 64 << 20, 1, 1 << 30,
		"a size of at least 1 byte and at most 1G", NULL },
	{ "max-age", LIMIT_MAX_AGE, T | S, DURATION, true, NONE, DAYS(7), MILLISECOND, INT64_MAX,
		SOME_DURATION, NULL },
	{ "window", LIMIT_WINDOW, T, SIZE, true, 64 << 20, 64 << 20, 4096, INT64_MAX, SOME_SIZE, NULL },
	{ "window-age", LIMIT_WINDOW_AGE, T, DURATION, true, SECONDS(3600), SECONDS(3600), MILLISECOND, INT64_MAX,
		SOME_DURATION, NULL },
	{ "max-per-key", LIMIT_MAX_PER_KEY, S, NUMBER, true, NONE, NONE, 1, 10000,
		"a number of messages of at most 10000, or none", NULL },
	{ "partitions", LIMIT_PARTITIONS, S, NUMBER, false, 1, 1, 1, LMQ_PARTITIONS_MAX,
		"a number from 1 to 128", NULL },
	{ "sealed", LIMIT_SEALED, S, WORD, false, 0, 0, 0, 1, "yes or no", no_yes },
	{ "audit", LIMIT_AUDIT, S, WORD, false, 0, 0, 0, 1, "yes or no", no_yes },
};
enum { TABLE = sizeof table / sizeof *table };

static const char *const store_names[] = { "create", "max-bytes", "sync" };

static bool property_has(const struct property *p, unsigned kind)
{
	return p->name && p->kinds & 1u << kind;
}

const char *lmq_property_name(enum lmq_kind kind, size_t index)
{
	if (kind == LMQ_ANY)
		return index < 3 ? store_names[index] : NULL;
	for (size_t i = 0; i < TABLE; i++)
		if (property_has(&table[i], kind) && index-- == 0)
			return table[i].name;
	return NULL;
}

static uint64_t default_of(const struct property *p, unsigned kind)
{
	return kind == LMQ_TOPIC ? p->topic_default : p->default_value;
}

static bool value_sound(const struct property *p, uint64_t value)
{
	return value == NONE ? p->may_be_none : value >= p->least && value <= p->most;
}

/* Whatever the disk says, it is one that could have been set. */
static uint64_t value_of(const struct channel_record *r, const struct property *p)
{
	bool given = r->given & 1u << p->limit && value_sound(p, r->limit[p->limit]);
	return given ? r->limit[p->limit] : default_of(p, r->kind);
}

uint16_t lanes_of(const struct channel_record *r)
{
	return r->kind == LMQ_STREAM ? (uint16_t)limit_of(r, LIMIT_PARTITIONS) : 1;
}

uint64_t limit_of(const struct channel_record *r, enum limit l)
{
	for (size_t i = 0; i < TABLE; i++)
		if (table[i].limit == l)
			return value_of(r, &table[i]);
	return NONE;
}

/* ---- dead letters ------------------------------------------------------------------------- */

/* NAME.dead, of a long name as much as fits; NULL for a queue of dead letters. */
static const char *dead_default(const char *name, char buffer[LMQ_NAME_MAX + 1])
{
	static const char ending[] = ".dead";
	size_t n = strlen(name), tail = sizeof ending - 1;
	if (n > tail && strcmp(name + n - tail, ending) == 0)
		return NULL;
	if (n > LMQ_NAME_MAX - tail)
		n = LMQ_NAME_MAX - tail;
	if (name[n - 1] == '.')
		n--;
	memcpy(buffer, name, n);
	strcpy(buffer + n, ending);
	return buffer;
}

const char *dead_of(const struct channel_record *r, char buffer[LMQ_NAME_MAX + 1])
{
	if (!*r->dead)
		return dead_default(r->name, buffer);
	/* A queue may have been given the name of the one for its dead letters since. */
	return strcmp(r->dead, "none") == 0 || strcmp(r->dead, r->name) == 0 ? NULL : r->dead;
}

/* Keeps the name, as the default where it is that: so it follows when the queue is renamed. */
static bool dead_set(struct channel_record *r, const char *text)
{
	char buffer[LMQ_NAME_MAX + 1];
	const char *usual = dead_default(r->name, buffer);
	bool none = strcmp(text, "none") == 0;
	if (!none && (!lmq_name_valid(text) || *text == '_' || strcmp(text, r->name) == 0))
		return false;
	snprintf(r->dead, sizeof r->dead, "%s", strcmp(text, usual ? usual : "none") == 0 ? "" : text);
	return true;
}

/* ---- values ------------------------------------------------------------------------------- */

static bool parse_number(const char *text, uint64_t *value)
{
	*value = 0;
	if (!*text)
		return false;
	for (; *text; text++)
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(*value, 10, value) ||
				__builtin_add_overflow(*value, (uint64_t)(*text - '0'), value))
			return false;
	return true;
}

static bool parse_word(const char *const *words, const char *text, uint64_t *value)
{
	for (*value = 0; words[*value]; ++*value)
		if (strcmp(words[*value], text) == 0)
			return true;
	return false;
}

/* "forever" is NONE. */
static bool parse_duration(const char *text, uint64_t *value)
{
	int64_t duration;
	if (lmq_duration_parse(text, &duration) != 0)
		return false;
	*value = duration == LMQ_FOREVER ? NONE : (uint64_t)duration;
	return true;
}

static bool parse_value(const struct property *p, const char *text, uint64_t *value)
{
	bool good;
	*value = NONE;
	if (p->may_be_none && strcmp(text, "none") == 0)
		return true;
	if (p->grammar == SIZE)
		good = lmq_size_parse(text, value) == 0;
	else if (p->grammar == NUMBER)
		good = parse_number(text, value);
	else if (p->grammar == WORD)
		good = parse_word(p->words, text, value);
	else
		good = parse_duration(text, value);
	return good && value_sound(p, *value);
}

/* "1s..5m", or "10s" for both. */
static bool parse_span(const struct property *p, const char *text, uint64_t value[2])
{
	char first[LMQ_VALUE_MAX];
	const char *dots = strstr(text, "..");
	size_t n = dots ? (size_t)(dots - text) : strlen(text);
	if (n >= sizeof first)
		return false;
	memcpy(first, text, n);
	first[n] = '\0';
	return parse_value(p, first, &value[0]) && parse_value(p, dots ? dots + 2 : first, &value[1]) &&
		value[0] <= value[1];
}

static void limit_set(struct channel_record *r, enum limit l, uint64_t value)
{
	r->given |= 1u << l;
	r->limit[l] = value;
}

static bool value_set(struct channel_record *r, const struct property *p, const char *text)
{
	uint64_t value[2];
	bool span = p->grammar == SPAN;
	if (p->grammar == NAME)
		return dead_set(r, text);
	if (span ? !parse_span(p, text, value) : !parse_value(p, text, value))
		return false;
	limit_set(r, p->limit, value[0]);
	if (span)
		limit_set(r, p[1].limit, value[1]);
	return true;
}

static void number_text(const struct property *p, uint64_t value, char *text)
{
	if (p->grammar == WORD)
		strcpy(text, p->words[value]);
	else if (value == NONE)
		strcpy(text, "none");
	else if (p->grammar == SIZE)
		lmq_size_format(value, text);
	else if (p->grammar == NUMBER)
		snprintf(text, LMQ_VALUE_MAX, "%llu", (unsigned long long)value);
	else
		lmq_duration_format((int64_t)value, text);
}

static void value_text(const struct channel_record *r, const struct property *p, char text[LMQ_NAME_MAX + 1])
{
	char upper[LMQ_VALUE_MAX], buffer[LMQ_NAME_MAX + 1];
	const char *dead = p->grammar == NAME ? dead_of(r, buffer) : NULL;
	if (p->grammar == NAME) {
		strcpy(text, dead ? dead : "none");
		return;
	}
	number_text(p, value_of(r, p), text);
	if (p->grammar == SPAN && value_of(r, p + 1) != value_of(r, p)) {
		number_text(p + 1, value_of(r, p + 1), upper);
		strcat(strcat(text, ".."), upper);
	}
}

/* ---- channels ----------------------------------------------------------------------------- */

static void names_text(enum lmq_kind kind, char *text, size_t room)
{
	const char *name;
	size_t n = 0;
	*text = '\0';
	for (size_t i = 0; (name = lmq_property_name(kind, i)); i++)
		n += (size_t)snprintf(text + n, n < room ? room - n : 0, "%s%s", i ? ", " : "", name);
}

int property_split(lmq_store *s, const char *object, const char *assignment, char name[24], const char **value)
{
	const char *equal = strchr(assignment, '=');
	if (!equal || equal == assignment)
		return fail(s, LMQ_EINVAL, "%s: '%s' is not of the form PROPERTY=VALUE", object, assignment);
	snprintf(name, 24, "%.*s", (int)(equal - assignment < 23 ? equal - assignment : 23), assignment);
	*value = equal + 1;
	return 0;
}

int property_unknown(lmq_store *s, const char *object, enum lmq_kind kind, const char *name)
{
	char names[200];
	const char *what = kind == LMQ_ANY ? "store" : lmq_kind_name(kind);
	fail(s, LMQ_EINVAL, "%s: a %s has no property '%s'", object, what, name);
	names_text(kind, names, sizeof names);
	fail_hint(s, "a %s has %s", what, names);
	return LMQ_EINVAL;
}

static const struct property *property_find(enum lmq_kind kind, const char *name)
{
	for (size_t i = 0; i < TABLE; i++)
		if (property_has(&table[i], kind) && strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static bool is_default(const struct channel_record *r, const struct property *p)
{
	if (p->grammar == NAME)
		return !*r->dead;
	return value_of(r, p) == default_of(p, r->kind) && (p->grammar != SPAN || is_default(r, p + 1));
}

static void property_fill(const struct channel_record *r, const struct property *p, struct lmq_property *out)
{
	snprintf(out->name, sizeof out->name, "%s", p->name);
	value_text(r, p, out->value);
	out->set = !is_default(r, p);
}

int property_set(lmq_store *s, const char *object, struct channel_record *r, const char *assignment,
	struct lmq_property *changed, bool *differs)
{
	const struct property *p;
	struct lmq_property before = { .set = false };
	char name[24];
	const char *text;
	int rc = property_split(s, object, assignment, name, &text);
	if (rc != 0)
		return rc;
	p = property_find(r->kind, name);
	if (!p)
		return property_unknown(s, object, r->kind, name);
	property_fill(r, p, &before);
	if (!value_set(r, p, text)) {
		fail(s, LMQ_EINVAL, "%s: '%.40s' is not a value for %s", object, text, p->name);
		fail_hint(s, "%s takes %s", p->name, p->takes);
		return LMQ_EINVAL;
	}
	property_fill(r, p, changed);
	*differs = strcmp(before.value, changed->value) != 0;
	return 0;
}

void property_list(const struct channel_record *r, struct lmq_property *list, size_t *count)
{
	*count = 0;
	for (size_t i = 0; i < TABLE; i++)
		if (property_has(&table[i], r->kind))
			property_fill(r, &table[i], &list[(*count)++]);
}
