#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2153 # programs in quotes; ROOT comes from helpers
# SPDX-License-Identifier: ISC
#
# What is promised about the tree itself: symbols, layers, manual, completions, installation.

load helpers

# ---- helpers ----------------------------------------------------------------------------------------

# Names of the functions that libmq.h declares.
declared() {
	${CC:-cc} -E -P -x c "$ROOT/libmq/libmq.h" | grep -oE '\blmq_[a-z0-9_]+ ?\(' | tr -d ' (' | sort -u
}

exported() {
	nm -D --defined-only "$BUILD/libmq.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u
}

mapped() {
	sed -n 's/^[[:space:]]*\(lmq_[a-z0-9_]*\);$/\1/p' "$ROOT/libmq/libmq.map" | sort -u
}

tools() {
	local source
	for source in "$ROOT"/cmd/mq-*.c; do
		basename "$source" .c
	done
}

# make as a user calls it, not as part of the make that runs the tests.
build() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u LD_LIBRARY_PATH \
		make -C "$ROOT" --no-print-directory BUILD="${BUILD#"$ROOT"/}" "$@" 3>&-
}

# section PAGE NAME: that section of a page, as a terminal shows it, without markup.
section() {
	mandoc -T ascii -O width=200 "$1" | col -bx |
		awk -v name="$2" '/^[^ ]/ { inside = $0 == name; next } inside'
}

words() {
	tr -s '[:space:]' ' ' | sed 's/^ //; s/ $//'
}

# Long options of a tool, from its table by way of --help.
options() {
	"$1" --help | grep -E '^ +-' | grep -oE '(^| )--[a-z][a-z-]*' | tr -d ' ' | sort -u
}

# commands: of the lines on stdin those that are commands, "$ " at their begin and "> " where one goes on.
commands() {
	sed -n 's/^ *\([$>]\) \(.*\)/\2/p'
}

# runs NAME: the commands on stdin, in an empty directory with a store of its own.
runs() {
	local scratch=$BATS_TEST_TMPDIR/$1
	mkdir "$scratch"
	{
		echo "trap 'kill \$(jobs -p) 2>/dev/null || :' EXIT"
		cat
	} >"$scratch.sh"
	(
		cd "$scratch" && export MQ_STORE=$scratch.store HOME=$scratch
		timeout 60 bash -e -v "$scratch.sh" >"$scratch.log" 2>&1 3>&-
	) && return 0
	echo "-- $1 failed:"
	tail -n 15 "$scratch.log"
	return 1
}

# ---- symbols -----------------------------------------------------------------------------------------

@test "symbols: libmq.so exports what libmq.h declares, neither more nor less" {
	diff <(declared) <(exported)
}

@test "symbols: libmq.map lists what libmq.h declares" {
	diff <(declared) <(mapped)
}

@test "symbols: libmq.so has no name of POSIX message queues" {
	run ! grep '^mq_' <(exported)
}

@test "symbols: libmq.so and the archive leave stdout, exit and the environment to the caller" {
	nm -u "$BUILD/libmq.a" >undefined
	run ! grep -wE '(__)?v?f?printf(_chk)?|f?puts|putchar|perror|exit|_exit|(secure_)?getenv|stdout|stderr|sigaction|signal' undefined
}

@test "symbols: the tools use public functions of the library only" {
	nm -u "$BUILD"/obj/cmd/*.o | awk '/ lmq_/ { print $2 }' | sort -u >used
	[[ -s used ]]
	[[ -z $(comm -23 used <(declared)) ]] || { comm -23 used <(declared); false; }
}

@test "symbols: getopt adds no object code where the C library has it" {
	[[ $(getconf GNU_LIBC_VERSION) == glibc* ]] || skip "this is not glibc"
	run ! grep -E '^[0-9a-f]+ [Tt] (rpl_)?getopt' <(nm "$BUILD/mq-send")
}

@test "symbols: the library's version is the one in its header" {
	version=$(sed -n 's/^#define LMQ_VERSION "\(.*\)"/\1/p' "$ROOT/libmq/libmq.h")
	[[ -e $BUILD/libmq.so.$version ]]
	[[ $(mq-send --version) == "mq-send (mq) $version" ]]
	readelf -d "$BUILD/libmq.so" | grep -F "SONAME" | grep -F "[libmq.so.${version%%.*}]"
}

# ---- layers ------------------------------------------------------------------------------------------

# layer DIRECTORY: its number in tests/layers.
layer() {
	awk -v directory="$1" '!/^#/ && $2 == directory { print $1 }' "$BATS_TEST_DIRNAME/layers"
}

# may FROM TO: whether modules of one directory of the library may use those of the other.
may() {
	[[ $1 == "$2" ]] || (($(layer "$2") < $(layer "$1")))
}

@test "layers: every directory of the library has one, and every source is in one" {
	cd "$ROOT/libmq"
	diff <(find . -mindepth 1 -type d -printf '%f\n' | sort) <(awk '!/^#/ { print $2 }' "$BATS_TEST_DIRNAME/layers" | sort)
	[[ $(find . -maxdepth 1 -name '*.[ch]') == ./libmq.h ]]
}

@test "layers: modules of different directories have different names" {
	[[ -z $(basename -a "$ROOT"/libmq/*/*.c | sort | uniq -d) ]]
}

