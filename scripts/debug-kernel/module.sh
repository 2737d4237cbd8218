#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the module for the kernel of "make debug-check": build/debug-module/dm-remote-copy.ko.

set -euo pipefail
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/tree.sh"

mkdir -p "$build/debug-module"
make_in_tree M="$top" MO="$build/debug-module" CONFIG_DEBUG_INFO_BTF_MODULES= modules
