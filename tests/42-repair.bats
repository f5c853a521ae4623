#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031,SC2034,SC2153
#
# mq-check --repair: what can be read of a damaged store becomes a new one, and what is lost is named. Random damages, with
# a ledger of all messages, are in tests/unit/pages.c.

load helpers

setup_file() {
	build_damage; export ENTRY=$BATS_FILE_TMPDIR/entry
	# shellcheck disable=SC2086 # flags are words
	${CC:-cc} -std=gnu11 -Wall -Wextra -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$BATS_TEST_DIRNAME/../libmq" -o "$ENTRY" \
		"$BATS_TEST_DIRNAME/entry.c" "${BUILD:-$BATS_TEST_DIRNAME/../build}/libmq.a" -llmdb ${TEST_LDFLAGS-}
}

# A queue with every state of a message, a queue in order of keys, a topic with groups and a route, streams with partitions,
# compaction, a chain of hashes, large bodies and shared ones.
filled() {
	local i round
	export MQ_SYNC=relaxed
	seq 400 | mq-send -q plain
	mq-recv -n 120 plain >taken
	mq-make -q --queue jobs max-attempts=2 backoff=1h..2h dedup=1h >made
	seq 60 | mq-send -q jobs
	for i in 0 2 7 9; do
		seq 20 | mq-send -q --priority=$i jobs
	done
	mq-send -q --id=one jobs 'with an id'
	seq 10 | mq-send -q --delay=1h jobs
	mq-recv -n 15 -l 1h jobs >taken
	mq-exec -q -n 6 jobs false || true
	mq-exec -q -n 3 jobs -- sh -c 'exit 65' || true
	mq-recv -n 9 jobs >taken
	mq-make -q --queue ordered order=key >made
	for i in $(seq 30); do
		echo "{\"key\":\"k$((i % 4))\",\"body\":\"$i\"}"
	done | mq-send -q -j ordered
	mq-recv -n 5 ordered >taken
	mq-recv -n 2 -l 1h ordered >taken
	mq-make -q --topic news >made
	mq-make -q --stream all >made
	mq-route -q news all >made
	mq-make -q -g mailer news lease=2m >made
	mq-make -q -g other news >made
	seq 300 | mq-pub -q news
	head -c 150000 /dev/zero | tr '\0' x | mq-pub -q -r news
	mq-sub -g mailer -n 40 news >taken
	mq-make -q --stream log partitions=3 >made
	for i in $(seq 200); do
		printf '{"key":"k%d","body":"%0100d"}\n' $((i % 17)) "$i"
	done | mq-pub -q -j log
	mq-sub -g reader --from=first -n 50 log >taken
	mq-make -q --stream state max-per-key=1 >made
	for round in 1 2 3; do
		for i in $(seq 120); do
			echo "{\"key\":\"k$i\",\"body\":\"$round-$i\"}"
		done | mq-pub -q -j state
	done
	mq-make -q --stream book audit=yes >made
	seq 3000 | mq-pub -q book
}

# spoil STORE TEXT: changes a byte wherever the text lies in the file.
spoil() {
	local at
	while IFS=: read -r at _; do
		printf '\377' | dd of="$1/data.mdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
	done < <(grep -abo -- "$2" "$1/data.mdb")
}

# told STORE: all that can be seen of it.
told() {
	local name kind
	export MQ_STORE=$1
	mq-ls -o json
	mq-ls -v -o plain | wc -l
	mq-route -o plain || (($? == 1))
	mq-check -o json -C book || (($? == 66))
	mq-ls -o json | jq -r '.name + " " + .kind' | while read -r name kind; do
		echo "$name"
		mq-make "$name"
		if [[ $kind == queue ]]; then
			mq-peek -j "$name" || (($? == 1))
		else
			mq-replay -j "$name" || (($? == 1))
			mq-ls --groups -o json "$name" || (($? == 1))
		fi
	done
}

@test "of an undamaged store everything is saved: the new one shows the same in every way" {
	filled
	must mq-check --repair=saved
	[[ ! -s $err ]]
	grep -q '^saved: saved 9 channels, ' "$out"
	run ! grep -q 'lost\|mended\|not readable' "$out"
	same "$(declare -f told); told '$MQ_STORE'" "$(declare -f told); told ./saved"
	must mq-check ./saved
	[[ ! -s $out && ! -s $err ]]
}

