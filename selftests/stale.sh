#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# A mirror that is out of date, or not there, is taken over by force: the local unit is served as it
# is, nothing is replayed, and the remote stays out of step until an administrator has copied.

# shellcheck disable=SC2119 # they need no arguments
. "$(dirname "$0")/topology.sh"
. "$(dirname "$0")/lib/owners.sh"
need_fencing nvme

# Two volumes on one unit. Each has a half of what the volume of the other tests has.
halves()
{
	local n
	HALF=$((SECTORS / 2))
	for n in 0 1; do
		dm_create - half-remote$n "0 $HALF linear /dev/mapper/rct-remote $((n * HALF))"
		dm_create - half-1-$n "0 $HALF linear $local1 $((n * HALF))"
		dm_create - half-2-$n "0 $HALF linear $local2 $((n * HALF))"
	done
}

make_half()	# <role> <node> <volume> <member>
{
	local SECTORS=$HALF local$((${2#a}))="/dev/mapper/half-${2#a}-$4"
	dm_create "$2" "$2-$3" "$(fenced_line "$1" "$2" partner_lost continue members 2 member "$4" \
		remote "dev:/dev/mapper/half-remote$4")"
}

make_halves()	# <role> <node>
{
	make_half "$1" "$2" v 0
	make_half "$1" "$2" w 1
}

remove_halves() { remove "$1-v" && remove "$1-w"; }

misses()	# <name> <first> <last at least>
{
	note "$1 misses $(status_field "$1" missing_first) to $(status_field "$1" missing_last)"
	field_is "$1" missing_first "$2"
	[ "$(status_field "$1" missing_last)" -ge "$3" ]
}

stale_mirror_by_force()
{
	local w1=/dev/mapper/a1-w w2=/dev/mapper/a2-w before shipped since last bytes=$((bytes / 2))
	halves
	make_halves standby a2
	make_halves initiator a1
	both_agree
	refuses 'in_step: the set is serving and its remote is not out of step' a1-v in_step force
	io write $v1 0 4096 1
	io write $w1 0 4096 2
	settle a1-v
	shipped=$(status_field a1-v seq_last)
	# Mirrored, and not at the remote: the first volume only.
	broken rct-remote
	io write $v1 4096 4096 3 0 4096 4
	cut_link
	# And what the mirror has not, some of it in the same place.
	since=$(($(status_field a1-v seq_last) + 1))
	io write $v1 8192 4096 5 4096 4096 11
	io write $w1 8192 4096 6 4096 4096 7
	field_is a1-v out_of_date_since $since
	last=$(status_field a1-v seq_acked)
	remove_halves a1
	linear rct-remote
	before=$(sum_of "$REMOTE")
	refuses "takeover refused: .* out of date since sequence $since, generation 1.*takeover force. serves the local unit as it is, without the mirror, and leaves the remote out of step" \
		a2-v takeover
	field_is a2-v state standby
	forget_log
	takeover a2 force
	wait_state a2-v serving
	said "volume 0: the remote may miss sequences $((shipped + 1))-[0-9]*; it is out of step"
	said "volume 1: the remote may miss sequences $since-[0-9]*; it is out of step"
	misses a2-v $((shipped + 1)) "$last"
	misses a2-w $since "$last"
	field_is a2-v remote out-of-step
	field_is a2-v takeover_records 0
	field_is a2-v fencing reservation
	# Everything that was acknowledged is there.
	io expect $v2 0 4096 4 4096 4096 11 8192 4096 5
	io expect $w2 0 4096 2 4096 4096 7 8192 4096 6
	# And the remote is what it was, whatever is written.
	load_on $v2
	load_goes_on a2-v
	halt load
	io write $w2 16384 4096 8
	stays 2 field_is a2-v remote out-of-step
	[ "$before" = "$(sum_of "$REMOTE")" ]
	fails python3 "$here/lib/ioplay.py" expect "$REMOTE" 4096 4096 11
	# It is not forgotten.
	remove_halves a2
	make_halves standby a2
	wait_state a2-v serving
	field_is a2-v remote out-of-step
	misses a2-v $((shipped + 1)) "$last"
	field_above a2-w missing_first "$shipped"
	io expect $w2 16384 4096 8
	# The old owner comes back, stands by and gets what it missed.
	heal_link
	make_halves initiator a1
	wait_state a1-v standby
	said 'its log will not be replayed'
	wait_field a2-v mirror mirrored
	wait_field a1-v mirror complete
	wait_field a2-v record_mirror up-to-date
	io expect $v2 0 4096 4 8192 4096 5
	[ "$before" = "$(sum_of "$REMOTE")" ]
	# An administrator copies.
	refuses 'in_step: suspend all volumes of the set first' a2-v in_step force
	suspend a2-v
	refuses 'in_step: suspend all volumes of the set first' a2-v in_step force
	suspend a2-w
	dd if="$LOCAL" of="$REMOTE" bs=1M count=$((SECTORS / 2048)) oflag=direct status=none
	run dmsetup message a2-v 0 in_step force
	said 'the remote is in step again, an administrator says'
	resume a2-v
	resume a2-w
	[ -z "$(status_field a2-v missing_first)$(status_field a2-w missing_first)" ]
	load_on $v2 2
	load_goes_on a2-v
	halt load
	io write $w2 20480 4096 9
	wait_field a2-v mirror mirrored
	arrived a2-v
	# So does the partner know, if it takes over.
	remove_halves a2
	wait_field a1-v partner disconnected
	takeover a1
	wait_state a1-v serving
	[ -z "$(status_field a1-v missing_first)" ]
	io write $v1 24576 4096 10
	io expect $w1 20480 4096 9
	arrived a1-v
}

# The partner of a set whose remote is out of step takes over: it is so for it too.
out_of_step_is_known_to_both()
{
	local before
	pair partner_lost continue
	cut_link
	io write $v1 0 4096 1
	remove a1-v
	before=$(sum_of "$REMOTE")
	takeover a2 force
	wait_state a2-v serving
	heal_link
	make_owner a1 partner_lost continue
	wait_field a2-v mirror mirrored
	wait_field a1-v mirror complete
	wait_field a2-v record_mirror up-to-date
	io write $v2 4096 4096 2
	remove a2-v
	wait_field a1-v partner disconnected
	takeover a1
	wait_state a1-v serving
	field_is a1-v remote out-of-step
	io write $v1 8192 4096 3
	io expect $v1 0 4096 1 4096 4096 2
	stays 2 field_is a1-v remote out-of-step
	[ "$before" = "$(sum_of "$REMOTE")" ]
}

blank_mirror_by_force()
{
	pair partner_lost continue
	io write $v1 16384 4096 1
	settle a1-v
	journal $v1
	journal_goes_on
	# The partner's memory is replaced; the owner has no time to notice.
	remove a2-v
	journal_goes_on
	halt journal
	remove a1-v
	python3 "$here/lib/ioplay.py" blank "$LOG2"
	make_standby a2 partner_lost continue
	wait_state a2-v standby
	refuses "takeover refused: this node's log was never used: there is no mirror; .takeover force. serves" \
		a2-v takeover
	takeover a2 force
	wait_state a2-v serving
	field_is a2-v remote out-of-step
	field_is a2-v record mine
	held "$local1" "$meta1" "$(status_field a2-v generation)"
	has_journal $v2
	io expect $v2 16384 4096 1
	io write $v2 $((12 << 20)) 4096 2
	make_owner a1 partner_lost continue
	wait_state a1-v standby
	wait_field a2-v mirror mirrored
	wait_field a1-v mirror complete
	io write $v2 $((13 << 20)) 4096 3
	remove a2-v
	wait_field a1-v partner disconnected
	takeover a1
	wait_state a1-v serving
	io expect $v1 $((12 << 20)) 4096 2 $((13 << 20)) 4096 3
}

export FENCED=nvme
tests "a stale mirror is forced" stale_mirror_by_force \
	"out of step, and both know it" out_of_step_is_known_to_both \
	"a blank mirror is forced" blank_mirror_by_force
