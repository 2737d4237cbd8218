#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes what follows from the netlink family's specification, the C side with the kernel's own generator:
#
#   netlink-gen.sh <kernel tree>		writes rust/kapi/netlink_gen.[ch], include/uapi/linux/remote-copy.h
#					and rust/core/netlink.rs
#   netlink-gen.sh <kernel tree> check	fails if they are not what the specification gives
#
# Either way the specification is first held against the kernel's schema.

set -euo pipefail
. "$(dirname "$0")/lib.sh"

linux=$(realpath "${1:?kernel tree}")
spec=Documentation/netlink/specs/remote-copy.yaml
ynl=$linux/tools/net/ynl/pyynl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The generator looks for a kernel tree around the specification, and for the schema in it.
mkdir -p "$work/Documentation/netlink/specs"
touch "$work/MAINTAINERS"
cp "$linux/Documentation/netlink/genetlink.yaml" "$work/Documentation/netlink/"
cp "$top/$spec" "$work/$spec"
cd "$work"

# Shows the whole of what is wrong, which the generator does not.
PYTHONPATH=$ynl python3 -c "import sys; from lib import SpecFamily; SpecFamily(sys.argv[1])" "$spec"

mkdir -p rust/core rust/kapi include/uapi/linux
python3 "$ynl/ynl_gen_c.py" --spec "$spec" --mode kernel --header -o rust/kapi/netlink_gen.h
python3 "$ynl/ynl_gen_c.py" --spec "$spec" --mode kernel --source -o rust/kapi/netlink_gen.c
python3 "$ynl/ynl_gen_c.py" --spec "$spec" --mode uapi --header -o include/uapi/linux/remote-copy.h
python3 "$top/scripts/netlink-names.py" "$ynl" "$spec" | rustfmt --edition 2021 >rust/core/netlink.rs

for file in rust/kapi/netlink_gen.h rust/kapi/netlink_gen.c include/uapi/linux/remote-copy.h \
	rust/core/netlink.rs; do
	[ -s "$file" ] || die "the generator made no $file"
	if [ "${2:-}" = check ]; then
		diff -u "$top/$file" "$file" || die "$file is not what $spec gives: run make netlink-gen"
	else
		cp "$file" "$top/$file"
	fi
done
