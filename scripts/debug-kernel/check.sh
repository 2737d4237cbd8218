#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make debug-check: the self tests on a kernel with KASAN, lockdep, kmemleak and more (config), one
# machine each, and then with faults injected (faults.sh). A test has failed as well if the kernel
# complained, or if memory leaked. An emulated KASAN is slow: hours. TEST_FILTER=<regex> runs only the
# tests whose path matches.

. "$(dirname "$0")/../lib.sh"
cd "$top" || exit 1
here=scripts/debug-kernel

export DMRC_KERNEL=debug-kernel DMRC_MODULE=debug-module/dm-remote-copy.ko
# Everything takes that many times longer than on the stock kernel.
export DMRC_PATIENCE=${DMRC_PATIENCE:-4}

$here/build.sh && $here/module.sh || exit 1

mkdir -p "$logs"
passed=0 failed=0
for test in $(find selftests $here/faults.sh -maxdepth 1 -name '*.sh' -perm -u+x | sort |
	grep -E -- "${TEST_FILTER:-.}"); do
	log=$logs/debug-$(basename "$test" .sh).log
	scripts/vm/run --set PATIENCE=$((20 * DMRC_PATIENCE)) --set TEST_SECONDS=$((150 * DMRC_PATIENCE)) \
		$here/guest.sh "$test" >"$log" 2>&1 </dev/null
	rc=$?
	if [ $rc = 0 ]; then
		passed=$((passed + 1))
		printf '[%s] %-34s ok      %s passed\n' "$(elapsed)" "$test" "$(grep -c '^ok ' "$log")"
	else
		failed=$((failed + 1))
		case $rc in
		97) what="memory leaked" ;;
		98) what="the machine died" ;;
		99) what="the kernel complained" ;;
		*) what="$(grep -c '^not ok ' "$log") failed" ;;
		esac
		printf '[%s] %-34s FAILED  %s: %s\n' "$(elapsed)" "$test" "$what" "${log#"$top"/}"
		grep -E '^not ok|^# the kernel complained' -A 4 "$log" | head -n 12 | sed 's/^/        | /'
	fi
done
echo "debug kernel: $passed passed, $failed failed"
[ $failed = 0 ]
