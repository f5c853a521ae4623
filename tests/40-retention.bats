#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# What topics and streams keep: windows, what groups need, limits, and what a publisher meets at them.

load helpers

# lines N [WIDTH]: numbered lines of that width.
lines() {
	seq -f "%0${2:-8}.0f" "$1"
}

# A topic news with a window of 8 KiB, and further properties.
small_window() {
	must mq-make --topic news window=8K "$@"
}

# ---- windows and groups ------------------------------------------------------------------------------------------

@test "a topic without groups keeps its window" {
	small_window
	lines 10000 100 | must mq-pub news
	(($(stored news) < 200))
	(($(stored news) >= 80))
	[[ $(mq-replay news | tail -n 1) == *10000 ]]
}

@test "a topic keeps what its slowest group needs, beyond the window" {
	small_window
	must mq-sub -g slow --create-only news
	must mq-sub -g fast --create-only news
	lines 5000 100 | must mq-pub news
	[[ $(stored news) == 5000 ]]
	[[ $(mq-sub -g fast -e news | wc -l) == 5000 ]]
	lines 1 | must mq-pub news
	[[ $(stored news) == 5001 ]]
	[[ $(mq-sub -g slow -e -n 3000 news | wc -l) == 3000 ]]
	[[ $(mq-sub -g fast -e news | wc -l) == 1 ]]
	lines 1 | must mq-pub news
	# What both have goes, to the block.
	(($(stored news) >= 2002 && $(stored news) < 2050))
	[[ $(mq-sub -g slow -e news | wc -l) == 2002 ]]
}

@test "a removed group needs nothing any more" {
	small_window
	must mq-sub -g gone --create-only news
	lines 5000 100 | must mq-pub news
	must mq-rm -y -g gone news
	lines 1 | must mq-pub news
	(($(stored news) < 200))
}

@test "a group that moved on by mq-seek needs less, and one that moved back more" {
	small_window
	must mq-sub -g g --create-only news
	lines 2000 100 | must mq-pub news
	must mq-seek --from=1500 news g
	lines 1 | must mq-pub news
	(($(stored news) >= 501 && $(stored news) < 560))
	must mq-seek --from=first news g
	lines 3000 100 | must mq-pub news
	[[ $(mq-sub -g g -e news | wc -l) -ge 3501 ]]
}

@test "max-messages and max-bytes bound what groups hold back: the oldest go, and the group says how many it missed" {
	small_window max-messages=1000
	must mq-sub -g slow --create-only news
	lines 2500 100 | must mq-pub news
	[[ $(stored news) == 1000 ]]
	must mq-sub -g slow -e news
	[[ $(wc -l <"$out") == 1000 ]]
	grep -q '1500 messages were missed' "$err"
	must mq-make news max-messages=none max-bytes=64K
	lines 5000 100 | must mq-pub news
	(($(stored news) >= 600 && $(stored news) < 700))
	must_fail 2 mq-sub -g slow --strict -e news
}

@test "max-age bounds it too" {
	small_window max-age=50ms
	must mq-sub -g slow --create-only news
	lines 1000 100 | must mq-pub news
	later 60
	must mq-pub news x
	(($(stored news) < 50))
}

# ---- full= of topics ---------------------------------------------------------------------------------------------

@test "full=error: a group that lags keeps publishers out, and is named" {
	must mq-make --topic news max-messages=10 full=error
	lines 50 | must mq-pub news
	must mq-sub -g billing --create-only news
	lines 10 | must mq-pub news
	refuses 75 "news: topic is full (max-messages=10): the group 'billing' still needs its messages" mq-pub news x
	must mq-sub -g billing -n 4 -e news
	must mq-pub news 1 2 3 4
	refuses 75 billing mq-pub news 5
	must mq-rm -y -g billing news
	lines 30 | must mq-pub news
	[[ $(stored news) == 10 ]]
}

@test "full=block: a publisher waits until the group has gone on" {
	must mq-make --topic news max-messages=5 full=block
	must mq-sub -g g --create-only news
	lines 5 | must mq-pub news
	start publisher mq-pub news waited
	until_true 10 blocked "$started"
	must mq-sub -g g -n 1 news
	ended "$started" 0
	[[ $(mq-sub -g g -e news | tail -n 1) == waited ]]
}

@test "full=dead: what a lagging group loses becomes its dead letters" {
	must mq-make --topic news max-messages=100 full=dead window=4K
	must mq-sub -g slow --create-only news
	lines 150 | must mq-pub news
	[[ $(stored news) == 100 ]]
	[[ $(stored news.dead) == 50 ]]
	lines 100 | must mq-pub news
	[[ $(mq-recv -e news.dead | sort -u | wc -l) == 150 ]]
	[[ $(mq-sub -g slow -e news | wc -l) == 100 ]]
}

