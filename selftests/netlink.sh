#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 1500 --add Documentation/netlink/specs --add build/linux/tools/net/ynl/pyynl
#
# The netlink family, through the kernel's own Python client and the family's specification: every
# operation and its errors, who may and who may not, events, dumps while sets come and go, and messages
# that nobody should send.

. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
v=/dev/mapper/a1-v
: "${MESSAGES:=100000}" # malformed ones
: "${CHANGES:=1000}"

for YNL in "${YNL:-/none}" "$here/../build/linux/tools/net/ynl/pyynl" /usr/share/ynl /usr/src/linux/tools/net/ynl/pyynl; do
	[ ! -e "$YNL/lib/ynl.py" ] || break
done
[ -e "$YNL/lib/ynl.py" ] || skip "no Python client for netlink (tools/net/ynl/pyynl): say YNL=<folder>"
python3 -c 'import yaml' 2>/dev/null || skip "no python3-yaml"
SPEC=$here/../Documentation/netlink/specs/remote-copy.yaml
[ -e "$SPEC" ] || SPEC=$here/remote-copy.yaml	# installed
export YNL SPEC LANES=2

ynl()	# <node> <check> <arguments>...
{
	local node=$1
	shift
	note "$node: ynl.py $*"
	ip netns exec "$node" python3 "$here/lib/ynl.py" "$@"
}

one_set() { single lanes $LANES "$@" && wait_state a1-v serving; }

operations()
{
	one_set
	io load $v $bytes 20 1 8192
	settle a1-v
	ynl a1 operations a1-v
	io load $v $bytes 20 2 8192
	settle a1-v
	converged
}

errors()
{
	one_set
	ynl a1 errors a1-v
}

permission()
{
	one_set
	ynl a1 unprivileged
}

foreign()
{
	one_set
	start foreign ip netns exec a2 python3 "$here/lib/ynl.py" foreign "$state/go"
	poll_for 60 grep -q listening "$state/foreign.out"
	run dmsetup message a1-v 0 pause
	run dmsetup message a1-v 0 resume
	touch "$state/go"
	finish foreign
}

in_order()
{
	one_set
	ynl a1 events "$CHANGES"
}

in_order_together()
{
	dm_create - rct-other "0 $SECTORS linear $PLAIN $SECTORS"
	one_set
	dm_create a1 a1-w "$(line initiator s2 "$PLAIN" log "$LOG2" remote dev:/dev/mapper/rct-other partner none create in_step)"
	wait_state a1-w serving
	ynl a1 crowd "$CHANGES"
}

# While shipping is paused, the log fills, writes wait, and nothing is lost.
paused()
{
	local at
	one_set records 64 log_size 2M
	run dmsetup message a1-v 0 pause
	field_is a1-v shipping paused
	at=$(status_field a1-v seq_remote)
	start load python3 "$here/lib/ioplay.py" load $v $bytes 200 3 4096
	wait_field a1-v throttled 1
	stays 2 field_is a1-v throttled 1
	running load
	field_above a1-v behind 30
	field_above a1-v behind_bytes 30000
	field_above a1-v behind_ns 1000000000
	# What was at the remote before may have become durable there since; nothing new went there.
	[ $(($(status_field a1-v seq_remote) - at)) -le 1 ]
	fails same_bytes "$LOCAL" "$REMOTE"
	run dmsetup message a1-v 0 resume
	finish load
	settle a1-v
	field_is a1-v behind_ns 0
	converged
}

# The partner takes over from an owner that was paused: what is in the mirror is shipped.
paused_and_lost()
{
	standby a2
	initiator a1
	wait_field a1-v mirror mirrored
	run dmsetup message a1-v 0 pause
	io load $v $bytes 30 4 4096
	field_above a1-v behind 10
	cut_link
	wait_field a1-v partner disconnected
	takeover a2 force
	wait_state a2-v serving
	heal_link
	wait_state a1-v fenced
	field_is a1-v shipping running
	settle a2-v
	converged
}

# As many records as are allowed at run time, and no more, however much room the log has.
limited()
{
	local most
	one_set
	ynl a1 call set-set '{"name": "s1", "records": 16}'
	run dmsetup message a1-v 0 pause
	start load python3 "$here/lib/ioplay.py" load $v $bytes 100 8 4096
	for most in 16 33 64; do
		ynl a1 call set-set "{\"name\": \"s1\", \"records\": $most}"
		# What the lanes share evenly.
		wait_field a1-v log_records "$((most / LANES * LANES))/*"
		wait_field a1-v throttled 1
		stays 1 field_is a1-v log_records "$((most / LANES * LANES))/*"
		running load
	done
	klog | grep -q 'as many records as are allowed'
	# With a limit, writes are shipped and go on.
	run dmsetup message a1-v 0 resume
	finish load
	settle a1-v
	run dmsetup message a1-v 0 pause
	# A table that is loaded knows of no limit.
	run ip netns exec a1 dmsetup load a1-v --table "$(single_line lanes $LANES)"
	run dmsetup suspend a1-v
	run dmsetup resume a1-v
	io load $v $bytes 100 9 4096
	field_above a1-v behind 99
	run dmsetup message a1-v 0 resume
	settle a1-v
	converged
}

