#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# The module goes, whatever it did before, and leaves nothing behind: not in use while a volume is
# there, no thread, no socket, no claim, no memory.

. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
[ -n "$loaded_here" ] || skip "dm-remote-copy is in use: unload it first"

target_is_there() { dmsetup targets | grep -q remote-copy; }

again()
{
	run unload_module
	fails module_is_there
	fails target_is_there
	load_module
	module_is_there
	target_is_there
}

in_use()
{
	single mode async
	fails rmmod dm_remote_copy
	module_is_there
	remove a1-v
	[ "$(cat /sys/module/dm_remote_copy/refcnt)" = 0 ]
	# A line that is refused must not count as a use.
	fails ip netns exec a1 dmsetup create refused --table "$(single_line log /dev/nothing)"
	fails ip netns exec a1 dmsetup create refused --table "$(single_line log "$PLAIN")"
	[ "$(cat /sys/module/dm_remote_copy/refcnt)" = 0 ]
	again
}

# A life with everything in it, up to a takeover.
life()
{
	local v=/dev/mapper/a1-v
	standby a2
	initiator a1
	wait_field a1-v mirror mirrored
	io load $v $bytes 50 1 65536
	broken rct-remote
	io load $v $bytes 10 2 65536
	cut_link
	wait_field a1-v partner disconnected
	takeover a2 force
	wait_state a2-v serving
	heal_link
	wait_state a1-v fenced
	linear rct-remote
	settle a2-v
	remove a1-v
	remove a2-v
	poll nothing_runs
}

ten_times()
{
	local n=0 first last
	while [ $((n += 1)) -le 10 ]; do
		if [ $n = 3 ] || [ $n = 6 ] || [ $n = 10 ]; then
			life
			io blank "$LOG1" "$LOG2"
		fi
		again
		# What caches grow to is there after a while.
		[ $n != 6 ] || first=$(free_memory)
	done
	last=$(free_memory)
	note "available: $first KiB after six, $last KiB after ten"
	[ $((first - last)) -lt 6144 ]
}

# Sets that fail in every phase of their making leave nothing.
failed_beginnings()
{
	local first last n=0 before
	before=$(dmsetup ls | wc -l)
	single mode async
	remove a1-v
	while [ $((n += 1)) -le 30 ]; do
		ip netns exec a1 dmsetup create refused --table "$(single_line members 2 member 7)" 2>/dev/null &&
			return 1
		ip netns exec a1 dmsetup create refused --table "$(SECTORS=$((SECTORS * 100)) single_line)" \
			2>/dev/null && return 1
		ip netns exec a1 dmsetup create refused --table "$(single_line | sed 's/ s1 / s2 /')" \
			2>/dev/null && return 1
		[ $n != 10 ] || first=$(free_memory)
	done
	last=$(free_memory)
	note "available: $first KiB after ten, $last KiB after thirty"
	[ $((first - last)) -lt 4096 ]
	[ "$before" = "$(dmsetup ls | wc -l)" ]
	[ "$(cat /sys/module/dm_remote_copy/refcnt)" = 0 ]
}

# The namespaces go away while a volume in them lives on; it can still be removed.
without_its_namespace()
{
	standby a2
	initiator a1
	wait_field a1-v mirror mirrored
	run ip netns delete a2
	run ip netns delete a1
	remove a2-v
	remove a1-v
	network
	again
}

tests "in use and not in use" in_use \
	"ten times" ten_times \
	"beginnings that fail" failed_beginnings \
	"a volume outlives its namespace's name" without_its_namespace
