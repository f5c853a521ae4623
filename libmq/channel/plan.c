/* SPDX-License-Identifier: ISC */
/*
 * The routes of a store, compiled: sources ready to compare, conditions as filters, destinations once each.
 *
 * A store handle keeps them. The store's record has a number that changes with the routes; who needs them compares
 * it and reads the routes anew only if it differs. Which routes apply to a channel is kept too, by its id and name,
 * as a publisher goes on publishing to the same one: without routes a publish costs a comparison.
 */
#include "route.h"

#include <string.h>


static int no_memory(lmq_store *s)
{
	return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
}

static void table_free(struct route_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->count; i++) {
		binding_free(&table->rules[i].binding);
		lmq_filter_close(table->rules[i].filter);
	}
	for (size_t i = 0; i < table->target_count; i++)
		free(table->targets[i].plan.rules);
	for (size_t i = 0; i < PLANS; i++)
		free(table->plans[i].rules);
	free(table->rules);
	free(table->targets);
	free(table);
}

static void forget(lmq_store *s)
{
	table_free(s->routes);
	s->routes = NULL;
}

/* The conditions as a filter, or NULL if there are none. */
static int compile(lmq_store *s, const struct lmq_route *r, lmq_filter **filter)
{
	const char *reason;
	int rc;
	*filter = NULL;
	if (!r->key && r->header_count == 0)
		return 0;
	rc = lmq_filter_open(filter);
	if (rc == 0 && r->key)
		rc = lmq_filter_key(*filter, r->key, &reason);
	for (size_t i = 0; rc == 0 && i < r->header_count; i++)
		rc = lmq_filter_header(*filter, r->headers[i], &reason);
	if (rc == 0 && r->any)
		lmq_filter_any(*filter);
	return rc == 0 ? 0 : rc == LMQ_EINVAL ? fail_damaged(s, "a route") : no_memory(s);
}

static struct rule *room_for_rule(struct route_table *table)
{
	size_t room = table->count ? 2 * table->count : 1;
	struct rule *more = table->rules;
	if ((table->count & (table->count - 1)) == 0)
		more = realloc(table->rules, room * sizeof *more);
	if (!more)
		return NULL;
	table->rules = more;
	more[table->count] = (struct rule){ .target = 0 };
	return &more[table->count];
}

/* LMQ_END behind the last one. */
static int read_rule(lmq_store *s, MDB_cursor *cursor, MDB_cursor_op op, struct route_table *table)
{
	struct rule *rule = room_for_rule(table);
	MDB_val key = { 1, "U" }, value;
	int rc;
	if (!rule)
		return no_memory(s);
	rc = mdb_cursor_get(cursor, &key, &value, op);
	if (rc != 0)
		return rc == MDB_NOTFOUND ? LMQ_END : fail_lmdb(s, s->path, rc);
	rc = binding_get(s, &key, &value, &rule->binding);
	if (rc != 0)
		return rc;
	table->count++;
	return compile(s, &rule->binding.route, &rule->filter);
}

static int read_rules(lmq_store *s, MDB_txn *mdb, struct route_table *table)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(mdb, s->table, &cursor);
	if (rc != 0)
		return fail_lmdb(s, s->path, rc);
	rc = read_rule(s, cursor, MDB_SET_RANGE, table);
	while (rc == 0)
		rc = read_rule(s, cursor, MDB_NEXT, table);
	mdb_cursor_close(cursor);
	return rc == LMQ_END ? 0 : rc;
}

static int by_id(const void *a, const void *b)
{
	const struct target *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

static struct target *find_target(const struct route_table *table, uint32_t id)
{
	struct target wanted = { .id = id };
	return bsearch(&wanted, table->targets, table->target_count, sizeof wanted, by_id);
}

static int make_targets(lmq_store *s, struct route_table *table)
{
	size_t n = 0;
	table->targets = calloc(table->count + 1, sizeof *table->targets);
	if (!table->targets)
		return no_memory(s);
	for (size_t i = 0; i < table->count; i++)
		table->targets[i].id = table->rules[i].binding.destination;
	qsort(table->targets, table->count, sizeof *table->targets, by_id);
	for (size_t i = 0; i < table->count; i++)
		if (n == 0 || table->targets[i].id != table->targets[n - 1].id)
			table->targets[n++].id = table->targets[i].id;
	table->target_count = n;
	for (size_t i = 0; i < table->count; i++)
		table->rules[i].target = (uint32_t)(find_target(table, table->rules[i].binding.destination) -
			table->targets);
	return 0;
}

static int table_read(lmq_store *s, MDB_txn *mdb, uint32_t serial)
{
	int rc;
	forget(s);
	s->routes = calloc(1, sizeof *s->routes);
	if (!s->routes)
		return no_memory(s);
	s->routes_free = table_free;
	s->routes->serial = serial;
	rc = read_rules(s, mdb, s->routes);
	if (rc == 0)
		rc = make_targets(s, s->routes);
	if (rc != 0)
		forget(s);
	return rc;
}

int route_table(lmq_store *s, MDB_txn *mdb, struct route_table **table)
{
	struct store_record store;
	int rc = get_store_record(s, mdb, &store);
	*table = NULL;
	if (rc != 0 || store.routes == 0)
		return rc;
	if (!s->routes || s->routes->serial != store.routes)
		rc = table_read(s, mdb, store.routes);
	if (rc == 0 && s->routes->count > 0)
		*table = s->routes;
	return rc;
}

int plan_make(lmq_store *s, const struct route_table *table, uint32_t id, const char *name, struct plan *p)
{
	size_t size = strlen(name);
	if (p->id == id && strcmp(p->name, name) == 0)
		return 0;
	free(p->rules);
	*p = (struct plan){ .id = id };
	p->rules = malloc(table->count * sizeof *p->rules);
	if (!p->rules)
		return no_memory(s);
	for (size_t i = 0; i < table->count; i++)
		if (lmq_pattern_match(table->rules[i].binding.route.source, name, size))
			p->rules[p->count++] = (uint32_t)i;
	strcpy(p->name, name);
	return 0;
}

int route_from_queue(lmq_store *s, const char *name)
{
	fail(s, LMQ_EKIND, "%s: a queue; routes begin at topics and streams", name);
	fail_hint(s, "mq-move and mq-exec --to take messages from a queue to another channel");
	return LMQ_EKIND;
}

int routes_changed(struct txn *t, struct store_record *store)
{
	if (++store->routes == 0)
		store->routes = 1;
	return put_store_record(t, store);
}

int route_forget(struct txn *t, uint32_t id)
{
	struct route_table *table;
	struct store_record store;
	bool some = false;
	int rc = route_table(t->store, t->mdb, &table);
	for (size_t i = 0; rc == 0 && table && i < table->count; i++) {
		struct key k = key_route(table->rules[i].binding.route.number);
		if (table->rules[i].binding.destination != id)
			continue;
		rc = delete_key(t, &k);
		some = true;
	}
	if (rc == 0 && some)
		rc = get_store_record(t->store, t->mdb, &store);
	return rc == 0 && some ? routes_changed(t, &store) : rc;
}
