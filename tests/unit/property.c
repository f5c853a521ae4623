/* SPDX-License-Identifier: ISC */
/* Properties of channels. */
#include "unit.h"

#include "base/crc32c.h"
#include "channel/channel.h"

static struct lmq_store store;		/* only for its sentence */

static struct channel_record record(const char *name, enum lmq_kind kind)
{
	struct channel_record r = { .kind = (uint8_t)kind };
	snprintf(r.name, sizeof r.name, "%s", name);
	return r;
}

/* Sets it, and returns what is then shown; NULL if it was refused. */
static const char *set(struct channel_record *r, const char *assignment)
{
	static struct lmq_property changed;
	bool differs;
	return property_set(&store, r->name, r, assignment, &changed, &differs) == 0 ? changed.value : NULL;
}

static const char *shown(const struct channel_record *r, const char *name, bool *is_set)
{
	static struct lmq_property list[LMQ_PROPERTY_MAX];
	size_t count;
	property_list(r, list, &count);
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].name, name) == 0) {
			*is_set = list[i].set;
			return list[i].value;
		}
	return NULL;
}

static bool good(const char *assignment, const char *text)
{
	struct channel_record r = record("jobs", LMQ_QUEUE);
	const char *value = set(&r, assignment);
	return value && strcmp(value, text) == 0;
}

static bool refused(const char *assignment)
{
	struct channel_record r = record("jobs", LMQ_QUEUE);
	return !set(&r, assignment) && r.given == 0 && !*r.dead && *store.error.hint;
}

TEST(defaults, "each kind has its properties, in one order, with their defaults")
{
	static const struct {
		enum lmq_kind kind;
		const char *text;
	} rows[] = {
		{ LMQ_QUEUE, "lease=30s max-attempts=5 backoff=1s..5m dead=jobs.dead dedup=none order=none ttl=none "
			"max-messages=none max-bytes=none full=error max-message=64M " },
		{ LMQ_TOPIC, "dedup=none ttl=none max-messages=none max-bytes=none full=drop-old max-message=64M max-age=7d "
			"window=64M window-age=1h " },
		{ LMQ_STREAM, "dedup=none ttl=none max-messages=none max-bytes=none max-message=64M max-age=none "
			"max-per-key=none partitions=1 sealed=no audit=no " },
		{ LMQ_GROUP, "lease=30s max-attempts=5 backoff=1s..5m dead=jobs.dead order=none " },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct lmq_property list[LMQ_PROPERTY_MAX];
		struct channel_record r = record("jobs", rows[i].kind);
		char text[500] = "";
		size_t count;
		property_list(&r, list, &count);
		REQUIRE(count <= LMQ_PROPERTY_MAX);
		for (size_t j = 0; j < count; j++) {
			const char *name = lmq_property_name(rows[i].kind, j);
			strcat(strcat(strcat(strcat(text, list[j].name), "="), list[j].value), " ");
			CHECK(!list[j].set && name && strcmp(name, list[j].name) == 0);
		}
		CHECK(lmq_property_name(rows[i].kind, count) == NULL);
		CHECK_TEXT(text, rows[i].text);
	}
}

TEST(values, "values are read, and shown in their shortest spelling")
{
	CHECK(good("lease=90s", "90s"));
	CHECK(good("lease=1ms", "1ms"));
	CHECK(good("max-attempts=1", "1"));
	CHECK(good("max-attempts=4294967295", "4294967295"));
	CHECK(good("max-attempts=none", "none"));
	CHECK(good("backoff=2s..1m", "2s..1m"));
	CHECK(good("backoff=1s..5m", "1s..5m"));
	CHECK(good("backoff=10s", "10s"));
	CHECK(good("backoff=10s..10s", "10s"));
	CHECK(good("backoff=0.5s..1500ms", "500ms..1.5s"));
	CHECK(good("backoff=0", "0s"));
	CHECK(good("dedup=10m", "10m"));
	CHECK(good("dedup=forever", "none"));
	CHECK(good("order=key", "key"));
	CHECK(good("order=none", "none"));
	CHECK(good("ttl=168h", "7d"));
	CHECK(good("max-messages=10000", "10000"));
	CHECK(good("max-bytes=1G", "1G"));
	CHECK(good("full=block", "block"));
	CHECK(good("full=drop-old", "drop-old"));
	CHECK(good("full=dead", "dead"));
	CHECK(good("full=error", "error"));
	CHECK(good("max-message=1K", "1K"));
}