# A write that waits for a remote which is gone waits no longer than its mode is sync.
held()
{
	one_set mode sync
	broken rct-remote
	start load python3 "$here/lib/ioplay.py" load $v $bytes 5 7 4096
	wait_field a1-v remote lost
	stays 2 field_is a1-v seq_acked 0
	running load
	ynl a1 call set-set '{"name": "s1", "mode": "async"}'
	poll_for 3 field_above a1-v seq_acked 4
	finish load
	field_is a1-v remote lost
	field_is a1-v behind 5
	linear rct-remote
	settle a1-v
	converged
}

# Two nodes that share the local unit and an ownership record; somebody else fences.
recorded()	# <role> <node>
{
	partner_line "$1" "$2" fencing external metadata "$(meta_of "$2")"
}

recorded_pair()
{
	dm_create a2 a2-v "$(recorded standby a2)"
	dm_create a1 a1-v "$(recorded initiator a1)"
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
	wait_field a2-v mirror complete
}

settings()
{
	recorded_pair
	ynl a1 settings a1
}

two_nodes()
{
	recorded_pair
	ynl a1 pair "$LOCAL" "$REMOTE" "$(recorded standby a1)"
	settle a1-v
	converged
}

storm()
{
	one_set records 32 log_size 2M
	start load python3 "$here/lib/ioplay.py" load $v $bytes 100000 5 4096
	ynl a1 storm a1-v
	running load
	halt load
	settle a1-v
}

# Sets made and removed one after the other, until told to stop.
come_and_go()
{
	local n=0
	while [ ! -e "$state/enough" ]; do
		n=$((n + 1))
		dmsetup create "guest$((n % 2))" --table "$(line initiator "guest$((n % 2))" "$PLAIN" log "$LOG2" \
			log_offset $((n % 2 * 8))M log_size 8M remote dev:/dev/mapper/rct-other partner none create in_step)"
		[ $n = 1 ] || dmsetup remove "guest$(((n - 1) % 2))"
	done
	dmsetup remove "guest$((n % 2))"
	echo "$n sets"
}

dumps()
{
	one_set
	dm_create - rct-other "0 $SECTORS linear $PLAIN $SECTORS"
	export -f come_and_go line
	export state SECTORS PLAIN LOG2
	start storm ip netns exec a1 bash -c come_and_go
	ynl a1 dumps 20
	running storm
	touch "$state/enough"
	finish storm
	rm "$state/enough"
	[ "$(dmsetup ls | grep -c guest)" = 0 ]
}

# More sets than fit one message.
pieces()
{
	dm_create - rct-other "0 $SECTORS linear $PLAIN $SECTORS"
	# Another test may have had its logs there.
	run dd if=/dev/zero of="$LOG2" bs=1M count=27 oflag=direct status=none
	printf 'a1-p%02d\n' {0..25} >>"$state/devices"
	echo a1-late >>"$state/devices"
	ynl a1 pieces 26 "$(line initiator NAME "$PLAIN" log "$LOG2" log_offset SLOTM log_size 1M \
		remote dev:/dev/mapper/rct-other partner none create in_step)"
}

# A set does not end under an operation: whoever removes it waits until that is over.
ends_later()
{
	recorded_pair
	run dmsetup suspend rct-remote
	io write $v 0 4096 1
	run dmsetup suspend a1-v
	start swap ip netns exec a1 python3 "$here/lib/ynl.py" gives_up swap
	wait_state a1-v handing-over
	start gone dmsetup remove a1-v
	# Not "stopping": whoever removes it has not begun to.
	ynl a1 call set-get '{"name": "s1"}' | tee "$state/said"
	grep -q "'state': 'handing-over'" "$state/said"
	running gone
	running swap
	finish swap
	run dmsetup resume rct-remote
	finish gone
	fails dm_exists a1-v
}

# Somebody asks for a dump and does not read it: the module stays until that socket is closed.
open_dump()
{
	one_set
	start dump ip netns exec a1 python3 "$here/lib/ynl.py" open_dump "$state/close"
	poll_for 60 grep -q open "$state/dump.out"
	remove a1-v
	fails rmmod dm_remote_copy
	module_is_there
	touch "$state/close"
	finish dump
	[ -z "$loaded_here" ] || { run unload_module && load_module; }
}

malformed()
{
	one_set
	note "+ nlfuzz.py $MESSAGES"
	ip netns exec a1 python3 "$here/lib/nlfuzz.py" "$MESSAGES" "$SEED" 900
	# Nothing that they changed keeps the set from working.
	run dmsetup message a1-v 0 resume
	io load $v $bytes 20 6 8192
	settle a1-v
	converged
}

tests "every operation" operations \
	"every error" errors \
	"an unprivileged caller may look" permission \
	"another namespace sees nothing" foreign \
	"events: none lost, none out of order" in_order \
	"events: the same when several change several sets at once" in_order_together \
	"shipping pauses, and nothing is lost" paused \
	"a takeover from an owner that is paused" paused_and_lost \
	"as many records as are allowed" limited \
	"a write that waits for the remote is let go" held \
	"a storm is not sent, but accounted for" storm \
	"dumps while sets come and go" dumps \
	"dumps of several messages, and changes in the middle" pieces \
	"a dump is open when the module should go" open_dump
FENCED=direct tests "each setting, read back and told" settings \
	"two nodes: swaps, detach, takeovers, in-step" two_nodes \
	"a set does not end under an operation" ends_later
TEST_SECONDS=1000
tests "malformed messages" malformed
