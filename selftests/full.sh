#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# Small logs: they wrap around all the time, and they are full when the remote is away. Then writes
# wait, without an error, and go on by themselves.

. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
v=/dev/mapper/a1-v

load() { start load python3 "$here/lib/ioplay.py" load "$@"; }

arrived()
{
	settle a1-v
	converged
}

# Removes and makes the volume again; the log must be whole, former laps and all.
again()
{
	remove a1-v
	single "$@"
	wait_state a1-v serving
	said 'the log is whole'
}

many_records()
{
	single records 240 lanes 1 log_size 2M
	field_is a1-v log_records '*/240'
	load $v $bytes 1500 1 4096
	finish load
	field_above a1-v seq_last 1200
	arrived
	[ "$(python3 "$here/lib/logedit.py" old "$LOG1")" -gt 200 ]
	again records 240 lanes 1 log_size 2M
	field_is a1-v log_records '0/240'
	load $v $bytes 300 2 4096
	finish load
	arrived
}

many_bytes()
{
	local lanes
	for lanes in 1 2; do
		io blank "$LOG1"
		single lanes "$lanes" log_size 2M records $((lanes * 32))
		load $v $bytes 300 "$lanes" 262144
		finish load
		arrived
		again log_size 2M
		remove a1-v
	done
}

mixed()
{
	single lanes 1 log_size 1M
	io mixed $v "$PLAIN" $bytes 150
	arrived
	same_bytes "$LOCAL" "$PLAIN"
	io overlap $v 131072 60 8
	arrived
}

# The log is full, and not just for a moment, as it is while the remote is exchanged.
stuck()
{
	local n
	field_above a1-v log_full 0 || return
	n=$(status_field a1-v seq_last)
	nap 1
	field_is a1-v seq_last "$n"
}

remote_dies()
{
	local n
	single records 64 lanes 1 log_size 1M
	load $v $bytes 0 3 4096
	poll field_above a1-v writes 100
	broken rct-remote
	wait_field a1-v remote lost
	said 'the remote fails .* writes go on until the log is full'
	poll stuck
	said 'the log is full: writes wait'
	n=$(status_field a1-v seq_last)
	stays 2 running load
	# Nothing was taken meanwhile, nothing failed.
	field_is a1-v seq_last "$n"
	field_is a1-v local_errors 0
	# Reads go on.
	run timeout 10 dd if=$v of=/dev/null bs=4k count=1 iflag=direct status=none
	linear rct-remote
	wait_field a1-v remote '[ib]*'
	said 'the remote is back'
	said 'the log has space again'
	poll field_above a1-v seq_last $((n + 50))
	halt load
	arrived
}

remote_flaps()
{
	local i
	single records 64 lanes 1 log_size 1M
	load $v $bytes 0 4 8192
	for i in 1 2 3 4 5; do
		broken rct-remote
		poll field_above a1-v log_full $((i - 1))
		linear rct-remote
		wait_field a1-v remote '[ib]*'
	done
	halt load
	arrived
}

remote_leaves()
{
	single records 64 lanes 1 log_size 1M
	load $v $bytes 0 5 4096
	poll field_above a1-v writes 50
	broken rct-remote
	wait_field a1-v remote lost
	# The driver lets go of a device that fails, so that it can be replaced.
	remove rct-remote
	stays 1 running load
	dm_create - rct-remote "0 $SECTORS linear $REMOTE 0"
	wait_field a1-v remote '[ib]*'
	halt load
	arrived
}

never_there()
{
	remove rct-remote
	single
	wait_state a1-v serving
	io write $v 0 65536 1
	wait_field a1-v remote lost
	said 'rct-remote cannot be opened'
	dm_create - rct-remote "0 8 linear $REMOTE 0"
	said 'rct-remote .*8 sectors'
	remove rct-remote
	dm_create - rct-remote "0 $SECTORS linear $REMOTE 0"
	arrived
}

sync_waits()
{
	single mode sync
	wait_state a1-v serving
	broken rct-remote
	start one python3 "$here/lib/ioplay.py" write $v 0 4096 1
	stays 2 running one
	linear rct-remote
	finish one
	converged
	arrived
}

mirrored()
{
	standby a2 log_size 1M
	initiator a1 records 240 lanes 1 log_size 1M
	wait_field a1-v mirror mirrored
	load $v $bytes 0 6 16384
	poll field_above a1-v seq_last 600
	broken rct-remote
	poll field_above a1-v log_full 0
	stays 1 running load
	linear rct-remote
	poll field_above a1-v seq_last 900
	halt load
	arrived
}

tests "240 records, many laps" many_records \
	"1 MiB, many laps" many_bytes \
	"every operation in 1 MiB" mixed \
	"the remote dies: writes wait and go on" remote_dies \
	"the remote comes and goes" remote_flaps \
	"the remote is replaced under its path" remote_leaves \
	"the remote is not there at first" never_there \
	"synchronous writes wait for the remote" sync_waits \
	"a full log with a partner" mirrored
