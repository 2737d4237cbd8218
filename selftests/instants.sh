#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --timeout 900
#
# The remote is a prefix at every instant, also while writes to it are in flight and answered out of
# order. See order.sh for the same at frozen moments.

. "$(dirname "$0")/topology.sh"

v=/dev/mapper/a1-v
seed=$RANDOM

# A remote that answers out of order: some of it is slow. dm-log-writes notes what completes, in that
# order, so that every instant can be looked at and not only those at which nothing is in flight.
uneven_remote()
{
	modprobe -a dm-delay dm-log-writes 2>/dev/null ||
		{ note "no dm-delay or no dm-log-writes: left out"; return 1; }
	run blkdiscard -z -l 1048576 "$PLAIN"
	dm_create - rct-z-uneven "0 2048 linear $REMOTE 0
2048 2048 delay $REMOTE 2048 25
4096 2048 linear $REMOTE 4096
6144 2048 delay $REMOTE 6144 60
8192 $((SECTORS - 8192)) linear $REMOTE 8192"
	dm_swap rct-remote "0 $SECTORS log-writes /dev/mapper/rct-z-uneven $PLAIN"
}

every_instant()	# <width> <steps> <key> <value>...
{
	local width=$1 steps=$2
	shift 2
	uneven_remote || return 0
	single "$@"
	note "seed $seed"
	io journal $seed "$width" "$state/record" "$steps" $v
	settle a1-v
	remove a1-v
	linear rct-remote
	io instants $seed "$width" "$state/record" "$PLAIN"
	converged
}

every_instant_of_one() { every_instant 1 80; }
every_instant_of_six() { every_instant 6 25 lanes 2; }
every_instant_of_a_small_log() { every_instant 4 30 lanes 1 records 32 log_size 1M; }

tests "one write after the other" every_instant_of_one \
	"six at once, then the next six" every_instant_of_six \
	"a small log" every_instant_of_a_small_log