@test "layers: the library includes only its own headers, and downward" {
	cd "$ROOT/libmq"
	grep -H '#include "' ./*/*.[ch] | sed 's|^\./\([a-z]*\)/\(.*\):.*"\(.*\)".*|\1 \2 \3|' |
		while read -r directory file header; do
			[[ $header != libmq.h ]] || continue
			[[ $header == */* ]] || header=$directory/$header
			[[ -e $header ]] && may "$directory" "${header%/*}" || { echo "$directory/$file includes $header"; exit 1; }
		done
}

@test "layers: a module of the library calls nothing that lies above it" {
	for source in "$ROOT"/libmq/*/*.c; do
		directory=$(basename "$(dirname "$source")")
		module=$directory/$(basename "$source" .c)
		object=$BUILD/obj/libmq/$module.o
		nm --defined-only "$object" | awk -v m="$module" -v d="$directory" '$2 ~ /[TDBR]/ { print $3, m, d }' >>defined
		nm -u "$object" | awk -v m="$module" -v d="$directory" '{ print $2, m, d }' >>used
	done
	sort -k 1,1 -o defined defined
	sort -k 1,1 used | join - defined | awk '$3 != $5 { print $3, $5 }' | sort -u >pairs
	(($(wc -l <pairs) > 20))
	while read -r from to; do
		may "$from" "$to" || { echo "$from calls $to"; false; }
	done <pairs
}

@test "layers: the tools include libmq.h and their own headers, nothing else of the library" {
	cd "$ROOT/cmd"
	sed -n 's/^#include "\(.*\)".*/\1/p' ./*.c ./*.h | sort -u | while read -r header; do
		[[ $header == libmq.h || -e $header ]] || { echo "included: $header"; exit 1; }
	done
	run ! grep -n '#include <lmdb.h>' ./*.c ./*.h
}

# ---- the manual --------------------------------------------------------------------------------------

@test "manual: every tool has a page" {
	for tool in $(tools); do
		[[ -e $ROOT/man/$tool.1 ]] || { echo "no page for $tool"; false; }
	done
}

@test "manual: mandoc finds nothing to warn about" {
	mandoc -T lint -W warning "$ROOT"/man/*.[1-8]
}

@test "manual: the usage of --help is the SYNOPSIS of the page" {
	for tool in $(tools); do
		"$tool" --help | sed -n '1s/^usage: //p; 1d; /^ /!q; p' | words >usage
		section "$ROOT/man/$tool.1" SYNOPSIS | words >synopsis
		[[ -s usage ]]
		diff usage synopsis
	done
}

@test "manual: every option of --help is in the page, and no other" {
	for tool in $(tools); do
		options "$tool" >have
		[[ -s have ]]
		sed -n 's/^\.It \(Fl.*\)/\1/p' "$ROOT/man/$tool.1" | grep -oE 'Fl -[a-z][a-z-]*' |
			sed 's/^Fl /-/' | sort -u >described
		diff have described || { echo "in $tool"; false; }
	done
}

@test "manual: the help of every tool fits a screen of 24 lines and 80 columns, and shows examples" {
	for tool in $(tools); do
		"$tool" --help >help
		(($(wc -l <help) <= 24)) || { echo "$tool: $(wc -l <help) lines"; false; }
		run ! grep -nE '^.{81}' help
		# They stand behind the options that every tool has.
		(($(sed '1,/^  -s, --store/d' help | grep -c '^  [^ ]') >= 2)) || { echo "$tool: no examples"; false; }
	done
}

@test "manual: the table of exit statuses is the same in every page" {
	for page in "$ROOT"/man/*.1 "$ROOT/man/mq.7"; do
		awk '/^\.Sh EXIT STATUS/ { inside = 1 } inside; inside && /^\.El/ { exit }' "$page" >table
		[[ -e first ]] || cp table first
		diff first table || { echo "in $page"; false; }
	done
	[[ $(grep -c '^\.It' first) == 16 ]]
}

@test "manual: the examples of every page run" {
	need jq
	failed=0
	for page in "$ROOT"/man/*.[1-8]; do
		section "$page" EXAMPLES | commands >examples
		runs "$(basename "$page")" <examples || failed=1
	done
	((failed == 0))
}

@test "manual: the commands of README.md run" {
	need jq
	[[ -e $ROOT/README.md ]]
	awk '/^```/ { inside = $0 == "```console"; next } inside' "$ROOT/README.md" | commands |
		grep -vE '^(sudo |git clone |make\b|cd )' >examples
	[[ -s examples ]]
	runs README <examples
}

# ---- completions -------------------------------------------------------------------------------------

@test "completions: bash offers every option of every tool, and no other" {
	for tool in $(tools); do
		bash --norc -c '
			tool=$1 file=$2
			source "$file"
			function=$(complete -p "$tool" | sed "s/.*-F \([^ ]*\).*/\1/")
			COMP_WORDS=("$tool" --) COMP_CWORD=1 COMP_LINE="$tool --" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
			"$function" "$tool" -- "$tool" || :
			printf "%s\n" "${COMPREPLY[@]}"
		' - "$tool" "$(completion bash "$tool" mq)" | sed 's/[= ]*$//' | sort -u >offered
		diff <(options "$tool") offered || { echo "in $tool"; false; }
	done
}

