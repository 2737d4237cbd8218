#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make proof: the crash proof with large figures, and its report in build/proof.json and
# build/proof.txt. One line for each layer; a layer leaves <layer>.json in $DMRC_PROOF. What fails does
# not keep the others from running.

. "$(dirname "$0")/lib.sh"
cd "$top" || exit 1
need_root

export PROOF=large DMRC_PROOF=$build/proof.d/large
rm -rf "$DMRC_PROOF"
mkdir -p "$DMRC_PROOF" "$logs"
failed=()

layer()	# <name> <command...>
{
	local name=$1 log=$logs/proof-$1.log
	shift
	printf '[%s] %-34s ...\n' "$(elapsed)" "$name"
	if "$@" >"$log" 2>&1 </dev/null; then
		printf '[%s] %-34s ok\n' "$(elapsed)" "$name"
	else
		failed+=("$name")
		printf '[%s] %-34s FAILED: %s\n' "$(elapsed)" "$name" "$log"
		tail -n 25 "$log" | sed 's/^/        | /'
	fi
}

layer "worlds" make worlds
layer "deployments" make sim-proof
layer "fuzz" make fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-300}"
layer "kernel" make images
layer "kills" make kills KILLS="${KILLS:-100}"

scripts/in-root python3 scripts/proof.py "$DMRC_PROOF" "$build/proof.json" || failed+=("report")
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
