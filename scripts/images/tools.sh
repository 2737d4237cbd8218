#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds, inside the private root, what traces are made with, in build/images: the load for
# the guest (client) and QEMU's plugin (trace.so).

set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/images
here=scripts/images
mkdir -p "$out"

if [ ! "$out/client" -nt "$here/client.c" ] || [ ! "$out/client" -nt "$here/trace.h" ]; then
	gcc -O2 -Wall -Wextra -Werror -static -pthread -o "$out/client" "$here/client.c"
fi
scripts/vm/plugin.sh "$here/trace.c" "$out/trace.so"
