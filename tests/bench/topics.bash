# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# The rows about topics, streams, groups and routes; as those in rows.bash.
# Their sizes: TURNS SEEKS FALL LISTENERS.
# shellcheck disable=SC2153,SC2154

# A topic that keeps everything, so that what is compared keeps the same.
fresh_topic() { fresh "$1" topic t window=none window-age=none; }
publish_topic() { mq-pub -q -s ./st t <million; }
send_eleven() {
	local n
	for n in {1..11}; do mq-send -q -s ./st "q$n" <million || return; done
}

row_routes() {
	local n
	need_lines
	for ((turn = 0; turn < TURNS && turn < 3; turn++)); do
		fresh_topic st
		for n in {1..10}; do
			mq-make -q -s ./st --queue "q$n" >routes.out
			mq-route -q -s ./st t "q$n" >routes.out || broken 'routes: cannot connect'
		done
		fill ./st groups 1000 t || broken 'routes: cannot make groups'
		took routes.mq publish_topic
		fresh st queue q1
		took routes.plain send_eleven
	done
	result '1 M lines, 10 routes, 1,000 groups' "$(median routes.mq)" s '<=1x' 'mq-send 11 times' "$(median routes.plain)"
	rm -rf st
}

row_groups() {
	local count
	need_lines
	for ((turn = 0; turn < TURNS; turn++)); do
		for count in 0 1 1000; do
			fresh_topic st
			[ "$count" = 0 ] || fill ./st groups "$count" t || broken 'groups: cannot make groups'
			took "groups.$count" publish_topic
		done
	done
	for count in 1 1000; do
		result "1 M lines to a topic, groups: $count" "$(median "groups.$count")" s '<=1.1x' 'of none' \
			"$(median groups.0)"
	done
	rm -rf st
}

read_group() { mq-sub -e -g "$1" -s ./st s >sub.out; }

row_group() {
	need_lines
	fresh st stream s
	publish st million
	for ((turn = 0; turn < TURNS; turn++)); do
		rm -f sub.out
		took group.mq read_group "g$turn"
		cmp -s sub.out million || broken 'group: what came out is not what went in'
	done
	result 'messages a second, mq-sub -g' "$(per 1000000 group.mq)" /s '>=4e6'
	rm -rf st sub.out
}

row_seek() {
	local time='' tail='' most=''
	fresh st stream s
	lines "$SEEKS" 10 | publish st /dev/stdin || broken 'seek: cannot publish'
	read -r time tail most < <(seek ./st 10000)
	result "to a time, of $SEEKS, median" "$time" us '<=1000'
	result "to a time, of $SEEKS, 99 %" "$tail" us '<=1000'
	result "to a time, of $SEEKS, worst of 10,000" "$most" us ''
	rm -rf st
}

row_retention() {
	local limit most time
	for limit in trim max-bytes=64K max-age=1ms; do
		most='' time=''
		fresh st stream s
		lines "$FALL" 100 | publish st /dev/stdin || broken 'retention: cannot publish'
		read -r most time < <(fall ./st "$limit")
		result "one step, $FALL go, $limit, longest" "$most" us '<=5000'
		result "one step, $limit, median" "$time" us ''
	done
	rm -rf st
}

row_subscribers() {
	local alone='' commit='' all=''
	fresh st topic t
	read -r alone commit all < <(timeout 300 crowd ./st "$LISTENERS" 20 mq-sub --last=1 -s ./st t)
	result "published to all bytes, $LISTENERS mq-sub" "$all" us '<=100000'
	result "a publish, $LISTENERS mq-sub asleep" "$commit" us '' 'none' "${alone:-0}"
	rm -rf st
}

row_partitions() {
	local count
	for ((turn = 0; turn < TURNS; turn++)); do
		for count in 1 8; do
			fresh st stream s "partitions=$count"
			took "partitions.$count" fill ./st keyed 1000000 1000
		done
	done
	result '1 M with keys, 8 partitions' "$(median partitions.8)" s '<=1.5x' 'of one' "$(median partitions.1)"
	rm -rf st
}

row_compact() {
	for ((turn = 0; turn < TURNS; turn++)); do
		fresh st stream s
		took compact.all fill ./st keyed 1000000 1000
		fresh st stream s max-per-key=1
		took compact.one fill ./st keyed 1000000 1000
	done
	result '1 M of 1,000 keys, max-per-key=1, /s' "$(per 1000000 compact.one)" /s '>=5e5' 'kept all' \
		"$(per 1000000 compact.all)"
	result 'data file, live data 110 kB' "$(stat -c %s st/data.mdb | awk '{ print $1 / 1048576 }')" MiB '<=16'
	[ "$(mq-replay -s ./st s | wc -l)" -lt 10000 ] || broken 'compact: superseded messages are left'
	rm -rf st
}
