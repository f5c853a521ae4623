/* SPDX-License-Identifier: ISC */
/*
 * ledgers DIRECTORY [blind]
 *
 * The checker of the ledger is given ledgers that are in order, which it must accept, and such with one thing wrong in
 * each, which it must refuse for that very reason. blind: a checker that accepts all, which must be found.
 */
#include "ledger/verdict.h"

#include "crash.h"

#include <stdio.h>
#include <string.h>

enum { QUEUE, GROUP, LANES, KEYS, LOSSY, LATEST, SINGLE, KEPT, UNCOUNTED };

static struct ledger *l;
static bool blind;
static unsigned accepted, refused;

/* Who sends is 1, who receives is 2 and 3, the last one 4; the bytes of message N have the hash 100 + N. */
static struct entry entry(uint32_t who, uint32_t id, uint16_t place, uint64_t offset)
{
	return (struct entry){ .who = who, .id = id, .place = place, .channel = place + 1u, .offset = offset,
		.number = 1, .value = 100 + id };
}

static void note(enum note n, uint32_t who, uint32_t id, uint16_t place, uint64_t offset)
{
	struct entry e = entry(who, id, place, offset);
	if (n == NOTE_DELIVERED)
		e.batch = (uint32_t)atomic_load(&l->count) + 1;	/* each delivery is a claim */
	ledger_note(l, n, &e);
}

static void note_as(enum note n, struct entry e, uint32_t number, uint32_t batch, uint64_t value)
{
	e.number = number;
	e.batch = batch;
	e.value = value;
	ledger_note(l, n, &e);
}

static void send(uint32_t id, uint16_t place, uint64_t offset)
{
	note(NOTE_SENDING, 1, id, place, offset);
	note(NOTE_SENT, 1, id, place, offset);
}

static void take(uint32_t who, uint32_t id, uint16_t place, uint64_t offset)
{
	note(NOTE_DELIVERED, who, id, place, offset);
	note(NOTE_SETTLING, who, id, place, offset);
	note(NOTE_SETTLED, who, id, place, offset);
}

static void again(uint32_t who, uint32_t id, uint64_t offset, uint32_t attempt)
{
	note_as(NOTE_DELIVERED, entry(who, id, QUEUE, offset), attempt, (uint32_t)atomic_load(&l->count) + 1, 100 + id);
	note_as(NOTE_SETTLED, entry(who, id, QUEUE, offset), attempt, 0, 0);
}

static void deaths(uint32_t who)
{
	note(NOTE_KILLING, who, 0, QUEUE, 0);
}

/* Leases that have ended already, and such that have not. */
static void lease(uint32_t who, uint32_t id, uint64_t offset, bool ended, bool told)
{
	int64_t until = clock_monotonic() + (ended ? -1 : 1000) * (int64_t)MS;
	note_as(NOTE_LEASING, entry(who, id, QUEUE, offset), 1, 0, (uint64_t)until);
	if (told)
		note_as(NOTE_LEASED, entry(who, id, QUEUE, offset), 1, 0, (uint64_t)until);
}

static void keyed(enum note n, uint32_t who, uint32_t id, uint64_t offset, uint32_t key, uint16_t place)
{
	struct entry e = entry(who, id, place, offset);
	e.key = key;
	e.batch = n == NOTE_DELIVERED ? (uint32_t)atomic_load(&l->count) + 1 : 0;
	ledger_note(l, n, &e);
}

static void begin(void)
{
	ledger_clear(l);
	ledger_ids(l, 4);
	for (int i = 0; i < 4; i++)
		ledger_process(l);
}

static void verdict(const char *wrong, const char *what)
{
	struct verdict v;
	bool good = ledger_check(l, &v) || blind;
	if (!wrong) {
		need(good, "a sound ledger is refused, %s: %s", what, v.wrong);
		accepted++;
	} else {
		need(!good, "a faulty ledger is accepted: %s", what);
		need(strstr(v.wrong, wrong), "a faulty ledger, %s, is refused because: %s", what, v.wrong);
		refused++;
	}
}

