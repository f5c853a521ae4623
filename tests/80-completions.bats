#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2153 # programs in quotes; ROOT and the store come from helpers
# SPDX-License-Identifier: ISC
#
# Completion in bash, zsh and fish: what is offered behind a command line. That every option is offered,
# and no other, is tested with the manual.

load helpers

# ---- helpers ----------------------------------------------------------------------------------------

# offers SHELL LINE: what the shell offers behind LINE, sorted, in one line.
offers() {
	"offers_$1" "$2" | sed '/^$/d; s/=$//' | sort -u | paste -s -d ' '
}

# bash cuts the words as readline does, at "=" too, and calls the function.
offers_bash() {
	bash --norc -c '
		source "$1"
		rest=$2
		while [[ $rest =~ ^[[:space:]]*([=:]+|[^[:space:]=:]+) ]]; do
			COMP_WORDS+=("${BASH_REMATCH[1]}")
			rest=${rest:${#BASH_REMATCH[0]}}
		done
		[[ $2 != *[[:space:]] ]] || COMP_WORDS+=("")
		COMP_LINE=$2 COMP_POINT=${#2} COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		_mq "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" ""
		printf "%s\n" "${COMPREPLY[@]}"
	' - "$ROOT/completions/bash/mq" "$1"
}

# The argument of an option is shown with the option by fish, without it by the others.
offers_fish() {
	HOME=$PWD fish --no-config -c 'source $argv[1]; complete -C $argv[2]' \
		"$ROOT/completions/fish/mq.fish" "$1" | cut -f 1 |
		sed 's/^--[a-z-]*=\(.\)/\1/'
}

# zsh completes only while it edits a line: one in a pseudo-terminal does, and writes down what is added.
offers_zsh() {
	rm -f ready "done" offered
	cat >offers.zsh <<-'END'
		zmodload zsh/zpty zsh/zselect
		zpty offer zsh -f -i
		zpty -w offer "PROMPT= RPROMPT=; fpath=(${(q)1} \$fpath); source $PWD/widget.zsh"
		while [[ ! -e ready ]]; do zpty -r -t offer line || zselect -t 1; done
		zpty -n -w offer "$2"$'\t'
		while [[ ! -e done ]]; do zpty -r -t offer line || zselect -t 1; done
		zpty -d offer
	END
	cat >widget.zsh <<-'END'
		autoload -Uz compinit
		compinit -u -D
		compadd() {
			local -a added
			[[ -n ${argv[(r)-(O|A|D)*]} ]] || {
				builtin compadd -A added "$@"
				print -rl -- $added >>offered
			}
			builtin compadd "$@"
		}
		offer() { : >offered; _main_complete; : >done }
		zle -C offer complete-word offer
		bindkey '^I' offer
		: >ready
	END
	timeout 30 zsh -f offers.zsh "$ROOT/completions/zsh" "$1" >/dev/null 2>&1 3>&-
	cat offered
}

some_channels() {
	need "$1"
	must mq-send -q jobs a
	must mq-send -q jobs.eu a
	must mq-pub -q news a
	must mq-make --stream log
}

expect() {
	local line=$2 want=$3 got
	got=$(offers "$1" "$line")
	[[ $got == "$want" ]] || { echo "$1: '$line' offers '$got', not '$want'"; return 1; }
}

# ---- the behaviour, for any shell ----------------------------------------------------------------------

channels_by_kind() {
	some_channels "$1"
	expect "$1" 'mq-send ' 'jobs jobs.eu'
	expect "$1" 'mq-recv -n 5 -k a ' 'jobs jobs.eu'
	expect "$1" 'mq-recv --count=5 jobs.' 'jobs.eu'
	expect "$1" 'mq-pub ' 'log news'
	expect "$1" 'mq-sub log ' 'log news'
	expect "$1" 'mq-replay ' 'log news'
	expect "$1" 'mq-ls ' 'jobs jobs.eu log news'
	expect "$1" 'mq-rm -y jobs ' 'jobs jobs.eu log news'
	expect "$1" 'mq-send --reply-to=' 'jobs jobs.eu'
	expect "$1" 'mq-peek ' 'jobs jobs.eu'
	expect "$1" 'mq-trim -y log ' 'jobs jobs.eu log news'
	expect "$1" 'mq-seek ' 'log news'
	expect "$1" 'mq-make -g mailer ' 'log news'
	expect "$1" 'mq-rm -g mailer log ' 'log news'
	expect "$1" 'mq-move ' 'jobs jobs.eu'
	expect "$1" 'mq-move -n 5 jobs ' 'jobs jobs.eu log news'
	expect "$1" 'mq-move --redrive ' 'jobs jobs.eu'
	expect "$1" 'mq-move --redrive jobs ' ''
	expect "$1" 'mq-exec -P 4 ' 'jobs jobs.eu'
	expect "$1" 'mq-exec -g mailer ' 'log news'
	expect "$1" 'mq-exec --to=' 'jobs jobs.eu log news'
}

groups_of_channels() {
	some_channels "$1"
	must mq-make -g mailer log
	must mq-make -g mailer news
	must mq-make -g biller news
	expect "$1" 'mq-sub -g ' 'biller mailer'
	expect "$1" 'mq-exec --group=m' mailer
	expect "$1" 'mq-rm -g ' 'biller mailer'
	expect "$1" 'mq-seek log ' mailer
	expect "$1" 'mq-seek --from=first news ' 'biller mailer'
}

directories_of_check() {
	need "$1"
	mkdir saved
	: >save
	[[ $(offers "$1" 'mq-check --backup=sa') =~ ^saved/?$ ]]
	[[ $(offers "$1" 'mq-check --repair sa') =~ ^saved/?$ ]]
}

command_of_exec() {
	some_channels "$1"
	expect "$1" 'mq-exec -P 4 jobs mq-rec' mq-recv
	expect "$1" 'mq-exec -P 4 jobs -e mq-rec' mq-recv
	[[ $(offers "$1" 'mq-exec jobs mq-recv --') != *parallel* ]]
}

bodies_are_free() {
	some_channels "$1"
	expect "$1" 'mq-send jobs ' ''
	expect "$1" 'mq-pub news hello ' ''
	expect "$1" 'mq-ack ' ''
	expect "$1" 'mq-peek jobs ' ''
}

store_of_the_line() {
	need "$1"
	must mq-send -q -s ./other elsewhere a
	expect "$1" 'mq-send -s ./other ' elsewhere
	expect "$1" 'mq-send --store=./other ' elsewhere
	expect "$1" 'mq-send --store ./other -q ' elsewhere
	expect "$1" 'mq-send -s./other ' elsewhere
}

no_store() {
	need "$1"
	expect "$1" 'mq-send ' ''
	[[ ! -e $MQ_STORE ]]
}

values_of_options() {
	need "$1"
	expect "$1" 'mq-ls --kind=' 'queue stream topic'
	expect "$1" 'mq-ls -o ' 'json plain table'
	expect "$1" 'mq-recv --output=' 'body json json-data'
	expect "$1" 'mq-send --sync=r' relaxed
	expect "$1" 'mq-replay --from=' 'end first'
	expect "$1" 'mq-recv -w ' forever
	expect "$1" 'mq-peek -o t' table
	expect "$1" 'mq-peek --state=' 'blocked delayed expired leased ready retry'
	expect "$1" 'mq-move --reason=' 'crashed expired failed overflow rejected timeout'
	expect "$1" 'mq-ack --dead --reason=' ''
	expect "$1" 'mq-exec --sync=r' relaxed
	expect "$1" 'mq-trim --to=' 'end first'
	expect "$1" 'mq-seek --from=' 'end first'
	expect "$1" 'mq-seek -o ' 'json plain table'
	: >input.file
	expect "$1" 'mq-send jobs --file=input.' input.file
}

properties() {
	some_channels "$1"
	must mq-make -s ./other
	expect "$1" 'mq-make --topic new window-' window-age
	expect "$1" 'mq-make news w' 'window window-age'
	expect "$1" 'mq-make -g mailer news l' lease
	case $1 in
	(fish) # offers a property and its value in one
		expect "$1" 'mq-make jobs max-m' 'max-message max-messages max-messages=none'
		expect "$1" 'mq-make jobs full=d' 'full=dead full=drop-old'
		expect "$1" 'mq-make jobs order=' 'order=key order=none'
		expect "$1" 'mq-make jobs dead=' 'dead=jobs dead=jobs.eu dead=none'
		expect "$1" 'mq-make log sealed=' 'sealed=no sealed=yes'
		expect "$1" 'mq-make --store=./other sync=' 'sync=full sync=relaxed'
		;;
	(*)
		expect "$1" 'mq-make jobs max-' 'max-attempts max-bytes max-message max-messages'
		expect "$1" 'mq-make jobs full=' 'block dead drop-old error'
		expect "$1" 'mq-make jobs order=' 'key none'
		expect "$1" 'mq-make jobs dead=' 'jobs jobs.eu none'
		expect "$1" 'mq-make --stream new s' sealed
		expect "$1" 'mq-make log sealed=' 'no yes'
		expect "$1" 'mq-make --store=./other sync=' 'full relaxed'
		;;
	esac
	expect "$1" 'mq-make --topic ' news
}

hostile_words() {
	some_channels "$1"
	expect "$1" 'mq-send -s $(touch,hit) ' ''
	expect "$1" 'mq-send -s ./`touch,hit` ' ''
	[[ ! -e hit ]]
}

# ---- bash ------------------------------------------------------------------------------------------------

@test "bash: channels are offered by kind" { channels_by_kind bash; }
@test "bash: nothing is offered for bodies" { bodies_are_free bash; }
@test "bash: channels are those of the store on the line" { store_of_the_line bash; }
@test "bash: without a store nothing is offered, said or created" { no_store bash; }
@test "bash: options have their values" { values_of_options bash; }
@test "bash: properties are offered by kind, with their values" { properties bash; }
@test "bash: words of the line are never run" { hostile_words bash; }
@test "bash: groups are offered, those of the channel where it is known" { groups_of_channels bash; }
@test "bash: behind the queue of mq-exec a command is completed" { command_of_exec bash; }
@test "bash: directories are offered where mq-check writes a store" { directories_of_check bash; }

@test "bash: states are a list with commas" {
	expect bash 'mq-peek --state=ready,le' ready,leased
	expect bash 'mq-peek --state=ready,r' ready,retry
}

@test "bash: the words of a command are left to the completion of that command" {
	bash --norc -c '
		source "$1"
		_command_offset() { echo "from ${COMP_WORDS[$1]}"; }
		COMP_WORDS=(mq-exec --rate = 5/s jobs tar -x "") COMP_CWORD=7
		COMP_LINE="mq-exec --rate=5/s jobs tar -x " COMP_POINT=${#COMP_LINE}
		_mq mq-exec "" -x
	' - "$ROOT/completions/bash/mq" >said
	[[ $(<said) == "from tar" ]]
}

@test "bash: one letter behind another takes the argument" {
	must mq-send -q -s ./other elsewhere a
	expect bash 'mq-recv -es ./other ' elsewhere
	expect bash 'mq-recv -es./other ' elsewhere
}

@test "bash: no program is started but mq-ls" {
	some_channels bash
	mkdir programs
	printf '#!/bin/sh\necho "$*" >>%q\nexec %q "$@"\n' "$PWD/started" "$BUILD/mq-ls" >programs/mq-ls
	chmod +x programs/mq-ls
	shell=$(command -v bash)
	for line in 'mq-send ' 'mq-make log s' 'mq-ls --kind=' 'mq-recv --' 'mq-sub -s '; do
		"$shell" --norc -c '
			PATH=$3
			source "$1"
			command_not_found_handle() { echo "started: $*"; }
			read -ra COMP_WORDS <<<"$2"
			[[ $2 != *\  ]] || COMP_WORDS+=("")
			COMP_LINE=$2 COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			_mq "${COMP_WORDS[0]}"
		' - "$ROOT/completions/bash/mq" "$line" "$PWD/programs" >said 2>&1
		[[ ! -s said ]] || { cat said; false; }
	done
	grep -q -- --kind=queue started
}

# ---- zsh -------------------------------------------------------------------------------------------------

@test "zsh: channels are offered by kind" { channels_by_kind zsh; }
@test "zsh: nothing is offered for bodies" { bodies_are_free zsh; }
@test "zsh: channels are those of the store on the line" { store_of_the_line zsh; }
@test "zsh: without a store nothing is offered, said or created" { no_store zsh; }
@test "zsh: options have their values" { values_of_options zsh; }
@test "zsh: properties are offered by kind, with their values" { properties zsh; }
@test "zsh: words of the line are never run" { hostile_words zsh; }
@test "zsh: groups are offered, those of the channel where it is known" { groups_of_channels zsh; }
@test "zsh: behind the queue of mq-exec a command is completed" { command_of_exec zsh; }
@test "zsh: directories are offered where mq-check writes a store" { directories_of_check zsh; }

# ---- fish ------------------------------------------------------------------------------------------------

@test "fish: channels are offered by kind" { channels_by_kind fish; }
@test "fish: nothing is offered for bodies" { bodies_are_free fish; }
@test "fish: channels are those of the store on the line" { store_of_the_line fish; }
@test "fish: without a store nothing is offered, said or created" { no_store fish; }
@test "fish: options have their values" { values_of_options fish; }
@test "fish: properties are offered by kind, with their values" { properties fish; }
@test "fish: words of the line are never run" { hostile_words fish; }
@test "fish: groups are offered, those of the channel where it is known" { groups_of_channels fish; }
@test "fish: behind the queue of mq-exec a command is completed" { command_of_exec fish; }
@test "fish: directories are offered where mq-check writes a store" { directories_of_check fish; }
