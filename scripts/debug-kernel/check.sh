#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make debug-check: the self tests on a kernel with KASAN, lockdep, kmemleak and more (config), one
# machine each, and with faults injected (faults.sh). A test has failed as well if the kernel complained,
# or if memory leaked. That the kernel does complain, and that this is noticed, is tried first (plant).
# The report is build/debug-check.json and build/debug-check.txt.
#
# An emulated KASAN is slow: two hours. TEST_FILTER=<regex> runs only what matches (plants, and the paths of
# tests), TEST=<regex> only those tests of a file; what ran before on the same kernel and module stays in
# the report.

. "$(dirname "$0")/../lib.sh"
cd "$top" || exit 1
here=scripts/debug-kernel

export DMRC_KERNEL=debug-kernel DMRC_MODULE=debug-module/dm-remote-copy.ko
# Everything takes that many times longer than on the stock kernel.
export DMRC_PATIENCE=${DMRC_PATIENCE:-4}

$here/build.sh && $here/module.sh || exit 1

mkdir -p "$logs"
todo=$({
	echo plants
	find selftests $here/faults.sh -maxdepth 1 -name '*.sh' -perm -u+x | sort
} | grep -E -- "${TEST_FILTER:-.}") || die "no test matches $TEST_FILTER"
# shellcheck disable=SC2086 # a list of words
scripts/in-root python3 $here/check.py $todo
DMRC_COMMIT=$(git describe --always --dirty --abbrev=12 2>/dev/null) scripts/in-root python3 $here/report.py
