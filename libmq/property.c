/* SPDX-License-Identifier: ISC */
/* Properties of channels and of the store: one table says name, kinds, grammar and default. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

enum grammar { SIZE, DURATION, NUMBER, YES };
enum { Q = 1 << LMQ_QUEUE, T = 1 << LMQ_TOPIC, S = 1 << LMQ_STREAM };

#define NONE UINT64_MAX
#define DAYS(n) ((uint64_t)(n) * 86400 * 1000000000)

static const struct property {
	const char *name;
	enum limit limit;
	unsigned kinds;
	enum grammar grammar;
	uint64_t default_value, topic_default, least, most;
} table[] = {
	{ "max-message", LIMIT_MAX_MESSAGE, Q | T | S, SIZE, 64 << 20, 64 << 20, 1, 1 << 30 },
	{ "max-age", LIMIT_MAX_AGE, T | S, DURATION, NONE, DAYS(7), 1000000, INT64_MAX },
	{ "max-bytes", LIMIT_MAX_BYTES, T | S, SIZE, NONE, NONE, 4096, INT64_MAX },
	{ "max-messages", LIMIT_MAX_MESSAGES, T | S, NUMBER, NONE, NONE, 1, INT64_MAX },
	{ "window", LIMIT_WINDOW, T, SIZE, 64 << 20, 64 << 20, 4096, INT64_MAX },
	{ "window-age", LIMIT_WINDOW_AGE, T, DURATION, DAYS(1) / 24, DAYS(1) / 24, 1000000, INT64_MAX },
	{ "sealed", LIMIT_SEALED, S, YES, 0, 0, 0, 1 },
};
enum { TABLE = sizeof table / sizeof *table };

static const char *const store_names[] = { "create", "max-bytes", "sync" };

const char *lmq_property_name(enum lmq_kind kind, size_t index)
{
	if (kind == LMQ_ANY)
		return index < 3 ? store_names[index] : NULL;
	for (size_t i = 0; i < TABLE; i++)
		if (table[i].kinds & 1u << kind && index-- == 0)
			return table[i].name;
	return NULL;
}

static uint64_t default_of(const struct property *p, unsigned kind)
{
	return kind == LMQ_TOPIC ? p->topic_default : p->default_value;
}

static uint64_t value_of(const struct channel_record *r, const struct property *p)
{
	return r->given & 1u << p->limit ? r->limit[p->limit] : default_of(p, r->kind);
}

uint64_t limit_of(const struct channel_record *r, enum limit l)
{
	for (size_t i = 0; i < TABLE; i++)
		if (table[i].limit == l)
			return value_of(r, &table[i]);
	return NONE;
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

static bool parse_yes(const char *text, uint64_t *value)
{
	*value = strcmp(text, "yes") == 0;
	return *value || strcmp(text, "no") == 0;
}

static bool parse_value(const struct property *p, const char *text, uint64_t *value)
{
	int64_t duration;
	bool good;
	*value = NONE;
	if (strcmp(text, "none") == 0)
		return p->grammar != YES && p->limit != LIMIT_MAX_MESSAGE;
	if (p->grammar == SIZE)
		good = lmq_size_parse(text, value) == 0;
	else if (p->grammar == NUMBER)
		good = parse_number(text, value);
	else if (p->grammar == YES)
		good = parse_yes(text, value);
	else {
		good = lmq_duration_parse(text, &duration) == 0;
		*value = good && duration == LMQ_FOREVER ? NONE : (uint64_t)duration;
		if (good && *value == NONE)
			return true;
	}
	return good && *value >= p->least && *value <= p->most;
}

static const char *grammar_text(const struct property *p)
{
	static const char *const text[] = {
		[SIZE] = "a size such as 64K, 10M, 512M",
		[DURATION] = "a duration such as 30s, 2h30m, 7d, or none",
		[NUMBER] = "a number of messages, or none",
		[YES] = "yes or no",
	};
	return p->limit == LIMIT_MAX_MESSAGE ? "a size of at least 1 byte and at most 1G" : text[p->grammar];
}

static void value_text(const struct property *p, uint64_t value, char *text)
{
	if (p->grammar == YES)
		strcpy(text, value ? "yes" : "no");
	else if (value == NONE)
		strcpy(text, "none");
	else if (p->grammar == SIZE)
		lmq_size_format(value, text);
	else if (p->grammar == DURATION)
		lmq_duration_format((int64_t)value, text);
	else
		snprintf(text, LMQ_VALUE_MAX, "%llu", (unsigned long long)value);
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

/* "NAME=VALUE" taken apart; name has room for 24 bytes. */
static int assignment_split(lmq_store *s, const char *object, const char *assignment, char name[24],
	const char **value)
{
	const char *equal = strchr(assignment, '=');
	if (!equal || equal == assignment)
		return fail(s, LMQ_EINVAL, "%s: '%s' is not of the form PROPERTY=VALUE", object, assignment);
	snprintf(name, 24, "%.*s", (int)(equal - assignment < 23 ? equal - assignment : 23), assignment);
	*value = equal + 1;
	return 0;
}

static int unknown_property(lmq_store *s, const char *object, enum lmq_kind kind, const char *name)
{
	char names[200];
	fail(s, LMQ_EINVAL, "%s: a %s has no property '%s'", object, kind == LMQ_ANY ? "store" : lmq_kind_name(kind),
		name);
	names_text(kind, names, sizeof names);
	fail_hint(s, "a %s has %s", kind == LMQ_ANY ? "store" : lmq_kind_name(kind), names);
	return LMQ_EINVAL;
}