@test "offsets, ids and keys go on in the new store" {
	filled
	must mq-check --repair=saved
	export MQ_STORE=./saved
	last=$(mq-peek -j --last=1 plain | jq .offset)
	must mq-send --print-position plain more
	[[ $(cat "$out") == "plain:$((last + 1))" ]]
	before=$(mq-ls -o json jobs | jq .messages)
	must mq-send -q --id=one jobs 'with an id'
	(($(mq-ls -o json jobs | jq .messages) == before))
	must mq-recv -e plain
	must mq-sub -g mailer -n 5 news
	diff <(seq 41 45) "$out"
	must mq-check
}

@test "a damaged block: its messages are named and lost, all others are saved" {
	mq-make -q --stream log >made
	seq -f 'line %g' 3000 | mq-pub -q log
	spoil "$MQ_STORE" 'line 1500'
	must_fail 2 mq-check --repair=saved
	grep -q '1 page not readable' "$out"
	read -r first end < <(sed -n 's/^mq-check: log: messages \([0-9]*\) to \([0-9]*\) are lost$/\1 \2/p' "$err")
	((first > 0 && end > first && end < 3000))
	((first <= 1499 && end >= 1499))
	diff <(seq -f 'line %g' 3000 | sed "$((first + 1)),$((end + 1))d") <(mq-replay -s ./saved log)
	must mq-check ./saved
	must mq-pub -s ./saved -q --print-position log more
	grep -q '^log:3000$' "$out"
}

@test "a lost large body takes its message with it, and nothing else" {
	seq 5 | mq-send -q jobs
	head -c 200000 /dev/zero | mq-send -q -r jobs
	seq 5 | mq-send -q jobs
	"$DAMAGE" "$MQ_STORE" 1 lose
	# LMDB knows nothing of that: no page is damaged.
	must_fail 2 mq-check --repair=saved
	grep -qx 'mq-check: jobs: message 5 is lost' "$err"
	diff <(seq 5; seq 5) <(mq-recv -s ./saved -e jobs)
	must mq-check ./saved
}

@test "a list of free pages that begins where the records do is not believed, and costs nothing" {
	export MQ_STORE=$PWD/plain
	seq 100 | mq-send -q jobs
	mq-recv -n 40 jobs >taken
	# The newest meta page: that of the even or of the odd transactions. Its trees begin at 80 and at 128.
	data=$MQ_STORE/data.mdb
	meta=0
	(($(od -An -t u8 -j 144 -N 8 "$data") > $(od -An -t u8 -j $((4096 + 144)) -N 8 "$data"))) || meta=4096
	dd if="$data" of=root bs=1 skip=$((meta + 128)) count=8 status=none
	dd if=root of="$data" bs=1 seek=$((meta + 80)) conv=notrunc status=none
	must mq-check --repair=mended
	must mq-check -s ./mended
	prints "$(seq 41 100)" mq-recv -e -s ./mended jobs
}

@test "an audited stream that lost a block has a new chain, and another digest" {
	mq-make -q --stream book audit=yes >made
	seq -f 'line %g' 3000 | mq-pub -q book
	digest=$(mq-check -o json | jq -r .digest)
	spoil "$MQ_STORE" 'line 1500'
	must_fail 2 mq-check --repair=saved
	must mq-check ./saved
	[[ $(mq-check -o json ./saved | jq -r .digest) != "$digest" ]]
	must mq-pub -s ./saved book more
	must mq-check ./saved
}

@test "without marker, and with either meta page gone, everything is saved; the old store is not changed" {
	filled
	told "$MQ_STORE" >before
	cp -a store whole
	for page in 0 1; do
		rm -rf store saved && cp -a whole store
		dd if=/dev/zero of=store/data.mdb bs=4096 count=1 seek=$page conv=notrunc 2>/dev/null
		rm store/mq-store
		cp -a store kept
		must mq-check --repair=saved
		diff -r kept store
		rm -rf kept
		(told ./saved) | diff before -
		must mq-check ./saved
	done
}

# entry STORE WHAT BYTE: damages the file (tests/entry.c).
entry() { "$ENTRY" "$@"; }

@test "a run of leased messages whose record or key is damaged: all of them are still there" {
	mq-make -q --queue jobs >made
	seq 60 | mq-send -q jobs
	mq-recv -n 20 jobs >taken
	mq-recv -n 15 -l 1h jobs >taken
	mq-recv -n 10 jobs >taken
	must mq-check --compact
	cp -a store whole
	for byte in 4 8 12 100 104; do
		rm -rf store saved && cp -a whole store
		entry store R "$byte"
		must_fail 2 mq-check --repair=saved
		must mq-check ./saved
		(($(mq-ls -s ./saved -o json jobs | jq .messages) == 30))
	done
}

