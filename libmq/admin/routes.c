/* SPDX-License-Identifier: ISC */
/*
 * Routes: add, list, remove, try.
 *
 * A route that would let messages go round is refused: one from which, over the channels where routes lead, a
 * channel can be reached that is its source. Which channels are published to first does not matter, as any channel
 * that matches may be created later. Only a source with wildcards may match the route's own destination: "copy
 * everything to the log" does not mean the log itself. Renaming can close a circle all the same; what is published
 * then goes round it once.
 */
#include "channel/route.h"

#include <string.h>

enum { ROUTE_BYTES = 4096 };	/* of the store, for a new one */

static int no_memory(lmq_store *s)
{
	return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
}

/* ---- checking ----------------------------------------------------------------------------- */

static int check_condition(lmq_store *s, lmq_filter *filter, const char *text, const char *kind,
	int (*add)(lmq_filter *, const char *, const char **))
{
	const char *reason;
	int rc = add(filter, text, &reason);
	return rc == LMQ_EINVAL ? fail(s, rc, "%s: not a %s: %s", text, kind, reason) : rc;
}

static int check_name(lmq_store *s, const char *name)
{
	return lmq_name_valid(name) ? 0 : fail(s, LMQ_EINVAL, "%.*s: not a valid name", LMQ_NAME_MAX, name);
}

/* A source without wildcards is the name of a channel: what no channel can be called is a slip. */
static int check_route(lmq_store *s, const struct lmq_route *r)
{
	const char *reason;
	lmq_filter *filter;
	int rc;
	if (lmq_pattern_valid(r->source, &reason) != 0)
		return fail(s, LMQ_EINVAL, "%s: not a pattern: %s", r->source, reason);
	rc = check_name(s, r->destination);
	if (rc == 0 && lmq_pattern_literal(r->source))
		rc = check_name(s, r->source);
	if (rc != 0)
		return rc;
	if (lmq_filter_open(&filter) != 0)
		return no_memory(s);
	rc = r->key ? check_condition(s, filter, r->key, "pattern", lmq_filter_key) : 0;
	for (size_t i = 0; rc == 0 && i < r->header_count; i++)
		rc = check_condition(s, filter, r->headers[i], "condition", lmq_filter_header);
	lmq_filter_close(filter);
	return rc == LMQ_ENOMEM ? no_memory(s) : rc;
}

/* What means the same is stored the same. */
static struct lmq_route normal(const struct lmq_route *given)
{
	struct lmq_route r = *given;
	if (r.key && strcmp(r.key, "#") == 0)
		r.key = NULL;
	r.any = r.any && r.header_count > 1;
	return r;
}

static bool all_among(const struct lmq_route *a, const struct lmq_route *b)
{
	for (size_t i = 0; i < a->header_count; i++) {
		size_t j = 0;
		while (j < b->header_count && strcmp(a->headers[i], b->headers[j]) != 0)
			j++;
		if (j == b->header_count)
			return false;
	}
	return true;
}

static bool same_route(const struct lmq_route *a, const struct lmq_route *b)
{
	return strcmp(a->source, b->source) == 0 && !a->key == !b->key && (!a->key || strcmp(a->key, b->key) == 0) &&
		a->any == b->any && all_among(a, b) && all_among(b, a);
}

static const struct lmq_route *find_same(const struct route_table *table, const struct lmq_route *r, uint32_t id)
{
	for (size_t i = 0; table && i < table->count; i++)
		if (table->rules[i].binding.destination == id && same_route(&table->rules[i].binding.route, r))
			return &table->rules[i].binding.route;
	return NULL;
}

/* ---- circles ------------------------------------------------------------------------------ */

struct step {			/* on the way from the new route's destination */
	uint32_t id;
	size_t from;		/* index of the step before */
	char name[LMQ_NAME_MAX + 1];
};

struct walk {
	lmq_store *s;
	const struct route_table *table;
	struct step *steps;
	size_t count;
};

static bool walked(const struct walk *w, uint32_t id)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->steps[i].id == id)
			return true;
	return false;
}