TEST(refusals, "what is no value is refused with a hint, and nothing is changed")
{
	static const char *const texts[] = {
		"lease=none", "lease=forever", "lease=0", "lease=999us", "lease=", "lease=x", "lease=40000d",
		"max-attempts=0", "max-attempts=-1", "max-attempts=4294967296", "max-attempts=1.5", "max-attempts=",
		"backoff=none", "backoff=forever", "backoff=1s..forever", "backoff=5m..1s", "backoff=..", "backoff=1s..",
		"backoff=..1s", "backoff=1s..2s..3s", "backoff=1s...2s", "backoff=", "backoff=1s..none", "backoff=40000d",
		"backoff=1111111111111111111111111111111111111111111111111111111111111111111111111111s",
		"dead=", "dead=a b", "dead=_x", "dead=jobs", "dead=a..b", "dedup=0", "dedup=off", "order=yes", "order=",
		"order=priority", "ttl=0", "ttl=soon", "max-messages=0", "max-messages=18446744073709551616", "max-bytes=1",
		"full=none", "full=", "full=drop", "max-message=none", "max-message=2G", "sealed=yes", "window=1M", "colour=red",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		CHECK_ROW(refused(texts[i]), texts[i]);
	refused("backoff=x");
	CHECK_TEXT(store.error.sentence, "jobs: 'x' is not a value for backoff");
	CHECK(strncmp(store.error.hint, "backoff takes ", 14) == 0);
	refused("colour=red");
	CHECK(strstr(store.error.hint, ", backoff, dead,") && strstr(store.error.hint, "max-message"));
}

TEST(limits, "limits are what was set, or the default")
{
	struct channel_record r = record("jobs", LMQ_QUEUE);
	CHECK(limit_of(&r, LIMIT_LEASE) == 30000000000 && limit_of(&r, LIMIT_MAX_ATTEMPTS) == 5);
	CHECK(limit_of(&r, LIMIT_BACKOFF_LEAST) == 1000000000);
	CHECK(limit_of(&r, LIMIT_BACKOFF_MOST) == UINT64_C(300000000000));
	CHECK(limit_of(&r, LIMIT_DEDUP) == UINT64_MAX && limit_of(&r, LIMIT_TTL) == UINT64_MAX);
	CHECK(limit_of(&r, LIMIT_ORDER_KEY) == 0 && limit_of(&r, LIMIT_FULL) == FULL_ERROR);
	CHECK(limit_of(&r, LIMIT_MAX_MESSAGES) == UINT64_MAX && limit_of(&r, LIMIT_MAX_BYTES) == UINT64_MAX);
	CHECK(set(&r, "backoff=3s") && set(&r, "order=key") && set(&r, "full=drop-old") && set(&r, "max-attempts=none"));
	CHECK(limit_of(&r, LIMIT_BACKOFF_LEAST) == 3000000000 && limit_of(&r, LIMIT_BACKOFF_MOST) == 3000000000);
	CHECK(limit_of(&r, LIMIT_ORDER_KEY) == 1 && limit_of(&r, LIMIT_FULL) == FULL_DROP_OLD);
	CHECK(limit_of(&r, LIMIT_MAX_ATTEMPTS) == UINT64_MAX);
	/* From a damaged or a foreign store. */
	r.limit[LIMIT_FULL] = 99;
	r.limit[LIMIT_BACKOFF_MOST] = UINT64_MAX - 5;
	CHECK(limit_of(&r, LIMIT_FULL) == FULL_ERROR && limit_of(&r, LIMIT_BACKOFF_MOST) == UINT64_C(300000000000));
}

TEST(changes, "what differs from before, and what from the default, is told")
{
	struct channel_record r = record("jobs", LMQ_QUEUE);
	struct lmq_property changed;
	bool differs, is_set;
	CHECK(property_set(&store, "jobs", &r, "backoff=1s..1m", &changed, &differs) == 0 && differs && changed.set);
	CHECK(property_set(&store, "jobs", &r, "backoff=1000ms..60s", &changed, &differs) == 0 && !differs);
	CHECK(shown(&r, "backoff", &is_set) && is_set);
	CHECK(property_set(&store, "jobs", &r, "backoff=1s..5m", &changed, &differs) == 0 && differs && !changed.set);
	CHECK(property_set(&store, "jobs", &r, "dead=jobs.dead", &changed, &differs) == 0 && !differs && !changed.set);
	CHECK(property_set(&store, "jobs", &r, "dead=none", &changed, &differs) == 0 && differs && changed.set);
	CHECK_TEXT(shown(&r, "dead", &is_set), "none");
}

TEST(dead, "dead letters go to NAME.dead, wherever dead= says, or nowhere")
{
	struct channel_record r = record("jobs", LMQ_QUEUE);
	char buffer[LMQ_NAME_MAX + 1];
	CHECK_TEXT(dead_of(&r, buffer), "jobs.dead");
	CHECK_TEXT(set(&r, "dead=all.dead"), "all.dead");
	CHECK_TEXT(dead_of(&r, buffer), "all.dead");
	CHECK_TEXT(set(&r, "dead=none"), "none");
	CHECK_TEXT(dead_of(&r, buffer), NULL);
	CHECK_TEXT(set(&r, "dead=jobs.dead"), "jobs.dead");
	strcpy(r.name, "work");		/* renamed: the default follows */
	CHECK_TEXT(dead_of(&r, buffer), "work.dead");
	CHECK_TEXT(set(&r, "dead=other"), "other");
	strcpy(r.name, "other");
	CHECK_TEXT(dead_of(&r, buffer), NULL);
	r = record("jobs.dead", LMQ_QUEUE);
	CHECK_TEXT(dead_of(&r, buffer), NULL);
	CHECK(set(&r, "dead=none") && !*r.dead);
	CHECK_TEXT(set(&r, "dead=graveyard"), "graveyard");
	r = record("none", LMQ_QUEUE);
	CHECK_TEXT(dead_of(&r, buffer), "none.dead");
	CHECK_TEXT(set(&r, "dead=none"), "none");
	CHECK_TEXT(dead_of(&r, buffer), NULL);
}

TEST(long_names, "every name has a name for its dead letters")
{
	char name[LMQ_NAME_MAX + 1], buffer[LMQ_NAME_MAX + 1];
	for (size_t n = 1; n <= LMQ_NAME_MAX; n++)
		for (size_t dot = 0; dot < n; dot++) {
			struct channel_record r;
			const char *dead;
			memset(name, 'n', n);
			name[n] = '\0';
			if (dot > 0 && dot < n - 1)
				name[dot] = '.';
			r = record(name, LMQ_QUEUE);
			dead = dead_of(&r, buffer);
			CHECK_ROW(dead && lmq_name_valid(dead) && lmq_name_reserved(dead) && strcmp(dead, name) != 0, name);
		}
}

TEST(stored, "a record keeps where dead letters go, and no cut or changed byte makes the decoder read beyond it")
{
	struct channel_record r = record("jobs", LMQ_QUEUE), got;
	struct key k = key_channel(9);
	uint8_t bytes[CHANNEL_RECORD_MAX];
	size_t size;
	memset(r.dead, 'd', LMQ_NAME_MAX);
	memset(r.name, 'n', LMQ_NAME_MAX);
	for (unsigned i = 0; i < LIMIT_COUNT; i++) {
		r.given |= 1u << i;
		r.limit[i] = i;
	}
	size = channel_record_put(&r, &k, bytes);
	CHECK(size == CHANNEL_RECORD_MAX);
	REQUIRE(channel_record_get(&got, &k, bytes, size));
	CHECK_TEXT(got.dead, r.dead);
	CHECK(got.given == r.given && memcmp(got.limit, r.limit, sizeof r.limit) == 0);
	r = record("jobs", LMQ_QUEUE);
	CHECK(set(&r, "dead=other") && set(&r, "backoff=2s..3s"));
	size = channel_record_put(&r, &k, bytes) - 4;
	for (size_t n = 0; n <= size; n++)
		for (size_t i = 0; i < n; i++) {
			uint8_t *p = malloc(n + 4);
			uint32_t crc;
			memcpy(p, bytes, n);
			p[i] = (uint8_t)unit_random();
			crc = crc32c(crc32c(0, p, n), k.bytes, k.size);	/* as if it had been written so */
			put32(p + n, crc);
			if (channel_record_get(&got, &k, p, n + 4))
				CHECK(lmq_name_valid(got.name) && (!*got.dead || lmq_name_valid(got.dead)));
			free(p);
		}
}

UNIT_MAIN
