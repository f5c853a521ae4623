#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031
#
# Parsers and decoders against any bytes. The row fuzz of tests/torture feeds each target of tests/fuzz with the files of
# its corpus, and with changed ones; here the targets, or what they look at, have faults that must be found.

load helpers

@test "each target has a corpus, which is small, and passes all of it" {
	for source in "$ROOT"/tests/fuzz/*.c; do
		target=$(basename "$source" .c)
		[[ $target == main || $target == fuzz ]] || [[ -n $(ls "$ROOT/tests/fuzz/corpus/$target") ]]
	done
	[[ -z $(find "$ROOT/tests/fuzz/corpus" -type f -size +4096c) ]]
	(($(find "$ROOT/tests/fuzz/corpus" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }') < 400000))
	must "$ROOT/tests/fuzz/run" replay
	grep -qE '^[0-9,]+ inputs of [0-9]+ targets by the corpus, 0 bad$' "$out"
}

@test "a target that makes the mistake it looks for fails, names the file, and tells how to see it again" {
	for directory in "$ROOT"/tests/fuzz/corpus/*/; do
		target=$(basename "$directory")
		must_fail 1 env MQ_FUZZ_FAULT=1 "$ROOT/tests/fuzz/run" -r 1 replay "$target"
		grep -q "^$target: .*; again: .*/tests/fuzz/$target tests/fuzz/corpus/$target/" "$err" ||
			grep -q "^$target: .*ERROR: AddressSanitizer" "$err"
	done
}

# broken TARGET FILE FROM TO: the target, linked with the file of the library in which FROM became TO.
broken() {
	local target=$1 file=$2 from=$3 to=$4 wraps
	[[ $(grep -cF -- "$from" "$ROOT/libmq/$file") == 1 ]] || { echo "$file has not one '$from'" >&2; return 1; }
	FROM=$from TO=$to perl -pe 's/\Q$ENV{FROM}\E/$ENV{TO}/' "$ROOT/libmq/$file" >broken.c
	wraps=$(sed -n 's/^fuzz_wraps := //p' "$ROOT/Makefile")
	# shellcheck disable=SC2086,SC2046 # flags are words
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE -O1 -g -w -I "$ROOT/libmq" -I "$ROOT/libmq/${file%/*}" ${TEST_CFLAGS-} \
		-o "broken-$target" broken.c \
		"$BUILD"/obj/tests/fuzz/{"$target",fuzz,main}.o "$BUILD/libcmd.a" "$BUILD/libmq.a" \
		$(printf -- '-Wl,--wrap=%s ' $wraps) $(find "$BUILD" -name libgnu.a) -llmdb -lm ${TEST_LDFLAGS-}
	capture "./broken-$target" -m 2000 -r 1 -o . "$ROOT/tests/fuzz/corpus/$target"
	((status != 0)) || { show "not found in $file: '$from'"; return 1; }
}

@test "a decoder without one of its checks is found by the corpus, or soon" {
	broken record base/format.c 'p < end && shift < 64' 'shift < 64'
	broken block base/block.c 'b->skip <= b->size && ' ''
	broken block base/block.c 'size <= BLOCK_HEADER + link' 'false'
	broken pages file/page.c 'n->key_size > room || ' ''
	broken pages file/tree.c 'if (page_bit(w->reached, i))' 'if (false)'
}

@test "what a changed input finds is kept, and shown again by the command" {
	cat >target.c <<-'END'
		#include "fuzz.h"
		int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
		{
			MUST(size < 3 || data[1] == 'b');
			return 0;
		}
	END
	mkdir corpus
	printf abc >corpus/one
	# shellcheck disable=SC2046,SC2086 # flags are words
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE -g -I "$ROOT/libmq" -I "$ROOT/tests/fuzz" ${TEST_CFLAGS-} -o target target.c \
		"$BUILD"/obj/tests/fuzz/{fuzz,main}.o "$BUILD/libcmd.a" "$BUILD/libmq.a" \
		$(sed -n 's/^fuzz_wraps := //p' "$ROOT/Makefile" | sed 's/[^ ]*/-Wl,--wrap=&/g') $(find "$BUILD" -name libgnu.a) \
		-llmdb -lm ${TEST_LDFLAGS-}
	prints 1 ./target corpus
	must_fail 1 ./target -m 5000 -r 9 -o . corpus
	grep -qxF './target-9: signal 6; again: ./target ./target-9' "$err"
	must_fail 1 ./target ./target-9
}

@test "libFuzzer takes the targets, where there is one" {
	[[ -z ${TEST_CFLAGS-} ]] || skip "the sanitizers of two compilers do not mix"
	"$ROOT/tests/fuzz/run" can || skip "there is no clang with libFuzzer"
	# shellcheck disable=SC2046 # flags are words
	clang -std=gnu11 -D_GNU_SOURCE -g -w -fsanitize=fuzzer -I "$ROOT/libmq" -I "$ROOT/cmd" -o quantity \
		"$ROOT"/tests/fuzz/{quantity,fuzz}.c "$BUILD/libcmd.a" "$BUILD/libmq.a" \
		$(sed -n 's/^fuzz_wraps := //p' "$ROOT/Makefile" | sed 's/[^ ]*/-Wl,--wrap=&/g') $(find "$BUILD" -name libgnu.a) \
		-llmdb -lm
	mkdir found
	must ./quantity -runs=20000 -seed=1 found "$ROOT/tests/fuzz/corpus/quantity"
	[[ -n $(ls found) || $(grep -c . "$err") -gt 0 ]]
	must_fail 77 env MQ_FUZZ_FAULT=1 ./quantity -runs=20000 -seed=1 "$ROOT/tests/fuzz/corpus/quantity"
}