/* "a -> b -> a": the way to a step, and on to where it began; of a long way the end, as much as a sentence can hold. */
static int circle(const struct walk *w, size_t at)
{
	char text[200] = "";
	const char *begin = w->steps[0].name;
	for (size_t used = 0, n;; at = w->steps[at].from) {
		n = strlen(w->steps[at].name) + (used ? 4 : 0);
		if (used + n >= sizeof text)
			break;
		memmove(text + n, text, used + 1);
		memcpy(text, w->steps[at].name, strlen(w->steps[at].name));
		if (used)
			memcpy(text + n - 4, " -> ", 4);
		used += n;
		if (at == 0)
			break;
	}
	return fail(w->s, LMQ_EINVAL, "%s: the route would close a circle: %s%s -> %s", begin, at == 0 ? "" : "... -> ", text,
		begin);
}

/* Takes the steps that the routes allow from a channel. */
static int walk_on(struct walk *w, MDB_txn *mdb, size_t from)
{
	const char *name = w->steps[from].name;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < w->table->count; i++) {
		const struct binding *b = &w->table->rules[i].binding;
		struct channel_record r;
		if (walked(w, b->destination) || !lmq_pattern_match(b->route.source, name, strlen(name)))
			continue;
		rc = get_channel_record(w->s, mdb, b->destination, &r);
		if (rc == 0 && r.kind != LMQ_QUEUE) {
			w->steps[w->count] = (struct step){ .id = b->destination, .from = from };
			strcpy(w->steps[w->count++].name, r.name);
		} else if (rc == LMQ_END) {
			rc = 0;
		}
	}
	return rc;
}

/* LMQ_EINVAL where the channel that the route leads to leads back to its source. */
static int check_circle(lmq_store *s, MDB_txn *mdb, const struct route_table *table, const struct lmq_route *r,
	uint32_t id, const struct channel_record *to)
{
	struct walk w = { .s = s, .table = table, .count = 1 };
	int rc = 0;
	if (lmq_pattern_literal(r->source) && strcmp(r->source, to->name) == 0)
		return fail(s, LMQ_EINVAL, "%s: the route would close a circle: %s -> %s", to->name, to->name, to->name);
	if (!table || to->kind == LMQ_QUEUE)
		return 0;
	w.steps = malloc((table->target_count + 1) * sizeof *w.steps);
	if (!w.steps)
		return no_memory(s);
	w.steps[0] = (struct step){ .id = id };
	strcpy(w.steps[0].name, to->name);
	for (size_t i = 0; rc == 0 && i < w.count; i++) {
		if (i > 0 && lmq_pattern_match(r->source, w.steps[i].name, strlen(w.steps[i].name)))
			rc = circle(&w, i);
		else
			rc = walk_on(&w, mdb, i);
	}
	free(w.steps);
	return rc;
}

/* ---- changing ----------------------------------------------------------------------------- */

static int put_route(struct txn *t, struct lmq_route *r, uint32_t destination)
{
	struct store_record store;
	uint8_t value[BINDING_MAX];
	struct key k;
	size_t size;
	int rc = get_store_record(t->store, t->mdb, &store);
	if (rc != 0)
		return rc;
	if (store.next_route == UINT32_MAX)
		return fail(t->store, LMQ_EFULL, "%s: the store has used up its numbers of routes", t->store->path);
	r->number = store.next_route ? store.next_route : 1;
	store.next_route = r->number + 1;
	k = key_route(r->number);
	size = binding_put(r, destination, &k, value);
	if (size == 0)
		return fail(t->store, LMQ_EINVAL, "%s: a route with more than %d bytes of conditions", r->source,
			BINDING_MAX - 100);
	rc = txn_room(t, 8192);
	if (rc == 0)
		rc = put_value(t, &k, value, size);
	return rc == 0 ? routes_changed(t, &store) : rc;
}

/* A queue's name as the source is a slip: nothing would ever be copied. */
static int check_source(lmq_store *s, MDB_txn *mdb, const struct lmq_route *r)
{
	struct channel_record from;
	uint32_t id;
	int rc;
	if (!lmq_pattern_literal(r->source))
		return 0;
	rc = find_channel(s, mdb, r->source, &id, &from);
	if (rc == 0 && from.kind == LMQ_QUEUE)
		return route_from_queue(s, r->source);
	return rc == LMQ_END ? 0 : rc;
}