# ---- streams -----------------------------------------------------------------------------------------------------

@test "a stream keeps what its limits say, exactly by number, to the block by size" {
	must mq-make --stream log max-messages=123
	lines 5000 100 | must mq-pub log
	[[ $(stored log) == 123 ]]
	must mq-make log max-messages=none max-bytes=100K
	lines 5000 100 | must mq-pub log
	(($(mq-ls -o json log | jq .bytes) >= 100 * 1024))
	(($(mq-ls -o json log | jq .bytes) < 105 * 1024))
}

@test "the limits of a stream with partitions hold for all of it" {
	must mq-make --stream log partitions=4 max-messages=400
	for _ in $(seq 8); do lines 1000 20 | mq-pub log; done
	[[ $(stored log) == 400 ]]
}

@test "mq-trim --retain applies limits where nobody publishes" {
	must mq-make --stream log max-age=50ms
	lines 1000 100 | must mq-pub log
	later 60
	must mq-trim --retain log
	[[ $(stored log) == 0 ]]
}

@test "an audited stream can have no limits, and gives nothing away" {
	must mq-make --stream books audit=yes
	must mq-pub books 1 2 3
	refuses 64 'audit=yes keeps everything' mq-make books max-messages=5
	refuses 64 'fixed when the stream is made' mq-make books audit=no
	refuses 77 'audit=yes' mq-trim --all -y books
	refuses 77 'audit=yes' mq-rm -y books
	[[ $(stored books) == 3 ]]
}

# ---- readers that are slow, stopped or dead ----------------------------------------------------------------------

@test "stopped and killed subscribers neither slow publishers nor grow the file" {
	must mq-make --topic news window=64K max-bytes=256K
	must mq-sub -g stopped --create-only news
	local live member
	start live mq-sub news
	live=$started
	start member mq-sub -g stopped news
	member=$started
	until_true 10 blocked "$live"
	until_true 10 blocked "$member"
	kill -STOP "$live" "$member"
	for _ in $(seq 10); do lines 5000 100 | must mq-pub news; done
	(($(stat -c %s "$MQ_STORE/data.mdb") < 20000000))
	kill -KILL "$member"
	for _ in $(seq 10); do lines 5000 100 | must mq-pub news; done
	(($(stat -c %s "$MQ_STORE/data.mdb") < 20000000))
	kill -KILL "$live"
}

# ---- stores of older formats -----------------------------------------------------------------------------------

@test "a store of format 2 is read, and brought to the present format by who writes" {
	tar -xzf "$ROOT/tests/data/store-format-2.tgz"
	export MQ_STORE=$PWD/s
	prints $'1\n2\n3\n4' mq-replay ev
	grep -q '^mq store 2' s/mq-store
	prints $'3\n4' mq-sub -g reader -e ev
	grep -q '^mq store 4' s/mq-store
	prints $'2\n3' mq-sub -g t -e events
	must mq-send --id=a jobs one
	prints one mq-recv -e jobs
	must mq-ack jobs:1:1
	must mq-make --stream new partitions=3
	must mq-pub -k k new x
	prints x mq-replay new
}

@test "a store of format 2 that is in use is not brought to another one" {
	tar -xzf "$ROOT/tests/data/store-format-2.tgz"
	export MQ_STORE=$PWD/s
	test_c <<-'END'
		#include <libmq.h>
		#include <stdlib.h>
		int main(void)
		{
			struct lmq_store_options o = { .size = sizeof o, .flags = LMQ_READ_ONLY };
			lmq_store *s;
			if (lmq_store_open("s", &o, &s) != 0)
				return 1;
			if (system("mq-send jobs x 2>message") == 0)
				return 2;
			lmq_store_close(s);
			return 0;
		}
	END
	grep -q 'in use, and has to be brought to a new format' message
	must mq-send jobs x
}

@test "a store of format 3 is read, and brought to the present format by who writes; its leases end by the clock" {
	tar -xzf "$ROOT/tests/data/store-format-3.tgz"
	export MQ_STORE=$PWD/s
	chmod -R go-w s
	prints $'one\ntwo\nthree' mq-replay news
	[[ $(mq-peek -v jobs | awk 'NR > 1 { print $2 }' | paste -sd ' ') == 'leased leased retry ready delayed' ]]
	grep -q '^mq store 3' s/mq-store
	# One lease ended long ago, the other lasts for years.
	prints $'1 2\n5 1' mq-recv -e -F '%b %a\n' jobs
	grep -q '^mq store 4' s/mq-store
	must mq-check
	must mq-ack jobs:1:1
	must mq-ack --extend=1h ordered:0:1
	must mq-check
	must mq-ack ordered:0:1
	prints $'2\n3' mq-recv -e ordered
	prints 4 mq-recv -e jobs.dead
	prints three mq-sub -g readers -e news
	prints $'one\ntwo\nthree' mq-sub -g writers -e news
	[[ $(mq-sub -g workers -e events | sort | paste -sd ' ') == '2 3 4 5' ]]
	prints x mq-recv -e once
	[[ $(mq-recv -r large | wc -c) == 70000 ]]
	must mq-pub news more
	must mq-check
}

