/* SPDX-License-Identifier: ISC */
#include "witness.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct view *view;
static lmq_store *store;
static const char *moment;
static struct {
	const char *path;
	int64_t patience;
	bool look;
} task;

static void must(int rc, const char *what)
{
	need(rc == 0, "%s: %s: %d: %s", moment, what, rc, lmq_error(store));
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	view->size = (uint16_t)(view->size + vsnprintf(view->text + view->size, TEXT - view->size, format, arguments));
	va_end(arguments);
	need(view->size < TEXT - 1000, "the view is too small");
}

/* ---- looking ------------------------------------------------------------------------------- */

static void say_properties(const struct lmq_property *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].set)
			say(" %s=%s", list[i].name, list[i].value);
	say("\n");
}

static void look_message(lmq_reader *r, const struct lmq_message *m, bool queue)
{
	struct lmq_delivery d = { .state = LMQ_READY };
	struct lmq_bytes piece = m->body;
	unsigned number;
	uint64_t size = 0, sum = 0;
	uint32_t partition = m->partition;
	uint64_t offset = m->offset;
	char key[16];
	int priority = m->priority;
	snprintf(key, sizeof key, "%.*s", (int)m->key.size, m->key.data ? m->key.data : "");
	if (queue)
		must(lmq_reader_delivery(r, &d), "a delivery");
	number = NUMBERS;
	do {
		must(lmq_reader_body(r, size, &piece), "a body");
		if (size == 0)
			number = number_of(piece);
		for (size_t i = 0; i < piece.size; i++)
			sum = sum * 31 + (uint8_t)piece.data[i];
		size += piece.size;
	} while (piece.size > 0);
	need(number < NUMBERS, "%s: a message that nobody sent", moment);
	view->count[number]++;
	say(" %u/%llu %u %llu %llx %s p%d s%d %u,%u,%u,%u,%u,%d\n", partition, (unsigned long long)offset, number,
		(unsigned long long)size, (unsigned long long)sum, key, priority, d.state, d.history.attempts,
		d.history.failures, d.history.crashes, d.history.timeouts, d.history.reason, d.history.exit_status);
}

static void look_messages(lmq_channel *c, bool queue)
{
	struct lmq_message m;
	lmq_reader *r;
	int rc;
	must(lmq_reader_open(c, &r), "a reader");
	while ((rc = lmq_reader_next(r, &m)) == 0)
		look_message(r, &m, queue);
	must(rc == LMQ_END ? 0 : rc, "reading");
	lmq_reader_close(r);
}

static void look_groups(lmq_channel *c)
{
	struct lmq_group_info *g;
	size_t count;
	must(lmq_group_list(c, NULL, &g, &count), "groups");
	for (size_t i = 0; i < count; i++)
		say(" @%s/%u %llu %llu %llu l%llu d%llu r%llu b%llu %llu %llu %llu\n", g[i].name, g[i].partition,
			(unsigned long long)g[i].position, (unsigned long long)g[i].end, (unsigned long long)g[i].lag,
			(unsigned long long)g[i].leased, (unsigned long long)g[i].delayed,
			(unsigned long long)g[i].retrying, (unsigned long long)g[i].blocked,
			(unsigned long long)g[i].acknowledged, (unsigned long long)g[i].dead,
			(unsigned long long)g[i].missed);
	free(g);
}

static void look_channel(const struct lmq_channel_info *info)
{
	struct lmq_property properties[LMQ_PROPERTY_MAX];
	struct lmq_check check;
	struct lmq_channel_info i;
	lmq_channel *c;
	size_t count;
	must(lmq_channel_open(store, info->name, info->kind, 0, &c), info->name);
	must(lmq_channel_info(c, &i), "info");
	must(lmq_channel_check(c, &check, NULL, NULL), "check");
	need(check.damaged == 0, "%s: '%s' has %llu damaged blocks", moment, i.name, (unsigned long long)check.damaged);
	if (strcmp(i.name, "after") == 0) {
		lmq_channel_close(c);
		return;
	}
	must(lmq_channel_properties(c, properties, &count), "properties");
	say("%s %d %u %llu %llu %llu %llu %llu l%llu d%llu r%llu b%llu", i.name, i.kind, i.partitions,
		(unsigned long long)i.messages, (unsigned long long)i.first, (unsigned long long)i.end,
		(unsigned long long)i.sent, (unsigned long long)i.acknowledged, (unsigned long long)i.leased,
		(unsigned long long)i.delayed, (unsigned long long)i.retrying, (unsigned long long)i.blocked);
	say_properties(properties, count);
	look_messages(c, i.kind == LMQ_QUEUE);
	if (i.kind != LMQ_QUEUE)
		look_groups(c);
	lmq_channel_close(c);
}

