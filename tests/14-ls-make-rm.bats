#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2030,SC2031
# mq-ls, mq-make, mq-rm: list, create, change, rename and delete channels.

load helpers

# Three channels, one of each kind.
three() {
	mq-send -q jobs a b
	mq-make -q --topic news
	mq-make -q --stream log
}

@test "mq-ls lists every channel under a heading" {
	three
	must mq-ls
	[[ ! -s $err ]]
	(($(wc -l <"$out") == 4))
	for name in jobs news log; do
		grep -q "^$name " "$out"
	done
	grep -q '^jobs .*queue' "$out"
	grep -q '^news .*topic' "$out"
	grep -q '^log .*stream' "$out"
}

@test "mq-ls -o plain has no heading and a tab between cells" {
	three
	must mq-ls -o plain
	(($(wc -l <"$out") == 3))
	same "mq-ls -o plain | cut -f 1" 'printf "jobs\nlog\nnews\n"'
}

@test "mq-ls -o json is one object a line" {
	three
	same "mq-ls -o json | jq -r '[.name, .kind] | join(\" \")'" \
		'printf "jobs queue\nlog stream\nnews topic\n"'
	same "mq-ls -o json jobs | jq .messages" 'echo 2'
}

@test "mq-ls --names prints names only, sorted" {
	three
	prints $'jobs\nlog\nnews' mq-ls --names
}

@test "mq-ls --kind=K lists channels of that kind only" {
	three
	prints jobs mq-ls --names --kind=queue
	prints news mq-ls --names --kind=topic
	prints log mq-ls --names --kind=stream
	refuses 64 tree mq-ls --kind=tree
}

@test "mq-ls with patterns lists what matches any of them, once" {
	three
	mq-make -q --stream log.old
	prints $'log\nlog.old' mq-ls --names 'log.#'
	prints $'jobs\nlog.old' mq-ls --names 'log.+' jobs 'jo*'
}

@test "mq-ls: nothing matched is exit 1 and silent" {
	three
	nothing mq-ls --names 'nothing.#'
}

@test "mq-ls without a store is an error" {
	refuses 66 "$MQ_STORE" mq-ls
	[[ ! -e $MQ_STORE ]]
}

@test "mq-ls follows the counts" {
	must mq-send -q jobs a b c
	[[ $(stored jobs) == 3 ]]
	must mq-recv jobs
	[[ $(stored jobs) == 2 ]]
	must mq-recv -e jobs
	[[ $(stored jobs) == 0 ]]
}

@test "mq-ls -v shows properties in the form of mq-make" {
	must mq-make --stream log max-messages=10 max-age=7d
	must mq-ls -v log
	grep -q 'max-messages=10' "$out"
	grep -q 'max-age=7d' "$out"
}

@test "mq-make creates a channel of each kind" {
	must mq-make --queue jobs
	must mq-make --topic news
	must mq-make --stream log
	same "mq-ls -o json | jq -r '[.name, .kind] | join(\" \")'" \
		'printf "jobs queue\nlog stream\nnews topic\n"'
}

@test "mq-make prints what changed, and nothing when nothing did" {
	must mq-make --queue jobs
	must mq-make jobs max-message=1K
	cat "$out" "$err" | grep -q 'max-message=1K'
	must mq-make jobs max-message=1024
	[[ ! -s $out && ! -s $err ]]
	must mq-make --queue jobs max-message=1K
	[[ ! -s $out && ! -s $err ]]
}

@test "mq-make leaves properties that are not named as they are" {
	must mq-make --stream log max-messages=10
	must mq-make log max-age=1h
	must mq-ls -v log
	grep -q 'max-messages=10' "$out"
	grep -q 'max-age=1h' "$out"
}

@test "mq-make takes a limit away with none" {
	must mq-make --stream log max-messages=10
	must mq-make log max-messages=none
	must mq-ls -v log
	if grep -q 'max-messages=10' "$out"; then false; fi
}

@test "mq-make: an unknown property is refused and the valid ones are named" {
	refuses 64 colour mq-make -q --queue jobs colour=red
	grep -q 'hint: .*max-message' "$err"
	refuses 66 '' mq-recv jobs
}

@test "mq-make: a bad value is refused and nothing is changed" {
	must mq-make --stream log max-messages=10
	refuses 64 max-age mq-make log max-messages=20 max-age=soon
	must mq-ls -v log
	grep -q 'max-messages=10' "$out"
	refuses 64 max-messages mq-make log max-messages=18446744073709551616
}

@test "mq-make: a property of another kind is refused" {
	refuses 64 sealed mq-make -q --queue jobs sealed=yes
	refuses 64 window mq-make --stream log window=1M
	refuses 64 max-age mq-make --queue jobs max-age=1h
}

@test "mq-make: a channel does not change its kind" {
	must mq-make --queue jobs
	refuses 64 jobs mq-make --stream jobs
	prints jobs mq-ls --names --kind=queue
}

@test "mq-make without a kind changes, and does not create" {
	must mq-make --queue jobs
	refuses '64|66' other mq-make other max-message=1K
	prints jobs mq-ls --names
}

