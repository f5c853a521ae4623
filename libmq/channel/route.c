/* SPDX-License-Identifier: ISC */
/*
 * Routes: what is published to a topic or stream is copied on, in the publisher's transaction.
 *
 * From the source on, routes are followed to all channels that can be reached; one that is a topic or a
 * stream leads on. If no route on the way has conditions, each channel gets the whole batch, which nobody looks
 * into. Otherwise each message is decoded once and asked once for each such route, and each channel gets a bit for
 * each message; bits only ever get set, so that following goes on until nothing changes, and ends also where a
 * circle came about by renaming. A channel that is reached in several ways gets one copy for that reason, and the
 * source none. Batches are made for one channel at a time: beside the bits, memory for one more batch is needed.
 *
 * Everything happens in one transaction: killed anywhere, no copy is there, nor the message. What one channel
 * refuses (it is full, or sealed, or takes no message so large) is refused as a whole.
 *
 * A large body is not copied; the copies share it (blob.c).
 */
#include "route.h"

#include <string.h>

enum { DEPTH_MAX = 4 };	/* of copies that push out dead letters that are copied */

/* ---- spread ------------------------------------------------------------------------------- */

static int no_memory(lmq_store *s)
{
	return fail(s, LMQ_ENOMEM, "%s: out of memory", s->path);
}

/* Marks what can be reached over the rules of a plan, whatever their conditions say. */
static int reach(struct spread *p, const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct rule *rule = &p->table->rules[plan->rules[i]];
		struct arrival *at = &p->at[rule->target];
		uint32_t id = p->table->targets[rule->target].id;
		int rc = 0;
		if (id == p->source)
			continue;
		if (!at->reached && (rc = get_channel_record(p->s, p->mdb, id, &at->record)) == 0) {
			at->reached = true;
			p->order[p->reached++] = rule->target;
		}
		if (rc != 0 && rc != LMQ_END)
			return rc;
		if (at->reached && rule->filter && !p->bits[plan->rules[i]]) {
			p->bits[plan->rules[i]] = calloc(p->words, sizeof **p->bits);
			if (!p->bits[plan->rules[i]])
				return no_memory(p->s);
			p->asked[p->asked_count++] = plan->rules[i];
		}
	}
	return 0;
}

static bool leads_on(const struct arrival *at)
{
	return at->record.kind != LMQ_QUEUE;
}

static int reach_all(struct spread *p, const struct plan *plan)
{
	int rc = reach(p, plan);
	for (size_t i = 0; rc == 0 && i < p->reached; i++) {
		struct target *t = &p->table->targets[p->order[i]];
		const struct arrival *at = &p->at[p->order[i]];
		if (!leads_on(at))
			continue;
		rc = plan_make(p->s, p->table, t->id, at->record.name, &t->plan);
		if (rc == 0)
			rc = reach(p, &t->plan);
	}
	return rc;
}

/* Asks a message about the conditions of every rule on the way. */
static void ask(struct spread *p, size_t n, const struct lmq_message *m)
{
	for (size_t i = 0; i < p->asked_count; i++)
		if (lmq_filter_match(p->table->rules[p->asked[i]].filter, m))
			p->bits[p->asked[i]][n / 64] |= (uint64_t)1 << n % 64;
}

static int ask_all(struct spread *p)
{
	const uint8_t *record, *start, *end;
	size_t at = 0;
	for (size_t n = 0; batch_next(p->batch, &at, &record, &start, &end); n++) {
		struct lmq_message m;
		struct decoded parts;
		struct blob blob;
		if (!message_decode(start, end, &m, &parts, &blob))
			return fail(p->s, LMQ_EBUG, "%s: a message cannot be read back", p->name);
		ask(p, n, &m);
	}
	return 0;
}

/* A rule takes messages on to where it leads: those of from (NULL: all) that match it. */
static int take(struct spread *p, const uint64_t *from, uint32_t rule)
{
	struct arrival *to = &p->at[p->table->rules[rule].target];
	const uint64_t *matching = p->bits[rule];
	if (!to->reached || to->all || p->table->targets[p->table->rules[rule].target].id == p->source)
		return 0;
	if (!from && !matching) {
		to->all = p->changed = true;
		return 0;
	}
	if (!to->bits && !(to->bits = calloc(p->words, sizeof *to->bits)))
		return no_memory(p->s);
	for (size_t i = 0; i < p->words; i++) {
		uint64_t some = (from ? from[i] : UINT64_MAX) & (matching ? matching[i] : UINT64_MAX);
		p->changed |= (some & ~to->bits[i]) != 0;
		to->bits[i] |= some;
	}
	return 0;
}

static int take_plan(struct spread *p, const uint64_t *from, const struct plan *plan)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < plan->count; i++)
		rc = take(p, from, plan->rules[i]);
	return rc;
}