@test "an ordered queue whose runs are lost says that they come back without order" {
	mq-make -q --queue ordered order=key >made
	for i in $(seq 12); do
		echo "{\"key\":\"k$((i % 3))\",\"body\":\"$i\"}"
	done | mq-send -q -j ordered
	mq-recv -n 2 ordered >taken
	must mq-check --compact
	entry store R 100
	entry store Q 100
	entry store K 100
	must_fail 2 mq-check --repair=saved
	grep -q '^mq-check: ordered: .*: they are delivered again, not in the order of their keys$' "$err"
	must mq-check ./saved
	(($(mq-recv -s ./saved -e ordered | wc -l) >= 10))
}

@test "no offset is given again although nothing is left that tells of it" {
	mq-make -q --queue jobs >made
	seq 500 | mq-send -q jobs
	mq-recv -e jobs >taken
	must mq-check --compact
	entry store G 100
	entry store H 100
	must_fail 2 mq-check --repair=saved
	grep -q '^mq-check: jobs: where it ended is lost: the next message gets offset 4294967296$' "$err"
	must mq-check ./saved
	must mq-send -s ./saved --print-position jobs more
	grep -qx 'jobs:4294967296' "$out"
}

@test "where the end of a stream is lost, its max-messages does not drop what was saved" {
	mq-make -q --stream log max-messages=1000 >made
	seq -f 'line %g' 900 | mq-pub -q log
	must mq-check --compact
	entry store H 100
	spoil store 'line 900'
	must_fail 2 mq-check --repair=saved
	grep -q '^mq-check: log: its max-messages was taken away' "$err"
	saved=$(mq-replay -s ./saved log | wc -l)
	((saved > 300))
	must mq-pub -s ./saved -q log more
	(($(mq-replay -s ./saved log | wc -l) == saved + 1))
	must mq-check ./saved
}

@test "a lost block of a compacted stream whose key is damaged is not taken for one that compaction dropped" {
	mq-make -q --stream state max-per-key=1 >made
	for round in 1 2; do
		for i in $(seq 400); do
			echo "{\"key\":\"k$i\",\"body\":\"$round-$i\"}"
		done | mq-pub -q -j state
	done
	must mq-check --compact
	before=$(mq-replay state | wc -l)
	entry store L 14
	must_fail 2 mq-check --repair=saved
	read -r first end < <(sed -n 's/^mq-check: state: messages \([0-9]*\) to \([0-9]*\) are lost$/\1 \2/p' "$err")
	((end - first + 1 + $(mq-replay -s ./saved state | wc -l) >= before))
	must mq-check ./saved
}

@test "routes, properties, settings of groups, ids and loads that are lost are told of" {
	filled
	printf 'a\nb\n' | mq-send -q --resume=load plain
	must mq-check --compact
	for table in U E I N P; do
		entry store $table 100
	done
	must_fail 2 mq-check --repair=saved
	grep -q '^mq-check: log: its properties are lost: it is a stream' "$err"
	grep -q '^mq-check: store: routes may be lost' "$err"
	grep -q '^mq-check: store: settings of groups may be lost' "$err"
	grep -q '^mq-check: store: ids may be lost' "$err"
	grep -q '^mq-check: store: how far loads with a name' "$err"
	must mq-check ./saved
}

# partitioned: a stream with ids in all of its partitions; each message says where it lies.
partitioned() {
	mq-make -q --stream events partitions=8 dedup=1h >made
	for i in $(seq 200); do
		echo "{\"id\":\"i$i\",\"key\":\"k$i\",\"body\":\"<body $i>\"}"
	done >input
	mq-pub -q -j events <input
	mq-replay -j events | jq -r '[.partition, .offset, .id, .body] | @tsv' | sort -k 1,1n -k 2,2n >places
}

@test "of a stream with partitions the ids of lost messages are forgotten, in all of them, and no others" {
	partitioned
	for lane in 1 4 7; do
		spoil store "$(awk -F '\t' -v lane="$lane" '$1 == lane { print $4; exit }' places)"
	done
	must_fail 2 mq-check --repair=saved
	for lane in 1 4 7; do
		last=$(awk -F '\t' -v lane="$lane" '$1 == lane { last = $2 } END { print last }' places)
		grep -qx "mq-check: events/$lane: messages 0 to $last are lost" "$err"
	done
	awk -F '\t' '$1 ~ /^[147]$/ { print $4 }' places >lost
	export MQ_STORE=./saved
	must mq-check
	diff <(mq-replay events | sort) <(jq -r .body input | sort | comm -23 - <(sort lost))
	must mq-pub -q -j events <input
	diff <(mq-replay events | sort) <(jq -r .body input | sort)
	must mq-check
}

