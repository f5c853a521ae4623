# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# Rows of the benchmark, one function each, run by name in the scratch directory; `run` gives them their
# sizes and what measures and prints. Those about topics, streams, groups and routes are in topics.bash.
# Those sizes: TURNS PROCESSES JSON WAKES FLOW GIB RUNS LEASES CROWD TAKEOVERS; and scratch, row.
# shellcheck disable=SC2153,SC2154

# ---- peers -----------------------------------------------------------------------------------------

start_redis() { # everysec|always
	[ -n "$redis" ] && stop_redis
	mkdir -p redis
	redis-server --port 0 --unixsocket "$scratch/redis.sock" --dir "$scratch/redis" --save '' \
		--appendonly yes --appendfsync "$1" --daemonize no >redis.log 2>&1 &
	redis=$!
	until [ "$(redis-cli -s redis.sock ping 2>/dev/null)" = PONG ]; do
		kill -0 "$redis" 2>/dev/null || { broken 'redis-server does not start'; return 1; }
	done
}

stop_redis() {
	[ -n "$redis" ] || return 0
	kill "$redis" 2>/dev/null
	wait "$redis" 2>/dev/null
	redis=
	rm -rf "$scratch/redis"
}

redis() { redis-cli -s redis.sock "$@"; }
redis_pipe() { redis --pipe <"$1" >redis.out; }

need_rpush() { # the lines as redis commands, made once
	[ -e rpush ] || awk '{ printf "*3\r\n$5\r\nRPUSH\r\n$1\r\nq\r\n$%d\r\n%s\r\n", length($0), $0 }' \
		million >rpush
}

sqlite_import() {
	rm -f "$1"
	sqlite3 "$1" 'create table t (body text)' '.mode tabs' '.import million t'
}

# ---- rows ------------------------------------------------------------------------------------------

disk_write() { dd if=million of=dd.out bs=1M conv=fdatasync status=none; }
copy() { cat million >cat.out; }

row_limit() {
	need_lines
	for ((turn = 0; turn < TURNS; turn++)); do
		rm -f dd.out cat.out
		took limit.dd disk_write
		took limit.cat copy
	done
	result '1 M lines, dd conv=fdatasync' "$(median limit.dd)" s ''
	result '1 M lines, cat to a file' "$(median limit.cat)" s ''
	local one
	read -r one _ < <(turns "$PROCESSES" true)
	result 'start and end of a process (true)' "$one" us ''
	dd if=/dev/zero of=dd.out bs=4k count=1 status=none
	took limit.sync dd if=/dev/zero of=dd.out bs=4k count="$PROCESSES" conv=notrunc oflag=dsync status=none
	result 'write of 4 KiB and fdatasync' "$(over "$(median limit.sync)" "$PROCESSES" |
		awk '{ print $1 * 1e6 }')" us ''
}

row_send() {
	need_lines
	for ((turn = 0; turn < TURNS; turn++)); do
		rm -f dd.out
		took send.dd disk_write
		fresh st queue q
		took send.mq send st million
	done
	local ours
	ours=$(median send.mq)
	result '1 M lines, durable' "$ours" s '<=2x' 'dd conv=fdatasync' "$(median send.dd)"
	if have sqlite3; then
		took send.sqlite sqlite_import send.db
		result '1 M lines, durable' "$ours" s '<=0.125x' 'sqlite3 .import' "$(median send.sqlite)"
		rm -f send.db
	fi
	have redis-server || return
	need_rpush
	local policy
	for policy in everysec always; do
		[ "${SIZE-}" = small ] && [ "$policy" = always ] && continue
		start_redis "$policy" && took "send.$policy" redis_pipe rpush
		result '1 M lines, durable' "$ours" s '<=0.125x' "redis RPUSH $policy" "$(median "send.$policy")"
	done
	stop_redis
}

drain() { mq-recv -e -s ./st q >recv.out; }
redis_pop() { seq 1000 | sed 's/.*/LPOP q 1000/' | redis >redis.out; }