static const struct property *property_find(enum lmq_kind kind, const char *name)
{
	for (size_t i = 0; i < TABLE; i++)
		if (table[i].kinds & 1u << kind && strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static void property_fill(const struct channel_record *r, const struct property *p, struct lmq_property *out)
{
	snprintf(out->name, sizeof out->name, "%s", p->name);
	value_text(p, value_of(r, p), out->value);
	out->set = value_of(r, p) != default_of(p, r->kind);
}

int property_set(lmq_store *s, const char *object, struct channel_record *r, const char *assignment,
	struct lmq_property *changed, bool *differs)
{
	const struct property *p;
	char name[24];
	const char *text;
	uint64_t value;
	int rc = assignment_split(s, object, assignment, name, &text);
	if (rc != 0)
		return rc;
	p = property_find(r->kind, name);
	if (!p)
		return unknown_property(s, object, r->kind, name);
	if (!parse_value(p, text, &value)) {
		fail(s, LMQ_EINVAL, "%s: '%.40s' is not a value for %s", object, text, p->name);
		fail_hint(s, "%s takes %s", p->name, grammar_text(p));
		return LMQ_EINVAL;
	}
	*differs = value_of(r, p) != value;
	r->given |= 1u << p->limit;
	r->limit[p->limit] = value;
	property_fill(r, p, changed);
	return 0;
}

void property_list(const struct channel_record *r, struct lmq_property *list, size_t *count)
{
	*count = 0;
	for (size_t i = 0; i < TABLE; i++)
		if (table[i].kinds & 1u << r->kind)
			property_fill(r, &table[i], &list[(*count)++]);
}

/* ---- the store ---------------------------------------------------------------------------- */

static void store_fill(const struct store_record *r, size_t index, struct lmq_property *out)
{
	snprintf(out->name, sizeof out->name, "%s", store_names[index]);
	if (index == 0) {
		strcpy(out->value, r->create ? "yes" : "no");
		out->set = !r->create;
	} else if (index == 1) {
		strcpy(out->value, "none");
		if (r->max_bytes)
			lmq_size_format(r->max_bytes, out->value);
		out->set = r->max_bytes != 0;
	} else {
		strcpy(out->value, r->sync == LMQ_SYNC_RELAXED ? "relaxed" : "full");
		out->set = r->sync == LMQ_SYNC_RELAXED;
	}
}

static bool store_parse(struct store_record *r, size_t index, const char *text)
{
	uint64_t value;
	if (index == 0) {
		if (!parse_yes(text, &value))
			return false;
		r->create = (uint8_t)value;
		return true;
	}
	if (index == 1) {
		if (strcmp(text, "none") == 0)
			value = 0;
		else if (lmq_size_parse(text, &value) != 0 || value < 1 << 20 || value > INT64_MAX)
			return false;
		r->max_bytes = value;
		return true;
	}
	if (strcmp(text, "full") != 0 && strcmp(text, "relaxed") != 0)
		return false;
	r->sync = *text == 'f' ? LMQ_SYNC_FULL : LMQ_SYNC_RELAXED;
	return true;
}

int store_property_set(lmq_store *s, struct store_record *r, const char *assignment, struct lmq_property *changed,
	bool *differs)
{
	static const char *const grammar[] = { "yes or no", "a size of at least 1M, or none", "full or relaxed" };
	struct lmq_property before = { .set = false };
	char name[24];
	const char *text;
	size_t i = 0;
	int rc = assignment_split(s, s->path, assignment, name, &text);
	if (rc != 0)
		return rc;
	while (i < 3 && strcmp(store_names[i], name) != 0)
		i++;
	if (i == 3)
		return unknown_property(s, s->path, LMQ_ANY, name);
	store_fill(r, i, &before);
	if (!store_parse(r, i, text)) {
		fail(s, LMQ_EINVAL, "%s: '%.40s' is not a value for %s", s->path, text, name);
		fail_hint(s, "%s takes %s", name, grammar[i]);
		return LMQ_EINVAL;
	}
	store_fill(r, i, changed);
	*differs = strcmp(before.value, changed->value) != 0;
	return 0;
}

int lmq_store_properties(lmq_store *s, struct lmq_property list[LMQ_PROPERTY_MAX], size_t *count)
{
	struct snapshot p;
	struct store_record r;
	int rc;
	snapshot_init(s, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = get_store_record(s, p.mdb, &r);
	snapshot_close(&p);
	*count = 0;
	while (rc == 0 && *count < 3) {
		store_fill(&r, *count, &list[*count]);
		++*count;
	}
	return rc;
}

int lmq_store_make(lmq_store *s, const char *const properties[], size_t count, struct lmq_property *changed,
	size_t *changed_count)
{
	struct txn t;
	struct store_record r;
	size_t n = 0;
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = get_store_record(s, t.mdb, &r);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct lmq_property one = { .set = false };
		bool differs;
		rc = store_property_set(s, &r, properties[i], &one, &differs);
		if (rc == 0 && differs && changed)
			changed[n++] = one;
	}
	if (changed_count)
		*changed_count = n;
	if (rc == 0)
		rc = put_store_record(&t, &r);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}
