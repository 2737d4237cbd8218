#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# In the guest: a pair under the load whose every store is traced (scripts/images/trace.py). Local unit
# and remote are regions of persistent memory as well, so that the trace has all that a crash leaves.
#
#	load.sh <writes of each thread>
#
# Nothing moves between processors, for stores past the cache wait for a fence of their own processor.
# Who writes what another one must not make durable by chance has a processor of its own: the partner 2,
# the owner's marks 3. Threads of the load are on 0 and 1, all else is on 0.

export LOCAL=/dev/pmem2 REMOTE=/dev/pmem3 PLAIN=/dev/pmem3
export SECTORS=2048 TEST_SECONDS=600 PATIENCE=60
writes=$1
. "$(dirname "$0")/../../selftests/topology.sh"

client=/repo/build/images/client
threads=12
v1=/dev/mapper/a1-v

# Threads of the module that there are by now, whose names begin so.
threads_named() { grep -l "^rcopy_$1" /proc/[0-9]*/comm | cut -d / -f 3; }

# keep_on <processor> <thread>...
keep_on()
{
	local processor=$1 pid
	shift
	for pid in "$@"; do
		taskset -p "$((1 << processor))" "$pid" >/dev/null
	done
}

pair_options=(lanes 2 records 96 remote dev:/dev/mapper/rct-far)

partner()
{
	standby a2 "${pair_options[@]}"
	# shellcheck disable=SC2046 # a list of numbers
	keep_on 2 $(threads_named "")
	partner_ships=$(threads_named ship)
}

owner()
{
	initiator a1 "${pair_options[@]}"
	# shellcheck disable=SC2046
	keep_on 3 $(threads_named ship | grep -vx "$partner_ships")
	wait_state a1-v serving
	wait_field a1-v mirror mirrored
}

write_from_to() { start client "$client" $v1 $threads "$1" "$2" 0 1; }
writes_above() { field_above a1-v writes "$1"; }

# The remote answers after so many milliseconds.
far_line() { echo "0 $SECTORS delay $REMOTE 0 $1"; }
far() { dm_swap rct-far "$(far_line "$1")"; }

# A volume that a1 serves and a2 mirrors. The link goes and comes under load; the owner starts again with
# a log full of records; the remote is so far away that whatever a mark frees is used again at once.
traced()
{
	local third=$((writes / 3)) few=4
	modprobe dm-delay
	dm_create - rct-far "$(far_line 0)"
	partner
	owner
	wait_field a2-v mirror complete
	write_from_to 1 $third
	poll writes_above $((threads * third / 3))
	cut_link
	wait_field a1-v partner disconnected
	heal_link
	wait_field a1-v mirror mirrored
	finish client
	far 300
	write_from_to $((third + 1)) $((third + few))
	finish client
	remove a1-v
	owner
	field_above a1-v replayed 0
	far 20
	write_from_to $((third + few + 1)) "$writes"
	finish client
	field_above a1-v log_full 0
	far 0
	settle a1-v
	converged
}

tests "a traced load" traced
