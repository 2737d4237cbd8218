#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# The remote is a prefix, at every instant: while a writer makes steps of which each depends on the one
# before (lib/ioplay.py, journal), the remote is frozen again and again, and looked at.

. "$(dirname "$0")/topology.sh"

v=/dev/mapper/a1-v
seed=$RANDOM

journal()	# <width> <device>...
{
	local width=$1
	shift
	note "seed $seed"
	: >"$state/record"
	start journal python3 "$here/lib/ioplay.py" journal $seed "$width" "$state/record" 0 "$@"
}

# Freezes the remote devices, looks how far the copy is, lets them go. Devices freeze one after the
# other, and that is as good as at once: nothing can arrive at a later one that depends on what an
# earlier one has not let in.
freeze()	# <width> <dm device>... -- <device below>...
{
	local width=$1 devices=() d rc=0
	shift
	while [ "$1" != -- ]; do
		devices+=("$1")
		shift
	done
	shift
	for d in "${devices[@]}"; do dmsetup suspend "$d" || return 1; done
	step=$(python3 "$here/lib/ioplay.py" prefix $seed "$width" "$state/record" "$@") || rc=1
	for d in "${devices[@]}"; do dmsetup resume "$d" || return 1; done
	note "frozen at step $step of $(tail -n 1 "$state/record")"
	[ $rc = 0 ] && [ "$step" -ge "$before" ] && before=$step
}

told_more() { [ "$(tail -n 1 "$state/record")" -gt "$1" ]; } 2>/dev/null

# A few moments of a running journal.
moments()	# <how many> <width> <dm devices> -- <devices>
{
	local n=$1 told
	shift
	before=0
	poll told_more 5
	while [ $((n -= 1)) -ge 0 ]; do
		told=$(tail -n 1 "$state/record")
		freeze "$@"
		poll told_more "$told"
	done
	# It moves.
	[ "$before" -gt 10 ]
}

all_arrived()	# <width> -- <device>...
{
	halt journal
	settle a1-v
	before=0
	freeze "$1" -- "${@:3}"
	[ "$before" = "$(tail -n 1 "$state/record")" ]
}

one_by_one()
{
	single
	journal 1 $v
	moments 5 1 rct-remote -- "$REMOTE"
	all_arrived 1 -- "$REMOTE"
	converged
}

several_at_once()
{
	single mode async lanes 2
	journal 6 $v
	moments 3 6 rct-remote -- "$REMOTE"
	all_arrived 6 -- "$REMOTE"
}

synchronous()
{
	single mode sync
	journal 1 $v
	moments 3 1 rct-remote -- "$REMOTE"
	all_arrived 1 -- "$REMOTE"
}

two_volumes()
{
	io zero $((SECTORS * 1024)) "$LOCAL" "$REMOTE"
	dm_create - rct-local2 "0 $SECTORS linear $LOCAL $SECTORS"
	dm_create - rct-remote2 "0 $SECTORS linear $REMOTE $SECTORS"
	# To look below a frozen device.
	dm_create - rct-below "0 $SECTORS linear $REMOTE 0"
	dm_create - rct-below2 "0 $SECTORS linear $REMOTE $SECTORS"
	single members 2
	dm_create a1 a1-w "$(single_line members 2 member 1 remote dev:/dev/mapper/rct-remote2 |
		sed 's#/dev/mapper/rct-local #/dev/mapper/rct-local2 #')"
	wait_state a1-v serving
	journal 3 $v /dev/mapper/a1-w
	moments 2 3 rct-remote rct-remote2 -- /dev/mapper/rct-below /dev/mapper/rct-below2
	moments 2 3 rct-remote2 rct-remote -- /dev/mapper/rct-below /dev/mapper/rct-below2
	# One of the two is away: the other one must not run ahead.
	broken rct-remote2
	wait_field a1-v remote lost
	freeze 3 rct-remote -- /dev/mapper/rct-below /dev/mapper/rct-below2
	dm_swap rct-remote2 "0 $SECTORS linear $REMOTE $SECTORS"
	wait_field a1-v remote '[ib]*'
	all_arrived 3 -- /dev/mapper/rct-below /dev/mapper/rct-below2
}

small_log()
{
	single lanes 1 records 64 log_size 1M
	journal 4 $v
	moments 3 4 rct-remote -- "$REMOTE"
	all_arrived 4 -- "$REMOTE"
}

remote_comes_and_goes()
{
	local n=0
	single lanes 2 records 240 log_size 4M
	journal 2 $v
	before=0
	while [ $((n += 1)) -le 2 ]; do
		poll told_more $((n * 20))
		broken rct-remote
		wait_field a1-v remote lost
		freeze 2 -- "$REMOTE"
		linear rct-remote
		wait_field a1-v remote '[ib]*'
		freeze 2 rct-remote -- "$REMOTE"
	done
	all_arrived 2 -- "$REMOTE"
}

after_restarts()
{
	local n=0
	single lanes 2
	before=0
	while [ $((n += 1)) -le 2 ]; do
		io zero $((SECTORS * 512)) $v
		settle a1-v
		before=0
		journal 3 $v
		poll told_more 20
		broken rct-remote
		freeze 3 -- "$REMOTE"
		poll told_more $(($(tail -n 1 "$state/record") + 10))
		halt journal
		remove a1-v
		linear rct-remote
		single lanes 2
		freeze 3 rct-remote -- "$REMOTE"
		freeze 3 rct-remote -- "$REMOTE"
		settle a1-v
		freeze 3 -- "$REMOTE"
		[ "$before" = "$(tail -n 1 "$state/record")" ]
		converged
	done
}

with_a_partner()
{
	standby a2
	initiator a1
	wait_field a1-v mirror mirrored
	journal 3 $v
	moments 3 3 rct-remote -- "$REMOTE"
	# The partner takes over in the middle of it: the remote goes on from where it is.
	cut_link
	wait_field a1-v partner disconnected
	freeze 3 rct-remote -- "$REMOTE"
	dmsetup remove --force a1-v || note "still open: as it should be"
	poll_ended
	freeze 3 rct-remote -- "$REMOTE"
	takeover a2 force
	freeze 3 rct-remote -- "$REMOTE"
	wait_state a2-v serving
	freeze 3 rct-remote -- "$REMOTE"
	settle a2-v
	freeze 3 -- "$REMOTE"
	converged
	[ "$before" -ge "$(grep -v failed "$state/record" | tail -n 1)" ]
}

poll_ended()
{
	poll ended
	fails finish journal
}
ended() { ! running journal; }

tests "one write after the other" one_by_one \
	"six at once, then the next six" several_at_once \
	"synchronous writes" synchronous \
	"two volumes, one order" two_volumes \
	"a small log" small_log \
	"a remote that comes and goes" remote_comes_and_goes \
	"restarts with records outstanding" after_restarts \
	"a takeover in the middle" with_a_partner
