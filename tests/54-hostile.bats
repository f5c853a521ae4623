#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154
#
# Stores that are damaged or forged, and directories in which somebody else had his hands. The work is done by the
# programs damaging and tampering of tests/crash, of which tests/torture runs the rows; here they make the mistakes that
# they look for, and the tools meet damage that LMDB dies of.

load helpers

# hostile PROGRAM [WORD]...: with a directory of its own, in memory.
hostile() {
	local program=$1
	shift
	rm -rf place
	mkdir place
	env -u MQ_STORE ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0:max_allocation_size_mb=64:allocator_may_return_null=1" \
		timeout 60 "$BUILD/tests/crash/$program" "$@"
}

# finds WORDS PROGRAM [WORD]...: it finds the mistake that it makes itself, and tells how to see it again.
finds() {
	local words=$1
	shift
	must_fail 1 hostile "$@" || return 1
	grep -q -- "$words.*; again: .*/$2 -r [0-9]* -x [0-9]* place" "$err" || { show "does not say '$words': $*"; return 1; }
}

# poke FILE OFFSET BYTES: octal escapes, as printf takes them.
poke() {
	# shellcheck disable=SC2059 # the bytes are escapes
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# ---- damage ---------------------------------------------------------------------------------------------

@test "blocks with a wrong checksum that are believed are found" {
	must_fail 1 hostile damaging -n 20000 -r 7 place crc
	grep -q 'delivered what was never sent; again: .*/damaging -r 7 -x [0-9]* place crc$' "$err"
}

@test "damage that nobody reports is found" {
	must_fail 1 hostile damaging -n 20000 -r 7 place deaf
	grep -q 'damaged in silence; again: .*/damaging -r 7 -x [0-9]* place deaf$' "$err"
}

# Where in the data file the meta page lies that counts.
newest_meta() {
	echo $(($(od -An -t u8 -j 4240 -N 8 "$1") > $(od -An -t u8 -j 144 -N 8 "$1") ? 4096 : 0))
}

# The page in which the store's tree begins: its number lies in both meta pages.
root_page() {
	od -An -t u8 -j $(($(newest_meta "$1") + 128)) -N 8 "$1" | tr -d ' '
}

@test "a store that LMDB dies of: status 70, one line, one hint" {
	[[ ${TEST_CFLAGS-} != *address* ]] || skip "the sanitizer reports that itself"
	seq 100 | mq-send -q jobs
	cp -a "$MQ_STORE" sound
	page=$(root_page "$MQ_STORE/data.mdb")
	((page >= 2))
	died=0
	# Neither branch nor leaf; and entries far outside of the page.
	for damage in '10 \0\0' '16 \377\377\377\377\377\377\377\377\377\377'; do
		read -r at bytes <<<"$damage"
		for tool in 'mq-recv jobs' 'mq-send jobs more' 'mq-peek jobs' mq-ls 'mq-trim --keep=1 jobs'; do
			rm -r "$MQ_STORE"
			cp -a sound "$MQ_STORE"
			poke "$MQ_STORE/data.mdb" $((page * 4096 + at)) "$bytes"
			# shellcheck disable=SC2086 # words
			refuses 70 "$MQ_STORE" $tool
			if grep -q 'damaged, or this is a bug$' "$err"; then died=$((died + 1)); fi
		done
		must_fail 2 mq-check
		grep -q "^mq-check: page $page: " "$err"
	done
	((died > 0))
}

@test "a signal that somebody sends ends a tool as ever" {
	[[ ${TEST_CFLAGS-} != *address* ]] || skip "the sanitizer catches these"
	mq-send -q jobs body
	for signal in SEGV ABRT BUS; do
		start reader mq-recv -f -n 2 other
		until_true 10 blocked "$started"
		kill -s "$signal" "$started"
		ended "$started" $((128 + $(kill -l "$signal")))
		[[ ! -s reader.err ]]
	done
}

@test "meta pages that do not belong together are refused, with what would be the older state" {
	seq 10 | mq-send -q jobs
	mq-send -q jobs newest
	# The newer one becomes number 0.
	poke "$MQ_STORE/data.mdb" $(($(newest_meta "$MQ_STORE/data.mdb") + 144)) '\0\0\0\0\0\0\0\0'
	refuses 70 'do not belong together' mq-recv jobs
}

@test "a meta page that makes no sense is refused before LMDB sees it" {
	seq 100 | mq-send -q jobs
	cp -a "$MQ_STORE" sound
	meta=$(newest_meta "$MQ_STORE/data.mdb")
	# Roots behind the end of the file and among the meta pages, depths, kinds of tables, the last page.
	for damage in '128 \377\377\377' '128 \1\0\0' '80 \377\377\377' '94 \0' '94 \200' '92 \4' '44 \0' '136 \0\0\0'; do
		read -r at bytes <<<"$damage"
		rm -r "$MQ_STORE"
		cp -a sound "$MQ_STORE"
		poke "$MQ_STORE/data.mdb" $((meta + at)) "$bytes"
		refuses 70 'no valid meta page' mq-recv jobs
	done
}

# number FILE AT BYTES: the unsigned number there.
number() {
	od -An -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# claim_pages AT BYTES [MOST [SKIP]]: the headers of pages for long values, most of them behind the first few, say another
# number of pages; sets size, and long, how many.
claim_pages() {
	local data=$MQ_STORE/data.mdb page skip=${4-0}
	size=$(stat -c %s "$data")
	long=0
	for ((page = 2; page < size / 4096; page++)); do
		(($(number "$data" $((page * 4096 + 10)) 2) == 4 && long < ${3-1000000})) || continue
		((skip-- <= 0)) || continue
		poke "$data" $((page * 4096 + $1)) "$2"
		long=$((long + 1))
	done
}

@test "a page whose header says that it is thousands of pages is not given back as such" {
	seq 5000 | mq-send -q jobs
	claim_pages 13 '\377\377'
	((long > 3))
	must_fail 70 mq-recv -n 4000 jobs
	grep -q ': the store is damaged: a page of a long value$' "$err"
	refuses 70 'a page of a long value' mq-trim --keep=1 jobs
	must_fail 2 mq-check
	grep -q '^mq-check: page [0-9]*: ' "$err"
	(($(stat -c %s "$MQ_STORE/data.mdb") < size + 100000))
}

@test "nor is that of a value which is hardly too long for a page with others, when more is appended to it" {
	head -c 1990 /dev/zero | tr '\0' x | mq-send -q -r jobs
	claim_pages 12 '\21'
	((long == 1))
	seq 20000 | mq-send -q others
	refuses 70 'a page of a long value' mq-send jobs small
	prints "$(seq 20000)" mq-recv -e others
}

@test "nor is that of a block in which compaction makes holes" {
	must mq-make -q --stream table max-per-key=1
	for i in {1..120}; do mq-pub -q -k "$i" table "$(printf '%0150d' "$i")"; done
	seq 20000 | mq-send -q others
	cp -a "$MQ_STORE" sound
	# Its blocks come first, the last of them anywhere.
	for skip in 0 1 2 3; do
		rm -r "$MQ_STORE"
		cp -a sound "$MQ_STORE"
		claim_pages 12 '\21' 1 "$skip"
		((long == 1))
		for i in {1..60}; do mq-pub -q -k "$i" table "$(printf '%0150d' "$i")" 2>message || break; done
		must_fail 2 mq-check
		grep -q 'another number of overflow pages' "$err"
		same 'mq-peek -n 20000 others' 'seq 20000'
	done
}

@test "nor is that of a route that goes" {
	must mq-make -q --queue sink
	must mq-make -q --topic news
	conditions=()
	for i in {1..20}; do conditions+=(-m "h$i=$(printf '%0120d' "$i")"); done
	must mq-route -q "${conditions[@]}" news sink
	claim_pages 12 '\21'
	((long == 1))
	refuses 70 'a page of a long value' mq-route --remove news sink
}

@test "a list of free pages that makes no sense is refused by the first who writes" {
	seq 5000 | mq-send -q jobs
	mq-recv -n 4000 jobs >/dev/null
	cp -a "$MQ_STORE" sound
	data=$MQ_STORE/data.mdb
	list=$(number "$data" $(($(newest_meta "$data") + 80)) 8)
	((list >= 2))
	# Its first entry: where it begins; behind a header of 8 bytes and a key of 8 stand a count and numbers.
	entry=$((list * 4096 + $(number "$data" $((list * 4096 + 16)) 2)))
	for damage in '16 \377\377\377' '24 \1\0\0' '24 \377\377\377' '15 \1'; do
		read -r at bytes <<<"$damage"
		rm -r "$MQ_STORE"
		cp -a sound "$MQ_STORE"
		poke "$data" $((entry + at)) "$bytes"
		refuses 70 'MDB_CORRUPTED' mq-send jobs more
		must mq-peek -n 1 jobs
	done
}

@test "giving back space ends where what is found cannot be deleted, as in a page that is out of order" {
	seq 5 | mq-pub -q log
	must test_c <<-'END'
		#define _GNU_SOURCE
		#include <dlfcn.h>
		#include <libmq.h>
		#include <lmdb.h>
		#include <stdlib.h>
		static bool removed;
		int mdb_del(MDB_txn *t, MDB_dbi table, MDB_val *k, MDB_val *v)
		{
			int (*real)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *);
			*(void **)&real = dlsym(RTLD_NEXT, "mdb_del");
			return removed ? MDB_NOTFOUND : real(t, table, k, v);
		}
		static void drop(lmq_store *s)
		{
			bool more = true;
			int rc = 0;
			for (int i = 0; rc == 0 && more; i++)
				if (i == 100)
					abort();
				else
					rc = lmq_store_sweep(s, &more);
			if (rc != LMQ_EDAMAGED)
				abort();
		}
		int main(void)
		{
			lmq_store *s;
			if (lmq_store_open(getenv("MQ_STORE"), NULL, &s) != 0)
				abort();
			if (lmq_channel_remove(s, "log") != 0)
				abort();
			removed = true;
			drop(s);
			lmq_store_close(s);
			return 0;
		}
	END
}

# ---- a directory that others can change -------------------------------------------------------------------

@test "a library that does not look at the files, or at the owner, is found" {
	need_root
	must_fail 1 hostile tampering -n 10 place files
	grep -q 'ends with .*; again: .*/tampering -r [0-9]* -x [0-9]* place files$' "$err"
	must_fail 1 hostile tampering -n 10 place owner
	grep -q "somebody else's: .*; again: .*/tampering -r [0-9]* -x [0-9]* place owner\$" "$err"
}

@test "a hard link to a file of a store is refused, with a hint; a copy is taken" {
	mq-send -q jobs body
	cp -al "$MQ_STORE" linked
	refuses 77 'a second name' mq-recv -s ./linked jobs
	refuses 77 'a second name' mq-send jobs more
	grep -q 'hint: .*--backup' "$err"
	cp -a "$MQ_STORE" copied
	prints body mq-recv -s ./copied jobs
}