row_recv() {
	need_lines
	for ((turn = 0; turn < TURNS; turn++)); do
		fresh st queue q
		send st million
		rm -f recv.out cat.out
		took recv.mq drain
		took recv.cat copy
		cmp -s recv.out million || broken 'recv: what came out is not what went in'
	done
	local ours
	ours=$(median recv.mq)
	result '1 M messages taken, to a file' "$ours" s '<=0.25' 'cat' "$(median recv.cat)"
	have redis-server || return
	need_rpush
	start_redis everysec && redis_pipe rpush && took recv.redis redis_pop
	result '1 M messages taken, to a file' "$ours" s '<=0.5x' 'redis LPOP 1000' "$(median recv.redis)"
	stop_redis
}

replay() { mq-replay -s ./st s >replay.out; }
redis_range() { redis XRANGE s - + >redis.out; }
sqlite_select() { sqlite3 replay.db 'select body from t' >sqlite.out; }

row_replay() {
	need_lines
	fresh st stream s
	publish st million
	for ((turn = 0; turn < TURNS; turn++)); do
		rm -f replay.out cat.out
		took replay.mq replay
		took replay.cat copy
		cmp -s replay.out million || broken 'replay: what came out is not what went in'
	done
	local ours
	ours=$(median replay.mq)
	result '1 M messages, to a file' "$ours" s '<=4x' 'cat' "$(median replay.cat)"
	result 'messages a second' "$(per 1000000 replay.mq)" '/s' '>=8e6'
	if have sqlite3 && sqlite_import replay.db; then
		took replay.sqlite sqlite_select
		result '1 M messages, to a file' "$ours" s '' 'sqlite3 select' "$(median replay.sqlite)"
	fi
	[ "${SIZE-}" != small ] && have redis-server || return
	awk '{ printf "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nb\r\n$%d\r\n%s\r\n", length($0), $0 }' \
		million >xadd
	start_redis everysec && redis_pipe xadd && took replay.redis redis_range
	result '1 M messages, to a file' "$ours" s '' 'redis XRANGE' "$(median replay.redis)"
	stop_redis
	rm -f xadd replay.db
}

stored() { # WHAT MESSAGES SIZE GOAL
	result "$1" "$(over "$(stat -c %s st/data.mdb)" "$2")" B "$4" 'body' "$3"
}

row_stored() {
	local size count files=()
	for size in 100 1024 3072; do
		count=$((size == 100 ? 1000000 : size == 1024 ? 100000 : 30000))
		fresh st queue q
		lines "$count" "$size" | mq-send -q -s ./st q || broken "stored: $size"
		stored "a message of $size B, of $count" "$count" "$size" \
			"$([ "$size" = 100 ] && echo '<=110' || echo '<=1.15x')"
	done
	lines 1 $((1 << 20)) | head -c $((1 << 20)) >mebibyte
	for ((count = 0; count < 100; count++)); do files+=(--file=mebibyte); done
	fresh st queue q
	mq-send -q -s ./st "${files[@]}" q || broken 'stored: 1 MiB'
	stored 'a message of 1 MiB, of 100' 100 $((1 << 20)) '<=1.05x'
	rm -rf st
	fill ./st single 100000 100 || broken 'stored: single'
	stored '100 B, 100000 single sends' 100000 100 '<=110'
	rm -rf st mebibyte
}

json_out() { mq-replay -j -s ./st s >json.out; }
json_in() { mq-send -q -j -s ./in q <json.out; }
jq_copy() { jq -c . <json.out >jq.out; }

row_json() {
	need_lines
	fresh st stream s
	head -n "$JSON" million | mq-pub -q -s ./st s
	for ((turn = 0; turn < TURNS; turn++)); do
		rm -f json.out
		took json.out json_out
		fresh in queue q
		took json.in json_in
	done
	if have jq; then
		took json.jq jq_copy
		result 'messages a second in, -j' "$(per "$JSON" json.in)" /s '>=5x' 'jq -c .' "$(per "$JSON" json.jq)"
		result 'messages a second out, -j' "$(per "$JSON" json.out)" /s '>=5x' 'jq -c .' "$(per "$JSON" json.jq)"
	fi
	result 'messages a second in, -j' "$(per "$JSON" json.in)" /s '>=5e5'
	result 'messages a second out, -j' "$(per "$JSON" json.out)" /s '>=2e6'
	rm -rf in json.out jq.out
}

