#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --memory 1024 --timeout 3600 --fio --add scripts/debug-kernel
#
# In the debug kernel's guest: runs a test, then looks for memory that nobody points to any more. The
# test loads the module and unloads it, so all of its memory should be gone. (The runner looks at the
# console for everything else that the kernel complains about.)
#
#    guest.sh <test...>
#
# Exit status: the test's; 97 if memory leaked; 96 if one of the kernel's checks has been off, so that
# its silence means nothing.

leaks=/sys/kernel/debug/kmemleak

blind()	# <why...>
{
	echo "# $*"
	exit 96
}

scan()
{
	# It refuses if it has given up: no memory for its own notes, for instance.
	echo scan >$leaks || blind "kmemleak is off"
}

lockdep_is_on() { grep -Eq '^ *debug_locks: *1$' /proc/lockdep_stats; }

[ -w $leaks ] || blind "this kernel has no kmemleak"
lockdep_is_on || blind "lockdep is off"

"$@"
rc=$?

if [ -d /sys/module/dm_remote_copy ]; then
	echo "# the module is still there: no look for leaks"
	exit 1
fi
lockdep_is_on || blind "lockdep has given up"
# Memory counts once it is older than 5 seconds, and if two scans in a row find the same bytes in it.
# Old pointers on the kernel's stacks, also on those of tasks that have ended, would hide most of it.
sleep 6
echo stack=off >$leaks || blind "kmemleak is off"
scan
scan
# Its file always has size 0.
found=$(<$leaks)
if [ -n "$found" ]; then
	echo "# kmemleak:"
	while read -r line; do
		echo "# $line"
	done <<<"$found"
	exit 97
fi
echo "# kmemleak found nothing"
exit $rc
