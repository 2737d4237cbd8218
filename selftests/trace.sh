#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 600 --add Documentation/netlink/specs --add build/linux/tools/net/ynl/pyynl
#
# Tracepoints: the life of each write, stage by stage, and the states of a set; and the histograms, which
# have to say the same.

. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
v1=/dev/mapper/a1-v
tracing=/sys/kernel/tracing
events=$tracing/events/remote_copy

[ -e $tracing/trace ] || mount -t tracefs none $tracing 2>/dev/null || skip "no tracefs"
[ -e $events/enable ] || skip "the kernel has no tracepoints"
for YNL in "$here/../build/linux/tools/net/ynl/pyynl" /usr/share/ynl /usr/src/linux/tools/net/ynl/pyynl; do
	[ ! -e "$YNL/lib/ynl.py" ] || break
done
SPEC=$here/../Documentation/netlink/specs/remote-copy.yaml
[ -e "$SPEC" ] || SPEC=$here/remote-copy.yaml
export YNL SPEC
[ -e "$YNL/lib/ynl.py" ] || skip "no Python client for netlink (tools/net/ynl/pyynl)"
python3 -c 'import yaml' 2>/dev/null || skip "no python3-yaml"

# From here on events are kept, in an order that holds across processors.
watch()	# <event or "">
{
	note "+ watch ${1:-all events}"
	echo 0 >$tracing/tracing_on
	echo counter >$tracing/trace_clock
	echo 8192 >$tracing/buffer_size_kb
	: >$tracing/trace
	echo 1 >"$events/${1:+rcopy_$1/}enable"
	echo 1 >$tracing/tracing_on
}

unwatch()
{
	echo 0 >$events/enable
	echo 0 >$tracing/tracing_on
	cat $tracing/trace >"$state/trace"
	note "$(grep -c ': rcopy_' "$state/trace") events"
}

lives() { run python3 "$here/lib/lives.py" "$@"; }

# What netlink says of how long stages take, against the events.
histograms()
{
	a1 python3 "$here/lib/lives.py" histogram "$state/trace" s1
}

# The first write that was accepted, in all its stages.
show_one()
{
	local first
	first=$(grep -m 1 -o 'seq=[0-9]*' "$state/trace")
	grep -m 1 ': rcopy_accepted:' "$state/trace" | sed 's/^/#   /'
	grep ": rcopy_.* $first " "$state/trace" | sed 's/^/#   /'
}

pair()	# <key> <value>...
{
	standby a2 "$@"
	initiator a1 "$@"
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
}

every_write()	# <async or sync> <stage>...: of those that were accepted, none failed
{
	settle a1-v
	unwatch
	show_one
	local mode=$1
	shift
	lives writes "$state/trace" "$mode" "$(status_field a1-v writes)" 0 "$@"
	histograms
}

alone()
{
	single lanes 2
	wait_state a1-v serving
	watch
	io mixed $v1 "$PLAIN" $bytes 60
	io overlap $v1 $bytes 40 4
	every_write async accepted logged local completed shipped retired
}

mirrored()
{
	pair
	watch
	io mixed $v1 "$PLAIN" $bytes 60
	io overlap $v1 $bytes 40 4
	every_write async accepted logged mirrored local completed shipped retired
}

synchronous()
{
	pair mode sync
	watch
	io mixed $v1 "$PLAIN" $bytes 30
	io overlap $v1 $bytes 20 4
	every_write sync accepted logged mirrored local completed shipped retired
}

# What fails locally is told with its error, cancelled, and never shipped.
failures_show()
{
	pair
	watch
	io write $v1 0 4096 1
	settle a1-v
	broken rct-local
	fails python3 "$here/lib/ioplay.py" write $v1 8192 4096 2
	fails python3 "$here/lib/ioplay.py" write $v1 16384 4096 3
	linear rct-local
	io write $v1 32768 4096 4
	settle a1-v
	unwatch
	lives writes "$state/trace" async 4 2 accepted logged mirrored local completed shipped retired
	histograms
	grep -q ': rcopy_local: .* sector=16 .*error=-5' "$state/trace"
	grep -q ': rcopy_completed: .* sector=16 .*error=-5' "$state/trace"
	[ "$(grep -c ': rcopy_logged: .* op=cancel ' "$state/trace")" = 2 ]
}

states_show()
{
	watch state
	pair fencing external
	io write $v1 0 4096 1
	cut_link
	wait_field a2-v partner disconnected
	takeover a2
	wait_state a2-v serving
	heal_link
	wait_state a1-v fenced
	unwatch
	klog >"$state/klog"
	lives states "$state/trace" "$state/klog"
	grep -q ': rcopy_state: set=s1 .* old=replaying new=serving ' "$state/trace"
	grep -q ': rcopy_state: set=s1 .* old=taking-over new=replaying ' "$state/trace"
	# Only that event was asked for.
	! grep ': rcopy_' "$state/trace" | grep -qv ': rcopy_state:'
}

# What the documentation says that there is.
catalogue()
{
	local event
	for event in accepted logged mirrored local completed shipped retired state; do
		note "$event: $(sed -n 's/^print fmt: "\(.*\)", .*/\1/p' "$events/rcopy_$event/format" | cut -c1-100)"
		grep -q 'field:__data_loc char\[\] set;' "$events/rcopy_$event/format"
	done
	[ "$(find $events -mindepth 1 -maxdepth 1 -type d | wc -l)" = 8 ]
}

tests \
	"the events are there, with a set in each" catalogue \
	"without a partner, each write has its stages, once, in order" alone \
	"with a partner, it is mirrored between log and local device" mirrored \
	"synchronously, it is shipped before it is completed" synchronous \
	"writes that fail are told with their error, and not shipped" failures_show \
	"changes of state are the kernel log's" states_show

# That the module can go, is then tested with all of them enabled.
echo 1 >$events/enable