static int take_all(struct spread *p, const struct plan *plan)
{
	int rc = take_plan(p, NULL, plan);
	for (p->changed = true; rc == 0 && p->changed;) {
		p->changed = false;
		for (size_t i = 0; rc == 0 && i < p->reached; i++) {
			const struct arrival *at = &p->at[p->order[i]];
			if (leads_on(at) && (at->all || at->bits))
				rc = take_plan(p, at->all ? NULL : at->bits, &p->table->targets[p->order[i]].plan);
		}
	}
	return rc;
}

static int spread_room(struct spread *p)
{
	struct route_table *table = p->table;
	p->at = calloc(table->target_count, sizeof *p->at);
	p->order = malloc(table->target_count * sizeof *p->order);
	p->bits = calloc(table->count, sizeof *p->bits);
	p->asked = malloc(table->count * sizeof *p->asked);
	return p->at && p->order && p->bits && p->asked ? 0 : no_memory(p->s);
}

static void spread_end(struct spread *p)
{
	for (size_t i = 0; i < p->reached; i++)
		free(p->at[p->order[i]].bits);
	for (size_t i = 0; i < p->asked_count; i++)
		free(p->bits[p->asked[i]]);
	free(p->at);
	free(p->order);
	free(p->bits);
	free(p->asked);
}

/* Published to the channel called name. To be ended whatever it returns. */
static int spread_begin(struct spread *p, lmq_store *s, MDB_txn *mdb, uint32_t id, const char *name, const struct batch *b)
{
	struct plan *plan;
	int rc;
	*p = (struct spread){ .s = s, .mdb = mdb, .source = id, .name = name, .batch = b };
	rc = route_table(s, mdb, &p->table);
	if (rc != 0 || !p->table)
		return rc;
	p->words = b->count / 64 + 1;
	plan = &p->table->plans[id % PLANS];
	rc = plan_make(s, p->table, id, name, plan);
	if (rc != 0 || plan->count == 0)
		return rc;
	rc = spread_room(p);
	if (rc == 0)
		rc = reach_all(p, plan);
	if (rc == 0 && p->asked_count > 0)
		rc = ask_all(p);
	return rc == 0 ? take_all(p, plan) : rc;
}

/* ---- copies ------------------------------------------------------------------------------- */

static bool bit(const uint64_t *bits, size_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

/* Whether the message with that index gets there. */
static bool gets(const struct arrival *at, size_t n)
{
	return at->all || (at->bits && bit(at->bits, n));
}

static size_t count_bits(const struct spread *p, const struct arrival *at)
{
	size_t n = 0;
	for (size_t i = 0; at->bits && i < p->words; i++)
		n += (size_t)__builtin_popcountll(at->bits[i]);
	return at->all ? p->batch->count : n;
}

struct facts {			/* of the batch that is copied */
	uint64_t largest;	/* no body is larger */
	bool blobs;		/* some bodies are large ones */
};

static struct facts find_facts(const struct batch *b)
{
	const uint8_t *record, *start, *end;
	struct facts f = { .largest = 0 };
	for (size_t at = 0; batch_next(b, &at, &record, &start, &end);) {
		uint64_t size = *start & RECORD_BLOB ? get64(end - 8) : (uint64_t)(end - start);
		f.blobs |= (*start & RECORD_BLOB) != 0;
		f.largest = size > f.largest ? size : f.largest;
	}
	return f;
}

/* Goes through the messages that get there: it must take their sizes, and shares their large bodies. */
static int check_bodies(struct txn *t, const struct spread *p, const struct arrival *to)
{
	const uint8_t *record, *start, *end;
	uint64_t most = limit_of(&to->record, LIMIT_MAX_MESSAGE);
	char text[LMQ_VALUE_MAX];
	size_t at = 0;
	int rc = 0;
	for (size_t n = 0; rc == 0 && batch_next(p->batch, &at, &record, &start, &end); n++) {
		struct lmq_message m;
		struct decoded parts;
		struct blob blob;
		if (!gets(to, n))
			continue;
		if (!message_decode(start, end, &m, &parts, &blob))
			return fail(t->store, LMQ_EBUG, "%s: a message cannot be read back", to->record.name);
		if (m.body.size > most)
			return fail(t->store, LMQ_EDATA, "%s: a message that a route leads there is larger than the %s takes "
				"(max-message=%s)", to->record.name, lmq_kind_name((enum lmq_kind)to->record.kind),
				lmq_size_format(most, text));
		if (blob.size > 0)
			rc = blob_share(t, blob.number);
	}
	return rc;
}

/* Makes the batch of those messages of another that get there; part may have memory. */
static int make_part(const struct spread *p, const struct arrival *to, struct batch *part)
{
	const uint8_t *record, *start, *end;
	size_t at = 0;
	batch_empty(part);
	part->special = p->batch->special;
	part->has_ttl = p->batch->has_ttl;
	part->has_id = p->batch->has_id;
	for (size_t n = 0; batch_next(p->batch, &at, &record, &start, &end); n++)
		if (bit(to->bits, n) && !batch_add_record(part, record, end))
			return no_memory(p->s);
	return 0;
}

static int deliver(struct txn *t, uint32_t id, const struct arrival *to, struct batch *b, uint64_t *stored)
{
	struct intake in = INTAKE_INIT;
	int rc;
	in.routed = true;
	*stored += b->size + b->size / 16 + 4096;
	rc = txn_room(t, *stored);
	if (rc == 0)
		rc = intake(t, id, &to->record, b, &in);
	free(in.places);
	return rc;
}

static int copy_all(struct txn *t, const struct spread *p)
{
	struct batch part = { .records = NULL }, whole = *p->batch;
	struct facts facts = find_facts(p->batch);
	uint64_t stored = p->batch->size;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < p->reached; i++) {
		const struct arrival *to = &p->at[p->order[i]];
		size_t count = count_bits(p, to);
		if (count == 0)
			continue;
		if (facts.blobs || facts.largest > limit_of(&to->record, LIMIT_MAX_MESSAGE))
			rc = check_bodies(t, p, to);
		if (rc == 0 && count < whole.count)
			rc = make_part(p, to, &part);
		if (rc == 0)
			rc = deliver(t, p->table->targets[p->order[i]].id, to, count < whole.count ? &part : &whole,
				&stored);
	}
	batch_free(&part);
	return rc;
}

