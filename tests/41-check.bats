#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# mq-check of the store as a whole: records, counters and indexes are held against each other. What can be wrong with
# each of them is in tests/unit/accounts.c and standing.c; here, how it is told.

load helpers

# spoil: the first channel counts a byte too many, and the sweeper has an entry of an unknown kind.
spoil() {
	test_c "$MQ_STORE" <<-'END'
		#include "channel/channel.h"
		static void write(const char *path)
		{
			struct key k = key_head(1, 0), strange = key_sweep('z', 1);
			uint8_t value[HEAD_RECORD], nothing[SWEEP_RECORD];
			struct head_record h;
			MDB_val key = { k.size, k.bytes }, v;
			MDB_env *env;
			MDB_txn *t;
			MDB_dbi d;
			if (mdb_env_create(&env) || mdb_env_open(env, path, 0, 0600) || mdb_txn_begin(env, NULL, 0, &t) ||
					mdb_dbi_open(t, NULL, 0, &d) || mdb_get(t, d, &key, &v) ||
					!head_record_get(&h, &k, v.mv_data, v.mv_size))
				abort();
			h.bytes++;
			v = (MDB_val){ head_record_put(&h, &k, value), value };
			if (mdb_put(t, d, &key, &v, 0))
				abort();
			key = (MDB_val){ strange.size, strange.bytes };
			v = (MDB_val){ number_put(0, 0, &strange, nothing), nothing };
			if (mdb_put(t, d, &key, &v, 0) || mdb_txn_commit(t))
				abort();
			mdb_env_close(env);
		}
		int main(int argc, char **argv)
		{
			write(argv[argc - 1]);
		}
	END
}

# A store in which something of every kind has happened.
busy() {
	seq 3000 | mq-send -q jobs
	mq-make -q --queue ordered order=key max-attempts=2
	seq 60 | jq -c '{key: (. % 7 | tostring), body: tostring, priority: (. % 10)}' | mq-send -q -j ordered
	mq-send -q -D 1h jobs later
	mq-recv -q -n 20 -l 1h jobs >leases
	mq-recv -q -n 1000 jobs >taken
	mq-exec -q -n 30 ordered false || (($? == 2))
	mq-make -q --topic news
	mq-make -q --stream log partitions=3 dedup=1h
	mq-route -q news log
	mq-sub -q -g readers -e news || (($? == 1))
	head -c 300000 /dev/zero | mq-pub -q --file=- news
	mq-sub -q -g readers -e news >taken
	seq 500 | jq -c '{key: (. % 50 | tostring), id: tostring, body: "x"}' | mq-pub -q -j log
	mq-make -q --stream state max-per-key=2
	seq 2000 | jq -c '{key: (. % 50 | tostring), body: tostring}' | mq-pub -q -j state
	mq-make -q --stream trail audit=yes
	seq 2000 | mq-pub -q trail
}

@test "a store in which much has happened is well, and -v tells what was looked at" {
	busy
	must mq-check
	[[ ! -s $out && ! -s $err ]]
	must mq-check -v
	grep -qE '^mq-check: store: [0-9]+ pages, [0-9]+ records and [0-9]+ entries of indexes, all sound$' "$err"
	[[ $(awk 'NR > 1 && $4 != "ok"' "$out") == "" ]]
	must mq-check -v -q
	[[ ! -s $err ]]
	[[ $(mq-ls -o json | jq -s 'map(.messages > 0) | all') == true ]]
}

@test "each thing that is wrong is a line OBJECT: WHAT, and the status is 2" {
	mq-send -q jobs a b c
	mq-send -q others a
	spoil
	must_fail 2 mq-check
	[[ $(sort "$err") == "mq-check: jobs: has "*" bytes, and counts "*$'\n'"mq-check: store: an entry of the sweeper is of an unknown kind" ]]
	[[ ! -s $out ]]
	# The channels are looked at all the same.
	must_fail 2 mq-check -o plain
	[[ $(cut -f 1,4 "$out") == $'jobs\tok\nothers\tok' ]]
	must_fail 2 mq-check -v
	grep -q ', not all sound$' "$err"
}

@test "with -C only channels are looked at" {
	mq-send -q jobs a b c
	spoil
	must mq-check -C jobs
	[[ ! -s $err ]]
}

@test "a damaged block is told of once for its counters, and its channel is in the table" {
	seq 20000 | mq-send -q jobs
	test_c "$MQ_STORE" <<-'END'
		#include "channel/channel.h"
		int main(int argc, char **argv)
		{
			struct key k = key_block(1, 0, 0, 0);
			MDB_val key = { k.size, k.bytes };
			MDB_env *env;
			MDB_txn *t;
			MDB_dbi d;
			int failed = mdb_env_create(&env) || mdb_env_open(env, argv[argc - 1], 0, 0600) ||
				mdb_txn_begin(env, NULL, 0, &t) || mdb_dbi_open(t, NULL, 0, &d) ||
				mdb_put(t, d, &key, &(MDB_val){ 4, "oops" }, 0) || mdb_txn_commit(t);
			mdb_env_close(env);
			return failed;
		}
	END
	must_fail 2 mq-check
	[[ $(<"$err") == "mq-check: jobs: the block at 0 is damaged" ]]
	grep -q '^jobs .* 1 damaged' "$out"
}

