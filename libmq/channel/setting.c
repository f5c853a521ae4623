/* SPDX-License-Identifier: ISC */
/* The store's own properties. */
#include "channel.h"

#include <stdio.h>
#include <string.h>

enum { SETTINGS = 3 };		/* create, max-bytes, sync: as lmq_property_name() has them */

static void setting_fill(const struct store_record *r, size_t index, struct lmq_property *out)
{
	snprintf(out->name, sizeof out->name, "%s", lmq_property_name(LMQ_ANY, index));
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

static bool setting_parse(struct store_record *r, size_t index, const char *text)
{
	uint64_t value;
	if (index == 0) {
		r->create = strcmp(text, "yes") == 0;
		return r->create || strcmp(text, "no") == 0;
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

static int setting_set(lmq_store *s, struct store_record *r, const char *assignment, struct lmq_property *changed,
	bool *differs)
{
	static const char *const grammar[] = { "yes or no", "a size of at least 1M, or none", "full or relaxed" };
	struct lmq_property before = { .set = false };
	char name[24];
	const char *text;
	size_t i = 0;
	int rc = property_split(s, s->path, assignment, name, &text);
	if (rc != 0)
		return rc;
	while (i < SETTINGS && strcmp(lmq_property_name(LMQ_ANY, i), name) != 0)
		i++;
	if (i == SETTINGS)
		return property_unknown(s, s->path, LMQ_ANY, name);
	setting_fill(r, i, &before);
	if (!setting_parse(r, i, text)) {
		fail(s, LMQ_EINVAL, "%s: '%.40s' is not a value for %s", s->path, text, name);
		fail_hint(s, "%s takes %s", name, grammar[i]);
		return LMQ_EINVAL;
	}
	setting_fill(r, i, changed);
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
	while (rc == 0 && *count < SETTINGS) {
		setting_fill(&r, *count, &list[*count]);
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
		bool differs = false;
		rc = setting_set(s, &r, properties[i], &one, &differs);
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
