#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# On the debug kernel: allocations that fail wherever the module asks for memory, and requests that
# devices fail. Nothing may go wrong but what is told: once the faults end, everything arrives.

. "$(dirname "$0")/../../selftests/topology.sh"

bytes=$((SECTORS * 512))
v1=/dev/mapper/a1-v
debugfs=/sys/kernel/debug
kinds="failslab fail_page_alloc fail_make_request"
for kind in $kinds; do
	[ -d "$debugfs/$kind" ] || skip "needs a kernel with $kind"
done

load_on() { start load python3 "$here/lib/ioplay.py" load "$1" $bytes 0 "${2:-1}" 16384; }
more_writes() { field_above "$1" writes $(($2 + 20)); }
load_goes_on() { poll more_writes a1-v "$(status_field a1-v writes)"; }

set_all()	# <file> <value>
{
	local kind
	for kind in $kinds; do
		echo "$2" >"$debugfs/$kind/$1"
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

# How many have failed since no_faults: "times" counts down.
MANY=1000000
failed_so_far() { echo $((MANY - $(cat $debugfs/"$1"/times))); }
some_failed() { [ "$(failed_so_far "$1")" -gt "$2" ]; }
allocations_failed() { echo $(($(failed_so_far failslab) + $(failed_so_far fail_page_alloc))); }

allocations_fail()	# <percent>
{
	note "+ $1 % of the module's allocations fail"
	only_ours
	echo "$1" >$debugfs/failslab/probability
	echo "$1" >$debugfs/fail_page_alloc/probability
}

# Runs a command; of the allocations that the module makes on its behalf, the n-th fails.
nth_fails()	# <n> <command...>
{
	local n=$1
	shift
	(
		echo "$n" >/proc/self/fail-nth
		exec "$@"
	)
}

requests_fail()	# <percent> <all, or written: flushes do not fail> <disk>...
{
	local percent=$1 which=$2 space=0 disk
	shift 2
	note "+ $percent % of what is $which fails at $*"
	set_all verbose 0
	# A request passes that is smaller than this, and only a flush is.
	[ "$which" = all ] || space=1
	echo $space >$debugfs/fail_make_request/space
	for disk in "$@"; do
		echo 1 >/sys/block/"${disk##*/}"/make-it-fail
	done
	echo "$percent" >$debugfs/fail_make_request/probability
}

no_faults()
{
	local file kind
	set_all probability 0
	for file in /sys/block/*/make-it-fail; do
		echo 0 >"$file"
	done
	for kind in $kinds; do
		! some_failed "$kind" 0 || note "faults injected: $kind $(failed_so_far "$kind")"
		echo $MANY >"$debugfs/$kind/times"
	done
}

arrived()
{
	settle a1-v
	converged
}

# A log for which little memory is needed.
small="lanes 2 records 240 log_size 2M"

pair()	# <key> <value>...
{
	# Of a test that has failed.
	no_faults
	standby a2 "$@"
	initiator a1 "$@"
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
	# Of the test before.
	rm -f "$state/record"
}

# Makes a volume again and again; each time another one of the allocations for it fails, until there
# are no more. Of the first ones none is left out. (Every second one is kmemleak's, for its own note of
# ours, and does no harm.)
each_allocation_fails()	# <node> <table line>
{
	local n=1 failed=0 made=0
	only_ours
	while :; do
		if nth_fails $n ip netns exec "$1" dmsetup create "$1-v" --table "$2" 2>/dev/null; then
			made=$((made + 1))
			remove "$1-v"
		fi
		[ "$(allocations_failed)" -gt $failed ] || break
		failed=$((failed + 1))
		n=$((n + 1 + n / 8))
		if ! poll nothing_runs >"$state/left"; then
			tail -n 3 "$state/left"
			return 1
		fi
	done
	no_faults
	note "$failed of $n allocations failed, one at a time; $made times the volume was made all the same"
	[ $failed -ge 15 ]
	# The last time none failed.
	[ $made -ge 1 ]
	[ $made -lt $failed ]
	poll nothing_runs
}

volumes_are_made()
{
	# shellcheck disable=SC2086 # words
	each_allocation_fails a1 "$(single_line $small)"
	# shellcheck disable=SC2086 # words
	single $small
	wait_state a1-v serving
	io load $v1 $bytes 20 1 16384
	arrived
}

partners_are_made()
{
	# shellcheck disable=SC2086 # words
	each_allocation_fails a2 "$(partner_line standby a2 $small)"
	# shellcheck disable=SC2086 # words
	each_allocation_fails a1 "$(partner_line initiator a1 $small)"
	# shellcheck disable=SC2086 # words
	pair $small
	io load $v1 $bytes 20 1 16384
	arrived
}

allocations_fail_under_load()
{
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

# One that fails half done is finished by whoever makes the volume again. That takes so many allocations that
# one of them would always fail.
taken_over()
{
	case $(status_field a2-v state) in
	serving) return ;;
	failed)
		note "a takeover failed half done"
		touch "$state/half"
		no_faults
		remove a2-v
		standby a2
		allocations_fail 15
		;;
	standby) dmsetup message a2-v 0 takeover force 2>/dev/null ;;
	esac
	return 1
}

a_takeover_is_short_of_memory()
{
	pair
	io attempts $v1 "$state/record" 40 1
	# Something to be replayed.
	broken rct-remote
	io attempts $v1 "$state/record" 40 2
	remove a1-v
	wait_field a2-v partner disconnected
	allocations_fail 15
	poll taken_over
	[ -e "$state/half" ] || some_failed failslab 0
	no_faults
	linear rct-remote
	settle a2-v
	converged
	io told "$state/record" "$LOCAL" "$REMOTE"
}

# The remote fails: the host does not notice.
the_remotes_requests_fail()
{
	pair
	load_on $v1
	load_goes_on
	requests_fail 20 all "$REMOTE"
	load_goes_on
	poll some_failed fail_make_request 20
	load_goes_on
	no_faults
	halt load
	arrived
}

# The local unit fails writes: the host is told of each, nothing else stops.
local_writes_fail()
{
	pair
	requests_fail 20 written "$LOCAL"
	io attempts $v1 "$state/record" 200 1
	some_failed fail_make_request 10
	grep -q failed "$state/record"
	no_faults
	field_is a1-v state serving
	field_is a1-v local_errors "$(grep -c failed "$state/record")"
	io attempts $v1 "$state/record" 20 2
	arrived
	io told "$state/record" "$LOCAL" "$REMOTE"
}

# It fails a flush as well: what was in its cache may be lost, and a read would not show it. So the set
# stops, and the log, which has it all, is replayed once the unit works.
local_flushes_fail()
{
	pair
	requests_fail 20 all "$LOCAL"
	start attempts python3 "$here/lib/ioplay.py" attempts $v1 "$state/record" 100000 1
	wait_state a1-v failed
	said 'a local device fails to flush'
	# From then on every write fails.
	finish attempts
	requests_fail 100 all "$LOCAL"
	remove a1-v
	initiator a1
	wait_state a1-v failed
	said 'the log could not be replayed to the local unit: .*; the log is kept'
	no_faults
	remove a1-v
	initiator a1
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
	io told "$state/record" $v1
	io attempts $v1 "$state/record" 20 2
	arrived
	io told "$state/record" "$LOCAL" "$REMOTE"
}

set_all times $MANY
trap 'no_faults; the_end' EXIT
tests \
	"a volume is made, and an allocation for it fails" volumes_are_made \
	"partners are made, and an allocation for them fails" partners_are_made \
	"allocations fail under load, and while the partner comes back" allocations_fail_under_load \
	"allocations fail during a takeover" a_takeover_is_short_of_memory \
	"the remote's requests fail" the_remotes_requests_fail \
	"the local unit's writes fail" local_writes_fail \
	"the local unit's writes and flushes fail" local_flushes_fail