@test "completions: fish offers every option of every tool, and no other" {
	need fish
	for tool in $(tools); do
		HOME=$PWD fish --no-config -c 'source $argv[1]; complete -C "$argv[2] --"' \
			"$(completion fish "$tool.fish" mq.fish)" "$tool" | cut -f 1 | sed 's/=$//' | sort -u >offered
		diff <(options "$tool") offered || { echo "in $tool"; false; }
	done
}

@test "completions: zsh names every option of every tool" {
	for tool in $(tools); do
		file=$(completion zsh "_$tool" _mq)
		for option in $(options "$tool"); do
			grep -qE -- "$option\\b" "$file" || { echo "$tool: $option"; false; }
		done
	done
}

# completion SHELL FILE...: the path of the first of the files that exists.
completion() {
	local shell=$1 name
	shift
	for name; do
		[[ -e $ROOT/completions/$shell/$name ]] || continue
		echo "$ROOT/completions/$shell/$name"
		return
	done
	echo "no completion for $shell: $*" >&2
	return 1
}

# ---- build and installation --------------------------------------------------------------------------

@test "build: a second make has nothing to do" {
	build -q all
}

@test "install: into DESTDIR, a C program finds the library through pkg-config and runs" {
	root=$PWD/root
	build install DESTDIR="$root" PREFIX=/usr >/dev/null
	export PKG_CONFIG_PATH=$root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
	export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
	cat >send.c <<-'END'
		#include <libmq.h>
		#include <stdio.h>

		int main(void)
		{
			struct lmq_message m = LMQ_MESSAGE_INIT;
			struct lmq_store_options o = { sizeof o, LMQ_CREATE, 0 };
			lmq_store *s = NULL;
			lmq_channel *c = NULL;
			lmq_writer *w = NULL;
			int rc;

			m.body = (struct lmq_bytes){ "hello", 5 };
			if ((rc = lmq_store_open("./sample", &o, &s)) != 0 ||
				(rc = lmq_channel_open(s, "jobs", LMQ_QUEUE, LMQ_CREATE, &c)) != 0 ||
				(rc = lmq_writer_open(s, LMQ_SYNC_DEFAULT, &w)) != 0 ||
				(rc = lmq_writer_add(w, c, &m)) != 0 || (rc = lmq_writer_commit(w)) != 0)
				fprintf(stderr, "%s\n", lmq_error(s));
			lmq_writer_close(w);
			lmq_channel_close(c);
			lmq_store_close(s);
			return rc != 0;
		}
	END
	# shellcheck disable=SC2046,SC2086 # flags are words
	${CC:-cc} -Wall -Wextra -Werror ${TEST_CFLAGS-} send.c -o send $(pkg-config --cflags --libs libmq)
	LD_LIBRARY_PATH=$root/usr/lib ldd send | grep -F "$root/usr/lib/libmq.so.0"
	LD_LIBRARY_PATH=$root/usr/lib ./send
	[[ $("$root/usr/bin/mq-recv" -s ./sample jobs) == hello ]]
}

@test "install: the header is one that a C++ compiler takes" {
	need g++
	g++ -x c++ -fsyntax-only -Wall -Wextra -Werror "$ROOT/libmq/libmq.h"
}

@test "install: every tool has its page and its completions, and uninstall leaves no file behind" {
	root=$PWD/root
	build install DESTDIR="$root" PREFIX=/usr >/dev/null
	for tool in $(tools); do
		[[ -x $root/usr/bin/$tool && -e $root/usr/share/man/man1/$tool.1 ]]
		[[ -e $root/usr/share/bash-completion/completions/$tool ]]
		[[ -e $root/usr/share/fish/vendor_completions.d/$tool.fish ]]
		grep -qw -- "$tool" "$root"/usr/share/zsh/site-functions/_*
	done
	build uninstall DESTDIR="$root" PREFIX=/usr >/dev/null
	[[ -z $(find "$root" ! -type d) ]] || { find "$root" ! -type d; false; }
}

@test "build: the tree is as clean as it was before building and testing" {
	git -C "$ROOT" rev-parse --git-dir >/dev/null 2>&1 || skip "this is no git checkout"
	[[ -e $BUILD/tree-before ]] || skip "nobody noted the state before: use make check"
	diff "$BUILD/tree-before" <(git -C "$ROOT" status --porcelain)
}

@test "build: the scripts are clean of what shellcheck knows" {
	need shellcheck
	cd "$ROOT"
	shellcheck -x .ci/run tests/run tests/setup tests/demo
}