@test "where partitions ended whose heads and messages are lost their ids tell, each its own" {
	partitioned
	must mq-check --compact
	entry store H 100
	entry store L 110
	must_fail 2 mq-check --repair=saved
	for lane in {0..7}; do
		end=$(awk -F '\t' -v lane="$lane" '$1 == lane { end = $2 + 1 } END { printf "%.0f", 4294967296 + end }' places)
		grep -qx "mq-check: events/$lane: where it ended is lost: the next message gets offset $end" "$err"
	done
	export MQ_STORE=./saved
	must mq-check
	# What may be lost can be sent again.
	must mq-pub -q -j events <input
	diff <(mq-replay events | sort) <(jq -r .body input | sort)
	must mq-check
}

@test "groups whose positions are lost go on where they were, with what is in flight, whether they have settings or not" {
	mq-make -q --topic news >made
	mq-make -q -g a news lease=1m >made
	mq-make -q -g b news lease=1m >made
	mq-make -q -g c news >made
	seq 30 | mq-pub -q news
	mq-sub -g a -n 5 news >taken
	mq-sub -g b -n 3 news >taken
	mq-sub -g b -l 1h -n 4 news >taken
	mq-sub -g c -n 9 news >taken
	must mq-check --compact
	entry store G 100
	must_fail 2 mq-check --repair=saved
	for at in 'a 5' 'b 7' 'c 9'; do
		grep -qx "mq-check: news@${at% *}: how far it was is lost: it goes on at message ${at#* }" "$err"
	done
	export MQ_STORE=./saved
	must mq-check
	[[ $(mq-ls --groups -o json news | jq -c '[.group, .leased]' | sort | paste -s -d ' ') == '["a",0] ["b",4] ["c",0]' ]]
	for at in 'a 6' 'b 8' 'c 10'; do
		same "mq-sub -g ${at% *} -e news" "seq ${at#* } 30"
	done
}

@test "a meta page and the root of the newest state gone: what the last commits stored is there" {
	filled
	mq-send -q plain last
	cp -a store whole
	for page in 0 1; do
		rm -rf store saved && cp -a whole store
		entry store root 0
		dd if=/dev/zero of=store/data.mdb bs=4096 count=1 seek=$page conv=notrunc 2>/dev/null
		mq-check --repair=saved >said 2>&1 || (($? == 2))
		must mq-check ./saved
		mq-peek -s ./saved plain >there
		grep -qx last there
		(($(wc -l <there) >= 281))
	done
}

# many: so many queues that the tree begins with a branch, and messages in some of them.
many() {
	local i
	export MQ_SYNC=relaxed
	for i in $(seq 61); do
		mq-make -q --queue "queue-$i" >made
	done
	seq 20 | mq-send -q queue-1
	mq-recv -n 5 queue-1 >taken
}

@test "a damaged branch of which all leaves are there costs nothing" {
	many
	cp -a store whole
	for damage in 'root 0' 'child 0' 'child 1'; do
		rm -rf store saved && cp -a whole store
		# shellcheck disable=SC2086 # words
		entry store $damage
		must mq-check --repair=saved
		grep -q '^saved: saved 61 channels, ' "$out"
		run ! grep -q 'lost\|not readable' "$out" "$err"
		must mq-check ./saved
		diff <(seq 6 20) <(mq-peek -s ./saved queue-1)
	done
}

@test "a list of free pages that names one of the tree, and may be right: what is saved is said to be old" {
	seq 10 | mq-send -q -p 8 jobs
	mq-recv -n 3 jobs >taken
	entry store listed 2
	must_fail 2 mq-check --repair=saved
	grep -q '^mq-check: store: some records were found in pages that may be old' "$err"
	must mq-check ./saved
	mq-recv -s ./saved -e jobs >there
	diff <(seq 4 10) <(tail -n 7 there)
}

@test "a branch that leads to an older page is not believed: nothing is lost, and what may be old is told" {
	many
	cp -a store whole
	older=0
	for child in {0..5}; do
		rm -rf store saved && cp -a whole store
		entry store older "$child" 2>said || continue
		older=$((older + 1))
		must_fail 2 mq-check --repair=saved
		grep -q 'page [0-9]*: is in use and in the list of free pages$' "$err"
		must mq-check ./saved
		mq-recv -e -s ./saved queue-1 >there
		diff <(seq 6 20) <(tail -n 15 there)
		(($(wc -l <there) == 15)) || grep -q 'pages that may be old' "$err"
	done
	((older > 1))
}

