#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2154,SC2016,SC2030,SC2031
# Groups, partitions and limits, as mq-make, mq-ls, mq-rm and mq-trim deal with them.

load helpers

# log [PROPERTY=VALUE]...: a stream log with the messages 0 to 9.
log() {
	must mq-make -q --stream log "$@"
	seq 0 9 | must mq-pub log
}

# groups [ARG]...: channel, group, partition, position and lag, as mq-ls lists them.
groups() {
	mq-ls --groups -o plain "$@" | cut -f 1-4,6
}

# ---- mq-make ----------------------------------------------------------------------------------------------------

@test "mq-make -g creates a group and prints what changed, and nothing when nothing did" {
	log
	prints $'log@g: created group\nlog@g: lease=2m\nlog@g: max-attempts=3' mq-make -g g log lease=2m max-attempts=3
	must mq-make -g g log lease=120s
	[[ ! -s $out && ! -s $err ]]
	prints log@g:\ lease=1m mq-make --group=g log lease=1m max-attempts=3
}

@test "mq-make -g takes the properties of groups, and names them when it meets another" {
	log
	must mq-make -g g log lease=1m max-attempts=none backoff=1s..2s dead=gone order=key
	refuses 64 max-age mq-make -g g log max-age=1h
	grep -q 'hint: .*backoff' "$err"
	refuses 64 lease mq-make -g other log lease=soon
	prints log$'\t'g$'\t'0$'\t'0$'\t'10 groups
}

@test "a new group of a stream starts at its first message, one of a topic now" {
	log
	must mq-make -q --topic news
	must mq-make -g before news
	must mq-pub news a b
	must mq-make -g after news
	must mq-make -g g log
	same 'mq-sub -g g -e log' 'seq 0 9'
	nothing mq-sub -g after -e news
	prints $'a\nb' mq-sub -g before -e news
}

@test "mq-make -g --from and --since choose where a new group starts" {
	log
	later 5
	since=@$(date +%s.%N)
	must mq-pub log new
	must mq-make -g a --from=7 log
	must mq-make -g b --from=end log
	must mq-make -g c -S "$since" log
	must mq-make -g d --from=first log
	[[ $(groups | cut -f 2,4 | tr '\t\n' ': ') == 'a:7 b:11 c:10 d:0 ' ]]
}

@test "mq-make -g leaves a group that is there where it is, and says so" {
	log
	must mq-make -g g --from=7 log
	must mq-make -g g --from=2 log
	[[ ! -s $out ]]
	grep -q mq-seek "$err"
	must mq-make -q -g g --from=2 log
	[[ ! -s $err ]]
	prints $'7\n8\n9' mq-sub -g g -e log
}

@test "mq-make -g: what is not there, no group's name, or of another kind is refused" {
	refuses 66 '' mq-make -g g log
	[[ ! -e $MQ_STORE ]]
	log
	refuses 66 lag mq-make -g g lag
	refuses 64 'a b' mq-make -g 'a b' log
	refuses 64 '' mq-make -g '' log
	must mq-send -q jobs a
	refuses 64 jobs mq-make -g g jobs
	refuses 64 NAME mq-make -g g
	refuses 64 stream mq-make --stream -g g log
	refuses 64 rename mq-make --rename=new -g g log
	refuses 64 group mq-make --from=first log
	must_fail 1 mq-ls --groups
}

@test "a group's properties are its own: max-attempts and dead" {
	log
	must mq-make -g g log max-attempts=1 dead=gone
	must_fail 2 mq-exec -g g -n 2 log false
	must_fail 2 mq-exec -g usual -n 1 log false
	same 'mq-peek gone' 'seq 0 1'
	refuses 66 '' mq-peek log.dead
}

@test "partitions are fixed when a stream is created" {
	must mq-make --stream log partitions=4
	grep -qx 'log: partitions=4' "$out"
	must mq-make log partitions=4
	[[ ! -s $out ]]
	refuses 64 partitions mq-make log partitions=5
	refuses 64 partitions mq-make --stream other partitions=0
	refuses 64 partitions mq-make --stream other partitions=129
	refuses 64 partitions mq-make --topic other partitions=2
	must mq-make --stream most partitions=128
}

# ---- mq-ls ------------------------------------------------------------------------------------------------------

@test "mq-ls --groups lists the groups of all channels, by partition" {
	log
	must mq-make -q --stream two partitions=2
	must mq-make -q --topic news
	must mq-send -q jobs a
	for name in log two news; do
		must mq-make -g g "$name"
	done
	must mq-sub -q -g g -n 3 log
	[[ $(groups) == $'log\tg\t0\t3\t7\nnews\tg\t0\t0\t0\ntwo\tg\t0\t0\t0\ntwo\tg\t1\t0\t0' ]]
	must mq-ls --groups
	[[ $(wc -l <"$out") == 5 ]]
	grep -q '^channel  *group  *partition ' "$out"
}

@test "mq-ls --groups with patterns and --kind lists those of some channels" {
	log
	must mq-make -q --topic news
	must mq-make -g g log
	must mq-make -g g news
	[[ $(groups 'n*' | cut -f 1) == news ]]
	[[ $(groups --kind=stream | cut -f 1) == log ]]
	nothing mq-ls --groups 'x.#'
}

