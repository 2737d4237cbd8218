#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --disk 64 --disk 64 --disk 64 --pmem 32 --pmem 32 --memory 1024 --timeout 3600 --fio --add scripts/debug-kernel
#
# In the debug kernel's guest: runs a test, then looks for memory that nobody points to any more. The
# test loads the module and unloads it, so all of its memory should be gone. (The runner looks at the
# console for everything else that the kernel complains about.)
#
#    guest.sh <test...>

leaks=/sys/kernel/debug/kmemleak

[ -w $leaks ] || { echo "not ok - this kernel has no kmemleak"; exit 1; }
echo clear >$leaks

"$@"
rc=$?

if [ -d /sys/module/dm_remote_copy ]; then
	echo "# the module is still there: no look for leaks"
	exit 1
fi
# Memory counts from its sixth second on, and if two scans in a row find the same bytes in it.
sleep 6
for _ in 1 2 3; do
	echo scan >$leaks
done
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
