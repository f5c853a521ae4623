/* SPDX-License-Identifier: ISC */
/*
 * Checking the whole store: every record, counter and index is held against the others, in one snapshot.
 *
 *	pages	the trees of LMDB's file, read without LMDB, before it is let near them (pages.c)
 *	census	names and channels lead to each other; no entry belongs to nobody; numbers are not given twice;
 *		ids and their ages; routes (census.c)
 *	tally	what blocks hold is what the head of their lane counts (tally.c)
 *	newest	table M knows the newest message of each key, and no other (newest.c)
 *	standing	runs do not overlap and are counted; floors of topics (standing.c); the indexes Q, D, K have
 *		the entries that follow from the runs, and no others (ranks.c)
 *	bodies	each large body is whole, and has as many messages as are counted (bodies.c)
 *
 * Everything is walked in the order of keys, so memory is bounded. Where two tables are ordered differently, a sum
 * over the hashes of what one has to hold is compared with that of what it holds; only where they differ are
 * entries looked up one by one, to be named.
 *
 * What a kill may leave behind is no fault: blocks below the first message, entries of the sweeper and what they
 * name, staged bodies. After one fault, what would only repeat it is kept quiet as far as possible.
 */
#include "accounts.h"

#include "file/pages.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STEP_TIME INT64_C(100000000)

enum { CLOCK_EVERY = 256, REFERENCES_MAX = 1 << 20, RENEWALS = 20 };

/* ---- faults --------------------------------------------------------------------------------- */

void account_fault(struct account *a, const char *object, const char *format, ...)
{
	va_list arguments;
	struct lmq_fault *f;
	if (a->again)
		return;
	a->found->faults++;
	if (a->kept == LMQ_FAULTS_MAX)
		return;
	if (a->kept == a->room) {
		void *more = realloc(a->faults, (a->room = 2 * a->room + 16) * sizeof *a->faults);
		if (!more) {
			a->room = a->kept;
			return;		/* it is counted */
		}
		a->faults = more;
	}
	f = &a->faults[a->kept++];
	snprintf(f->object, sizeof f->object, "%s", object);
	va_start(arguments, format);
	vsnprintf(f->what, sizeof f->what, format, arguments);
	va_end(arguments);
}

int account_no_memory(struct account *a)
{
	return fail(a->s, LMQ_ENOMEM, "%s: out of memory", a->s->path);
}

static int interrupted(struct account *a)
{
	return fail(a->s, LMQ_EINTR, "%s: the check was ended", a->s->path);
}

int account_tick(struct account *a)
{
	int64_t now;
	if (a->countdown-- > 0)
		return 0;
	a->countdown = CLOCK_EVERY;
	now = clock_monotonic();
	if (now < a->next)
		return 0;
	a->next = now + STEP_TIME;
	return !a->progress || a->progress(a->found, a->context) ? 0 : interrupted(a);
}

/* ---- numbers -------------------------------------------------------------------------------- */

void account_number(struct account *a, const char *object, uint32_t id)
{
	if (a->numbered && id >= a->store.next_id)
		account_fault(a, object, "has the number %u, and the store says that %u is the next", id, a->store.next_id);
}