@test "mq-ls --groups -v shows properties in the form of mq-make" {
	log
	must mq-make -g g log lease=2m order=key
	must mq-make -g usual log
	must mq-ls --groups -v log
	grep -q '^log *g .*lease=2m order=key$' "$out"
	same "mq-ls --groups -v -o json log | jq -c .properties" "printf '%s\n' '{\"lease\":\"2m\",\"order\":\"key\"}' '{}'"
}

@test "mq-ls -v shows partitions; the counts are those of all of them" {
	must mq-make -q --stream log partitions=4
	for p in 0 1 2 3; do
		seq 5 | must mq-pub --partition=$p log
	done
	must mq-ls -v log
	grep -q partitions=4 "$out"
	[[ $(stored log) == 20 ]]
}

@test "mq-ls --routes lists routes with their conditions" {
	must mq-make -q --topic orders
	must mq-make -q --queue billing
	must mq-make -q --queue stock
	must mq-route -q orders billing
	must mq-route -q -k 'eu.#' -m 'kind=*new*' 'ord*' stock
	[[ $(mq-ls --routes -o plain | cut -f 2-) == $'orders\tbilling\t-\nord*\tstock\t-k eu.# -m kind=*new*' ]]
	[[ $(mq-ls --routes -o plain stock | cut -f 2) == 'ord*' ]]
	[[ $(mq-ls --routes -o plain orders | wc -l) == 2 ]]
	nothing mq-ls --routes nothing
	same 'mq-ls --routes -o json | jq -r .destination' "printf 'billing\nstock\n'"
}

@test "mq-ls --routes -o json and mq-route -o json: each condition is a field" {
	must mq-make -q --topic orders
	must mq-route -q orders billing
	must mq-route -q -k 'eu.#' -m 'kind=*"new"*' -m 'path=a\b' --any orders stock
	must mq-route -q -m 'kind=[ab]' orders stock
	must mq-route -o json
	diff "$out" - <<-'END'
		{"number":1,"source":"orders","destination":"billing","key":null,"headers":[],"any":false}
		{"number":2,"source":"orders","destination":"stock","key":"eu.#","headers":["kind=*\"new\"*","path=a\\b"],"any":true}
		{"number":3,"source":"orders","destination":"stock","key":null,"headers":["kind=[ab]"],"any":false}
	END
	same 'mq-ls --routes -o json' 'mq-route -o json'
	[[ $(mq-ls --routes -o json stock | jq -r '.headers[]' | head -n 1) == 'kind=*"new"*' ]]
	must mq-ls --routes
	grep -qF -- '-k eu.# -m kind=*"new"* -m path=a\b --any' "$out"
}

@test "mq-make -g --last=N: a new group starts N messages before the end" {
	must mq-make -q --stream log
	seq 0 9 | must mq-pub log
	must mq-make -q -g late --last=3 log
	prints $'7\n8\n9' mq-sub -e -g late log
	refuses 64 --group mq-make --last=3 log
	refuses 64 exclude mq-make -g other --last=3 --from=1 log
}

@test "mq-ls: --groups, --routes and --names exclude each other" {
	log
	refuses 64 routes mq-ls --groups --routes
	refuses 64 names mq-ls --groups --names
	refuses 64 kind mq-ls --routes --kind=topic
}

# ---- mq-rm ------------------------------------------------------------------------------------------------------

@test "mq-rm -g deletes a group; the channel and other groups stay" {
	log
	must mq-make -g g log
	must mq-make -g other log
	must mq-sub -q -g g -l 600 -n 3 log
	must mq-rm -g g log
	[[ ! -s $out && ! -s $err ]]
	[[ $(groups) == $'log\tother\t0\t0\t10' ]]
	must mq-make -g g log
	same 'mq-sub -g g -e log' 'seq 0 9'
}

@test "mq-rm -g of several channels, some without it" {
	log
	must mq-make -q --stream other partitions=3
	must mq-make -g g log
	must mq-make -g g other
	must mq-make -q --stream none
	must_fail 66 mq-rm -g g none log other
	must_fail 1 mq-ls --groups
	prints $'log\nnone\nother' mq-ls --names
	refuses 66 g mq-rm -g g log
	refuses 66 nobody mq-rm -g g nobody
	refuses 64 all mq-rm -y --all -g g
	refuses 64 NAME mq-rm -g g
}

@test "mq-rm -g --dry-run and -v print the group" {
	log
	must mq-make -g g --from=3 log
	prints 'log@g: would delete group, 7 messages behind' mq-rm --dry-run -g g log
	prints 'log@g: deleted group, 7 messages behind' mq-rm -v -g g log
}

@test "mq-rm -g on a terminal asks: only yes deletes" {
	need script
	log
	must mq-make -g g log
	ask() { script -qec "$1" /dev/null; }
	must_fail 2 ask 'mq-rm -g g log' <<<n
	[[ $(groups | wc -l) == 1 ]]
	must ask 'mq-rm -g g log' <<<y
	must_fail 1 mq-ls --groups
}