@test "several programs that are the first to write into an older store bring it to the present format once" {
	for _ in {1..20}; do
		rm -rf s
		tar -xzf "$ROOT/tests/data/store-format-3.tgz"
		chmod -R go-w s
		senders=()
		for i in {1..4}; do
			mq-send -q -s ./s jobs "$i" 3>&- &
			senders+=($!)
		done
		for i in "${senders[@]}"; do wait "$i"; done
	done
}

@test "a store of format 3 is repaired, with its leases" {
	tar -xzf "$ROOT/tests/data/store-format-3.tgz"
	chmod -R go-w s
	must mq-check -s ./s --repair=mended
	must mq-check -s ./mended
	same 'mq-peek -v -s ./s jobs | sort' 'mq-peek -v -s ./mended jobs | sort'
}

@test "full=dead: however many groups lag, and however far, each message reaches the dead letters of each" {
	must mq-make --topic news max-messages=10 full=dead
	must mq-sub -g a --create-only news
	must mq-sub -g b --create-only news
	must mq-make -g c news order=key
	lines 9000 | must mq-pub news
	[[ $(stored news.dead) -ge 2000 ]]
	# One publish makes so many dead letters; the others follow with the next ones.
	for _ in $(seq 20); do must mq-pub news x; done
	[[ $(stored news) == 10 ]]
	[[ $(stored news.dead) == $((3 * 9010)) ]]
	[[ $(mq-recv -e news.dead | sort | uniq -c | awk '$2 != "x" && $1 != 3' | wc -l) == 0 ]]
}

@test "a live reader that is overtaken before it has read anything says so too" {
	must mq-make --stream log max-messages=100
	must mq-pub log a b
	start live mq-sub -n 100 --strict log
	until_true 10 blocked "$started"
	tell "$started" STOP
	lines 3000 | must mq-pub log
	kill -CONT "$started"
	ended "$started" 2
	[[ $(wc -l <live.out) == 100 ]]
	grep -q '2900 messages were missed' live.err
}

@test "what a topic pushes out becomes dead letters at any offset, also of a group in order" {
	must mq-make -q --topic t full=dead max-messages=10
	seq 4000 | must mq-pub -q t
	must mq-sub -q -g g --create-only t
	must mq-make -q -g o t order=key
	for i in {1..3}; do must mq-pub -q -k a t "x$i"; done
	seq 100 | must timeout -s KILL 20 mq-pub -q t
	[[ $(stored t) == 10 ]]
	[[ $(stored t.dead) == 186 ]]
	[[ $(mq-sub -q -g g -e t | wc -l) == 10 ]]
	[[ $(mq-sub -q -g o -e t | wc -l) == 10 ]]
}

@test "a topic that is full of what is too old lets it go before it refuses" {
	must mq-make --topic t full=error max-messages=3 max-age=50ms
	must mq-sub -g dead --create-only t
	must mq-pub t 1 2 3
	later 60
	must mq-pub t 4
}

@test "the groups of a topic of a format 2 store hold what they need from the first publish on" {
	tar -xzf "$ROOT/tests/data/store-format-2.tgz"
	export MQ_STORE=$PWD/s
	must mq-make events window=8K
	lines 3000 100 | must mq-pub events
	[[ $(mq-sub -g t -e events | wc -l) == 3002 ]]
}

@test "messages whose keys are indexed go too, however many, with the publish that finds them too old" {
	export MQ_SYNC=relaxed
	must mq-make -q --stream log
	seq 100000 | sed 's/.*/{"key":"&","body":"&"}/' | mq-pub -q -j log
	must mq-pub -q -k 7 --expect-key=6 log again
	must mq-make log max-age=1ms
	later 5
	must mq-pub log x
	(($(stored log) < 100))
	must mq-check
}

@test "a topic of a store of format 2 that is full says so to the first publisher" {
	tar -xzf "$ROOT/tests/data/store-format-2.tgz"
	export MQ_STORE=$PWD/s
	must mq-make events full=error max-messages=3
	must_fail 75 mq-pub --atomic events x y z
	must mq-pub events x
	must_fail 75 mq-pub events y
}
