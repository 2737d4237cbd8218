#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# What a node finds when it comes up: its own log, whole or damaged; and local devices that fail.
# A damaged log is refused as a whole, with words that say what is damaged.

SECTORS=8192
. "$(dirname "$0")/topology.sh"

bytes=$((SECTORS * 512))
v=/dev/mapper/a1-v

arrived()
{
	settle a1-v
	converged
}

# Leaves a log with n records of 4 KiB that the remote does not have, at known places; then the local
# device loses them, too, as if they had been in its cache.
outstanding()	# <n> <key> <value>...
{
	local n=$1 i half writes=()
	shift
	single "$@"
	wait_state a1-v serving
	io write $v 0 $bytes 1
	settle a1-v
	broken rct-remote
	for ((i = 0; i < n; i++)); do
		writes+=("$((i * 65536))" 4096 "w$i")
	done
	half=$((n / 2))
	# One after the other; the first half on one processor, the rest on another: their lanes.
	CPU=0 io write $v "${writes[@]:0:$((half * 3))}"
	CPU=1 io write $v "${writes[@]:$((half * 3))}"
	field_is a1-v behind "$n"
	remove a1-v
	linear rct-remote
	io write "$LOCAL" 0 $bytes 1
	lost=$(sum_of "$LOCAL")
}

# All of what `outstanding` wrote is there, on both sides.
all_there()	# <n>
{
	local i writes=()
	for ((i = 0; i < $1; i++)); do
		writes+=("$((i * 65536))" 4096 "w$i")
	done
	io expect "$LOCAL" "${writes[@]}"
	io expect "$REMOTE" "${writes[@]}"
}

replayed()
{
	outstanding 40
	single
	wait_state a1-v serving
	said 'the log is whole: 40 records outstanding'
	said '40 records replayed to the local unit'
	field_is a1-v replayed 40
	arrived
	all_there 40
	# Once more: there is nothing left, and nothing is written again.
	remove a1-v
	io write "$LOCAL" 0 4096 other
	single
	wait_state a1-v serving
	field_is a1-v replayed 0
	io expect "$LOCAL" 0 4096 other
}

replayed_twice()
{
	outstanding 30
	# Dies (its local device fails) in the middle of the replay, twice.
	dm_swap rct-local "0 2048 linear $LOCAL 0 
2048 $((SECTORS - 2048)) error"
	single
	wait_state a1-v failed
	said 'could not be replayed to the local unit: .*; the log is kept'
	fails dd if=$v of=/dev/null bs=4k count=1 iflag=direct status=none
	said 'I/O refused: the log or the local unit cannot be used'
	remove a1-v
	single
	wait_state a1-v failed
	remove a1-v
	linear rct-local
	single
	wait_state a1-v serving
	arrived
	all_there 30
}

everything_replayed()
{
	single
	broken rct-remote
	io mixed $v "$PLAIN" $bytes 30
	io overlap $v 131072 20 8
	dd if=$v of="$state/first" bs=128k count=1 iflag=direct status=none
	remove a1-v
	linear rct-remote
	single
	wait_state a1-v serving
	arrived
	dd if="$LOCAL" of="$state/second" bs=128k count=1 iflag=direct status=none
	cmp "$state/first" "$state/second"
	io same "$LOCAL" "$PLAIN" $bytes 131072
}

# The log is refused: nothing was written to either side.
is_refused()	# <regex>
{
	local remote
	remote=$(sum_of "$REMOTE")
	forget_log
	if single; then
		note "was taken"
		return 1
	fi
	said "$1"
	[ "$(sum_of "$LOCAL")" = "$lost" ]
	[ "$(sum_of "$REMOTE")" = "$remote" ]
	! dm_exists a1-v
}

# The log may be taken if nothing is missing, or refused.
is_refused_or_whole()	# <n>
{
	if single; then
		wait_state a1-v serving
		arrived
		all_there "$1"
		note "was taken, whole"
		remove a1-v
	else
		[ "$(sum_of "$LOCAL")" = "$lost" ]
		note "was refused"
	fi
}

# Does something to a copy of the log, and puts the log back afterwards.
damaged()	# <regex> <logedit arguments>...
{
	local regex=$1
	shift
	run dd if="$state/log" of="$LOG1" bs=1M count=4 oflag=direct status=none
	logedit "$@"
	is_refused "$regex"
}

