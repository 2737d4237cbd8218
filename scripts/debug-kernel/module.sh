#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the modules for the kernel of "make debug-check": build/debug-module/dm-remote-copy.ko, and
# build/debug-plant/plant.ko.

set -euo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/tree.sh"

mkdir -p "$build/debug-module" "$build/debug-plant"
make_in_tree M="$top" MO="$build/debug-module" CONFIG_DEBUG_INFO_BTF_MODULES= modules
make_in_tree M="$top/scripts/debug-kernel/plant" MO="$build/debug-plant" modules
