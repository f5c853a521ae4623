/* SPDX-License-Identifier: ISC */
/* Records with good checksums that no version of ours has written: a repair believes none of them. */
#include "single.h"

static lmq_store *mended(void)
{
	struct lmq_store_options o = { .size = sizeof o };
	struct lmq_rescue rescue = { .channels = 0 };
	char path[300];
	lmq_store *old, *s;
	snprintf(path, sizeof path, "%s/mended", place);
	CHECK(lmq_store_repair(place, path, &old, &rescue, NULL, NULL, NULL) == 0);
	lmq_store_close(old);
	good(lmq_store_open(path, &o, &s));
	return s;
}

TEST(no_key, "a message without a key is in no chain, and not held up by one")
{
	struct lmq_message m = LMQ_MESSAGE_INIT;
	lmq_receiver *r;
	struct txn t;
	struct key k;
	uint8_t value[NUMBER_RECORD];
	single_begin(LMQ_QUEUE, NULL);
	m.priority = 8;
	for (int i = 0; i < 10; i++)
		good(lmq_writer_add(writer, channel, &m));
	good(lmq_writer_commit(writer));
	k = key_chain(channel->id, 0, 0);
	good(txn_begin(store, &t));
	good(put_value(&t, &k, value, number_put(0, 0, &k, value)));
	good(txn_commit(&t, LMQ_SYNC_RELAXED));
	single_end_keeping();
	store = mended();
	good(lmq_channel_open(store, "it", LMQ_QUEUE, 0, &channel));
	good(lmq_writer_open(store, LMQ_SYNC_RELAXED, &writer));
	sound();
	r = receiver_of(channel, NULL);
	CHECK_EQUAL(claim(r, 10), 0);
	lmq_receiver_close(r);
	single_end();
}

UNIT_MAIN