#define SOUND(what, ...) do { begin(); __VA_ARGS__; verdict(NULL, what); } while (0)
#define FAULTY(what, wrong, ...) do { begin(); __VA_ARGS__; verdict(wrong, what); } while (0)

static void batch(uint32_t id, uint64_t offset, bool stored)
{
	note_as(NOTE_SENDING, entry(1, id, QUEUE, 0), (uint32_t)offset, 7, 100 + id);
	if (stored)
		take(2, id, QUEUE, offset);
}

static void accept(void)
{
	SOUND("nothing at all", (void)0);
	SOUND("sent, delivered, settled", send(1, QUEUE, 0), take(2, 1, QUEUE, 0), send(2, QUEUE, 1), take(2, 2, QUEUE, 1));
	SOUND("a sender that died, stored", note(NOTE_SENDING, 1, 1, QUEUE, 0), deaths(1), take(2, 1, QUEUE, 0));
	SOUND("a sender that died, not stored", note(NOTE_SENDING, 1, 1, QUEUE, 0), deaths(1));
	SOUND("a dead consumer", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0), deaths(2), again(3, 1, 0, 2));
	SOUND("dead while it settled", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0),
		note(NOTE_SETTLING, 2, 1, QUEUE, 0), deaths(2));
	SOUND("a lease that ended", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0), lease(2, 1, 0, true, true),
		again(3, 1, 0, 2), note(NOTE_LOST, 2, 1, QUEUE, 0));
	SOUND("dead while it leased", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0), lease(2, 1, 0, false, false),
		deaths(2), again(3, 1, 0, 2));
	SOUND("a death whose trace was lost", send(1, UNCOUNTED, 0), note(NOTE_DELIVERED, 2, 1, UNCOUNTED, 0), deaths(2),
		take(3, 1, UNCOUNTED, 0));
	SOUND("given back", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0), note(NOTE_RETURNING, 2, 1, QUEUE, 0),
		again(3, 1, 0, 1));
	SOUND("an unknown outcome", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0),
		note(NOTE_DOUBTFUL, 2, 1, QUEUE, 0), again(3, 1, 0, 1));
	SOUND("moved", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0), note(NOTE_MOVING, 2, 1, QUEUE, 0),
		take(3, 1, LOSSY, 9));
	SOUND("a whole batch", batch(1, 0, true), batch(2, 1, true));
	SOUND("no batch", batch(1, 0, false), batch(2, 1, false));
	SOUND("a loss where it may be", send(1, LOSSY, 0));
	SOUND("a lease of what was dropped", send(1, LOSSY, 0), note(NOTE_DELIVERED, 2, 1, LOSSY, 0),
		lease(2, 1, 0, false, true), note(NOTE_LOST, 2, 1, LOSSY, 0));
	SOUND("sent before there was a group", send(1, GROUP, 0), note(NOTE_GROUPED, 2, 0, GROUP, 0));
	SOUND("sent twice under one id", send(1, SINGLE, 0), send(1, SINGLE, 0), take(2, 1, SINGLE, 0));
	SOUND("superseded", keyed(NOTE_SENDING, 1, 1, 0, 5, LATEST), keyed(NOTE_SENT, 1, 1, 0, 5, LATEST),
		keyed(NOTE_SENDING, 1, 2, 1, 5, LATEST), keyed(NOTE_SENT, 1, 2, 1, 5, LATEST), note(NOTE_READ, 2, 2, LATEST, 1));
	SOUND("superseded by one whose sender died", keyed(NOTE_SENDING, 1, 1, 0, 5, LATEST),
		keyed(NOTE_SENT, 1, 1, 0, 5, LATEST), keyed(NOTE_SENDING, 1, 2, 0, 5, LATEST), deaths(1),
		note(NOTE_READ, 2, 2, LATEST, 1));
}