row_one() {
	local commands=(mq-send -s ./st q hello : put ./bare) names=(mq put) name n=0 ours=''
	fresh st queue q
	rm -rf bare
	mkdir bare
	if have redis-server && start_redis always; then
		commands+=(: redis-cli -s "$scratch/redis.sock" RPUSH q hello)
		names+=('redis-cli, always')
	fi
	if have sqlite3; then
		sqlite3 one.db 'create table t (body text)'
		commands+=(: sqlite3 one.db "insert into t values ('hello')")
		names+=(sqlite3)
	fi
	turns "$PROCESSES" "${commands[@]}" >one.out || broken 'one'
	while read -r time _; do
		name=${names[n++]}
		case $name in
		(mq) ours=$time ;;
		(put) result 'one durable message, whole process' "$ours" us '<=1.25x' 'a C program with LMDB' "$time" ;;
		(*) result 'one durable message, whole process' "$ours" us '<=1x' "$name" "$time" ;;
		esac
	done <one.out
	stop_redis
}

row_wake() {
	local after=() before commit
	fresh st queue q
	timeout 300 wake ./st "$WAKES" mq-recv -f -s ./st q >wake.out || { broken 'wake'; return; }
	{
		read -ra after
		read -r before _
		read -r commit _
	} <wake.out
	result 'commit returned to bytes, median' "${after[0]}" us '<=50'
	result 'commit returned to bytes, 99 %' "${after[1]}" us '<=500'
	result 'commit called to bytes, median' "$before" us '' 'the commit alone' "$commit"
}

run_each() { mq-exec -e -q -s ./st -P "$1" q /bin/true; }
xargs_each() { xargs -n 1 -P "$1" /bin/true <numbers; }

row_exec() {
	local parallel
	seq "$RUNS" >numbers
	for parallel in 1 2 4; do
		for ((turn = 0; turn < 3; turn++)); do
			fresh st queue q
			send st numbers
			took "exec.mq$parallel" run_each "$parallel"
			took "exec.xargs$parallel" xargs_each "$parallel"
		done
		result "/bin/true $RUNS times, -P $parallel" "$(median "exec.mq$parallel")" s '<=1.15x' \
			"xargs -n 1 -P $parallel" "$(median "exec.xargs$parallel")"
	done
	rm -f numbers
}

take_leases() { mq-recv -e -l 1h -F '%l\n' -s ./st q >leases; }
acknowledge() { mq-ack -s ./st <leases; }

row_ack() {
	local batch how
	lines "$LEASES" 100 >some
	for ((turn = 0; turn < TURNS; turn++)); do
		fresh st queue q
		send st some
		took ack.lease take_leases
		took ack.ack acknowledge
		mq-recv -s ./st q >recv.out && broken 'ack: something is left'
	done
	result "leases a second, of $LEASES" "$(per "$LEASES" ack.lease)" /s ''
	result "acknowledged a second, in one call" "$(per "$LEASES" ack.ack)" /s '>=1e6'
	for how in claim lease; do
		for batch in 1 100 1000 10000; do
			fresh st queue q
			lines "$((batch == 1 ? LEASES / 20 : batch < 1000 ? LEASES : 5 * LEASES))" 100 |
				mq-send -q -s ./st q
			result "${how}s settled a second, by $batch" "$(settle ./st "$batch" "$how")" /s \
				"$([ "$batch" -lt 10000 ] || echo '>=1e6')"
		done
	done
	rm -rf st some leases
}

# Each waits for a time of its own: none of them shares its place in the indexes with another.
delayed() {
	lines "$CROWD" 100 | awk '{ printf "{\"body\":\"%s\",\"delay\":\"%ds\"}\n", $0, 86400 + NR }'
}

row_crowded() {
	local times=() time name leases=100000 ready=$((PROCESSES + 10))
	[ "$leases" -le "$CROWD" ] || leases=$CROWD
	for name in st delayed leased; do fresh "$name" queue q; done
	delayed | mq-send -q -j -s ./delayed q || broken 'crowded: cannot delay'
	# Every second of them is acknowledged, so that no two neighbours are one entry.
	lines $((2 * leases)) 100 | mq-send -q -s ./leased q
	mq-recv -e -l 1d -F '%l\n' -s ./leased q | awk 'NR % 2' | mq-ack -s ./leased ||
		broken 'crowded: cannot lease'
	for name in st delayed leased; do lines "$ready" 100 | send "$name" /dev/stdin; done
	while read -r time _; do times+=("$time"); done < <(turns "$PROCESSES" mq-recv -s ./delayed q : \
		mq-recv -s ./leased q : mq-recv -s ./st q)
	result "next message, $CROWD delayed" "${times[0]-}" us '<=1.1x' 'of none' "${times[2]-0}"
	result "next message, $leases leased" "${times[1]-}" us '<=1.1x' 'of none' "${times[2]-0}"
	rm -rf delayed leased
}

