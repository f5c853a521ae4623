/* SPDX-License-Identifier: ISC */
/*
 * What a store of an older format lacks. Its records are read as they are (format.h), and each is written in the
 * present form when it changes. Only table F has to be made, of a store of format 2: retention must know what groups of
 * topics need before it drops anything. The store's record keeps the old version until the first transaction that asks
 * for it.
 */
#include "channel.h"

#include <string.h>

/* The next group of the topic, behind the one called name. LMQ_END. */
static int next_group(struct txn *t, uint32_t id, char name[LMQ_NAME_MAX + 1])
{
	struct key k = key_group(id, 0, name), found;
	size_t n;
	int rc;
	k.bytes[k.size++] = 0;
	rc = find_key(t, &k, BLOCK_PREFIX, &found, NULL);
	if (rc != 0)
		return rc;
	n = found.size - BLOCK_PREFIX;
	if (n > LMQ_NAME_MAX)
		return fail_damaged(t->store, "the position of a group");
	memcpy(name, found.bytes + BLOCK_PREFIX, n);
	name[n] = '\0';
	return 0;
}

static int floors_of(struct txn *t, uint32_t id)
{
	char group[LMQ_NAME_MAX + 1] = "";
	struct group_record g;
	int rc;
	while ((rc = next_group(t, id, group)) == 0) {
		rc = get_group(t->store, t->mdb, id, 0, group, &g);
		if (rc == 0)
			rc = retain_floor(t, id, 0, group, &g);
		if (rc == 0)
			rc = put_group(t, id, 0, group, &g);
		if (rc != 0)
			break;
	}
	return rc == LMQ_END ? 0 : rc;
}

int upgrade_floors(struct txn *t)
{
	struct store_record store;
	struct channel_record r;
	int rc = get_store_record(t->store, t->mdb, &store);
	if (rc != 0 || store.version >= FORMAT_VERSION)
		return rc;
	/* Numbers of channels and spaces are drawn from one sequence, so these are few. */
	for (uint32_t id = 1; rc == 0 && store.version < FORMAT_FLOORS && id < store.next_id; id++) {
		rc = get_channel_record(t->store, t->mdb, id, &r);
		if (rc == 0 && r.kind == LMQ_TOPIC)
			rc = floors_of(t, id);
		else if (rc == LMQ_END)
			rc = 0;
	}
	store.version = FORMAT_VERSION;
	return rc == 0 ? put_store_record(t, &store) : rc;
}