@test "mq-make: two kinds at once are refused" {
	refuses 64 '' mq-make --queue --stream jobs
}

@test "mq-make: names that are ours are refused" {
	must mq-make --queue jobs
	refuses 64 _jobs mq-make --queue _jobs
	refuses 64 jobs.dead mq-make --queue jobs.dead
	refuses 64 jobs.dead mq-send jobs.dead body
	prints jobs mq-ls --names
}

@test "max-message may be raised to 1 GiB and no further" {
	must mq-make --queue jobs max-message=1G
	refuses 64 max-message mq-make jobs max-message=2G
	refuses 64 max-message mq-make jobs max-message=0
}

@test "mq-make --store makes a store" {
	must mq-make --store "$MQ_STORE"
	[[ -d $MQ_STORE ]]
	nothing mq-recv -q -w 50ms jobs
}

@test "create=no: a missing channel is an error" {
	must mq-send -q jobs a
	must mq-make --store "$MQ_STORE" create=no
	refuses '66|73' other mq-send other a
	must mq-send jobs b
	must mq-make --queue other
	must mq-send other a
	refuses 64 create mq-make --store "$MQ_STORE" create=maybe
	must mq-make --store "$MQ_STORE" create=yes
	must mq-send -q another a
}

@test "sync is a property of the store" {
	must mq-make --store "$MQ_STORE" sync=relaxed
	must mq-send -q jobs a
	must mq-make --store "$MQ_STORE" sync=full
	prints a mq-recv jobs
	refuses 64 sync mq-make --store "$MQ_STORE" sync=maybe
}

@test "an unknown property of the store is refused and the valid ones are named" {
	must mq-make --store "$MQ_STORE"
	refuses 64 colour mq-make --store "$MQ_STORE" colour=red
	grep -q 'hint: .*max-bytes' "$err"
}

@test "--rename gives a channel another name, with its messages" {
	must mq-send -q old a b
	must mq-make old --rename=new
	prints new mq-ls --names
	refuses 66 old mq-recv old
	prints $'a\nb' mq-recv -e new
}

@test "--rename: a name that is taken is refused" {
	must mq-send -q one 1
	must mq-send -q two 2
	must_fail '2|64|73' mq-make one --rename=two
	prints 1 mq-recv one
	prints 2 mq-recv two
}

@test "--rename: a missing channel and a bad name are refused" {
	must mq-send -q one 1
	refuses 66 nobody mq-make nobody --rename=two
	refuses 64 '' mq-make one --rename='a b'
	refuses 64 '' mq-make one --rename=_one
	prints one mq-ls --names
}

@test "--rename: an open receiver goes on" {
	must mq-make --queue old
	start recv mq-recv -w forever -n 1 old
	until_true 20 blocked "$started"
	must mq-make old --rename=new
	must mq-send --no-create new hello
	ended "$started" 0
	[[ $(cat recv.out) == hello ]]
}

@test "--rename: an open reader goes on" {
	must mq-make --stream old
	must mq-pub old a
	start replay mq-replay -f -n 2 old
	until_true 20 has_lines 1 replay.out
	must mq-make old --rename=new
	must mq-pub --no-create new b
	ended "$started" 0
	[[ $(cat replay.out) == $'a\nb' ]]
}

@test "--rename: an open sender goes on" {
	mkfifo pipe
	exec 7<>pipe
	must mq-make --queue old
	start send mq-send old <pipe
	echo a >&7
	prints a mq-recv -w 20 old
	must mq-make old --rename=new
	echo b >&7
	prints b mq-recv -w 20 new
}

@test "mq-rm deletes a channel and its messages" {
	three
	must mq-rm jobs
	prints $'log\nnews' mq-ls --names
	refuses 66 jobs mq-recv jobs
}

@test "mq-rm deletes several" {
	three
	must mq-rm jobs log
	prints news mq-ls --names
}

@test "mq-rm of a missing channel is an error" {
	must mq-send -q jobs a
	refuses 66 job mq-rm job
	prints a mq-recv -e jobs
}

@test "a channel that is made again after mq-rm is empty" {
	seq 1000 | must mq-send -q jobs
	must mq-rm jobs
	must mq-make --queue jobs
	nothing mq-recv -e jobs
	must mq-send jobs new
	prints new mq-recv -e jobs
}

@test "mq-rm of a large channel leaves the others as they are" {
	seq 300000 | must mq-send -q large
	head -c 3000000 /dev/zero | must mq-send -r large
	seq 1000 | must mq-send -q small
	must mq-rm large
	same 'mq-recv -e small' 'seq 1000'
	prints small mq-ls --names
}

@test "the space of a removed channel is used again" {
	must mq-make --store "$MQ_STORE"
	for i in 1 2 3 4 5 6; do
		head -c 4000000 /dev/urandom | mq-send -q -r "large$i"
		mq-rm "large$i"
	done
	(($(stat -c %s "$MQ_STORE/data.mdb") < 16000000))
}