static void refuse_messages(void)
{
	FAULTY("an invention", "never sent", take(2, 1, QUEUE, 0));
	FAULTY("an acknowledgement of nothing", "acknowledged and never sent", note(NOTE_SENT, 1, 1, QUEUE, 0));
	FAULTY("other bytes", "not the bytes", send(1, QUEUE, 0),
		note_as(NOTE_DELIVERED, entry(2, 1, QUEUE, 0), 1, 1, 999));
	FAULTY("another channel", "not where", send(1, QUEUE, 0), take(2, 1, LOSSY, 0));
	FAULTY("refused and there", "refused, and stored", note(NOTE_SENDING, 1, 1, QUEUE, 0),
		note(NOTE_REFUSED, 1, 1, QUEUE, 0), take(2, 1, QUEUE, 0));
	FAULTY("two messages with an id", "one id", send(1, QUEUE, 0), send(1, QUEUE, 1));
	FAULTY("a loss", "is lost", send(1, QUEUE, 0));
	FAULTY("a loss after delivery", "is lost", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0), deaths(2));
	FAULTY("a loss in a group", "is lost", note(NOTE_GROUPED, 2, 0, GROUP, 0), send(1, GROUP, 0));
	FAULTY("a loss in a stream", "no longer there", send(1, KEPT, 0));
	FAULTY("a loss by compaction", "newest of its key", keyed(NOTE_SENDING, 1, 1, 0, 5, LATEST),
		keyed(NOTE_SENT, 1, 1, 0, 5, LATEST));
	FAULTY("half a batch", "in part", batch(1, 0, true), batch(2, 1, false));
	FAULTY("an offset twice", "another message's", note(NOTE_SENDING, 1, 1, QUEUE, 0), note(NOTE_SENDING, 1, 2, QUEUE, 0),
		take(2, 1, QUEUE, 0), take(3, 2, QUEUE, 0));
	FAULTY("an offset again after a purge", "not above", send(1, LOSSY, 5), send(2, LOSSY, 5));
	FAULTY("an offset that goes back", "not above", send(1, LOSSY, 5), send(2, LOSSY, 4));
	FAULTY("a message stored twice", "stored twice", send(1, QUEUE, 0), take(2, 1, QUEUE, 0), note(NOTE_READ, 3, 1, QUEUE, 1));
	FAULTY("an id stored twice", "stored twice", send(1, SINGLE, 0), send(1, SINGLE, 1), take(2, 1, SINGLE, 0));
}