static void fault(const struct lmq_fault *f, void *context)
{
	(void)context;
	broken("%s: mq-check would say: %s: %s", moment, f->object, f->what);
}

static void look(void)
{
	struct lmq_property properties[LMQ_PROPERTY_MAX];
	struct lmq_channel_info *list;
	struct lmq_accounts accounts;
	struct lmq_route *routes;
	size_t count;
	int rc;
	view->size = 0;
	memset(view->count, 0, sizeof view->count);
	must(lmq_channel_list(store, NULL, LMQ_ANY, &list, &count), "the list");
	for (size_t i = 0; i < count; i++)
		look_channel(&list[i]);
	free(list);
	must(lmq_route_list(store, &routes, &count), "routes");
	for (size_t i = 0; i < count; i++)
		say("route %s %s\n", routes[i].source, routes[i].destination);
	lmq_route_free(routes);
	must(lmq_store_properties(store, properties, &count), "the store's properties");
	say_properties(properties, count);
	rc = lmq_store_check(store, &accounts, fault, NULL, NULL);
	need(rc == 0 || rc == LMQ_EBUG, "%s: mq-check would end with %d: %s", moment, rc, lmq_error(store));
}

/* ---- using --------------------------------------------------------------------------------- */

static void receive_after(void)
{
	struct lmq_message m;
	lmq_channel *c;
	lmq_receiver *r;
	size_t count;
	must(lmq_channel_open(store, "after", LMQ_QUEUE, 0, &c), "the queue 'after'");
	must(lmq_receiver_open(c, NULL, &r), "a receiver");
	must(lmq_receiver_claim(r, 100, 1 << 20, &count), "a claim");
	for (size_t i = 0; i < count; i++)
		must(lmq_receiver_next(r, &m), "a message");
	must(lmq_receiver_settle(r, count, LMQ_SYNC_FULL), "settling");
	lmq_receiver_close(r);
	lmq_channel_close(c);
}

static int witness(void *argument)
{
	struct lmq_store_options o = { sizeof o, 0, task.patience };
	(void)argument;
	must(lmq_store_open(task.path, &o, &store), "another process cannot open the store");
	if (task.look)
		look();
	must(send_after(store), "another process cannot send");
	receive_after();
	lmq_store_close(store);
	return 0;
}

static void run(const char *path, struct view *v, int64_t patience, const char *when)
{
	int status;
	task.path = path;
	task.patience = patience;
	task.look = v != NULL;
	view = v;
	moment = when;
	status = in_child(witness, NULL);
	need(status < 128, "%s: who looks at the store dies of signal %d", when, status - 128);
	if (status != 0)
		exit(1);
}

void witness_look(const char *path, struct view *v, int64_t patience, const char *when)
{
	run(path, v, patience, when);
}

void witness_use(const char *path, int64_t patience, const char *when)
{
	run(path, NULL, patience, when);
}

/* ---- comparing ----------------------------------------------------------------------------- */

void witness_compare(const struct view *v, const struct note *notes, const char *when)
{
	for (unsigned i = 0; i < NUMBERS; i++) {
		const struct note *n = &notes[i];
		need(v->count[i] == 0 || n->sent != NO, "%s: message %u is there and was never sent", when, i);
		need(v->count[i] > 0 || n->sent != DONE || n->gone != NO, "%s: the acknowledged message %u is lost", when, i);
		need(v->count[i] == 0 || n->gone != DONE, "%s: message %u is there again after it was settled", when, i);
		need(v->count[i] < 2 || n->copies, "%s: message %u is there %u times", when, i, v->count[i]);
	}
}

const char *witness_difference(const struct view *a, const struct view *b)
{
	static char line[256];
	size_t at = 0, begin = 0;
	if (a->size == b->size && memcmp(a->text, b->text, a->size) == 0)
		return "";
	while (at < a->size && at < b->size && a->text[at] == b->text[at])
		if (a->text[at++] == '\n')
			begin = at;
	snprintf(line, sizeof line, "'%.*s' and not '%.*s'", (int)strcspn(a->text + begin, "\n"), a->text + begin,
		(int)strcspn(b->text + begin, "\n"), b->text + begin);
	return line;
}