@test "a list of free pages that names one of the tree, which is whole, is not believed, and costs nothing" {
	many
	entry store listed 2
	must mq-check --repair=saved
	[[ $(cat "$err") == 'mq-check: store: its list of free pages names some that are in use, and is not believed' ]]
	grep -q '^saved: saved 61 channels, ' "$out"
	must mq-check ./saved
	diff <(seq 6 20) <(mq-recv -e -s ./saved queue-1)
}

@test "a store of a format before is saved as one of this format" {
	for version in 2 3; do
		rm -rf old s saved
		tar -xzf "$ROOT/tests/data/store-format-$version.tgz"
		mv s old
		cp -a old kept
		must mq-check -s ./old --repair=saved
		[[ ! -s $err ]]
		must mq-check ./saved
		diff -r old kept
		told ./old >before
		told ./saved | diff before -
		rm -rf kept
	done
}

@test "a store of a newer format is refused" {
	seq 5 | mq-send -q jobs
	must mq-check --compact
	entry store newer 0
	refuses 78 'newer format' mq-check --repair=saved
	[[ ! -e saved ]]
}

@test "a full disk: no store is left, and the next attempt succeeds" {
	need_root
	head -c 3000000 /dev/urandom | base64 | mq-send -q jobs
	mkdir small
	mount -t tmpfs -o size=1m none small 2>/dev/null || skip "nothing can be mounted here"
	mounts+=("$PWD/small")
	must_fail 74 mq-check --repair=small/saved
	grep -qx 'mq-check: small/saved: the disk is full' "$err"
	[[ ! -e small/saved ]]
	mount -o remount,size=64m small
	must mq-check --repair=small/saved
	must mq-check -s ./small/saved
}

@test "a store that is in use, one of which nothing is left, and a directory that is not empty are refused" {
	seq 5 | mq-send -q jobs
	mkfifo hold
	mq-recv -f jobs <hold >taken &
	children+=($!)
	exec 9>hold
	until_true 5 test -s taken
	refuses 75 'in use' mq-check --repair=saved
	[[ ! -e saved ]]
	kill "${children[-1]}"
	wait "${children[-1]}" || true
	mkdir full && touch full/file
	refuses 73 'not empty' mq-check --repair=full
	truncate -s 8192 store/data.mdb
	must_fail 78 mq-check --repair=saved
	[[ ! -e saved ]]
	refuses 66 'not a store' mq-check -s ./none --repair=saved
}

@test "a store that is in use elsewhere, and may only be read here, is refused" {
	need_root
	seq 5 | mq-send -q jobs
	mkdir view
	mount --bind "$MQ_STORE" view && mounts+=("$PWD/view")
	mount -o remount,bind,ro view 2>/dev/null || skip "nothing can be mounted here"
	start holder mq-recv -f jobs
	until_true 10 grep -q 5 holder.out
	refuses 75 'in use' mq-check -s ./view --repair=saved
	[[ ! -e saved ]]
	kill -TERM "$started"
	ended "$started" 143
	must mq-check -s ./view --repair=saved
}

# waits PID: for the gate.
waits() {
	asleep "$1" && readlink "/proc/$1"/fd/* | grep -q 'store/mq-store'
}

@test "a store that is compacted while a repair waits for it: the new file is read" {
	mq-send -q jobs before
	cp -a store other
	mq-send -q -s ./other jobs after
	exec 9<store/mq-store
	flock 9
	start repair mq-check --repair=saved
	until_true 10 waits "$started"
	mv other/data.mdb store/data.mdb
	flock -u 9
	ended "$started" 0
	prints $'before\nafter' mq-peek -s ./saved jobs
}

@test "the process that has the store open cannot repair it, and keeps its lock" {
	seq 5 | mq-send -q jobs
	cat >both.c <<-'END'
		#include <libmq.h>
		#include <stdio.h>
		#include <stdlib.h>
		int main(int argc, char **argv)
		{
			struct lmq_rescue found;
			lmq_store *s, *r;
			if (argc < 2 || lmq_store_open(argv[1], NULL, &s) != 0)
				return 1;
			printf("%d\n", lmq_store_repair(argv[1], "./saved", &r, &found, NULL, NULL, NULL) == LMQ_EINVAL);
			fflush(stdout);
			lmq_store_close(r);
			return system("mq-check --compact") == 75 << 8 ? 0 : 2;
		}
	END
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE ${TEST_CFLAGS-} -I "$ROOT/libmq" -o both both.c "$BUILD/libmq.a" -llmdb ${TEST_LDFLAGS-}
	must ./both "$MQ_STORE"
	grep -qx 1 "$out"
}
