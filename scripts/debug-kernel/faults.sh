#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# On the debug kernel: allocations that fail wherever the module asks for memory, and requests that
# devices fail. Nothing may go wrong but what is told: once the faults end, everything arrives.

. "$(dirname "$0")/../../selftests/topology.sh"

bytes=$((SECTORS * 512))
v1=/dev/mapper/a1-v
debugfs=/sys/kernel/debug
for kind in failslab fail_page_alloc fail_make_request; do
	[ -d $debugfs/$kind ] || skip "needs a kernel with $kind"
done

load_on() { start load python3 "$here/lib/ioplay.py" load "$1" $bytes 0 "${2:-1}" 16384; }
more_writes() { field_above "$1" writes $(($2 + 20)); }
load_goes_on() { poll more_writes a1-v "$(status_field a1-v writes)"; }

set_all()	# <file> <value>
{
	local kind
	for kind in failslab fail_page_alloc fail_make_request; do
		echo "$2" >$debugfs/$kind/"$1"
	done
}

# Where the module's code is: only an allocation that has it in its stack fails.
only_ours()
{
	local from size kind text=/sys/module/dm_remote_copy/sections/.text
	from=$(<"$text")
	size=$(awk '$1 == "dm_remote_copy" { print $2 }' /proc/modules)
	for kind in failslab fail_page_alloc; do
		echo "$from" >$debugfs/$kind/require-start
		printf '%#x' $((from + size)) >$debugfs/$kind/require-end
		echo 32 >$debugfs/$kind/stacktrace-depth
		echo N >$debugfs/$kind/ignore-gfp-wait
	done
	echo N >$debugfs/fail_page_alloc/ignore-gfp-highmem
	echo 0 >$debugfs/fail_page_alloc/min-order
	set_all verbose 0
	set_all interval 1
	set_all space 0
	set_all task-filter N
}

# How many have failed so far: "times" counts down.
MANY=1000000
failed_so_far() { echo $((MANY - $(cat $debugfs/"$1"/times))); }

allocations_fail()	# <percent>
{
	note "+ $1 % of the module's allocations fail"
	only_ours
	echo $MANY >$debugfs/failslab/times
	echo $MANY >$debugfs/fail_page_alloc/times
	echo "$1" >$debugfs/failslab/probability
	echo "$1" >$debugfs/fail_page_alloc/probability
}

requests_fail()	# <percent> <disk>...
{
	local percent=$1 disk
	shift
	note "+ $percent % of the requests to $* fail"
	set_all verbose 0
	echo $MANY >$debugfs/fail_make_request/times
	for disk in "$@"; do
		echo 1 >/sys/block/"${disk##*/}"/make-it-fail
	done
	echo "$percent" >$debugfs/fail_make_request/probability
}

no_faults()
{
	local file
	set_all probability 0
	for file in /sys/block/*/make-it-fail; do
		echo 0 >"$file"
	done
	note "+ no faults: slab $(failed_so_far failslab), pages $(failed_so_far fail_page_alloc)," \
		"requests $(failed_so_far fail_make_request) have failed"
}

some_failed() { [ "$(failed_so_far "$1")" -gt "$2" ]; }

arrived()
{
	settle a1-v
	converged
}

pair()
{
	standby a2
	initiator a1
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
}

# Making a volume fails at each of its allocations in turn, or does not; then it can be made.
volumes_are_made()
{
	local try made=0
	set_all times $MANY
	for try in 1 2 3 4 5 6 7 8 9 10 11 12; do
		allocations_fail $((4 * try))
		if ip netns exec a1 dmsetup create a1-v --table "$(single_line)" 2>/dev/null; then
			made=$((made + 1))
			no_faults
			remove a1-v
		fi
		no_faults
	done
	note "made $made times of 12"
	some_failed failslab 0
	[ $made -lt 12 ]
	poll nothing_runs
	single mode async
	wait_state a1-v serving
	io load $v1 $bytes 20 1 16384
	arrived
}

allocations_fail_under_load()
{
	set_all times $MANY
	pair
	load_on $v1
	load_goes_on
	allocations_fail 10
	load_goes_on
	cut_link
	wait_field a1-v partner disconnected
	heal_link
	poll_for 60 some_failed failslab 5
	no_faults
	wait_field a1-v mirror mirrored
	load_goes_on
	halt load
	arrived
}

# The remote fails: the host does not notice.
the_remotes_requests_fail()
{
	set_all times $MANY
	pair
	load_on $v1
	load_goes_on
	requests_fail 20 "$REMOTE"
	load_goes_on
	poll some_failed fail_make_request 20
	load_goes_on
	no_faults
	halt load
	arrived
}

# The local unit fails: the host is told, and remote and local are the same in the end.
the_local_units_requests_fail()
{
	set_all times $MANY
	pair
	local seed
	requests_fail 20 "$LOCAL"
	# It ends with the first write that fails.
	for seed in 1 2 3; do
		fails io load $v1 $bytes 60 $seed 16384
	done
	some_failed fail_make_request 2
	no_faults
	io load $v1 $bytes 20 2 16384
	arrived
}

trap 'no_faults; the_end' EXIT
tests \
	"volumes are made while allocations fail" volumes_are_made \
	"allocations fail under load, and while the partner comes back" allocations_fail_under_load \
	"the remote's requests fail" the_remotes_requests_fail \
	"the local unit's requests fail" the_local_units_requests_fail