# taken_over WORKER OPTION...: by another one, which waits with that command
taken_over() {
	local most='' tail='' time=''
	fresh st queue q
	read -r time tail most < <(timeout 300 takeover ./st "$TAKEOVERS" "$@")
	result "killed to bytes, $1, median" "$time" us '<=50000'
	result "killed to bytes, $1, 99 %" "$tail" us '<=50000'
	result "killed to bytes, $1, worst of $TAKEOVERS" "$most" us ''
}

row_takeover() {
	taken_over mq-recv -f -s ./st q
	taken_over mq-exec -q -s ./st q cat
}

# channels WHAT OPTION...: the same command in both stores, in turn
compare_stores() {
	local what=$1 times=() time
	shift
	while read -r time _; do times+=("$time"); done < <(turns "$PROCESSES" "$1" -s ./many "${@:2}" : "$1" -s ./st "${@:2}")
	result "$what, of 10,000 channels" "${times[0]-}" us '<=1.5x' 'of a few' "${times[1]-0}"
}

row_channels() {
	local store
	need_lines
	rm -rf many
	fill ./many channels 10000 || broken 'channels: cannot create'
	fresh st queue q5000
	for store in many st; do
		mq-make -q -s "./$store" --stream s >/dev/null
		head -n 1000 million | publish "$store" /dev/stdin
	done
	compare_stores 'single send' mq-send q5000 hello
	compare_stores 'single receive' mq-recv q5000
	compare_stores 'replay of 1,000' mq-replay s
	rm -rf many
}

row_flow() {
	local first last early late
	rm -rf st
	timeout 3000 flow ./st "$FLOW" 1000 >flow.out || { broken 'flow'; return; }
	read -r first last early late <flow.out
	result 'messages a second, last tenth' "$last" /s '>=0.9x' 'first tenth' "$first"
	result "data file after $FLOW messages" "$late" B '<=1.5x' 'live data (1,250 of 110 B)' 137500
	result "data file after $FLOW messages" "$late" B '<=1.1x' 'after the first tenth' "$early"
}

# private NAME WHAT COMMAND...: the peak of its private memory; its time goes to the samples of that name
private() {
	took "$1" peak peak.out "${@:3}"
	result "$2" "$(awk '{ print $1 / 1024 }' peak.out)" MiB '<=16'
	rm -f peak.out
}

row_memory() {
	need_lines
	fresh st stream s max-bytes=64M
	private memory.pub "mq-pub, $GIB GiB of lines" mq-pub -q -s ./st s < <(lines $((GIB * 10631108)) 100)
	result 'data file, stream of max-bytes=64M' "$(stat -c %s st/data.mdb | awk '{ print $1 / 1048576 }')" MiB '<=80'
	private memory.replay 'mq-replay, the stream' mq-replay -s ./st s >replay.out
	fresh st queue q
	private memory.send 'mq-send, 1 M lines' mq-send -q -s ./st q <million
	private memory.recv 'mq-recv -e, 1 M messages' mq-recv -e -s ./st q >recv.out
	cmp -s recv.out million || broken 'memory: what came out is not what went in'
	rm -rf st replay.out
}

row_large() {
	head -c $((1 << 30)) /dev/zero | tr '\0' x >gibibyte
	fresh st queue q max-message=1G
	took large.dd dd if=gibibyte of=dd.out bs=1M conv=fdatasync status=none
	rm -f dd.out
	private large.in 'mq-send -r, one message of 1 GiB' mq-send -q -r -s ./st q <gibibyte
	private large.out 'mq-recv -r, one message of 1 GiB' mq-recv -r -s ./st q >out
	cmp -s out gibibyte || broken 'large: what came out is not what went in'
	result 'one message of 1 GiB in' "$(median large.in)" s '' 'dd conv=fdatasync' "$(median large.dd)"
	result 'one message of 1 GiB out' "$(median large.out)" s ''
	rm -rf st gibibyte out
}