int account_space(struct account *a, uint32_t space)
{
	if (a->space_count == a->space_room) {
		void *more = realloc(a->spaces, (a->space_room = 2 * a->space_room + 64) * sizeof *a->spaces);
		if (!more)
			return account_no_memory(a);
		a->spaces = more;
	}
	a->spaces[a->space_count++] = space;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

bool account_has_space(const struct account *a, uint32_t space)
{
	return a->space_count > 0 && bsearch(&space, a->spaces, a->space_count, sizeof space, by_number);
}

static void sort_spaces(struct account *a)
{
	if (a->space_count == 0)
		return;
	qsort(a->spaces, a->space_count, sizeof *a->spaces, by_number);
	for (size_t i = 1; i < a->space_count; i++)
		if (a->spaces[i] == a->spaces[i - 1])
			account_fault(a, "store", "two readers keep their runs under the same number, %u", a->spaces[i]);
}

int account_get(struct account *a, const struct key *k, MDB_val *value)
{
	return get_value(a->s, a->view.mdb, k, value);
}

bool account_name(const struct key *k, size_t from, char name[LMQ_NAME_MAX + 1])
{
	size_t n = k->size - from;
	if (k->size < from || n > LMQ_NAME_MAX)
		n = 0;
	memcpy(name, k->bytes + from, n);
	name[n] = '\0';
	return strlen(name) == n && lmq_name_valid(name);
}

const char *owner_object(const struct owner *o, uint16_t lane, const char *group, char text[OBJECT_MAX])
{
	char partition[8] = "";
	if (o->lanes > 1)
		snprintf(partition, sizeof partition, "/%u", lane);
	snprintf(text, OBJECT_MAX, "%s%s%s%s", o->name, partition, group && *group ? "@" : "", group ? group : "");
	return text;
}

/* ---- channels ------------------------------------------------------------------------------- */

static int check_channel(struct account *a, struct owner *o)
{
	int rc = 0;
	account_number(a, o->name, o->id);
	for (uint16_t lane = 0; rc == 0 && lane < o->lanes; lane++) {
		rc = tally_lane(a, o, lane);
		if (rc == 0 && !a->again)
			rc = standing_lane(a, o, lane);
	}
	return rc == 0 && !a->again ? census_channel(a, o) : rc;
}

static int check_channels(struct account *a, struct owner *o)
{
	struct key table = { { 'P' }, 1 };
	struct entries e;
	int rc = entries_open(a, &e, &table, table.size);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		*o = (struct owner){ .id = get32(e.key.bytes + 1) };
		snprintf(o->name, sizeof o->name, "channel %u", o->id);
		if (!channel_record_get(&o->record, &e.key, e.value.mv_data, e.value.mv_size) ||
				o->record.kind == LMQ_GROUP) {
			account_fault(a, o->name, "its record is damaged");
			a->bodies.uncertain = a->unplaced = true;
			continue;
		}
		strcpy(o->name, o->record.name);
		o->lanes = lanes_of(&o->record);
		rc = check_channel(a, o);
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

/* Of removed channels only the large bodies count that their messages still hold, and the runs of their readers. */
static int check_removed(struct account *a, struct owner *o)
{
	struct key table = key_sweep('c', 0), heads;
	struct entries e, lanes = { .cursor = NULL };
	int rc = entries_open(a, &e, &table, 2);
	while (rc == 0 && (rc = entries_next(&e)) == 0) {
		*o = (struct owner){ .id = (uint32_t)get64(e.key.bytes + 2), .removed = true, .lanes = 1 };
		snprintf(o->name, sizeof o->name, "removed channel %u", o->id);
		if (!a->again)
			rc = standing_removed(a, o);
		heads = key_head(o->id, 0);
		if (rc == 0)
			rc = entries_open(a, &lanes, &heads, RUN_PREFIX);
		while (rc == 0 && (rc = entries_next(&lanes)) == 0)
			rc = tally_lane(a, o, get16(lanes.key.bytes + RUN_PREFIX));
		entries_close(&lanes);
		rc = rc == LMQ_END ? 0 : rc;
	}
	entries_close(&e);
	return rc == LMQ_END ? 0 : rc;
}

static int check_logs(struct account *a)
{
	struct owner *o = malloc(sizeof *o);
	int rc = o ? check_channels(a, o) : account_no_memory(a);
	if (rc == 0)
		rc = check_removed(a, o);
	free(o);
	return rc;
}

static int check_tables(struct account *a)
{
	int rc = census_store(a);
	if (rc == 0)
		rc = census_names(a);
	if (rc == 0)
		rc = check_logs(a);
	sort_spaces(a);
	if (rc == 0)
		rc = census_strays(a);
	if (rc == 0)
		rc = census_sweeps(a);
	if (rc == 0)
		rc = census_routes(a);
	if (rc == 0)
		rc = bodies_staged(a);
	while (rc == 0 && (rc = bodies_check(a)) == 0 && bodies_more(a)) {
		a->again = true;
		rc = check_logs(a);
		a->again = false;
	}
	return rc;
}

/* ---- pages ---------------------------------------------------------------------------------- */

static void page_fault_met(uint64_t page, const char *what, void *context)
{
	char object[32];
	snprintf(object, sizeof object, "page %llu", (unsigned long long)page);
	account_fault(context, object, "%s", what);
}

static bool page_step(const struct pages_count *sofar, void *context)
{
	struct account *a = context;
	a->found->pages = sofar->used;
	return !a->progress || a->progress(a->found, a->context);
}

/* Of the state that the snapshot sees, which is renewed until nobody commits twice before it is looked at. */
static int check_pages(struct account *a)
{
	struct pages_watch watch = { page_fault_met, page_step, a };
	struct pages_count count;
	int rc = LMQ_EBUSY;
	for (unsigned i = 0; rc == LMQ_EBUSY && i < RENEWALS; i++) {
		snapshot_pause(&a->view);
		rc = snapshot_begin(&a->view);
		if (rc == 0)
			rc = pages_check(a->s, a->view.mdb, &count, &watch);
	}
	if (rc == LMQ_EBUSY)
		return fail(a->s, rc, "%s: others write so fast that its pages cannot be looked at", a->s->path);
	if (rc == LMQ_EINTR)
		return interrupted(a);
	if (rc == 0) {
		a->found->pages = count.used;
		a->found->unreadable = count.faults > 0;
	}
	return rc;
}

/* ---- all of it ------------------------------------------------------------------------------ */

int account_check(lmq_store *s, struct lmq_accounts *accounts,
	void (*fault)(const struct lmq_fault *fault, void *context),
	bool (*progress)(const struct lmq_accounts *sofar, void *context), void *context, size_t references)
{
	struct account a = { .s = s, .found = accounts, .progress = progress, .context = context,
		.bodies = { .most = references, .limit = UINT64_MAX } };
	int rc;
	*accounts = (struct lmq_accounts){ .pages = 0 };
	snapshot_init(s, &a.view);
	rc = check_pages(&a);
	if (rc == 0 && !accounts->unreadable)
		rc = check_tables(&a);
	snapshot_close(&a.view);
	for (size_t i = 0; rc == 0 && fault && i < a.kept; i++)
		fault(&a.faults[i], context);
	free(a.faults);
	free(a.spaces);
	free(a.bodies.list);
	return rc;
}

int lmq_store_check(lmq_store *s, struct lmq_accounts *accounts,
	void (*fault)(const struct lmq_fault *fault, void *context),
	bool (*progress)(const struct lmq_accounts *sofar, void *context), void *context)
{
	return account_check(s, accounts, fault, progress, context, REFERENCES_MAX);
}