int route_out(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b)
{
	struct spread p;
	int rc = spread_begin(&p, t->store, t->mdb, id, r->name, b);
	if (rc == 0 && p.reached > 0) {
		if (p.table->depth == DEPTH_MAX)
			rc = fail(t->store, LMQ_ELIMIT, "%s: routes and dead letters go in a circle", r->name);
		p.table->depth++;
		if (rc == 0)
			rc = copy_all(t, &p);
		p.table->depth--;
	}
	spread_end(&p);
	return rc;
}

int route_reaches(struct txn *t, uint32_t id, const struct channel_record *r, const struct batch *b)
{
	struct spread p;
	int rc = spread_begin(&p, t->store, t->mdb, id, r->name, b);
	for (size_t n = 0; rc == 0 && n < b->count; n++) {
		bool somewhere = false;
		for (size_t i = 0; !somewhere && i < p.reached; i++)
			somewhere = gets(&p.at[p.order[i]], n);
		rc = somewhere ? 0 : LMQ_END;
	}
	spread_end(&p);
	return rc;
}

int route_fan(lmq_store *s, MDB_txn *mdb, uint32_t id, const struct channel_record *r, size_t *channels)
{
	struct batch none = { .records = NULL };
	struct spread p;
	int rc = spread_begin(&p, s, mdb, id, r->name, &none);
	*channels = rc == 0 ? p.reached : 0;
	spread_end(&p);
	return rc;
}

/* ---- trying ------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int take_names(const struct spread *p, char (**names)[LMQ_NAME_MAX + 1], size_t *count)
{
	*names = calloc(p->reached + 1, sizeof **names);
	if (!*names)
		return no_memory(p->s);
	for (size_t i = 0; i < p->reached; i++)
		if (gets(&p->at[p->order[i]], 0))
			strcpy((*names)[(*count)++], p->at[p->order[i]].record.name);
	qsort(*names, *count, sizeof **names, by_name);
	return 0;
}

static int try_within(lmq_store *s, MDB_txn *mdb, const char *name, const struct batch *b,
	char (**names)[LMQ_NAME_MAX + 1], size_t *count)
{
	struct channel_record r;
	struct spread p;
	uint32_t id = 0;
	int rc = find_channel(s, mdb, name, &id, &r);
	if (rc == 0 && r.kind == LMQ_QUEUE)
		return route_from_queue(s, name);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	rc = spread_begin(&p, s, mdb, id, name, b);
	if (rc == 0)
		rc = take_names(&p, names, count);
	spread_end(&p);
	return rc;
}

int lmq_route_test(lmq_store *s, const char *name, const struct lmq_message *message,
	char (**names)[LMQ_NAME_MAX + 1], size_t *count)
{
	struct lmq_message m = *message;
	struct batch b = { .records = NULL };
	struct snapshot view;
	const char *what;
	int rc;
	m.body.size = 0;	/* no route asks for it, and it may be too large for a record */
	*names = NULL;
	*count = 0;
	if (!lmq_name_valid(name))
		return fail(s, LMQ_EINVAL, "%.*s: not a valid name", LMQ_NAME_MAX, name);
	if (message_check(message, &what) != 0)
		return fail(s, LMQ_EDATA, "%s: %s", name, what);
	snapshot_init(s, &view);
	rc = batch_add(&b, &m, NULL) ? snapshot_begin(&view) : no_memory(s);
	if (rc == 0)
		rc = try_within(s, view.mdb, name, &b, names, count);
	snapshot_close(&view);
	batch_free(&b);
	return rc;
}