damage_is_named()
{
	outstanding 40 lanes 1 log_size 4M
	run dd if="$LOG1" of="$state/log" bs=1M count=4 iflag=direct status=none
	damaged 'both superblock slots of the log are damaged' flip "$LOG1" super both
	damaged 'both low-water marks of the log are damaged' flip "$LOG1" mark both
	damaged 'lane 0: the record at position [0-9]* is damaged; sequences behind [0-9]* and before [0-9]* are' \
		flip "$LOG1" header 20
	damaged 'lane 0: the record at position [0-9]* is damaged; sequences behind [0-9]* and before [0-9]* are' \
		flip "$LOG1" data 20
	damaged 'lane 0: the record at position [0-9]* is damaged' flip "$LOG1" header 0
	damaged 'lane 0: the record at position [0-9]* is damaged' flip "$LOG1" data 0
	damaged 'lane 0: the record at position [0-9]* is damaged' copy "$LOG1" 3 20
	damaged 'is of a newer generation than the superblock' set "$LOG1" header 20 generation 99
	damaged 'does not follow the sequence of the one before it' set "$LOG1" header 20 seq 3
	damaged 'has its data at another place' set "$LOG1" header 20 data_pos 4096
	damaged 'format version 7, this driver knows version 2' version "$LOG1" 7
	# One of two slots: the other one speaks, or nothing does.
	for what in super mark; do
		for which in newest older; do
			run dd if="$state/log" of="$LOG1" bs=1M count=4 oflag=direct status=none
			io write "$LOCAL" 0 $bytes 1
			logedit flip "$LOG1" $what $which
			is_refused_or_whole 40
		done
	done
	# And the log itself was whole all the time.
	run dd if="$state/log" of="$LOG1" bs=1M count=4 oflag=direct status=none
	single
	wait_state a1-v serving
	arrived
	all_there 40
}

old_laps()
{
	# Many laps, then some records outstanding in front of old ones.
	single lanes 1 records 240 log_size 2M
	io load $v $bytes 900 3 4096
	settle a1-v
	remove a1-v
	[ "$(python3 "$here/lib/logedit.py" old "$LOG1")" -gt 200 ]
	outstanding 20
	single
	wait_state a1-v serving
	said 'the log is whole: 20 records outstanding'
	arrived
	all_there 20
}

missing_record()
{
	# The one lane loses its last record, which had been acknowledged: the other one's records say so.
	outstanding 40 lanes 2 log_size 8M
	logedit drop "$LOG1"
	is_refused 'sequences [0-9]* to [0-9]* are missing, although everything up to [0-9]* had been acknowledged'
}

local_write_fails()
{
	single
	wait_state a1-v serving
	io write $v 0 65536 1
	settle a1-v
	dm_swap rct-local "0 2048 linear $LOCAL 0
2048 8 error
2056 $((SECTORS - 2056)) linear $LOCAL 2056"
	fails python3 "$here/lib/ioplay.py" write $v $((2048 * 512)) 4096 2
	field_is a1-v local_errors 1
	io write $v 4096 4096 3
	settle a1-v
	fails python3 "$here/lib/ioplay.py" expect "$REMOTE" $((2048 * 512)) 4096 2
	io expect "$REMOTE" 4096 4096 3
	# The failure is remembered over a restart: what the host was told failed is not replayed.
	# One before it keeps it from being retired, one behind it comes after its cancellation.
	broken rct-remote
	io write $v 12288 4096 6
	fails python3 "$here/lib/ioplay.py" write $v $((2048 * 512)) 4096 4
	io write $v 8192 4096 5
	field_is a1-v local_errors 2
	remove a1-v
	linear rct-local
	linear rct-remote
	single
	wait_state a1-v serving
	arrived
	fails python3 "$here/lib/ioplay.py" expect "$LOCAL" $((2048 * 512)) 4096 4
	io expect "$REMOTE" 8192 4096 5 12288 4096 6
}

local_reads_fail()
{
	single
	io write $v 0 65536 1
	dm_swap rct-local "0 2048 error
2048 $((SECTORS - 2048)) linear $LOCAL 2048"
	fails dd if=$v of=/dev/null bs=4k count=1 iflag=direct status=none
	io write $v $((2048 * 512)) 4096 2
	linear rct-local
	io expect $v 0 65536 1
	arrived
}

tests "a log is replayed" replayed \
	"a replay that fails is repeated" replayed_twice \
	"every operation is replayed" everything_replayed \
	"what is damaged is named, nothing is replayed" damage_is_named \
	"old laps do not speak" old_laps \
	"an acknowledged record is missing" missing_record \
	"local writes that fail" local_write_fails \
	"local reads that fail" local_reads_fail