@test "where pages of the file are damaged, nothing else is looked at" {
	busy
	size=$(stat -c %s "$MQ_STORE/data.mdb")
	for ((page = 2; page < size / 4096; page++)); do
		dd if=/dev/zero of="$MQ_STORE/data.mdb" bs=1 seek=$((page * 4096)) count=24 conv=notrunc status=none
	done
	must_fail 2 mq-check
	grep -q '^mq-check: page [0-9]*: ' "$err"
	grep -q '^mq-check: hint: .*--repair' "$err"
	[[ ! -s $out ]]
}

@test "a store on a read-only file system" {
	small_disk 8M
	mkdir disk/s
	MQ_STORE=$BATS_TEST_TMPDIR/disk/s
	chmod 700 disk/s
	busy
	mount -o remount,ro "$BATS_TEST_TMPDIR/disk"
	must mq-check
	[[ ! -s $out && ! -s $err ]]
}

@test "a store of an older format, as it is and after it was written to" {
	MQ_STORE=$PWD/s
	for format in 2 3; do
		rm -rf s
		tar -xzf "$ROOT/tests/data/store-format-$format.tgz"
		chmod -R go-w "$MQ_STORE"
		must mq-check
		[[ ! -s $out && ! -s $err ]]
		must mq-send -q new message
		must mq-check
		must mq-pub -q more message
		must mq-check
		[[ ! -s $out && ! -s $err ]]
	done
}

@test "all is well at any moment while others send, fail, seek, move and remove" {
	busy
	mq-make -q --stream keys partitions=2 max-messages=500
	workers() {
		set -e
		for i in {1..8}; do
			seq 200 | jq -c '{key: tostring, body: tostring, priority: (. % 10)}' | mq-send -q -j work
			mq-exec -q -n 100 work sh -c 'test $(($$ % 3)) -gt 0' || (($? == 2))
			seq 300 | jq -c '{key: (. % 9 | tostring), body: "x"}' | mq-pub -q -j keys
			mq-sub -q -g some -n 50 keys >taken
			mq-sub -q -g some -l 1h -n 50 keys >taken
			mq-seek -q --from=first keys some >taken
			mq-send -q "gone.$i" a b c
			head -c 200000 /dev/zero | mq-send -q --file=- "gone.$i"
			mq-move -q -n 50 work "gone.$i"
			mq-rm -q -y "gone.$i"
		done
	}
	export -f workers
	start workers bash -c workers
	until gone "$started"; do
		must mq-check
	done
	ended "$started" 0
	must mq-check
}

@test "a redriven message that its group gets anyway: what it finds to be gone of the group is counted" {
	mq-make -q --stream log
	mq-make -q -g workers log max-attempts=1
	seq 10 | mq-pub -q log
	must_fail 2 mq-exec -q -g workers -n 10 log sh -c 'test "$(cat)" != 9'
	must mq-seek -q --from=0 log workers
	must mq-sub -q -g workers -l 1h -n 2 log
	must mq-trim -q -y --to=5 log
	must mq-move -q --redrive log.dead
	must mq-check
	prints $'6\n7\n8\n9\n10' mq-sub -q -g workers -e log
	must mq-check
}

@test "a check that renews its view again and again counts every message" {
	seq -f '%0200g' 20000 | mq-send -q jobs
	test_c "$MQ_STORE" >counted <<-'END'
		#define _GNU_SOURCE
		#include <libmq.h>
		#include <stdio.h>
		#include <sys/syscall.h>
		#include <time.h>
		#include <unistd.h>
		/* Each look at the clock is a second later. */
		int clock_gettime(clockid_t clock, struct timespec *now)
		{
			static time_t ahead;
			int rc = (int)syscall(SYS_clock_gettime, clock, now);
			now->tv_sec += ahead++;
			return rc;
		}
		int main(int argc, char **argv)
		{
			struct lmq_check found;
			lmq_store *store;
			lmq_channel *jobs;
			if (lmq_store_open(argv[argc - 1], NULL, &store) || lmq_channel_open(store, "jobs", LMQ_QUEUE, 0, &jobs) ||
					lmq_channel_check(jobs, &found, NULL, NULL))
				return 1;
			printf("%llu %llu\n", (unsigned long long)found.messages, (unsigned long long)found.damaged);
			lmq_channel_close(jobs);
			lmq_store_close(store);
			return 0;
		}
	END
	[[ $(<counted) == '20000 0' ]]
}