static int add_within(struct txn *t, struct lmq_route *r, bool *added)
{
	lmq_store *s = t->store;
	const struct lmq_route *same;
	struct channel_record to;
	struct route_table *table;
	uint32_t id;
	int rc = find_channel(s, t->mdb, r->destination, &id, &to);
	if (rc == LMQ_END)
		return fail(s, LMQ_ENOENT, "%s: no such channel", r->destination);
	if (rc == 0)
		rc = check_source(s, t->mdb, r);
	if (rc == 0)
		rc = route_table(s, t->mdb, &table);
	if (rc != 0)
		return rc;
	same = find_same(table, r, id);
	*added = !same;
	if (same) {
		r->number = same->number;
		return 0;
	}
	rc = check_circle(s, t->mdb, table, r, id, &to);
	return rc == 0 ? put_route(t, r, id) : rc;
}

int lmq_route_add(lmq_store *s, struct lmq_route *route, bool *added)
{
	struct lmq_route r = normal(route);
	struct txn t;
	int rc = check_route(s, &r);
	*added = false;
	if (rc == 0)
		rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = add_within(&t, &r, added);
	if (rc == 0 && *added)
		rc = ballast_take(&t, ROUTE_BYTES);
	if (rc == 0 && *added)
		rc = txn_commit(&t, LMQ_SYNC_FULL);
	else
		txn_abort(&t);
	if (rc == 0)
		route->number = r.number;
	return rc;
}

int lmq_route_remove(lmq_store *s, uint32_t number)
{
	struct key k = key_route(number);
	struct store_record store;
	struct txn t;
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = delete_key(&t, &k);
	if (rc == LMQ_END)
		rc = fail(s, LMQ_ENOENT, "%u: no such route", number);
	if (rc == 0)
		rc = get_store_record(s, t.mdb, &store);
	if (rc == 0)
		rc = routes_changed(&t, &store);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

/* ---- looking ------------------------------------------------------------------------------ */

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* Bytes of a copy of the route, beside the struct. */
static size_t copy_size(const struct lmq_route *r)
{
	size_t size = r->header_count * sizeof *r->headers + LMQ_NAME_MAX + 1 + text_size(r->source) +
		text_size(r->key);
	for (size_t i = 0; i < r->header_count; i++)
		size += text_size(r->headers[i]);
	return size;
}

static const char *copy_text(char **at, const char *text)
{
	char *copy = *at;
	if (!text)
		return NULL;
	strcpy(copy, text);
	*at += strlen(copy) + 1;
	return copy;
}

/* Pointers have their place in front of all texts. */
static void copy_route(struct lmq_route *to, const struct lmq_route *r, const char *destination, const char ***heads,
	char **at)
{
	*to = *r;
	to->source = copy_text(at, r->source);
	to->key = copy_text(at, r->key);
	to->destination = copy_text(at, destination);
	to->headers = *heads;
	for (size_t i = 0; i < r->header_count; i++)
		*(*heads)++ = copy_text(at, r->headers[i]);
}

static int list_routes(lmq_store *s, MDB_txn *mdb, const struct route_table *table, struct lmq_route **list,
	size_t *count)
{
	size_t size = (table->count + 1) * sizeof **list, heads_count = 0;
	const char **heads;
	char *at;
	int rc = 0;
	for (size_t i = 0; i < table->count; i++) {
		size += copy_size(&table->rules[i].binding.route);
		heads_count += table->rules[i].binding.route.header_count;
	}
	*list = malloc(size);
	if (!*list)
		return no_memory(s);
	heads = (const char **)(*list + table->count + 1);
	at = (char *)(heads + heads_count);
	for (size_t i = 0; rc == 0 && i < table->count; i++) {
		const struct binding *b = &table->rules[i].binding;
		struct channel_record r;
		rc = get_channel_record(s, mdb, b->destination, &r);
		if (rc == 0)
			copy_route(&(*list)[(*count)++], &b->route, r.name, &heads, &at);
		else if (rc == LMQ_END)
			rc = 0;
	}
	return rc;
}

int lmq_route_list(lmq_store *s, struct lmq_route **list, size_t *count)
{
	struct route_table *table = NULL;
	struct snapshot p;
	int rc;
	*list = NULL;
	*count = 0;
	snapshot_init(s, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = route_table(s, p.mdb, &table);
	if (rc == 0 && table)
		rc = list_routes(s, p.mdb, table, list, count);
	snapshot_close(&p);
	if (rc != 0) {
		lmq_route_free(*list);
		*list = NULL;
		*count = 0;
	}
	return rc;
}

void lmq_route_free(struct lmq_route *list)
{
	free(list);
}
