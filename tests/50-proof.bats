#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154
#
# The proof is complete: each promise of mq-guarantees(7) has a test and a deliberate fault, and all of these are there.
# The samples of the rows of tests/torture are run by tests/run.

load helpers

# promises: PROMISE KIND WHAT of each line of tests/promises.
promises() {
	sed 's/#.*//; /^[[:space:]]*$/d' "$ROOT/tests/promises"
}

@test "each promise of the page has a test, and a fault that shows that the test can fail" {
	grep -oE '^\.It P[0-9]+$' "$ROOT/man/mq-guarantees.7" | cut -d ' ' -f 2 >page
	[[ $(wc -l <page) -ge 19 ]]
	for kind in test fault; do
		promises | awk -v kind=$kind '$2 == kind { print $1 }' | sort -u >listed
		sort page | diff - listed
	done
}

@test "each of these tests and faults is there" {
	promises >listed
	while read -r promise _ where what; do
		case $where in
		(torture) grep -qE "^row $what '[^']*\b$promise\b" "$ROOT/tests/torture" ;;
		(mutant) grep -qx "mutant $what" "$ROOT/tests/mutants/list" ;;
		(*.bats:) grep -q "^@test .*$what" "$ROOT/tests/${where%:}" ;;
		(unit) [[ -e $ROOT/tests/unit/$what.c ]] ;;
		(*) false ;;
		esac || { echo "$promise: there is no $where $what"; false; }
	done <listed
}

@test "the mutants fit to the sources, and are at least 20" {
	"$ROOT/tests/mutants/run" --apply
	(($(grep -c '^mutant ' "$ROOT/tests/mutants/list") >= 20))
}

@test "a wake-up that comes before the commit is found" {
	mkdir place
	must_fail 1 "$BUILD/tests/crash/waking" place early
	grep -q 'the receiver sleeps on; again: .*/waking -r 1 -x' "$err"
}

@test "a failed transaction that is committed, or left open, is found" {
	mkdir place
	must_fail 1 "$BUILD/tests/crash/erring" place send anyway
	rm -r place/*
	must_fail 1 "$BUILD/tests/crash/erring" place send no-abort
	grep -q 'a transaction is open already; again: .*/erring -r 1 -x' "$err"
}

@test "a row that fails says how to see it again" {
	mkdir -p build/tests/crash
	cp "$ROOT/tests/torture" torture
	sed -i "s|^row opening .*|row opening 'P10' 'broken @ -r SEED' ''|; s|^cd .*|cd $PWD|" torture
	program build/tests/crash/broken <<-'END'
		echo "lost 7; again: broken -r $3" >&2
		exit 1
	END
	must_fail 1 env SEED=5 BUILD=build bash torture --one sample opening
	grep -q '^not ok opening (P10): status 1, seed 5: lost 7; again: broken -r 5$' "$out"
	grep -q 'again: SEED=5 .* tests/torture sample opening$' "$out"
}