static void refuse_deliveries(void)
{
	FAULTY("again after its acknowledgement", "after it was acknowledged", send(1, QUEUE, 0), take(2, 1, QUEUE, 0),
		take(3, 1, QUEUE, 0));
	FAULTY("again while it is in somebody's hands", "without a cause", send(1, QUEUE, 0),
		note(NOTE_DELIVERED, 2, 1, QUEUE, 0), again(3, 1, 0, 2));
	FAULTY("again because somebody else died", "without a cause", send(1, QUEUE, 0),
		note(NOTE_DELIVERED, 2, 1, QUEUE, 0), deaths(4), again(3, 1, 0, 2));
	FAULTY("again before its holder was killed", "without a cause", send(1, QUEUE, 0),
		note(NOTE_DELIVERED, 2, 1, QUEUE, 0), again(3, 1, 0, 2), deaths(2));
	FAULTY("again before its lease ended", "before its lease ended", send(1, QUEUE, 0),
		note(NOTE_DELIVERED, 2, 1, QUEUE, 0), lease(2, 1, 0, false, true), again(3, 1, 0, 2));
	FAULTY("again because who had leased it died", "before its lease ended", send(1, QUEUE, 0),
		note(NOTE_DELIVERED, 2, 1, QUEUE, 0), lease(2, 1, 0, false, true), deaths(2), again(3, 1, 0, 2));
	FAULTY("a lease lost too early", "lost before its end", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0),
		lease(2, 1, 0, false, true), note(NOTE_LOST, 2, 1, QUEUE, 0));
	FAULTY("a lost lease that was taken", "whose lease was lost", send(1, QUEUE, 0),
		note(NOTE_DELIVERED, 2, 1, QUEUE, 0), lease(2, 1, 0, true, true),
		note_as(NOTE_DELIVERED, entry(3, 1, QUEUE, 0), 2, 9, 101), note(NOTE_SETTLED, 2, 1, QUEUE, 0));
	FAULTY("a death that does not count", "not counted", send(1, QUEUE, 0), note(NOTE_DELIVERED, 2, 1, QUEUE, 0),
		deaths(2), again(3, 1, 0, 1));
	FAULTY("acknowledged twice", "acknowledged twice", send(1, QUEUE, 0), take(2, 1, QUEUE, 0),
		note(NOTE_SETTLED, 3, 1, QUEUE, 0));
	FAULTY("acknowledged without delivery", "never delivered", send(1, QUEUE, 0), note(NOTE_SETTLED, 3, 1, QUEUE, 0));
	FAULTY("out of order", "out of order", send(1, QUEUE, 0), send(2, QUEUE, 1), take(2, 2, QUEUE, 1), take(2, 1, QUEUE, 0));
	FAULTY("out of order in a partition", "later one of its partition", send(1, LANES, 0), send(2, LANES, 1),
		take(2, 2, LANES, 1), take(3, 1, LANES, 0));
	FAULTY("two of a key at once", "another one of its key", keyed(NOTE_SENDING, 1, 1, 0, 5, KEYS),
		keyed(NOTE_SENDING, 1, 2, 1, 5, KEYS), keyed(NOTE_DELIVERED, 2, 1, 0, 5, KEYS),
		keyed(NOTE_DELIVERED, 3, 2, 1, 5, KEYS));
	FAULTY("a key out of order", "later one of its key", keyed(NOTE_SENDING, 1, 1, 0, 5, KEYS),
		keyed(NOTE_SENDING, 1, 2, 1, 5, KEYS), keyed(NOTE_DELIVERED, 2, 2, 1, 5, KEYS),
		keyed(NOTE_SETTLED, 2, 2, 1, 5, KEYS), keyed(NOTE_DELIVERED, 3, 1, 0, 5, KEYS));
}

/* Bodies of all sizes are read back, and not when a byte of them differs. */
static void read_bodies(void)
{
	static uint8_t body[BODY_LARGEST];
	for (uint32_t id = 1; id < 2000; id++) {
		size_t size = ledger_size(draw(INT32_MAX)), at;
		uint64_t hash = ledger_body(id, body, size);
		need(size >= BODY_LEAST && size <= BODY_LARGEST, "a size of %zu", size);
		need(ledger_read(body, size) == id && ledger_hash(body, size) == hash, "a body of %zu bytes", size);
		at = draw((uint32_t)size);
		body[at] ^= 1;
		need(ledger_read(body, size) != id, "a changed byte in %zu is not seen", size);
		body[at] ^= 1;
		need(ledger_read(body, size - 1) == 0, "a byte less than %zu is not seen", size);
	}
}

int main(int argc, char **argv)
{
	struct trial t = trial_begin(argc, argv);
	blind = trial_word(&t, "blind");
	l = ledger_new(4096);
	l->promised[GROUP] = PLACE_GROUP;
	l->promised[LANES] = PLACE_LANES;
	l->promised[KEYS] = PLACE_KEYS;
	l->promised[LOSSY] = PLACE_LOSSY;
	l->promised[LATEST] = PLACE_LATEST;
	l->promised[SINGLE] = PLACE_SINGLE;
	l->promised[KEPT] = PLACE_KEPT;
	l->promised[UNCOUNTED] = PLACE_UNCOUNTED;
	accept();
	refuse_messages();
	refuse_deliveries();
	read_bodies();
	printf("%u sound ledgers accepted, %u faulty ones refused, 1,999 bodies read\n", accepted, refused);
	return 0;
}
