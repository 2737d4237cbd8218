#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds, inside the private root, what the benchmark runs: static programs for the guest
# (load, watch) and QEMU's plugin that counts (count.so), in build/bench.

set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/bench
here=scripts/bench
mkdir -p "$out"

for program in load watch; do
	if [ ! "$out/$program" -nt "$here/$program.c" ] || [ ! "$out/$program" -nt "$here/mark.h" ]; then
		gcc -O2 -Wall -Wextra -Werror -static -o "$out/$program" "$here/$program.c"
	fi
done

scripts/vm/plugin.sh "$here/count.c" "$out/count.so"