@test "mq-rm -g: a member that works for the group ends with an error" {
	log
	start sub mq-sub -g g -f log
	until_true 20 has_lines 10 sub.out
	until_true 20 blocked "$started"
	must mq-rm -g g log
	must mq-pub log next
	ended "$started" 66
	[[ -s sub.err ]]
}

@test "mq-rm does not delete a stream with audit=yes" {
	must mq-make -q --stream log audit=yes
	must mq-pub log a
	refuses 77 log mq-rm -y log
	prints a mq-replay log
}

# ---- mq-trim ----------------------------------------------------------------------------------------------------

# four: a stream log with four partitions, with 10 messages in each.
four() {
	must mq-make -q --stream log partitions=4
	for p in 0 1 2 3; do
		seq -f "$p%.0f" 0 9 | must mq-pub --partition=$p log
	done
}

@test "mq-trim --to=N of several partitions holds for each" {
	four
	must mq-trim -y --to=7 log
	[[ $(stored log) == 12 ]]
	same 'mq-replay log | sort' 'for p in 0 1 2 3; do seq -f "$p%.0f" 7 9; done'
	nothing mq-trim -y --to=7 log
	nothing mq-trim -y --to=first log
	must mq-trim -y --to=end log
	[[ $(stored log) == 0 ]]
}

@test "mq-trim --all, --older of several partitions" {
	four
	must mq-trim --dry-run --all log
	grep -q '\b40 messages' "$out"
	later 5
	must mq-trim -y --older=1ms log
	[[ $(stored log) == 0 ]]
	must mq-pub log next
	must mq-trim -y --all log
	nothing mq-replay log
}

@test "mq-trim --keep=N is shared out among several partitions" {
	four
	must mq-trim -y --keep=8 log
	same 'mq-replay log | sort' 'for p in 0 1 2 3; do seq -f "$p%.0f" 8 9; done'
}

@test "mq-trim: a group goes on behind what was dropped" {
	log
	must mq-make -g g log
	must mq-trim -q -y --to=6 log
	same 'mq-sub -q -g g -e log' 'seq 6 9'
	nothing mq-sub -g g -e log
}

@test "mq-trim does not touch a stream with audit=yes or sealed=yes" {
	must mq-make -q --stream audit audit=yes
	must mq-make -q --stream sealed
	for property in audit sealed; do
		seq 5 | must mq-pub "$property"
		[[ $property == audit ]] || must mq-make sealed sealed=yes
		refuses 77 "$property" mq-trim -y --all "$property"
		same "mq-replay $property" 'seq 5'
	done
}

@test "mq-trim --retain applies a limit that has become smaller" {
	log
	must mq-make log max-messages=3
	[[ $(stored log) == 10 ]]
	must mq-trim --retain log
	[[ ! -s $out && ! -s $err ]]
	same 'mq-replay log' 'seq 7 9'
	must mq-trim --retain log
	[[ ! -s $out && ! -s $err ]]
}

@test "mq-trim --retain applies max-age where nobody publishes" {
	log max-age=1h
	must mq-trim --retain log
	[[ $(stored log) == 10 ]]
	must mq-make log max-age=1ms
	later 5
	must mq-trim --retain log
	[[ $(stored log) == 0 ]]
}

@test "mq-trim --retain without a name: every topic and stream" {
	four
	must mq-make -q --topic news
	must mq-pub news a b
	must mq-send -q jobs a
	must mq-make log max-messages=20
	must mq-make news max-age=1ms
	later 5
	must mq-trim --retain
	[[ $(stored log) == 20 && $(stored news) == 0 && $(stored jobs) == 1 ]]
	must mq-trim --retain
}

@test "mq-trim --retain leaves what the limits keep, however many steps it takes" {
	export MQ_SYNC=relaxed
	must mq-make -q --stream log
	seq 300000 | must mq-pub log
	must mq-make log max-messages=1000
	must mq-trim --retain log
	same 'mq-replay log' 'seq 299001 300000'
}

@test "mq-trim --retain goes without conditions and names queues in vain" {
	log
	must mq-send -q jobs a
	refuses 64 retain mq-trim --retain --keep=3 log
	refuses 64 retain mq-trim --retain --all -y log
	refuses 64 retain mq-trim --retain --dry-run log
	refuses 64 jobs mq-trim --retain jobs
	[[ $(stored jobs) == 1 ]]
}

@test "a group that cannot be made leaves no properties behind" {
	local n=0
	export MQ_SYNC=relaxed
	must mq-make --topic news
	must mq-make --store "$MQ_STORE" max-bytes=1M
	must mq-sub -g other --create-only news
	while seq 5000 | mq-pub -q news 2>"$err"; do :; done
	while mq-make -q -g "g$((++n))" news max-attempts=2 2>"$err"; do :; done
	must_fail 75 mq-make -g "g$n" news max-attempts=2
	must mq-make --store "$MQ_STORE" max-bytes=none
	must mq-make -g "g$n" news
	must mq-make -g "g$n" news max-attempts=2
	grep -q 'max-attempts=2' "$out"
}
